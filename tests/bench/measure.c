/* measure.c - runs a command and says what it cost: time, and processor time of it and of servers.
 *
 *   measure OUT [NAME=PID[,PID]...]... -- COMMAND [ARGUMENT]...
 *
 * Writes one line into the file OUT: "seconds S client CPU NAME CPU NAME CPU ...", all in seconds. CPU of the command
 * and its children is getrusage's; of a server what its accounting in /proc grew by, all threads, user and
 * system (a tick is 10 ms). The exit status is the command's; a server that has gone makes it 3.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SERVERS_MAX = 8 };

struct server {
    const char *name;
    const char *pids;
    double before;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Negative: there is no such process. */
static double cpu_of(long pid)
{
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *f = fopen(path, "r");
    char *read = f == NULL ? NULL : fgets(line, sizeof line, f);
    if (f != NULL) {
        fclose(f);
    }
    char *after_name = read == NULL ? NULL : strrchr(line, ')');
    unsigned long user, kernel;
    if (after_name == NULL ||
        sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
               &kernel) != 2) {
        return -1;
    }
    return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

static double cpu_of_all(const char *pids)
{
    double sum = 0;
    for (const char *p = pids; *p != 0;) {
        char *end;
        double one = cpu_of(strtol(p, &end, 10));
        if (one < 0 || end == p) {
            return -1;
        }
        sum += one;
        p = *end == ',' ? end + 1 : end;
    }
    return sum;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static int run(char **command)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execvp(command[0], command);
        fprintf(stderr, "measure: %s: %s\n", command[0], strerror(errno));
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        return 127;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
    struct server servers[SERVERS_MAX];
    int count = 0, at = 2, lost = 0;
    for (; at < argc && strcmp(argv[at], "--") != 0 && count < SERVERS_MAX; at++, count++) {
        char *equals = strchr(argv[at], '=');
        if (equals == NULL) {
            break;
        }
        *equals = 0;
        servers[count] = (struct server){argv[at], equals + 1, cpu_of_all(equals + 1)};
    }
    if (at + 1 >= argc || strcmp(argv[at], "--") != 0) {
        fprintf(stderr, "usage: measure OUT [NAME=PID[,PID]...]... -- COMMAND [ARGUMENT]...\n");
        return 2;
    }
    double began = now();
    int status = run(argv + at + 1);
    double took = now() - began;
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    FILE *out = fopen(argv[1], "w");
    if (out == NULL) {
        perror(argv[1]);
        return 2;
    }
    fprintf(out, "seconds %.6f client %.3f", took,
            seconds(usage.ru_utime) + seconds(usage.ru_stime));
    for (int i = 0; i < count; i++) {
        double after = cpu_of_all(servers[i].pids);
        lost |= after < 0 || servers[i].before < 0;
        fprintf(out, " %s %.3f", servers[i].name, after - servers[i].before);
    }
    fprintf(out, "\n");
    return fclose(out) != 0 || lost ? 3 : status;
}
