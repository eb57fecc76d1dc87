/* many.c - many seeds, each in a process of its own, two at a time. */
#include "tests/sim/many.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { JOBS = 2, OPS_MIN = 400, FAULTS_MEAN_MIN = 5, TWICE_EVERY = 100 };
#define DATA_BYTES_MAX (1ull << 30)

struct job {
    pid_t pid; /* 0 = none */
    int fd;
    uint64_t seed;
};

struct totals {
    uint64_t passed, failed;
    uint64_t twice; /* seeds that ran again, the same */
    struct run_result sum;
    uint64_t few_ops; /* seeds below OPS_MIN */
};

void limit_this_process(uint32_t seconds)
{
#ifndef __SANITIZE_ADDRESS__ /* its shadow counts as data */
    struct rlimit data = {DATA_BYTES_MAX, DATA_BYTES_MAX};
    (void)setrlimit(RLIMIT_DATA, &data);
#endif
    /* Of the processor: a machine that does other things, or stands still, fails no seed. */
    struct itimerval cpu = {.it_value.tv_sec = (time_t)seconds};
    (void)setitimer(ITIMER_PROF, &cpu, NULL);
}

static bool runs_twice(const struct many *m, uint64_t seed)
{
    return (seed - m->plan.seed) % TWICE_EVERY == 0;
}

/* The same seed in this program started anew: other addresses, another heap. */
static bool same_again(const struct plan *plan, const struct run_result *r)
{
    char exe[512] = {0};
    char options[4096];
    char command[sizeof(exe) + sizeof(options) + 16];
    char line[256] = {0};
    uint64_t hash = 0;
    uint64_t events = 0;
    if (readlink("/proc/self/exe", exe, sizeof(exe) - 1) < 0) {
        return false;
    }
    plan_print(plan, options, sizeof(options));
    snprintf(command, sizeof(command), "exec '%s' %s", exe, options);
    fflush(NULL);
    FILE *p = popen(command, "r");
    if (p == NULL) {
        return false;
    }
    while (fgets(line, sizeof(line), p) != NULL) {
        (void)sscanf(line, "seed %*u: %*u operations, %" SCNu64 " events, hash %" SCNx64, &events,
                     &hash);
    }
    return pclose(p) == 0 && hash == r->hash && events == r->events;
}

static void child(const struct many *m, uint64_t seed, int fd)
{
    limit_this_process(m->seconds);
    struct plan plan = m->plan;
    plan.seed = seed;
    struct run_result r = run_seed(&plan, false);
    if (runs_twice(m, seed) && !same_again(&plan, &r)) {
        fprintf(stderr, "seed %llu failed: a second run of it differs\n", (unsigned long long)seed);
        _exit(1);
    }
    if (write(fd, &r, sizeof(r)) != (ssize_t)sizeof(r)) {
        _exit(1);
    }
    exit(0);
}

static void job_start(const struct many *m, struct job *j, uint64_t seed)
{
    int fds[2];
    fflush(NULL);
    if (pipe(fds) != 0) {
        perror("pipe");
        exit(2);
    }
    j->seed = seed;
    j->pid = fork();
    if (j->pid < 0) {
        perror("fork");
        exit(2);
    }
    if (j->pid == 0) {
        close(fds[0]);
        child(m, seed, fds[1]);
    }
    close(fds[1]);
    j->fd = fds[0];
}

static void tell_failure(const struct many *m, const struct job *j, int status)
{
    struct plan plan = m->plan;
    char options[4096];
    plan.seed = j->seed;
    plan_print(&plan, options, sizeof(options));
    if (WIFSIGNALED(status)) {
        printf("seed %llu ended by signal %d (%s)\n", (unsigned long long)j->seed, WTERMSIG(status),
               strsignal(WTERMSIG(status)));
    }
    printf("FAILED: %s %s --trace (or --shrink)\n", m->program, options);
}

