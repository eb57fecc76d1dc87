/* calls_meta.c - calls on the namespace: a request to the master each, with what must happen before it.
 *
 * An inode with uncommitted writes is committed first where the answer shows its size and times, or where a crash
 * after the change must not find it short: getattr, setattr, link, rename, open.
 */
#include <fcntl.h>
#include <string.h>

#include "fuse/core/client_impl.h"
#include "fuse/core/commit.h"
#include "fuse/core/first_chunk.h"
#include "fuse/core/locations.h"

struct meta_op {
    struct op op;
    struct master_call call;
    struct commit commit;
    struct first_chunk first;
    struct inode *inode; /* pinned; NULL = none known */
    uint64_t changes;    /* of inode when the request was sent */
    uint16_t code;
    struct slice body; /* of the request, until it is sent */
    struct slice name; /* create, rename: the request again, for its names */
    int flags;         /* open, create: of open(2) */
    bool sets_size;
    bool holding;  /* setattr of the size: pieces may not start */
    bool opening;  /* counted in inode->opening */
    bool exchange; /* rename: the other inode is still to be committed */
    uint64_t new_size;
};

/* ---------------------------------------------------------------- life */

static void meta_drop(struct op *o)
{
    struct meta_op *m = container_of(o, struct meta_op, op);
    bool freeing = o->client->freeing;
    master_call_cancel(&m->call);
    commit_cancel(&m->commit);
    first_chunk_cancel(&m->first);
    slice_drop(&m->body);
    slice_drop(&m->name);
    if (m->inode != NULL) {
        m->inode->opening -= m->opening;
        if (m->holding && !freeing) {
            write_back_release(m->inode);
        }
        inode_unpin(m->inode);
    }
    mem_free(m);
}

/* Nobody waits. What may have changed something goes on, to be cleaned up after. */
static void meta_cancelled(struct op *o)
{
    struct meta_op *m = container_of(o, struct meta_op, op);
    bool lasting = op_info_of(m->code)->class == OP_MUTATION || m->code == OP_open;
    if (!lasting || !master_call_running(&m->call) || !master_call_sent(&m->call)) {
        op_end(o, 0);
    }
}

static void meta_end(struct meta_op *m, int status)
{
    op_end(&m->op, status);
}

static void set_inode(struct meta_op *m, struct inode *i)
{
    if (m->inode != NULL) {
        inode_unpin(m->inode);
    }
    m->inode = i;
}

static struct meta_op *meta_new(struct client *c, struct client_call *k, uint16_t code,
                                struct slice body)
{
    struct meta_op *m = mem_new(struct meta_op);
    op_begin(&m->op, c, k, meta_drop);
    m->op.cancelled = meta_cancelled;
    m->code = code;
    m->body = body;
    return m;
}

/* ---------------------------------------------------------------- sending */

static void answered(struct master_call *call);

static void send(struct meta_op *m)
{
    struct slice body = m->body;
    m->body = (struct slice){0};
    m->changes = m->inode != NULL ? m->inode->changes : 0;
    m->call = (struct master_call){.done = answered, .owner = m};
    master_call(&m->op.client->master, &m->call, m->code, body);
}

static void first_made(struct first_chunk *f, int status)
{
    struct meta_op *m = container_of(f, struct meta_op, first);
    if (status != 0) {
        meta_end(m, status);
    } else {
        send(m);
    }
}

/* The inode's earlier writes are committed. */
static void send_committed(struct meta_op *m)
{
    if (m->sets_size) {
        m->holding = true;
        write_back_hold(m->inode);
        m->first.done = first_made;
        if (first_chunk_start(m->inode, &m->first, m->new_size)) {
            return;
        }
    }
    send(m);
}

static void committed(struct commit *k)
{
    send_committed(container_of(k, struct meta_op, commit));
}

/* Sends the request once the inode, if one is set, has nothing uncommitted. */
static void commit_then_send(struct meta_op *m)
{
    m->commit.done = committed;
    if (m->inode == NULL || !commit_start(m->inode, &m->commit)) {
        send_committed(m);
    }
}

/* Makes the inode that of the op if this mount works with it. */
static void find_inode(struct meta_op *m, uint64_t ino)
{
    struct inode *i = files_find(m->op.client, ino);
    if (i != NULL) {
        inode_pin(i);
        set_inode(m, i);
    }
}

