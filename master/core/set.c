/* set.c - a master that is one of several. */
#include "master/core/set.h"
#include "master/core/master_internal.h"

static void log_durable(void *owner, uint64_t index)
{
    struct master *m = owner;
    logger_durable(m->logger, index);
    if (m->term.replicate != NULL) {
        replicate_durable(m->term.replicate);
    }
    follow_wake(m);
}

static void log_committed(void *owner, uint64_t index)
{
    (void)index;
    follow_wake(owner);
}

/* Another master is about to be promoted. */
static void promised(void *owner, uint32_t epoch)
{
    term_fenced(owner, epoch);
}

void set_init(struct master *m)
{
    follow_init(m);
    assure_init(m);
    log_level_init(m);
    shadow_init(m);
    transfer_init(m);
    term_init(m);
}

int set_start(struct master *m, struct why *why)
{
    m->start_ns = env_mono_ns(m->env);
    m->start_awake_ns = master_awake_ns(m);
    m->commit.settled_ns = m->start_ns;
    oplog_commit_to(m->log, m->commit.applied); /* the state has nothing that is not committed */
    int err = oplog_start(m->log, why);
    if (err != 0) {
        return err;
    }
    m->links = log_links_create(m->env, &m->cfg.set, m->cfg.cluster, &m->cluster);
    m->logger = logger_create(m->env, m->log, promised, m);
    oplog_on_durable(m->log, log_durable, m);
    oplog_on_commit(m->log, log_committed, m);
    err = master_listen(m, why);
    if (err != 0) {
        return err;
    }
    term_start(m);
    transfer_start(m);
    assure_start(m);
    log_links_start(m->links);
    follow_start(m);
    env_log(m->env, LOG_INFO, "master of cluster \"%s\" at %s, one of %u: index %llu of epoch %u%s",
            m->cfg.cluster, m->cfg.listen, m->cfg.set.count, (unsigned long long)m->commit.applied,
            m->epoch, m->cluster == 0 ? ", new" : "");
    return 0;
}

void set_tick(struct master *m)
{
    identity_tick(m);
    follow_tick(m);
    transfer_tick(m);
    if (!m->stateless) {
        medium_tick(&m->medium);
    }
}

void set_close(struct master *m)
{
    term_close(m);
    follow_close(m);
    if (m->links != NULL) {
        identity_close(m);
        assure_close(m);
        log_level_close(m);
    }
    transfer_stop(m);
    shadow_close(m);
}

bool set_request(struct peer *p, struct message *msg)
{
    struct master *m = p->m;
    if (m->logger == NULL || p->role != ROLE_MASTER) {
        return false;
    }
    if (msg->head.op == OP_log_compare) {
        identity_compare(p, msg);
        return true;
    }
    bool ours = (msg->head.op >= OP_log_promise && msg->head.op <= OP_log_yield) ||
                msg->head.op == OP_checkpoint_read;
    if (ours && !p->compared) {
        rpc_answer_status(&p->rpc, &msg->head, ERR_NOT_READY);
        return true;
    }
    return logger_request(m->logger, &p->rpc, msg) || transfer_request(p, msg);
}

int master_become_primary(struct master *m, uint32_t epoch, struct why *why)
{
    int err = follow_finish(m, why);
    if (err == 0) {
        shadow_close(m); /* who waits for more asks again */
        transfer_stop(m);
        master_take_office(m, epoch);
    }
    return err;
}
