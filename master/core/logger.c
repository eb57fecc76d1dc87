/* logger.c - a log as one of several, as the other masters see it. */
#include "master/core/logger.h"
#include "master/core/oplog_cursor.h"
#include "shared/base/mem.h"

#include <string.h>

/* A request that waits for the disk. */
struct waiting {
    struct rpc *rpc; /* NULL = free, or its connection is gone */
    struct frame_header head;
    uint64_t index; /* appends: answered when this is durable */
    bool used;
    void (*own)(void *owner); /* promises: this process asks */
    void *own_owner;
};

struct logger {
    struct env *env;
    struct oplog *log;
    void (*on_promise)(void *owner, uint32_t epoch);
    void *owner;
    uint64_t holder;         /* of the promised epoch; 0 = it was promised by an earlier process */
    uint32_t wanted;         /* a higher epoch somebody asked for while the lease ran */
    uint64_t lease_until_ns; /* until then no other epoch is promised */
    uint64_t word_ns;        /* last append, or the beginning */
    uint64_t serial;         /* of the last append of the promised epoch */
    uint32_t join_epoch; /* of a log that joins: the promised epoch, once a record of it came ... */
    uint64_t join_at;    /* ... which is this one, or an earlier one */
    bool retired;
    struct waiting promise;
    struct waiting appends[LOG_APPENDS_MAX];
    struct oplog_cursor *cursor; /* where the last log_read ended; NULL = none */
    uint64_t cursor_next;
    uint64_t give_from; /* records before it cannot all be given; 0 = those that are held can */
};

struct logger *logger_create(struct env *env, struct oplog *log,
                             void (*on_promise)(void *owner, uint32_t epoch), void *owner)
{
    struct logger *g = mem_new(struct logger);
    g->env = env;
    g->log = log;
    g->on_promise = on_promise;
    g->owner = owner;
    g->word_ns = env_mono_ns(env);
    if (oplog_epoch(log) > 0) { /* else nobody was ever obeyed */
        g->lease_until_ns = env_mono_ns(env) + LOG_LEASE_MS * NS_PER_MS / 100 * 101;
    }
    return g;
}

uint64_t logger_silent_ms(const struct logger *g)
{
    return (env_mono_ns(g->env) - g->word_ns) / NS_PER_MS;
}

static void drop_cursor(struct logger *g)
{
    oplog_cursor_close(g->cursor);
    g->cursor = NULL;
}

void logger_destroy(struct logger *g)
{
    if (g != NULL) {
        drop_cursor(g);
        mem_free(g);
    }
}

void logger_give_from(struct logger *g, uint64_t index)
{
    g->give_from = index;
}

void logger_forget(struct logger *g, struct rpc *r)
{
    if (g->promise.rpc == r) {
        g->promise.rpc = NULL;
    }
    for (uint32_t i = 0; i < LOG_APPENDS_MAX; i++) {
        if (g->appends[i].rpc == r) {
            g->appends[i].rpc = NULL;
        }
    }
}

static void answer(struct logger *g, struct rpc *r, const struct frame_header *head, int status,
                   struct slice body, struct slice *payload)
{
    rpc_answer(r, head, status, oplog_committed(g->log), oplog_epoch(g->log), body, payload);
}

static void refuse(struct logger *g, struct rpc *r, const struct frame_header *head, int status)
{
    answer(g, r, head, status, (struct slice){0}, NULL);
}

/* Whether a request under the asker's epoch may be obeyed. */
static int check_epoch(const struct logger *g, const struct frame_header *head)
{
    uint32_t promised = oplog_epoch(g->log);
    return head->epoch < promised                    ? ERR_STALE_EPOCH
           : head->epoch > promised || promised == 0 ? ERR_NOT_READY
           : oplog_promising(g->log) || g->retired   ? ERR_NOT_READY
                                                     : 0;
}

/* ---------------------------------------------------------------- promises */

