/* reads.h - watches who answers reads: nobody under a version once a higher one is in the durable
 * log.
 *
 * A member that a version leaves out may not have been told. It stops by itself when its lease ends,
 * and the version is made only after that: its bytes are older than what others acknowledge from
 * then on. Fed with every frame; fails the seed.
 */
#ifndef TESTS_SIM_READS_H
#define TESTS_SIM_READS_H

#include "tests/sim/world.h"

struct reads;

struct reads *reads_new(struct world *w);
void reads_free(struct reads *r);
/* A frame arrives. */
void reads_frame(struct reads *r, const struct sim_process *from, const struct sim_process *to,
                 const struct message *m);
/* A frame is sent. */
void reads_sent(struct reads *r, const struct sim_process *from, const struct sim_process *to,
                const struct message *m);

#endif
