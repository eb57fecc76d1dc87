/* disk_faults.h - what goes wrong with disks. Each returns false if it could not happen now. */
#ifndef TESTS_SIM_DISK_FAULTS_H
#define TESTS_SIM_DISK_FAULTS_H

#include "tests/sim/world.h"

bool fault_flip_bit(struct world *w);
bool fault_spoil_sector(struct world *w);
bool fault_fail_write(struct world *w);
bool fault_fail_sync(struct world *w);
bool fault_lose_write(struct world *w);
bool fault_misdirect_write(struct world *w);
bool fault_fail_log(struct world *w);
bool fault_fill_disk(struct world *w);

/* Of a master. */
bool fault_fill_master(struct world *w);
bool fault_fail_state(struct world *w);
bool fault_damage_checkpoint(struct world *w);
bool fault_lose_checkpoints(struct world *w);
bool fault_try_disk(struct world *w);
/* Of one of several masters: a bit of its log flips; it gets an empty disk. */
bool fault_flip_log(struct world *w);
bool fault_wipe_master(struct world *w);

/* Of faults.c: how long something stays down; a master; any chunkserver. */
uint64_t fault_down_time(struct world *w);
struct sim_server *fault_some_master(struct world *w);
struct sim_server *fault_some_chunkd(struct world *w);

#endif
