/* copy.c - pull: makes a replica equal to a peer's by copying the blocks that differ.
 *
 *   start -> the source's vector of sums -> (CLONING and dirty, durable) -> same length
 *         -> own bytes checked, unless the sums in memory are known to be true
 *         -> differing blocks copied, two requests in flight -> data and sums durable
 *
 * While it runs and until it is activated the replica is CLONING: its bytes need not match its
 * sums, so what an interrupted copy leaves is checked against the bytes next time.
 */
#include "chunkd/core/core.h"
#include "chunkd/core/replica_scan.h"
#include "chunkd/core/replica_sync.h"
#include "shared/base/bytes.h"
#include "shared/base/mem.h"

#include <string.h>

enum { LANES = 2 };

struct pull_request;

/* One run of blocks on its way. */
struct copy_lane {
    struct pull_request *p;
    struct rpc_call call;
    struct disk_op disk;
    struct slice payload;
    uint32_t offset, length;
    bool busy;
};

struct pull_request {
    struct request q;
    struct pull_req req;
    uint64_t source_version;
    struct replica_op op;
    struct meta_wait wait;
    struct rpc_call call;
    struct disk_op disk;
    struct replica_scan scan;
    struct sync_wait sync;
    struct copy_lane lanes[LANES];
    uint32_t *vector; /* the source's sums */
    uint32_t blocks, length;
    uint8_t need[CHUNK_BLOCKS_MAX / 8]; /* a bit per block to be copied */
    uint32_t next;                      /* block */
    bool trusted;                       /* stored sums are those of the bytes here */
    int status;
    uint64_t copied;
};

static void pull_release(struct request *q)
{
    struct pull_request *p = (struct pull_request *)q;
    meta_log_cancel(&p->wait);
    rpc_cancel(&p->call);
    replica_sync_cancel(&p->sync);
    replica_scan_release(&p->scan);
    for (uint32_t i = 0; i < LANES; i++) {
        rpc_cancel(&p->lanes[i].call);
        slice_drop(&p->lanes[i].payload);
    }
    mem_free(p->vector);
}

static void finish(struct pull_request *p, int status)
{
    struct local_replica *r = p->op.replica;
    struct slice body = {0};
    r->copying = false;
    if (status == 0) {
        r->pulled_version = r->version;
        struct pull_rep rep = {.copied = p->copied, .digest = replica_digest(r)};
        body = RPC_BODY(pull_rep, &rep);
    }
    p->q.c->running--;
    request_answer(&p->q, status, body, NULL);
    replica_op_end(&p->op);
    request_end(&p->q);
}

static bool is_needed(const struct pull_request *p, uint32_t b)
{
    return p->need[b / 8] >> (b % 8) & 1;
}

static void set_needed(struct pull_request *p, uint32_t b)
{
    p->need[b / 8] |= (uint8_t)(1u << (b % 8));
}

/* ---------------------------------------------------------------- durable */

static void all_durable(struct sync_wait *w, int status)
{
    struct pull_request *p = container_of(w, struct pull_request, sync);
    finish(p, status != 0 ? status : p->status);
}

static void make_durable(struct pull_request *p)
{
    struct local_replica *r = p->op.replica;
    p->sync.done = all_durable;
    replica_sync(p->q.c, r, &p->sync);
}

/* ---------------------------------------------------------------- blocks */

static void copy_more(struct pull_request *p);

static void lane_ended(struct copy_lane *l, int status)
{
    struct pull_request *p = l->p;
    l->busy = false;
    slice_drop(&l->payload);
    if (status != 0 && p->status == 0) {
        p->status = status;
    }
    copy_more(p);
}

static void lane_written(struct disk_op *op)
{
    struct copy_lane *l = container_of(op, struct copy_lane, disk);
    struct local_replica *r = l->p->op.replica;
    int err = op->result < 0 ? (int)op->result : 0;
    if (err != 0 && err != -ENOSPC) {
        replica_mark_failed(r, err);
        err = -EIO;
    }
    if (err == 0) {
        l->p->copied += l->length;
        replica_note_write(r);
    }
    lane_ended(l, err);
}

/* Takes the sums of what arrived: each piece of the payload is one block, or the last one's part up
 * to the length. */
static int take_sums(struct copy_lane *l, struct bytes sums)
{
    struct local_replica *r = l->p->op.replica;
    const struct table *t = r->table;
    const uint8_t *data = slice_data(&l->payload);
    uint32_t first = l->offset / t->block_bytes;
    uint32_t count = (l->length + t->block_bytes - 1) / t->block_bytes;
    if (l->payload.len != l->length) {
        return ERR_WRONG_VERSION; /* the source was cut meanwhile */
    }
    if (sums.len != 4 * count) {
        return ERR_PROTOCOL;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t n = block_extent(t, r->length, first + i);
        uint32_t sum = (uint32_t)get_le(sums.data + 4 * i, 4);
        if (block_sum(data, n) != sum) {
            return ERR_CHECKSUM;
        }
        r->sums[first + i] = sum;
        replica_clear_bad(r, first + i);
        data += n;
    }
    replica_note_unlogged(r, first, first + count);
    return 0;
}

