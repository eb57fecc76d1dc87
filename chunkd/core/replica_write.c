/* replica_write.c - one mutation applied to one replica.
 *
 *   start -> (dirty mark durable) -> plan each block, reading old ones -> (room in the ring)
 *         -> change the file -> apply sums -> done
 *   no space while changing it -> cut back to the old length
 *         -> compare each touched block with its old and new sum -> done with -ENOSPC
 */
#include "chunkd/core/replica_write.h"
#include "shared/base/bytes.h"
#include "shared/base/mem.h"

#include <string.h>

/* The spare entries are for the beginnings and ends of mutations at their primary. */
enum { RING_RETRY_MS = 1, RING_SPARE = 512 };

static void plan(struct write_op *w);
static void reserve_ring(struct write_op *w);

static uint32_t piece_count(const struct table *t, uint32_t offset, uint32_t length)
{
    return (uint32_t)(((uint64_t)offset + length - 1) / t->block_bytes - offset / t->block_bytes +
                      1);
}

int write_op_check(const struct table *t, uint32_t kind, uint32_t offset, uint32_t length,
                   const struct slice *payload, struct bytes sums)
{
    if (kind == WRITE_TRUNCATE) {
        return offset <= t->chunk_bytes && payload->len == 0 ? 0 : ERR_PROTOCOL;
    }
    if (length == 0 || offset >= t->chunk_bytes || length > t->chunk_bytes - offset) {
        return ERR_PROTOCOL;
    }
    if (kind == WRITE_PUNCH || kind == WRITE_RESERVE) {
        return payload->len == 0 ? 0 : ERR_PROTOCOL;
    }
    if (kind != WRITE_DATA || length > IO_MAX || payload->len != length ||
        sums.len != 4 * piece_count(t, offset, length)) {
        return ERR_PROTOCOL;
    }
    const uint8_t *p = slice_data(payload);
    uint32_t at = offset;
    for (uint32_t i = 0; at < offset + length; i++) {
        uint32_t room = t->block_bytes - at % t->block_bytes;
        uint32_t n = MIN(room, offset + length - at);
        if (block_sum(p + (at - offset), n) != get_le(sums.data + 4 * i, 4)) {
            return ERR_CHECKSUM;
        }
        at += n;
    }
    return 0;
}

/* ---------------------------------------------------------------- ends */

void write_op_release(struct write_op *w)
{
    if (w->op.replica != NULL) {
        env_timer_stop(w->op.replica->table->env, &w->ring_timer);
    }
    meta_log_cancel(&w->wait);
    meta_log_cancel(&w->created);
    mem_free(w->new_sums);
    w->new_sums = NULL;
    buf_unref(w->old);
    w->old = NULL;
}

static void put_done(const struct write_op *w)
{
    const struct local_replica *r = w->op.replica;
    struct intent e = {.handle = r->handle,
                       .version = r->version,
                       .mutation = w->mutation,
                       .block = INTENT_NO_BLOCK,
                       .new_length = w->new_length,
                       .flags = INTENT_DONE};
    if (intent_ring_has_room(r->table->ring, 1)) {
        intent_ring_put(r->table->ring, &e);
    }
}

static void finish(struct write_op *w, int status)
{
    w->status = status;
    if (w->holding) {
        w->holding = false;
        if (status == 0) {
            put_done(w);
        }
        intent_ring_unhold(&w->hold);
    }
    struct local_replica *r = w->op.replica;
    if (status != 0 && !w->applied) {
        r->broken =
            r->broken || r->version == w->version; /* nothing after it may be applied without it */
        replica_drop_tail(r);
    }
    write_op_release(w);
    replica_use(r);
    replica_op_end(&w->op);
    w->done(w);
    replica_unuse(r);
}

static void fail_bad_block(struct write_op *w, uint32_t block)
{
    w->bad_block = block;
    finish(w, ERR_CHECKSUM);
}

static void file_failed(struct write_op *w, int err)
{
    replica_mark_failed(w->op.replica, err);
    finish(w, -EIO);
}

/* ---------------------------------------------------------------- range */

/* Offset just beyond the bytes that change, as a 64-bit number. */
static uint64_t change_end(const struct write_op *w, uint32_t length)
{
    switch (w->kind) {
    case WRITE_TRUNCATE:
        return MAX(length, w->offset);
    case WRITE_PUNCH:
        return MIN((uint64_t)w->offset + w->length, length);
    default:
        return (uint64_t)w->offset + w->length;
    }
}

