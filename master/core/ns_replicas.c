/* ns_replicas.c - how many replicas a file wants.
 *
 * A number of its own stands in the inode row of a file or directory; what is made in a directory
 * inherits the directory's at that moment. Without one the cluster's default holds.
 */
#include "master/core/ns_internal.h"

bool replicas_parse(struct bytes value, uint32_t *out)
{
    if (value.len != 1 || value.data[0] < '0' || value.data[0] > '0' + REPLICAS_MAX) {
        return false;
    }
    *out = (uint32_t)(value.data[0] - '0');
    return true;
}

int replicas_value(struct look *l, const struct inode *in, struct bytes *out)
{
    if (in->replicas == 0) {
        return -ENODATA;
    }
    uint32_t start = l->scratch->len;
    uint8_t digit = (uint8_t)('0' + in->replicas);
    writer_raw(l->scratch, &digit, 1);
    *out = bytes_of(writer_bytes(l->scratch).data + start, 1);
    return 0;
}

static bool may_have_replicas(const struct inode *in)
{
    return inode_is_file(in) || inode_is_dir(in);
}

int prepare_replicas(const struct inode *in, const struct setxattr_rec *rec)
{
    uint32_t replicas;
    if (!replicas_parse(rec->value, &replicas)) {
        return -EINVAL;
    }
    if (!may_have_replicas(in)) {
        return -EPERM;
    }
    if (in->replicas != 0 && (rec->flags & XATTR_CREATE_ONLY)) {
        return -EEXIST;
    }
    return in->replicas == 0 && (rec->flags & XATTR_REPLACE_ONLY) ? -ENODATA : 0;
}

void replicas_change(struct change *c, uint64_t ino, uint32_t replicas)
{
    struct inode in;
    FITS(c, replicas <= REPLICAS_MAX);
    if (inode_load(c->ns, ino, &in) != 0 || !may_have_replicas(&in)) {
        return;
    }
    in.replicas = (uint8_t)replicas;
    in.ctime = c->now;
    inode_save(c, &in);
}

void apply_replicas_put(struct change *c, const struct replicas_put_rec *rec)
{
    struct reader r = reader_of(rec->inodes);
    while (!reader_done(&r)) {
        uint64_t ino;
        dec_u64(&r, &ino);
        FITS(c, r.err == 0);
        replicas_change(c, ino, rec->replicas);
    }
}

uint32_t ns_wanted(struct ns *ns, uint64_t ino)
{
    struct inode in;
    return inode_load(ns, ino, &in) == 0 ? in.replicas : 0;
}
