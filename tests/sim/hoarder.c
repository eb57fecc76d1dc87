/* hoarder.c - a file with very many chunks. */
#include "tests/sim/hoarder.h"

#include "shared/base/mem.h"
#include "shared/env/rpc.h"
#include "tests/sim/world.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

enum { SEEDS_SHARE = 12, CHUNKS = 1100, AT_ONCE = 16, ANSWER_MS = 2000, PAUSE_MS = 300 };

/* What is to be done next. */
enum step { MAKE, OPEN, GROW, GRANT, CUT, REMOVE, OPEN_REMOVED, LINK_REMOVED, CLOSE, END, DONE };

struct hoarder {
    struct world *world;
    struct sim_process *process;
    struct sim_rand rand;
    struct rpc rpc;
    struct rpc_call call;
    struct rpc_call grants[AT_ONCE];
    uint32_t running; /* of them */
    struct env_timer timer;
    uint64_t session, nonce, sequence, ino;
    char name[8];
    uint64_t next; /* chunk to be granted */
    enum step step;
};

static void go_on(struct hoarder *h);

/* The connection is gone, or no good: the same again on another one. */
static void hang_up(struct hoarder *h)
{
    rpc_cancel(&h->call);
    for (uint32_t i = 0; i < AT_ONCE; i++) {
        rpc_cancel(&h->grants[i]);
    }
    h->running = 0;
    rpc_close(&h->rpc);
    env_timer_set(&h->process->env, &h->timer, PAUSE_MS * NS_PER_MS);
}

static void ask(struct hoarder *h, enum op_code op, struct slice body,
                void (*done)(struct rpc_call *c))
{
    struct frame_header head = {.op = (uint16_t)op, .session = h->session};
    if (op_info_of((uint16_t)op)->class == OP_MUTATION && op != OP_session_open) {
        head.sequence = h->sequence;
        head.acked = h->sequence - 1;
    }
    h->call.done = done;
    h->call.owner = h;
    rpc_call(&h->rpc, &h->call, &head, body, NULL, ANSWER_MS);
}

/* ---------------------------------------------------------------- steps */

static void next_step(struct hoarder *h, enum step step)
{
    h->step = step;
    h->sequence++;
    go_on(h);
}

/* False if it was not carried out: again, on another connection. */
static bool was_answered(struct hoarder *h, int status)
{
    if (status == ERR_NO_SESSION) {
        h->step = DONE;
    }
    if (err_to_errno(status) != -status) { /* one of ours */
        hang_up(h);
        return false;
    }
    return true;
}

static void made(struct rpc_call *c)
{
    struct hoarder *h = c->owner;
    struct mknod_rep rep;
    int status = RPC_REPLY(mknod, c, &rep);
    if (!was_answered(h, status)) {
        return;
    }
    h->ino = status == 0 ? rep.attr.ino : 0;
    next_step(h, status == 0 ? OPEN : status == -EEXIST ? MAKE : END);
}

/* Whatever came of it. */
static void stepped(struct rpc_call *c)
{
    struct hoarder *h = c->owner;
    if (!was_answered(h, c->status)) {
        return;
    }
    switch (h->step) {
    case OPEN:
        next_step(h, GROW);
        break;
    case GROW:
        next_step(h, GRANT);
        break;
    case REMOVE:
        next_step(h, OPEN_REMOVED);
        break;
    case OPEN_REMOVED:
        next_step(h, LINK_REMOVED);
        break;
    case CUT:
    case LINK_REMOVED:
        next_step(h, sim_chance(&h->rand, 1, 2) ? CLOSE : END);
        break;
    case CLOSE:
        next_step(h, END);
        break;
    default:
        next_step(h, DONE);
        break;
    }
}

static void granted(struct rpc_call *c)
{
    struct hoarder *h = c->owner;
    h->running--;
    if (c->status == ERR_DISCONNECTED) {
        hang_up(h);
    } else {
        go_on(h);
    }
}

/* Chunk after chunk; one that is refused is left out. */
static void ask_grants(struct hoarder *h)
{
    for (uint32_t i = 0; i < AT_ONCE && h->next < CHUNKS; i++) {
        struct rpc_call *c = &h->grants[i];
        struct frame_header head = {.op = OP_grant, .session = h->session};
        struct grant_req req = {.ino = h->ino, .number = h->next};
        if (!rpc_call_running(c)) {
            h->next++;
            h->running++;
            c->done = granted;
            c->owner = h;
            rpc_call(&h->rpc, c, &head, RPC_BODY(grant_req, &req), NULL, ANSWER_MS);
        }
    }
    if (h->running == 0) {
        static const enum step ways[] = {CUT, REMOVE, CLOSE, END};
        next_step(h, ways[sim_below(&h->rand, COUNT_OF(ways))]);
    }
}