/* A write beyond the length also changes the last block, which gets zeros. A reservation disturbs no
 * read. */
static void write_range(struct replica_op *op)
{
    struct write_op *w = container_of(op, struct write_op, op);
    const struct local_replica *r = op->replica;
    uint32_t bs = r->table->block_bytes;
    uint32_t start = w->kind == WRITE_DATA ? MIN(w->offset, r->length) : w->offset;
    op->first = start / bs;
    op->end = w->kind == WRITE_TRUNCATE ? UINT32_MAX
              : w->kind == WRITE_RESERVE
                  ? op->first
                  : (uint32_t)(((uint64_t)w->offset + w->length + bs - 1) / bs);
}

static void set_changes(struct write_op *w)
{
    const struct local_replica *r = w->op.replica;
    uint32_t bs = r->table->block_bytes;
    w->new_length = r->length;
    w->first = w->count = 0;
    if (w->kind == WRITE_RESERVE) {
        return;
    }
    if (w->kind == WRITE_DATA) {
        w->new_length = (uint32_t)MAX((uint64_t)r->length, change_end(w, r->length));
    } else if (w->offset >= r->length) {
        return; /* nothing is there */
    }
    if (w->kind == WRITE_TRUNCATE) {
        w->new_length = w->offset;
        w->first = w->offset / bs;
        w->count = w->offset % bs != 0;
        return;
    }
    uint32_t start = MIN(w->offset, r->length);
    w->first = start / bs;
    w->count = (uint32_t)((change_end(w, r->length) + bs - 1) / bs) - w->first;
}

/* ---------------------------------------------------------------- planning sums */

/* What the mutation does to one block. Offsets are inside the block. */
struct block_change {
    uint32_t block;
    uint32_t old_bytes, new_bytes; /* of the block before and after */
    uint32_t from, to;   /* written, or zeroed by a punch; empty in a gap or by a truncate */
    const uint8_t *data; /* of [from, to); NULL = zeros */
};

static struct block_change change_of(const struct write_op *w, uint32_t b)
{
    const struct local_replica *r = w->op.replica;
    const struct table *t = r->table;
    uint64_t start = (uint64_t)b * t->block_bytes;
    struct block_change k = {.block = b,
                             .old_bytes = block_extent(t, r->length, b),
                             .new_bytes = block_extent(t, w->new_length, b)};
    if (w->kind == WRITE_TRUNCATE) {
        return k;
    }
    uint64_t from = MAX(start, (uint64_t)w->offset);
    uint64_t to = MIN(start + t->block_bytes, change_end(w, r->length));
    if (from < to) {
        k.from = (uint32_t)(from - start);
        k.to = (uint32_t)(to - start);
        k.data = w->kind == WRITE_DATA ? slice_data(&w->payload) + (from - w->offset) : NULL;
    }
    return k;
}

static void old_read(struct disk_op *op)
{
    struct write_op *w = container_of(op, struct write_op, disk);
    if (op->result < 0) {
        replica_note_read_error(w->op.replica, w->first + w->at, (int)op->result);
        fail_bad_block(w, w->first + w->at);
        return;
    }
    memset(w->old->data + op->result, 0, op->len - (uint32_t)op->result);
    w->old_valid = true;
    plan(w);
}

/* Old bytes of the block in w->old: true if they are there and match the old sum; else a read was
 * started or the mutation has ended. */
static bool have_old(struct write_op *w, const struct block_change *k)
{
    struct local_replica *r = w->op.replica;
    struct table *t = r->table;
    if (w->old_valid) {
        if (block_sum(w->old->data, k->old_bytes) == r->sums[k->block]) {
            return true;
        }
        fail_bad_block(w, k->block);
        return false;
    }
    if (w->old == NULL) {
        w->old = buf_new(t->block_bytes);
    }
    w->disk = (struct disk_op){.kind = DISK_READ,
                               .file = r->file,
                               .off = (uint64_t)k->block * t->block_bytes,
                               .data = w->old->data,
                               .len = k->old_bytes,
                               .done = old_read};
    env_disk_submit(t->env, &w->disk);
    return false;
}

static void stream_zeros(const struct table *t, struct block_stream *s, uint32_t n)
{
    if (n > 0) {
        block_stream_add(s, t->zeros, n);
    }
}

