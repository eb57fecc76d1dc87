/* versions.h - the versions of chunks that the durable log knows. */
#ifndef TESTS_SIM_VERSIONS_H
#define TESTS_SIM_VERSIONS_H

#include "tests/sim/world.h"

struct versions;

struct versions *versions_new(struct world *w);
void versions_free(struct versions *v);
/* The newest one of the chunk in what is certain of the log now; 0 if there is none. */
uint64_t versions_durable(struct versions *v, uint64_t handle);
/* One of those that newer ones replaced in the last seconds; false if there is none. */
bool versions_left_behind(struct versions *v, struct sim_rand *r, uint64_t *out_handle,
                          uint64_t *out_version);

#endif
