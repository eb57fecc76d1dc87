/* master_link.c - the mount's connection to the master, its session, and the calls over both. */
#include "fuse/core/master_link.h"

#include <string.h>

#include "fuse/core/client_impl.h"
#include "fuse/core/files.h"
#include "fuse/core/master_link_impl.h"

enum {
    HANDSHAKE_MS = 5000, /* patience with one connection until it serves */
    TICK_MS = 1000, /* keep-alive looks at the clock this often, or more often for short sessions */
    ATTACH_OPENS = 16384, /* inodes in one session_attach */
    NEXT_MS = 10,         /* between dials, until all were tried */
    ROUND_MAX_MS = 500,   /* then */
    /* Where there are several masters another one may have taken over: */
    DIAL_MS = 1500,    /* patience with one until it says who it is */
    SILENCE_MS = 2000, /* and for the answer to a sign of life */
};

static void dial_next(struct master_link *l);
static void open_session(struct master_link *l);
static void attach(struct master_link *l);

/* ---------------------------------------------------------------- connection */

bool master_link_several(const struct master_link *l)
{
    return masters_several(&l->masters);
}

/* How long to wait before the next dial: short until all masters were tried. */
static uint32_t pause_ms(struct master_link *l)
{
    if (!masters_round_over(&l->masters)) {
        return l->masters.hint[0] != '\0' ? 0 : NEXT_MS;
    }
    masters_round_begins(&l->masters);
    l->foreign = 0;
    l->backoff_ms = MIN(backoff_next(l->backoff_ms), (uint32_t)ROUND_MAX_MS);
    return l->backoff_ms;
}

static void redial_later(struct master_link *l)
{
    if (l->lost_ns == 0) {
        l->lost_ns = env_mono_ns(l->client->env);
    }
    l->state = MASTER_CLOSED;
    env_timer_set(l->client->env, &l->dial_timer, pause_ms(l) * NS_PER_MS);
    shadow_link_begin(&l->shadow);
}

void master_link_hang_up(struct master_link *l)
{
    env_timer_stop(l->client->env, &l->tick_timer);
    rpc_cancel(&l->control);
    rpc_cancel(&l->renew);
    rpc_close(&l->rpc);
    redial_later(l);
}

static void dial_timer_fired(struct env_timer *t)
{
    struct master_link *l = container_of(t, struct master_link, dial_timer);
    client_enter(l->client);
    if (l->state == MASTER_CLOSED) {
        dial_next(l);
    } else if (l->state != MASTER_READY) {
        master_link_hang_up(l);
    }
    client_leave(l->client);
}

static void dial_next(struct master_link *l)
{
    l->state = MASTER_DIALING;
    rpc_dial(&l->rpc, masters_take(&l->masters));
    env_timer_set(l->client->env, &l->dial_timer,
                  (master_link_several(l) ? DIAL_MS : HANDSHAKE_MS) * NS_PER_MS);
}

void master_link_hint(struct master_link *l, const char *addr)
{
    if (l->state == MASTER_CLOSED && masters_found(&l->masters, addr)) {
        env_timer_set(l->client->env, &l->dial_timer, 0);
    }
}

struct frame_header master_link_head(const struct master_link *l, uint16_t op)
{
    return (struct frame_header){
        .op = op, .session = l->session, .index = l->index, .epoch = l->index_epoch};
}

/* A step of the introduction failed. A broken connection is dealt with in on_close. */
static void handshake_failed(struct master_link *l, const struct rpc_call *rc)
{
    if (rc->reply != NULL || rc->status != ERR_DISCONNECTED) {
        master_link_hang_up(l);
    }
}

void master_link_saw(struct master_link *l, const struct frame_header *answer)
{
    if (answer->index > l->index) {
        l->index = answer->index;
        l->index_epoch = answer->epoch;
    }
}

bool master_link_heard(struct master_link *l, const struct message *m)
{
    if (m->head.epoch != 0 && m->head.epoch < l->epoch) {
        return false;
    }
    l->heard_ns = env_mono_ns(l->client->env);
    l->epoch = MAX(l->epoch, m->head.epoch);
    master_link_saw(l, &m->head);
    return true;
}

