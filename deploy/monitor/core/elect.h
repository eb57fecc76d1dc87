/* elect.h - the engine of a monitor: who holds the lock, and the epochs given to primaries.
 *
 * The engine chooses; safety is the log's: whatever an engine says, a master commits only under the
 * highest epoch its log has promised. An engine tells its state by `view`, as of now, and does what
 * it is asked in its own time. Loop thread only.
 */
#ifndef DEPLOY_MONITOR_CORE_ELECT_H
#define DEPLOY_MONITOR_CORE_ELECT_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/limits.h"

struct elect {
    const struct elect_ops *ops;
};

/* What other monitors may know of this one's best master. */
struct elect_candidate {
    bool able;   /* it is the primary, or could be now */
    bool braked; /* others first: watched_braked */
    uint32_t role, epoch;
    uint64_t durable;
    char addr[ADDR_LEN_MAX + 1];
};

struct elect_view {
    bool joined;            /* it tries to get or keep the lock */
    bool held;              /* the lock is ours ... */
    uint64_t held_until_ns; /* ... until then, by our own clock, whatever else happens */
    uint32_t epoch;         /* newest epoch given out, as far as known */
    uint32_t others;        /* other monitors with a master that could serve now ... */
    uint32_t calm_others;   /* ... that is not braked */
    uint32_t active_epoch;  /* newest that was published, 0 = none ... */
    const char *active;     /* ... and the master; empty = none */
    const char *trouble;    /* what is wrong with the engine, a sentence; empty = nothing */
};

/* A request to the engine; embedded in and owned by the caller until done ran, which it does exactly
 * once and never from inside the call. */
struct elect_ask {
    uint32_t want;               /* claim: see below; publish: the epoch */
    bool exact;                  /* claim */
    char addr[ADDR_LEN_MAX + 1]; /* of the master it is for */
    void (*done)(struct elect_ask *a);
    int status;     /* 0, ERR_STALE_EPOCH, -EPERM: the lock is not ours, or another error */
    uint32_t epoch; /* claimed; with ERR_STALE_EPOCH the newest given out */
    /* claimed: the epoch given out before, and the monitor of the master it was given to; empty = not
     * known, or this monitor */
    uint32_t before;
    char before_monitor[ADDR_LEN_MAX + 1];
};

struct elect_ops {
    /* Tries to get the lock; gives it back, or up. */
    void (*join)(struct elect *e);
    void (*leave)(struct elect *e);
    void (*view)(const struct elect *e, struct elect_view *out);
    /* For other monitors, as of now: who has a better master joins first. */
    void (*report)(struct elect *e, const struct elect_candidate *c);
    /* Takes an epoch while the lock is ours. Not exact: one above every epoch given out and at least
     * `want`. Exact: `want`, which a master serves in already; ERR_STALE_EPOCH if a higher one was
     * given out. Durable before done. */
    void (*claim)(struct elect *e, struct elect_ask *a);
    /* Tells everybody who asks the engine which master serves. */
    void (*publish)(struct elect *e, struct elect_ask *a);
};

/* A candidate before others: a primary before shadows, calm before braked, the newer epoch before the
 * older, then the longer log. Equal ones are better than each other in neither way. */
bool elect_better(const struct elect_candidate *a, const struct elect_candidate *b);

#endif
