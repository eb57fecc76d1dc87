/* ns_dir.c - directories: mkdir and rmdir, and the first inode of all. */
#include "master/core/ns_internal.h"

int prepare_mkdir(struct look *l, struct mkdir_rec *rec)
{
    struct inode parent;
    int err = look_new_entry(l, rec->parent, rec->name, &parent);
    if (err == 0 && parent.nlink >= NS_LINK_MAX) {
        err = -EMLINK;
    }
    rec->ino = l->ns->next_ino;
    return err;
}

void apply_mkdir(struct change *c, const struct mkdir_rec *rec, struct mkdir_rep *rep)
{
    struct inode parent = fitting_dir(c, rec->parent);
    c->ns->next_ino = MAX(c->ns->next_ino, rec->ino + 1);
    bool group = parent.mode & S_ISGID; /* inherited, with the bit, by what is made inside */
    struct inode dir = {
        .ino = rec->ino,
        .mode = S_IFDIR | (rec->mode & 01777) | (group ? S_ISGID : 0),
        .nlink = 2,
        .uid = rec->uid,
        .gid = group ? parent.gid : rec->gid,
        .parent = rec->parent,
        .replicas = parent.replicas,
        .ctime = c->now,
        .mtime = c->now,
        .atime = c->now,
    };
    entry_add(c, &parent, rec->name, &dir);
    inode_set_name(&dir, rec->name);
    inode_save(c, &parent);
    inode_save(c, &dir);
    rep->attr = attr_of(c->ns, &dir);
    rep->dir = attr_of(c->ns, &parent);
}

int prepare_rmdir(struct look *l, struct rmdir_rec *rec)
{
    struct inode parent, dir;
    struct dirent_row d;
    int err = look_dir(l, rec->parent, &parent);
    if (err == 0) {
        err = look_entry(l, rec->parent, rec->name, &d);
    }
    if (err == 0) {
        err = look_dir(l, d.ino, &dir);
    }
    if (err == 0 && dir.size > 0) {
        err = -ENOTEMPTY;
    }
    if (err == 0) {
        rec->trash = look_trash(l, &dir);
    }
    return err;
}

void apply_rmdir(struct change *c, const struct rmdir_rec *rec, struct rmdir_rep *rep)
{
    struct inode parent = fitting_dir(c, rec->parent);
    struct dirent_row d = fitting_entry(c, rec->parent, rec->name);
    struct inode dir = fitting_dir(c, d.ino);
    FITS(c, dir.size == 0);
    entry_remove(c, &parent, &d);
    inode_save(c, &parent);
    dir_unlink(c, &dir, &(struct lost_name){rec->parent, rec->name, rec->trash});
    rep->ino = dir.ino;
    rep->dir = attr_of(c->ns, &parent);
}

void apply_epoch_start(struct change *c, const struct epoch_start_rec *rec)
{
    struct inode root;
    (void)rec;
    c->ns->epoch_start = c->record->index;
    if (inode_load(c->ns, ROOT_INO, &root) == 0) {
        return;
    }
    /* The first record of the first epoch makes the root. */
    root = (struct inode){
        .ino = ROOT_INO,
        .mode = S_IFDIR | 0755,
        .nlink = 2,
        .parent = ROOT_INO,
        .ctime = c->now,
        .mtime = c->now,
        .atime = c->now,
    };
    inode_save(c, &root);
}
