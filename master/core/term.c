/* term.c - one of a set of masters becomes the primary, and ceases to be it. */
#include "master/core/term.h"
#include "master/core/master_internal.h"
#include "master/core/set.h"
#include "shared/base/mem.h"

/* Somebody who waits for the end of a promotion. */
struct asker {
    struct list link;
    struct peer *peer;
    struct frame_header head;
    uint64_t until_ns;
};

void term_init(struct master *m)
{
    list_init(&m->term.askers);
}

/* ---------------------------------------------------------------- who asked */

static void answer(struct peer *p, const struct frame_header *head, int status, uint32_t epoch)
{
    struct promote_rep rep = {.epoch = epoch};
    rpc_answer(&p->rpc, head, status, 0, epoch,
               status == 0 ? RPC_BODY(promote_rep, &rep) : (struct slice){0}, NULL);
}

static void asker_end(struct asker *a, int status, uint32_t epoch)
{
    if (a->peer != NULL) {
        answer(a->peer, &a->head, status, epoch);
    }
    list_remove(&a->link);
    mem_free(a);
}

static void answer_all(struct master *m, int status, uint32_t epoch)
{
    while (!list_empty(&m->term.askers)) {
        asker_end(list_entry(m->term.askers.next, struct asker, link), status, epoch);
    }
}

static void wait(struct peer *p, const struct frame_header *head)
{
    struct asker *a = mem_new(struct asker);
    a->peer = p;
    a->head = *head;
    a->until_ns = env_mono_ns(p->m->env) + PROMOTE_ANSWER_MS * NS_PER_MS;
    list_push_back(&p->m->term.askers, &a->link);
}

void term_forget(struct peer *p)
{
    list_for_each_safe (it, &p->m->term.askers) {
        struct asker *a = list_entry(it, struct asker, link);
        if (a->peer == p) {
            list_remove(&a->link);
            mem_free(a);
        }
    }
}

void term_tick(struct master *m)
{
    uint64_t now = env_mono_ns(m->env);
    list_for_each_safe (it, &m->term.askers) {
        struct asker *a = list_entry(it, struct asker, link);
        if (now >= a->until_ns) {
            asker_end(a, ERR_NOT_READY, m->epoch);
        }
    }
}

/* ---------------------------------------------------------------- in office */

static void deposed(void *owner, enum deposed why, uint32_t epoch)
{
    struct master *m = owner;
    static const char *const because[] = {
        [DEPOSED_FENCED] = "the loggers obey a later one",
        [DEPOSED_ASKED] = "another master is to take over",
        [DEPOSED_ALONE] = "too few of the other masters answer",
        [DEPOSED_DIVERGED] = "another log has committed records that are not here",
    };
    env_log(m->env, LOG_WARN, "epoch %u ends: %s (%u)", m->epoch, because[why], epoch);
    m->term.fenced = why != DEPOSED_ASKED;
    m->vigil.ending = true;
}

void term_fenced(struct master *m, uint32_t epoch)
{
    if (m->term.replicate != NULL) {
        replicate_fenced(m->term.replicate, epoch);
    }
}

static void take_office(struct master *m)
{
    struct term *t = &m->term;
    struct why why = {0};
    struct replicate_config cfg = {.env = m->env,
                                   .log = m->log,
                                   .logger = m->logger,
                                   .links = m->links,
                                   .holder = t->nonce,
                                   .deposed = deposed,
                                   .owner = m};
    oplog_take_epoch(m->log, t->epoch);
    t->replicate = replicate_start(&cfg);
    int err = master_become_primary(m, t->epoch, &why);
    if (err != 0) {
        env_log(m->env, LOG_ERROR, "epoch %u cannot begin: %s", t->epoch, why.text);
        answer_all(m, err, m->epoch);
        env_end(m->env);
    }
}

static uint64_t applied(void *owner)
{
    return master_applied(owner);
}

