/* files.c - inodes this mount works with, and open files. */
#include "fuse/core/files.h"

#include <fcntl.h>

#include "fuse/core/client_impl.h"
#include "fuse/core/commit.h"
#include "fuse/core/first_chunk.h"
#include "fuse/core/fsync.h"
#include "fuse/core/locations.h"
#include "fuse/core/write_back.h"

enum { FORGETTING_MAX = 16 };

static void close_timer_fired(struct env_timer *t);
static void forget_timer_fired(struct env_timer *t);

void files_init(struct client *c)
{
    hmap_init(&c->inodes);
    list_init(&c->idle);
    list_init(&c->close_due);
    list_init(&c->surpluses);
    list_init(&c->closing);
    c->close_timer.fire = close_timer_fired;
    c->forget_timer.fire = forget_timer_fired;
}

/* ---------------------------------------------------------------- inodes */

struct inode *files_find(struct client *c, uint64_t ino)
{
    for (struct hmap_node *n = hmap_first(&c->inodes, hmap_hash_u64(ino)); n; n = hmap_next(n)) {
        struct inode *i = container_of(n, struct inode, node);
        if (i->ino == ino) {
            return i;
        }
    }
    return NULL;
}

static struct inode *inode_new(struct client *c, uint64_t ino)
{
    struct inode *i = mem_new(struct inode);
    i->client = c;
    i->ino = ino;
    struct list *lists[] = {&i->files,       &i->idle,    &i->close_due, &i->locations,
                            &i->pieces,      &i->flushes, &i->stalled,   &i->dirty,
                            &i->aging,       &i->commits, &i->touched,   &i->sync_queue,
                            &i->sync_riders, &i->syncing, &i->flights};
    for (size_t n = 0; n < COUNT_OF(lists); n++) {
        list_init(lists[n]);
    }
    hmap_init(&i->cells);
    hmap_add(&c->inodes, &i->node, hmap_hash_u64(ino));
    return i;
}

static void inode_free(struct inode *i)
{
    struct client *c = i->client;
    if (!list_empty(&i->idle)) {
        list_remove(&i->idle);
        c->idle_count--;
    }
    list_remove(&i->close_due);
    list_remove(&i->stalled);
    list_remove(&i->dirty);
    list_remove(&i->aging);
    fsync_drop(i);
    locations_free(i);
    writer_free(&i->synced);
    writer_free(&i->sent_synced);
    hmap_close(&i->cells);
    hmap_remove(&c->inodes, &i->node);
    mem_free(i);
}

struct inode *inode_get(struct client *c, uint64_t ino)
{
    struct inode *i = files_find(c, ino);
    if (i == NULL) {
        i = inode_new(c, ino);
    }
    inode_pin(i);
    return i;
}

void inode_pin(struct inode *i)
{
    i->pins++;
    if (!list_empty(&i->idle)) {
        list_remove(&i->idle);
        i->client->idle_count--;
    }
}

void inode_unpin(struct inode *i)
{
    struct client *c = i->client;
    ASSERT(i->pins > 0);
    if (--i->pins > 0 || c->freeing) {
        return;
    }
    list_push_back(&c->idle, &i->idle);
    c->idle_count++;
    while (c->idle_count > c->cfg.remembered) {
        struct inode *oldest = list_entry(c->idle.next, struct inode, idle);
        if (!fsync_due(oldest)) {
            inode_free(oldest);
            continue;
        }
        if (c->forgetting < FORGETTING_MAX && c->forget_timer.place == 0) {
            env_timer_set(c->env, &c->forget_timer, 0);
        }
        break;
    }
}

/* What was written and not synced only its inode knows: a later fsync must find it, so it is synced before
 * the inode is forgotten. */
struct forget_op {
    struct op op;
    struct inode *inode; /* pinned */
    struct file_sync sync;
};

static void forget_drop(struct op *o)
{
    struct forget_op *x = container_of(o, struct forget_op, op);
    o->client->forgetting--;
    file_sync_cancel(&x->sync);
    inode_unpin(x->inode);
    mem_free(x);
}

static void forget_synced(struct file_sync *s)
{
    op_end(&container_of(s, struct forget_op, sync)->op, 0);
}

static void forget_timer_fired(struct env_timer *t)
{
    struct client *c = container_of(t, struct client, forget_timer);
    client_enter(c);
    while (c->idle_count > c->cfg.remembered && c->forgetting < FORGETTING_MAX) {
        struct inode *i = list_entry(c->idle.next, struct inode, idle);
        if (!fsync_due(i)) {
            inode_free(i);
            continue;
        }
        struct forget_op *x = mem_new(struct forget_op);
        op_begin(&x->op, c, NULL, forget_drop);
        c->forgetting++;
        x->inode = i;
        inode_pin(i);
        x->sync.done = forget_synced;
        bool started = file_sync_start(i, &x->sync, true);
        ASSERT(started);
    }
    client_leave(c);
}

