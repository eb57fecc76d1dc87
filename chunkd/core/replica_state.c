/* replica_state.c - sums, marks and meta log records of one replica. */
#include "chunkd/core/disk_health.h"
#include "chunkd/core/replica_table.h"
#include "shared/base/bytes.h"
#include "shared/base/mem.h"

#include <string.h>

uint32_t wall_clock_s(struct env *env)
{
    return (uint32_t)(MAX(env_wall_ns(env), 0) / (int64_t)NS_PER_S);
}

static uint32_t blocks_of(const struct table *t, uint32_t length)
{
    return length / t->block_bytes + (length % t->block_bytes != 0);
}

uint32_t replica_blocks(const struct local_replica *r)
{
    return blocks_of(r->table, r->length);
}

uint32_t block_extent(const struct table *t, uint32_t length, uint32_t b)
{
    uint64_t start = (uint64_t)b * t->block_bytes;
    return length <= start ? 0 : (uint32_t)MIN((uint64_t)length - start, t->block_bytes);
}

uint32_t zeros_sum(const struct table *t, uint32_t bytes)
{
    return bytes == t->block_bytes ? t->zero_sum : block_sum(t->zeros, bytes);
}

void replica_take_length(struct local_replica *r, uint32_t length)
{
    struct table *t = r->table;
    uint32_t before = replica_blocks(r);
    uint32_t after = blocks_of(t, length);
    if (after > r->sums_cap) {
        uint32_t cap = MIN(MAX(after, 2 * r->sums_cap), blocks_of(t, t->chunk_bytes));
        r->sums = mem_resize(r->sums, cap * sizeof(*r->sums));
        r->sums_cap = cap;
    }
    for (uint32_t b = after; b < before; b++) {
        replica_clear_bad(r, b);
    }
    t->sums_count += after;
    t->sums_count -= before;
    r->length = length;
}

void replica_set_length(struct local_replica *r, uint32_t length)
{
    const struct table *t = r->table;
    uint32_t before = replica_blocks(r);
    replica_take_length(r, length);
    for (uint32_t b = before; b < replica_blocks(r); b++) {
        r->sums[b] = zeros_sum(t, block_extent(t, length, b));
    }
}

bool replica_block_is_bad(const struct local_replica *r, uint32_t b)
{
    return r->bad != NULL && (r->bad[b / 8] >> (b % 8) & 1);
}

void replica_clear_bad(struct local_replica *r, uint32_t b)
{
    if (replica_block_is_bad(r, b)) {
        r->bad[b / 8] &= (uint8_t) ~(1u << (b % 8));
        r->bad_count--;
        replica_note_damage(r);
    }
}

void replica_block_repaired(struct local_replica *r, uint32_t b)
{
    r->table->repaired += replica_block_is_bad(r, b);
    replica_clear_bad(r, b);
}

void replica_note_damage(struct local_replica *r)
{
    bool damaged = r->bad_count > 0 || r->failed;
    bool was = !list_empty(&r->damaged_link);
    if (damaged && !was) {
        list_push_back(&r->table->damaged, &r->damaged_link);
    } else if (!damaged && was) {
        list_remove(&r->damaged_link);
        if (r->table->on_whole != NULL) {
            r->table->on_whole(r->table->on_whole_owner, r);
        }
    }
}

void replica_note_read_error(struct local_replica *r, uint32_t b, int err)
{
    disk_health_error(r->table->health, r->handle, b, err);
}

static bool in_next_log(const struct local_replica *r)
{
    uint64_t next = meta_log_next_number(r->table->meta);
    return next != 0 && r->log_number == next;
}

void replica_set_bad(struct local_replica *r, uint32_t b)
{
    if (r->bad == NULL) {
        r->bad = mem_alloc(CHUNK_BLOCKS_MAX / 8);
    }
    r->bad_count += !replica_block_is_bad(r, b);
    r->bad[b / 8] |= (uint8_t)(1u << (b % 8));
    replica_note_damage(r);
}

void replica_mark_bad(struct local_replica *r, uint32_t b)
{
    if (replica_block_is_bad(r, b) || r->dropped) {
        return;
    }
    replica_log_sums(r); /* the mark is about bytes of this length */
    replica_set_bad(r, b);
    r->table->found_bad++;
    struct meta_record rec = {.type = META_BAD, .handle = r->handle, .block = b};
    meta_log_append(r->table->meta, &rec, in_next_log(r));
    meta_log_kick(r->table->meta);
}

