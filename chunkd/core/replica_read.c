/* replica_read.c - reads: nothing leaves that was not verified against its sum.
 *
 * A read takes its turn in the replica's queue, so no mutation of its blocks is in flight while it
 * runs: a block that does not match its sum then is bad. It reads whole blocks, in pieces, two of
 * them in flight: while one is hashed the next one's I/O goes on. The sums are in memory: a piece
 * costs one read and nothing else. Of a block that was verified before, a small read takes only the
 * pages it wants (page_sums.h); what does not match then is judged by the whole block.
 */
#include "chunkd/core/core.h"
#include "chunkd/core/page_sums.h"
#include "chunkd/core/replica_scan.h"
#include "shared/base/bytes.h"
#include "shared/base/mem.h"

#include <string.h>
#include <unistd.h>

enum { PIECE_BYTES = 256 << 10, PIECES = 2 };

struct read_request;

struct read_piece {
    struct disk_op op;
    struct read_request *rq;
    uint32_t off; /* in the chunk */
    uint32_t end; /* of the piece; beyond the bytes being read while they are read block by block */
    uint64_t begin_ns;
};

struct read_request {
    struct request q;
    struct replica_op op;
    struct copy_wait wait; /* of a first copy, before it stands in the replica's queue */
    bool raw;              /* for a copy */
    bool unfenced;         /* to be answered without a lease, too */
    uint64_t handle, version;
    uint32_t offset, end;    /* bytes wanted, cut at the length */
    uint32_t from, to, next; /* whole blocks, or pages, around them; next byte to ask for */
    bool pages;              /* a part of one block is read, whose pages' sums were known */
    struct buf *buf;         /* [from, to) */
    struct read_piece pieces[PIECES];
    uint32_t in_flight;
    int status;
    uint32_t bad_block;
    bool bad_found; /* bad_block was found by this read */
    int read_error; /* of bad_block; 0 = it was read, and does not match */
};

static void piece_done(struct disk_op *op);

static void read_release(struct request *q)
{
    struct read_request *rq = (struct read_request *)q;
    copy_pace_cancel(&rq->wait);
    buf_unref(rq->buf);
}

static void answer_failure(struct read_request *rq)
{
    struct slice body = {0};
    if (rq->status == ERR_CHECKSUM && !rq->raw) {
        struct read_rep rep = {.block = rq->bad_block};
        body = RPC_BODY(read_rep, &rep);
    }
    request_answer(&rq->q, rq->status, body, NULL);
}

static void answer_bytes(struct read_request *rq, const struct local_replica *r)
{
    const struct table *t = r->table;
    uint8_t *sums = mem_alloc(4 * ((rq->end - rq->offset) / t->block_bytes + 2));
    uint32_t n = 0;
    uint32_t at = rq->offset;
    while (at < rq->end) {
        uint32_t b = at / t->block_bytes;
        uint32_t start = b * t->block_bytes;
        uint32_t stop = (uint32_t)MIN((uint64_t)start + t->block_bytes, rq->end);
        bool whole = at == start && stop - start == block_extent(t, r->length, b);
        uint32_t sum = whole ? r->sums[b] : block_sum(rq->buf->data + (at - rq->from), stop - at);
        put_le(sums + 4 * n++, sum, 4);
        at = stop;
    }
    struct slice payload = {0};
    if (rq->end > rq->offset) {
        payload = (struct slice){buf_ref(rq->buf), rq->offset - rq->from, rq->end - rq->offset};
    }
    struct slice body;
    if (rq->raw) {
        struct read_raw_rep rep = {.sums = bytes_of(sums, 4 * n)};
        body = RPC_BODY(read_raw_rep, &rep);
    } else {
        struct read_rep rep = {.sums = bytes_of(sums, 4 * n)};
        body = RPC_BODY(read_rep, &rep);
    }
    request_answer(&rq->q, 0, body, &payload);
    mem_free(sums);
}

/* May this replica give bytes under `version`? An asker that found no primary, but a shadow that named
 * the version, wants them without a lease: what is committed was equal on all members, and nobody can
 * make a later version but a primary. */
static int check_readable(const struct read_request *rq, const struct local_replica *r)
{
    if (r->version != rq->version || r->dropped) {
        return ERR_WRONG_VERSION;
    }
    if (r->failed) {
        return -EIO;
    }
    if (rq->raw) {
        return 0;
    }
    if ((!r->active && !rq->unfenced) || r->state == REPLICA_CLONING) {
        return ERR_NO_LEASE; /* the version is not known to be committed yet */
    }
    if (r->state != REPLICA_OK) {
        return ERR_SUSPECT;
    }
    if (registration_outdated(&rq->q.c->master, r)) {
        return ERR_WRONG_VERSION;
    }
    return rq->unfenced || chunkd_has_lease(rq->q.c) ? 0 : ERR_NO_LEASE;
}

