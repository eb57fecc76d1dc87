/* answers.c - what masters say. */
#include "tests/sim/answers.h"
#include "master/core/master_internal.h"
#include "shared/base/mem.h"

enum { AGE_SLACK_MS = 3 };

/* What was known to be committed at some time. */
struct moment {
    uint64_t ns, index;
};

struct seen {
    uint32_t life;
    uint64_t index;
    uint64_t shadow_ns; /* its newest answer of a shadow */
    uint64_t look_ns;   /* when a master last said hello to it that is not the primary */
    uint64_t attach_ns; /* when a primary last took its session */
};

enum { ORDERS_MAX = 16 };

/* What a master asks of a chunkserver. */
struct order {
    uint64_t request;
    uint32_t epoch;
    bool outdated; /* a later epoch had been obeyed when it came */
};

struct answers {
    struct world *world;
    uint32_t promised[WORLD_MASTERS_MAX];  /* as others heard */
    uint64_t committed[WORLD_MASTERS_MAX]; /* as each knew */
    bool holed[WORLD_MASTERS_MAX];         /* what its log has is known when it is mended */
    uint32_t obeyed[WORLD_SERVERS_MAX]; /* highest epoch of a request a chunkserver carried out */
    struct order orders[WORLD_SERVERS_MAX][WORLD_MASTERS_MAX][ORDERS_MAX]; /* the newest */
    struct seen mounts[WORLD_MOUNTS_MAX + 1];
    struct moment *moments; /* in order of both */
    uint32_t count, cap;
};

struct answers *answers_new(struct world *w)
{
    struct answers *a = mem_new(struct answers);
    a->world = w;
    return a;
}

void answers_free(struct answers *a)
{
    mem_free(a->moments);
    mem_free(a);
}

void answers_forget(struct answers *a, uint32_t rank)
{
    a->promised[rank] = 0;
    a->committed[rank] = 0;
}

void answers_forget_chunkd(struct answers *a, uint32_t chunkd)
{
    a->obeyed[chunkd] = 0;
}

static const struct sim_server *master_of(const struct world *w, const struct sim_process *p)
{
    for (uint32_t i = 0; i < w->master_count; i++) {
        if (w->masters[i]->process == p) {
            return w->masters[i];
        }
    }
    return NULL;
}

static struct seen *seen_by(struct answers *a, const struct mount *m)
{
    struct seen *s = &a->mounts[m->number];
    if (s->life != m->life) {
        *s = (struct seen){.life = m->life};
    }
    return s;
}

static const struct mount *mount_of(const struct world *w, const struct sim_process *p)
{
    for (uint32_t i = 0; i <= w->mount_count; i++) {
        if (w->mounts[i].process == p) {
            return &w->mounts[i];
        }
    }
    return NULL;
}

uint64_t answers_seen(const struct answers *a, const struct mount *m)
{
    const struct seen *s = &a->mounts[m->number];
    return s->life == m->life ? s->index : 0;
}

uint64_t answers_shadow_ns(const struct answers *a, const struct mount *m)
{
    const struct seen *s = &a->mounts[m->number];
    return s->life == m->life ? s->shadow_ns : 0;
}

bool answers_lacks_primary(const struct answers *a, const struct sim_process *p)
{
    const struct mount *m = mount_of(a->world, p);
    const struct seen *s = m != NULL ? &a->mounts[m->number] : NULL;
    /* What it asked a chunkserver before it had one may have waited for a connection. */
    uint64_t patience = a->world->geo.request_timeout_ms * NS_PER_MS * 11 / 10;
    bool just = s != NULL && a->world->sim->now_ns - s->attach_ns < patience;
    return s != NULL && s->life == m->life &&
           (just || MAX(s->shadow_ns, s->look_ns) > s->attach_ns);
}

/* ---------------------------------------------------------------- what is committed */

static void told(struct answers *a, uint64_t index)
{
    struct world *w = a->world;
    uint64_t before = log_tap_heard(w->tap);
    log_tap_told(w->tap, index);
    if (log_tap_wrong(w->tap) != NULL) {
        world_fail(w, "operation log: %s", log_tap_wrong(w->tap));
    }
    if (log_tap_heard(w->tap) > before) {
        if (a->count == a->cap) {
            a->cap = a->cap ? 2 * a->cap : 256;
            a->moments = mem_resize(a->moments, a->cap * sizeof(a->moments[0]));
        }
        a->moments[a->count++] = (struct moment){w->sim->now_ns, log_tap_heard(w->tap)};
    }
}

