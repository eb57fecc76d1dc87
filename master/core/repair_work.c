/* repair_work.c - the work on what the scan found: copies are begun in order of risk, as far as the
 * servers they take have places and bandwidth for them.
 *
 * A chunk whose turn came and whose servers are taken keeps its place, and what it waits for is not
 * given to less urgent ones.
 */
#include "master/core/master_internal.h"
#include "shared/base/mem.h"

enum {
    PUMP_LOOKS = 128, /* chunks looked at in one go */
    TARGET_DRAWS = 8, /* among servers that suit equally well, for one that is free */
};

/* ---------------------------------------------------------------- queue */

static uint64_t chunk_size(struct master *m, const struct ns_chunk *row)
{
    struct attr attr;
    uint64_t start = row->number * m->cfg.geometry.chunk_bytes;
    if (ns_attr(m->ns, row->ino, &attr) != 0 || attr.size <= start) {
        return 0;
    }
    return MIN(attr.size - start, (uint64_t)m->cfg.geometry.chunk_bytes);
}

bool repair_may_take(const struct master *m, uint32_t server)
{
    const struct chunkserver *s = servers_get(&m->servers, server);
    return server_alive(s, env_mono_ns(m->env)) && server_has_room(s, &m->cfg.geometry) &&
           !server_leaving(s);
}

bool repair_enqueue(struct master *m, const struct ns_chunk *row, const struct repair_plan *p)
{
    bool copies = p->need == NEED_ADD || p->need == NEED_MOVE;
    uint32_t members = 0;
    for (uint32_t i = 0; i < row->member_count; i++) {
        members += repair_may_take(m, row->members[i]);
    }
    if (copies && m->repair.hosts <= members) {
        return false;
    }
    struct repair_item item = {.ino = row->ino,
                               .number = row->number,
                               .handle = row->handle,
                               .bytes = copies ? chunk_size(m, row) : 0,
                               .risk = p->risk};
    (void)repair_queue_put(&m->repair.queue,
                           &item); /* if it is full the next pass finds it again */
    return true;
}

bool repair_offer_move(struct master *m, const struct ns_chunk *row, uint32_t from, uint32_t to,
                       uint64_t *out_bytes)
{
    struct repair_queue *q = &m->repair.queue;
    const struct repair_item *old = repair_queue_find(q, row->handle);
    if ((old != NULL && old->risk != RISK_BALANCE) || grants_running(m, row->handle)) {
        return false;
    }
    struct repair_item item = {.ino = row->ino,
                               .number = row->number,
                               .handle = row->handle,
                               .bytes = chunk_size(m, row),
                               .risk = RISK_BALANCE,
                               .from = from,
                               .to = to};
    *out_bytes = item.bytes;
    return repair_queue_put(q, &item);
}

/* ---------------------------------------------------------------- who copies to whom */

/* One run of the pump. */
struct pump {
    struct master *m;
    uint64_t now;
    bool kept[SERVERS_MAX + 1]; /* for more urgent chunks */
    struct placement_server all[SERVERS_MAX];
    uint32_t count;
};

static bool has_place(struct pump *w, struct chunkserver *s)
{
    return s->copies < COPIES_PER_SERVER && !w->kept[s->id] &&
           bandwidth_may_start(&s->bandwidth, w->now, w->m->cfg.rereplication_share);
}

/* A free server for a new replica, or 0; *out_exists if there is one that is not free. */
static uint32_t find_target(struct pump *w, const struct ns_chunk *row, uint32_t without,
                            bool *out_exists)
{
    struct placement_server have[REPLICAS_MAX];
    uint32_t have_count = 0, id = 0;
    for (uint32_t i = 0; i < row->member_count; i++) {
        const struct chunkserver *s = servers_get(&w->m->servers, row->members[i]);
        if (s->id != without) {
            have[have_count++] = server_as_candidate(s);
        }
    }
    for (int draw = 0; draw < TARGET_DRAWS; draw++) {
        if (placement_choose(w->m->env, w->all, w->count, have, have_count, 1, &id) == 0) {
            return 0;
        }
        struct chunkserver *s = servers_get(&w->m->servers, id);
        bool usable = !ns_is_member(row, id) && !grants_shunned(w->m, row->handle, id);
        *out_exists |= usable;
        if (usable && has_place(w, s)) {
            return id;
        }
    }
    return 0;
}

/* The member that gives: the least busy one, of equals one that stays. 0 if none may; *out_free if
 * it has a place. */
static uint32_t find_source(struct pump *w, const struct repair_view *v,
                            const struct repair_plan *p, bool *out_free)
{
    uint32_t best = 0, best_load = UINT32_MAX;
    for (uint32_t i = 0; i < v->chunk.count; i++) {
        const struct plan_member *member = &v->members[i];
        struct chunkserver *s = servers_get(&w->m->servers, member->server);
        if (!plan_may_give(&v->chunk, p, member)) {
            continue;
        }
        bool free = has_place(w, s);
        uint32_t load = (free ? 0 : 1u << 16) + (s->failing ? 1u << 12 : 0u) +
                        (s->slow ? 1u << 8 : 0u) + s->copies;
        if (load < best_load) {
            best = s->id;
            best_load = load;
            *out_free = free;
        }
    }
    return best;
}

