/* caller.c - what /proc says about the thread that waits for a request. */
#include "fuse/io/caller.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREAD_IS_EXITING 0x4u /* PF_EXITING in the flags of the kernel's task */

/* Reads /proc/THREAD/NAME as text; false if it cannot. */
static bool read_proc(pid_t thread, const char *name, char *out, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)thread, name);
    int fd = thread > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) {
        return false;
    }
    ssize_t n = read(fd, out, size - 1);
    close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* The mask of signals in line `key`, bit 0 for signal 1. */
static uint64_t signal_mask(const char *status, const char *key)
{
    const char *line = strstr(status, key);
    return line != NULL ? strtoull(line + strlen(key), NULL, 16) : 0;
}

static uint64_t bit(int signal_number)
{
    return 1ull << (signal_number - 1);
}

bool caller_must_die(pid_t thread)
{
    char status[8192];
    if (!read_proc(thread, "status", status, sizeof status)) {
        return true;
    }
    uint64_t pending = signal_mask(status, "\nSigPnd:") | signal_mask(status, "\nShdPnd:");
    uint64_t handled = signal_mask(status, "\nSigBlk:") | signal_mask(status, "\nSigIgn:") |
                       signal_mask(status, "\nSigCgt:");
    uint64_t harmless = bit(SIGCHLD) | bit(SIGCONT) | bit(SIGURG) | bit(SIGWINCH) | bit(SIGSTOP) |
                        bit(SIGTSTP) | bit(SIGTTIN) | bit(SIGTTOU);
    return (pending & bit(SIGKILL)) != 0 || (pending & ~handled & ~harmless) != 0;
}

/* Field `number` of /proc/PID/stat, counted from 1 as in proc(5), beyond the command's name. */
static unsigned long stat_field(const char *stat, int number)
{
    const char *at = strrchr(stat, ')'); /* the name before it may hold anything */
    for (int field = 2; at != NULL && field < number; field++) {
        at = strchr(at + 1, ' ');
    }
    return at != NULL ? strtoul(at, NULL, 10) : 0;
}

enum caller_end caller_end(pid_t thread)
{
    char stat[2048];
    if (!read_proc(thread, "stat", stat, sizeof stat) ||
        (stat_field(stat, 9) & THREAD_IS_EXITING) == 0) {
        return CALLER_LIVES;
    }
    unsigned long exit_status = stat_field(stat, 52);
    return WIFSIGNALED((int)exit_status) ? CALLER_WAS_KILLED : CALLER_EXITS;
}