static uint64_t committed_at(const struct answers *a, uint64_t ns)
{
    uint32_t low = 0, high = a->count; /* moments before `low` are not later than ns */
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (a->moments[mid].ns <= ns) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low > 0 ? a->moments[low - 1].index : 0;
}

/* The state that was answered from is complete as of as long ago as the answer says. */
static void judge_age(struct answers *a, const struct sim_server *s, const struct message *m)
{
    uint64_t now = a->world->sim->now_ns;
    if (s->other_list != 0 && !identity_refused(s->master)) {
        return; /* nobody has told it that its list is wrong */
    }
    uint64_t age_ms = (uint64_t)m->head.age_ms * 102 / 100 + AGE_SLACK_MS;
    uint64_t then = now - MIN(now, age_ms * NS_PER_MS);
    if (m->head.age_ms != UINT32_MAX && m->head.index < committed_at(a, then)) {
        world_fail(a->world,
                   "%s answers from the state at index %llu, which it says is %u ms old; then %llu "
                   "was committed",
                   s->process->name, (unsigned long long)m->head.index, m->head.age_ms,
                   (unsigned long long)committed_at(a, then));
    }
}

static void judge_shadow(struct answers *a, const struct sim_server *s)
{
    uint64_t certain = log_tap_certain(a->world->tap);
    const struct master *m = s->master;
    bool shadow = !m->primary && m->term.replicate == NULL; /* nor is it about to be the primary */
    if (shadow && m->commit.applied > certain) {
        world_fail(a->world, "%s is a shadow and has applied record %llu, committed are %llu",
                   s->process->name, (unsigned long long)m->commit.applied,
                   (unsigned long long)certain);
    }
}

static void judge_promise(struct answers *a, const struct sim_server *s)
{
    uint32_t obeyed = oplog_epoch(s->master->log);
    if (obeyed < a->promised[s->rank]) {
        world_fail(a->world, "%s obeys epoch %u; it had promised to obey none below %u",
                   s->process->name, obeyed, a->promised[s->rank]);
    }
}

/* What is known to be committed stays, unless the disk went bad. */
static void judge_log(struct answers *a, const struct sim_server *s)
{
    const struct oplog *log = s->master->log;
    if (s->damaged || oplog_damaged(log)) {
        return;
    }
    if (oplog_joining(log)) { /* it vouches for nothing: an older checkpoint may take its place */
        a->committed[s->rank] = 0;
        return;
    }
    if (oplog_last(log) < a->committed[s->rank]) {
        world_fail(a->world, "the log of %s ends at %llu; records to %llu were committed in it",
                   s->process->name, (unsigned long long)oplog_last(log),
                   (unsigned long long)a->committed[s->rank]);
    }
    a->committed[s->rank] =
        MAX(a->committed[s->rank], MIN(oplog_committed(log), oplog_durable(log)));
}

static bool is_order(uint16_t op)
{
    return op == OP_prepare || op == OP_pull || op == OP_activate || op == OP_drop_replicas;
}

static uint32_t chunkd_of(const struct world *w, const struct sim_process *p)
{
    for (uint32_t i = 1; i < w->server_count; i++) {
        if (w->servers[i].process == p) {
            return i;
        }
    }
    return 0;
}

static void order_came(struct answers *a, uint32_t chunkd, const struct sim_server *master,
                       const struct message *m)
{
    a->orders[chunkd][master->rank][m->head.request_id % ORDERS_MAX] =
        (struct order){m->head.request_id, m->head.epoch, m->head.epoch < a->obeyed[chunkd]};
}

/* A chunkserver obeys no master of an epoch below the highest it has obeyed. */
static void order_done(struct answers *a, uint32_t chunkd, const struct sim_server *master,
                       const struct message *m)
{
    const struct order *o = &a->orders[chunkd][master->rank][m->head.request_id % ORDERS_MAX];
    if (o->request != m->head.request_id || m->head.status != 0) {
        return;
    }
    if (o->outdated) {
        world_fail(a->world, "%s obeys %s in epoch %u; it has obeyed epoch %u",
                   a->world->servers[chunkd].process->name, master->process->name, o->epoch,
                   a->obeyed[chunkd]);
    }
    a->obeyed[chunkd] = MAX(a->obeyed[chunkd], o->epoch);
}

