/* identity.c - which cluster a master of a set belongs to, and whether the others agree with it. */
#include "master/core/identity.h"
#include "master/core/master_internal.h"
#include "master/core/service.h"

/* ---------------------------------------------------------------- the cluster's id */

static void adopt(struct master *m, uint64_t cluster)
{
    struct why why;
    if (oplog_adopt(m->log, cluster, &why) != 0) {
        env_die(m->env, why.text);
    }
    m->cluster = cluster;
    env_log(m->env, LOG_INFO, "this new master belongs to cluster %016llx",
            (unsigned long long)cluster);
    for (uint32_t i = 0; i < m->cfg.set.count; i++) {
        if (i != m->cfg.set.self) { /* they are told when hello is said again */
            log_links_redial(m->links, i);
        }
    }
}

/* Every other master is there, and none belongs to a cluster. */
static bool all_new(const struct master *m)
{
    for (uint32_t i = 0; i < m->cfg.set.count; i++) {
        const struct log_peer *peer = i == m->cfg.set.self ? NULL : log_links_peer(m->links, i);
        if (i != m->cfg.set.self && (peer == NULL || peer->cluster != 0)) {
            return false;
        }
    }
    return true;
}

/* After all callbacks of the link are done: adopting closes it. */
void identity_tick(struct master *m)
{
    uint64_t now = env_mono_ns(m->env);
    if (m->cluster != 0) {
        return;
    }
    for (uint32_t i = 0; i < m->cfg.set.count; i++) {
        const struct log_peer *peer = i == m->cfg.set.self ? NULL : log_links_peer(m->links, i);
        if (peer != NULL && peer->cluster != 0) {
            adopt(m, peer->cluster);
            return;
        }
    }
    if (m->cfg.set.self == 0 && all_new(m)) {
        uint64_t id = env_rand64(m->env);
        adopt(m, id != 0 ? id : 1);
    } else if (now >= m->identity.again_ns) {
        m->identity.again_ns = now + IDENTITY_AGAIN_MS * NS_PER_MS;
        for (uint32_t i = 0; i < m->cfg.set.count; i++) {
            if (i != m->cfg.set.self) {
                log_links_redial(m->links, i);
            }
        }
    }
}

/* ---------------------------------------------------------------- comparing */

static struct slice question(const struct master *m, struct writer *list)
{
    for (uint32_t i = 0; i < m->cfg.set.count; i++) {
        struct bytes addr = bytes_str(m->cfg.set.addr[i]);
        enc_text(list, &addr);
    }
    struct log_compare_req req = {.masters = writer_bytes(list),
                                  .number = m->cfg.set.self,
                                  .acks = m->cfg.set.acks,
                                  .disk = oplog_identity(m->log)->disk};
    return RPC_BODY(log_compare_req, &req);
}

static const char *who(const struct master *m, uint32_t number)
{
    return number < m->cfg.set.count ? m->cfg.set.addr[number] : "another master";
}

static void answered(struct rpc_call *c)
{
    struct master *m = c->owner;
    uint32_t number = (uint32_t)(c - m->identity.call);
    if (c->status == ERR_DISCONNECTED || c->status == m->identity.said[number]) {
        return;
    }
    m->identity.said[number] = c->status;
    if (c->status != 0) {
        env_log(m->env, LOG_ERROR, "master %s refuses this one: %s", who(m, number),
                c->status == -EEXIST   ? "it has the same identity: one directory was copied"
                : c->status == -EINVAL ? "its list of masters, or log_ack, is another one"
                                       : err_text(c->status));
    }
}

void identity_link_up(struct master *m, uint32_t number)
{
    struct rpc_call *c = &m->identity.call[number];
    struct writer list;
    if (rpc_call_running(c)) {
        rpc_cancel(c);
    }
    *c = (struct rpc_call){.done = answered, .owner = m};
    writer_init(&list);
    log_links_call(m->links, number, c, OP_log_compare, 0, question(m, &list), NULL, 0);
    writer_free(&list);
}

static int compare(const struct master *m, const struct log_compare_req *req)
{
    struct reader r = reader_of(req->masters);
    uint32_t count = 0;
    bool same = req->acks == m->cfg.set.acks;
    for (; !reader_done(&r); count++) {
        struct bytes addr;
        dec_text(&r, &addr);
        same = same && r.err == 0 && count < m->cfg.set.count &&
               bytes_equal(addr, bytes_str(m->cfg.set.addr[count]));
    }
    if (r.err != 0) {
        return ERR_PROTOCOL;
    }
    if (!same || count != m->cfg.set.count || req->number >= count) {
        return -EINVAL;
    }
    return req->number == m->cfg.set.self || req->disk == oplog_identity(m->log)->disk ? -EEXIST
                                                                                       : 0;
}

void identity_compare(struct peer *p, struct message *msg)
{
    struct master *m = p->m;
    struct log_compare_req req;
    if (log_compare_req_decode(slice_bytes(&msg->body), &req) != 0) {
        rpc_answer_status(&p->rpc, &msg->head, ERR_PROTOCOL);
        service_close_soon(p);
        return;
    }
    int status = compare(m, &req);
    p->compared = status == 0;
    if (status != 0) {
        env_log(m->env, LOG_ERROR, "master %s from %s is refused: %s", who(m, req.number),
                env_peer_name(m->env, p->rpc.conn),
                status == -EEXIST   ? "it has our identity: one directory was copied"
                : status == -EINVAL ? "its list of masters, or log_ack, is not ours"
                                    : err_text(status));
        rpc_answer_status(&p->rpc, &msg->head, status);
        return;
    }
    rpc_answer(&p->rpc, &msg->head, 0, 0, m->epoch,
               RPC_BODY(log_compare_rep, &(struct log_compare_rep){}), NULL);
}

void identity_close(struct master *m)
{
    for (uint32_t i = 0; i < LOGGERS_MAX; i++) {
        rpc_cancel(&m->identity.call[i]);
    }
}
