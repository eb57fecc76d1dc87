/* links.c - connections to this chunkserver: introductions, limits, and who may ask for what. */
#include "chunkd/core/core.h"
#include "shared/base/mem.h"

#include <string.h>

static void link_free_if_done(struct link *l)
{
    if (l->gone && l->requests == 0) {
        list_remove(&l->list_link);
        l->c->link_count -= !l->to_master;
        rpc_close(&l->rpc);
        mem_free(l);
    }
}

struct link *link_new(struct chunkd *c)
{
    struct link *l = mem_new(struct link);
    l->c = c;
    list_push_back(&c->links, &l->list_link);
    return l;
}

void link_dial(struct link *l, const char *addr, const struct rpc_events *ev)
{
    l->to_master = true;
    rpc_init(&l->rpc, l->c->env, ev, l);
    rpc_dial(&l->rpc, addr);
}

void link_close(struct link *l)
{
    if (!l->gone) {
        l->gone = true;
        rpc_close(&l->rpc);
        link_free_if_done(l);
    }
}

/* ---------------------------------------------------------------- requests */

void *request_begin(struct link *l, struct message *m, size_t size)
{
    struct request *q = mem_alloc(size);
    q->c = l->c;
    q->link = l;
    q->head = m->head;
    q->body = slice_ref(&m->body);
    q->payload = slice_ref(&m->payload);
    q->charged = m->payload.len + 1024;
    q->c->request_bytes += q->charged;
    l->requests++;
    list_push_back(&l->c->requests, &q->list_link);
    q->c->last_request_ns = env_mono_ns(q->c->env);
    return q;
}

static void request_free(struct request *q)
{
    if (q->release != NULL) {
        q->release(q);
    }
    q->c->request_bytes -= q->charged;
    q->c->last_request_ns = env_mono_ns(q->c->env);
    slice_drop(&q->body);
    slice_drop(&q->payload);
    list_remove(&q->list_link);
    q->link->requests--;
    link_free_if_done(q->link);
    mem_free(q);
}

void request_end(struct request *q)
{
    request_free(q);
}

void request_answer(struct request *q, int status, struct slice body, struct slice *payload)
{
    q->c->requests_served += !q->link->to_master;
    rpc_answer(&q->link->rpc, &q->head, status, 0, 0, body, payload);
}

void link_refuse(struct link *l, const struct message *m, int status)
{
    rpc_answer_status(&l->rpc, &m->head, status);
}

/* ---------------------------------------------------------------- introductions */

static void violated(struct link *l, const struct message *m, int status, const char *what)
{
    env_log(l->c->env, LOG_WARN, "connection with %s closed: %s",
            env_peer_name(l->c->env, l->rpc.conn), what);
    link_refuse(l, m, status);
    link_close(l);
}

static bool is_foreign(const struct chunkd *c, const struct hello_req *req)
{
    if (c->label.cluster != 0 && req->cluster != 0 && c->label.cluster != req->cluster) {
        return true;
    }
    const char *name = c->label.name[0] != '\0' ? c->label.name : c->cfg.cluster;
    return name[0] != '\0' && req->name.len > 0 && !bytes_equal(bytes_str(name), req->name);
}

static void hello_handle(struct link *l, struct message *m)
{
    struct hello_req req;
    if (hello_req_decode(slice_bytes(&m->body), &req) != 0) {
        violated(l, m, ERR_PROTOCOL, "its hello is malformed");
        return;
    }
    if (is_foreign(l->c, &req)) {
        violated(l, m, ERR_FOREIGN_CLUSTER, "it belongs to another cluster");
        return;
    }
    if (req.server != 0 && req.server != l->c->label.server) {
        violated(l, m, ERR_NO_REPLICA, "it means the chunkserver that had this address before");
        return;
    }
    l->introduced = true;
    struct hello_rep rep = {.cluster = l->c->label.cluster, .server = l->c->label.server};
    rpc_answer(&l->rpc, &m->head, 0, 0, 0, RPC_BODY(hello_rep, &rep), NULL);
}

/* ---------------------------------------------------------------- dispatch */

static int check_room(const struct link *l, const struct message *m)
{
    const struct chunkd *c = l->c;
    if (!chunkd_is_registered(c)) {
        return ERR_NOT_READY;
    }
    const struct chunkd_limits *most = &c->cfg.limits;
    if (l->requests >= most->link_requests ||
        c->request_bytes + m->payload.len > most->request_bytes ||
        env_queued(c->env, l->rpc.conn) > most->answer_bytes) {
        return ERR_BUSY;
    }
    return 0;
}

