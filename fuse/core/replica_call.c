/* replica_call.c - a question any replica of a chunk can answer. */
#include "fuse/core/replica_call.h"

#include "fuse/core/client_impl.h"
#include "shared/base/hash.h"

static void locate(struct replica_call *r);
static void ask_next(struct replica_call *r);

static void finish(struct replica_call *r, int status)
{
    location_unpin(r->loc);
    r->loc = NULL;
    r->status = status;
    r->done(r);
}

static void pause_ended(struct env_timer *t)
{
    struct replica_call *r = container_of(t, struct replica_call, pause);
    struct client *c = r->inode->client;
    client_enter(c);
    locate(r);
    client_leave(c);
}

static void pause_then_locate(struct replica_call *r)
{
    r->backoff_ms = backoff_next(r->backoff_ms);
    env_timer_set(r->inode->client->env, &r->pause, r->backoff_ms * NS_PER_MS);
}

/* ---------------------------------------------------------------- report */

struct bad_report {
    struct op op;
    struct master_call call;
};

static void report_drop(struct op *o)
{
    struct bad_report *b = container_of(o, struct bad_report, op);
    master_call_cancel(&b->call);
    mem_free(b);
}

static void report_done(struct master_call *m)
{
    op_end(&((struct bad_report *)m->owner)->op, 0);
}

/* Tells the master that a member has no good copy. */
static void report(struct replica_call *r, uint32_t block)
{
    struct location *l = r->loc;
    struct client *c = r->inode->client;
    struct bad_report *b = mem_new(struct bad_report);
    op_begin(&b->op, c, NULL, report_drop);
    struct report_bad_req req = {.handle = l->handle,
                                 .ino = l->ino,
                                 .number = l->number,
                                 .version = r->version,
                                 .server = l->members[r->asked]->id,
                                 .block = block};
    env_log(c->env, LOG_WARN, "chunk %llu version %llu block %d: bad at chunkserver %u",
            (unsigned long long)l->handle, (unsigned long long)r->version, (int)block, req.server);
    b->call.done = report_done;
    b->call.owner = b;
    b->call.once = true;
    master_call(&c->master, &b->call, OP_report_bad, RPC_BODY(report_bad_req, &req));
}

/* ---------------------------------------------------------------- answers */

/* Checks a read's payload against its sums: 0, ERR_PROTOCOL, or ERR_CHECKSUM with the block. */
static int verify(const struct replica_call *r, const struct read_rep *rep,
                  const struct slice *payload, uint32_t *out_block)
{
    uint32_t block = r->inode->client->master.block_bytes;
    const uint8_t *data = slice_data(payload);
    uint32_t sum = 0;
    if (payload->len > r->length) {
        return ERR_PROTOCOL;
    }
    for (uint32_t at = 0; at < payload->len; sum++) {
        uint32_t n = MIN(block - (r->offset + at) % block, payload->len - at);
        if (rep->sums.len < (sum + 1) * 4) {
            return ERR_PROTOCOL;
        }
        if (block_sum(data + at, n) != get_le(rep->sums.data + sum * 4, 4)) {
            *out_block = (r->offset + at) / block;
            return ERR_CHECKSUM;
        }
        at += n;
    }
    return rep->sums.len == sum * 4 ? 0 : ERR_PROTOCOL;
}

/* Takes a good answer over, or says what is wrong with it. */
static int take_answer(struct replica_call *r, const struct chunk_call *k, uint32_t *out_block)
{
    if (r->op == OP_seek) {
        struct seek_rep rep;
        int err = seek_rep_decode(slice_bytes(&k->reply->body), &rep);
        r->found = err == 0 ? rep.offset : 0;
        return err;
    }
    struct read_rep rep;
    int err = read_rep_decode(slice_bytes(&k->reply->body), &rep);
    if (err == 0) {
        err = verify(r, &rep, &k->reply->payload, out_block);
    }
    if (err == 0) {
        r->data = slice_ref(&k->reply->payload);
    }
    return err;
}

static bool has_no_good_copy(int status)
{
    return status == ERR_CHECKSUM || status == -EIO || status == ERR_NO_REPLICA ||
           status == ERR_CORRUPT;
}

static void answered(struct chunk_call *k)
{
    struct replica_call *r = k->owner;
    uint32_t block = UINT32_MAX;
    int status = k->status;
    if (status == 0) {
        status = take_answer(r, k, &block);
    } else if (status == ERR_CHECKSUM && k->reply != NULL && r->op == OP_read) {
        struct read_rep rep;
        if (read_rep_decode(slice_bytes(&k->reply->body), &rep) == 0) {
            block = rep.block;
        }
    }
    if (status == 0 || (status == -ENXIO && r->op == OP_seek)) {
        /* The answer may be of before a trim was carried out: what was dead then is dead. */
        r->trim = MIN(r->trim, r->loc->trim);
        finish(r, status);
        return;
    }
    r->tried |= 1u << r->asked;
    if (status == ERR_WRONG_VERSION) {
        location_doubt(r->loc, r->version);
    }
    if (has_no_good_copy(status)) {
        r->bad |= 1u << r->asked;
        r->missing |= status == ERR_NO_REPLICA ? 1u << r->asked : 0;
        bool unwritten = status == ERR_NO_REPLICA && r->loc->fresh;
        if (!unwritten && r->bad_version != r->version && !client_on_shadow(r->inode->client)) {
            report(r, block);
        }
    }
    ask_next(r);
}

