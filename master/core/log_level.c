/* log_level.c - loggers that no primary feeds give each other what they lack. */
#include "master/core/log_level.h"
#include "master/core/master_internal.h"

/* Whether this log waits for its end, and for nothing else. */
static bool may_grow(const struct master *m)
{
    const struct oplog *l = m->log;
    return !m->primary && !m->stopping && oplog_cluster(l) != 0 && !oplog_promising(l) &&
           !oplog_damaged(l) && !oplog_joining(l) && oplog_last_epoch(l) == oplog_epoch(l) &&
           logger_silent_ms(m->logger) >= LEVEL_SILENCE_MS;
}

static void ask(struct master *m);

static void read_done(struct rpc_call *c)
{
    struct master *m = c->owner;
    struct log_leveller *v = &m->level;
    struct log_read_rep rep;
    struct why why;
    int status = RPC_REPLY(log_read, c, &rep);
    if (status != 0 || rep.first == 0 || !may_grow(m)) {
        return; /* the next round asks again, perhaps another one */
    }
    uint64_t from = oplog_last(m->log) + 1;
    status = oplog_append_encoded(m->log, slice_bytes(&c->reply->payload), &why);
    if (status != 0) {
        env_log(m->env, LOG_INFO, "records after %llu are not taken from master %s: %s",
                (unsigned long long)from - 1, m->cfg.set.addr[v->number], why.text);
        return;
    }
    env_log(m->env, LOG_INFO,
            "records %llu to %llu, which the primary sent to others only, came "
            "from master %s",
            (unsigned long long)from, (unsigned long long)oplog_last(m->log),
            m->cfg.set.addr[v->number]);
    if (oplog_last(m->log) < v->to) {
        ask(m);
    }
}

static void ask(struct master *m)
{
    struct log_leveller *v = &m->level;
    v->read.done = read_done;
    log_links_read(m->links, v->number, &v->read, oplog_last(m->log) + 1);
}

void log_level_go_on(struct master *m)
{
    struct log_leveller *v = &m->level;
    uint64_t most = oplog_last(m->log);
    if (rpc_call_running(&v->read) || !may_grow(m)) {
        return;
    }
    for (uint32_t i = 0; i < m->cfg.set.count; i++) {
        const struct assure_peer *p = &m->assure.peers[i];
        bool alike = p->here && p->said.promised == oplog_epoch(m->log) &&
                     p->said.tail_epoch == oplog_last_epoch(m->log);
        if (alike && p->said.durable > most) {
            most = p->said.durable;
            v->number = i;
        }
    }
    if (most > oplog_last(m->log)) {
        v->to = most;
        ask(m);
    }
}

void log_level_init(struct master *m)
{
    m->level.read.owner = m;
}

void log_level_close(struct master *m)
{
    rpc_cancel(&m->level.read);
}
