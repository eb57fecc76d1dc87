/* rpc.c - requests and answers in both directions over one connection. */
#include "shared/env/rpc.h"
#include "shared/base/hash.h"
#include "shared/base/invariant.h"

static void finish(struct rpc_call *c, int status, struct message *reply)
{
    env_timer_stop(c->rpc->env, &c->timer);
    list_remove(&c->link);
    c->rpc = NULL;
    c->status = status;
    c->reply = reply;
    c->done(c);
}

static struct rpc_call *call_of(struct rpc *r, uint64_t id)
{
    for (struct hmap_node *n = hmap_first(&r->calls, hmap_hash_u64(id)); n; n = hmap_next(n)) {
        struct rpc_call *c = container_of(n, struct rpc_call, node);
        if (c->id == id) {
            return c;
        }
    }
    return NULL;
}

static void on_open(void *owner, struct env_conn *conn)
{
    struct rpc *r = owner;
    (void)conn;
    r->open = true;
    if (r->events->on_open) {
        r->events->on_open(r->owner, r);
    }
}

static void on_message(void *owner, struct env_conn *conn, struct message *m)
{
    struct rpc *r = owner;
    (void)conn;
    if (!(m->head.flags & FRAME_REPLY)) {
        m->head.flags &= FRAME_ANY_AGE; /* the answer's are ours to set */
        m->head.age_ms = 0;
        if (r->events->on_request) {
            r->events->on_request(r->owner, r, m);
        } else {
            rpc_answer_status(r, &m->head, ERR_UNKNOWN_OP);
        }
        return;
    }
    struct rpc_call *c = call_of(r, m->head.request_id);
    if (c == NULL) {
        return; /* timed out or cancelled before */
    }
    hmap_remove(&r->calls, &c->node);
    finish(c, m->head.op == c->op && m->head.status <= 0 ? m->head.status : ERR_PROTOCOL, m);
}

/* Ends all calls. A done callback may start new ones; they fail through `ending`. */
static void end_calls(struct rpc *r)
{
    struct hmap_node *n;
    while ((n = hmap_begin(&r->calls)) != NULL) {
        hmap_remove(&r->calls, n);
        finish(container_of(n, struct rpc_call, node), ERR_DISCONNECTED, NULL);
    }
}

static void on_close(void *owner, struct env_conn *conn, int err)
{
    struct rpc *r = owner;
    (void)conn;
    r->conn = NULL;
    r->open = false;
    end_calls(r);
    r->events->on_close(r->owner, r, err);
}

static const struct conn_events events = {on_open, on_message, on_close};

static void end_timer_fired(struct env_timer *t)
{
    struct rpc *r = container_of(t, struct rpc, end_timer);
    struct list now;
    list_init(&now);
    for (struct list *e; (e = list_pop_front(&r->ending)) != NULL;) {
        list_push_back(&now, e);
    }
    for (struct list *e; (e = list_pop_front(&now)) != NULL;) {
        finish(list_entry(e, struct rpc_call, link), ERR_DISCONNECTED, NULL);
    }
}

void rpc_init(struct rpc *r, struct env *env, const struct rpc_events *ev, void *owner)
{
    *r = (struct rpc){.env = env, .events = ev, .owner = owner, .next_id = 1};
    hmap_init(&r->calls);
    list_init(&r->ending);
    r->end_timer.fire = end_timer_fired;
}

void rpc_dial(struct rpc *r, const char *addr)
{
    ASSERT(r->conn == NULL);
    r->conn = env_dial(r->env, addr, &events, r);
    r->open = false;
}

void rpc_accept(struct rpc *r, struct env_conn *c)
{
    ASSERT(r->conn == NULL);
    r->conn = c;
    r->open = true;
    env_conn_bind(r->env, c, &events, r);
}

void rpc_close(struct rpc *r)
{
    if (r->conn != NULL) {
        struct env_conn *c = r->conn;
        r->conn = NULL;
        r->open = false;
        env_hangup(r->env, c);
    }
    end_calls(r);
    while (!list_empty(&r->ending)) {
        struct list *e = list_pop_front(&r->ending);
        finish(list_entry(e, struct rpc_call, link), ERR_DISCONNECTED, NULL);
    }
    env_timer_stop(r->env, &r->end_timer);
    hmap_close(&r->calls);
}

static void call_timed_out(struct env_timer *t)
{
    struct rpc_call *c = container_of(t, struct rpc_call, timer);
    hmap_remove(&c->rpc->calls, &c->node);
    finish(c, ERR_TIMEOUT, NULL);
}

void rpc_call(struct rpc *r, struct rpc_call *c, const struct frame_header *head, struct slice body,
              struct slice *payload, uint32_t timeout_ms)
{
    ASSERT(c->rpc == NULL && c->done != NULL);
    c->rpc = r;
    c->id = r->next_id++;
    c->op = head->op;
    c->reply = NULL;
    c->timer = (struct env_timer){.fire = call_timed_out};
    list_init(&c->link);
    struct message m = {.head = *head, .body = body};
    if (payload != NULL) {
        m.payload = *payload;
        *payload = (struct slice){0};
    }
    if (r->conn == NULL) {
        message_drop(&m);
        list_push_back(&r->ending, &c->link);
        env_timer_set(r->env, &r->end_timer, 0);
        return;
    }
    hmap_add(&r->calls, &c->node, hmap_hash_u64(c->id));
    if (timeout_ms > 0) {
        env_timer_set(r->env, &c->timer, timeout_ms * NS_PER_MS);
    }
    m.head.flags &= FRAME_ANY_AGE;
    m.head.status = 0;
    m.head.request_id = c->id;
    env_send(r->env, r->conn, &m);
}

void rpc_cancel(struct rpc_call *c)
{
    if (c->rpc == NULL) {
        return;
    }
    env_timer_stop(c->rpc->env, &c->timer);
    if (call_of(c->rpc, c->id) == c) {
        hmap_remove(&c->rpc->calls, &c->node);
    }
    list_remove(&c->link);
    c->rpc = NULL;
}

void rpc_answer(struct rpc *r, const struct frame_header *request, int status, uint64_t index,
                uint32_t epoch, struct slice body, struct slice *payload)
{
    struct message m = {.body = body};
    if (payload != NULL) {
        m.payload = *payload;
        *payload = (struct slice){0};
    }
    if (r->conn == NULL) {
        message_drop(&m);
        return;
    }
    m.head.op = request->op;
    m.head.flags = FRAME_REPLY | (request->flags & FRAME_PROMISES);
    m.head.status = status;
    m.head.request_id = request->request_id;
    m.head.session = request->session;
    m.head.sequence = request->sequence;
    m.head.index = index;
    m.head.epoch = epoch;
    m.head.age_ms = request->age_ms;
    env_send(r->env, r->conn, &m);
}

void rpc_answer_status(struct rpc *r, const struct frame_header *request, int status)
{
    rpc_answer(r, request, status, 0, 0, (struct slice){0}, NULL);
}
