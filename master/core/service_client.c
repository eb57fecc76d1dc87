/* service_client.c - what mounts ask: sessions, opens, queries, mutations. */
#include "master/core/master_internal.h"
#include "master/core/service.h"
#include "shared/base/mem.h"

#include <sys/stat.h>

/* Inodes that may still be made: what the state's room holds, at a generous size for each. */
enum { BYTES_PER_INODE = 512 };

static void answer_status(struct peer *p, const struct frame_header *head, int status)
{
    master_answer(p, head, status, 0, (struct slice){0});
}

static void protocol_error(struct peer *p, const struct frame_header *head)
{
    env_log(p->m->env, LOG_WARN, "%s from %s refused: its body does not decode", op_name(head->op),
            env_peer_name(p->m->env, p->rpc.conn));
    answer_status(p, head, ERR_PROTOCOL);
    service_close_soon(p);
}

/* Status for a request that needs the session of this connection. */
static int session_check(const struct peer *p, const struct frame_header *head)
{
    if (p->session != NULL && p->session->id == head->session) {
        return 0;
    }
    return sessions_get(&p->m->sessions, head->session) == NULL ? ERR_NO_SESSION : ERR_PROTOCOL;
}

/* ---------------------------------------------------------------- sessions */

static void release_orphan(struct master *m, uint64_t ino, uint64_t session)
{
    union op_any rec = {.release_orphan_rec = {.ino = ino, .session = session}};
    (void)commit_record(m, OP_release_orphan, &rec, NULL, NULL);
}

/* Orphans noted for the session when it was not known what it holds, and which it does not hold. */
static void release_unheld(struct master *m, const struct session *s)
{
    uint64_t ino = 0, session = 0;
    while (ns_orphan_next(m->ns, ino, session, &ino, &session) == 0) {
        if (session == s->id && !session_has_open(s, ino)) {
            release_orphan(m, ino, session);
        }
        session++;
    }
}

static void session_attach(struct peer *p, struct message *msg)
{
    struct master *m = p->m;
    struct session_attach_req req;
    if (session_attach_req_decode(slice_bytes(&msg->body), &req) != 0) {
        protocol_error(p, &msg->head);
        return;
    }
    struct session *s = sessions_get(&m->sessions, req.session);
    if (s == NULL) {
        answer_status(p, &msg->head, ERR_NO_SESSION);
        return;
    }
    if (s->peer != p) {
        if (s->peer != NULL) {
            s->peer->session = NULL;
            service_close_soon(s->peer);
        }
        if (p->session != NULL) {
            p->session->peer = NULL;
        }
        s->peer = p;
        p->session = s;
    }
    s->contact_ns = env_mono_ns(m->env);
    struct reader r = reader_of(req.opens);
    while (!reader_done(&r)) {
        uint64_t ino = 0;
        dec_u64(&r, &ino);
        /* How it was opened is not repeated: taken as for writing. */
        int err = r.err != 0 ? ERR_PROTOCOL : session_open(&m->sessions, s, ino, true);
        if (err != 0) {
            answer_status(p, &msg->head, err);
            return;
        }
    }
    if (!req.more && !s->attached) {
        s->attached = true;
        release_unheld(m, s);
    }
    struct session_attach_rep rep = {.chunk_bytes = m->cfg.geometry.chunk_bytes,
                                     .block_bytes = m->cfg.geometry.block_bytes,
                                     .session_ms = m->cfg.geometry.session_ms,
                                     .request_timeout_ms = m->cfg.geometry.request_timeout_ms};
    master_answer(p, &msg->head, 0, m->commit.applied, RPC_BODY(session_attach_rep, &rep));
}

static void close_files(struct peer *p, struct message *msg)
{
    struct master *m = p->m;
    struct close_files_req req;
    if (close_files_req_decode(slice_bytes(&msg->body), &req) != 0) {
        protocol_error(p, &msg->head);
        return;
    }
    struct reader r = reader_of(req.inodes);
    while (!reader_done(&r)) {
        uint64_t ino = 0, held_ino, held_session;
        dec_u64(&r, &ino);
        if (r.err != 0) {
            break;
        }
        session_close(&m->sessions, p->session, ino);
        if (ns_orphan_next(m->ns, ino, p->session->id, &held_ino, &held_session) == 0 &&
            held_ino == ino && held_session == p->session->id) {
            release_orphan(m, ino, held_session);
        }
    }
    master_answer(p, &msg->head, 0, 0, (struct slice){0});
}

static void session_gone(struct master *m, struct session *s)
{
    if (s->peer != NULL) {
        s->peer->session = NULL;
    }
    sessions_remove(&m->sessions, s);
}

