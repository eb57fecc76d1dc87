/* transfer.h - a checkpoint of another's, for a shadow whose own log cannot be continued.
 *
 * Its next record was removed everywhere because a checkpoint has it; or its last records are not those
 * that were committed, and where they part is in a checkpoint; or records that were committed cannot
 * be read here; or it has no state and no checkpoint to build one from. Only while there is a primary,
 * which has everything that is committed, is the own log given up, unless it is new and has nothing.
 * The primary need not serve yet: it may wait for this log to hold its first record. It gives the
 * checkpoint, or, if it cannot, whoever else is ahead. The checkpoint is copied, the log begins anew
 * behind it, and the process ends: its next start builds the state.
 *
 * Also gives the own checkpoints to others. Loop thread only; a read of the other side blocks.
 */
#ifndef MASTER_CORE_TRANSFER_H
#define MASTER_CORE_TRANSFER_H

#include "shared/env/rpc.h"

enum {
    TRANSFER_PIECE_BYTES = 512 << 10,
    TRANSFER_WAIT_MS = 10000, /* for a piece */
    TRANSFER_CHECK_MS = 1000, /* whether one is needed */
    TRANSFER_PAUSE_MS = 5000, /* after one that failed */
};

struct master;
struct peer;

struct transfer {
    bool running;
    bool ended;       /* the process ends because of it */
    uint32_t source;  /* number of the master that gives */
    uint32_t refused; /* bits of those that could not give it; 0 again when nobody else can */
    uint64_t next_ns; /* when to look again */
    /* What was committed here when the other log was found to begin behind it, and since when that is
     * so; UINT64_MAX: it does not. */
    uint64_t apart_at, apart_ns;
    uint64_t hole_ns; /* the last time that no record a checkpoint has was missing in the log */
    uint64_t index;   /* of the checkpoint; 0 = the newest, not known yet */
    uint32_t part;    /* CHECKPOINT_SUMS, then CHECKPOINT_ROWS */
    uint64_t offset, size;
    struct rpc_call call;
    struct env_file *file; /* of the part being copied */
    struct slice piece;    /* being written */
    struct disk_op op;
    bool complete; /* both parts are there: the log begins anew as soon as it is quiet */
};

void transfer_init(struct master *m);
void transfer_start(struct master *m);
void transfer_tick(struct master *m);
void transfer_stop(struct master *m); /* it is not wanted any more */
void transfer_free(struct master *m); /* nothing of it is with the disk */
bool transfer_running(const struct master *m);
/* The process ends: what is in memory is not what its directory holds. */
bool transfer_ended(const struct master *m);
/* A primary: who lacks records that cannot be read here, and that no other log gave back, cannot be fed:
 * it is told to take the checkpoint that has them, as if this log began behind them. */
void transfer_offer(struct master *m);
/* checkpoint_read: true if it was that. */
bool transfer_request(struct peer *p, struct message *msg);

#endif
