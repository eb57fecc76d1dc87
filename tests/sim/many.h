/* many.h - seeds run in processes of their own: many of them, or one again and again with less of
 * its world while it still fails in the same way.
 */
#ifndef TESTS_SIM_MANY_H
#define TESTS_SIM_MANY_H

#include "tests/sim/run.h"

enum { SEED_SECONDS_MAX = 120 };

struct many {
    const char *program; /* for the commands it prints */
    struct plan plan;    /* of all seeds; plan.seed is the first */
    uint64_t seeds;
    uint32_t seconds; /* of processor time a seed may take; then it has failed */
    bool first;       /* stops at the first failure */
};

/* A core that runs away ends its seed, not the machine: SIGPROF after so much processor time. */
void limit_this_process(uint32_t seconds);

/* Runs them, two at a time; totals, and a last line "N passed, M failed". One seed in a hundred,
 * the first among them, runs a second time in a program started anew, and must run the same. The
 * program's exit status. */
int many_run(const struct many *m);

/* Finds a smaller plan with the same failure and prints its command. 0, or 1 if the plan does not
 * fail. */
int shrink_run(const char *program, const struct plan *plan, uint32_t seconds);

#endif
