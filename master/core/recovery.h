/* recovery.h - what a starting master trusts of what its predecessor left.
 *
 * The live environment `live/data.mdb` is synced by nobody. It is kept if the predecessor was only
 * killed (same incarnation) or stopped cleanly at exactly the position it holds, and if that
 * position lies on the log. Otherwise it is dropped and built from the newest checkpoint whose
 * every sum fits and whose position lies on the log, or from nothing if the log reaches back to the
 * first record. It is also dropped when it failed, or when two processes in a row died without
 * getting as far as one commit.
 *
 * Reading a large state through takes seconds. After a kill that is left to the caller, who goes on
 * meanwhile: the pages are those that the predecessor used.
 *
 * Pure but for LMDB behind store.h; blocks; before serving.
 */
#ifndef MASTER_CORE_RECOVERY_H
#define MASTER_CORE_RECOVERY_H

#include "master/core/oplog.h"
#include "master/core/store.h"

struct recovery_config {
    struct oplog_config log;
    const char *cluster_name;
    uint64_t ahead_bytes; /* for store_preallocate; 0 = not called */
    uint64_t large_bytes; /* live environments of so many bytes are not read through before they are
                           * used; 0 = all are */
};

/* How the state came to be. */
struct recovery_result {
    uint64_t replay_from; /* first record the store does not contain */
    bool live_kept;       /* else it was built anew */
    uint64_t checkpoint;  /* index of the checkpoint it was built from, 0 = from nothing */
    bool unproven;  /* kept, and large: whether it holds what was committed is to be found out */
    bool stateless; /* one log of several, and nothing here that a state could be built from: the
                     * store is empty and of no use, the next start tries again */
};

/* Opens log and store. The caller then replays the log from replay_from, calls oplog_start_epoch,
 * commits, and calls recovery_settled.
 *   ERR_CORRUPT, ERR_FOREIGN_CLUSTER (why says what), negative errno */
MUST_CHECK int recovery_open(struct env *env, const struct recovery_config *cfg,
                             struct store **out_store, struct oplog **out_log,
                             struct recovery_result *out, struct why *why);
/* The store was committed once by this process: it works. */
void recovery_settled(struct env *env);

#endif
