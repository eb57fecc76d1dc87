/* grants.c - who may write a chunk: requests, and the table of machines. */
#include "master/core/grants_internal.h"
#include "shared/base/mem.h"

#include <sys/stat.h>

void grants_init(struct master *m)
{
    hmap_init(&m->grants.by_handle);
    list_init(&m->grants.unplaced);
    m->grants.quarrels = mem_new(struct quarrels);
}

static struct grant *find(const struct master *m, uint64_t handle)
{
    const struct hmap *map = &m->grants.by_handle;
    for (struct hmap_node *n = hmap_first(map, hmap_hash_u64(handle)); n; n = hmap_next(n)) {
        struct grant *g = container_of(n, struct grant, node);
        if (g->handle == handle) {
            return g;
        }
    }
    return NULL;
}

bool grants_shunned(const struct master *m, uint64_t handle, uint32_t server)
{
    return quarrels_failed(m->grants.quarrels, handle, server, env_mono_ns(m->env));
}

bool grants_running(const struct master *m, uint64_t handle)
{
    return find(m, handle) != NULL;
}

uint32_t grants_waiting(const struct master *m, uint64_t handle)
{
    const struct grant *g = find(m, handle);
    uint32_t n = 0;
    if (g != NULL) {
        for (const struct list *it = g->waiters.next; it != &g->waiters; it = it->next) {
            n++;
        }
    }
    return n;
}

bool grants_settled(const struct master *m)
{
    return m->grants.by_handle.count == 0 && m->grants.waiters == 0;
}

/* ---------------------------------------------------------------- waiters */

static void waiter_free(struct master *m, struct grant_waiter *w)
{
    list_remove(&w->link);
    list_remove(&w->peer_link);
    m->grants.waiters--;
    mem_free(w);
}

static void waiter_add(struct list *to, struct peer *p, const struct frame_header *head,
                       const struct grant_req *req, bool heard)
{
    struct grant_waiter *w = mem_new(struct grant_waiter);
    w->peer = p;
    w->head = *head;
    w->req = *req;
    w->heard = heard;
    list_push_back(to, &w->link);
    list_push_back(&p->waiters, &w->peer_link);
    p->m->grants.waiters++;
}

void grants_forget(struct peer *p)
{
    list_for_each_safe (it, &p->waiters) {
        waiter_free(p->m, list_entry(it, struct grant_waiter, peer_link));
    }
}

static void answer_row(struct peer *p, const struct frame_header *head, const struct ns_chunk *row,
                       uint64_t index)
{
    struct writer members;
    writer_init(&members);
    struct grant_rep rep;
    master_chunk(p->m, row, false, &members, &rep.chunk);
    master_answer(p, head, 0, index, RPC_BODY(grant_rep, &rep));
    writer_free(&members);
}

/* ---------------------------------------------------------------- machines */

static void timer_fired(struct env_timer *t)
{
    grant_attempt(container_of(t, struct grant, timer));
}

static struct grant *grant_new(struct master *m, const struct ns_chunk *row)
{
    if (m->grants.by_handle.count >= m->cfg.bounds.grants) {
        return NULL;
    }
    struct grant *g = mem_new(struct grant);
    g->m = m;
    g->ino = row->ino;
    g->number = row->number;
    g->handle = row->handle;
    g->timer.fire = timer_fired;
    list_init(&g->waiters);
    list_init(&g->wait.link);
    hmap_add(&m->grants.by_handle, &g->node, hmap_hash_u64(g->handle));
    return g;
}

/* Nothing is done for its own sake any more. */
static void repair_over(struct grant *g, int status)
{
    if (g->repair) {
        g->repair = false;
        g->m->grants.repairs--;
        repair_ended(g->m, &g->action, status);
    }
}

static void grant_free(struct grant *g)
{
    struct master *m = g->m;
    grant_stop_calls(g);
    grant_fill_done(g);
    env_timer_stop(m->env, &g->timer);
    list_remove(&g->wait.link);
    repair_over(g, -ECANCELED);
    hmap_remove(&m->grants.by_handle, &g->node);
    mem_free(g);
}

/* Failures that are a server's own, so that the version should go on without it. The others (not
 * primary any more, another version, no lease) are healed by a new version with the same members. */
static bool blames_server(int64_t status)
{
    switch (status) {
    case 0:
    case ERR_NOT_PRIMARY:
    case ERR_WRONG_VERSION:
    case ERR_NO_REPLICA:
    case ERR_NO_LEASE:
    case ERR_SUSPECT:
    case ERR_MUTATION_GAP:
    case ERR_RETRY_GRANT:
    case ERR_MEMBER_FAILED:
    case ERR_BUSY:
    case ERR_NOT_READY:
    case ERR_STALE_EPOCH:
        return false;
    default:
        return true;
    }
}

/* The request names a member of this version that failed, and no version was made for that reason
 * lately: one that a repair made meanwhile, with the same members, would fail as well. */
