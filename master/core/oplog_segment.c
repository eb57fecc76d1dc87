/* oplog_segment.c - geometry, header and id table of a segment (formats: oplog.c). */
#include "master/core/oplog_internal.h"
#include "shared/base/hash.h"
#include "shared/base/mem.h"

#include <stdio.h>

enum {
    SEGMENT_MAGIC = 0x47455347, /* "GSEG" */
    SEGMENT_FORMAT = 1,
    SEGMENT_SUM_OFFSET = UNIT_BYTES - 8,
    SLOT_SUM_OFFSET = 24,
};

static uint32_t round_up(uint32_t n, uint32_t to)
{
    return (n + to - 1) / to * to;
}

uint32_t segment_table_bytes(uint32_t segment_bytes)
{
    return round_up(segment_bytes / UNIT_BYTES * SLOT_BYTES, UNIT_BYTES);
}

uint32_t segment_units(uint32_t segment_bytes)
{
    return (segment_bytes - segment_table_bytes(segment_bytes)) / UNIT_BYTES - 1;
}

uint64_t segment_unit_offset(uint32_t segment_bytes, uint32_t unit)
{
    return UNIT_BYTES + segment_table_bytes(segment_bytes) + (uint64_t)unit * UNIT_BYTES;
}

uint64_t segment_slot_offset(uint32_t unit)
{
    return UNIT_BYTES + (uint64_t)unit * SLOT_BYTES;
}

uint32_t segment_bytes_for(uint32_t units, uint32_t at_least)
{
    uint32_t bytes = at_least;
    while (segment_units(bytes) < units) {
        bytes += UNIT_BYTES;
    }
    return bytes;
}

void segment_path(uint64_t first, char out[SEGMENT_NAME_BYTES])
{
    snprintf(out, SEGMENT_NAME_BYTES, LOG_DIR "/log-%020llu", (unsigned long long)first);
}

void segment_header_encode(const struct segment *s, uint64_t cluster, uint8_t out[UNIT_BYTES])
{
    memset(out, 0, UNIT_BYTES);
    put_le(out, SEGMENT_MAGIC, 4);
    put_le(out + 4, SEGMENT_FORMAT, 4);
    put_le(out + 8, cluster, 8);
    put_le(out + 16, s->first, 8);
    put_le(out + 24, s->chain, 8);
    put_le(out + 32, s->bytes, 4);
    put_le(out + 36, s->epoch, 4);
    put_le(out + SEGMENT_SUM_OFFSET, hash64(out, SEGMENT_SUM_OFFSET), 8);
}

int segment_header_decode(const uint8_t in[UNIT_BYTES], uint64_t cluster, struct segment *out,
                          struct why *why)
{
    uint64_t magic = get_le(in, 4);
    if (magic != SEGMENT_MAGIC) {
        return why_set(why, ERR_CORRUPT, "segment magic: expected %#x, found %#llx", SEGMENT_MAGIC,
                       (unsigned long long)magic);
    }
    uint64_t sum = hash64(in, SEGMENT_SUM_OFFSET);
    uint64_t stored = get_le(in + SEGMENT_SUM_OFFSET, 8);
    if (sum != stored) {
        return why_set(why, ERR_CORRUPT, "segment header sum: expected %#llx, found %#llx",
                       (unsigned long long)stored, (unsigned long long)sum);
    }
    if (get_le(in + 4, 4) != SEGMENT_FORMAT) {
        return why_set(why, ERR_FORMAT, "segment format: this program knows %d, found %llu",
                       SEGMENT_FORMAT, (unsigned long long)get_le(in + 4, 4));
    }
    if (get_le(in + 8, 8) != cluster) {
        return why_set(why, ERR_FOREIGN_CLUSTER, "cluster id: expected %#llx, found %#llx",
                       (unsigned long long)cluster, (unsigned long long)get_le(in + 8, 8));
    }
    *out = (struct segment){.first = get_le(in + 16, 8),
                            .chain = get_le(in + 24, 8),
                            .bytes = (uint32_t)get_le(in + 32, 4),
                            .epoch = (uint32_t)get_le(in + 36, 4)};
    return 0;
}

void slot_encode(const struct slot *s, uint64_t cluster, uint8_t out[SLOT_BYTES])
{
    put_le(out, s->first, 8);
    put_le(out + 8, s->records, 4);
    put_le(out + 12, s->units, 4);
    put_le(out + 16, s->epoch, 4);
    put_le(out + 20, s->chain_low, 4);
    put_le(out + SLOT_SUM_OFFSET, hash64_seed(out, SLOT_SUM_OFFSET, cluster), 8);
}

enum slot_state slot_decode(const uint8_t in[SLOT_BYTES], uint64_t cluster, struct slot *out)
{
    if (bytes_are_zero(in, SLOT_BYTES)) {
        return SLOT_EMPTY;
    }
    if (hash64_seed(in, SLOT_SUM_OFFSET, cluster) != get_le(in + SLOT_SUM_OFFSET, 8)) {
        return SLOT_BAD;
    }
    *out = (struct slot){.first = get_le(in, 8),
                         .records = (uint32_t)get_le(in + 8, 4),
                         .units = (uint32_t)get_le(in + 12, 4),
                         .epoch = (uint32_t)get_le(in + 16, 4),
                         .chain_low = (uint32_t)get_le(in + 20, 4)};
    return SLOT_GOOD;
}

void segment_list_add(struct oplog *l, struct segment s)
{
    if (l->segment_count == l->segment_cap) {
        l->segment_cap = l->segment_cap ? l->segment_cap * 2 : 16;
        l->segments = mem_resize(l->segments, l->segment_cap * sizeof(*l->segments));
    }
    l->segments[l->segment_count++] = s;
}

void segment_list_drop_first(struct oplog *l)
{
    ASSERT(l->segment_count > 0);
    l->segment_count--;
    memmove(l->segments, l->segments + 1, l->segment_count * sizeof(*l->segments));
}
