/* client.c - life of the mount's core and of its calls. */
#include "fuse/core/client_impl.h"

#include <stdio.h>
#include <string.h>

#include "fuse/core/chunk_link.h"
#include "fuse/core/commit.h"
#include "fuse/core/files.h"
#include "fuse/core/locations.h"
#include "fuse/core/write_back.h"

/* ---------------------------------------------------------------- events and the end of calls */

static void finish_call(struct client *c, struct client_call *k)
{
    /* done may start k again or free it: what must be dropped after it is kept here. */
    struct slice head = k->head;
    struct slice data = k->data;
    struct slice hold = call_impl(k)->hold;
    env_timer_stop(c->env, &call_impl(k)->soft);
    call_impl(k)->hold = (struct slice){0};
    k->state = CALL_IDLE;
    k->done(k);
    slice_drop(&head);
    slice_drop(&data);
    slice_drop(&hold);
}

/* Runs done of the calls that have ended so far; those that end meanwhile wait for the next turn,
 * so that a caller that starts the next call in done does not keep the loop. */
static void finish_calls(struct client *c)
{
    struct list now;
    list_init(&now);
    for (struct list *e; (e = list_pop_front(&c->ending)) != NULL;) {
        list_push_back(&now, e);
    }
    for (struct list *e; (e = list_pop_front(&now)) != NULL;) {
        finish_call(c, list_entry(e, struct client_call, link));
    }
    if (!list_empty(&c->ending)) {
        env_timer_set(c->env, &c->end_timer, 0);
    }
}

void client_enter(struct client *c)
{
    c->depth++;
}

void client_leave(struct client *c)
{
    ASSERT(c->depth > 0);
    if (c->depth == 1 && !list_empty(&c->ending)) {
        finish_calls(c);
    }
    c->depth--;
}

void api_begin(struct client *c)
{
    c->depth++;
}

void api_end(struct client *c)
{
    ASSERT(c->depth > 0);
    if (c->depth == 1 && !list_empty(&c->ending)) {
        env_timer_set(c->env, &c->end_timer, 0);
    }
    c->depth--;
}

static void end_timer_fired(struct env_timer *t)
{
    struct client *c = container_of(t, struct client, end_timer);
    client_enter(c);
    client_leave(c);
}

static void soft_fired(struct env_timer *t)
{
    struct call_impl *i = container_of(t, struct call_impl, soft);
    struct client_call *k = container_of((void **)(void *)i, struct client_call, impl[0]);
    struct client *c = k->client;
    client_enter(c);
    if (k->state == CALL_RUNNING) {
        struct op *o = i->op;
        call_end(k, -EIO);
        if (o != NULL && o->cancelled != NULL) {
            o->cancelled(o);
        }
    }
    client_leave(c);
}

void call_begin(struct client *c, struct client_call *k)
{
    ASSERT(k->state == CALL_IDLE && k->done != NULL);
    k->state = CALL_RUNNING;
    k->client = c;
    k->status = 0;
    k->file = NULL;
    k->dirs[0].ino = k->dirs[1].ino = 0;
    k->head = k->data = (struct slice){0};
    k->bytes = (struct bytes){0};
    k->end = false;
    k->index = 0;
    list_init(&k->link);
    memset(k->impl, 0, sizeof(k->impl));
    call_impl(k)->soft.fire = soft_fired;
    if (c->cfg.soft_ms > 0) {
        env_timer_set(c->env, &call_impl(k)->soft, c->cfg.soft_ms * NS_PER_MS);
    }
}

void call_end(struct client_call *k, int status)
{
    ASSERT(k->state == CALL_RUNNING);
    struct op *o = call_impl(k)->op;
    if (o != NULL) {
        o->call = NULL;
        call_impl(k)->op = NULL;
    }
    k->status = status;
    k->state = CALL_ENDING;
    list_push_back(&k->client->ending, &k->link);
}

void op_begin(struct op *o, struct client *c, struct client_call *k, void (*drop)(struct op *o))
{
    o->client = c;
    o->call = k;
    o->drop = drop;
    list_push_back(&c->ops, &o->link);
    if (k != NULL) {
        call_impl(k)->op = o;
    }
}

void op_end(struct op *o, int status)
{
    if (o->call != NULL) {
        call_end(o->call, status);
    }
    list_remove(&o->link);
    o->drop(o);
}

void client_cancel(struct client *c, struct client_call *k)
{
    api_begin(c);
    if (k->state == CALL_RUNNING) {
        struct op *o = call_impl(k)->op;
        call_end(k, -EINTR);
        if (o != NULL && o->cancelled != NULL) {
            o->cancelled(o);
        }
    }
    api_end(c);
}

/* ---------------------------------------------------------------- statfs */

struct statfs_op {
    struct op op;
    struct master_call call;
    struct env_timer patience;
};

static void statfs_drop(struct op *o)
{
    struct statfs_op *s = container_of(o, struct statfs_op, op);
    env_timer_stop(o->client->env, &s->patience);
    master_call_cancel(&s->call);
    mem_free(s);
}

