/* service_trash.c - what operators ask of the trash. */
#include "master/core/master_internal.h"
#include "master/core/service.h"

enum {
    LIST_ROWS = 1024,        /* looked at for one answer */
    LIST_BYTES = 256 * 1024, /* of an answer, about */
};

static void answer_status(struct peer *p, const struct frame_header *head, int status)
{
    master_answer(p, head, status, 0, (struct slice){0});
}

/* ---------------------------------------------------------------- list */

/* At the prefix or below it. */
static bool lies_below(struct bytes path, struct bytes prefix)
{
    while (prefix.len > 0 && prefix.data[prefix.len - 1] == '/') {
        prefix.len--;
    }
    return path.len >= prefix.len && memcmp(path.data, prefix.data, prefix.len) == 0 &&
           (path.len == prefix.len || path.data[prefix.len] == '/');
}

static void list_one(struct master *m, const struct ns_trash *t, struct bytes prefix,
                     struct writer *w)
{
    struct writer path;
    writer_init(&path);
    ns_path(m->ns, t->parent, t->name, &path);
    struct bytes text = writer_bytes(&path);
    if (prefix.len == 0 || lies_below(text, prefix)) {
        struct trash_item item = {.ino = t->ino,
                                  .expires = t->expires,
                                  .deleted = t->deleted,
                                  .mode = t->mode,
                                  .size = t->size,
                                  .bytes = t->bytes,
                                  .path = text};
        enc_trash_item(w, &item);
    }
    writer_free(&path);
}

static void list(struct peer *p, struct message *msg)
{
    struct master *m = p->m;
    struct trash_list_req req;
    struct ns_trash t;
    struct writer w;
    if (trash_list_req_decode(slice_bytes(&msg->body), &req) != 0) {
        answer_status(p, &msg->head, ERR_PROTOCOL);
        return;
    }
    writer_init(&w);
    struct trash_list_rep rep = {.expires = MAX(req.expires, 1), .ino = req.ino};
    for (uint32_t n = 0; n < LIST_ROWS && w.len < LIST_BYTES && !rep.end; n++) {
        rep.end = ns_trash_next(m->ns, rep.expires, rep.ino + 1, &t) != 0;
        if (!rep.end) {
            list_one(m, &t, req.prefix, &w);
            rep.expires = t.expires;
            rep.ino = t.ino;
        }
    }
    rep.items = writer_bytes(&w);
    master_answer(p, &msg->head, 0, m->commit.applied, RPC_BODY(trash_list_rep, &rep));
    writer_free(&w);
}

/* ---------------------------------------------------------------- restore */

static int restore_one(struct master *m, uint64_t ino, uint64_t parent, struct bytes name)
{
    bool last = false;
    int err = 0;
    struct writer scratch;
    writer_init(&scratch);
    while (err == 0 && !last) {
        union op_any rec;
        writer_reset(&scratch);
        err = ns_trash_return(m->ns, ino, parent, name, &scratch, &rec, &last);
        if (err == 0) {
            (void)commit_record(m, OP_trash_return, &rec, NULL, NULL);
        }
    }
    writer_free(&scratch);
    return err;
}

static void restore(struct peer *p, struct message *msg)
{
    struct master *m = p->m;
    struct trash_restore_req req;
    struct trash_restore_rep rep = {0};
    uint64_t parent = 0;
    struct bytes name = {0};
    if (trash_restore_req_decode(slice_bytes(&msg->body), &req) != 0) {
        answer_status(p, &msg->head, ERR_PROTOCOL);
        return;
    }
    if (name_leases_end_all(m)) {
        answer_status(p, &msg->head, ERR_BUSY);
        return;
    }
    int err = req.to.len > 0 ? ns_path_find(m->ns, req.to, &parent, &name) : 0;
    struct reader r = reader_of(req.inodes);
    while (err == 0 && !reader_done(&r) && rep.done < TRASH_BATCH_MAX) {
        uint64_t ino;
        dec_u64(&r, &ino);
        err = r.err != 0 ? -EINVAL : restore_one(m, ino, parent, name);
        parent = 0;
        rep.done += err == 0;
    }
    rep.failed = err;
    master_answer(p, &msg->head, 0, m->commit.applied, RPC_BODY(trash_restore_rep, &rep));
}

/* ---------------------------------------------------------------- purge */

static void purge(struct peer *p, struct message *msg)
{
    struct master *m = p->m;
    struct trash_purge_req req;
    struct trash_purge_rep rep = {0};
    struct writer w;
    if (trash_purge_req_decode(slice_bytes(&msg->body), &req) != 0) {
        answer_status(p, &msg->head, ERR_PROTOCOL);
        return;
    }
    writer_init(&w);
    struct reader r = reader_of(req.inodes);
    while (!reader_done(&r) && rep.done < TRASH_BATCH_MAX) {
        uint64_t ino;
        struct ns_trash t;
        dec_u64(&r, &ino);
        if (r.err == 0 && ns_trash_get(m->ns, ino, &t) == 0) {
            enc_u64(&w, &t.expires);
            enc_u64(&w, &t.ino);
            rep.done++;
        }
    }
    if (rep.done > 0) {
        union op_any rec = {.trash_drop_rec = {.items = writer_bytes(&w)}};
        (void)commit_record(m, OP_trash_drop, &rec, NULL, NULL);
        master_arm_slice(m);
    }
    writer_free(&w);
    master_answer(p, &msg->head, 0, m->commit.applied, RPC_BODY(trash_purge_rep, &rep));
}

bool trash_request(struct peer *p, struct message *msg)
{
    if (p->role != ROLE_ADMIN) {
        return false;
    }
    switch (msg->head.op) {
    case OP_trash_list:
        list(p, msg);
        return true;
    case OP_trash_restore:
        restore(p, msg);
        return true;
    case OP_trash_purge:
        purge(p, msg);
        return true;
    default:
        return false;
    }
}
