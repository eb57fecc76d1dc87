/* master.h - the master as its shell and the simulator see it.
 *
 * Pure: everything through env. master_start recovers (which environment is kept, checkpoint,
 * replay), starts a new epoch and listens; from then on it is driven by env callbacks. One of a set
 * of masters starts as a shadow: it follows the set's log, answers reads, and takes office when it is
 * told to (promote).
 */
#ifndef MASTER_CORE_MASTER_H
#define MASTER_CORE_MASTER_H

#include "master/core/log_links.h"
#include "shared/base/geometry.h"
#include "shared/env/env.h"

struct master;

/* How much is kept in memory before others are told to wait, or left out; 0 = the usual. */
struct master_bounds {
    uint32_t commit_records;    /* applied, before LMDB commits */
    uint32_t held_replies;      /* until the log has what they saw */
    uint32_t queued_mutations;  /* until LMDB has committed */
    uint32_t pending_log_bytes; /* of records that are not durable */
    uint32_t grants;            /* machines that make versions of chunks ... */
    uint32_t grant_waiters;     /* ... requests of mounts that wait for one ... */
    uint32_t repairs;           /* ... and those that nobody asked for */
    uint32_t repair_queue;      /* chunks that wait for copies */
    uint32_t setbacks;          /* chunks whose repair failed lately */
    uint32_t name_leases;       /* directories whose names are promised to a mount */
    uint32_t waiting_reads;     /* of a shadow: until it has applied more */
};

struct master_config {
    char cluster[64];    /* cluster name; default "gfs" */
    char listen[256];    /* HOST:PORT */
    char advertise[256]; /* what others dial; empty = listen */
    struct geometry geometry;
    uint32_t
        trash_seconds; /* what loses its last name stays so long in the trash; 0 = not at all */
    uint32_t deletion_hold_s;   /* suspiciously many removals wait so long; 3600 */
    uint64_t preallocate_bytes; /* see store_preallocate; 0 = PREALLOCATE_DEFAULT */
    uint64_t large_state_bytes; /* see recovery_config; 0 = the usual */
    uint64_t checkpoint_rate;   /* bytes per second; 0 = CHECKPOINT_RATE_DEFAULT */
    uint32_t log_scrub_s;       /* full segments are read again once in this; 0 = LOG_SCRUB_S */
    uint32_t away_grace_ms;     /* members away for so long are replaced, unless one copy is left */
    uint32_t pair_pause_ms;     /* two servers make a chunk's version anew at most once in this */
    uint32_t balance_percent;   /* disks may differ in fill by so much; 0 = no moves for it */
    uint32_t slow_floor_ms;     /* a server is never slow below this mean time of an operation */
    uint32_t slow_window_ms;    /* nor before it was for so long; 0 = never */
    uint32_t balance_kib_s;     /* bandwidth of moves for better places; 0 = none */
    uint32_t rereplication_share; /* percent of a busy server that copies may take; 100 = all */
    struct log_set set;           /* the masters of the cluster; count 0 = this one alone */
    bool logger_only;             /* of a set: never the primary, and answers no reads */
    bool force;                   /* start although the log is damaged */
    struct master_bounds bounds;
};

struct master *master_create(struct env *env, const struct master_config *cfg);
/* 0, or negative with a sentence for the operator. */
MUST_CHECK int master_start(struct master *m, struct why *why);
/* About to be stopped: true if it is the primary of a set, and first flushes and tells the others that
 * it has ended, so that nobody waits for its leases; then it calls env_end. */
bool master_wind_down(struct master *m);
/* Clean stop: no new requests, log flushed, environment synced and marked; blocks. */
MUST_CHECK int master_stop(struct master *m, struct why *why);
/* Frees everything without I/O (also what a kill is to the simulator). */
void master_destroy(struct master *m);

/* For tests and the simulator. */
int master_audit(struct master *m, struct why *why); /* ns_audit and volatile invariants */
bool master_settled(struct master *m);   /* no grant, repair or removal is running or due */
bool master_redundant(struct master *m); /* settled, and no chunk lacks a copy */
uint64_t master_state_hash(struct master *m);
uint64_t master_applied(const struct master *m);

#endif
