/* buf.h - reference-counted data buffer, and a slice of one.
 *
 * A buffer is shared by whoever holds a reference: a received payload goes to a disk write and to
 * two forwarding connections without a copy. Not thread-safe: references change on the loop thread
 * only; a worker thread may read or fill bytes of a buffer the loop holds for it.
 */
#ifndef SHARED_BASE_BUF_H
#define SHARED_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
    uint32_t refs;
    uint32_t cap; /* bytes in data */
    uint8_t data[];
};

/* Bytes [off, off + len) of buf. buf == NULL means empty. A slice held in a struct owns one
 * reference. */
struct slice {
    struct buf *buf;
    uint32_t off;
    uint32_t len;
};

struct buf *buf_new(uint32_t cap); /* one reference; bytes undefined */
struct buf *buf_ref(struct buf *b);
void buf_unref(struct buf *b); /* NULL is fine */
/* Bytes held by all live buffers of the process, for budgets and leak checks. */
size_t buf_total_bytes(void);

static inline uint8_t *slice_data(const struct slice *s)
{
    return s->buf ? s->buf->data + s->off : NULL;
}

static inline struct slice slice_ref(const struct slice *s)
{
    if (s->buf != NULL) {
        buf_ref(s->buf);
    }
    return *s;
}

static inline void slice_drop(struct slice *s)
{
    buf_unref(s->buf);
    s->buf = NULL;
    s->off = s->len = 0;
}

#endif
