/* verify_log.h - a master whose log was damaged refuses to start, or has every record. */
#ifndef TESTS_SIM_VERIFY_LOG_H
#define TESTS_SIM_VERIFY_LOG_H

#include "tests/sim/world.h"

/* The last thing done to a world: its master is killed, or loses power, and a bit of its log flips.
 */
void verify_log_damage(struct world *w);

#endif
