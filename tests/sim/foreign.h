/* foreign.h - a mount of another cluster's name. */
#ifndef TESTS_SIM_FOREIGN_H
#define TESTS_SIM_FOREIGN_H

#include "tests/sim/world.h"

/* In some seeds: it is started, and must be refused, and what was asked of it with it. */
void foreign_mount(struct world *w);

#endif
