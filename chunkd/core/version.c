/* version.c - chunk versions: prepare, activate, drop, and checks the master asks for.
 *
 * A replica holds a pair (version, previous). prepare stores a new pair and stops mutations under
 * the old version; the new one may be used after activate. If a prepared version was never
 * activated, the next prepare keeps `previous`: it always names the last version under which the
 * content was committed.
 */
#include "chunkd/core/core.h"
#include "chunkd/core/replica_scan.h"
#include "shared/base/mem.h"

/* ---------------------------------------------------------------- prepare */

struct prepare_request {
    struct request q;
    struct prepare_req req;
    struct replica_op op;
    struct meta_wait wait;
};

static void prepare_release(struct request *q)
{
    meta_log_cancel(&((struct prepare_request *)q)->wait);
}

static void answer_prepare(struct prepare_request *p, struct local_replica *r)
{
    struct prepare_rep rep = {.replica = replica_report(r)};
    rep.replica.mutation = r->previous_mutation;
    rep.replica.digest = replica_digest(r);
    r->shown_version = r->version;
    request_answer(&p->q, 0, RPC_BODY(prepare_rep, &rep), NULL);
}

static void pair_durable(struct meta_wait *w)
{
    struct prepare_request *p = container_of(w, struct prepare_request, wait);
    struct local_replica *r = p->op.replica;
    r->preparing--;
    /* While this waited a higher version may have been prepared; then this one is history. */
    if (r->dropped || r->version != p->req.version) {
        request_answer(&p->q, r->dropped ? ERR_NO_REPLICA : ERR_WRONG_VERSION, (struct slice){0},
                       NULL);
    } else {
        answer_prepare(p, r);
    }
    replica_unuse(r);
    request_end(&p->q);
}

/* Does the replica hold the content of version `old`? */
static bool holds(const struct local_replica *r, uint64_t old)
{
    return old == 0 || r->version == old || (!r->active && r->previous == old);
}

/* Made for a version that was never activated, and nothing was copied into it since. */
static bool just_made(const struct local_replica *r)
{
    return !r->active && r->previous == 0 && r->length == 0;
}

/* The master knows by `old` which of the pair was committed; without it the activation tells. */
static void take_version(struct local_replica *r, const struct prepare_request *p)
{
    const struct prepare_req *req = &p->req;
    bool committed = req->old != 0 ? r->version == req->old : r->active;
    if (!holds(r, req->old) && !just_made(r)) {
        r->state = REPLICA_CLONING; /* of an older content: to be filled */
        committed = true;
    }
    if (committed) {
        r->previous = r->version;
        r->previous_mutation = r->mutation;
    }
    r->version = req->version;
    r->mutation = r->queued = 0;
    r->active = false;
    r->broken = false;
    r->primary_version = 0;
    r->pulled_version = 0;
    r->outdated_round = 0;
    replica_log_head(r);
}

/* Its turn in the queue: every earlier mutation has ended. */
static void prepare_start(struct replica_op *op)
{
    struct prepare_request *p = container_of(op, struct prepare_request, op);
    struct local_replica *r = op->replica;
    const struct prepare_req *req = &p->req;
    int err = 0;
    if (r->dropped) {
        err = ERR_NO_REPLICA;
    } else if (r->version > req->version) {
        err = ERR_WRONG_VERSION;
    } else if (r->version < req->version && !holds(r, req->old) && req->make == 0 &&
               r->state != REPLICA_CLONING) {
        err = ERR_WRONG_VERSION;
    } else if (r->failed && req->make != 1) {
        err = -EIO; /* it is not empty, but cannot be read: only a copy helps */
    }
    replica_use(r);
    if (err == 0 && r->version < req->version) {
        take_version(r, p);
    }
    replica_op_end(op);
    if (err != 0) {
        r->preparing--;
        replica_unuse(r);
        request_fail(&p->q, err);
        return;
    }
    meta_log_wait(r->table->meta, &p->wait, true);
}

static struct local_replica *make_replica(struct chunkd *c, const struct prepare_req *req)
{
    struct local_replica *r = table_add(&c->table, req->handle);
    r->ino = req->ino;
    r->number = req->number;
    r->version = req->version;
    r->dirty = true;
    r->state = req->make == 1 ? REPLICA_CLONING : REPLICA_OK;
    replica_log_head(r);
    return r;
}

