/* sim_disk.c - names of the simulated disk: as seen, as durable, and what a power cut leaves of
 * them. */
#include "tests/sim/sim_disk.h"
#include "shared/base/invariant.h"
#include "shared/base/mem.h"
#include "shared/env/env.h"
#include "tests/sim/sim_disk_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* True if `path` is an entry of directory `dir` ("" = the top). */
static bool is_in(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    if (n == 0) {
        return strchr(path, '/') == NULL;
    }
    return strncmp(path, dir, n) == 0 && path[n] == '/' && strchr(path + n + 1, '/') == NULL;
}

static uint32_t names_place(const struct names *t, const char *path, bool *found)
{
    uint32_t low = 0;
    uint32_t high = t->count;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        int c = strcmp(t->items[mid].path, path);
        if (c == 0) {
            *found = true;
            return mid;
        }
        if (c < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    *found = false;
    return low;
}

struct entry *sim_names_find(const struct names *t, const char *path)
{
    bool found;
    uint32_t i = names_place(t, path, &found);
    return found ? &t->items[i] : NULL;
}

static void names_remove(struct names *t, const char *path)
{
    bool found;
    uint32_t i = names_place(t, path, &found);
    if (!found) {
        return;
    }
    mem_free(t->items[i].path);
    sim_inode_drop(t->items[i].inode);
    t->count--;
    memmove(&t->items[i], &t->items[i + 1], (t->count - i) * sizeof(struct entry));
}

void sim_names_put(struct names *t, const char *path, struct sim_inode *inode)
{
    bool found;
    uint32_t i = names_place(t, path, &found);
    if (inode != NULL) {
        sim_inode_ref(inode);
    }
    if (found) {
        sim_inode_drop(t->items[i].inode);
        t->items[i].inode = inode;
        return;
    }
    if (t->count == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->items = mem_resize(t->items, t->cap * sizeof(struct entry));
    }
    memmove(&t->items[i + 1], &t->items[i], (t->count - i) * sizeof(struct entry));
    t->count++;
    t->items[i] = (struct entry){mem_dup(path, strlen(path)), inode};
}

void sim_names_free(struct names *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        mem_free(t->items[i].path);
        sim_inode_drop(t->items[i].inode);
    }
    mem_free(t->items);
    *t = (struct names){0};
}

static void apply(struct names *t, const struct name_op *op)
{
    struct entry *e = sim_names_find(t, op->path);
    switch (op->kind) {
    case NAME_CREATE:
    case NAME_DIR:
        sim_names_put(t, op->path, op->inode);
        break;
    case NAME_UNLINK:
        if (e != NULL && e->inode == op->inode) {
            names_remove(t, op->path);
        }
        break;
    case NAME_RENAME:
        if (e != NULL && e->inode == op->inode) {
            sim_names_put(t, op->path2, op->inode);
            names_remove(t, op->path);
        }
        break;
    }
}

static void op_free(struct name_op *op)
{
    list_remove(&op->link);
    sim_inode_drop(op->inode);
    mem_free(op->path);
    mem_free(op->path2);
    mem_free(op);
}

static void change(struct sim_disk *d, enum name_op_kind kind, const char *path, const char *path2,
                   struct sim_inode *inode)
{
    struct name_op *op = mem_new(struct name_op);
    op->kind = kind;
    op->path = mem_dup(path, strlen(path));
    op->path2 = path2 ? mem_dup(path2, strlen(path2)) : NULL;
    op->inode = inode;
    if (inode != NULL) {
        sim_inode_ref(inode);
    }
    list_push_back(&d->ops, &op->link);
    apply(&d->now, op);
}

struct sim_disk *sim_disk_create(struct sim *s, const char *name, uint64_t capacity)
{
    struct sim_disk *d = mem_new(struct sim_disk);
    d->sim = s;
    d->capacity = capacity;
    snprintf(d->name, sizeof(d->name), "%s", name);
    list_init(&d->ops);
    return d;
}

void sim_ops_free(struct sim_disk *d)
{
    list_for_each_safe (it, &d->ops) {
        op_free(list_entry(it, struct name_op, link));
    }
}

void sim_disk_free(struct sim_disk *d)
{
    sim_ops_free(d);
    sim_names_free(&d->now);
    sim_names_free(&d->old);
    mem_free(d->live);
    mem_free(d);
}

void sim_disk_wipe(struct sim_disk *d)
{
    sim_real_remove(d);
    sim_names_free(&d->now);
    sim_names_free(&d->old);
    sim_ops_free(d);
}

