/* replicate_send.c - records on their way to one logger. */
#include "master/core/record.h"
#include "master/core/replicate_internal.h"

#include <string.h>

/* ---------------------------------------------------------------- recent batches */

static struct recent *recent_of(struct replicate *r, uint32_t i)
{
    return &r->recent[(r->recent_at + i) % RECENT_MAX];
}

static void drop_oldest(struct replicate *r)
{
    struct recent *b = recent_of(r, 0);
    r->recent_bytes -= b->records.len;
    slice_drop(&b->records);
    r->recent_at = (r->recent_at + 1) % RECENT_MAX;
    r->recent_count--;
}

/* Lowest index that some logger in step has not been sent. */
static uint64_t needed_from(const struct replicate *r)
{
    uint64_t from = UINT64_MAX;
    for (uint32_t i = 0; i < r->set->count; i++) {
        const struct follower *f = &r->followers[i];
        if (i != r->set->self && f->state == FOLLOWER_IN_STEP) {
            from = MIN(from, f->sent + 1);
        }
    }
    return from;
}

void replicate_drop_recent(struct replicate *r, bool all)
{
    uint64_t from = needed_from(r);
    while (r->recent_count > 0 && (all || recent_of(r, 0)->last < from)) {
        drop_oldest(r);
    }
}

void replicate_batch(void *owner, const struct oplog_batch *b)
{
    struct replicate *r = owner;
    if (r->ended || needed_from(r) == UINT64_MAX) {
        return; /* who comes into step is fed from the log */
    }
    while (r->recent_count > 0 &&
           (r->recent_count == RECENT_MAX || r->recent_bytes + b->records.len > RECENT_BYTES_MAX)) {
        drop_oldest(r);
    }
    struct recent *n = recent_of(r, r->recent_count++);
    *n = (struct recent){.records = {buf_new(b->records.len), 0, b->records.len},
                         .first = b->first,
                         .last = b->last,
                         .prev_chain = b->prev_chain,
                         .chain = b->chain};
    memcpy(n->records.buf->data, b->records.data, b->records.len);
    r->recent_bytes += b->records.len;
    for (uint32_t i = 0; i < r->set->count; i++) {
        if (i != r->set->self) {
            replicate_pump(&r->followers[i]);
        }
    }
    replicate_drop_recent(r, false);
}

/* ---------------------------------------------------------------- one request */

static void append_done(struct rpc_call *c)
{
    struct flight *flight = c->owner;
    struct follower *f = flight->to;
    struct replicate *r = f->r;
    struct log_append_rep rep;
    int status = RPC_REPLY(log_append, c, &rep);
    f->flying--;
    if (r->ended || status == ERR_DISCONNECTED) {
        return; /* the link says that it is down */
    }
    if (status == 0) {
        f->durable = MAX(f->durable, MIN(rep.durable, f->sent));
        replicate_heard(f, flight->sent_ns);
        if (rep.yield_to > r->epoch) {
            replicate_depose(r, DEPOSED_ASKED, rep.yield_to);
        }
        replicate_count(r);
        replicate_pump(f);
    } else if (status == ERR_STALE_EPOCH && c->reply->head.epoch > r->epoch) {
        replicate_depose(r, DEPOSED_FENCED, c->reply->head.epoch);
    } else if (status == ERR_TIMEOUT) {
        log_links_redial(r->cfg.links, f->number);
    } else {
        replicate_ask_again(f, status == ERR_PROTOCOL ? 1000 : 20);
    }
}

