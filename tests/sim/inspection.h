/* inspection.h - what somebody who only looks asks of a master, and whether the answers can be. */
#ifndef TESTS_SIM_INSPECTION_H
#define TESTS_SIM_INSPECTION_H

#include "shared/env/rpc.h"
#include "tests/sim/world.h"

/* A request of gfsctl that changes nothing. */
struct inspection {
    enum op_code op;
    struct slice body; /* the caller's to give away */
    uint64_t ino;      /* it asks about, or 0 */
};

struct inspection inspection_draw(struct world *w, struct sim_rand *r);
/* Of an answer with status 0: fails the seed if it makes no sense. */
void inspection_check(struct world *w, const struct inspection *i, struct rpc_call *c);

#endif
