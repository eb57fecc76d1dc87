/* placement.h - which servers get the replicas of a chunk.
 *
 * Pure choice: replicas spread over racks first, then over hosts, then over disks; among equals a
 * server is drawn with a chance that grows with its free space, so that disks fill evenly without
 * every chunk of a moment going to the emptiest one.
 */
#ifndef MASTER_CORE_PLACEMENT_H
#define MASTER_CORE_PLACEMENT_H

#include "shared/base/bytes.h"
#include "shared/env/env.h"

struct placement_server {
    uint32_t id;
    struct bytes host;
    struct bytes rack;
    uint64_t avail; /* bytes it may still store; its weight among equals */
};

/* Picks up to `wanted` of `servers` into out_ids, keeping away from the racks and
 * hosts of `have`, the servers that hold the chunk already; a server in `have` is never picked.
 * Returns how many were picked. The first one picked is as good as any. */
uint32_t placement_choose(struct env *env, const struct placement_server *servers, uint32_t count,
                          const struct placement_server *have, uint32_t have_count, uint32_t wanted,
                          uint32_t *out_ids);

#endif
