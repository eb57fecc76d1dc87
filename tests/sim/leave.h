/* leave.h - everybody unmounts. */
#ifndef TESTS_SIM_LEAVE_H
#define TESTS_SIM_LEAVE_H

#include "tests/sim/world.h"

/* At rest. Programs leave files open with bytes that nobody flushed; the mounts leave in order. All that
 * was written must be there then, and no session left. */
void leave_all(struct world *w);

#endif
