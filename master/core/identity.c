/* identity.c - which cluster a master of a set belongs to, and whether the others agree with it. */
#include "master/core/identity.h"
#include "master/core/master_internal.h"
#include "master/core/service.h"

#include <stdio.h>

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
}

/* Every other master is there, and none belongs to a cluster. */
static bool all_new(const struct master *m)
{
    for (uint32_t i = 0; i < m->cfg.set.count; i++) {
        if (i != m->cfg.set.self &&
            (!m->identity.peers[i].here || m->identity.peers[i].cluster != 0)) {
            return false;
        }
    }
    return true;
}

static void ask(struct master *m, uint32_t number);

static void say_who_is_missing(struct master *m)
{
    char names[LOGGERS_MAX * 64] = "";
    size_t len = 0;
    for (uint32_t i = 0; i < m->cfg.set.count; i++) {
        if (i != m->cfg.set.self && !m->identity.peers[i].here && len < sizeof(names)) {
            len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", len > 0 ? ", " : "",
                                    m->cfg.set.addr[i]);
        }
    }
    m->identity.told = true;
    env_log(
        m->env, LOG_WARN,
        "this directory is new: a master of the list that belongs to a cluster is waited for, or, "
        "if the cluster is new, all of them; not there: %s",
        len > 0 ? names : "none");
}

void identity_tick(struct master *m)
{
    uint64_t now = env_mono_ns(m->env);
    if (m->cluster != 0 || now < m->identity.again_ns) {
        return;
    }
    m->identity.again_ns = now + IDENTITY_AGAIN_MS * NS_PER_MS;
    for (uint32_t i = 0; i < m->cfg.set.count; i++) {
        if (i != m->cfg.set.self && m->identity.peers[i].cluster != 0) {
            adopt(m, m->identity.peers[i].cluster);
            return;
        }
    }
    if (m->cfg.set.self == 0 && all_new(m)) {
        uint64_t id = env_rand64(m->env);
        adopt(m, id != 0 ? id : 1);
        return;
    }
    if (!m->identity.told && now - m->start_ns > IDENTITY_TOLD_MS * NS_PER_MS) {
        say_who_is_missing(m);
    }
    for (uint32_t i = 0; i < m->cfg.set.count; i++) {
        if (i != m->cfg.set.self && log_links_up(m->links, i)) {
            ask(m, i);
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

/* Why they are refused, and what helps. */
static const char *refusal_text(int status)
{
    return status == -EEXIST ? "both have one identity, so one directory is a copy of the other: "
                               "empty the copy, and its master gets all from the others"
           : status == -EADDRINUSE ? "both say that they are this one of the list: advertise (or "
                                     "listen) of one is wrong"
           : status == -EINVAL
               ? "they disagree: make masters and log_ack the same in both configurations"
               : err_text(status);
}

static void answered(struct rpc_call *c)
{
    struct master *m = c->owner;
    struct log_compare_rep rep;
    uint32_t number = 0;
    while (&m->identity.peers[number].call != c) {
        number++;
    }
    int status = RPC_REPLY(log_compare, c, &rep);
    if (status == 0) {
        m->identity.peers[number].here = true;
        m->identity.peers[number].cluster = rep.cluster;
    }
    if (status == ERR_DISCONNECTED || status == m->identity.peers[number].said) {
        return;
    }
    m->identity.peers[number].said = status;
    if (status == -EINVAL) {
        assure_refused(m);
    }
    if (status != 0) {
        env_log(m->env, LOG_ERROR, "master %s refuses this one: %s", who(m, number),
                refusal_text(status));
    }
}

static void ask(struct master *m, uint32_t number)
{
    struct rpc_call *c = &m->identity.peers[number].call;
    struct writer list;
    rpc_cancel(c);
    *c = (struct rpc_call){.done = answered, .owner = m};
    writer_init(&list);
    log_links_call(m->links, number, c, OP_log_compare, 0, question(m, &list), NULL, 0);
    writer_free(&list);
}

void identity_link_changed(struct master *m, uint32_t number, bool up)
{
    m->identity.peers[number].here = false; /* its disk stays: it asks once, perhaps before */
    m->identity.peers[number].cluster = 0;
    if (up) {
        ask(m, number);
    }
}

bool identity_refused(const struct master *m)
{
    bool refused = false;
    for (uint32_t i = 0; i < m->cfg.set.count; i++) {
        refused |= m->identity.peers[i].said == -EINVAL;
    }
    return refused;
}

/* The log of this one has the id of another one's that is there. */
static bool is_a_copy(const struct master *m, const struct log_compare_req *req)
{
    bool found = req->disk == oplog_identity(m->log)->disk;
    for (uint32_t i = 0; i < m->cfg.set.count; i++) {
        found |=
            i != req->number && m->identity.peers[i].here && m->identity.peers[i].disk == req->disk;
    }
    return found;
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
    return req->number == m->cfg.set.self ? -EADDRINUSE : is_a_copy(m, req) ? -EEXIST : 0;
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
                env_peer_name(m->env, p->rpc.conn), refusal_text(status));
        rpc_answer_status(&p->rpc, &msg->head, status);
        return;
    }
    m->identity.peers[req.number].disk = req.disk;
    struct log_compare_rep rep = {.cluster = m->cluster};
    rpc_answer(&p->rpc, &msg->head, 0, 0, m->epoch, RPC_BODY(log_compare_rep, &rep), NULL);
}

void identity_close(struct master *m)
{
    for (uint32_t i = 0; i < LOGGERS_MAX; i++) {
        rpc_cancel(&m->identity.peers[i].call);
    }
}
