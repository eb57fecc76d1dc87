/* trial.h - processes tried on damaged disks. */
#ifndef TESTS_SIM_TRIAL_H
#define TESTS_SIM_TRIAL_H

#include "tests/sim/world.h"

/* A server dies; it is started on copies of its disk that are damaged, or fail a call that it makes.
 * Each time it must refuse, with a sentence, or have all that it has when it is started on the disk as
 * it was. That one it gets back. False: its disk could not be used. */
bool trial_of(struct world *w, struct sim_server *s, struct sim_rand *r, uint64_t down_ns);

/* Starts a server that is down, and catches its death: 0, why it refuses, or TRIAL_DIED. Time stands
 * still. */
enum { TRIAL_DIED = 1 };
int trial_start(struct sim_server *s, struct why *why);

/* Path of a file, and how many there are. */
struct trial_files {
    const char *prefix, *suffix;
    char (*paths)[64]; /* freed by the caller; sorted */
    uint32_t count;
};

void trial_files_find(struct sim_disk *d, struct trial_files *f);

#endif