static bool complains(const struct master *m, const struct grant_req *req,
                      const struct ns_chunk *row)
{
    return ns_is_member(row, req->failed_server) && blames_server(req->failed_status) &&
           !quarrels_failed(m->grants.quarrels, row->handle, req->failed_server,
                            env_mono_ns(m->env));
}

void grant_refuse_waiters(struct grant *g, int status)
{
    for (struct list *e; (e = g->waiters.next) != &g->waiters;) {
        struct grant_waiter *w = list_entry(e, struct grant_waiter, link);
        struct peer *p = w->peer;
        struct frame_header head = w->head;
        waiter_free(g->m, w);
        master_answer(p, &head, status, 0, (struct slice){0});
    }
}

void grant_end(struct grant *g, int status)
{
    struct master *m = g->m;
    struct list waiting;
    repair_over(g, status);
    list_init(&waiting);
    for (struct list *e; (e = list_pop_front(&g->waiters)) != NULL;) {
        list_push_back(&waiting, e);
    }
    if (status != 0) {
        setback_failed(&m->setbacks, g->handle, status, env_mono_ns(m->env));
    } else if (setback_over(&m->setbacks, g->handle)) {
        env_log(m->env, LOG_INFO, "chunk %016llx: the trouble told before is over",
                (unsigned long long)g->handle);
    }
    grant_free(g);
    repair_touch(m);
    for (struct list *e; (e = list_pop_front(&waiting)) != NULL;) {
        struct grant_waiter *w = list_entry(e, struct grant_waiter, link);
        struct peer *p = w->peer;
        struct frame_header head = w->head;
        struct grant_req req = w->req;
        bool heard = w->heard;
        waiter_free(m, w);
        struct ns_chunk row;
        if (status != 0) {
            master_answer(p, &head, status, 0, (struct slice){0});
        } else if (ns_chunk_get(m->ns, req.ino, req.number, &row) == 0 &&
                   row.version > req.failed_version && (heard || !complains(m, &req, &row))) {
            /* A complaint is heard once: if it still holds, the new version fails as well. */
            answer_row(p, &head, &row, ns_changed_at(m->ns, req.ino));
        } else {
            grants_ask(m, p, &head, &req);
        }
    }
}

void grants_close(struct master *m)
{
    hmap_for_each (it, &m->grants.by_handle) {
        struct grant *g = container_of(it, struct grant, node);
        list_for_each_safe (w, &g->waiters) {
            waiter_free(m, list_entry(w, struct grant_waiter, link));
        }
        grant_free(g);
    }
    list_for_each_safe (it2, &m->grants.unplaced) {
        waiter_free(m, list_entry(it2, struct grant_waiter, link));
    }
    hmap_close(&m->grants.by_handle);
    mem_free(m->grants.quarrels);
    m->grants.quarrels = NULL;
}

void grants_cancel_fill(struct master *m, uint64_t handle)
{
    struct grant *g = find(m, handle);
    if (g != NULL && g->phase == GRANT_FILL && list_empty(&g->waiters)) {
        grant_free(g);
        repair_touch(m);
    }
}

bool grants_filling(const struct master *m, uint64_t handle, enum repair_risk *out_risk)
{
    const struct grant *g = find(m, handle);
    if (g == NULL || g->phase != GRANT_FILL || !g->repair) {
        return false;
    }
    *out_risk = g->action.risk;
    return true;
}

uint32_t grants_blocked(const struct master *m)
{
    uint32_t n = 0;
    hmap_for_each (it, &m->grants.by_handle) {
        const struct grant *g = container_of(it, struct grant, node);
        n += !list_empty(&g->waiters) && g->phase == GRANT_WAIT;
    }
    return n;
}

bool grants_repair(struct master *m, const struct ns_chunk *row, const struct repair_action *action)
{
    if (m->grants.repairs >= m->cfg.bounds.repairs || find(m, row->handle) != NULL ||
        !setback_past(&m->setbacks, row->handle, env_mono_ns(m->env))) {
        return false;
    }
    struct grant *g = grant_new(m, row);
    if (g == NULL) {
        return false;
    }
    g->repair = true;
    g->action = *action;
    m->grants.repairs++;
    g->add = action->add;
    g->remove = action->remove;
    g->fill_from = action->add != 0 ? action->source : 0;
    if (g->fill_from != 0) {
        g->counted[0] = action->source;
        g->counted[1] = action->add;
        for (int i = 0; i < 2; i++) {
            servers_get(&m->servers, g->counted[i])->copies++;
        }
    }
    grant_attempt(g);
    return true;
}

/* ---------------------------------------------------------------- requests */

