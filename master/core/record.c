/* record.c - encoding, checking and chaining of operation log records. */
#include "master/core/record.h"
#include "shared/base/hash.h"
#include "shared/base/limits.h"

#include <string.h>

enum {
    OFF_FMT = 4,
    OFF_TYPE = 6,
    OFF_CLUSTER = 8,
    OFF_EPOCH = 16,
    OFF_BODY_LEN = 20,
    OFF_INDEX = 24,
    OFF_TIME = 32,
    OFF_PREV_CHAIN = 40,
    OFF_BODY_SUM = 48,
    OFF_HDR_SUM = 56,
    BATCH_FLAGS = RECORD_FIRST_OF_BATCH | RECORD_LAST_OF_BATCH,
};

static uint32_t size_of_body(uint32_t body_len)
{
    return (RECORD_HEADER_BYTES + body_len + 7) & ~7u;
}

uint32_t record_size(const struct record *r)
{
    return size_of_body(RECORD_PREFIX_BYTES + r->body.len);
}

/* H(index) from the encoded header: a batch may be cut differently elsewhere, so its bits are not
 * bound. */
static uint64_t chain_of(const uint8_t *header)
{
    uint8_t in[8 + OFF_PREV_CHAIN + 8];
    memcpy(in, header + OFF_PREV_CHAIN, 8);
    memcpy(in + 8, header, OFF_PREV_CHAIN);
    put_le(in + 8 + OFF_FMT, get_le(header + OFF_FMT, 2) & ~(uint64_t)BATCH_FLAGS, 2);
    memcpy(in + 8 + OFF_PREV_CHAIN, header + OFF_BODY_SUM, 8);
    return hash64(in, sizeof(in));
}

void record_encode(struct record *r, uint8_t *out)
{
    uint32_t body_len = RECORD_PREFIX_BYTES + r->body.len;
    ASSERT(body_len <= RECORD_BODY_MAX);
    uint8_t *body = out + RECORD_HEADER_BYTES;
    put_le(body, r->session, 8);
    put_le(body + 8, r->sequence, 8);
    put_le(body + 16, r->acked, 8);
    if (r->body.len > 0) {
        memcpy(body + RECORD_PREFIX_BYTES, r->body.data, r->body.len);
    }
    memset(body + body_len, 0, size_of_body(body_len) - RECORD_HEADER_BYTES - body_len);

    put_le(out, RECORD_MAGIC, 4);
    put_le(out + OFF_FMT, RECORD_FORMAT | (uint64_t)(r->batch_flags & BATCH_FLAGS), 2);
    put_le(out + OFF_TYPE, r->type, 2);
    put_le(out + OFF_CLUSTER, r->cluster, 8);
    put_le(out + OFF_EPOCH, r->epoch, 4);
    put_le(out + OFF_BODY_LEN, body_len, 4);
    put_le(out + OFF_INDEX, r->index, 8);
    put_le(out + OFF_TIME, (uint64_t)r->time_ns, 8);
    put_le(out + OFF_PREV_CHAIN, r->prev_chain, 8);
    put_le(out + OFF_BODY_SUM, hash64(body, body_len), 8);
    put_le(out + OFF_HDR_SUM, hash64(out, OFF_HDR_SUM), 8);
    r->chain = chain_of(out);
}

void record_set_batch_flags(uint8_t *encoded, uint16_t flags)
{
    put_le(encoded + OFF_FMT, RECORD_FORMAT | (uint64_t)(flags & BATCH_FLAGS), 2);
    put_le(encoded + OFF_HDR_SUM, hash64(encoded, OFF_HDR_SUM), 8);
}

uint64_t record_prev_chain(const uint8_t *encoded)
{
    return get_le(encoded + OFF_PREV_CHAIN, 8);
}

int record_decode(struct bytes in, struct record *out, bool *out_header_good, struct why *why)
{
    const uint8_t *p = in.data;
    *out_header_good = false;
    if (in.len < RECORD_HEADER_BYTES) {
        return -EAGAIN;
    }
    uint64_t magic = get_le(p, 4);
    if (magic != RECORD_MAGIC) {
        return why_set(why, ERR_CORRUPT, "record magic: expected %#x, found %#llx", RECORD_MAGIC,
                       (unsigned long long)magic);
    }
    uint64_t sum = hash64(p, OFF_HDR_SUM);
    if (sum != get_le(p + OFF_HDR_SUM, 8)) {
        return why_set(why, ERR_CORRUPT, "record header sum: expected %#llx, found %#llx",
                       (unsigned long long)get_le(p + OFF_HDR_SUM, 8), (unsigned long long)sum);
    }
    uint16_t fmt = (uint16_t)get_le(p + OFF_FMT, 2);
    uint32_t body_len = (uint32_t)get_le(p + OFF_BODY_LEN, 4);
    if ((fmt & ~BATCH_FLAGS) != RECORD_FORMAT) {
        return why_set(why, ERR_CORRUPT, "record format: this program knows %d, found %d",
                       RECORD_FORMAT, fmt & ~BATCH_FLAGS);
    }
    if (body_len < RECORD_PREFIX_BYTES || body_len > RECORD_BODY_MAX) {
        return why_set(why, ERR_CORRUPT, "record body length: expected %d to %d, found %u",
                       RECORD_PREFIX_BYTES, RECORD_BODY_MAX, body_len);
    }
    *out_header_good = true;
    const uint8_t *body = p + RECORD_HEADER_BYTES;
    *out = (struct record){
        .index = get_le(p + OFF_INDEX, 8),
        .epoch = (uint32_t)get_le(p + OFF_EPOCH, 4),
        .type = (uint16_t)get_le(p + OFF_TYPE, 2),
        .batch_flags = fmt & BATCH_FLAGS,
        .cluster = get_le(p + OFF_CLUSTER, 8),
        .time_ns = (int64_t)get_le(p + OFF_TIME, 8),
        .prev_chain = get_le(p + OFF_PREV_CHAIN, 8),
        .chain = chain_of(p),
        .body = bytes_of(body + RECORD_PREFIX_BYTES, body_len - RECORD_PREFIX_BYTES),
    };
    if (in.len < size_of_body(body_len)) {
        return -EAGAIN;
    }
    sum = hash64(body, body_len);
    if (sum != get_le(p + OFF_BODY_SUM, 8)) {
        return why_set(why, ERR_CORRUPT, "body sum of record %llu: expected %#llx, found %#llx",
                       (unsigned long long)out->index,
                       (unsigned long long)get_le(p + OFF_BODY_SUM, 8), (unsigned long long)sum);
    }
    out->session = get_le(body, 8);
    out->sequence = get_le(body + 8, 8);
    out->acked = get_le(body + 16, 8);
    return 0;
}
