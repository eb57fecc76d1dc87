/* operator.c - somebody who looks after the cluster.
 *
 * What comes of it stands in the log, which the reference filesystem follows: a file that comes back
 * must be what it was.
 */
#include "tests/sim/operator.h"
#include "shared/base/mem.h"
#include "shared/env/rpc.h"
#include "tests/sim/data_work.h"
#include "tests/sim/harmless.h"
#include "tests/sim/inspection.h"
#include "tests/sim/refusals.h"
#include "tests/sim/world.h"

#include <stdio.h>
#include <string.h>

enum { ANSWER_MS = 3000, PAUSE_MAX_MS = 2000, PICKED_MAX = 5, PAGES_MAX = 20 };

struct operator
{
    struct world *world;
    struct sim_process *process;
    struct sim_rand rand;
    struct rpc rpc;
    struct rpc_call call;
    struct env_timer timer;
    struct inspection looking;
    uint32_t pages;                  /* of what it looks at */
    int refusal;                     /* that must come */
    uint64_t picked[PICKED_MAX + 2]; /* inodes of the trash that it names */
    uint32_t picked_count;
    bool others; /* it asks any master, not the primary */
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
    if (!o->world->healing && sim_chance(&o->rand, 1, 16)) { /* it does not wait for the answer */
        env_timer_set(&o->process->env, &o->timer, sim_below(&o->rand, 20) * NS_PER_MS);
    }
}

static void ended(struct rpc_call *c)
{
    again(c->owner);
}

/* ---------------------------------------------------------------- the trash */

static void restored(struct rpc_call *c)
{
    static const int reasons[] = {-ENOENT, -EEXIST,       -ESTALE, -ENOTDIR,
                                  -EINVAL, -ENAMETOOLONG, -ENOSPC};
    struct operator* o = c->owner;
    struct trash_restore_rep rep;
    if (RPC_REPLY(trash_restore, c, &rep) == 0) {
        bool known = rep.failed == 0;
        for (size_t i = 0; i < COUNT_OF(reasons); i++) {
            known |= rep.failed == reasons[i];
        }
        if (!known || rep.done > o->picked_count ||
            (rep.failed == 0) != (rep.done == o->picked_count)) {
            world_fail(o->world, "%u of %u are restored, and then %lld", rep.done, o->picked_count,
                       (long long)rep.failed);
        }
    }
    again(o);
}

static void purged(struct rpc_call *c)
{
    struct operator* o = c->owner;
    struct trash_purge_rep rep;
    if (RPC_REPLY(trash_purge, c, &rep) == 0 && rep.done > o->picked_count) {
        world_fail(o->world, "%u of %u are purged", rep.done, o->picked_count);
    }
    again(o);
}

/* Some of one kind: of the tree, or data files; of these one. */
static void pick(struct operator* o, struct bytes items, bool meta)
{
    struct reader r = reader_of(items);
    uint64_t seen = 0;
    uint32_t most = meta ? (uint32_t)sim_between(&o->rand, 1, PICKED_MAX) : 1;
    o->picked_count = 0;
    while (!reader_done(&r)) {
        struct trash_item item;
        dec_trash_item(&r, &item);
        bool is_meta = item.path.len > 5 && memcmp(item.path.data, "/meta", 5) == 0;
        if (r.err != 0 || is_meta != meta) {
            continue;
        }
        uint64_t at = sim_below(&o->rand, ++seen);
        if (o->picked_count < most) {
            o->picked[o->picked_count++] = item.ino;
        } else if (at < most) {
            o->picked[at] = item.ino;
        }
    }
}

/* What is named twice, or is not there. */
static void pick_wrongly(struct operator* o)
{
    if (sim_chance(&o->rand, 1, 4)) {
        o->picked[o->picked_count] = o->picked[0];
        o->picked_count++;
    }
    if (sim_chance(&o->rand, 1, 6)) {
        o->picked[o->picked_count++] = 1ull << 55 | sim_below(&o->rand, 1000);
    }
}

