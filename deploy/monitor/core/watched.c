/* watched.c - a master's process, and what it says about its health. */
#include "deploy/monitor/core/watched.h"

#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------- conversation */

static const struct rpc_events events;

static void hang_up(struct watched *w)
{
    w->introduced = false;
    rpc_close(&w->rpc);
    rpc_init(&w->rpc, w->env, &events, w);
}

static void said_no(struct watched *w, const char *what, int status)
{
    if (!w->refused) {
        env_log(w->env, LOG_ERROR, "master %s refuses %s: %s%s", w->addr, what, err_text(status),
                status == ERR_FOREIGN_CLUSTER ? ": make cluster the same in both configurations"
                                              : "");
    }
    w->refused = true;
    hang_up(w);
    w->dial_ns = env_mono_ns(w->env) + HEALTH_MS * NS_PER_MS;
}

static bool is_refusal(const struct rpc_call *c)
{
    return c->status != 0 && c->reply != NULL;
}

static void on_health(struct rpc_call *c)
{
    struct watched *w = c->owner;
    struct health_rep rep;
    if (RPC_REPLY(health, c, &rep) == 0) {
        if (w->heard_ns == 0) {
            env_log(w->env, LOG_INFO, "master %s answers: epoch %u, index %llu", w->addr, rep.epoch,
                    (unsigned long long)rep.applied);
        }
        w->health = rep;
        if (rep.role == MASTER_PRIMARY) {
            w->served = MAX(w->served, rep.epoch);
        }
        w->heard_ns = env_mono_ns(w->env);
        w->refused = false;
        if (rep.role != MASTER_STARTING) {
            w->early_ends = 0;
        }
    } else if (is_refusal(c)) {
        said_no(w, "to say how it is", c->status);
    }
}

static void on_hello(struct rpc_call *c)
{
    struct watched *w = c->owner;
    if (c->status == 0) {
        w->introduced = true;
    } else if (is_refusal(c)) {
        said_no(w, "the monitor", c->status);
    }
}

static void on_open(void *owner, struct rpc *r)
{
    struct watched *w = owner;
    struct hello_req hello = {.name = bytes_str(w->cluster), .role = ROLE_ADMIN};
    struct frame_header head = {.op = OP_hello};
    w->ask.done = on_hello;
    rpc_call(r, &w->ask, &head, RPC_BODY(hello_req, &hello), NULL, 0);
}

static void on_close(void *owner, struct rpc *r, int err)
{
    struct watched *w = owner;
    (void)r;
    (void)err;
    w->introduced = false;
    w->dial_ns = env_mono_ns(w->env) + REDIAL_MS * NS_PER_MS;
}

static const struct rpc_events events = {.on_open = on_open, .on_close = on_close};

static void converse(struct watched *w, uint64_t now)
{
    if (w->rpc.conn == NULL && now >= w->dial_ns) {
        w->ask_ns = 0;
        rpc_dial(&w->rpc, w->addr);
    } else if (w->introduced && now >= w->ask_ns && !rpc_call_running(&w->ask)) {
        struct frame_header head = {.op = OP_health};
        w->ask_ns =
            now + (w->heard_ns == 0 || w->health.role == MASTER_STARTING ? REDIAL_MS : HEALTH_MS) *
                      NS_PER_MS;
        w->ask.done = on_health;
        rpc_call(&w->rpc, &w->ask, &head, RPC_BODY(health_req, &(struct health_req){}), NULL,
                 MISS_MS);
    }
}

/* ---------------------------------------------------------------- process */

void watched_init(struct watched *w, struct env *env, struct processes *p, uint32_t number,
                  const char *cluster, struct bytes addr)
{
    *w = (struct watched){.env = env, .processes = p, .number = number, .cluster = cluster};
    snprintf(w->addr, sizeof(w->addr), "%.*s", (int)addr.len, (const char *)addr.data);
    rpc_init(&w->rpc, env, &events, w);
    w->ask.owner = w;
    w->running = p->ops->alive(p, number);
    if (w->running) {
        env_log(env, LOG_INFO, "master %s is running already", w->addr);
    }
}

