/* write_back.c - bytes written and not yet on the replicas. */
#include "fuse/core/write_back.h"

#include <fcntl.h>
#include <string.h>

#include "fuse/core/client_impl.h"
#include "fuse/core/commit.h"
#include "fuse/core/fsync.h"
#include "fuse/core/write_chunk.h"

enum {
    PIECE_FIRST_CAP = 16 * 1024, /* a small file needs no more */
    CELL_BYTES = 64 * 1024,      /* pieces are found by the cell they begin in */
};

struct piece {
    struct list link;      /* inode.pieces */
    struct hmap_node node; /* inode.cells */
    struct list flight;    /* inode.flights while it flies */
    struct inode *inode;   /* pinned */
    uint64_t offset;       /* in the file */
    uint64_t serial;
    struct slice data;
    bool due;
    bool flying;
    bool again; /* what the replicas got may be cut off: send it once more */
    struct chunk_write write;
};

static uint64_t end_of(const struct piece *p)
{
    return p->offset + p->data.len;
}

static uint32_t window_bytes(const struct client *c)
{
    return MIN((uint32_t)IO_MAX, c->master.chunk_bytes);
}

static struct piece *piece_of(struct hmap_node *n)
{
    return n != NULL ? container_of(n, struct piece, node) : NULL;
}

/* The pieces of a window that may have a byte in [lo, hi] of it, and others: they begin in the cells
 * from the longest piece before it. */
struct near {
    const struct inode *inode;
    uint64_t cell, last;
};

static struct piece *near_scan(struct near *n, struct hmap_node *node)
{
    while (node == NULL && n->cell < n->last) {
        n->cell++;
        node = hmap_first(&n->inode->cells, hmap_hash_u64(n->cell));
    }
    return piece_of(node);
}

static struct piece *near_first(struct near *n, const struct inode *i, uint64_t lo, uint64_t hi)
{
    uint64_t window = lo - lo % window_bytes(i->client);
    uint64_t from = lo - window > i->longest ? lo - i->longest : window;
    *n = (struct near){i, from / CELL_BYTES, hi / CELL_BYTES};
    return near_scan(n, hmap_first(&i->cells, hmap_hash_u64(n->cell)));
}

static struct piece *near_next(struct near *n, const struct piece *p)
{
    return near_scan(n, hmap_next(&p->node));
}

/* ---------------------------------------------------------------- pieces */

static struct piece *piece_new(struct inode *i, uint64_t offset, uint32_t cap)
{
    struct piece *p = mem_new(struct piece);
    p->inode = i;
    inode_pin(i);
    p->offset = offset;
    p->serial = ++i->last_serial;
    list_init(&p->flight);
    p->data.buf = buf_new(cap);
    list_push_back(&i->pieces, &p->link);
    hmap_add(&i->cells, &p->node, hmap_hash_u64(offset / CELL_BYTES));
    i->unsent++;
    return p;
}

static void set_due(struct piece *p)
{
    if (!p->due && !p->flying) {
        p->due = true;
        p->inode->due++;
    }
}

static void set_flying(struct piece *p, bool on)
{
    struct inode *i = p->inode;
    p->flying = on;
    if (on) {
        list_push_back(&i->flights, &p->flight);
        i->flying++;
        i->unsent--;
        i->client->flying++;
    } else {
        list_remove(&p->flight);
        i->flying--;
        i->unsent++;
        i->client->flying--;
    }
}

/* Unlinks and frees a piece that is not on its way. The inode may be gone after it. */
static void piece_free(struct piece *p)
{
    struct inode *i = p->inode;
    ASSERT(!p->flying);
    i->unsent--;
    i->due -= p->due;
    i->client->dirty_bytes -= p->data.len;
    list_remove(&p->link);
    hmap_remove(&i->cells, &p->node);
    i->longest = list_empty(&i->pieces) ? 0 : i->longest;
    slice_drop(&p->data);
    mem_free(p);
    inode_unpin(i);
}

static void set_length(struct piece *p, uint32_t len)
{
    struct inode *i = p->inode;
    i->client->dirty_bytes += len - p->data.len;
    p->data.len = len;
    i->longest = MAX(i->longest, len);
}

