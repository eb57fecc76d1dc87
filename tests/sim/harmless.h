/* harmless.h - typed requests that do no harm, whatever a server makes of them.
 *
 * What only reads may name everything there is. Changes are of the tree that the programs change, too
 * (meta_work.h), and so follow the reference filesystem, or of nothing that is there. What would end a
 * primary, take over a session, or make a replica is bent so that it must be refused.
 */
#ifndef TESTS_SIM_HARMLESS_H
#define TESTS_SIM_HARMLESS_H

#include "tests/sim/typed.h"
#include "tests/sim/world.h"

/* Somewhere in the log there is something to ask for. */
struct typed_ground harmless_ground(struct world *w, struct sim_rand *r);
/* Draws a request of `op`. False: none is harmless. `session`: the asker's own, 0 = none. */
bool harmless_draw(struct typed *t, struct world *w, const struct op_info *op, uint64_t session,
                   union op_any *out);

/* An inode of the tree that programs change, made lately; it may be gone. */
uint64_t harmless_of_tree(struct world *w, struct sim_rand *r);

#endif
