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

/* The record r was written at the end of b. */
static void added(struct oplog *l, struct batch *b, const struct record *r, uint32_t size)
{
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
}

void oplog_soon(struct env_timer *t)
{
    oplog_flush_next(container_of(t, struct oplog, soon));
}

/* At the end of this turn of the loop: what is appended until then goes in the same batch. */
static void flush_soon(struct oplog *l)
{
    if (l->flushing == NULL && l->soon.place == 0) {
        env_timer_set(l->env, &l->soon, 0);
    }
}

uint64_t oplog_append(struct oplog *l, struct record *r)
{
    ASSERT(!l->stopped && !l->damaged && (l->writer_epoch > 0 || l->deposed));
    if (l->writer_epoch == 0) {
        r->index = l->last + 1;
        return r->index;
    }
    uint32_t size = record_size(r);
    struct batch *b = batch_with_room(l, size);
    r->index = l->last + 1;
    r->epoch = l->writer_epoch;
    r->cluster = l->now.cluster;
    r->prev_chain = l->chain;
    r->batch_flags = b->len == 0 ? RECORD_FIRST_OF_BATCH : 0;
    record_encode(r, b->data + b->len);
    added(l, b, r, size);
    flush_soon(l);
    return r->index;
}

/* Whether r may follow a record with this index, chain and epoch. */
static int check_foreign(const struct oplog *l, const struct record *r, uint64_t index,
                         uint64_t chain, uint32_t epoch, struct why *why)
{
    if (r->cluster != l->now.cluster) {
        return why_set(why, ERR_PROTOCOL, "record of cluster %#llx, expected %#llx",
                       (unsigned long long)r->cluster, (unsigned long long)l->now.cluster);
    }
    if (r->epoch > l->now.epoch) {
        return why_set(why, ERR_PROTOCOL, "record %llu of epoch %u, which was not promised",
                       (unsigned long long)r->index, r->epoch);
    }
    if (r->index != index + 1 || r->prev_chain != chain || r->epoch < epoch) {
        return why_set(why, ERR_OUT_OF_SYNC,
                       "record %llu of epoch %u on chain %#llx does not follow %llu of epoch %u, "
                       "%#llx",
                       (unsigned long long)r->index, r->epoch, (unsigned long long)r->prev_chain,
                       (unsigned long long)index, epoch, (unsigned long long)chain);
    }
    return 0;
}

static int check_records(const struct oplog *l, struct bytes in, struct why *why)
{
    uint64_t index = l->last, chain = l->chain;
    uint32_t epoch = l->last_epoch;
    if (in.len == 0) {
        return why_set(why, ERR_PROTOCOL, "no record");
    }
    while (in.len > 0) {
        struct record r;
        bool header_good;
        if (record_decode(in, &r, &header_good, why) != 0) {
            return why_set(why, ERR_PROTOCOL, "record after %llu is damaged",
                           (unsigned long long)index);
        }
        int rc = check_foreign(l, &r, index, chain, epoch, why);
        if (rc < 0) {
            return rc;
        }
        index = r.index;
        chain = r.chain;
        epoch = r.epoch;
        in = bytes_of(in.data + record_size(&r), in.len - record_size(&r));
    }
    return 0;
}

int oplog_append_encoded(struct oplog *l, struct bytes records, struct why *why)
{
    ASSERT(!l->stopped && !l->damaged);
    int rc = check_records(l, records, why);
    struct bytes all = records;
    while (rc == 0 && records.len > 0) {
        struct record r;
        bool header_good;
        rc = record_decode(records, &r, &header_good, why);
        uint32_t size = record_size(&r);
        struct batch *b = batch_with_room(l, size);
        memcpy(b->data + b->len, records.data, size);
        record_set_batch_flags(b->data + b->len, b->len == 0 ? RECORD_FIRST_OF_BATCH : 0);
        added(l, b, &r, size);
        records = bytes_of(records.data + size, records.len - size);
    }
    if (rc == 0) {
        flush_soon(l);
    }
    if (rc == 0 && l->on_records != NULL) {
        l->on_records(l->on_records_owner, all);
    }
    return rc;
}

/* ---------------------------------------------------------------- flush */

void oplog_disturb_idle(struct oplog *l)
{
    l->idle_disturbed = true;
    if (l->idle.place == 0) {
        env_timer_set(l->env, &l->idle, NS_PER_S);
    }
}

static void commit(struct oplog *l, uint64_t index)
{
    l->committed = index;
    if (l->on_commit != NULL) {
        l->on_commit(l->on_commit_owner, index);
    }
}

static void flush_done(struct disk_op *op)
{
    struct oplog *l = op->owner;
    struct batch *b = l->flushing;
    if (op->result < 0) {
        env_die(l->env, "operation log could not be written"); /* the next start writes it again */
    }
    l->flushing = NULL;
    l->durable = b->last;
    l->durable_chain = b->chain;
    l->pending_bytes -= b->len;
    l->current_has_header = true;
    batch_recycle(l, b);
    if (l->stopped) {
        return;
    }
    oplog_disturb_idle(l);
    oplog_flush_next(l);
    if (!l->cfg.replicated) {
        commit(l, l->durable);
    }
    if (l->on_durable != NULL) {
        l->on_durable(l->on_durable_owner, l->durable);
    }
}

void oplog_commit_to(struct oplog *l, uint64_t index)
{
    ASSERT(l->cfg.replicated);
    if (!l->stopped && MIN(index, l->last) > l->committed) {
        oplog_disturb_idle(l);
        commit(l, MIN(index, l->last));
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
    record_set_batch_flags(b->data + b->last_offset,
                           b->last_offset == 0 ? RECORD_FIRST_OF_BATCH | RECORD_LAST_OF_BATCH
                                               : RECORD_LAST_OF_BATCH);
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
    oplog_next_on(l);
    if (l->on_batch != NULL) {
        struct oplog_batch out = {.records = bytes_of(b->data, b->len),
                                  .first = b->first,
                                  .last = b->last,
                                  .prev_chain = record_prev_chain(b->data),
                                  .chain = b->chain};
        l->on_batch(l->on_batch_owner, &out);
    }
}