static void reserve(struct piece *p, uint32_t len, uint32_t most)
{
    if (len <= p->data.buf->cap) {
        return;
    }
    struct buf *b = buf_new(MIN(MAX(len, p->data.buf->cap * 4), most));
    memcpy(b->data, p->data.buf->data, p->data.len);
    buf_unref(p->data.buf);
    p->data.buf = b;
}

/* Replaces the unsent pieces of the window that touch [lo, hi) by one piece over all of it. Its
 * place is that of the oldest. The gap between them is about to be written. */
static struct piece *merge(struct inode *i, uint64_t lo, uint64_t hi)
{
    struct near near;
    struct piece *m = piece_new(i, lo, (uint32_t)(hi - lo));
    set_length(m, (uint32_t)(hi - lo));
    for (struct piece *p = near_first(&near, i, lo, hi), *next; p != NULL; p = next) {
        next = near_next(&near, p);
        if (p == m || p->flying || p->offset < lo || end_of(p) > hi) {
            continue;
        }
        memcpy(m->data.buf->data + (p->offset - lo), p->data.buf->data, p->data.len);
        if (p->serial < m->serial) {
            m->serial = p->serial;
            list_remove(&m->link);
            list_add_before(&p->link, &m->link);
        }
        if (p->due) {
            set_due(m);
        }
        piece_free(p);
    }
    return m;
}

/* Puts bytes that lie inside one window into its pieces. */
static void put(struct inode *i, uint64_t offset, const uint8_t *data, uint32_t len)
{
    uint32_t size = window_bytes(i->client);
    uint64_t window = offset / size;
    uint64_t lo = offset, hi = offset + len;
    struct piece *only = NULL;
    uint32_t touched = 0;
    struct near near;
    for (struct piece *p = near_first(&near, i, lo, hi); p != NULL; p = near_next(&near, p)) {
        if (!p->flying && p->offset / size == window && p->offset <= offset + len &&
            end_of(p) >= offset) {
            touched++;
            only = p;
            lo = MIN(lo, p->offset);
            hi = MAX(hi, end_of(p));
        }
    }
    uint32_t room = (uint32_t)((window + 1) * size - lo);
    if (touched == 0) {
        bool streaming = offset % size == 0 && offset > 0;
        only = piece_new(i, offset, streaming ? size : MAX(len, MIN(PIECE_FIRST_CAP, room)));
    } else if (touched == 1 && lo == only->offset) {
        reserve(only, (uint32_t)(hi - lo), room);
    } else {
        only = merge(i, lo, hi);
    }
    memcpy(only->data.buf->data + (offset - only->offset), data, len);
    uint32_t grown = (uint32_t)MAX(offset + len - only->offset, only->data.len);
    set_length(only, grown);
    if (end_of(only) == (window + 1) * size && grown >= size / 2) {
        set_due(only);
    }
}

/* ---------------------------------------------------------------- sending */

static void pump(struct inode *i);
static void admit_writers(struct client *c);
static void check_flushes(struct inode *i);

static void pump_stalled(struct client *c)
{
    while (c->flying < FLYING_MAX && !list_empty(&c->stalled)) {
        struct inode *i = list_entry(c->stalled.next, struct inode, stalled);
        list_remove(&i->stalled);
        pump(i);
    }
}

static void piece_written(struct chunk_write *w)
{
    struct piece *p = w->owner;
    struct inode *i = p->inode;
    struct client *c = i->client;
    set_flying(p, false);
    inode_pin(i);
    if (w->status == 0 && p->again) {
        p->again = false;
        set_due(p);
    } else {
        if (w->status == 0) {
            i->first_written = i->first_written || w->number == 0;
            commit_need(i, end_of(p), w->bind);
            fsync_touch(i, w);
        } else {
            env_log(c->env, LOG_ERROR, "inode %llu: %u bytes at %llu could not be written: %s",
                    (unsigned long long)i->ino, p->data.len, (unsigned long long)p->offset,
                    err_text(w->status));
            inode_set_error(i, w->status);
        }
        piece_free(p);
    }
    pump(i);
    pump_stalled(c);
    admit_writers(c);
    check_flushes(i);
    commit_settle(i);
    inode_unpin(i);
}

