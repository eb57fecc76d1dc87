/* verify.h - after the faults: the cluster settles, and everything promised is there. */
#ifndef TESTS_SIM_VERIFY_H
#define TESTS_SIM_VERIFY_H

#include "tests/sim/world.h"

/* Fails the seed at the first thing that is not as it should be. */
void verify_all(struct world *w);

#endif
