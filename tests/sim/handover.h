/* handover.h - somebody who wants another primary, and asks as gfsctl handover does: a master who
 * watches it, and that monitor.
 *
 * What the monitor answers must be so: the master that it names got that epoch, which is a new one.
 */
#ifndef TESTS_SIM_HANDOVER_H
#define TESTS_SIM_HANDOVER_H

#include "tests/sim/world.h"

struct handover;

struct handover *handover_new(struct world *w);
void handover_free(struct handover *h);
/* Begins with this master. False: an earlier question is not answered. */
bool handover_ask(struct handover *h, uint32_t rank);

#endif
