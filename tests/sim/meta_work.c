/* meta_work.c - programs that change one small tree all at once. */
#include "tests/sim/meta_work.h"
#include "tests/sim/data_work.h"

#include <stdio.h>
#include <sys/stat.h>

enum { KNOWN = 12 };

/* Inodes seen lately; some are gone by now, which is welcome. */
struct seen {
    uint64_t dirs[KNOWN];
    uint64_t files[KNOWN];
    uint64_t links[KNOWN];
};

static void note(struct actor *a, struct seen *s, const struct attr *attr)
{
    uint64_t at = sim_below(&a->rand, KNOWN);
    if (S_ISDIR(attr->mode)) {
        s->dirs[1 + at % (KNOWN - 1)] = attr->ino; /* the shared top stays */
    } else if (S_ISLNK(attr->mode)) {
        s->links[at] = attr->ino;
    } else {
        s->files[at] = attr->ino;
    }
}

static uint64_t dir_of(struct actor *a, struct seen *s)
{
    uint64_t ino = sim_chance(&a->rand, 1, 2) ? s->dirs[0] : s->dirs[sim_below(&a->rand, KNOWN)];
    return ino != 0 ? ino : s->dirs[0];
}

static uint64_t any_of(struct actor *a, struct seen *s)
{
    uint64_t draw = sim_below(&a->rand, 3 * KNOWN);
    uint64_t ino = draw < KNOWN       ? s->files[draw]
                   : draw < 2 * KNOWN ? s->dirs[draw - KNOWN]
                                      : s->links[draw - 2 * KNOWN];
    return ino != 0 ? ino : s->dirs[0];
}

static const char *name_of(struct actor *a, char out[8])
{
    snprintf(out, 8, "n%u", (unsigned)sim_below(&a->rand, sim_chance(&a->rand, 7, 8) ? 7 : 30));
    return out;
}

static int change_attr(struct actor *a, uint64_t ino)
{
    struct attr set = {.mode = (uint32_t)sim_below(&a->rand, 01000),
                       .uid = 500000 + a->world->ops,
                       .gid = a->number,
                       .size = sim_below(&a->rand, 700000)};
    uint32_t masks[] = {SETATTR_MODE, SETATTR_UID | SETATTR_GID, SETATTR_SIZE,
                        SETATTR_MTIME_NOW | SETATTR_UID};
    if (sim_chance(&a->rand, 1, 4)) {
        set.mode |= S_ISUID;
    }
    return do_setattr(a, ino, masks[sim_below(&a->rand, 4)], &set, NULL);
}

/* Position after the last entry of the page. */
static uint64_t last_cookie(const struct op_entry *e)
{
    struct reader r = reader_of(bytes_of(e->bytes, e->byte_count));
    struct dir_entry d = {0};
    while (!reader_done(&r)) {
        dec_dir_entry(&r, &d);
    }
    return d.cookie;
}

/* To its end, if no page fails. */
static int list_dir(struct actor *a, struct seen *s)
{
    uint64_t ino = dir_of(a, s), cookie = 0;
    int status;
    do {
        status = do_readdir(a, ino, cookie);
        cookie = status == 0 ? last_cookie(a->entry) : 0;
    } while (cookie != 0 && !a->entry->end);
    return status;
}

static int change_step(struct actor *a, struct seen *s, uint64_t draw)
{
    struct attr attr = {0};
    char name[8];
    char other[8];
    int status = 0;
    if (draw < 15) {
        status = do_make(a, dir_of(a, s), name_of(a, name), S_IFREG | 0644, &attr);
    } else if (draw < 27) {
        status = do_make(a, dir_of(a, s), name_of(a, name), S_IFDIR | 0755, &attr);
    } else if (draw < 32) {
        snprintf(other, sizeof(other), "t%u", (unsigned)sim_below(&a->rand, 1000));
        status = do_symlink(a, dir_of(a, s), name_of(a, name), other, &attr);
    } else if (draw < 42) {
        return do_unlink(a, dir_of(a, s), name_of(a, name));
    } else if (draw < 47) {
        return do_rmdir(a, dir_of(a, s), name_of(a, name));
    } else if (draw < 62) {
        uint32_t flags = sim_chance(&a->rand, 1, 4) ? (uint32_t)sim_between(&a->rand, 1, 2) : 0;
        return do_rename(a, dir_of(a, s), name_of(a, name), dir_of(a, s), name_of(a, other), flags);
    } else if (draw < 68) {
        return do_link(a, any_of(a, s), dir_of(a, s), name_of(a, name));
    } else {
        return change_attr(a, any_of(a, s));
    }
    if (status == 0) {
        note(a, s, &attr);
    }
    return status;
}

static int query_step(struct actor *a, struct seen *s, uint64_t draw)
{
    struct attr attr = {0};
    char name[8];
    if (draw < 87) {
        int status = do_lookup(a, dir_of(a, s), name_of(a, name), &attr);
        if (status == 0) {
            note(a, s, &attr);
        }
        return status;
    }
    if (draw < 92) {
        return do_getattr(a, any_of(a, s), &attr);
    }
    return draw < 97 ? list_dir(a, s) : do_readlink(a, any_of(a, s));
}

/* Few attributes, so that they are there or not by chance; values of their own, so that records are
 * told apart. */
static int xattr_step(struct actor *a, struct seen *s)
{
    char name[24];
    char value[16];
    uint64_t ino = any_of(a, s);
    bool replicas = sim_chance(&a->rand, 1, 4);
    if (replicas) {
        snprintf(name, sizeof(name), "user.gfs.replicas");
        snprintf(value, sizeof(value), "%u", (unsigned)world_draw_replicas(a->world, &a->rand));
    } else {
        snprintf(name, sizeof(name), "user.a%u", (unsigned)sim_below(&a->rand, 3));
        snprintf(value, sizeof(value), "%u", a->world->ops);
    }
    switch (sim_below(&a->rand, 6)) {
    case 0:
        return do_getxattr(a, ino, name);
    case 1:
        return do_listxattr(a, ino);
    case 2:
        return do_removexattr(a, ino, name);
    default:
        return do_setxattr(a, ino, name, value,
                           sim_chance(&a->rand, 1, 3) ? (uint32_t)sim_between(&a->rand, 1, 2) : 0);
    }
}

static int must(struct actor *a, int status)
{
    if (status != 0) {
        char text[256];
        op_describe(a->entry, text, sizeof(text));
        world_fail(a->world, "set-up failed: %s", text);
    }
    return status;
}

void setup_work(struct actor *a)
{
    struct attr attr;
    actor_wait_mount(a);
    must(a, do_make(a, ROOT_INO, "meta", S_IFDIR | 0755, &attr));
    uint64_t meta_dir = attr.ino;
    must(a, do_make(a, ROOT_INO, "data", S_IFDIR | 0755, &attr));
    data_work_dir(a->world, attr.ino);
    a->world->meta_dir = meta_dir;
}

void meta_work(struct actor *a)
{
    struct seen seen = {.dirs = {a->world->meta_dir}};
    a->signals = 30;
    while (a->world->ops < a->world->ops_wanted && !a->world->healing) {
        actor_wait_mount(a);
        uint64_t draw = sim_below(&a->rand, 114);
        int status = draw < 75    ? change_step(a, &seen, draw)
                     : draw < 100 ? query_step(a, &seen, draw)
                     : draw < 110 ? xattr_step(a, &seen)
                     : draw < 112 ? do_statfs(a)
                                  : do_refused(a, dir_of(a, &seen));
        if (status == GONE) {
            actor_sleep(a, 10 * NS_PER_MS);
        }
    }
}
