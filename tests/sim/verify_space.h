/* verify_space.h - at rest: what takes space is what should. */
#ifndef TESTS_SIM_VERIFY_SPACE_H
#define TESTS_SIM_VERIFY_SPACE_H

#include "tests/sim/world.h"

/* Every data file of a chunkserver is that of a replica, as long as it, and every replica with bytes
 * has one; nothing is kept aside any longer. Fails the seed. */
void verify_files(struct world *w);

#endif
