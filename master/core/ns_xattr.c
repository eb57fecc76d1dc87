/* ns_xattr.c - extended attributes: TABLE_XATTR, key inode (row_key.h) then the name, value as
 * given.
 *
 * The inode row keeps the bytes listxattr gives, which bounds them and tells whether there are any.
 *
 * The number of replicas of a file, or of what is made in a directory, is the attribute
 * REPLICAS_NAME; it lives in the inode row (ns_replicas.c) and there is no row for it.
 */
#include "master/core/ns_internal.h"

enum {
    XATTR_KEY_MAX = ROW_KEY_U64_MAX + XATTR_NAME_MAX,
    XATTR_NAMES_MAX = 64 * 1024, /* what listxattr(2) can give */
};

static struct bytes xattr_key(uint8_t out[XATTR_KEY_MAX], uint64_t ino, struct bytes name)
{
    uint32_t n = put_key_u64(out, ino);
    memcpy(out + n, name.data, name.len);
    return bytes_of(out, n + name.len);
}

/* 0, or what is wrong with the name. */
static int check_name(struct bytes name)
{
    if (name.len == 0 || name.len > XATTR_NAME_MAX) {
        return -ERANGE;
    }
    return memchr(name.data, '\0', name.len) != NULL ? -EINVAL : 0;
}

static int xattr_load(struct ns *ns, uint64_t ino, struct bytes name, struct bytes *out)
{
    uint8_t key[XATTR_KEY_MAX];
    return store_get(ns->store, TABLE_XATTR, xattr_key(key, ino, name), out) == 0 ? 0 : -ENODATA;
}

int query_getxattr(struct look *l, const struct getxattr_req *req, struct getxattr_rep *rep)
{
    struct inode in;
    int err = check_name(req->name);
    if (err == 0) {
        err = look_inode(l, req->ino, &in);
    }
    if (err == 0 && is_replicas_name(req->name)) {
        return replicas_value(l, &in, &rep->value);
    }
    return err == 0 ? xattr_load(l->ns, req->ino, req->name, &rep->value) : err;
}

struct list_names {
    uint64_t ino;
    struct writer *out;
};

static bool add_name(void *owner, struct bytes key, struct bytes value)
{
    struct list_names *n = owner;
    struct byte_reader r = byte_reader_of(key);
    (void)value;
    if (get_key_u64(&r) != n->ino) {
        return false;
    }
    writer_raw(n->out, r.at, (uint32_t)byte_reader_left(&r));
    writer_raw(n->out, "", 1);
    return true;
}

int query_listxattr(struct look *l, const struct listxattr_req *req, struct listxattr_rep *rep)
{
    struct inode in;
    int err = look_inode(l, req->ino, &in);
    if (err != 0 || (in.xattr_names == 0 && in.replicas == 0)) {
        return err;
    }
    uint32_t start = l->scratch->len;
    if (in.replicas != 0) {
        writer_raw(l->scratch, REPLICAS_NAME, sizeof(REPLICAS_NAME)); /* with its NUL */
    }
    struct list_names n = {req->ino, l->scratch};
    struct row_key from = row_key_u64(req->ino);
    store_walk(l->ns->store, TABLE_XATTR, row_key_bytes(&from), add_name, &n);
    struct bytes all = writer_bytes(l->scratch);
    rep->names = bytes_of(all.data + start, all.len - start);
    return 0;
}

int prepare_setxattr(struct look *l, struct setxattr_rec *rec)
{
    struct inode in;
    struct bytes old;
    int err = check_name(rec->name);
    if (err == 0 && rec->value.len > XATTR_VALUE_MAX) {
        err = -E2BIG;
    }
    if (err == 0 && (rec->flags & ~(uint32_t)(XATTR_CREATE_ONLY | XATTR_REPLACE_ONLY)) != 0) {
        err = -EINVAL;
    }
    if (err == 0) {
        err = look_inode(l, rec->ino, &in);
    }
    if (err != 0) {
        return err;
    }
    if (is_replicas_name(rec->name)) {
        return prepare_replicas(&in, rec);
    }
    bool exists = xattr_load(l->ns, rec->ino, rec->name, &old) == 0;
    if (exists && (rec->flags & XATTR_CREATE_ONLY)) {
        return -EEXIST;
    }
    if (!exists && (rec->flags & XATTR_REPLACE_ONLY)) {
        return -ENODATA;
    }
    if (!exists && in.xattr_names + rec->name.len + 1 > XATTR_NAMES_MAX) {
        return -ENOSPC;
    }
    return look_room(l);
}

void apply_setxattr(struct change *c, const struct setxattr_rec *rec, struct setxattr_rep *rep)
{
    struct inode in = fitting_inode(c, rec->ino);
    struct bytes old;
    uint8_t key[XATTR_KEY_MAX];
    (void)rep;
    FITS(c, check_name(rec->name) == 0);
    if (is_replicas_name(rec->name)) {
        uint32_t replicas;
        FITS(c, replicas_parse(rec->value, &replicas));
        replicas_change(c, rec->ino, replicas);
        return;
    }
    if (xattr_load(c->ns, rec->ino, rec->name, &old) != 0) {
        in.xattr_names += rec->name.len + 1;
    }
    store_put(c->ns->store, TABLE_XATTR, xattr_key(key, rec->ino, rec->name), rec->value);
    in.ctime = c->now;
    inode_save(c, &in);
}

int prepare_removexattr(struct look *l, struct removexattr_rec *rec)
{
    struct inode in;
    struct bytes old;
    int err = check_name(rec->name);
    if (err == 0) {
        err = look_inode(l, rec->ino, &in);
    }
    if (err == 0 && is_replicas_name(rec->name)) {
        return in.replicas != 0 ? 0 : -ENODATA;
    }
    return err == 0 ? xattr_load(l->ns, rec->ino, rec->name, &old) : err;
}

void apply_removexattr(struct change *c, const struct removexattr_rec *rec,
                       struct removexattr_rep *rep)
{
    struct inode in = fitting_inode(c, rec->ino);
    uint8_t key[XATTR_KEY_MAX];
    (void)rep;
    if (is_replicas_name(rec->name)) {
        replicas_change(c, rec->ino, 0);
        return;
    }
    FITS(c, check_name(rec->name) == 0);
    FITS(c, store_del(c->ns->store, TABLE_XATTR, xattr_key(key, rec->ino, rec->name)) == 0);
    in.xattr_names -= rec->name.len + 1;
    in.ctime = c->now;
    inode_save(c, &in);
}

void xattrs_remove(struct change *c, struct inode *in)
{
    struct row_key from = row_key_u64(in->ino);
    struct bytes key, value;
    while (in->xattr_names > 0) {
        uint8_t copy[XATTR_KEY_MAX];
        struct store *s = c->ns->store;
        int err = store_seek(s, TABLE_XATTR, row_key_bytes(&from), false, &key, &value);
        bool is = err == 0 && key.len <= sizeof(copy) && key.len > from.len;
        ROW_IS(c->ns, "attribute", is && memcmp(key.data, from.data, from.len) == 0);
        memcpy(copy, key.data, key.len);
        in->xattr_names -= key.len - from.len + 1;
        store_del(c->ns->store, TABLE_XATTR, bytes_of(copy, key.len));
    }
}