/* ---------------------------------------------------------------- asking */

/* The best member not yet asked in this round, or -1. */
static int choose(const struct replica_call *r)
{
    const struct location *l = r->loc;
    int best = -1;
    uint32_t best_cost = UINT32_MAX;
    for (uint32_t m = 0; m < l->member_count; m++) {
        if (r->tried & 1u << m) {
            continue;
        }
        uint32_t spread =
            (m + l->member_count - (uint32_t)(l->handle % l->member_count)) % l->member_count;
        uint32_t cost = (uint32_t)chunk_peer_distance(l->members[m]) * REPLICAS_MAX + spread;
        cost += chunk_peer_doubtful(l->members[m]) ? 1000 : 0;
        if (cost < best_cost) {
            best = (int)m;
            best_cost = cost;
        }
    }
    return best;
}

static void ask(struct replica_call *r, uint32_t member)
{
    struct location *l = r->loc;
    struct slice body;
    bool unfenced = l->by_shadow && client_on_shadow(l->client);
    if (r->op == OP_seek) {
        struct seek_req req = {.handle = l->handle,
                               .version = l->version,
                               .offset = r->offset,
                               .hole = r->hole,
                               .unfenced_ok = unfenced};
        body = RPC_BODY(seek_req, &req);
    } else {
        struct read_req req = {.handle = l->handle,
                               .version = l->version,
                               .offset = r->offset,
                               .length = r->length,
                               .unfenced_ok = unfenced};
        body = RPC_BODY(read_req, &req);
    }
    r->asked = member;
    r->trim = l->trim;
    r->call.done = answered;
    r->call.owner = r;
    chunk_call_start(l->members[member], &r->call, r->op, body, NULL,
                     r->inode->client->master.request_timeout_ms);
}

/* Every member has failed. */
static void round_failed(struct replica_call *r)
{
    struct location *l = r->loc;
    uint32_t all = (1u << l->member_count) - 1;
    bool hopeless = l->member_count > 0 && r->bad == all;
    if (hopeless && r->missing == all && l->fresh) {
        r->is_hole = true; /* granted, never written */
        finish(r, 0);
        return;
    }
    /* Perhaps in records that the shadow does not have yet. */
    bool removed = r->missing != 0 && l->by_shadow;
    if (hopeless && !removed && r->bad_version == r->version) {
        finish(r, -EIO);
        return;
    }
    r->bad_version = hopeless && !removed ? r->version : 0;
    location_doubt(l, r->version);
    pause_then_locate(r);
}

static void ask_next(struct replica_call *r)
{
    /* The location may have changed meanwhile: then its members are others. */
    bool same = r->loc->known && r->loc->version == r->version;
    int next = same ? choose(r) : -1;
    if (next >= 0) {
        ask(r, (uint32_t)next);
    } else if (!same && r->backoff_ms == 0) {
        r->backoff_ms = BACKOFF_MIN_MS;
        locate(r);
    } else if (!same) {
        pause_then_locate(r);
    } else {
        round_failed(r);
    }
}

static void located(struct replica_call *r)
{
    if (r->loc->handle == 0) {
        r->is_hole = true;
        finish(r, 0);
        return;
    }
    if (r->loc->gone) {
        finish(r, -EIO);
        return;
    }
    r->version = r->loc->version;
    r->tried = r->bad = r->missing = 0;
    ask_next(r);
}

static void wait_ended(struct location_wait *w, int status)
{
    struct replica_call *r = container_of(w, struct replica_call, wait);
    if (status != 0) {
        finish(r, status);
    } else {
        located(r);
    }
}

static void locate(struct replica_call *r)
{
    if (location_locate(r->loc, &r->wait)) {
        located(r);
    }
}

void replica_call_start(struct replica_call *r)
{
    ASSERT(r->loc == NULL && r->done != NULL);
    r->loc = location_get(r->inode, r->number);
    r->trim = NO_TRIM;
    r->wait.done = wait_ended;
    list_init(&r->wait.link);
    r->pause = (struct env_timer){.fire = pause_ended};
    locate(r);
}

void replica_call_cancel(struct replica_call *r)
{
    if (r->loc != NULL) {
        location_wait_cancel(&r->wait);
        chunk_call_cancel(&r->call);
        env_timer_stop(r->inode->client->env, &r->pause);
        location_unpin(r->loc);
        r->loc = NULL;
    }
    slice_drop(&r->data);
}