static void start(struct piece *p)
{
    struct inode *i = p->inode;
    uint32_t chunk = i->client->master.chunk_bytes;
    set_flying(p, true);
    i->due--;
    p->due = false;
    p->write = (struct chunk_write){.done = piece_written,
                                    .owner = p,
                                    .inode = i,
                                    .number = p->offset / chunk,
                                    .kind = CHUNK_DATA,
                                    .offset = (uint32_t)(p->offset % chunk),
                                    .length = p->data.len,
                                    .data = p->data};
    chunk_write_start(&p->write);
}

static bool overlaps_flying(const struct piece *p)
{
    list_for_each (e, &p->inode->flights) {
        const struct piece *q = list_entry(e, struct piece, flight);
        if (q->offset < end_of(p) && p->offset < end_of(q)) {
            return true;
        }
    }
    return false;
}

/* Sends what is due, as far as the limits allow. */
static void pump(struct inode *i)
{
    struct client *c = i->client;
    if (i->held > 0 || i->due == 0) {
        return;
    }
    list_for_each_safe (e, &i->pieces) {
        struct piece *p = list_entry(e, struct piece, link);
        if (i->due == 0 || i->flying >= FLYING_INODE_MAX) {
            return;
        }
        if (!p->due || overlaps_flying(p)) {
            continue;
        }
        if (c->flying >= FLYING_MAX) {
            if (list_empty(&i->stalled)) {
                list_push_back(&c->stalled, &i->stalled);
            }
            return;
        }
        start(p);
    }
}

static void all_due(struct inode *i)
{
    /* The newest ones are not due, usually: there may be very many. */
    for (struct list *e = i->pieces.prev; i->due < i->unsent; e = e->prev) {
        set_due(list_entry(e, struct piece, link));
    }
}

/* Writers wait for budget: everything goes out. */
static void press(struct client *c)
{
    list_for_each_safe (e, &c->dirty) {
        struct inode *i = list_entry(e, struct inode, dirty);
        all_due(i);
        pump(i);
    }
}

void write_back_hold(struct inode *i)
{
    i->held++;
}

void write_back_release(struct inode *i)
{
    ASSERT(i->held > 0);
    i->held--;
    pump(i);
}

bool write_back_busy(const struct inode *i)
{
    return !list_empty(&i->pieces) || i->queued != i->admitted;
}

uint64_t write_back_end(const struct inode *i)
{
    uint64_t end = 0;
    list_for_each (e, &i->pieces) {
        end = MAX(end, end_of(list_entry(e, struct piece, link)));
    }
    return end;
}

/* Pieces on their way do not overlap, nor do those that are not; the others are newer. */
uint32_t write_back_copy(const struct inode *i, uint64_t lo, uint64_t hi, struct written **out)
{
    uint32_t room = 0, n = 0;
    list_for_each (e, &i->pieces) {
        room++;
    }
    *out = mem_alloc((room + 1) * sizeof(**out));
    for (int flying = 1; flying >= 0; flying--) {
        list_for_each (e, &i->pieces) {
            const struct piece *p = list_entry(e, struct piece, link);
            if (p->flying == (bool)flying && p->offset < hi && lo < end_of(p)) {
                (*out)[n++] = (struct written){.offset = p->offset, .data = slice_ref(&p->data)};
            }
        }
    }
    return n;
}

void write_back_session_lost(struct inode *i)
{
    list_for_each (e, &i->pieces) {
        struct piece *p = list_entry(e, struct piece, link);
        p->again = p->flying && end_of(p) > i->attr.size;
    }
}

/* ---------------------------------------------------------------- flushes */

/* What was written later goes on gathering. */
static void mark_due(struct inode *i, uint64_t serial)
{
    list_for_each (e, &i->pieces) {
        struct piece *p = list_entry(e, struct piece, link);
        if (p->serial > serial) {
            break;
        }
        set_due(p);
    }
}

