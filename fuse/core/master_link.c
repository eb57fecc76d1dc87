/* master_link.c - the mount's connection to the master, its session, and the calls over both. */
#include "fuse/core/master_link.h"

#include <string.h>

#include "fuse/core/client_impl.h"
#include "fuse/core/files.h"

enum {
    HANDSHAKE_MS = 5000, /* patience with one connection until it serves */
    TICK_MS = 1000, /* keep-alive looks at the clock this often, or more often for short sessions */
    ATTACH_OPENS = 16384, /* inodes in one session_attach */
};

static void dial_next(struct master_link *l);
static void send_all(struct master_link *l);
static void open_session(struct master_link *l);
static void attach(struct master_link *l);
static void session_lost(struct master_link *l, struct master_call *by);

/* ---------------------------------------------------------------- connection */

static void redial_later(struct master_link *l)
{
    l->state = MASTER_CLOSED;
    l->backoff_ms = backoff_next(l->backoff_ms);
    env_timer_set(l->client->env, &l->dial_timer, l->backoff_ms * NS_PER_MS);
}

/* Leaves this connection; every call on it ends inside with ERR_DISCONNECTED and stays waiting. */
static void hang_up(struct master_link *l)
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
        hang_up(l);
    }
    client_leave(l->client);
}

static void dial_next(struct master_link *l)
{
    const char *addr = l->addrs[l->addr_next];
    l->addr_next = (l->addr_next + 1) % l->addr_count;
    l->state = MASTER_DIALING;
    rpc_dial(&l->rpc, addr);
    env_timer_set(l->client->env, &l->dial_timer, HANDSHAKE_MS * NS_PER_MS);
}

static struct frame_header head_of(const struct master_link *l, uint16_t op)
{
    return (struct frame_header){
        .op = op, .session = l->session, .index = l->index, .epoch = l->epoch};
}

/* A step of the introduction failed. A broken connection is dealt with in on_close. */
static void handshake_failed(struct master_link *l, const struct rpc_call *rc)
{
    if (rc->reply != NULL || rc->status != ERR_DISCONNECTED) {
        hang_up(l);
    }
}

/* Notes what an answer tells about the master. False: it comes from a master of an older epoch. */
static bool heard(struct master_link *l, const struct message *m)
{
    if (m->head.epoch != 0 && m->head.epoch < l->epoch) {
        return false;
    }
    l->heard_ns = env_mono_ns(l->client->env);
    l->epoch = MAX(l->epoch, m->head.epoch);
    l->index = MAX(l->index, m->head.index);
    return true;
}

