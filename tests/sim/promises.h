/* promises.h - watches what chunkservers promise: a replica that was said to be prepared for a
 * version never shows a lower one again.
 *
 * The master counts on it when it makes the version: what comes back with a lower one, after
 * whatever kill or power cut, would serve as if the version had never been. Only an order to drop
 * the replica, or a new disk, ends the promise. Fed with every frame; fails the seed.
 */
#ifndef TESTS_SIM_PROMISES_H
#define TESTS_SIM_PROMISES_H

#include "tests/sim/world.h"

struct promises;

struct promises *promises_new(struct world *w);
void promises_free(struct promises *p);
void promises_frame(struct promises *p, const struct sim_process *from,
                    const struct sim_process *to, const struct message *m);
/* A frame is sent: what is prepared while a report is on its way is no news there. */
void promises_sent(struct promises *p, const struct sim_process *from, const struct message *m);
/* The chunkserver's disk is not what it was. */
void promises_forget(struct promises *p, uint32_t chunkd);

#endif