static void refused(struct master_link *l)
{
    struct client *c = l->client;
    env_log(c->env, LOG_ERROR, "master %s belongs to another cluster", l->masters.current);
    env_timer_stop(c->env, &l->dial_timer);
    shadow_link_end(&l->shadow);
    rpc_close(&l->rpc);
    l->state = MASTER_REFUSED;
    c->ready_status = ERR_FOREIGN_CLUSTER;
    env_timer_set(c->env, &c->ready_timer, 0);
    struct list doomed;
    list_init(&doomed);
    for (struct list *e; (e = list_pop_front(&l->calls)) != NULL;) {
        list_push_back(&doomed, e);
    }
    for (struct list *e; (e = list_pop_front(&doomed)) != NULL;) {
        struct master_call *m = list_entry(e, struct master_call, call_link);
        master_call_cancel(m);
        m->status = ERR_FOREIGN_CLUSTER;
        m->reply = NULL;
        m->done(m);
    }
}

static void hello_done(struct rpc_call *rc)
{
    struct master_link *l = rc->owner;
    client_enter(l->client);
    struct hello_rep rep;
    int err = RPC_REPLY(hello, rc, &rep);
    l->foreign += err == ERR_FOREIGN_CLUSTER;
    if (!l->was_ready && l->foreign >= l->masters.count) {
        refused(l);
    } else if (err == 0 && rep.role != MASTER_PRIMARY) {
        (void)masters_named(&l->masters, rep.primary);
        master_link_hang_up(l);
    } else if (err != 0 || !master_link_heard(l, rc->reply)) {
        handshake_failed(l, rc);
    } else {
        env_timer_set(l->client->env, &l->dial_timer, HANDSHAKE_MS * NS_PER_MS);
        l->cluster = rep.cluster;
        if (l->session == 0) {
            open_session(l);
        } else {
            attach(l);
        }
    }
    client_leave(l->client);
}

static void on_open(void *owner, struct rpc *r)
{
    struct master_link *l = owner;
    client_enter(l->client);
    l->state = MASTER_HELLO;
    struct hello_req req = {
        .cluster = l->cluster, .name = bytes_str(l->client->cfg.cluster), .role = ROLE_CLIENT};
    struct frame_header head = master_link_head(l, OP_hello);
    l->control.done = hello_done;
    rpc_call(r, &l->control, &head, RPC_BODY(hello_req, &req), NULL, HANDSHAKE_MS);
    client_leave(l->client);
}

/* Another mount truncated a file that is open for writing here. */
static void on_request(void *owner, struct rpc *r, struct message *m)
{
    struct master_link *l = owner;
    struct recall_req req;
    if (m->head.op != OP_recall) {
        rpc_answer_status(r, &m->head, ERR_UNKNOWN_OP);
        return;
    }
    int err = recall_req_decode(slice_bytes(&m->body), &req);
    client_enter(l->client);
    if (err == 0) {
        files_recall(l->client, req.ino);
    }
    rpc_answer_status(r, &m->head, err);
    client_leave(l->client);
}

static void on_close(void *owner, struct rpc *r, int err)
{
    struct master_link *l = owner;
    (void)r;
    client_enter(l->client);
    env_timer_stop(l->client->env, &l->tick_timer);
    if (l->state == MASTER_READY) {
        env_log(l->client->env, LOG_WARN, "connection to the master was lost: %s", err_text(err));
    }
    redial_later(l);
    client_leave(l->client);
}

static const struct rpc_events events = {on_open, on_request, on_close};

/* ---------------------------------------------------------------- session */

static void session_open_done(struct rpc_call *rc)
{
    struct master_link *l = rc->owner;
    client_enter(l->client);
    struct session_open_rep rep;
    int err = RPC_REPLY(session_open, rc, &rep);
    if (err != 0 || rep.session == 0 || !master_link_heard(l, rc->reply)) {
        handshake_failed(l, rc);
    } else {
        l->session = rep.session;
        attach(l);
    }
    client_leave(l->client);
}

static void open_session(struct master_link *l)
{
    l->state = MASTER_OPENING;
    struct session_open_req req = {
        .host = bytes_str(l->client->cfg.host), .nonce = l->nonce, .trash = l->client->cfg.trash};
    struct frame_header head = master_link_head(l, OP_session_open);
    l->control.done = session_open_done;
    rpc_call(&l->rpc, &l->control, &head, RPC_BODY(session_open_req, &req), NULL, HANDSHAKE_MS);
}

void master_link_usable(struct master_link *l)
{
    struct client *c = l->client;
    if (!l->was_ready) {
        l->was_ready = true;
        c->ready_status = 0;
        env_timer_set(c->env, &c->ready_timer, 0);
    }
}

