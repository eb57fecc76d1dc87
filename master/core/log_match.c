/* log_match.c - how far this log and another master's are the same. */
#include "master/core/log_match.h"

int log_told_decode(const struct log_promise_rep *rep, struct log_told *out)
{
    struct log_answer *a = &out->answer;
    *out = (struct log_told){.chain = rep->chain, .damaged = rep->damaged};
    *a = (struct log_answer){.here = true,
                             .first = rep->first,
                             .tail = {rep->tail_epoch, rep->tail},
                             .end = (enum log_end)rep->end,
                             .end_place = {rep->end_epoch, rep->end_index},
                             .committed = rep->committed};
    struct reader r = reader_of(rep->holes);
    uint64_t from = rep->first;
    while (!reader_done(&r)) {
        struct log_hole h = {0};
        dec_u64(&r, &h.from);
        dec_u64(&r, &h.to);
        dec_u32(&r, &h.epoch_before);
        if (r.err != 0 || a->hole_count == LOG_HOLES_MAX || h.from < from || h.to < h.from ||
            h.to >= rep->tail) {
            return ERR_PROTOCOL;
        }
        a->holes[a->hole_count++] = h;
        from = h.to + 1;
    }
    bool good = r.err == 0 && rep->first > 0 && rep->tail >= rep->first - 1 &&
                rep->end <= LOG_END_UNKNOWN && rep->tail < UINT64_MAX;
    return good ? 0 : ERR_PROTOCOL;
}

static void step(struct log_match *m);

static void end(struct log_match *m, int status, uint64_t index, uint64_t chain)
{
    m->done(m, status, index, chain);
}

/* Lowest index whose H both can tell. */
static uint64_t floor_of(const struct log_match *m)
{
    return MAX(oplog_first(m->log), m->theirs.answer.first) - 1;
}

static const struct log_hole *hole_at(const struct log_answer *a, uint64_t index)
{
    return log_hole_at(a->holes, a->hole_count, index);
}

/* The hole that hides H(index) of one of the logs: neither that record nor the next can be read. */
static const struct log_hole *hides(const struct log_match *m, uint64_t index)
{
    const struct log_answer *all[] = {&m->own, &m->theirs.answer};
    for (uint32_t i = 0; i < COUNT_OF(all); i++) {
        const struct log_hole *h = hole_at(all[i], index);
        if (h != NULL && index < h->to) {
            return h;
        }
    }
    return NULL;
}

/* The next one above, or else below, of which both logs can tell; `high`: there is none. */
static uint64_t tellable(const struct log_match *m, uint64_t index)
{
    const struct log_hole *h;
    uint64_t up = index, down = index;
    while ((h = hides(m, up)) != NULL) {
        up = h->to;
    }
    if (up < m->high) {
        return up;
    }
    while ((h = hides(m, down)) != NULL) {
        down = h->from - 1;
    }
    return down > m->low ? down : m->high;
}

/* H(probe) of the other log is known. False: the search has ended. */
static bool compare(struct log_match *m, uint64_t theirs)
{
    uint64_t own;
    struct why why;
    int rc = oplog_chain(m->log, m->probe, &own, &why);
    if (rc < 0) {
        end(m, rc == -ENOENT ? rc : ERR_CORRUPT, 0, 0);
        return false;
    }
    m->halving = true;
    if (own == theirs) {
        m->low = m->probe;
    } else if (m->probe <= floor_of(m)) {
        end(m, -ENOENT, 0, 0);
        return false;
    } else {
        m->high = m->probe;
    }
    return true;
}

static void read_done(struct rpc_call *c)
{
    struct log_match *m = c->owner;
    struct log_read_rep rep;
    int rc = RPC_REPLY(log_read, c, &rep);
    bool before = rc == 0 && rep.first == m->probe && rep.last == m->probe; /* a hole follows */
    if (rc == 0 && rep.first != m->probe + 1 && !before) {
        rc = ERR_PROTOCOL;
    }
    if (rc == ERR_DISCONNECTED || rc == ERR_TIMEOUT) {
        end(m, rc, 0, 0);
    } else if (rc != 0) {
        end(m, ERR_CORRUPT, 0, 0);
    } else if (compare(m, before ? rep.chain : rep.prev_chain)) {
        step(m);
    }
}

static void found(struct log_match *m)
{
    uint64_t chain = 0;
    struct why why;
    int rc = m->low == 0 ? 0 : oplog_chain(m->log, m->low, &chain, &why);
    end(m, rc == 0 || rc == -ENOENT ? rc : ERR_CORRUPT, m->low, chain);
}

static void step(struct log_match *m)
{
    for (;;) {
        if (m->low + 1 >= m->high) {
            found(m);
            return;
        }
        uint64_t probe = m->halving ? m->low + (m->high - m->low) / 2 : m->high - 1;
        m->probe = MAX(probe, floor_of(m));
        if (m->probe >= m->high) { /* nothing that both have */
            end(m, -ENOENT, 0, 0);
            return;
        }
        m->probe = tellable(m, m->probe);
        if (m->probe >= m->high) {
            found(m);
            return;
        }
        if (m->probe == m->theirs.answer.tail.index) {
            if (!compare(m, m->theirs.chain)) {
                return;
            }
            continue;
        }
        m->read.done = read_done;
        m->read.owner = m;
        bool before = hole_at(&m->theirs.answer, m->probe + 1) != NULL;
        log_links_read(m->links, m->number, &m->read, before ? m->probe : m->probe + 1);
        return;
    }
}

void log_match_start(struct log_match *m, uint64_t same)
{
    uint64_t limit = MIN(oplog_last(m->log), m->theirs.answer.tail.index);
    m->low = MIN(same, limit);
    m->high = limit + 1;
    m->halving = false;
    m->own = oplog_findings(m->log);
    step(m);
}

void log_match_stop(struct log_match *m)
{
    rpc_cancel(&m->read);
}