static struct slice findings(struct logger *g)
{
    struct log_answer a = oplog_findings(g->log);
    struct log_promise_rep rep = {.first = a.first,
                                  .tail_epoch = a.tail.epoch,
                                  .tail = a.tail.index,
                                  .chain = oplog_last_chain(g->log),
                                  .end = (uint32_t)a.end,
                                  .end_epoch = a.end_place.epoch,
                                  .end_index = a.end_place.index,
                                  .committed = a.committed,
                                  .damaged = oplog_damaged(g->log)};
    struct writer holes;
    writer_init(&holes);
    for (uint32_t i = 0; i < a.hole_count; i++) {
        enc_u64(&holes, &a.holes[i].from);
        enc_u64(&holes, &a.holes[i].to);
        enc_u32(&holes, &a.holes[i].epoch_before);
    }
    rep.holes = writer_bytes(&holes);
    struct slice body = RPC_BODY(log_promise_rep, &rep);
    writer_free(&holes);
    return body;
}

static void promised(void *owner)
{
    struct logger *g = owner;
    struct waiting w = g->promise;
    g->promise = (struct waiting){0};
    if (w.own != NULL) {
        w.own(w.own_owner);
    } else if (w.rpc != NULL) {
        answer(g, w.rpc, &w.head, 0, findings(g), NULL);
    }
}

/* Whether the epoch may be promised to the holder: 0; -EALREADY: it was. */
static int may_promise(struct logger *g, uint32_t epoch, uint64_t holder, uint32_t ended)
{
    uint32_t newest = oplog_epoch(g->log);
    if (epoch < newest || (epoch == newest && holder != g->holder)) {
        return ERR_STALE_EPOCH;
    }
    if (epoch > newest && env_mono_ns(g->env) < g->lease_until_ns && ended != newest) {
        g->wanted = MAX(g->wanted, epoch);
        return ERR_LEASE_HELD;
    }
    if (g->promise.used || !oplog_settled(g->log)) {
        return ERR_BUSY; /* what is told must be on the disk */
    }
    return epoch == newest ? -EALREADY : 0;
}

static void begin_promise(struct logger *g, uint32_t epoch, uint64_t holder, struct waiting w)
{
    g->holder = holder;
    g->serial = 0;
    g->wanted = 0;
    g->lease_until_ns = 0;
    g->promise = w;
    g->promise.used = true;
    oplog_promise(g->log, epoch, promised, g);
}

static void promise(struct logger *g, struct rpc *r, struct message *m)
{
    struct log_promise_req req;
    if (log_promise_req_decode(slice_bytes(&m->body), &req) != 0 ||
        (req.holder == 0 && req.epoch != 0)) {
        refuse(g, r, &m->head, ERR_PROTOCOL);
        return;
    }
    struct why why;
    bool ask = req.epoch == 0; /* only what there is */
    int status = oplog_judge_rot(g->log, &why) != 0 ? ERR_BUSY
                 : ask ? g->promise.used || !oplog_settled(g->log) ? ERR_BUSY : -EALREADY
                       : may_promise(g, req.epoch, req.holder, req.ended);
    if (status == -EALREADY) {
        answer(g, r, &m->head, 0, findings(g), NULL);
    } else if (status != 0) {
        refuse(g, r, &m->head, status);
    } else {
        g->on_promise(g->owner, req.epoch);
        begin_promise(g, req.epoch, req.holder, (struct waiting){.rpc = r, .head = m->head});
    }
}

int logger_promise(struct logger *g, uint32_t epoch, uint64_t holder, uint32_t ended,
                   void (*done)(void *owner), void *owner)
{
    int status = may_promise(g, epoch, holder, ended);
    if (status == -EALREADY) {
        done(owner);
        return 0;
    }
    if (status == 0) {
        begin_promise(g, epoch, holder, (struct waiting){.own = done, .own_owner = owner});
    }
    return status;
}

void logger_hold(struct logger *g, uint64_t until_ns)
{
    g->lease_until_ns = until_ns;
}

void logger_retire(struct logger *g)
{
    g->retired = true;
}

uint32_t logger_wanted(const struct logger *g)
{
    return g->wanted;
}

void logger_will_cut(struct logger *g)
{
    drop_cursor(g);
}

static void yield(struct logger *g, struct rpc *r, struct message *m)
{
    int status = check_epoch(g, &m->head);
    if (status == 0) {
        g->lease_until_ns = 0;
    }
    struct log_yield_rep rep = {};
    answer(g, r, &m->head, status, status == 0 ? RPC_BODY(log_yield_rep, &rep) : (struct slice){0},
           NULL);
}