static void statfs_done(struct master_call *m)
{
    struct statfs_op *s = m->owner;
    struct client *c = s->op.client;
    struct statfs_rep rep;
    int err = MASTER_REPLY(statfs, m, &rep);
    bool untold = err == 0 && m->by_shadow && rep.total == 0; /* shadows do not hear of disks */
    if (err == 0 && !(untold && c->statfs_ns != 0)) {
        c->statfs = rep;
        c->statfs_ns = env_mono_ns(c->env);
    }
    if (s->op.call != NULL) {
        s->op.call->statfs = c->statfs;
        s->op.call->index = m->reply != NULL ? m->reply->head.index : 0;
    }
    op_end(&s->op, err);
}

static void statfs_patience_ended(struct env_timer *t)
{
    struct statfs_op *s = container_of(t, struct statfs_op, patience);
    struct client *c = s->op.client;
    client_enter(c);
    if (s->op.call != NULL) {
        s->op.call->statfs = c->statfs;
    }
    op_end(&s->op, 0);
    client_leave(c);
}

static void statfs_cancelled(struct op *o)
{
    op_end(o, 0);
}

void client_statfs(struct client *c, struct client_call *k)
{
    api_begin(c);
    call_begin(c, k);
    bool known = c->statfs_ns != 0;
    bool fresh = known && env_mono_ns(c->env) - c->statfs_ns < NS_PER_S;
    if (fresh || (known && c->master.state != MASTER_READY)) {
        k->statfs = c->statfs;
        call_end(k, 0);
    } else {
        struct statfs_op *s = mem_new(struct statfs_op);
        op_begin(&s->op, c, k, statfs_drop);
        s->op.cancelled = statfs_cancelled;
        s->patience.fire = statfs_patience_ended;
        s->call.done = statfs_done;
        s->call.owner = s;
        if (known) {
            env_timer_set(c->env, &s->patience, NS_PER_S);
        }
        struct statfs_req req;
        master_call(&c->master, &s->call, OP_statfs, RPC_BODY(statfs_req, &req));
    }
    api_end(c);
}

/* ---------------------------------------------------------------- start and stop */

static void ready_timer_fired(struct env_timer *t)
{
    struct client *c = container_of(t, struct client, ready_timer);
    void (*ready)(void *owner, int status) = c->ready;
    c->ready = NULL;
    if (ready != NULL) {
        ready(c->ready_owner, c->ready_status);
    }
}

static void stop_timer_fired(struct env_timer *t);

struct client *client_create(struct env *env, const struct client_config *cfg)
{
    struct client *c = mem_new(struct client);
    c->env = env;
    c->cfg = *cfg;
    if (c->cfg.dirty_bytes == 0) {
        c->cfg.dirty_bytes = 64u << 20;
    }
    if (c->cfg.dirty_age_ms == 0) {
        c->cfg.dirty_age_ms = 1000;
    }
    if (c->cfg.remembered == 0) {
        c->cfg.remembered = 16384;
    }
    list_init(&c->ops);
    list_init(&c->ending);
    c->end_timer.fire = end_timer_fired;
    c->ready_timer.fire = ready_timer_fired;
    c->stop_timer.fire = stop_timer_fired;
    master_link_init(&c->master, c);
    chunk_links_init(c);
    files_init(c);
    known_names_init(c);
    locations_init(c);
    write_back_init(c);
    return c;
}

void client_start(struct client *c, void (*ready)(void *owner, int status), void *owner)
{
    c->ready = ready;
    c->ready_owner = owner;
    master_link_start(&c->master);
}

/* The stop: everything is committed, the last closes are sent, the session is ended. */
struct stop_op {
    struct op op;
    struct commit_all commit;
    struct master_call end;
};

static void stop_drop(struct op *o)
{
    struct stop_op *s = container_of(o, struct stop_op, op);
    o->client->stop_op = NULL;
    commit_all_cancel(&s->commit);
    master_call_cancel(&s->end);
    mem_free(s);
}

static void stop_now(struct client *c)
{
    env_timer_set(c->env, &c->stop_timer, 0);
}

static void stop_timer_fired(struct env_timer *t)
{
    struct client *c = container_of(t, struct client, stop_timer);
    client_enter(c);
    if (c->stop_op != NULL) {
        op_end(c->stop_op, 0);
    }
    c->freeing = true;
    master_link_stop(&c->master);
    chunk_links_close(c);
    list_for_each_safe (e, &c->ops) {
        struct op *o = list_entry(e, struct op, link);
        if (o->call != NULL) {
            call_end(o->call, -EIO);
        }
    }
    while (!list_empty(&c->ending)) {
        finish_calls(c);
    }
    env_timer_stop(c->env, &c->end_timer);
    c->depth--;
    c->stopped(c->stopped_owner); /* may destroy c */
}

static void session_ended(struct master_call *m)
{
    stop_now(((struct stop_op *)m->owner)->op.client);
}

