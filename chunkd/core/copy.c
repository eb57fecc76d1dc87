/* copy.c - pull: makes a replica equal to a peer's by copying the blocks that differ.
 *
 *   start -> the source's vector of sums -> (CLONING and dirty, durable) -> same length
 *         -> own bytes checked, unless the sums in memory are known to be true
 *         -> differing blocks copied (copy_blocks.c) -> data and sums durable
 *
 * While it runs and until it is activated the replica is CLONING: its bytes need not match its
 * sums, so what an interrupted copy leaves is checked against the bytes next time.
 *
 * Mending keeps the replica's own sums and copies only the blocks whose bytes do not match them.
 */
#include "chunkd/core/copy_internal.h"
#include "chunkd/core/replica_reserve.h"
#include "shared/base/bytes.h"
#include "shared/base/mem.h"

#include <string.h>

static void pull_release(struct request *q)
{
    struct pull_request *p = (struct pull_request *)q;
    meta_log_cancel(&p->wait);
    rpc_cancel(&p->call);
    replica_sync_cancel(&p->sync);
    replica_scan_release(&p->scan);
    copy_blocks_release(p);
    mem_free(p->vector);
}

static void finish(struct pull_request *p, int status)
{
    struct local_replica *r = p->op.replica;
    struct slice body = {0};
    r->copying = false;
    if (status == 0) {
        r->pulled_version = p->req.mend ? r->pulled_version : r->version;
        r->mended_version = p->req.mend ? r->version : r->mended_version;
        struct pull_rep rep = {
            .copied = p->copied, .digest = replica_digest(r), .refused = p->refused, .bad = p->bad};
        body = RPC_BODY(pull_rep, &rep);
    }
    p->q.c->running--;
    request_answer(&p->q, status, body, NULL);
    replica_op_end(&p->op);
    request_end(&p->q);
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

void copy_ended(struct pull_request *p)
{
    if (p->status == 0) {
        make_durable(p);
    } else {
        finish(p, p->status);
    }
}

/* ---------------------------------------------------------------- which blocks */

static bool scan_wanted(struct replica_scan *s, uint32_t block)
{
    return !copy_is_needed(container_of(s, struct pull_request, scan), block);
}

static void scan_mismatch(struct replica_scan *s, uint32_t block, uint32_t sum, bool readable)
{
    (void)sum;
    (void)readable;
    copy_need(container_of(s, struct pull_request, scan), block);
}

static void scan_done(struct replica_scan *s, int status)
{
    struct pull_request *p = container_of(s, struct pull_request, scan);
    if (status != 0) {
        finish(p, status);
        return;
    }
    copy_blocks(p);
}

static void compare(struct pull_request *p)
{
    struct local_replica *r = p->op.replica;
    for (uint32_t b = 0; b < p->blocks; b++) {
        if (r->sums[b] != p->vector[b] || replica_block_is_bad(r, b)) {
            copy_need(p, b);
        }
    }
    if (p->trusted) {
        copy_blocks(p);
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
        copy_need(p, shorter / r->table->block_bytes); /* its sum is that of another length */
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
    replica_unreserve(p->op.replica, p->length, UINT32_MAX);
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
    if (r->failed) { /* a new file in place of it, now that there is something to copy */
        replica_reset(r);
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

/* ---------------------------------------------------------------- mending */

static void mend(struct pull_request *p)
{
    struct local_replica *r = p->op.replica;
    int err = r->failed ? -EIO : replica_open(r, false);
    if (err != 0) {
        finish(p, -EIO);
        return;
    }
    p->blocks = replica_blocks(r);
    p->length = r->length;
    p->vector = mem_alloc((p->blocks + 1) * sizeof(*p->vector));
    for (uint32_t b = 0; b < p->blocks; b++) {
        p->vector[b] = r->sums[b];
        if (replica_block_is_bad(r, b)) {
            copy_need(p, b);
        }
    }
    if (r->state == REPLICA_OK) {
        copy_blocks(p);
        return;
    }
    p->scan.wanted = scan_wanted; /* suspect: what its blocks hold is not known */
    p->scan.mismatch = scan_mismatch;
    p->scan.done = scan_done;
    replica_scan_start(&p->scan, r);
}

/* ---------------------------------------------------------------- start */

static void ask_vector(struct pull_request *p)
{
    struct vector_req req = {.handle = p->req.handle, .version = p->source_version};
    struct slice body = RPC_BODY(vector_req, &req);
    p->call.done = vector_received;
    int err =
        peers_call(&p->q.c->peers, p->req.source.id, p->req.source.addr, &p->call,
                   &(struct frame_header){.op = OP_vector}, body, NULL, p->q.c->request_timeout_ms);
    if (err != 0) {
        slice_drop(&body);
        finish(p, err);
    }
}

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
    if (p->req.mend) {
        mend(p);
        return;
    }
    ask_vector(p);
}

/* Addresses of those that may be asked: views into the request. */
static int take_sources(struct pull_request *p)
{
    struct reader rd = reader_of(p->req.others);
    p->sources[p->source_count++] = p->req.source;
    while (!reader_done(&rd)) {
        struct server s;
        dec_server(&rd, &s);
        if (rd.err != 0 || s.addr.len == 0 || p->source_count == COPY_SOURCES_MAX) {
            return ERR_PROTOCOL;
        }
        p->sources[p->source_count++] = s;
    }
    return 0;
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
    if (req.mend && req.version == 0) {
        link_refuse(l, m, ERR_PROTOCOL);
        return;
    }
    if (r == NULL && (req.version != 0 || table_is_dropping(&c->table, req.handle))) {
        link_refuse(l, m, req.version != 0 ? ERR_NO_REPLICA : ERR_BUSY);
        return;
    }
    struct pull_request *p = request_begin(l, m, sizeof(*p));
    p->q.release = pull_release;
    p->req = req;
    p->source_version = req.source_version != 0 ? req.source_version : req.version;
    if (take_sources(p) != 0) {
        request_fail(&p->q, ERR_PROTOCOL);
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
    p->op.mutates = true;
    p->op.end = UINT32_MAX;
    p->op.start = pull_start;
    replica_op_begin(r, &p->op);
}