/* Who makes a data file takes its name to be free: those come back elsewhere. */
static void restore(struct operator* o, struct bytes inodes, bool meta)
{
    static const char *const odd[] = {"/",         "meta/..",     "/meta/.",    "/nowhere/x",
                                      "/shared/x", "/meta/n1/n2", "//meta//n3", "/meta/n4/"};
    static uint8_t letters[NAME_LEN_MAX + 1];
    char to[32] = "";
    struct trash_restore_req req = {.inodes = inodes};
    memset(letters, 'x', sizeof(letters));
    if (!meta || sim_chance(&o->rand, 1, 4)) {
        snprintf(to, sizeof(to), "/meta/r%u", o->restored++);
    } else if (sim_chance(&o->rand, 1, 3)) {
        snprintf(to, sizeof(to), "%s", odd[sim_below(&o->rand, COUNT_OF(odd))]);
    }
    req.to =
        meta && sim_chance(&o->rand, 1, 40) ? bytes_of(letters, sizeof(letters)) : bytes_str(to);
    ask(o, OP_trash_restore, RPC_BODY(trash_restore_req, &req), restored);
}

/* Some of the first in the trash are restored, or purged. */
static void listed(struct rpc_call *c)
{
    struct operator* o = c->owner;
    struct trash_list_rep rep;
    bool meta = sim_chance(&o->rand, 2, 3);
    if (RPC_REPLY(trash_list, c, &rep) != 0) {
        again(o);
        return;
    }
    pick(o, rep.items, meta);
    if (o->picked_count == 0) {
        again(o);
        return;
    }
    pick_wrongly(o);
    struct writer w;
    writer_init(&w);
    for (uint32_t i = 0; i < o->picked_count; i++) {
        enc_u64(&w, &o->picked[i]);
    }
    if (sim_chance(&o->rand, 3, 4)) {
        restore(o, writer_bytes(&w), meta);
    } else {
        struct trash_purge_req req = {.inodes = writer_bytes(&w)};
        ask(o, OP_trash_purge, RPC_BODY(trash_purge_req, &req), purged);
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
    uint64_t seen = 0, none = 1ull << 55;
    writer_init(&inodes);
    enc_u64(&inodes, &w->meta_dir);
    if (sim_chance(&o->rand, 1, 4)) { /* what has none of its own is passed over */
        uint64_t one = harmless_of_tree(w, &o->rand);
        enc_u64(&inodes, &none);
        enc_u64(&inodes, &one);
    }
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
    bool more = c->status == 0 && inspection_check(o->world, &o->looking, c);
    if (more && o->pages++ < PAGES_MAX) {
        inspection_go_on(&o->looking);
        ask(o, o->looking.op, o->looking.body, looked);
    } else {
        again(o);
    }
}

static void look(struct operator* o)
{
    o->pages = 0;
    o->looking = inspection_draw(o->world, &o->rand);
    ask(o, o->looking.op, o->looking.body, looked);
}

/* By a primary; one that is none any more, or not yet, refuses everything. */
static void refused(struct rpc_call *c)
{
    struct operator* o = c->owner;
    bool absent = c->status == ERR_DISCONNECTED || c->status == ERR_TIMEOUT ||
                  c->status == ERR_NOT_MASTER || c->status == ERR_NOT_READY ||
                  c->status == ERR_BUSY || c->status == ERR_BEHIND;
    if (!absent && !o->others && c->status != o->refusal) {
        world_fail(o->world, "an operator's mistake is answered with %s, not %s",
                   err_name(c->status), err_name(o->refusal));
    }
    if (absent || sim_chance(&o->rand, 2, 3)) {
        again(o);
    } else {
        look(o); /* perhaps it is not listened to any more */
    }
}

static void mistake(struct operator* o)
{
    struct refusal r = refusal_draw(&o->rand);
    o->refusal = r.status;
    ask(o, r.op, r.body, refused);
}

static void (*const actions[])(struct operator* o) = {
    look_at_trash, look_at_trash, drain, announce, scan,   checkpoint,
    set_replicas,  look,          look,  mistake,  mistake};

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
    if (!o->world->healing && sim_chance(&o->rand, 1, 40)) {
        return; /* it says nothing, until it is hung up on */
    }
    ask(o, OP_hello, RPC_BODY(hello_req, &req), greeted);
}

static void closed(void *owner, struct rpc *r, int err)
{
    (void)r;
    (void)err;
    pause(owner);
}

static const struct rpc_events events = {.on_open = opened, .on_close = closed};

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
    struct world *w = o->world;
    const struct sim_server *primary = world_primary(w);
    o->others = primary == NULL || (!w->healing && sim_chance(&o->rand, 1, 8));
    world_master_addr(o->others ? (uint32_t)sim_below(&o->rand, w->master_count) : primary->rank,
                      addr);
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
