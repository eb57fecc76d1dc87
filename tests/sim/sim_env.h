/* sim_env.h - a simulated process: env_ops over simulated time, network and disk.
 *
 * A process has a name, a machine (clock, disk) and lives from sim_process_start to a kill or power
 * cut. Killing it: sim_process_kill or sim_process_power_cut first (no callback of the core runs
 * after it; operations in flight happened, happened in part, or not), then the core's destroy
 * function, which may still call env functions without effect. Never from inside a callback of that
 * core.
 */
#ifndef TESTS_SIM_SIM_ENV_H
#define TESTS_SIM_SIM_ENV_H

#include "shared/env/env.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_trap.h"

struct sim_process {
    struct env env; /* what the core gets */
    struct sim *sim;
    struct list link;
    uint32_t number; /* from 0, in order of creation */
    char name[32];
    bool alive;
    bool disk_locked;
    bool end_asked; /* it wants to be ended in order */
    uint32_t starts;
    struct sim_disk *disk;
    struct sim_rand rand;
    struct timer_heap timers; /* deadlines on the process's own clock */
    struct sim_event timer_event;
    struct list disk_ops; /* in flight */
    struct list works;
    struct list files;        /* open */
    uint8_t incarnation[16];  /* changes at a power cut */
    uint64_t clock_offset_ns; /* of the machine's monotonic clock */
    int64_t wall_offset_ns;
    int32_t drift_ppm;
    uint64_t stopped_ns;   /* until then nothing of it runs (SIGSTOP) */
    uint32_t disk_factor;  /* its disk takes so many times as long ... */
    uint64_t disk_slow_ns; /* ... until then */
    uint64_t net_more_ns;  /* frames from and to it take up to so much longer ... */
    uint64_t net_slow_ns;  /* ... until then */
    uint64_t log_lines[4]; /* by level */
    /* Told of every asynchronous write when it is submitted and when it has completed; may be NULL.
     */
    void (*on_write)(void *owner, struct sim_process *p, const char *path, const struct disk_op *op,
                     bool completed);
    void *on_write_owner;
    bool keeps_cache; /* killed in the middle of writes: they are in the page cache, not synced */
    struct sim_trap trap;
    /* Asked before an asynchronous operation is done: 0, or the error it shall fail with. May be
     * NULL. */
    int (*fault)(void *owner, struct sim_process *p, const char *path, const struct disk_op *op);
    void *fault_owner;
    uint32_t calls;     /* of those that ask the disk and wait for it, since its start */
    uint32_t fail_call; /* the one among those to come, from 1, that fails; 0 = none ... */
    int fail_error;     /* ... with this */
};

struct sim_process *sim_process_create(struct sim *s, const char *name);
void sim_process_start(struct sim_process *p);
void sim_process_kill(struct sim_process *p);
void sim_process_power_cut(struct sim_process *p);
/* Frees a process that is not alive (an alive one is killed first). */
void sim_process_free(struct sim_process *p);

/* It stops now and goes on after `ns`: everything that was due meanwhile comes then. */
void sim_process_pause(struct sim_process *p, uint64_t ns);
/* If it is stopped the event is put off until it goes on: true. */
bool sim_process_put_off(struct sim_process *p, struct sim_event *e);

/* A call that asks the disk for `path` (NULL: nothing that has a name) and waits for it begins: 0, or the
 * error it fails with. */
int sim_process_call(struct sim_process *p, const char *path);

/* Disk operations asked for and not ended, and work for threads. */
bool sim_process_idle(const struct sim_process *p);

#endif
