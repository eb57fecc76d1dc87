/* service_shadow.c - what a master answers that is not the primary. */
#include "master/core/service_shadow.h"
#include "master/core/master_internal.h"
#include "master/core/service.h"
#include "shared/base/mem.h"

/* A request that has seen a later index than is applied. */
struct waiting_read {
    struct list link;      /* in shadow.waiting */
    struct list peer_link; /* in peer.reads */
    struct peer *peer;
    struct frame_header head;
    struct slice body;
    uint64_t until_ns;
};

/* ---------------------------------------------------------------- rows */

void shadow_chunk(struct master *m, const struct ns_chunk *row, struct writer *w, struct chunk *out)
{
    for (uint32_t i = 0; i < row->member_count; i++) {
        struct server server;
        uint64_t disk;
        if (ns_server_next(m->ns, row->members[i], &server, &disk) == 0 &&
            server.id == row->members[i]) {
            enc_server(w, &server);
        }
    }
    *out = (struct chunk){.ino = row->ino,
                          .number = row->number,
                          .handle = row->handle,
                          .version = row->version,
                          .trim = row->trim,
                          .trim_set = row->trim_set,
                          .fresh = row->fresh && !row->bound,
                          .doubt = row->doubt,
                          .unsynced = row->fresh,
                          .members = writer_bytes(w)};
}

void shadow_servers(struct master *m, struct writer *w)
{
    struct server server;
    uint64_t disk;
    for (uint32_t id = 1; ns_server_next(m->ns, id, &server, &disk) == 0; id = server.id + 1) {
        struct server_status row = {
            .server = server, .heartbeat_ms = UINT64_MAX, .member_of = UINT64_MAX};
        enc_server_status(w, &row);
    }
}

/* ---------------------------------------------------------------- one request */

static void refuse(struct peer *p, const struct frame_header *head, int status)
{
    master_answer(p, head, status, 0, (struct slice){0});
}

/* A mount that has no session learns the geometry; nothing is bound. */
static void attach(struct peer *p, const struct frame_header *head)
{
    const struct geometry *geo = &p->m->cfg.geometry;
    struct session_attach_rep rep = {.chunk_bytes = geo->chunk_bytes,
                                     .block_bytes = geo->block_bytes,
                                     .session_ms = geo->session_ms,
                                     .request_timeout_ms = geo->request_timeout_ms};
    master_answer(p, head, 0, 0, RPC_BODY(session_attach_rep, &rep));
}

static void answer(struct peer *p, const struct frame_header *head, struct bytes body)
{
    bool any_age = p->role != ROLE_CLIENT || (head->flags & FRAME_ANY_AGE) != 0;
    if (!any_age && assure_age_ms(p->m) > SHADOW_AGE_MAX_MS) {
        refuse(p, head, ERR_TOO_OLD);
    } else if (head->op == OP_session_attach) {
        attach(p, head);
    } else {
        service_query(p, head, body);
    }
}

/* ---------------------------------------------------------------- waiting */

static void arm(struct master *m)
{
    struct shadow *s = &m->shadow;
    if (list_empty(&s->waiting)) {
        env_timer_stop(m->env, &s->timer);
        return;
    }
    uint64_t until = list_entry(s->waiting.next, struct waiting_read, link)->until_ns;
    uint64_t now = env_mono_ns(m->env);
    env_timer_set(m->env, &s->timer, until > now ? until - now : 0);
}

static void drop(struct master *m, struct waiting_read *w)
{
    list_remove(&w->link);
    list_remove(&w->peer_link);
    slice_drop(&w->body);
    mem_free(w);
    m->shadow.count--;
}

