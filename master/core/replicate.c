/* replicate.c - what is committed, who has promised what, and the end of a primary. */
#include "master/core/replicate_internal.h"
#include "shared/base/mem.h"

#include <stdio.h>

/* Each other logger in turn. */
#define each_follower(f, r)                                                                        \
    for (struct follower *f = (r)->followers; f < (r)->followers + (r)->set->count; f++)           \
        if (f->number != (r)->set->self)

/* The n-th highest of what the loggers have, n from 1. */
static uint64_t nth_highest(uint64_t *values, uint32_t count, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = i + 1; k < count; k++) {
            if (values[k] > values[i]) {
                uint64_t v = values[i];
                values[i] = values[k];
                values[k] = v;
            }
        }
    }
    return values[n - 1];
}

/* Until when W - 1 others promise no other epoch. */
static uint64_t lease_end(const struct replicate *r)
{
    uint64_t ends[LOGGERS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->set->count; i++) {
        if (i != r->set->self) {
            ends[count++] = r->followers[i].lease_ns;
        }
    }
    return nth_highest(ends, count, r->set->acks - 1);
}

bool replicate_open(const struct replicate *r)
{
    return !r->ended && env_mono_ns(r->cfg.env) < lease_end(r);
}

/* Both gates are shut for good. */
static void stop(struct replicate *r)
{
    r->ended = true;
    logger_retire(r->cfg.logger);
}

void replicate_depose(struct replicate *r, enum deposed why, uint32_t epoch)
{
    if (!r->ended && (why != DEPOSED_ASKED || !r->asked)) {
        r->asked = why == DEPOSED_ASKED; /* what is under way may still be committed */
        if (!r->asked) {
            stop(r);
        }
        r->cfg.deposed(r->cfg.owner, why, epoch);
    }
}

void replicate_fenced(struct replicate *r, uint32_t epoch)
{
    replicate_depose(r, DEPOSED_FENCED, epoch);
}

void replicate_heard(struct follower *f, uint64_t sent_ns)
{
    struct replicate *r = f->r;
    uint64_t now = env_mono_ns(r->cfg.env);
    f->heard_ns = now;
    f->lease_ns = MAX(f->lease_ns, sent_ns + LOG_LEASE_MS * NS_PER_MS / 100 * 99);
    uint64_t end = lease_end(r);
    if (end > now && !r->ended) {
        r->shut_ns = 0;
        r->was_open = true;
        logger_hold(r->cfg.logger, end + (end - now) / 100);
    }
}

void replicate_count(struct replicate *r)
{
    uint64_t has[LOGGERS_MAX];
    for (uint32_t i = 0; i < r->set->count; i++) {
        has[i] = i == r->set->self ? oplog_durable(r->cfg.log) : r->followers[i].durable;
    }
    uint64_t index = nth_highest(has, r->set->count, r->set->acks);
    if (r->ended || index < r->opening) {
        return;
    }
    if (oplog_joining(r->cfg.log) && oplog_durable(r->cfg.log) >= r->opening) {
        oplog_joined(r->cfg.log); /* what precedes the opening is all that ever was committed */
    }
    if (index <= oplog_committed(r->cfg.log)) {
        return;
    }
    if (r->tell.place == 0) {
        env_timer_set(r->cfg.env, &r->tell, TELL_MS * NS_PER_MS);
    }
    oplog_commit_to(r->cfg.log, index);
}

void replicate_durable(struct replicate *r)
{
    if (r->ended) {
        return;
    }
    replicate_count(r);
    each_follower(f, r)
    {
        replicate_pump(f);
    }
}

/* ---------------------------------------------------------------- time */

static void tell_fired(struct env_timer *t)
{
    struct replicate *r = container_of(t, struct replicate, tell);
    each_follower(f, r)
    {
        if (f->told_committed < oplog_committed(r->cfg.log)) {
            replicate_beat(f);
        }
    }
}

/* Tells operators about a logger that is missing, once, and when it is back. */
static void look_after(struct follower *f, uint64_t now)
{
    struct replicate *r = f->r;
    if (f->state == FOLLOWER_IN_STEP && f->durable >= r->mark) {
        f->good_ns = now;
    }
    bool missed = now - f->good_ns > BEHIND_MS * NS_PER_MS;
    if (missed == f->missed) {
        return;
    }
    f->missed = missed;
    const char *addr = r->set->addr[f->number];
    if (missed) {
        env_log(r->cfg.env, LOG_WARN,
                "logger %s %s: it has records to %llu of %llu; %u of %u logs must have a record: "
                "bring it "
                "back, with an empty directory if its disk is lost",
                addr, f->state == FOLLOWER_AWAY ? "is away" : "is behind",
                (unsigned long long)f->durable, (unsigned long long)oplog_last(r->cfg.log),
                r->set->acks, r->set->count);
    } else {
        env_log(r->cfg.env, LOG_INFO, "logger %s has all records again", addr);
    }
}

static void beat_fired(struct env_timer *t)
{
    struct replicate *r = container_of(t, struct replicate, beat);
    uint64_t now = env_mono_ns(r->cfg.env);
    env_timer_set(r->cfg.env, t, BEAT_MS / 2 * NS_PER_MS);
    if (r->ended) {
        return;
    }
    each_follower(f, r)
    {
        look_after(f, now);
        if (now - f->sent_ns >= BEAT_MS * NS_PER_MS) {
            replicate_beat(f);
        }
    }
    r->mark = oplog_committed(r->cfg.log);
    if (logger_wanted(r->cfg.logger) > r->epoch) {
        replicate_depose(r, DEPOSED_ASKED, logger_wanted(r->cfg.logger));
    } else if (replicate_open(r)) {
        r->shut_ns = 0;
    } else if (r->shut_ns == 0) {
        r->shut_ns = now;
    } else if (now - r->shut_ns > (r->was_open ? SHUT_MS : SHUT_FIRST_MS) * NS_PER_MS) {
        replicate_depose(r, DEPOSED_ALONE, 0);
    }
}

