/* chunk_link.c - chunkservers as the mount knows them, and requests to them. */
#include "fuse/core/chunk_link.h"

#include <string.h>

#include "fuse/core/client_impl.h"

#define IDLE_NS  (60 * NS_PER_S)
#define DOUBT_NS (3 * NS_PER_S)

static void end_call(struct chunk_call *k, int status, struct message *reply)
{
    slice_drop(&k->body);
    slice_drop(&k->payload);
    list_remove(&k->link);
    k->peer = NULL;
    k->status = status;
    k->reply = reply;
    k->done(k);
}

/* ---------------------------------------------------------------- connection */

static void fail_queue(struct chunk_peer *p, int status)
{
    struct list doomed;
    list_init(&doomed);
    for (struct list *e; (e = list_pop_front(&p->queue)) != NULL;) {
        list_push_back(&doomed, e);
    }
    while (!list_empty(&doomed)) {
        end_call(list_entry(doomed.next, struct chunk_call, link), status, NULL);
    }
}

static void hang_up(struct chunk_peer *p, int status)
{
    env_timer_stop(p->client->env, &p->timer);
    rpc_cancel(&p->hello);
    p->greeted = false;
    rpc_close(&p->rpc);
    fail_queue(p, status);
}

static void note_failure(struct chunk_peer *p)
{
    p->failed_ns = MAX(env_mono_ns(p->client->env), 1u);
}

static void answered(struct rpc_call *rc)
{
    struct chunk_call *k = rc->owner;
    struct chunk_peer *p = k->peer;
    struct client *c = p->client;
    client_enter(c);
    if (rc->reply == NULL) {
        note_failure(p);
    } else {
        p->failed_ns = 0;
    }
    end_call(k, rc->status, rc->reply);
    client_leave(c);
}

static void send_now(struct chunk_call *k)
{
    struct chunk_peer *p = k->peer;
    struct frame_header head = {.op = k->op, .session = p->client->master.session};
    struct slice body = k->body, payload = k->payload;
    k->body = k->payload = (struct slice){0};
    p->used_ns = env_mono_ns(p->client->env);
    rpc_call(&p->rpc, &k->rpc, &head, body, &payload, k->timeout_ms);
}

static void hello_done(struct rpc_call *rc)
{
    struct chunk_peer *p = rc->owner;
    struct client *c = p->client;
    client_enter(c);
    struct hello_rep rep;
    int err = RPC_REPLY(hello, rc, &rep);
    if (err == 0 && rep.server != p->id) {
        env_log(c->env, LOG_WARN, "chunkserver %u was expected at %s, found %u", p->id, p->addr,
                rep.server);
        err = ERR_PROTOCOL;
    }
    if (err != 0 && !(err == ERR_DISCONNECTED && rc->reply == NULL)) {
        note_failure(p);
        hang_up(p, ERR_DISCONNECTED);
    }
    client_leave(c);
}

static void on_open(void *owner, struct rpc *r)
{
    struct chunk_peer *p = owner;
    struct client *c = p->client;
    client_enter(c);
    struct hello_req req = {.cluster = c->master.cluster,
                            .name = bytes_str(c->cfg.cluster),
                            .role = ROLE_CLIENT,
                            .server = p->id};
    struct frame_header head = {.op = OP_hello};
    rpc_call(r, &p->hello, &head, RPC_BODY(hello_req, &req), NULL, c->master.request_timeout_ms);
    /* The server reads in order: requests right behind the hello save a round trip. */
    p->greeted = true;
    while (!list_empty(&p->queue)) {
        struct chunk_call *k = list_entry(p->queue.next, struct chunk_call, link);
        list_remove(&k->link);
        send_now(k);
    }
    env_timer_set(c->env, &p->timer, IDLE_NS);
    client_leave(c);
}

static void on_close(void *owner, struct rpc *r, int err)
{
    struct chunk_peer *p = owner;
    (void)r;
    (void)err;
    client_enter(p->client);
    p->greeted = false;
    note_failure(p);
    env_timer_stop(p->client->env, &p->timer);
    fail_queue(p, ERR_DISCONNECTED);
    client_leave(p->client);
}

static const struct rpc_events events = {.on_open = on_open, .on_close = on_close};

static void timer_fired(struct env_timer *t)
{
    struct chunk_peer *p = container_of(t, struct chunk_peer, timer);
    struct client *c = p->client;
    client_enter(c);
    uint64_t idle_ns = env_mono_ns(c->env) - p->used_ns;
    if (!p->greeted) {
        note_failure(p);
        hang_up(p, ERR_TIMEOUT);
    } else if (p->rpc.calls.count > 0 || idle_ns < IDLE_NS) {
        env_timer_set(c->env, &p->timer, idle_ns < IDLE_NS ? IDLE_NS - idle_ns : IDLE_NS);
    } else {
        hang_up(p, ERR_DISCONNECTED);
    }
    client_leave(c);
}

