/* mount_point.c - what the kernel's mount table says of a mount point, without touching the mount. */
#include "fuse/io/mount_point.h"

#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

/* In place: the table writes space, tab, newline and backslash as \ooo. */
static void unescape(char *s)
{
    char *to = s;
    for (; *s != '\0'; s++) {
        unsigned value;
        if (s[0] == '\\' && sscanf(s + 1, "%3o", &value) == 1) {
            *to++ = (char)value;
            s += 3;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
}

int mount_point_minor(const char *dir)
{
    FILE *table = fopen("/proc/self/mountinfo", "re");
    if (table == NULL) {
        return -errno;
    }
    char *line = NULL;
    size_t size = 0;
    int found = -ENOENT;
    while (getline(&line, &size, table) > 0) {
        int minor = 0;
        char at[4 * PATH_MAX];
        /* id, parent, major:minor, root, mount point; the last line of a place is the topmost */
        if (sscanf(line, "%*d %*d %*d:%d %*s %16383s", &minor, at) == 2) {
            unescape(at);
            if (strcmp(at, dir) == 0) {
                found = minor;
            }
        }
    }
    free(line);
    fclose(table);
    return found;
}

int mount_point_read_ahead(int minor, unsigned kib)
{
    char path[64];
    char text[16];
    snprintf(path, sizeof path, "/sys/class/bdi/0:%d/read_ahead_kb", minor);
    int len = snprintf(text, sizeof text, "%u", kib);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int err = write(fd, text, (size_t)len) == len ? 0 : -errno;
    close(fd);
    return err;
}

/* A user who is not root unmounts through the helper of FUSE. */
static int unmount_by_helper(const char *dir)
{
    extern char **environ;
    const char *argv[] = {"fusermount3", "-u", "-q", "-z", "--", dir, NULL};
    pid_t pid;
    int status = 0;
    int err = posix_spawnp(&pid, argv[0], NULL, NULL, (char **)(uintptr_t)argv, environ);
    if (err != 0) {
        return -err;
    }
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return -errno;
        }
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

int mount_point_unmount(const char *dir, int minor)
{
    if (mount_point_minor(dir) != minor) {
        return -EBUSY; /* another filesystem is mounted over it */
    }
    if (umount2(dir, UMOUNT_NOFOLLOW) == 0) {
        return 0;
    }
    if (errno == EPERM) {
        return unmount_by_helper(dir);
    }
    return umount2(dir, UMOUNT_NOFOLLOW | MNT_DETACH) == 0 ? 0 : -errno;
}
