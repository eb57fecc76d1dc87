/* mutation.c - writes: the primary numbers them and sends them to the secondaries while it applies
 * them; everybody applies them strictly in the order of their numbers.
 *
 * The client is answered when all members answered. A member that fails ends the primary's work
 * under this version: the client asks the master for a new one, which leaves the member out or
 * makes the members equal first.
 *
 * A reservation for which a member has no room is applied by all members just the same: it changes
 * nothing that they must agree on. The client hears -ENOSPC, and no member is to blame.
 *
 * A truncate is durable when it is answered: the master forgets that the bytes beyond are dead, and
 * they must not come back after a power cut.
 */
#include "chunkd/core/mutation.h"
#include "chunkd/core/replica_sync.h"
#include "chunkd/core/replica_write.h"
#include "shared/base/mem.h"

/* ---------------------------------------------------------------- members */

int member_set_parse(struct member_set *s, struct chunkd *c, struct bytes list, bool first)
{
    struct reader r = reader_of(list);
    bool self = false;
    uint32_t n = 0;
    s->c = c;
    s->count = 0;
    while (!reader_done(&r)) {
        struct server one;
        dec_server(&r, &one);
        if (r.err != 0 || ++n > REPLICAS_MAX || one.id == 0) {
            return ERR_PROTOCOL;
        }
        if (one.id == c->label.server) {
            if (first && n != 1) {
                return ERR_NOT_PRIMARY;
            }
            self = true;
        } else {
            s->others[s->count++] = (struct member){one.id, one.addr};
        }
    }
    if (r.err != 0) {
        return ERR_PROTOCOL;
    }
    return self ? 0 : ERR_NOT_PRIMARY;
}

static void call_done(struct rpc_call *call)
{
    struct member_call *m = container_of(call, struct member_call, call);
    struct chunkd *c = m->set->c;
    if (m->begin_ns != 0) {
        latency_of_peer(&c->table.latency, m->server, env_mono_ns(c->env) - m->begin_ns);
    }
    member_set_answered(m->set, m->server, call->status);
}

void member_set_call(struct member_set *s, uint16_t op, const struct slice *body,
                     const struct slice *payload)
{
    struct frame_header head = {.op = op};
    s->pending = s->count + 1;
    for (uint32_t i = 0; i < s->count; i++) {
        struct member_call *m = &s->calls[i];
        m->set = s;
        m->server = s->others[i].server;
        m->call.done = call_done;
        m->begin_ns = op == OP_forward ? env_mono_ns(s->c->env) : 0;
        struct slice b = slice_ref(body);
        struct slice p = slice_ref(payload);
        int err = peers_call(&s->c->peers, s->others[i].server, s->others[i].addr, &m->call, &head,
                             b, &p, s->c->request_timeout_ms);
        if (err != 0) {
            slice_drop(&b);
            slice_drop(&p);
            member_set_answered(s, m->server, err); /* ours is pending: not the last */
        }
    }
}

void member_set_answered(struct member_set *s, uint32_t server, int status)
{
    ASSERT(s->pending > 0);
    s->pending--;
    if (s->reserving && status == -ENOSPC) {
        s->refused = true;
        status = 0;
    }
    if (status != 0 && s->failed_server == 0) {
        s->failed_server = server;
        s->failed_status = status;
        s->no_space = status == -ENOSPC;
        if (s->failed != NULL) {
            s->failed(s);
        }
    }
    if (s->pending == 0) {
        s->done(s);
    }
}

int member_set_status(const struct member_set *s)
{
    if (s->failed_server == 0) {
        return s->refused ? -ENOSPC : 0;
    }
    return s->no_space ? -ENOSPC : ERR_MEMBER_FAILED;
}

void member_set_release(struct member_set *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        rpc_cancel(&s->calls[i].call);
    }
}

int primary_check(const struct chunkd *c, const struct local_replica *r, uint64_t version)
{
    if (r == NULL) {
        return ERR_NO_REPLICA;
    }
    if (r->version != version) {
        return ERR_WRONG_VERSION;
    }
    if (r->failed) {
        return -EIO;
    }
    if (r->preparing > 0 || !r->active || r->broken || r->state != REPLICA_OK) {
        return ERR_RETRY_GRANT;
    }
    if (r->primary_version != version) {
        return ERR_NOT_PRIMARY;
    }
    return chunkd_has_lease(c) ? 0 : ERR_NO_LEASE;
}

