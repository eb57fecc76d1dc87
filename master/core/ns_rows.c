/* ns_rows.c - loading and saving inodes and entries, with the notes of what was looked at and
 * changed. */
#include "master/core/ns_internal.h"
#include "shared/base/hmap.h"

#include <stdio.h>

static uint64_t *changed_slot(struct ns *ns, uint64_t ino)
{
    return &ns->changed[hmap_hash_u64(ino) % NS_CHANGED_SLOTS];
}

uint64_t ns_changed_at(const struct ns *ns, uint64_t ino)
{
    return MAX(ns->changed[hmap_hash_u64(ino) % NS_CHANGED_SLOTS], ns->epoch_start);
}

void ns_note_changed(struct change *c, uint64_t ino)
{
    *changed_slot(c->ns, ino) = c->record->index;
}

void ns_damaged(struct ns *ns, const char *table)
{
    char reason[128];
    snprintf(reason, sizeof(reason), "a row of the %s table cannot be decoded", table);
    env_die(ns->env, reason);
}

void ns_misfit(const struct change *c, const char *what)
{
    char reason[256];
    snprintf(reason, sizeof(reason), "record %llu (%s) does not fit the state: %s is not so",
             (unsigned long long)c->record->index, op_name(c->record->type), what);
    env_die(c->ns->env, reason);
}

int inode_load(struct ns *ns, uint64_t ino, struct inode *out)
{
    struct row_key key = row_key_u64(ino);
    struct bytes row;
    if (store_get(ns->store, TABLE_INODE, row_key_bytes(&key), &row) != 0) {
        return -ENOENT;
    }
    ROW_IS(ns, "inode", inode_unpack(row, ino, out) == 0);
    return 0;
}

int entry_load(struct ns *ns, uint64_t parent, struct bytes name, struct dirent_row *out,
               uint64_t *out_free)
{
    int err = dirent_find(ns->store, parent, name, out, out_free);
    ROW_IS(ns, "directory entry", err != ERR_CORRUPT);
    return err;
}

/* ---------------------------------------------------------------- looking */

int look_inode(struct look *l, uint64_t ino, struct inode *out)
{
    l->depends = MAX(l->depends, ns_changed_at(l->ns, ino));
    int err = inode_load(l->ns, ino, out);
    if (err == 0 && out->nlink == 0 && (inode_is_dir(out) || !orphan_held(l->ns, ino))) {
        err = -ENOENT; /* only the trash has it */
    }
    return err;
}

int look_dir(struct look *l, uint64_t ino, struct inode *out)
{
    int err = look_inode(l, ino, out);
    if (err == 0 && !inode_is_dir(out)) {
        err = -ENOTDIR;
    }
    return err;
}

int look_file(struct look *l, uint64_t ino, struct inode *out)
{
    int err = look_inode(l, ino, out);
    if (err == 0 && !inode_is_file(out)) {
        err = inode_is_dir(out) ? -EISDIR : -EINVAL;
    }
    return err;
}

int look_entry(struct look *l, uint64_t parent, struct bytes name, struct dirent_row *out)
{
    if (name.len > NAME_LEN_MAX) {
        return -ENAMETOOLONG;
    }
    return entry_load(l->ns, parent, name, out, NULL);
}

uint64_t ns_reserve_bytes(void)
{
    return NS_RESERVE_BYTES;
}

int look_room(struct look *l)
{
    return ns_room(l->ns);
}

int ns_room(struct ns *ns)
{
    return store_room(ns->store) < NS_RESERVE_BYTES ? -ENOSPC : 0;
}

int look_new_entry(struct look *l, uint64_t parent, struct bytes name, struct inode *out_parent)
{
    struct dirent_row d;
    uint64_t free;
    int err = look_dir(l, parent, out_parent);
    if (err != 0) {
        return err;
    }
    if (name.len > NAME_LEN_MAX) {
        return -ENAMETOOLONG;
    }
    err = entry_load(l->ns, parent, name, &d, &free);
    if (err == 0) {
        return -EEXIST;
    }
    return free == 0 ? -ENOSPC : look_room(l);
}

struct bytes look_holders(struct look *l, const struct inode *in)
{
    uint32_t start = l->scratch->len;
    if (inode_is_file(in) && in->nlink == 1) {
        l->ns->decider.holders(l->ns->decider.owner, in->ino, l->scratch);
    }
    struct bytes all = writer_bytes(l->scratch);
    return bytes_of(start == all.len ? NULL : all.data + start, all.len - start);
}

