/* operator.c - somebody who looks after the cluster.
 *
 * What comes of it stands in the log, which the reference filesystem follows: a file that comes back
 * must be what it was.
 */
#include "tests/sim/operator.h"
#include "shared/base/mem.h"
#include "shared/env/rpc.h"
#include "tests/sim/data_work.h"
#include "tests/sim/inspection.h"
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
    struct inspection looking;
    uint32_t restored;
    uint32_t on;        /* actions of this seed, one bit each */
    uint32_t take_back; /* server to be taken back next; 0 = not begun */
    bool done;
};

static void pause(struct operator* o)
{
    uint64_t most = o->world->healing ? 50 : PAUSE_MAX_MS;
    env_timer_set(&o->process->env, &o->timer, sim_between(&o->rand, 20, most) * NS_PER_MS);
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

/* ---------------------------------------------------------------- what it does */

static void look_at_trash(struct operator* o)
{
    struct trash_list_req req = {0};
    ask(o, OP_trash_list, RPC_BODY(trash_list_req, &req), listed);
}

/* Highest number a server was given. */
static uint32_t highest_server(struct world *w)
{
    uint32_t highest = 0;
    for (uint64_t i = 1; i <= log_tap_last(w->tap); i++) {
        const struct record *r = log_tap_record(w->tap, i);
        struct server_add_rec rec;
        if (r->type == OP_server_add && server_add_rec_decode(r->body, &rec) == 0) {
            highest = MAX(highest, rec.server.id);
        }
    }
    return highest;
}

static void set_server(struct operator* o, uint32_t server, uint32_t action, uint64_t ms,
                       void (*done)(struct rpc_call *c))
{
    struct server_set_req req = {.server = server, .action = action, .duration_ms = ms};
    ask(o, OP_server_set, RPC_BODY(server_set_req, &req), done);
}

static uint32_t some_server(struct operator* o)
{
    return 1 + (uint32_t)sim_below(&o->rand, highest_server(o->world));
}

static void drain(struct operator* o)
{
    uint32_t action = sim_chance(&o->rand, 1, 3) ? SERVER_DRAIN : SERVER_UNDRAIN;
    set_server(o, some_server(o), action, 0, ended);
}

static void announce(struct operator* o)
{
    set_server(o, some_server(o), SERVER_MAINTENANCE, sim_below(&o->rand, 4000), ended);
}

static void scan(struct operator* o)
{
    struct scrub_now_req req = {.server = some_server(o)};
    ask(o, OP_scrub_now, RPC_BODY(scrub_now_req, &req), ended);
}

static void checkpoint(struct operator* o)
{
    ask(o, OP_checkpoint_now, (struct slice){0}, ended);
}

static void set_replicas(struct operator* o)
{
    struct world *w = o->world;
    struct writer inodes;
    uint64_t seen = 0;
    writer_init(&inodes);
    enc_u64(&inodes, &w->meta_dir);
    list_for_each (it, &w->data->files) {
        const struct data_file *f = list_entry(it, struct data_file, link);
        if (seen < 32 && sim_chance(&o->rand, 1, 3)) {
            enc_u64(&inodes, &f->ino);
            seen++;
        }
    }
    struct replicas_set_req req = {.inodes = writer_bytes(&inodes),
                                   .replicas = world_draw_replicas(w, &o->rand)};
    ask(o, OP_replicas_set, RPC_BODY(replicas_set_req, &req), ended);
    writer_free(&inodes);
}

static void looked(struct rpc_call *c)
{
    struct operator* o = c->owner;
    if (c->status == 0) {
        inspection_check(o->world, &o->looking, c);
    }
    again(o);
}

static void look(struct operator* o)
{
    o->looking = inspection_draw(o->world, &o->rand);
    ask(o, o->looking.op, o->looking.body, looked);
}

static void (*const actions[])(struct operator* o) = {
    look_at_trash, look_at_trash, drain, announce, scan, checkpoint, set_replicas, look, look};

static void taken_back(struct rpc_call *c)
{
    struct operator* o = c->owner;
    if (c->status == 0 || c->status == -ENOENT) {
        o->take_back++;
        o->done = o->take_back > highest_server(o->world);
    }
    again(o);
}

static void act(struct operator* o)
{
    if (o->world->healing) {
        set_server(o, o->take_back, SERVER_UNDRAIN, 0, taken_back);
        return;
    }
    uint64_t draw = sim_below(&o->rand, COUNT_OF(actions));
    if (o->on >> draw & 1) {
        actions[draw](o);
    } else {
        again(o);
    }
}

static void greeted(struct rpc_call *c)
{
    struct operator* o = c->owner;
    if (c->status != 0) {
        again(o);
    } else {
        act(o);
    }
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
    if (o->done) {
        return;
    }
    rpc_cancel(&o->call);
    rpc_close(&o->rpc);
    rpc_init(&o->rpc, &o->process->env, &events, o);
    char addr[32];
    const struct sim_server *primary = world_primary(o->world);
    world_master_addr(primary != NULL ? primary->rank : 0, addr);
    rpc_dial(&o->rpc, addr);
}

struct operator* operator_start(struct world *w)
{
    struct operator* o = mem_new(struct operator);
    o->world = w;
    o->rand = sim_rand_of(w->seed, 23);
    o->take_back = 1;
    o->on = (uint32_t)sim_rand64(&o->rand);
    if (w->trash_seconds == 0) {
        o->on &= ~3u;
    }
    o->process = sim_process_create(w->sim, "operator");
    sim_process_start(o->process);
    rpc_init(&o->rpc, &o->process->env, &events, o);
    o->timer.fire = fired;
    pause(o);
    return o;
}

bool operator_done(void *operator)
{
    const struct operator* o = operator;
    return o->done;
}

void operator_stop(struct operator* o)
{
    sim_process_kill(o->process);
    rpc_cancel(&o->call);
    rpc_close(&o->rpc);
    mem_free(o);
}
