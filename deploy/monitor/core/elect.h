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

struct elect_view {
    bool joined;            /* it tries to get or keep the lock */
    bool held;              /* the lock is ours ... */
    uint64_t held_until_ns; /* ... until then, by our own clock, whatever else happens */
    uint32_t epoch;         /* newest epoch given out, as far as known */
};

/* A request to the engine; embedded in and owned by the caller until done ran, which it does exactly
 * once and never from inside the call. */
struct elect_ask {
    uint32_t want;               /* claim: see below; publish: the epoch */
    bool exact;                  /* claim */
    char addr[ADDR_LEN_MAX + 1]; /* publish: of the primary */
    void (*done)(struct elect_ask *a);
    int status;     /* 0, ERR_STALE_EPOCH, -EPERM: the lock is not ours, or another error */
    uint32_t epoch; /* claimed; with ERR_STALE_EPOCH the newest given out */
};

struct elect_ops {
    void (*join)(struct elect *e);
    void (*leave)(struct elect *e);
    void (*view)(const struct elect *e, struct elect_view *out);
    /* Takes an epoch while the lock is ours. Not exact: one above every epoch given out and at least
     * `want`. Exact: `want`, which a master gave itself; ERR_STALE_EPOCH if a higher one was given
     * out. Durable before done. */
    void (*claim)(struct elect *e, struct elect_ask *a);
    /* Tells everybody who asks the engine which master serves. */
    void (*publish)(struct elect *e, struct elect_ask *a);
};

#endif
