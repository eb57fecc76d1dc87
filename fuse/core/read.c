/* read.c - the call read: split at chunks, holes and tails filled with zeros, put together. */
#include <string.h>

#include "fuse/core/client_impl.h"
#include "fuse/core/replica_call.h"
#include "fuse/core/write_back.h"

struct read_part {
    struct replica_call call;
    uint32_t at; /* in the answer */
    uint32_t len;
};

struct read_op {
    struct op op;
    struct inode *inode; /* pinned */
    uint64_t offset;
    uint32_t length;
    struct flush flush;
    int status;
    uint32_t running; /* parts, and one while they are started */
    uint32_t part_count;
    struct read_part *parts;
};

static void read_drop(struct op *o)
{
    struct read_op *r = container_of(o, struct read_op, op);
    flush_cancel(&r->flush);
    for (uint32_t n = 0; n < r->part_count; n++) {
        replica_call_cancel(&r->parts[n].call);
    }
    mem_free(r->parts);
    inode_unpin(r->inode);
    mem_free(r);
}

static void read_cancelled(struct op *o)
{
    op_end(o, 0);
}

/* Live bytes of a part's answer: what is behind them reads as zeros. */
static uint32_t live_bytes(const struct read_part *p)
{
    const struct replica_call *k = &p->call;
    uint32_t live = k->trim > k->offset ? k->trim - k->offset : 0;
    return k->is_hole ? 0 : MIN(MIN(k->data.len, p->len), live);
}

/* One part without a gap is passed on as it was received. */
static struct slice assemble(struct read_op *r)
{
    if (r->part_count == 1 && live_bytes(&r->parts[0]) == r->length) {
        struct slice s = slice_ref(&r->parts[0].call.data);
        s.len = r->length;
        return s;
    }
    struct slice s = {buf_new(r->length), 0, r->length};
    for (uint32_t n = 0; n < r->part_count; n++) {
        const struct read_part *p = &r->parts[n];
        uint32_t live = live_bytes(p);
        if (live > 0) {
            memcpy(s.buf->data + p->at, slice_data(&p->call.data), live);
        }
        memset(s.buf->data + p->at + live, 0, p->len - live);
    }
    return s;
}

static void part_over(struct read_op *r)
{
    if (--r->running > 0) {
        return;
    }
    if (r->status == 0 && r->op.call != NULL) {
        r->op.call->data = assemble(r);
    }
    op_end(&r->op, r->status);
}

static void part_done(struct replica_call *k)
{
    struct read_op *r = k->owner;
    if (k->status != 0 && r->status == 0) {
        r->status = k->status == ERR_PROTOCOL ? -EIO : k->status;
    }
    part_over(r);
}

/* Nothing that was written before stands in the way any more. */
static void start_parts(struct read_op *r)
{
    struct inode *i = r->inode;
    uint32_t chunk = i->client->master.chunk_bytes;
    if (r->offset >= i->size || r->length == 0) {
        op_end(&r->op, 0);
        return;
    }
    r->length = (uint32_t)MIN((uint64_t)r->length, i->size - r->offset);
    uint64_t first = r->offset / chunk;
    uint64_t last = (r->offset + r->length - 1) / chunk;
    r->part_count = (uint32_t)(last - first + 1);
    r->parts = mem_alloc(r->part_count * sizeof(*r->parts));
    r->running = r->part_count + 1;
    uint32_t at = 0;
    for (uint32_t n = 0; n < r->part_count; n++) {
        struct read_part *p = &r->parts[n];
        uint32_t in_chunk = (uint32_t)((r->offset + at) % chunk);
        p->at = at;
        p->len = MIN(chunk - in_chunk, r->length - at);
        at += p->len;
        p->call.done = part_done;
        p->call.owner = r;
        p->call.inode = i;
        p->call.number = first + n;
        p->call.op = OP_read;
        p->call.offset = in_chunk;
        p->call.length = p->len;
        replica_call_start(&p->call);
    }
    part_over(r);
}

static void flushed(struct flush *f)
{
    start_parts(container_of(f, struct read_op, flush));
}

void client_read(struct client *c, struct client_call *k, struct client_file *f, uint64_t offset,
                 uint32_t length)
{
    api_begin(c);
    call_begin(c, k);
    struct read_op *r = mem_new(struct read_op);
    op_begin(&r->op, c, k, read_drop);
    r->op.cancelled = read_cancelled;
    r->inode = f->inode;
    inode_pin(r->inode);
    r->offset = offset;
    r->length = MIN(length, (uint32_t)IO_MAX);
    r->flush.done = flushed;
    uint64_t end = offset > UINT64_MAX - r->length ? UINT64_MAX : offset + r->length;
    if (!flush_start(r->inode, &r->flush, offset, end)) {
        start_parts(r);
    }
    api_end(c);
}