/* 0 or -ENOSPC: may the bytes be written? Those that were reserved have their space. */
static int check_room(struct chunkd *c, const struct local_replica *r, uint32_t offset,
                      uint32_t length)
{
    if (r == NULL) {
        return chunkd_check_space(c, length, true);
    }
    if (replica_is_reserved(r, offset, offset + length)) {
        return 0;
    }
    return chunkd_check_space(c, length, (uint64_t)offset + length > r->length);
}

/* ---------------------------------------------------------------- a new chunk's first replica */

/* The master calls a chunk fresh until a commit vouches for it, also when it was written. A process
 * that runs since before the chunk was made knows that there was no replica here. Any other may have
 * had one that a power cut took: made anew it would pass, under the same version, for one that has what
 * was acknowledged. A version that the master makes tells the two apart, or has a doubt. */
static bool may_make_fresh(const struct chunkd *c, uint64_t handle)
{
    return handle >= c->first_handle && !table_was_dropped(&c->table, handle);
}

/* A chunk's first version needs no preparation: no older replica can exist. It is born dirty, so it
 * needs no mark before it is written; its record is in the log's file before the write is
 * acknowledged. */
static struct local_replica *make_fresh(struct chunkd *c, uint64_t handle, uint64_t version,
                                        uint64_t ino, uint64_t number)
{
    struct local_replica *r = table_add(&c->table, handle);
    r->version = version;
    r->ino = ino;
    r->number = number;
    r->active = true;
    r->dirty = true;
    replica_log_head(r);
    return r;
}

/* ---------------------------------------------------------------- primary */

struct write_request {
    struct request q;
    struct write_req req;
    struct member_set members;
    struct write_op w;
    struct local_replica *replica;
    struct intent_hold hold; /* of its beginning in the ring */
    struct sync_wait sync;   /* of a truncate */
};

static void write_release(struct request *q)
{
    struct write_request *wr = (struct write_request *)q;
    member_set_release(&wr->members);
    write_op_release(&wr->w);
    replica_sync_cancel(&wr->sync);
}

static void write_failed(struct member_set *s)
{
    struct write_request *wr = container_of(s, struct write_request, members);
    struct local_replica *r = wr->replica;
    r->broken = r->broken || r->version == wr->req.version;
    /* The client asks for a new version, if it lives. The members must be made equal in any case. A
     * damaged block was reported by the member itself. */
    if (s->failed_status != ERR_CHECKSUM) {
        registration_report_bad(&wr->q.c->master, r, s->failed_server, UINT32_MAX);
    }
}

/* If this process dies before all members have the mutation, the next one must know that they may
 * differ. */
static void put_mark(struct write_request *wr, uint32_t flags)
{
    struct intent e = {.handle = wr->req.handle,
                       .version = wr->req.version,
                       .mutation = wr->w.mutation,
                       .block = INTENT_NO_BLOCK,
                       .flags = flags};
    intent_ring_put(&wr->q.c->ring, &e);
}

static void mark_begin(struct write_request *wr)
{
    intent_ring_hold(&wr->q.c->ring, &wr->hold);
    put_mark(wr, INTENT_BEGIN);
}

static void mark_end(struct write_request *wr)
{
    struct intent_ring *ring = &wr->q.c->ring;
    if (wr->members.failed_server == 0 && intent_ring_has_room(ring, 1)) {
        put_mark(wr, INTENT_END);
    }
    intent_ring_unhold(&wr->hold);
}

static void write_answered(struct member_set *s)
{
    struct write_request *wr = container_of(s, struct write_request, members);
    struct local_replica *r = wr->replica;
    if (s->count > 0) {
        mark_end(wr);
    }
    struct write_rep rep = {.failed_server = s->failed_server, .failed_status = s->failed_status};
    request_answer(&wr->q, member_set_status(s), RPC_BODY(write_rep, &rep), NULL);
    request_end(&wr->q);
    replica_unuse(r);
}

