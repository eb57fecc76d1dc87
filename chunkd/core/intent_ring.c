/* intent_ring.c - what writes were about to do, in memory that survives the process. */
#include "chunkd/core/intent_ring.h"
#include "shared/base/bytes.h"
#include "shared/base/hash.h"

#include <string.h>

enum { INTENT_SUM_OFFSET = INTENT_ENTRY_BYTES - 8 };

void intent_encode(const struct intent *e, uint64_t disk, uint8_t out[INTENT_ENTRY_BYTES])
{
    put_le(out, e->sequence, 8);
    put_le(out + 8, e->handle, 8);
    put_le(out + 16, e->version, 8);
    put_le(out + 24, e->mutation, 8);
    put_le(out + 32, e->block, 4);
    put_le(out + 36, e->old_sum, 4);
    put_le(out + 40, e->new_sum, 4);
    put_le(out + 44, e->old_length, 4);
    put_le(out + 48, e->new_length, 4);
    put_le(out + 52, e->flags, 4);
    put_le(out + INTENT_SUM_OFFSET, hash64_seed(out, INTENT_SUM_OFFSET, disk), 8);
}

bool intent_decode(struct intent *e, uint64_t disk, const uint8_t in[INTENT_ENTRY_BYTES])
{
    if (get_le(in + INTENT_SUM_OFFSET, 8) != hash64_seed(in, INTENT_SUM_OFFSET, disk)) {
        return false;
    }
    e->sequence = get_le(in, 8);
    e->handle = get_le(in + 8, 8);
    e->version = get_le(in + 16, 8);
    e->mutation = get_le(in + 24, 8);
    e->block = (uint32_t)get_le(in + 32, 4);
    e->old_sum = (uint32_t)get_le(in + 36, 4);
    e->new_sum = (uint32_t)get_le(in + 40, 4);
    e->old_length = (uint32_t)get_le(in + 44, 4);
    e->new_length = (uint32_t)get_le(in + 48, 4);
    e->flags = (uint32_t)get_le(in + 52, 4);
    return e->sequence != 0;
}

int intent_ring_open(struct intent_ring *r, struct env *env, uint64_t disk)
{
    *r = (struct intent_ring){.disk = disk};
    list_init(&r->holds);
    r->map = env_map_ring(env, "ring", INTENT_RING_BYTES);
    return r->map == NULL ? -EIO : 0;
}

static void put_newest(struct intent_ring *r)
{
    struct intent newest = {
        .sequence = 1, .handle = r->last, .block = INTENT_NO_BLOCK, .flags = INTENT_NEWEST};
    intent_encode(&newest, r->disk, r->map + INTENT_ENTRIES * INTENT_ENTRY_BYTES);
}

void intent_ring_clear(struct intent_ring *r)
{
    memset(r->map, 0, INTENT_RING_BYTES);
    r->cleared = true;
    put_newest(r);
}

bool intent_ring_has_room(const struct intent_ring *r, uint32_t count)
{
    return r->cleared && r->last + count - r->released <= INTENT_ENTRIES;
}

void intent_ring_hold(struct intent_ring *r, struct intent_hold *h)
{
    h->first = r->last + 1;
    list_push_back(&r->holds, &h->link);
}

void intent_ring_unhold(struct intent_hold *h)
{
    list_remove(&h->link);
}

void intent_ring_put(struct intent_ring *r, const struct intent *e)
{
    ASSERT(intent_ring_has_room(r, 1));
    struct intent one = *e;
    one.sequence = ++r->last;
    intent_encode(&one, r->disk, r->map + one.sequence % INTENT_ENTRIES * INTENT_ENTRY_BYTES);
    put_newest(r);
}

uint64_t intent_ring_settled(const struct intent_ring *r)
{
    if (list_empty(&r->holds)) {
        return r->last;
    }
    return list_entry(r->holds.next, struct intent_hold, link)->first - 1;
}

void intent_ring_release(struct intent_ring *r, uint64_t up_to)
{
    r->released = MAX(r->released, up_to);
}

uint32_t intent_ring_load(const struct intent_ring *r, struct intent *out, bool *out_whole)
{
    uint32_t n = 0;
    struct intent newest;
    bool known = intent_decode(&newest, r->disk, r->map + INTENT_ENTRIES * INTENT_ENTRY_BYTES) &&
                 newest.flags == INTENT_NEWEST;
    uint64_t last = known ? newest.handle : 0;
    uint64_t missing = MIN(last, (uint64_t)INTENT_ENTRIES);
    for (uint32_t i = 0; i < INTENT_ENTRIES; i++) {
        if (intent_decode(&out[n], r->disk, r->map + i * INTENT_ENTRY_BYTES) &&
            out[n].sequence % INTENT_ENTRIES == i) {
            missing -= out[n].sequence <= last && last - out[n].sequence < INTENT_ENTRIES;
            n++;
        }
    }
    *out_whole = known && missing == 0;
    return n;
}
