/* report.c - merging what chunkservers say they hold with what the rows say.
 *
 * A report comes in parts ordered like the rows, by (inode, chunk number, handle), and is merged
 * against a cursor over the rows, in slices. A row whose member's report passed it by is a missing
 * replica. Rows change meanwhile: chunks made since the server registered are not judged, and a
 * wrong note costs a new version of the chunk, nothing else.
 */
#include "master/core/master_internal.h"
#include "master/core/service.h"
#include "shared/base/mem.h"

#include <stdio.h>

struct report_part {
    struct list link;
    struct frame_header head;
    struct slice body;
    struct reader reader; /* over the replicas */
    bool last;
    struct writer stale; /* for the answer */
};

struct report {
    struct list parts;
    uint32_t part_count;
    struct ns_chunk_walk walk;
    uint64_t handle_limit;  /* chunks from here on are younger than the report */
    uint64_t version_limit; /* and so are versions above this one */
    struct replica replica; /* the next one, if have_replica */
    bool have_replica;
};

static void part_free(struct report *r, struct report_part *part)
{
    list_remove(&part->link);
    slice_drop(&part->body);
    writer_free(&part->stale);
    mem_free(part);
    r->part_count--;
}

void report_end(struct master *m, struct chunkserver *s)
{
    (void)m;
    struct report *r = s->report;
    if (r == NULL) {
        return;
    }
    while (!list_empty(&r->parts)) {
        part_free(r, list_entry(r->parts.next, struct report_part, link));
    }
    mem_free(r);
    s->report = NULL;
}

void report_begin(struct master *m, struct chunkserver *s)
{
    report_end(m, s);
    notes_clear_server(&m->notes, s->id);
    s->reported = false;
    s->orphans = 0;
    s->report = mem_new(struct report);
    s->report->handle_limit = ns_next_handle(m->ns);
    s->report->version_limit = (uint64_t)m->epoch << 32 | m->version_counter;
    list_init(&s->report->parts);
    repair_touch(m);
}

void report_part(struct master *m, struct peer *p, struct message *msg)
{
    struct chunkserver *s = p->server;
    struct report_req req;
    struct slice body = slice_ref(&msg->body);
    if (s == NULL || report_req_decode(slice_bytes(&body), &req) != 0) {
        slice_drop(&body);
        master_answer(p, &msg->head, ERR_PROTOCOL, 0, (struct slice){0});
        service_close_soon(p);
        return;
    }
    if (s->report == NULL) {
        report_begin(m, s);
    }
    if (s->report->part_count >= REPORT_PARTS_MAX) {
        slice_drop(&body);
        master_answer(p, &msg->head, ERR_BUSY, 0, (struct slice){0});
        return;
    }
    struct report_part *part = mem_new(struct report_part);
    part->head = msg->head;
    part->body = body;
    part->reader = reader_of(req.replicas);
    part->last = req.last;
    writer_init(&part->stale);
    list_push_back(&s->report->parts, &part->link);
    s->report->part_count++;
    master_arm_slice(m);
}

/* ---------------------------------------------------------------- judging */

static struct note note_of(const struct ns_chunk *row, uint32_t server, enum note_kind kind)
{
    return (struct note){.handle = row->handle,
                         .ino = row->ino,
                         .number = row->number,
                         .version = row->version,
                         .server = server,
                         .kind = kind};
}

static void set_note(struct master *m, const struct ns_chunk *row, uint32_t server,
                     enum note_kind kind)
{
    struct note n = note_of(row, server, kind);
    notes_set(&m->notes, &n);
}

static enum note_kind judge(struct master *m, const struct chunkserver *s,
                            const struct ns_chunk *row, const struct replica *r)
{
    if (!ns_is_member(row, s->id)) {
        return NOTE_EXTRA;
    }
    if (r->version < row->version) {
        return NOTE_STALE;
    }
    if (r->version > row->version) {
        if (r->previous == row->version) {
            return NOTE_AHEAD;
        }
        if (row->fresh && r->previous == 0 && r->length == 0 && r->mutation == 0) {
            return NOTE_AHEAD; /* made, empty, for a version whose record was never written */
        }
        env_log(m->env, LOG_ERROR,
                "chunk %016llx: server %u holds version %llx made from %llx, the log has %llx",
                (unsigned long long)r->handle, s->id, (unsigned long long)r->version,
                (unsigned long long)r->previous, (unsigned long long)row->version);
        return NOTE_STALE;
    }
    switch (r->state) {
    case REPLICA_OK:
        return NOTE_NONE;
    case REPLICA_CLONING:
        return NOTE_CLONING;
    case REPLICA_BAD:
        return NOTE_BAD;
    default:
        return NOTE_SUSPECT;
    }
}

