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

/* H(probe) of the other log is known. False: the search has ended. */
static bool compare(struct log_match *m, uint64_t theirs)
{
    struct why why;
    uint64_t own;
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
    if (rc == 0 && rep.first != m->probe + 1) {
        rc = ERR_PROTOCOL;
    }
    if (rc == ERR_DISCONNECTED || rc == ERR_TIMEOUT) {
        end(m, rc, 0, 0);
    } else if (rc != 0) {
        end(m, ERR_CORRUPT, 0, 0);
    } else if (compare(m, rep.prev_chain)) {
        step(m);
    }
}

static void found(struct log_match *m)
{
    struct why why;
    uint64_t chain = 0;
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
        if (m->probe == m->theirs.answer.tail.index) {
            if (!compare(m, m->theirs.chain)) {
                return;
            }
            continue;
        }
        m->read.done = read_done;
        m->read.owner = m;
        log_links_read(m->links, m->number, &m->read, m->probe + 1);
        return;
    }
}

void log_match_start(struct log_match *m, uint64_t same)
{
    uint64_t limit = MIN(oplog_last(m->log), m->theirs.answer.tail.index);
    m->low = MIN(same, limit);
    m->high = limit + 1;
    m->halving = false;
    step(m);
}

void log_match_stop(struct log_match *m)
{
    rpc_cancel(&m->read);
}
