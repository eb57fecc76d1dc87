/* copy_blocks.c - the blocks of a pull: several runs in flight, from one source after the other.
 *
 * A run is asked from the source. If it cannot give it, its blocks are asked one by one, and each
 * that it still cannot give is asked from the others in turn. A block that nobody can give becomes
 * bad here, with the sum it should have: the damage stays visible and is mended when a good copy of
 * the block turns up.
 */
#include "chunkd/core/copy_internal.h"
#include "shared/base/bytes.h"
#include "shared/base/mem.h"

enum { LANE_TIMEOUTS = 5 }; /* of request_timeout_ms: a read waits for its turn behind mutations */

static void copy_more(struct pull_request *p);

void copy_blocks_release(struct pull_request *p)
{
    for (uint32_t i = 0; i < COPY_LANES; i++) {
        copy_pace_cancel(&p->lanes[i].wait);
        rpc_cancel(&p->lanes[i].call);
        slice_drop(&p->lanes[i].payload);
    }
}

/* Source to be asked for the block next; source_count if all were. */
static uint32_t source_of(const struct pull_request *p, uint32_t b)
{
    uint32_t k = p->tried[b];
    while (k < p->source_count && (p->gone >> k & 1) != 0) {
        k++;
    }
    return k;
}

static bool is_alone(const struct pull_request *p, uint32_t b)
{
    return p->alone[b / 8] >> (b % 8) & 1;
}

/* Lanes with a run. */
static uint32_t running(const struct pull_request *p)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < COPY_LANES; i++) {
        n += p->lanes[i].busy;
    }
    return n;
}

/* ---------------------------------------------------------------- failures */

static void nobody_has(struct pull_request *p, uint32_t b)
{
    struct local_replica *r = p->op.replica;
    p->bad++;
    if (!p->req.mend) {
        r->sums[b] = p->vector[b];
        replica_set_bad(r, b);
        replica_note_unlogged(r, b, b + 1);
        replica_note_write(r);
    } else if (r->state == REPLICA_SUSPECT) {
        replica_mark_bad(r, b);
    }
}

/* The source of the lane did not give the run. */
static void lane_refused(struct copy_lane *l, int err)
{
    struct pull_request *p = l->p;
    bool damaged = err == ERR_CHECKSUM || err == -EIO; /* and not the source as a whole */
    if (err == ERR_BUSY && running(p) > 1) { /* the source has no time for so many at once */
        p->lane_count = MAX(1u, p->lane_count - 1);
    } else if (damaged && l->count == 1) {
        p->refused += l->source == 0;
        p->tried[l->first] = (uint8_t)(l->source + 1);
    } else if (!damaged && l->source == 0 && !p->req.mend) {
        p->status = p->status != 0 ? p->status : err;
        return;
    } else if (!damaged) {
        p->gone |= 1u << l->source;
    }
    for (uint32_t b = l->first; b < l->first + l->count; b++) {
        if (source_of(p, b) == p->source_count) {
            nobody_has(p, b);
            continue;
        }
        copy_need(p, b);
        if (damaged) {
            p->alone[b / 8] |= (uint8_t)(1u << (b % 8));
        }
    }
    p->next = MIN(p->next, l->first);
}

/* ---------------------------------------------------------------- a run */

static void lane_ended(struct copy_lane *l)
{
    l->busy = false;
    slice_drop(&l->payload);
    copy_more(l->p);
}

static void lane_written(struct disk_op *op)
{
    struct copy_lane *l = container_of(op, struct copy_lane, disk);
    struct pull_request *p = l->p;
    struct local_replica *r = p->op.replica;
    int err = op->result < 0 ? (int)op->result : 0;
    if (err != 0 && err != -ENOSPC) {
        replica_mark_failed(r, err);
        err = -EIO;
    }
    if (err == 0) {
        p->copied += l->length;
        p->q.c->copied_in += l->length;
        replica_note_write(r);
    } else if (p->status == 0) {
        p->status = err;
    }
    lane_ended(l);
}

/* Each piece of the payload is one block, or the last one's part up to the length. */
static int check_run(const struct copy_lane *l, struct bytes sums)
{
    const struct pull_request *p = l->p;
    const struct local_replica *r = p->op.replica;
    const uint8_t *data = slice_data(&l->payload);
    if (l->payload.len != l->length) {
        return ERR_WRONG_VERSION; /* the source was cut meanwhile */
    }
    if (sums.len != 4 * l->count) {
        return ERR_PROTOCOL;
    }
    for (uint32_t i = 0; i < l->count; i++) {
        uint32_t b = l->first + i;
        uint32_t n = block_extent(r->table, r->length, b);
        uint32_t sum = (uint32_t)get_le(sums.data + 4 * i, 4);
        /* A first copy takes blocks as they come: a second one follows. */
        bool wanted = copy_is_first(p) || sum == p->vector[b];
        if (!wanted || block_sum(data, n) != sum) {
            return ERR_CHECKSUM;
        }
        data += n;
    }
    return 0;
}

