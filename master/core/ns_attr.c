/* ns_attr.c - attributes: what stat shows, setattr, and the commit of a size. */
#include "master/core/ns_internal.h"

/* Bytes of the chunks that begin below size; what lies beyond size in the last one does not count.
 */
static uint64_t allocated_bytes(struct ns *ns, const struct inode *in)
{
    uint64_t chunk_bytes = ns->geo.chunk_bytes;
    uint64_t count = in->rows_inside + (in->has_chunk0 && in->size > 0);
    if (count == 0) {
        return 0;
    }
    uint64_t last = (in->size - 1) / chunk_bytes;
    struct ns_chunk k;
    if (chunk_load(ns, in, last, &k) != 0) {
        return count * chunk_bytes;
    }
    return (count - 1) * chunk_bytes + (in->size - last * chunk_bytes);
}

struct attr attr_of(struct ns *ns, const struct inode *in)
{
    return (struct attr){
        .ino = in->ino,
        .mode = in->mode,
        .nlink = in->nlink,
        .uid = in->uid,
        .gid = in->gid,
        .rdev = in->rdev,
        .size = in->size,
        .blocks = inode_is_file(in) ? (allocated_bytes(ns, in) + 511) / 512 : 0,
        .atime = in->atime,
        .mtime = in->mtime,
        .ctime = in->ctime,
        .flags = in->xattr_names > 0 ? ATTR_HAS_XATTR : 0,
    };
}

int ns_attr(struct ns *ns, uint64_t ino, struct attr *out)
{
    struct inode in;
    struct look l = {.ns = ns};
    int err = look_inode(&l, ino, &in);
    if (err == 0) {
        *out = attr_of(ns, &in);
    }
    return err;
}

enum {
    SETATTR_ALL = SETATTR_MODE | SETATTR_UID | SETATTR_GID | SETATTR_SIZE | SETATTR_ATIME |
                  SETATTR_MTIME | SETATTR_ATIME_NOW | SETATTR_MTIME_NOW | SETATTR_CLEAR_SUID |
                  SETATTR_EXTEND | SETATTR_EXTEND_UNTOUCHED,
    SETATTR_BOTH = SETATTR_SIZE | SETATTR_EXTEND,
    NSEC_PER_SEC = 1000000000,
};

int prepare_setattr(struct look *l, struct setattr_rec *rec)
{
    struct inode in;
    if ((rec->mask & ~(uint32_t)SETATTR_ALL) != 0 || (rec->mask & SETATTR_BOTH) == SETATTR_BOTH ||
        ((rec->mask & SETATTR_ATIME) && rec->atime.nsec >= NSEC_PER_SEC) ||
        ((rec->mask & SETATTR_MTIME) && rec->mtime.nsec >= NSEC_PER_SEC)) {
        return -EINVAL;
    }
    if (!(rec->mask & SETATTR_BOTH)) {
        return look_inode(l, rec->ino, &in);
    }
    int err = look_file(l, rec->ino, &in);
    if (err == 0 && rec->size > NS_SIZE_MAX) {
        err = -EFBIG;
    }
    return err;
}

static void set_owner(struct inode *in, const struct setattr_rec *rec)
{
    if (rec->mask & SETATTR_UID) {
        in->uid = rec->uid;
    }
    if (rec->mask & SETATTR_GID) {
        in->gid = rec->gid;
    }
}

static void set_times(struct change *c, struct inode *in, const struct setattr_rec *rec)
{
    if (rec->mask & SETATTR_ATIME_NOW) {
        in->atime = c->now;
    } else if (rec->mask & SETATTR_ATIME) {
        in->atime = rec->atime;
    }
    if (rec->mask & SETATTR_MTIME_NOW) {
        in->mtime = c->now;
    } else if (rec->mask & SETATTR_MTIME) {
        in->mtime = rec->mtime;
    }
    in->ctime = c->now;
}

/* What was written counts up to there. */
static void extend_to(struct change *c, struct inode *in, uint64_t end)
{
    if (end > in->size) {
        chunks_grow(c, in, end);
    }
    chunks_bind(c, in, end);
}

void apply_setattr(struct change *c, const struct setattr_rec *rec, struct setattr_rep *rep)
{
    bool sized = (rec->mask & SETATTR_BOTH) != 0;
    struct inode in = sized ? fitting_file(c, rec->ino) : fitting_inode(c, rec->ino);
    rep->before = in.ctime;
    if (rec->mask & SETATTR_EXTEND) {
        extend_to(c, &in, rec->size);
        if (!(rec->mask & SETATTR_EXTEND_UNTOUCHED)) {
            inode_touch(c, &in);
        }
    }
    set_owner(&in, rec);
    if (rec->mask & SETATTR_SIZE) {
        if (rec->size > in.size) {
            chunks_grow(c, &in, rec->size);
        } else {
            chunks_cut(c, &in, rec->size); /* also to the same size: bytes never committed go */
        }
        in.mtime = c->now;
    }
    /* A change of owner takes the bits even from a privileged caller's file, as Linux does; an
     * explicit mode in the same request has the last word. */
    if (rec->mask & (SETATTR_UID | SETATTR_GID | SETATTR_CLEAR_SUID)) {
        inode_clear_suid(&in);
    }
    if (rec->mask & SETATTR_MODE) {
        in.mode = (in.mode & S_IFMT) | (rec->mode & 07777);
    }
    set_times(c, &in, rec);
    inode_save(c, &in);
    rep->attr = attr_of(c->ns, &in);
}

int prepare_extend(struct look *l, struct extend_rec *rec)
{
    struct inode in;
    int err = look_file(l, rec->ino, &in);
    if (err == 0 && rec->end > NS_SIZE_MAX) {
        err = -EFBIG;
    }
    struct reader r = reader_of(rec->synced);
    while (err == 0 && !reader_done(&r)) {
        uint64_t word;
        dec_u64(&r, &word);
        err = r.err;
    }
    return err;
}

void apply_extend(struct change *c, const struct extend_rec *rec, struct extend_rep *rep)
{
    struct inode in = fitting_file(c, rec->ino);
    rep->before = in.ctime;
    extend_to(c, &in, rec->end);
    chunks_synced(c, &in, rec->synced);
    if (rec->clear_suid) {
        inode_clear_suid(&in);
    }
    if (!rec->untouched) {
        inode_touch(c, &in);
    }
    inode_save(c, &in);
    rep->attr = attr_of(c->ns, &in);
}
