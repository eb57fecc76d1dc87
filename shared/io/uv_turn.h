/* uv_turn.h - how long turns of the loop take, for the log: while one runs nobody else is served.
 *
 * What a turn does is reported part by part: a message, a timer, the end of a job. A turn whose parts take
 * longer than SLOW_TURN_MS in all is logged with its longest part, at most one a second. A timer or job is
 * named by where its code is in the program, for addr2line.
 */
#ifndef SHARED_IO_UV_TURN_H
#define SHARED_IO_UV_TURN_H

#include <stdint.h>

#include "shared/env/env.h"

enum { SLOW_TURN_MS = 100 };

enum turn_kind { TURN_MESSAGE, TURN_TIMER, TURN_JOB };

struct turn_part {
    enum turn_kind kind;
    uint16_t op;    /* TURN_MESSAGE */
    uintptr_t code; /* the others: the callback */
};

struct turn_watch {
    uint64_t busy_ns;    /* of this turn */
    uint64_t longest_ns; /* part of it */
    struct turn_part longest;
    uint64_t said_ns; /* when a turn was logged last */
};

static inline struct turn_part turn_timer(const struct env_timer *t)
{
    return (struct turn_part){.kind = TURN_TIMER, .code = (uintptr_t)t->fire};
}

/* The clock of parts: exact to some milliseconds, and so cheap that it may be asked twice for each. */
uint64_t turn_now_ns(void);
/* A part ended that began then. */
void turn_part_ended(struct turn_watch *w, struct turn_part part, uint64_t begin_ns,
                     uint64_t now_ns);
/* The turn ends: says so in the log if it was long. */
void turn_ended(struct turn_watch *w, struct env *env);

#endif
