/* promotion_fill.c - making the own log the chosen one. */
#include "master/core/oplog_cursor.h"
#include "master/core/promotion_internal.h"
#include "master/core/record.h"

#include <string.h>

enum {
    AHEAD_BYTES = 4 << 20, /* so much may wait for the own disk */
};

static void cannot(struct promotion *p, int status, const char *what)
{
    env_log(p->cfg.env, LOG_ERROR, "this master cannot take over in epoch %u: %s", p->epoch, what);
    promotion_end(p, status, 0);
}

/* Whoever takes office applies the rest of the log. What full segments have lost of it is found only by
 * reading it, and must be had from others before there is no way back. */
static bool readable(struct promotion *p)
{
    struct oplog *log = p->cfg.log;
    struct oplog_cursor *cursor;
    struct oplog_piece piece;
    struct why why;
    uint64_t from = MAX(p->cfg.applied(p->cfg.owner) + 1, oplog_first(log));
    if (from > oplog_last(log)) {
        return true;
    }
    int rc = oplog_cursor_open(log, from, &cursor, &why);
    if (rc == 0) {
        do {
            rc = oplog_cursor_next(cursor, &piece, &why);
        } while (rc == 1);
        oplog_cursor_close(cursor);
    }
    if (rc < 0 && strcmp(why.text, p->why.text) != 0) {
        env_log(p->cfg.env, LOG_WARN, "epoch %u waits for what is lost here: %s", p->epoch,
                why.text);
        p->why = why;
    }
    return rc == 0;
}

static void ready(struct promotion *p)
{
    const struct log_place *tail = &p->choice.tail;
    if (oplog_last(p->cfg.log) != tail->index || !oplog_settled(p->cfg.log) ||
        !oplog_quiet(p->cfg.log)) {
        return;
    }
    if (readable(p)) {
        promotion_end(p, 0, p->epoch);
    } else { /* chosen anew, with the hole */
        promotion_ask_anew(p, p->set->self);
    }
}

/* The own log is kept up to here: all above is of another history, or not to be trusted. */
static void keep(struct promotion *p, uint64_t index)
{
    struct oplog *log = p->cfg.log;
    struct why why;
    if (oplog_last(log) > index || oplog_damaged(log)) {
        env_log(p->cfg.env, LOG_WARN, "operation log is cut after record %llu: epoch %u begins",
                (unsigned long long)index, p->epoch);
        logger_will_cut(p->cfg.logger);
        int rc = oplog_cut(log, index, &why);
        if (rc < 0) {
            cannot(p, ERR_CORRUPT, why.text);
            return;
        }
        if (oplog_damaged(log)) {
            cannot(p, ERR_CORRUPT, "its log is damaged");
            return;
        }
    }
    p->step = PROMOTION_FILLING;
    promotion_fill(p);
}

/* ---------------------------------------------------------------- where they part */

static void matched(struct log_match *m, int status, uint64_t index, uint64_t chain)
{
    struct promotion *p = container_of(m, struct promotion, match);
    const struct log_answer *own = &m->own;
    (void)chain;
    if (status == ERR_DISCONNECTED || status == ERR_TIMEOUT) {
        if (status == ERR_TIMEOUT) {
            log_links_redial(p->cfg.links, m->number);
        }
        promotion_ask_anew(p, m->number);
    } else if (status == -ENOENT) {
        cannot(p, ERR_OUT_OF_SYNC, "the records it lacks are held by nobody any more");
    } else if (status != 0) {
        cannot(p, ERR_CORRUPT, "a record that decides cannot be read");
    } else if (own->hole_count > 0 && own->holes[0].from <= MIN(index, p->choice.tail.index)) {
        cannot(p, ERR_CORRUPT,
               "records that are missing in its log are held by nobody who is here");
    } else {
        keep(p, MIN(index, p->choice.tail.index)); /* in both logs a hole may follow it, and more */
    }
}

uint64_t promotion_shared(const struct promotion *p)
{
    const struct log_answer *own = &p->promises[p->set->self].told.answer;
    return MAX(own->committed, own->first - 1);
}

void promotion_match(struct promotion *p)
{
    uint32_t self = p->set->self;
    const struct log_told *source = &p->promises[p->choice.source].told;
    p->step = PROMOTION_MATCHING;
    if (p->choice.source == self) {
        keep(p, p->choice.tail.index);
        return;
    }
    p->match.links = p->cfg.links;
    p->match.log = p->cfg.log;
    p->match.number = p->choice.source;
    p->match.theirs = *source;
    p->match.done = matched;
    log_match_start(&p->match, promotion_shared(p));
}

/* ---------------------------------------------------------------- what is lacking */

/* The records of a piece up to the chosen end. */
static struct bytes until_end(const struct promotion *p, struct bytes in)
{
    uint32_t len = 0;
    while (len < in.len) {
        struct record rec;
        struct why why;
        bool header_good;
        if (record_decode(bytes_of(in.data + len, in.len - len), &rec, &header_good, &why) != 0) {
            return in; /* refused when it is appended */
        }
        if (rec.index > p->choice.tail.index) {
            break;
        }
        len += record_size(&rec);
    }
    return bytes_of(in.data, len);
}

static void read_done(struct rpc_call *c)
{
    struct promotion *p = c->owner;
    struct log_read_rep rep;
    struct why why = {0};
    int status = RPC_REPLY(log_read, c, &rep);
    if (status == 0 && (oplog_damaged(p->cfg.log) || rep.first != oplog_last(p->cfg.log) + 1)) {
        status = ERR_OUT_OF_SYNC;
    }
    if (status == 0) {
        status =
            oplog_append_encoded(p->cfg.log, until_end(p, slice_bytes(&c->reply->payload)), &why);
    }
    if (status == 0) {
        promotion_fill(p);
        return;
    }
    env_log(p->cfg.env, LOG_WARN, "records from %llu on cannot be had from %s: %s %s",
            (unsigned long long)oplog_last(p->cfg.log) + 1, p->set->addr[p->choice.source],
            err_text(status), why.text);
    if (status == ERR_TIMEOUT) {
        log_links_redial(p->cfg.links, p->choice.source);
    }
    promotion_ask_anew(p, p->choice.source);
}

void promotion_fill(struct promotion *p)
{
    if (oplog_damaged(p->cfg.log)) { /* it was found since (oplog_judge_rot) */
        promotion_ask_anew(p, p->set->self);
        return;
    }
    if (oplog_last(p->cfg.log) == p->choice.tail.index) {
        ready(p);
        return;
    }
    if (rpc_call_running(&p->read) || oplog_pending_bytes(p->cfg.log) > AHEAD_BYTES) {
        return;
    }
    p->read.done = read_done;
    p->read.owner = p;
    log_links_read(p->cfg.links, p->choice.source, &p->read, oplog_last(p->cfg.log) + 1);
}
