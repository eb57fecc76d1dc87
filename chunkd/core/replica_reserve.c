/* replica_reserve.c - space on the disk for bytes of a replica that are not written yet.
 *
 * Where plenty is free one operation takes it all. Near the disk's reserve nobody can tell how much
 * of the range has space already, so it is taken in steps: the first that takes space and leaves
 * too little free ends it. What would go below half of the reserve is not tried, unless it is known to
 * have its space.
 */
#include "chunkd/core/replica_reserve.h"

enum { RESERVE_STEP = 256 << 10 };

/* ---------------------------------------------------------------- what is reserved */

bool replica_is_reserved(const struct local_replica *r, uint32_t from, uint32_t end)
{
    return r->reserved_from <= from && end <= r->reserved_end;
}

/* One range is kept: the longer part. */
void replica_unreserve(struct local_replica *r, uint32_t from, uint32_t end)
{
    if (from >= end || from >= r->reserved_end || end <= r->reserved_from) {
        return;
    }
    uint32_t before = from > r->reserved_from ? from - r->reserved_from : 0;
    uint32_t after = r->reserved_end > end ? r->reserved_end - end : 0;
    if (before >= after) {
        r->reserved_end = r->reserved_from + before;
    } else {
        r->reserved_from = end;
    }
    replica_log_reserved(r);
}

static void note_reserved(struct local_replica *r, uint32_t from, uint32_t end)
{
    bool none = r->reserved_from == r->reserved_end;
    if (!none && from <= r->reserved_end && end >= r->reserved_from) {
        r->reserved_from = MIN(r->reserved_from, from);
        r->reserved_end = MAX(r->reserved_end, end);
    } else if (none || end - from > r->reserved_end - r->reserved_from) {
        r->reserved_from = from;
        r->reserved_end = end;
    }
    replica_log_reserved(r);
}

/* ---------------------------------------------------------------- taking it */

/* A disk that cannot say counts as empty: it refuses by itself. */
static uint64_t free_bytes(const struct reserve_op *o)
{
    uint64_t total, avail;
    return env_space(o->replica->table->env, &total, &avail) == 0 ? avail : UINT64_MAX;
}

static void given_back(struct disk_op *op)
{
    struct reserve_op *o = container_of(op, struct reserve_op, disk);
    o->done(o); /* if the cut failed what was taken stays */
}

/* A cut to the file's own end takes the blocks beyond it away, also those of earlier reservations:
 * only if there are none. */
static void refuse(struct reserve_op *o)
{
    struct local_replica *r = o->replica;
    o->status = -ENOSPC;
    uint32_t kept = MAX(r->length, r->reserved_from);
    if (!o->tried || o->had_some || kept < r->reserved_end) {
        o->done(o);
        return;
    }
    o->disk = (struct disk_op){
        .kind = DISK_TRUNCATE, .file = r->file, .off = r->length, .done = given_back};
    env_disk_submit(r->table->env, &o->disk);
}

static void next_step(struct reserve_op *o);

static void allocated(struct disk_op *op)
{
    struct reserve_op *o = container_of(op, struct reserve_op, disk);
    if (op->result == -ENOSPC) {
        refuse(o);
        return;
    }
    if (op->result < 0) {
        o->status = (int)op->result;
        o->done(o);
        return;
    }
    o->had_some = o->had_some || (o->at >= o->inside && op->result < (int64_t)o->length);
    o->at += o->length;
    if (o->stepping && op->result > 0 && free_bytes(o) < o->spare) {
        refuse(o);
    } else if (o->at < o->end) {
        next_step(o);
    } else {
        note_reserved(o->replica, o->from, o->end);
        o->done(o);
    }
}

static void next_step(struct reserve_op *o)
{
    uint64_t avail = free_bytes(o);
    uint32_t left = (o->at < o->inside ? MIN(o->inside, o->end) : o->end) - o->at;
    o->stepping = avail < o->spare || avail - o->spare < o->end - o->at;
    bool low = avail < o->spare / 2 || (o->spare > 0 && avail - o->spare / 2 < RESERVE_STEP);
    if (low && replica_is_reserved(o->replica, o->at, o->end)) {
        o->done(o); /* it takes nothing */
        return;
    }
    if (low) {
        refuse(o);
        return;
    }
    o->tried = true;
    o->length = o->stepping ? MIN(left, (uint32_t)RESERVE_STEP) : left;
    o->disk = (struct disk_op){.kind = DISK_RESERVE,
                               .file = o->replica->file,
                               .off = o->at,
                               .off2 = o->length,
                               .done = allocated};
    env_disk_submit(o->replica->table->env, &o->disk);
}

void reserve_begin(struct reserve_op *o, struct local_replica *r)
{
    o->replica = r;
    uint32_t bs = r->table->block_bytes;
    o->inside = (uint32_t)MIN(((uint64_t)r->length + bs - 1) / bs * bs, r->table->chunk_bytes);
    o->at = o->from;
    o->status = 0;
    next_step(o);
}
