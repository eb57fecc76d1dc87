/* scrubs.c - comparison of replicas by their digests. */
#include "master/core/scrubs.h"
#include "master/core/master_internal.h"
#include "master/core/service.h"
#include "shared/base/mem.h"

enum {
    BUSY_TRIES_MAX = 3, /* of a chunk that is being written */
    ASK_TIMEOUTS = 2,
};

/* A chunk whose replicas are to be compared. */
struct check {
    struct hmap_node node;
    struct list link;
    uint64_t handle, ino, number;
    uint64_t due_ns;
    uint32_t busy; /* times it was being written */
    bool differed; /* once already */
    uint32_t count;
    struct answer {
        uint32_t server;
        struct replica replica;
    } answers[REPLICAS_MAX];
};

/* The question to one server of a batch. */
struct scrub_ask {
    struct rpc_call call;
    struct master *m;
    uint32_t server;
    struct writer handles;
};

static struct check *check_of(const struct master *m, uint64_t handle)
{
    const struct hmap *map = &m->scrubs.checks;
    for (struct hmap_node *n = hmap_first(map, hmap_hash_u64(handle)); n; n = hmap_next(n)) {
        struct check *c = container_of(n, struct check, node);
        if (c->handle == handle) {
            return c;
        }
    }
    return NULL;
}

static void check_free(struct master *m, struct check *c)
{
    hmap_remove(&m->scrubs.checks, &c->node);
    list_remove(&c->link);
    mem_free(c);
}

static void put_answer(struct check *c, uint32_t server, const struct replica *r)
{
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->answers[i].server == server) {
            c->answers[i].replica = *r;
            return;
        }
    }
    if (c->count < REPLICAS_MAX) {
        c->answers[c->count++] = (struct answer){server, *r};
    }
}

/* Everybody is asked, again. */
static void ask_again(struct master *m, struct check *c)
{
    c->count = 0;
    c->due_ns = env_mono_ns(m->env) + SCRUB_AGAIN_MS * NS_PER_MS;
    list_remove(&c->link);
    list_push_back(&m->scrubs.queue, &c->link);
}

/* Its row, if its replicas may be compared now. */
static bool comparable(struct master *m, const struct check *c, struct ns_chunk *row)
{
    return ns_chunk_get(m->ns, c->ino, c->number, row) == 0 && row->handle == c->handle &&
           !grants_running(m, c->handle) && ns_changed_at(m->ns, c->ino) <= committed_index(m);
}

/* ---------------------------------------------------------------- judging */

static void note(struct master *m, const struct ns_chunk *row, uint32_t server, enum note_kind kind)
{
    struct note n = {.handle = row->handle,
                     .ino = row->ino,
                     .number = row->number,
                     .version = row->version,
                     .server = server,
                     .kind = kind};
    notes_set(&m->notes, &n);
}

static uint32_t agreeing(const struct check *c, uint64_t digest)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        n += c->answers[i].replica.digest == digest;
    }
    return n;
}

/* Those that are not of the majority are not read until a grant made them equal; without a majority
 * none is to be believed more than another. */
static void report_difference(struct master *m, const struct check *c, const struct ns_chunk *row)
{
    char text[REPLICAS_MAX * 40];
    struct printer p = {text, sizeof(text)};
    uint32_t most = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct answer *a = &c->answers[i];
        print_text_f(&p, "%s server %u has %016llx", i > 0 ? "," : "", a->server,
                     (unsigned long long)a->replica.digest);
        most = MAX(most, agreeing(c, a->replica.digest));
    }
    env_log(m->env, LOG_ERROR,
            "chunk %016llx of inode %llu: replicas of version %llx differ:%s; made equal now",
            (unsigned long long)c->handle, (unsigned long long)c->ino,
            (unsigned long long)row->version, text);
    for (uint32_t i = 0; i < c->count; i++) {
        const struct answer *a = &c->answers[i];
        if (2 * most <= c->count || agreeing(c, a->replica.digest) < most) {
            note(m, row, a->server, NOTE_SUSPECT);
        }
    }
    m->scrubs.different++;
    repair_poke(m);
}

/* Leaves only the answers of members that hold the row's version and say that they are good. */
static void keep_good(struct check *c, const struct ns_chunk *row)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct replica *r = &c->answers[i].replica;
        if (ns_is_member(row, c->answers[i].server) && r->version == row->version &&
            r->state == REPLICA_OK) {
            c->answers[n++] = c->answers[i];
        }
    }
    c->count = n;
}

