/* assure.c - what this master knows of the others: how they are, and until when its own state is
 * known to be complete. */
#include "master/core/assure.h"
#include "master/core/master_internal.h"

/* ---------------------------------------------------------------- conclusions */

/* What the own log would answer; false if it proves nothing. */
static bool own_answer(const struct master *m, struct log_assure_rep *out)
{
    const struct oplog *l = m->log;
    *out = (struct log_assure_rep){.promised = oplog_epoch(l),
                                   .tail_epoch = oplog_last_epoch(l),
                                   .tail = oplog_last(l),
                                   .durable = oplog_durable(l)};
    return oplog_cluster(l) != 0 && !oplog_promising(l) && !oplog_damaged(l) && !oplog_joining(l);
}

/* Answers of this round, the own one included. */
static uint32_t answers(const struct master *m, struct log_assure_rep out[LOGGERS_MAX])
{
    uint32_t count = own_answer(m, &out[0]) ? 1 : 0;
    for (uint32_t i = 0; i < m->cfg.set.count; i++) {
        if (m->assure.peers[i].here) {
            out[count++] = m->assure.peers[i].said;
        }
    }
    return count;
}

void assure_applied(struct master *m)
{
    struct assure *a = &m->assure;
    if (a->bound_ns != 0 && m->commit.applied >= a->bound) {
        a->proven_ns = MAX(a->proven_ns, a->bound_ns);
        a->bound_ns = 0;
    }
}

/* What was proven so far was so by the own list: with log_ack = all by the own log alone, before any
 * other was heard. */
void assure_refused(struct master *m)
{
    m->assure.proven_ns = m->assure.bound_ns = 0;
}

/* The state is complete as of the round's beginning once it has all that these logs took. */
static void conclude_age(struct master *m, const struct log_assure_rep *said, uint32_t count)
{
    struct assure *a = &m->assure;
    uint64_t bound = 0;
    if (count < m->cfg.set.count - m->cfg.set.acks + 1 || identity_refused(m)) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        bound = MAX(bound, said[i].tail);
    }
    /* An older question that is about to be answered is not given up for a newer one. */
    bool stuck = a->bound_ns != 0 && a->round_ns - a->bound_ns > 2 * ASSURE_MS * NS_PER_MS;
    if (a->bound_ns == 0 || bound <= a->bound || stuck) {
        a->bound = bound;
        a->bound_ns = a->round_ns;
    }
    assure_applied(m);
}

/* Records of the epoch that W logs have promised, and hold on their disks, are committed. */
static void conclude_committed(struct master *m, const struct log_assure_rep *said, uint32_t count)
{
    uint32_t epoch = oplog_last_epoch(m->log);
    uint32_t acks = m->cfg.set.acks;
    uint64_t tails[LOGGERS_MAX]; /* descending */
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct log_assure_rep *s = &said[i];
        if (s->tail_epoch != epoch || s->promised != epoch || s->durable != s->tail) {
            continue;
        }
        uint32_t at = n++;
        for (; at > 0 && tails[at - 1] < s->tail; at--) {
            tails[at] = tails[at - 1];
        }
        tails[at] = s->tail;
    }
    if (epoch != 0 && oplog_epoch(m->log) == epoch && n >= acks &&
        tails[acks - 1] > oplog_committed(m->log)) {
        oplog_commit_to(m->log, MIN(tails[acks - 1], oplog_durable(m->log)));
    }
}

static void conclude(struct master *m)
{
    struct log_assure_rep said[LOGGERS_MAX + 1];
    uint32_t count = answers(m, said);
    if (m->primary) {
        return;
    }
    conclude_committed(m, said, count);
    conclude_age(m, said, count);
    log_level_go_on(m);
}

/* ---------------------------------------------------------------- rounds */

static void asked(struct rpc_call *c)
{
    struct assure_peer *p = c->owner;
    p->here = RPC_REPLY(log_assure, c, &p->said) == 0 && p->ask_ns == p->m->assure.round_ns;
    if (p->here) {
        conclude(p->m);
    }
}