void files_close(struct client *c)
{
    env_timer_stop(c->env, &c->age_timer);
    env_timer_stop(c->env, &c->close_timer);
    env_timer_stop(c->env, &c->forget_timer);
    hmap_for_each (n, &c->inodes) {
        struct inode *i = container_of(n, struct inode, node);
        for (struct list *e; (e = list_pop_front(&i->files)) != NULL;) {
            struct client_file *f = list_entry(e, struct client_file, link);
            surplus_drop(f);
            mem_free(f);
        }
        write_back_drop(i);
        master_call_cancel(&i->extend);
        if (i->first != NULL) {
            first_chunk_cancel(i->first);
            mem_free(i->first);
        }
        inode_free(i);
    }
    hmap_close(&c->inodes);
}

/* ---------------------------------------------------------------- attributes */

static bool same_stamp(struct stamp a, struct stamp b)
{
    return a.sec == b.sec && a.nsec == b.nsec;
}

void inode_learn(struct inode *i, const struct attr *a, uint64_t changes)
{
    if (!same_stamp(i->attr.ctime, a->ctime) || i->attr.size != a->size) {
        i->changes_seen++;
    }
    i->attr = *a;
    if (commit_due(i)) {
        i->size = MAX(i->size, a->size);
    } else if (i->changes == changes && i->held == 0) {
        i->size = a->size;
    }
}

void inode_learn_own(struct inode *i, const struct attr *a, struct stamp before, uint64_t changes)
{
    inode_learn(i, a, changes);
    i->seen.valid = i->seen.valid && same_stamp(i->seen.ctime, before);
    if (i->seen.valid) {
        i->seen.ctime = a->ctime;
        i->seen.size = a->size;
    }
}

void files_adjust(struct client *c, struct attr *a)
{
    struct inode *i = files_find(c, a->ino);
    if (i != NULL && commit_due(i)) {
        a->size = MAX(a->size, i->size);
    }
}

void inode_set_error(struct inode *i, int err)
{
    i->error = err;
    i->error_number++;
}

int file_take_error(struct client_file *f)
{
    struct inode *i = f->inode;
    if (f->error_seen == i->error_number) {
        return 0;
    }
    f->error_seen = i->error_number;
    return i->error;
}

/* ---------------------------------------------------------------- open files */

struct client_file *file_new(struct inode *i, const struct attr *a, int flags, uint64_t changes)
{
    struct client_file *f = mem_new(struct client_file);
    f->inode = i;
    inode_pin(i);
    list_push_back(&i->files, &f->link);
    i->open_count++;
    i->close_waits = false;
    if (!list_empty(&i->close_due)) {
        list_remove(&i->close_due);
        inode_unpin(i);
    }
    f->flags = flags;
    f->error_seen = i->error_number;
    f->unchanged = i->seen.valid && same_stamp(i->seen.ctime, a->ctime) && i->seen.size == a->size;
    if (!f->unchanged) {
        locations_forget(i); /* another mount may have cut the file and written again */
    }
    i->seen = (struct seen){.valid = true, .ctime = a->ctime, .size = a->size};
    inode_learn(i, a, changes);
    return f;
}

uint64_t client_file_ino(const struct client_file *f)
{
    return f->inode->ino;
}

bool client_file_unchanged(const struct client_file *f)
{
    return f->unchanged;
}

static bool may_write(const struct inode *i)
{
    bool any = commit_due(i);
    list_for_each (e, &i->files) {
        any |= (list_entry(e, struct client_file, link)->flags & O_ACCMODE) != O_RDONLY;
    }
    return any;
}

uint64_t *files_opens(struct client *c, uint32_t *out_count, uint32_t *out_writing)
{
    uint64_t *opens = mem_alloc((c->inodes.count + 1) * sizeof(*opens));
    uint32_t n = 0;
    for (int writing = 1; writing >= 0; writing--) {
        hmap_for_each (node, &c->inodes) {
            struct inode *i = container_of(node, struct inode, node);
            if ((i->open_count > 0 || commit_due(i)) && may_write(i) == (bool)writing) {
                opens[n++] = i->ino;
            }
        }
        *out_writing = writing ? n : *out_writing;
    }
    *out_count = n;
    return opens;
}

/* ---------------------------------------------------------------- close */

/* close_files on its way. It is not sent again on another connection, where it could overtake an
 * open: what is still closed then goes into the next batch. */
struct close_batch {
    struct op op;
    struct master_call call;
    uint32_t count;
    uint64_t inodes[];
};

static void batch_drop(struct op *o)
{
    struct close_batch *b = container_of(o, struct close_batch, op);
    master_call_cancel(&b->call);
    mem_free(b);
}

