/* peers.c - our connections to other chunkservers. */
#include "chunkd/core/peers.h"
#include "shared/base/hash.h"
#include "shared/base/mem.h"

#include <string.h>

struct peer {
    struct hmap_node node;
    struct peers *peers;
    struct rpc rpc;
    struct rpc_call hello;
    uint32_t server;   /* who is meant: another disk may have taken the address over */
    struct bytes addr; /* NUL-terminated, owned */
    bool refused;      /* said so in the log */
};

static void on_close(void *owner, struct rpc *r, int err)
{
    (void)owner;
    (void)r;
    (void)err; /* the calls told their owners; the next call dials again */
}

static const struct rpc_events peer_events = {.on_close = on_close};

static void hello_done(struct rpc_call *call)
{
    struct peer *p = call->owner;
    if (call->reply == NULL) {
        return; /* the connection's end says it all */
    }
    if (call->status != 0 && !p->refused) {
        p->refused = true;
        env_log(p->peers->env, LOG_WARN, "chunkserver %s refuses us: %s",
                (const char *)p->addr.data, err_text(call->status));
    }
    if (call->status == 0) {
        p->refused = false;
    }
}

static struct peer *peer_find(const struct peers *ps, uint32_t server, struct bytes addr,
                              uint64_t hash)
{
    for (struct hmap_node *n = hmap_first(&ps->by_addr, hash); n; n = hmap_next(n)) {
        struct peer *p = container_of(n, struct peer, node);
        if (p->server == server && bytes_equal(p->addr, addr)) {
            return p;
        }
    }
    return NULL;
}

static void peer_free(struct peer *p)
{
    hmap_remove(&p->peers->by_addr, &p->node);
    rpc_cancel(&p->hello);
    rpc_close(&p->rpc);
    mem_free((void *)(uintptr_t)p->addr.data);
    mem_free(p);
}

/* Room for one more: forgets a peer without calls. */
static bool make_room(struct peers *ps)
{
    if (ps->by_addr.count < ps->most) {
        return true;
    }
    hmap_for_each (it, &ps->by_addr) {
        struct peer *p = container_of(it, struct peer, node);
        if (p->rpc.calls.count == 0 && list_empty(&p->rpc.ending)) {
            peer_free(p);
            return true;
        }
    }
    return false;
}

static struct peer *peer_get(struct peers *ps, uint32_t server, struct bytes addr)
{
    uint64_t hash = hash64(addr.data, addr.len);
    struct peer *p = peer_find(ps, server, addr, hash);
    if (p != NULL || !make_room(ps)) {
        return p;
    }
    p = mem_new(struct peer);
    p->peers = ps;
    p->server = server;
    p->addr = bytes_of(mem_dup(addr.data, addr.len), addr.len);
    p->hello.done = hello_done;
    p->hello.owner = p;
    rpc_init(&p->rpc, ps->env, &peer_events, p);
    hmap_add(&ps->by_addr, &p->node, hash);
    return p;
}

void peers_init(struct peers *p, struct env *env, const uint64_t *cluster, const char *name,
                uint32_t most)
{
    *p = (struct peers){.env = env, .cluster = cluster, .name = name, .most = most};
    hmap_init(&p->by_addr);
}

void peers_close(struct peers *p)
{
    struct hmap_node *n;
    while ((n = hmap_begin(&p->by_addr)) != NULL) {
        peer_free(container_of(n, struct peer, node));
    }
    hmap_close(&p->by_addr);
}

int peers_call(struct peers *ps, uint32_t server, struct bytes addr, struct rpc_call *call,
               const struct frame_header *head, struct slice body, struct slice *payload,
               uint32_t timeout_ms)
{
    struct peer *p = peer_get(ps, server, addr);
    if (p == NULL) {
        return ERR_BUSY;
    }
    if (p->rpc.conn == NULL) {
        rpc_cancel(&p->hello);
        rpc_dial(&p->rpc, (const char *)p->addr.data);
        struct hello_req hello = {.cluster = *ps->cluster,
                                  .name = bytes_str(ps->name),
                                  .role = ROLE_CHUNKD,
                                  .server = server};
        rpc_call(&p->rpc, &p->hello, &(struct frame_header){.op = OP_hello},
                 RPC_BODY(hello_req, &hello), NULL, 0);
    }
    rpc_call(&p->rpc, call, head, body, payload, timeout_ms);
    return 0;
}
