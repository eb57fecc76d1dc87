/* log_match.h - how far this log and another master's are the same.
 *
 * Two logs that have the same H(i) are equal up to i. What both are known to share is the lower
 * bound; above it the place is found by halving, with a request for each step, beginning at the
 * end, where they mostly are equal. Of what is in a hole of either log nobody can tell; where the
 * histories part in one, both its ends are found. Pure; loop thread only; reading the own log blocks.
 */
#ifndef MASTER_CORE_LOG_MATCH_H
#define MASTER_CORE_LOG_MATCH_H

#include "master/core/log_links.h"
#include "master/core/oplog.h"

/* What another log has, as its master told it. */
struct log_told {
    struct log_answer answer;
    uint64_t chain; /* H(tail) */
    bool damaged;
};

/* ERR_PROTOCOL: it contradicts itself. */
MUST_CHECK int log_told_decode(const struct log_promise_rep *rep, struct log_told *out);

/* One search. Embedded in its owner, who must stop it before it goes. */
struct log_match {
    struct log_links *links;
    struct oplog *log;
    uint32_t number; /* of the other master */
    struct log_told theirs;
    uint64_t low;   /* highest index known to be equal */
    uint64_t high;  /* lowest one known to differ; one above what both have */
    uint64_t probe; /* index asked for */
    bool halving;
    struct log_answer own; /* what can be read of the own log */
    struct rpc_call read;
    /* May run inside log_match_start. status 0: equal up to `index`, and not at `high`, which is the next
     * one unless those between are in a hole; -ENOENT: one log begins where the other has ended or differs
     * already; ERR_CORRUPT: a record that decides cannot be read; ERR_DISCONNECTED, ERR_TIMEOUT. */
    void (*done)(struct log_match *m, int status, uint64_t index, uint64_t chain);
};

/* `same`: both have the same records up to this index, as far as they reach. All that both may have
 * is durable here. */
void log_match_start(struct log_match *m, uint64_t same);
void log_match_stop(struct log_match *m); /* fine if none is under way */

#endif
