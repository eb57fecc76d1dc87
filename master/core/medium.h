/* medium.h - hears errors of the disk below the live environment.
 *
 * Nobody waits for the environment's pages to reach the disk, so nobody would hear that they did
 * not: a page that was lost would be read back wrong when memory runs short. Every
 * MEDIUM_INTERVAL_MS the environment is synced on a worker thread, but not while a checkpoint is
 * copied (it has the disk's bandwidth, and reads every row anyway). An error drops the
 * environment: the process ends (store_abandon), the next start builds it from a checkpoint.
 * Loop thread only.
 */
#ifndef MASTER_CORE_MEDIUM_H
#define MASTER_CORE_MEDIUM_H

#include "master/core/checkpoint.h"

enum { MEDIUM_INTERVAL_MS = 30000 };

/* Owned by the caller; while `running` it must stay, or the env be halted. */
struct medium {
    struct env *env;
    struct store *store;
    const struct checkpoint *checkpoint;
    struct env_work work;
    uint64_t next_ns;
    int result;
    bool running;
};

void medium_start(struct medium *m, struct env *env, struct store *store,
                  const struct checkpoint *checkpoint);
/* Periodic: starts a sync if one is due. */
void medium_tick(struct medium *m);

#endif
