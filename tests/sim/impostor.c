/* impostor.c - somebody who answers where chunkservers look for a master. */
#include "tests/sim/impostor.h"
#include "chunkd/core/core.h"
#include "shared/base/mem.h"
#include "shared/env/rpc.h"
#include "tests/sim/typed.h"

#include <string.h>

enum { ASK_MS = 100, ANSWER_MS = 300 };

/* How it treats who dialled it. */
enum manner {
    SILENT,
    HANGS_UP,
    REFUSES,
    OTHER_CLUSTER,
    NO_PRIMARY,
    OLD_EPOCH,
    /* Of these it hears the request to register. */
    REGISTERS_NOT,
    REGISTERS_BADLY,
    REGISTERS,
    MANNERS
};

struct line {
    struct impostor *impostor;
    struct list link; /* in impostor.lines */
    struct rpc rpc;
    struct rpc_call call;
    struct env_timer timer; /* it hangs up, or asks for something */
    struct sim_server *server;
    enum manner manner;
    bool harmless; /* what it asks for may be answered: it names nothing */
};

struct impostor {
    struct world *world;
    struct sim_process *process;
    struct sim_rand rand;
    struct typed *typed;
    struct list lines;
};

static const struct label *label_of(const struct line *l)
{
    return &l->server->chunkd->label;
}

static void alarm_after(struct line *l, uint64_t ms)
{
    env_timer_set(&l->impostor->process->env, &l->timer, ms * NS_PER_MS);
}

/* ---------------------------------------------------------------- hello */

static struct bytes some_primary(struct impostor *x)
{
    static const char *const names[] = {"", IMPOSTOR_ADDR, "10.0.0.8:9400", "nobody"};
    uint64_t i = sim_below(&x->rand, COUNT_OF(names) + 2);
    return i < COUNT_OF(names)    ? bytes_str(names[i])
           : i == COUNT_OF(names) ? bytes_of(x->typed->letters, ADDR_LEN_MAX + 1)
                                  : bytes_str("10.0.0.1:9400");
}

static void answer_hello(struct line *l, const struct message *m)
{
    struct impostor *x = l->impostor;
    struct sim_rand *r = &x->rand;
    static const int refusals[] = {ERR_FOREIGN_CLUSTER, ERR_NOT_READY, ERR_BUSY, -EIO, 7};
    struct frame_header head = m->head;
    struct hello_rep rep = {.cluster = label_of(l)->cluster, .role = MASTER_PRIMARY};
    uint32_t epoch = label_of(l)->epoch;
    switch (l->manner) {
    case REFUSES:
        head.op = sim_chance(r, 1, 4) ? OP_heartbeat : head.op; /* what nobody asked */
        rpc_answer_status(&l->rpc, &head, refusals[sim_below(r, COUNT_OF(refusals))]);
        return;
    case OTHER_CLUSTER:
        rep.cluster = sim_rand64(r) | 1;
        break;
    case NO_PRIMARY:
        rep.role = (uint32_t)sim_between(r, MASTER_SHADOW, MASTER_STARTING + 1);
        rep.primary = some_primary(x);
        break;
    case OLD_EPOCH:
        epoch = epoch > 0 ? (uint32_t)sim_below(r, epoch) : 0;
        break;
    default:
        break;
    }
    rpc_answer(&l->rpc, &m->head, 0, 0, epoch, RPC_BODY(hello_rep, &rep), NULL);
}

/* ---------------------------------------------------------------- register */

/* One thing of the answer is not as it should be. */
static void spoil(struct line *l, struct register_rep *rep, uint32_t *epoch)
{
    struct sim_rand *r = &l->impostor->rand;
    switch (sim_below(r, 11)) {
    case 0:
        rep->id = 0;
        break;
    case 1:
        rep->id++;
        break;
    case 2:
        rep->cluster = 0;
        break;
    case 3:
        rep->cluster = sim_rand64(r) | 1;
        break;
    case 4:
        rep->chunk_bytes = 0;
        break;
    case 5:
        rep->chunk_bytes = rep->block_bytes / 2; /* the chunk smaller than its blocks */
        break;
    case 6:
        rep->chunk_bytes *= 2; /* not that of this disk */
        break;
    case 7:
        rep->block_bytes = (uint32_t)sim_below(r, 4) * 511 + (sim_chance(r, 1, 2) ? 1u << 30 : 0);
        break;
    case 8:
        rep->heartbeat_ms = 0;
        break;
    case 9:
        rep->lease_ms = 0;
        break;
    default:
        *epoch = *epoch > 0 ? *epoch - 1 : 0;
        rep->id = *epoch > 0 ? rep->id : 0;
        break;
    }
}