/* Continues an op as another request. */
static void go_on_as(struct meta_op *m, uint16_t code, struct slice body)
{
    m->code = code;
    m->body = body;
    commit_then_send(m);
}

/* ---------------------------------------------------------------- answers */

enum { GOES_ON = 1 }; /* instead of a status: the op has another step */

/* Takes an answer with status 0. k is NULL if nobody waits. Returns the call's status, or GOES_ON. */
typedef int take_fn(struct meta_op *m, struct client_call *k, struct master_call *call);

static void give_attr(struct meta_op *m, struct client_call *k, const struct attr *a)
{
    if (m->inode != NULL && m->inode->ino == a->ino) {
        inode_learn(m->inode, a, m->changes);
    }
    if (k != NULL) {
        k->attr = *a;
        files_adjust(m->op.client, &k->attr);
    }
}

static int take_lookup(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    struct lookup_rep rep;
    int err = MASTER_REPLY(lookup, call, &rep);
    struct inode *i = err == 0 ? files_find(m->op.client, rep.attr.ino) : NULL;
    if (i != NULL && commit_due(i)) {
        find_inode(m, rep.attr.ino);
        struct getattr_req req = {.ino = rep.attr.ino};
        go_on_as(m, OP_getattr, RPC_BODY(getattr_req, &req));
        return GOES_ON;
    }
    if (err == 0) {
        give_attr(m, k, &rep.attr);
    }
    return err;
}

static int take_getattr(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    struct getattr_rep rep;
    int err = MASTER_REPLY(getattr, call, &rep);
    if (err == 0) {
        give_attr(m, k, &rep.attr);
    }
    return err;
}

/* Operations that answer with the attributes of an inode they made. */
#define TAKE_ATTR(name)                                                                            \
    static int take_##name(struct meta_op *m, struct client_call *k, struct master_call *call)     \
    {                                                                                              \
        struct name##_rep rep;                                                                     \
        int err = MASTER_REPLY(name, call, &rep);                                                  \
        if (err == 0) {                                                                            \
            give_attr(m, k, &rep.attr);                                                            \
        }                                                                                          \
        return err;                                                                                \
    }
TAKE_ATTR(mkdir)
TAKE_ATTR(mknod)
TAKE_ATTR(symlink)

static int take_link(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    struct link_rep rep;
    int err = MASTER_REPLY(link, call, &rep);
    if (err == 0 && m->inode != NULL) {
        inode_learn_own(m->inode, &rep.attr, m->changes);
    }
    if (err == 0) {
        give_attr(m, k, &rep.attr);
    }
    return err;
}

static int take_setattr(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    struct setattr_rep rep;
    int err = MASTER_REPLY(setattr, call, &rep);
    struct inode *i = m->inode;
    if (err == 0 && i != NULL) {
        inode_learn_own(i, &rep.attr, m->changes);
        if (m->sets_size) {
            i->size = MAX(rep.attr.size, write_back_end(i));
            i->changes++;
        }
    }
    if (err == 0 && k != NULL) {
        k->attr = rep.attr;
        files_adjust(m->op.client, &k->attr);
    }
    return err;
}

static int take_open(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    struct open_rep rep;
    int err = MASTER_REPLY(open, call, &rep);
    if (err != 0) {
        return err;
    }
    struct client_file *f = file_new(m->inode, &rep.attr, m->flags, m->changes);
    if (k == NULL) {
        client_release(m->op.client, f);
        return 0;
    }
    k->file = f;
    k->attr = rep.attr;
    files_adjust(m->op.client, &k->attr);
    return 0;
}

/* The inode is there, but the master may not know that this session has it open. */
static int then_open(struct meta_op *m, uint64_t ino)
{
    set_inode(m, inode_get(m->op.client, ino));
    m->opening = true;
    m->inode->opening++;
    struct open_req req = {.ino = ino, .flags = (uint32_t)m->flags & O_ACCMODE};
    go_on_as(m, OP_open, RPC_BODY(open_req, &req));
    return GOES_ON;
}

