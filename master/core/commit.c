/* commit.c - one way for a change: record -> operation log -> apply; quiet points. */
#include "master/core/master_internal.h"
#include "master/core/opens.h"
#include "master/core/recovery.h"
#include "master/core/service.h"
#include "shared/base/mem.h"

#include <string.h>

/* A client's mutation that waits for a quiet point. */
struct queued_mutation {
    struct list link;      /* in commit.queue */
    struct list peer_link; /* in peer.queued */
    struct peer *peer;
    struct frame_header head;
    struct slice body;
};

struct checkpoint_ask {
    struct list link;      /* in commit.asks or .asks_now */
    struct list peer_link; /* in peer.asks */
    struct peer *peer;
    struct frame_header head;
};

void commit_init(struct master *m)
{
    struct commit *c = &m->commit;
    list_init(&c->queue);
    list_init(&c->waits);
    list_init(&c->asks);
    list_init(&c->asks_now);
}

static void queued_free(struct master *m, struct queued_mutation *q)
{
    list_remove(&q->link);
    list_remove(&q->peer_link);
    slice_drop(&q->body);
    mem_free(q);
    m->commit.queued--;
}

void commit_close(struct master *m)
{
    list_for_each_safe (it, &m->commit.queue) {
        queued_free(m, list_entry(it, struct queued_mutation, link));
    }
}

uint64_t committed_index(const struct master *m)
{
    return oplog_committed(m->log);
}

static uint64_t append(struct master *m, enum op_code op, const union op_any *rec,
                       const struct frame_header *who, union op_any *rep)
{
    struct commit *c = &m->commit;
    const struct op_info *info = op_info_of((uint16_t)op);
    struct writer w;
    writer_init(&w);
    info->rec_encode(&w, rec);
    struct record r = {.type = (uint16_t)op, .body = writer_bytes(&w)};
    if (who != NULL) {
        r.session = who->session;
        r.sequence = who->sequence;
        r.acked = who->acked;
    }
    r.time_ns = MAX(c->time_ns + 1, env_wall_ns(m->env));
    c->time_ns = r.time_ns;
    uint64_t index = oplog_append(m->log, &r);
    union op_any unused;
    writer_reset(&m->apply);
    ns_apply(m->ns, &r, rec, &m->apply, rep != NULL ? rep : &unused);
    c->applied = index;
    c->chain = r.chain;
    c->uncommitted++;
    vigil_appended(m, index);
    writer_free(&w);
    return index;
}

uint64_t commit_record(struct master *m, enum op_code op, const union op_any *rec,
                       const struct frame_header *who, union op_any *rep)
{
    /* The hash comes before the record, so that *rep stays what this record's apply made. */
    if ((m->commit.applied + 1) % STATE_HASH_EVERY == 0) {
        union op_any hash = {.state_hash_rec = {.hash = ns_hash(m->ns)}};
        (void)append(m, OP_state_hash, &hash, NULL, NULL);
    }
    return append(m, op, rec, who, rep);
}

void commit_wait_for(struct master *m, struct commit_wait *w, uint64_t index)
{
    ASSERT(index > committed_index(m));
    w->index = index;
    struct list *at = m->commit.waits.prev;
    while (at != &m->commit.waits && list_entry(at, struct commit_wait, link)->index > index) {
        at = at->prev;
    }
    list_add_before(at->next, &w->link);
}

bool commit_full(const struct master *m)
{
    return m->commit.uncommitted >= m->cfg.bounds.commit_records || store_commit_due(m->store);
}

/* Mutations must wait until the log has caught up and LMDB has committed. */
static bool must_drain(const struct master *m)
{
    return commit_full(m) && committed_index(m) < m->commit.applied; /* else nothing would end it */
}

static void queue(struct peer *p, const struct frame_header *head, struct slice body)
{
    struct commit *c = &p->m->commit;
    struct queued_mutation *q = mem_new(struct queued_mutation);
    q->peer = p;
    q->head = *head;
    q->body = body;
    list_push_back(&c->queue, &q->link);
    list_push_back(&p->queued, &q->peer_link);
    c->queued++;
}

void commit_mutation(struct master *m, struct peer *p, struct message *msg)
{
    struct commit *c = &m->commit;
    const struct master_bounds *most = &m->cfg.bounds;
    if (replies_count(m->replies) >= most->held_replies ||
        oplog_pending_bytes(m->log) >= most->pending_log_bytes ||
        c->queued >= most->queued_mutations) {
        master_answer(p, &msg->head, ERR_BUSY, 0, (struct slice){0});
        return;
    }
    if (!c->draining) {
        service_mutation(p, &msg->head, slice_bytes(&msg->body));
        c->draining = must_drain(m);
        return;
    }
    queue(p, &msg->head, slice_ref(&msg->body));
}

void commit_mutation_later(struct master *m, struct peer *p, const struct frame_header *head,
                           struct bytes body)
{
    ASSERT(p->m == m);
    struct slice copy = {buf_new(body.len), 0, body.len};
    memcpy(copy.buf->data, body.data, body.len);
    queue(p, head, copy);
}

static void ask_free(struct checkpoint_ask *a)
{
    list_remove(&a->link);
    list_remove(&a->peer_link);
    mem_free(a);
}

void commit_forget(struct peer *p)
{
    list_for_each_safe (a, &p->asks) {
        ask_free(list_entry(a, struct checkpoint_ask, peer_link));
    }
    list_for_each_safe (it, &p->queued) {
        queued_free(p->m, list_entry(it, struct queued_mutation, peer_link));
    }
}