void service_expire(struct master *m)
{
    uint64_t now = env_mono_ns(m->env);
    uint64_t span = m->cfg.geometry.session_ms * NS_PER_MS;
    uint64_t dead = now > span ? now - span : 0;
    for (struct session *s; (s = sessions_silent(&m->sessions, dead)) != NULL;) {
        struct writer w;
        writer_init(&w);
        sessions_sole_writes(&m->sessions, s, dead, &w);
        if (w.len > RECORD_BODY_MAX - 4096) {
            writer_reset(&w); /* more than a record holds: their ends stay as they are */
        }
        union op_any rec = {.session_expire_rec = {.session = s->id, .writing = writer_bytes(&w)}};
        env_log(m->env, LOG_WARN, "session %llu was silent for more than %u ms and ends",
                (unsigned long long)s->id, m->cfg.geometry.session_ms);
        (void)commit_record(m, OP_session_expire, &rec, NULL, NULL);
        writer_free(&w);
        session_gone(m, s);
    }
}

/* ---------------------------------------------------------------- mutations */

/* What the volatile side learns from an applied mutation. `rep` is its answer, also a repeated
 * one's. */
static void after_mutation(struct peer *p, const struct frame_header *head, const union op_any *rep)
{
    struct master *m = p->m;
    if (head->op == OP_session_open) {
        if (sessions_get(&m->sessions, rep->session_open_rep.session) == NULL) {
            (void)sessions_add(&m->sessions, rep->session_open_rep.session, true,
                               env_mono_ns(m->env));
        }
    } else if (head->op == OP_session_end && p->session != NULL) {
        session_gone(m, p->session);
    } else if (head->op == OP_create && rep->create_rep.attr.ino != 0 && p->session != NULL) {
        if (session_open(&m->sessions, p->session, rep->create_rep.attr.ino, true) != 0) {
            env_log(m->env, LOG_WARN, "session %llu has too many files open",
                    (unsigned long long)p->session->id);
        }
    }
}

/* True if the mutation was applied before: its stored answer is given. */
static bool answered_before(struct peer *p, const struct frame_header *head, int *out_status)
{
    struct bytes stored;
    int found = ns_reply_find(p->m->ns, head->session, head->sequence, &stored);
    if (found == -ENOENT) {
        return false;
    }
    *out_status = found;
    if (found != 0) {
        answer_status(p, head, found);
        return true;
    }
    struct writer copy;
    writer_init(&copy);
    writer_raw(&copy, stored.data, stored.len);
    struct create_rep rep;
    if (head->op == OP_create && create_rep_decode(writer_bytes(&copy), &rep) == 0) {
        after_mutation(p, head, &(union op_any){.create_rep = rep});
    }
    master_answer(p, head, 0, p->m->commit.applied, writer_take(&copy));
    return true;
}

void service_mutation(struct peer *p, const struct frame_header *head, struct bytes body)
{
    struct master *m = p->m;
    const struct op_info *info = op_info_of(head->op);
    union op_any req, rec, rep;
    if (p->closing) {
        return;
    }
    if (info->req_decode(body, &req) != 0) {
        protocol_error(p, head);
        return;
    }
    int status = 0;
    if (head->op != OP_session_open) {
        status = session_check(p, head);
        if (status == 0 && head->sequence == 0) {
            status = ERR_PROTOCOL;
        }
        if (status != 0) {
            answer_status(p, head, status);
            return;
        }
        if (answered_before(p, head, &status)) {
            return;
        }
    } else if (head->session != 0 || head->sequence != 0) {
        answer_status(p, head, ERR_PROTOCOL);
        return;
    }
    uint64_t depends = 0;
    writer_reset(&m->prep);
    status =
        ns_prepare(m->ns, (enum op_code)head->op, head->session, &req, &m->prep, &rec, &depends);
    if (status == -ENOSPC && store_room(m->store) < ns_reserve_bytes() && trash_give(m, true)) {
        status = ERR_BUSY; /* asked again soon */
    }
    if (status != 0) {
        master_answer(p, head, status, depends, (struct slice){0});
        return;
    }
    uint64_t index = commit_record(m, (enum op_code)head->op, &rec, head, &rep);
    struct writer w;
    writer_init(&w);
    info->rep_encode(&w, &rep);
    after_mutation(p, head, &rep);
    master_answer(p, head, 0, index, writer_take(&w));
}

/* ---------------------------------------------------------------- queries */

static int query_open(struct peer *p, const struct open_req *req, struct open_rep *rep)
{
    struct master *m = p->m;
    int err = ns_attr(m->ns, req->ino, &rep->attr);
    if (err != 0) {
        return err;
    }
    if (!S_ISREG(rep->attr.mode)) {
        return S_ISDIR(rep->attr.mode) ? -EISDIR : -EINVAL;
    }
    /* Without a name it lives for those that hold it; nobody joins them. */
    if (rep->attr.nlink == 0 && !session_has_open(p->session, req->ino)) {
        return -ENOENT;
    }
    return session_open(&m->sessions, p->session, req->ino, (req->flags & 3u) != 0);
}