static int take_create(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    struct create_rep rep;
    int err = MASTER_REPLY(create, call, &rep);
    if (err != 0) {
        return err;
    }
    struct client *c = m->op.client;
    struct inode *i = inode_get(c, rep.attr.ino);
    set_inode(m, i);
    if (call->sends > 1) {
        return then_open(m, rep.attr.ino); /* a new master made the file from the log: not opened */
    }
    struct client_file *f = file_new(i, &rep.attr, m->flags, i->changes);
    if (rep.chunk.handle != 0 && rep.chunk.ino == i->ino && rep.chunk.number == 0) {
        struct location *l = location_get(i, 0);
        location_learn(l, &rep.chunk);
        location_unpin(l);
    }
    if (k == NULL) {
        client_release(c, f);
        return 0;
    }
    k->file = f;
    k->attr = rep.attr;
    return 0;
}

/* create found the name taken: open what has it. */
static int take_existing(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    struct lookup_rep rep;
    int err = MASTER_REPLY(lookup, call, &rep);
    if (err != 0 || k == NULL) {
        return err;
    }
    return then_open(m, rep.attr.ino);
}

static void hold_bytes(struct client_call *k, struct slice *body, struct bytes view)
{
    if (k != NULL) {
        call_impl(k)->hold = slice_ref(body);
        k->bytes = view;
    }
}

static int take_readlink(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    (void)m;
    struct readlink_rep rep;
    int err = MASTER_REPLY(readlink, call, &rep);
    if (err == 0) {
        hold_bytes(k, &call->reply->body, rep.target);
    }
    return err;
}

static int take_getxattr(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    (void)m;
    struct getxattr_rep rep;
    int err = MASTER_REPLY(getxattr, call, &rep);
    if (err == 0) {
        hold_bytes(k, &call->reply->body, rep.value);
    }
    return err;
}

static int take_listxattr(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    (void)m;
    struct listxattr_rep rep;
    int err = MASTER_REPLY(listxattr, call, &rep);
    if (err == 0) {
        hold_bytes(k, &call->reply->body, rep.names);
    }
    return err;
}

/* Entries of inodes with uncommitted writes get the size that programs of this mount made. */
static struct slice adjust_entries(struct client *c, struct bytes entries)
{
    struct writer w;
    writer_init(&w);
    struct reader r = reader_of(entries);
    while (!reader_done(&r)) {
        struct dir_entry d;
        dec_dir_entry(&r, &d);
        if (r.err == 0) {
            files_adjust(c, &d.attr);
            enc_dir_entry(&w, &d);
        }
    }
    return writer_take(&w);
}

static int take_readdir(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    struct client *c = m->op.client;
    struct readdir_rep rep;
    int err = MASTER_REPLY(readdir, call, &rep);
    if (err != 0 || k == NULL) {
        return err;
    }
    k->end = rep.end;
    k->offset = rep.parent;
    if (list_empty(&c->dirty)) {
        hold_bytes(k, &call->reply->body, rep.entries);
        return 0;
    }
    struct slice s = adjust_entries(c, rep.entries);
    hold_bytes(k, &s, slice_bytes(&s));
    slice_drop(&s);
    return 0;
}

static int take_nothing(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    (void)m;
    (void)k;
    return call->status;
}

static const struct {
    uint16_t code;
    take_fn *take;
} takers[] = {
    {OP_lookup, take_lookup},       {OP_getattr, take_getattr},  {OP_readlink, take_readlink},
    {OP_readdir, take_readdir},     {OP_open, take_open},        {OP_getxattr, take_getxattr},
    {OP_listxattr, take_listxattr}, {OP_mkdir, take_mkdir},      {OP_mknod, take_mknod},
    {OP_create, take_create},       {OP_symlink, take_symlink},  {OP_link, take_link},
    {OP_unlink, take_nothing},      {OP_rmdir, take_nothing},    {OP_rename, take_nothing},
    {OP_setattr, take_setattr},     {OP_setxattr, take_nothing}, {OP_removexattr, take_nothing},
};

static int take(struct meta_op *m, struct master_call *call)
{
    for (size_t n = 0; n < COUNT_OF(takers); n++) {
        if (takers[n].code == m->code) {
            bool existing = m->code == OP_lookup && m->name.buf != NULL;
            take_fn *fn = existing ? take_existing : takers[n].take;
            return fn(m, m->op.call, call);
        }
    }
    UNREACHABLE();
}

static bool open_existing(struct meta_op *m)
{
    struct create_req create;
    if (m->code != OP_create || (m->flags & O_EXCL) ||
        create_req_decode(slice_bytes(&m->name), &create) != 0) {
        return false;
    }
    struct lookup_req req = {.parent = create.parent, .name = create.name};
    go_on_as(m, OP_lookup, RPC_BODY(lookup_req, &req));
    return true;
}

