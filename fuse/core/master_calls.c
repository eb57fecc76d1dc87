/* master_calls.c - requests to the master: numbered, sent, sent again, or asked of a shadow. */
#include "fuse/core/client_impl.h"
#include "fuse/core/master_link_impl.h"
#include "fuse/core/meta_op.h"

enum {
    UNREADY_MS = 200,     /* of several masters: a primary that may not act for longer is left */
    REFUSED_MAX_MS = 500, /* what a shadow refuses is asked again so soon */
};

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

/* A file that is opened at a shadow must be in what the next primary is told: not while it is being
 * told. */
static bool unknown_open(const struct master_link *l, const struct master_call *m)
{
    return m->op == OP_open && l->state == MASTER_ATTACHING;
}

static void ask_later(struct master_call *m, uint32_t max_ms)
{
    m->backoff_ms = MIN(backoff_next(m->backoff_ms), max_ms);
    m->paused = true;
    env_timer_set(m->link->client->env, &m->retry, m->backoff_ms * NS_PER_MS);
}

static void send_to_shadow(struct master_link *l, struct master_call *m)
{
    if (!m->question || !shadow_link_ready(&l->shadow)) {
        return;
    }
    if (unknown_open(l, m)) {
        ask_later(m, REFUSED_MAX_MS);
        return;
    }
    m->at_shadow = true;
    shadow_link_send(&l->shadow, m, &m->body);
}

static void send_call(struct master_link *l, struct master_call *m)
{
    if (m->paused || rpc_call_running(&m->rpc)) {
        return;
    }
    if (l->state != MASTER_READY || l->rpc.conn == NULL) {
        send_to_shadow(l, m);
        return;
    }
    m->at_shadow = false;
    if (m->mutation && m->sequence == 0) {
        bool full = l->last_sequence - acked(l) >= SESSION_INFLIGHT_MAX;
        hold(m, full);
        if (full) {
            return;
        }
        m->sequence = ++l->last_sequence;
        list_push_back(&l->mutations, &m->mutation_link);
    }
    struct frame_header head = master_link_head(l, m->op);
    head.sequence = m->sequence;
    head.acked = acked(l);
    if (m->sends++ == 0) {
        m->sent_ns = env_mono_ns(l->client->env);
    }
    rpc_call(&l->rpc, &m->rpc, &head, slice_ref(&m->body), NULL, 0);
}

void master_calls_send(struct master_link *l)
{
    list_for_each (e, &l->calls) {
        send_call(l, list_entry(e, struct master_call, call_link));
    }
}

void master_call_end(struct master_call *m, int status, struct message *reply)
{
    struct master_link *l = m->link;
    master_call_cancel(m);
    if (l->held > 0) {
        master_calls_send(l);
    }
    m->status = status;
    m->reply = reply;
    m->done(m);
}

void master_calls_end_pauses(struct master_link *l)
{
    list_for_each (e, &l->calls) {
        struct master_call *m = list_entry(e, struct master_call, call_link);
        env_timer_stop(l->client->env, &m->retry);
        m->paused = false;
    }
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

/* The connection may have ended: then the call waits for the next one. */
static void shadow_answered(struct master_call *m, const struct rpc_call *rc)
{
    struct master_link *l = m->link;
    m->at_shadow = false;
    bool answer = shadow_link_heard(&l->shadow, rc->status, rc->reply);
    if (answer && !unknown_open(l, m)) {
        m->by_shadow = rc->reply->head.age_ms != 0; /* it may have been promoted since */
        master_call_end(m, rc->status, rc->reply);
    } else if (answer || rc->status != ERR_DISCONNECTED) {
        ask_later(m, REFUSED_MAX_MS);
    }
}

/* A primary that may not act now: it is not lost yet, or not any more. */
static bool unready(struct master_link *l, const struct master_call *m, int status)
{
    return status == ERR_NOT_MASTER ||
           (status == ERR_NOT_READY && master_link_several(l) && m->backoff_ms >= UNREADY_MS);
}

static void answered(struct rpc_call *rc)
{
    struct master_call *m = rc->owner;
    struct master_link *l = m->link;
    struct client *c = l->client;
    client_enter(c);
    if (m->at_shadow) {
        shadow_answered(m, rc);
        client_leave(c);
        return;
    }
    int status = rc->status;
    bool unanswered = rc->reply == NULL;
    if (!unanswered && (!master_link_heard(l, rc->reply) || unready(l, m, status))) {
        /* An answer of a deposed master counts as none: sent again to its successor. */
        master_link_hang_up(l);
        unanswered = true;
    }
    if (unanswered) {
        if (m->once) {
            master_call_end(m, ERR_DISCONNECTED, NULL);
        }
    } else if (status == ERR_NOT_READY || status == ERR_BUSY || status == ERR_STALE_EPOCH) {
        ask_later(m, BACKOFF_MAX_MS);
    } else if (status == ERR_NO_SESSION) {
        if (l->state == MASTER_READY) {
            master_link_session_lost(l, m);
        }
    } else {
        master_call_end(m, status, rc->reply);
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
    m->question = info->class == OP_QUERY && !m->primary_only;
    m->at_shadow = m->by_shadow = false;
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

void master_calls_to_shadow(struct master_link *l)
{
    meta_questions_go_on(l->client);
    reads_go_on(l->client);
    master_calls_send(l);
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
