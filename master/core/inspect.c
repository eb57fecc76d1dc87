/* inspect.c - what an operator asks about single files and chunks. */
#include "master/core/inspect.h"
#include "master/core/master_internal.h"
#include "master/core/service.h"

static const char *replica_word(const struct master *m, const struct ns_chunk *row,
                                const struct chunkserver *s)
{
    if (!server_alive(s, env_mono_ns(m->env))) {
        return "away";
    }
    switch (notes_get(&m->notes, row->handle, s->id, row->version)) {
    case NOTE_NONE:
    case NOTE_EXTRA:
        return s->reported ? "good" : "unconfirmed";
    case NOTE_UNSEEN:
        return row->bound ? "unconfirmed" : "good"; /* empty until its first write */
    case NOTE_MISSING:
        return "missing";
    case NOTE_STALE:
        return "stale";
    case NOTE_BAD:
    case NOTE_DAMAGED:
    case NOTE_FAILED:
        return "bad";
    case NOTE_CLONING:
        return "cloning";
    case NOTE_SUSPECT:
    case NOTE_AHEAD:
        return "suspect";
    }
    UNREACHABLE();
}

/* Appends the members to w; returns how many serve. */
static uint32_t look_at_members(const struct master *m, const struct ns_chunk *row,
                                struct writer *w)
{
    uint64_t now = env_mono_ns(m->env);
    uint32_t good = 0;
    for (uint32_t i = 0; i < row->member_count; i++) {
        const struct chunkserver *s = servers_get(&m->servers, row->members[i]);
        const char *word = replica_word(m, row, s);
        struct replica_state one = {.server = server_as_field(s),
                                    .alive = server_alive(s, now),
                                    .away_ms = server_silent_ms(m, s),
                                    .state = bytes_str(word)};
        good += strcmp(word, "good") == 0;
        enc_replica_state(w, &one);
    }
    return good;
}

/* What the list says of a chunk; the members are written to `members`. */
static struct chunk_state look_at_chunk(struct master *m, const struct ns_chunk *row,
                                        struct writer *members)
{
    writer_reset(members);
    struct chunk_state c = {
        .ino = row->ino,
        .number = row->number,
        .handle = row->handle,
        .version = row->version,
        .wanted = servers_wanted(&m->servers, &m->cfg.geometry, row->wanted),
        .good = look_at_members(m, row, members),
        .waiting = grants_waiting(m, row->handle),
        .doubt = row->doubt,
        .lost = repair_lost(m, row),
    };
    c.replicas = writer_bytes(members);
    return c;
}

void inspect_chunk_list(struct peer *p, struct message *msg)
{
    struct master *m = p->m;
    struct chunk_list_req req;
    struct attr attr;
    if (chunk_list_req_decode(slice_bytes(&msg->body), &req) != 0 || req.count == 0 ||
        req.count > LOCATE_COUNT_MAX) {
        master_answer(p, &msg->head, ERR_PROTOCOL, 0, (struct slice){0});
        service_close_soon(p);
        return;
    }
    if (req.one_file && ns_attr(m->ns, req.ino, &attr) != 0) {
        master_answer(p, &msg->head, -ENOENT, ns_changed_at(m->ns, req.ino), (struct slice){0});
        return;
    }
    struct writer chunks, members;
    writer_init(&chunks);
    writer_init(&members);
    struct chunk_list_rep rep = {0};
    struct ns_chunk row;
    struct ns_chunk_walk walk = {req.ino, req.number};
    uint32_t told = 0, steps = 0;
    int err;
    while ((err = req.one_file ? ns_file_chunk_next(m->ns, walk.ino, walk.number, &row)
                               : ns_chunk_look(m->ns, &walk, &row)) == 0 ||
           err == -EAGAIN) {
        if (steps++ == INSPECT_ROWS || told == req.count) {
            rep.ino = row.ino;
            rep.number = row.number;
            break;
        }
        if (err == -EAGAIN) {
            continue;
        }
        struct chunk_state one = look_at_chunk(m, &row, &members);
        bool written = !row.fresh || row.bound;
        bool lacks = written && (one.good < one.wanted || one.waiting > 0);
        if (lacks || (written && req.whole)) {
            enc_chunk_state(&chunks, &one);
            told++;
        }
        rep.looked++;
        ns_chunk_pass(&walk, &row);
    }
    rep.chunks = writer_bytes(&chunks);
    /* Not held back until it is committed: whoever checks asks again when a replica disagrees. */
    master_answer(p, &msg->head, 0, 0, RPC_BODY(chunk_list_rep, &rep));
    writer_free(&chunks);
    writer_free(&members);
}