static void refused(struct master_link *l)
{
    struct client *c = l->client;
    env_log(c->env, LOG_ERROR, "the master belongs to another cluster");
    env_timer_stop(c->env, &l->dial_timer);
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
    if (err == ERR_FOREIGN_CLUSTER && !l->was_ready) {
        refused(l);
    } else if (err != 0 || !heard(l, rc->reply)) {
        handshake_failed(l, rc);
    } else {
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
    struct frame_header head = head_of(l, OP_hello);
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
    if (err != 0 || rep.session == 0 || !heard(l, rc->reply)) {
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
    struct frame_header head = head_of(l, OP_session_open);
    l->control.done = session_open_done;
    rpc_call(&l->rpc, &l->control, &head, RPC_BODY(session_open_req, &req), NULL, HANDSHAKE_MS);
}

static void now_ready(struct master_link *l)
{
    struct client *c = l->client;
    l->state = MASTER_READY;
    l->backoff_ms = 0;
    l->renewed_ns = env_mono_ns(c->env);
    env_timer_stop(c->env, &l->dial_timer);
    uint32_t tick_ms = MAX(MIN(l->session_ms / 4, (uint32_t)TICK_MS), 20u);
    env_timer_set(c->env, &l->tick_timer, tick_ms * NS_PER_MS);
    if (!l->was_ready) {
        l->was_ready = true;
        c->ready_status = 0;
        env_timer_set(c->env, &c->ready_timer, 0);
    } else {
        env_log(c->env, LOG_INFO, "connected to the master, epoch %u", l->epoch);
    }
    send_all(l);
}

static void send_attach(struct master_link *l);

static void attach_done(struct rpc_call *rc)
{
    struct master_link *l = rc->owner;
    client_enter(l->client);
    struct session_attach_rep rep;
    int err = RPC_REPLY(session_attach, rc, &rep);
    bool sane = err == 0 && rep.block_bytes > 0 && rep.block_bytes <= BLOCK_BYTES_MAX &&
                rep.chunk_bytes >= rep.block_bytes && rep.chunk_bytes % rep.block_bytes == 0 &&
                rep.chunk_bytes / rep.block_bytes <= CHUNK_BLOCKS_MAX && rep.session_ms > 0 &&
                rep.request_timeout_ms > 0;
    if (err == ERR_NO_SESSION) {
        session_lost(l, NULL);
    } else if (!sane || !heard(l, rc->reply)) {
        handshake_failed(l, rc);
    } else if (l->chunk_bytes != 0 &&
               (l->chunk_bytes != rep.chunk_bytes || l->block_bytes != rep.block_bytes)) {
        env_log(l->client->env, LOG_ERROR, "the cluster's chunk size has changed");
        hang_up(l);
    } else {
        l->chunk_bytes = rep.chunk_bytes;
        l->block_bytes = rep.block_bytes;
        l->session_ms = rep.session_ms;
        l->request_timeout_ms = rep.request_timeout_ms;
        if (l->open_next < l->open_count) {
            send_attach(l);
        } else {
            now_ready(l);
        }
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
    struct frame_header head = head_of(l, OP_session_attach);
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

static void end_call(struct master_call *m, int status, struct message *reply);

/* The master knows our session no longer. `by`: the call that was told so, or NULL. */
static void session_lost(struct master_link *l, struct master_call *by)
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
        end_call(list_entry(doomed.next, struct master_call, call_link), -EIO, NULL);
    }
    files_session_lost(c);
}

/* ---------------------------------------------------------------- keep-alive */

static void renew_done(struct rpc_call *rc)
{
    struct master_link *l = rc->owner;
    client_enter(l->client);
    if (rc->reply == NULL || !heard(l, rc->reply)) {
        if (rc->status != ERR_DISCONNECTED && l->state == MASTER_READY) {
            env_log(l->client->env, LOG_WARN, "the master does not answer: %s",
                    err_text(rc->status));
            hang_up(l);
        }
    } else if (rc->status == ERR_NO_SESSION && l->state == MASTER_READY) {
        session_lost(l, NULL);
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
        struct frame_header head = head_of(l, OP_session_renew);
        uint32_t timeout_ms = MIN(2 * l->request_timeout_ms, MAX(l->session_ms / 3, 500u));
        l->renewed_ns = now;
        l->renew.done = renew_done;
        rpc_call(&l->rpc, &l->renew, &head, RPC_BODY(session_renew_req, &req), NULL, timeout_ms);
    }
    env_timer_set(c->env, &l->tick_timer, tick_ms * NS_PER_MS);
    client_leave(c);
}

/* ---------------------------------------------------------------- calls */

/* Every sequence number up to this one is answered. */
static uint64_t acked(const struct master_link *l)
{
    if (list_empty(&l->mutations)) {
        return l->last_sequence;
    }
    return list_entry(l->mutations.next, struct master_call, mutation_link)->sequence - 1;
}

static void hold(struct master_call *m, bool on)
{
    if (m->is_held != on) {
        m->is_held = on;
        m->link->held += on ? 1 : UINT32_MAX;
    }
}

static void send_call(struct master_link *l, struct master_call *m)
{
    if (l->state != MASTER_READY || l->rpc.conn == NULL || m->paused || rpc_call_running(&m->rpc)) {
        return;
    }
    if (m->mutation && m->sequence == 0) {
        bool full = l->last_sequence - acked(l) >= SESSION_INFLIGHT_MAX;
        hold(m, full);
        if (full) {
            return;
        }
        m->sequence = ++l->last_sequence;
        list_push_back(&l->mutations, &m->mutation_link);
    }
    struct frame_header head = head_of(l, m->op);
    head.sequence = m->sequence;
    head.acked = acked(l);
    if (m->sends++ == 0) {
        m->sent_ns = env_mono_ns(l->client->env);
    }
    rpc_call(&l->rpc, &m->rpc, &head, slice_ref(&m->body), NULL, 0);
}

static void send_all(struct master_link *l)
{
    list_for_each (e, &l->calls) {
        send_call(l, list_entry(e, struct master_call, call_link));
    }
}

static void end_call(struct master_call *m, int status, struct message *reply)
{
    struct master_link *l = m->link;
    master_call_cancel(m);
    if (l->held > 0) {
        send_all(l);
    }
    m->status = status;
    m->reply = reply;
    m->done(m);
}

static void retry_fired(struct env_timer *t)
{
    struct master_call *m = container_of(t, struct master_call, retry);
    struct client *c = m->link->client;
    client_enter(c);
    m->paused = false;
    send_call(m->link, m);
    client_leave(c);
}

static void answered(struct rpc_call *rc)
{
    struct master_call *m = rc->owner;
    struct master_link *l = m->link;
    struct client *c = l->client;
    client_enter(c);
    int status = rc->status;
    bool unanswered = rc->reply == NULL;
    if (!unanswered && !heard(l, rc->reply)) {
        hang_up(l); /* an answer of a deposed master counts as none: sent again to its successor */
        unanswered = true;
    }
    if (unanswered) {
        if (m->once) {
            end_call(m, ERR_DISCONNECTED, NULL);
        }
    } else if (status == ERR_NOT_READY || status == ERR_BUSY || status == ERR_STALE_EPOCH) {
        m->backoff_ms = backoff_next(m->backoff_ms);
        m->paused = true;
        env_timer_set(c->env, &m->retry, m->backoff_ms * NS_PER_MS);
    } else if (status == ERR_NO_SESSION) {
        if (l->state == MASTER_READY) {
            session_lost(l, m);
        }
    } else {
        end_call(m, status, rc->reply);
    }
    client_leave(c);
}

void master_call(struct master_link *l, struct master_call *m, uint16_t op, struct slice body)
{
    const struct op_info *info = op_info_of(op);
    ASSERT(info != NULL && m->done != NULL && !master_call_running(m));
    m->link = l;
    m->op = op;
    m->body = body;
    m->mutation = info->class == OP_MUTATION;
    m->sequence = 0;
    m->sends = 0;
    m->backoff_ms = 0;
    m->is_held = m->paused = false;
    m->rpc = (struct rpc_call){.done = answered, .owner = m};
    m->retry = (struct env_timer){.fire = retry_fired};
    list_init(&m->mutation_link);
    list_init(&m->call_link);
    if (list_empty(&l->calls)) {
        l->heard_ns = env_mono_ns(l->client->env); /* silence counts from the first question */
    }
    list_push_back(&l->calls, &m->call_link);
    send_call(l, m);
}

bool master_call_running(const struct master_call *m)
{
    return m->link != NULL;
}

void master_call_cancel(struct master_call *m)
{
    if (m->link == NULL) {
        return;
    }
    rpc_cancel(&m->rpc);
    env_timer_stop(m->link->client->env, &m->retry);
    hold(m, false);
    list_remove(&m->call_link);
    list_remove(&m->mutation_link);
    slice_drop(&m->body);
    m->link = NULL;
}

/* ---------------------------------------------------------------- life */

static void parse_addrs(struct master_link *l, const char *text)
{
    while (*text != '\0' && l->addr_count < MASTERS_MAX) {
        size_t n = strcspn(text, ", ");
        if (n > 0 && n < sizeof(l->addrs[0])) {
            memcpy(l->addrs[l->addr_count], text, n);
            l->addrs[l->addr_count++][n] = '\0';
        }
        text += n + (text[n] != '\0');
    }
}

void master_link_init(struct master_link *l, struct client *c)
{
    l->client = c;
    rpc_init(&l->rpc, c->env, &events, l);
    l->control.owner = l->renew.owner = l;
    l->dial_timer.fire = dial_timer_fired;
    l->tick_timer.fire = tick_timer_fired;
    list_init(&l->calls);
    list_init(&l->mutations);
    parse_addrs(l, c->cfg.masters);
}

void master_link_start(struct master_link *l)
{
    ASSERT(l->addr_count > 0);
    l->nonce = env_rand64(l->client->env);
    l->heard_ns = env_mono_ns(l->client->env);
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
    list_for_each (e, &l->calls) {
        rpc_cancel(&list_entry(e, struct master_call, call_link)->rpc);
    }
    rpc_close(&l->rpc);
    mem_free(l->opens);
    l->opens = NULL;
}
