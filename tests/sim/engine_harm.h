/* engine_harm.h - what happens to that by which monitors agree: their files, and entries of ZooKeeper.
 *
 * What is written there by hand, or by a disk that fails, must be refused with a sentence, and the monitors
 * must go on when somebody did what it says.
 */
#ifndef TESTS_SIM_ENGINE_HARM_H
#define TESTS_SIM_ENGINE_HARM_H

#include "tests/sim/sim_keeper.h"
#include "tests/sim/world.h"

/* A second monitor on the directory of one that runs is refused. */
void harm_files_shared(struct world *w, struct sim_process *p);
/* One of the next calls on its files fails. */
void harm_files_fail(struct world *w, struct sim_process *p, struct sim_rand *r);
/* Damages the file with the epoch, while the monitor is down. False: there is none. */
bool harm_files_damage(struct world *w, struct sim_process *p, struct sim_rand *r);
/* An operator writes it anew; `highest`: of the epochs that were given. */
void harm_files_mend(struct sim_process *p, uint32_t highest);

/* Somebody changes an entry, perhaps this monitor's: what he did. */
const char *harm_entries(struct sim_keeper *k, const char *monitor, struct sim_rand *r);
/* The epoch's is written anew if it cannot be read: true. */
bool harm_entries_mend(struct sim_keeper *k, uint32_t highest);

#endif
