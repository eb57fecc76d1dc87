/* service.c - connections to the master: introduction, dispatch, closing. */
#include "master/core/service.h"
#include "master/core/master_internal.h"
#include "master/core/recalls.h"
#include "master/core/set.h"
#include "shared/base/mem.h"

/* Ends everything the connection carried. Its rpc is closed already or closes now. */
static void peer_free(struct peer *p)
{
    struct master *m = p->m;
    list_remove(&p->link);
    m->peer_count--;
    if (p->session != NULL) {
        p->session->peer = NULL;
    }
    if (p->server != NULL) {
        master_detach_server(m, p->server);
    }
    replies_forget(m->replies, &p->held);
    commit_forget(p);
    shadow_forget(p);
    term_forget(p);
    if (m->logger != NULL) {
        logger_forget(m->logger, &p->rpc);
    }
    grants_forget(p);
    scrubs_forget(m, p);
    recalls_forget(p);
    rpc_close(&p->rpc);
    mem_free(p);
}

static void on_close(void *owner, struct rpc *r, int err)
{
    (void)r;
    (void)err;
    peer_free(owner);
}

void service_close_soon(struct peer *p)
{
    if (!p->closing) {
        p->closing = true;
        p->deadline_ns = env_mono_ns(p->m->env) + CLOSE_WAIT_MS * NS_PER_MS;
    }
}

static void refuse(struct peer *p, const struct frame_header *head, int status, const char *what)
{
    env_log(p->m->env, LOG_WARN, "%s from %s refused: %s", what,
            env_peer_name(p->m->env, p->rpc.conn), err_text(status));
    rpc_answer_status(&p->rpc, head, status);
    service_close_soon(p);
}

static void hello(struct peer *p, struct message *msg)
{
    struct master *m = p->m;
    struct hello_req req;
    if (msg->head.op != OP_hello || hello_req_decode(slice_bytes(&msg->body), &req) != 0 ||
        req.role < ROLE_CLIENT || req.role > ROLE_ADMIN) {
        refuse(p, &msg->head, ERR_PROTOCOL, "first request");
        return;
    }
    if ((req.cluster != 0 && m->cluster != 0 && req.cluster != m->cluster) ||
        (req.name.len > 0 && !bytes_equal(req.name, bytes_str(m->cfg.cluster)))) {
        refuse(p, &msg->head, ERR_FOREIGN_CLUSTER, "connection");
        return;
    }
    p->role = req.role;
    struct hello_rep rep = {.cluster = m->cluster, .role = master_role(m)};
    rep.primary = bytes_str(assure_primary(m));
    /* The epoch of a shadow is that of the last record it applied. */
    uint64_t index = m->primary ? committed_index(m) : m->commit.applied;
    rpc_answer(&p->rpc, &msg->head, 0, index, m->epoch, RPC_BODY(hello_rep, &rep), NULL);
}

static void on_request(void *owner, struct rpc *r, struct message *msg)
{
    struct peer *p = owner;
    struct master *m = p->m;
    (void)r;
    if (p->closing || m->stopping) {
        return;
    }
    if (p->role == 0) {
        hello(p, msg);
        return;
    }
    const struct op_info *info = op_info_of(msg->head.op);
    if (info == NULL || info->class == OP_RECORD) {
        refuse(p, &msg->head, ERR_UNKNOWN_OP, "request");
        return;
    }
    if (service_monitor(p, msg) || set_request(p, msg)) {
        return;
    }
    if (!m->primary) {
        service_shadow(p, msg);
        return;
    }
    if (!m->serving || m->vigil.ending) {
        rpc_answer_status(&p->rpc, &msg->head, ERR_NOT_READY);
        return;
    }
    if (p->session != NULL) {
        p->session->contact_ns = master_awake_ns(m);
    }
    bool known = (p->role == ROLE_CLIENT && service_client(p, msg)) ||
                 (p->role == ROLE_CHUNKD && service_cluster(p, msg)) || service_admin(p, msg);
    if (!known) {
        refuse(p, &msg->head, ERR_UNKNOWN_OP, info->name);
    }
}

static const struct rpc_events peer_events = {.on_request = on_request, .on_close = on_close};

void service_accept(void *owner, struct env_conn *c)
{
    struct master *m = owner;
    if (m->peer_count >= PEERS_MAX || m->stopping) {
        env_hangup(m->env, c);
        return;
    }
    struct peer *p = mem_new(struct peer);
    p->m = m;
    p->deadline_ns = env_mono_ns(m->env) + HELLO_WAIT_MS * NS_PER_MS;
    list_init(&p->held);
    list_init(&p->queued);
    list_init(&p->waiters);
    list_init(&p->asks);
    list_init(&p->reads);
    list_push_back(&m->peers, &p->link);
    m->peer_count++;
    rpc_init(&p->rpc, m->env, &peer_events, p);
    rpc_accept(&p->rpc, c);
}

void service_tick(struct master *m)
{
    uint64_t now = env_mono_ns(m->env);
    list_for_each_safe (it, &m->peers) {
        struct peer *p = list_entry(it, struct peer, link);
        if ((p->closing || p->role == 0) && now >= p->deadline_ns) {
            peer_free(p);
        }
    }
}

void service_free_peers(struct master *m)
{
    while (!list_empty(&m->peers)) {
        peer_free(list_entry(m->peers.next, struct peer, link));
    }
}
