/* fence.h - has another monitor end the masters there that an epoch was taken from.
 *
 * Best effort: what cannot be had in the time is done without, because epochs protect the log; what
 * can be had saves waiting for the old primary's leases. Loop thread only.
 */
#ifndef DEPLOY_MONITOR_CORE_FENCE_H
#define DEPLOY_MONITOR_CORE_FENCE_H

#include "shared/env/rpc.h"

struct fence {
    struct env *env;
    const char *cluster;
    uint32_t epoch; /* the later one */
    bool running;
    char monitor[ADDR_LEN_MAX + 1];
    struct rpc rpc;
    struct rpc_call call;
    struct env_timer timer;
    /* ended: newest epoch whose primary has certainly ended; 0 = not known. Not from inside
     * fence_start. */
    void (*done)(struct fence *f, uint32_t ended);
};

void fence_init(struct fence *f, struct env *env, const char *cluster,
                void (*done)(struct fence *f, uint32_t ended));
/* None may be running. */
void fence_start(struct fence *f, const char *monitor, uint32_t epoch, uint32_t wait_ms);
/* done does not run. */
void fence_cancel(struct fence *f);

#endif