static void lane_received(struct rpc_call *call)
{
    struct copy_lane *l = container_of(call, struct copy_lane, call);
    struct local_replica *r = l->p->op.replica;
    struct read_raw_rep rep;
    int err = RPC_REPLY(read_raw, call, &rep);
    if (err == 0) {
        l->payload = slice_ref(&call->reply->payload);
        err = take_sums(l, rep.sums);
    }
    if (err != 0) {
        lane_ended(l, err);
        return;
    }
    l->disk = (struct disk_op){.kind = DISK_WRITE,
                               .file = r->file,
                               .off = l->offset,
                               .data = slice_data(&l->payload),
                               .len = l->length,
                               .done = lane_written};
    env_disk_submit(r->table->env, &l->disk);
}

static void lane_start(struct copy_lane *l, uint32_t first, uint32_t count)
{
    struct pull_request *p = l->p;
    const struct table *t = p->op.replica->table;
    l->offset = first * t->block_bytes;
    l->length = (uint32_t)MIN((uint64_t)count * t->block_bytes, p->length - l->offset);
    l->busy = true;
    l->call.done = lane_received;
    struct read_raw_req req = {.handle = p->req.handle,
                               .version = p->source_version,
                               .offset = l->offset,
                               .length = l->length};
    struct slice body = RPC_BODY(read_raw_req, &req);
    int err = peers_call(&p->q.c->peers, p->req.source.addr, &l->call,
                         &(struct frame_header){.op = OP_read_raw}, body, NULL,
                         p->q.c->request_timeout_ms);
    if (err != 0) {
        slice_drop(&body);
        l->busy = false;
        p->status = err;
    }
}

static void copy_more(struct pull_request *p)
{
    const struct local_replica *r = p->op.replica;
    uint32_t run_max = (uint32_t)IO_MAX / r->table->block_bytes;
    bool busy = false;
    if (r->dropped && p->status == 0) {
        p->status = ERR_NO_REPLICA;
    }
    for (uint32_t i = 0; i < LANES; i++) {
        while (p->next < p->blocks && !is_needed(p, p->next)) {
            p->next++;
        }
        if (!p->lanes[i].busy && p->status == 0 && p->next < p->blocks) {
            uint32_t first = p->next;
            while (p->next < p->blocks && p->next - first < run_max && is_needed(p, p->next)) {
                p->next++;
            }
            lane_start(&p->lanes[i], first, p->next - first);
        }
        busy = busy || p->lanes[i].busy;
    }
    if (!busy) {
        if (p->status == 0) {
            make_durable(p);
        } else {
            finish(p, p->status);
        }
    }
}

/* ---------------------------------------------------------------- which blocks */

static bool scan_wanted(struct replica_scan *s, uint32_t block)
{
    return !is_needed(container_of(s, struct pull_request, scan), block);
}

static void scan_mismatch(struct replica_scan *s, uint32_t block, uint32_t sum, bool readable)
{
    (void)sum;
    (void)readable;
    set_needed(container_of(s, struct pull_request, scan), block);
}

static void scan_done(struct replica_scan *s, int status)
{
    struct pull_request *p = container_of(s, struct pull_request, scan);
    p->status = status;
    copy_more(p);
}

static void compare(struct pull_request *p)
{
    struct local_replica *r = p->op.replica;
    for (uint32_t b = 0; b < p->blocks; b++) {
        if (r->sums[b] != p->vector[b] || replica_block_is_bad(r, b)) {
            set_needed(p, b);
        }
    }
    if (p->trusted) {
        copy_more(p);
        return;
    }
    p->scan.wanted = scan_wanted;
    p->scan.mismatch = scan_mismatch;
    p->scan.done = scan_done;
    replica_scan_start(&p->scan, r);
}

static void take_length(struct pull_request *p)
{
    struct local_replica *r = p->op.replica;
    uint32_t shorter = MIN(r->length, p->length);
    if (shorter % r->table->block_bytes != 0) {
        set_needed(p, shorter / r->table->block_bytes); /* its sum is that of another length */
    }
    replica_drop_tail(r);
    replica_set_length(r, p->length);
    replica_note_unlogged(r, 0, p->blocks);
    replica_note_write(r);
    compare(p);
}

static void length_set(struct disk_op *op)
{
    struct pull_request *p = container_of(op, struct pull_request, disk);
    if (op->result < 0) {
        finish(p, (int)op->result);
        return;
    }
    take_length(p);
}