static void take_sums(struct copy_lane *l, struct bytes sums)
{
    struct local_replica *r = l->p->op.replica;
    for (uint32_t i = 0; i < l->count; i++) {
        r->sums[l->first + i] = (uint32_t)get_le(sums.data + 4 * i, 4);
        replica_block_repaired(r, l->first + i);
    }
    replica_note_unlogged(r, l->first, l->first + l->count);
}

static void lane_received(struct rpc_call *call)
{
    struct copy_lane *l = container_of(call, struct copy_lane, call);
    struct local_replica *r = l->p->op.replica;
    struct read_raw_rep rep;
    int err = RPC_REPLY(read_raw, call, &rep);
    if (err == 0) {
        l->payload = slice_ref(&call->reply->payload);
        err = check_run(l, rep.sums);
    }
    if (err != 0) {
        lane_refused(l, err);
        lane_ended(l);
        return;
    }
    take_sums(l, rep.sums);
    l->disk = (struct disk_op){.kind = DISK_WRITE,
                               .file = r->file,
                               .off = l->offset,
                               .data = slice_data(&l->payload),
                               .len = l->length,
                               .done = lane_written};
    env_disk_submit(r->table->env, &l->disk);
}

static void lane_ask(struct copy_lane *l)
{
    struct pull_request *p = l->p;
    struct read_raw_req req = {.handle = p->req.handle,
                               .version = p->source_version,
                               .offset = l->offset,
                               .length = l->length,
                               .yields = copy_is_first(p)};
    struct slice body = RPC_BODY(read_raw_req, &req);
    const struct server *source = &p->sources[l->source];
    l->call.done = lane_received;
    int err = peers_call(&p->q.c->peers, source->id, source->addr, &l->call,
                         &(struct frame_header){.op = OP_read_raw}, body, NULL,
                         LANE_TIMEOUTS * p->q.c->request_timeout_ms);
    if (err != 0) {
        slice_drop(&body);
        l->busy = false;
        p->status = err;
    }
}

/* Its turn among the copies of this chunkserver. */
static void lane_go(struct copy_wait *w)
{
    struct copy_lane *l = container_of(w, struct copy_lane, wait);
    if (l->p->status == 0) {
        lane_ask(l);
    }
    if (l->p->status != 0) {
        lane_ended(l);
    }
}

static void lane_start(struct copy_lane *l, uint32_t first, uint32_t count, uint32_t source)
{
    struct pull_request *p = l->p;
    const struct table *t = p->op.replica->table;
    l->first = first;
    l->count = count;
    l->source = source;
    l->offset = first * t->block_bytes;
    l->length = (uint32_t)MIN((uint64_t)count * t->block_bytes, p->length - l->offset);
    l->busy = true;
    l->wait.go = lane_go;
    if (!copy_is_first(p) || copy_pace_pass(&p->q.c->copy_pace, &l->wait, l->length)) {
        lane_ask(l);
    }
}

/* ---------------------------------------------------------------- all of them */

/* Blocks asked for at once. */
static uint32_t run_length(const struct pull_request *p)
{
    uint32_t bytes = copy_is_first(p) ? copy_pace_piece(&p->q.c->copy_pace, IO_MAX) : IO_MAX;
    return MAX(1u, bytes / p->op.replica->table->block_bytes);
}

/* The next run of blocks one source may give; false if there is none. */
static bool next_run(struct pull_request *p, struct copy_lane *l)
{
    uint32_t run_max = run_length(p);
    while (p->next < p->blocks && !copy_is_needed(p, p->next)) {
        p->next++;
    }
    if (p->next == p->blocks) {
        return false;
    }
    uint32_t first = p->next, source = source_of(p, first);
    do {
        p->need[p->next / 8] &= (uint8_t) ~(1u << (p->next % 8));
        p->next++;
    } while (!is_alone(p, first) && p->next < p->blocks && p->next - first < run_max &&
             copy_is_needed(p, p->next) && !is_alone(p, p->next) &&
             source_of(p, p->next) == source);
    lane_start(l, first, p->next - first, source);
    return true;
}

static void copy_more(struct pull_request *p)
{
    if (p->op.replica->dropped && p->status == 0) {
        p->status = ERR_NO_REPLICA;
    }
    for (uint32_t i = 0; i < COPY_LANES; i++) {
        struct copy_lane *l = &p->lanes[i];
        while (p->status == 0 && !l->busy && running(p) < p->lane_count && next_run(p, l)) {
        }
    }
    if (running(p) == 0) {
        copy_ended(p);
    }
}

void copy_blocks(struct pull_request *p)
{
    p->lane_count = COPY_LANES;
    for (uint32_t i = 0; i < COPY_LANES; i++) {
        p->lanes[i].p = p;
    }
    copy_more(p);
}