/* A monitor says that a primary has ended only if it has: its lease is not waited for then. */
static void judge_ended(struct answers *a, const struct message *m)
{
    struct promote_req req;
    if (m->head.op != OP_promote || (m->head.flags & FRAME_REPLY) ||
        promote_req_decode(slice_bytes(&m->body), &req) != 0 || req.ended == 0) {
        return;
    }
    for (uint32_t i = 0; i < a->world->master_count; i++) {
        const struct sim_server *s = a->world->masters[i];
        if (s->master != NULL && s->master->primary && s->master->epoch == req.ended) {
            world_fail(a->world, "it is said that the primary of epoch %u has ended, and %s is it",
                       req.ended, s->process->name);
        }
    }
}

/* What a process before left in the log counts when it is whole: then it was synced. */
static void look_at_log(struct answers *a, const struct sim_server *s)
{
    const struct oplog *log = s->master->log;
    if (a->holed[s->rank] && !oplog_damaged(log) && oplog_durable(log) == oplog_last(log)) {
        a->holed[s->rank] = false;
        log_tap_opened(a->world->tap, s->rank, oplog_epoch(log), oplog_last(log),
                       oplog_last_chain(log));
    }
}

void answers_sent(struct answers *a, const struct sim_process *from, const struct sim_process *to,
                  const struct message *m)
{
    const struct sim_server *s = from != NULL ? master_of(a->world, from) : NULL;
    const struct sim_server *asker = to != NULL ? master_of(a->world, to) : NULL;
    bool reply = m->head.flags & FRAME_REPLY;
    struct log_append_req append;
    judge_ended(a, m);
    if (s == NULL && asker != NULL && reply && is_order(m->head.op) && from != NULL) {
        order_done(a, chunkd_of(a->world, from), asker, m);
    }
    if (s == NULL || s->master == NULL || a->world->master_count == 1) {
        return;
    }
    look_at_log(a, s);
    judge_shadow(a, s);
    judge_promise(a, s);
    judge_log(a, s);
    if (reply && m->head.status == 0 &&
        (m->head.op == OP_log_promise || m->head.op == OP_log_append)) {
        a->promised[s->rank] = MAX(a->promised[s->rank], m->head.epoch);
    }
    if (m->head.op == OP_log_append && !reply &&
        log_append_req_decode(slice_bytes(&m->body), &append) == 0) {
        told(a, append.committed);
    }
    if (reply && m->head.status == 0 && m->head.index > 0) {
        told(a, m->head.index);
        const struct op_info *info = op_info_of(m->head.op);
        if (!s->master->primary && info != NULL && info->class == OP_QUERY && to != NULL &&
            mount_of(a->world, to) != NULL) {
            judge_age(a, s, m);
        }
    }
}

void answers_master_started(struct answers *a, const struct sim_server *s)
{
    judge_promise(a, s);
    a->holed[s->rank] = true;
    look_at_log(a, s);
}

/* ---------------------------------------------------------------- what arrives */

void answers_frame(struct answers *a, const struct sim_process *from, const struct sim_process *to,
                   const struct message *m)
{
    struct world *w = a->world;
    const struct sim_server *s = from != NULL ? master_of(w, from) : NULL;
    if (s != NULL && !(m->head.flags & FRAME_REPLY) && is_order(m->head.op)) {
        order_came(a, chunkd_of(w, to), s, m);
    }
    if (s == NULL || !(m->head.flags & FRAME_REPLY) || w->master_count == 1) {
        return;
    }
    const struct mount *mount = mount_of(w, to);
    if (mount == NULL) {
        return;
    }
    struct seen *seen = seen_by(a, mount);
    bool serves = s->master != NULL && s->master->serving && m->head.age_ms == 0;
    if (m->head.op == OP_hello) { /* that shows nothing of the state */
        seen->look_ns = serves ? seen->look_ns : w->sim->now_ns;
        return;
    }
    bool geometry = m->head.op == OP_session_attach && !serves; /* nor that, of a shadow */
    if (m->head.status == 0 && !geometry) {
        seen->index = MAX(seen->index, m->head.index);
    }
    if (!serves) {
        seen->shadow_ns = w->sim->now_ns;
    } else if (m->head.op == OP_session_attach) {
        seen->attach_ns = w->sim->now_ns;
    }
}
