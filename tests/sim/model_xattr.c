/* model_xattr.c - extended attributes in the reference filesystem. */
#include "shared/base/mem.h"
#include "tests/sim/model.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define REPLICAS "user.gfs.replicas"

static size_t place_of(const struct model_inode *n, const char *name)
{
    size_t i = 0;
    while (i < n->xattr_count && strcmp(n->xattrs[i].name, name) < 0) {
        i++;
    }
    return i;
}

static struct model_xattr *find(const struct model_inode *n, const char *name)
{
    size_t i = place_of(n, name);
    return i < n->xattr_count && strcmp(n->xattrs[i].name, name) == 0 ? &n->xattrs[i] : NULL;
}

static void drop(struct model_inode *n, struct model_xattr *x)
{
    n->xattr_count--;
    memmove(x, x + 1, (size_t)(&n->xattrs[n->xattr_count] - x) * sizeof(*x));
}

static void put(struct model_inode *n, const char *name, const char *value)
{
    struct model_xattr *x = find(n, name);
    if (x == NULL) {
        size_t i = place_of(n, name);
        n->xattrs = mem_resize(n->xattrs, (n->xattr_count + 1) * sizeof(*x));
        x = &n->xattrs[i];
        memmove(x + 1, x, (n->xattr_count - i) * sizeof(*x));
        n->xattr_count++;
        snprintf(x->name, sizeof(x->name), "%s", name);
    }
    snprintf(x->value, sizeof(x->value), "%s", value);
}

int model_setxattr(struct model *m, bool do_it, uint64_t ino, const char *name, const char *value,
                   uint32_t flags)
{
    struct model_inode *n = model_find(m, ino);
    bool replicas = strcmp(name, REPLICAS) == 0;
    if (n == NULL) {
        return -ENOENT;
    }
    if (replicas && (strlen(value) != 1 || value[0] < '0' || value[0] > '8')) {
        return -EINVAL;
    }
    if (replicas && !S_ISREG(n->mode) && !S_ISDIR(n->mode)) {
        return -EPERM;
    }
    struct model_xattr *x = find(n, name);
    if (x != NULL && (flags & XATTR_CREATE)) {
        return -EEXIST;
    }
    if (x == NULL && (flags & XATTR_REPLACE)) {
        return -ENODATA;
    }
    if (do_it && replicas && value[0] == '0') {
        if (x != NULL) {
            drop(n, x);
        }
    } else if (do_it) {
        put(n, name, value);
    }
    return 0;
}

int model_removexattr(struct model *m, bool do_it, uint64_t ino, const char *name)
{
    struct model_inode *n = model_find(m, ino);
    struct model_xattr *x = n != NULL ? find(n, name) : NULL;
    if (x == NULL) {
        return n == NULL ? -ENOENT : -ENODATA;
    }
    if (do_it) {
        drop(n, x);
    }
    return 0;
}

const char *model_getxattr(const struct model_inode *n, const char *name)
{
    struct model_xattr *x = find(n, name);
    return x != NULL ? x->value : NULL;
}

size_t model_listxattr(const struct model_inode *n, char *out, size_t size)
{
    size_t len = 0;
    for (int round = 0; round < 2; round++) { /* the number of replicas comes first */
        for (size_t i = 0; i < n->xattr_count; i++) {
            const char *name = n->xattrs[i].name;
            size_t bytes = strlen(name) + 1;
            if ((strcmp(name, REPLICAS) == 0) == (round == 0) && len + bytes <= size) {
                memcpy(out + len, name, bytes);
                len += bytes;
            }
        }
    }
    return len;
}

uint32_t model_replicas(const struct model_inode *n)
{
    const char *value = model_getxattr(n, REPLICAS);
    return value != NULL ? (uint32_t)(value[0] - '0') : 0;
}

void model_set_replicas(struct model_inode *n, uint32_t replicas)
{
    char value[2] = {(char)('0' + replicas), 0};
    struct model_xattr *x = find(n, REPLICAS);
    if (replicas != 0) {
        put(n, REPLICAS, value);
    } else if (x != NULL) {
        drop(n, x);
    }
}
