/* promotion.h - taking over the log: a new epoch is promised, the history to go on with is chosen,
 * and this master's log is made equal to it.
 *
 * The others are asked first, so that a master that reaches nobody promises nothing itself. With
 * the promises of more than half no older primary can commit any more, no other master takes office in
 * the same epoch, and every committed record is in one of the answers (N - W + 1 are enough for that):
 * log_rule.h chooses. What this log lacks is read from those that have it; what it has
 * beyond the point where the histories part is cut. Every step may be taken again, by the next
 * promotion under a higher epoch: the choice depends on durable facts only.
 * A log of which records in the middle cannot be read is mended first (log_mender.h), also that of
 * the other master whose history was chosen; or the own one is cut before them, if it parts there from
 * the chosen one.
 *
 * When done says 0 the own log ends with the chosen record, all durable, what is not applied yet was read
 * without a fault, and the epoch is promised;
 * the caller takes the epoch and opens it with a record. Pure; loop thread only.
 */
#ifndef MASTER_CORE_PROMOTION_H
#define MASTER_CORE_PROMOTION_H

#include "master/core/log_links.h"
#include "master/core/logger.h"
#include "master/core/oplog.h"

struct promotion_config {
    struct env *env;
    struct oplog *log;
    struct logger *logger;
    struct log_links *links;
    /* status 0; ERR_STALE_EPOCH: `promised` was promised already; ERR_TIMEOUT: not enough loggers
     * for PROMOTION_MS, or what they have does not decide; ERR_CORRUPT: the own log cannot be made
     * the chosen one. */
    void (*done)(void *owner, int status, uint32_t promised);
    uint64_t (*applied)(void *owner); /* newest record that the state has */
    void *owner;
};

enum { PROMOTION_MS = 20000 };

struct promotion;

struct promotion *promotion_create(const struct promotion_config *cfg);
void promotion_destroy(struct promotion *p); /* NULL is fine */
/* None is under way. `holder`: random, not 0. `ended`: as in log_promise. done never runs inside. */
void promotion_start(struct promotion *p, uint32_t epoch, uint64_t holder, uint32_t ended);
void promotion_stop(struct promotion *p); /* done does not run; fine if none is under way */
bool promotion_running(const struct promotion *p);

#endif
