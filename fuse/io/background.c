/* background.c - going to the background, and what a background process owes the machine. */
#include "fuse/io/background.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

/* What the child writes to the pipe; no byte at all means that it died. */
enum { SERVES = 'y', FAILED = 'n' };

_Noreturn static void wait_for_child(int pipe_end)
{
    char answer = FAILED;
    ssize_t n;
    do {
        n = read(pipe_end, &answer, 1);
    } while (n < 0 && errno == EINTR);
    if (n == 0) {
        fprintf(stderr, "gfs-fuse: the background process ended before it served\n");
    }
    _exit(n == 1 && answer == SERVES ? 0 : 1);
}

static int go_to_background(struct background *d, struct why *why)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return why_set(why, -errno, "cannot make a pipe: %s", strerror(errno));
    }
    pid_t child = fork();
    if (child < 0) {
        return why_set(why, -errno, "cannot fork: %s", strerror(errno));
    }
    if (child > 0) {
        close(ends[1]);
        wait_for_child(ends[0]);
    }
    close(ends[0]);
    d->starter = ends[1];
    setsid();
    return 0;
}

/* Best effort each: without them the process still serves. */
static void prepare_process(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    /* Memory reclaim on our behalf must not wait for dirty pages that we are to write. */
    (void)prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    umask(022);
}

int background_begin(struct background *d, bool foreground, const char *pid_file, struct why *why)
{
    *d = (struct background){.starter = -1, .foreground = foreground, .pid_file = pid_file};
    if (close_range(3, ~0u, 0) != 0) {
        for (int fd = 3; fd < 1024; fd++) {
            close(fd);
        }
    }
    int err = foreground ? 0 : go_to_background(d, why);
    if (err != 0) {
        return err;
    }
    if (chdir("/") != 0) {
        return why_set(why, -errno, "cannot change to /: %s", strerror(errno));
    }
    prepare_process();
    return 0;
}

static int write_pid_file(const char *path, struct why *why)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%d\n", (int)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, (size_t)len) != len) {
        int err = -errno;
        if (fd >= 0) {
            close(fd);
        }
        return why_set(why, err, "cannot write the pid file %s: %s", path, strerror(-err));
    }
    close(fd);
    return 0;
}

int background_report_ready(struct background *d, struct why *why)
{
    int err = d->pid_file[0] != '\0' ? write_pid_file(d->pid_file, why) : 0;
    if (err != 0 || d->foreground) {
        return err;
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2 && null >= 0; fd++) {
        dup2(null, fd);
    }
    if (null > 2) {
        close(null);
    }
    if (d->starter >= 0) {
        char answer = SERVES;
        (void)!write(d->starter, &answer,
                     1); /* the parent may have been killed: then nobody cares */
        close(d->starter);
        d->starter = -1;
    }
    return 0;
}

void background_report_failure(struct background *d, const char *why)
{
    fprintf(stderr, "gfs-fuse: %s\n", why);
    if (d->starter >= 0) {
        char answer = FAILED;
        (void)!write(d->starter, &answer, 1);
        close(d->starter);
        d->starter = -1;
    }
}

void background_end(struct background *d)
{
    char text[32] = "";
    int fd = d->pid_file[0] != '\0' ? open(d->pid_file, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) {
        return;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n > 0 && atoi(text) == (int)getpid()) {
        unlink(d->pid_file);
    }
}