/* The chunk waits for its turn at these servers. */
static void keep_for(struct pump *w, const struct repair_item *item, uint32_t source)
{
    if (item->risk < RISK_MOVE) {
        w->kept[source] = true;
    }
}

/* ---------------------------------------------------------------- begin */

enum outcome { BEGUN, KEPT, DROPPED };

static void note_begun(struct master *m, const struct repair_action *a)
{
    struct repair_wave *w = &m->repair.wave;
    m->repair.copying[a->risk].chunks++;
    m->repair.copying[a->risk].bytes += a->bytes;
    if (a->add == 0) {
        return;
    }
    if (w->begin_ns == 0) {
        *w = (struct repair_wave){.begin_ns = env_mono_ns(m->env)};
    }
    m->repair.begun++;
    if (a->risk == RISK_LAST_COPY) {
        w->last_copies++;
        m->repair.last_copies++;
        m->repair.last_copy_at = m->repair.begun;
    }
}

static enum outcome begin(struct pump *w, const struct ns_chunk *row, struct repair_action *a)
{
    struct master *m = w->m;
    note_begun(m, a);
    if (!grants_repair(m, row, a)) {
        m->repair.copying[a->risk].chunks--;
        m->repair.copying[a->risk].bytes -= a->bytes;
        return KEPT; /* too many machines */
    }
    for (int i = 0; i < 2 && a->add != 0; i++) {
        bandwidth_take(&servers_get(&m->servers, i == 0 ? a->add : a->source)->bandwidth, a->bytes);
    }
    return BEGUN;
}

static enum outcome begin_copy(struct pump *w, const struct repair_item *item,
                               const struct ns_chunk *row, const struct repair_view *v,
                               const struct repair_plan *p)
{
    bool exists = false, free = false;
    struct repair_action a = {.bytes = item->bytes, .risk = p->risk, .remove = p->remove};
    a.source = find_source(w, v, p, &free);
    if (a.source == 0) {
        return DROPPED;
    }
    if (item->to != 0) {
        struct chunkserver *to = servers_get(&w->m->servers, item->to);
        exists = repair_may_take(w->m, item->to) && !ns_is_member(row, item->to);
        a.add = exists && has_place(w, to) ? item->to : 0;
    } else {
        a.add = find_target(w, row, a.remove, &exists);
    }
    if (!exists) {
        return DROPPED;
    }
    if (!free || a.add == 0) {
        keep_for(w, item, a.source);
        return KEPT;
    }
    return begin(w, row, &a);
}

static enum outcome begin_item(struct pump *w, const struct repair_item *item)
{
    struct master *m = w->m;
    struct ns_chunk row;
    struct repair_view v;
    if (ns_chunk_get(m->ns, item->ino, item->number, &row) != 0 || row.handle != item->handle ||
        grants_running(m, item->handle) || !setback_past(&m->setbacks, item->handle, w->now)) {
        return DROPPED; /* the next scan finds it if it is still needed then */
    }
    repair_look(m, &row, &v);
    struct repair_plan p = repair_plan(&v.chunk);
    if (item->risk == RISK_BALANCE && p.need == NEED_NOTHING && ns_is_member(&row, item->from)) {
        p.need = NEED_MOVE;
        p.risk = RISK_BALANCE;
        p.remove = item->from;
    }
    switch (p.need) {
    case NEED_NOTHING:
    case NEED_WAIT:
        break;
    case NEED_ADD:
    case NEED_MOVE:
        return begin_copy(w, item, &row, &v, &p);
    case NEED_HEAL:
        return begin(w, &row, &(struct repair_action){.risk = p.risk});
    case NEED_REMOVE:
        return begin(w, &row, &(struct repair_action){.risk = p.risk, .remove = p.remove});
    }
    return DROPPED;
}

void repair_pump(struct master *m)
{
    struct repair_queue *q = &m->repair.queue;
    if (!m->serving || repair_queue_empty(q)) {
        return;
    }
    struct pump *w = mem_new(struct pump);
    w->m = m;
    w->now = env_mono_ns(m->env);
    w->count =
        servers_candidates(&m->servers, w->now, &m->cfg.geometry, false, w->all, SERVERS_MAX);
    struct repair_item *next, *item = repair_queue_first(q);
    for (uint32_t n = 0; item != NULL && n < PUMP_LOOKS; item = next, n++) {
        next = repair_queue_next(q, item);
        if (begin_item(w, item) != KEPT) {
            repair_queue_remove(q, item);
        }
    }
    mem_free(w);
}

/* ---------------------------------------------------------------- books */

