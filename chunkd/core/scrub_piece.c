/* scrub_piece.c - reads some blocks of a replica, in their turn, and compares them with their sums. */
#include "chunkd/core/core.h"
#include "chunkd/core/scrub.h"

enum { PIECE_BYTES = 256 << 10 };

static void submit(struct scrub *s, uint32_t block, uint32_t count);

static void end_piece(struct scrub *s, enum scrub_outcome outcome)
{
    struct scrub_piece *p = &s->piece;
    if (p->file != NULL) {
        env_file_close(s->c->env, p->file);
        p->file = NULL;
    }
    buf_unref(p->buf);
    p->buf = NULL;
    p->running = false;
    p->took_ns = env_mono_ns(s->c->env) - p->begin_ns;
    replica_op_end(&p->op);
    scrub_piece_ended(s, outcome, p->block);
}

/* Do all the blocks that were read match? A block known to be bad counts as matching: it was told. */
static bool matches(const struct scrub_piece *p)
{
    const struct local_replica *r = p->op.replica;
    const uint8_t *data = p->disk.data;
    if (p->disk.result != (int64_t)p->disk.len) {
        return false;
    }
    for (uint32_t i = 0; i < p->count; i++) {
        uint32_t n = block_extent(r->table, r->length, p->block + i);
        if (!replica_block_is_bad(r, p->block + i) && block_sum(data, n) != r->sums[p->block + i]) {
            return false;
        }
        data += n;
    }
    return true;
}

/* Read alone, too, it is not what it should be. A file that ends before it lost it, even if its
 * bytes were zeros. */
static void judge_block(struct scrub *s)
{
    const struct scrub_piece *p = &s->piece;
    struct local_replica *r = p->op.replica;
    if (p->disk.result < 0) {
        chunkd_found_unreadable(s->c, r, p->block, (int)p->disk.result);
    } else {
        chunkd_found_bad(s->c, r, p->block);
    }
}

static void piece_read(struct disk_op *op)
{
    struct scrub *s = op->owner;
    struct scrub_piece *p = &s->piece;
    if (s->stopped) {
        return;
    }
    if (!matches(p)) {
        if (!p->single) {
            p->single = true;
            submit(s, p->block, 1);
            return;
        }
        judge_block(s);
    }
    p->bytes += op->len;
    p->block += p->count;
    if (p->block < p->end) {
        submit(s, p->block, p->single ? 1 : p->end - p->block);
    } else {
        end_piece(s, SCRUB_READ);
    }
}

static void submit(struct scrub *s, uint32_t block, uint32_t count)
{
    struct scrub_piece *p = &s->piece;
    const struct local_replica *r = p->op.replica;
    const struct table *t = r->table;
    uint32_t len = 0;
    for (uint32_t b = block; b < block + count; b++) {
        len += block_extent(t, r->length, b);
    }
    p->count = count;
    p->disk = (struct disk_op){.kind = DISK_READ,
                               .file = p->file,
                               .off = (uint64_t)block * t->block_bytes,
                               .data = p->buf->data,
                               .len = len,
                               .done = piece_read,
                               .owner = s};
    env_disk_submit(s->c->env, &p->disk);
}

static void file_missing(struct scrub *s, struct local_replica *r, int err)
{
    env_log(s->c->env, LOG_ERROR, "chunk %016llx: its file cannot be opened: %s (server %u)",
            (unsigned long long)r->handle, err_text(err), s->c->label.server);
    replica_mark_failed(r, err);
    registration_report_bad(&s->c->master, r, s->c->label.server, UINT32_MAX);
}

/* A file of its own for each piece: a copy may replace the replica's in between, and its reads must
 * not stay in the page cache. */
static enum scrub_outcome open_file(struct scrub *s, struct local_replica *r)
{
    char path[REPLICA_PATH_BYTES];
    replica_path(r->handle, path);
    int err = env_file_open(s->c->env, path, ENV_OPEN_READ_ONLY | ENV_OPEN_SCAN, &s->piece.file);
    if (err == 0) {
        return SCRUB_READ;
    }
    s->piece.file = NULL;
    if (err == -EMFILE || err == -ENFILE || err == -ENOMEM) {
        return SCRUB_LATER;
    }
    file_missing(s, r, err);
    return SCRUB_GONE;
}

static void piece_start(struct replica_op *op)
{
    struct scrub_piece *p = container_of(op, struct scrub_piece, op);
    struct scrub *s = container_of(p, struct scrub, piece);
    struct local_replica *r = op->replica;
    const struct table *t = r->table;
    uint32_t blocks = replica_blocks(r);
    enum scrub_outcome outcome = SCRUB_READ;
    if (r->dropped || r->failed) {
        outcome = SCRUB_GONE;
    } else if (r->state != REPLICA_OK || r->copying || s->stopped) {
        outcome = SCRUB_LATER;
    } else if (p->block < blocks) {
        outcome = open_file(s, r);
    }
    if (outcome != SCRUB_READ || p->block >= blocks) {
        end_piece(s, outcome);
        return;
    }
    p->end = MIN(op->end, blocks);
    p->buf = buf_new(MAX((uint32_t)PIECE_BYTES, t->block_bytes));
    submit(s, p->block, p->end - p->block);
}

void scrub_piece_begin(struct scrub *s, struct local_replica *r, uint32_t block)
{
    struct scrub_piece *p = &s->piece;
    uint32_t bs = r->table->block_bytes;
    ASSERT(!p->running);
    p->op = (struct replica_op){
        .first = block, .end = block + MAX((uint32_t)PIECE_BYTES / bs, 1u), .start = piece_start};
    p->running = true;
    p->single = false;
    p->pass = s->pass;
    p->block = block;
    p->bytes = 0;
    p->begin_ns = env_mono_ns(s->c->env);
    replica_op_begin(r, &p->op);
}
