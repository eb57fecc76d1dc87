/* prober.c - reads under old versions. */
#include "tests/sim/prober.h"
#include "shared/base/mem.h"
#include "shared/env/rpc.h"
#include "tests/sim/versions.h"

enum { TICK_MS = 20, ANSWER_MS = 300, BYTES = 64 };

/* Its connection to one chunkserver. */
struct line {
    struct prober *prober;
    uint32_t chunkd;
    struct rpc rpc;
    struct rpc_call call;
    bool greeted;
};

struct prober {
    struct world *world;
    struct sim_process *process;
    struct sim_rand rand;
    struct env_timer timer;
    struct line lines[WORLD_SERVERS_MAX];
};

static void ignore(struct rpc_call *c)
{
    (void)c;
}

static void greeted(struct rpc_call *c)
{
    struct line *l = c->owner;
    l->greeted = c->status == 0;
}

static void opened(void *owner, struct rpc *r)
{
    struct line *l = owner;
    struct hello_req req = {.role = ROLE_CLIENT};
    l->call.done = greeted;
    l->call.owner = l;
    rpc_call(r, &l->call, &(struct frame_header){.op = OP_hello}, RPC_BODY(hello_req, &req), NULL,
             ANSWER_MS);
}

static void closed(void *owner, struct rpc *r, int err)
{
    struct line *l = owner;
    (void)r;
    (void)err;
    l->greeted = false; /* dialled again when there is something to ask */
}

static const struct rpc_events events = {.on_open = opened, .on_close = closed};

static void ask(struct line *l, uint64_t handle, uint64_t version)
{
    struct read_req req = {.handle = handle, .version = version, .length = BYTES};
    if (l->rpc.conn == NULL) {
        char addr[32];
        world_chunkd_addr(l->prober->world, l->chunkd, addr);
        rpc_dial(&l->rpc, addr);
    } else if (l->greeted && !rpc_call_running(&l->call)) {
        l->call.done = ignore;
        rpc_call(&l->rpc, &l->call, &(struct frame_header){.op = OP_read}, RPC_BODY(read_req, &req),
                 NULL, ANSWER_MS);
    }
}

static void fired(struct env_timer *t)
{
    struct prober *p = container_of(t, struct prober, timer);
    uint64_t handle, version;
    env_timer_set(&p->process->env, t, TICK_MS * NS_PER_MS);
    if (versions_left_behind(p->world->versions, &p->rand, &handle, &version)) {
        for (uint32_t i = 1; i < p->world->server_count; i++) {
            ask(&p->lines[i], handle, version);
        }
    }
}

struct prober *prober_start(struct world *w)
{
    struct prober *p = mem_new(struct prober);
    p->world = w;
    p->rand = sim_rand_of(w->seed, 24);
    p->process = sim_process_create(w->sim, "prober");
    sim_process_start(p->process);
    for (uint32_t i = 1; i < w->server_count; i++) {
        p->lines[i].prober = p;
        p->lines[i].chunkd = i;
        rpc_init(&p->lines[i].rpc, &p->process->env, &events, &p->lines[i]);
    }
    p->timer.fire = fired;
    env_timer_set(&p->process->env, &p->timer, TICK_MS * NS_PER_MS);
    return p;
}

void prober_stop(struct prober *p)
{
    sim_process_kill(p->process);
    for (uint32_t i = 1; i < p->world->server_count; i++) {
        rpc_cancel(&p->lines[i].call);
        rpc_close(&p->lines[i].rpc);
    }
    mem_free(p);
}
