/* shadow_link.c - the mount's connection to a shadow master, while there is no primary. */
#include "fuse/core/shadow_link.h"

#include "fuse/core/client_impl.h"
#include "fuse/core/master_link_impl.h"

enum {
    BEGIN_MS = 300,     /* a primary that is back so soon is waited for */
    PATIENCE_MS = 1500, /* with one master: dialling, each of its first answers */
    ANSWER_MS = 2000,
    NEXT_MS = 10,       /* between dials, until all were tried */
    ROUND_MAX_MS = 500, /* then */
    REFUSALS_MAX = 3,
    /* A shadow answers by itself only when it can tell that what it knows is not older. */
    SHADOW_BOUND_MS = 10000,
};

static struct master_link *master_of(const struct shadow_link *s)
{
    return &s->client->master;
}

/* ---------------------------------------------------------------- connection */

static void dial_later(struct shadow_link *s)
{
    uint32_t ms = NEXT_MS;
    if (masters_round_over(&s->masters)) {
        masters_round_begins(&s->masters);
        s->backoff_ms = MIN(backoff_next(s->backoff_ms), (uint32_t)ROUND_MAX_MS);
        ms = s->backoff_ms;
    }
    s->state = SHADOW_WAITING;
    env_timer_set(s->client->env, &s->timer, ms * NS_PER_MS);
}

static void hang_up(struct shadow_link *s)
{
    rpc_cancel(&s->control);
    s->state = SHADOW_WAITING; /* calls that end now are not sent again here */
    rpc_close(&s->rpc);
    dial_later(s);
}

static void dial(struct shadow_link *s)
{
    s->state = SHADOW_DIALING;
    env_timer_set(s->client->env, &s->timer, PATIENCE_MS * NS_PER_MS);
    rpc_dial(&s->rpc, masters_take(&s->masters));
}

const char *shadow_link_addr(const struct shadow_link *s)
{
    return s->masters.current;
}

static void timer_fired(struct env_timer *t)
{
    struct shadow_link *s = container_of(t, struct shadow_link, timer);
    client_enter(s->client);
    if (s->state == SHADOW_WAITING) {
        dial(s);
    } else {
        hang_up(s);
    }
    client_leave(s->client);
}

static struct frame_header head_for(const struct shadow_link *s, uint16_t op)
{
    const struct master_link *l = master_of(s);
    uint32_t bound = s->client->cfg.stale_ms;
    return (struct frame_header){.op = op,
                                 .flags = bound == 0 || bound > SHADOW_BOUND_MS ? FRAME_ANY_AGE : 0,
                                 .session = l->session,
                                 .index = l->index,
                                 .epoch = l->index_epoch};
}

static void now_ready(struct shadow_link *s)
{
    struct client *c = s->client;
    env_timer_stop(c->env, &s->timer);
    s->state = SHADOW_READY;
    s->refusals = 0;
    if (!s->used) {
        s->used = true;
        env_log(c->env, LOG_WARN, "no master is the primary: reading from shadow %s, changes wait",
                shadow_link_addr(s));
    }
    master_link_usable(master_of(s));
    master_calls_to_shadow(master_of(s));
}

static void attached(struct rpc_call *rc)
{
    struct shadow_link *s = rc->owner;
    client_enter(s->client);
    struct session_attach_rep rep;
    int err = RPC_REPLY(session_attach, rc, &rep);
    if (err == 0) {
        err = master_link_geometry(master_of(s), &rep);
    }
    if (err == 0) {
        now_ready(s);
    } else if (rc->reply != NULL || rc->status != ERR_DISCONNECTED) {
        hang_up(s);
    }
    client_leave(s->client);
}

static void ask_geometry(struct shadow_link *s)
{
    struct frame_header head = head_for(s, OP_session_attach);
    struct session_attach_req req = {.session = 0};
    s->state = SHADOW_ATTACHING;
    s->control.done = attached;
    rpc_call(&s->rpc, &s->control, &head, RPC_BODY(session_attach_req, &req), NULL, PATIENCE_MS);
    env_timer_stop(s->client->env, &s->timer);
}

