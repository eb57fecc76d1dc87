/* term.h - one of a set of masters becomes the primary, and ceases to be it.
 *
 * The monitor says who (promote); the loggers decide whether it may (promotion.h). In office its
 * records go to the others (replicate.h). Who is deposed ends the process, which is the rollback of
 * all that was applied and not committed; asked to step down, or to yield to another, it lets what
 * is under way be committed first, and tells the loggers that it has stopped.
 * Loop thread only.
 */
#ifndef MASTER_CORE_TERM_H
#define MASTER_CORE_TERM_H

#include "master/core/log_mender.h"
#include "master/core/promotion.h"
#include "master/core/replicate.h"

enum {
    PROMOTE_ANSWER_MS = 4000, /* a promotion that takes longer: ERR_NOT_READY, and it goes on */
    FLUSH_MS = 500,           /* for what is under way, when it steps down */
};

struct master;
struct peer;

struct term {
    struct log_mender *mender;
    struct promotion *promotion;
    struct replicate *replicate; /* NULL = not in office */
    uint32_t epoch;              /* of the promotion under way, or the office */
    uint64_t nonce;
    struct list askers; /* struct asker: who asked for it and waits */
    uint64_t end_ns;    /* since when it is to end; 0 = it is not */
    bool fenced;        /* nothing of it can be committed any more */
    bool yielding;
};

void term_init(struct master *m);
void term_start(struct master *m); /* log, logger and links are there */
void term_close(struct master *m); /* fine to be called twice */

void term_promote(struct peer *p, const struct frame_header *head, const struct promote_req *req);
void term_forget(struct peer *p);
/* The record that opens the epoch is committed. */
void term_serves(struct master *m);
void term_tick(struct master *m);
/* The own logger is about to promise this epoch to another master. */
void term_fenced(struct master *m, uint32_t epoch);
/* The primary shall end: goes on with it; called until the process ends. */
void term_end(struct master *m);
/* Whether this answer may be given: what is no change of its own may be out of date once another
 * master can have been promoted. */
bool term_may_answer(const struct master *m, const struct frame_header *request, int status);

#endif
