/* codec.c - bounded msgpack primitives. */
#include "shared/proto/codec.h"
#include "shared/base/invariant.h"
#include "shared/base/limits.h"

#include <msgpack/pack.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void writer_init(struct writer *w)
{
    w->buf = NULL;
    w->len = 0;
}

void writer_free(struct writer *w)
{
    buf_unref(w->buf);
    writer_init(w);
}

struct slice writer_take(struct writer *w)
{
    struct slice s = {w->buf, 0, w->len};
    writer_init(w);
    return s;
}

struct bytes writer_bytes(const struct writer *w)
{
    return bytes_of(w->buf ? w->buf->data : NULL, w->len);
}

void writer_raw(struct writer *w, const void *data, uint32_t len)
{
    uint32_t need = w->len + len;
    if (w->buf == NULL || need > w->buf->cap) {
        uint32_t cap = w->buf ? w->buf->cap * 2 : 256;
        struct buf *b = buf_new(MAX(cap, need));
        if (w->len > 0) {
            memcpy(b->data, w->buf->data, w->len);
        }
        buf_unref(w->buf);
        w->buf = b;
    }
    if (len > 0) {
        memcpy(w->buf->data + w->len, data, len);
    }
    w->len = need;
}

static int pack_out(void *data, const char *bytes, size_t len)
{
    writer_raw(data, bytes, (uint32_t)len);
    return 0;
}

static msgpack_packer packer_of(struct writer *w)
{
    return (msgpack_packer){.data = w, .callback = pack_out};
}

void writer_array(struct writer *w, uint32_t count)
{
    msgpack_packer p = packer_of(w);
    msgpack_pack_array(&p, count);
}

void enc_u32(struct writer *w, const uint32_t *v)
{
    msgpack_packer p = packer_of(w);
    msgpack_pack_uint32(&p, *v);
}

void enc_u64(struct writer *w, const uint64_t *v)
{
    msgpack_packer p = packer_of(w);
    msgpack_pack_uint64(&p, *v);
}

void enc_i64(struct writer *w, const int64_t *v)
{
    msgpack_packer p = packer_of(w);
    msgpack_pack_int64(&p, *v);
}

void enc_flag(struct writer *w, const bool *v)
{
    msgpack_packer p = packer_of(w);
    if (*v) {
        msgpack_pack_true(&p);
    } else {
        msgpack_pack_false(&p);
    }
}

void enc_bytes(struct writer *w, const struct bytes *v)
{
    msgpack_packer p = packer_of(w);
    msgpack_pack_bin(&p, v->len);
    msgpack_pack_bin_body(&p, v->data, v->len);
}

void enc_name(struct writer *w, const struct bytes *v)
{
    enc_bytes(w, v);
}

void enc_text(struct writer *w, const struct bytes *v)
{
    enc_bytes(w, v);
}

void enc_list(struct writer *w, const struct bytes *v)
{
    enc_bytes(w, v);
}

struct reader reader_of(struct bytes b)
{
    return (struct reader){b.data, b.len > 0 ? b.data + b.len : b.data, 0, UINT32_MAX};
}

static uint64_t fail(struct reader *r)
{
    r->err = ERR_PROTOCOL;
    r->at = r->end;
    return 0;
}

static uint64_t big_endian(struct reader *r, unsigned n)
{
    if ((size_t)(r->end - r->at) < n) {
        return fail(r);
    }
    uint64_t v = 0;
    if (r->end - r->at >= 8) {
        v = get_be64(r->at) >> (64 - 8 * n);
        r->at += n;
        return v;
    }
    for (unsigned i = 0; i < n; i++) {
        v = v << 8 | *r->at++;
    }
    return v;
}

/* First byte of the next element; 0xc1 (never used in msgpack) if there is none. */
static uint8_t head(struct reader *r)
{
    if (r->at == r->end) {
        fail(r);
        return 0xc1;
    }
    return *r->at++;
}

