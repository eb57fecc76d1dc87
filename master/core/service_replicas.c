/* service_replicas.c - how many replicas files want and have, for operators. */
#include "master/core/inspect.h"
#include "master/core/master_internal.h"
#include "master/core/service.h"

enum { SET_INODES_MAX = 1024 };

static void refuse(struct peer *p, const struct frame_header *head, int status)
{
    master_answer(p, head, status, 0, (struct slice){0});
    if (status == ERR_PROTOCOL) {
        service_close_soon(p);
    }
}

/* Live members that hold the chunk's version as far as is known. */
static uint32_t copies_of(const struct master *m, const struct ns_chunk *row)
{
    uint64_t now = env_mono_ns(m->env);
    uint32_t n = 0;
    for (uint32_t i = 0; i < row->member_count; i++) {
        const struct chunkserver *s = servers_get(&m->servers, row->members[i]);
        enum note_kind kind = notes_get(&m->notes, row->handle, row->members[i], row->version);
        n += server_alive(s, now) && (kind == NOTE_NONE || kind == NOTE_EXTRA);
    }
    return n;
}

static void replicas_get(struct peer *p, struct message *msg)
{
    struct master *m = p->m;
    struct replicas_get_req req;
    struct attr attr;
    if (replicas_get_req_decode(slice_bytes(&msg->body), &req) != 0) {
        refuse(p, &msg->head, ERR_PROTOCOL);
        return;
    }
    int err = ns_attr(m->ns, req.ino, &attr);
    if (err != 0) {
        refuse(p, &msg->head, err);
        return;
    }
    uint64_t copies[REPLICAS_MAX + 1] = {0};
    uint64_t number = req.number;
    struct ns_chunk row;
    uint32_t seen = 0;
    bool more = true;
    while (seen++ < INSPECT_ROWS) {
        more = ns_file_chunk_next(m->ns, req.ino, number, &row) == 0;
        if (!more) {
            break;
        }
        number = row.number + 1;
        if (!row.fresh || row.bound) {
            copies[copies_of(m, &row)]++;
        }
    }
    struct writer w;
    writer_init(&w);
    for (uint32_t i = 0; i <= REPLICAS_MAX; i++) {
        enc_u64(&w, &copies[i]);
    }
    uint32_t set = ns_wanted(m->ns, req.ino);
    struct replicas_get_rep rep = {.set = set,
                                   .wanted = set != 0 ? set : m->cfg.geometry.replicas,
                                   .copies = writer_bytes(&w),
                                   .next = more ? number : UINT64_MAX};
    master_answer(p, &msg->head, 0, ns_changed_at(m->ns, req.ino),
                  RPC_BODY(replicas_get_rep, &rep));
    writer_free(&w);
}

static void replicas_set(struct peer *p, struct message *msg)
{
    struct master *m = p->m;
    struct replicas_set_req req;
    if (replicas_set_req_decode(slice_bytes(&msg->body), &req) != 0) {
        refuse(p, &msg->head, ERR_PROTOCOL);
        return;
    }
    uint32_t count = 0;
    for (struct reader r = reader_of(req.inodes); !reader_done(&r); count++) {
        uint64_t ino;
        dec_u64(&r, &ino);
        if (r.err != 0) {
            refuse(p, &msg->head, ERR_PROTOCOL);
            return;
        }
    }
    if (req.replicas > REPLICAS_MAX || count > SET_INODES_MAX) {
        refuse(p, &msg->head, -EINVAL);
        return;
    }
    union op_any rec = {.replicas_put_rec = {.inodes = req.inodes, .replicas = req.replicas}};
    uint64_t index = commit_record(m, OP_replicas_put, &rec, NULL, NULL);
    repair_touch(m);
    master_answer(p, &msg->head, 0, index, (struct slice){0});
}

bool service_replicas(struct peer *p, struct message *msg)
{
    switch (msg->head.op) {
    case OP_replicas_get:
        replicas_get(p, msg);
        return true;
    case OP_replicas_set:
        replicas_set(p, msg);
        return true;
    default:
        return false;
    }
}