/* The block only gets longer: goes on from the hash of its bytes so far. */
static bool extend(struct write_op *w, const struct block_change *k, uint32_t *out_sum)
{
    struct local_replica *r = w->op.replica;
    /* A copy may have given the block other bytes, as many as before. */
    if (r->tail == NULL || r->tail_block != k->block || r->tail_bytes != k->old_bytes ||
        block_stream_sum(r->tail) != r->sums[k->block]) {
        if (k->old_bytes > 0 && !have_old(w, k)) {
            return false;
        }
        struct block_stream *s = replica_new_tail(r, k->block);
        if (k->old_bytes > 0) {
            block_stream_add(s, w->old->data, k->old_bytes);
        }
    }
    uint32_t zeros_to = k->to > k->from ? k->from : k->new_bytes;
    stream_zeros(r->table, r->tail, zeros_to - k->old_bytes);
    if (k->to > k->from) {
        block_stream_add(r->tail, k->data, k->to - k->from);
    }
    r->tail_bytes = k->new_bytes;
    *out_sum = block_stream_sum(r->tail);
    return true;
}

static bool merge(struct write_op *w, const struct block_change *k, uint32_t *out_sum)
{
    if (!have_old(w, k)) {
        return false;
    }
    uint8_t *p = w->old->data;
    if (k->new_bytes > k->old_bytes) {
        memset(p + k->old_bytes, 0, k->new_bytes - k->old_bytes);
    }
    if (k->data != NULL) {
        memcpy(p + k->from, k->data, k->to - k->from);
    } else {
        memset(p + k->from, 0, k->to - k->from);
    }
    *out_sum = block_sum(p, k->new_bytes);
    return true;
}

/* The sum of one block after the mutation: false if its old bytes must be read first, or it has
 * ended. */
static bool plan_block(struct write_op *w, uint32_t b, uint32_t *out_sum)
{
    struct local_replica *r = w->op.replica;
    const struct table *t = r->table;
    struct block_change k = change_of(w, b);
    bool written = k.to > k.from;
    if (written && k.from == 0 && k.to >= k.new_bytes) {
        uint32_t piece = b - w->offset / t->block_bytes;
        *out_sum =
            k.data != NULL ? (uint32_t)get_le(w->sums + 4 * piece, 4) : zeros_sum(t, k.new_bytes);
        return true;
    }
    if (!written && k.old_bytes == 0) {
        *out_sum = zeros_sum(t, k.new_bytes);
        return true;
    }
    if (replica_block_is_bad(r, b)) {
        fail_bad_block(w, b);
        return false;
    }
    bool extends = k.new_bytes > k.old_bytes && (!written || k.from >= k.old_bytes);
    return extends ? extend(w, &k, out_sum) : merge(w, &k, out_sum);
}

static void plan(struct write_op *w)
{
    while (w->at < w->count) {
        if (!plan_block(w, w->first + w->at, &w->new_sums[w->at])) {
            return;
        }
        w->old_valid = false;
        w->at++;
    }
    reserve_ring(w);
}

/* ---------------------------------------------------------------- changing the file */

static uint32_t old_sum_of(const struct local_replica *r, uint32_t b)
{
    return b < replica_blocks(r) ? r->sums[b] : 0;
}

static void put_intents(struct write_op *w)
{
    const struct local_replica *r = w->op.replica;
    struct intent_ring *ring = r->table->ring;
    intent_ring_hold(ring, &w->hold);
    w->holding = true;
    struct intent e = {.handle = r->handle,
                       .version = r->version,
                       .mutation = w->mutation,
                       .block = INTENT_NO_BLOCK,
                       .old_length = r->length,
                       .new_length = w->new_length};
    if (w->count == 0) {
        intent_ring_put(ring, &e);
    }
    for (uint32_t i = 0; i < w->count; i++) {
        e.block = w->first + i;
        e.old_sum = old_sum_of(r, e.block);
        e.new_sum = w->new_sums[i];
        intent_ring_put(ring, &e);
    }
}

/* Only an extension leaves the stream of the tail in step with its bytes; that of a full block is
 * of no use. */
static void drop_stale_tail(struct local_replica *r)
{
    const struct table *t = r->table;
    if (r->tail != NULL && (r->tail_bytes == t->block_bytes ||
                            r->tail_bytes != block_extent(t, r->length, r->tail_block) ||
                            r->sums[r->tail_block] != block_stream_sum(r->tail))) {
        replica_drop_tail(r);
    }
}

