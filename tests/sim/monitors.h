/* monitors.h - the monitors of a world with several masters, and the engine by which they agree.
 *
 * Either one monitor has all masters and keeps lock and epoch in files (elect_local.h), or each master
 * has its own and they agree through a model of ZooKeeper (elect_keeper.h, sim_keeper.h). They start
 * masters, end and promote them, as gfs-monitor does: in such worlds nobody else starts one. A monitor
 * that died is started again after a while. A master without others may have one, too.
 *
 * Checked all the time: no two masters serve in one epoch, none is given to two, and two monitors hold
 * the lock at once only while the engine has ended sessions early.
 */
#ifndef TESTS_SIM_MONITORS_H
#define TESTS_SIM_MONITORS_H

#include "tests/sim/world.h"

struct monitors;

struct monitors *monitors_new(struct world *w);
void monitors_free(struct monitors *s); /* NULL is fine */
void monitors_start(struct monitors *s);
uint32_t monitors_count(const struct monitors *s); /* 0 for NULL */
struct sim_process *monitors_process(struct monitors *s, uint32_t i);
/* A frame is sent, by anybody. */
void monitors_sent(struct monitors *s, const struct sim_process *to, const struct message *m);
/* The monitor that has this process dies and comes back after `ns`. False: it is none, or down. */
bool monitors_kill(struct monitors *s, const struct sim_process *p, bool power_cut, uint64_t ns);
/* The one on this master's machine; NULL: it is on another one. */
struct sim_process *monitors_beside(struct monitors *s, uint32_t rank);
/* An operator asks for another primary, in person or from afar. False: nobody is watched, or not now. */
bool monitors_hand_over(struct monitors *s, struct sim_rand *r);
/* Was the epoch given to the master at this address, as far as is known? */
bool monitors_gave(const struct monitors *s, uint32_t epoch, const char *addr);
/* The monitor of this master reaches neither the engine, which has ended its session, nor other monitors
 * for so long. False: all have one. */
bool monitors_strand(struct monitors *s, uint32_t rank, uint64_t ns);
/* Something goes wrong with the engine, or its files. False: not now. */
bool monitors_disturb(struct monitors *s, struct sim_rand *r);
/* All are up, and the engine answers everybody. */
void monitors_heal(struct monitors *s);
/* A monitor holds the primary, and all masters are as they should be: NULL, or what is not so. */
const char *monitors_unsettled(const struct monitors *s);

#endif
