/* monitor.c - who shall be the primary, and how it becomes it. */
#include "deploy/monitor/core/monitor_internal.h"
#include "shared/base/mem.h"

#include <stdio.h>
#include <string.h>

static void look_again(struct monitor *m, uint64_t pause_ms)
{
    m->state = LOOKING;
    m->target = NULL;
    rpc_cancel(&m->order);
    m->again_ns = env_mono_ns(m->env) + pause_ms * NS_PER_MS;
}

struct elect_view monitor_view(const struct monitor *m)
{
    struct elect_view v;
    m->elect->ops->view(m->elect, &v);
    return v;
}

/* ---------------------------------------------------------------- choosing */

static struct elect_candidate candidate(const struct watched *w)
{
    struct elect_candidate c = {.able = watched_able(w),
                                .braked = watched_braked(w),
                                .role = w->health.role,
                                .epoch = w->health.epoch,
                                .durable = w->health.durable};
    snprintf(c.addr, sizeof(c.addr), "%s", w->addr);
    return c;
}

/* Whoever was tried in vain comes after all others, also when those are braked; of several the one whose
 * turn is longest ago comes first. */
static bool better(const struct watched *a, const struct watched *b)
{
    uint64_t a_ns = watched_shunned(a), b_ns = watched_shunned(b);
    struct elect_candidate x = candidate(a), y = candidate(b);
    return a_ns != b_ns ? a_ns < b_ns : elect_better(&x, &y);
}

/* The best of those that could serve now, `but` excepted; NULL = none. */
static struct watched *best(struct monitor *m, const struct watched *but)
{
    struct watched *found = NULL;
    for (uint32_t i = 0; i < m->count; i++) {
        struct watched *w = &m->masters[i];
        if (w != but && watched_able(w) && (found == NULL || better(w, found))) {
            found = w;
        }
    }
    return found;
}

/* Somebody else could serve, under this monitor or another one. */
static bool replaceable(struct monitor *m, const struct watched *w)
{
    return best(m, w) != NULL || monitor_view(m).others > 0;
}

/* What other monitors are told. */
static void report(struct monitor *m)
{
    const struct watched *w = best(m, NULL);
    struct elect_candidate c = {.able = false};
    if (w != NULL) {
        c = candidate(w);
    }
    m->elect->ops->report(m->elect, &c);
}

/* At its start a monitor hears all masters out before it chooses: one may serve already. */
static bool all_heard(const struct monitor *m)
{
    bool all = true;
    for (uint32_t i = 0; i < m->count; i++) {
        all &= m->masters[i].heard_ns != 0;
    }
    return all || m->epoch != 0 || env_mono_ns(m->env) - m->start_ns > FIRST_LOOK_MS * NS_PER_MS;
}

/* ---------------------------------------------------------------- the engine */

static void on_claimed(struct elect_ask *a)
{
    struct monitor *m = container_of(a, struct monitor, ask);
    m->asking = false;
    if (m->state != CLAIMING) {
        return;
    }
    if (a->status == 0) {
        m->epoch = a->epoch;
        m->nonce = env_rand64(m->env);
        m->alarm[0] = 0;
        m->state = FENCING;
        if (!a->exact && a->before_monitor[0] != 0 && !m->fence.running) {
            fence_start(&m->fence, a->before_monitor, m->epoch, FENCE_WAIT_MS);
        }
        return;
    }
    if (a->status == -EPERM) { /* another monitor has the lock now */
        look_again(m, AGAIN_MS);
        return;
    }
    if (a->exact && a->status == ERR_STALE_EPOCH) {
        snprintf(m->alarm, sizeof(m->alarm),
                 "master %.60s serves in epoch %u, but epoch %u was given out before: is its "
                 "directory another one, or an old copy? If it is right, stop this monitor and "
                 "write \"%u -\" into its file epoch",
                 m->target->addr, a->want, a->epoch, a->want);
    } else {
        snprintf(m->alarm, sizeof(m->alarm),
                 "no epoch can be had, so no master is promoted: %.100s; see to the disk of this "
                 "monitor, and to ZooKeeper if that is the engine",
                 err_text(a->status));
    }
    env_log(m->env, LOG_ERROR, "%s", m->alarm);
    look_again(m, BEHIND_AGAIN_MS);
}