/* All answers that will come are there. Frees the check, or puts it back. */
static void judge(struct master *m, struct check *c)
{
    struct ns_chunk row;
    bool writing = false;
    bool differ = false;
    if (!comparable(m, c, &row)) {
        check_free(m, c); /* a grant compares them itself */
        return;
    }
    keep_good(c, &row);
    for (uint32_t i = 1; i < c->count; i++) {
        const struct replica *first = &c->answers[0].replica;
        const struct replica *r = &c->answers[i].replica;
        writing |= r->mutation != first->mutation;
        differ |= r->digest != first->digest || r->length != first->length;
    }
    if (writing && c->busy++ < BUSY_TRIES_MAX) {
        ask_again(m, c);
        return;
    }
    if (!writing && differ && !c->differed) {
        c->differed = true;
        ask_again(m, c);
        return;
    }
    if (!writing && c->count > 1) {
        m->scrubs.compared++;
        if (differ) {
            report_difference(m, c, &row);
        }
    }
    check_free(m, c);
}

/* ---------------------------------------------------------------- asking */

static void end_batch(struct master *m)
{
    struct scrubs *s = &m->scrubs;
    for (uint32_t i = 0; i < s->ask_count; i++) {
        writer_free(&s->asks[i].handles);
    }
    mem_free(s->asks);
    s->asks = NULL;
    s->ask_count = 0;
    struct list done;
    list_init(&done);
    for (struct list *e; (e = list_pop_front(&s->batch)) != NULL;) {
        list_push_back(&done, e);
    }
    for (struct list *e; (e = list_pop_front(&done)) != NULL;) {
        judge(m, list_entry(e, struct check, link));
    }
}

static void answered(struct rpc_call *call)
{
    struct scrub_ask *a = container_of(call, struct scrub_ask, call);
    struct master *m = a->m;
    struct digests_rep rep;
    if (RPC_REPLY(digests, call, &rep) == 0) {
        struct reader rd = reader_of(rep.replicas);
        for (uint32_t n = 0; n < SCRUB_BATCH && !reader_done(&rd); n++) {
            struct replica r;
            dec_replica(&rd, &r);
            struct check *c = rd.err == 0 ? check_of(m, r.handle) : NULL;
            if (c != NULL) {
                put_answer(c, a->server, &r);
            }
        }
    }
    if (--m->scrubs.pending == 0) {
        end_batch(m);
    }
}

static struct scrub_ask *ask_of(struct master *m, uint32_t server)
{
    struct scrubs *s = &m->scrubs;
    for (uint32_t i = 0; i < s->ask_count; i++) {
        if (s->asks[i].server == server) {
            return &s->asks[i];
        }
    }
    if (s->asks == NULL) { /* calls in it: it cannot grow */
        s->asks = mem_alloc(SERVERS_MAX * sizeof(*s->asks));
    }
    struct scrub_ask *a = &s->asks[s->ask_count++];
    *a = (struct scrub_ask){.m = m, .server = server};
    writer_init(&a->handles);
    return a;
}

static bool has_answer(const struct check *c, uint32_t server)
{
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->answers[i].server == server) {
            return true;
        }
    }
    return false;
}

static void add_questions(struct master *m, const struct check *c, const struct ns_chunk *row)
{
    for (uint32_t i = 0; i < row->member_count; i++) {
        const struct chunkserver *s = servers_get(&m->servers, row->members[i]);
        if (server_alive(s, env_mono_ns(m->env)) && !has_answer(c, s->id)) {
            enc_u64(&ask_of(m, s->id)->handles, &c->handle);
        }
    }
}

static void send_questions(struct master *m)
{
    struct scrubs *s = &m->scrubs;
    s->pending = s->ask_count;
    for (uint32_t i = 0; i < s->ask_count; i++) {
        struct scrub_ask *a = &s->asks[i];
        struct digests_req req = {.handles = writer_bytes(&a->handles)};
        a->call.done = answered;
        server_call(m, a->server, &a->call, OP_digests, RPC_BODY(digests_req, &req),
                    ASK_TIMEOUTS * m->cfg.geometry.request_timeout_ms);
    }
    if (s->pending == 0) {
        end_batch(m);
    }
}

