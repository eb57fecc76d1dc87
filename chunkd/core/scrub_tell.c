/* scrub_tell.c - what the master hears about verified and damaged replicas, and asks about. */
#include "chunkd/core/core.h"
#include "chunkd/core/scrub.h"

enum { TELL_MS = 1000, DAMAGE_MS = 10000, DAMAGED_TOLD_MAX = SCRUB_TOLD_MAX / 2 };

/* Damage is told as it is found; but the message may be lost, or come while the chunk is busy. */
static uint32_t add_damaged(struct scrub *s, struct writer *w)
{
    struct table *t = &s->c->table;
    uint64_t now = env_mono_ns(s->c->env);
    if (list_empty(&t->damaged) || now - s->damage_told_ns < DAMAGE_MS * NS_PER_MS) {
        return 0;
    }
    s->damage_told_ns = now;
    uint32_t length = 0;
    list_for_each (it, &t->damaged) {
        length += length < DAMAGED_TOLD_MAX;
    }
    uint32_t told = 0;
    for (uint32_t i = 0; i < length; i++) { /* the next time others come first */
        struct list *e = list_pop_front(&t->damaged);
        const struct local_replica *r = list_entry(e, struct local_replica, damaged_link);
        list_push_back(&t->damaged, e);
        if (!r->dropped) {
            struct replica one = replica_report(r);
            enc_replica(w, &one);
            told++;
        }
    }
    return told;
}

static struct replica with_digest(const struct local_replica *r)
{
    struct replica one = replica_report(r);
    one.digest = replica_digest(r);
    return one;
}

static uint32_t add_verified(struct scrub *s, struct writer *w, uint32_t room)
{
    uint32_t told = 0;
    while (s->verified_count > 0 && told < room) {
        const struct local_replica *r = table_get(&s->c->table, s->verified[--s->verified_count]);
        if (r != NULL && r->active && r->state == REPLICA_OK && r->bad_count == 0 &&
            !replica_is_changing(r)) {
            struct replica one = with_digest(r);
            enc_replica(w, &one);
            told++;
        }
    }
    return told;
}

static void tell(struct scrub *s)
{
    struct writer w;
    if (!s->c->master.registered) {
        s->verified_count = 0; /* they are compared after the next pass */
        return;
    }
    writer_init(&w);
    uint32_t told = add_damaged(s, &w);
    told += add_verified(s, &w, SCRUB_TOLD_MAX - told);
    if (told > 0) {
        struct scanned_req req = {.replicas = writer_bytes(&w)};
        registration_tell(&s->c->master, OP_scanned, RPC_BODY(scanned_req, &req));
    }
    writer_free(&w);
}

static void tell_due(struct env_timer *t)
{
    struct scrub *s = container_of(t, struct scrub, tell_timer);
    tell(s);
    scrub_tell_start(s);
}

static void is_whole(void *owner, const struct local_replica *r)
{
    scrub_tell_verified(owner, r);
}

void scrub_tell_start(struct scrub *s)
{
    s->tell_timer.fire = tell_due;
    s->c->table.on_whole = is_whole;
    s->c->table.on_whole_owner = s;
    env_timer_set(s->c->env, &s->tell_timer, TELL_MS * NS_PER_MS);
}

void scrub_tell_verified(struct scrub *s, const struct local_replica *r)
{
    if (s->verified_count == SCRUB_TOLD_MAX) {
        tell(s);
    }
    if (s->verified_count < SCRUB_TOLD_MAX) {
        s->verified[s->verified_count++] = r->handle;
    }
}

/* ---------------------------------------------------------------- requests of the master */

void scan_now_handle(struct link *l, struct message *m)
{
    struct scrub *s = &l->c->scrub;
    struct scan_now_req req;
    if (scan_now_req_decode(slice_bytes(&m->body), &req) != 0) {
        link_refuse(l, m, ERR_PROTOCOL);
        return;
    }
    scrub_begin_forced(s);
    struct scan_now_rep rep = {
        .pass = s->pass, .found = s->found_before, .repaired = s->repaired_before};
    rpc_answer(&l->rpc, &m->head, 0, 0, 0, RPC_BODY(scan_now_rep, &rep), NULL);
}

void digests_handle(struct link *l, struct message *m)
{
    struct digests_req req;
    if (digests_req_decode(slice_bytes(&m->body), &req) != 0) {
        link_refuse(l, m, ERR_PROTOCOL);
        return;
    }
    struct writer w;
    writer_init(&w);
    struct reader rd = reader_of(req.handles);
    for (uint32_t n = 0; n < SCRUB_TOLD_MAX && !reader_done(&rd); n++) {
        uint64_t handle = 0;
        dec_u64(&rd, &handle);
        const struct local_replica *r = rd.err == 0 ? table_get(&l->c->table, handle) : NULL;
        if (r != NULL) {
            struct replica one = with_digest(r);
            enc_replica(&w, &one);
        }
    }
    struct digests_rep rep = {.replicas = writer_bytes(&w)};
    rpc_answer(&l->rpc, &m->head, 0, 0, 0, RPC_BODY(digests_rep, &rep), NULL);
    writer_free(&w);
}
