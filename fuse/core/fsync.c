/* fsync.c - making an inode's data durable, and the calls flush and fsync. */
#include "fuse/core/fsync.h"

#include "fuse/core/client_impl.h"
#include "fuse/core/write_chunk.h"

enum { SYNCS_MAX = 4 }; /* chunks of an inode synced at a time */

/* A chunk to sync: in inode.touched, then in inode.syncing. */
struct touched {
    struct list link;
    struct inode *inode;
    uint64_t number;
    uint64_t handle;
    uint64_t version; /* lowest one it was written under since it was last synced, or cut */
    uint32_t from;    /* lowest offset of what was written since, and not cut */
    bool started;
    struct chunk_write sync;
};

static void start_round(struct inode *i);

void fsync_touch(struct inode *i, const struct chunk_write *w)
{
    /* Mostly the chunk written last: look from the end. */
    for (struct list *e = i->touched.prev; e != &i->touched; e = e->prev) {
        struct touched *t = list_entry(e, struct touched, link);
        if (t->number == w->number && t->handle == w->sent_handle) {
            t->version = MIN(t->version, w->sent_version);
            t->from = MIN(t->from, w->offset);
            return;
        }
    }
    struct touched *t = mem_new(struct touched);
    t->inode = i;
    t->number = w->number;
    t->handle = w->sent_handle;
    t->version = w->sent_version;
    t->from = w->offset;
    list_push_back(&i->touched, &t->link);
}

static bool has_chunk(const struct list *all, uint64_t handle)
{
    list_for_each (e, all) {
        if (list_entry(e, struct touched, link)->handle == handle) {
            return true;
        }
    }
    return false;
}

bool fsync_has(const struct inode *i, uint64_t handle)
{
    return has_chunk(&i->touched, handle) || has_chunk(&i->syncing, handle);
}

/* What a power cut may have taken of it does not matter any more. */
static void cut_off(struct list *all, uint64_t size, uint64_t chunk_bytes)
{
    list_for_each (e, all) {
        struct touched *t = list_entry(e, struct touched, link);
        if (t->number * chunk_bytes + t->from >= size) {
            t->version = UINT64_MAX;
            t->from = UINT32_MAX;
        }
    }
}

void fsync_cut(struct inode *i, uint64_t size)
{
    cut_off(&i->touched, size, i->client->master.chunk_bytes);
    cut_off(&i->syncing, size, i->client->master.chunk_bytes);
}

static void finish(struct file_sync *s)
{
    struct inode *i = s->inode;
    list_remove(&s->link);
    s->inode = NULL;
    s->done(s);
    inode_unpin(i);
}

static void committed(struct commit *k)
{
    finish(container_of(k, struct file_sync, commit));
}

/* The end of what was written may lie within the committed size, in chunks that are bound and known
 * to be synced: then only the time is new, and fdatasync does not need it. */
static bool must_commit(const struct inode *i)
{
    return i->size_unsure || i->need_bind || i->synced.len > 0 || i->written_end > i->attr.size;
}

/* The data is durable; what of the size and time must be in the log? */
static void commit_after(struct file_sync *s)
{
    struct inode *i = s->inode;
    bool can_wait = s->data_only && !i->extending && !must_commit(i) && !write_back_busy(i);
    s->commit.done = committed;
    if (can_wait || !commit_start(i, &s->commit)) {
        finish(s);
    }
}

static void end_round(struct inode *i)
{
    struct list over;
    list_init(&over);
    for (struct list *e; (e = list_pop_front(&i->sync_riders)) != NULL;) {
        list_push_back(&over, e);
    }
    for (struct list *e; (e = list_pop_front(&over)) != NULL;) {
        commit_after(list_entry(e, struct file_sync, link));
    }
    if (list_empty(&i->sync_riders) && !list_empty(&i->sync_queue)) {
        start_round(i);
    }
}

static void start_syncs(struct inode *i);

static void chunk_synced(struct chunk_write *w)
{
    struct touched *t = w->owner;
    struct inode *i = t->inode;
    inode_pin(i);
    if (w->status == 0 && w->sent_handle == t->handle && w->sent_doubt > t->version) {
        /* All its replicas lost power since: nobody can tell whether they still have the bytes. */
        w->status = -EIO;
    }
    if (w->status == 0 && w->first_sync) {
        commit_first_sync(i, w->number, w->sent_handle);
    }
    if (w->status != 0) {
        env_log(i->client->env, LOG_ERROR, "inode %llu: chunk %llu could not be synced: %s",
                (unsigned long long)i->ino, (unsigned long long)t->number, err_text(w->status));
        inode_set_error(i, w->status);
    }
    list_remove(&t->link);
    mem_free(t);
    if (!list_empty(&i->syncing)) {
        start_syncs(i);
    } else {
        end_round(i);
    }
    inode_unpin(i);
}

