/* service_client.c - what mounts ask: sessions, opens, queries, mutations. */
#include "master/core/master_internal.h"
#include "master/core/opens.h"
#include "master/core/recalls.h"
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

/* Status for a request that needs the session of this connection, all of whose opens are known. */
static int session_check(const struct peer *p, const struct frame_header *head)
{
    if (p->session != NULL && p->session->id == head->session && p->session->attached) {
        return 0;
    }
    return sessions_get(&p->m->sessions, head->session) == NULL ? ERR_NO_SESSION : ERR_PROTOCOL;
}

/* ---------------------------------------------------------------- sessions */

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
    s->contact_ns = master_awake_ns(m);
    int err = opens_told(m, s, req.opens, req.writing);
    if (err != 0) {
        answer_status(p, &msg->head, err);
        return;
    }
    if (!req.more) {
        opens_attached(m, s);
        s->attaches++;
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
    opens_close(m, p->session, req.inodes);
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
    uint64_t now = master_awake_ns(m);
    uint64_t span = m->cfg.geometry.session_ms * NS_PER_MS;
    uint64_t dead = now > span ? now - span : 0;
    for (struct session *s; (s = sessions_silent(&m->sessions, dead)) != NULL;) {
        union op_any rec = {.session_expire_rec = {.session = s->id}};
        env_log(m->env, LOG_WARN, "session %llu was silent for more than %u ms and ends",
                (unsigned long long)s->id, m->cfg.geometry.session_ms);
        (void)commit_record(m, OP_session_expire, &rec, NULL, NULL);
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
                               master_awake_ns(m));
        }
    } else if (head->op == OP_session_end) {
        session_gone(m, p->session);
    } else if (head->op == OP_create) {
        /* Its row came with its record; not so if it was made, and its session attached without it,
         * before this repetition. */
        int err = opens_made(m, p->session, rep->create_rep.attr.ino);
        if (err != 0) {
            env_log(m->env, LOG_WARN, "session %llu: a new file does not count as open: %s",
                    (unsigned long long)p->session->id, err_text(err));
        }
    }
}

/* Answers what is applied, a truncate after all others who write to the file have heard of it. */
static void answer_applied(struct peer *p, const struct frame_header *head, const union op_any *req,
                           uint64_t index, struct slice body)
{
    const struct setattr_req *set = &req->setattr_req;
    bool truncates = head->op == OP_setattr && (set->mask & SETATTR_SIZE) != 0;
    if (!truncates || !recalls_hold(p, head, set->ino, index, body)) {
        master_answer(p, head, 0, index, body);
    }
}

/* True if the mutation was applied before: its stored answer is given. */
static bool answered_before(struct peer *p, const struct frame_header *head,
                            const union op_any *req, int *out_status)
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
    answer_applied(p, head, req, p->m->commit.applied, writer_take(&copy));
    return true;
}

/* A file with very many chunks is cut from its end on, by a record of its own each time, so that others
 * need not wait for all of it. Whoever looks meanwhile sees a shorter file; should the request never be
 * repeated after a failure in between, it stays as far as it came. */
static bool cuts_first(struct master *m, const struct frame_header *head,
                       const struct setattr_req *req)
{
    uint64_t size = 0;
    if (head->op != OP_setattr || (req->mask & SETATTR_SIZE) == 0 ||
        !ns_cut_first(m->ns, req->ino, req->size, &size)) {
        return false;
    }
    union op_any rec = {.setattr_rec = {.ino = req->ino, .mask = SETATTR_SIZE, .size = size}};
    (void)commit_record(m, OP_setattr, &rec, NULL, NULL);
    return true;
}

static void mutation(struct peer *p, const struct frame_header *head, struct bytes body)
{
    struct master *m = p->m;
    const struct op_info *info = op_info_of(head->op);
    union op_any req, rec, rep;
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
        if (answered_before(p, head, &req, &status)) {
            return;
        }
        if (head->op == OP_create && session_full(p->session)) {
            answer_status(p, head, -ENFILE);
            return;
        }
        if (name_leases_bar(m, head->session, (enum op_code)head->op, &req)) {
            answer_status(p, head, ERR_BUSY);
            return;
        }
    } else if (head->session != 0 || head->sequence != 0) {
        answer_status(p, head, ERR_PROTOCOL);
        return;
    }
    if (cuts_first(m, head, &req.setattr_req)) {
        commit_mutation_later(m, p, head, body);
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
    m->changed_ns = env_mono_ns(m->env);
    struct writer w;
    writer_init(&w);
    info->rep_encode(&w, &rep);
    after_mutation(p, head, &rep);
    struct frame_header promising = *head;
    promising.flags = name_leases_after(m, head->session, (enum op_code)head->op, &req, &rep);
    answer_applied(p, &promising, &req, index, writer_take(&w));
}

