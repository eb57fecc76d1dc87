/* drops.h - watches what the master has removed: never the replica of a chunk's member.
 *
 * Every order to drop replicas is noted with the last index of the log that was durable when it
 * arrived, and judged when the log is replayed: after that record the chunk must be gone, or the
 * chunkserver no member of it.
 */
#ifndef TESTS_SIM_DROPS_H
#define TESTS_SIM_DROPS_H

#include "tests/sim/world.h"

struct drops;

struct drops *drops_new(struct world *w);
void drops_free(struct drops *d);
/* A frame arrives. */
void drops_frame(struct drops *d, const struct sim_process *to, const struct message *m);
/* Judges what arrived when `index` was the last durable record; fails the seed. `id` is the number
 * the log gives the chunkserver by then. For rising indices. */
void drops_judge(struct drops *d, uint64_t index, uint32_t (*id)(void *owner, uint32_t chunkd),
                 bool (*is_member)(void *owner, uint64_t handle, uint32_t id), void *owner);

#endif
