/* ask.c - the conversation with a master: one question at a time, waited for.
 *
 * Of several masters the primary is asked: whom they name is tried before the rest of the list. When all
 * were tried in vain, what a shadow can answer is asked of one.
 */
#include <stdio.h>
#include <string.h>

#include "deploy/gfsctl/gfsctl.h"
#include "shared/base/mem.h"
#include "shared/env/masters.h"
#include "shared/env/rpc.h"

enum {
    ANSWER_WAIT_MS = 5000, /* for a first answer */
    TRY_MS = 2000,         /* one master */
    DIAL_MS = 1000,        /* one of several, until it says who it is */
    AGAIN_MS = 100,
};

struct session {
    struct uv_env *env; /* NULL until the first question */
    struct rpc rpc;
    struct rpc_call call;
    struct env_timer again;
    struct env_timer deadline;
    struct env_timer patience;
    struct masters masters;
    bool no_primary; /* masters answered, none of them is it */
    bool introduced; /* the connection is open and the master said hello ... */
    uint32_t role;   /* ... and who it is; 0 = no master */
    bool asked;      /* the question is with that master */
    struct why last; /* what went wrong last */
    /* the question */
    bool waiting;
    const struct op_info *op;
    struct slice body;
    uint32_t wait_ms;
    union op_any *rep;
    int status;
    struct slice answer; /* what *rep views */
};

static bool several(const struct session *s)
{
    return masters_several(&s->masters);
}

/* Whether the master that is connected is to be asked this. */
static bool is_right(const struct session *s)
{
    bool shadow_may = s->op->class == OP_QUERY || s->op->code == OP_masters;
    return s->role == 0 || s->role == MASTER_PRIMARY || s->op->code == OP_health ||
           (s->role == MASTER_SHADOW && shadow_may && s->masters.taken >= s->masters.count);
}

static void finish(struct session *s, int status)
{
    s->waiting = s->asked = false;
    s->status = status;
    env_timer_stop(uv_env_base(s->env), &s->deadline);
    env_timer_stop(uv_env_base(s->env), &s->again);
    env_timer_stop(uv_env_base(s->env), &s->patience);
    uv_env_stop(s->env);
}

static void try_again(struct session *s)
{
    s->asked = s->introduced = false;
    env_timer_set(uv_env_base(s->env), &s->again, AGAIN_MS * NS_PER_MS);
}

/* Another master may know better; what was asked for good is not asked again. */
static void failed(struct session *s, int err)
{
    bool end = s->asked && s->wait_ms > 0;
    (void)why_set(&s->last, err, "%s: %s", s->masters.current, err_text(err));
    rpc_cancel(&s->call);
    rpc_close(&s->rpc);
    env_timer_stop(uv_env_base(s->env), &s->patience);
    s->introduced = false;
    if (end) {
        finish(s, err);
    } else if (s->waiting) {
        try_again(s);
    }
}

/* The namespace's own refusals are answers; ours tell of a master that cannot answer now. */
static bool is_final(int status)
{
    return status <= 0 && status > -10000;
}

static void on_answer(struct rpc_call *c)
{
    struct session *s = c->owner;
    int err = c->status;
    if (err == 0 && c->reply != NULL) {
        s->answer = slice_ref(&c->reply->body);
        err = s->op->rep_decode(slice_bytes(&s->answer), s->rep);
    }
    if (is_final(err)) {
        (void)why_set(&s->last, err, "%s", err_text(err));
        finish(s, err);
    } else if (err != ERR_DISCONNECTED || s->rpc.conn != NULL) { /* else on_close goes on */
        failed(s, err);
    }
}

static void send_question(struct session *s)
{
    struct frame_header head = {.op = s->op->code};
    s->asked = true;
    s->call.done = on_answer;
    rpc_call(&s->rpc, &s->call, &head, slice_ref(&s->body), NULL,
             MAX(s->wait_ms, (uint32_t)TRY_MS));
    if (s->wait_ms > 0) { /* a master is there: it may take its time */
        env_timer_stop(uv_env_base(s->env), &s->deadline);
    }
}

static void not_the_right_one(struct session *s, struct bytes primary)
{
    (void)masters_named(&s->masters, primary);
    s->no_primary = s->role != MASTER_STARTING || several(s);
    failed(s, s->role == MASTER_STARTING ? ERR_NOT_READY : ERR_NOT_MASTER);
}

static void on_hello(struct rpc_call *c)
{
    struct session *s = c->owner;
    struct hello_rep rep;
    int err = RPC_REPLY(hello, c, &rep);
    s->role = err == 0 ? rep.role : 0;
    if (err == 0 && is_right(s)) {
        s->introduced = true;
        env_timer_stop(uv_env_base(s->env), &s->patience);
        send_question(s);
    } else if (err == 0) {
        not_the_right_one(s, rep.primary);
    } else if (s->rpc.conn != NULL) {
        failed(s, err);
    }
}