/* Starts the next chunk of the round, so that at most SYNCS_MAX are on their way. */
static void start_syncs(struct inode *i)
{
    uint32_t running = 0;
    list_for_each (e, &i->syncing) {
        running += list_entry(e, struct touched, link)->started;
    }
    for (struct list *e = i->syncing.next; running < SYNCS_MAX; running++) {
        while (e != &i->syncing && list_entry(e, struct touched, link)->started) {
            e = e->next;
        }
        if (e == &i->syncing) {
            return;
        }
        struct touched *t = list_entry(e, struct touched, link);
        e = e->next; /* t may be gone once it is started */
        t->started = true;
        t->sync = (struct chunk_write){
            .done = chunk_synced, .owner = t, .inode = i, .number = t->number, .kind = CHUNK_SYNC};
        chunk_write_start(&t->sync);
    }
}

static void start_round(struct inode *i)
{
    for (struct list *e; (e = list_pop_front(&i->sync_queue)) != NULL;) {
        list_push_back(&i->sync_riders, e);
    }
    for (struct list *e; (e = list_pop_front(&i->touched)) != NULL;) {
        list_push_back(&i->syncing, e);
    }
    if (list_empty(&i->syncing)) {
        end_round(i);
    } else {
        start_syncs(i);
    }
}

/* What was written before is on the members. */
static void enter_queue(struct file_sync *s)
{
    struct inode *i = s->inode;
    list_push_back(&i->sync_queue, &s->link);
    if (list_empty(&i->sync_riders)) {
        start_round(i);
    }
}

static void flushed(struct flush *f)
{
    enter_queue(container_of(f, struct file_sync, flush));
}

bool file_sync_start(struct inode *i, struct file_sync *s, bool data_only)
{
    bool idle = list_empty(&i->touched) && list_empty(&i->sync_riders);
    if (idle && !commit_due(i)) {
        return false;
    }
    list_init(&s->link);
    s->inode = i;
    inode_pin(i);
    s->data_only = data_only;
    s->flush = (struct flush){.done = flushed};
    if (idle && !write_back_busy(i)) {
        s->commit.done = committed;
        if (data_only && !i->extending && !must_commit(i)) {
            s->inode = NULL;
            inode_unpin(i);
            return false;
        }
        return commit_start(i, &s->commit);
    }
    if (!flush_start(i, &s->flush, 0, UINT64_MAX)) {
        enter_queue(s);
    }
    return true;
}

void file_sync_cancel(struct file_sync *s)
{
    if (s->inode == NULL) {
        return;
    }
    flush_cancel(&s->flush);
    commit_cancel(&s->commit);
    list_remove(&s->link);
    inode_unpin(s->inode);
    s->inode = NULL;
}

bool fsync_due(const struct inode *i)
{
    return !list_empty(&i->touched) || !list_empty(&i->syncing);
}

void fsync_drop(struct inode *i)
{
    for (struct list *e; (e = list_pop_front(&i->touched)) != NULL;) {
        mem_free(list_entry(e, struct touched, link));
    }
    for (struct list *e; (e = list_pop_front(&i->syncing)) != NULL;) {
        struct touched *t = list_entry(e, struct touched, link);
        chunk_write_cancel(&t->sync);
        mem_free(t);
    }
}

/* ---------------------------------------------------------------- flush and fsync */

struct sync_op {
    struct op op;
    struct client_file *file; /* valid while the call is */
    struct inode *inode;      /* pinned */
    struct commit commit;
    struct file_sync sync;
};

static void sync_drop(struct op *o)
{
    struct sync_op *s = container_of(o, struct sync_op, op);
    commit_cancel(&s->commit);
    file_sync_cancel(&s->sync);
    inode_unpin(s->inode);
    mem_free(s);
}

static void sync_end(struct sync_op *s)
{
    struct client_call *k = s->op.call;
    if (k != NULL) {
        k->index = s->op.client->master.index;
    }
    op_end(&s->op, k != NULL ? file_take_error(s->file) : 0);
}

static void flush_committed(struct commit *k)
{
    sync_end(container_of(k, struct sync_op, commit));
}

static void fsync_done(struct file_sync *s)
{
    sync_end(container_of(s, struct sync_op, sync));
}

static struct sync_op *sync_op_new(struct client *c, struct client_call *k, struct client_file *f)
{
    struct sync_op *s = mem_new(struct sync_op);
    op_begin(&s->op, c, k, sync_drop);
    s->file = f;
    s->inode = f->inode;
    inode_pin(s->inode);
    s->commit.done = flush_committed;
    s->sync.done = fsync_done;
    return s;
}

void client_flush(struct client *c, struct client_call *k, struct client_file *f)
{
    api_begin(c);
    call_begin(c, k);
    if (!commit_due(f->inode)) {
        call_end(k, file_take_error(f));
    } else {
        struct sync_op *s = sync_op_new(c, k, f);
        if (!commit_start(s->inode, &s->commit)) {
            sync_end(s);
        }
    }
    api_end(c);
}

void client_fsync(struct client *c, struct client_call *k, struct client_file *f, bool data_only)
{
    api_begin(c);
    call_begin(c, k);
    struct sync_op *s = sync_op_new(c, k, f);
    if (!file_sync_start(s->inode, &s->sync, data_only)) {
        sync_end(s);
    }
    api_end(c);
}