/* A byte of those in files below the prefix: the file, NULL if there is none, and its offset. */
static const struct entry *some_byte(struct sim_disk *d, const char *prefix, struct sim_rand *r,
                                     uint64_t *out_at)
{
    uint64_t bytes = 0;
    uint64_t at = 0;
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < d->now.count; i++) {
            const struct entry *e = &d->now.items[i];
            if (e->inode == NULL || strncmp(e->path, prefix, strlen(prefix)) != 0) {
                continue;
            }
            uint64_t has = sim_inode_size(e->inode);
            if (round == 0) {
                bytes += has;
            } else if (at < has) {
                *out_at = at;
                return e;
            } else {
                at -= has;
            }
        }
        if (bytes == 0) {
            return NULL;
        }
        at = round == 0 ? sim_below(r, bytes) : at;
    }
    return NULL;
}

bool sim_disk_choose(struct sim_disk *d, const char *prefix, struct sim_rand *r,
                     struct sim_place *out)
{
    const struct entry *e = some_byte(d, prefix, r, &out->at);
    if (e != NULL) {
        snprintf(out->path, sizeof(out->path), "%s", e->path);
    }
    return e != NULL;
}

void sim_disk_flip(struct sim_disk *d, const struct sim_place *p, unsigned bit)
{
    sim_inode_flip(sim_names_find(&d->now, p->path)->inode, p->at, bit);
}

void sim_disk_spoil(struct sim_disk *d, const struct sim_place *p)
{
    sim_names_find(&d->now, p->path)->inode->flags[p->at / SIM_PAGE_BYTES] |= PAGE_SPOILT;
}

struct sim_inode *sim_disk_some_file(struct sim_disk *d, const char *prefix, struct sim_rand *r)
{
    uint64_t at;
    const struct entry *e = some_byte(d, prefix, r, &at);
    return e != NULL ? e->inode : NULL;
}

void sim_disk_each(const struct sim_disk *d,
                   void (*each)(void *owner, const char *path, uint64_t size), void *owner)
{
    for (uint32_t i = 0; i < d->now.count; i++) {
        const struct entry *e = &d->now.items[i];
        if (e->inode != NULL) {
            each(owner, e->path, sim_inode_size(e->inode));
        }
    }
}

int64_t sim_disk_size(const struct sim_disk *d, const char *path)
{
    const struct entry *e = sim_names_find(&d->now, path);
    return e != NULL && e->inode != NULL ? (int64_t)sim_inode_size(e->inode) : -ENOENT;
}

void sim_disk_durable(const struct sim_disk *d, const char *path, uint64_t off, void *out,
                      uint32_t len)
{
    const struct entry *e = sim_names_find(&d->old, path);
    memset(out, 0, len);
    if (e != NULL && e->inode != NULL && off < e->inode->old_size) {
        memcpy(out, e->inode->old + off, MIN(len, e->inode->old_size - off));
    }
}

uint64_t sim_disk_used(const struct sim_disk *d)
{
    return d->used;
}

void sim_disk_set_capacity(struct sim_disk *d, uint64_t capacity)
{
    d->capacity = capacity;
}

int sim_disk_take(struct sim_disk *d, int64_t bytes)
{
    if (bytes > 0 && d->used + (uint64_t)bytes > d->capacity) {
        return -ENOSPC;
    }
    d->used = (uint64_t)((int64_t)d->used + bytes);
    return 0;
}

/* ---------------------------------------------------------------- names */

static bool dir_exists(struct sim_disk *d, const char *path)
{
    if (*path == 0) {
        return true;
    }
    struct entry *e = sim_names_find(&d->now, path);
    return e != NULL && e->inode == NULL;
}

static bool parent_exists(struct sim_disk *d, const char *path)
{
    char *dir = mem_dup(path, (size_t)(base_name(path) - path));
    size_t n = strlen(dir);
    if (n > 0) {
        dir[n - 1] = 0;
    }
    bool yes = dir_exists(d, dir);
    mem_free(dir);
    return yes;
}