static void hello_done(struct rpc_call *rc)
{
    struct shadow_link *s = rc->owner;
    struct master_link *l = master_of(s);
    client_enter(s->client);
    struct hello_rep rep;
    int err = RPC_REPLY(hello, rc, &rep);
    if (rc->reply == NULL && rc->status == ERR_DISCONNECTED) {
        client_leave(s->client); /* on_close goes on */
        return;
    }
    if (err == 0 && rep.role == MASTER_PRIMARY) {
        master_link_hint(l, shadow_link_addr(s));
    }
    bool ours = err == 0 && rep.cluster != 0 && (l->cluster == 0 || l->cluster == rep.cluster);
    if (!ours || rep.role != MASTER_SHADOW) {
        hang_up(s);
    } else if (l->chunk_bytes == 0) {
        l->cluster = rep.cluster;
        ask_geometry(s);
    } else {
        now_ready(s);
    }
    client_leave(s->client);
}

static void on_open(void *owner, struct rpc *r)
{
    struct shadow_link *s = owner;
    struct client *c = s->client;
    client_enter(c);
    s->state = SHADOW_HELLO;
    struct hello_req req = {
        .cluster = master_of(s)->cluster, .name = bytes_str(c->cfg.cluster), .role = ROLE_CLIENT};
    struct frame_header head = head_for(s, OP_hello);
    s->control.done = hello_done;
    rpc_call(r, &s->control, &head, RPC_BODY(hello_req, &req), NULL, PATIENCE_MS);
    client_leave(c);
}

static void on_close(void *owner, struct rpc *r, int err)
{
    struct shadow_link *s = owner;
    (void)r;
    (void)err;
    client_enter(s->client);
    if (s->state != SHADOW_OFF) {
        dial_later(s);
    }
    client_leave(s->client);
}

static const struct rpc_events events = {.on_open = on_open, .on_close = on_close};

/* ---------------------------------------------------------------- calls */

void shadow_link_send(struct shadow_link *s, struct master_call *m, const struct slice *body)
{
    struct frame_header head = head_for(s, m->op);
    rpc_call(&s->rpc, &m->rpc, &head, slice_ref(body), NULL, ANSWER_MS);
}

bool shadow_link_heard(struct shadow_link *s, int status, const struct message *reply)
{
    struct master_link *l = master_of(s);
    uint32_t bound = s->client->cfg.stale_ms;
    bool answer = reply != NULL && status > -10000;
    if (reply == NULL && status == ERR_DISCONNECTED) {
        return false; /* on_close goes on */
    }
    if (answer && bound != 0 && reply->head.age_ms > bound) {
        answer = false;
        status = ERR_TOO_OLD;
    }
    if (answer) {
        master_link_saw(l, &reply->head);
        s->age_ms = reply->head.age_ms;
        s->heard_ns = env_mono_ns(s->client->env);
        s->refusals = 0;
        s->refusal = 0;
        s->backoff_ms = 0;
        return true;
    }
    s->refusal = status;
    bool over = status == ERR_TIMEOUT || ++s->refusals >= REFUSALS_MAX;
    if (s->state == SHADOW_READY && over) {
        hang_up(s);
    }
    return false;
}

/* ---------------------------------------------------------------- life */

void shadow_link_init(struct shadow_link *s, struct client *c)
{
    s->client = c;
    s->masters = master_of(s)->masters;
    rpc_init(&s->rpc, c->env, &events, s);
    s->control.owner = s;
    s->timer.fire = timer_fired;
}

void shadow_link_begin(struct shadow_link *s)
{
    struct client *c = s->client;
    if (s->state != SHADOW_OFF || c->cfg.stale_ms == STALE_OFF) {
        return;
    }
    s->state = SHADOW_WAITING;
    s->backoff_ms = s->refusals = 0;
    s->refusal = 0;
    /* The primary that was lost comes last: it may stand still. */
    masters_begin_after(&s->masters, master_of(s)->masters.current);
    env_timer_set(c->env, &s->timer, BEGIN_MS * NS_PER_MS);
}

void shadow_link_end(struct shadow_link *s)
{
    if (s->state == SHADOW_OFF) {
        return;
    }
    s->state = SHADOW_OFF;
    s->used = false;
    env_timer_stop(s->client->env, &s->timer);
    rpc_cancel(&s->control);
    rpc_close(&s->rpc);
}
