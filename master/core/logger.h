/* logger.h - a log as one of several, as the other masters see it: promises of epochs, records of a
 * primary, reading, cutting. (shared/proto/logger.def has the requests.)
 *
 * A promise is durable before it is told, and holds for every later request. Whoever was told that
 * its records were taken has the logger's word that for LOG_LEASE_MS (and the clocks' error) no
 * other epoch is promised, unless it yields; a logger that just started keeps a word it may have
 * given before. Pure; loop thread only.
 */
#ifndef MASTER_CORE_LOGGER_H
#define MASTER_CORE_LOGGER_H

#include "master/core/oplog.h"
#include "shared/env/rpc.h"

enum {
    LOG_LEASE_MS = 4000,
    LOG_APPENDS_MAX = 16, /* requests of one logger that wait for the disk */
};

struct logger;

/* `log` is replicated and started. on_promise(owner, epoch) runs when a higher epoch is about to be
 * promised: a primary in this process must stop at once. */
struct logger *logger_create(struct env *env, struct oplog *log,
                             void (*on_promise)(void *owner, uint32_t epoch), void *owner);
void logger_destroy(struct logger *g); /* NULL is fine */

/* Answers the request, now or later; false if it is none of the logger's. */
bool logger_request(struct logger *g, struct rpc *r, struct message *m);
/* The connection is gone. */
void logger_forget(struct logger *g, struct rpc *r);
/* The log is durable to this index: oplog_on_durable's word, passed on. */
void logger_durable(struct logger *g, uint64_t index);

/* For the primary and the candidate in this process. */

/* No other epoch is promised before then; 0: the lease has ended. */
void logger_hold(struct logger *g, uint64_t until_ns);
/* The primary in this process has stopped for good: until the process has ended nothing is taken that
 * could look to it like its own. */
void logger_retire(struct logger *g);
/* So long ago the primary gave its last word, or this process began. */
uint64_t logger_silent_ms(const struct logger *g);
/* A higher epoch somebody asked for while the lease ran; 0 = nobody. */
uint32_t logger_wanted(const struct logger *g);
/* Promises it to this process; on_promise is not called. 0: done(owner) runs when it is durable, or
 * it was promised to this holder before. ERR_STALE_EPOCH, ERR_LEASE_HELD, ERR_BUSY. `ended`: as in
 * log_promise. */
MUST_CHECK int logger_promise(struct logger *g, uint32_t epoch, uint64_t holder, uint32_t ended,
                              void (*done)(void *owner), void *owner);
/* Whoever needs a record before this one must take a checkpoint, though the log begins earlier. */
void logger_give_from(struct logger *g, uint64_t index);
/* The log is about to be cut by this process. */
void logger_will_cut(struct logger *g);

#endif
