/* ns_file.c - making and removing what is no directory: mknod, create, symlink, link, unlink. */
#include "master/core/ns_internal.h"

/* A new inode of the record's time, with the group a set-gid directory gives. */
static struct inode new_inode(const struct change *c, const struct inode *parent, uint64_t ino,
                              uint32_t mode, uint32_t uid, uint32_t gid)
{
    c->ns->next_ino = MAX(c->ns->next_ino, ino + 1);
    return (struct inode){
        .ino = ino,
        .mode = mode,
        .nlink = 1,
        .replicas = S_ISREG(mode) ? parent->replicas : 0,
        .uid = uid,
        .gid = parent->mode & S_ISGID ? parent->gid : gid,
        .ctime = c->now,
        .mtime = c->now,
        .atime = c->now,
    };
}

int prepare_mknod(struct look *l, struct mknod_rec *rec)
{
    struct inode parent;
    int err = look_new_entry(l, rec->parent, rec->name, &parent);
    if (err != 0) {
        return err;
    }
    switch (rec->mode & S_IFMT) {
    case S_IFREG:
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFCHR:
    case S_IFBLK:
        break;
    case 0:
        rec->mode |= S_IFREG;
        break;
    case S_IFDIR:
        return -EPERM;
    default:
        return -EINVAL;
    }
    rec->ino = l->ns->next_ino;
    return 0;
}

void apply_mknod(struct change *c, const struct mknod_rec *rec, struct mknod_rep *rep)
{
    struct inode parent = fitting_dir(c, rec->parent);
    uint32_t mode = rec->mode & (S_IFMT | 07777);
    struct inode in = new_inode(c, &parent, rec->ino, mode, rec->uid, rec->gid);
    in.rdev = S_ISCHR(mode) || S_ISBLK(mode) ? rec->rdev : 0;
    entry_add(c, &parent, rec->name, &in);
    inode_save(c, &parent);
    inode_save(c, &in);
    rep->attr = attr_of(c->ns, &in);
    rep->dir = attr_of(c->ns, &parent);
}

int prepare_create(struct look *l, struct create_rec *rec)
{
    struct ns *ns = l->ns;
    struct inode parent;
    int err = look_new_entry(l, rec->parent, rec->name, &parent);
    if (err != 0) {
        return err;
    }
    rec->ino = ns->next_ino;
    uint32_t ids[REPLICAS_MAX];
    int count = ns->decider.choose_members(ns->decider.owner, parent.replicas, ids, REPLICAS_MAX);
    if (count <= 0) {
        return 0; /* full or absent servers are the business of the first write: the file may stay
                     empty */
    }
    rec->handle = ns->next_handle;
    rec->version = ns->decider.next_version(ns->decider.owner, 0);
    uint32_t start = l->scratch->len;
    for (int i = 0; i < count; i++) {
        enc_u32(l->scratch, &ids[i]);
    }
    struct bytes all = writer_bytes(l->scratch);
    rec->members = bytes_of(all.data + start, all.len - start);
    return 0;
}

void apply_create(struct change *c, const struct create_rec *rec, struct create_rep *rep)
{
    struct ns_chunk k = {
        .ino = rec->ino,
        .handle = rec->handle,
        .version = rec->version,
        .trim = NO_TRIM,
        .fresh = true,
    };
    k.member_count = member_ids(rec->members, k.members);
    c->ns->next_handle = MAX(c->ns->next_handle, rec->handle + 1);
    struct inode parent = fitting_dir(c, rec->parent);
    struct inode in =
        new_inode(c, &parent, rec->ino, S_IFREG | (rec->mode & 07777), rec->uid, rec->gid);
    entry_add(c, &parent, rec->name, &in);
    if (rec->handle != 0) {
        chunk_add(c, &in, &k);
        rep->chunk = chunk_answer(c->ns, &k, c->scratch);
        rep->chunk.primary = k.members[0];
    }
    writer_add(c, &in, c->record->session);
    inode_save(c, &parent);
    inode_save(c, &in);
    rep->attr = attr_of(c->ns, &in);
    rep->dir = attr_of(c->ns, &parent);
}

int prepare_symlink(struct look *l, struct symlink_rec *rec)
{
    struct inode parent;
    if (rec->target.len == 0) {
        return -ENOENT;
    }
    if (rec->target.len > SYMLINK_LEN_MAX) {
        return -ENAMETOOLONG;
    }
    rec->ino = l->ns->next_ino;
    return look_new_entry(l, rec->parent, rec->name, &parent);
}

void apply_symlink(struct change *c, const struct symlink_rec *rec, struct symlink_rep *rep)
{
    struct inode parent = fitting_dir(c, rec->parent);
    struct inode in = new_inode(c, &parent, rec->ino, S_IFLNK | 0777, rec->uid, rec->gid);
    in.size = rec->target.len;
    entry_add(c, &parent, rec->name, &in);
    inode_save(c, &parent);
    inode_save(c, &in);
    struct row_key key = row_key_u64(in.ino);
    store_put(c->ns->store, TABLE_SYMLINK, row_key_bytes(&key), rec->target);
    rep->attr = attr_of(c->ns, &in);
    rep->dir = attr_of(c->ns, &parent);
}

int prepare_link(struct look *l, struct link_rec *rec)
{
    struct inode parent, in;
    int err = look_new_entry(l, rec->parent, rec->name, &parent);
    if (err == 0) {
        err = look_inode(l, rec->ino, &in);
    }
    if (err != 0) {
        return err;
    }
    if (inode_is_dir(&in)) {
        return -EPERM;
    }
    if (in.nlink == 0) {
        return -ENOENT; /* only open any more */
    }
    return in.nlink >= NS_LINK_MAX ? -EMLINK : 0;
}

void apply_link(struct change *c, const struct link_rec *rec, struct link_rep *rep)
{
    struct inode parent = fitting_dir(c, rec->parent);
    struct inode in = fitting_inode(c, rec->ino);
    FITS(c, !inode_is_dir(&in) && in.nlink > 0);
    entry_add(c, &parent, rec->name, &in);
    in.nlink++;
    in.ctime = c->now;
    inode_save(c, &parent);
    inode_save(c, &in);
    rep->attr = attr_of(c->ns, &in);
    rep->dir = attr_of(c->ns, &parent);
}

int prepare_unlink(struct look *l, struct unlink_rec *rec)
{
    struct inode parent, in;
    struct dirent_row d;
    int err = look_dir(l, rec->parent, &parent);
    if (err == 0) {
        err = look_entry(l, rec->parent, rec->name, &d);
    }
    if (err == 0) {
        err = look_inode(l, d.ino, &in);
    }
    if (err != 0) {
        return err;
    }
    if (inode_is_dir(&in)) {
        return -EISDIR;
    }
    rec->holders = look_holders(l, &in);
    rec->trash = look_trash(l, &in);
    return 0;
}

void apply_unlink(struct change *c, const struct unlink_rec *rec, struct unlink_rep *rep)
{
    struct inode parent = fitting_dir(c, rec->parent);
    struct dirent_row d = fitting_entry(c, rec->parent, rec->name);
    struct inode in = fitting_inode(c, d.ino);
    FITS(c, !inode_is_dir(&in));
    entry_remove(c, &parent, &d);
    inode_save(c, &parent);
    inode_unlink(c, &in, rec->holders, &(struct lost_name){rec->parent, rec->name, rec->trash});
    rep->ino = in.ino;
    rep->nlink = in.nlink;
    rep->dir = attr_of(c->ns, &parent);
}