static void finish(struct read_request *rq)
{
    struct local_replica *r = rq->op.replica;
    if (rq->bad_found && r->state == REPLICA_OK && rq->read_error != 0) {
        chunkd_found_unreadable(rq->q.c, r, rq->bad_block, rq->read_error);
    } else if (rq->bad_found && r->state == REPLICA_OK) {
        chunkd_found_bad(rq->q.c, r, rq->bad_block);
    }
    /* Asked again after the bytes were read: they were the newest at a moment when the lease ran. */
    if (rq->status == 0) {
        rq->status = check_readable(rq, r);
    }
    if (rq->status == 0) {
        *(rq->raw ? &rq->q.c->copied_out : &rq->q.c->client_bytes) += rq->end - rq->offset;
        answer_bytes(rq, r);
    } else {
        answer_failure(rq);
    }
    replica_op_end(&rq->op);
    request_end(&rq->q);
}

static void ask_disk(struct read_request *rq, struct read_piece *p, uint32_t len)
{
    struct table *t = rq->op.replica->table;
    p->op = (struct disk_op){.kind = DISK_READ,
                             .file = rq->op.replica->file,
                             .off = p->off,
                             .data = rq->buf->data + (p->off - rq->from),
                             .len = len,
                             .done = piece_done};
    rq->in_flight++;
    p->begin_ns = env_mono_ns(t->env);
    env_disk_submit(t->env, &p->op);
}

static void found_bad(struct read_request *rq, uint32_t block, int status)
{
    if (rq->status == 0 || block < rq->bad_block) {
        rq->bad_block = block;
    }
    rq->status = rq->status != 0 ? rq->status : status;
    rq->bad_found = true;
}

/* ---------------------------------------------------------------- pages of a verified block */

/* A small part of one block. */
static bool wants_pages(const struct read_request *rq)
{
    uint32_t bs = rq->op.replica->table->block_bytes;
    return rq->offset / bs == (rq->end - 1) / bs && rq->end - rq->offset <= bs / 4;
}

static void note_pages(const struct read_request *rq, const uint8_t *block)
{
    const struct local_replica *r = rq->op.replica;
    const struct table *t = r->table;
    uint32_t b = rq->offset / t->block_bytes, page = t->block_bytes / PAGES_PER_BLOCK;
    uint32_t extent = block_extent(t, r->length, b);
    uint32_t *sums = page_sums_put(t->page_sums, r->handle, b, r->sums[b]);
    for (uint32_t i = 0; i < PAGES_PER_BLOCK; i++) {
        uint32_t at = MIN(i * page, extent);
        sums[i] = block_sum(block + at, MIN(page, extent - at));
    }
}

static const uint32_t *known_pages(const struct read_request *rq)
{
    const struct local_replica *r = rq->op.replica;
    uint32_t b = rq->offset / r->table->block_bytes;
    return page_sums_get(r->table->page_sums, r->handle, b, r->sums[b]);
}

/* What was read is what the block held when it was verified. */
static bool pages_match(const struct read_request *rq, const struct read_piece *p)
{
    const struct table *t = rq->op.replica->table;
    const uint32_t *sums = known_pages(rq); /* another block may have taken their place */
    uint32_t page = t->block_bytes / PAGES_PER_BLOCK;
    if (sums == NULL || p->op.result != p->op.len) {
        return false;
    }
    for (uint32_t at = rq->from; at < rq->to; at += page) {
        uint32_t sum = block_sum(rq->buf->data + (at - rq->from), MIN(page, rq->to - at));
        if (sum != sums[at % t->block_bytes / page]) {
            return false;
        }
    }
    return true;
}

/* ---------------------------------------------------------------- whole blocks */

static void verify_piece(struct read_request *rq, const struct read_piece *p)
{
    const struct local_replica *r = rq->op.replica;
    const struct table *t = r->table;
    /* A file shorter than the chunk's length lost bytes: as zeros they fail their sum. */
    memset((uint8_t *)p->op.data + p->op.result, 0, p->op.len - (uint32_t)p->op.result);
    for (uint32_t done = 0; done < p->op.len;) {
        uint32_t b = (p->off + done) / t->block_bytes;
        uint32_t n = block_extent(t, r->length, b);
        if (block_sum((const uint8_t *)p->op.data + done, n) != r->sums[b]) {
            found_bad(rq, b, ERR_CHECKSUM);
            return;
        }
        done += n;
    }
    if (!rq->raw && wants_pages(rq)) {
        note_pages(rq, p->op.data);
    }
}

