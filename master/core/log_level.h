/* log_level.h - loggers that no primary feeds give each other what they lack.
 *
 * A primary that dies has sent its last records to some and not yet to others. What W logs hold is
 * committed (assure.h), but a shadow that lacks a record cannot answer a mount that was told of it,
 * and one that has it cannot know that it is committed if it is the only one. So when the primary
 * has been silent for LEVEL_SILENCE_MS, a log takes what another has more than it: records of the
 * epoch that both have promised, and that both end with. There is one sender of records in an epoch,
 * so the longer of two such logs begins with the shorter. As soon as a later epoch is promised, its
 * primary says what belongs in the log.
 * Loop thread only.
 */
#ifndef MASTER_CORE_LOG_LEVEL_H
#define MASTER_CORE_LOG_LEVEL_H

#include "shared/env/rpc.h"

enum { LEVEL_SILENCE_MS = 1000 };

struct master;

struct log_leveller {
    struct rpc_call read;
    uint32_t number; /* the master that is asked */
    uint64_t to;     /* it has records up to here */
};

void log_level_init(struct master *m);
/* The others told what they have (assure.h). */
void log_level_go_on(struct master *m);
void log_level_close(struct master *m);

#endif
