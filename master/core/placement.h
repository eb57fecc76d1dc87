/* placement.h - which servers get the replicas of a chunk.
 *
 * Pure choice: replicas spread over racks first, then over hosts, then over disks; then servers
 * that are slow are avoided; among equals a server is drawn with a chance that grows with its free
 * space and falls with its recent load, so that disks fill evenly without every chunk of a moment
 * going to the emptiest one.
 */
#ifndef MASTER_CORE_PLACEMENT_H
#define MASTER_CORE_PLACEMENT_H

#include "shared/base/bytes.h"
#include "shared/base/limits.h"
#include "shared/env/env.h"

struct placement_server {
    uint32_t id;
    struct bytes host;
    struct bytes rack;
    uint64_t avail; /* bytes it may still store; its weight among equals */
    uint64_t total; /* bytes of its disk; 0 = not known */
    uint32_t load;  /* recent load, permille of the mean of all; 0 = idle */
    bool slow;
};

/* Picks up to `wanted` of `servers` into out_ids, keeping away from the racks and
 * hosts of `have`, the servers that hold the chunk already; a server in `have` is never picked.
 * Returns how many were picked. The first one picked is as good as any. */
uint32_t placement_choose(struct env *env, const struct placement_server *servers, uint32_t count,
                          const struct placement_server *have, uint32_t have_count, uint32_t wanted,
                          uint32_t *out_ids);

/* Files made in a row go to the same servers, the same one first: then a message between mounts and
 * chunkservers carries several of them, which costs much less than one for each. A row ends with a
 * pause of more than ROW_GAP_US, or after ROW_MAX files. */
enum { ROW_GAP_US = 1000, ROW_MAX = 32 };

struct placement_row {
    uint32_t ids[REPLICAS_MAX];
    uint32_t count;   /* 0 = no row */
    uint32_t wanted;  /* what it was chosen for */
    uint32_t left;    /* files that may still join it */
    uint64_t last_ns; /* when one did last */
};

/* How many ids of the row stand in out_ids; 0: it has ended, or not all its servers are among
 * `servers` any more. */
uint32_t placement_row_next(struct placement_row *r, const struct placement_server *servers,
                            uint32_t count, uint32_t wanted, uint64_t now_ns, uint32_t *out_ids);
/* `ids` were chosen now, and begin a row. */
void placement_row_begin(struct placement_row *r, const uint32_t *ids, uint32_t count,
                         uint32_t wanted, uint64_t now_ns);

/* How much the servers of a set share: 0 = every one has a rack and a host of its own. */
uint32_t placement_crowding(const struct placement_server *set, uint32_t count);

/* A move of one replica after which the members share less. True and the best one: the fullest of
 * equal members leaves, the emptiest of equal servers comes. Slow servers take nothing. */
bool placement_better(const struct placement_server *members, uint32_t member_count,
                      const struct placement_server *servers, uint32_t count, uint32_t *out_from,
                      uint32_t *out_to);

/* Permille of its disk that is in use. */
uint32_t placement_fill(const struct placement_server *s);

/* A move of one replica to a disk at least `gap` permille emptier, after which the members do not
 * share more: from the fullest member to the emptiest such server. */
bool placement_level(const struct placement_server *members, uint32_t member_count,
                     const struct placement_server *servers, uint32_t count, uint32_t gap,
                     uint32_t *out_from, uint32_t *out_to);

/* A sentence on what these servers lack so that `wanted` replicas need not share a rack, nor a
 * host; empty if they lack nothing. */
void placement_missing(const struct placement_server *servers, uint32_t count, uint32_t wanted,
                       char *out, size_t size);

#endif
