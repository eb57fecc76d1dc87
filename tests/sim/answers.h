/* answers.h - watches what masters of a set say: to each other, to chunkservers and to mounts.
 *
 * Here, and in the files named, what must hold whatever happens to several masters:
 *    1  no two epochs commit at once, the committed never gets less: log_tap.c
 *    2  of one epoch there is one history; what follows a record is the same in every log: log_tap.c
 *    3  what is answered is in W logs, synced: log_tap_told by every answer, as it is sent
 *    4  what is committed is never another record: log_tap.c; in the end in every log: verify_set.c
 *    5  a log obeys no lower epoch than it said it would: here, whenever it is opened and written
 *    6  no answer depends on more than is committed: as 3
 *    7  an answer of a primary has all that was committed before it was asked for: history.c
 *       a monitor says that a primary has ended only when it has: here
 *    8  a shadow has applied nothing that is not committed: here; equal states: verify_set.c
 *    9  one mount never sees an earlier state than before, and has all its own changes: history.c;
 *       the age that an answer of a shadow names is not less than it is: here
 *   10  each session and sequence is in the log once: history.c
 *       a chunkserver obeys no lower epoch than before: here
 *   11  checkpoints of one index are the same bytes, and every log goes on from one: checkpoints.h;
 *       in the end states are equal and audited: verify_set.c
 */
#ifndef TESTS_SIM_ANSWERS_H
#define TESTS_SIM_ANSWERS_H

#include "tests/sim/world.h"

struct answers;

struct answers *answers_new(struct world *w);
void answers_free(struct answers *a);
/* A frame is sent, and arrives. */
void answers_sent(struct answers *a, const struct sim_process *from, const struct sim_process *to,
                  const struct message *m);
void answers_frame(struct answers *a, const struct sim_process *from, const struct sim_process *to,
                   const struct message *m);
/* A master of a set has opened its log. */
void answers_master_started(struct answers *a, const struct sim_server *s);
/* Its disk is another one. */
void answers_forget(struct answers *a, uint32_t rank);
void answers_forget_chunkd(struct answers *a, uint32_t chunkd);

/* Highest index that this life of a mount was told. */
uint64_t answers_seen(const struct answers *a, const struct mount *m);
/* When it last had an answer of a shadow; 0 = never. */
uint64_t answers_shadow_ns(const struct answers *a, const struct mount *m);
/* The process is a mount that looks for a primary since one last took its session. */
bool answers_lacks_primary(const struct answers *a, const struct sim_process *p);

#endif
