/* intent_ring.h - what writes were about to do, in memory that survives the process.
 *
 * Before the bytes of a block change, an entry with its old and new sum goes into a mapped ring.
 * After the process died (not the machine) the entries newer than the meta log tell for each block
 * whether its bytes are the new ones, the old ones, or torn. An entry may be overwritten only when
 * the sums it names stand in the meta log's file.
 *
 * Entry of 64 bytes, little endian, at place sequence % INTENT_ENTRIES:
 *
 *   off size field
 *     0   8  sequence    from 1
 *     8   8  handle
 *    16   8  version
 *    24   8  mutation
 *    32   4  block       UINT32_MAX: the mutation changes no block
 *    36   4  old_sum     0 if the block had no bytes
 *    40   4  new_sum
 *    44   4  old_length  of the chunk
 *    48   4  new_length
 *    52   4  flags       INTENT_BEGIN: no block; a primary sends the mutation to its secondaries.
 *                         INTENT_END: no block; all members have it. Without it they may differ
 *                         INTENT_DONE: no block; this server has written it. If its bytes are not
 *                         there, the disk lost them
 *    56   8  sum         XXH3-64 of the 56 bytes before, seeded with the disk's id
 *
 * Behind the entries stands one more, INTENT_NEWEST, whose handle is the newest entry's sequence: what is
 * missing before it was lost.
 */
#ifndef CHUNKD_CORE_INTENT_RING_H
#define CHUNKD_CORE_INTENT_RING_H

#include "shared/base/list.h"
#include "shared/env/env.h"

enum {
    INTENT_ENTRIES = 4096,
    INTENT_ENTRY_BYTES = 64,
    INTENT_RING_BYTES = (INTENT_ENTRIES + 1) * INTENT_ENTRY_BYTES,
    INTENT_NO_BLOCK = UINT32_MAX,
};

enum { INTENT_BEGIN = 1, INTENT_END = 2, INTENT_DONE = 4, INTENT_NEWEST = 8 };

struct intent {
    uint64_t sequence, handle, version, mutation;
    uint32_t block, old_sum, new_sum, old_length, new_length;
    uint32_t flags;
};

/* A mutation whose entries must stay. Embedded in its owner. */
struct intent_hold {
    struct list link;
    uint64_t first; /* its first entry */
};

struct intent_ring {
    uint8_t *map;
    uint64_t disk;
    uint64_t last;     /* sequence of the newest entry */
    uint64_t released; /* entries up to here may be overwritten */
    struct list holds; /* intent_hold, oldest first */
    bool cleared;      /* else the entries of the last process are still needed */
};

/* 0 or -EIO. Existing entries stay until intent_ring_clear; there is no room until then. */
MUST_CHECK int intent_ring_open(struct intent_ring *r, struct env *env, uint64_t disk);
void intent_ring_clear(struct intent_ring *r);
/* Room for `count` entries without overwriting any that must stay? */
bool intent_ring_has_room(const struct intent_ring *r, uint32_t count);
/* The entries put from now on stay until the hold ended and a release. */
void intent_ring_hold(struct intent_ring *r, struct intent_hold *h);
void intent_ring_unhold(struct intent_hold *h);
void intent_ring_put(struct intent_ring *r, const struct intent *e); /* its sequence is set here */
/* Entries up to the result belong to mutations that ended. */
uint64_t intent_ring_settled(const struct intent_ring *r);
void intent_ring_release(struct intent_ring *r, uint64_t up_to);
/* Valid entries in any order: returns how many; out has room for INTENT_ENTRIES. *out_whole: none was
 * lost. */
uint32_t intent_ring_load(const struct intent_ring *r, struct intent *out, bool *out_whole);

void intent_encode(const struct intent *e, uint64_t disk, uint8_t out[INTENT_ENTRY_BYTES]);
bool intent_decode(struct intent *e, uint64_t disk, const uint8_t in[INTENT_ENTRY_BYTES]);

#endif
