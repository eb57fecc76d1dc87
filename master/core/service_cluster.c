/* service_cluster.c - what chunkservers and operators ask. */
#include "master/core/inspect.h"
#include "master/core/master_internal.h"
#include "master/core/service.h"

static void answer_status(struct peer *p, const struct frame_header *head, int status)
{
    master_answer(p, head, status, 0, (struct slice){0});
}

/* ---------------------------------------------------------------- registration */

/* The server that is known by this disk may be taken over by the connection: 0, or why not. */
static int takeover_check(struct peer *p, const struct chunkserver *s, uint64_t boot)
{
    uint64_t now = env_mono_ns(p->m->env);
    if (s->peer != NULL && s->peer != p && s->boot != boot && now < s->lease_until_ns) {
        env_log(p->m->env, LOG_ERROR,
                "chunkserver at %s refused: its disk %016llx is served by another live process at "
                "%s (server %u)",
                env_peer_name(p->m->env, p->rpc.conn), (unsigned long long)s->disk, s->addr, s->id);
        return -EBUSY;
    }
    /* Cut off because it did not do what it was asked: it must not come back before its lease
     * ended. */
    if (s->peer == NULL && s->boot == boot && s->fenced && now < s->lease_until_ns) {
        return ERR_BUSY;
    }
    return 0;
}

static void register_answer(struct peer *p, const struct frame_header *head,
                            const struct chunkserver *s, uint64_t index)
{
    const struct geometry *geo = &p->m->cfg.geometry;
    struct register_rep rep = {.id = s->id,
                               .cluster = p->m->cluster,
                               .chunk_bytes = geo->chunk_bytes,
                               .block_bytes = geo->block_bytes,
                               .heartbeat_ms = geo->heartbeat_ms,
                               .lease_ms = geo->lease_ms,
                               .request_timeout_ms = geo->request_timeout_ms,
                               .next_handle = ns_next_handle(p->m->ns)};
    master_answer(p, head, 0, index, RPC_BODY(register_rep, &rep));
}

static void register_server(struct peer *p, struct message *msg)
{
    struct master *m = p->m;
    struct register_req req;
    if (register_req_decode(slice_bytes(&msg->body), &req) != 0 || req.disk == 0 || req.boot == 0 ||
        req.self.addr.len == 0 || req.self.host.len > LABEL_LEN_MAX ||
        req.self.rack.len > LABEL_LEN_MAX) {
        answer_status(p, &msg->head, ERR_PROTOCOL);
        service_close_soon(p);
        return;
    }
    struct chunkserver *s = servers_by_disk(&m->servers, req.disk);
    int err = s != NULL ? takeover_check(p, s, req.boot) : 0;
    if (s == NULL && ns_next_server_id(m->ns) > SERVERS_MAX) {
        err = -ENOSPC;
    }
    if (err != 0) {
        answer_status(p, &msg->head, err);
        service_close_soon(p);
        return;
    }
    uint64_t index = 0;
    req.self.id = s != NULL ? s->id : ns_next_server_id(m->ns);
    if (s == NULL || servers_differs(s, &req.self)) {
        union op_any rec = {.server_add_rec = {.disk = req.disk, .server = req.self}};
        index = commit_record(m, OP_server_add, &rec, NULL, NULL);
        s = servers_put(&m->servers, req.disk, &req.self);
    }
    if (s->peer != NULL && s->peer != p) {
        struct peer *old = s->peer;
        master_detach_server(m, s);
        service_close_soon(old);
    }
    if (p->server != NULL && p->server != s) {
        master_detach_server(m, p->server);
    }
    if (s->boot != 0 && s->boot != req.boot) {
        s->lease_until_ns =
            0; /* the process that held it is gone: the disk is locked by its successor */
    }
    if (s->boot != req.boot) {
        s->first_handle = ns_next_handle(m->ns);
    }
    s->boot = req.boot;
    s->peer = p;
    p->server = s;
    s->beating = false;
    s->fenced = false;
    s->full = false;
    report_begin(m, s);
    env_log(m->env, LOG_INFO, "chunkserver %u at %s (host %s, rack %s) registered", s->id, s->addr,
            s->host, s->rack);
    register_answer(p, &msg->head, s, index);
}