int sim_disk_open(struct sim_disk *d, const char *path, unsigned flags, struct sim_inode **out)
{
    struct entry *e = sim_names_find(&d->now, path);
    if (e == NULL && (flags & ENV_OPEN_READ_ONLY) && strcmp(path, UNSYNCED_FILE) == 0 &&
        sim_real_size(d, path) >= 0) {
        *out = sim_real_view(d, path);
        return 0;
    }
    if (e == NULL) {
        if (!(flags & ENV_OPEN_CREATE) || !parent_exists(d, path)) {
            return -ENOENT;
        }
        struct sim_inode *i = sim_inode_new(d);
        change(d, NAME_CREATE, path, NULL, i);
        *out = i;
        return 0;
    }
    if (e->inode == NULL) {
        return -EISDIR;
    }
    if ((flags & ENV_OPEN_CREATE) && (flags & ENV_OPEN_EXCL)) {
        return -EEXIST;
    }
    sim_inode_ref(e->inode);
    *out = e->inode;
    return 0;
}

int sim_disk_make_dir(struct sim_disk *d, const char *path)
{
    struct entry *e = sim_names_find(&d->now, path);
    if (e != NULL) {
        return e->inode == NULL ? 0 : -EEXIST;
    }
    if (*path == 0) {
        return 0;
    }
    if (!parent_exists(d, path)) {
        return -ENOENT;
    }
    change(d, NAME_DIR, path, NULL, NULL);
    if (d->real_made) {
        char name[512];
        (void)mkdir(sim_real_name(d, path, name, sizeof(name)), 0700);
    }
    return 0;
}

int sim_disk_rename(struct sim_disk *d, const char *from, const char *to)
{
    char real_from[512];
    char real_to[512];
    bool real = false;
    if (!parent_exists(d, to)) {
        return -ENOENT;
    }
    if (d->real_made) {
        sim_real_name(d, from, real_from, sizeof(real_from));
        sim_real_name(d, to, real_to, sizeof(real_to));
        real = rename(real_from, real_to) == 0;
    }
    struct entry *e = sim_names_find(&d->now, from);
    if (e != NULL) {
        ASSERT(e->inode != NULL); /* nobody renames directories */
        if (d->real_made && !real) {
            (void)unlink(real_to);
        }
        change(d, NAME_RENAME, from, to, e->inode);
        return 0;
    }
    e = sim_names_find(&d->now, to);
    if (real && e != NULL) {
        change(d, NAME_UNLINK, to, NULL, e->inode);
    }
    return real ? 0 : -ENOENT;
}

int sim_disk_unlink(struct sim_disk *d, const char *path)
{
    bool real = false;
    if (d->real_made) {
        char name[512];
        real = unlink(sim_real_name(d, path, name, sizeof(name))) == 0;
    }
    struct entry *e = sim_names_find(&d->now, path);
    if (e == NULL) {
        return real ? 0 : -ENOENT;
    }
    if (e->inode == NULL) {
        return -EISDIR;
    }
    change(d, NAME_UNLINK, path, NULL, e->inode);
    return 0;
}

int sim_disk_sync_dir(struct sim_disk *d, const char *path)
{
    if (!dir_exists(d, path)) {
        return -ENOENT;
    }
    struct list *last = &d->ops; /* a move between directories takes all before it along */
    list_for_each (it, &d->ops) {
        struct name_op *op = list_entry(it, struct name_op, link);
        if (op->kind == NAME_RENAME && is_in(op->path, path) != is_in(op->path2, path)) {
            last = it;
        }
    }
    bool all = last != &d->ops;
    list_for_each_safe (it, &d->ops) {
        struct name_op *op = list_entry(it, struct name_op, link);
        bool end = it == last;
        if (all || is_in(op->path, path) || (op->path2 && is_in(op->path2, path))) {
            apply(&d->old, op);
            op_free(op);
        }
        all = all && !end;
    }
    return 0;
}

/* Files a library made and nobody imported are in the directory too. */
static size_t add_real_names(struct sim_disk *d, const char *path, char ***found, size_t count)
{
    char name[512];
    DIR *dir = d->real_made ? opendir(sim_real_name(d, path, name, sizeof(name))) : NULL;
    if (dir == NULL) {
        return count;
    }
    size_t known = count;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        bool skip = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
        for (size_t i = 0; i < known && !skip; i++) {
            skip = strcmp((*found)[i], e->d_name) == 0;
        }
        if (!skip) {
            *found = mem_resize(*found, (count + 1) * sizeof(char *));
            (*found)[count++] = mem_dup(e->d_name, strlen(e->d_name));
        }
    }
    closedir(dir);
    return count;
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int sim_disk_list(struct sim_disk *d, const char *path, void (*each)(void *owner, const char *name),
                  void *owner)
{
    if (!dir_exists(d, path)) {
        return -ENOENT;
    }
    char **found = mem_alloc((d->now.count + 1) * sizeof(char *));
    size_t count = 0;
    for (uint32_t i = 0; i < d->now.count; i++) {
        if (is_in(d->now.items[i].path, path)) {
            const char *base = base_name(d->now.items[i].path);
            found[count++] = mem_dup(base, strlen(base));
        }
    }
    count = add_real_names(d, path, &found, count);
    qsort(found, count, sizeof(char *), compare_text);
    for (size_t i = 0; i < count; i++) { /* copies: each() may change the directory */
        each(owner, found[i]);
        mem_free(found[i]);
    }
    mem_free(found);
    return 0;
}

