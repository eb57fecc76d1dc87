/* recover.h - what the last process left: loading the meta log, and settling what was in flight.
 *
 * After a clean stop everything stands as logged. After a killed process (same incarnation) all its
 * writes are there: the intent ring tells how far the last mutation of each replica came. After a
 * power cut, replicas that were dirty may lack writes, whatever their sums say: they are SUSPECT
 * until compared with a peer.
 */
#ifndef CHUNKD_CORE_RECOVER_H
#define CHUNKD_CORE_RECOVER_H

#include "chunkd/core/core.h"

enum last_end { ENDED_CLEAN, ENDED_KILLED, ENDED_POWER_CUT };

/* meta_log_open's callback; owner is the chunkd. */
int recover_record(void *owner, const struct meta_record *rec);
/* After the load. Blocks. Everything it finds is in the meta log, synced, when it returns. */
MUST_CHECK int recover_replicas(struct chunkd *c, enum last_end end, struct why *why);

#endif