void repair_ended(struct master *m, const struct repair_action *a, int status)
{
    struct repair *r = &m->repair;
    r->copying[a->risk].chunks -= MIN(r->copying[a->risk].chunks, 1u);
    r->copying[a->risk].bytes -= MIN(r->copying[a->risk].bytes, a->bytes);
    if (status == 0) {
        r->done[a->risk].chunks++;
        r->done[a->risk].bytes += a->bytes;
    }
    if (a->add != 0) {
        r->wave.chunks += status == 0;
        r->wave.bytes += status == 0 ? a->bytes : 0;
        r->wave.cancelled += status == -ECANCELED;
        r->wave.failed += status != 0 && status != -ECANCELED;
    }
    if (!repair_queue_empty(&r->queue)) {
        master_arm_slice(m); /* the next one takes its place */
    }
}

static struct repair_class waiting_copies(const struct repair *r)
{
    struct repair_class sum = {0};
    for (int risk = 0; risk < RISK_CLASSES; risk++) {
        sum.chunks += r->queue.waiting[risk].chunks + r->copying[risk].chunks;
        sum.bytes += r->queue.waiting[risk].bytes + r->copying[risk].bytes;
    }
    return sum;
}

void repair_wave_check(struct master *m)
{
    struct repair *r = &m->repair;
    struct repair_wave *w = &r->wave;
    struct repair_class left = waiting_copies(r);
    if (w->begin_ns != 0 && !w->said) {
        w->said = true;
        env_log(
            m->env, LOG_INFO,
            "re-replication begins: %llu chunks, about %llu MiB, %llu of them with one copy left",
            (unsigned long long)(left.chunks + w->chunks),
            (unsigned long long)((left.bytes + w->bytes) >> 20),
            (unsigned long long)(w->last_copies + r->queue.waiting[RISK_LAST_COPY].chunks));
    }
    if (!w->said || left.chunks > 0) {
        return;
    }
    uint64_t ms = (env_mono_ns(m->env) - w->begin_ns) / NS_PER_MS;
    env_log(m->env, LOG_INFO,
            "re-replication ends: %llu chunks, %llu MiB copied in %llu.%llu s, %llu copies failed, "
            "%llu stopped as not needed; %llu chunks lack copies",
            (unsigned long long)w->chunks, (unsigned long long)(w->bytes >> 20),
            (unsigned long long)(ms / 1000), (unsigned long long)(ms % 1000 / 100),
            (unsigned long long)w->failed, (unsigned long long)w->cancelled,
            (unsigned long long)r->under_replicated);
    w->begin_ns = 0;
    w->said = false;
}

void repair_heard(struct master *m, uint64_t bytes)
{
    struct repair *r = &m->repair;
    uint64_t second = env_mono_ns(m->env) / NS_PER_S;
    for (; r->copied_second < second; r->copied_second++) {
        if (second - r->copied_second > RATE_SECONDS) {
            r->copied_second = second - RATE_SECONDS;
        }
        r->copied[(r->copied_second + 1) % RATE_SECONDS] = 0;
    }
    r->copied[second % RATE_SECONDS] += MIN(bytes, UINT64_MAX >> 8);
}

static uint64_t rate_now(const struct master *m)
{
    const struct repair *r = &m->repair;
    uint64_t second = env_mono_ns(m->env) / NS_PER_S, sum = 0;
    for (uint64_t ago = second - r->copied_second; ago < RATE_SECONDS; ago++) {
        sum += r->copied[(second - ago) % RATE_SECONDS];
    }
    return sum / RATE_SECONDS;
}

void repair_copies(const struct master *m, struct writer *w)
{
    for (int n = 0; n < COPIES_COUNTED; n++) {
        enc_u64(w, &m->repair.copies[n]);
    }
}

void repair_progress(const struct master *m, struct writer *classes, struct writer *copies,
                     struct rereplication_rep *out)
{
    const struct repair *r = &m->repair;
    for (int risk = 0; risk < RISK_CLASSES; risk++) {
        struct copy_class one = {.name = bytes_str(risk_name((enum repair_risk)risk)),
                                 .waiting = r->queue.waiting[risk].chunks,
                                 .waiting_bytes = r->queue.waiting[risk].bytes,
                                 .copying = r->copying[risk].chunks,
                                 .copying_bytes = r->copying[risk].bytes,
                                 .done = r->done[risk].chunks,
                                 .done_bytes = r->done[risk].bytes};
        enc_copy_class(classes, &one);
    }
    repair_copies(m, copies);
    uint64_t rate = rate_now(m), left = waiting_copies(r).bytes;
    *out = (struct rereplication_rep){.classes = writer_bytes(classes),
                                      .copies = writer_bytes(copies),
                                      .blocked = grants_blocked(m),
                                      .homeless = r->homeless,
                                      .rate = rate,
                                      .eta_s = left == 0   ? 0
                                               : rate == 0 ? UINT64_MAX
                                                           : left / rate + 1,
                                      .share = m->cfg.rereplication_share,
                                      .begun = r->begun,
                                      .last_copies = r->last_copies,
                                      .last_copy_at = r->last_copy_at};
}