/* ---------------------------------------------------------------- records */

static void answer_append(struct logger *g, const struct waiting *w)
{
    struct log_append_rep rep = {.durable = oplog_durable(g->log), .yield_to = g->wanted};
    if (w->rpc == NULL) {
        return;
    }
    if (w->head.epoch < oplog_epoch(g->log)) {
        refuse(g, w->rpc, &w->head, ERR_STALE_EPOCH);
    } else {
        answer(g, w->rpc, &w->head, 0, RPC_BODY(log_append_rep, &rep), NULL);
    }
}

void logger_durable(struct logger *g, uint64_t index)
{
    for (uint32_t i = 0; i < LOG_APPENDS_MAX; i++) {
        struct waiting w = g->appends[i];
        if (w.used && w.index <= index) {
            g->appends[i] = (struct waiting){0};
            answer_append(g, &w);
        }
    }
}

/* 0 if the records are in the log now, on their way to the disk. */
static int take_records(struct logger *g, const struct log_append_req *req, struct message *m)
{
    struct why why;
    if (oplog_damaged(g->log) || req->first != oplog_last(g->log) + 1 ||
        req->prev_chain != oplog_last_chain(g->log)) {
        return ERR_OUT_OF_SYNC;
    }
    int rc = m->payload.len > 0 ? oplog_append_encoded(g->log, slice_bytes(&m->payload), &why) : 0;
    if (rc < 0) {
        env_log(g->env, LOG_WARN, "records refused: %s", why.text);
    }
    return rc;
}

/* What is committed under a primary's own epoch contains all that ever was. So once this log has it, it
 * has whatever its disk's predecessor may have acknowledged. */
static void note_joined(struct logger *g, uint32_t epoch)
{
    if (!oplog_joining(g->log)) {
        return;
    }
    if (g->join_epoch != epoch && oplog_last_epoch(g->log) == epoch) {
        g->join_epoch = epoch;
        g->join_at = oplog_last(g->log);
    }
    if (g->join_epoch == epoch &&
        MIN(oplog_committed(g->log), oplog_durable(g->log)) >= g->join_at) {
        env_log(g->env, LOG_INFO,
                "operation log is complete to record %llu, and counts from now on",
                (unsigned long long)g->join_at);
        oplog_joined(g->log);
    }
}

static void append(struct logger *g, struct rpc *r, struct message *m)
{
    struct log_append_req req;
    struct waiting *w = NULL;
    for (uint32_t i = 0; i < LOG_APPENDS_MAX && w == NULL; i++) {
        w = g->appends[i].used ? NULL : &g->appends[i];
    }
    int status = check_epoch(g, &m->head);
    if (status == 0 &&
        (log_append_req_decode(slice_bytes(&m->body), &req) != 0 || req.serial <= g->serial)) {
        status = ERR_PROTOCOL;
    }
    if (status == 0 && w == NULL) {
        status = ERR_BUSY;
    }
    if (status == 0) {
        g->serial = req.serial;
        status = take_records(g, &req, m);
    }
    if (status != 0) {
        refuse(g, r, &m->head, status);
        return;
    }
    g->word_ns = env_mono_ns(g->env);
    g->lease_until_ns = g->word_ns + LOG_LEASE_MS * NS_PER_MS / 100 * 101;
    *w = (struct waiting){.rpc = r, .head = m->head, .index = oplog_last(g->log), .used = true};
    /* All records here are the primary's: it said what precedes them. */
    oplog_commit_to(g->log, req.committed);
    note_joined(g, m->head.epoch);
    logger_durable(g, oplog_durable(g->log));
}