void prepare_handle(struct link *l, struct message *m)
{
    struct chunkd *c = l->c;
    struct prepare_req req;
    if (prepare_req_decode(slice_bytes(&m->body), &req) != 0 || req.version == 0) {
        link_refuse(l, m, ERR_PROTOCOL);
        return;
    }
    struct local_replica *r = table_get(&c->table, req.handle);
    if (r == NULL && req.make == 0) {
        link_refuse(l, m, ERR_NO_REPLICA);
        return;
    }
    if (r == NULL && table_is_dropping(&c->table, req.handle)) {
        link_refuse(l, m, ERR_BUSY);
        return;
    }
    if (r == NULL) {
        r = make_replica(c, &req);
    }
    struct prepare_request *p = request_begin(l, m, sizeof(*p));
    p->q.release = prepare_release;
    p->req = req;
    p->wait.done = pair_durable;
    p->op.mutates = true;
    p->op.end = UINT32_MAX;
    p->op.start = prepare_start;
    r->preparing++;
    replica_op_begin(r, &p->op);
}

/* ---------------------------------------------------------------- activate */

struct activate_request {
    struct request q;
    struct activate_req req;
    struct local_replica *replica;
    struct replica_op op;
    struct replica_scan scan;
    struct meta_wait wait;
    uint32_t accepted; /* torn blocks */
    uint32_t hole;     /* block looked at, or being written, by fill_holes */
    struct disk_op disk;
};

static void activate_release(struct request *q)
{
    struct activate_request *a = (struct activate_request *)q;
    meta_log_cancel(&a->wait);
    replica_scan_release(&a->scan);
}

static void activate_finish(struct activate_request *a, int status)
{
    struct local_replica *r = a->replica;
    request_fail(&a->q, status);
    replica_unuse(r);
}

static void activation_durable(struct meta_wait *w)
{
    struct activate_request *a = container_of(w, struct activate_request, wait);
    activate_finish(a, a->replica->dropped ? ERR_NO_REPLICA : 0);
}

static void activate_now(struct activate_request *a)
{
    struct local_replica *r = a->replica;
    r->state = REPLICA_OK;
    r->active = true;
    r->broken = false;
    if (r->primary_version != r->version) {
        r->written_known = 0;
    }
    r->primary_version = a->req.primary == a->q.c->label.server ? r->version : 0;
    replica_log_head(r);
    replica_op_end(&a->op);
    a->wait.done = activation_durable;
    meta_log_wait(r->table->meta, &a->wait, true);
}

/* Its sum is that of zeros: it was never written, or no write of it was ever durable, since the sum
 * becomes so with the bytes. Whatever a disk left there is not its content. */
static bool is_hole(const struct local_replica *r, uint32_t b)
{
    return r->sums[b] == zeros_sum(r->table, block_extent(r->table, r->length, b));
}

/* No copy has better bytes than the ones the power cut left: they are the block's content from now
 * on. A block that was good when the others were asked has been damaged since, and they have it. */
static void accept_block(struct replica_scan *s, uint32_t block, uint32_t sum, bool readable)
{
    struct activate_request *a = container_of(s, struct activate_request, scan);
    struct local_replica *r = a->replica;
    bool damaged = r->mended_version == r->version && !replica_block_is_bad(r, block);
    if (is_hole(r, block)) {
        replica_set_bad(r, block); /* until fill_holes */
        return;
    }
    if (!readable || damaged) {
        replica_mark_bad(r, block);
        return;
    }
    r->sums[block] = sum;
    replica_clear_bad(r, block);
    replica_note_unlogged(r, block, block + 1);
    replica_note_write(r);
    a->accepted++;
}

static void accepted_all(struct activate_request *a)
{
    struct local_replica *r = a->replica;
    if (a->accepted > 0) {
        env_log(a->q.c->env, LOG_WARN,
                "chunk %016llx: %u blocks torn by a power cut accepted as they are",
                (unsigned long long)r->handle, a->accepted);
    }
    /* It stays suspect until the version is in the log, and with it that there is a doubt: a master
     * that comes in between would take it for one that lost nothing. */
    replica_log_head(r);
    replica_op_end(&a->op);
    a->wait.done = activation_durable;
    meta_log_wait(r->table->meta, &a->wait, true);
}