/* True if the array being read has an element left; a missing one reads as zero. */
static bool element(struct reader *r)
{
    if (r->err != 0 || r->left == 0) {
        return false;
    }
    if (r->left != UINT32_MAX) {
        r->left--;
    }
    return true;
}

uint32_t reader_array(struct reader *r)
{
    uint32_t outer = r->left;
    if (!element(r)) {
        r->left = 0;
        return outer;
    }
    if (outer != UINT32_MAX) {
        outer--;
    }
    uint8_t h = head(r);
    uint64_t n = 0;
    if ((h & 0xf0) == 0x90) {
        n = h & 0x0f;
    } else if (h == 0xdc) {
        n = big_endian(r, 2);
    } else if (h == 0xdd) {
        n = big_endian(r, 4);
    } else {
        fail(r);
    }
    if (n > (uint64_t)(r->end - r->at)) { /* an element has at least one byte */
        fail(r);
        n = 0;
    }
    r->left = (uint32_t)n;
    return outer;
}

/* Skips one element of any kind. Containers are entered by raising the count to skip: no recursion.
 */
static void skip_element(struct reader *r)
{
    uint64_t todo = 1;
    while (todo > 0 && r->err == 0) {
        todo--;
        uint8_t h = head(r);
        uint64_t len = 0;
        if (h <= 0x7f || h >= 0xe0 || h == 0xc0 || h == 0xc2 || h == 0xc3) {
            continue;
        } else if ((h & 0xf0) == 0x80) {
            todo += 2u * (h & 0x0f);
        } else if ((h & 0xf0) == 0x90) {
            todo += h & 0x0f;
        } else if ((h & 0xe0) == 0xa0) {
            len = h & 0x1f;
        } else if (h >= 0xc4 && h <= 0xc6) {
            len = big_endian(r, 1u << (h - 0xc4));
        } else if (h >= 0xc7 && h <= 0xc9) {
            len = big_endian(r, 1u << (h - 0xc7)) + 1;
        } else if (h == 0xca || h == 0xcb) {
            len = h == 0xca ? 4 : 8;
        } else if (h >= 0xcc && h <= 0xcf) {
            len = 1u << (h - 0xcc);
        } else if (h >= 0xd0 && h <= 0xd3) {
            len = 1u << (h - 0xd0);
        } else if (h >= 0xd4 && h <= 0xd8) {
            len = 1 + (1u << (h - 0xd4));
        } else if (h >= 0xd9 && h <= 0xdb) {
            len = big_endian(r, 1u << (h - 0xd9));
        } else if (h == 0xdc || h == 0xdd) {
            todo += big_endian(r, h == 0xdc ? 2 : 4);
        } else if (h == 0xde || h == 0xdf) {
            todo += 2 * big_endian(r, h == 0xde ? 2 : 4);
        } else {
            fail(r);
        }
        if (len > (uint64_t)(r->end - r->at) || todo > (uint64_t)(r->end - r->at)) {
            fail(r);
            return;
        }
        r->at += len;
    }
}

void reader_array_end(struct reader *r, uint32_t outer)
{
    while (r->left > 0 && r->err == 0) {
        r->left--;
        skip_element(r);
    }
    r->left = outer;
}

void dec_u64(struct reader *r, uint64_t *v)
{
    *v = 0;
    if (!element(r)) {
        return;
    }
    uint8_t h = head(r);
    if (h <= 0x7f) {
        *v = h;
    } else if (h >= 0xcc && h <= 0xcf) {
        *v = big_endian(r, 1u << (h - 0xcc));
    } else {
        fail(r);
    }
}

void dec_u32(struct reader *r, uint32_t *v)
{
    uint64_t wide;
    dec_u64(r, &wide);
    if (wide > UINT32_MAX) {
        wide = fail(r);
    }
    *v = (uint32_t)wide;
}

