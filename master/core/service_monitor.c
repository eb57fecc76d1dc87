/* service_monitor.c - the monitor's requests, and what is measured for them. */
#include "master/core/service_monitor.h"
#include "master/core/master_internal.h"
#include "master/core/service.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------- measuring */

void vigil_tick(struct master *m)
{
    struct vigil *v = &m->vigil;
    uint64_t now = env_mono_ns(m->env);
    if (v->tick_ns != 0 && now > v->tick_ns + TICK_MS * NS_PER_MS) {
        v->late_ns = MAX(v->late_ns, now - v->tick_ns - TICK_MS * NS_PER_MS);
    }
    v->tick_ns = now;
    if (now - v->second_ns >= NS_PER_S) {
        v->late_before_ns = v->late_ns;
        v->late_ns = 0;
        v->second_ns = now;
    }
    uint64_t committed = committed_index(m);
    if (committed != v->committed || committed == m->commit.applied) {
        v->committed = committed;
        v->proven_ns = now;
    }
    if (v->ending) {
        term_end(m);
    }
}

void vigil_appended(struct master *m, uint64_t index)
{
    struct vigil *v = &m->vigil;
    if (v->sample == 0) {
        v->sample = index;
        v->sample_ns = env_mono_ns(m->env);
    }
}

void vigil_committed(struct master *m, uint64_t index)
{
    struct vigil *v = &m->vigil;
    if (v->sample == 0 || index < v->sample) {
        return;
    }
    uint64_t took = env_mono_ns(m->env) - v->sample_ns;
    v->log_ns = v->log_ns == 0 ? took : v->log_ns - v->log_ns / 8 + took / 8;
    v->sample = 0;
}

/* Two monitors say that they hold the lock. */
static bool rivals(const struct master *m, uint64_t now)
{
    return m->vigil.rival_ns != 0 && now - m->vigil.rival_ns < RIVAL_MS * NS_PER_MS;
}

static void warn(struct writer *w, const char *format, ...) PRINTF_LIKE(2, 3);

static void warn(struct writer *w, const char *format, ...)
{
    char text[ADDR_LEN_MAX + 1];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    struct bytes said = bytes_str(text);
    enc_text(w, &said);
}

/* A shadow that hears of no primary. */
static void warn_of_no_primary(const struct master *m, struct writer *w)
{
    const struct log_set *set = &m->cfg.set;
    uint32_t here = 1, needed = MAX(set->count / 2 + 1, set->acks);
    for (uint32_t i = 0; i < set->count; i++) {
        here += i != set->self && m->assure.peers[i].health_ns != 0;
    }
    warn(w,
         "no master is the primary: changes wait; of %u masters %u are there and %u are needed: %s",
         set->count, here, needed,
         here < needed ? "bring back those that are away"
                       : "a monitor promotes one, or says in its log why not");
}

static void warn_of_monitors(const struct master *m, struct writer *w)
{
    const struct vigil *v = &m->vigil;
    uint64_t now = env_mono_ns(m->env);
    if (v->heard_ns == 0) {
        if (master_in_set(m) && now - m->start_ns > UNWATCHED_MS * NS_PER_MS) {
            warn(w, "no monitor watches this master: nobody would replace it");
        }
        return;
    }
    if (now > v->lease_until_ns) {
        warn(
            w,
            "the monitor at %.100s does not hold the lock, or is away: nobody replaces this master "
            "if it dies; its log says why",
            v->monitor);
    }
    if (v->rivals_ns != 0 && rivals(m, now)) {
        warn(w, "two monitors watch this master, %.100s and %.100s: stop one", v->monitor,
             v->rival);
    }
    if (v->alarm[0] != 0) {
        warn(w, "%s", v->alarm);
    }
}

void vigil_warnings(const struct master *m, struct writer *w)
{
    if (m->term.replicate != NULL) {
        replicate_warnings(m->term.replicate, w);
    }
    if (oplog_missing(m->log) > 0) {
        warn(w,
             "%llu records of the operation log at %.100s cannot be read: they come from the other "
             "masters if there are any; its disk loses data: replace it",
             (unsigned long long)oplog_missing(m->log), master_addr(m));
    }
    if (m->primary) {
        warn_of_monitors(m, w);
    } else if (master_in_set(m) && assure_primary(m)[0] == 0) {
        warn_of_no_primary(m, w);
    }
}