static void promoted(void *owner, int status, uint32_t promised)
{
    struct master *m = owner;
    if (status == 0) {
        take_office(m);
        return;
    }
    env_log(m->env, LOG_WARN, "no promotion to epoch %u: %s", m->term.epoch, err_text(status));
    answer_all(m, status == ERR_TIMEOUT ? ERR_NOT_READY : status, promised);
}

void term_serves(struct master *m)
{
    answer_all(m, 0, m->epoch);
}

void term_promote(struct peer *p, const struct frame_header *head, const struct promote_req *req)
{
    struct master *m = p->m;
    struct term *t = &m->term;
    bool same = req->epoch == t->epoch && req->nonce == t->nonce;
    uint32_t newest = MAX(oplog_epoch(m->log), m->epoch);
    if (m->cfg.logger_only) {
        answer(p, head, -EOPNOTSUPP, m->epoch);
    } else if (req->nonce == 0) {
        answer(p, head, ERR_PROTOCOL, m->epoch);
    } else if (m->stateless || m->cluster == 0 || m->vigil.ending) {
        answer(p, head, ERR_NOT_READY, m->epoch);
    } else if (m->serving && req->epoch == m->epoch) { /* perhaps another monitor's life */
        answer(p, head, 0, m->epoch);
    } else if (same && (m->primary || promotion_running(t->promotion))) {
        wait(p, head);
    } else if (req->epoch <= newest) {
        answer(p, head, ERR_STALE_EPOCH, newest);
    } else if (m->primary) { /* only another process can begin another term */
        answer(p, head, ERR_NOT_READY, m->epoch);
        m->vigil.ending = true;
    } else {
        promotion_stop(t->promotion);
        answer_all(m, ERR_STALE_EPOCH, req->epoch);
        t->epoch = req->epoch;
        t->nonce = req->nonce;
        wait(p, head);
        promotion_start(t->promotion, req->epoch, req->nonce, req->ended);
    }
}

/* ---------------------------------------------------------------- the end */

static void yielded(void *owner)
{
    struct master *m = owner;
    env_end(m->env);
}

void term_end(struct master *m)
{
    struct term *t = &m->term;
    uint64_t now = env_mono_ns(m->env);
    t->end_ns = t->end_ns != 0 ? t->end_ns : now;
    if (t->replicate == NULL || t->fenced) {
        env_end(m->env);
        return;
    }
    bool flushed = committed_index(m) == m->commit.applied && replies_count(m->replies) == 0;
    if (!t->yielding && (flushed || now - t->end_ns >= FLUSH_MS * NS_PER_MS)) {
        t->yielding = true;
        replicate_yield(t->replicate, yielded, m);
    }
}

bool term_may_answer(const struct master *m, const struct frame_header *request, int status)
{
    if (m->term.replicate == NULL) {
        return true;
    }
    const struct op_info *info = op_info_of(request->op);
    bool changed = status == 0 && info != NULL && info->class == OP_MUTATION;
    return changed || replicate_open(m->term.replicate);
}

/* ---------------------------------------------------------------- begin and end */

void term_start(struct master *m)
{
    m->term.promotion = promotion_create(&(struct promotion_config){.applied = applied,
                                                                    .env = m->env,
                                                                    .log = m->log,
                                                                    .logger = m->logger,
                                                                    .links = m->links,
                                                                    .done = promoted,
                                                                    .owner = m});
    m->term.mender = log_mender_create(m->env, m->log, m->logger, m->links);
}

void term_close(struct master *m)
{
    replicate_destroy(m->term.replicate);
    promotion_destroy(m->term.promotion);
    log_mender_destroy(m->term.mender);
    m->term.mender = NULL;
    m->term.replicate = NULL;
    m->term.promotion = NULL;
    while (!list_empty(&m->term.askers)) {
        struct asker *a = list_entry(m->term.askers.next, struct asker, link);
        list_remove(&a->link);
        mem_free(a);
    }
}