/* Records from f->sent + 1 to `last`; none: a beat. Takes the reference. */
static void send(struct follower *f, struct slice records, uint64_t last, uint64_t chain)
{
    struct replicate *r = f->r;
    struct flight *flight = f->flights;
    while (rpc_call_running(&flight->call)) {
        flight++;
    }
    struct log_append_req req = {.serial = ++r->serial,
                                 .first = f->sent + 1,
                                 .prev_chain = f->sent_chain,
                                 .committed = oplog_committed(r->cfg.log)};
    f->sent = last;
    f->sent_chain = chain;
    f->told_committed = req.committed;
    f->sent_ns = env_mono_ns(r->cfg.env);
    f->flying++;
    flight->to = f;
    flight->sent_ns = f->sent_ns;
    flight->call.done = append_done;
    flight->call.owner = flight;
    log_links_call(r->cfg.links, f->number, &flight->call, OP_log_append, r->epoch,
                   RPC_BODY(log_append_req, &req), &records, APPEND_MS);
}

void replicate_beat(struct follower *f)
{
    if (f->state == FOLLOWER_IN_STEP && f->flying == 0 && !f->r->ended) {
        send(f, (struct slice){0}, f->sent, f->sent_chain);
    }
}

void replicate_stop_sending(struct follower *f)
{
    for (uint32_t i = 0; i < FLIGHTS_MAX; i++) {
        rpc_cancel(&f->flights[i].call);
    }
    f->flying = 0;
    oplog_cursor_close(f->cursor);
    f->cursor = NULL;
}

/* ---------------------------------------------------------------- what it lacks */

/* Where the record `index` begins in a batch. */
static uint32_t offset_of(const struct recent *b, uint64_t index)
{
    uint32_t at = 0;
    for (uint64_t i = b->first; i < index; i++) {
        struct record rec;
        struct why why;
        bool header_good;
        int rc = record_decode(bytes_of(slice_data(&b->records) + at, b->records.len - at), &rec,
                               &header_good, &why);
        ASSERT(rc == 0); /* our own */
        at += record_size(&rec);
    }
    return at;
}

static bool send_recent(struct follower *f)
{
    struct replicate *r = f->r;
    uint64_t next = f->sent + 1;
    for (uint32_t i = 0; i < r->recent_count; i++) {
        const struct recent *b = recent_of(r, i);
        if (next < b->first) {
            return false;
        }
        if (next <= b->last) {
            struct slice records = slice_ref(&b->records);
            uint32_t skip = offset_of(b, next);
            records.off += skip;
            records.len -= skip;
            send(f, records, b->last, b->chain);
            return true;
        }
    }
    return false;
}

/* From the log's files. */
static bool send_old(struct follower *f)
{
    struct replicate *r = f->r;
    struct oplog_piece p;
    struct why why;
    int rc = 0;
    if (f->sent >= oplog_durable(r->cfg.log)) {
        return false;
    }
    if (f->cursor == NULL || f->cursor_next != f->sent + 1) {
        oplog_cursor_close(f->cursor);
        f->cursor = NULL;
        rc = oplog_cursor_open(r->cfg.log, f->sent + 1, &f->cursor, &why);
    }
    if (rc == 0) {
        rc = oplog_cursor_next(f->cursor, &p, &why);
    }
    if (rc < 0) {
        if (rc == -ENOENT) { /* it takes a checkpoint over, and says so */
            replicate_too_old(f);
        } else {
            env_log(r->cfg.env, LOG_ERROR, "logger %s cannot be fed: %s", r->set->addr[f->number],
                    why.text);
            replicate_ask_again(f, 1000);
        }
        return false;
    }
    if (rc == 0) {
        return false;
    }
    struct slice records = {buf_new(p.records.len), 0, p.records.len};
    memcpy(records.buf->data, p.records.data, p.records.len);
    f->cursor_next = p.last + 1;
    send(f, records, p.last, p.chain);
    return true;
}

void replicate_pump(struct follower *f)
{
    while (f->state == FOLLOWER_IN_STEP && f->flying < FLIGHTS_MAX && !f->r->ended) {
        if (send_recent(f)) {
            oplog_cursor_close(f->cursor);
            f->cursor = NULL;
        } else if (!send_old(f)) {
            break;
        }
    }
}