static void peer_request(void *owner, struct rpc *r, struct message *m)
{
    struct link *l = owner;
    (void)r;
    if (m->head.op == OP_hello) {
        hello_handle(l, m);
        return;
    }
    if (!l->introduced) {
        violated(l, m, ERR_PROTOCOL, "it asked before it said hello");
        return;
    }
    int err = check_room(l, m);
    if (err != 0) {
        link_refuse(l, m, err);
        return;
    }
    switch (m->head.op) {
    case OP_read:
        read_handle(l, m);
        break;
    case OP_write:
        write_handle(l, m);
        break;
    case OP_forward:
        forward_handle(l, m);
        break;
    case OP_sync:
        sync_handle(l, m);
        break;
    case OP_sync_replica:
        sync_replica_handle(l, m);
        break;
    case OP_seek:
        seek_handle(l, m);
        break;
    case OP_vector:
        vector_handle(l, m);
        break;
    case OP_read_raw:
        read_raw_handle(l, m);
        break;
    case OP_verify_replica:
        verify_replica_handle(l, m);
        break;
    default:
        link_refuse(l, m, ERR_UNKNOWN_OP);
    }
}

static void peer_closed(void *owner, struct rpc *r, int err)
{
    struct link *l = owner;
    (void)r;
    (void)err;
    l->gone = true;
    link_free_if_done(l);
}

static const struct rpc_events link_events = {.on_request = peer_request, .on_close = peer_closed};

void links_accept(void *owner, struct env_conn *conn)
{
    struct chunkd *c = owner;
    if (c->link_count >= c->cfg.limits.links) {
        env_hangup(c->env, conn);
        return;
    }
    struct link *l = link_new(c);
    c->link_count++;
    rpc_init(&l->rpc, c->env, &link_events, l);
    rpc_accept(&l->rpc, conn);
}

void links_close(struct chunkd *c)
{
    while (!list_empty(&c->requests)) {
        request_free(list_entry(c->requests.next, struct request, list_link));
    }
    while (!list_empty(&c->links)) {
        link_close(list_entry(c->links.next, struct link, list_link));
    }
}

/* ---------------------------------------------------------------- requests of the master */

/* A request that waits until the epoch it carries is on disk. */
struct held_request {
    struct request q;
    struct label_wait wait;
};

static void master_dispatch(struct link *l, struct message *m)
{
    switch (m->head.op) {
    case OP_prepare:
        prepare_handle(l, m);
        break;
    case OP_pull:
        pull_handle(l, m);
        break;
    case OP_activate:
        activate_handle(l, m);
        break;
    case OP_drop_replicas:
        drop_replicas_handle(l, m);
        break;
    case OP_scan_now:
        scan_now_handle(l, m);
        break;
    case OP_digests:
        digests_handle(l, m);
        break;
    default:
        link_refuse(l, m, ERR_UNKNOWN_OP);
    }
}

static void held_release(struct request *q)
{
    struct held_request *h = (struct held_request *)q;
    if (h->wait.link.next != NULL) {
        list_remove(&h->wait.link);
    }
}

static void epoch_stored(struct label_wait *w, int status)
{
    struct held_request *h = container_of(w, struct held_request, wait);
    struct link *l = h->q.link;
    struct message m = {.head = h->q.head, .body = h->q.body, .payload = h->q.payload};
    if (status != 0) {
        link_refuse(l, &m, status);
    } else if (m.head.epoch < l->c->label.epoch) {
        link_refuse(l, &m, ERR_STALE_EPOCH);
    } else if (!l->gone) {
        master_dispatch(l, &m);
    }
    request_end(&h->q);
}

void master_request(struct link *l, struct message *m)
{
    struct chunkd *c = l->c;
    if (m->head.epoch < c->label.epoch || (c->label_busy && m->head.epoch < c->label_next.epoch)) {
        link_refuse(l, m, ERR_STALE_EPOCH);
        return;
    }
    int err = check_room(l, m);
    if (err != 0) {
        link_refuse(l, m, err);
        return;
    }
    if (m->head.epoch == c->label.epoch) {
        master_dispatch(l, m);
        return;
    }
    struct held_request *h = request_begin(l, m, sizeof(*h));
    h->q.release = held_release;
    h->wait.done = epoch_stored;
    struct label *next = chunkd_next_label(c);
    next->epoch = MAX(next->epoch, m->head.epoch);
    chunkd_store_label(c, &h->wait);
}
