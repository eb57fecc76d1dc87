/* ns_rename.c - rename: moving, replacing and exchanging entries. */
#include "master/core/ns_internal.h"

/* The flags of renameat2(2). */
enum { NOREPLACE = 1, EXCHANGE = 2 };

/* 0, -EINVAL if directory `inner` is `outer` or lies below it, or -ENOENT. Walks up to the root. */
static int look_outside(struct look *l, uint64_t outer, uint64_t inner)
{
    while (inner != outer) {
        struct inode dir;
        int err = look_dir(l, inner, &dir);
        if (err != 0 || inner == ROOT_INO) {
            return err;
        }
        inner = dir.parent;
    }
    return -EINVAL;
}

/* The checks of a rename that replaces inode `to`. */
static int check_replace(const struct inode *from, const struct inode *to)
{
    if (inode_is_dir(from) && !inode_is_dir(to)) {
        return -ENOTDIR;
    }
    if (!inode_is_dir(from) && inode_is_dir(to)) {
        return -EISDIR;
    }
    return inode_is_dir(to) && to->size > 0 ? -ENOTEMPTY : 0;
}

/* Both ends of a rename, as found. */
struct ends {
    struct inode from_dir, to_dir;
    struct dirent_row from, to;
    struct inode moved;    /* inode of `from` */
    struct inode replaced; /* inode of `to`, if there is one */
    bool has_to;
};

static int look_ends(struct look *l, const struct rename_rec *rec, struct ends *e)
{
    int err = look_dir(l, rec->parent, &e->from_dir);
    if (err == 0) {
        err = look_dir(l, rec->new_parent, &e->to_dir);
    }
    if (err == 0) {
        err = look_entry(l, rec->parent, rec->name, &e->from);
    }
    if (err == 0) {
        err = look_inode(l, e->from.ino, &e->moved);
    }
    if (err != 0) {
        return err;
    }
    err = look_entry(l, rec->new_parent, rec->new_name, &e->to);
    e->has_to = err == 0;
    if (e->has_to) {
        err = look_inode(l, e->to.ino, &e->replaced);
    } else if (err == -ENOENT) {
        err = 0;
    }
    return err;
}

/* A directory must not move into itself, nor may a directory get too many. */
static int look_move(struct look *l, const struct rename_rec *rec, const struct ends *e)
{
    bool exchange = rec->flags & EXCHANGE;
    int err = 0;
    if (inode_is_dir(&e->moved)) {
        err = look_outside(l, e->moved.ino, rec->new_parent);
    }
    if (err == 0 && exchange && inode_is_dir(&e->replaced)) {
        err = look_outside(l, e->replaced.ino, rec->parent);
    }
    if (err != 0 || rec->parent == rec->new_parent) {
        return err;
    }
    bool in = inode_is_dir(&e->moved);
    bool out = e->has_to && inode_is_dir(&e->replaced);
    if ((in && !out && e->to_dir.nlink >= NS_LINK_MAX) ||
        (exchange && out && !in && e->from_dir.nlink >= NS_LINK_MAX)) {
        return -EMLINK;
    }
    return 0;
}

int prepare_rename(struct look *l, struct rename_rec *rec)
{
    struct ends e;
    if (rec->flags != 0 && rec->flags != NOREPLACE && rec->flags != EXCHANGE) {
        return -EINVAL;
    }
    int err = look_ends(l, rec, &e);
    if (err != 0) {
        return err;
    }
    if (rec->flags == NOREPLACE && e.has_to) {
        return -EEXIST;
    }
    if (rec->flags == EXCHANGE && !e.has_to) {
        return -ENOENT;
    }
    err = look_move(l, rec, &e);
    if (err != 0 || (e.has_to && e.moved.ino == e.replaced.ino)) {
        return err; /* two names of one inode: nothing is to be done */
    }
    if (!e.has_to) {
        uint64_t free;
        struct dirent_row none;
        err = entry_load(l->ns, rec->new_parent, rec->new_name, &none, &free);
        return err == -ENOENT && free == 0 ? -ENOSPC : 0;
    }
    if (rec->flags != EXCHANGE) {
        err = check_replace(&e.moved, &e.replaced);
        if (err == 0) {
            rec->holders = look_holders(l, &e.replaced);
            rec->trash = look_trash(l, &e.replaced);
        }
    }
    return err;
}

/* Points the entry at another inode. `name` is the record's: the row's is a view that a put ends.
 */
static void entry_retarget(struct change *c, struct inode *dir, const struct dirent_row *d,
                           struct bytes name, const struct inode *target)
{
    struct dirent_row row = {dir->ino, d->cookie, target->ino, target->mode & S_IFMT, name};
    dirent_save(c->ns->store, &row);
    dir->nlink -= d->type == S_IFDIR;
    dir->nlink += inode_is_dir(target);
    inode_touch(c, dir);
}

static void save_moved(struct change *c, struct inode *in, uint64_t new_parent,
                       struct bytes new_name)
{
    in->ctime = c->now;
    if (inode_is_dir(in)) {
        in->parent = new_parent;
        inode_set_name(in, new_name);
    }
    inode_save(c, in);
}

/* Finds both ends again. */
static struct ends load_ends(struct change *c, const struct rename_rec *rec)
{
    struct ends e = {.from_dir = fitting_dir(c, rec->parent),
                     .to_dir = fitting_dir(c, rec->new_parent),
                     .from = fitting_entry(c, rec->parent, rec->name)};
    e.moved = fitting_inode(c, e.from.ino);
    e.has_to = entry_load(c->ns, rec->new_parent, rec->new_name, &e.to, NULL) == 0;
    if (e.has_to) {
        e.replaced = fitting_inode(c, e.to.ino);
    }
    return e;
}

void apply_rename(struct change *c, const struct rename_rec *rec, struct rename_rep *rep)
{
    struct ends e = load_ends(c, rec);
    rep->ino = e.moved.ino;
    if (e.has_to && e.moved.ino == e.replaced.ino) {
        return;
    }
    bool one_dir = rec->parent == rec->new_parent;
    struct inode *from_dir = &e.from_dir;
    struct inode *to_dir = one_dir ? &e.from_dir : &e.to_dir;
    if (rec->flags == EXCHANGE) {
        FITS(c, e.has_to);
        entry_retarget(c, to_dir, &e.to, rec->new_name, &e.moved);
        entry_retarget(c, from_dir, &e.from, rec->name, &e.replaced);
        save_moved(c, &e.replaced, rec->parent, rec->name);
    } else {
        if (e.has_to) {
            entry_retarget(c, to_dir, &e.to, rec->new_name, &e.moved);
        } else {
            entry_add(c, to_dir, rec->new_name, &e.moved);
        }
        entry_remove(c, from_dir, &e.from);
        struct lost_name was = {rec->new_parent, rec->new_name, rec->trash};
        if (e.has_to && inode_is_dir(&e.replaced)) {
            dir_unlink(c, &e.replaced, &was);
        } else if (e.has_to) {
            inode_unlink(c, &e.replaced, rec->holders, &was);
        }
    }
    inode_save(c, from_dir);
    if (!one_dir) {
        inode_save(c, to_dir);
    }
    save_moved(c, &e.moved, rec->new_parent, rec->new_name);
    rep->dir = attr_of(c->ns, from_dir);
    rep->new_dir = attr_of(c->ns, to_dir);
    if (e.has_to) {
        rep->replaced = e.replaced.ino;
        rep->replaced_nlink = e.replaced.nlink;
    }
}