static void on_fenced(struct fence *f, uint32_t ended)
{
    struct monitor *m = container_of(f, struct monitor, fence);
    m->ended = MAX(m->ended, ended);
}

static void claim(struct monitor *m, struct watched *w, const struct elect_view *v)
{
    bool serves = w->health.role == MASTER_PRIMARY;
    /* Deposed, and another one could serve: a new epoch, and it is ended. */
    if (serves && w->health.epoch < v->epoch && best(m, w) != NULL) {
        w = best(m, w);
        serves = w->health.role == MASTER_PRIMARY;
    }
    uint32_t promised = MAX(m->at_least, w->health.promised + 1);
    m->target = w;
    m->state = CLAIMING;
    m->asking = true;
    m->ask = (struct elect_ask){
        .want = serves ? w->health.epoch : promised, .exact = serves, .done = on_claimed};
    snprintf(m->ask.addr, sizeof(m->ask.addr), "%s", w->addr);
    m->elect->ops->claim(m->elect, &m->ask);
}

static void on_published(struct elect_ask *a)
{
    struct monitor *m = container_of(a, struct monitor, ask);
    m->asking = false;
    if (m->state != PUBLISHING) {
        return;
    }
    if (a->status != 0) {
        env_log(m->env, LOG_WARN, "the primary's address cannot be published: %s",
                a->status == -EPERM ? "the lock is another monitor's now" : err_text(a->status));
        look_again(m, AGAIN_MS);
        return;
    }
    uint64_t now = env_mono_ns(m->env);
    if (m->lost_ns != 0) {
        env_log(m->env, LOG_WARN,
                "master %s serves in epoch %u, %llu ms after the last one was lost",
                m->target->addr, m->epoch, (unsigned long long)((now - m->lost_ns) / NS_PER_MS));
    } else {
        env_log(m->env, LOG_INFO, "master %s serves in epoch %u", m->target->addr, m->epoch);
    }
    m->state = HOLDING;
    m->primary = m->target;
    m->at_least = 0;
    m->tell_ns = m->lost_ns = 0;
    askers_handed(m, 0, m->epoch, m->target->addr);
}

static void publish(struct monitor *m)
{
    m->state = PUBLISHING;
    m->asking = true;
    m->ask = (struct elect_ask){.want = m->epoch, .done = on_published};
    snprintf(m->ask.addr, sizeof(m->ask.addr), "%s", m->target->addr);
    m->elect->ops->publish(m->elect, &m->ask);
}

/* The lock goes to another monitor's master. */
static void yield(struct monitor *m)
{
    if (monitor_view(m).others > 0) {
        m->elect->ops->leave(m->elect);
        m->yield_ns = env_mono_ns(m->env) + YIELD_MS * NS_PER_MS;
    }
}

/* The target cannot become the primary now: room for another one. */
static void others_first(struct monitor *m)
{
    m->target->shun_ns = env_mono_ns(m->env) + SHUN_MS * NS_PER_MS;
    yield(m);
}

/* ---------------------------------------------------------------- orders to the master */

static void on_promoted(struct rpc_call *c)
{
    struct monitor *m = c->owner;
    struct promote_rep rep;
    int status = RPC_REPLY(promote, c, &rep);
    if (m->state != PROMOTING) {
        return;
    }
    if (status == 0) {
        m->target->served = MAX(m->target->served, m->epoch);
        if (m->target->health.role != MASTER_PRIMARY) {
            watched_promoted(m->target);
        }
        publish(m);
        return;
    }
    m->again_ns = env_mono_ns(m->env) + AGAIN_MS * NS_PER_MS;
    if (c->reply != NULL && status != ERR_NOT_READY) {
        env_log(m->env, LOG_ERROR, "master %s does not become primary of epoch %u: %s",
                m->target->addr, m->epoch, err_text(status));
        if (status == ERR_STALE_EPOCH && c->reply->head.epoch < UINT32_MAX) {
            m->at_least = c->reply->head.epoch + 1;
        } else if (status != ERR_STALE_EPOCH && replaceable(m, m->target)) {
            others_first(m);
        }
        look_again(m, AGAIN_MS);
    }
}

