/* refusals.h - what operators ask by mistake, and how it must be refused. */
#ifndef TESTS_SIM_REFUSALS_H
#define TESTS_SIM_REFUSALS_H

#include "shared/env/rpc.h"
#include "tests/sim/sim.h"

struct refusal {
    enum op_code op;
    struct slice body; /* the caller's to give away */
    int status;        /* a primary's answer */
};

struct refusal refusal_draw(struct sim_rand *r);

#endif
