/* replicate_join.c - bringing one logger into step: what has it, where do the histories part, what
 * must go. */
#include "master/core/replicate_internal.h"

enum {
    ASK_MS = 3000,    /* for an answer */
    BUSY_MS = 20,     /* asked again: it is writing */
    SOON_MS = 50,     /* another primary's lease ends there; it is starting */
    REFUSED_MS = 1000 /* it cannot follow */
};

static void again_fired(struct env_timer *t)
{
    replicate_ask(container_of(t, struct follower, again));
}

void replicate_away(struct follower *f)
{
    rpc_cancel(&f->ask);
    log_match_stop(&f->match);
    env_timer_stop(f->r->cfg.env, &f->again);
    replicate_stop_sending(f);
    f->state = FOLLOWER_AWAY;
    replicate_drop_recent(f->r, false);
}

void replicate_ask_again(struct follower *f, uint32_t after_ms)
{
    replicate_away(f);
    if (!f->r->ended) {
        f->state = FOLLOWER_ASKED;
        f->again.fire = again_fired;
        env_timer_set(f->r->cfg.env, &f->again, after_ms * NS_PER_MS);
    }
}

/* What every answer may say. True if it says that nothing goes on now. */
static bool failed(struct follower *f, int status)
{
    struct replicate *r = f->r;
    if (status == 0) {
        return false;
    }
    if (r->ended || status == ERR_DISCONNECTED) {
        return true; /* the link says that it is down */
    }
    const struct message *reply = f->ask.reply;
    if (status == ERR_STALE_EPOCH && reply != NULL && reply->head.epoch > r->epoch) {
        replicate_depose(r, DEPOSED_FENCED, reply->head.epoch);
    } else if (status == ERR_TIMEOUT) {
        log_links_redial(r->cfg.links, f->number);
    } else {
        replicate_ask_again(f, status == ERR_BUSY                                    ? BUSY_MS
                               : status == ERR_LEASE_HELD || status == ERR_NOT_READY ? SOON_MS
                                                                                     : REFUSED_MS);
    }
    return true;
}

/* ---------------------------------------------------------------- into step */

static void in_step(struct follower *f, uint64_t index, uint64_t chain)
{
    f->state = FOLLOWER_IN_STEP;
    f->durable = index;
    f->sent = index;
    f->sent_chain = chain;
    f->told_committed = 0;
    replicate_count(f->r);
    replicate_pump(f);
    replicate_beat(f);
}

static void cut_done(struct rpc_call *c)
{
    struct follower *f = c->owner;
    struct log_cut_rep rep;
    int status = RPC_REPLY(log_cut, c, &rep);
    if (status == -EPERM || status == -ENOENT) {
        env_log(f->r->cfg.env, LOG_ERROR, "logger %s cannot be cut after record %llu: %s",
                f->r->set->addr[f->number], (unsigned long long)f->match.low, err_text(status));
    }
    if (!failed(f, status)) {
        replicate_ask(f); /* what it has now, it says itself */
    }
}

static void cut(struct follower *f, uint64_t index, uint64_t chain)
{
    struct replicate *r = f->r;
    struct log_cut_req req = {.index = index, .chain = chain};
    env_log(r->cfg.env, LOG_WARN, "logger %s has other records after %llu: they are cut there",
            r->set->addr[f->number], (unsigned long long)index);
    f->ask.done = cut_done;
    f->ask.owner = f;
    log_links_call(r->cfg.links, f->number, &f->ask, OP_log_cut, r->epoch,
                   RPC_BODY(log_cut_req, &req), NULL, ASK_MS);
}

static void refused(struct rpc_call *c)
{
    struct follower *f = c->owner;
    if (!failed(f, c->status)) {
        replicate_ask(f);
    }
}

void replicate_too_old(struct follower *f)
{
    struct replicate *r = f->r;
    struct log_append_req req = {.serial = ++r->serial, .first = oplog_last(r->cfg.log) + 1};
    replicate_away(f);
    f->state = FOLLOWER_ASKED;
    f->ask.done = refused;
    f->ask.owner = f;
    log_links_call(r->cfg.links, f->number, &f->ask, OP_log_append, r->epoch,
                   RPC_BODY(log_append_req, &req), NULL, ASK_MS);
}