static void promote(struct monitor *m)
{
    struct promote_req req = {.epoch = m->epoch, .nonce = m->nonce, .ended = m->ended};
    struct frame_header head = {.op = OP_promote};
    m->order.done = on_promoted;
    rpc_call(&m->target->rpc, &m->order, &head, RPC_BODY(promote_req, &req), NULL, PROMOTE_WAIT_MS);
}

static void on_told(struct rpc_call *c)
{
    struct monitor *m = c->owner;
    if (m->state == HOLDING && c->reply != NULL && c->status == ERR_STALE_EPOCH) {
        env_log(m->env, LOG_WARN, "master %s is not in epoch %u any more", m->target->addr,
                m->epoch);
        look_again(m, 0);
    }
    uint64_t now = env_mono_ns(m->env);
    if (c->status == -EEXIST && now >= m->rival_ns) {
        m->rival_ns = now + RIVAL_AGAIN_MS * NS_PER_MS;
        env_log(m->env, LOG_ERROR,
                "master %s is watched by another monitor, or was until just now: if this is said "
                "again, two are configured for it",
                m->target->addr);
    }
}

static void tell_lease(struct monitor *m, uint64_t now, const struct elect_view *v)
{
    uint64_t until = v->held ? MIN(v->held_until_ns, now + LEASE_MS * NS_PER_MS) : now;
    const char *addr = m->cfg.advertise[0] != 0 ? m->cfg.advertise : m->cfg.listen;
    struct master_lease_req req = {.epoch = m->epoch,
                                   .ms = until > now ? (uint32_t)((until - now) / NS_PER_MS) : 0,
                                   .monitor = bytes_str(addr),
                                   .alarm = bytes_str(m->alarm[0] != 0 ? m->alarm : v->trouble)};
    struct frame_header head = {.op = OP_master_lease};
    m->tell_ns = now + LEASE_TELL_MS * NS_PER_MS;
    m->order.done = on_told;
    rpc_call(&m->target->rpc, &m->order, &head, RPC_BODY(master_lease_req, &req), NULL, LEASE_MS);
}

static void on_stepping_down(struct rpc_call *c)
{
    struct monitor *m = c->owner;
    if (c->status != 0 && c->reply != NULL) { /* it is no primary: nothing to hand over */
        askers_handed(m, c->status, 0, "");
        look_again(m, 0);
    }
}

static void step_down(struct monitor *m, uint32_t why)
{
    struct step_down_req req = {.epoch = m->epoch, .why = why};
    struct frame_header head = {.op = OP_step_down};
    rpc_cancel(&m->order);
    m->order.done = on_stepping_down;
    m->state = HANDING;
    m->down_ns = env_mono_ns(m->env);
    m->lost_ns = m->down_ns;
    rpc_call(&m->target->rpc, &m->order, &head, RPC_BODY(step_down_req, &req), NULL,
             STEP_DOWN_WAIT_MS);
}

bool monitor_hand_over(struct monitor *m)
{
    if (m->state != HOLDING || !m->target->introduced) {
        return false;
    }
    env_log(m->env, LOG_INFO, "master %s is to hand over", m->target->addr);
    step_down(m, STEP_DOWN_HAND_OVER);
    return true;
}

/* ---------------------------------------------------------------- states */

bool monitor_fenced(struct monitor *m, const struct watched *but)
{
    bool done = true;
    for (uint32_t i = 0; i < m->count; i++) {
        struct watched *w = &m->masters[i];
        bool may_serve = w->heard_ns == 0 ? !w->known : w->health.role == MASTER_PRIMARY;
        if (w != but && w->running && may_serve) {
            done = false;
            if (!m->cfg.spares) {
                watched_kill(w, "another master becomes the primary");
            }
        }
    }
    return done;
}

/* Ended, unless masters are spared and somebody else can serve without. */
static void end_sick(struct monitor *m, struct watched *w, const char *why)
{
    if (!m->cfg.spares || !replaceable(m, w)) {
        watched_kill(w, why);
    } else if (w == m->target) {
        env_log(m->env, LOG_WARN, "master %s is left alone, and replaced: %s", w->addr, why);
    }
}