static void on_open(void *owner, struct rpc *r)
{
    struct session *s = owner;
    struct hello_req hello = {.role = ROLE_ADMIN};
    struct frame_header head = {.op = OP_hello};
    s->call.done = on_hello;
    rpc_call(r, &s->call, &head, RPC_BODY(hello_req, &hello), NULL, TRY_MS);
}

static void on_close(void *owner, struct rpc *r, int err)
{
    (void)r;
    failed(owner, err);
}

static const struct rpc_events events = {.on_open = on_open, .on_close = on_close};

static void again_fired(struct env_timer *t)
{
    struct session *s = container_of(t, struct session, again);
    if (s->introduced && is_right(s)) {
        send_question(s);
        return;
    }
    s->introduced = false;
    rpc_close(&s->rpc);
    rpc_init(&s->rpc, uv_env_base(s->env), &events, s);
    if (several(s)) {
        env_timer_set(uv_env_base(s->env), &s->patience, DIAL_MS * NS_PER_MS);
    }
    rpc_dial(&s->rpc, masters_take(&s->masters));
}

static void patience_ended(struct env_timer *t)
{
    failed(container_of(t, struct session, patience), ERR_TIMEOUT);
}

static void deadline_fired(struct env_timer *t)
{
    struct session *s = container_of(t, struct session, deadline);
    char last[sizeof(s->last.text)];
    snprintf(last, sizeof(last), "%s", s->last.text[0] != 0 ? s->last.text : s->masters.current);
    (void)why_set(&s->last, ERR_TIMEOUT, "%s within %d s: %.200s",
                  s->no_primary ? "no master was the primary" : "nobody answered",
                  ANSWER_WAIT_MS / 1000, last);
    rpc_cancel(&s->call);
    rpc_close(&s->rpc);
    s->introduced = false;
    finish(s, ERR_TIMEOUT);
}

static int start(struct session *s)
{
    s->env =
        uv_env_create(&(struct uv_env_config){.log_level = LOG_ERROR, .threads_max = 1}, &s->last);
    if (s->env == NULL) {
        return -EIO;
    }
    s->call.owner = s;
    s->again.fire = again_fired;
    s->deadline.fire = deadline_fired;
    s->patience.fire = patience_ended;
    rpc_init(&s->rpc, uv_env_base(s->env), &events, s);
    return 0;
}

int session_ask(struct session *s, enum op_code op, const union op_any *req, union op_any *rep,
                uint32_t wait_ms)
{
    if (s->env == NULL && start(s) != 0) {
        return -EIO;
    }
    struct writer w;
    writer_init(&w);
    s->op = op_info_of((uint16_t)op);
    s->op->req_encode(&w, req);
    s->body = writer_take(&w);
    slice_drop(&s->answer);
    memset(rep, 0, sizeof(*rep));
    s->rep = rep;
    s->wait_ms = wait_ms;
    s->waiting = true;
    masters_round_begins(&s->masters);
    s->no_primary = false;
    s->last.text[0] = 0;
    env_timer_set(uv_env_base(s->env), &s->again, 0);
    env_timer_set(uv_env_base(s->env), &s->deadline, ANSWER_WAIT_MS * NS_PER_MS);
    uv_env_run(s->env);
    slice_drop(&s->body);
    return s->status;
}

const char *session_error(const struct session *s)
{
    return s->last.text;
}

int session_ask_or_say(struct session *s, enum op_code op, const union op_any *req,
                       union op_any *rep, uint32_t wait_ms, const char *what)
{
    int err = session_ask(s, op, req, rep, wait_ms);
    if (err != 0 && what[0] != 0) {
        (void)say("%s: %s", what, s->last.text);
    } else if (err != 0) {
        (void)say("%s", s->last.text);
    }
    return err;
}

struct session *session_new(const char *masters)
{
    struct session *s = mem_new(struct session);
    struct why why;
    if (masters_parse(&s->masters, masters, &why) != 0) {
        mem_free(s);
        return NULL;
    }
    return s;
}

void session_free(struct session *s)
{
    if (s->env != NULL) {
        rpc_cancel(&s->call);
        rpc_close(&s->rpc);
        env_timer_stop(uv_env_base(s->env), &s->again);
        env_timer_stop(uv_env_base(s->env), &s->deadline);
        env_timer_stop(uv_env_base(s->env), &s->patience);
        slice_drop(&s->answer);
        uv_env_destroy(s->env);
    }
    mem_free(s);
}

bool session_has_master(const struct session *s, const char *addr)
{
    return masters_have(&s->masters, bytes_str(addr));
}