static void heartbeat(struct peer *p, struct message *msg)
{
    struct master *m = p->m;
    struct chunkserver *s = p->server;
    struct heartbeat_req req;
    if (s == NULL || heartbeat_req_decode(slice_bytes(&msg->body), &req) != 0) {
        answer_status(p, &msg->head, ERR_PROTOCOL);
        service_close_soon(p);
        return;
    }
    uint64_t now = env_mono_ns(m->env);
    if (!term_may_answer(m, &msg->head, 0)) { /* another master may give leases */
        answer_status(p, &msg->head, ERR_NOT_READY);
        return;
    }
    if (!s->beating) {
        repair_touch(m);
    }
    s->beating = true;
    s->full = false;
    server_note_load(s, now, req.client_bytes);
    slow_heard(m, s, &req);
    s->total = req.total;
    s->avail = MIN(req.avail, req.total);
    s->chunks = req.chunks;
    s->heartbeat_ns = now;
    s->heartbeat_awake_ns = master_awake_ns(m);
    bandwidth_heard(&s->bandwidth, now, req.client_bytes, req.copied_in + req.copied_out);
    repair_heard(m, req.copied_in);
    scrubs_heartbeat(m, s, &req);
    s->lease_until_ns = now + m->cfg.geometry.lease_ms * NS_PER_MS / 100 * 101;
    uint64_t limit = bandwidth_limit(&s->bandwidth, now, m->cfg.rereplication_share);
    struct heartbeat_rep rep = {.copy_rate = limit == BANDWIDTH_FREE ? 0 : limit};
    /* At once, not held: the lease counts from here. */
    rpc_answer(&p->rpc, &msg->head, 0, committed_index(m), m->epoch, RPC_BODY(heartbeat_rep, &rep),
               NULL);
}

bool service_cluster(struct peer *p, struct message *msg)
{
    struct report_bad_req bad;
    switch (msg->head.op) {
    case OP_register:
        register_server(p, msg);
        return true;
    case OP_heartbeat:
        heartbeat(p, msg);
        return true;
    case OP_report:
        report_part(p->m, p, msg);
        return true;
    case OP_scanned:
        scrubs_scanned(p, msg);
        return true;
    case OP_report_bad:
        if (report_bad_req_decode(slice_bytes(&msg->body), &bad) != 0) {
            answer_status(p, &msg->head, ERR_PROTOCOL);
            service_close_soon(p);
            return true;
        }
        report_bad(p->m, &bad, p->server != NULL && p->server->id == bad.server,
                   p->server != NULL ? p->server->addr : "a chunkserver");
        answer_status(p, &msg->head, 0);
        return true;
    default:
        return false;
    }
}

/* ---------------------------------------------------------------- operators */

static void status_servers(struct master *m, struct writer *w)
{
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        struct server_status row = server_status_of(m, servers_get(&m->servers, id));
        enc_server_status(w, &row);
    }
}

static void status(struct peer *p, const struct frame_header *head)
{
    struct master *m = p->m;
    struct ns_counts counts = ns_counts(m->ns);
    struct writer servers, warnings;
    writer_init(&servers);
    writer_init(&warnings);
    if (m->primary) {
        status_servers(m, &servers);
    } else {
        shadow_servers(m, &servers);
    }
    struct writer copies;
    writer_init(&copies);
    repair_copies(m, &copies);
    balance_warnings(m, &warnings);
    vigil_warnings(m, &warnings);
    struct status_rep rep = {.cluster = m->cluster,
                             .name = bytes_str(m->cfg.cluster),
                             .addr = bytes_str(master_addr(m)),
                             .role = bytes_str(m->primary ? "primary" : "shadow"),
                             .epoch = m->epoch,
                             .index = m->commit.applied,
                             .committed = committed_index(m),
                             .checkpoint = checkpoint_newest(m->commit.checkpoint).index,
                             .files = counts.inodes,
                             .chunks = counts.chunks,
                             .under_replicated = m->repair.under_replicated,
                             .lost = m->repair.chunks_lost,
                             .garbage = counts.garbage,
                             .sessions = counts.sessions,
                             .servers = writer_bytes(&servers),
                             .trash_files = counts.trash,
                             .trash_bytes = counts.trash_bytes,
                             .copies = writer_bytes(&copies),
                             .warnings = writer_bytes(&warnings)};
    master_answer(p, head, 0, 0, RPC_BODY(status_rep, &rep));
    writer_free(&servers);
    writer_free(&copies);
    writer_free(&warnings);
}

static void rereplication(struct peer *p, const struct frame_header *head)
{
    struct writer classes, copies;
    struct rereplication_rep rep;
    writer_init(&classes);
    writer_init(&copies);
    repair_progress(p->m, &classes, &copies, &rep);
    master_answer(p, head, 0, 0, RPC_BODY(rereplication_rep, &rep));
    writer_free(&classes);
    writer_free(&copies);
}

bool service_admin(struct peer *p, struct message *msg)
{
    if (msg->head.op == OP_status) {
        status(p, &msg->head);
        return true;
    }
    if (msg->head.op == OP_chunk_list) {
        inspect_chunk_list(p, msg);
        return true;
    }
    if (scrubs_request(p, msg)) {
        return true;
    }
    if (p->role != ROLE_ADMIN) {
        return false;
    }
    switch (msg->head.op) {
    case OP_path_resolve:
    case OP_readdir:
        service_query(p, &msg->head, slice_bytes(&msg->body));
        return true;
    case OP_server_set:
        server_state_request(p, msg);
        return true;
    case OP_checkpoint_now:
        commit_checkpoint_ask(p->m, p, &msg->head);
        return true;
    case OP_rereplication:
        rereplication(p, &msg->head);
        return true;
    default:
        return trash_request(p, msg) || service_replicas(p, msg);
    }
}
