/* path.c - which inode a PATH argument means. */
#include "deploy/gfsctl/path.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* The source of the gfs mount with this device number, e.g. "master1:9400:/"; false if there is no
 * such mount. */
static bool mount_source(dev_t dev, char *out, size_t size)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char line[8192];
    bool found = false;
    while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL) {
        unsigned major, minor;
        char *tail = strstr(line, " - fuse.gfs ");
        if (sscanf(line, "%*d %*d %u:%u", &major, &minor) == 2 && tail != NULL &&
            makedev(major, minor) == dev) {
            char *source = tail + strlen(" - fuse.gfs ");
            source[strcspn(source, " \n")] = 0;
            snprintf(out, size, "%s", source);
            found = true;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return found;
}

bool path_mount_point(const char *real, char out[PATH_MAX])
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char line[8192], at[PATH_MAX];
    size_t best = 0;
    bool found = false;
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "%*d %*d %*s %*s %4095s", at) != 1) {
            continue;
        }
        size_t len = strcmp(at, "/") == 0 ? 0 : strlen(at);
        if (len < best || strncmp(real, at, len) != 0 || (real[len] != '/' && real[len] != 0)) {
            continue;
        }
        best = len; /* of mounts on one another the last counts */
        found = strstr(line, " - fuse.gfs ") != NULL;
        snprintf(out, PATH_MAX, "%s", at);
    }
    if (f != NULL) {
        fclose(f);
    }
    return found;
}

/* The path from the root, by its letters alone: nothing that may wait for a master is looked at. */
static bool absolute(const char *path, char out[PATH_MAX])
{
    size_t len = 0;
    out[0] = 0;
    if (path[0] != '/') {
        if (getcwd(out, PATH_MAX) == NULL) {
            return false;
        }
        len = strcmp(out, "/") == 0 ? 0 : strlen(out);
    }
    for (const char *p = path; *p != 0;) {
        size_t n = strcspn(p, "/");
        if (n == 2 && strncmp(p, "..", 2) == 0) {
            while (len > 0 && out[--len] != '/') {
            }
        } else if (n > 0 && !(n == 1 && p[0] == '.')) {
            if (len + 1 + n >= PATH_MAX) {
                return false;
            }
            out[len++] = '/';
            memcpy(out + len, p, n);
            len += n;
        }
        p += n + (p[n] == '/');
    }
    out[len] = 0;
    return true;
}

bool path_mount_state(const char *path, char *out, size_t size)
{
    char real[PATH_MAX], at[PATH_MAX];
    bool found = absolute(path, real) && path_mount_point(real, at);
    if (!found && (realpath(path, real) == NULL || !path_mount_point(real, at))) {
        return false;
    }
    ssize_t len = getxattr(at, "user.gfs.state", out, size - 1);
    out[len > 0 ? len : 0] = 0;
    return len > 0;
}

/* Whether one of the masters in the source is one of ours. */
static bool is_ours(const struct session *s, const char *source)
{
    char list[1024];
    snprintf(list, sizeof(list), "%s", source);
    char *dir = strrchr(list, ':');
    if (dir != NULL) {
        *dir = 0;
    }
    char *rest = list, *one;
    while ((one = strsep(&rest, ",")) != NULL) {
        if (session_has_master(s, one)) {
            return true;
        }
    }
    return false;
}

int path_inode(struct session *s, const char *path, uint64_t *out_ino)
{
    struct stat st;
    char source[1024];
    if ((stat(path, &st) == 0 || lstat(path, &st) == 0) &&
        mount_source(st.st_dev, source, sizeof(source))) {
        if (!is_ours(s, source)) {
            return say("%s is on a mount of %s, which is not among the masters asked", path,
                       source);
        }
        *out_ino = st.st_ino;
        return 0;
    }
    union op_any req = {.path_resolve_req = {.path = bytes_str(path)}}, rep;
    if (session_ask_or_say(s, OP_path_resolve, &req, &rep, 0, path) != 0) {
        return EXIT_FAILED;
    }
    *out_ino = rep.path_resolve_rep.attr.ino;
    return 0;
}

int cmd_inode(struct call *c)
{
    uint64_t ino;
    if (c->argc != 1) {
        return EXIT_USAGE;
    }
    int code = path_inode(c->session, c->argv[0], &ino);
    if (code == 0 && c->json) {
        printf("{\"inode\": %" PRIu64 "}\n", ino);
    } else if (code == 0) {
        printf("%" PRIu64 "\n", ino);
    }
    return code;
}
