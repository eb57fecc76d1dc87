/* reads.h - watches who answers reads: nobody a read that came when a higher version than the one it
 * asks for was in the durable log.
 *
 * A member that a version leaves out may not have been told. It stops by itself when its lease ends,
 * and the version is made only after that: its bytes are older than what others acknowledge from
 * then on. A read that came before may be answered later: what it gives was the newest then. Fed
 * with every frame that arrives; fails the seed.
 */
#ifndef TESTS_SIM_READS_H
#define TESTS_SIM_READS_H

#include "tests/sim/world.h"

struct reads;

struct reads *reads_new(struct world *w);
void reads_free(struct reads *r);
/* A frame is sent. */
void reads_sent(struct reads *r, const struct sim_process *from, const struct message *m);
void reads_frame(struct reads *r, uint64_t conn, const struct sim_process *from,
                 const struct message *m);

#endif