/* ---------------------------------------------------------------- peers */

void chunk_links_init(struct client *c)
{
    hmap_init(&c->peers);
}

void chunk_links_close(struct client *c)
{
    c->freeing = true;
    hmap_for_each (n, &c->peers) {
        hang_up(container_of(n, struct chunk_peer, node), ERR_DISCONNECTED);
    }
}

void chunk_links_free(struct client *c)
{
    hmap_for_each (n, &c->peers) {
        struct chunk_peer *p = container_of(n, struct chunk_peer, node);
        hmap_remove(&c->peers, n);
        ASSERT(list_empty(&p->queue));
        mem_free(p);
    }
    hmap_close(&c->peers);
}

struct chunk_peer *chunk_peer_get(struct client *c, uint32_t id)
{
    for (struct hmap_node *n = hmap_first(&c->peers, hmap_hash_u64(id)); n; n = hmap_next(n)) {
        struct chunk_peer *p = container_of(n, struct chunk_peer, node);
        if (p->id == id) {
            return p;
        }
    }
    return NULL;
}

/* Copies text cut at the size of the field. True if it was different. */
static bool set_text(char *field, size_t size, struct bytes text)
{
    size_t n = MIN(text.len, size - 1);
    if (strlen(field) == n && memcmp(field, text.data, n) == 0) {
        return false;
    }
    memcpy(field, text.data, n);
    field[n] = '\0';
    return true;
}

struct chunk_peer *chunk_peer_learn(struct client *c, const struct server *s)
{
    if (s->id == 0 || s->addr.len == 0) {
        return NULL;
    }
    struct chunk_peer *p = chunk_peer_get(c, s->id);
    if (p == NULL) {
        if (c->peers.count >= PEERS_MAX) {
            return NULL;
        }
        p = mem_new(struct chunk_peer);
        p->client = c;
        p->id = s->id;
        rpc_init(&p->rpc, c->env, &events, p);
        p->hello.done = hello_done;
        p->hello.owner = p;
        p->timer.fire = timer_fired;
        list_init(&p->queue);
        hmap_add(&c->peers, &p->node, hmap_hash_u64(p->id));
    }
    set_text(p->host, sizeof(p->host), s->host);
    set_text(p->rack, sizeof(p->rack), s->rack);
    if (set_text(p->addr, sizeof(p->addr), s->addr)) {
        p->failed_ns = 0;
        if (p->rpc.conn != NULL && p->rpc.calls.count == 0 && list_empty(&p->queue)) {
            hang_up(p, ERR_DISCONNECTED); /* the next request dials the new address */
        }
    }
    return p;
}

int chunk_peer_distance(const struct chunk_peer *p)
{
    const struct client_config *cfg = &p->client->cfg;
    if (cfg->host[0] != '\0' && strcmp(cfg->host, p->host) == 0) {
        return NEAR_HOST;
    }
    if (cfg->rack[0] != '\0' && strcmp(cfg->rack, p->rack) == 0) {
        return NEAR_RACK;
    }
    return NEAR_NOT;
}

bool chunk_peer_doubtful(const struct chunk_peer *p)
{
    return p->failed_ns != 0 && env_mono_ns(p->client->env) - p->failed_ns < DOUBT_NS;
}

void chunk_peer_describe(const struct chunk_peer *p, struct server *out)
{
    *out = (struct server){.id = p->id,
                           .addr = bytes_str(p->addr),
                           .host = bytes_str(p->host),
                           .rack = bytes_str(p->rack)};
}

/* ---------------------------------------------------------------- calls */

void chunk_call_start(struct chunk_peer *p, struct chunk_call *k, uint16_t op, struct slice body,
                      struct slice *payload, uint32_t timeout_ms)
{
    struct client *c = p->client;
    ASSERT(k->peer == NULL && k->done != NULL);
    k->peer = p;
    k->op = op;
    k->body = body;
    k->payload = (struct slice){0};
    if (payload != NULL) {
        k->payload = *payload;
        *payload = (struct slice){0};
    }
    k->timeout_ms = timeout_ms;
    k->rpc = (struct rpc_call){.done = answered, .owner = k};
    list_init(&k->link);
    if (p->greeted) {
        send_now(k);
        return;
    }
    list_push_back(&p->queue, &k->link);
    if (p->rpc.conn == NULL && !c->freeing) {
        rpc_dial(&p->rpc, p->addr);
        env_timer_set(c->env, &p->timer, c->master.request_timeout_ms * NS_PER_MS);
    }
}

void chunk_call_cancel(struct chunk_call *k)
{
    if (k->peer == NULL) {
        return;
    }
    rpc_cancel(&k->rpc);
    list_remove(&k->link);
    slice_drop(&k->body);
    slice_drop(&k->payload);
    k->peer = NULL;
}
