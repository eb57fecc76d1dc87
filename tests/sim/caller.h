/* caller.h - somebody who asks monitors what makes no sense, or what only another monitor should ask.
 *
 * What is refused must be refused as it should be; if a monitor says that a primary has ended, it has.
 */
#ifndef TESTS_SIM_CALLER_H
#define TESTS_SIM_CALLER_H

#include "tests/sim/world.h"

struct caller;

struct caller *caller_start(struct world *w);
void caller_stop(struct caller *c); /* NULL is fine */

#endif