static void now_ready(struct master_link *l)
{
    struct client *c = l->client;
    bool first = !l->was_ready;
    bool from_shadow = l->shadow.used;
    l->state = MASTER_READY;
    l->backoff_ms = l->foreign = 0;
    masters_round_begins(&l->masters);
    l->lost_ns = 0;
    shadow_link_end(&l->shadow);
    if (from_shadow) {
        files_recall_all(c); /* it may not have known of the newest places of chunks */
    }
    l->renewed_ns = env_mono_ns(c->env);
    env_timer_stop(c->env, &l->dial_timer);
    uint32_t tick_ms = MAX(MIN(l->session_ms / 4, (uint32_t)TICK_MS), 20u);
    env_timer_set(c->env, &l->tick_timer, tick_ms * NS_PER_MS);
    master_link_usable(l);
    if (!first) {
        env_log(c->env, LOG_INFO, "connected to the master, epoch %u", l->epoch);
    }
    master_calls_end_pauses(l);
    master_calls_send(l);
}

static void send_attach(struct master_link *l);

int master_link_geometry(struct master_link *l, const struct session_attach_rep *rep)
{
    bool sane = rep->block_bytes > 0 && rep->block_bytes <= BLOCK_BYTES_MAX &&
                rep->chunk_bytes >= rep->block_bytes && rep->chunk_bytes % rep->block_bytes == 0 &&
                rep->chunk_bytes / rep->block_bytes <= CHUNK_BLOCKS_MAX && rep->session_ms > 0 &&
                rep->request_timeout_ms > 0;
    if (!sane) {
        return ERR_PROTOCOL;
    }
    if (l->chunk_bytes != 0 &&
        (l->chunk_bytes != rep->chunk_bytes || l->block_bytes != rep->block_bytes)) {
        env_log(l->client->env, LOG_ERROR, "the cluster's chunk size has changed");
        return -EINVAL;
    }
    l->chunk_bytes = rep->chunk_bytes;
    l->block_bytes = rep->block_bytes;
    l->session_ms = rep->session_ms;
    l->request_timeout_ms = rep->request_timeout_ms;
    return 0;
}

static void attach_done(struct rpc_call *rc)
{
    struct master_link *l = rc->owner;
    client_enter(l->client);
    struct session_attach_rep rep;
    int err = RPC_REPLY(session_attach, rc, &rep);
    if (err == ERR_NO_SESSION) {
        master_link_session_lost(l, NULL);
    } else if (err != 0 || !master_link_heard(l, rc->reply)) {
        handshake_failed(l, rc);
    } else if (master_link_geometry(l, &rep) != 0) {
        master_link_hang_up(l);
    } else if (l->open_next < l->open_count) {
        send_attach(l);
    } else {
        now_ready(l);
    }
    client_leave(l->client);
}

/* Sends the next part of the open inodes. */
static void send_attach(struct master_link *l)
{
    struct writer reading, writing;
    writer_init(&reading);
    writer_init(&writing);
    for (uint32_t n = 0; n < ATTACH_OPENS && l->open_next < l->open_count; n++) {
        bool writes = l->open_next < l->open_writing;
        enc_u64(writes ? &writing : &reading, &l->opens[l->open_next++]);
    }
    struct session_attach_req req = {.session = l->session,
                                     .opens = writer_bytes(&reading),
                                     .writing = writer_bytes(&writing),
                                     .more = l->open_next < l->open_count};
    struct frame_header head = master_link_head(l, OP_session_attach);
    l->control.done = attach_done;
    rpc_call(&l->rpc, &l->control, &head, RPC_BODY(session_attach_req, &req), NULL, HANDSHAKE_MS);
    writer_free(&reading);
    writer_free(&writing);
}

static void attach(struct master_link *l)
{
    l->state = MASTER_ATTACHING;
    files_recall_all(l->client); /* whoever truncated meanwhile does not ask us any more */
    mem_free(l->opens);
    l->opens = files_opens(l->client, &l->open_count, &l->open_writing);
    l->open_next = 0;
    send_attach(l);
}