static void cut(struct logger *g, struct rpc *r, struct message *m)
{
    struct log_cut_req req;
    struct why why = {0};
    uint64_t chain;
    int status = check_epoch(g, &m->head);
    if (status == 0 && log_cut_req_decode(slice_bytes(&m->body), &req) != 0) {
        status = ERR_PROTOCOL;
    }
    if (status == 0 && (!oplog_settled(g->log) || !oplog_quiet(g->log))) {
        status = ERR_BUSY;
    }
    if (status == 0 && (oplog_chain(g->log, req.index, &chain, &why) != 0 || chain != req.chain)) {
        status = -ENOENT;
    }
    if (status == 0) {
        env_log(g->env, LOG_WARN, "operation log is cut after record %llu: epoch %u took over",
                (unsigned long long)req.index, m->head.epoch);
        drop_cursor(g);
        status = oplog_cut(g->log, req.index, &why);
    }
    if (status != 0) {
        env_log(g->env, LOG_WARN, "cut refused: %s: %s", err_text(status), why.text);
        refuse(g, r, &m->head, status);
        return;
    }
    struct log_cut_rep rep = {};
    answer(g, r, &m->head, 0, RPC_BODY(log_cut_rep, &rep), NULL);
}

/* ---------------------------------------------------------------- reading */

static int read_piece(struct logger *g, uint64_t from, struct oplog_piece *out, struct why *why)
{
    int rc = 0;
    if (g->cursor == NULL || g->cursor_next != from) {
        drop_cursor(g);
        rc = oplog_cursor_open(g->log, from, &g->cursor, why);
    }
    if (rc == 0) {
        rc = oplog_cursor_next(g->cursor, out, why);
        g->cursor_next = rc == 1 ? out->last + 1 : from;
    }
    if (rc < 0) {
        drop_cursor(g);
    }
    return rc;
}

static void read(struct logger *g, struct rpc *r, struct message *m)
{
    struct log_read_req req;
    struct oplog_piece p;
    struct why why;
    if (log_read_req_decode(slice_bytes(&m->body), &req) != 0) {
        refuse(g, r, &m->head, ERR_PROTOCOL);
        return;
    }
    int rc = read_piece(g, req.from, &p, &why);
    if (rc < 0) {
        env_log(g->env, rc == -ENOENT ? LOG_INFO : LOG_ERROR, "cannot give records: %s", why.text);
        refuse(g, r, &m->head, rc);
        return;
    }
    struct log_read_rep rep = {0};
    struct slice payload = {0};
    if (rc == 1) {
        rep = (struct log_read_rep){
            .first = p.first, .last = p.last, .prev_chain = p.prev_chain, .chain = p.chain};
        payload = (struct slice){.buf = buf_new(p.records.len), .len = p.records.len};
        memcpy(payload.buf->data, p.records.data, p.records.len);
    }
    answer(g, r, &m->head, 0, RPC_BODY(log_read_rep, &rep), &payload);
}

static void assure(struct logger *g, struct rpc *r, struct message *m)
{
    struct log_assure_rep rep = {.promised = oplog_epoch(g->log),
                                 .tail_epoch = oplog_last_epoch(g->log),
                                 .tail = oplog_last(g->log),
                                 .chain = oplog_last_chain(g->log),
                                 .committed = oplog_committed(g->log),
                                 .durable = oplog_durable(g->log),
                                 .first = MAX(oplog_first(g->log), g->give_from)};
    if (oplog_promising(g->log)) {
        refuse(g, r, &m->head, ERR_BUSY);
    } else if (oplog_damaged(g->log)) {
        refuse(g, r, &m->head, ERR_CORRUPT); /* it proves nothing */
    } else if (oplog_joining(g->log)) {
        refuse(g, r, &m->head, ERR_NOT_READY);
    } else {
        answer(g, r, &m->head, 0, RPC_BODY(log_assure_rep, &rep), NULL);
    }
}

bool logger_request(struct logger *g, struct rpc *r, struct message *m)
{
    if (oplog_cluster(g->log) == 0 && m->head.op >= OP_log_promise && m->head.op <= OP_log_yield) {
        refuse(g, r, &m->head, ERR_NOT_READY); /* whose records these are is not known yet */
        return true;
    }
    switch (m->head.op) {
    case OP_log_promise:
        promise(g, r, m);
        return true;
    case OP_log_append:
        append(g, r, m);
        return true;
    case OP_log_read:
        read(g, r, m);
        return true;
    case OP_log_cut:
        cut(g, r, m);
        return true;
    case OP_log_assure:
        assure(g, r, m);
        return true;
    case OP_log_yield:
        yield(g, r, m);
        return true;
    default:
        return false;
    }
}