static void heard(struct rpc_call *c)
{
    struct assure_peer *p = c->owner;
    struct health_rep rep;
    if (RPC_REPLY(health, c, &rep) == 0) {
        p->health = rep;
        p->health_ns = env_mono_ns(p->m->env);
    }
}

static void ask(struct assure_peer *p)
{
    struct master *m = p->m;
    if (!rpc_call_running(&p->ask)) {
        p->ask.done = asked;
        p->ask_ns = m->assure.round_ns;
        log_links_call(m->links, p->number, &p->ask, OP_log_assure, 0,
                       RPC_BODY(log_assure_req, &(struct log_assure_req){}), NULL, ASSURE_WAIT_MS);
    }
    if (!rpc_call_running(&p->how)) {
        p->how.done = heard;
        log_links_call(m->links, p->number, &p->how, OP_health, 0,
                       RPC_BODY(health_req, &(struct health_req){}), NULL, ASSURE_WAIT_MS);
    }
}

static void round_begins(struct env_timer *t)
{
    struct master *m = container_of(t, struct master, assure.timer);
    struct assure *a = &m->assure;
    env_timer_set(m->env, t, ASSURE_MS * NS_PER_MS);
    a->round_ns = env_mono_ns(m->env);
    for (uint32_t i = 0; i < m->cfg.set.count; i++) {
        a->peers[i].here = false;
        if (i != m->cfg.set.self && log_links_up(m->links, i)) {
            ask(&a->peers[i]);
        }
    }
    conclude(m); /* the own log may do */
}

static void link_changed(struct log_watch *w, uint32_t number, bool up)
{
    struct master *m = container_of(w, struct master, assure.watch);
    m->assure.peers[number].health_ns = 0;
    identity_link_changed(m, number, up);
}

/* ---------------------------------------------------------------- what is known */

uint64_t assure_age_ms(const struct master *m)
{
    if (m->primary) {
        return 0;
    }
    if (m->warming && m->commit.applied == oplog_last(m->log)) {
        return 1; /* a primary's alone is 0 */
    }
    uint64_t proven = m->assure.proven_ns;
    return proven == 0 ? UINT64_MAX : (env_mono_ns(m->env) - proven) / NS_PER_MS + 1;
}

const char *assure_primary(const struct master *m)
{
    const char *addr = "";
    uint32_t epoch = 0;
    if (m->serving) {
        return master_addr(m);
    }
    for (uint32_t i = 0; i < m->cfg.set.count; i++) {
        const struct assure_peer *p = &m->assure.peers[i];
        if (p->health_ns != 0 && p->health.role == MASTER_PRIMARY && p->health.epoch > epoch) {
            epoch = p->health.epoch;
            addr = m->cfg.set.addr[i];
        }
    }
    return addr;
}

/* ---------------------------------------------------------------- life */

void assure_init(struct master *m)
{
    struct assure *a = &m->assure;
    a->timer.fire = round_begins;
    list_init(&a->watch.link);
    a->watch.changed = link_changed;
    for (uint32_t i = 0; i < LOGGERS_MAX; i++) {
        a->peers[i] = (struct assure_peer){.m = m, .number = i};
        a->peers[i].ask.owner = a->peers[i].how.owner = &a->peers[i];
    }
}

void assure_start(struct master *m)
{
    log_links_watch(m->links, &m->assure.watch);
    env_timer_set(m->env, &m->assure.timer, 0);
}

void assure_close(struct master *m)
{
    env_timer_stop(m->env, &m->assure.timer);
    log_links_unwatch(&m->assure.watch);
    for (uint32_t i = 0; i < LOGGERS_MAX; i++) {
        rpc_cancel(&m->assure.peers[i].ask);
        rpc_cancel(&m->assure.peers[i].how);
    }
}