static void ended(struct watched *w, uint64_t now)
{
    bool early = w->heard_ns == 0 || w->health.role == MASTER_STARTING;
    uint64_t pause = 0;
    if (early) {
        uint32_t doublings = MIN(w->early_ends, 10u);
        pause = MIN((uint64_t)START_PAUSE_MS << doublings, (uint64_t)START_PAUSE_MAX_MS);
        w->early_ends++;
    }
    env_log(w->env, LOG_WARN, "master %s has ended%s; started again in %llu ms", w->addr,
            early ? " before it was ready: its own lines say why" : "", (unsigned long long)pause);
    w->running = w->killed = false;
    w->heard_ns = 0;
    w->served = 0;
    w->start_ns = now + pause * NS_PER_MS;
    w->dial_ns = 0;
    hang_up(w);
}

static void start(struct watched *w, uint64_t now)
{
    int err = w->processes->ops->start(w->processes, w->number);
    if (err == 0) {
        w->running = w->known = true;
        w->dial_ns = now + REDIAL_MS * NS_PER_MS;
    } else {
        env_log(w->env, LOG_ERROR, "master %s cannot be started: %s", w->addr, err_text(err));
        w->start_ns = now + START_PAUSE_MAX_MS * NS_PER_MS;
    }
}

bool watched_tick(struct watched *w)
{
    uint64_t now = env_mono_ns(w->env);
    bool died = w->running && !w->processes->ops->alive(w->processes, w->number);
    if (died) {
        ended(w, now);
    }
    if (!w->running && now >= w->start_ns) {
        start(w, now);
    } else if (w->running) {
        converse(w, now);
    }
    return died;
}

bool watched_able(const struct watched *w)
{
    return w->running && !w->killed && w->heard_ns != 0 &&
           env_mono_ns(w->env) - w->heard_ns <= MISS_MS * NS_PER_MS &&
           (w->health.role == MASTER_PRIMARY || w->health.role == MASTER_SHADOW);
}

uint64_t watched_shunned(const struct watched *w)
{
    bool now = w->health.role != MASTER_PRIMARY && env_mono_ns(w->env) < w->shun_ns;
    return now ? w->shun_ns : 0;
}

bool watched_braked(const struct watched *w)
{
    uint64_t now = env_mono_ns(w->env), first = w->promoted_ns[BRAKE_PROMOTIONS - 1];
    bool out_of_touch = w->health.role == MASTER_SHADOW && w->health.age_ms > OUT_OF_TOUCH_MS;
    return out_of_touch || now < w->shun_ns ||
           (first != 0 && now - first < BRAKE_WITHIN_MS * NS_PER_MS &&
            now - w->promoted_ns[0] < BRAKE_MS * NS_PER_MS);
}

void watched_promoted(struct watched *w)
{
    memmove(w->promoted_ns + 1, w->promoted_ns, sizeof(w->promoted_ns) - sizeof(uint64_t));
    w->promoted_ns[0] = env_mono_ns(w->env);
}

bool watched_silent(const struct watched *w, uint64_t ms)
{
    return w->running && w->heard_ns != 0 && env_mono_ns(w->env) - w->heard_ns > ms * NS_PER_MS;
}

void watched_forgive(struct watched *w)
{
    if (w->heard_ns != 0) {
        w->heard_ns = env_mono_ns(w->env);
    }
}

void watched_kill(struct watched *w, const char *reason)
{
    if (w->running && !w->killed) {
        env_log(w->env, LOG_WARN, "master %s is killed: %s", w->addr, reason);
        w->killed = true;
        w->processes->ops->kill(w->processes, w->number);
    }
}

void watched_close(struct watched *w)
{
    rpc_close(&w->rpc);
}
