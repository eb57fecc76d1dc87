/* handover.c - hello and masters of a master, then hello and handover of its monitor. */
#include "tests/sim/handover.h"
#include "shared/base/mem.h"
#include "shared/env/rpc.h"
#include "tests/sim/monitors.h"

#include <string.h>

enum { ANSWER_MS = 3000, HAND_OVER_MS = 35000 };

struct handover {
    struct world *world;
    struct sim_process *process;
    struct rpc rpc;
    struct rpc_call call;
    struct env_timer patience;
    bool running;
    bool at_monitor;
    uint32_t epoch; /* of the primary, as the master said */
};

static void end(struct handover *h)
{
    h->running = false;
    env_timer_stop(&h->process->env, &h->patience);
    rpc_cancel(&h->call);
    rpc_close(&h->rpc);
}

static void patience_ended(struct env_timer *t)
{
    end(container_of(t, struct handover, patience));
}

static void ask(struct handover *h, enum op_code op, struct slice body, uint32_t ms,
                void (*done)(struct rpc_call *c))
{
    struct frame_header head = {.op = (uint16_t)op};
    h->call.done = done;
    h->call.owner = h;
    rpc_call(&h->rpc, &h->call, &head, body, NULL, ms);
}

static void handed_over(struct rpc_call *c)
{
    struct handover *h = c->owner;
    struct handover_rep rep;
    char addr[ADDR_LEN_MAX + 1] = {0};
    if (RPC_REPLY(handover, c, &rep) == 0) {
        memcpy(addr, rep.primary.data, MIN(rep.primary.len, ADDR_LEN_MAX + 0u));
        world_say(h->world, "the hand-over is done: %s serves in epoch %u", addr, rep.epoch);
        if (rep.epoch <= h->epoch || !monitors_gave(h->world->monitors, rep.epoch, addr)) {
            world_fail(h->world, "the monitor says that %s serves in epoch %u, after epoch %u",
                       addr, rep.epoch, h->epoch);
        }
    }
    end(h);
}

static void watched_by(struct rpc_call *c)
{
    struct handover *h = c->owner;
    struct masters_rep rep;
    char addr[ADDR_LEN_MAX + 1] = {0};
    if (RPC_REPLY(masters, c, &rep) != 0 || rep.monitor.len == 0 || !rep.watched) {
        end(h);
        return;
    }
    memcpy(addr, rep.monitor.data, MIN(rep.monitor.len, ADDR_LEN_MAX + 0u));
    h->epoch = c->reply->head.epoch;
    h->at_monitor = true;
    rpc_close(&h->rpc);
    rpc_dial(&h->rpc, addr);
}

static void greeted(struct rpc_call *c)
{
    struct handover *h = c->owner;
    struct masters_req masters;
    struct handover_req req;
    if (c->status != 0) {
        end(h);
    } else if (h->at_monitor) {
        ask(h, OP_handover, RPC_BODY(handover_req, &req), HAND_OVER_MS, handed_over);
    } else {
        ask(h, OP_masters, RPC_BODY(masters_req, &masters), ANSWER_MS, watched_by);
    }
}

static void opened(void *owner, struct rpc *r)
{
    struct handover *h = owner;
    struct hello_req req = {.name = bytes_str("sim"), .role = ROLE_ADMIN};
    (void)r;
    ask(h, OP_hello, RPC_BODY(hello_req, &req), ANSWER_MS, greeted);
}

static void closed(void *owner, struct rpc *r, int err)
{
    (void)r;
    (void)err;
    end(owner);
}

static const struct rpc_events events = {.on_open = opened, .on_close = closed};

bool handover_ask(struct handover *h, uint32_t rank)
{
    char addr[32];
    if (h->running) {
        return false;
    }
    rpc_init(&h->rpc, &h->process->env, &events, h);
    env_timer_set(&h->process->env, &h->patience, 2 * HAND_OVER_MS * NS_PER_MS);
    h->running = true;
    h->at_monitor = false;
    world_master_addr(rank, addr);
    rpc_dial(&h->rpc, addr);
    return true;
}

struct handover *handover_new(struct world *w)
{
    struct handover *h = mem_new(struct handover);
    h->world = w;
    h->process = sim_process_create(w->sim, "gfsctl");
    sim_process_start(h->process);
    rpc_init(&h->rpc, &h->process->env, &events, h);
    h->patience.fire = patience_ended;
    return h;
}

void handover_free(struct handover *h)
{
    sim_process_kill(h->process);
    end(h);
    mem_free(h);
}