void master_link_session_lost(struct master_link *l, struct master_call *by)
{
    struct client *c = l->client;
    env_log(c->env, LOG_WARN, "session %llu has ended at the master; opening a new one",
            (unsigned long long)l->session);
    struct list doomed;
    list_init(&doomed);
    list_for_each_safe (e, &l->calls) {
        struct master_call *m = list_entry(e, struct master_call, call_link);
        rpc_cancel(&m->rpc);
        bool refused_only = m == by && m->sends == 1;
        if (m->sequence != 0 && m->sends > 0 && !m->twice_ok && !refused_only) {
            list_remove(&m->call_link);
            list_push_back(&doomed, &m->call_link);
        } else {
            list_remove(&m->mutation_link);
            m->sequence = 0;
            m->sends = 0;
        }
    }
    l->session = 0;
    l->last_sequence = 0;
    l->nonce = env_rand64(c->env);
    rpc_cancel(&l->control);
    rpc_cancel(&l->renew);
    env_timer_stop(c->env, &l->tick_timer);
    env_timer_set(c->env, &l->dial_timer, HANDSHAKE_MS * NS_PER_MS);
    open_session(l);
    while (!list_empty(&doomed)) {
        master_call_end(list_entry(doomed.next, struct master_call, call_link), -EIO, NULL);
    }
    files_session_lost(c);
}

/* ---------------------------------------------------------------- keep-alive */

static void renew_done(struct rpc_call *rc)
{
    struct master_link *l = rc->owner;
    client_enter(l->client);
    if (rc->reply == NULL || !master_link_heard(l, rc->reply)) {
        if (rc->status != ERR_DISCONNECTED && l->state == MASTER_READY) {
            env_log(l->client->env, LOG_WARN, "the master does not answer: %s",
                    err_text(rc->status));
            master_link_hang_up(l);
        }
    } else if (rc->status == ERR_NO_SESSION && l->state == MASTER_READY) {
        master_link_session_lost(l, NULL);
    }
    client_leave(l->client);
}

static void tick_timer_fired(struct env_timer *t)
{
    struct master_link *l = container_of(t, struct master_link, tick_timer);
    struct client *c = l->client;
    client_enter(c);
    uint64_t now = env_mono_ns(c->env);
    uint32_t tick_ms = MAX(MIN(l->session_ms / 4, (uint32_t)TICK_MS), 20u);
    bool old = now - l->renewed_ns >= l->session_ms / 3 * NS_PER_MS;
    bool silent = !list_empty(&l->calls) && now - l->heard_ns >= tick_ms * NS_PER_MS;
    if ((old || silent) && !rpc_call_running(&l->renew)) {
        struct session_renew_req req;
        struct frame_header head = master_link_head(l, OP_session_renew);
        uint32_t timeout_ms = MIN(2 * l->request_timeout_ms, MAX(l->session_ms / 3, 500u));
        if (master_link_several(l)) {
            timeout_ms = MIN(timeout_ms, (uint32_t)SILENCE_MS);
        }
        l->renewed_ns = now;
        l->renew.done = renew_done;
        rpc_call(&l->rpc, &l->renew, &head, RPC_BODY(session_renew_req, &req), NULL, timeout_ms);
    }
    env_timer_set(c->env, &l->tick_timer, tick_ms * NS_PER_MS);
    client_leave(c);
}

/* ---------------------------------------------------------------- life */

void master_link_init(struct master_link *l, struct client *c)
{
    l->client = c;
    rpc_init(&l->rpc, c->env, &events, l);
    l->control.owner = l->renew.owner = l;
    l->dial_timer.fire = dial_timer_fired;
    l->tick_timer.fire = tick_timer_fired;
    list_init(&l->calls);
    list_init(&l->mutations);
    struct why why;
    int rc = masters_parse(&l->masters, c->cfg.masters, &why);
    ASSERT(rc == 0); /* the options were checked */
    shadow_link_init(&l->shadow, c);
}

void master_link_start(struct master_link *l)
{
    l->nonce = env_rand64(l->client->env);
    l->heard_ns = l->lost_ns = env_mono_ns(l->client->env);
    shadow_link_begin(&l->shadow);
    dial_next(l);
}

void master_link_stop(struct master_link *l)
{
    struct env *env = l->client->env;
    env_timer_stop(env, &l->dial_timer);
    env_timer_stop(env, &l->tick_timer);
    l->state = MASTER_STOPPED;
    rpc_cancel(&l->control);
    rpc_cancel(&l->renew);
    shadow_link_end(&l->shadow);
    list_for_each (e, &l->calls) {
        rpc_cancel(&list_entry(e, struct master_call, call_link)->rpc);
    }
    rpc_close(&l->rpc);
    mem_free(l->opens);
    l->opens = NULL;
}
