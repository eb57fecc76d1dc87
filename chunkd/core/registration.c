/* registration.c - our connection to the master.
 *
 *   dial -> hello -> register -> report (all parts at once: one picture) -> heartbeats
 *   any failure -> hang up, next address, backoff when all were tried
 *
 * Which master is the primary only the masters know: a deposed one that does not know it yet is told
 * by the epochs, which a chunkserver keeps in its label.
 */
#include "chunkd/core/registration.h"
#include "chunkd/core/core.h"
#include "shared/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BACKOFF_MIN_MS = 100,
    BACKOFF_MAX_MS = 2000,
    REFUSED_MS = 5000, /* a master that refuses us is asked again this late */
    ANSWER_MS = 3000,  /* hello, register and heartbeats */
    /* The same where there are several: one of the others may have taken over. */
    ROUND_MAX_MS = 500, /* between rounds through the list */
    NEXT_MS = 10,       /* within a round */
    DIAL_MS = 1500,     /* for a connection, and for its hello */
    SILENCE_MS = 2000,  /* heartbeats */
    REPORT_REPLICAS = 4096,
};

#define SAY_NS (10 * NS_PER_S)

/* A call whose answer nobody waits for. */
struct note {
    struct list link;
    struct rpc_call call;
};

static void dial(struct registration *m);

/* ---------------------------------------------------------------- ends */

static void timer_fired(struct env_timer *t)
{
    dial(container_of(t, struct registration, timer));
}

static void drop_notes(struct registration *m)
{
    for (struct list *e; (e = list_pop_front(&m->notes)) != NULL;) {
        struct note *n = list_entry(e, struct note, link);
        rpc_cancel(&n->call);
        mem_free(n);
    }
}

static void drop_link(struct registration *m)
{
    rpc_cancel(&m->hello);
    rpc_cancel(&m->reg);
    rpc_cancel(&m->heartbeat);
    drop_notes(m);
    m->registered = false;
    if (m->link != NULL) {
        struct link *l = m->link;
        m->link = NULL;
        link_close(l);
    }
}

static bool several(const struct registration *m)
{
    return masters_several(&m->masters);
}

/* Says why we have no master, once per reason; of several masters now and then. */
static void say(struct registration *m, int err, const char *what)
{
    char text[sizeof(m->said)];
    uint64_t now = env_mono_ns(m->c->env);
    if (several(m) && m->said_ns != 0 && now - m->said_ns < SAY_NS) {
        return;
    }
    snprintf(text, sizeof(text), "master %.60s: %s: %s", m->masters.current, what, err_text(err));
    if (strcmp(text, m->said) != 0) {
        memcpy(m->said, text, sizeof(text));
        m->said_ns = now;
        env_log(m->c->env, LOG_WARN, "%s", text);
    }
}

/* How long to wait before the next one is dialled. */
static uint64_t pause_ms(struct registration *m, int err)
{
    if (!masters_round_over(&m->masters)) {
        return NEXT_MS;
    }
    masters_round_begins(&m->masters);
    m->rounds++;
    if (err == ERR_FOREIGN_CLUSTER) {
        return REFUSED_MS;
    }
    return MIN((uint64_t)BACKOFF_MIN_MS << MIN(m->rounds, 8u),
               (uint64_t)(several(m) ? ROUND_MAX_MS : BACKOFF_MAX_MS));
}

static void dial_after(struct registration *m, uint64_t ms)
{
    drop_link(m);
    m->timer.fire = timer_fired;
    env_timer_set(m->c->env, &m->timer, ms * NS_PER_MS);
}

static void try_next(struct registration *m, int err, const char *what)
{
    say(m, err, what);
    dial_after(m, pause_ms(m, err));
}

/* It says who is, perhaps: that one is asked next, once in a round. */
static void not_the_primary(struct registration *m, const struct hello_rep *hello)
{
    if (masters_named(&m->masters, hello->primary)) {
        dial_after(m, 0);
    } else {
        try_next(m, hello->role == MASTER_STARTING ? ERR_NOT_READY : ERR_NOT_MASTER, "no use");
    }
}

/* The connection's end ended this call: on_close deals with it. */
static bool ended_by_close(const struct rpc_call *call)
{
    return call->reply == NULL && call->status == ERR_DISCONNECTED;
}

/* ---------------------------------------------------------------- heartbeats */

static void send_heartbeat(struct registration *m);

static void heartbeat_due(struct env_timer *t)
{
    send_heartbeat(container_of(t, struct registration, timer));
}