/* ---------------------------------------------------------------- queries */

static bool open_writes(const struct open_req *req)
{
    return (req->flags & 3u) != 0;
}

static int open_as_asked(struct master *m, struct session *s, const struct open_req *req)
{
    return open_writes(req) && (req->flags & OPEN_MADE) != 0
               ? opens_made(m, s, req->ino)
               : opens_open(m, s, req->ino, open_writes(req));
}

static int query_open(struct peer *p, const struct open_req *req, struct open_rep *rep)
{
    struct master *m = p->m;
    *rep = (struct open_rep){0};
    int err = ns_attr(m->ns, req->ino, &rep->attr);
    if (err != 0) {
        return err;
    }
    if (!S_ISREG(rep->attr.mode)) {
        return S_ISDIR(rep->attr.mode) ? -EISDIR : -EINVAL;
    }
    /* Without a name it lives for those that hold it; nobody joins them. */
    if (rep->attr.nlink == 0 && (!m->primary || !session_has_open(p->session, req->ino))) {
        return -ENOENT;
    }
    err = m->primary ? open_as_asked(m, p->session, req) : 0;
    struct ns_chunk row;
    if (err == 0 && rep->attr.size > 0 && ns_file_chunk_next(m->ns, req->ino, 0, &row) == 0 &&
        row.number == 0) {
        writer_reset(&m->prep);
        master_chunk(m, &row, true, &m->prep, &rep->chunk);
    }
    return err;
}

/* A shadow knows nothing of disks: no space at all. */
static void query_statfs(struct master *m, struct statfs_rep *rep)
{
    uint64_t now = env_mono_ns(m->env);
    *rep = (struct statfs_rep){.files = ns_counts(m->ns).inodes,
                               .files_free = store_room(m->store) / BYTES_PER_INODE};
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        const struct chunkserver *s = servers_get(&m->servers, id);
        if (server_alive(s, now) && s->total > 0) {
            rep->total += s->total;
            rep->avail += s->avail;
        } else {
            rep->away++;
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
    while (ns_file_chunk_next(m->ns, req->ino, number, &row) == 0 &&
           row.number - req->number < req->count) {
        struct chunk c;
        writer_reset(&members);
        master_chunk(m, &row, true, &members, &c);
        enc_chunk(&m->prep, &c);
        number = row.number + 1;
    }
    writer_free(&members);
    rep->chunks = writer_bytes(&m->prep);
    return 0;
}

void service_query(struct peer *p, const struct frame_header *head, struct bytes body)
{
    struct master *m = p->m;
    const struct op_info *info = op_info_of(head->op);
    union op_any req, rep;
    if (info->req_decode(body, &req) != 0) {
        protocol_error(p, head);
        return;
    }
    if (replies_count(m->replies) >= m->cfg.bounds.held_replies) {
        answer_status(p, head, ERR_BUSY);
        return;
    }
    uint64_t depends = 0;
    int status = 0;
    switch (info->code) {
    case OP_open:
        status = m->primary ? session_check(p, head) : 0; /* a shadow registers nothing */
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
    struct frame_header promising = *head;
    if (info->code == OP_lookup && p->session != NULL && (status == 0 || status == -ENOENT)) {
        promising.flags = name_leases_after(m, p->session->id, OP_lookup, &req, NULL);
    }
    if (status != 0) {
        master_answer(p, &promising, status, depends, (struct slice){0});
        return;
    }
    struct writer w;
    writer_init(&w);
    info->rep_encode(&w, &rep);
    master_answer(p, &promising, 0, depends, writer_take(&w));
}

void service_mutation(struct peer *p, const struct frame_header *head, struct bytes body)
{
    if (p->closing) {
        return;
    }
    if (head->op == OP_open) {
        service_query(p, head, body);
    } else {
        mutation(p, head, body);
    }
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

/* An open that may have to be logged waits for quiet points as mutations do. */
static bool logs_open(const struct message *msg)
{
    struct open_req req;
    return msg->head.op == OP_open && open_req_decode(slice_bytes(&msg->body), &req) == 0 &&
           open_writes(&req);
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
    if (info->class == OP_MUTATION || logs_open(msg)) {
        commit_mutation(p->m, p, msg);
        return true;
    }
    if (info->class == OP_QUERY) {
        service_query(p, &msg->head, slice_bytes(&msg->body));
        return true;
    }
    return false;
}
