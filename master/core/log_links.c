/* log_links.c - the masters of a set, and a connection of this one to each of the others. */
#include "master/core/log_links.h"
#include "shared/base/mem.h"

#include <string.h>

enum {
    HELLO_MS = 3000, /* for connecting and the answer to hello */
    RETRY_MS = 200,  /* between two dials */
    READ_MS = 3000,
    RETRY_FOREIGN_MS = 5000 /* of one that refused us, or that we refuse */
};

struct log_link {
    struct log_links *all;
    uint32_t number;
    struct rpc rpc;
    struct rpc_call hello;
    struct env_timer timer; /* pause before the next dial; bound of one */
    bool dialling;          /* the timer is the bound */
    bool up;
    bool told; /* the log has a line that it is away */
    int err;   /* why the last connection ended */
    struct log_peer peer;
};

struct log_links {
    struct env *env;
    const struct log_set *set;
    const char *cluster_name;
    const uint64_t *cluster;
    struct list watches;
    struct log_link links[LOGGERS_MAX];
    struct rpc nowhere; /* never open: requests to masters that are away fail through it */
};

static void tell(struct log_link *k, bool up)
{
    if (k->up == up) {
        return;
    }
    k->up = up;
    list_for_each_safe (it, &k->all->watches) {
        struct log_watch *w = list_entry(it, struct log_watch, link);
        w->changed(w, k->number, up);
    }
}

/* The connection is closed: dialled again after a pause. */
static void is_down(struct log_link *k, int err)
{
    struct env *env = k->all->env;
    bool foreign = err == ERR_FOREIGN_CLUSTER;
    k->dialling = false;
    if (k->up || !k->told || (foreign && k->err != err)) {
        const char *addr = k->all->set->addr[k->number];
        if (foreign) {
            env_log(env, LOG_ERROR,
                    "master %s is of another cluster: compare cluster and masters in both "
                    "configurations; a directory that belongs elsewhere must go there",
                    addr);
        } else {
            env_log(env, LOG_WARN, "master %s is away: %s", addr, err_text(err));
        }
        k->told = true;
    }
    k->err = err;
    env_timer_set(env, &k->timer, (foreign ? RETRY_FOREIGN_MS : RETRY_MS) * NS_PER_MS);
    tell(k, false);
}

static void on_close(void *owner, struct rpc *r, int err)
{
    (void)r;
    is_down(owner, err);
}

static void drop(struct log_link *k, int err)
{
    rpc_close(&k->rpc);
    is_down(k, err);
}

static void hello_done(struct rpc_call *c)
{
    struct log_link *k = c->owner;
    struct log_links *l = k->all;
    struct hello_rep rep;
    if (c->status == ERR_DISCONNECTED) {
        return; /* on_close comes */
    }
    int err = RPC_REPLY(hello, c, &rep);
    if (err == 0 && rep.cluster != 0 && *l->cluster != 0 && rep.cluster != *l->cluster) {
        err = ERR_FOREIGN_CLUSTER;
    }
    if (err != 0) {
        drop(k, err);
        return;
    }
    k->dialling = false;
    env_timer_stop(l->env, &k->timer);
    k->peer =
        (struct log_peer){.cluster = rep.cluster, .role = rep.role, .epoch = c->reply->head.epoch};
    memcpy(k->peer.primary, rep.primary.data, MIN(rep.primary.len, (uint32_t)ADDR_LEN_MAX));
    if (k->told) {
        env_log(l->env, LOG_INFO, "master %s is there", l->set->addr[k->number]);
        k->told = false;
    }
    tell(k, true);
}

static void on_open(void *owner, struct rpc *r)
{
    struct log_link *k = owner;
    struct hello_req req = {
        .cluster = *k->all->cluster, .name = bytes_str(k->all->cluster_name), .role = ROLE_MASTER};
    k->hello.done = hello_done;
    k->hello.owner = k;
    rpc_call(r, &k->hello, &(struct frame_header){.op = OP_hello}, RPC_BODY(hello_req, &req), NULL,
             0);
}

/* Others ask over their own connections. */
static const struct rpc_events events = {.on_open = on_open, .on_close = on_close};

static void timer_fired(struct env_timer *t)
{
    struct log_link *k = container_of(t, struct log_link, timer);
    if (k->dialling) {
        drop(k, ERR_TIMEOUT);
        return;
    }
    k->dialling = true;
    env_timer_set(k->all->env, t, HELLO_MS * NS_PER_MS);
    rpc_dial(&k->rpc, k->all->set->addr[k->number]);
}

struct log_links *log_links_create(struct env *env, const struct log_set *set,
                                   const char *cluster_name, const uint64_t *cluster)
{
    struct log_links *l = mem_new(struct log_links);
    ASSERT(set->count <= LOGGERS_MAX && set->self < set->count);
    l->env = env;
    l->set = set;
    l->cluster_name = cluster_name;
    l->cluster = cluster;
    list_init(&l->watches);
    rpc_init(&l->nowhere, env, &events, NULL);
    for (uint32_t i = 0; i < set->count; i++) {
        struct log_link *k = &l->links[i];
        k->all = l;
        k->number = i;
        k->timer.fire = timer_fired;
        rpc_init(&k->rpc, env, &events, k);
    }
    return l;
}

void log_links_destroy(struct log_links *l)
{
    if (l == NULL) {
        return;
    }
    for (uint32_t i = 0; i < l->set->count; i++) {
        struct log_link *k = &l->links[i];
        rpc_cancel(&k->hello);
        env_timer_stop(l->env, &k->timer);
        rpc_close(&k->rpc);
    }
    rpc_close(&l->nowhere);
    mem_free(l);
}

void log_links_start(struct log_links *l)
{
    for (uint32_t i = 0; i < l->set->count; i++) {
        if (i != l->set->self) {
            env_timer_set(l->env, &l->links[i].timer, 0);
        }
    }
}

const struct log_set *log_links_set(const struct log_links *l)
{
    return l->set;
}

void log_links_watch(struct log_links *l, struct log_watch *w)
{
    list_push_back(&l->watches, &w->link);
}

void log_links_unwatch(struct log_watch *w)
{
    list_remove(&w->link);
}

bool log_links_up(const struct log_links *l, uint32_t number)
{
    return l->links[number].up;
}

const struct log_peer *log_links_peer(const struct log_links *l, uint32_t number)
{
    return l->links[number].up ? &l->links[number].peer : NULL;
}

void log_links_call(struct log_links *l, uint32_t number, struct rpc_call *call, enum op_code op,
                    uint32_t epoch, struct slice body, struct slice *payload, uint32_t timeout_ms)
{
    struct frame_header head = {.op = (uint16_t)op, .epoch = epoch};
    struct log_link *k = &l->links[number];
    rpc_call(k->up ? &k->rpc : &l->nowhere, call, &head, body, payload, timeout_ms);
}

void log_links_read(struct log_links *l, uint32_t number, struct rpc_call *call, uint64_t from)
{
    struct log_read_req req = {.from = from};
    log_links_call(l, number, call, OP_log_read, 0, RPC_BODY(log_read_req, &req), NULL, READ_MS);
}

void log_links_redial(struct log_links *l, uint32_t number)
{
    if (l->links[number].up) {
        drop(&l->links[number], ERR_TIMEOUT);
    }
}