static void heartbeat_answered(struct rpc_call *call)
{
    struct registration *m = container_of(call, struct registration, heartbeat);
    struct heartbeat_rep rep;
    if (ended_by_close(call)) {
        return;
    }
    int err = RPC_REPLY(heartbeat, call, &rep);
    if (err != 0) {
        try_next(m, err, "no answer to a heartbeat");
        return;
    }
    /* A lease that has ended begins anew only when the master has said what is outdated here. */
    if (m->report_parts == 0 || env_mono_ns(m->c->env) < m->lease_until_ns) {
        m->lease_until_ns = m->heartbeat_sent_ns + m->lease_ms * NS_PER_MS / 100 * 99;
    }
    uint64_t next = m->heartbeat_sent_ns + m->heartbeat_ms * NS_PER_MS;
    uint64_t now = env_mono_ns(m->c->env);
    m->timer.fire = heartbeat_due;
    env_timer_set(m->c->env, &m->timer, next > now ? next - now : 0);
    copy_pace_set(&m->c->copy_pace, rep.copy_rate);
}

static void send_heartbeat(struct registration *m)
{
    struct chunkd *c = m->c;
    chunkd_ask_space(c);
    struct writer peers;
    writer_init(&peers);
    uint32_t disk_us = latency_take(&c->table.latency, &peers);
    struct heartbeat_req req = {.total = c->space_total,
                                .avail = chunkd_space_avail(c) + c->aside.bytes,
                                .chunks = c->table.count,
                                .client_bytes = c->client_bytes,
                                .copied_in = c->copied_in,
                                .copied_out = c->copied_out,
                                .failing = c->health.failing,
                                .scrub = scrub_state(&c->scrub),
                                .requests = c->requests_served,
                                .disk_us = disk_us,
                                .peer_us = writer_bytes(&peers)};
    c->requests_served = 0;
    c->client_bytes = c->copied_in = c->copied_out = 0;
    m->heartbeat_sent_ns = env_mono_ns(c->env);
    m->heartbeat.done = heartbeat_answered;
    rpc_call(&m->link->rpc, &m->heartbeat, &(struct frame_header){.op = OP_heartbeat},
             RPC_BODY(heartbeat_req, &req), NULL,
             several(m) ? (uint32_t)SILENCE_MS : MAX(m->lease_ms, (uint32_t)ANSWER_MS));
    writer_free(&peers);
}

/* ---------------------------------------------------------------- reports */

static void note_answered(struct rpc_call *call)
{
    struct note *n = container_of(call, struct note, call);
    struct registration *m = call->owner;
    if (call->status != 0 && call->reply != NULL) {
        env_log(m->c->env, LOG_WARN, "the master refuses a report: %s", err_text(call->status));
    }
    list_remove(&n->link);
    mem_free(n);
}

static void send_note(struct registration *m, uint16_t op, struct slice body,
                      void (*done)(struct rpc_call *call))
{
    struct note *n = mem_new(struct note);
    n->call.done = done;
    n->call.owner = m;
    list_push_back(&m->notes, &n->link);
    rpc_call(&m->link->rpc, &n->call, &(struct frame_header){.op = op}, body, NULL, 0);
}

void registration_tell(struct registration *m, enum op_code op, struct slice body)
{
    if (m->registered) {
        send_note(m, (uint16_t)op, body, note_answered);
    } else {
        slice_drop(&body);
    }
}

static int by_place(const void *a, const void *b)
{
    const struct local_replica *x = *(struct local_replica *const *)a;
    const struct local_replica *y = *(struct local_replica *const *)b;
    if (x->ino != y->ino) {
        return x->ino < y->ino ? -1 : 1;
    }
    if (x->number != y->number) {
        return x->number < y->number ? -1 : 1;
    }
    return x->handle < y->handle ? -1 : x->handle > y->handle;
}

/* The answer says which of the part's replicas a version left out while we were away: they are not
 * read until they get another one. */
static void report_answered(struct rpc_call *call)
{
    struct registration *m = call->owner;
    struct report_rep rep;
    int err = RPC_REPLY(report, call, &rep);
    struct reader r = reader_of(err == 0 ? rep.stale : (struct bytes){0});
    while (!reader_done(&r)) {
        uint64_t handle, version;
        dec_u64(&r, &handle);
        dec_u64(&r, &version);
        struct local_replica *one = r.err == 0 ? table_get(&m->c->table, handle) : NULL;
        if (one != NULL && one->version == version) {
            one->outdated_round = m->report_round;
        }
    }
    if (err == 0 && --m->report_parts == 0) {
        m->told_round = m->report_round;
    }
    bool refused = err != 0 && !ended_by_close(call);
    note_answered(call);
    if (refused) {
        try_next(m, err, "it does not take our report");
    }
}

bool registration_outdated(const struct registration *m, const struct local_replica *r)
{
    return r->outdated_round != 0 && r->outdated_round >= m->told_round;
}