/* True if a piece that the flush waits for is left. Marks those not sent as due. A range is not longer than a
 * read, so it has few windows. */
static bool range_busy(struct inode *i, const struct flush *f)
{
    uint32_t size = window_bytes(i->client);
    bool busy = false;
    for (uint64_t w = f->lo / size; w <= (f->hi - 1) / size; w++) {
        struct near near;
        uint64_t lo = MAX(f->lo, w * size), hi = MIN(f->hi - 1, w * size + size - 1);
        for (struct piece *p = near_first(&near, i, lo, hi); p != NULL; p = near_next(&near, p)) {
            if (p->serial <= f->serial && p->offset < f->hi && f->lo < end_of(p)) {
                set_due(p);
                busy = true;
            }
        }
    }
    return busy;
}

static bool flush_busy(struct inode *i, struct flush *f)
{
    if (f->serial == UINT64_MAX) {
        if (i->admitted < f->ticket) {
            return true;
        }
        f->serial = i->last_serial;
    }
    if (list_empty(&i->pieces)) {
        return false;
    }
    if (f->lo == 0 && f->hi == UINT64_MAX) {
        bool busy = list_entry(i->pieces.next, struct piece, link)->serial <= f->serial;
        if (busy && !f->marked) {
            mark_due(i, f->serial);
            f->marked = true;
        }
        return busy;
    }
    return range_busy(i, f);
}

bool flush_start(struct inode *i, struct flush *f, uint64_t lo, uint64_t hi)
{
    if (!write_back_busy(i) || lo >= hi) {
        return false;
    }
    f->lo = lo;
    f->hi = hi;
    f->ticket = i->queued;
    f->serial = UINT64_MAX;
    f->marked = false;
    if (!flush_busy(i, f)) {
        return false;
    }
    list_init(&f->link);
    list_push_back(&i->flushes, &f->link);
    pump(i);
    return true;
}

void flush_cancel(struct flush *f)
{
    if (f->link.next != NULL) {
        list_remove(&f->link);
    }
}

/* Ends the flushes that have nothing left to wait for. */
static void check_flushes(struct inode *i)
{
    struct list over;
    list_init(&over);
    list_for_each_safe (e, &i->flushes) {
        struct flush *f = list_entry(e, struct flush, link);
        if (!flush_busy(i, f)) {
            list_remove(e);
            list_push_back(&over, e);
        }
    }
    pump(i);
    for (struct list *e; (e = list_pop_front(&over)) != NULL;) {
        struct flush *f = list_entry(e, struct flush, link);
        f->done(f);
    }
}

/* ---------------------------------------------------------------- write */

struct write_op {
    struct op op;
    struct client_file *file;
    struct inode *inode;  /* pinned */
    struct list in_queue; /* client.writers */
    uint64_t offset;
    struct bytes data; /* the caller's, until admitted */
    bool append;
    bool clear_suid;
    struct file_sync sync;
};

static void write_drop(struct op *o)
{
    struct write_op *w = container_of(o, struct write_op, op);
    list_remove(&w->in_queue);
    file_sync_cancel(&w->sync);
    inode_unpin(w->inode);
    mem_free(w);
}

/* Copies the bytes into pieces: 0 or -EFBIG. */
static int take_bytes(struct inode *i, struct client_call *k, uint64_t offset, struct bytes data,
                      bool append, bool clear_suid)
{
    uint64_t at = append ? i->size : offset;
    if (at > (uint64_t)INT64_MAX - data.len) {
        return -EFBIG;
    }
    uint32_t size = window_bytes(i->client);
    for (uint32_t n, done = 0; done < data.len; done += n) {
        n = (uint32_t)MIN(size - (at + done) % size, (uint64_t)(data.len - done));
        put(i, at + done, data.data + done, n);
    }
    i->size = MAX(i->size, at + data.len);
    i->changes++;
    i->changes_seen++;
    i->clear_suid = i->clear_suid || clear_suid;
    i->times_set = false;
    commit_age(i);
    k->offset = at;
    k->attr = i->attr;
    k->attr.size = i->size;
    return 0;
}

