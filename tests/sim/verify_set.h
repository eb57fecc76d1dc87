/* verify_set.h - in the end several masters are one: the same log, the same state. */
#ifndef TESTS_SIM_VERIFY_SET_H
#define TESTS_SIM_VERIFY_SET_H

#include "tests/sim/world.h"

/* What keeps them from being at rest with one log, or NULL. */
const char *verify_set_unsettled(struct world *w);
/* At rest: every log has all records, every state is that of the primary. */
void verify_set(struct world *w);
/* What tools read in the superblock of a master at rest is what it obeys. */
void verify_identity(struct sim_server *s);

#endif