static void send_report(struct registration *m)
{
    struct table *t = &m->c->table;
    uint64_t count;
    uint64_t *handles = table_handles(t, &count);
    struct local_replica **all = mem_alloc((count + 1) * sizeof(struct local_replica *));
    for (uint64_t i = 0; i < count; i++) {
        all[i] = table_get(t, handles[i]);
    }
    qsort(all, count, sizeof(struct local_replica *), by_place);
    uint64_t at = 0;
    m->report_round++;
    m->report_parts = 0;
    do {
        struct writer w;
        writer_init(&w);
        for (uint32_t n = 0; n < REPORT_REPLICAS && at < count; n++, at++) {
            struct replica one = replica_report(all[at]);
            enc_replica(&w, &one);
        }
        struct report_req req = {.replicas = writer_bytes(&w), .last = at == count};
        m->report_parts++;
        send_note(m, OP_report, RPC_BODY(report_req, &req), report_answered);
        writer_free(&w);
    } while (at < count);
    mem_free(all);
    mem_free(handles);
}

void registration_report_bad(struct registration *m, const struct local_replica *r, uint32_t server,
                             uint32_t block)
{
    if (!m->registered) {
        return; /* the next report says it */
    }
    struct report_bad_req req = {.handle = r->handle,
                                 .ino = r->ino,
                                 .number = r->number,
                                 .version = r->version,
                                 .server = server,
                                 .block = block};
    send_note(m, OP_report_bad, RPC_BODY(report_bad_req, &req), note_answered);
}

/* ---------------------------------------------------------------- introduction */

/* The label as it will be with what the master said is on disk. */
struct adoption {
    struct label_wait wait;
    struct registration *m;
    uint64_t dial; /* which connection this was said on */
};

/* A lease has ended: versions may have left replicas of this server out, also such as it never had.
 * A first write of an old version that is still on its way would make one that nobody will call
 * outdated: what was sent on connections from before is not taken any more. */
static void refuse_old_requests(struct chunkd *c)
{
    list_for_each_safe (it, &c->links) {
        struct link *l = list_entry(it, struct link, list_link);
        if (!l->to_master) {
            link_close(l);
        }
    }
}

static void registered(struct registration *m)
{
    struct chunkd *c = m->c;
    if (c->table.block_bytes == 0) {
        table_set_geometry(&c->table, c->label.chunk_bytes, c->label.block_bytes);
    }
    m->registered = true;
    m->rounds = 0;
    masters_round_begins(&m->masters);
    m->said[0] = '\0';
    env_log(c->env, LOG_INFO, "registered with master %s as server %u", m->masters.current,
            c->label.server);
    if (!chunkd_has_lease(c)) {
        refuse_old_requests(c);
    }
    send_report(m);
    send_heartbeat(m);
}

static void adopted(struct label_wait *w, int status)
{
    struct adoption *a = container_of(w, struct adoption, wait);
    struct registration *m = a->m;
    bool current = m->link != NULL && m->dials == a->dial;
    mem_free(a);
    if (!current) {
        return;
    }
    if (status != 0) {
        try_next(m, status, "cannot store its answer in the label");
        return;
    }
    registered(m);
}

static int check_registration(const struct chunkd *c, const struct register_rep *rep,
                              uint32_t epoch)
{
    struct label probe = {.chunk_bytes = rep->chunk_bytes, .block_bytes = rep->block_bytes};
    uint8_t bytes[LABEL_SLOT_BYTES];
    label_encode(&probe, bytes);
    if (rep->id == 0 || rep->cluster == 0 || rep->chunk_bytes == 0 || rep->heartbeat_ms == 0 ||
        rep->lease_ms == 0 || label_decode(&probe, bytes) != 0) {
        return ERR_PROTOCOL;
    }
    if (epoch < c->label.epoch) {
        return ERR_STALE_EPOCH;
    }
    const struct label *l = &c->label;
    if ((l->cluster != 0 && l->cluster != rep->cluster) ||
        (l->server != 0 && l->server != rep->id)) {
        return ERR_FOREIGN_CLUSTER;
    }
    bool same = l->chunk_bytes == rep->chunk_bytes && l->block_bytes == rep->block_bytes;
    return l->chunk_bytes != 0 && !same ? -EINVAL : 0;
}

