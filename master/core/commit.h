/* commit.h - one way for a change: record -> operation log -> apply, and the points where LMDB
 * commits.
 *
 * A record is applied at once; answers that depend on it wait for the log. LMDB commits only at
 * quiet points, where the log has committed all that was applied: every COMMIT_INTERVAL_MS or
 * COMMIT_RECORDS, or when a commit may need all the space that is preallocated, mutations of
 * clients are held in a bounded queue until the log has caught up, then LMDB commits and they go
 * on. Checkpoints start there.
 * Loop thread only.
 */
#ifndef MASTER_CORE_COMMIT_H
#define MASTER_CORE_COMMIT_H

#include "master/core/checkpoint.h"
#include "shared/base/list.h"
#include "shared/env/rpc.h"

enum {
    COMMIT_INTERVAL_MS = 100,
    COMMIT_RECORDS = 4096,
    STATE_HASH_EVERY = 1024,
    PRIMARY_CHECKPOINT_FACTOR = 4, /* a primary with shadows makes so many times fewer */
    MUTATION_QUEUE_MAX = 16384,
    PENDING_LOG_BYTES_MAX = 64 << 20,
    HELD_REPLIES_MAX = 131072,
};

struct master;
struct peer;

/* Something that waits for an index. Embedded in its owner; link is initialised when idle. */
struct commit_wait {
    struct list link;
    uint64_t index;
    void (*done)(struct commit_wait *w);
};

struct commit {
    uint64_t applied;     /* newest record appended and applied */
    uint64_t chain;       /* H(applied) */
    int64_t time_ns;      /* of the newest record */
    uint32_t uncommitted; /* records applied since LMDB committed */
    uint64_t settled_ns;  /* when it last committed */
    bool draining;        /* mutations wait in `queue` */
    bool settled;         /* it committed once since the start */
    bool stopped;
    struct list queue; /* struct queued_mutation */
    uint32_t queued;
    struct list waits;             /* struct commit_wait, by index */
    struct checkpoint *checkpoint; /* NULL before start */
    struct list asks;              /* struct checkpoint_ask: for the next checkpoint */
    bool wanted;                   /* one is to be made, for another master */
    struct list asks_now;          /* for the one being made */
};

void commit_init(struct master *m);
void commit_close(struct master *m); /* frees what waits */

uint64_t committed_index(const struct master *m);
/* Logs and applies a record of the master's own, or of a client if `who` is given; *rep (may be
 * NULL) gets the answer. Returns its index. Views in *rep live until the next record. */
uint64_t commit_record(struct master *m, enum op_code op, const union op_any *rec,
                       const struct frame_header *who, union op_any *rep);
/* Calls w->done once `index`, not committed yet, is. */
void commit_wait_for(struct master *m, struct commit_wait *w, uint64_t index);

/* A client's mutation or open for writing: run it now, or queue it if a quiet point is being
 * reached; ERR_BUSY beyond the bounds. */
void commit_mutation(struct master *m, struct peer *p, struct message *msg);
/* The same at the next quiet point, when others had their turn. */
void commit_mutation_later(struct master *m, struct peer *p, const struct frame_header *head,
                           struct bytes body);
/* A connection is gone: its queued mutations and its wishes for checkpoints are forgotten. */
void commit_forget(struct peer *p);

/* The log has committed up to `index`. */
void commit_advanced(void *owner, uint64_t index);
/* Periodic: reach a quiet point if one is due. */
void commit_tick(struct master *m);
/* As much is applied as one commit should hold. */
bool commit_full(const struct master *m);
/* A shadow's: commits LMDB if it is due, and starts a checkpoint if one is. */
void commit_followed(struct master *m);
/* Commits LMDB; all that was applied is in the log for good. */
void commit_store(struct master *m);
/* Commits LMDB if the log has caught up; true if all that was applied is in LMDB now. */
bool commit_quiet_point(struct master *m);

/* Answers `request` when a checkpoint made from now on is durable. */
void commit_checkpoint_ask(struct master *m, struct peer *p, const struct frame_header *request);

#endif
