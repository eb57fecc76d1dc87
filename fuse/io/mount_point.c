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

/* A line of the mount table. */
struct mounted {
    int minor;
    char options[256];       /* of this mount */
    char type[64];           /* of the filesystem */
    char super_options[256]; /* of the filesystem; cut if longer, ours begin them */
};

/* The topmost filesystem mounted on dir. 0, -ENOENT or another negative errno. */
static int look_up(const char *dir, struct mounted *out)
{
    FILE *table = fopen("/proc/self/mountinfo", "re");
    if (table == NULL) {
        return -errno;
    }
    char *line = NULL;
    size_t size = 0;
    int err = -ENOENT;
    while (getline(&line, &size, table) > 0) {
        struct mounted m;
        char at[4 * PATH_MAX];
        /* id, parent, major:minor, root, mount point, options, other fields, a dash, type, source,
         * options of the filesystem; the last line of a place is the topmost */
        const char *dash = strstr(line, " - ");
        if (dash != NULL &&
            sscanf(line, "%*d %*d %*d:%d %*s %16383s %255s", &m.minor, at, m.options) == 3 &&
            sscanf(dash, " - %63s %*s %255s", m.type, m.super_options) == 2) {
            unescape(at);
            if (strcmp(at, dir) == 0) {
                *out = m;
                err = 0;
            }
        }
    }
    free(line);
    fclose(table);
    return err;
}

int mount_point_minor(const char *dir)
{
    struct mounted m;
    int err = look_up(dir, &m);
    return err != 0 ? err : m.minor;
}

/* Changes the flags as each word of the list says; words that are no flags change nothing. */
static unsigned long flags_after(unsigned long flags, const char *list)
{
    static const struct {
        const char *word;
        unsigned long clear, set;
    } words[] = {{"ro", 0, MS_RDONLY},
                 {"rw", MS_RDONLY, 0},
                 {"nosuid", 0, MS_NOSUID},
                 {"suid", MS_NOSUID, 0},
                 {"nodev", 0, MS_NODEV},
                 {"dev", MS_NODEV, 0},
                 {"noexec", 0, MS_NOEXEC},
                 {"exec", MS_NOEXEC, 0},
                 {"noatime", MS_RELATIME, MS_NOATIME},
                 {"atime", MS_NOATIME, MS_RELATIME},
                 {"relatime", MS_NOATIME, MS_RELATIME},
                 {"nodiratime", 0, MS_NODIRATIME},
                 {"sync", 0, MS_SYNCHRONOUS},
                 {"async", MS_SYNCHRONOUS, 0}};
    while (*list != '\0') {
        size_t len = strcspn(list, ",");
        for (size_t i = 0; i < COUNT_OF(words); i++) {
            if (strlen(words[i].word) == len && strncmp(words[i].word, list, len) == 0) {
                flags = (flags & ~words[i].clear) | words[i].set;
            }
        }
        list += len;
        list += *list == ',';
    }
    return flags;
}

int mount_point_remount(const char *dir, const char *words, struct why *why)
{
    struct mounted m;
    int err = look_up(dir, &m);
    if (err != 0 || strcmp(m.type, "fuse.gfs") != 0) {
        return why_set(why, err != 0 ? err : -EINVAL, "cannot remount %s: no gfs is mounted there",
                       dir);
    }
    /* A filesystem that is read-only shows rw for a mount of it. */
    unsigned long flags = flags_after(0, m.super_options);
    flags = flags_after(flags, m.options) | (flags & MS_RDONLY);
    flags = flags_after(flags, words);
    if (mount(NULL, dir, NULL, MS_REMOUNT | flags, NULL) != 0) {
        err = -errno;
        return why_set(why, err, "cannot remount %s: %s", dir,
                       err == -EBUSY ? "files on it are open for writing" : strerror(-err));
    }
    return 0;
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