static void answer_register(struct line *l, const struct message *m)
{
    struct impostor *x = l->impostor;
    const struct label *label = label_of(l);
    const struct geometry *g = &x->world->geo;
    struct register_rep rep = {.id = label->server,
                               .cluster = label->cluster,
                               .chunk_bytes = g->chunk_bytes,
                               .block_bytes = g->block_bytes,
                               .heartbeat_ms = g->heartbeat_ms,
                               .lease_ms = g->lease_ms,
                               .request_timeout_ms = 0,
                               .next_handle = UINT64_MAX}; /* says nothing: it knows no chunk */
    uint32_t epoch = label->epoch;
    if (l->manner == REGISTERS_NOT || label->server == 0) {
        rpc_answer_status(&l->rpc, &m->head, sim_chance(&x->rand, 1, 2) ? -EINVAL : ERR_NOT_MASTER);
        return;
    }
    if (l->manner == REGISTERS_BADLY) {
        spoil(l, &rep, &epoch);
    }
    rpc_answer(&l->rpc, &m->head, 0, 0, epoch, RPC_BODY(register_rep, &rep), NULL);
}

/* ---------------------------------------------------------------- what it asks for */

static void asked(struct rpc_call *c)
{
    struct line *l = c->owner;
    if (c->status == 0 && !l->harmless) {
        world_fail(l->impostor->world, "%s does what an impostor asked it for",
                   l->server->process->name);
    }
}

/* Readable, and of this epoch, but something is wrong in it. */
static struct slice wrong_body(struct line *l, uint16_t *op)
{
    static const struct bytes noise = {(const uint8_t *)"\xc1", 1};
    struct sim_rand *r = &l->impostor->rand;
    struct chunkd_replica_info one = {.handle = 1};
    (void)chunkd_replica_next(l->server->chunkd, 1, &one);
    struct server source = {.id = 1, .addr = bytes_str("10.0.1.1:9500")};
    struct pull_req pull = {.handle = one.handle, .source = source, .version = 1ull << 62};
    struct prepare_req prepare = {.handle = one.handle};
    struct activate_req activate = {.handle = 1ull << 50, .version = 1};
    struct drop_replicas_req drop = {.handles = noise, .aside = noise};
    struct digests_req digests = {.handles = noise};
    switch (sim_below(r, 7)) {
    case 0:
        pull.others = noise;
        break;
    case 1:
        pull.source.addr.len = 0;
        break;
    case 2:
        pull.mend = true;
        pull.version = 0;
        break;
    case 3:
        *op = OP_prepare;
        return RPC_BODY(prepare_req, &prepare);
    case 4:
        *op = OP_activate;
        return RPC_BODY(activate_req, &activate);
    case 5:
        *op = OP_drop_replicas;
        l->harmless = true;
        return RPC_BODY(drop_replicas_req, &drop);
    default:
        *op = OP_digests;
        l->harmless = true;
        return RPC_BODY(digests_req, &digests);
    }
    *op = OP_pull;
    return RPC_BODY(pull_req, &pull);
}

/* Unreadable, or in an epoch that is over. */
static struct slice bad_body(struct line *l, uint16_t *op, uint32_t *epoch)
{
    static const uint16_t ops[] = {OP_prepare, OP_pull,     OP_activate,       OP_drop_replicas,
                                   OP_digests, OP_scan_now, OP_verify_replica, OP_hello};
    struct impostor *x = l->impostor;
    struct typed_ground ground = {.none = true, .masters = ""};
    union op_any req;
    struct writer w;
    *op = ops[sim_below(&x->rand, COUNT_OF(ops))];
    typed_draw(x->typed, op_info_of(*op), &ground, &req);
    writer_init(&w);
    op_info_of(*op)->req_encode(&w, &req);
    if (*epoch == 0 || sim_chance(&x->rand, 3, 4)) {
        writer_raw(&w, "\xc1", 1);
    } else {
        --*epoch;
    }
    return writer_take(&w);
}

