/* bad_disk.c - a library that daemons under test are started with (LD_PRELOAD): it makes their disks fail.
 *
 * The file named by BAD_DISK has a rule per line; it is read anew at every call, so that a test switches faults on and
 * off under running daemons. PATTERN is a part of the file's path.
 *   read PATTERN             reads fail with EIO
 *   sector PATTERN OFFSET    reads of the byte there fail with EIO, until it is written
 *   write PATTERN            writes fail with EIO
 *   sync PATTERN             syncs fail with EIO
 *   delay PATTERN MS         reads, writes and syncs take so much longer; nothing of it is in memory
 * Without the file everything is as it was.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { RULES_BYTES = 4096, RULES_MAX = 16 };

enum call { CALL_READ, CALL_READ_CACHED, CALL_WRITE, CALL_SYNC };

/* Sectors that were written: by the line of the rule. */
static bool mended[RULES_MAX];

#define REAL(name)                                                                                 \
    static __typeof__(name) *real;                                                                 \
    if (real == NULL) {                                                                            \
        real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name);                                        \
    }

static ssize_t real_pread(int fd, void *buf, size_t n, off_t off)
{
    REAL(pread)
    return real(fd, buf, n, off);
}

static bool read_rules(char text[RULES_BYTES])
{
    const char *path = getenv("BAD_DISK");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) {
        return false;
    }
    ssize_t n = real_pread(fd, text, RULES_BYTES - 1, 0);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static void path_of(int fd, char path[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = '\0';
}

/* One rule: 0, or the error the call ends with. */
static int judge(const char *line, int number, const char *path, enum call call, off_t off,
                 size_t len)
{
    char what[16], pattern[256];
    long arg = 0;
    if (sscanf(line, "%15s %255s %ld", what, pattern, &arg) < 2 || strstr(path, pattern) == NULL) {
        return 0;
    }
    bool reads = call == CALL_READ || call == CALL_READ_CACHED;
    if (strcmp(what, "read") == 0) {
        return reads ? EIO : 0;
    }
    if (strcmp(what, "write") == 0) {
        return call == CALL_WRITE ? EIO : 0;
    }
    if (strcmp(what, "sync") == 0) {
        return call == CALL_SYNC ? EIO : 0;
    }
    if (strcmp(what, "sector") == 0) {
        bool covers = call != CALL_SYNC && off <= arg && arg < off + (off_t)len;
        mended[number] = mended[number] || (covers && call == CALL_WRITE);
        return covers && reads && !mended[number] ? EIO : 0;
    }
    if (strcmp(what, "delay") == 0 && call == CALL_READ_CACHED) {
        return EAGAIN;
    }
    if (strcmp(what, "delay") == 0) {
        usleep((useconds_t)arg * 1000);
    }
    return 0;
}

/* 0, or -1 with errno. */
static int faults(int fd, enum call call, off_t off, size_t len)
{
    char text[RULES_BYTES], path[PATH_MAX];
    if (!read_rules(text)) {
        return 0;
    }
    path_of(fd, path);
    char *at = text;
    for (int number = 0; number < RULES_MAX && *at != '\0'; number++) {
        char *end = at + strcspn(at, "\n");
        char *next = end + (*end != '\0');
        *end = '\0';
        int err = judge(at, number, path, call, off, len);
        if (err != 0) {
            errno = err;
            return -1;
        }
        at = next;
    }
    return 0;
}

ssize_t pread(int fd, void *buf, size_t n, off_t off)
{
    return faults(fd, CALL_READ, off, n) != 0 ? -1 : real_pread(fd, buf, n, off);
}

ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t off, int flags)
{
    REAL(preadv2)
    return faults(fd, CALL_READ_CACHED, off, iov->iov_len) != 0 ? -1
                                                                : real(fd, iov, count, off, flags);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t off)
{
    REAL(pwrite)
    return faults(fd, CALL_WRITE, off, n) != 0 ? -1 : real(fd, buf, n, off);
}

int fdatasync(int fd)
{
    REAL(fdatasync)
    return faults(fd, CALL_SYNC, 0, 0) != 0 ? -1 : real(fd);
}