static void link_changed(struct log_watch *w, uint32_t number, bool up)
{
    struct replicate *r = container_of(w, struct replicate, watch);
    struct follower *f = &r->followers[number];
    replicate_away(f);
    if (up && !r->ended) {
        replicate_ask(f);
    }
}

/* ---------------------------------------------------------------- begin and end */

struct replicate *replicate_start(const struct replicate_config *cfg)
{
    struct replicate *r = mem_new(struct replicate);
    uint64_t now = env_mono_ns(cfg->env);
    r->cfg = *cfg;
    r->set = log_links_set(cfg->links);
    r->epoch = oplog_epoch(cfg->log);
    r->opening = oplog_last(cfg->log) + 1;
    r->shut_ns = now;
    r->beat.fire = beat_fired;
    r->tell.fire = tell_fired;
    r->watch.changed = link_changed;
    ASSERT(r->set->count >= 2 && r->set->acks >= 2 && r->set->acks <= r->set->count);
    oplog_on_batch(cfg->log, replicate_batch, r);
    log_links_watch(cfg->links, &r->watch);
    env_timer_set(cfg->env, &r->beat, BEAT_MS / 2 * NS_PER_MS);
    for (uint32_t i = 0; i < r->set->count; i++) {
        struct follower *f = &r->followers[i];
        f->r = r;
        f->number = i;
        f->good_ns = now;
    }
    each_follower(f, r)
    {
        if (log_links_up(cfg->links, f->number)) {
            replicate_ask(f);
        }
    }
    return r;
}

void replicate_destroy(struct replicate *r)
{
    if (r == NULL) {
        return;
    }
    oplog_on_batch(r->cfg.log, NULL, NULL);
    log_links_unwatch(&r->watch);
    env_timer_stop(r->cfg.env, &r->beat);
    env_timer_stop(r->cfg.env, &r->tell);
    env_timer_stop(r->cfg.env, &r->yield_end);
    each_follower(f, r)
    {
        replicate_away(f);
    }
    replicate_drop_recent(r, true);
    mem_free(r);
}

static void all_yielded(struct replicate *r)
{
    void (*done)(void *owner) = r->yielded;
    env_timer_stop(r->cfg.env, &r->yield_end);
    r->yielded = NULL;
    if (done != NULL) {
        done(r->yielded_owner);
    }
}

static void yield_done(struct rpc_call *c)
{
    struct replicate *r = c->owner;
    if (--r->yielding == 0) {
        all_yielded(r);
    }
}

static void yield_end_fired(struct env_timer *t)
{
    all_yielded(container_of(t, struct replicate, yield_end));
}

void replicate_yield(struct replicate *r, void (*done)(void *owner), void *owner)
{
    enum { YIELD_MS = 300 };
    stop(r);
    r->yielded = done;
    r->yielded_owner = owner;
    r->yield_end.fire = yield_end_fired;
    env_timer_set(r->cfg.env, &r->yield_end, YIELD_MS * NS_PER_MS);
    logger_hold(r->cfg.logger, 0);
    each_follower(f, r)
    {
        struct log_yield_req req = {};
        replicate_away(f);
        if (log_links_up(r->cfg.links, f->number)) {
            f->ask.done = yield_done;
            f->ask.owner = r;
            r->yielding++;
            log_links_call(r->cfg.links, f->number, &f->ask, OP_log_yield, r->epoch,
                           RPC_BODY(log_yield_req, &req), NULL, YIELD_MS);
        }
    }
    if (r->yielding == 0) {
        env_timer_set(r->cfg.env, &r->yield_end, 0);
    }
}

/* ---------------------------------------------------------------- for operators */

struct replicate_state replicate_state(const struct replicate *r, uint32_t number)
{
    const struct follower *f = &r->followers[number];
    uint64_t age = UINT64_MAX;
    if (f->heard_ns != 0) {
        age = (env_mono_ns(r->cfg.env) - f->heard_ns) / NS_PER_MS;
    }
    return (struct replicate_state){
        .in_step = f->state == FOLLOWER_IN_STEP, .durable = f->durable, .age_ms = age};
}

void replicate_warnings(const struct replicate *r, struct writer *w)
{
    uint32_t missed = 0;
    char text[ADDR_LEN_MAX + 1], names[160] = "";
    for (uint32_t i = 0, len = 0; i < r->set->count; i++) {
        if (i != r->set->self && r->followers[i].missed && len < sizeof(names)) {
            len += (uint32_t)snprintf(names + len, sizeof(names) - len, "%s%s",
                                      missed > 0 ? ", " : "", r->set->addr[i]);
            missed++;
        }
    }
    if (missed == 0) {
        return;
    }
    uint32_t left = r->set->count - missed;
    snprintf(text, sizeof(text), "logs away or behind: %s; %s", names,
             left <= r->set->acks ? "if one more fails nothing can be changed: bring them back"
                                  : "bring them back");
    struct bytes said = bytes_str(text);
    enc_text(w, &said);
}
