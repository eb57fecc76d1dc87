/* run.h - one seed from start to verdict. */
#ifndef TESTS_SIM_RUN_H
#define TESTS_SIM_RUN_H

#include "tests/sim/world.h"

struct run_result {
    uint64_t hash;
    uint64_t ops;
    uint64_t events;
    uint64_t records;
    uint64_t sim_ns;
    uint64_t faults[FAULT_KINDS];
};

/* Ends the process if the seed fails (world_fail). */
struct run_result run_seed(const struct plan *plan, bool trace);

/* How many programs there are: their numbers are 1 to this. */
uint32_t run_programs(void);

#endif