static void synced_here(struct sync_wait *sync, int status)
{
    struct write_request *wr = container_of(sync, struct write_request, sync);
    member_set_answered(&wr->members, wr->q.c->label.server, status);
}

static void applied_here(struct write_op *w)
{
    struct write_request *wr = container_of(w, struct write_request, w);
    if (w->status == ERR_CHECKSUM) {
        chunkd_found_bad(wr->q.c, wr->replica, w->bad_block);
    }
    if (w->kind == WRITE_RESERVE) {
        chunkd_ask_space(wr->q.c);
    }
    if (w->status == 0 && w->kind == WRITE_TRUNCATE) {
        wr->sync.done = synced_here;
        replica_sync(wr->q.c, wr->replica, &wr->sync);
        return;
    }
    member_set_answered(&wr->members, wr->q.c->label.server, w->status);
}

static void start_write(struct write_request *wr)
{
    struct local_replica *r = wr->replica;
    const struct write_req *req = &wr->req;
    struct forward_req f = {.handle = req->handle,
                            .version = req->version,
                            .ino = req->ino,
                            .number = req->number,
                            .fresh = req->fresh,
                            .kind = req->kind,
                            .offset = req->offset,
                            .length = req->length,
                            .sums = req->sums,
                            .mutation = ++r->queued};
    wr->w = (struct write_op){.kind = req->kind,
                              .offset = req->offset,
                              .length = req->length,
                              .payload = wr->q.payload,
                              .sums = req->sums.data,
                              .version = req->version,
                              .mutation = f.mutation,
                              .spare = wr->q.c->reserve,
                              .done = applied_here};
    replica_use(r);
    wr->members.reserving = req->kind == WRITE_RESERVE;
    wr->members.failed = write_failed;
    wr->members.done = write_answered;
    struct slice body = {0};
    if (wr->members.count > 0) {
        body = RPC_BODY(forward_req, &f);
        mark_begin(wr);
    }
    member_set_call(&wr->members, OP_forward, &body, &wr->q.payload);
    slice_drop(&body);
    write_op_begin(&wr->w, r);
}

static int check_write(struct chunkd *c, const struct message *m, const struct write_req *req)
{
    int err =
        write_op_check(&c->table, req->kind, req->offset, req->length, &m->payload, req->sums);
    if (err != 0) {
        return err;
    }
    struct local_replica *r = table_get(&c->table, req->handle);
    bool makes = r == NULL && req->fresh;
    if (makes && !chunkd_has_lease(c)) {
        return ERR_NO_LEASE;
    }
    err = makes ? 0 : primary_check(c, r, req->version);
    if (err == 0 && makes && !may_make_fresh(c, req->handle)) {
        err = ERR_NO_REPLICA;
    }
    if (err == 0 && !intent_ring_has_room(&c->ring, 2)) {
        err = c->crammed ? -ENOSPC : ERR_BUSY;
    }
    /* A mount that heard of the trim before it was carried out would cut off what was written since. */
    if (err == 0 && req->kind == WRITE_TRUNCATE && r != NULL && req->known < r->written_known) {
        err = ERR_RETRY_GRANT;
    }
    if (err == 0 && req->kind == WRITE_DATA) {
        err = check_room(c, r, req->offset, req->length);
    }
    return err;
}

void write_handle(struct link *l, struct message *m)
{
    struct chunkd *c = l->c;
    struct write_req req;
    if (write_req_decode(slice_bytes(&m->body), &req) != 0) {
        link_refuse(l, m, ERR_PROTOCOL);
        return;
    }
    struct write_request *wr = request_begin(l, m, sizeof(*wr));
    wr->q.release = write_release;
    wr->req = req;
    int err = check_write(c, m, &req);
    struct local_replica *r = table_get(&c->table, req.handle);
    if (err == 0) {
        err = member_set_parse(&wr->members, c, req.members, r == NULL);
    }
    if (err != 0) {
        struct write_rep rep = {.failed_server = c->label.server, .failed_status = err};
        request_answer(&wr->q, err, RPC_BODY(write_rep, &rep), NULL);
        request_end(&wr->q);
        return;
    }
    if (r == NULL) {
        r = make_fresh(c, req.handle, req.version, req.ino, req.number);
        r->primary_version = req.version;
    }
    wr->replica = r;
    if (req.kind != WRITE_TRUNCATE) {
        r->written_known = MAX(r->written_known, req.known);
    }
    c->client_bytes += m->payload.len;
    start_write(wr);
}

