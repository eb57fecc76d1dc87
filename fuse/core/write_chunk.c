/* write_chunk.c - one mutation of a chunk, or its sync, repeated until all members of a version
 * have it. */
#include "fuse/core/write_chunk.h"

#include "fuse/core/client_impl.h"
#include "fuse/core/fsync.h"
#include "shared/base/hash.h"

/* A write that a damaged block refuses waits so long for somebody who has the block whole. */
#define DAMAGE_NS (30 * NS_PER_S)

static void step(struct chunk_write *w);

static void finish(struct chunk_write *w, int status)
{
    struct location *l = w->loc;
    w->loc = NULL;
    writer_free(&w->sums);
    location_unpin(l);
    w->status = status == ERR_PROTOCOL ? -EIO : status;
    w->done(w);
}

static void pause_then_step(struct chunk_write *w)
{
    w->backoff_ms = backoff_next(w->backoff_ms);
    env_timer_set(w->inode->client->env, &w->pause, w->backoff_ms * NS_PER_MS);
}

static void wait_ended(struct location_wait *wait, int status)
{
    struct chunk_write *w = container_of(wait, struct chunk_write, wait);
    bool granted = w->asked_grant;
    w->asked_grant = false;
    if (status != 0) {
        finish(w, status);
    } else if (granted && (w->loc->primary == 0 || w->loc->version <= w->failed_version)) {
        pause_then_step(w); /* not what was asked for: ask again, but not at once */
    } else {
        step(w);
    }
}

static void pause_ended(struct env_timer *t)
{
    struct chunk_write *w = container_of(t, struct chunk_write, pause);
    struct client *c = w->inode->client;
    client_enter(c);
    step(w);
    client_leave(c);
}

/* ---------------------------------------------------------------- trim */

/* Truncates the replicas to the trim, makes that durable, then tells the master: once it has
 * forgotten the trim, a truncate that a power cut undoes would bring old bytes back. Belongs to the
 * location, not to the write that met it first. */
struct trim_job {
    struct op op;
    struct inode *inode;  /* pinned */
    struct location *loc; /* pinned */
    struct location_wait refresh;
    struct chunk_write write;
    uint32_t trim;    /* being carried out ... */
    uint32_t set;     /* ... and which one it is */
    uint64_t version; /* under which the replicas were truncated */
    struct master_call trimmed;
};

static void trim_drop(struct op *o)
{
    struct trim_job *j = container_of(o, struct trim_job, op);
    location_wait_cancel(&j->refresh);
    chunk_write_cancel(&j->write);
    master_call_cancel(&j->trimmed);
    location_unpin(j->loc);
    inode_unpin(j->inode);
    mem_free(j);
}

static void trim_end(struct trim_job *j, bool done, int status)
{
    location_trimmed(j->loc, done, j->trim, j->set, status);
    op_end(&j->op, 0);
}

static void trim_told(struct master_call *m)
{
    struct trim_job *j = m->owner;
    /* In doubt, or refused because the chunk is gone: whoever waits asks for the location again. */
    if (m->status == 0) {
        j->loc->index = MAX(j->loc->index, m->reply->head.index);
    }
    trim_end(j, m->status == 0, 0);
}

static void trim_write(struct trim_job *j);

static void trim_durable(struct chunk_write *w)
{
    struct trim_job *j = w->owner;
    if (w->status != 0) {
        trim_end(j, false, w->status);
        return;
    }
    /* Under another version the truncate may have been lost in between. */
    if (w->sent_version != j->version || j->loc->trim < j->trim || j->loc->trim_set != j->set) {
        trim_write(j);
        return;
    }
    struct trimmed_req req = {.ino = j->loc->ino,
                              .number = j->loc->number,
                              .handle = j->loc->handle,
                              .trim = j->trim,
                              .set = j->set};
    j->trimmed.done = trim_told;
    j->trimmed.owner = j;
    master_call(&j->op.client->master, &j->trimmed, OP_trimmed, RPC_BODY(trimmed_req, &req));
}

static void trim_written(struct chunk_write *w)
{
    struct trim_job *j = w->owner;
    if (w->status == -ESTALE) {
        trim_write(j);
        return;
    }
    if (w->status != 0) {
        trim_end(j, false, w->status);
        return;
    }
    j->version = w->sent_version;
    j->write = (struct chunk_write){.done = trim_durable,
                                    .owner = j,
                                    .inode = j->inode,
                                    .number = j->loc->number,
                                    .kind = CHUNK_SYNC,
                                    .is_trim = true};
    chunk_write_start(&j->write);
}

