/* oplog_append.c - group commit: records gather in batches, one flush is in flight at a time. */
#include "master/core/oplog_internal.h"
#include "shared/base/mem.h"

enum {
    SPARE_BATCHES_MAX = 2,
};

/* ---------------------------------------------------------------- batches */

struct batch *batch_of_link(struct list *link)
{
    return list_entry(link, struct batch, link);
}

void batch_free(struct batch *b)
{
    if (b != NULL) {
        mem_free(b->data);
        mem_free(b);
    }
}

/* Bytes at which a batch is closed: a fresh segment of the usual size must hold it. */
static uint32_t batch_limit(const struct oplog *l)
{
    return MIN((uint32_t)BATCH_BYTES, segment_units(l->cfg.segment_bytes) * (uint32_t)UNIT_BYTES);
}

static struct batch *batch_new(struct oplog *l, uint32_t record_bytes)
{
    uint32_t cap = MAX(batch_limit(l), units_of(record_bytes) * UNIT_BYTES);
    struct list *spare = cap == batch_limit(l) ? list_pop_front(&l->spare) : NULL;
    struct batch *b;
    if (spare != NULL) {
        b = batch_of_link(spare);
    } else {
        b = mem_new(struct batch);
        list_init(&b->link);
        b->data = mem_alloc(cap);
        b->cap = cap;
    }
    b->len = 0;
    list_push_back(&l->queue, &b->link);
    return b;
}

static void batch_recycle(struct oplog *l, struct batch *b)
{
    uint32_t spares = 0;
    list_for_each (it, &l->spare) {
        spares++;
    }
    if (b->cap == batch_limit(l) && spares < SPARE_BATCHES_MAX) {
        list_push_back(&l->spare, &b->link);
    } else {
        batch_free(b);
    }
}

static struct batch *batch_with_room(struct oplog *l, uint32_t record_bytes)
{
    if (!list_empty(&l->queue)) {
        struct batch *b = batch_of_link(l->queue.prev);
        if (b->cap - b->len >= record_bytes) {
            return b;
        }
    }
    return batch_new(l, record_bytes);
}

/* ---------------------------------------------------------------- append */

uint64_t oplog_append(struct oplog *l, struct record *r)
{
    ASSERT(!l->stopped && l->now.epoch > 0);
    uint32_t size = record_size(r);
    struct batch *b = batch_with_room(l, size);
    r->index = l->last + 1;
    r->epoch = l->now.epoch;
    r->cluster = l->now.cluster;
    r->prev_chain = l->chain;
    r->batch_flags = b->len == 0 ? RECORD_FIRST_OF_BATCH : 0;
    record_encode(r, b->data + b->len);
    if (b->len == 0) {
        b->first = r->index;
    }
    b->last = r->index;
    b->epoch = r->epoch;
    b->chain = r->chain;
    b->last_offset = b->len;
    b->len += size;
    l->last = r->index;
    l->chain = r->chain;
    l->last_epoch = r->epoch;
    l->pending_bytes += size;
    oplog_flush_next(l);
    return r->index;
}

/* ---------------------------------------------------------------- flush */

static void flush_failed(struct oplog *l)
{
    struct env_file *mark;
    if (env_file_open(l->env, FLUSH_FAILED, ENV_OPEN_CREATE, &mark) == 0) {
        env_file_close(l->env, mark);
    }
    env_die(l->env, "operation log could not be written");
}

static void flush_done(struct disk_op *op)
{
    struct oplog *l = op->owner;
    struct batch *b = l->flushing;
    if (op->result < 0) {
        flush_failed(l);
    }
    l->flushing = NULL;
    l->committed = b->last;
    l->committed_chain = b->chain;
    l->pending_bytes -= b->len;
    l->current_has_header = true;
    batch_recycle(l, b);
    if (l->stopped) {
        return;
    }
    l->idle_disturbed = true;
    if (l->idle.place == 0) {
        env_timer_set(l->env, &l->idle, NS_PER_S);
    }
    oplog_flush_next(l);
    if (l->on_commit != NULL) {
        l->on_commit(l->on_commit_owner, l->committed);
    }
}

/* Writes the id slot, behind the header if the segment has none yet; returns its bytes. */
static uint32_t make_head(struct oplog *l, const struct batch *b, uint32_t units)
{
    struct slot slot = {.first = b->first,
                        .records = (uint32_t)(b->last - b->first + 1),
                        .units = units,
                        .epoch = b->epoch,
                        .chain_low = (uint32_t)b->chain};
    if (l->current_has_header) {
        slot_encode(&slot, l->now.cluster, l->head);
        return SLOT_BYTES;
    }
    segment_header_encode(&l->segments[l->segment_count - 1], l->now.cluster, l->head);
    slot_encode(&slot, l->now.cluster, l->head + UNIT_BYTES);
    return UNIT_BYTES + SLOT_BYTES;
}

void oplog_flush_next(struct oplog *l)
{
    if (l->flushing != NULL || l->stopped || list_empty(&l->queue)) {
        return;
    }
    struct batch *b = batch_of_link(l->queue.next);
    uint32_t units = units_of(b->len);
    if (!oplog_make_room(l, units)) {
        return;
    }
    list_remove(&b->link);
    record_add_batch_flags(b->data + b->last_offset, RECORD_LAST_OF_BATCH);
    memset(b->data + b->len, 0, (size_t)units * UNIT_BYTES - b->len);
    uint32_t head_len = make_head(l, b, units);
    uint32_t unit = l->current_unit;
    uint32_t segment_bytes = l->segments[l->segment_count - 1].bytes;
    l->flushing = b;
    l->current_unit += units;
    l->flush_op = (struct disk_op){.kind = DISK_WRITE,
                                   .file = l->current,
                                   .off = segment_unit_offset(segment_bytes, unit),
                                   .data = b->data,
                                   .len = units * UNIT_BYTES,
                                   .off2 = head_len == SLOT_BYTES ? segment_slot_offset(unit) : 0,
                                   .data2 = l->head,
                                   .len2 = head_len,
                                   .sync = true,
                                   .done = flush_done,
                                   .owner = l};
    env_disk_submit(l->env, &l->flush_op);
}
