/* chunk_row.c - packing of a chunk. */
#include "master/core/chunk_row.h"
#include "master/core/row_key.h"

enum { COUNT_MASK = 0x0f, FRESH = 0x10, BOUND = 0x20, TRIM = 0x40, DOUBT = 0x80 };

uint32_t chunk_row_pack(const struct ns_chunk *c, uint8_t *out)
{
    ASSERT(c->member_count <= REPLICAS_MAX);
    size_t n = 0;
    out[n++] = (uint8_t)(c->member_count | (c->fresh ? FRESH : 0) | (c->bound ? BOUND : 0) |
                         (c->trim != NO_TRIM ? TRIM : 0) | (c->doubt != 0 ? DOUBT : 0));
    n += put_varint(out + n, c->handle);
    n += put_varint(out + n, c->version >> 32);
    n += put_varint(out + n, c->version & UINT32_MAX);
    for (uint32_t i = 0; i < c->member_count; i++) {
        n += put_varint(out + n, c->members[i]);
    }
    if (c->trim != NO_TRIM) {
        n += put_varint(out + n, (uint64_t)c->trim_set << 32 | c->trim);
    }
    if (c->doubt != 0) {
        n += put_varint(out + n, c->doubt >> 32);
        n += put_varint(out + n, c->doubt & UINT32_MAX);
    }
    return (uint32_t)n;
}

void chunk_row_unpack(struct byte_reader *r, struct ns_chunk *c)
{
    uint64_t head = byte_reader_le(r, 1);
    c->fresh = head & FRESH;
    c->bound = head & BOUND;
    c->handle = byte_reader_varint(r);
    c->version = (uint64_t)get_varint32(r) << 32;
    c->version |= get_varint32(r);
    c->member_count = head & COUNT_MASK;
    if (c->member_count > REPLICAS_MAX) {
        r->bad = true;
        c->member_count = 0;
    }
    memset(c->members, 0, sizeof(c->members));
    for (uint32_t i = 0; i < c->member_count; i++) {
        c->members[i] = get_varint32(r);
    }
    uint64_t trim = head & TRIM ? byte_reader_varint(r) : NO_TRIM;
    c->trim = (uint32_t)trim;
    c->trim_set = (uint32_t)(trim >> 32);
    c->doubt = 0;
    if (head & DOUBT) {
        c->doubt = (uint64_t)get_varint32(r) << 32;
        c->doubt |= get_varint32(r);
    }
}