/* ---------------------------------------------------------------- requests */

uint32_t master_role(const struct master *m)
{
    return m->serving                           ? MASTER_PRIMARY
           : m->primary || m->cluster == 0      ? MASTER_STARTING
           : m->stateless || m->cfg.logger_only ? MASTER_LOGGER
                                                : MASTER_SHADOW;
}

const char *master_addr(const struct master *m)
{
    return m->cfg.advertise[0] != 0 ? m->cfg.advertise : m->cfg.listen;
}

/* At once: what is told here holds whatever the log still has to commit. */
static void answer(struct peer *p, const struct frame_header *head, struct slice body)
{
    rpc_answer(&p->rpc, head, 0, committed_index(p->m), p->m->epoch, body, NULL);
}

static void refuse(struct peer *p, const struct frame_header *head, int status)
{
    rpc_answer(&p->rpc, head, status, 0, p->m->epoch, (struct slice){0}, NULL);
}

static uint64_t age_ms(const struct master *m)
{
    if (!m->primary) {
        return assure_age_ms(m);
    }
    return (env_mono_ns(m->env) - m->vigil.proven_ns) / NS_PER_MS;
}

static uint32_t as_us(uint64_t ns)
{
    return (uint32_t)MIN(ns / 1000, (uint64_t)UINT32_MAX);
}

static void health(struct peer *p, const struct frame_header *head)
{
    const struct master *m = p->m;
    const struct vigil *v = &m->vigil;
    /* Nobody shall promote it yet. */
    struct health_rep rep = {.role = m->warming ? MASTER_STARTING : master_role(m),
                             .epoch = m->epoch,
                             .promised = oplog_epoch(m->log),
                             .durable = oplog_durable(m->log),
                             .committed = committed_index(m),
                             .applied = m->commit.applied,
                             .age_ms = age_ms(m),
                             .log_us = as_us(v->log_ns),
                             .loop_us = as_us(MAX(v->late_ns, v->late_before_ns)),
                             .unreadable = oplog_missing(m->log)};
    answer(p, head, RPC_BODY(health_rep, &rep));
}

/* Another master, by what it said last. */
static struct master_status master_as_known(const struct master *m, uint32_t number)
{
    const struct assure_peer *p = &m->assure.peers[number];
    struct master_status s = {.addr = bytes_str(m->cfg.set.addr[number]), .age_ms = UINT64_MAX};
    if (p->health_ns != 0) {
        bool primary = p->health.role == MASTER_PRIMARY;
        uint64_t ago = (env_mono_ns(m->env) - p->health_ns) / NS_PER_MS;
        s.role = p->health.role;
        s.epoch = p->health.epoch;
        s.committed = p->health.committed;
        s.applied = p->health.applied;
        s.unreadable = p->health.unreadable;
        s.durable = p->health.durable;
        s.age_ms = primary                          ? 0
                   : p->health.age_ms == UINT64_MAX ? UINT64_MAX
                                                    : p->health.age_ms + ago;
    }
    return s;
}

static void masters(struct peer *p, const struct frame_header *head)
{
    const struct master *m = p->m;
    const struct vigil *v = &m->vigil;
    uint64_t now = env_mono_ns(m->env);
    struct master_status self = {.addr = bytes_str(master_addr(m)),
                                 .role = master_role(m),
                                 .epoch = m->epoch,
                                 .committed = committed_index(m),
                                 .applied = m->commit.applied,
                                 .unreadable = oplog_missing(m->log),
                                 .durable = oplog_durable(m->log)};
    struct writer list;
    writer_init(&list);
    self.age_ms = m->primary ? 0 : assure_age_ms(m);
    for (uint32_t i = 0; i < MAX(m->cfg.set.count, 1u); i++) {
        struct master_status other;
        bool own = m->cfg.set.count <= 1 || i == m->cfg.set.self;
        if (!own) {
            other = master_as_known(m, i);
        }
        enc_master_status(&list, own ? &self : &other);
    }
    struct masters_rep rep = {.masters = writer_bytes(&list),
                              .monitor = bytes_str(v->monitor),
                              .monitor_ms =
                                  v->heard_ns == 0 ? UINT64_MAX : (now - v->heard_ns) / NS_PER_MS,
                              .watched = v->heard_ns != 0 && now <= v->lease_until_ns};
    answer(p, head, RPC_BODY(masters_rep, &rep));
    writer_free(&list);
}