static void apply_sums(struct write_op *w)
{
    struct local_replica *r = w->op.replica;
    w->applied = true;
    replica_take_length(r, w->new_length);
    for (uint32_t i = 0; i < w->count; i++) {
        r->sums[w->first + i] = w->new_sums[i];
        replica_block_repaired(r, w->first + i);
    }
    drop_stale_tail(r);
    r->mutation = w->mutation;
    replica_note_unlogged(r, w->first, w->first + w->count);
    replica_note_write(r);
}

static void part_done(struct write_op *w)
{
    if (--w->pending == 0) {
        apply_sums(w);
        finish(w, w->kind == WRITE_RESERVE ? w->reserve.status : 0);
    }
}

static void created_logged(struct meta_wait *wait)
{
    part_done(container_of(wait, struct write_op, created));
}

static void recover_space(struct write_op *w);

static void reserved(struct reserve_op *o)
{
    struct write_op *w = container_of(o, struct write_op, reserve);
    if (o->status != 0 && o->status != -ENOSPC) {
        meta_log_cancel(&w->created);
        file_failed(w, o->status);
        return;
    }
    part_done(w);
}

static void reserve(struct write_op *w, uint32_t from, uint32_t end, uint64_t spare)
{
    w->reserve = (struct reserve_op){.done = reserved, .spare = spare, .from = from, .end = end};
    reserve_begin(&w->reserve, w->op.replica);
}

/* The file was cut, or a hole made: the disk has more room and holds less ready. A cut gives back
 * everything beyond the file's end; what the chunk keeps of it is taken again. */
static bool give_back(struct write_op *w)
{
    struct local_replica *r = w->op.replica;
    uint32_t from = MAX(r->reserved_from, w->new_length);
    uint32_t end = MIN(r->reserved_end, w->offset);
    if (w->kind == WRITE_PUNCH) {
        replica_unreserve(r, w->offset, (uint32_t)change_end(w, r->length));
        return false;
    }
    replica_unreserve(r, w->new_length, UINT32_MAX);
    if (from >= end) {
        return false;
    }
    reserve(w, from, end, 0);
    return true;
}

static void file_changed(struct disk_op *op)
{
    struct write_op *w = container_of(op, struct write_op, disk);
    struct table *t = w->op.replica->table;
    mean_time_add(&t->latency.disk, env_mono_ns(t->env) - w->disk_begin_ns);
    if (w->kind == WRITE_DATA && op->result == -ENOSPC) {
        meta_log_cancel(&w->created);
        recover_space(w);
        return;
    }
    if (op->result < 0) {
        meta_log_cancel(&w->created);
        file_failed(w, (int)op->result);
        return;
    }
    if (w->kind == WRITE_DATA || !give_back(w)) {
        part_done(w);
    }
}

static void change_file(struct write_op *w)
{
    struct local_replica *r = w->op.replica;
    struct table *t = r->table;
    put_intents(w);
    w->disk = (struct disk_op){.file = r->file, .off = w->offset, .done = file_changed};
    w->pending = 1;
    /* Bytes may not be acknowledged that a restarted process would find no replica for. */
    if (r->mutation == 0 && r->previous == 0) {
        w->created.done = created_logged;
        w->pending++;
        meta_log_wait(t->meta, &w->created, false);
    }
    if (w->kind == WRITE_DATA) {
        w->disk.kind = DISK_WRITE;
        w->disk.data = slice_data(&w->payload);
        w->disk.len = w->length;
    } else if (w->kind == WRITE_RESERVE) {
        reserve(w, w->offset, w->offset + w->length, w->spare);
        return;
    } else if (w->kind == WRITE_TRUNCATE && r->reserved_end > w->offset) {
        w->disk.kind = DISK_TRUNCATE;
        w->disk.off = w->new_length;
    } else if (w->new_length == r->length && w->count == 0) {
        part_done(w); /* it changes nothing; its number is taken all the same */
        return;
    } else if (w->kind == WRITE_TRUNCATE) {
        w->disk.kind = DISK_TRUNCATE;
    } else {
        w->disk.kind = DISK_PUNCH;
        w->disk.off2 = change_end(w, r->length) - w->offset;
    }
    w->disk_begin_ns = env_mono_ns(t->env);
    env_disk_submit(t->env, &w->disk);
}

static void try_ring_again(struct env_timer *t)
{
    reserve_ring(container_of(t, struct write_op, ring_timer));
}

