/* ns_path.c - paths from the root, for operators: mounts look up name by name. */
#include "master/core/ns_internal.h"

enum {
    DEPTH_MAX = 4096,      /* directories above one */
    SIBLINGS_MAX = 100000, /* entries looked through for a directory's name */
    PATH_BYTES_MAX = 64 * 1024,
};

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

struct name_search {
    struct ns *ns;
    uint64_t parent, ino;
    uint32_t seen;
    struct bytes name; /* view of the store; empty = not found */
};

static bool look_for_name(void *owner, struct bytes key, struct bytes value)
{
    struct name_search *s = owner;
    struct dirent_row d;
    if (dirent_unpack(key, value, &d) != 0) {
        ns_damaged(s->ns, "directory entry");
    }
    if (d.parent != s->parent || ++s->seen > SIBLINGS_MAX) {
        return false;
    }
    if (d.ino == s->ino) {
        s->name = d.name;
        return false;
    }
    return true;
}

/* Puts "/name" before what is there already: the path grows from its end. */
static void prepend(uint8_t *path, uint32_t *at, struct bytes name)
{
    *at -= name.len + 1;
    path[*at] = '/';
    memcpy(path + *at + 1, name.data, name.len);
}

/* The path of a directory; empty if it cannot be told at a bounded price. */
static struct bytes path_of(struct look *l, const struct inode *dir)
{
    uint32_t start = l->scratch->len;
    static const uint8_t zeros[PATH_BYTES_MAX];
    writer_raw(l->scratch, zeros, PATH_BYTES_MAX);
    uint8_t *path = l->scratch->buf->data + start;
    uint32_t at = PATH_BYTES_MAX;
    struct inode in = *dir;
    for (uint32_t depth = 0; in.ino != ROOT_INO; depth++) {
        struct name_search s = {.ns = l->ns, .parent = in.parent, .ino = in.ino};
        uint8_t key[DIRENT_KEY_MAX];
        store_walk(l->ns->store, TABLE_DENTRY, bytes_of(key, dirent_key(key, in.parent, 0)),
                   look_for_name, &s);
        if (s.name.len == 0 || s.name.len + 1 > at || depth >= DEPTH_MAX) {
            return bytes_of(NULL, 0);
        }
        prepend(path, &at, s.name);
        if (look_inode(l, in.parent, &in) != 0) {
            return bytes_of(NULL, 0);
        }
    }
    if (at == PATH_BYTES_MAX) {
        path[--at] = '/';
    }
    return bytes_of(path + at, PATH_BYTES_MAX - at);
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
        rep->path = path_of(l, &in);
    }
    return 0;
}
