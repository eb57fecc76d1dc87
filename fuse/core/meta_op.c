/* meta_op.c - one request to the master about the namespace: sending it and taking its answer. */
#include "fuse/core/meta_op.h"

#include <fcntl.h>

#include "fuse/core/fsync.h"
#include "fuse/core/locations.h"

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
    if (m->overtakes) {
        commit_times_not_set(m->inode);
    }
    if (m->inode != NULL) {
        if (m->opening) {
            files_open_over(m->inode);
        }
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

void meta_end(struct meta_op *m, int status)
{
    op_end(&m->op, status);
}

void meta_set_inode(struct meta_op *m, struct inode *i)
{
    if (m->inode != NULL) {
        inode_unpin(m->inode);
    }
    m->inode = i;
}

struct meta_op *meta_new(struct client *c, struct client_call *k, uint16_t code)
{
    struct meta_op *m = mem_new(struct meta_op);
    op_begin(&m->op, c, k, meta_drop);
    m->op.cancelled = meta_cancelled;
    m->code = code;
    return m;
}

/* ---------------------------------------------------------------- sending */

static void answered(struct master_call *call);

/* Changes nothing, at the master either. */
static bool is_question(const struct meta_op *m)
{
    bool writes = m->code == OP_open && (m->flags & O_ACCMODE) != O_RDONLY;
    return op_info_of(m->code)->class == OP_QUERY && !writes;
}

void meta_send(struct meta_op *m)
{
    struct slice body = m->body;
    m->body = (struct slice){0};
    m->changes = m->inode != NULL ? m->inode->changes : 0;
    m->recalls = m->op.client->recalls;
    m->call = (struct master_call){.done = answered, .owner = m, .primary_only = !is_question(m)};
    master_call(&m->op.client->master, &m->call, m->code, body);
}

static void first_made(struct first_chunk *f, int status)
{
    struct meta_op *m = container_of(f, struct meta_op, first);
    if (status != 0) {
        meta_end(m, status);
    } else {
        meta_send(m);
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
    meta_send(m);
}

static void committed(struct commit *k)
{
    struct meta_op *m = container_of(k, struct meta_op, commit);
    struct client_call *call = m->op.call;
    if (!k->carried) {
        send_committed(m);
        return;
    }
    if (call != NULL) {
        call->index = k->carried_index;
        call->attr = k->carried_attr;
        files_adjust(m->op.client, &call->attr);
    }
    meta_end(m, k->carried_status);
}

/* Sends the request once the inode, if one is set, has nothing uncommitted. */
void meta_commit_then_send(struct meta_op *m)
{
    bool wait =
        m->inode != NULL && !m->overtakes && !(is_question(m) && client_on_shadow(m->op.client));
    m->commit.done = committed;
    if (!wait || !commit_start(m->inode, &m->commit)) {
        send_committed(m);
    }
}

void meta_questions_go_on(struct client *c)
{
    list_for_each_safe (e, &c->ops) {
        struct op *o = list_entry(e, struct op, link);
        struct meta_op *m = container_of(o, struct meta_op, op);
        if (o->drop == meta_drop && is_question(m) && commit_running(&m->commit)) {
            commit_cancel(&m->commit);
            send_committed(m);
        }
    }
}

/* Makes the inode that of the op if this mount works with it. */
void meta_find_inode(struct meta_op *m, uint64_t ino)
{
    struct inode *i = files_find(m->op.client, ino);
    if (i != NULL) {
        inode_pin(i);
        meta_set_inode(m, i);
    }
}

/* Continues an op as another request. */
static void go_on_as(struct meta_op *m, uint16_t code, struct slice body)
{
    m->code = code;
    m->body = body;
    meta_commit_then_send(m);
}

/* ---------------------------------------------------------------- answers */

enum { GOES_ON = 1 }; /* instead of a status: the op has another step */

/* Decodes an answer with status 0; the function ends with ERR_PROTOCOL if it cannot be read. */
#define TAKE_REPLY(kind, m, out)                                                                   \
    do {                                                                                           \
        int err_ = MASTER_REPLY(kind, m, out);                                                     \
        if (err_ != 0) {                                                                           \
            return err_;                                                                           \
        }                                                                                          \
    } while (0)

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

static void give_dir(struct client_call *k, const struct attr *dir)
{
    if (k != NULL) {
        k->dirs[0] = *dir;
    }
}

static int take_lookup(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    struct lookup_rep rep;
    TAKE_REPLY(lookup, call, &rep);
    struct inode *i = files_find(m->op.client, rep.attr.ino);
    if (i != NULL && commit_due(i)) {
        meta_find_inode(m, rep.attr.ino);
        struct getattr_req req = {.ino = rep.attr.ino};
        go_on_as(m, OP_getattr, RPC_BODY(getattr_req, &req));
        return GOES_ON;
    }
    give_attr(m, k, &rep.attr);
    return 0;
}

static int take_getattr(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    struct getattr_rep rep;
    TAKE_REPLY(getattr, call, &rep);
    give_attr(m, k, &rep.attr);
    return 0;
}

/* Operations that answer with the attributes of an inode they made. */
#define TAKE_ATTR(name)                                                                            \
    static int take_##name(struct meta_op *m, struct client_call *k, struct master_call *call)     \
    {                                                                                              \
        struct name##_rep rep;                                                                     \
        TAKE_REPLY(name, call, &rep);                                                              \
        give_attr(m, k, &rep.attr);                                                                \
        give_dir(k, &rep.dir);                                                                     \
        return 0;                                                                                  \
    }
TAKE_ATTR(mkdir)
TAKE_ATTR(mknod)
TAKE_ATTR(symlink)

static int take_link(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    struct link_rep rep;
    TAKE_REPLY(link, call, &rep);
    give_attr(m, k, &rep.attr);
    give_dir(k, &rep.dir);
    return 0;
}

static int take_setattr(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    struct setattr_rep rep;
    struct inode *i = m->inode;
    TAKE_REPLY(setattr, call, &rep);
    m->overtakes = false;
    if (i != NULL) {
        inode_learn_own(i, &rep.attr, rep.before, m->changes);
        if (m->sets_size) {
            i->size = MAX(rep.attr.size, write_back_end(i));
            i->changes++;
            fsync_cut(i, m->new_size);
        }
    }
    if (k != NULL) {
        k->attr = rep.attr;
        files_adjust(m->op.client, &k->attr);
    }
    return 0;
}

static int take_open(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    struct open_rep rep;
    TAKE_REPLY(open, call, &rep);
    struct client_file *f = file_new(m->inode, &rep.attr, m->flags, m->changes);
    bool recent = m->recalls == m->op.client->recalls;
    if (recent && rep.chunk.handle != 0 && rep.chunk.ino == m->inode->ino &&
        rep.chunk.number == 0) {
        location_hint(m->inode, &rep.chunk, call->reply->head.index, m->call.by_shadow);
    }
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
static int then_open(struct meta_op *m, uint64_t ino, bool made)
{
    if (made) {
        slice_drop(&m->name); /* it was made once */
    }
    meta_set_inode(m, inode_get(m->op.client, ino));
    m->opening = true;
    m->inode->opening++;
    struct open_req req = {.ino = ino,
                           .flags = ((uint32_t)m->flags & O_ACCMODE) | (made ? OPEN_MADE : 0)};
    go_on_as(m, OP_open, RPC_BODY(open_req, &req));
    return GOES_ON;
}

static int take_create(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    struct create_rep rep;
    TAKE_REPLY(create, call, &rep);
    struct client *c = m->op.client;
    struct inode *i = inode_get(c, rep.attr.ino);
    meta_set_inode(m, i);
    if (call->sends > 1) { /* a new master made the file from the log: not opened */
        return then_open(m, rep.attr.ino, true);
    }
    struct client_file *f = file_new(i, &rep.attr, m->flags, i->changes);
    bool recent = m->recalls == c->recalls;
    if (recent && rep.chunk.handle != 0 && rep.chunk.ino == i->ino && rep.chunk.number == 0) {
        struct location *l = location_get(i, 0);
        location_learn(l, &rep.chunk, call->reply->head.index);
        location_unpin(l);
    }
    if (k == NULL) {
        client_release(c, f);
        return 0;
    }
    k->file = f;
    k->attr = rep.attr;
    give_dir(k, &rep.dir);
    return 0;
}

/* create found the name taken: open what has it. */
static int take_existing(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    struct lookup_rep rep;
    TAKE_REPLY(lookup, call, &rep);
    if (k == NULL) {
        return 0;
    }
    return then_open(m, rep.attr.ino, false);
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
    TAKE_REPLY(readlink, call, &rep);
    hold_bytes(k, &call->reply->body, rep.target);
    return 0;
}

static int take_getxattr(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    (void)m;
    struct getxattr_rep rep;
    TAKE_REPLY(getxattr, call, &rep);
    hold_bytes(k, &call->reply->body, rep.value);
    return 0;
}

static int take_listxattr(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    (void)m;
    struct listxattr_rep rep;
    TAKE_REPLY(listxattr, call, &rep);
    hold_bytes(k, &call->reply->body, rep.names);
    return 0;
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
    TAKE_REPLY(readdir, call, &rep);
    if (k == NULL) {
        return 0;
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

/* Operations that take a name away. */
#define TAKE_DIR(name)                                                                             \
    static int take_##name(struct meta_op *m, struct client_call *k, struct master_call *call)     \
    {                                                                                              \
        struct name##_rep rep;                                                                     \
        (void)m;                                                                                   \
        TAKE_REPLY(name, call, &rep);                                                              \
        give_dir(k, &rep.dir);                                                                     \
        return 0;                                                                                  \
    }
TAKE_DIR(unlink)
TAKE_DIR(rmdir)

static int take_rename(struct meta_op *m, struct client_call *k, struct master_call *call)
{
    struct rename_rep rep;
    (void)m;
    TAKE_REPLY(rename, call, &rep);
    if (k != NULL) {
        k->dirs[0] = rep.dir;
        k->dirs[1] = rep.new_dir;
    }
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
    {OP_unlink, take_unlink},       {OP_rmdir, take_rmdir},      {OP_rename, take_rename},
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

/* What had the name was removed meanwhile: the name is free, and the file is made after all. */
static void create_again(struct meta_op *m)
{
    if (m->opening) {
        files_open_over(m->inode);
        m->opening = false;
    }
    meta_set_inode(m, NULL);
    go_on_as(m, OP_create, slice_ref(&m->name));
}

static bool was_removed(const struct meta_op *m, int status)
{
    return status == -ENOENT && m->name.buf != NULL && m->op.call != NULL &&
           (m->code == OP_lookup || m->code == OP_open);
}

/* The answer may promise that nobody else adds names for a while. */
static void learn_names(const struct meta_op *m, const struct master_call *call)
{
    struct client *c = m->op.client;
    uint32_t flags = call->reply != NULL ? call->reply->head.flags : 0;
    struct mkdir_rep made;
    if (flags & FRAME_NAMES_KEPT) {
        known_names_kept(c, m->dir, call->sent_ns);
    }
    if ((flags & FRAME_NAMES_NEW) && m->code == OP_mkdir && call->status == 0 &&
        mkdir_rep_decode(slice_bytes(&call->reply->body), &made) == 0) {
        known_names_made(c, made.attr.ino, call->sent_ns);
    }
}

static void answered(struct master_call *call)
{
    struct meta_op *m = call->owner;
    int status = call->status;
    learn_names(m, call);
    if (m->op.call != NULL && call->reply != NULL) {
        m->op.call->index = call->reply->head.index;
    }
    if (m->sets_size) {
        locations_forget(m->inode); /* chunks are gone, or have a trim; also if it is in doubt */
    }
    if (status == -EEXIST && m->op.call != NULL && open_existing(m)) {
        return;
    }
    if (was_removed(m, status)) {
        create_again(m);
        return;
    }
    if (status == 0) {
        status = take(m, call);
    }
    if (status != GOES_ON) {
        meta_end(m, status);
    }
}
