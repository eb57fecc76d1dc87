/* replicate.h - a primary's log on the other machines: its records go to the other loggers while
 * this disk writes them; what W of N hold durably is committed.
 *
 * Each batch is sent to every logger that is in step at the moment it is handed to the own disk; a
 * few requests are under way per logger. A logger that was away is asked what it has, brought to a
 * common end (log_match.h; what it has beyond that is cut), and fed from the own log until it is in
 * step. Beats carry what is committed, and keep the loggers' leases.
 *
 * Two gates. Writes: a record counts as committed only once the record that opened this epoch is
 * held by W logs: copies of older epochs' records alone prove nothing. Reads: replicate_open says
 * whether W - 1 other loggers have answered so recently that none of them can have promised another
 * epoch; what is read before that is asked may be told.
 *
 * deposed() is called when a logger obeys a higher epoch, or too few have answered for too long: both
 * gates are shut from then on, the process must end. It is called, once, when another master waits for
 * this one's lease to end, too: what is under way can still be committed, then it should yield.
 * Memory: RECENT_BYTES_MAX of batches, FLIGHTS_MAX requests per logger, a window of the log for one
 * that is fed. Pure; loop thread only.
 */
#ifndef MASTER_CORE_REPLICATE_H
#define MASTER_CORE_REPLICATE_H

#include "master/core/log_links.h"
#include "master/core/logger.h"
#include "master/core/oplog.h"

enum deposed {
    DEPOSED_FENCED,   /* a logger obeys a higher epoch */
    DEPOSED_ASKED,    /* another master waits for this one to yield */
    DEPOSED_ALONE,    /* too few loggers answer */
    DEPOSED_DIVERGED, /* a logger has committed records that are not here */
};

struct replicate_config {
    struct env *env;
    struct oplog *log;     /* replicated; the epoch is taken */
    struct logger *logger; /* this master's own */
    struct log_links *links;
    uint64_t holder; /* that the epoch was promised to */
    void (*deposed)(void *owner, enum deposed why, uint32_t epoch);
    void *owner;
};

struct replicate;

/* Before the record is appended that opens the epoch. */
struct replicate *replicate_start(const struct replicate_config *cfg);
void replicate_destroy(struct replicate *r); /* NULL is fine */

/* The own log is durable to this index: oplog_on_durable's word, passed on. */
void replicate_durable(struct replicate *r);
/* The own logger is about to promise a higher epoch. */
void replicate_fenced(struct replicate *r, uint32_t epoch);
/* The read gate. */
bool replicate_open(const struct replicate *r);
/* This primary stops for good: both gates are shut, the loggers may promise another epoch at once.
 * done(owner) runs when they know, or soon. */
void replicate_yield(struct replicate *r, void (*done)(void *owner), void *owner);

/* What is known of another logger. */
struct replicate_state {
    bool in_step;     /* it is there and takes what is appended */
    uint64_t durable; /* it has this much of the history */
    uint64_t age_ms;  /* since it answered; UINT64_MAX = never */
};
struct replicate_state replicate_state(const struct replicate *r, uint32_t number);
/* Adds a sentence for operators about loggers that are missing to a list of texts. */
void replicate_warnings(const struct replicate *r, struct writer *w);

#endif