/* A master without others gave itself its epoch when it started. */
static void promote(struct peer *p, const struct frame_header *head, const struct promote_req *req)
{
    const struct master *m = p->m;
    if (master_in_set(m)) {
        term_promote(p, head, req);
    } else if (req->epoch < m->epoch) {
        refuse(p, head, ERR_STALE_EPOCH);
    } else if (req->epoch > m->epoch) {
        refuse(p, head, -EOPNOTSUPP);
    } else if (!m->serving) {
        refuse(p, head, ERR_NOT_READY);
    } else {
        struct promote_rep rep = {.epoch = m->epoch};
        answer(p, head, RPC_BODY(promote_rep, &rep));
    }
}

static void keep(char *to, struct bytes text)
{
    memcpy(to, text.data, text.len);
    to[text.len] = 0;
}

/* The monitor that was there first goes on, after another one said that it holds the lock. */
static void note_rival(struct master *m, uint64_t now)
{
    struct vigil *v = &m->vigil;
    if (!rivals(m, now) || v->rivals_ns != 0) {
        v->rivals_ns = rivals(m, now) ? v->rivals_ns : 0;
        return;
    }
    v->rivals_ns = now;
    env_log(
        m->env, LOG_ERROR,
        "the monitors %.100s and %.100s both say that they hold the lock: two are configured for "
        "this master. Only the first is listened to; stop the other",
        v->monitor, v->rival);
}

static void lease(struct peer *p, const struct frame_header *head,
                  const struct master_lease_req *req)
{
    struct vigil *v = &p->m->vigil;
    uint64_t now = env_mono_ns(p->m->env);
    /* Also of a shadow that has records of that epoch: its process was the primary's, and began anew
     * before the monitor looked. */
    if (!p->m->primary || req->epoch != p->m->epoch) {
        refuse(p, head, ERR_STALE_EPOCH);
        return;
    }
    if (now < v->lease_until_ns && !bytes_equal(req->monitor, bytes_str(v->monitor))) {
        keep(v->rival, req->monitor); /* the first one may just have gone: its lease ends soon */
        v->rival_ns = req->ms > 0 ? now : v->rival_ns;
        refuse(p, head, -EEXIST);
        return;
    }
    if (req->ms > 0) {
        note_rival(p->m, now);
    }
    v->heard_ns = now;
    v->lease_until_ns = v->heard_ns + req->ms * NS_PER_MS;
    keep(v->monitor, req->monitor);
    keep(v->alarm, req->alarm);
    answer(p, head, RPC_BODY(master_lease_rep, &(struct master_lease_rep){}));
}

static void step_down(struct peer *p, const struct frame_header *head,
                      const struct step_down_req *req)
{
    struct master *m = p->m;
    if (!m->serving) {
        refuse(p, head, ERR_NOT_MASTER);
        return;
    }
    if (req->epoch < m->epoch) {
        refuse(p, head, ERR_STALE_EPOCH);
        return;
    }
    env_log(m->env, LOG_WARN, "stepping down from epoch %u: %s", m->epoch,
            req->why == STEP_DOWN_HAND_OVER ? "another master is to take over"
                                            : "the monitor lost the lock");
    m->vigil.ending = true;
    answer(p, head, RPC_BODY(step_down_rep, &(struct step_down_rep){}));
}

/* What changes something is for operators' tools and the monitor. */
static bool control(struct peer *p, const struct frame_header *head, struct bytes body)
{
    union op_any req;
    if (p->role != ROLE_ADMIN) {
        return false;
    }
    const struct op_info *info = op_info_of(head->op);
    if (info->req_decode(body, &req) != 0) {
        refuse(p, head, ERR_PROTOCOL);
        service_close_soon(p);
    } else if (head->op == OP_promote) {
        promote(p, head, &req.promote_req);
    } else if (head->op == OP_master_lease) {
        lease(p, head, &req.master_lease_req);
    } else {
        step_down(p, head, &req.step_down_req);
    }
    return true;
}

bool service_monitor(struct peer *p, struct message *msg)
{
    switch (msg->head.op) {
    case OP_health:
        health(p, &msg->head);
        return true;
    case OP_masters:
        masters(p, &msg->head);
        return true;
    case OP_promote:
    case OP_master_lease:
    case OP_step_down:
        return control(p, &msg->head, slice_bytes(&msg->body));
    default:
        return false;
    }
}
