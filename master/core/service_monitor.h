/* service_monitor.h - what the master's monitor asks: health, promotion, lease, stepping down.
 *
 * The monitor is a process outside the filesystem that starts the master again, or promotes another
 * one, when this one dies. It asks for `health` twice a second, also before the master serves. What
 * is measured for it: how late the loop's ticks come, how long records wait for the log, and since
 * when nothing more was committed although something waits.
 * Loop thread only.
 */
#ifndef MASTER_CORE_SERVICE_MONITOR_H
#define MASTER_CORE_SERVICE_MONITOR_H

#include "shared/base/limits.h"
#include "shared/env/env.h"

struct master;
struct peer;

enum {
    RIVAL_MS = 5000,     /* a monitor that was not heard of for so long is no rival any more */
    UNWATCHED_MS = 5000, /* a new primary has heard of its monitor by then */
};

struct vigil {
    uint64_t tick_ns;        /* newest tick; 0 = none yet */
    uint64_t second_ns;      /* when the second began that `late` is measured in */
    uint64_t late_ns;        /* longest delay of a tick in it */
    uint64_t late_before_ns; /* in the second before */
    uint64_t committed;      /* when the ticks looked last */
    uint64_t proven_ns;      /* when it last rose, or was all that was applied */
    uint64_t sample;         /* record whose way through the log is measured; 0 = none */
    uint64_t sample_ns;      /* when it was appended */
    uint64_t log_ns;         /* recent time of such a way; 0 = not known */
    uint64_t heard_ns;       /* newest master_lease; 0 = none */
    uint64_t lease_until_ns;
    char monitor[ADDR_LEN_MAX + 1]; /* address of who sent it */
    char rival[ADDR_LEN_MAX + 1];   /* another one that said so meanwhile */
    uint64_t rival_ns;              /* when; 0 = none */
    uint64_t rivals_ns;             /* since both go on saying so; 0 = they do not */
    char alarm[ADDR_LEN_MAX + 1];   /* what it wants operators to know */
    bool ending; /* told to step down: nothing more is begun, the next tick ends the process */
};

/* True if the operation was one of the monitor's; also for masters that do not serve yet. */
bool service_monitor(struct peer *p, struct message *msg);
/* MASTER_*. */
uint32_t master_role(const struct master *m);
/* HOST:PORT others dial. */
const char *master_addr(const struct master *m);

void vigil_tick(struct master *m);
void vigil_appended(struct master *m, uint64_t index);
void vigil_committed(struct master *m, uint64_t index);
/* Adds what an operator should know of the masters, their logs and monitors to a list of texts. */
struct writer;
void vigil_warnings(const struct master *m, struct writer *w);

#endif