static void query_statfs(struct master *m, struct statfs_rep *rep)
{
    uint64_t now = env_mono_ns(m->env);
    *rep = (struct statfs_rep){.files = ns_counts(m->ns).inodes,
                               .files_free = store_room(m->store) / BYTES_PER_INODE};
    for (uint32_t id = 1; id <= SERVERS_MAX; id++) {
        const struct chunkserver *s = servers_get(&m->servers, id);
        if (s != NULL && server_alive(s, now)) {
            rep->total += s->total;
            rep->avail += s->avail;
        }
    }
    uint32_t replicas = servers_wanted(&m->servers, &m->cfg.geometry, 0);
    rep->total /= replicas;
    /* What is in the trash gives way to whatever is written. */
    rep->avail = MIN(rep->avail / replicas + ns_counts(m->ns).trash_bytes, rep->total);
}

static int query_locate(struct master *m, const struct locate_req *req, struct locate_rep *rep)
{
    struct attr attr;
    int err = ns_attr(m->ns, req->ino, &attr);
    if (err != 0) {
        return err;
    }
    if (!S_ISREG(attr.mode)) {
        return S_ISDIR(attr.mode) ? -EISDIR : -EINVAL;
    }
    if (req->count == 0 || req->count > LOCATE_COUNT_MAX) {
        return -EINVAL;
    }
    *rep = (struct locate_rep){.size = attr.size};
    struct writer members;
    writer_init(&members);
    writer_reset(&m->prep);
    struct ns_chunk row;
    uint64_t number = req->number;
    while (ns_chunk_next(m->ns, req->ino, number, &row) == 0 && row.ino == req->ino &&
           row.number - req->number < req->count) {
        struct chunk c;
        writer_reset(&members);
        master_chunk(m, &row, true, &members, &c);
        enc_chunk(&m->prep, &c);
        if (row.number == UINT64_MAX) {
            break;
        }
        number = row.number + 1;
    }
    writer_free(&members);
    rep->chunks = writer_bytes(&m->prep);
    return 0;
}

void service_query(struct peer *p, struct message *msg)
{
    const struct op_info *info = op_info_of(msg->head.op);
    struct master *m = p->m;
    union op_any req, rep;
    if (info->req_decode(slice_bytes(&msg->body), &req) != 0) {
        protocol_error(p, &msg->head);
        return;
    }
    if (replies_count(m->replies) >= HELD_REPLIES_MAX) {
        answer_status(p, &msg->head, ERR_BUSY);
        return;
    }
    uint64_t depends = 0;
    int status = 0;
    switch (info->code) {
    case OP_open:
        status = session_check(p, &msg->head);
        if (status == 0) {
            status = query_open(p, &req.open_req, &rep.open_rep);
            depends = ns_changed_at(m->ns, req.open_req.ino);
        }
        break;
    case OP_statfs:
        query_statfs(m, &rep.statfs_rep);
        break;
    case OP_locate:
        status = query_locate(m, &req.locate_req, &rep.locate_rep);
        depends = ns_changed_at(m->ns, req.locate_req.ino);
        break;
    default:
        writer_reset(&m->prep);
        status = ns_query(m->ns, (enum op_code)info->code, &req, &m->prep, &rep, &depends);
    }
    if (status != 0) {
        master_answer(p, &msg->head, status, depends, (struct slice){0});
        return;
    }
    struct writer w;
    writer_init(&w);
    info->rep_encode(&w, &rep);
    master_answer(p, &msg->head, 0, depends, writer_take(&w));
}

/* ---------------------------------------------------------------- dispatch */

static void control(struct peer *p, struct message *msg)
{
    int status = session_check(p, &msg->head);
    if (msg->head.op != OP_session_attach && status != 0) {
        answer_status(p, &msg->head, status);
        return;
    }
    struct grant_req grant;
    switch (msg->head.op) {
    case OP_session_attach:
        session_attach(p, msg);
        break;
    case OP_session_renew:
        master_answer(p, &msg->head, 0, 0, (struct slice){0});
        break;
    case OP_close_files:
        close_files(p, msg);
        break;
    case OP_grant:
        if (grant_req_decode(slice_bytes(&msg->body), &grant) != 0) {
            protocol_error(p, &msg->head);
            return;
        }
        grants_ask(p->m, p, &msg->head, &grant);
        break;
    default:
        UNREACHABLE();
    }
}

bool service_client(struct peer *p, struct message *msg)
{
    const struct op_info *info = op_info_of(msg->head.op);
    struct report_bad_req bad;
    switch (info->code) {
    case OP_session_attach:
    case OP_session_renew:
    case OP_close_files:
    case OP_grant:
        control(p, msg);
        return true;
    case OP_report_bad:
        if (report_bad_req_decode(slice_bytes(&msg->body), &bad) != 0) {
            protocol_error(p, &msg->head);
            return true;
        }
        report_bad(p->m, &bad, false, "a mount");
        master_answer(p, &msg->head, 0, 0, (struct slice){0});
        return true;
    case OP_status:
        return false;
    default:
        break;
    }
    if (info->class == OP_MUTATION) {
        commit_mutation(p->m, p, msg);
        return true;
    }
    if (info->class == OP_QUERY) {
        service_query(p, msg);
        return true;
    }
    return false;
}