static void answered(struct master_call *call)
{
    struct meta_op *m = call->owner;
    int status = call->status;
    if (m->op.call != NULL && call->reply != NULL) {
        m->op.call->index = call->reply->head.index;
    }
    if (m->opening) {
        m->opening = false;
        m->inode->opening--;
    }
    if (m->sets_size) {
        locations_forget(m->inode); /* chunks are gone, or have a trim; also if it is in doubt */
    }
    if (status == -EEXIST && m->op.call != NULL && open_existing(m)) {
        return;
    }
    if (status == 0) {
        status = take(m, call);
    }
    if (status != GOES_ON) {
        meta_end(m, status);
    }
}

/* ---------------------------------------------------------------- the calls */

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
    return meta_new(c, k, code, (struct slice){0});
}

static void start(struct meta_op *m, struct slice body)
{
    struct client *c = m->op.client;
    m->body = body;
    commit_then_send(m);
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

void client_lookup(struct client *c, struct client_call *k, uint64_t parent, struct bytes name)
{
    PLAIN_CALL(c, k, check_name(name), lookup, .parent = parent, .name = name);
}

void client_getattr(struct client *c, struct client_call *k, uint64_t ino)
{
    struct meta_op *m = begin(c, k, 0, OP_getattr);
    struct getattr_req req = {.ino = ino};
    find_inode(m, ino);
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
        set_inode(m, inode_get(c, ino));
    } else {
        find_inode(m, ino);
    }
    start(m, RPC_BODY(setattr_req, &req));
}

void client_mknod(struct client *c, struct client_call *k, uint64_t parent, struct bytes name,
                  uint32_t mode, uint32_t rdev, uint32_t uid, uint32_t gid)
{
    PLAIN_CALL(c, k, check_name(name), mknod, .parent = parent, .name = name, .mode = mode,
               .rdev = rdev, .uid = uid, .gid = gid);
}

void client_mkdir(struct client *c, struct client_call *k, uint64_t parent, struct bytes name,
                  uint32_t mode, uint32_t uid, uint32_t gid)
{
    PLAIN_CALL(c, k, check_name(name), mkdir, .parent = parent, .name = name, .mode = mode,
               .uid = uid, .gid = gid);
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
    PLAIN_CALL(c, k, err, symlink, .parent = parent, .name = name, .target = target, .uid = uid,
               .gid = gid);
}

void client_link(struct client *c, struct client_call *k, uint64_t ino, uint64_t parent,
                 struct bytes name)
{
    struct meta_op *m = begin(c, k, check_name(name), OP_link);
    if (m != NULL) {
        struct link_req req = {.ino = ino, .parent = parent, .name = name};
        find_inode(m, ino);
        start(m, RPC_BODY(link_req, &req));
    }
}

void client_unlink(struct client *c, struct client_call *k, uint64_t parent, struct bytes name)
{
    PLAIN_CALL(c, k, check_name(name), unlink, .parent = parent, .name = name);
}

void client_rmdir(struct client *c, struct client_call *k, uint64_t parent, struct bytes name)
{
    PLAIN_CALL(c, k, check_name(name), rmdir, .parent = parent, .name = name);
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
    set_inode(m, inode_get(c, ino));
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
        m->name = slice_ref(&body);
        start(m, body);
    }
}

/* ---------------------------------------------------------------- rename */

/* Which inode moves is known only by looking: done while there is anything uncommitted in this mount. */
static void rename_look(struct meta_op *m, bool other);

static void rename_committed(struct commit *k)
{
    struct meta_op *m = container_of(k, struct meta_op, commit);
    if (m->op.call == NULL) {
        meta_end(m, 0);
    } else if (m->exchange) {
        m->exchange = false;
        rename_look(m, true);
    } else {
        send(m);
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
    find_inode(m, rep.attr.ino);
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
    m->call = (struct master_call){.done = rename_looked, .owner = m};
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
    m->body = RPC_BODY(rename_req, &req);
    m->exchange = (flags & EXCHANGE) != 0;
    if (list_empty(&c->dirty)) {
        send(m);
    } else {
        rename_look(m, false);
    }
    api_end(c);
}
