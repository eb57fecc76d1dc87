/* sim_image.c - copies of a simulated disk, and damage done to one. */
#include "tests/sim/sim_image.h"
#include "shared/base/invariant.h"
#include "shared/base/mem.h"
#include "tests/sim/sim_disk_impl.h"

#include <stdio.h>
#include <string.h>

/* Inodes copied so far: an inode with several names stays one. */
struct copies {
    const struct sim_inode **from;
    struct sim_inode **to;
    size_t count;
};

static struct sim_inode *copy_inode(struct sim_disk *image, struct copies *all,
                                    const struct sim_inode *from)
{
    if (from == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < all->count; i++) {
        if (all->from[i] == from) {
            return all->to[i];
        }
    }
    struct sim_inode *to = sim_inode_new(image);
    to->now_size = from->now_size;
    to->old_size = from->old_size;
    to->page_cap = from->page_cap;
    to->now = mem_dup(from->now, from->page_cap * SIM_PAGE_BYTES);
    to->old = mem_dup(from->old, from->page_cap * SIM_PAGE_BYTES);
    to->flags = mem_dup(from->flags, from->page_cap);
    to->ring = from->ring;
    image->used += sim_inode_used(to);
    all->from = mem_resize(all->from, (all->count + 1) * sizeof(all->from[0]));
    all->to = mem_resize(all->to, (all->count + 1) * sizeof(all->to[0]));
    all->from[all->count] = from;
    all->to[all->count++] = to;
    return to;
}

static void copy_names(struct sim_disk *image, struct copies *all, struct names *to,
                       const struct names *from)
{
    for (uint32_t i = 0; i < from->count; i++) {
        sim_names_put(to, from->items[i].path, copy_inode(image, all, from->items[i].inode));
    }
}

static void copy_changes(struct sim_disk *image, struct copies *all, const struct list *from)
{
    for (const struct list *it = from->next; it != from; it = it->next) {
        const struct name_op *op = list_entry(it, const struct name_op, link);
        struct name_op *copy = mem_new(struct name_op);
        copy->kind = op->kind;
        copy->path = mem_dup(op->path, strlen(op->path));
        copy->path2 = op->path2 != NULL ? mem_dup(op->path2, strlen(op->path2)) : NULL;
        copy->inode = copy_inode(image, all, op->inode);
        if (copy->inode != NULL) {
            sim_inode_ref(copy->inode);
        }
        list_push_back(&image->ops, &copy->link);
    }
}

/* `to`, which is empty, gets the same names, changes under way and contents. */
static void copy_disk(struct sim_disk *to, const struct sim_disk *from)
{
    struct copies all = {0};
    copy_names(to, &all, &to->now, &from->now);
    copy_names(to, &all, &to->old, &from->old);
    copy_changes(to, &all, &from->ops);
    for (size_t i = 0; i < all.count; i++) {
        sim_inode_drop(all.to[i]); /* the names hold it */
    }
    mem_free(all.from);
    mem_free(all.to);
    to->real_synced = from->real_synced;
}

struct sim_disk *sim_image_take(struct sim_disk *d)
{
    char name[512];
    struct sim_disk *image = sim_disk_create(d->sim, d->name, UINT64_MAX);
    copy_disk(image, d);
    image->live_bytes =
        d->real_made
            ? sim_real_read(sim_real_name(d, UNSYNCED_FILE, name, sizeof(name)), &image->live)
            : -1;
    return image;
}

void sim_image_put_back(struct sim_disk *d, struct sim_disk *image)
{
    char name[512];
    sim_disk_wipe(d);
    copy_disk(d, image);
    if (image->live_bytes >= 0) {
        sim_real_make(d);
        sim_real_write(sim_real_name(d, UNSYNCED_FILE, name, sizeof(name)), image->live,
                       (uint64_t)image->live_bytes);
    }
}

/* ---------------------------------------------------------------- damage */

/* [at, at + len) holds other bytes, which are durable; false if they are the same. */
static bool overwrite(struct sim_inode *i, uint64_t at, const uint8_t *bytes, uint64_t len)
{
    bool differs = memcmp(i->now + at, bytes, len) != 0;
    memmove(i->now + at, bytes, len);
    memcpy(i->old + at, i->now + at, len);
    return differs;
}

static bool zero(struct sim_inode *i, uint64_t at, struct sim_rand *r)
{
    static const uint8_t zeros[SIM_PAGE_BYTES];
    uint64_t unit = sim_chance(r, 1, 2) ? SIM_SECTOR_BYTES : SIM_PAGE_BYTES;
    at -= at % unit;
    return overwrite(i, at, zeros, MIN(unit, i->now_size - at));
}

static bool copy_page(struct sim_inode *i, uint64_t at, struct sim_rand *r)
{
    uint64_t pages = i->now_size / SIM_PAGE_BYTES;
    uint64_t to = at / SIM_PAGE_BYTES;
    uint64_t from = sim_below(r, pages);
    return to < pages && from < pages &&
           overwrite(i, to * SIM_PAGE_BYTES, i->now + from * SIM_PAGE_BYTES, SIM_PAGE_BYTES);
}

bool sim_image_damage(struct sim_disk *d, const char *path, enum sim_damage kind,
                      struct sim_rand *r, struct sim_damage_text *out)
{
    static const char *const words[DAMAGE_KINDS] = {
        "a bit flips",         "zeros stand",          "it ends",
        "another page stands", "a page is unreadable", "it is missing, which was read"};
    struct entry *e = sim_names_find(&d->now, path);
    if (e == NULL || e->inode == NULL || e->inode->now_size == 0) {
        return false;
    }
    struct sim_inode *i = e->inode;
    uint64_t at = sim_below(r, i->now_size);
    snprintf(out->text, sizeof(out->text), "%s at %llu", words[kind], (unsigned long long)at);
    switch (kind) {
    case DAMAGE_BIT:
        sim_inode_flip(i, at, (unsigned)sim_below(r, 8));
        return true;
    case DAMAGE_ZEROS:
        return zero(i, at, r);
    case DAMAGE_CUT:
        (void)sim_inode_truncate(i, at);
        sim_inode_sync(i);
        return true;
    case DAMAGE_OTHER_PAGE:
        return copy_page(i, at, r);
    case DAMAGE_UNREADABLE:
        i->flags[at / SIM_PAGE_BYTES] |= PAGE_SPOILT;
        return true;
    case DAMAGE_REMOVED:
        return sim_disk_unlink(d, path) == 0;
    case DAMAGE_KINDS:
        break;
    }
    return false;
}