uint32_t look_trash(struct look *l, const struct inode *in)
{
    struct session_row s;
    if (!inode_is_dir(in) && !(inode_is_file(in) && in->nlink == 1)) {
        return 0;
    }
    if (l->session != 0 && session_load(l->ns, l->session, &s) == 0 && s.trash != 0) {
        return s.trash - 1;
    }
    return l->ns->decider.trash_s;
}

/* ---------------------------------------------------------------- changing */

struct inode fitting_inode(struct change *c, uint64_t ino)
{
    struct inode in;
    FITS(c, inode_load(c->ns, ino, &in) == 0);
    return in;
}

struct inode fitting_dir(struct change *c, uint64_t ino)
{
    struct inode in = fitting_inode(c, ino);
    FITS(c, inode_is_dir(&in) && in.nlink > 0);
    return in;
}

struct inode fitting_file(struct change *c, uint64_t ino)
{
    struct inode in = fitting_inode(c, ino);
    FITS(c, inode_is_file(&in));
    return in;
}

struct dirent_row fitting_entry(struct change *c, uint64_t dir, struct bytes name)
{
    struct dirent_row d;
    FITS(c, entry_load(c->ns, dir, name, &d, NULL) == 0);
    return d;
}

void inode_save_unseen(struct change *c, const struct inode *in)
{
    uint8_t row[INODE_ROW_MAX];
    struct row_key key = row_key_u64(in->ino);
    store_put(c->ns->store, TABLE_INODE, row_key_bytes(&key), bytes_of(row, inode_pack(in, row)));
}

void inode_save(struct change *c, const struct inode *in)
{
    inode_save_unseen(c, in);
    ns_note_changed(c, in->ino);
}

void inode_remove(struct change *c, struct inode *in)
{
    struct row_key key = row_key_u64(in->ino);
    chunks_remove_all(c, in);
    xattrs_remove(c, in);
    writers_drop(c, in);
    if (S_ISLNK(in->mode)) {
        store_del(c->ns->store, TABLE_SYMLINK, row_key_bytes(&key));
    }
    store_del(c->ns->store, TABLE_INODE, row_key_bytes(&key));
    ns_note_changed(c, in->ino);
}

void inode_drop(struct change *c, struct inode *in)
{
    if (chunks_of(in) > SLICE_CHUNKS) {
        trash_doom(c, in);
        inode_save(c, in);
    } else {
        inode_remove(c, in);
    }
}

void inode_unlink(struct change *c, struct inode *in, struct bytes holders,
                  const struct lost_name *was)
{
    FITS(c, in->nlink > 0);
    in->nlink--;
    in->ctime = c->now;
    if (in->nlink == 0) {
        bool held = orphan_keep(c, in->ino, holders);
        if (was->trash != 0) {
            trash_put(c, in, was);
        } else if (!held) {
            inode_drop(c, in);
            return;
        }
    }
    inode_save(c, in);
}

void dir_unlink(struct change *c, struct inode *dir, const struct lost_name *was)
{
    dir->nlink = 0;
    dir->ctime = c->now;
    if (was->trash == 0) {
        inode_remove(c, dir);
        return;
    }
    trash_put(c, dir, was);
    inode_save(c, dir);
}

void inode_touch(struct change *c, struct inode *in)
{
    in->mtime = in->ctime = c->now;
}

void inode_clear_suid(struct inode *in)
{
    if (inode_is_dir(in)) {
        return;
    }
    in->mode &= ~(uint32_t)S_ISUID;
    if (in->mode & S_IXGRP) {
        in->mode &= ~(uint32_t)S_ISGID;
    }
}

void entry_add(struct change *c, struct inode *dir, struct bytes name, const struct inode *target)
{
    struct dirent_row d;
    uint64_t cookie;
    FITS(c, name.len > 0 && name.len <= NAME_LEN_MAX);
    FITS(c, entry_load(c->ns, dir->ino, name, &d, &cookie) != 0 && cookie != 0);
    d = (struct dirent_row){dir->ino, cookie, target->ino, target->mode & S_IFMT, name};
    dirent_save(c->ns->store, &d);
    dir->size++;
    dir->nlink += inode_is_dir(target);
    inode_touch(c, dir);
}

void entry_remove(struct change *c, struct inode *dir, const struct dirent_row *d)
{
    dirent_delete(c->ns->store, dir->ino, d->cookie);
    dir->size--;
    dir->nlink -= d->type == S_IFDIR;
    inode_touch(c, dir);
}
