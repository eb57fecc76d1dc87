/* replica_sync.h - making a replica durable: data first, then sums, then it may be called clean.
 *
 * One sync of a replica runs at a time and serves everybody who waits; what was written after it
 * began needs another one. The chunk stays marked dirty until it was not written for flush_ms after
 * a sync.
 */
#ifndef CHUNKD_CORE_REPLICA_SYNC_H
#define CHUNKD_CORE_REPLICA_SYNC_H

#include "chunkd/core/core.h"

/* Embedded in its owner; done runs once, never inside replica_sync: 0, or -EIO: the replica has
 * failed. */
struct sync_wait {
    void (*done)(struct sync_wait *w, int status);
    struct list link;
    uint64_t writes; /* to be covered */
};

void replica_sync(struct chunkd *c, struct local_replica *r, struct sync_wait *w);
void replica_sync_cancel(struct sync_wait *w);
/* Starts the timer that syncs dirty replicas in the background. */
void background_flush_start(struct chunkd *c);
void background_flush_stop(struct chunkd *c);
/* Everything durable and marked clean now; blocks. Replicas with operations running stay dirty. */
MUST_CHECK int sync_all_now(struct chunkd *c);

#endif
