/* bytes.h - a view of bytes, little-endian integers, and varints (LEB128) for packed rows.
 *
 * Views do not own what they point to. Every get checks the bytes left: a short input sets `bad`
 * and gives 0, so a decoder may check once at the end.
 */
#ifndef SHARED_BASE_BYTES_H
#define SHARED_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *data;
    uint32_t len;
};

static inline struct bytes bytes_of(const void *data, size_t len)
{
    return (struct bytes){data, (uint32_t)len};
}

static inline struct bytes bytes_str(const char *s)
{
    return bytes_of(s, strlen(s));
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* One move where n is constant; of a loop over bytes the compiler makes a loop. */
static inline uint64_t le64_of(uint64_t v)
{
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? v : __builtin_bswap64(v);
}

static inline void put_le(uint8_t *p, uint64_t v, int n)
{
    uint64_t le = le64_of(v);
    memcpy(p, &le, (size_t)n);
}

static inline uint64_t get_le(const uint8_t *p, int n)
{
    uint64_t le = 0;
    memcpy(&le, p, (size_t)n);
    return le64_of(le);
}

static inline void put_be64(uint8_t *p, uint64_t v)
{
    put_le(p, __builtin_bswap64(v), 8);
}

static inline uint64_t get_be64(const uint8_t *p)
{
    return __builtin_bswap64(get_le(p, 8));
}

/* Cursor over bytes being read. */
struct byte_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool bad; /* a get ran past the end or met a malformed varint; sticky */
};

static inline struct byte_reader byte_reader_of(struct bytes b)
{
    return (struct byte_reader){b.data, b.len > 0 ? b.data + b.len : b.data, false};
}

static inline size_t byte_reader_left(const struct byte_reader *r)
{
    return (size_t)(r->end - r->at);
}

static inline uint64_t byte_reader_le(struct byte_reader *r, int n)
{
    if (byte_reader_left(r) < (size_t)n) {
        r->bad = true;
        r->at = r->end;
        return 0;
    }
    uint64_t v = get_le(r->at, n);
    r->at += n;
    return v;
}

static inline uint64_t byte_reader_varint(struct byte_reader *r)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (r->at == r->end) {
            break;
        }
        uint8_t b = *r->at++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            return v;
        }
    }
    r->bad = true;
    r->at = r->end;
    return 0;
}

static inline struct bytes byte_reader_bytes(struct byte_reader *r, size_t n)
{
    if (byte_reader_left(r) < n) {
        r->bad = true;
        r->at = r->end;
        return bytes_of(r->at, 0);
    }
    struct bytes b = bytes_of(r->at, n);
    r->at += n;
    return b;
}

static inline bool bytes_are_zero(const uint8_t *p, size_t len)
{
    /* Equal to itself shifted by one, and the first byte is zero. */
    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* Writes v as a varint at p (up to 10 bytes); returns its length. */
static inline size_t put_varint(uint8_t *p, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    return n;
}

/* Small magnitudes of either sign become small varints. */
static inline uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static inline int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

#endif
