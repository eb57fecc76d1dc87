/* replica_scan.c - reads blocks of a replica and tells which do not match their sums. */
#include "chunkd/core/replica_scan.h"

#include <string.h>

enum { SCAN_BYTES = 256 << 10 };

static void submit(struct replica_scan *s);

static void finish(struct replica_scan *s)
{
    replica_scan_release(s);
    struct local_replica *r = s->replica;
    s->done(s, s->status);
    replica_unuse(r);
}

static void turn_fired(struct env_timer *t)
{
    finish(container_of(t, struct replica_scan, turn));
}

static void check_blocks(struct replica_scan *s, bool readable)
{
    const struct local_replica *r = s->replica;
    const struct table *t = r->table;
    const uint8_t *p = s->buf->data;
    for (uint32_t i = 0; i < s->piece_blocks; i++) {
        uint32_t b = s->at + i;
        uint32_t n = block_extent(t, r->length, b);
        uint32_t sum = readable ? block_sum(p, n) : 0;
        if (!readable) {
            replica_note_read_error(s->replica, b, (int)s->op.result);
        }
        if (!readable || sum != r->sums[b]) {
            s->mismatch(s, b, sum, readable);
        }
        p += n;
    }
}

static void scan_read(struct disk_op *op)
{
    struct replica_scan *s = container_of(op, struct replica_scan, op);
    if (op->result < 0 && s->piece_blocks > 1) {
        s->piece_blocks = 1; /* again, alone: to learn which one it is */
        s->op.len = block_extent(s->replica->table, s->replica->length, s->at);
        env_disk_submit(s->replica->table->env, &s->op);
        return;
    }
    if (op->result >= 0) {
        memset(s->buf->data + op->result, 0, op->len - (uint32_t)op->result);
    }
    check_blocks(s, op->result >= 0);
    s->at += s->piece_blocks;
    submit(s);
}

static bool is_wanted(struct replica_scan *s, uint32_t block)
{
    return s->wanted == NULL || s->wanted(s, block);
}

static void submit(struct replica_scan *s)
{
    struct local_replica *r = s->replica;
    struct table *t = r->table;
    uint32_t blocks = replica_blocks(r);
    while (s->at < blocks && !is_wanted(s, s->at)) {
        s->at++;
    }
    if (s->at >= blocks) {
        finish(s);
        return;
    }
    uint32_t len = block_extent(t, r->length, s->at);
    s->piece_blocks = 1;
    while (s->at + s->piece_blocks < blocks && len + t->block_bytes <= s->buf->cap &&
           is_wanted(s, s->at + s->piece_blocks)) {
        len += block_extent(t, r->length, s->at + s->piece_blocks);
        s->piece_blocks++;
    }
    s->op = (struct disk_op){.kind = DISK_READ,
                             .file = r->file,
                             .off = (uint64_t)s->at * t->block_bytes,
                             .data = s->buf->data,
                             .len = len,
                             .done = scan_read};
    env_disk_submit(t->env, &s->op);
}

void replica_scan_start(struct replica_scan *s, struct local_replica *r)
{
    struct table *t = r->table;
    s->replica = r;
    s->at = 0;
    s->status = 0;
    s->buf = buf_new(MAX((uint32_t)SCAN_BYTES, t->block_bytes));
    s->turn = (struct env_timer){.fire = turn_fired};
    replica_use(r);
    if (r->length > 0) {
        s->status = replica_open(r, false);
    }
    if (r->length == 0 || s->status != 0) {
        env_timer_set(t->env, &s->turn, 0);
        return;
    }
    bool any = false;
    for (uint32_t b = 0; b < replica_blocks(r) && !any; b++) {
        any = is_wanted(s, b);
    }
    if (any) {
        submit(s);
    } else {
        env_timer_set(t->env, &s->turn, 0);
    }
}

void replica_scan_release(struct replica_scan *s)
{
    if (s->buf != NULL) {
        env_timer_stop(s->replica->table->env, &s->turn);
        buf_unref(s->buf);
        s->buf = NULL;
    }
}
