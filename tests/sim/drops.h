/* drops.h - watches what the master has removed: never the replica of a chunk's member, and none of
 * a chunk before two of its members told this master that they have theirs.
 *
 * Every order to drop replicas is noted with the last index of the log that was durable when it
 * arrived, and judged when the log is replayed: after that record the chunk must be gone, or the
 * chunkserver no member of it and members enough confirmed.
 */
#ifndef TESTS_SIM_DROPS_H
#define TESTS_SIM_DROPS_H

#include "tests/sim/world.h"

struct drops;

struct drops *drops_new(struct world *w);
void drops_free(struct drops *d);
/* A frame arrives. */
void drops_frame(struct drops *d, const struct sim_process *from, const struct sim_process *to,
                 const struct message *m);

/* Truth at one index of the log. */
struct drop_ground {
    /* Is the disk that the chunkserver of the world has by then a member of the chunk? */
    bool (*is_member)(void *owner, uint64_t handle, uint32_t chunkd);
    void *owner;
};

/* Judges what arrived when `index` was the last durable record; fails the seed. For rising indices.
 */
void drops_judge(struct drops *d, uint64_t index, const struct drop_ground *g);

#endif
