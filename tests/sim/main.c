/* main.c - sim: runs seeds, each in a process of its own, two at a time.
 *
 *   sim --seeds N [--start S]    N seeds from S; totals; last line "N passed, M failed"
 *   sim --seed S [--trace]       one seed in this process, with its log
 */
#include "tests/sim/run.h"

#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { JOBS = 2, SEED_SECONDS_MAX = 120, OPS_MIN = 500, FAULTS_MEAN_MIN = 5, TWICE_EVERY = 100 };
#define DATA_BYTES_MAX (1ull << 30)

struct job {
    pid_t pid; /* 0 = none */
    int fd;
    uint64_t seed;
};

struct totals {
    uint64_t passed, failed;
    struct run_result sum;
    uint64_t few_ops; /* seeds below OPS_MIN */
};

/* A core that runs away ends its seed, not the machine. */
static void limit_this_process(void)
{
#ifndef __SANITIZE_ADDRESS__ /* its shadow counts as data */
    struct rlimit data = {DATA_BYTES_MAX, DATA_BYTES_MAX};
    (void)setrlimit(RLIMIT_DATA, &data);
#endif
    alarm(SEED_SECONDS_MAX);
}

static void child(uint64_t seed, int fd)
{
    limit_this_process();
    struct run_result r = run_seed(seed, false);
    if (seed % TWICE_EVERY == 0) {
        struct run_result again = run_seed(seed, false);
        if (again.hash != r.hash || again.events != r.events) {
            fprintf(stderr, "seed %llu failed: two runs of it differ\n", (unsigned long long)seed);
            _exit(1);
        }
    }
    if (write(fd, &r, sizeof(r)) != (ssize_t)sizeof(r)) {
        _exit(1);
    }
    exit(0);
}

static void job_start(struct job *j, uint64_t seed)
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
        child(seed, fds[1]);
    }
    close(fds[1]);
    j->fd = fds[0];
}

static void job_end(struct job *j, const char *program, struct totals *t)
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
        if (WIFSIGNALED(status)) {
            printf("seed %llu ended by signal %d\n", (unsigned long long)j->seed, WTERMSIG(status));
        }
        printf("FAILED: %s --seed %llu --trace\n", program, (unsigned long long)j->seed);
        return;
    }
    t->passed++;
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
    printf("%llu seeds, %llu operations, %llu log records, %llu faults:",
           (unsigned long long)(t->passed + t->failed), (unsigned long long)t->sum.ops,
           (unsigned long long)t->sum.records, (unsigned long long)faults);
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

static int run_many(const char *program, uint64_t start, uint64_t seeds)
{
    struct job jobs[JOBS] = {{0}};
    struct totals t = {0};
    uint64_t next = start;
    struct timespec began;
    struct timespec ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    while (t.passed + t.failed < seeds) {
        struct pollfd fds[JOBS];
        for (int i = 0; i < JOBS; i++) {
            if (jobs[i].pid == 0 && next < start + seeds) {
                job_start(&jobs[i], next++);
            }
            fds[i] = (struct pollfd){jobs[i].pid != 0 ? jobs[i].fd : -1, POLLIN, 0};
        }
        poll(fds, JOBS, -1);
        for (int i = 0; i < JOBS; i++) {
            if (jobs[i].pid != 0 && fds[i].revents != 0) {
                job_end(&jobs[i], program, &t);
            }
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    uint64_t faults = print_totals(&t, (double)(ended.tv_sec - began.tv_sec) +
                                           (double)(ended.tv_nsec - began.tv_nsec) / 1e9);
    bool enough = t.few_ops == 0 && faults >= FAULTS_MEAN_MIN * t.passed;
    if (!enough) {
        printf("too little was tried: %llu seeds below %d operations, or below %d faults a seed\n",
               (unsigned long long)t.few_ops, OPS_MIN, FAULTS_MEAN_MIN);
        t.failed++;
    }
    printf("%llu passed, %llu failed\n", (unsigned long long)t.passed,
           (unsigned long long)t.failed);
    return t.failed == 0 ? 0 : 1;
}

static int usage(void)
{
    fprintf(stderr, "usage: sim --seeds N [--start S] | sim --seed S [--trace]\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 'n'},
                                            {"start", required_argument, NULL, 's'},
                                            {"seed", required_argument, NULL, '1'},
                                            {"trace", no_argument, NULL, 't'},
                                            {0}};
    uint64_t start = 1;
    uint64_t seeds = 0;
    bool one = false;
    bool trace = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'n':
            seeds = strtoull(optarg, NULL, 10);
            break;
        case '1':
            one = true;
            start = strtoull(optarg, NULL, 10);
            break;
        case 's':
            start = strtoull(optarg, NULL, 10);
            break;
        case 't':
            trace = true;
            break;
        default:
            return usage();
        }
    }
    if (one) {
        limit_this_process();
        struct run_result r = run_seed(start, trace);
        printf("seed %llu: %llu operations, %llu events, hash %016llx\n1 passed, 0 failed\n",
               (unsigned long long)start, (unsigned long long)r.ops, (unsigned long long)r.events,
               (unsigned long long)r.hash);
        return 0;
    }
    return seeds == 0 ? usage() : run_many(argv[0], start, seeds);
}