static void go_on(struct hoarder *h)
{
    const struct world *w = h->world;
    struct writer list;
    struct mknod_req make = {.parent = w->meta_dir, .mode = S_IFREG | 0644, .uid = 77, .gid = 77};
    struct open_req writing = {.ino = h->ino, .flags = O_RDWR};
    struct setattr_req set = {.ino = h->ino, .mask = SETATTR_SIZE};
    struct unlink_req remove = {.parent = w->meta_dir, .name = bytes_str(h->name)};
    struct link_req again = {.ino = h->ino, .parent = w->meta_dir, .name = bytes_str(h->name)};
    struct close_files_req closes = {0};
    struct session_end_req end = {};
    switch (h->step) {
    case MAKE:
        snprintf(h->name, sizeof(h->name), "n%u", (unsigned)sim_below(&h->rand, 7));
        make.name = bytes_str(h->name);
        ask(h, OP_mknod, RPC_BODY(mknod_req, &make), made);
        break;
    case OPEN:
    case OPEN_REMOVED:
        ask(h, OP_open, RPC_BODY(open_req, &writing), stepped);
        break;
    case GROW:
        set.size = CHUNKS * (uint64_t)w->geo.chunk_bytes;
        ask(h, OP_setattr, RPC_BODY(setattr_req, &set), stepped);
        break;
    case GRANT:
        ask_grants(h);
        break;
    case CUT:
        ask(h, OP_setattr, RPC_BODY(setattr_req, &set), stepped);
        break;
    case REMOVE:
        ask(h, OP_unlink, RPC_BODY(unlink_req, &remove), stepped);
        break;
    case LINK_REMOVED: /* if it was restored meanwhile */
        ask(h, OP_link, RPC_BODY(link_req, &again), stepped);
        break;
    case CLOSE:
        writer_init(&list);
        enc_u64(&list, &h->ino);
        closes.inodes = writer_bytes(&list);
        ask(h, OP_close_files, RPC_BODY(close_files_req, &closes), stepped);
        writer_free(&list);
        break;
    case END:
        ask(h, OP_session_end, RPC_BODY(session_end_req, &end), stepped);
        break;
    case DONE:
        rpc_close(&h->rpc);
        break;
    }
}

/* ---------------------------------------------------------------- a connection */

static void attached(struct rpc_call *c)
{
    struct hoarder *h = c->owner;
    if (was_answered(h, c->status)) {
        go_on(h);
    }
}

/* It says what it has open, as after a restart of the master. */
static void attach(struct hoarder *h)
{
    struct writer writing;
    writer_init(&writing);
    if (h->ino != 0 && h->step < CLOSE) {
        enc_u64(&writing, &h->ino);
    }
    struct session_attach_req req = {.session = h->session, .writing = writer_bytes(&writing)};
    ask(h, OP_session_attach, RPC_BODY(session_attach_req, &req), attached);
    writer_free(&writing);
}

static void session_opened(struct rpc_call *c)
{
    struct hoarder *h = c->owner;
    struct session_open_rep rep;
    if (RPC_REPLY(session_open, c, &rep) != 0) {
        hang_up(h);
        return;
    }
    h->session = rep.session;
    attach(h);
}

static void greeted(struct rpc_call *c)
{
    struct hoarder *h = c->owner;
    struct session_open_req req = {.host = bytes_str("stranger"), .nonce = h->nonce};
    if (c->status != 0) {
        hang_up(h);
    } else if (h->session != 0) {
        attach(h);
    } else {
        ask(h, OP_session_open, RPC_BODY(session_open_req, &req), session_opened);
    }
}

static void opened(void *owner, struct rpc *r)
{
    struct hoarder *h = owner;
    struct frame_header head = {.op = OP_hello};
    struct hello_req req = {.role = ROLE_CLIENT};
    h->call.done = greeted;
    h->call.owner = h;
    rpc_call(r, &h->call, &head, RPC_BODY(hello_req, &req), NULL, ANSWER_MS);
}

static void requested(void *owner, struct rpc *r, struct message *m)
{
    struct recall_rep rep = {};
    (void)owner;
    if (m->head.op == OP_recall) {
        rpc_answer(r, &m->head, 0, 0, 0, RPC_BODY(recall_rep, &rep), NULL);
    } else {
        rpc_answer_status(r, &m->head, ERR_UNKNOWN_OP);
    }
}

static void closed(void *owner, struct rpc *r, int err)
{
    struct hoarder *h = owner;
    (void)r;
    (void)err;
    env_timer_set(&h->process->env, &h->timer, PAUSE_MS * NS_PER_MS);
}

static const struct rpc_events events = {opened, requested, closed};

static void fired(struct env_timer *t)
{
    struct hoarder *h = container_of(t, struct hoarder, timer);
    const struct sim_server *primary = world_primary(h->world);
    char addr[32];
    if (h->step == DONE) {
        return;
    }
    rpc_close(&h->rpc);
    world_master_addr(primary != NULL ? primary->rank : 0, addr);
    rpc_dial(&h->rpc, addr);
}

struct hoarder *hoarder_start(struct world *w)
{
    struct sim_rand r = sim_rand_of(w->seed, 29);
    if (!sim_chance(&r, 1, SEEDS_SHARE)) {
        return NULL;
    }
    struct hoarder *h = mem_new(struct hoarder);
    h->world = w;
    h->rand = r;
    h->nonce = sim_rand64(&h->rand);
    h->sequence = 1;
    h->process = sim_process_create(w->sim, "hoarder");
    sim_process_start(h->process);
    rpc_init(&h->rpc, &h->process->env, &events, h);
    h->timer.fire = fired;
    env_timer_set(&h->process->env, &h->timer, sim_between(&h->rand, 1, 20) * NS_PER_S);
    return h;
}

void hoarder_stop(struct hoarder *h)
{
    if (h == NULL) {
        return;
    }
    sim_process_kill(h->process);
    rpc_cancel(&h->call);
    for (uint32_t i = 0; i < AT_ONCE; i++) {
        rpc_cancel(&h->grants[i]);
    }
    rpc_close(&h->rpc);
    mem_free(h);
}