static void job_end(const struct many *m, struct job *j, struct totals *t)
{
    struct run_result r;
    ssize_t n = read(j->fd, &r, sizeof(r));
    int status;
    close(j->fd);
    waitpid(j->pid, &status, 0);
    char base[64];
    snprintf(base, sizeof(base), "/dev/shm/gfs-sim-%d", (int)j->pid);
    sim_remove_tree(base);
    j->pid = 0;
    if (n != (ssize_t)sizeof(r) || status != 0) {
        t->failed++;
        tell_failure(m, j, status);
        return;
    }
    t->passed++;
    t->twice += runs_twice(m, j->seed);
    t->few_ops += r.ops < OPS_MIN;
    t->sum.ops += r.ops;
    t->sum.events += r.events;
    t->sum.records += r.records;
    t->sum.sim_ns += r.sim_ns;
    for (int i = 0; i < FAULT_KINDS; i++) {
        t->sum.faults[i] += r.faults[i];
    }
}

/* Of all seeds that ended. */
static double cpu_seconds(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_CHILDREN, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static uint64_t print_totals(const struct totals *t, double seconds)
{
    uint64_t faults = 0;
    for (int i = 0; i < FAULT_KINDS; i++) {
        faults += t->sum.faults[i];
    }
    printf("%llu seeds (%llu of them twice, the same), %llu operations, %llu log records, "
           "%llu faults:",
           (unsigned long long)(t->passed + t->failed), (unsigned long long)t->twice,
           (unsigned long long)t->sum.ops, (unsigned long long)t->sum.records,
           (unsigned long long)faults);
    for (int i = 0; i < FAULT_KINDS; i++) {
        printf("%s %llu %s", i ? "," : "", (unsigned long long)t->sum.faults[i],
               fault_name((enum fault_kind)i));
    }
    printf("\n%.0f simulated seconds, %llu events, %.0f seconds\n", (double)t->sum.sim_ns / 1e9,
           (unsigned long long)t->sum.events, seconds);
    printf("%.1f simulated hours per CPU minute, %.1f faults a seed\n",
           (double)t->sum.sim_ns / 1e9 / 60 / cpu_seconds(),
           (double)faults / (double)MAX(t->passed, 1u));
    return faults;
}

/* Runs jobs until all seeds are done, or none is started any more. */
static void run_jobs(const struct many *m, struct totals *t)
{
    struct job jobs[JOBS] = {{0}};
    uint64_t next = m->plan.seed;
    uint64_t end = next + m->seeds;
    for (uint32_t running = 1; running > 0;) {
        struct pollfd fds[JOBS];
        running = 0;
        for (int i = 0; i < JOBS; i++) {
            if (jobs[i].pid == 0 && next < end && !(m->first && t->failed > 0)) {
                job_start(m, &jobs[i], next++);
            }
            running += jobs[i].pid != 0;
            fds[i] = (struct pollfd){jobs[i].pid != 0 ? jobs[i].fd : -1, POLLIN, 0};
        }
        if (running > 0) {
            poll(fds, JOBS, -1);
        }
        for (int i = 0; i < JOBS; i++) {
            if (jobs[i].pid != 0 && fds[i].revents != 0) {
                job_end(m, &jobs[i], t);
            }
        }
    }
}

int many_run(const struct many *m)
{
    struct totals t = {0};
    struct timespec began;
    struct timespec ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    run_jobs(m, &t);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    uint64_t faults = print_totals(&t, (double)(ended.tv_sec - began.tv_sec) +
                                           (double)(ended.tv_nsec - began.tv_nsec) / 1e9);
    bool whole = m->plan.ops == 0; /* else it was asked for little */
    /* In one of a hundred there may be so many faults that hardly ever a master can serve. */
    bool enough = t.few_ops <= t.passed / 100 && faults >= FAULTS_MEAN_MIN * t.passed;
    if (whole && !enough) {
        printf("too little was tried: %llu seeds below %d operations, or below %d faults a seed\n",
               (unsigned long long)t.few_ops, OPS_MIN, FAULTS_MEAN_MIN);
        t.failed++;
    }
    printf("%llu passed, %llu failed\n", (unsigned long long)t.passed,
           (unsigned long long)t.failed);
    return t.failed == 0 ? 0 : 1;
}