static void ask(struct line *l)
{
    struct frame_header head = {.epoch = label_of(l)->epoch};
    l->harmless = false;
    struct slice body = sim_chance(&l->impostor->rand, 1, 2) ? wrong_body(l, &head.op)
                                                             : bad_body(l, &head.op, &head.epoch);
    l->call.done = asked;
    l->call.owner = l;
    rpc_call(&l->rpc, &l->call, &head, body, NULL, ANSWER_MS);
}

/* ---------------------------------------------------------------- connections */

static void line_free(struct line *l)
{
    list_remove(&l->link);
    rpc_cancel(&l->call);
    rpc_close(&l->rpc);
    env_timer_stop(&l->impostor->process->env, &l->timer);
    mem_free(l);
}

static void fired(struct env_timer *t)
{
    struct line *l = container_of(t, struct line, timer);
    if (l->manner == HANGS_UP) {
        line_free(l);
        return;
    }
    if (!rpc_call_running(&l->call) && l->server->chunkd != NULL) {
        ask(l);
    }
    alarm_after(l, ASK_MS);
}

static void requested(void *owner, struct rpc *rpc, struct message *m)
{
    struct line *l = owner;
    (void)rpc;
    if (l->manner == SILENT || l->manner == HANGS_UP || l->server->chunkd == NULL) {
        return;
    }
    if (m->head.op == OP_hello) {
        answer_hello(l, m);
    } else if (m->head.op == OP_register) {
        answer_register(l, m);
    }
}

static void closed(void *owner, struct rpc *rpc, int err)
{
    (void)rpc;
    (void)err;
    line_free(owner);
}

static const struct rpc_events events = {.on_request = requested, .on_close = closed};

static struct sim_server *server_named(struct world *w, const char *name)
{
    for (uint32_t i = 1; i < w->server_count; i++) {
        if (strcmp(w->servers[i].process->name, name) == 0) {
            return &w->servers[i];
        }
    }
    return NULL;
}

static void accepted(void *owner, struct env_conn *conn)
{
    struct impostor *x = owner;
    struct env *env = &x->process->env;
    struct sim_server *server = server_named(x->world, env_peer_name(env, conn));
    if (server == NULL) {
        env_hangup(env, conn);
        return;
    }
    struct line *l = mem_new(struct line);
    l->impostor = x;
    l->server = server;
    l->manner = (enum manner)sim_below(&x->rand, MANNERS);
    l->timer.fire = fired;
    list_push_back(&x->lines, &l->link);
    rpc_init(&l->rpc, env, &events, l);
    rpc_accept(&l->rpc, conn);
    if (l->manner == HANGS_UP) {
        alarm_after(l, sim_below(&x->rand, ASK_MS));
    } else if (l->manner == REGISTERS || sim_chance(&x->rand, 1, 4)) { /* also before it may */
        alarm_after(l, sim_below(&x->rand, ASK_MS));
    }
}

struct impostor *impostor_start(struct world *w)
{
    if (!w->impostor) {
        return NULL;
    }
    struct impostor *x = mem_new(struct impostor);
    x->world = w;
    x->rand = sim_rand_of(w->seed, 28);
    x->typed = typed_new(&x->rand);
    x->process = sim_process_create(w->sim, "impostor");
    list_init(&x->lines);
    sim_process_start(x->process);
    if (env_listen(&x->process->env, IMPOSTOR_ADDR, accepted, x) != 0) {
        world_fail(w, "the impostor cannot listen");
    }
    return x;
}

void impostor_stop(struct impostor *x)
{
    if (x == NULL) {
        return;
    }
    sim_process_kill(x->process);
    while (!list_empty(&x->lines)) {
        line_free(list_entry(x->lines.next, struct line, link));
    }
    typed_free(x->typed);
    mem_free(x);
}