/* ---------------------------------------------------------------- secondary */

struct forward_request {
    struct request q;
    struct write_op w;
    struct sync_wait sync; /* of a truncate */
};

static void forward_release(struct request *q)
{
    struct forward_request *f = (struct forward_request *)q;
    write_op_release(&f->w);
    replica_sync_cancel(&f->sync);
}

static void forward_synced(struct sync_wait *sync, int status)
{
    request_fail(&container_of(sync, struct forward_request, sync)->q, status);
}

static void forward_applied(struct write_op *w)
{
    struct forward_request *f = container_of(w, struct forward_request, w);
    if (w->status == ERR_CHECKSUM) {
        chunkd_found_bad(f->q.c, write_op_replica(w), w->bad_block);
    }
    if (w->kind == WRITE_RESERVE) {
        chunkd_ask_space(f->q.c);
    }
    if (w->status == 0 && w->kind == WRITE_TRUNCATE) {
        f->sync.done = forward_synced;
        replica_sync(f->q.c, write_op_replica(w), &f->sync);
        return;
    }
    request_fail(&f->q, w->status);
}

/* A mutation or sync under a version that was prepared here and not activated yet proves that it is
 * committed: its primary was activated. */
static void learn_commit(struct local_replica *r, uint64_t version)
{
    if (r->version != version || r->active || r->preparing > 0 || r->failed) {
        return;
    }
    if (r->state == REPLICA_OK || r->pulled_version == version) {
        r->state = REPLICA_OK;
        r->active = true;
        replica_log_head(r);
    }
}

int secondary_check(struct local_replica *r, uint64_t version)
{
    learn_commit(r, version);
    if (r->version != version) {
        return ERR_WRONG_VERSION;
    }
    if (r->failed) {
        return -EIO;
    }
    if (r->preparing > 0 || !r->active || r->state != REPLICA_OK ||
        r->primary_version == r->version) {
        return ERR_RETRY_GRANT;
    }
    return r->broken ? ERR_MUTATION_GAP : 0;
}

static int check_forward(struct chunkd *c, const struct message *m, const struct forward_req *req)
{
    int err =
        write_op_check(&c->table, req->kind, req->offset, req->length, &m->payload, req->sums);
    if (err != 0 || c->crammed) {
        return err != 0 ? err : -ENOSPC;
    }
    struct local_replica *r = table_get(&c->table, req->handle);
    if (r == NULL) {
        if (!req->fresh) {
            return ERR_NO_REPLICA;
        }
        if (req->mutation != 1) {
            return ERR_MUTATION_GAP;
        }
        return may_make_fresh(c, req->handle) ? 0 : ERR_NO_REPLICA;
    }
    err = secondary_check(r, req->version);
    return err != 0 ? err : req->mutation != r->queued + 1 ? ERR_MUTATION_GAP : 0;
}

void forward_handle(struct link *l, struct message *m)
{
    struct chunkd *c = l->c;
    struct forward_req req;
    if (forward_req_decode(slice_bytes(&m->body), &req) != 0) {
        link_refuse(l, m, ERR_PROTOCOL);
        return;
    }
    int err = check_forward(c, m, &req);
    struct local_replica *r = table_get(&c->table, req.handle);
    if (err == 0 && req.kind == WRITE_DATA) {
        err = check_room(c, r, req.offset, req.length);
    }
    if (err != 0) {
        link_refuse(l, m, err);
        return;
    }
    if (r == NULL) {
        r = make_fresh(c, req.handle, req.version, req.ino, req.number);
    }
    r->queued = req.mutation;
    c->client_bytes += m->payload.len;
    struct forward_request *f = request_begin(l, m, sizeof(*f));
    f->q.release = forward_release;
    f->w = (struct write_op){.kind = req.kind,
                             .offset = req.offset,
                             .length = req.length,
                             .payload = f->q.payload,
                             .sums = req.sums.data,
                             .version = req.version,
                             .mutation = req.mutation,
                             .spare = c->reserve,
                             .done = forward_applied};
    write_op_begin(&f->w, r);
}
