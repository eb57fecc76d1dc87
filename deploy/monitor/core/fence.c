/* fence.c - hello, one request, an end. */
#include "deploy/monitor/core/fence.h"

#include <stdio.h>

static void finish(struct fence *f, uint32_t ended)
{
    fence_cancel(f);
    f->done(f, ended);
}

static void fail(struct fence *f, int status)
{
    env_log(f->env, LOG_WARN,
            "the monitor at %s does not say that its master has ended (%s): its leases are waited "
            "for",
            f->monitor, err_text(status));
    finish(f, 0);
}

static void on_fenced(struct rpc_call *c)
{
    struct fence *f = c->owner;
    struct fence_rep rep;
    int status = RPC_REPLY(fence, c, &rep);
    if (status != 0) {
        fail(f, status);
    } else {
        finish(f, rep.ended);
    }
}

static void on_hello(struct rpc_call *c)
{
    struct fence *f = c->owner;
    struct frame_header head = {.op = OP_fence};
    if (c->status != 0) {
        fail(f, c->status);
        return;
    }
    c->done = on_fenced;
    rpc_call(&f->rpc, c, &head, RPC_BODY(fence_req, &(struct fence_req){.epoch = f->epoch}), NULL,
             0);
}

static void on_open(void *owner, struct rpc *r)
{
    struct fence *f = owner;
    struct hello_req hello = {.name = bytes_str(f->cluster), .role = ROLE_ADMIN};
    struct frame_header head = {.op = OP_hello};
    f->call.done = on_hello;
    rpc_call(r, &f->call, &head, RPC_BODY(hello_req, &hello), NULL, 0);
}

static void on_close(void *owner, struct rpc *r, int err)
{
    struct fence *f = owner;
    (void)r;
    if (f->running) {
        fail(f, err != 0 ? err : ERR_DISCONNECTED);
    }
}

static const struct rpc_events events = {.on_open = on_open, .on_close = on_close};

static void timer_fired(struct env_timer *t)
{
    fail(container_of(t, struct fence, timer), ERR_TIMEOUT);
}

void fence_init(struct fence *f, struct env *env, const char *cluster,
                void (*done)(struct fence *f, uint32_t ended))
{
    *f = (struct fence){
        .env = env, .cluster = cluster, .done = done, .timer = {.fire = timer_fired}};
    f->call.owner = f;
    rpc_init(&f->rpc, env, &events, f);
}

void fence_start(struct fence *f, const char *monitor, uint32_t epoch, uint32_t wait_ms)
{
    ASSERT(!f->running);
    f->running = true;
    f->epoch = epoch;
    snprintf(f->monitor, sizeof(f->monitor), "%s", monitor);
    rpc_dial(&f->rpc, f->monitor);
    env_timer_set(f->env, &f->timer, wait_ms * NS_PER_MS);
}

void fence_cancel(struct fence *f)
{
    f->running = false;
    env_timer_stop(f->env, &f->timer);
    rpc_cancel(&f->call);
    rpc_close(&f->rpc);
}
