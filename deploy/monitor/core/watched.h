/* watched.h - one master under a monitor: its process, and the conversation with it.
 *
 * The process is started again when it has ended: at once if it had come to answer, else after a
 * pause that doubles. A process that has not answered yet since it was started may be reading a long
 * log: it is waited for. Loop thread only.
 */
#ifndef DEPLOY_MONITOR_CORE_WATCHED_H
#define DEPLOY_MONITOR_CORE_WATCHED_H

#include "deploy/monitor/core/processes.h"
#include "shared/env/rpc.h"

enum {
    HEALTH_MS = 500,            /* between two questions */
    MISS_MS = 2000,             /* without an answer a master cannot be promoted */
    OUT_OF_TOUCH_MS = 5000,     /* a shadow that so long has not known how far the others are */
    REDIAL_MS = 50,             /* between attempts to connect */
    START_PAUSE_MS = 250,       /* before a process that ended early is started again ... */
    START_PAUSE_MAX_MS = 30000, /* ... twice as long each time, up to this */
    BRAKE_PROMOTIONS = 3,       /* a master that was promoted so often ... */
    BRAKE_WITHIN_MS = 600000,   /* ... in this time ... */
    BRAKE_MS = 300000,          /* ... comes after others for so long */
};

struct watched {
    struct env *env;
    struct processes *processes;
    const char *cluster;
    uint32_t number; /* in processes */
    char addr[ADDR_LEN_MAX + 1];
    bool running;
    bool introduced;
    bool killed;  /* it was told to end for good, and has not yet */
    bool refused; /* it said no to hello or health, and that was logged */
    struct rpc rpc;
    struct rpc_call ask; /* hello, then health again and again */
    uint64_t dial_ns;    /* not before */
    uint64_t ask_ns;     /* not before */
    uint64_t start_ns;   /* not before */
    uint32_t early_ends; /* in a row */
    uint32_t served;     /* newest epoch this process is known to have been the primary of */
    bool known;          /* this monitor started the process: it is no primary before it is asked */
    uint64_t shun_ns;    /* others are promoted first until then */
    uint64_t promoted_ns[BRAKE_PROMOTIONS]; /* its newest promotions, the last one first */
    uint64_t heard_ns; /* newest answer to health of this process; 0 = none yet */
    struct health_rep health;
};

void watched_init(struct watched *w, struct env *env, struct processes *p, uint32_t number,
                  const char *cluster, struct bytes addr);
/* Looks at the process, starts it if it is time to, asks how it is. True if it has just ended. */
bool watched_tick(struct watched *w);
/* It answered within MISS_MS, as a master that is or may become the primary. */
bool watched_able(const struct watched *w);
/* Until then others are promoted first because it was tried in vain; 0 = it was not. */
uint64_t watched_shunned(const struct watched *w);
/* Others shall be promoted first: it was promoted too often lately or in vain, or hears too few other
 * logs to be the primary. */
bool watched_braked(const struct watched *w);
void watched_promoted(struct watched *w);
/* It answered once and has been silent for `ms` since. */
bool watched_silent(const struct watched *w, uint64_t ms);
/* Times of silence counted so far were the monitor's own. */
void watched_forgive(struct watched *w);
void watched_kill(struct watched *w, const char *reason);
void watched_close(struct watched *w);

#endif
