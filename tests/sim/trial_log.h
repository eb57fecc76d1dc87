/* trial_log.h - a log that was just opened is mended, cut, or begun anew, while calls on its disk fail. */
#ifndef TESTS_SIM_TRIAL_LOG_H
#define TESTS_SIM_TRIAL_LOG_H

#include "tests/sim/world.h"

/* The server is one of several masters, up, on a disk that is given back; it may be another process after
 * it. What succeeded must be so, what failed must have taken nothing that was to stay. */
void trial_log(struct sim_server *s, struct sim_rand *r);

#endif
