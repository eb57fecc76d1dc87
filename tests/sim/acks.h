/* acks.h - watches who acknowledges writes: under one version of a chunk only one chunkserver may.
 *
 * A version names its primary; two that both got acknowledgements from members under it would have
 * ordered mutations independently. And the version must be in the durable log: else nobody would
 * know of what was acknowledged under it. Fed with every frame that arrives; fails the seed.
 */
#ifndef TESTS_SIM_ACKS_H
#define TESTS_SIM_ACKS_H

#include "tests/sim/world.h"

struct acks;

struct acks *acks_new(struct world *w);
void acks_free(struct acks *a);
void acks_frame(struct acks *a, uint64_t conn, const struct sim_process *from,
                const struct message *m);

#endif