static void put_off(struct peer *p, struct message *msg)
{
    struct master *m = p->m;
    if (m->shadow.count >= m->cfg.bounds.waiting_reads) {
        refuse(p, &msg->head, ERR_BUSY);
        return;
    }
    struct waiting_read *w = mem_new(struct waiting_read);
    *w = (struct waiting_read){.peer = p,
                               .head = msg->head,
                               .body = slice_ref(&msg->body),
                               .until_ns = env_mono_ns(m->env) + SHADOW_WAIT_MS * NS_PER_MS};
    list_init(&w->link);
    list_init(&w->peer_link);
    list_push_back(&m->shadow.waiting, &w->link);
    list_push_back(&p->reads, &w->peer_link);
    m->shadow.count++;
    arm(m);
}

static void timer_fired(struct env_timer *t)
{
    struct master *m = container_of(t, struct master, shadow.timer);
    uint64_t now = env_mono_ns(m->env);
    while (!list_empty(&m->shadow.waiting)) {
        struct waiting_read *w = list_entry(m->shadow.waiting.next, struct waiting_read, link);
        if (w->until_ns > now) {
            break;
        }
        refuse(w->peer, &w->head, ERR_BEHIND);
        drop(m, w);
    }
    arm(m);
}

void shadow_applied(struct master *m)
{
    list_for_each_safe (it, &m->shadow.waiting) {
        struct waiting_read *w = list_entry(it, struct waiting_read, link);
        if (w->head.index <= m->commit.applied) {
            answer(w->peer, &w->head, slice_bytes(&w->body));
            drop(m, w);
        }
    }
}

void shadow_forget(struct peer *p)
{
    list_for_each_safe (it, &p->reads) {
        drop(p->m, list_entry(it, struct waiting_read, peer_link));
    }
}

/* ---------------------------------------------------------------- dispatch */

static bool opens_for_writing(const struct message *msg)
{
    struct open_req req;
    return msg->head.op == OP_open &&
           (open_req_decode(slice_bytes(&msg->body), &req) != 0 || (req.flags & 3u) != 0);
}

/* A mount names the newest record whose commit it was told of, and by whom: a primary, or a shadow
 * that had applied records of it. A log that ends with records of the same primary begins with what
 * that had. So one shadow alone can show what the primary committed right before it died. */
static void believe(struct master *m, const struct frame_header *head)
{
    if (head->epoch == oplog_last_epoch(m->log) && head->epoch != 0 &&
        head->index > oplog_committed(m->log) && head->index <= oplog_durable(m->log)) {
        oplog_commit_to(m->log, head->index);
    }
}

void service_shadow(struct peer *p, struct message *msg)
{
    struct master *m = p->m;
    const struct op_info *info = op_info_of(msg->head.op);
    if (m->stateless || m->cfg.logger_only || m->cluster == 0) {
        refuse(p, &msg->head, ERR_NOT_MASTER);
        return;
    }
    if (info->code == OP_status || info->code == OP_checkpoint_now) {
        if (!service_admin(p, msg)) {
            refuse(p, &msg->head, ERR_NOT_MASTER);
        }
        return;
    }
    bool reads =
        (info->class == OP_QUERY && !opens_for_writing(msg)) || info->code == OP_session_attach;
    if (p->role == ROLE_CLIENT) {
        believe(m, &msg->head);
    }
    if (!reads || (p->role != ROLE_CLIENT && p->role != ROLE_ADMIN)) {
        refuse(p, &msg->head, ERR_NOT_MASTER);
    } else if (m->commit.applied == 0) { /* what is not there yet is not a tree that is empty */
        refuse(p, &msg->head, ERR_BEHIND);
    } else if (msg->head.index > m->commit.applied) {
        put_off(p, msg);
    } else {
        answer(p, &msg->head, slice_bytes(&msg->body));
    }
}

/* ---------------------------------------------------------------- life */

void shadow_init(struct master *m)
{
    list_init(&m->shadow.waiting);
    m->shadow.timer.fire = timer_fired;
}

void shadow_close(struct master *m)
{
    while (!list_empty(&m->shadow.waiting)) {
        struct waiting_read *w = list_entry(m->shadow.waiting.next, struct waiting_read, link);
        refuse(w->peer, &w->head, ERR_BEHIND);
        drop(m, w);
    }
    env_timer_stop(m->env, &m->shadow.timer);
}
