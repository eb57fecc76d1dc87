/* ns_path.c - paths from the root, for operators: mounts look up name by name. */
#include "master/core/ns_internal.h"

/* Cuts the first name off *rest; empty at the end. */
static struct bytes next_name(struct bytes *rest)
{
    uint32_t from = 0;
    while (from < rest->len && rest->data[from] == '/') {
        from++;
    }
    uint32_t to = from;
    while (to < rest->len && rest->data[to] != '/') {
        to++;
    }
    struct bytes name = bytes_of(rest->data + from, to - from);
    *rest = bytes_of(rest->data + to, rest->len - to);
    return name;
}

static int resolve(struct look *l, struct bytes path, struct inode *in)
{
    int err = look_inode(l, ROOT_INO, in);
    while (err == 0) {
        struct bytes name = next_name(&path);
        struct dirent_row d;
        if (name.len == 0) {
            break;
        }
        if (bytes_equal(name, bytes_str("."))) {
            continue;
        }
        if (!inode_is_dir(in)) {
            return -ENOTDIR;
        }
        if (bytes_equal(name, bytes_str(".."))) {
            err = look_inode(l, in->parent, in);
            continue;
        }
        err = look_entry(l, in->ino, name, &d);
        if (err == 0) {
            err = look_inode(l, d.ino, in);
        }
    }
    return err;
}

/* Puts the last name of the path into *out and cuts it off, with the slashes around it. */
static void cut_last(struct bytes *path, struct bytes *out)
{
    while (path->len > 0 && path->data[path->len - 1] == '/') {
        path->len--;
    }
    uint32_t from = path->len;
    while (from > 0 && path->data[from - 1] != '/') {
        from--;
    }
    *out = bytes_of(path->data + from, path->len - from);
    path->len = from;
}

int ns_path_find(struct ns *ns, struct bytes path, uint64_t *out_ino, struct bytes *out_name)
{
    struct look l = {.ns = ns};
    struct inode in;
    if (out_name != NULL) {
        cut_last(&path, out_name);
        if (out_name->len == 0 || bytes_equal(*out_name, bytes_str(".")) ||
            bytes_equal(*out_name, bytes_str(".."))) {
            return -EINVAL;
        }
        if (out_name->len > NAME_LEN_MAX) {
            return -ENAMETOOLONG;
        }
    }
    int err = resolve(&l, path, &in);
    if (err == 0 && out_name != NULL && !inode_is_dir(&in)) {
        err = -ENOTDIR;
    }
    *out_ino = in.ino;
    return err;
}

void ns_path(struct ns *ns, uint64_t parent, struct bytes name, struct writer *w)
{
    uint64_t chain[PATH_DEPTH_MAX];
    uint32_t count = 0;
    struct inode dir;
    bool whole = true;
    while (parent != ROOT_INO && whole) {
        whole = count < PATH_DEPTH_MAX && inode_load(ns, parent, &dir) == 0;
        if (whole) {
            chain[count++] = parent;
            parent = dir.parent;
        }
    }
    if (!whole) {
        writer_raw(w, "/(gone)", 7);
    }
    while (count > 0) {
        ROW_IS(ns, "inode", inode_load(ns, chain[--count], &dir) == 0);
        writer_raw(w, "/", 1);
        writer_raw(w, dir.name, dir.name_len);
    }
    writer_raw(w, "/", 1);
    writer_raw(w, name.data, name.len);
}

int query_path_resolve(struct look *l, const struct path_resolve_req *req,
                       struct path_resolve_rep *rep)
{
    struct inode in;
    int err = req->ino != 0 ? look_inode(l, req->ino, &in) : resolve(l, req->path, &in);
    if (err != 0) {
        return err;
    }
    rep->attr = attr_of(l->ns, &in);
    if (req->ino != 0 && inode_is_dir(&in)) {
        uint32_t start = l->scratch->len;
        ns_path(l->ns, in.parent, bytes_of(in.name, in.name_len), l->scratch);
        struct bytes all = writer_bytes(l->scratch);
        rep->path = bytes_of(all.data + start, all.len - start);
    }
    return 0;
}
