/* calls_meta.c - the calls on the namespace: each is one request to the master. */
#include <fcntl.h>
#include <string.h>

#include "fuse/core/meta_op.h"

static int check_name(struct bytes name)
{
    if (name.len > NAME_LEN_MAX) {
        return -ENAMETOOLONG;
    }
    bool dots = (name.len == 1 && name.data[0] == '.') ||
                (name.len == 2 && name.data[0] == '.' && name.data[1] == '.');
    bool bad = name.len == 0 || dots || memchr(name.data, '/', name.len) != NULL ||
               memchr(name.data, '\0', name.len) != NULL;
    return bad ? -EINVAL : 0;
}

static int check_xattr_name(struct bytes name)
{
    return name.len == 0 || name.len > XATTR_NAME_MAX ? -ERANGE : 0;
}

/* Begins a call and its op, or ends it at once with `err` (then NULL). */
static struct meta_op *begin(struct client *c, struct client_call *k, int err, uint16_t code)
{
    api_begin(c);
    call_begin(c, k);
    if (err != 0) {
        call_end(k, err);
        api_end(c);
        return NULL;
    }
    return meta_new(c, k, code);
}

static void start(struct meta_op *m, struct slice body)
{
    struct client *c = m->op.client;
    m->body = body;
    meta_commit_then_send(m);
    api_end(c);
}