static void trim_write(struct trim_job *j)
{
    if (j->loc->trim == NO_TRIM) { /* the chunk is another now */
        trim_end(j, true, 0);
        return;
    }
    j->trim = j->loc->trim;
    j->set = j->loc->trim_set;
    j->write = (struct chunk_write){.done = trim_written,
                                    .owner = j,
                                    .inode = j->inode,
                                    .number = j->loc->number,
                                    .kind = CHUNK_TRUNCATE,
                                    .offset = j->trim,
                                    .is_trim = true};
    chunk_write_start(&j->write);
}

static void trim_refreshed(struct location_wait *wait, int status)
{
    struct trim_job *j = container_of(wait, struct trim_job, refresh);
    if (status != 0) {
        trim_end(j, false, status);
    } else if (j->loc->trim == NO_TRIM) {
        trim_end(j, true, 0);
    } else {
        trim_write(j);
    }
}

/* A cached trim may be one that another mount has carried out since, and written behind: ask first.
 */
static void trim_start(struct location *l, struct inode *i)
{
    struct trim_job *j = mem_new(struct trim_job);
    op_begin(&j->op, i->client, NULL, trim_drop);
    j->inode = i;
    inode_pin(i);
    j->loc = l;
    l->pins++;
    l->trimming = true;
    list_init(&j->refresh.link);
    j->refresh.done = trim_refreshed;
    location_refresh(l, &j->refresh);
}

/* ---------------------------------------------------------------- sending */

/* Sums of the pieces of `data` cut at the chunk's block boundaries. */
static void make_sums(struct chunk_write *w)
{
    uint32_t block = w->inode->client->master.block_bytes;
    const uint8_t *data = slice_data(&w->data);
    for (uint32_t at = 0; at < w->length;) {
        uint32_t n = MIN(block - (w->offset + at) % block, w->length - at);
        uint8_t le[4];
        put_le(le, block_sum(data + at, n), 4);
        writer_raw(&w->sums, le, 4);
        at += n;
    }
}

static void encode_members(const struct location *l, struct writer *out)
{
    writer_init(out);
    for (uint32_t i = 0; i < l->member_count; i++) {
        struct server s;
        chunk_peer_describe(l->members[i], &s);
        enc_server(out, &s);
    }
}

static struct slice encode(struct chunk_write *w)
{
    const struct location *l = w->loc;
    struct writer members;
    encode_members(l, &members);
    struct slice body;
    if (w->kind == CHUNK_SYNC) {
        struct sync_req req = {
            .handle = l->handle, .version = l->version, .members = writer_bytes(&members)};
        body = RPC_BODY(sync_req, &req);
    } else {
        if (w->kind == CHUNK_DATA && w->sums.len == 0) {
            make_sums(w);
        }
        /* What the master says, perhaps again, is of before the first size commit. If there were
         * replicas and they are gone, so is what was written: that takes a version with a doubt. */
        bool may_make = l->fresh && !fsync_has(w->inode, l->handle);
        struct write_req req = {.handle = l->handle,
                                .version = l->version,
                                .ino = l->ino,
                                .number = l->number,
                                .fresh = may_make,
                                .kind = (uint32_t)w->kind,
                                .offset = w->offset,
                                .length = w->length,
                                .sums = writer_bytes(&w->sums),
                                .members = writer_bytes(&members),
                                .known = l->index};
        body = RPC_BODY(write_req, &req);
    }
    writer_free(&members);
    return body;
}

static struct chunk_peer *primary_of(const struct location *l)
{
    for (uint32_t i = 0; i < l->member_count; i++) {
        if (l->members[i]->id == l->primary) {
            return l->members[i];
        }
    }
    return NULL;
}

/* Notes for the master who failed and how. */
static void blame(struct chunk_write *w, const struct chunk_call *k)
{
    w->failed_version = w->sent_version;
    w->failed_status = k->status;
    w->failed_server = 0;
    if (k->status == ERR_NOT_PRIMARY || k->status == ERR_WRONG_VERSION ||
        k->status == ERR_RETRY_GRANT || k->status == ERR_NO_LEASE) {
        return;
    }
    w->failed_server = w->loc->primary;
    if (k->reply == NULL || (k->status != ERR_MEMBER_FAILED && k->status != -ENOSPC)) {
        return;
    }
    /* sync answers with the same two fields. */
    struct write_rep rep;
    if (write_rep_decode(slice_bytes(&k->reply->body), &rep) == 0 && rep.failed_server != 0) {
        w->failed_server = rep.failed_server;
        w->failed_status = rep.failed_status;
    }
}

/* The write covers a part of a block that no member has whole, and none has been mended for a while:
 * true, and whoever writes there soon need not wait again. */
