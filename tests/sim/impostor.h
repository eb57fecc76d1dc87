/* impostor.h - somebody who answers where chunkservers look for a master, and is none of theirs.
 *
 * In some seeds its address stands in the configuration of chunkservers, between those of the masters. It
 * says nothing, or hangs up, or is of another cluster, another geometry or another epoch, names a primary
 * that is none, gives out another number; or introduces itself faultlessly, as one that was put back from
 * an old copy would, and then asks for what cannot be read, obeys no protocol, and never answers. It gets
 * nobody: a chunkserver goes on to the next address, and does nothing of what was asked.
 */
#ifndef TESTS_SIM_IMPOSTOR_H
#define TESTS_SIM_IMPOSTOR_H

#include "tests/sim/world.h"

#define IMPOSTOR_ADDR "10.0.0.9:9400"

struct impostor;

/* NULL: not in this seed. */
struct impostor *impostor_start(struct world *w);
void impostor_stop(struct impostor *x);

#endif
