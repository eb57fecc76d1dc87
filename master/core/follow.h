/* follow.h - a shadow: applies the committed records of its own log to its state.
 *
 * The log grows by what the primary sends; a record is applied when enough logs are known to hold
 * it, never before, so nothing is ever to be undone. Records are kept in memory from when they come
 * until they are applied; those that were there before, or were too many, are read back from the
 * disk. Work goes on in short turns. LMDB commits as a primary's does, and checkpoints are made.
 *
 * The state hash that the primary logs is compared. A state that differs is given up, with the
 * checkpoints that may have it, and the process ends: the next one builds it anew.
 * Loop thread only.
 */
#ifndef MASTER_CORE_FOLLOW_H
#define MASTER_CORE_FOLLOW_H

#include "shared/base/list.h"
#include "shared/env/env.h"

enum {
    FOLLOW_KEPT_BYTES_MAX = 32 << 20, /* records in memory */
    FOLLOW_TURN_US = 2000,            /* one turn of the loop, about */
};

struct master;
struct oplog_cursor;

struct follow {
    struct list kept; /* struct kept: records after each other, the oldest first */
    uint64_t kept_bytes;
    struct oplog_cursor *cursor; /* NULL = none is open */
    uint64_t cursor_next;
    uint32_t cuts; /* of the log, when what is kept and the cursor were valid */
    struct env_timer more;
};

void follow_init(struct master *m);
void follow_close(struct master *m);
/* The log is open, and the state is at commit.applied. */
void follow_start(struct master *m);
/* More may be durable or committed: applied in the next turn of the loop. */
void follow_wake(struct master *m);
/* Periodic: commits what is applied. */
void follow_tick(struct master *m);
/* Applies the whole log, for a primary to be; it is all durable, and is the history now. Blocks. */
MUST_CHECK int follow_finish(struct master *m, struct why *why);

#endif