static void submit_piece(struct read_request *rq, struct read_piece *p);

/* Reads what is wanted, in units of this size. */
static void read_units(struct read_request *rq, uint32_t unit)
{
    rq->from = rq->next = rq->offset / unit * unit;
    uint64_t to = ((uint64_t)rq->end + unit - 1) / unit * unit;
    rq->to = (uint32_t)MIN(to, rq->op.replica->length);
    buf_unref(rq->buf);
    rq->buf = buf_new(rq->to - rq->from);
    submit_piece(rq, &rq->pieces[0]);
    if (rq->next < rq->to) {
        submit_piece(rq, &rq->pieces[1]);
    }
}

static void read_blocks(struct read_request *rq)
{
    rq->pages = false;
    read_units(rq, rq->op.replica->table->block_bytes);
}

/* Which block it is shows when they are read one by one. */
static void read_failed(struct read_request *rq, struct read_piece *p)
{
    struct local_replica *r = rq->op.replica;
    uint32_t bs = r->table->block_bytes;
    if (p->op.len > bs) {
        ask_disk(rq, p, bs);
        return;
    }
    found_bad(rq, p->off / bs, -EIO);
    rq->read_error = (int)p->op.result;
}

static void piece_done(struct disk_op *op)
{
    struct read_piece *p = container_of(op, struct read_piece, op);
    struct read_request *rq = p->rq;
    struct table *t = rq->op.replica->table;
    mean_time_add(&t->latency.disk, env_mono_ns(t->env) - p->begin_ns);
    rq->in_flight--;
    if (rq->pages) {
        if (!pages_match(rq, p)) {
            read_blocks(rq);
        }
    } else if (op->result < 0 && rq->status == 0) {
        read_failed(rq, p);
    } else if (rq->status == 0 && p->off + op->len < p->end) {
        verify_piece(rq, p);
        p->off += op->len;
        if (rq->status == 0) {
            ask_disk(rq, p, MIN(p->end - p->off, rq->op.replica->table->block_bytes));
        }
    } else if (rq->status == 0) {
        if (rq->next < rq->to && rq->in_flight == 0) {
            struct read_piece *other = &rq->pieces[p == &rq->pieces[0]];
            submit_piece(rq, other);
        }
        verify_piece(rq, p);
        if (rq->status == 0 && rq->next < rq->to) {
            submit_piece(rq, p);
        }
    }
    if (rq->in_flight == 0) {
        finish(rq);
    }
}

static void submit_piece(struct read_request *rq, struct read_piece *p)
{
    struct local_replica *r = rq->op.replica;
    uint32_t piece = MAX((uint32_t)PIECE_BYTES, r->table->block_bytes);
    uint32_t len = MIN(rq->to - rq->next, piece);
    p->rq = rq;
    p->off = rq->next;
    p->end = rq->next + len;
    rq->next += len;
    ask_disk(rq, p, len);
}

static void read_start(struct replica_op *op)
{
    struct read_request *rq = container_of(op, struct read_request, op);
    struct local_replica *r = op->replica;
    const struct table *t = r->table;
    rq->status = check_readable(rq, r);
    rq->end = MIN(rq->end, r->length);
    rq->offset = MIN(rq->offset, rq->end);
    if (rq->status == 0 && rq->offset < rq->end) {
        rq->status = replica_open(r, false);
        if (rq->status == -ENOENT) {
            replica_mark_failed(r, -ENOENT);
        }
        rq->status = rq->status != 0 ? -EIO : 0;
    }
    if (rq->status != 0 || rq->offset == rq->end) {
        finish(rq);
        return;
    }
    uint32_t first = rq->offset / t->block_bytes;
    for (uint32_t b = first; b * (uint64_t)t->block_bytes < rq->end; b++) {
        if (replica_block_is_bad(r, b)) { /* known: the disk is not asked again */
            rq->status = ERR_CHECKSUM;
            rq->bad_block = b;
            finish(rq);
            return;
        }
    }
    rq->pages = !rq->raw && wants_pages(rq) && known_pages(rq) != NULL;
    if (rq->pages) {
        read_units(rq, t->block_bytes / PAGES_PER_BLOCK);
    } else {
        read_blocks(rq);
    }
}

