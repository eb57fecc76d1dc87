/* checkpoint.h - copies of the state at a committed index, made while the master goes on serving,
 * and finding the newest good one.
 *
 * A checkpoint is an LMDB file that is never written again, `checkpoints/ckpt-<index, 20
 * digits>.mdb`, and beside it a `.sum` with its position and a checksum of every MiB (format:
 * checkpoint.c). It exists once both have their names. The newest two are kept, and the log from
 * the older one's index.
 *
 * Loop thread; pure but for LMDB behind store.h. The copy runs on a worker in slices of at most 4
 * MiB, each synced, at a bounded rate; the file is read back 1 MiB at a time with one read in
 * flight: so neither the loop nor the syncs of the operation log are held up for long.
 */
#ifndef MASTER_CORE_CHECKPOINT_H
#define MASTER_CORE_CHECKPOINT_H

#include "master/core/oplog.h"
#include "master/core/store.h"

#define CHECKPOINT_DIR "checkpoints"

enum {
    CHECKPOINTS_KEPT = 2,
    CHECKPOINTS_LISTED_MAX = 16,
    CHECKPOINT_RATE_DEFAULT = 128 << 20, /* bytes per second */
    CHECKPOINT_RATE_MAX = 1 << 30,
};

/* One finished checkpoint. */
struct checkpoint_ref {
    struct store_position at;
    uint64_t cluster;
    uint64_t bytes; /* of the .mdb file */
};

/* Path of a checkpoint's .mdb file, and of its .sum file. Returns out. */
const char *checkpoint_path(uint64_t index, char *out, uint32_t size);
const char *checkpoint_sum_path(uint64_t index, char *out, uint32_t size);

/* Checkpoints with a whole .sum file, newest first; a count, ERR_FORMAT (why names the file) or
 * negative errno. Blocks. */
MUST_CHECK int checkpoint_list(struct env *env, struct checkpoint_ref out[CHECKPOINTS_LISTED_MAX],
                               struct why *why);
/* Reads the whole file and compares every sum: 0, ERR_CORRUPT (which MiB), negative errno. Blocks. */
MUST_CHECK int checkpoint_verify(struct env *env, const struct checkpoint_ref *ref,
                                 struct why *why);
/* Removes one that did not verify. Blocks. */
void checkpoint_remove(struct env *env, const struct checkpoint_ref *ref);

/* ---- making them */

struct checkpoint;

/* Removes what unfinished ones left. The store has just been opened, at the start: a checkpoint newer
 * than it could not be used, and is none of those that are kept, but stays until it is one too many.
 * Blocks. Negative errno if the directory cannot be made or read. */
MUST_CHECK int checkpoint_create(struct env *env, struct store *store, struct oplog *log,
                                 struct checkpoint **out, struct why *why);
/* Bytes per second written by the copy, 1 to CHECKPOINT_RATE_MAX; CHECKPOINT_RATE_DEFAULT until set. */
void checkpoint_set_rate(struct checkpoint *c, uint64_t bytes_per_s);
/* Frees memory; no work may be on a thread (the env was halted, or checkpoint_running is false). */
void checkpoint_destroy(struct checkpoint *c);

/* done(owner, status, position): status 0, or negative (the reason is in the log; nothing is lost,
 * the next one may be started). */
typedef void (*checkpoint_done)(void *owner, int status, struct store_position at);

/* Starts a checkpoint of what the store committed last. The snapshot is taken before this returns:
 * commits may go on. When it is durable, older ones and the log they needed are removed.
 *   -EBUSY     one is being made
 *   -EALREADY  the newest one is at this index; done is not called
 * Rows that do not hash to what was committed end the process (store_abandon). */
MUST_CHECK int checkpoint_start(struct checkpoint *c, checkpoint_done done, void *owner);
bool checkpoint_running(const struct checkpoint *c);
/* Position of the newest; all zero if there is none. */
struct store_position checkpoint_newest(const struct checkpoint *c);

#endif
