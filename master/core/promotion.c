/* promotion.c - promises, and the choice. */
#include "master/core/promotion_internal.h"
#include "shared/base/mem.h"

#include <string.h>

enum {
    TICK_EACH_MS = 20,
    ANSWER_MS = 3000,
    MORE_MS = 200,  /* for answers beyond those that are needed */
    MEND_MS = 5000, /* for what others have of the own holes */
};

static void tick_fired(struct env_timer *t);

struct promotion *promotion_create(const struct promotion_config *cfg)
{
    struct promotion *p = mem_new(struct promotion);
    p->cfg = *cfg;
    p->set = log_links_set(cfg->links);
    p->tick.fire = tick_fired;
    for (uint32_t i = 0; i < LOGGERS_MAX; i++) {
        p->promises[i].p = p;
    }
    return p;
}

static void stop_calls(struct promotion *p)
{
    for (uint32_t i = 0; i < p->set->count; i++) {
        rpc_cancel(&p->promises[i].call);
    }
    rpc_cancel(&p->read);
    log_match_stop(&p->match);
}

void promotion_stop(struct promotion *p)
{
    stop_calls(p);
    env_timer_stop(p->cfg.env, &p->tick);
    p->step = PROMOTION_IDLE;
}

void promotion_destroy(struct promotion *p)
{
    if (p != NULL) {
        promotion_stop(p);
        mem_free(p);
    }
}

bool promotion_running(const struct promotion *p)
{
    return p->step != PROMOTION_IDLE;
}

void promotion_start(struct promotion *p, uint32_t epoch, uint64_t holder, uint32_t ended)
{
    ASSERT(p->step == PROMOTION_IDLE && holder != 0);
    p->step = PROMOTION_ASKING;
    p->epoch = epoch;
    p->holder = holder;
    p->ended = ended;
    p->begun_ns = env_mono_ns(p->cfg.env);
    p->enough_ns = 0;
    p->own_asked = false;
    p->why = (struct why){0};
    for (uint32_t i = 0; i < LOGGERS_MAX; i++) {
        p->promises[i].told = (struct log_told){0};
    }
    env_timer_set(p->cfg.env, &p->tick, 0);
}

void promotion_end(struct promotion *p, int status, uint32_t promised)
{
    promotion_stop(p);
    p->cfg.done(p->cfg.owner, status, promised);
}

void promotion_ask_anew(struct promotion *p, uint32_t number)
{
    rpc_cancel(&p->read);
    log_match_stop(&p->match);
    if (number != p->set->self) {
        p->promises[number].told.answer.here = false;
    }
    p->enough_ns = 0;
    p->step = PROMOTION_ASKING;
}

/* ---------------------------------------------------------------- promises */

static void promised(struct rpc_call *c)
{
    struct promise *o = c->owner;
    struct promotion *p = o->p;
    struct log_promise_rep rep;
    struct log_told told;
    int status = RPC_REPLY(log_promise, c, &rep);
    if (status == 0) {
        status = log_told_decode(&rep, &told);
    }
    if (status == 0) {
        o->told = told;
    } else if (status == ERR_STALE_EPOCH && c->reply->head.epoch >= p->epoch) {
        promotion_end(p, ERR_STALE_EPOCH, c->reply->head.epoch);
    } else if (status == ERR_TIMEOUT) {
        log_links_redial(p->cfg.links, (uint32_t)(o - p->promises));
    } /* else it is asked again with the next tick */
}

static void ask_others(struct promotion *p)
{
    for (uint32_t i = 0; i < p->set->count; i++) {
        struct promise *o = &p->promises[i];
        if (i == p->set->self || o->told.answer.here || rpc_call_running(&o->call) ||
            !log_links_up(p->cfg.links, i)) {
            continue;
        }
        struct log_promise_req req = {.epoch = p->epoch, .holder = p->holder, .ended = p->ended};
        o->call.done = promised;
        o->call.owner = o;
        log_links_call(p->cfg.links, i, &o->call, OP_log_promise, 0,
                       RPC_BODY(log_promise_req, &req), NULL, ANSWER_MS);
    }
}

static void own_promised(void *owner)
{
    struct promotion *p = owner;
    if (p->step == PROMOTION_ASKING && oplog_epoch(p->cfg.log) == p->epoch) {
        p->promises[p->set->self].told.answer.here = true;
    }
}

/* False: the promotion has ended. */
static bool ask_own(struct promotion *p)
{
    if (p->own_asked) {
        return true;
    }
    int status = logger_promise(p->cfg.logger, p->epoch, p->holder, p->ended, own_promised, p);
    if (status == ERR_STALE_EPOCH) {
        promotion_end(p, ERR_STALE_EPOCH, oplog_epoch(p->cfg.log));
        return false;
    }
    p->own_asked = status == 0;
    return true;
}

static uint32_t others_promised(const struct promotion *p)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->set->count; i++) {
        count += i != p->set->self && p->promises[i].told.answer.here;
    }
    return count;
}

