/* local_processes.c - masters as processes of this machine. */
#include "deploy/monitor/io/local_processes.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static struct local_processes *self(struct processes *p)
{
    return container_of(p, struct local_processes, processes);
}

static void path_of(char out[PATH_MAX], const char *dir, const struct local_process *one,
                    const char *ending)
{
    snprintf(out, PATH_MAX, "%.3700s/%.250s%s", dir, one->name, ending);
}

/* ---------------------------------------------------------------- pid files */

/* 0, or negative errno. */
static int write_pid(const struct local_processes *p, const struct local_process *one)
{
    char path[PATH_MAX], fresh[PATH_MAX], text[16];
    path_of(path, p->pid_dir, one, ".pid");
    path_of(fresh, p->pid_dir, one, ".pid.new");
    int len = snprintf(text, sizeof(text), "%d\n", one->pid);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        return -errno;
    }
    ssize_t n = write(fd, text, (size_t)len);
    int err = n == len ? 0 : n < 0 ? -errno : -EIO;
    close(fd);
    return err == 0 && rename(fresh, path) != 0 ? -errno : err;
}

/* At most size - 1 bytes of a file, NUL after them; -1 if it cannot be read. */
static ssize_t read_text(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, size - 1) : -1;
    if (fd >= 0) {
        close(fd);
    }
    out[n > 0 ? n : 0] = 0;
    return n;
}

/* Whether the command line of the process is that of this master. */
static bool is_ours(const struct local_process *one, pid_t pid)
{
    char path[64], line[2 * PATH_MAX];
    snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
    ssize_t n = read_text(path, line, sizeof(line));
    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(line + at) + 1) {
        if (strcmp(line + at, one->config) == 0) {
            return true;
        }
    }
    return false;
}

static void take_over(struct local_processes *p, struct local_process *one)
{
    char path[PATH_MAX], text[32], *end;
    path_of(path, p->pid_dir, one, ".pid");
    if (read_text(path, text, sizeof(text)) <= 0) {
        return;
    }
    long pid = strtol(text, &end, 10);
    if (pid <= 1 || pid > INT_MAX || *end != '\n') {
        return;
    }
    one->pidfd = pidfd_open((pid_t)pid, 0);
    /* Looked at after the pidfd is there: from then on it names one process for
   * good. */
    if (one->pidfd >= 0 && !is_ours(one, (pid_t)pid)) {
        close(one->pidfd);
        one->pidfd = -1;
    }
    one->pid = (pid_t)pid;
}

/* ---------------------------------------------------------------- processes.h
 */

