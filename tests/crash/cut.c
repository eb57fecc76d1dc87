/* cut.c - crash_cut CUTS MASK LINGER-MS DIR... -- PID...: cuts the power of the filesystems that
 * hold the DIRs and kills the processes.
 *
 * Filesystems are shut down without a flush of their journals (FS_IOC_SHUTDOWN): what was not synced,
 * renames too, is gone when they are mounted again. LINGER-MS: how long the processes go on on a
 * disk that is dead; 0: they are killed at once, as by a power cut; negative: they are stopped before the
 * first disk goes, so that all go at one instant. The cut is noted as a line "TIME MASK" in CUTS.
 */
#include "tests/crash/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* As in fs/ext4/ext4.h and fs/xfs/libxfs/xfs_fs.h; not in the headers of every system. */
#ifndef FS_IOC_SHUTDOWN
#define FS_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#endif
enum { GOING_FLAGS_NOLOGFLUSH = 2 };

static void signal_all(char **pids, int number)
{
    for (; *pids != NULL; pids++) {
        if (kill((pid_t)atol(*pids), number) != 0 && errno != ESRCH) {
            die("crash_cut: kill %s: %s", *pids, strerror(errno));
        }
    }
}

int main(int argc, char **argv)
{
    int separator = 4;
    while (separator < argc && strcmp(argv[separator], "--") != 0) {
        separator++;
    }
    if (separator >= argc) {
        fprintf(stderr, "usage: crash_cut CUTS MASK LINGER-MS DIR... -- PID...\n");
        return 2;
    }
    char **pids = argv + separator + 1;
    int linger = atoi(argv[3]);
    int fds[16];
    for (int i = 4; i < separator && i < 20; i++) {
        fds[i - 4] = open(argv[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fds[i - 4] < 0) {
            die("crash_cut: %s: %s", argv[i], strerror(errno));
        }
    }
    if (linger < 0) {
        signal_all(pids, SIGSTOP);
    }
    for (int i = 4; i < separator && i < 20; i++) {
        uint32_t flags = GOING_FLAGS_NOLOGFLUSH;
        if (ioctl(fds[i - 4], FS_IOC_SHUTDOWN, &flags) != 0) {
            die("crash_cut: %s cannot be shut down: %s", argv[i], strerror(errno));
        }
        close(fds[i - 4]);
    }
    if (linger > 0) {
        usleep((useconds_t)linger * 1000);
    }
    signal_all(pids, SIGKILL);
    FILE *f = fopen(argv[1], "ae");
    if (f == NULL || fprintf(f, "%llu %s\n", (unsigned long long)now_ns(), argv[2]) < 0 ||
        fclose(f) != 0) {
        die("crash_cut: %s: %s", argv[1], strerror(errno));
    }
    return 0;
}