void replica_mark_failed(struct local_replica *r, int err)
{
    if (r->failed) {
        return;
    }
    env_log(r->table->env, LOG_ERROR, "chunk %016llx: its file failed (%s): the replica is bad",
            (unsigned long long)r->handle, err_text(err));
    r->failed = true;
    r->absent = err == -ENOENT;
    r->state_before = r->state;
    r->state = REPLICA_BAD;
    r->broken = true;
    replica_note_damage(r);
    replica_drop_tail(r);
    replica_log_head(r);
    meta_log_kick(r->table->meta);
    disk_health_error(r->table->health, r->handle, UINT32_MAX, err);
}

void replica_mark_verified(struct local_replica *r)
{
    r->verified_s = wall_clock_s(r->table->env);
    replica_log_head(r);
}

uint64_t replica_digest(const struct local_replica *r)
{
    uint32_t blocks = replica_blocks(r);
    uint8_t *bytes = mem_alloc(4 + 4 * (size_t)blocks);
    put_le(bytes, r->length, 4);
    for (uint32_t b = 0; b < blocks; b++) {
        put_le(bytes + 4 + 4 * (size_t)b, r->sums[b], 4);
    }
    uint64_t digest = hash64(bytes, 4 + 4 * (size_t)blocks);
    mem_free(bytes);
    return digest;
}

/* After a mutation that not every member may have, the replica must be compared, also by those who
 * read its record after a restart. */
static uint32_t state_told(const struct local_replica *r)
{
    return r->state == REPLICA_OK && r->broken ? REPLICA_SUSPECT : r->state;
}

struct replica replica_report(const struct local_replica *r)
{
    return (struct replica){.handle = r->handle,
                            .ino = r->ino,
                            .number = r->number,
                            .version = r->version,
                            .previous = r->previous,
                            .mutation = r->mutation,
                            .length = r->length,
                            .state = r->failed || r->bad_count > 0 ? REPLICA_BAD : state_told(r)};
}

/* ---------------------------------------------------------------- the open tail */

void replica_drop_tail(struct local_replica *r)
{
    if (r->tail != NULL) {
        block_stream_free(r->tail);
        r->tail = NULL;
        list_remove(&r->tail_link);
        r->table->tail_count--;
    }
}

struct block_stream *replica_new_tail(struct local_replica *r, uint32_t block)
{
    struct table *t = r->table;
    replica_drop_tail(r);
    if (t->tail_count >= t->tails_max) {
        replica_drop_tail(list_entry(t->tails.next, struct local_replica, tail_link));
    }
    r->tail = block_stream_new();
    r->tail_block = block;
    r->tail_bytes = 0;
    list_push_back(&t->tails, &r->tail_link);
    t->tail_count++;
    return r->tail;
}

/* ---------------------------------------------------------------- meta log */

void replica_note_unlogged(struct local_replica *r, uint32_t first, uint32_t end)
{
    if (list_empty(&r->unlogged_link)) {
        r->unlogged_first = first;
        r->unlogged_end = end;
        list_push_back(&r->table->unlogged, &r->unlogged_link);
        return;
    }
    r->unlogged_first = MIN(r->unlogged_first, first);
    r->unlogged_end = MAX(r->unlogged_end, end);
}

static struct meta_record sums_record(const struct local_replica *r, uint32_t first, uint32_t end)
{
    uint32_t blocks = replica_blocks(r);
    end = MIN(end, blocks);
    first = MIN(first, end);
    return (struct meta_record){.type = META_SUMS,
                                .handle = r->handle,
                                .mutation = r->mutation,
                                .length = r->length,
                                .first = first,
                                .count = end - first,
                                .sums = r->sums + first};
}

static struct meta_record head_record(const struct local_replica *r)
{
    return (struct meta_record){.type = META_REPLICA,
                                .handle = r->handle,
                                .ino = r->ino,
                                .number = r->number,
                                .version = r->version,
                                .previous = r->previous,
                                .previous_mutation = r->previous_mutation,
                                .mutation = r->mutation,
                                .length = r->length,
                                .state = r->absent ? r->state_before : state_told(r),
                                .flags = (r->active ? META_ACTIVE : 0u) |
                                         (r->dirty ? META_DIRTY : 0u) |
                                         (r->failed && !r->absent ? META_FAILED : 0u),
                                .verified_s = r->verified_s};
}

/* Sums on record mean good blocks: those of the range that are not must be named again after it. */
static void log_bad_blocks(const struct local_replica *r, uint32_t first, uint32_t end)
{
    for (uint32_t b = first; r->bad_count > 0 && b < end; b++) {
        if (replica_block_is_bad(r, b)) {
            struct meta_record rec = {.type = META_BAD, .handle = r->handle, .block = b};
            meta_log_append(r->table->meta, &rec, in_next_log(r));
        }
    }
}

