/* elect_keeper.h - the engine of several machines: lock, epochs and address in a keeper (ZooKeeper).
 *
 * Under /gfs/CLUSTER:
 *   lock/NONCE-NUMBER  ephemeral, numbered; the lowest number holds the lock. The nonce is that of
 *                      the session, so that an entry whose creation was not answered is known again
 *   epoch              "EPOCH MASTER MONITOR NONCE": the newest epoch given out, to whom, and the
 *                      nonce of that claim. Replaced only at the version that was read, and together
 *                      with a check that the claimer's own lock entry is still there
 *   active             "EPOCH MASTER": the primary, for whoever wants to know
 *   cand/MONITOR       ephemeral: "ABLE BRAKED ROLE EPOCH DURABLE MASTER" of each monitor
 * "-" stands for an empty word. Who wants the lock waits until nobody has an entry, and half a second
 * for every monitor whose master is better; whoever is not the lowest then withdraws.
 *
 * A session's death is heard of only from a server, so the lock counts as lost two thirds of the
 * agreed timeout after the last write that was answered was sent, whatever the client says. One that is
 * away for three timeouts begins another session. Reads may be old: what matters is read after the own
 * lock entry was made, or decided by a write.
 */
#ifndef DEPLOY_MONITOR_CORE_ELECT_KEEPER_H
#define DEPLOY_MONITOR_CORE_ELECT_KEEPER_H

#include "deploy/monitor/core/elect.h"
#include "deploy/monitor/core/keeper.h"
#include "shared/env/env.h"

enum {
    KEEPER_TICK_MS = 50,
    KEEPER_BEAT_MS = 1000,   /* between two writes that prove the session */
    KEEPER_LOOK_MS = 1000,   /* between two looks without a change that was told */
    KEEPER_RANK_MS = 500,    /* for every better candidate */
    KEEPER_OTHERS_MAX = 16,  /* monitors beside this one, more are not counted */
    KEEPER_QUIET_MS = 60000, /* a trouble that lasts is logged again */
    KEEPER_SETTLE_MS = 3000, /* the monitor of a primary comes first after a new session */
    KEEPER_ASK_MS = 5000,    /* then what the monitor asked for has failed */
    KEEPER_GIVE_UP = 3,      /* timeouts away from all servers: another session is begun */
};

/* The newest epoch, and to whom it was given. */
struct keeper_epoch {
    uint32_t epoch;
    char addr[ADDR_LEN_MAX + 1];
    char monitor[ADDR_LEN_MAX + 1];
    uint64_t nonce;
    int32_t version; /* of the entry */
};

struct keeper_other {
    char monitor[KEEPER_NAME_MAX + 1];
    struct elect_candidate master;
};

struct elect_keeper {
    struct elect elect;
    struct env *env;
    struct keeper *keeper;
    char root[64 + LABEL_LEN_MAX];
    char monitor[ADDR_LEN_MAX + 1]; /* this one, as others dial it */
    struct elect_candidate self;
    bool joined;
    /* the session */
    enum keeper_state state;
    uint64_t nonce;     /* of the session */
    uint64_t open_ns;   /* when it was begun */
    bool renewed;       /* it is not the first */
    bool ready;         /* the lasting entries are there ... */
    uint64_t ready_ns;  /* ... since then */
    uint32_t made;      /* of them, in this session */
    uint64_t sent_ns;   /* the call under way */
    uint64_t proven_ns; /* sending of the newest write that was answered; 0 = none */
    /* the call under way */
    struct keeper_call call;
    bool busy;
    void (*then)(struct elect_keeper *k, struct keeper_call *c);
    /* what was read */
    uint64_t pause_ns;               /* no call before: the last one was lost */
    uint64_t look_ns;                /* the next look, not before */
    uint64_t beat_ns;                /* the next proof, not before */
    char mine[KEEPER_NAME_MAX + 1];  /* our lock entry; empty = none is known */
    char spare[KEEPER_NAME_MAX + 1]; /* another one of ours, to be removed; empty = none */
    bool lowest;                     /* ours was the lowest at the last look */
    bool first;                      /* ... and the epoch was read since: the lock is ours */
    uint64_t free_ns;                /* since when nobody has an entry; 0 = somebody has */
    struct keeper_other others[KEEPER_OTHERS_MAX];
    uint32_t other_count;
    uint32_t other_read; /* of them, in this look */
    struct keeper_epoch epoch;
    uint32_t active_epoch;
    char active[ADDR_LEN_MAX + 1];
    /* what the monitor asked for */
    struct elect_ask *ask; /* NULL = nothing */
    uint64_t ask_ns;       /* since when */
    bool publishes;
    bool claimed; /* the claim was sent: its nonce tells whether it was done */
    uint64_t claim_nonce;
    struct keeper_epoch before;
    char trouble[ADDR_LEN_MAX + 1];
    uint64_t trouble_ns; /* when it was logged */
    struct env_timer tick;
};

/* `monitor` = HOST:PORT of this monitor. Opens the keeper's session at once. */
void elect_keeper_open(struct elect_keeper *k, struct env *env, struct keeper *keeper,
                       const char *cluster, const char *monitor);
void elect_keeper_close(struct elect_keeper *k);

#endif
