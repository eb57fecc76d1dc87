/* read.c - the call read: split at chunks, holes and tails filled with zeros, put together.
 *
 * A small one that follows the file's last read begins with what that one left over, and asks for
 * the rest of its last checksum block (surplus.h). Not where bytes of this mount wait to be written:
 * they would be missing in it.
 *
 * What this mount wrote is on the replicas before they are read. While there is no primary that may take
 * long: then it is laid over what they have.
 */
#include <fcntl.h>
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
    struct client_file *file; /* valid while the call is */
    struct inode *inode;      /* pinned */
    bool sequential;
    uint64_t offset;
    uint32_t length;
    struct slice head; /* the first bytes, kept from the read before */
    uint32_t extra;    /* bytes behind them asked for with the last part */
    struct surplus about;
    struct flush flush;
    bool flushing;
    struct written *written; /* to be laid over the answer */
    uint32_t written_count;
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
    for (uint32_t n = 0; n < r->written_count; n++) {
        slice_drop(&r->written[n].data);
    }
    mem_free(r->written);
    slice_drop(&r->head);
    inode_unpin(r->inode);
    mem_free(r);
}

static void read_cancelled(struct op *o)
{
    op_end(o, 0);
}

/* Live bytes of a part's answer, surplus included: what is behind them reads as zeros. */
static uint32_t all_live_bytes(const struct read_part *p)
{
    const struct replica_call *k = &p->call;
    uint32_t live = k->trim > k->offset ? k->trim - k->offset : 0;
    return k->is_hole ? 0 : MIN(k->data.len, live);
}

static uint32_t live_bytes(const struct read_part *p)
{
    return MIN(all_live_bytes(p), p->len);
}

static void lay_over(const struct read_op *r, uint8_t *bytes)
{
    for (uint32_t n = 0; n < r->written_count; n++) {
        const struct written *w = &r->written[n];
        uint64_t lo = MAX(w->offset, r->offset);
        uint64_t hi = MIN(w->offset + w->data.len, r->offset + r->length);
        if (lo < hi) {
            memcpy(bytes + (lo - r->offset), slice_data(&w->data) + (lo - w->offset), hi - lo);
        }
    }
}

/* One part without a gap is passed on as it was received. */
static struct slice assemble(struct read_op *r)
{
    if (r->part_count == 1 && live_bytes(&r->parts[0]) == r->length && r->written_count == 0) {
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
    lay_over(r, s.buf->data);
    return s;
}

static void keep_surplus(struct read_op *r)
{
    const struct read_part *p = &r->parts[r->part_count - 1];
    if (r->extra > 0 && all_live_bytes(p) >= p->len + r->extra) {
        surplus_keep(r->file, &r->about, slice_data(&p->call.data) + p->len, r->extra);
    }
}

static void part_over(struct read_op *r)
{
    if (--r->running > 0) {
        return;
    }
    if (r->status == 0 && r->op.call != NULL) {
        r->op.call->data = assemble(r);
        r->op.call->head = r->head;
        r->head = (struct slice){0};
        keep_surplus(r);
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

/* Bytes from the read's end to the end of that checksum block, if they are worth asking for. */
static uint32_t rest_of_block(const struct read_op *r)
{
    const struct inode *i = r->inode;
    uint64_t end = r->offset + r->length;
    uint64_t left = i->client->master.block_bytes - end % i->client->master.block_bytes;
    if (!r->sequential || r->op.call == NULL || r->length >= i->client->master.block_bytes ||
        left == i->client->master.block_bytes || write_back_busy(i)) {
        return 0;
    }
    return (uint32_t)MIN(left, i->size - end);
}

/* False: that was all of it. */
static bool take_head(struct read_op *r)
{
    if (r->sequential && r->op.call != NULL) {
        r->head = surplus_take(r->file, r->offset, r->length);
        r->offset += r->head.len;
        r->length -= r->head.len;
    }
    if (r->length > 0) {
        return true;
    }
    r->op.call->head = r->head;
    r->head = (struct slice){0};
    op_end(&r->op, 0);
    return false;
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
    if (!take_head(r)) {
        return;
    }
    uint64_t first = r->offset / chunk;
    uint64_t last = (r->offset + r->length - 1) / chunk;
    r->part_count = (uint32_t)(last - first + 1);
    r->parts = mem_alloc(r->part_count * sizeof(*r->parts));
    r->running = r->part_count + 1;
    r->extra = rest_of_block(r);
    r->about = (struct surplus){.offset = r->offset + r->length,
                                .at_ns = env_mono_ns(i->client->env),
                                .changes_seen = i->changes_seen};
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
        if (n + 1 == r->part_count) {
            r->extra = p->len + r->extra <= IO_MAX ? r->extra : 0;
            p->call.length += r->extra;
        }
        replica_call_start(&p->call);
    }
    part_over(r);
}

static void flushed(struct flush *f)
{
    struct read_op *r = container_of(f, struct read_op, flush);
    r->flushing = false;
    start_parts(r);
}

static void start_over_written(struct read_op *r)
{
    r->written_count = write_back_copy(r->inode, r->offset, r->offset + r->length, &r->written);
    start_parts(r);
}

void reads_go_on(struct client *c)
{
    list_for_each_safe (e, &c->ops) {
        struct op *o = list_entry(e, struct op, link);
        struct read_op *r = container_of(o, struct read_op, op);
        if (o->drop == read_drop && r->flushing) {
            flush_cancel(&r->flush);
            r->flushing = false;
            start_over_written(r);
        }
    }
}

void client_read(struct client *c, struct client_call *k, struct client_file *f, uint64_t offset,
                 uint32_t length)
{
    api_begin(c);
    call_begin(c, k);
    struct read_op *r = mem_new(struct read_op);
    op_begin(&r->op, c, k, read_drop);
    r->op.cancelled = read_cancelled;
    r->file = f;
    r->inode = f->inode;
    inode_pin(r->inode);
    r->offset = offset;
    r->length = MIN(length, (uint32_t)IO_MAX);
    r->sequential = offset > 0 && offset == f->read_end && (f->flags & O_DIRECT) == 0;
    if (!r->sequential) {
        surplus_drop(f);
    }
    f->read_end = offset + r->length;
    r->flush.done = flushed;
    uint64_t end = offset > UINT64_MAX - r->length ? UINT64_MAX : offset + r->length;
    if (client_on_shadow(c) && write_back_busy(r->inode)) {
        start_over_written(r);
    } else if (flush_start(r->inode, &r->flush, offset, end)) {
        r->flushing = true;
    } else {
        start_parts(r);
    }
    api_end(c);
}

struct slice client_read_bytes(const struct client_call *k)
{
    if (k->head.len == 0 || k->data.len == 0) {
        return slice_ref(k->head.len > 0 ? &k->head : &k->data);
    }
    struct slice s = {buf_new(k->head.len + k->data.len), 0, k->head.len + k->data.len};
    memcpy(s.buf->data, slice_data(&k->head), k->head.len);
    memcpy(s.buf->data + k->head.len, slice_data(&k->data), k->data.len);
    return s;
}