void dec_i64(struct reader *r, int64_t *v)
{
    *v = 0;
    if (!element(r)) {
        return;
    }
    uint8_t h = head(r);
    if (h <= 0x7f) {
        *v = h;
    } else if (h >= 0xe0) {
        *v = (int8_t)h;
    } else if (h >= 0xcc && h <= 0xcf) {
        uint64_t wide = big_endian(r, 1u << (h - 0xcc));
        *v = wide > INT64_MAX ? (int64_t)fail(r) : (int64_t)wide;
    } else if (h == 0xd0) {
        *v = (int8_t)big_endian(r, 1);
    } else if (h == 0xd1) {
        *v = (int16_t)big_endian(r, 2);
    } else if (h == 0xd2) {
        *v = (int32_t)big_endian(r, 4);
    } else if (h == 0xd3) {
        *v = (int64_t)big_endian(r, 8);
    } else {
        fail(r);
    }
}

void dec_flag(struct reader *r, bool *v)
{
    *v = false;
    if (!element(r)) {
        return;
    }
    uint8_t h = head(r);
    if (h != 0xc2 && h != 0xc3) {
        fail(r);
        return;
    }
    *v = h == 0xc3;
}

void dec_bytes(struct reader *r, struct bytes *v)
{
    *v = bytes_of(r->end, 0);
    if (!element(r)) {
        return;
    }
    uint8_t h = head(r);
    uint64_t len = 0;
    if (h >= 0xc4 && h <= 0xc6) {
        len = big_endian(r, 1u << (h - 0xc4));
    } else {
        fail(r);
    }
    if (len > (uint64_t)(r->end - r->at)) {
        fail(r);
        len = 0;
    }
    *v = bytes_of(r->at, len);
    r->at += len;
}

void dec_name(struct reader *r, struct bytes *v)
{
    dec_bytes(r, v);
    bool dots = (v->len == 1 && v->data[0] == '.') ||
                (v->len == 2 && v->data[0] == '.' && v->data[1] == '.');
    if (r->err == 0 && (v->len == 0 || v->len > NAME_LEN_MAX || dots ||
                        memchr(v->data, '/', v->len) || memchr(v->data, '\0', v->len))) {
        fail(r);
    }
}

void dec_text(struct reader *r, struct bytes *v)
{
    dec_bytes(r, v);
    if (r->err == 0 && v->len > 0 && (v->len > ADDR_LEN_MAX || memchr(v->data, '\0', v->len))) {
        fail(r);
    }
}

void dec_list(struct reader *r, struct bytes *v)
{
    dec_bytes(r, v);
}

void print_text_f(struct printer *p, const char *format, ...)
{
    ASSERT(p->left > 0);
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(p->at, p->left, format, ap);
    va_end(ap);
    ASSERT(n >= 0);
    uint32_t used = MIN((uint32_t)n, p->left - 1);
    p->at += used;
    p->left -= used;
}

void print_u32(struct printer *p, const uint32_t *v)
{
    print_text_f(p, "%u", *v);
}

void print_u64(struct printer *p, const uint64_t *v)
{
    print_text_f(p, "%llu", (unsigned long long)*v);
}

void print_i64(struct printer *p, const int64_t *v)
{
    print_text_f(p, "%lld", (long long)*v);
}

void print_flag(struct printer *p, const bool *v)
{
    print_text_f(p, "%s", *v ? "yes" : "no");
}

void print_name(struct printer *p, const struct bytes *v)
{
    print_text_f(p, "\"");
    for (uint32_t i = 0; i < v->len; i++) {
        uint8_t c = v->data[i];
        print_text_f(p, c < 0x20 || c > 0x7e || c == '"' || c == '\\' ? "\\x%02x" : "%c", c);
    }
    print_text_f(p, "\"");
}

void print_text(struct printer *p, const struct bytes *v)
{
    print_name(p, v);
}

void print_bytes(struct printer *p, const struct bytes *v)
{
    print_text_f(p, "<%u bytes>", v->len);
}

void print_list(struct printer *p, const struct bytes *v)
{
    print_bytes(p, v);
}
