/* ghost.c - a chunkserver that is never quite there. */
#include "tests/sim/ghost.h"

#include "shared/base/mem.h"
#include "shared/env/rpc.h"
#include "tests/sim/harmless.h"

#include <stdio.h>

enum { SEEDS_SHARE = 8, ANSWER_MS = 1000, REPLICAS_MOST = 12, PARTS_AT_ONCE = 70 };

struct ghost {
    struct world *world;
    struct sim_process *process;
    struct sim_rand rand;
    struct rpc rpc;
    struct rpc_call call;
    struct rpc_call parts[PARTS_AT_ONCE];
    struct env_timer timer;
    uint64_t disk;
    uint32_t visits; /* to come */
    uint32_t left;   /* requests of this one */
};

static void act(struct ghost *g);

static void hang_up(struct ghost *g)
{
    rpc_cancel(&g->call);
    for (uint32_t i = 0; i < PARTS_AT_ONCE; i++) {
        rpc_cancel(&g->parts[i]);
    }
    rpc_close(&g->rpc);
    env_timer_set(&g->process->env, &g->timer, sim_between(&g->rand, 1, 15) * NS_PER_S);
}

static void answered(struct rpc_call *c)
{
    struct ghost *g = c->owner;
    if (c->status == ERR_DISCONNECTED || c->status == ERR_TIMEOUT || g->left-- == 0) {
        hang_up(g);
    } else {
        act(g);
    }
}

static void ask(struct ghost *g, enum op_code op, struct slice body)
{
    struct frame_header head = {.op = (uint16_t)op};
    g->call.done = answered;
    g->call.owner = g;
    rpc_call(&g->rpc, &g->call, &head, body, NULL, ANSWER_MS);
}

/* ---------------------------------------------------------------- what it tells */

/* Replicas of chunks there are, or never were, in no order. */
static struct writer some_replicas(struct ghost *g)
{
    struct sim_rand *r = &g->rand;
    struct writer w;
    writer_init(&w);
    for (uint64_t n = sim_below(r, REPLICAS_MOST); n > 0; n--) {
        struct typed_ground at = harmless_ground(g->world, r);
        struct replica one = {.handle = at.handle,
                              .ino = at.ino,
                              .number = at.number,
                              .version = at.version + sim_below(r, 3) - 1,
                              .previous = sim_chance(r, 1, 2) ? 0 : at.version,
                              .mutation = sim_below(r, 3),
                              .length = (uint32_t)sim_below(r, 70000),
                              .state = (uint32_t)sim_between(r, REPLICA_OK, REPLICA_BAD)};
        if (sim_chance(r, 1, 4)) {
            one.handle |= 1ull << 50;
        }
        enc_replica(&w, &one);
    }
    if (sim_chance(r, 1, 12)) {
        writer_raw(&w, "\xc1", 1);
    }
    return w;
}

static struct slice report(struct ghost *g)
{
    struct writer w = some_replicas(g);
    struct report_req req = {.replicas = writer_bytes(&w), .last = sim_chance(&g->rand, 1, 3)};
    struct slice body = RPC_BODY(report_req, &req);
    writer_free(&w);
    return body;
}

static void ignored(struct rpc_call *c)
{
    (void)c;
}

/* More parts than anybody keeps. */
static void flood(struct ghost *g)
{
    struct frame_header head = {.op = OP_report};
    for (uint32_t i = 0; i < PARTS_AT_ONCE; i++) {
        if (!rpc_call_running(&g->parts[i])) {
            g->parts[i].done = ignored;
            rpc_call(&g->rpc, &g->parts[i], &head, report(g), NULL, ANSWER_MS);
        }
    }
}

static void join(struct ghost *g)
{
    struct register_req req = {
        .disk = g->disk + sim_below(&g->rand, 2),
        .self = {.addr = bytes_str(sim_chance(&g->rand, 1, 4) ? "10.0.9.9:9501" : "10.0.9.9:9500"),
                 .host = bytes_str("ghost"),
                 .rack = bytes_str(sim_chance(&g->rand, 1, 4) ? "" : "rack-1")},
        .boot = sim_rand64(&g->rand) | 1};
    ask(g, OP_register, RPC_BODY(register_req, &req));
}

static void act(struct ghost *g)
{
    struct writer w;
    struct scanned_req scanned;
    switch (sim_below(&g->rand, 8)) {
    case 0:
        join(g);
        break;
    case 1:
    case 2:
        w = some_replicas(g);
        scanned = (struct scanned_req){.replicas = writer_bytes(&w)};
        ask(g, OP_scanned, RPC_BODY(scanned_req, &scanned));
        writer_free(&w);
        break;
    case 3:
        flood(g);
        ask(g, OP_report, report(g));
        break;
    default:
        ask(g, OP_report, report(g));
        break;
    }
}

/* ---------------------------------------------------------------- a connection */

static void greeted(struct rpc_call *c)
{
    struct ghost *g = c->owner;
    if (c->status != 0) {
        hang_up(g);
    } else {
        join(g);
    }
}

static void opened(void *owner, struct rpc *r)
{
    struct ghost *g = owner;
    struct frame_header head = {.op = OP_hello};
    struct hello_req req = {.role = ROLE_CHUNKD};
    g->left = (uint32_t)sim_between(&g->rand, 1, 12);
    g->call.done = greeted;
    g->call.owner = g;
    rpc_call(r, &g->call, &head, RPC_BODY(hello_req, &req), NULL, ANSWER_MS);
}

static void closed(void *owner, struct rpc *r, int err)
{
    struct ghost *g = owner;
    (void)r;
    (void)err;
    env_timer_set(&g->process->env, &g->timer, sim_between(&g->rand, 1, 15) * NS_PER_S);
}

static const struct rpc_events events = {.on_open = opened, .on_close = closed};

static void fired(struct env_timer *t)
{
    struct ghost *g = container_of(t, struct ghost, timer);
    const struct sim_server *primary = world_primary(g->world);
    char addr[32];
    if (g->visits == 0) {
        return;
    }
    g->visits--;
    rpc_close(&g->rpc);
    world_master_addr(primary != NULL ? primary->rank : 0, addr);
    rpc_dial(&g->rpc, addr);
}

struct ghost *ghost_start(struct world *w)
{
    struct sim_rand r = sim_rand_of(w->seed, 30);
    if (!sim_chance(&r, 1, SEEDS_SHARE)) {
        return NULL;
    }
    struct ghost *g = mem_new(struct ghost);
    g->world = w;
    g->rand = r;
    g->disk = sim_rand64(&g->rand) | 1ull << 40;
    g->visits = (uint32_t)sim_between(&g->rand, 1, 4);
    g->process = sim_process_create(w->sim, "ghost");
    sim_process_start(g->process);
    rpc_init(&g->rpc, &g->process->env, &events, g);
    g->timer.fire = fired;
    env_timer_set(&g->process->env, &g->timer, sim_between(&g->rand, 1, 15) * NS_PER_S);
    return g;
}

void ghost_stop(struct ghost *g)
{
    if (g == NULL) {
        return;
    }
    sim_process_kill(g->process);
    rpc_cancel(&g->call);
    for (uint32_t i = 0; i < PARTS_AT_ONCE; i++) {
        rpc_cancel(&g->parts[i]);
    }
    rpc_close(&g->rpc);
    mem_free(g);
}
