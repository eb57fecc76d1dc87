/* set.h - a master that is one of several: its start as a shadow, and its way to the office.
 *
 * It holds a copy of the operation log (logger.h), applies what is committed (follow.h), knows how
 * the others are (assure.h) and reads for mounts (service_shadow.h). Loop thread only.
 */
#ifndef MASTER_CORE_SET_H
#define MASTER_CORE_SET_H

#include "shared/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct master;
struct message;
struct peer;

void set_init(struct master *m);
/* The log and the state are open: listens, dials the others, follows. */
MUST_CHECK int set_start(struct master *m, struct why *why);
void set_tick(struct master *m);
void set_close(struct master *m); /* fine to be called twice */

/* Another master's request: true if it was one that masters ask each other. */
bool set_request(struct peer *p, struct message *msg);

/* The own log is the history that was chosen, all of it durable, and oplog_take_epoch was called:
 * applies the rest of it and takes office. -EOPNOTSUPP: this one only holds the log; ERR_CORRUPT. */
MUST_CHECK int master_become_primary(struct master *m, uint32_t epoch, struct why *why);

#endif