/* All that can be reached have answered, or had the time to. */
static bool heard_enough(const struct promotion *p)
{
    bool all = true;
    for (uint32_t i = 0; i < p->set->count; i++) {
        all &= p->promises[i].told.answer.here || !log_links_up(p->cfg.links, i);
    }
    return all || env_mono_ns(p->cfg.env) - p->enough_ns >= MORE_MS * NS_PER_MS;
}

/* ---------------------------------------------------------------- choice */

/* The first record from `floor` on that the history to go on with has, and that one cannot read; 0: none. */
static uint64_t first_missing(const struct promotion *p, uint32_t number, uint64_t floor)
{
    const struct log_answer *a = &p->promises[number].told.answer;
    for (uint32_t i = 0; i < a->hole_count; i++) {
        if (a->holes[i].to >= floor && a->holes[i].from <= p->choice.tail.index) {
            return a->holes[i].from;
        }
    }
    return 0;
}

/* What is missing in the middle of a log is fetched meanwhile: by this master, and by the other,
 * which is asked anew. What both are known to share is not asked of it: nobody may have it any more. What
 * is not had by then may be of a history that was overruled: if the own one parts from the chosen one
 * before its holes, they are cut with it. */
static int holes_left(struct promotion *p, struct why *why)
{
    uint32_t of[] = {p->set->self, p->choice.source};
    uint64_t floor[] = {0, promotion_shared(p) + 1};
    bool late = env_mono_ns(p->cfg.env) - p->begun_ns > MEND_MS * NS_PER_MS;
    for (uint32_t i = late && of[0] != of[1] ? 1 : 0; i < COUNT_OF(of); i++) {
        uint64_t missing = first_missing(p, of[i], floor[i]);
        if (missing != 0) {
            p->promises[p->choice.source].told.answer.here &= i == 0;
            return why_set(why, -EAGAIN, "the log of %s lacks record %llu", p->set->addr[of[i]],
                           (unsigned long long)missing);
        }
    }
    return 0;
}

static void choose(struct promotion *p)
{
    struct log_rule rule = {.loggers = p->set->count, .acks = p->set->acks};
    struct why why;
    if (oplog_judge_rot(p->cfg.log, &why) != 0) {
        return;
    }
    p->promises[p->set->self].told = (struct log_told){.answer = oplog_findings(p->cfg.log),
                                                       .chain = oplog_last_chain(p->cfg.log),
                                                       .damaged = oplog_damaged(p->cfg.log)};
    for (uint32_t i = 0; i < p->set->count; i++) {
        rule.answers[i] = p->promises[i].told.answer;
    }
    int rc = log_rule_choose(&rule, &p->choice, &why);
    if (rc == 0) {
        rc = holes_left(p, &why);
    }
    if (rc != 0) { /* more answers may decide */
        if (strcmp(why.text, p->why.text) != 0) {
            env_log(p->cfg.env, LOG_WARN,
                    "epoch %u waits for other logs: %s; bring back masters that are away", p->epoch,
                    why.text);
            p->why = why;
        }
        return;
    }
    env_log(p->cfg.env, LOG_INFO, "epoch %u goes on from record %llu of epoch %u, as %s has it",
            p->epoch, (unsigned long long)p->choice.tail.index, p->choice.tail.epoch,
            p->set->addr[p->choice.source]);
    promotion_match(p);
}

static void look_for_promises(struct promotion *p)
{
    /* Beside the own one. More than half of all promise an epoch once only, whoever gives it out twice;
     * that is never fewer than it takes to hear of every committed record. */
    uint32_t needed = p->set->count / 2;
    ASSERT(needed >= p->set->count - p->set->acks);
    ask_others(p);
    if (others_promised(p) < needed || !ask_own(p)) {
        return;
    }
    if (!p->promises[p->set->self].told.answer.here) {
        return;
    }
    if (p->enough_ns == 0) {
        p->enough_ns = env_mono_ns(p->cfg.env);
    }
    if (heard_enough(p) && oplog_settled(p->cfg.log) && oplog_quiet(p->cfg.log)) {
        choose(p);
    }
}

static void tick_fired(struct env_timer *t)
{
    struct promotion *p = container_of(t, struct promotion, tick);
    env_timer_set(p->cfg.env, t, TICK_EACH_MS * NS_PER_MS);
    if (oplog_epoch(p->cfg.log) > p->epoch) {
        promotion_end(p, ERR_STALE_EPOCH, oplog_epoch(p->cfg.log));
    } else if (p->step == PROMOTION_ASKING &&
               env_mono_ns(p->cfg.env) - p->begun_ns > PROMOTION_MS * NS_PER_MS) {
        promotion_end(p, ERR_TIMEOUT, 0);
    } else if (p->step == PROMOTION_ASKING) {
        look_for_promises(p);
    } else if (p->step == PROMOTION_FILLING) {
        promotion_fill(p);
    }
}
