/* codec.h - bounded msgpack primitives: a writer over a growing buffer, a pull reader over bytes.
 *
 * Packing is msgpack-c's; reading is a pull parser of our own, because msgpack_unpack allocates
 * what a count claims before it has seen the elements. The reader allocates nothing: strings are
 * views into the input. Errors are sticky; check once at the end.
 *
 * enc_TYPE/dec_TYPE exist for every type a table may name: the scalars here, the structs of
 * types.def in schema.h. A `list` field is a bin that holds the encodings of its elements one after
 * another; read it with a reader of its own until reader_done.
 */
#ifndef SHARED_PROTO_CODEC_H
#define SHARED_PROTO_CODEC_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/buf.h"
#include "shared/base/bytes.h"
#include "shared/base/err.h"

struct writer {
    struct buf *buf; /* owned; NULL until the first byte */
    uint32_t len;
};

void writer_init(struct writer *w);
void writer_free(struct writer *w);
struct slice writer_take(struct writer *w); /* the bytes, by reference; the writer is empty after */
struct bytes writer_bytes(const struct writer *w);                 /* valid until the next write */
void writer_raw(struct writer *w, const void *data, uint32_t len); /* already encoded bytes */
void writer_array(struct writer *w, uint32_t count);

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    int err;       /* 0 or ERR_PROTOCOL, sticky */
    uint32_t left; /* elements left of the array being read; UINT32_MAX outside arrays */
};

struct reader reader_of(struct bytes b);
static inline bool reader_done(const struct reader *r) /* nothing left, or broken */
{
    return r->err != 0 || r->at == r->end;
}
/* Enters an array: returns the outer `left` for reader_array_end. Elements beyond the ones read are
 * skipped at the end; missing ones decode as zero, so that fields may be appended to a table. */
uint32_t reader_array(struct reader *r);
void reader_array_end(struct reader *r, uint32_t outer);

typedef uint32_t T_u32;
typedef uint64_t T_u64;
typedef int64_t T_i64;
typedef bool T_flag;
typedef struct bytes T_name;  /* 1..NAME_LEN_MAX bytes, no '/' or NUL, not "." or ".." */
typedef struct bytes T_text;  /* 0..ADDR_LEN_MAX bytes without NUL */
typedef struct bytes T_bytes; /* 0..FRAME_BODY_MAX bytes */
typedef struct bytes T_list;  /* encodings of elements, see above */

void enc_u32(struct writer *w, const uint32_t *v);
void enc_u64(struct writer *w, const uint64_t *v);
void enc_i64(struct writer *w, const int64_t *v);
void enc_flag(struct writer *w, const bool *v);
void enc_name(struct writer *w, const struct bytes *v);
void enc_text(struct writer *w, const struct bytes *v);
void enc_bytes(struct writer *w, const struct bytes *v);
void enc_list(struct writer *w, const struct bytes *v);

void dec_u32(struct reader *r, uint32_t *v);
void dec_u64(struct reader *r, uint64_t *v);
void dec_i64(struct reader *r, int64_t *v);
void dec_flag(struct reader *r, bool *v);
void dec_name(struct reader *r, struct bytes *v);
void dec_text(struct reader *r, struct bytes *v);
void dec_bytes(struct reader *r, struct bytes *v);
void dec_list(struct reader *r, struct bytes *v);

/* Printers append to a bounded text. */
struct printer {
    char *at;
    uint32_t left; /* bytes left, the NUL included: at least 1 */
};
void print_text_f(struct printer *p, const char *format, ...) PRINTF_LIKE(2, 3);
void print_u32(struct printer *p, const uint32_t *v);
void print_u64(struct printer *p, const uint64_t *v);
void print_i64(struct printer *p, const int64_t *v);
void print_flag(struct printer *p, const bool *v);
void print_name(struct printer *p, const struct bytes *v);
void print_text(struct printer *p, const struct bytes *v);
void print_bytes(struct printer *p, const struct bytes *v);
void print_list(struct printer *p, const struct bytes *v);

#endif
