/* vouch.h - reads the state through while it is used already, if it is too large to be read before.
 *
 * On a worker thread, in steps, from a snapshot. Rows that are not those that were committed end the
 * process (store_abandon): the next start builds the state anew. Loop thread only.
 */
#ifndef MASTER_CORE_VOUCH_H
#define MASTER_CORE_VOUCH_H

#include "master/core/store.h"

enum { VOUCH_STEP_BYTES = 16 << 20 };

/* Owned by the caller. */
struct vouch {
    struct env *env;
    struct store *store;
    struct store_proof *proof; /* NULL = nothing is read */
    struct env_work work;
    uint64_t began_ns;
};

void vouch_start(struct vouch *v, struct env *env, struct store *store);
/* The env is halted, or nothing runs. */
void vouch_close(struct vouch *v);

#endif