void sim_disk_space(struct sim_disk *d, uint64_t *out_total, uint64_t *out_free)
{
    *out_total = d->capacity;
    *out_free = d->capacity - MIN(d->used, d->capacity);
}

/* What a library writes is not on the account: there must be room, and none is taken. */
int sim_disk_allocate(struct sim_disk *d, const char *path, uint64_t off, uint64_t bytes)
{
    struct entry *e = sim_names_find(&d->now, path);
    int64_t size = sim_real_size(d, path);
    if ((e == NULL || e->inode == NULL) && size < 0) {
        return -ENOENT;
    }
    int err = d->used + bytes > d->capacity ? -ENOSPC : 0;
    if (strcmp(path, UNSYNCED_FILE) == 0) {
        if (off == 0) { /* it has just been opened */
            d->live_taken = 0;
            d->live_overgrown = false;
        } else {
            (void)sim_disk_overgrown(d);
        }
        d->live_size = (uint64_t)MAX(size, 0);
        d->live_taken = err == 0 ? MAX(d->live_taken, off + bytes) : d->live_taken;
    }
    return err;
}

bool sim_disk_overgrown(struct sim_disk *d)
{
    int64_t size = sim_real_size(d, UNSYNCED_FILE);
    bool known = d->live_size > 0 || d->live_taken > 0;
    d->live_overgrown |= known && size > (int64_t)MAX(d->live_size, d->live_taken);
    return d->live_overgrown;
}

void *sim_disk_ring(struct sim_disk *d, const char *path, uint32_t size)
{
    struct sim_inode *i;
    if (sim_disk_open(d, path, ENV_OPEN_CREATE, &i) != 0) {
        return NULL;
    }
    if (!i->ring || i->now_size != size) {
        i->ring = false;
        (void)sim_inode_truncate(i, size);
        i->ring = true;
    }
    void *memory = i->now;
    ASSERT(memory != NULL);
    bool kept = i->refs > 1; /* the entry keeps it */
    sim_inode_drop(i);
    ASSERT(kept);
    return memory;
}

/* ---------------------------------------------------------------- power */

/* What the journal held at the cut: a prefix of the changes, or any of them. */
static void settle_names(struct sim_disk *d, enum sim_loss loss, struct sim_rand *r)
{
    uint64_t count = 0;
    list_for_each (it, &d->ops) {
        count++;
    }
    bool prefix = sim_chance(r, 1, 2);
    uint64_t kept = sim_below(r, count + 1);
    uint64_t at = 0;
    list_for_each (it, &d->ops) {
        bool keep = prefix ? at < kept : sim_chance(r, 1, 2);
        at++;
        if (loss == LOSS_NOTHING || (loss == LOSS_MIXED && keep)) {
            apply(&d->old, list_entry(it, struct name_op, link));
        }
    }
    sim_ops_free(d);
    sim_names_free(&d->now);
    for (uint32_t i = 0; i < d->old.count; i++) { /* sorted: directories before what is in them */
        if (parent_exists(d, d->old.items[i].path)) {
            sim_names_put(&d->now, d->old.items[i].path, d->old.items[i].inode);
        }
    }
    sim_names_free(&d->old);
    for (uint32_t i = 0; i < d->now.count; i++) {
        sim_names_put(&d->old, d->now.items[i].path, d->now.items[i].inode);
    }
}

void sim_disk_power_cut(struct sim_disk *d)
{
    struct sim_rand *r = &d->sim->disk;
    uint64_t draw = sim_below(r, 100);
    enum sim_loss loss = draw < 10 ? LOSS_NOTHING : draw < 30 ? LOSS_ALL : LOSS_MIXED;
    settle_names(d, loss, r);
    for (uint32_t i = 0; i < d->now.count; i++) {
        if (d->now.items[i].inode != NULL) {
            sim_inode_power_cut(d->now.items[i].inode, loss, r);
        }
    }
    sim_real_power_cut(d, r);
}