static bool is_lost(struct chunk_write *w)
{
    uint64_t now = env_mono_ns(w->inode->client->env);
    struct location *l = w->loc;
    if (w->failed_status != ERR_CHECKSUM) {
        return false;
    }
    w->refused_ns = w->refused_ns == 0 ? now : w->refused_ns;
    bool known = l->lost_ns != 0 && now - l->lost_ns < DAMAGE_NS;
    if (!known && now - w->refused_ns < DAMAGE_NS) {
        return false;
    }
    l->lost_ns = now;
    return true;
}

static void answered(struct chunk_call *k)
{
    struct chunk_write *w = k->owner;
    struct location *l = w->loc;
    if (k->status == 0) {
        w->bind = w->sent_fresh;
        if (l->version == w->sent_version && w->kind != CHUNK_RESERVE) {
            l->fresh = false; /* the replicas exist: a missing one from now on is a failure */
        }
        w->first_sync = w->kind == CHUNK_SYNC && w->sent_unsynced;
        l->unsynced = l->unsynced && !(w->first_sync && l->handle == w->sent_handle);
        finish(w, 0);
    } else if (k->status == -ENOSPC && w->kind == CHUNK_RESERVE) {
        finish(w, -ENOSPC);
    } else if (k->status == ERR_BUSY) {
        pause_then_step(w);
    } else {
        bool first = w->failed_version == 0;
        blame(w, k);
        if (w->kind == CHUNK_SYNC) {
            location_doubt(l, w->sent_version);
        }
        if (is_lost(w)) {
            finish(w, -EIO);
        } else if (first) {
            step(w);
        } else {
            pause_then_step(w);
        }
    }
}

static void send(struct chunk_write *w)
{
    struct location *l = w->loc;
    struct chunk_peer *primary = primary_of(l);
    w->sent_handle = l->handle;
    w->sent_version = l->version;
    w->sent_doubt = l->doubt;
    w->sent_fresh = l->fresh && w->kind != CHUNK_SYNC;
    w->sent_unsynced = l->unsynced;
    if (primary == NULL) { /* the grant makes no sense: ask for another */
        w->failed_version = l->version;
        w->failed_server = 0;
        w->failed_status = ERR_NOT_PRIMARY;
        pause_then_step(w);
        return;
    }
    struct slice payload = {0};
    if (w->kind == CHUNK_DATA) {
        payload = slice_ref(&w->data);
    }
    w->call.done = answered;
    w->call.owner = w;
    chunk_call_start(primary, &w->call, w->kind == CHUNK_SYNC ? OP_sync : OP_write, encode(w),
                     &payload, 2 * w->inode->client->master.request_timeout_ms);
}

static void step(struct chunk_write *w)
{
    struct location *l = w->loc;
    if (w->kind == CHUNK_SYNC) {
        if (!location_locate(l, &w->wait)) {
            return;
        }
        if (l->handle == 0) {
            finish(w, 0);
            return;
        }
    }
    if (l->trimming && !w->is_trim && w->kind != CHUNK_SYNC) {
        list_push_back(&l->trim_waiters, &w->wait.link);
        return;
    }
    if (!location_grant(l, &w->wait, w->failed_version, w->failed_server, w->failed_status)) {
        w->asked_grant = true;
        return;
    }
    if (w->is_trim && w->kind == CHUNK_TRUNCATE && l->trim != w->offset) {
        finish(w, -ESTALE); /* another mount carried it out meanwhile, and wrote behind it */
        return;
    }
    if (l->trim != NO_TRIM && !w->is_trim && w->kind != CHUNK_SYNC) {
        trim_start(l, w->inode);
        list_push_back(&l->trim_waiters, &w->wait.link);
        return;
    }
    send(w);
}

void chunk_write_start(struct chunk_write *w)
{
    ASSERT(w->loc == NULL && w->done != NULL);
    w->loc = location_get(w->inode, w->number);
    w->wait.done = wait_ended;
    list_init(&w->wait.link);
    w->pause = (struct env_timer){.fire = pause_ended};
    writer_init(&w->sums);
    if (w->kind == CHUNK_SYNC && w->loc->handle == 0) {
        location_doubt(w->loc,
                       w->loc->version); /* and so done never runs from inside this function */
    }
    step(w);
}

void chunk_write_cancel(struct chunk_write *w)
{
    if (w->loc == NULL) {
        return;
    }
    location_wait_cancel(&w->wait);
    chunk_call_cancel(&w->call);
    env_timer_stop(w->inode->client->env, &w->pause);
    writer_free(&w->sums);
    location_unpin(w->loc);
    w->loc = NULL;
}
