/* stranger.h - somebody who speaks the protocol badly: to masters and chunkservers.
 *
 * It says no hello, or one of another cluster, or asks, introduced, for everything there is with bodies
 * that cannot be read, with values that make no sense, or in a session that is not its own. None of it
 * may change anything: a change that it asks for is refused, and what it did not introduce itself for,
 * too. Nobody may die of it.
 *
 * Other requests are typed: every field is drawn from the operation's table (typed.h), as far as that
 * does no harm (harmless.h). It has a session of its own for those, whose changes stand in the log and
 * are followed by the reference filesystem like those of the mounts; nobody checks its answers.
 */
#ifndef TESTS_SIM_STRANGER_H
#define TESTS_SIM_STRANGER_H

#include "tests/sim/world.h"

struct stranger;

struct stranger *stranger_start(struct world *w);
void stranger_stop(struct stranger *s);

#endif