void scrubs_tick(struct master *m)
{
    struct scrubs *s = &m->scrubs;
    uint64_t now = env_mono_ns(m->env);
    if (s->pending > 0) {
        return;
    }
    for (uint32_t n = 0; n < SCRUB_BATCH && !list_empty(&s->queue); n++) {
        struct check *c = list_entry(s->queue.next, struct check, link);
        struct ns_chunk row;
        if (c->due_ns > now) {
            break; /* the later ones were put back later */
        }
        if (!comparable(m, c, &row) || row.member_count < 2) {
            check_free(m, c);
            continue;
        }
        list_remove(&c->link);
        list_push_back(&s->batch, &c->link);
        add_questions(m, c, &row);
    }
    if (!list_empty(&s->batch)) {
        send_questions(m);
    }
}

/* ---------------------------------------------------------------- what chunkservers tell */

/* The chunk's row, if the replica is of its version. */
static bool is_of_now(struct master *m, const struct replica *r, struct ns_chunk *row)
{
    return ns_chunk_get(m->ns, r->ino, r->number, row) == 0 && row->handle == r->handle &&
           row->version == r->version;
}

static void found_damaged(struct master *m, uint32_t server, const struct replica *r)
{
    struct ns_chunk row;
    if (!is_of_now(m, r, &row) || !ns_is_member(&row, server)) {
        return;
    }
    /* Of a block that was good it tells at once. */
    enum note_kind known = notes_get(&m->notes, row.handle, server, row.version);
    if (known == NOTE_BAD || known == NOTE_DAMAGED) {
        return;
    }
    note(m, &row, server, NOTE_BAD);
    repair_touch(m);
}

/* What was damaged, perhaps on all members, is whole: somebody wrote the block anew. */
static void damage_is_gone(struct master *m, uint32_t server, const struct replica *r)
{
    struct ns_chunk row;
    enum note_kind known = notes_get(&m->notes, r->handle, server, r->version);
    if ((known == NOTE_BAD || known == NOTE_DAMAGED) && !grants_running(m, r->handle) &&
        is_of_now(m, r, &row)) {
        notes_clear(&m->notes, r->handle, server);
        repair_touch(m);
    }
}

/* New ones come to the front: they are due. */
static void found_good(struct master *m, uint32_t server, const struct replica *r)
{
    struct check *c = check_of(m, r->handle);
    if (c == NULL && m->scrubs.checks.count >= SCRUB_CHECKS_MAX) {
        return;
    }
    if (c == NULL) {
        c = mem_new(struct check);
        c->handle = r->handle;
        c->ino = r->ino;
        c->number = r->number;
        hmap_add(&m->scrubs.checks, &c->node, hmap_hash_u64(r->handle));
        list_push_front(&m->scrubs.queue, &c->link);
    }
    if (!c->differed) { /* else all are asked at one time */
        put_answer(c, server, r);
    }
}

void scrubs_scanned(struct peer *p, struct message *msg)
{
    struct scanned_req req;
    if (p->server == NULL || scanned_req_decode(slice_bytes(&msg->body), &req) != 0) {
        master_answer(p, &msg->head, ERR_PROTOCOL, 0, (struct slice){0});
        service_close_soon(p);
        return;
    }
    struct reader rd = reader_of(req.replicas);
    for (uint32_t n = 0; n < SCRUB_BATCH && !reader_done(&rd); n++) {
        struct replica r;
        dec_replica(&rd, &r);
        if (rd.err == 0) {
            report_replica(p->m, p->server->id, &r);
        }
        if (rd.err == 0 && r.state == REPLICA_BAD) {
            found_damaged(p->m, p->server->id, &r);
        } else if (rd.err == 0 && r.state == REPLICA_OK) {
            damage_is_gone(p->m, p->server->id, &r);
            found_good(p->m, p->server->id, &r);
        }
    }
    master_answer(p, &msg->head, 0, 0, (struct slice){0});
}

/* ---------------------------------------------------------------- life */

void scrubs_init(struct master *m)
{
    m->scrubs = (struct scrubs){0};
    hmap_init(&m->scrubs.checks);
    list_init(&m->scrubs.queue);
    list_init(&m->scrubs.batch);
    list_init(&m->scrubs.commands);
}

void scrubs_close(struct master *m)
{
    struct scrubs *s = &m->scrubs;
    for (uint32_t i = 0; i < s->ask_count; i++) {
        rpc_cancel(&s->asks[i].call);
        writer_free(&s->asks[i].handles);
    }
    mem_free(s->asks);
    s->asks = NULL;
    s->ask_count = s->pending = 0;
    hmap_for_each (it, &s->checks) {
        check_free(m, container_of(it, struct check, node));
    }
    hmap_close(&s->checks);
    scrubs_forget(m, NULL);
}