/* A committed version is told once more to a member that may not have heard of it. */
struct reminder {
    struct rpc_call call;
    struct master *m;
    struct note note; /* to be made if it fails */
};

static void reminded(struct rpc_call *c)
{
    struct reminder *r = container_of(c, struct reminder, call);
    if (c->status != 0 && c->status != ERR_DISCONNECTED) {
        notes_set(&r->m->notes, &r->note);
        repair_touch(r->m);
    }
    mem_free(r);
}

static void remind(struct master *m, struct chunkserver *s, const struct ns_chunk *row)
{
    struct reminder *r = mem_new(struct reminder);
    r->m = m;
    r->note = note_of(row, s->id, NOTE_SUSPECT);
    r->call.done = reminded;
    struct activate_req req = {
        .handle = row->handle, .version = row->version, .primary = row->members[0]};
    server_call(m, s->id, &r->call, OP_activate, RPC_BODY(activate_req, &req),
                m->cfg.geometry.request_timeout_ms);
}

/* A grant that runs, or that ended since the report began, asked the servers itself: what the
 * report says may be of before. */
static bool machine_knows_better(struct master *m, const struct chunkserver *s,
                                 const struct ns_chunk *row)
{
    return grants_running(m, row->handle) || row->version > s->report->version_limit;
}

/* Nobody needs the replica. Of one that a committed record named nothing is noted: it goes with
 * that record (garbage.h), and is none of the removals that reports ask for. False then. */
static bool set_extra(struct master *m, const struct ns_chunk *row, uint32_t server,
                      const struct replica *r)
{
    if (ns_garbage_has(m->ns, r->handle, server)) {
        return false;
    }
    struct note n = note_of(row, server, NOTE_EXTRA);
    n.reported = true;
    n.current = r->version >= row->version;
    n.damaged = r->state == REPLICA_BAD || r->state == REPLICA_SUSPECT;
    notes_set(&m->notes, &n);
    return true;
}

/* The same for one whose chunk no row names. */
static bool set_orphan(struct master *m, uint32_t server, const struct replica *r)
{
    if (ns_garbage_has(m->ns, r->handle, server)) {
        return false;
    }
    struct note n = {.handle = r->handle,
                     .ino = r->ino,
                     .number = r->number,
                     .server = server,
                     .kind = NOTE_EXTRA,
                     .reported = true};
    notes_set(&m->notes, &n);
    return true;
}

static void found(struct master *m, struct chunkserver *s, const struct ns_chunk *row,
                  const struct replica *r)
{
    enum note_kind kind = judge(m, s, row, r);
    /* One that is suspect at the committed version became so after a machine may have asked it. */
    if (kind != NOTE_EXTRA && kind != NOTE_SUSPECT && machine_knows_better(m, s, row)) {
        return;
    }
    if (kind == NOTE_EXTRA) {
        (void)set_extra(m, row, s->id, r);
    } else if (kind != NOTE_NONE ||
               notes_get(&m->notes, row->handle, s->id, row->version) != NOTE_SUSPECT) {
        set_note(m, row, s->id, kind);
    }
    if (kind == NOTE_NONE && r->mutation == 0 && r->previous != 0) {
        remind(m, s, row); /* nothing was written under it yet: it may still wait to be activated */
    }
}

static void missing(struct master *m, struct chunkserver *s, const struct ns_chunk *row)
{
    bool empty = row->fresh && !row->bound;
    /* A primary complained that its mutation failed there: it was written to, and perhaps by a
     * mount that died. */
    bool doubted = notes_get(&m->notes, row->handle, s->id, row->version) == NOTE_SUSPECT;
    if (empty && doubted) {
        return;
    }
    if (ns_is_member(row, s->id) && row->handle < s->report->handle_limit &&
        !machine_knows_better(m, s, row)) {
        /* A size commit binds chunks that were never written, too. */
        set_note(m, row, s->id, row->fresh ? NOTE_UNSEEN : NOTE_MISSING);
    }
}

void report_bad(struct master *m, const struct report_bad_req *req, bool sure, const char *from)
{
    struct ns_chunk row;
    char block[32] = "block not known";
    if (req->block != UINT32_MAX) {
        snprintf(block, sizeof(block), "block %u", req->block);
    }
    env_log(m->env, LOG_WARN, "chunk %016llx: a bad block (%s) on server %u, says %s",
            (unsigned long long)req->handle, block, req->server, from);
    if (ns_chunk_get(m->ns, req->ino, req->number, &row) == 0 && row.handle == req->handle &&
        row.version == req->version && ns_is_member(&row, req->server)) {
        /* A mount may be mistaken: the server is asked, unless that was done and nobody has the block. */
        bool known = notes_get(&m->notes, row.handle, req->server, row.version) == NOTE_DAMAGED;
        if (sure || !known) {
            set_note(m, &row, req->server, sure ? NOTE_BAD : NOTE_SUSPECT);
            repair_touch(m);
        }
    }
}

