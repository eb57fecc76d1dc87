/* meta_record.c - bytes of the meta log's records. */
#include "chunkd/core/meta_record.h"
#include "shared/base/bytes.h"
#include "shared/base/hash.h"

#include <string.h>

uint32_t meta_record_size(const struct meta_record *r)
{
    switch (r->type) {
    case META_REPLICA:
        return META_REPLICA_BYTES;
    case META_SUMS:
        return META_HEADER_BYTES + 32 + ((4 * r->count + 7) & ~7u);
    case META_BAD:
    case META_RESERVED:
        return META_HEADER_BYTES + 16;
    case META_DROP:
        return META_HEADER_BYTES + 8;
    case META_ASIDE:
        return META_HEADER_BYTES + 24;
    }
    UNREACHABLE();
}

static void encode_replica(const struct meta_record *r, uint8_t *b)
{
    put_le(b + 8, r->ino, 8);
    put_le(b + 16, r->number, 8);
    put_le(b + 24, r->version, 8);
    put_le(b + 32, r->previous, 8);
    put_le(b + 40, r->mutation, 8);
    put_le(b + 48, r->previous_mutation, 8);
    put_le(b + 56, r->length, 4);
    put_le(b + 60, r->state, 4);
    put_le(b + 64, r->flags, 4);
    put_le(b + 68, r->verified_s, 4);
}

void meta_record_encode(const struct meta_record *r, uint64_t sequence, uint64_t durable,
                        uint8_t *out)
{
    uint32_t size = meta_record_size(r);
    memset(out, 0, size);
    put_le(out + 8, size, 4);
    put_le(out + 12, r->type, 2);
    put_le(out + 16, sequence, 8);
    put_le(out + 24, durable, 8);
    uint8_t *b = out + META_HEADER_BYTES;
    put_le(b, r->handle, 8);
    if (r->type == META_REPLICA) {
        encode_replica(r, b);
    } else if (r->type == META_SUMS) {
        put_le(b + 8, r->mutation, 8);
        put_le(b + 16, r->length, 4);
        put_le(b + 20, r->first, 4);
        put_le(b + 24, r->count, 4);
        for (uint32_t i = 0; i < r->count; i++) {
            put_le(b + 32 + 4 * i, r->sums[i], 4);
        }
    } else if (r->type == META_BAD) {
        put_le(b + 8, r->block, 4);
    } else if (r->type == META_ASIDE) {
        put_le(b + 8, r->since_ns, 8);
        put_le(b + 16, r->bytes, 8);
    } else if (r->type == META_RESERVED) {
        put_le(b + 8, r->from, 4);
        put_le(b + 12, r->end, 4);
    }
    put_le(out, hash64(out + 8, size - 8), 8);
}

static bool decode_sums(struct meta_record *r, const uint8_t *b, uint64_t body)
{
    if (body < 32) {
        return false;
    }
    r->mutation = get_le(b + 8, 8);
    r->length = (uint32_t)get_le(b + 16, 4);
    r->first = (uint32_t)get_le(b + 20, 4);
    r->count = (uint32_t)get_le(b + 24, 4);
    r->sums_raw = b + 32;
    return r->count <= CHUNK_BLOCKS_MAX && r->first <= CHUNK_BLOCKS_MAX - r->count;
}

static bool decode_body(struct meta_record *r, const uint8_t *b, uint64_t body)
{
    if (body < 8) {
        return false;
    }
    r->handle = get_le(b, 8);
    switch (r->type) {
    case META_REPLICA:
        if (body < 72) {
            return false;
        }
        r->ino = get_le(b + 8, 8);
        r->number = get_le(b + 16, 8);
        r->version = get_le(b + 24, 8);
        r->previous = get_le(b + 32, 8);
        r->mutation = get_le(b + 40, 8);
        r->previous_mutation = get_le(b + 48, 8);
        r->length = (uint32_t)get_le(b + 56, 4);
        r->state = (uint32_t)get_le(b + 60, 4);
        r->flags = (uint32_t)get_le(b + 64, 4);
        r->verified_s = (uint32_t)get_le(b + 68, 4);
        return true;
    case META_SUMS:
        return decode_sums(r, b, body);
    case META_BAD:
        r->block = body >= 16 ? (uint32_t)get_le(b + 8, 4) : 0;
        return body >= 16;
    case META_DROP:
        return true;
    case META_ASIDE:
        r->since_ns = body >= 24 ? get_le(b + 8, 8) : 0;
        r->bytes = body >= 24 ? get_le(b + 16, 8) : 0;
        return body >= 24;
    case META_RESERVED:
        r->from = body >= 16 ? (uint32_t)get_le(b + 8, 4) : 0;
        r->end = body >= 16 ? (uint32_t)get_le(b + 12, 4) : 0;
        return body >= 16 && r->from <= r->end;
    }
    return false;
}

int meta_record_decode(struct meta_record *r, uint64_t *out_sequence, uint64_t *out_durable,
                       const uint8_t *in, uint64_t left)
{
    if (left < META_HEADER_BYTES) {
        return ERR_CORRUPT;
    }
    uint32_t size = (uint32_t)get_le(in + 8, 4);
    if (size < META_HEADER_BYTES || size > META_RECORD_MAX || size % 8 != 0 || size > left ||
        get_le(in, 8) != hash64(in + 8, size - 8)) {
        return ERR_CORRUPT;
    }
    uint64_t type = get_le(in + 12, 2);
    if (type < META_REPLICA || type > META_RESERVED) {
        return ERR_CORRUPT;
    }
    memset(r, 0, sizeof(*r));
    r->type = (enum meta_type)type;
    if (!decode_body(r, in + META_HEADER_BYTES, size - META_HEADER_BYTES) ||
        meta_record_size(r) != size) {
        return ERR_CORRUPT;
    }
    *out_sequence = get_le(in + 16, 8);
    *out_durable = get_le(in + 24, 8);
    return (int)size;
}