static int spawn(const struct local_processes *p, struct local_process *one)
{
    char log[PATH_MAX], *argv[] = {(char *)(uintptr_t)p->program, one->config, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none, usual;
    sigemptyset(&none);
    sigfillset(&usual);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (p->log_dir[0] != 0) {
        path_of(log, p->log_dir, one, ".log");
        posix_spawn_file_actions_addopen(&files, STDERR_FILENO, log, O_WRONLY | O_CREAT | O_APPEND,
                                         0644);
        posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
    }
    posix_spawnattr_init(&how);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setsigdefault(&how, &usual);
    posix_spawnattr_setflags(&how,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int err = -posix_spawnp(&one->pid, p->program, &files, &how, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&how);
    return err;
}

static int start(struct processes *base, uint32_t master)
{
    struct local_processes *p = self(base);
    struct local_process *one = &p->all[master];
    int err = spawn(p, one);
    if (err != 0) {
        env_log(p->env, LOG_ERROR, "%s cannot be run%s%s: see program and log_dir", p->program,
                p->log_dir[0] != 0 ? ", its lines going to " : "", p->log_dir);
        return err;
    }
    one->pidfd = pidfd_open(one->pid, 0);
    if (one->pidfd < 0) { /* it would run unwatched */
        err = -errno;
        (void)kill(one->pid, SIGKILL);
        (void)waitpid(one->pid, NULL, 0);
        return err;
    }
    err = write_pid(p, one);
    if (err != 0) {
        env_log(p->env, LOG_WARN, "the pid of %s cannot be written in %s: %s", one->name,
                p->pid_dir, err_text(err));
    }
    return 0;
}

static void say_end(const struct local_processes *p, const struct local_process *one,
                    const siginfo_t *info)
{
    if (info->si_pid == 0) {
        env_log(p->env, LOG_WARN, "%s (pid %d) has ended", one->name, one->pid);
    } else if (info->si_code == CLD_EXITED) {
        env_log(p->env, LOG_WARN, "%s (pid %d) has ended with status %d", one->name, one->pid,
                info->si_status);
    } else {
        env_log(p->env, LOG_WARN, "%s (pid %d) was ended by signal %d (%s)", one->name, one->pid,
                info->si_status, strsignal(info->si_status));
    }
}

/* Waits for the end of one for so long. True if it has ended. */
static bool ended(struct local_processes *p, struct local_process *one, int wait_ms)
{
    struct pollfd wait = {.fd = one->pidfd, .events = POLLIN};
    siginfo_t info = {.si_pid = 0};
    if (one->pidfd < 0) {
        return true;
    }
    if (poll(&wait, 1, wait_ms) <= 0) {
        return false;
    }
    (void)waitid(P_PIDFD, (id_t)one->pidfd, &info, WEXITED); /* fails if it is no child of ours */
    say_end(p, one, &info);
    close(one->pidfd);
    one->pidfd = -1;
    return true;
}

static bool alive(struct processes *base, uint32_t master)
{
    struct local_processes *p = self(base);
    return !ended(p, &p->all[master], 0);
}

static void kill_now(struct processes *base, uint32_t master)
{
    const struct local_process *one = &self(base)->all[master];
    if (one->pidfd >= 0) {
        (void)pidfd_send_signal(one->pidfd, SIGKILL, NULL, 0);
    }
}

/* ---------------------------------------------------------------- life */

uint32_t local_processes_count(const char *configs)
{
    return monitor_count_masters(configs);
}

void local_processes_open(struct local_processes *p, struct env *env, const char *configs,
                          const char *program, const char *pid_dir, const char *log_dir)
{
    static const struct processes_ops ops = {start, alive, kill_now};
    *p = (struct local_processes){.processes = {&ops},
                                  .env = env,
                                  .program = program,
                                  .pid_dir = pid_dir,
                                  .log_dir = log_dir};
    while (*configs != 0 && p->count < MONITOR_MASTERS_MAX) {
        struct local_process *one = &p->all[p->count++];
        size_t len = strcspn(configs, ",");
        snprintf(one->config, sizeof(one->config), "%.*s", (int)len, configs);
        const char *slash = strrchr(one->config, '/');
        snprintf(one->name, sizeof(one->name), "%.250s", slash != NULL ? slash + 1 : one->config);
        size_t name = strlen(one->name);
        if (name > 5 && strcmp(one->name + name - 5, ".conf") == 0) {
            one->name[name - 5] = 0;
        }
        one->pidfd = -1;
        take_over(p, one);
        configs += len + (configs[len] == ',');
    }
}

void local_processes_stop(struct local_processes *p, uint32_t wait_s)
{
    for (uint32_t i = 0; i < p->count; i++) {
        if (p->all[i].pidfd >= 0) {
            (void)pidfd_send_signal(p->all[i].pidfd, SIGTERM, NULL, 0);
        }
    }
    for (uint32_t i = 0; i < p->count; i++) {
        struct local_process *one = &p->all[i];
        if (!ended(p, one, (int)wait_s * 1000)) {
            env_log(p->env, LOG_ERROR, "%s did not end in %u s: killed", one->name, wait_s);
            kill_now(&p->processes, i);
            (void)ended(p, one, -1);
        }
    }
}

void local_processes_close(struct local_processes *p)
{
    for (uint32_t i = 0; i < p->count; i++) {
        if (p->all[i].pidfd >= 0) {
            close(p->all[i].pidfd);
        }
    }
}