static void run_queue(struct master *m)
{
    /* What is queued meanwhile is for the next quiet point. */
    const struct list *last = m->commit.queue.prev;
    struct list *e = NULL;
    while (!m->commit.draining && e != last && (e = m->commit.queue.next) != &m->commit.queue) {
        struct queued_mutation *q = list_entry(e, struct queued_mutation, link);
        service_mutation(q->peer, &q->head, slice_bytes(&q->body));
        queued_free(m, q);
        m->commit.draining = must_drain(m);
    }
}

/* ---------------------------------------------------------------- checkpoints */

void commit_checkpoint_ask(struct master *m, struct peer *p, const struct frame_header *request)
{
    struct checkpoint_ask *a = mem_new(struct checkpoint_ask);
    a->peer = p;
    a->head = *request;
    list_push_back(&m->commit.asks, &a->link);
    list_push_back(&p->asks, &a->peer_link);
}

static void answer_asks(struct list *asks, int status, uint64_t index)
{
    while (!list_empty(asks)) {
        struct checkpoint_ask *a = list_entry(asks->next, struct checkpoint_ask, link);
        struct checkpoint_now_rep rep = {.index = index};
        master_answer(a->peer, &a->head, status, 0,
                      status == 0 ? RPC_BODY(checkpoint_now_rep, &rep) : (struct slice){0});
        ask_free(a);
    }
}

static void checkpoint_ended(void *owner, int status, struct store_position at)
{
    struct master *m = owner;
    answer_asks(&m->commit.asks_now, status, at.index);
}

/* Records cannot be read that a start from the newest checkpoint would need. */
static bool log_has_hole(const struct master *m, uint64_t newest)
{
    struct log_hole holes[LOG_HOLES_MAX];
    uint32_t count = oplog_rot(m->log, holes);
    for (uint32_t i = 0; i < count; i++) {
        if (holes[i].to > newest && holes[i].to <= m->commit.applied) {
            return true;
        }
    }
    return false;
}

/* At a quiet point: starts a checkpoint if one is due and none is being made. */
static void checkpoint_begin(struct master *m)
{
    struct commit *c = &m->commit;
    uint64_t newest = checkpoint_newest(c->checkpoint).index;
    uint64_t records = m->cfg.geometry.checkpoint_records;
    if (m->primary && m->cfg.set.count > 1) {
        records *= PRIMARY_CHECKPOINT_FACTOR; /* the shadows have newer ones */
    }
    if (checkpoint_running(c->checkpoint) || transfer_running(m) ||
        (list_empty(&c->asks) && !c->wanted && c->applied - newest < records &&
         !log_has_hole(m, newest))) {
        return;
    }
    c->wanted = false;
    int err = checkpoint_start(c->checkpoint, checkpoint_ended, m);
    if (err != 0) {
        answer_asks(&c->asks, err == -EALREADY ? 0 : err, newest);
        return;
    }
    for (struct list *e; (e = list_pop_front(&c->asks)) != NULL;) {
        list_push_back(&c->asks_now, e);
    }
}

/* ---------------------------------------------------------------- quiet points */

void commit_store(struct master *m)
{
    struct commit *c = &m->commit;
    ns_before_commit(m->ns);
    store_commit(m->store, (struct store_position){.index = c->applied,
                                                   .epoch = m->epoch,
                                                   .chain = c->chain,
                                                   .hash = store_hash(m->store),
                                                   .time_ns = c->time_ns});
    c->uncommitted = 0;
}

/* All that is applied is committed. */
static void settle(struct master *m)
{
    struct commit *c = &m->commit;
    if (c->uncommitted > 0 || (!c->settled && !m->primary)) {
        commit_store(m);
        if (!c->settled) {
            c->settled = true;
            recovery_settled(m->env);
        }
    } else {
        store_refresh_room(m->store);
    }
    c->settled_ns = env_mono_ns(m->env);
    c->draining = false;
}

bool commit_quiet_point(struct master *m)
{
    if (committed_index(m) < m->commit.applied) {
        return false;
    }
    settle(m);
    return true;
}

/* A quiet point: what waits for one happens, then the mutations go on. */
static void quiet(struct master *m)
{
    if (!commit_quiet_point(m)) {
        return;
    }
    if (!m->commit.stopped) {
        checkpoint_begin(m);
        garbage_scan(m); /* only what is committed: before anything is logged here */
        opens_flush(m);
    }
    run_queue(m);
}

static bool due(const struct master *m)
{
    const struct commit *c = &m->commit;
    return commit_full(m) || env_mono_ns(m->env) - c->settled_ns >= COMMIT_INTERVAL_MS * NS_PER_MS;
}

void commit_followed(struct master *m)
{
    if (due(m) && commit_quiet_point(m) && !m->commit.stopped) {
        checkpoint_begin(m);
    }
}

void commit_advanced(void *owner, uint64_t index)
{
    struct master *m = owner;
    vigil_committed(m, index);
    replies_release(m->replies, index);
    struct list *e;
    while ((e = m->commit.waits.next) != &m->commit.waits) {
        struct commit_wait *w = list_entry(e, struct commit_wait, link);
        if (w->index > index) {
            break;
        }
        list_remove(&w->link);
        w->done(w);
    }
    if (m->commit.draining || due(m)) {
        quiet(m);
    }
}

void commit_tick(struct master *m)
{
    if (!due(m)) {
        return;
    }
    if (committed_index(m) == m->commit.applied) {
        quiet(m);
    } else {
        m->commit.draining = true; /* commit_advanced ends it */
    }
}
