/* model.c - the reference filesystem. */
#include "tests/sim/model.h"
#include "shared/base/invariant.h"
#include "shared/base/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { NOREPLACE = 1, EXCHANGE = 2 };

struct model {
    struct model_inode **inodes; /* sorted by number */
    size_t count;
    size_t cap;
};

static size_t inode_place(const struct model *m, uint64_t ino)
{
    size_t low = 0;
    size_t high = m->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (m->inodes[mid]->ino < ino) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static bool hidden(const struct model_inode *n)
{
    return n->trashed && (S_ISDIR(n->mode) || n->holder_count == 0);
}

static struct model_inode *find_any(struct model *m, uint64_t ino)
{
    size_t i = inode_place(m, ino);
    return i < m->count && m->inodes[i]->ino == ino ? m->inodes[i] : NULL;
}

struct model_inode *model_kept(struct model *m, uint64_t ino)
{
    return find_any(m, ino);
}

bool model_keeps(struct model *m, uint64_t ino)
{
    return find_any(m, ino) != NULL;
}

struct model_inode *model_next(struct model *m, uint64_t ino)
{
    size_t i = inode_place(m, ino);
    while (i < m->count && hidden(m->inodes[i])) {
        i++;
    }
    return i < m->count ? m->inodes[i] : NULL;
}

struct model_inode *model_find(struct model *m, uint64_t ino)
{
    struct model_inode *n = model_next(m, ino);
    return n != NULL && n->ino == ino ? n : NULL;
}

static struct model_inode *inode_add(struct model *m, uint64_t ino)
{
    size_t i = inode_place(m, ino);
    if (m->count == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 64;
        m->inodes = mem_resize(m->inodes, m->cap * sizeof(m->inodes[0]));
    }
    memmove(&m->inodes[i + 1], &m->inodes[i], (m->count - i) * sizeof(m->inodes[0]));
    m->count++;
    m->inodes[i] = mem_new(struct model_inode);
    m->inodes[i]->ino = ino;
    return m->inodes[i];
}

static void inode_free(struct model_inode *n)
{
    for (size_t i = 0; i < n->entry_count; i++) {
        mem_free(n->entries[i].name);
    }
    mem_free(n->entries);
    mem_free(n->target);
    mem_free(n->xattrs);
    mem_free(n);
}

static void inode_remove(struct model *m, uint64_t ino)
{
    size_t i = inode_place(m, ino);
    inode_free(m->inodes[i]);
    m->count--;
    memmove(&m->inodes[i], &m->inodes[i + 1], (m->count - i) * sizeof(m->inodes[0]));
}

struct model *model_new(void)
{
    struct model *m = mem_new(struct model);
    struct model_inode *root = inode_add(m, 1);
    root->mode = S_IFDIR | 0755;
    root->nlink = 2;
    root->parent = 1;
    return m;
}

void model_free(struct model *m)
{
    for (size_t i = 0; i < m->count; i++) {
        inode_free(m->inodes[i]);
    }
    mem_free(m->inodes);
    mem_free(m);
}

/* ---------------------------------------------------------------- entries */

static struct model_entry *entry_find(struct model_inode *dir, const char *name)
{
    for (size_t i = 0; i < dir->entry_count; i++) {
        if (strcmp(dir->entries[i].name, name) == 0) {
            return &dir->entries[i];
        }
    }
    return NULL;
}

static void entry_add(struct model_inode *dir, const char *name, struct model_inode *n)
{
    size_t i = 0;
    while (i < dir->entry_count && strcmp(dir->entries[i].name, name) < 0) {
        i++;
    }
    dir->entries = mem_resize(dir->entries, (dir->entry_count + 1) * sizeof(dir->entries[0]));
    memmove(&dir->entries[i + 1], &dir->entries[i],
            (dir->entry_count - i) * sizeof(dir->entries[0]));
    dir->entries[i] = (struct model_entry){mem_dup(name, strlen(name)), n->ino};
    dir->entry_count++;
    dir->size = dir->entry_count;
    if (S_ISDIR(n->mode)) {
        dir->nlink++;
        n->parent = dir->ino;
    }
}

static void entry_remove(struct model_inode *dir, const char *name, const struct model_inode *n)
{
    struct model_entry *e = entry_find(dir, name);
    mem_free(e->name);
    dir->entry_count--;
    memmove(e, e + 1, (size_t)(&dir->entries[dir->entry_count] - e) * sizeof(*e));
    dir->size = dir->entry_count;
    if (S_ISDIR(n->mode)) {
        dir->nlink--;
    }
}

static int dir_of(struct model *m, uint64_t ino, struct model_inode **out)
{
    *out = model_find(m, ino);
    if (*out == NULL) {
        return -ENOENT;
    }
    return S_ISDIR((*out)->mode) ? 0 : -ENOTDIR;
}

int model_lookup(struct model *m, uint64_t parent, const char *name, uint64_t *out)
{
    struct model_inode *dir;
    int err = dir_of(m, parent, &dir);
    if (err != 0) {
        return err;
    }
    struct model_entry *e = entry_find(dir, name);
    if (e == NULL) {
        return -ENOENT;
    }
    *out = e->ino;
    return 0;
}

/* ---------------------------------------------------------------- making */

int model_make(struct model *m, bool do_it, const struct model_make *a)
{
    struct model_inode *dir;
    int err = dir_of(m, a->parent, &dir);
    if (err != 0) {
        return err;
    }
    if (entry_find(dir, a->name) != NULL) {
        return -EEXIST;
    }
    if (!do_it) {
        return 0;
    }
    bool group = dir->mode & S_ISGID;
    struct model_inode *n = inode_add(m, a->ino);
    n->mode = a->mode | (S_ISDIR(a->mode) && group ? S_ISGID : 0);
    n->nlink = S_ISDIR(a->mode) ? 2 : 1;
    n->uid = a->uid;
    n->gid = group ? dir->gid : a->gid;
    n->rdev = a->rdev;
    if (S_ISREG(a->mode) || S_ISDIR(a->mode)) {
        model_set_replicas(n, model_replicas(dir));
    }
    if (a->target != NULL) {
        n->target = mem_dup(a->target, strlen(a->target));
        n->size = strlen(a->target);
    }
    entry_add(dir, a->name, n);
    return 0;
}

int model_link(struct model *m, bool do_it, uint64_t ino, uint64_t parent, const char *name)
{
    struct model_inode *dir;
    int err = dir_of(m, parent, &dir);
    if (err != 0) {
        return err;
    }
    if (entry_find(dir, name) != NULL) {
        return -EEXIST;
    }
    struct model_inode *n = model_find(m, ino);
    if (n == NULL) {
        return -ENOENT;
    }
    if (S_ISDIR(n->mode)) {
        return -EPERM;
    }
    if (n->nlink == 0) {
        return -ENOENT;
    }
    if (do_it) {
        entry_add(dir, name, n);
        n->nlink++;
    }
    return 0;
}

/* ---------------------------------------------------------------- removing */

static void name_lost(struct model *m, struct model_inode *n, const uint64_t *holders, size_t count,
                      bool trash)
{
    if (--n->nlink > 0) {
        return;
    }
    ASSERT(count <= MODEL_HOLDERS_MAX);
    for (size_t i = 0; i < count; i++) {
        n->holders[i] = holders[i];
    }
    n->holder_count = count;
    n->trashed = trash;
    if (count == 0 && !trash) {
        inode_remove(m, n->ino);
    }
}

static void dir_lost(struct model *m, struct model_inode *n, bool trash)
{
    n->nlink = 0;
    n->trashed = trash;
    if (!trash) {
        inode_remove(m, n->ino);
    }
}

void model_trash_drop(struct model *m, uint64_t ino)
{
    struct model_inode *n = find_any(m, ino);
    if (n != NULL && n->trashed) {
        n->trashed = false;
        if (S_ISDIR(n->mode) || n->holder_count == 0) {
            inode_remove(m, ino);
        }
    }
}

int model_trash_return(struct model *m, uint64_t ino, uint64_t parent, const char *name)
{
    struct model_inode *dir;
    uint64_t taken;
    struct model_inode *n = find_any(m, ino);
    int err = dir_of(m, parent, &dir);
    if (err != 0) {
        return err;
    }
    if (n == NULL || !n->trashed) {
        return -ENOENT;
    }
    if (model_lookup(m, parent, name, &taken) == 0) {
        return -EEXIST;
    }
    n->trashed = false;
    n->holder_count = 0;
    n->nlink = S_ISDIR(n->mode) ? 2 : 1;
    entry_add(dir, name, n);
    return 0;
}

int model_unlink(struct model *m, bool do_it, uint64_t parent, const char *name,
                 const uint64_t *holders, size_t holder_count, bool trash)
{
    uint64_t ino;
    int err = model_lookup(m, parent, name, &ino);
    if (err != 0) {
        return err;
    }
    struct model_inode *n = model_find(m, ino);
    if (S_ISDIR(n->mode)) {
        return -EISDIR;
    }
    if (do_it) {
        entry_remove(model_find(m, parent), name, n);
        name_lost(m, n, holders, holder_count, trash);
    }
    return 0;
}

int model_rmdir(struct model *m, bool do_it, uint64_t parent, const char *name, bool trash)
{
    uint64_t ino;
    int err = model_lookup(m, parent, name, &ino);
    if (err != 0) {
        return err;
    }
    struct model_inode *n = model_find(m, ino);
    if (!S_ISDIR(n->mode)) {
        return -ENOTDIR;
    }
    if (n->entry_count > 0) {
        return -ENOTEMPTY;
    }
    if (do_it) {
        entry_remove(model_find(m, parent), name, n);
        dir_lost(m, n, trash);
    }
    return 0;
}

/* True if `inner` is `outer` or below it. */
static bool is_below(struct model *m, uint64_t outer, uint64_t inner)
{
    while (inner != outer) {
        if (inner == 1) {
            return false;
        }
        inner = model_find(m, inner)->parent;
    }
    return true;
}

static int rename_refused(struct model *m, const struct model_rename *a, struct model_inode *from,
                          struct model_inode *to)
{
    bool exchange = a->flags == EXCHANGE;
    if (a->flags == NOREPLACE && to != NULL) {
        return -EEXIST;
    }
    if (exchange && to == NULL) {
        return -ENOENT;
    }
    if (S_ISDIR(from->mode) && is_below(m, from->ino, a->new_parent)) {
        return -EINVAL;
    }
    if (exchange && S_ISDIR(to->mode) && is_below(m, to->ino, a->parent)) {
        return -EINVAL;
    }
    if (to == NULL || exchange || to == from) {
        return 0;
    }
    if (S_ISDIR(from->mode) != S_ISDIR(to->mode)) {
        return S_ISDIR(from->mode) ? -ENOTDIR : -EISDIR;
    }
    return S_ISDIR(to->mode) && to->entry_count > 0 ? -ENOTEMPTY : 0;
}

int model_rename(struct model *m, bool do_it, const struct model_rename *a)
{
    struct model_inode *from_dir;
    struct model_inode *to_dir;
    uint64_t from_ino;
    uint64_t to_ino;
    int err = dir_of(m, a->parent, &from_dir);
    if (err == 0) {
        err = dir_of(m, a->new_parent, &to_dir);
    }
    if (err == 0) {
        err = model_lookup(m, a->parent, a->name, &from_ino);
    }
    if (err != 0) {
        return err;
    }
    struct model_inode *from = model_find(m, from_ino);
    struct model_inode *to =
        model_lookup(m, a->new_parent, a->new_name, &to_ino) == 0 ? model_find(m, to_ino) : NULL;
    err = rename_refused(m, a, from, to);
    if (err != 0 || !do_it || from == to) {
        return err;
    }
    entry_remove(from_dir, a->name, from);
    if (to != NULL) {
        entry_remove(to_dir, a->new_name, to);
    }
    entry_add(to_dir, a->new_name, from);
    if (a->flags == EXCHANGE) {
        entry_add(from_dir, a->name, to);
    } else if (to != NULL && S_ISDIR(to->mode)) {
        dir_lost(m, to, a->trash);
    } else if (to != NULL) {
        name_lost(m, to, a->holders, a->holder_count, a->trash);
    }
    return 0;
}

/* ---------------------------------------------------------------- attributes, sessions */

static void drop_suid(struct model_inode *n)
{
    if (S_ISDIR(n->mode)) {
        return;
    }
    n->mode &= ~(uint32_t)S_ISUID;
    if (n->mode & S_IXGRP) {
        n->mode &= ~(uint32_t)S_ISGID;
    }
}

int model_setattr(struct model *m, bool do_it, const struct model_setattr *a)
{
    struct model_inode *n = model_find(m, a->ino);
    if (n == NULL) {
        return -ENOENT;
    }
    if (a->set_size && !S_ISREG(n->mode)) {
        return S_ISDIR(n->mode) ? -EISDIR : -EINVAL;
    }
    if (!do_it) {
        return 0;
    }
    n->uid = a->set_uid ? a->uid : n->uid;
    n->gid = a->set_gid ? a->gid : n->gid;
    n->size = a->set_size ? a->size : n->size;
    if (a->set_uid || a->set_gid || a->clear_suid) {
        drop_suid(n);
    }
    if (a->set_mode) {
        n->mode = (n->mode & S_IFMT) | (a->mode & 07777);
    }
    return 0;
}

int model_extend(struct model *m, bool do_it, uint64_t ino, uint64_t end, bool clear_suid)
{
    struct model_inode *n = model_find(m, ino);
    if (n == NULL) {
        return -ENOENT;
    }
    if (!S_ISREG(n->mode)) {
        return -EINVAL;
    }
    if (do_it) {
        n->size = end > n->size ? end : n->size;
        if (clear_suid) {
            drop_suid(n);
        }
    }
    return 0;
}

static bool let_go(struct model_inode *n, uint64_t session)
{
    for (size_t i = 0; i < n->holder_count; i++) {
        if (n->holders[i] == session) {
            n->holders[i] = n->holders[--n->holder_count];
            return n->nlink == 0 && n->holder_count == 0 && !n->trashed;
        }
    }
    return false;
}

void model_release(struct model *m, uint64_t ino, uint64_t session)
{
    struct model_inode *n = model_find(m, ino);
    if (n != NULL && let_go(n, session)) {
        inode_remove(m, ino);
    }
}

void model_session_end(struct model *m, uint64_t session)
{
    for (struct model_inode *n = model_next(m, 0); n != NULL;) {
        uint64_t ino = n->ino;
        if (let_go(n, session)) {
            inode_remove(m, ino);
        }
        n = model_next(m, ino + 1);
    }
}
