/* caller.c - a connection to a monitor, a greeting, a few requests. */
#include "tests/sim/caller.h"
#include "master/core/master_internal.h"
#include "shared/base/mem.h"
#include "shared/env/rpc.h"
#include "tests/sim/monitors.h"

#include <stdio.h>

enum { ANSWER_MS = 2000, PAUSE_MAX_MS = 1500, REQUESTS_MAX = 6 };

struct caller {
    struct world *world;
    struct sim_process *process;
    struct sim_rand rand;
    struct rpc rpc;
    struct rpc_call call;
    struct rpc_call second; /* beside the first */
    struct env_timer timer;
    uint32_t left; /* requests on this connection */
    int expected;  /* of the answer; 0 = any */
};

static void again(struct caller *s)
{
    rpc_cancel(&s->call);
    rpc_cancel(&s->second);
    rpc_close(&s->rpc);
    env_timer_set(&s->process->env, &s->timer, sim_below(&s->rand, PAUSE_MAX_MS) * NS_PER_MS);
}

static struct slice noise(void)
{
    struct writer w;
    writer_init(&w);
    writer_raw(&w, "\xc1", 1);
    return writer_take(&w);
}

static void send(struct caller *s, struct rpc_call *c, enum op_code op, struct slice body,
                 void (*done)(struct rpc_call *c))
{
    struct frame_header head = {.op = (uint16_t)op};
    c->done = done;
    c->owner = s;
    rpc_call(&s->rpc, c, &head, body, NULL, ANSWER_MS);
}

static void next(struct caller *s);

static void answered(struct rpc_call *c)
{
    struct caller *s = c->owner;
    bool lost = c->status == ERR_DISCONNECTED || c->status == ERR_TIMEOUT;
    if (!lost && s->expected != 0 && c->status != s->expected) {
        world_fail(s->world, "a monitor answers %s with %s, wanted %s",
                   op_info_of(c->op) != NULL ? op_info_of(c->op)->name : "nonsense",
                   err_name(c->status), err_name(s->expected));
    }
    bool refused = c->op == OP_hello && c->status != 0;
    if (lost || refused || s->left == 0) {
        again(s);
    } else {
        next(s);
    }
}

/* No master of an epoch that it says is over is the primary. */
static void fenced(struct rpc_call *c)
{
    struct caller *s = c->owner;
    struct fence_rep rep;
    int status = RPC_REPLY(fence, c, &rep);
    for (uint32_t i = 0; i < s->world->master_count && status == 0; i++) {
        const struct master *m = s->world->masters[i]->master;
        if (m != NULL && m->primary && m->epoch == rep.ended) {
            world_fail(s->world, "a monitor says that the primary of epoch %u has ended",
                       rep.ended);
        }
    }
    answered(c);
}

static void ignored(struct rpc_call *c)
{
    (void)c;
}

/* Ends the primary that the monitor holds, if the epoch is so high. */
static void ask_fence(struct caller *s)
{
    bool high = sim_chance(&s->rand, 1, 10);
    struct fence_req req = {.epoch = high ? UINT32_MAX : (uint32_t)sim_below(&s->rand, 3)};
    send(s, &s->call, OP_fence, RPC_BODY(fence_req, &req), fenced);
    if (high && !rpc_call_running(&s->second)) {
        send(s, &s->second, OP_fence, RPC_BODY(fence_req, &req), ignored);
    }
}

static void ask_handover(struct caller *s)
{
    struct handover_req req;
    send(s, &s->call, OP_handover, RPC_BODY(handover_req, &req), answered);
    if (!rpc_call_running(&s->second)) {
        send(s, &s->second, OP_handover, RPC_BODY(handover_req, &req), ignored);
    }
}

static void next(struct caller *s)
{
    struct status_req status;
    s->left--;
    s->expected = 0;
    switch (sim_below(&s->rand, 8)) {
    case 0:
        s->expected = ERR_PROTOCOL;
        send(s, &s->call, OP_fence, noise(), answered);
        break;
    case 1:
        ask_handover(s);
        break;
    case 2:
    case 3:
        s->expected = ERR_UNKNOWN_OP;
        send(s, &s->call, OP_status, RPC_BODY(status_req, &status), answered);
        break;
    default:
        ask_fence(s);
    }
}

/* Who does not introduce himself, or belongs elsewhere, is not let in; who says nothing is sent away. */
static void opened(void *owner, struct rpc *r)
{
    struct caller *s = owner;
    struct handover_req handover;
    struct hello_req hello = {.name = bytes_str(sim_chance(&s->rand, 1, 2) ? "sim" : ""),
                              .role = ROLE_ADMIN};
    (void)r;
    s->left = 0;
    switch (sim_below(&s->rand, 10)) {
    case 0:
        s->expected = ERR_PROTOCOL;
        send(s, &s->call, OP_handover, RPC_BODY(handover_req, &handover), answered);
        return;
    case 1:
        s->expected = ERR_PROTOCOL;
        send(s, &s->call, OP_hello, noise(), answered);
        return;
    case 2:
        s->expected = ERR_FOREIGN_CLUSTER;
        hello.name = bytes_str("foreign");
        break;
    case 3:
        return;
    default:
        s->expected = 0;
        s->left = (uint32_t)sim_below(&s->rand, REQUESTS_MAX);
    }
    send(s, &s->call, OP_hello, RPC_BODY(hello_req, &hello), answered);
}

static void closed(void *owner, struct rpc *r, int err)
{
    (void)r;
    (void)err;
    again(owner);
}

static const struct rpc_events events = {.on_open = opened, .on_close = closed};

static void fired(struct env_timer *t)
{
    struct caller *s = container_of(t, struct caller, timer);
    char addr[32];
    if (s->world->meta_dir == 0) { /* hand-overs are longer than a soft mount waits to set it up */
        again(s);
        return;
    }
    rpc_init(&s->rpc, &s->process->env, &events, s);
    snprintf(addr, sizeof(addr), "10.0.2.%u:9450",
             1 + (unsigned)sim_below(&s->rand, monitors_count(s->world->monitors)));
    rpc_dial(&s->rpc, addr);
}

struct caller *caller_start(struct world *w)
{
    struct caller *s = mem_new(struct caller);
    s->world = w;
    s->rand = sim_rand_of(w->seed, 28);
    s->process = sim_process_create(w->sim, "caller");
    sim_process_start(s->process);
    rpc_init(&s->rpc, &s->process->env, &events, s);
    s->timer.fire = fired;
    env_timer_set(&s->process->env, &s->timer, PAUSE_MAX_MS * NS_PER_MS);
    return s;
}

void caller_stop(struct caller *s)
{
    if (s != NULL) {
        sim_process_kill(s->process);
        rpc_cancel(&s->call);
        rpc_cancel(&s->second);
        rpc_close(&s->rpc);
        mem_free(s);
    }
}
