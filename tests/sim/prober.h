/* prober.h - somebody who asks every chunkserver for versions of chunks that the log has just left
 * behind.
 *
 * A mount that remembers where a chunk was would do the same, but seldom at the right moment. None
 * may answer (reads.h).
 */
#ifndef TESTS_SIM_PROBER_H
#define TESTS_SIM_PROBER_H

#include "tests/sim/world.h"

struct prober;

struct prober *prober_start(struct world *w);
void prober_stop(struct prober *p);

#endif