/* The read of a message, not begun yet; NULL if it was refused. */
static struct read_request *take_read(struct link *l, struct message *m, const struct read_req *req)
{
    struct chunkd *c = l->c;
    const struct table *t = &c->table;
    if (req->length == 0 || req->length > IO_MAX || req->offset >= t->chunk_bytes ||
        req->length > t->chunk_bytes - req->offset) {
        link_refuse(l, m, ERR_PROTOCOL);
        return NULL;
    }
    if (table_get(t, req->handle) == NULL) {
        link_refuse(l, m, ERR_NO_REPLICA);
        return NULL;
    }
    struct read_request *rq = request_begin(l, m, sizeof(*rq));
    rq->q.release = read_release;
    rq->q.charged += req->length;
    c->request_bytes += req->length;
    rq->handle = req->handle;
    rq->version = req->version;
    rq->unfenced = req->unfenced_ok;
    rq->offset = req->offset;
    rq->end = req->offset + req->length;
    rq->op.start = read_start;
    rq->op.first = req->offset / t->block_bytes;
    rq->op.end = (uint32_t)(((uint64_t)rq->end + t->block_bytes - 1) / t->block_bytes);
    return rq;
}

static void begin_read(struct read_request *rq)
{
    struct local_replica *r = table_get(&rq->q.c->table, rq->handle);
    if (r == NULL) {
        request_fail(&rq->q, ERR_NO_REPLICA);
        return;
    }
    replica_op_begin(r, &rq->op);
}

void read_handle(struct link *l, struct message *m)
{
    struct read_req req;
    if (read_req_decode(slice_bytes(&m->body), &req) != 0) {
        link_refuse(l, m, ERR_PROTOCOL);
        return;
    }
    struct read_request *rq = take_read(l, m, &req);
    if (rq != NULL) {
        begin_read(rq);
    }
}

static void wait_over(struct copy_wait *w)
{
    begin_read(container_of(w, struct read_request, wait));
}

void read_raw_handle(struct link *l, struct message *m)
{
    struct read_raw_req req;
    if (read_raw_req_decode(slice_bytes(&m->body), &req) != 0) {
        link_refuse(l, m, ERR_PROTOCOL);
        return;
    }
    struct read_req as_read = {
        .handle = req.handle, .version = req.version, .offset = req.offset, .length = req.length};
    struct read_request *rq = take_read(l, m, &as_read);
    if (rq == NULL) {
        return;
    }
    rq->raw = true;
    rq->wait.go = wait_over;
    if (!req.yields || copy_pace_pass(&l->c->copy_pace, &rq->wait, req.length)) {
        begin_read(rq);
    }
}

void vector_handle(struct link *l, struct message *m)
{
    struct vector_req req;
    if (vector_req_decode(slice_bytes(&m->body), &req) != 0) {
        link_refuse(l, m, ERR_PROTOCOL);
        return;
    }
    struct local_replica *r = table_get(&l->c->table, req.handle);
    if (r == NULL || r->version != req.version || r->failed) {
        link_refuse(l, m, r == NULL ? ERR_NO_REPLICA : r->failed ? -EIO : ERR_WRONG_VERSION);
        return;
    }
    uint32_t blocks = replica_blocks(r);
    struct slice payload = {0};
    if (blocks > 0) {
        payload = (struct slice){buf_new(4 * blocks), 0, 4 * blocks};
        for (uint32_t b = 0; b < blocks; b++) {
            put_le(payload.buf->data + 4 * b, r->sums[b], 4);
        }
    }
    struct vector_rep rep = {.length = r->length};
    rpc_answer(&l->rpc, &m->head, 0, 0, 0, RPC_BODY(vector_rep, &rep), &payload);
}

/* ---------------------------------------------------------------- seek */

struct seek_request {
    struct request q;
    struct replica_op op;
    struct seek_req req;
    struct disk_op disk;
    struct replica_scan scan;
    int64_t found;
    uint32_t from, to; /* bytes that are holes by what the disk says */
    bool damaged;
};

static void seek_release(struct request *q)
{
    replica_scan_release(&((struct seek_request *)q)->scan);
}

static struct read_request as_read_of(const struct seek_request *s)
{
    return (struct read_request){
        .q = {.c = s->q.c}, .version = s->req.version, .unfenced = s->req.unfenced_ok};
}