static bool within_budget(const struct client *c, uint32_t len)
{
    return c->dirty_bytes == 0 || c->dirty_bytes + len <= c->cfg.dirty_bytes;
}

static bool wants_sync(const struct client_file *f)
{
    return (f->flags & (O_SYNC | O_DSYNC)) != 0;
}

static void write_synced(struct file_sync *s)
{
    struct write_op *w = container_of(s, struct write_op, sync);
    op_end(&w->op, w->op.call != NULL ? file_take_error(w->file) : 0);
}

/* The bytes may enter now. */
static void admit(struct write_op *w)
{
    struct inode *i = w->inode;
    int err = take_bytes(i, w->op.call, w->offset, w->data, w->append, w->clear_suid);
    pump(i);
    if (err == 0 && wants_sync(w->file)) {
        bool data_only = (w->file->flags & O_SYNC) != O_SYNC;
        w->sync.done = write_synced;
        if (file_sync_start(i, &w->sync, data_only)) {
            return;
        }
        err = file_take_error(w->file);
    }
    op_end(&w->op, err);
}

static void admit_writers(struct client *c)
{
    bool any = false;
    while (!list_empty(&c->writers)) {
        struct write_op *w = list_entry(c->writers.next, struct write_op, in_queue);
        if (!within_budget(c, w->data.len)) {
            break;
        }
        struct inode *i = w->inode;
        inode_pin(i);
        list_remove(&w->in_queue);
        i->admitted++;
        admit(w);
        check_flushes(i);
        inode_unpin(i);
        any = true;
    }
    if (any && !list_empty(&c->writers)) {
        press(c);
    }
}

static void write_cancelled(struct op *o)
{
    struct write_op *w = container_of(o, struct write_op, op);
    if (list_empty(&w->in_queue)) {
        return; /* admitted: it is only the sync that nobody waits for */
    }
    struct inode *i = w->inode;
    inode_pin(i);
    i->admitted++;
    op_end(o, 0);
    check_flushes(i);
    commit_settle(i);
    admit_writers(i->client);
    inode_unpin(i);
}

static void start_write(struct client *c, struct client_call *k, struct client_file *f,
                        uint64_t offset, struct bytes data, bool append, bool clear_suid)
{
    struct inode *i = f->inode;
    bool now = list_empty(&c->writers) && within_budget(c, data.len);
    if (now && !wants_sync(f)) {
        call_end(k, take_bytes(i, k, offset, data, append, clear_suid));
        pump(i);
        return;
    }
    struct write_op *w = mem_new(struct write_op);
    op_begin(&w->op, c, k, write_drop);
    w->op.cancelled = write_cancelled;
    w->file = f;
    w->inode = i;
    inode_pin(i);
    list_init(&w->in_queue);
    w->offset = offset;
    w->data = data;
    w->append = append;
    w->clear_suid = clear_suid;
    if (now) {
        admit(w);
        return;
    }
    i->queued++;
    list_push_back(&c->writers, &w->in_queue);
    press(c);
}

void client_write(struct client *c, struct client_call *k, struct client_file *f, uint64_t offset,
                  struct bytes data, bool append, bool clear_suid)
{
    api_begin(c);
    call_begin(c, k);
    int err = file_take_error(f);
    if (err == 0 && data.len > IO_MAX) {
        err = -EINVAL;
    }
    if (err != 0 || data.len == 0) {
        call_end(k, err);
    } else {
        start_write(c, k, f, offset, data, append, clear_suid);
    }
    api_end(c);
}

/* ---------------------------------------------------------------- life */

void write_back_init(struct client *c)
{
    list_init(&c->dirty);
    list_init(&c->aging);
    list_init(&c->stalled);
    list_init(&c->writers);
    c->age_timer.fire = commit_age_fired;
}

void write_back_drop(struct inode *i)
{
    inode_pin(i);
    while (!list_empty(&i->pieces)) {
        struct piece *p = list_entry(i->pieces.next, struct piece, link);
        if (p->flying) {
            chunk_write_cancel(&p->write);
            set_flying(p, false);
        }
        piece_free(p);
    }
    inode_unpin(i);
}