void replica_log_sums(struct local_replica *r)
{
    if (list_empty(&r->unlogged_link)) {
        return;
    }
    list_remove(&r->unlogged_link);
    if (r->dropped) {
        return; /* nothing follows the record of the drop */
    }
    struct meta_record rec = sums_record(r, r->unlogged_first, r->unlogged_end);
    meta_log_append(r->table->meta, &rec, in_next_log(r));
    log_bad_blocks(r, rec.first, rec.first + rec.count);
}

void replica_log_head(struct local_replica *r)
{
    replica_log_sums(r);
    if (r->dropped) {
        return;
    }
    struct meta_record rec = head_record(r);
    meta_log_append(r->table->meta, &rec, in_next_log(r));
}

uint64_t replica_stored_bytes(const struct local_replica *r)
{
    const struct table *t = r->table;
    uint64_t bytes = 0;
    for (uint32_t b = 0; b < replica_blocks(r); b++) {
        bytes += r->sums[b] != t->zero_sum ? t->block_bytes : 0;
    }
    return bytes;
}

static struct meta_record reserved_record(const struct local_replica *r)
{
    return (struct meta_record){.type = META_RESERVED,
                                .handle = r->handle,
                                .from = r->reserved_from,
                                .end = r->reserved_end};
}

void replica_log_reserved(struct local_replica *r)
{
    if (!r->dropped) {
        struct meta_record rec = reserved_record(r);
        meta_log_append(r->table->meta, &rec, in_next_log(r));
    }
}

void replica_log_drop(struct local_replica *r)
{
    list_remove(&r->unlogged_link);
    if (r->aside) {
        aside_announce(r->table->aside, r->handle, replica_stored_bytes(r));
    }
    struct meta_record rec = {.type = META_DROP, .handle = r->handle};
    meta_log_append(r->table->meta, &rec, in_next_log(r));
}

void table_log_all_sums(struct table *t)
{
    while (!list_empty(&t->unlogged)) {
        replica_log_sums(list_entry(t->unlogged.next, struct local_replica, unlogged_link));
    }
    struct intent_release r = {t->meta->tickets, intent_ring_settled(t->ring)};
    *(t->release.settled == 0 ? &t->release : &t->release_next) = r;
    table_meta_written(t);
}

void table_meta_written(struct table *t)
{
    while (t->release.settled != 0 && t->release.ticket <= t->meta->written) {
        intent_ring_release(t->ring, t->release.settled);
        t->release = t->release_next;
        t->release_next = (struct intent_release){0};
    }
}

void replica_note_write(struct local_replica *r)
{
    r->writes++;
    r->last_write_ns = env_mono_ns(r->table->env);
    if (list_empty(&r->dirty_link)) {
        list_push_back(&r->table->dirty, &r->dirty_link);
    }
}

uint64_t table_live_bytes(const struct table *t)
{
    return t->count * (META_REPLICA_BYTES + META_HEADER_BYTES + 32) + 4 * t->sums_count;
}

static void hand_over(struct table *t, struct local_replica *r)
{
    r->log_number = meta_log_next_number(t->meta);
    struct meta_record rec = head_record(r);
    meta_log_append_next(t->meta, &rec);
    if (r->length > 0) {
        rec = sums_record(r, 0, replica_blocks(r));
        meta_log_append_next(t->meta, &rec);
    }
    for (uint32_t b = 0; r->bad_count > 0 && b < replica_blocks(r); b++) {
        if (replica_block_is_bad(r, b)) {
            rec = (struct meta_record){.type = META_BAD, .handle = r->handle, .block = b};
            meta_log_append_next(t->meta, &rec);
        }
    }
    if (r->reserved_from < r->reserved_end) {
        rec = reserved_record(r);
        meta_log_append_next(t->meta, &rec);
    }
}

/* Replicas added after the list of handles was made are in the new log from their first record. */
bool table_snapshot(struct table *t)
{
    enum { PIECE_BYTES = 512 << 10 };
    if (t->snapshot_number != meta_log_next_number(t->meta)) { /* a new compaction begins */
        mem_free(t->snapshot);
        t->snapshot = table_handles(t, &t->snapshot_count);
        t->snapshot_at = 0;
        t->snapshot_number = meta_log_next_number(t->meta);
        aside_hand_over(t->aside);
    }
    uint32_t before = t->meta->next.pending.len;
    while (t->snapshot_at < t->snapshot_count && t->meta->next.pending.len - before < PIECE_BYTES) {
        struct local_replica *r = table_get(t, t->snapshot[t->snapshot_at++]);
        if (r != NULL && r->log_number != meta_log_next_number(t->meta)) {
            hand_over(t, r);
        }
    }
    if (t->snapshot_at < t->snapshot_count) {
        return true;
    }
    mem_free(t->snapshot);
    t->snapshot = NULL;
    return false;
}