static void reserve_ring(struct write_op *w)
{
    struct table *t = w->op.replica->table;
    uint32_t entries = MAX(w->count, 1u);
    if (!intent_ring_has_room(t->ring, entries + RING_SPARE)) {
        table_log_all_sums(t);
        meta_log_kick(t->meta);
        w->ring_timer.fire = try_ring_again;
        env_timer_set(t->env, &w->ring_timer, RING_RETRY_MS * NS_PER_MS);
        return;
    }
    if (!intent_ring_has_room(t->ring, entries + INTENT_ENTRIES / 2)) {
        table_log_all_sums(t); /* before it is full */
        meta_log_kick(t->meta);
    }
    change_file(w);
}

/* ---------------------------------------------------------------- start */

static void begin_plan(struct write_op *w)
{
    set_changes(w);
    w->new_sums = mem_alloc((w->count + 1) * sizeof(*w->new_sums));
    w->at = 0;
    plan(w);
}

static void marked_dirty(struct meta_wait *wait)
{
    begin_plan(container_of(wait, struct write_op, wait));
}

static void write_start(struct replica_op *op)
{
    struct write_op *w = container_of(op, struct write_op, op);
    struct local_replica *r = op->replica;
    if (r->version != w->version || w->mutation != r->mutation + 1 || r->failed || r->dropped) {
        finish(w, r->failed                  ? -EIO
                  : r->dropped               ? ERR_NO_REPLICA
                  : r->version != w->version ? ERR_WRONG_VERSION
                                             : ERR_MUTATION_GAP);
        return;
    }
    int err = replica_open(r, r->length == 0);
    if (err != 0) {
        if (err == -ENOSPC) {
            finish(w, -ENOSPC);
        } else {
            file_failed(w, err);
        }
        return;
    }
    if (!r->dirty) {
        r->dirty = true;
        replica_log_head(r);
        w->wait.done = marked_dirty;
        meta_log_wait(r->table->meta, &w->wait, true);
        return;
    }
    begin_plan(w);
}

void write_op_begin(struct write_op *w, struct local_replica *r)
{
    w->bad_block = UINT32_MAX;
    w->op.mutates = true;
    w->op.range = write_range;
    w->op.start = write_start;
    replica_op_begin(r, &w->op);
}

/* ---------------------------------------------------------------- out of space */

static void check_next(struct write_op *w);

/* A block holds its old bytes, its new ones, or is bad. */
static void checked(struct disk_op *op)
{
    struct write_op *w = container_of(op, struct write_op, disk);
    struct local_replica *r = w->op.replica;
    uint32_t b = w->first + w->at;
    uint32_t n = op->len;
    if (op->result >= 0) {
        memset(w->old->data + op->result, 0, n - (uint32_t)op->result);
    }
    uint32_t sum = block_sum(w->old->data, n);
    if (op->result >= 0 && sum == w->new_sums[w->at] &&
        n == block_extent(r->table, w->new_length, b)) {
        r->sums[b] = sum;
        replica_note_unlogged(r, b, b + 1);
        replica_note_write(r);
    } else if (op->result < 0 || sum != r->sums[b]) {
        w->bad_block = b;
        replica_mark_bad(r, b);
    }
    w->at++;
    check_next(w);
}

static void check_next(struct write_op *w)
{
    struct local_replica *r = w->op.replica;
    struct table *t = r->table;
    uint32_t b = w->first + w->at;
    uint32_t n = block_extent(t, r->length, b);
    if (w->at >= w->count || n == 0) {
        finish(w, -ENOSPC);
        return;
    }
    w->disk = (struct disk_op){.kind = DISK_READ,
                               .file = r->file,
                               .off = (uint64_t)b * t->block_bytes,
                               .data = w->old->data,
                               .len = n,
                               .done = checked};
    env_disk_submit(t->env, &w->disk);
}

static void cut_back(struct disk_op *op)
{
    struct write_op *w = container_of(op, struct write_op, disk);
    if (op->result < 0) {
        file_failed(w, (int)op->result);
        return;
    }
    replica_unreserve(w->op.replica, w->op.replica->length, UINT32_MAX);
    check_next(w);
}

static void recover_space(struct write_op *w)
{
    struct local_replica *r = w->op.replica;
    if (w->old == NULL) {
        w->old = buf_new(r->table->block_bytes);
    }
    replica_drop_tail(r);
    w->at = 0;
    w->disk = (struct disk_op){
        .kind = DISK_TRUNCATE, .file = r->file, .off = r->length, .done = cut_back};
    env_disk_submit(r->table->env, &w->disk);
}