static void note_complaint(struct grant *g, const struct grant_req *req, uint32_t primary)
{
    struct master *m = g->m;
    struct chunkserver *s = servers_find(&m->servers, req->failed_server);
    if (s == NULL) {
        return;
    }
    if (req->failed_status == -ENOSPC) {
        s->full = true; /* until its next heartbeat */
        g->no_space = true;
    }
    if (blames_server(req->failed_status)) {
        uint64_t now = env_mono_ns(m->env);
        g->complained = s->id;
        g->pause_ns = quarrels_until(m->grants.quarrels, g->handle, primary, s->id, now);
        if (g->pause_ns == 0) {
            quarrels_note(m->grants.quarrels,
                          &(struct quarrel){.handle = g->handle,
                                            .until_ns = now + m->cfg.pair_pause_ms * NS_PER_MS,
                                            .primary = primary,
                                            .failed = s->id});
        }
    }
}

/* The first chunk grant: allocates it. */
static void ask_new(struct master *m, struct peer *p, const struct frame_header *head,
                    const struct grant_req *req)
{
    uint32_t ids[REPLICAS_MAX];
    int n = master_choose_members(m, ns_wanted(m->ns, req->ino), ids, REPLICAS_MAX);
    if (n == 0 || (n == -ENOSPC && trash_give(m, false))) {
        waiter_add(&m->grants.unplaced, p, head, req, false);
        return;
    }
    if (n < 0) {
        master_answer(p, head, n, ns_changed_at(m->ns, req->ino), (struct slice){0});
        return;
    }
    struct writer w;
    writer_init(&w);
    for (int i = 0; i < n; i++) {
        enc_u32(&w, &ids[i]);
    }
    union op_any rec = {.chunk_new_rec = {.ino = req->ino,
                                          .number = req->number,
                                          .handle = ns_next_handle(m->ns),
                                          .version = (uint64_t)m->epoch << 32 | 1,
                                          .members = writer_bytes(&w)}};
    uint64_t index = commit_record(m, OP_chunk_new, &rec, NULL, NULL);
    writer_free(&w);
    struct ns_chunk row;
    int err = ns_chunk_get(m->ns, req->ino, req->number, &row);
    ASSERT(err == 0);
    answer_row(p, head, &row, index);
}

/* Status of a request that can never be granted. */
static int refusal(struct master *m, const struct grant_req *req)
{
    struct attr attr;
    int err = ns_attr(m->ns, req->ino, &attr);
    if (err != 0) {
        return err;
    }
    if (!S_ISREG(attr.mode)) {
        return S_ISDIR(attr.mode) ? -EISDIR : -EINVAL;
    }
    if (req->number >= (uint64_t)INT64_MAX / m->cfg.geometry.chunk_bytes) {
        return -EFBIG;
    }
    return m->grants.waiters >= m->cfg.bounds.grant_waiters ? ERR_BUSY : 0;
}

/* It fills a replica that is no member, or will when the row is committed. */
static bool fills(const struct grant *g)
{
    return g->phase == GRANT_FILL || (g->phase == GRANT_ROW && g->fill_from != 0);
}

void grants_ask(struct master *m, struct peer *p, const struct frame_header *head,
                const struct grant_req *req)
{
    struct ns_chunk row;
    int err = refusal(m, req);
    if (err != 0) {
        master_answer(p, head, err, ns_changed_at(m->ns, req->ino), (struct slice){0});
        return;
    }
    if (ns_chunk_get(m->ns, req->ino, req->number, &row) != 0) {
        ask_new(m, p, head, req);
        return;
    }
    struct grant *g = find(m, row.handle);
    bool filling = g != NULL && fills(g);
    const struct chunkserver *primary = servers_get(&m->servers, row.members[0]);
    bool live = server_alive(primary, env_mono_ns(m->env));
    bool unheard = req->failed_version >= row.version || complains(m, req, &row);
    if (live && !unheard && (g == NULL || filling)) {
        answer_row(p, head, &row, ns_changed_at(m->ns, req->ino));
        return;
    }
    bool begin = g == NULL || filling;
    if (g != NULL && filling) {
        grant_free(g); /* nobody waits for it: the client comes first */
        g = NULL;
    }
    if (g == NULL) {
        g = grant_new(m, &row);
    }
    if (g == NULL) {
        master_answer(p, head, ERR_BUSY, 0, (struct slice){0});
        return;
    }
    /* An attempt that runs chose its members already: the request stands, and asks again after it. */
    bool heard = unheard && (begin || g->phase == GRANT_WAIT);
    if (heard) {
        note_complaint(g, req, row.members[0]);
    }
    waiter_add(&g->waiters, p, head, req, heard);
    if (begin) {
        grant_attempt(g);
    }
}

void grants_tick(struct master *m)
{
    struct list now;
    list_init(&now);
    for (struct list *e; (e = list_pop_front(&m->grants.unplaced)) != NULL;) {
        list_push_back(&now, e);
    }
    for (struct list *e; (e = list_pop_front(&now)) != NULL;) {
        struct grant_waiter *w = list_entry(e, struct grant_waiter, link);
        struct peer *p = w->peer;
        struct frame_header head = w->head;
        struct grant_req req = w->req;
        waiter_free(m, w);
        grants_ask(m, p, &head, &req);
    }
}
