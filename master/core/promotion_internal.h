/* promotion_internal.h - what the files of promotion share. Only promotion*.c include it. */
#ifndef MASTER_CORE_PROMOTION_INTERNAL_H
#define MASTER_CORE_PROMOTION_INTERNAL_H

#include "master/core/log_match.h"
#include "master/core/promotion.h"

enum promotion_step {
    PROMOTION_IDLE,
    PROMOTION_ASKING,   /* others, and then the own log, are asked for promises */
    PROMOTION_MATCHING, /* where do the own log and the chosen one part */
    PROMOTION_FILLING,  /* the own log gets what it lacks */
};

struct promise {
    struct promotion *p;
    struct rpc_call call;
    struct log_told told; /* answer.here: promised */
};

struct promotion {
    struct promotion_config cfg;
    const struct log_set *set;
    enum promotion_step step;
    uint32_t epoch;
    uint64_t holder;
    uint32_t ended;
    uint64_t begun_ns;
    uint64_t enough_ns; /* since when there are enough promises; 0 = there are not */
    bool own_asked;
    struct promise promises[LOGGERS_MAX]; /* by number */
    struct log_choice choice;
    struct log_match match;
    struct rpc_call read;
    struct env_timer tick;
    struct why why; /* the log has a line with it */
};

void promotion_end(struct promotion *p, int status, uint32_t promised);
/* A logger does not answer any more: promises are asked for again, and it is chosen anew. */
void promotion_ask_anew(struct promotion *p, uint32_t number);

/* ---- promotion_fill.c: making the own log the chosen one */

/* The own log and the chosen one are known to be equal to here. */
uint64_t promotion_shared(const struct promotion *p);
void promotion_match(struct promotion *p);
/* Goes on with reading, if it waits for the own disk. */
void promotion_fill(struct promotion *p);

#endif