static void close_later(struct inode *i)
{
    struct client *c = i->client;
    i->close_waits = i->open_count == 0 && i->opening > 0;
    if (i->open_count > 0 || i->opening > 0 || !list_empty(&i->close_due)) {
        return;
    }
    if (list_empty(&c->close_due)) {
        env_timer_set(c->env, &c->close_timer, CLOSE_BATCH_MS * NS_PER_MS);
    }
    list_push_back(&c->close_due, &i->close_due);
    inode_pin(i);
}

void files_open_over(struct inode *i)
{
    ASSERT(i->opening > 0);
    i->opening--;
    if (i->close_waits && !i->client->freeing) {
        close_later(i);
    }
}

static void batch_done(struct master_call *m)
{
    struct close_batch *b = m->owner;
    struct client *c = b->op.client;
    if (m->status == ERR_DISCONNECTED) {
        for (uint32_t n = 0; n < b->count; n++) {
            struct inode *i = inode_get(c, b->inodes[n]);
            close_later(i);
            inode_unpin(i);
        }
    }
    op_end(&b->op, 0);
}

void files_send_closes(struct client *c)
{
    enum { BATCH_MAX = 4096 };
    env_timer_stop(c->env, &c->close_timer);
    while (!list_empty(&c->close_due)) {
        struct close_batch *b = mem_alloc(sizeof(*b) + BATCH_MAX * sizeof(b->inodes[0]));
        struct writer w;
        writer_init(&w);
        while (!list_empty(&c->close_due) && b->count < BATCH_MAX) {
            struct inode *i = list_entry(c->close_due.next, struct inode, close_due);
            list_remove(&i->close_due);
            if (i->open_count == 0 && i->opening == 0) {
                b->inodes[b->count++] = i->ino;
                enc_u64(&w, &i->ino);
            } else {
                i->close_waits = i->open_count == 0;
            }
            inode_unpin(i);
        }
        if (b->count == 0) {
            mem_free(b);
            writer_free(&w);
            continue;
        }
        op_begin(&b->op, c, NULL, batch_drop);
        b->call.done = batch_done;
        b->call.owner = b;
        b->call.once = true;
        struct close_files_req req = {.inodes = writer_bytes(&w)};
        master_call(&c->master, &b->call, OP_close_files, RPC_BODY(close_files_req, &req));
        writer_free(&w);
    }
}

static void close_timer_fired(struct env_timer *t)
{
    struct client *c = container_of(t, struct client, close_timer);
    client_enter(c);
    files_send_closes(c);
    client_leave(c);
}

/* The last file of an inode is gone: what is left is committed, then the master hears of the close.
 */
struct close_op {
    struct op op;
    struct inode *inode; /* pinned */
    struct commit commit;
};

static void close_drop(struct op *o)
{
    struct close_op *x = container_of(o, struct close_op, op);
    commit_cancel(&x->commit);
    inode_unpin(x->inode);
    mem_free(x);
}

static void close_committed(struct commit *k)
{
    struct close_op *x = container_of(k, struct close_op, commit);
    close_later(x->inode);
    op_end(&x->op, 0);
}

void client_release(struct client *c, struct client_file *f)
{
    api_begin(c);
    struct inode *i = f->inode;
    surplus_drop(f);
    list_remove(&f->link);
    mem_free(f);
    if (--i->open_count == 0) {
        if (commit_due(i)) {
            struct close_op *x = mem_new(struct close_op);
            op_begin(&x->op, c, NULL, close_drop);
            x->inode = i;
            inode_pin(i);
            x->commit.done = close_committed;
            commit_start(i, &x->commit);
        } else {
            close_later(i);
        }
    }
    inode_unpin(i);
    api_end(c);
}

/* ---------------------------------------------------------------- recall */

void files_recall(struct client *c, uint64_t ino)
{
    struct inode *i = files_find(c, ino);
    c->recalls++;
    if (i != NULL) {
        i->seen.valid = false;
        i->size_unsure = true;
        locations_forget(i);
    }
}

void files_recall_all(struct client *c)
{
    c->recalls++;
    hmap_for_each (n, &c->inodes) {
        container_of(n, struct inode, node)->size_unsure = true;
    }
    locations_forget_all(c);
}

/* ---------------------------------------------------------------- session */

void files_session_lost(struct client *c)
{
    hmap_for_each (n, &c->inodes) {
        struct inode *i = container_of(n, struct inode, node);
        uint64_t end = MAX(i->need_extend ? i->written_end : 0, i->extending ? i->sent_end : 0);
        if (end > i->attr.size) {
            inode_set_error(i, -EIO); /* the master has cut off what was not committed */
        }
        write_back_session_lost(i);
        i->changes_seen++;
        i->seen.valid = false;
    }
    locations_forget_all(c);
    known_names_forget_all(c);
}