/* A call that is nothing but its request. */
#define PLAIN_CALL(c, k, err, name, ...)                                                           \
    do {                                                                                           \
        struct meta_op *m_ = begin(c, k, err, OP_##name);                                          \
        if (m_ != NULL) {                                                                          \
            struct name##_req req_ = {__VA_ARGS__};                                                \
            start(m_, RPC_BODY(name##_req, &req_));                                                \
        }                                                                                          \
    } while (0)

/* A call about an entry of a directory; `adds`: it may make the entry. */
#define ENTRY_CALL(c, k, err, adds, name_, parent_, entry, ...)                                    \
    do {                                                                                           \
        struct meta_op *m_ = begin(c, k, err, OP_##name_);                                         \
        if (m_ != NULL) {                                                                          \
            struct name_##_req req_ = {.parent = (parent_), .name = (entry), __VA_ARGS__};         \
            m_->dir = (parent_);                                                                   \
            if (adds) {                                                                            \
                known_names_add(c, parent_, entry);                                                \
            }                                                                                      \
            start(m_, RPC_BODY(name_##_req, &req_));                                               \
        }                                                                                          \
    } while (0)

bool client_lacks(struct client *c, uint64_t parent, struct bytes name)
{
    return check_name(name) == 0 && known_names_lack(c, parent, name);
}

void client_lookup(struct client *c, struct client_call *k, uint64_t parent, struct bytes name)
{
    int err = check_name(name);
    if (client_lacks(c, parent, name)) {
        err = -ENOENT;
    }
    ENTRY_CALL(c, k, err, false, lookup, parent, name);
}

void client_getattr(struct client *c, struct client_call *k, uint64_t ino)
{
    struct meta_op *m = begin(c, k, 0, OP_getattr);
    struct getattr_req req = {.ino = ino};
    meta_find_inode(m, ino);
    start(m, RPC_BODY(getattr_req, &req));
}

void client_setattr(struct client *c, struct client_call *k, uint64_t ino, uint32_t mask,
                    const struct attr *a)
{
    bool sets_size = (mask & SETATTR_SIZE) != 0;
    int err = sets_size && a->size > INT64_MAX ? -EFBIG : 0;
    struct meta_op *m = begin(c, k, err, OP_setattr);
    if (m == NULL) {
        return;
    }
    struct setattr_req req = {.ino = ino,
                              .mask = mask,
                              .mode = a->mode,
                              .uid = a->uid,
                              .gid = a->gid,
                              .size = a->size,
                              .atime = a->atime,
                              .mtime = a->mtime};
    m->sets_size = sets_size;
    m->new_size = a->size;
    if (sets_size) {
        meta_set_inode(m, inode_get(c, ino));
    } else {
        meta_find_inode(m, ino);
        m->commit.carry = &m->body;
        m->overtakes = m->inode != NULL &&
                       commit_overtake(m->inode, (mask & (SETATTR_MTIME | SETATTR_MTIME_NOW)) != 0);
    }
    start(m, RPC_BODY(setattr_req, &req));
}

void client_mknod(struct client *c, struct client_call *k, uint64_t parent, struct bytes name,
                  uint32_t mode, uint32_t rdev, uint32_t uid, uint32_t gid)
{
    ENTRY_CALL(c, k, check_name(name), true, mknod, parent, name, .mode = mode, .rdev = rdev,
               .uid = uid, .gid = gid);
}

void client_mkdir(struct client *c, struct client_call *k, uint64_t parent, struct bytes name,
                  uint32_t mode, uint32_t uid, uint32_t gid)
{
    ENTRY_CALL(c, k, check_name(name), true, mkdir, parent, name, .mode = mode, .uid = uid,
               .gid = gid);
}

void client_symlink(struct client *c, struct client_call *k, uint64_t parent, struct bytes name,
                    struct bytes target, uint32_t uid, uint32_t gid)
{
    int err = check_name(name);
    if (err == 0 && target.len > SYMLINK_LEN_MAX) {
        err = -ENAMETOOLONG;
    } else if (err == 0 && target.len == 0) {
        err = -ENOENT;
    }
    ENTRY_CALL(c, k, err, true, symlink, parent, name, .target = target, .uid = uid, .gid = gid);
}

void client_link(struct client *c, struct client_call *k, uint64_t ino, uint64_t parent,
                 struct bytes name)
{
    struct meta_op *m = begin(c, k, check_name(name), OP_link);
    if (m != NULL) {
        struct link_req req = {.ino = ino, .parent = parent, .name = name};
        m->dir = parent;
        known_names_add(c, parent, name);
        meta_find_inode(m, ino);
        start(m, RPC_BODY(link_req, &req));
    }
}

void client_unlink(struct client *c, struct client_call *k, uint64_t parent, struct bytes name)
{
    ENTRY_CALL(c, k, check_name(name), false, unlink, parent, name);
}

void client_rmdir(struct client *c, struct client_call *k, uint64_t parent, struct bytes name)
{
    ENTRY_CALL(c, k, check_name(name), false, rmdir, parent, name);
}

void client_readlink(struct client *c, struct client_call *k, uint64_t ino)
{
    PLAIN_CALL(c, k, 0, readlink, .ino = ino);
}

void client_readdir(struct client *c, struct client_call *k, uint64_t ino, uint64_t cookie,
                    uint32_t bytes, bool plus)
{
    PLAIN_CALL(c, k, 0, readdir, .dir = ino, .cookie = cookie,
               .bytes = MIN(bytes, (uint32_t)READDIR_BYTES_MAX), .plus = plus);
}

void client_getxattr(struct client *c, struct client_call *k, uint64_t ino, struct bytes name)
{
    PLAIN_CALL(c, k, check_xattr_name(name), getxattr, .ino = ino, .name = name);
}

void client_listxattr(struct client *c, struct client_call *k, uint64_t ino)
{
    PLAIN_CALL(c, k, 0, listxattr, .ino = ino);
}

void client_setxattr(struct client *c, struct client_call *k, uint64_t ino, struct bytes name,
                     struct bytes value, uint32_t flags)
{
    int err = check_xattr_name(name);
    if (err == 0 && value.len > XATTR_VALUE_MAX) {
        err = -E2BIG;
    }
    PLAIN_CALL(c, k, err, setxattr, .ino = ino, .name = name, .value = value, .flags = flags);
}

void client_removexattr(struct client *c, struct client_call *k, uint64_t ino, struct bytes name)
{
    PLAIN_CALL(c, k, check_xattr_name(name), removexattr, .ino = ino, .name = name);
}

void client_open(struct client *c, struct client_call *k, uint64_t ino, int flags)
{
    struct meta_op *m = begin(c, k, 0, OP_open);
    struct open_req req = {.ino = ino, .flags = (uint32_t)flags & O_ACCMODE};
    m->flags = flags;
    m->opening = true;
    meta_set_inode(m, inode_get(c, ino));
    m->inode->opening++;
    start(m, RPC_BODY(open_req, &req));
}

void client_create_file(struct client *c, struct client_call *k, uint64_t parent, struct bytes name,
                        uint32_t mode, uint32_t uid, uint32_t gid, int flags)
{
    struct meta_op *m = begin(c, k, check_name(name), OP_create);
    if (m != NULL) {
        struct create_req req = {
            .parent = parent, .name = name, .mode = mode, .uid = uid, .gid = gid};
        struct slice body = RPC_BODY(create_req, &req);
        m->flags = flags;
        m->dir = parent;
        known_names_add(c, parent, name);
        m->name = slice_ref(&body);
        start(m, body);
    }
}

/* ---------------------------------------------------------------- rename */

/* Which inode moves is known only by looking: done while there is anything uncommitted in this
 * mount. */
static void rename_look(struct meta_op *m, bool other);

static void rename_committed(struct commit *k)
{
    struct meta_op *m = container_of(k, struct meta_op, commit);
    if (m->op.call == NULL) {
        meta_end(m, 0);
    } else if (m->inode != NULL && m->inode->error_number != m->errors) {
        meta_end(m, m->inode->error); /* the whole old file is worth more than a part of the new */
    } else if (m->exchange) {
        m->exchange = false;
        rename_look(m, true);
    } else {
        meta_send(m);
    }
}

static void rename_looked(struct master_call *call)
{
    struct meta_op *m = call->owner;
    struct lookup_rep rep;
    int err = MASTER_REPLY(lookup, call, &rep);
    if (err != 0 || m->op.call == NULL) {
        m->exchange = false; /* the rename itself will say what is wrong */
        rename_committed(&m->commit);
        return;
    }
    meta_find_inode(m, rep.attr.ino);
    m->errors = m->inode != NULL ? m->inode->error_number : 0;
    m->commit.done = rename_committed;
    bool same = m->inode != NULL && m->inode->ino == rep.attr.ino;
    if (!same || !commit_start(m->inode, &m->commit)) {
        rename_committed(&m->commit);
    }
}

static void rename_look(struct meta_op *m, bool other)
{
    struct rename_req r;
    int err = rename_req_decode(slice_bytes(&m->body), &r);
    ASSERT(err == 0); /* our own encoding of checked names */
    struct lookup_req req = {.parent = other ? r.new_parent : r.parent,
                             .name = other ? r.new_name : r.name};
    m->call = (struct master_call){.done = rename_looked, .owner = m, .primary_only = true};
    master_call(&m->op.client->master, &m->call, OP_lookup, RPC_BODY(lookup_req, &req));
}

void client_rename(struct client *c, struct client_call *k, uint64_t parent, struct bytes name,
                   uint64_t new_parent, struct bytes new_name, uint32_t flags)
{
    enum { EXCHANGE = 2 };
    int err = check_name(name);
    struct meta_op *m = begin(c, k, err != 0 ? err : check_name(new_name), OP_rename);
    if (m == NULL) {
        return;
    }
    struct rename_req req = {.parent = parent,
                             .name = name,
                             .new_parent = new_parent,
                             .new_name = new_name,
                             .flags = flags};
    m->dir = new_parent;
    known_names_add(c, new_parent, new_name);
    m->body = RPC_BODY(rename_req, &req);
    m->exchange = (flags & EXCHANGE) != 0;
    if (list_empty(&c->dirty)) {
        meta_send(m);
    } else {
        rename_look(m, false);
    }
    api_end(c);
}