void report_replica(struct master *m, uint32_t server, const struct replica *r)
{
    struct ns_chunk row;
    if (grants_running(m, r->handle)) {
        return;
    }
    for (struct note *n = notes_first(&m->notes, r->handle); n != NULL; n = notes_next(n)) {
        if (n->server == server) {
            return; /* known */
        }
    }
    bool known = ns_chunk_get(m->ns, r->ino, r->number, &row) == 0 && row.handle == r->handle;
    if (!known ? set_orphan(m, server, r)
               : !ns_is_member(&row, server) && set_extra(m, &row, server, r)) {
        repair_touch(m);
    }
}

/* ---------------------------------------------------------------- merging */

static int compare(uint64_t a_ino, uint64_t a_number, uint64_t b_ino, uint64_t b_number)
{
    if (a_ino != b_ino) {
        return a_ino < b_ino ? -1 : 1;
    }
    return a_number == b_number ? 0 : a_number < b_number ? -1 : 1;
}

/* A version was made without the replica at hand while its chunkserver was away, or its chunk is
 * gone: the chunkserver learns of it with the answer to this part, before it has a lease again. */
static void is_stale(struct report *r)
{
    struct report_part *part = list_entry(r->parts.next, struct report_part, link);
    enc_u64(&part->stale, &r->replica.handle);
    enc_u64(&part->stale, &r->replica.version);
}

static void unknown(struct master *m, struct chunkserver *s)
{
    const struct replica *r = &s->report->replica;
    is_stale(s->report);
    s->orphans += set_orphan(m, s->id, r);
    s->report->have_replica = false;
}

/* One step with the replica at hand and the row the walk is at. */
static void merge(struct master *m, struct chunkserver *s)
{
    struct report *r = s->report;
    const struct replica *rep = &r->replica;
    struct ns_chunk row;
    int err = ns_chunk_look(m->ns, &r->walk, &row);
    if (err == -EAGAIN) {
        return;
    }
    if (err != 0) {
        unknown(m, s);
        return;
    }
    int order = compare(row.ino, row.number, rep->ino, rep->number);
    if (order == 0 && row.handle == rep->handle) {
        if (rep->version < row.version) {
            is_stale(r);
        }
        found(m, s, &row, rep);
        r->have_replica = false;
        ns_chunk_pass(&r->walk, &row);
    } else if (order > 0 || (order == 0 && rep->handle < row.handle)) {
        unknown(m, s);
    } else {
        missing(m, s, &row);
        ns_chunk_pass(&r->walk, &row);
    }
}

static void finished(struct master *m, struct chunkserver *s)
{
    if (s->orphans > 0) {
        env_log(m->env, LOG_INFO, "chunkserver %u holds %llu replicas of no chunk", s->id,
                (unsigned long long)s->orphans);
    }
    report_end(m, s);
    s->reported = true;
    setbacks_hurry(&m->setbacks);
    repair_poke(m);
}

static void part_done(struct chunkserver *s, struct report_part *part)
{
    struct report_rep rep = {.stale = writer_bytes(&part->stale)};
    master_answer(s->peer, &part->head, 0, 0, RPC_BODY(report_rep, &rep));
    part_free(s->report, part);
}

/* True while rows or replicas are left to look at now. */
static bool step(struct master *m, struct chunkserver *s)
{
    struct report *r = s->report;
    if (list_empty(&r->parts)) {
        return false;
    }
    struct report_part *part = list_entry(r->parts.next, struct report_part, link);
    if (!r->have_replica && !reader_done(&part->reader)) {
        dec_replica(&part->reader, &r->replica);
        r->have_replica = part->reader.err == 0;
    }
    if (r->have_replica) {
        merge(m, s);
        return true;
    }
    if (part->reader.err != 0) {
        master_answer(s->peer, &part->head, ERR_PROTOCOL, 0, (struct slice){0});
        service_close_soon(s->peer);
        master_detach_server(m, s);
        return false;
    }
    struct ns_chunk row;
    int err = part->last ? ns_chunk_look(m->ns, &r->walk, &row) : -ENOENT;
    if (err == 0) {
        missing(m, s, &row);
        ns_chunk_pass(&r->walk, &row);
    }
    if (err != -ENOENT) {
        return true;
    }
    bool last = part->last;
    part_done(s, part);
    if (last) {
        finished(m, s);
    }
    return !last;
}

bool report_slice(struct master *m)
{
    bool more = false;
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        struct chunkserver *s = servers_get(&m->servers, id);
        for (uint32_t n = 0; s->report != NULL && n < SLICE_ROWS * 4; n++) {
            if (!step(m, s)) {
                break;
            }
        }
        more |= s->report != NULL && !list_empty(&s->report->parts);
    }
    return more;
}