static void fill_holes(struct activate_request *a);

static void hole_filled(struct disk_op *op)
{
    struct activate_request *a = container_of(op, struct activate_request, disk);
    struct local_replica *r = a->replica;
    if (op->result < 0) {
        if (op->result != -ENOSPC) {
            replica_mark_failed(r, (int)op->result);
        }
        replica_op_end(&a->op);
        activate_finish(a, op->result == -ENOSPC ? -ENOSPC : -EIO);
        return;
    }
    replica_block_repaired(r, a->hole);
    replica_note_unlogged(r, a->hole, a->hole + 1);
    replica_note_write(r);
    fill_holes(a);
}

/* Bad blocks that are known to hold zeros get them. */
static void fill_holes(struct activate_request *a)
{
    struct local_replica *r = a->replica;
    const struct table *t = r->table;
    while (a->hole < replica_blocks(r) &&
           (!replica_block_is_bad(r, a->hole) || !is_hole(r, a->hole))) {
        a->hole++;
    }
    if (a->hole == replica_blocks(r)) {
        accepted_all(a);
        return;
    }
    a->disk = (struct disk_op){.kind = DISK_WRITE,
                               .file = r->file,
                               .off = (uint64_t)a->hole * t->block_bytes,
                               .data = t->zeros,
                               .len = block_extent(t, r->length, a->hole),
                               .done = hole_filled};
    env_disk_submit(t->env, &a->disk);
}

static void accept_scanned(struct replica_scan *s, int status)
{
    struct activate_request *a = container_of(s, struct activate_request, scan);
    if (status != 0) {
        replica_mark_failed(a->replica, status);
        replica_op_end(&a->op);
        activate_finish(a, -EIO);
        return;
    }
    fill_holes(a);
}

static void activate_start(struct replica_op *op)
{
    struct activate_request *a = container_of(op, struct activate_request, op);
    struct local_replica *r = op->replica;
    int err = 0;
    if (r->dropped) {
        err = ERR_NO_REPLICA;
    } else if (r->version != a->req.version) {
        err = ERR_WRONG_VERSION;
    } else if (r->failed) {
        err = -EIO;
    } else if (r->state == REPLICA_SUSPECT && r->shown_version != r->version &&
               !a->req.accept_torn) {
        /* It was prepared before a power cut: the master decided on what is lost now. */
        err = ERR_SUSPECT;
    }
    if (err != 0) {
        replica_op_end(op);
        activate_finish(a, err);
        return;
    }
    if (r->active && r->state == REPLICA_OK) {
        /* Repeated. The role stands as it is: mutations may have been numbered already. */
        replica_op_end(op);
        a->wait.done = activation_durable;
        meta_log_wait(r->table->meta, &a->wait, true);
        return;
    }
    if (r->state == REPLICA_SUSPECT && a->req.accept_torn) {
        a->scan.mismatch = accept_block;
        a->scan.done = accept_scanned;
        replica_scan_start(&a->scan, r);
        return;
    }
    activate_now(a);
}

void activate_handle(struct link *l, struct message *m)
{
    struct activate_req req;
    if (activate_req_decode(slice_bytes(&m->body), &req) != 0) {
        link_refuse(l, m, ERR_PROTOCOL);
        return;
    }
    struct local_replica *r = table_get(&l->c->table, req.handle);
    if (r == NULL) {
        link_refuse(l, m, ERR_NO_REPLICA);
        return;
    }
    struct activate_request *a = request_begin(l, m, sizeof(*a));
    a->q.release = activate_release;
    a->req = req;
    a->replica = r;
    a->op.mutates = true;
    a->op.end = UINT32_MAX;
    a->op.start = activate_start;
    replica_use(r);
    replica_op_begin(r, &a->op);
}

/* ---------------------------------------------------------------- drop */

struct drop_request {
    struct request q;
    struct meta_wait wait;
    uint32_t named; /* handles of the request */
    uint32_t count;
    struct local_replica **replicas; /* marked dropped by this request */
};

static void drop_release(struct request *q)
{
    struct drop_request *d = (struct drop_request *)q;
    meta_log_cancel(&d->wait);
    mem_free(d->replicas);
}