static int take_vector(struct pull_request *p, struct rpc_call *call)
{
    struct local_replica *r = p->op.replica;
    const struct table *t = r->table;
    struct vector_rep rep;
    int err = RPC_REPLY(vector, call, &rep);
    if (err != 0) {
        return err;
    }
    uint32_t blocks = rep.length / t->block_bytes + (rep.length % t->block_bytes != 0);
    if (rep.length > t->chunk_bytes || call->reply->payload.len != 4 * blocks) {
        return ERR_PROTOCOL;
    }
    if (rep.length > r->length) {
        err = chunkd_check_space(p->q.c, rep.length - r->length, true);
    }
    p->blocks = blocks;
    p->length = rep.length;
    p->vector = mem_alloc((blocks + 1) * sizeof(*p->vector));
    for (uint32_t b = 0; b < blocks; b++) {
        p->vector[b] = (uint32_t)get_le(slice_data(&call->reply->payload) + 4 * b, 4);
    }
    return err;
}

static void state_durable(struct meta_wait *w)
{
    struct pull_request *p = container_of(w, struct pull_request, wait);
    struct local_replica *r = p->op.replica;
    int err = r->dropped ? ERR_NO_REPLICA : replica_open(r, r->length == 0);
    if (err != 0) {
        if (err != -ENOSPC && err != ERR_NO_REPLICA) {
            replica_mark_failed(r, err);
        }
        finish(p, err);
        return;
    }
    if (p->length == r->length) {
        compare(p);
        return;
    }
    p->disk = (struct disk_op){
        .kind = DISK_TRUNCATE, .file = r->file, .off = p->length, .done = length_set};
    env_disk_submit(r->table->env, &p->disk);
}

/* Nothing of the replica was touched until here: a copy that finds no room leaves it as it was. */
static void vector_received(struct rpc_call *call)
{
    struct pull_request *p = container_of(call, struct pull_request, call);
    struct local_replica *r = p->op.replica;
    int err = r->dropped ? ERR_NO_REPLICA : take_vector(p, call);
    if (err != 0) {
        finish(p, err);
        return;
    }
    p->trusted = r->state == REPLICA_OK;
    r->state = REPLICA_CLONING;
    r->active = false;
    r->primary_version = 0;
    r->dirty = true;
    replica_log_head(r);
    p->wait.done = state_durable;
    meta_log_wait(r->table->meta, &p->wait, true);
}

static void ask_vector(struct pull_request *p)
{
    struct vector_req req = {.handle = p->req.handle, .version = p->source_version};
    struct slice body = RPC_BODY(vector_req, &req);
    p->call.done = vector_received;
    int err =
        peers_call(&p->q.c->peers, p->req.source.addr, &p->call,
                   &(struct frame_header){.op = OP_vector}, body, NULL, p->q.c->request_timeout_ms);
    if (err != 0) {
        slice_drop(&body);
        finish(p, err);
    }
}

/* ---------------------------------------------------------------- start */

static int check_pull(const struct pull_request *p, const struct local_replica *r)
{
    if (r->dropped) {
        return ERR_NO_REPLICA;
    }
    if (p->req.version != 0) {
        return r->version != p->req.version || r->active ? ERR_WRONG_VERSION : 0;
    }
    bool good = r->active && r->state == REPLICA_OK && r->bad_count == 0 && !r->failed;
    if (good && r->version >= p->source_version) {
        return ERR_WRONG_VERSION; /* a member's replica is not to be overwritten */
    }
    /* A failed file is replaced by a new one; what is still under way on it must end first. */
    return r->failed && r->sync_running ? ERR_BUSY : 0;
}

static void pull_start(struct replica_op *op)
{
    struct pull_request *p = container_of(op, struct pull_request, op);
    struct local_replica *r = op->replica;
    p->q.c->running++;
    r->copying = true;
    int err = check_pull(p, r);
    if (err != 0) {
        finish(p, err);
        return;
    }
    if (r->failed) {
        replica_reset(r);
    }
    ask_vector(p);
}

void pull_handle(struct link *l, struct message *m)
{
    struct chunkd *c = l->c;
    struct pull_req req;
    if (pull_req_decode(slice_bytes(&m->body), &req) != 0 || req.source.addr.len == 0) {
        link_refuse(l, m, ERR_PROTOCOL);
        return;
    }
    struct local_replica *r = table_get(&c->table, req.handle);
    if (r == NULL && (req.version != 0 || table_is_dropping(&c->table, req.handle))) {
        link_refuse(l, m, req.version != 0 ? ERR_NO_REPLICA : ERR_BUSY);
        return;
    }
    if (r == NULL) {
        r = table_add(&c->table, req.handle);
        r->ino = req.ino;
        r->number = req.number;
        r->state = REPLICA_CLONING;
        r->dirty = true;
        replica_log_head(r);
    }
    struct pull_request *p = request_begin(l, m, sizeof(*p));
    p->q.release = pull_release;
    p->req = req;
    p->source_version = req.source_version != 0 ? req.source_version : req.version;
    for (uint32_t i = 0; i < LANES; i++) {
        p->lanes[i].p = p;
    }
    p->op.mutates = true;
    p->op.end = UINT32_MAX;
    p->op.start = pull_start;
    replica_op_begin(r, &p->op);
}
