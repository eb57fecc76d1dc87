/* warming.h - what a master does while there is still a lot to read after its start.
 *
 * A large state that was kept is read through on a worker thread (vouch.h), while the master goes on.
 * A master without others that has many records to apply answers reads meanwhile, as a shadow does;
 * then it begins its epoch. Loop thread only.
 */
#ifndef MASTER_CORE_WARMING_H
#define MASTER_CORE_WARMING_H

#include "master/core/recovery.h"

enum {
    REPLAY_AT_ONCE = 20000,       /* more records than these are not applied before it listens */
    LARGE_STATE_BYTES = 64 << 20, /* reading more than that takes too long before it listens */
};

struct master;

/* Log and state are open. Sets m->warming: this one is alone and has a lot to read. */
void warming_found(struct master *m, const struct recovery_result *found);
MUST_CHECK int warming_start(struct master *m, struct why *why);
/* Periodic; ends it when everything is read. */
void warming_tick(struct master *m);

#endif
