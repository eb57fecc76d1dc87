/* inspection.h - what somebody who only looks asks of a master, and whether the answers can be. */
#ifndef TESTS_SIM_INSPECTION_H
#define TESTS_SIM_INSPECTION_H

#include "shared/env/rpc.h"
#include "tests/sim/world.h"

/* A request of gfsctl that changes nothing. */
struct inspection {
    enum op_code op;
    struct slice body;            /* the caller's to give away */
    uint64_t ino;                 /* it asks about, or 0 */
    const char *prefix;           /* of paths, or NULL */
    struct chunk_list_req chunks; /* where it goes on */
    struct trash_list_req trash;
    struct replicas_get_req replicas;
};

struct inspection inspection_draw(struct world *w, struct sim_rand *r);
/* Of an answer with status 0: fails the seed if it makes no sense. True if more follows. */
bool inspection_check(struct world *w, struct inspection *i, struct rpc_call *c);
/* Asks for that: a new body. */
void inspection_go_on(struct inspection *i);

#endif
