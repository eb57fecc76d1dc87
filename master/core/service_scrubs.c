/* service_scrubs.c - what heartbeats say about verification and the disk, and what operators ask. */
#include "master/core/master_internal.h"
#include "master/core/scrubs.h"
#include "master/core/service.h"
#include "shared/base/mem.h"

/* An operator's scan_now on its way. */
struct scrub_command {
    struct list link; /* in scrubs.commands */
    struct rpc_call call;
    struct peer *peer;
    struct frame_header head;
    uint64_t boot; /* of the server's process */
};

/* ---------------------------------------------------------------- heartbeats */

/* So far behind its plan, or a replica so long unverified, that it does not come right by itself. */
static bool is_stalled(const struct scrub_state *s)
{
    bool old = s->oldest_ms != UINT64_MAX && s->oldest_ms > 2 * s->period_ms + SCRUB_STALL_MS;
    return s->late_ms > s->period_ms / 20 + SCRUB_STALL_MS || old;
}

/* Until an operator says otherwise, and then until it fails again: the disk's own word alone, which
 * its label keeps, is no news. */
static void take_failing(struct master *m, struct chunkserver *s, uint32_t reason)
{
    if (s->failing) {
        return;
    }
    env_log(m->env, LOG_ERROR,
            "chunkserver %u at %s: its disk is failing (%s): its replicas move to other servers",
            s->id, s->addr, reason == DISK_SYNC_FAILED ? "a sync failed" : "I/O errors");
    server_state_failing(m, s, reason);
    repair_poke(m);
}

void scrubs_heartbeat(struct master *m, struct chunkserver *s, const struct heartbeat_req *req)
{
    bool stalled = is_stalled(&req->scrub);
    bool news = req->failing != s->failing_told || req->scrub.disk_errors > s->scrub.disk_errors;
    s->scrub = req->scrub;
    s->failing_told = req->failing;
    if (stalled && !s->scrub_stalled) {
        env_log(m->env, LOG_WARN,
                "chunkserver %u: the scan of its replicas does not advance: %llu of %llu bytes, "
                "%llu s behind, the oldest replica was verified %llu s ago",
                s->id, (unsigned long long)req->scrub.done, (unsigned long long)req->scrub.total,
                (unsigned long long)(req->scrub.late_ms / 1000),
                (unsigned long long)(req->scrub.oldest_ms / 1000));
    }
    s->scrub_stalled = stalled;
    if (req->failing != DISK_WELL && news) {
        take_failing(m, s, req->failing);
    }
}

/* ---------------------------------------------------------------- operators */

static void answer_status(struct peer *p, const struct frame_header *head)
{
    struct master *m = p->m;
    struct writer w;
    writer_init(&w);
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        const struct chunkserver *s = servers_get(&m->servers, id);
        struct scrub_status one = {.server = server_as_field(s),
                                   .alive = server_alive(s, env_mono_ns(m->env)),
                                   .stalled = s->scrub_stalled,
                                   .boot = s->boot,
                                   .state = s->scrub};
        enc_scrub_status(&w, &one);
    }
    struct scrub_status_rep rep = {.servers = writer_bytes(&w),
                                   .compared = m->scrubs.compared,
                                   .different = m->scrubs.different};
    master_answer(p, head, 0, 0, RPC_BODY(scrub_status_rep, &rep));
    writer_free(&w);
}

static void command_free(struct scrub_command *c)
{
    list_remove(&c->link);
    rpc_cancel(&c->call);
    mem_free(c);
}

static void command_answered(struct rpc_call *call)
{
    struct scrub_command *c = container_of(call, struct scrub_command, call);
    struct scan_now_rep from;
    int err = RPC_REPLY(scan_now, call, &from);
    struct slice body = {0};
    if (err == 0) {
        struct scrub_now_rep rep = {
            .boot = c->boot, .pass = from.pass, .found = from.found, .repaired = from.repaired};
        body = RPC_BODY(scrub_now_rep, &rep);
    }
    master_answer(c->peer, &c->head, err == ERR_DISCONNECTED ? -ENOTCONN : err, 0, body);
    command_free(c);
}

static void scan_now(struct peer *p, struct message *msg)
{
    struct master *m = p->m;
    struct scrub_now_req req;
    int err = scrub_now_req_decode(slice_bytes(&msg->body), &req);
    const struct chunkserver *s = err == 0 ? servers_find(&m->servers, req.server) : NULL;
    if (s == NULL || s->peer == NULL) {
        err = err != 0 ? err : s == NULL ? -ENOENT : -ENOTCONN;
        master_answer(p, &msg->head, err, 0, (struct slice){0});
        return;
    }
    struct scrub_command *c = mem_new(struct scrub_command);
    c->peer = p;
    c->head = msg->head;
    c->boot = s->boot;
    c->call.done = command_answered;
    list_push_back(&m->scrubs.commands, &c->link);
    struct scan_now_req ask = {};
    server_call(m, s->id, &c->call, OP_scan_now, RPC_BODY(scan_now_req, &ask),
                m->cfg.geometry.request_timeout_ms);
}

bool scrubs_request(struct peer *p, struct message *msg)
{
    if (msg->head.op == OP_scrub_status) {
        answer_status(p, &msg->head);
        return true;
    }
    if (msg->head.op == OP_scrub_now && p->role == ROLE_ADMIN) {
        scan_now(p, msg);
        return true;
    }
    return false;
}

void scrubs_forget(struct master *m, const struct peer *p)
{
    list_for_each_safe (it, &m->scrubs.commands) {
        struct scrub_command *c = list_entry(it, struct scrub_command, link);
        if (p == NULL || c->peer == p) {
            command_free(c);
        }
    }
}
