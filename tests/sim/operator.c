/* operator.c - somebody who restores what programs deleted, and purges some of it.
 *
 * What comes of it stands in the log, which the reference filesystem follows: a file that comes back
 * must be what it was.
 */
#include "tests/sim/operator.h"
#include "shared/base/mem.h"
#include "shared/env/rpc.h"
#include "tests/sim/world.h"

#include <stdio.h>
#include <string.h>

enum { ANSWER_MS = 3000, PAUSE_MAX_MS = 2000 };

struct operator
{
    struct world *world;
    struct sim_process *process;
    struct sim_rand rand;
    struct rpc rpc;
    struct rpc_call call;
    struct env_timer timer;
    uint32_t restored;
};

static void pause(struct operator* o)
{
    env_timer_set(&o->process->env, &o->timer, sim_between(&o->rand, 20, PAUSE_MAX_MS) * NS_PER_MS);
}

static void again(struct operator* o)
{
    rpc_cancel(&o->call);
    rpc_close(&o->rpc);
    pause(o);
}

static void ask(struct operator* o, enum op_code op, struct slice body,
                void (*done)(struct rpc_call *c))
{
    struct frame_header head = {.op = (uint16_t)op};
    o->call.done = done;
    o->call.owner = o;
    rpc_call(&o->rpc, &o->call, &head, body, NULL, ANSWER_MS);
}

static void ended(struct rpc_call *c)
{
    again(c->owner);
}

/* One of the first in the trash is restored, or purged. */
static void listed(struct rpc_call *c)
{
    struct operator* o = c->owner;
    struct trash_list_rep rep;
    if (RPC_REPLY(trash_list, c, &rep) != 0) {
        again(o);
        return;
    }
    struct reader r = reader_of(rep.items);
    struct trash_item item = {0};
    uint64_t seen = 0, ino = 0;
    bool meta = false;
    while (!reader_done(&r)) {
        dec_trash_item(&r, &item);
        if (r.err == 0 && sim_below(&o->rand, ++seen) == 0) {
            ino = item.ino;
            meta = item.path.len > 5 && memcmp(item.path.data, "/meta", 5) == 0;
        }
    }
    if (ino == 0) {
        again(o);
        return;
    }
    struct writer w;
    writer_init(&w);
    enc_u64(&w, &ino);
    if (sim_chance(&o->rand, 3, 4)) {
        /* Who makes a data file takes its name to be free: those come back elsewhere. */
        char to[32];
        snprintf(to, sizeof(to), "/meta/r%u", o->restored++);
        struct trash_restore_req req = {.inodes = writer_bytes(&w),
                                        .to = bytes_str(meta ? "" : to)};
        ask(o, OP_trash_restore, RPC_BODY(trash_restore_req, &req), ended);
    } else {
        struct trash_purge_req req = {.inodes = writer_bytes(&w)};
        ask(o, OP_trash_purge, RPC_BODY(trash_purge_req, &req), ended);
    }
    writer_free(&w);
}

static void greeted(struct rpc_call *c)
{
    struct operator* o = c->owner;
    if (c->status != 0) {
        again(o);
        return;
    }
    struct trash_list_req req = {0};
    ask(o, OP_trash_list, RPC_BODY(trash_list_req, &req), listed);
}

static void opened(void *owner, struct rpc *r)
{
    struct operator* o = owner;
    struct hello_req req = {.role = ROLE_ADMIN};
    (void)r;
    ask(o, OP_hello, RPC_BODY(hello_req, &req), greeted);
}

static void requested(void *owner, struct rpc *r, struct message *m)
{
    (void)owner;
    rpc_answer_status(r, &m->head, ERR_UNKNOWN_OP);
}

static void closed(void *owner, struct rpc *r, int err)
{
    (void)r;
    (void)err;
    pause(owner);
}

static const struct rpc_events events = {opened, requested, closed};

static void fired(struct env_timer *t)
{
    struct operator* o = container_of(t, struct operator, timer);
    if (o->world->healing) {
        return;
    }
    rpc_cancel(&o->call);
    rpc_close(&o->rpc);
    rpc_init(&o->rpc, &o->process->env, &events, o);
    rpc_dial(&o->rpc, MASTER_ADDR);
}

struct operator* operator_start(struct world *w)
{
    struct operator* o = mem_new(struct operator);
    o->world = w;
    o->rand = sim_rand_of(w->seed, 23);
    o->process = sim_process_create(w->sim, "operator");
    sim_process_start(o->process);
    rpc_init(&o->rpc, &o->process->env, &events, o);
    o->timer.fire = fired;
    pause(o);
    return o;
}

void operator_stop(struct operator* o)
{
    sim_process_kill(o->process);
    rpc_cancel(&o->call);
    rpc_close(&o->rpc);
    mem_free(o);
}