/* Whether the primary must go although its process is there. */
static bool is_sick(struct monitor *m, struct watched *w)
{
    uint64_t patience = replaceable(m, w) ? MISS_MS : m->cfg.hang_ms;
    if (watched_silent(w, patience)) {
        end_sick(m, w, "it does not answer any more");
        return true;
    }
    if (w->health.committed < w->health.applied && w->health.age_ms > m->cfg.stall_ms &&
        replaceable(m, w)) {
        end_sick(m, w, "its log commits nothing any more");
        return true;
    }
    return false;
}

static void lost(struct monitor *m)
{
    m->lost_ns = env_mono_ns(m->env);
    look_again(m, 0);
}

static void hold(struct monitor *m, uint64_t now)
{
    struct elect_view v = monitor_view(m);
    if (is_sick(m, m->target)) {
        lost(m);
    } else if (!v.held && v.epoch > m->epoch) {
        env_log(m->env, LOG_WARN, "the lock was lost: epoch %u was given out", v.epoch);
        step_down(m, STEP_DOWN_LOCK_LOST);
    } else if (v.held && v.epoch < m->epoch) {
        env_log(m->env, LOG_WARN, "the engine knows epoch %u only: it is told of %u", v.epoch,
                m->epoch);
        look_again(m, 0);
    } else if (now >= m->tell_ns && !rpc_call_running(&m->order)) {
        tell_lease(m, now, &v);
    }
}

/* The process of this master has ended, which was the primary of `served` or 0; another one may run
 * already. */
static void on_ended(struct monitor *m, const struct watched *w, uint32_t served)
{
    m->ended = MAX(m->ended, served);
    if (w == m->primary) {
        m->primary = NULL;
    }
    if (w == m->target && m->state == HANDING) {
        yield(m);
    }
    if (w == m->target && m->state == HOLDING) {
        lost(m);
    } else if (w == m->target) {
        look_again(m, 0); /* also how HANDING ends */
    }
}

/* This master serves in an epoch that was taken from it. */
static void depose(struct monitor *m, struct watched *w, uint32_t epoch)
{
    env_log(m->env, LOG_WARN, "master %s serves in epoch %u, but epoch %u was given out", w->addr,
            w->health.epoch, epoch);
    m->target = w;
    m->epoch = w->health.epoch;
    step_down(m, STEP_DOWN_LOCK_LOST);
}

static void look(struct monitor *m, uint64_t now)
{
    struct elect_view v = monitor_view(m);
    struct watched *w = best(m, NULL);
    if (w == NULL || !all_heard(m)) {
        if (w == NULL && v.joined && v.others > 0) {
            yield(m);
        }
        return;
    }
    if (!m->cfg.alone && w->health.role == MASTER_PRIMARY && w->health.epoch < v.epoch &&
        best(m, w) == NULL) {
        if (w->introduced) {
            depose(m, w, v.epoch);
        }
        return;
    }
    bool after_others =
        (v.others > 0 && now < m->yield_ns) ||
        (v.calm_others > 0 && watched_braked(w) && w->health.role != MASTER_PRIMARY);
    if (v.joined == after_others) {
        (after_others ? m->elect->ops->leave : m->elect->ops->join)(m->elect);
        v = monitor_view(m);
    }
    if (v.held && !m->asking) {
        claim(m, w, &v);
    }
}

static void give_up(struct monitor *m)
{
    env_log(m->env, LOG_WARN,
            "master %s did not become primary of epoch %u in %d s: another one is "
            "tried",
            m->target->addr, m->epoch, PROMOTE_PATIENCE_MS / 1000);
    others_first(m);
    look_again(m, 0);
}