static void stop_committed(struct commit_all *a)
{
    struct stop_op *s = container_of(a, struct stop_op, commit);
    struct client *c = s->op.client;
    if (commit_all_start(c, a)) {
        return; /* a write that waited for room got it meanwhile, and its program was told so */
    }
    files_send_closes(c);
    if (c->master.session == 0) {
        stop_now(c);
        return;
    }
    struct session_end_req req;
    s->end.done = session_ended;
    s->end.owner = s;
    master_call(&c->master, &s->end, OP_session_end, RPC_BODY(session_end_req, &req));
}

void client_stop(struct client *c, uint32_t wait_ms, void (*done)(void *owner), void *owner)
{
    ASSERT(!c->stopping);
    api_begin(c);
    c->stopping = true;
    c->stopped = done;
    c->stopped_owner = owner;
    struct stop_op *s = mem_new(struct stop_op);
    op_begin(&s->op, c, NULL, stop_drop);
    c->stop_op = &s->op;
    env_timer_set(c->env, &c->stop_timer, wait_ms * NS_PER_MS);
    s->commit.done = stop_committed;
    stop_committed(&s->commit);
    api_end(c);
}

void client_destroy(struct client *c)
{
    c->freeing = true;
    c->depth++;
    env_timer_stop(c->env, &c->end_timer);
    env_timer_stop(c->env, &c->ready_timer);
    env_timer_stop(c->env, &c->stop_timer);
    for (struct list *e; (e = list_pop_front(&c->ops)) != NULL;) {
        struct op *o = list_entry(e, struct op, link);
        if (o->call != NULL) {
            env_timer_stop(c->env, &call_impl(o->call)->soft);
        }
        o->drop(o);
    }
    for (struct list *e; (e = list_pop_front(&c->ending)) != NULL;) {
        struct client_call *k = list_entry(e, struct client_call, link);
        env_timer_stop(c->env, &call_impl(k)->soft);
        slice_drop(&k->head);
        slice_drop(&k->data);
        slice_drop(&call_impl(k)->hold);
    }
    files_close(c);
    known_names_close(c);
    locations_close(c);
    chunk_links_close(c);
    chunk_links_free(c);
    master_link_stop(&c->master);
    ASSERT(list_empty(&c->master.calls));
    mem_free(c);
}

/* ---------------------------------------------------------------- state for others */

bool client_waiting(const struct client *c)
{
    uint64_t now = env_mono_ns(c->env);
    if (client_on_shadow(c)) {
        return false;
    }
    bool asked = c->master.state != MASTER_READY || !list_empty(&c->master.calls);
    return asked && now - c->master.heard_ns > 2 * NS_PER_S;
}

/* Calls that wait for the primary. */
static uint32_t calls_waiting(const struct client *c)
{
    uint32_t n = 0;
    list_for_each (e, &c->master.calls) {
        const struct master_call *m = list_entry(e, struct master_call, call_link);
        n += !m->at_shadow;
    }
    return n;
}

size_t client_state(const struct client *c, char *out, size_t size)
{
    const struct master_link *l = &c->master;
    const struct shadow_link *s = &l->shadow;
    uint64_t now = env_mono_ns(c->env);
    double lost_s = (double)(now - l->lost_ns) / (double)NS_PER_S;
    double age_s = ((double)(now - s->heard_ns) / (double)NS_PER_MS + s->age_ms) / 1e3;
    uint32_t waiting = calls_waiting(c);
    bool off = c->cfg.stale_ms == STALE_OFF, ready = shadow_link_ready(s);
    int n;
    if (l->lost_ns == 0) {
        n = snprintf(out, size, "primary %s, epoch %u; %u requests are with it", l->masters.current,
                     l->epoch, waiting);
    } else if (ready && s->refusal == 0 && s->heard_ns != 0 && s->age_ms < UINT32_MAX) {
        n = snprintf(out, size,
                     "no primary for %.1f s; reading from shadow %s, as of %.1f s ago; %u requests "
                     "wait for a primary",
                     lost_s, shadow_link_addr(s), age_s, waiting);
    } else if (ready && s->refusal == 0) {
        n = snprintf(
            out, size,
            "no primary for %.1f s; reading from shadow %s; %u requests wait for a primary", lost_s,
            shadow_link_addr(s), waiting);
    } else {
        bool refused = !off && s->refusal != 0;
        n = snprintf(out, size, "no primary for %.1f s, %s%s%s; %u requests wait", lost_s,
                     off     ? "and stale_reads=off"
                     : ready ? "and a shadow does not answer"
                             : "no shadow either",
                     refused ? ": " : "", refused ? err_text(s->refusal) : "", waiting);
    }
    return n < 0 ? 0 : MIN((size_t)n, size - 1);
}

bool client_settled(const struct client *c)
{
    return list_empty(&c->ops) && list_empty(&c->ending) && list_empty(&c->dirty) &&
           list_empty(&c->close_due) && list_empty(&c->master.calls) && c->flying == 0;
}
