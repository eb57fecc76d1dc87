/* askers.c - connections of operators' tools: hello, and hand-over. */
#include "deploy/monitor/core/monitor_internal.h"
#include "shared/base/mem.h"

struct asker {
    struct monitor *m;
    struct list link; /* in monitor.askers */
    struct rpc rpc;
    bool introduced;
    uint64_t end_ns; /* hung up then */
};

static void asker_free(struct asker *a)
{
    if (a->m->handover_by == a) {
        a->m->handover_by = NULL; /* it goes on, nobody is told */
    }
    if (a->m->fencing_by == a) {
        a->m->fencing_by = NULL;
    }
    list_remove(&a->link);
    a->m->asker_count--;
    rpc_close(&a->rpc);
    mem_free(a);
}

static void on_close(void *owner, struct rpc *r, int err)
{
    (void)r;
    (void)err;
    asker_free(owner);
}

static const char *primary_addr(const struct monitor *m)
{
    return m->state == HOLDING ? m->target->addr : monitor_view(m).active;
}

static void hello(struct asker *a, struct message *msg)
{
    struct hello_req req;
    if (msg->head.op != OP_hello || hello_req_decode(slice_bytes(&msg->body), &req) != 0) {
        rpc_answer_status(&a->rpc, &msg->head, ERR_PROTOCOL);
        return;
    }
    if (req.name.len > 0 && !bytes_equal(req.name, bytes_str(a->m->cfg.cluster))) {
        rpc_answer_status(&a->rpc, &msg->head, ERR_FOREIGN_CLUSTER);
        return;
    }
    a->introduced = true;
    struct hello_rep rep = {.primary = bytes_str(primary_addr(a->m))};
    rpc_answer(&a->rpc, &msg->head, 0, 0, monitor_epoch(a->m), RPC_BODY(hello_rep, &rep), NULL);
}

static void hand_over(struct asker *a, const struct frame_header *head)
{
    struct monitor *m = a->m;
    if (m->handover_by != NULL || !monitor_hand_over(m)) {
        rpc_answer_status(&a->rpc, head, ERR_BUSY);
        return;
    }
    m->handover = *head;
    m->handover_by = a;
    m->handover_ns = env_mono_ns(m->env);
    m->handover_epoch = m->epoch;
}

/* Answered by askers_tick. */
static void fence(struct asker *a, struct message *msg)
{
    struct monitor *m = a->m;
    struct fence_req req;
    int status = fence_req_decode(slice_bytes(&msg->body), &req) != 0 ? ERR_PROTOCOL
                 : m->state != LOOKING && m->epoch >= req.epoch       ? ERR_STALE_EPOCH
                 : m->fencing_by != NULL                              ? ERR_BUSY
                                                                      : 0;
    if (status != 0) {
        rpc_answer_status(&a->rpc, &msg->head, status);
        return;
    }
    m->fencing = msg->head;
    m->fencing_by = a;
    m->fencing_epoch = req.epoch;
    askers_tick(m);
}

static void on_request(void *owner, struct rpc *r, struct message *msg)
{
    struct asker *a = owner;
    if (!a->introduced) {
        hello(a, msg);
    } else if (msg->head.op == OP_handover) {
        hand_over(a, &msg->head);
    } else if (msg->head.op == OP_fence) {
        fence(a, msg);
    } else {
        rpc_answer_status(r, &msg->head, ERR_UNKNOWN_OP);
    }
}

static const struct rpc_events events = {.on_request = on_request, .on_close = on_close};

void askers_accept(void *owner, struct env_conn *c)
{
    struct monitor *m = owner;
    if (m->asker_count >= ASKERS_MAX) {
        env_hangup(m->env, c);
        return;
    }
    struct asker *a = mem_new(struct asker);
    a->m = m;
    a->end_ns = env_mono_ns(m->env) + ASKER_WAIT_MS * NS_PER_MS;
    list_push_back(&m->askers, &a->link);
    m->asker_count++;
    rpc_init(&a->rpc, m->env, &events, a);
    rpc_accept(&a->rpc, c);
}

void askers_handed(struct monitor *m, int status, uint32_t epoch, const char *primary)
{
    struct asker *a = m->handover_by;
    if (a == NULL) {
        return;
    }
    m->handover_by = NULL;
    if (status != 0) {
        rpc_answer_status(&a->rpc, &m->handover, status);
        return;
    }
    struct handover_rep rep = {.epoch = epoch,
                               .primary = bytes_str(primary),
                               .took_ms = (env_mono_ns(m->env) - m->handover_ns) / NS_PER_MS};
    rpc_answer(&a->rpc, &m->handover, 0, 0, epoch, RPC_BODY(handover_rep, &rep), NULL);
}

/* A request to end masters waits until they have. */
static void tell_fenced(struct monitor *m)
{
    if (m->state != LOOKING && m->epoch >= m->fencing_epoch) { /* promoted in between */
        rpc_answer_status(&m->fencing_by->rpc, &m->fencing, ERR_STALE_EPOCH);
    } else if (monitor_fenced(m, NULL)) {
        struct fence_rep rep = {.ended = m->ended};
        rpc_answer(&m->fencing_by->rpc, &m->fencing, 0, 0, m->fencing_epoch,
                   RPC_BODY(fence_rep, &rep), NULL);
    } else if (m->cfg.spares) {
        rpc_answer_status(&m->fencing_by->rpc, &m->fencing, -EOPNOTSUPP);
    } else {
        return;
    }
    m->fencing_by = NULL;
}

void askers_tick(struct monitor *m)
{
    uint64_t now = env_mono_ns(m->env);
    if (m->handover_by != NULL) {
        struct elect_view v = monitor_view(m);
        if (m->state != HOLDING && v.active_epoch > m->handover_epoch) {
            askers_handed(m, 0, v.active_epoch, v.active);
        } else if (now - m->handover_ns > HAND_OVER_WAIT_MS * NS_PER_MS) {
            askers_handed(m, ERR_TIMEOUT, 0, "");
        }
    }
    if (m->fencing_by != NULL) {
        tell_fenced(m);
    }
    list_for_each_safe (it, &m->askers) {
        struct asker *a = list_entry(it, struct asker, link);
        if (now >= a->end_ns) {
            asker_free(a);
        }
    }
}

void askers_close(struct monitor *m)
{
    while (!list_empty(&m->askers)) {
        asker_free(list_entry(m->askers.next, struct asker, link));
    }
}
