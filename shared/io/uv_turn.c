/* uv_turn.c - how long turns of the loop take. */
#include "shared/io/uv_turn.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "shared/proto/schema.h"

enum { SAY_EVERY_MS = 1000, NAME_BYTES = 64 };

extern const char __executable_start[]; /* of the linker */

uint64_t turn_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

void turn_part_ended(struct turn_watch *w, struct turn_part part, uint64_t begin_ns,
                     uint64_t now_ns)
{
    uint64_t ns = now_ns - begin_ns;
    w->busy_ns += ns;
    if (ns > w->longest_ns) {
        w->longest_ns = ns;
        w->longest = part;
    }
}

static const char *name_of(const struct turn_part *p, char out[NAME_BYTES])
{
    if (p->kind == TURN_MESSAGE) {
        return p->op == 0 ? "an answer" : op_name(p->op);
    }
    snprintf(out, NAME_BYTES, "%s (code at 0x%" PRIxPTR ")",
             p->kind == TURN_TIMER ? "a timer" : "the end of a job",
             p->code - (uintptr_t)__executable_start);
    return out;
}

void turn_ended(struct turn_watch *w, struct env *env)
{
    bool slow = w->busy_ns >= SLOW_TURN_MS * NS_PER_MS;
    uint64_t now_ns = slow ? turn_now_ns() : 0;
    if (slow && (w->said_ns == 0 || now_ns - w->said_ns >= SAY_EVERY_MS * NS_PER_MS)) {
        char name[NAME_BYTES];
        w->said_ns = now_ns;
        env_log(env, LOG_WARN, "a turn of the loop took %" PRIu64 " ms, %" PRIu64 " of them in %s",
                (uint64_t)(w->busy_ns / NS_PER_MS), (uint64_t)(w->longest_ns / NS_PER_MS),
                name_of(&w->longest, name));
    }
    w->busy_ns = w->longest_ns = 0;
}
