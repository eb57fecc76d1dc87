/* elect_local.h - the engine of one machine: one monitor supervises every master of it.
 *
 * The lock is that of the monitor's directory (env_lock_dir), held by the kernel until the monitor
 * ends. File `epoch` has the newest epoch given out and the address published with it; it is
 * replaced by rename, so a crash leaves the old one or the new one.
 */
#ifndef DEPLOY_MONITOR_CORE_ELECT_LOCAL_H
#define DEPLOY_MONITOR_CORE_ELECT_LOCAL_H

#include "deploy/monitor/core/elect.h"
#include "shared/env/env.h"

struct elect_local {
    struct elect elect;
    struct env *env;
    bool joined;
    uint32_t epoch;
    char addr[ADDR_LEN_MAX + 1]; /* "-" = none was published */
    struct elect_ask *ask;       /* done at the next turn of the loop */
    struct env_timer turn;
};

/* Takes the lock and reads the epoch. 0; -EBUSY: another monitor runs; -EINVAL: the file is not what
 * a monitor wrote; another errno; with a sentence. */
MUST_CHECK int elect_local_open(struct elect_local *l, struct env *env, struct why *why);
void elect_local_close(struct elect_local *l);

#endif