static void register_answered(struct rpc_call *call)
{
    struct registration *m = container_of(call, struct registration, reg);
    struct chunkd *c = m->c;
    struct register_rep rep;
    if (ended_by_close(call)) {
        return;
    }
    int err = RPC_REPLY(register, call, &rep);
    uint32_t epoch = err == 0 ? call->reply->head.epoch : 0;
    err = err == 0 ? check_registration(c, &rep, epoch) : err;
    if (err != 0) {
        try_next(m, err,
                 err == -EINVAL ? "its chunk or block size is not that of this disk"
                                : "cannot register");
        return;
    }
    if (c->first_handle == UINT64_MAX) {
        c->first_handle = rep.next_handle; /* of this process, whoever is the primary later */
    }
    m->heartbeat_ms = rep.heartbeat_ms;
    m->lease_ms = rep.lease_ms;
    c->request_timeout_ms =
        rep.request_timeout_ms != 0 ? rep.request_timeout_ms : c->request_timeout_ms;
    const struct label *l = &c->label;
    if (l->cluster == rep.cluster && l->server == rep.id && l->epoch == epoch &&
        l->chunk_bytes != 0) {
        registered(m);
        return;
    }
    struct adoption *a = mem_new(struct adoption);
    a->m = m;
    a->dial = m->dials;
    a->wait.done = adopted;
    struct label *next = chunkd_next_label(c);
    next->cluster = rep.cluster;
    next->server = rep.id;
    next->epoch = MAX(next->epoch, epoch);
    next->chunk_bytes = rep.chunk_bytes;
    next->block_bytes = rep.block_bytes;
    if (next->name[0] == '\0') {
        memcpy(next->name, c->cfg.cluster, sizeof(next->name));
    }
    chunkd_store_label(c, &a->wait);
}

static void hello_answered(struct rpc_call *call)
{
    struct registration *m = container_of(call, struct registration, hello);
    struct chunkd *c = m->c;
    struct hello_rep hello;
    if (ended_by_close(call)) {
        return;
    }
    int err = RPC_REPLY(hello, call, &hello);
    if (err == 0 && c->label.cluster != 0 && hello.cluster != 0 &&
        hello.cluster != c->label.cluster) {
        err = ERR_FOREIGN_CLUSTER;
    }
    if (err != 0) {
        try_next(m, err, "refused");
        return;
    }
    if (hello.role != MASTER_PRIMARY) {
        not_the_primary(m, &hello);
        return;
    }
    if (call->reply->head.epoch < c->label.epoch) {
        try_next(m, ERR_STALE_EPOCH, "refused");
        return;
    }
    const char *advertise = c->cfg.advertise[0] != '\0' ? c->cfg.advertise : c->cfg.listen;
    struct register_req req = {.disk = c->label.disk,
                               .self = {.id = c->label.server,
                                        .addr = bytes_str(advertise),
                                        .host = bytes_str(c->cfg.host),
                                        .rack = bytes_str(c->cfg.rack)},
                               .boot = c->boot};
    m->reg.done = register_answered;
    rpc_call(&m->link->rpc, &m->reg, &(struct frame_header){.op = OP_register},
             RPC_BODY(register_req, &req), NULL, ANSWER_MS);
}

static void on_open(void *owner, struct rpc *r)
{
    struct link *l = owner;
    struct registration *m = &l->c->master;
    struct hello_req req = {
        .cluster = l->c->label.cluster, .name = bytes_str(l->c->cfg.cluster), .role = ROLE_CHUNKD};
    m->hello.done = hello_answered;
    rpc_call(r, &m->hello, &(struct frame_header){.op = OP_hello}, RPC_BODY(hello_req, &req), NULL,
             several(m) ? DIAL_MS : ANSWER_MS);
    env_timer_stop(m->c->env, &m->timer);
}

static void on_request(void *owner, struct rpc *r, struct message *msg)
{
    struct link *l = owner;
    (void)r;
    if (!l->c->master.registered) {
        link_refuse(l, msg, ERR_NOT_READY);
        return;
    }
    master_request(l, msg);
}

static void on_close(void *owner, struct rpc *r, int err)
{
    struct link *l = owner;
    struct registration *m = &l->c->master;
    (void)r;
    if (m->link == l) {
        try_next(m, err, "connection lost");
    }
}

static const struct rpc_events master_events = {on_open, on_request, on_close};

static void dial_too_long(struct env_timer *t)
{
    struct registration *m = container_of(t, struct registration, timer);
    try_next(m, ERR_TIMEOUT, "no connection");
}

static void dial(struct registration *m)
{
    ASSERT(m->link == NULL);
    m->link = link_new(m->c);
    m->dials++;
    if (several(m)) {
        m->timer.fire = dial_too_long;
        env_timer_set(m->c->env, &m->timer, DIAL_MS * NS_PER_MS);
    }
    link_dial(m->link, masters_take(&m->masters), &master_events);
}

/* ---------------------------------------------------------------- life */

void registration_init(struct registration *m, struct chunkd *c)
{
    *m = (struct registration){.c = c};
    list_init(&m->notes);
    struct why why;
    int err = masters_parse(&m->masters, c->cfg.masters, &why);
    ASSERT(err == 0); /* the configuration was checked */
}

void registration_start(struct registration *m)
{
    dial(m);
}

void registration_stop(struct registration *m)
{
    env_timer_stop(m->c->env, &m->timer);
    drop_link(m);
}