static void seek_finish(struct seek_request *s, int64_t found)
{
    struct slice body = {0};
    if (found >= 0) {
        struct seek_rep rep = {.offset = (uint32_t)found};
        body = RPC_BODY(seek_rep, &rep);
    }
    request_answer(&s->q, found < 0 ? (int)found : 0, body, NULL);
    replica_op_end(&s->op);
    request_end(&s->q);
}

/* The disk says that there is a hole in the block, and its sum is not that of zeros: either the rest of it is
 * data, or the disk has lost it. */
static bool is_doubtful(struct replica_scan *scan, uint32_t b)
{
    const struct seek_request *s = container_of(scan, struct seek_request, scan);
    const struct local_replica *r = s->op.replica;
    const struct table *t = r->table;
    uint64_t begin = (uint64_t)b * t->block_bytes;
    return begin < s->to && begin + t->block_bytes > s->from &&
           r->sums[b] != zeros_sum(t, block_extent(t, r->length, b));
}

static void seek_mismatch(struct replica_scan *scan, uint32_t block, uint32_t sum, bool readable)
{
    struct seek_request *s = container_of(scan, struct seek_request, scan);
    (void)sum;
    (void)readable;
    s->damaged = true;
    chunkd_found_bad(s->q.c, s->op.replica, block);
}

/* Asked again when all was looked at, as after a read. */
static void seek_judged(struct replica_scan *scan, int status)
{
    struct seek_request *s = container_of(scan, struct seek_request, scan);
    struct read_request as_read = as_read_of(s);
    int err = check_readable(&as_read, s->op.replica);
    err = err == 0 ? status : err;
    seek_finish(s, err != 0 ? err : s->damaged ? ERR_CHECKSUM : s->found);
}

/* A disk that lost something says that there is a hole: before a hole is believed its blocks are read, as far
 * as they should hold anything. */
static void judge_hole(struct seek_request *s, uint32_t from, uint32_t to)
{
    struct local_replica *r = s->op.replica;
    s->from = from;
    s->to = to;
    s->scan.wanted = is_doubtful;
    s->scan.mismatch = seek_mismatch;
    s->scan.done = seek_judged;
    for (uint32_t b = 0; b < replica_blocks(r); b++) {
        if (is_doubtful(&s->scan, b)) {
            replica_scan_start(&s->scan, r);
            return;
        }
    }
    seek_judged(&s->scan, 0);
}

static void seek_done(struct disk_op *op)
{
    struct seek_request *s = container_of(op, struct seek_request, disk);
    uint32_t length = s->op.replica->length;
    if (op->result < 0 && op->result != -ENXIO) {
        seek_finish(s, op->result);
        return;
    }
    uint32_t at = op->result < 0 ? length : (uint32_t)MIN(op->result, (int64_t)length);
    s->found = !s->req.hole && at == length ? -ENXIO : (int64_t)at;
    if (s->req.hole) {
        judge_hole(s, at, MIN(at + 1, length));
    } else {
        judge_hole(s, s->req.offset, at);
    }
}

static void seek_start(struct replica_op *op)
{
    struct seek_request *s = container_of(op, struct seek_request, op);
    struct local_replica *r = op->replica;
    struct read_request as_read = as_read_of(s);
    int err = check_readable(&as_read, r);
    if (err == 0 && s->req.offset < r->length) {
        err = replica_open(r, false);
    }
    if (err != 0 || s->req.offset >= r->length) {
        seek_finish(s, err != 0 ? err : s->req.hole ? (int64_t)s->req.offset : -ENXIO);
        return;
    }
    s->disk = (struct disk_op){.kind = DISK_SEEK,
                               .file = r->file,
                               .off = s->req.offset,
                               .len = s->req.hole ? SEEK_HOLE : SEEK_DATA,
                               .done = seek_done};
    env_disk_submit(r->table->env, &s->disk);
}

void seek_handle(struct link *l, struct message *m)
{
    struct seek_req req;
    if (seek_req_decode(slice_bytes(&m->body), &req) != 0 || req.offset > l->c->table.chunk_bytes) {
        link_refuse(l, m, ERR_PROTOCOL);
        return;
    }
    struct local_replica *r = table_get(&l->c->table, req.handle);
    if (r == NULL) {
        link_refuse(l, m, ERR_NO_REPLICA);
        return;
    }
    struct seek_request *s = request_begin(l, m, sizeof(*s));
    s->q.release = seek_release;
    s->req = req;
    s->op.start = seek_start;
    s->op.end = UINT32_MAX;
    replica_op_begin(r, &s->op);
}
