/* log_rule.h - which history a new primary takes over, from what the loggers found on their disks.
 *
 * A record is acknowledged when W of N loggers hold it durably. One logger can only suspect that
 * what it cannot read was never finished; discarding is decided here, from the answers of several.
 * The promise: a record that was acknowledged is never discarded while at most LOG_COPIES_LOST of
 * its copies are damaged, however many loggers are away. When that cannot be ruled out the verdict
 * is to wait for more answers: unavailable rather than lossy. For a lone logger (N = 1) the rules
 * of oplog_scan.c hold, not these.
 *
 * Pure computation. The answers are trusted as far as their loggers tell what they found.
 */
#ifndef MASTER_CORE_LOG_RULE_H
#define MASTER_CORE_LOG_RULE_H

#include "shared/base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    LOGGERS_MAX = 5,
    LOG_HOLES_MAX = 8,
    LOG_COPIES_LOST = 1, /* damaged copies of one record that are survived */
};

/* Logs are compared by the epoch of their last record, then by its index. */
struct log_place {
    uint32_t epoch;
    uint64_t index;
};

/* Records that were on this disk once and cannot be read: a good record follows. */
struct log_hole {
    uint64_t from, to;
    uint32_t epoch_before; /* of the record at from - 1; 0 if that is not held */
    uint8_t unfit;         /* by number: loggers whose records do not fit into it */
};

/* What a log has after its last good record. */
enum log_end {
    LOG_END_SURE,    /* nothing that was ever acknowledged */
    LOG_END_NAMED,   /* something torn or rotten; its id slot names it: end_place */
    LOG_END_UNKNOWN, /* something torn or rotten */
};

struct log_answer {
    bool here;             /* false: no answer yet, the rest is not looked at */
    uint64_t first;        /* lowest index held; what is below is in its checkpoint */
    struct log_place tail; /* last good record; {0, 0}: none */
    enum log_end end;
    struct log_place end_place; /* last record that may have been there, if NAMED */
    uint64_t committed;         /* it knows that records to this one are committed */
    uint32_t hole_count;
    struct log_hole holes[LOG_HOLES_MAX]; /* below the tail, ascending, not touching */
};

struct log_rule {
    uint32_t loggers; /* N, 2..LOGGERS_MAX */
    uint32_t acks;    /* W, more than half of N */
    struct log_answer answers[LOGGERS_MAX];
};

struct log_choice {
    uint32_t source;       /* whose history it is */
    struct log_place tail; /* its last record that is kept; what follows it there is discarded */
};

/* 0: *out is to be taken over. -EAGAIN: more answers are needed (why says which record may be at
 * stake). Whoever fills the holes below out->tail and finds that a holder's records do not fit
 * marks it unfit in the source's answer and asks again. */
MUST_CHECK int log_rule_choose(const struct log_rule *rule, struct log_choice *out,
                               struct why *why);
/* Loggers, by bit, that have from..to readable and are not marked unfit for this hole. */
uint8_t log_rule_holders(const struct log_rule *rule, const struct log_hole *hole);
/* The one of these holes that has the record; NULL: none. */
const struct log_hole *log_hole_at(const struct log_hole *holes, uint32_t count, uint64_t index);
/* Order of logs: < 0, 0, > 0. */
int log_place_compare(struct log_place a, struct log_place b);

#endif
