/* log_mender.h - fetches what is missing in the middle of this log from other masters.
 *
 * Whoever has the records may give them: the chain proves that they are those that were here, so no
 * primary is needed, and no epoch. Nothing that this log can still read is given up for it. Pure;
 * loop thread only; blocks while a segment is written anew.
 */
#ifndef MASTER_CORE_LOG_MENDER_H
#define MASTER_CORE_LOG_MENDER_H

#include "master/core/log_links.h"
#include "master/core/logger.h"
#include "master/core/oplog.h"

struct log_mender;

struct log_mender *log_mender_create(struct env *env, struct oplog *log, struct logger *logger,
                                     struct log_links *links);
void log_mender_destroy(struct log_mender *d); /* NULL is fine */

#endif
