/* ns_query.c - the queries of the namespace (getxattr and listxattr: ns_xattr.c). */
#include "master/core/ns_internal.h"

int query_lookup(struct look *l, const struct lookup_req *req, struct lookup_rep *rep)
{
    struct inode parent, in;
    struct dirent_row d;
    int err = look_dir(l, req->parent, &parent);
    if (err == 0) {
        err = look_entry(l, req->parent, req->name, &d);
    }
    if (err == 0) {
        err = look_inode(l, d.ino, &in);
    }
    if (err == 0) {
        rep->attr = attr_of(l->ns, &in);
    }
    return err;
}

int query_getattr(struct look *l, const struct getattr_req *req, struct getattr_rep *rep)
{
    struct inode in;
    int err = look_inode(l, req->ino, &in);
    if (err == 0) {
        rep->attr = attr_of(l->ns, &in);
    }
    return err;
}

int query_readlink(struct look *l, const struct readlink_req *req, struct readlink_rep *rep)
{
    struct inode in;
    int err = look_inode(l, req->ino, &in);
    if (err != 0) {
        return err;
    }
    struct row_key key = row_key_u64(req->ino);
    if (!S_ISLNK(in.mode)) {
        return -EINVAL;
    }
    err = store_get(l->ns->store, TABLE_SYMLINK, row_key_bytes(&key), &rep->target);
    ROW_IS(l->ns, "symlink", err == 0);
    return 0;
}

/* ---------------------------------------------------------------- readdir */

struct listing {
    struct look *look;
    uint64_t dir;
    uint64_t after; /* cookie */
    uint32_t start; /* where the entries begin in scratch */
    uint32_t limit; /* bytes of entries */
    bool plus;
    bool end;
};

static bool list_entry_row(void *owner, struct bytes key, struct bytes value)
{
    struct listing *g = owner;
    struct writer *w = g->look->scratch;
    struct dirent_row d;
    ROW_IS(g->look->ns, "directory entry", dirent_unpack(key, value, &d) == 0);
    if (d.parent != g->dir) {
        return false;
    }
    if (d.cookie <= g->after) {
        return true;
    }
    struct dir_entry entry = {
        .cookie = d.cookie, .name = d.name, .attr = {.ino = d.ino, .mode = d.type}};
    if (g->plus) {
        struct inode in;
        ROW_IS(g->look->ns, "directory entry", look_inode(g->look, d.ino, &in) == 0);
        entry.attr = attr_of(g->look->ns, &in);
    }
    uint32_t before = w->len;
    enc_dir_entry(w, &entry);
    if (w->len - g->start > g->limit && before > g->start) {
        w->len = before; /* does not fit; the first one always does */
        g->end = false;
        return false;
    }
    return true;
}

int query_readdir(struct look *l, const struct readdir_req *req, struct readdir_rep *rep)
{
    struct inode dir;
    int err = look_dir(l, req->dir, &dir);
    if (err != 0) {
        return err;
    }
    struct listing g = {
        .look = l,
        .dir = req->dir,
        .after = req->cookie,
        .start = l->scratch->len,
        .limit = MIN(req->bytes, (uint32_t)READDIR_BYTES_MAX),
        .plus = req->plus,
        .end = true,
    };
    uint8_t key[DIRENT_KEY_MAX];
    store_walk(l->ns->store, TABLE_DENTRY, bytes_of(key, dirent_key(key, req->dir, req->cookie)),
               list_entry_row, &g);
    struct bytes all = writer_bytes(l->scratch);
    rep->parent = dir.parent;
    rep->end = g.end;
    rep->entries = bytes_of(all.len == g.start ? NULL : all.data + g.start, all.len - g.start);
    return 0;
}

/* ---------------------------------------------------------------- chunks */

int query_next_chunk(struct look *l, const struct next_chunk_req *req, struct next_chunk_rep *rep)
{
    struct inode in;
    struct ns_chunk k;
    int err = look_file(l, req->ino, &in);
    if (err != 0) {
        return err;
    }
    if (chunk_seek(l->ns, &in, req->number, &k) != 0) {
        return -ENXIO;
    }
    rep->number = k.number;
    return 0;
}
