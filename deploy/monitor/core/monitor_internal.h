/* monitor_internal.h - struct monitor, for the modules it consists of. */
#ifndef DEPLOY_MONITOR_CORE_MONITOR_INTERNAL_H
#define DEPLOY_MONITOR_CORE_MONITOR_INTERNAL_H

#include "deploy/monitor/core/fence.h"
#include "deploy/monitor/core/monitor.h"
#include "deploy/monitor/core/watched.h"
#include "shared/base/list.h"

enum {
    MONITOR_TICK_MS = 20,
    MONITOR_LAG_MS = 1000, /* a monitor later than this judges nobody by the time in between */
    LEASE_TELL_MS = 500,
    LEASE_MS = 2000,        /* as long the primary may believe that it is watched */
    RIVAL_AGAIN_MS = 60000, /* between complaints of another monitor of the same master */
    FIRST_LOOK_MS = 3000,   /* at its start, until all masters have answered, if they do */
    AGAIN_MS = 200,         /* before a failed step is tried again */
    BEHIND_AGAIN_MS = 5000, /* after the engine knew a later epoch than the master */
    PROMOTE_WAIT_MS = 10000,
    PROMOTE_PATIENCE_MS = 15000, /* then another master is tried, if there is one ... */
    /* ... and this one only if there is none, for so long: all others can have their turn */
    SHUN_MS = MONITOR_MASTERS_MAX * PROMOTE_PATIENCE_MS,
    FENCE_WAIT_MS = 500, /* for another monitor to end its master */
    YIELD_MS = 5000,     /* after a hand-over others come first for so long */
    HAND_OVER_WAIT_MS = 30000,
    STEP_DOWN_WAIT_MS = 10000, /* then a master that does not end by itself is ended */
    ASKERS_MAX = 64,
    ASKER_WAIT_MS = 60000, /* a connection of an operator's tool lasts so long */
};

enum monitor_state { LOOKING, CLAIMING, FENCING, PROMOTING, PUBLISHING, HOLDING, HANDING };

struct monitor {
    struct env *env;
    struct monitor_config cfg;
    struct elect *elect;
    struct watched masters[MONITOR_MASTERS_MAX];
    uint32_t count;
    enum monitor_state state;
    struct watched *target;  /* being promoted, or the primary; NULL in LOOKING */
    struct watched *primary; /* the last that was promoted; NULL = none yet */
    uint32_t epoch;          /* claimed for target */
    uint32_t at_least;       /* an epoch a log has promised already, and one */
    uint32_t ended;          /* newest epoch whose primary has certainly ended; 0 = not known */
    uint64_t nonce;          /* of this promotion */
    uint64_t promote_ns;     /* PROMOTING: since when */
    uint64_t yield_ns;       /* the lock is left to others until then, if there are any */
    uint64_t start_ns;
    uint64_t tick_ns;
    uint64_t again_ns;            /* nothing is tried before */
    uint64_t tell_ns;             /* the next lease */
    uint64_t rival_ns;            /* another monitor is not spoken of before */
    uint64_t down_ns;             /* HANDING: since when */
    uint64_t lost_ns;             /* when the primary was lost; 0 = it was not */
    char alarm[ADDR_LEN_MAX + 1]; /* for operators; empty = nothing */
    struct fence fence;           /* of the primary that was another monitor's */
    struct env_timer tick;
    struct rpc_call order; /* promote, master_lease or step_down */
    struct elect_ask ask;
    bool asking;        /* the engine has `ask` */
    struct list askers; /* connections of operators' tools */
    uint32_t asker_count;
    struct frame_header handover; /* of the request that waits */
    struct asker *handover_by;    /* NULL = none waits */
    uint64_t handover_ns;
    uint32_t handover_epoch;     /* the one that is given up */
    struct frame_header fencing; /* of another monitor's request that waits */
    struct asker *fencing_by;    /* NULL = none waits */
    uint32_t fencing_epoch;
};

struct elect_view monitor_view(const struct monitor *m);
/* From HOLDING only: the primary shall step down for another master. False: not now. */
bool monitor_hand_over(struct monitor *m);
/* Ends masters of ours that may act as primary, `but` excepted, unless they are spared. True if none is
 * left. */
bool monitor_fenced(struct monitor *m, const struct watched *but);

/* Operators' tools. */
void askers_accept(void *owner, struct env_conn *c);
void askers_tick(struct monitor *m);
/* The hand-over that was asked for has ended: answers. With status 0: who serves in which epoch. */
void askers_handed(struct monitor *m, int status, uint32_t epoch, const char *primary);
void askers_close(struct monitor *m);

#endif