/* The records are durable: no restart brings the replicas back. Their files go later. */
static void drop_durable(struct meta_wait *w)
{
    struct drop_request *d = container_of(w, struct drop_request, wait);
    for (uint32_t i = 0; i < d->count; i++) {
        replica_unuse(d->replicas[i]);
    }
    d->count = 0;
    request_fail(&d->q, 0);
}

enum { DROPS_MAX = 1024 };

static void drop_list(struct drop_request *d, struct bytes handles, bool aside)
{
    struct chunkd *c = d->q.c;
    struct reader r = reader_of(handles);
    while (!reader_done(&r) && d->named < DROPS_MAX) {
        uint64_t handle;
        dec_u64(&r, &handle);
        if (r.err != 0) {
            break;
        }
        d->named++;
        table_note_dropped(&c->table, handle);
        struct local_replica *one = table_get(&c->table, handle);
        if (one != NULL) {
            one->aside = aside && c->cfg.aside_ms > 0 && one->file_made && one->length > 0;
            replica_log_drop(one);
            one->dropped = true;
            c->table.count--;
            replica_use(one);
            d->replicas[d->count++] = one;
        }
    }
}

void drop_replicas_handle(struct link *l, struct message *m)
{
    struct chunkd *c = l->c;
    struct drop_replicas_req req;
    if (drop_replicas_req_decode(slice_bytes(&m->body), &req) != 0) {
        link_refuse(l, m, ERR_PROTOCOL);
        return;
    }
    struct drop_request *d = request_begin(l, m, sizeof(*d));
    d->q.release = drop_release;
    d->wait.done = drop_durable;
    d->replicas = mem_alloc(DROPS_MAX * sizeof(struct local_replica *));
    drop_list(d, req.handles, false);
    drop_list(d, req.aside, true);
    meta_log_wait(&c->meta, &d->wait, true);
}

/* ---------------------------------------------------------------- verify */

struct verify_request {
    struct request q;
    struct verify_replica_req req;
    struct replica_op op;
    struct replica_scan scan;
};

static void verify_release(struct request *q)
{
    replica_scan_release(&((struct verify_request *)q)->scan);
}

static void verify_finish(struct verify_request *v, int status)
{
    struct local_replica *r = v->op.replica;
    struct slice body = {0};
    if (status == 0) {
        struct verify_replica_rep rep = {.replica = replica_report(r)};
        rep.replica.digest = replica_digest(r);
        body = RPC_BODY(verify_replica_rep, &rep);
    }
    request_answer(&v->q, status, body, NULL);
    replica_op_end(&v->op);
    request_end(&v->q);
}

static void verify_mismatch(struct replica_scan *s, uint32_t block, uint32_t sum, bool readable)
{
    struct verify_request *v = container_of(s, struct verify_request, scan);
    (void)sum;
    (void)readable;
    if (v->op.replica->state == REPLICA_OK) {
        chunkd_found_bad(v->q.c, v->op.replica, block);
    }
}

static void verify_done(struct replica_scan *s, int status)
{
    struct verify_request *v = container_of(s, struct verify_request, scan);
    if (status != 0) {
        replica_mark_failed(v->op.replica, status);
    }
    verify_finish(v, 0);
}

static void verify_start(struct replica_op *op)
{
    struct verify_request *v = container_of(op, struct verify_request, op);
    struct local_replica *r = op->replica;
    if (r->dropped || r->version != v->req.version) {
        verify_finish(v, r->dropped ? ERR_NO_REPLICA : ERR_WRONG_VERSION);
        return;
    }
    v->scan.mismatch = verify_mismatch;
    v->scan.done = verify_done;
    replica_scan_start(&v->scan, r);
}

void verify_replica_handle(struct link *l, struct message *m)
{
    struct verify_replica_req req;
    if (verify_replica_req_decode(slice_bytes(&m->body), &req) != 0) {
        link_refuse(l, m, ERR_PROTOCOL);
        return;
    }
    struct local_replica *r = table_get(&l->c->table, req.handle);
    if (r == NULL) {
        link_refuse(l, m, ERR_NO_REPLICA);
        return;
    }
    struct verify_request *v = request_begin(l, m, sizeof(*v));
    v->q.release = verify_release;
    v->req = req;
    v->op.end = UINT32_MAX;
    v->op.start = verify_start;
    replica_op_begin(r, &v->op);
}