static void matched(struct log_match *m, int status, uint64_t index, uint64_t chain)
{
    struct follower *f = container_of(m, struct follower, match);
    const char *addr = f->r->set->addr[f->number];
    if (status == -ENOENT || status == ERR_CORRUPT) {
        env_log(f->r->cfg.env, LOG_WARN, "logger %s cannot follow: %s", addr,
                status == -ENOENT ? "the records it lacks are not held here any more"
                                  : "a record that decides cannot be read");
    }
    if (status == -ENOENT) {
        replicate_too_old(f);
        return;
    }
    if (failed(f, status)) {
        return;
    }
    const struct log_answer *a = &m->theirs.answer;
    /* A hole in what is ours it mends itself, once what was behind its last record is cut. Where the
     * histories part in a hole, some of what was in it may be ours: it does not forget that it had it. */
    bool mends = a->hole_count > 0 && a->holes[0].from <= index && a->end == LOG_END_SURE;
    if (mends) {
        (void)failed(f, ERR_CORRUPT);
    } else if (index < a->tail.index || m->theirs.damaged) {
        cut(f, index, chain);
    } else {
        in_step(f, index, chain);
    }
}

/* Where its history and ours part: what it knows to be committed is ours. */
static void match(struct follower *f, const struct log_promise_rep *rep)
{
    struct replicate *r = f->r;
    struct log_told told;
    if (log_told_decode(rep, &told) != 0) {
        (void)failed(f, ERR_PROTOCOL);
        return;
    }
    const struct log_answer *a = &told.answer;
    uint64_t limit = MIN(a->tail.index, oplog_last(r->cfg.log));
    if (a->committed > oplog_last(r->cfg.log)) {
        env_log(r->cfg.env, LOG_ERROR, "logger %s knows record %llu to be committed, here are %llu",
                r->set->addr[f->number], (unsigned long long)a->committed,
                (unsigned long long)oplog_last(r->cfg.log));
        replicate_depose(r, DEPOSED_DIVERGED, 0);
        return;
    }
    if (limit > oplog_durable(r->cfg.log)) {
        replicate_ask_again(f, BUSY_MS); /* ours are on their way to the disk */
        return;
    }
    f->match.links = r->cfg.links;
    f->match.log = r->cfg.log;
    f->match.number = f->number;
    f->match.theirs = told;
    f->match.done = matched;
    log_match_start(&f->match, MAX(a->committed, a->first - 1));
}

/* ---------------------------------------------------------------- asking */

static void promised(struct rpc_call *c)
{
    struct follower *f = c->owner;
    struct log_promise_rep rep;
    if (!failed(f, RPC_REPLY(log_promise, c, &rep))) {
        match(f, &rep);
    }
}

static void promise(struct follower *f, struct log_promise_req req, void (*done)(struct rpc_call *))
{
    f->ask.done = done;
    f->ask.owner = f;
    log_links_call(f->r->cfg.links, f->number, &f->ask, OP_log_promise, 0,
                   RPC_BODY(log_promise_req, &req), NULL, ASK_MS);
}

static void told(struct rpc_call *c)
{
    struct follower *f = c->owner;
    struct replicate *r = f->r;
    struct log_promise_rep rep;
    if (failed(f, RPC_REPLY(log_promise, c, &rep))) {
        return;
    }
    uint32_t epoch = c->reply->head.epoch;
    if (epoch > r->epoch) {
        replicate_depose(r, DEPOSED_FENCED, epoch);
    } else if (epoch < r->epoch) {
        /* Enough loggers obey this epoch: older ones are over. */
        promise(
            f, (struct log_promise_req){.epoch = r->epoch, .holder = r->cfg.holder, .ended = epoch},
            promised);
    } else {
        match(f, &rep);
    }
}

void replicate_ask(struct follower *f)
{
    f->state = FOLLOWER_ASKED;
    promise(f, (struct log_promise_req){0}, told);
}