static void step(struct monitor *m, uint64_t now)
{
    switch (m->state) {
    case LOOKING:
        if (now >= m->again_ns) {
            look(m, now);
        }
        break;
    case FENCING:
        if (!m->fence.running && (m->cfg.spares || monitor_fenced(m, m->target))) {
            m->state = PROMOTING;
            m->again_ns = m->promote_ns = now;
        }
        break;
    case PROMOTING:
        if (now - m->promote_ns > PROMOTE_PATIENCE_MS * NS_PER_MS && replaceable(m, m->target)) {
            give_up(m);
        } else if (!rpc_call_running(&m->order) && m->target->introduced && now >= m->again_ns) {
            promote(m);
        }
        break;
    case HOLDING:
        hold(m, now);
        break;
    case HANDING:
        if (now - m->down_ns > STEP_DOWN_WAIT_MS * NS_PER_MS) {
            watched_kill(m->target, "it does not end by itself");
        }
        break;
    case CLAIMING:
    case PUBLISHING:
        break;
    }
}

static void tick_fired(struct env_timer *t)
{
    struct monitor *m = container_of(t, struct monitor, tick);
    uint64_t now = env_mono_ns(m->env);
    env_timer_set(m->env, &m->tick, MONITOR_TICK_MS * NS_PER_MS);
    if (now - m->tick_ns > MONITOR_LAG_MS * NS_PER_MS) {
        env_log(m->env, LOG_WARN, "this monitor did not run for %llu ms",
                (unsigned long long)((now - m->tick_ns) / NS_PER_MS));
        for (uint32_t i = 0; i < m->count; i++) {
            watched_forgive(&m->masters[i]);
        }
    }
    m->tick_ns = now;
    for (uint32_t i = 0; i < m->count; i++) {
        struct watched *w = &m->masters[i];
        uint32_t served = w->served;
        if (watched_tick(w)) {
            on_ended(m, w, served);
        } else if (watched_silent(w, m->cfg.hang_ms)) { /* whatever it is or was to become */
            end_sick(m, w, "it does not answer any more");
        }
    }
    report(m);
    step(m, now);
    askers_tick(m);
}

/* ---------------------------------------------------------------- life */

/* The next address of the list; false at its end. */
static bool next_addr(struct bytes *list, struct bytes *out)
{
    if (list->len == 0) {
        return false;
    }
    const uint8_t *comma = memchr(list->data, ',', list->len);
    size_t len = comma != NULL ? (size_t)(comma - list->data) : list->len;
    *out = bytes_of(list->data, len);
    *list = bytes_of(list->data + len + (comma != NULL), list->len - len - (comma != NULL));
    return true;
}

uint32_t monitor_count_masters(const char *masters)
{
    struct bytes list = bytes_str(masters), one;
    uint32_t count = 0;
    while (next_addr(&list, &one)) {
        count++;
    }
    return count <= MONITOR_MASTERS_MAX ? count : 0;
}

struct monitor *monitor_create(struct env *env, const struct monitor_config *cfg, struct elect *e,
                               struct processes *p)
{
    struct monitor *m = mem_new(struct monitor);
    m->env = env;
    m->cfg = *cfg;
    m->elect = e;
    m->tick.fire = tick_fired;
    m->order.owner = m;
    list_init(&m->askers);
    fence_init(&m->fence, env, m->cfg.cluster, on_fenced);
    struct bytes list = bytes_str(m->cfg.masters), one;
    while (m->count < MONITOR_MASTERS_MAX && next_addr(&list, &one)) {
        watched_init(&m->masters[m->count], env, p, m->count, m->cfg.cluster, one);
        m->count++;
    }
    return m;
}

int monitor_start(struct monitor *m, struct why *why)
{
    int err = env_listen(m->env, m->cfg.listen, askers_accept, m);
    if (err != 0) {
        return why_set(why, err, "cannot listen on %s: %s", m->cfg.listen, err_text(err));
    }
    m->start_ns = m->tick_ns = env_mono_ns(m->env);
    env_timer_set(m->env, &m->tick, 0);
    return 0;
}

void monitor_destroy(struct monitor *m)
{
    if (m == NULL) {
        return;
    }
    env_timer_stop(m->env, &m->tick);
    rpc_cancel(&m->order);
    fence_cancel(&m->fence);
    askers_close(m);
    for (uint32_t i = 0; i < m->count; i++) {
        watched_close(&m->masters[i]);
    }
    mem_free(m);
}

uint32_t monitor_epoch(const struct monitor *m)
{
    return m->state == HOLDING ? m->epoch : 0;
}
