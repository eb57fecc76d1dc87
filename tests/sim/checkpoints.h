/* checkpoints.h - checkpoints of the masters of a set, looked at whenever one of them starts, and in
 * the end.
 *
 * Each is of a committed record of the one history. Those of one index, whoever made them and when, are
 * the same byte for byte, as their sums tell. And a master that has a state always has a checkpoint that
 * its log goes on from, or the whole log.
 */
#ifndef TESTS_SIM_CHECKPOINTS_H
#define TESTS_SIM_CHECKPOINTS_H

#include "tests/sim/world.h"

struct checkpoint_book;

struct checkpoint_book *checkpoint_book_new(struct world *w);
void checkpoint_book_free(struct checkpoint_book *b);
/* Fails the run if something is wrong with those of this master, which runs. */
void checkpoint_book_look(struct checkpoint_book *b, const struct sim_server *s);

#endif
