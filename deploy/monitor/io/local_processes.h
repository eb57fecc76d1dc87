/* local_processes.h - the masters of this machine as processes: started,
 * watched by pidfd, killed.
 *
 * A master is `PROGRAM FILE`, a session of its own, so that it outlives a
 * monitor that dies. Its pid is in PID_DIR/NAME.pid, NAME being that of FILE
 * without ".conf". A process found there at the start is taken over if its
 * command line names FILE: a pid that was given to somebody else since is not.
 */
#ifndef DEPLOY_MONITOR_IO_LOCAL_PROCESSES_H
#define DEPLOY_MONITOR_IO_LOCAL_PROCESSES_H

#include <limits.h>
#include <sys/types.h>

#include "deploy/monitor/core/monitor.h"

struct local_process {
    char config[PATH_MAX];
    char name[NAME_MAX + 1];
    pid_t pid;
    int pidfd; /* -1: it does not run */
};

struct local_processes {
    struct processes processes;
    struct env *env; /* for the log */
    const char *program;
    const char *pid_dir;
    const char *log_dir; /* what a master prints is appended to LOG_DIR/NAME.log;
                          empty = as the monitor's */
    struct local_process all[MONITOR_MASTERS_MAX];
    uint32_t count;
};

/* Files in the list, or 0 if there are none or too many. */
uint32_t local_processes_count(const char *configs);
/* `configs` = FILE[,FILE]; the strings must outlive it. Takes over what runs.
 */
void local_processes_open(struct local_processes *p, struct env *env, const char *configs,
                          const char *program, const char *pid_dir, const char *log_dir);
/* Has all of them end in order and waits for it: at most `wait_s`, then they
 * are killed. */
void local_processes_stop(struct local_processes *p, uint32_t wait_s);
void local_processes_close(struct local_processes *p);

#endif
