/* row_key.h - integers in the rows of the master's tables.
 *
 * In keys: a length byte, then the significant bytes, most significant first: short for small
 * numbers, and memcmp order is numeric order. In values: varints (bytes.h).
 */
#ifndef MASTER_CORE_ROW_KEY_H
#define MASTER_CORE_ROW_KEY_H

#include "shared/base/bytes.h"

enum { ROW_KEY_U64_MAX = 9 };

/* Writes v at p (up to ROW_KEY_U64_MAX bytes); returns its length. */
static inline uint32_t put_key_u64(uint8_t *p, uint64_t v)
{
    uint8_t n = 0;
    while (n < 8 && v >> (8 * n) != 0) {
        n++;
    }
    p[0] = n;
    for (uint8_t i = 0; i < n; i++) {
        p[1 + i] = (uint8_t)(v >> (8 * (n - 1 - i)));
    }
    return 1u + n;
}

static inline uint64_t get_key_u64(struct byte_reader *r)
{
    uint64_t n = byte_reader_le(r, 1);
    uint64_t v = 0;
    if (n > 8 || byte_reader_left(r) < n) {
        r->bad = true;
        return 0;
    }
    for (uint64_t i = 0; i < n; i++) {
        v = v << 8 | r->at[i];
    }
    r->bad |= n > 0 && r->at[0] == 0;
    r->at += n;
    return v;
}

/* A varint that must fit 32 bits. */
static inline uint32_t get_varint32(struct byte_reader *r)
{
    uint64_t v = byte_reader_varint(r);
    r->bad |= v > UINT32_MAX;
    return (uint32_t)v;
}

/* A key of one or two integers. */
struct row_key {
    uint8_t data[2 * ROW_KEY_U64_MAX];
    uint32_t len;
};

static inline struct row_key row_key_u64(uint64_t a)
{
    struct row_key k;
    k.len = put_key_u64(k.data, a);
    return k;
}

static inline struct row_key row_key_pair(uint64_t a, uint64_t b)
{
    struct row_key k = row_key_u64(a);
    k.len += put_key_u64(k.data + k.len, b);
    return k;
}

static inline struct bytes row_key_bytes(const struct row_key *k)
{
    return bytes_of(k->data, k->len);
}

/* False if `key` is not exactly one pair. */
static inline bool row_key_get_pair(struct bytes key, uint64_t *a, uint64_t *b)
{
    struct byte_reader r = byte_reader_of(key);
    *a = get_key_u64(&r);
    *b = get_key_u64(&r);
    return !r.bad && byte_reader_left(&r) == 0;
}

/* False if `key` is not exactly one integer. */
static inline bool row_key_get_u64(struct bytes key, uint64_t *a)
{
    struct byte_reader r = byte_reader_of(key);
    *a = get_key_u64(&r);
    return !r.bad && byte_reader_left(&r) == 0;
}

#endif
