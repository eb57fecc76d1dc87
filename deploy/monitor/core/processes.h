/* processes.h - the processes of the masters a monitor starts and ends, as its core sees them.
 *
 * Implemented by the shell with pidfds, by tests with a table. Nothing blocks but start. A process
 * that ran when the monitor started is found again.
 */
#ifndef DEPLOY_MONITOR_CORE_PROCESSES_H
#define DEPLOY_MONITOR_CORE_PROCESSES_H

#include <stdbool.h>
#include <stdint.h>

struct processes {
    const struct processes_ops *ops;
};

struct processes_ops {
    int (*start)(struct processes *p, uint32_t master);  /* 0 or negative errno; it does not run */
    bool (*alive)(struct processes *p, uint32_t master); /* false: certainly gone */
    void (*kill)(struct processes *p, uint32_t master);  /* for good; it may take a moment */
};

#endif
