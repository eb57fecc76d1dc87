/* monitor.h - keeps a cluster's primary master alive: starts masters again, promotes another one.
 *
 * Outside the filesystem, and pure: time, connections and log through env, processes through struct
 * processes, lock and epochs through an engine (elect.h). States, in the order of a promotion:
 *   LOOKING     for a master that is, or can be, the primary, and for the lock
 *   CLAIMING    an epoch from the engine
 *   FENCING     other masters that may still act as primary are ended: ours for certain, another
 *               monitor's if it answers at once
 *   PROMOTING   the master is asked to serve in that epoch, again and again with one nonce
 *   PUBLISHING  its address at the engine
 *   HOLDING     it is told twice a second that it is watched, and judged by its answers
 *   HANDING     it was asked to step down for another one
 * Any failure leads back to LOOKING. Where every master has a monitor of its own, one that has no
 * master fit to serve leaves the lock to the others; while the engine does not answer the primary
 * goes on, and steps down only for an epoch that was given out meanwhile. Nothing here is needed for
 * safety: a master commits only in the highest epoch its log knows. A monitor that did not run for a
 * while itself judges nobody by the silence meanwhile.
 */
#ifndef DEPLOY_MONITOR_CORE_MONITOR_H
#define DEPLOY_MONITOR_CORE_MONITOR_H

#include "deploy/monitor/core/elect.h"
#include "deploy/monitor/core/processes.h"
#include "shared/env/env.h"

enum { MONITOR_MASTERS_MAX = 5 };

struct monitor;

struct monitor_config {
    char cluster[LABEL_LEN_MAX + 1];
    char listen[ADDR_LEN_MAX + 1];    /* where gfsctl handover asks */
    char advertise[ADDR_LEN_MAX + 1]; /* what others dial; empty = listen */
    char masters[1024];               /* HOST:PORT[,HOST:PORT] of the masters it starts */
    uint32_t
        hang_ms; /* a primary silent for so long is ended, if no other master could replace it */
    uint32_t stall_ms; /* one whose log commits nothing for so long is ended, if another could */
    bool alone;        /* the cluster has one master, which gives itself its epochs */
    bool spares;       /* masters that fell silent are not ended: epochs alone protect, as when a
                        * monitor cannot reach them */
};

/* Addresses in the list, or 0 if there are none or too many. */
uint32_t monitor_count_masters(const char *masters);

struct monitor *monitor_create(struct env *env, const struct monitor_config *cfg, struct elect *e,
                               struct processes *p);
/* 0, or negative with a sentence: it cannot listen. The engine is open. */
MUST_CHECK int monitor_start(struct monitor *m, struct why *why);
/* Masters are left alone. */
void monitor_destroy(struct monitor *m);

/* For tests. */
uint32_t monitor_epoch(const struct monitor *m); /* of the primary that is held; 0 = none */

#endif
