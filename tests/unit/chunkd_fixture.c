/* chunkd_fixture.c - chunkservers of the simulator between a master and a client that do what the
 * test says. */
#include "tests/unit/chunkd_fixture.h"
#include "shared/base/hash.h"
#include "shared/base/mem.h"
#include "tests/sim/sim_net.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static struct fx_answer answer;

/* ---------------------------------------------------------------- master */

static void take_report(struct fx_master_conn *mc, struct message *m)
{
    struct report_req req;
    struct fx_server *s = &mc->fx->servers[mc->server];
    ck_assert_int_eq(report_req_decode(slice_bytes(&m->body), &req), 0);
    struct reader r = reader_of(req.replicas);
    while (!reader_done(&r)) {
        ck_assert_uint_lt(s->report_count, FX_REPORT_MAX);
        dec_replica(&r, &s->report[s->report_count++]);
    }
    s->reported = req.last;
}

static void take_scanned(struct fx *f, struct message *m)
{
    struct scanned_req req;
    ck_assert_int_eq(scanned_req_decode(slice_bytes(&m->body), &req), 0);
    struct reader r = reader_of(req.replicas);
    f->scanned_count = 0;
    while (!reader_done(&r)) {
        ck_assert_uint_lt(f->scanned_count, FX_REPORT_MAX);
        dec_replica(&r, &f->scanned[f->scanned_count++]);
    }
    ck_assert_int_eq(r.err, 0);
}

static uint32_t id_of_addr(struct bytes addr)
{
    return addr.len == 5 ? (uint32_t)(addr.data[2] - '0') : 0;
}

static void master_request(void *owner, struct rpc *r, struct message *m)
{
    struct fx_master_conn *mc = owner;
    struct fx *f = mc->fx;
    if (m->head.op == OP_hello) {
        struct hello_req req;
        ck_assert_int_eq(hello_req_decode(slice_bytes(&m->body), &req), 0);
        if (req.cluster != 0 && req.cluster != f->cluster) {
            rpc_answer_status(r, &m->head, ERR_FOREIGN_CLUSTER);
            return;
        }
        struct hello_rep rep = {.cluster = f->cluster, .role = f->role};
        rpc_answer(r, &m->head, 0, 0, f->epoch, RPC_BODY(hello_rep, &rep), NULL);
    } else if (m->head.op == OP_register) {
        struct register_req req;
        ck_assert_int_eq(register_req_decode(slice_bytes(&m->body), &req), 0);
        mc->server = id_of_addr(req.self.addr);
        struct fx_server *s = &f->servers[mc->server];
        s->master = mc;
        s->report_count = 0;
        s->reported = false;
        struct register_rep rep = {.id = mc->server,
                                   .cluster = f->cluster,
                                   .chunk_bytes = FX_CHUNK,
                                   .block_bytes = FX_BLOCK,
                                   .heartbeat_ms = 100,
                                   .lease_ms = f->lease_ms,
                                   .request_timeout_ms = 500,
                                   .next_handle = f->next_handle};
        rpc_answer(r, &m->head, 0, 0, f->epoch, RPC_BODY(register_rep, &rep), NULL);
    } else if (m->head.op == OP_scanned) {
        take_scanned(f, m);
        rpc_answer(r, &m->head, 0, 0, f->epoch, (struct slice){0}, NULL);
    } else if (m->head.op == OP_heartbeat) {
        struct heartbeat_req req;
        ck_assert_int_eq(heartbeat_req_decode(slice_bytes(&m->body), &req), 0);
        f->servers[mc->server].failing = req.failing;
        f->servers[mc->server].scrub = req.scrub;
        struct heartbeat_rep rep = {.copy_rate = f->copy_rate[mc->server]};
        if (!f->mute) {
            rpc_answer(r, &m->head, 0, 0, f->epoch, RPC_BODY(heartbeat_rep, &rep), NULL);
        }
    } else if (m->head.op == OP_report) {
        take_report(mc, m);
        struct report_rep rep = {.stale = writer_bytes(&f->stale)};
        if (!f->deaf) {
            rpc_answer(r, &m->head, 0, 0, f->epoch, RPC_BODY(report_rep, &rep), NULL);
        }
    } else if (m->head.op == OP_report_bad) {
        ck_assert_int_eq(report_bad_req_decode(slice_bytes(&m->body), &f->bad), 0);
        f->bad_count++;
        rpc_answer(r, &m->head, 0, 0, f->epoch, (struct slice){0}, NULL);
    }
}

static void master_conn_free(struct fx_master_conn *mc)
{
    if (mc->server != 0 && mc->fx->servers[mc->server].master == mc) {
        mc->fx->servers[mc->server].master = NULL;
    }
    list_remove(&mc->link);
    rpc_close(&mc->rpc);
    mem_free(mc);
}

static void master_closed(void *owner, struct rpc *r, int err)
{
    (void)r;
    (void)err;
    master_conn_free(owner);
}

static const struct rpc_events master_events = {.on_request = master_request,
                                                .on_close = master_closed};

static void master_accept(void *owner, struct env_conn *conn)
{
    struct fx *f = owner;
    struct fx_master_conn *mc = mem_new(struct fx_master_conn);
    mc->fx = f;
    list_push_back(&f->conns, &mc->link);
    rpc_init(&mc->rpc, &f->master->env, &master_events, mc);
    rpc_accept(&mc->rpc, conn);
}

/* ---------------------------------------------------------------- life */

struct fx *fx_new(uint64_t seed)
{
    struct fx *f = mem_new(struct fx);
    f->sim = sim_create(seed);
    f->sim->knobs.drift_ppm = 0;
    f->sim->log_level = LOG_ERROR + 1;
    list_init(&f->conns);
    writer_init(&f->stale);
    f->role = MASTER_PRIMARY;
    f->masters = "master:1";
    f->epoch = 1;
    f->cluster = FX_CLUSTER;
    f->lease_ms = 1000;
    f->master = sim_process_create(f->sim, "master");
    sim_process_start(f->master);
    ck_assert_int_eq(env_listen(&f->master->env, "master:1", master_accept, f), 0);
    f->client = sim_process_create(f->sim, "client");
    sim_process_start(f->client);
    for (uint32_t id = 1; id <= FX_SERVERS; id++) {
        struct fx_server *s = &f->servers[id];
        snprintf(s->addr, sizeof(s->addr), "cs%u:1", id);
        s->process = sim_process_create(f->sim, s->addr);
    }
    return f;
}

static void drop_answer(void)
{
    slice_drop(&answer.body);
    slice_drop(&answer.payload);
}

static void end_server(struct fx *f, uint32_t id)
{
    struct fx_server *s = &f->servers[id];
    if (s->chunkd != NULL) {
        chunkd_destroy(s->chunkd);
        s->chunkd = NULL;
    }
    if (s->client.env != NULL) {
        rpc_close(&s->client);
        s->client = (struct rpc){0};
    }
    fx_run_ms(f, 1000); /* the connections' ends are heard of */
}

void fx_cut_master(struct fx *f)
{
    while (!list_empty(&f->conns)) {
        master_conn_free(list_entry(f->conns.next, struct fx_master_conn, link));
    }
}

void fx_free(struct fx *f)
{
    drop_answer();
    for (uint32_t id = 1; id <= FX_SERVERS; id++) {
        if (f->servers[id].chunkd != NULL) {
            fx_kill(f, id);
        }
    }
    fx_cut_master(f);
    sim_destroy(f->sim);
    writer_free(&f->stale);
    mem_free(f);
}

void fx_run_ms(struct fx *f, uint64_t ms)
{
    sim_run_for(f->sim, ms * NS_PER_MS);
}

int fx_start(struct fx *f, uint32_t id)
{
    struct fx_server *s = &f->servers[id];
    struct chunkd_config cfg = {.cluster = "unit",
                                .flush_ms = 1000,
                                .aside_ms = f->aside_ms,
                                .scrub_period_s = f->scrub_period_s,
                                .scrub_share = f->scrub_share};
    struct why why = {""};
    snprintf(cfg.listen, sizeof(cfg.listen), "%s", s->addr);
    snprintf(cfg.masters, sizeof(cfg.masters), "%s", f->masters);
    if (!s->process->alive) {
        sim_process_start(s->process);
    }
    s->chunkd = chunkd_create(&s->process->env, &cfg);
    int err = chunkd_start(s->chunkd, &why);
    snprintf(f->log, sizeof(f->log), "%s", why.text);
    if (err != 0) {
        sim_process_kill(s->process);
        chunkd_destroy(s->chunkd);
        s->chunkd = NULL;
        return err;
    }
    for (int i = 0; i < 100 && !(s->master != NULL && s->reported); i++) {
        fx_run_ms(f, 10);
    }
    fx_run_ms(f, 20);
    return 0;
}

void fx_start_all(struct fx *f)
{
    for (uint32_t id = 1; id <= FX_SERVERS; id++) {
        ck_assert_int_eq(fx_start(f, id), 0);
        ck_assert(f->servers[id].reported);
    }
}

void fx_kill(struct fx *f, uint32_t id)
{
    sim_process_kill(f->servers[id].process);
    end_server(f, id);
}

void fx_power_cut(struct fx *f, uint32_t id)
{
    sim_process_power_cut(f->servers[id].process);
    end_server(f, id);
}

static bool settled(void *owner)
{
    return chunkd_settled(owner);
}

int fx_stop(struct fx *f, uint32_t id)
{
    struct why why;
    struct chunkd *c = f->servers[id].chunkd;
    ck_assert(sim_run_until(f->sim, settled, c, 60 * NS_PER_S));
    int err = chunkd_stop(c, &why);
    sim_process_kill(f->servers[id].process);
    end_server(f, id);
    return err;
}

/* ---------------------------------------------------------------- calls */

struct waiting {
    struct rpc_call call;
    bool done;
};

static void call_done(struct rpc_call *call)
{
    struct waiting *w = container_of(call, struct waiting, call);
    answer.status = call->status;
    if (call->reply != NULL) {
        answer.body = slice_ref(&call->reply->body);
        answer.payload = slice_ref(&call->reply->payload);
    }
    w->done = true;
}

static bool is_done(void *owner)
{
    return ((struct waiting *)owner)->done;
}

static struct fx_answer *ask(struct fx *f, struct rpc *r, uint16_t op, struct slice body,
                             struct slice *payload)
{
    struct waiting w = {.call = {.done = call_done}};
    struct frame_header head = {.op = op, .epoch = f->epoch};
    drop_answer();
    rpc_call(r, &w.call, &head, body, payload, 20000);
    ck_assert(sim_run_until(f->sim, is_done, &w, 60 * NS_PER_S));
    return &answer;
}

static void client_closed(void *owner, struct rpc *r, int err)
{
    (void)owner;
    (void)r;
    (void)err;
}

static const struct rpc_events client_events = {.on_close = client_closed};

static struct rpc *client_of(struct fx *f, uint32_t id)
{
    struct fx_server *s = &f->servers[id];
    if (s->client.env == NULL) {
        rpc_init(&s->client, &f->client->env, &client_events, NULL);
    }
    if (s->client.conn == NULL) {
        struct hello_req req = {.cluster = FX_CLUSTER, .role = ROLE_CLIENT};
        rpc_dial(&s->client, s->addr);
        ck_assert_int_eq(ask(f, &s->client, OP_hello, RPC_BODY(hello_req, &req), NULL)->status, 0);
    }
    return &s->client;
}

struct fx_answer *fx_ask(struct fx *f, uint32_t id, uint16_t op, struct slice body,
                         const void *payload, uint32_t len)
{
    struct rpc *r = client_of(f, id);
    struct slice p = {0};
    if (len > 0) {
        p = (struct slice){buf_new(len), 0, len};
        memcpy(p.buf->data, payload, len);
    }
    return ask(f, r, op, body, &p);
}

struct fx_answer *fx_order(struct fx *f, uint32_t id, uint16_t op, struct slice body)
{
    ck_assert_ptr_nonnull(f->servers[id].master);
    return ask(f, &f->servers[id].master->rpc, op, body, NULL);
}

static struct slice members_of(struct fx *f, uint32_t members)
{
    struct writer w;
    writer_init(&w);
    for (uint32_t tens = 100; tens > 0; tens /= 10) {
        uint32_t id = members / tens % 10;
        if (id != 0) {
            struct server s = {.id = id, .addr = bytes_str(f->servers[id].addr)};
            enc_server(&w, &s);
        }
    }
    return writer_take(&w);
}

static uint32_t first_of(uint32_t members)
{
    while (members >= 10) {
        members /= 10;
    }
    return members;
}

static uint32_t sums_of(uint32_t offset, const uint8_t *data, uint32_t len, uint8_t *out)
{
    uint32_t n = 0;
    for (uint32_t at = 0; at < len; n++) {
        uint32_t room = FX_BLOCK - (offset + at) % FX_BLOCK;
        uint32_t piece = MIN(room, len - at);
        put_le(out + 4 * n, block_sum(data + at, piece), 4);
        at += piece;
    }
    return 4 * n;
}

static int write_kind(struct fx *f, uint32_t members, struct write_req *req, const void *data,
                      uint32_t len)
{
    uint8_t sums[4 * (FX_CHUNK / FX_BLOCK + 1)];
    struct slice list = members_of(f, members);
    req->ino = req->handle + 1000;
    req->number = 0;
    req->fresh = true;
    req->known = f->known;
    req->members = slice_bytes(&list);
    req->sums = bytes_of(sums, sums_of(req->offset, data, len, sums));
    struct slice body = RPC_BODY(write_req, req);
    slice_drop(&list);
    return fx_ask(f, first_of(members), OP_write, body, data, len)->status;
}

int fx_write(struct fx *f, uint32_t members, uint64_t handle, uint64_t version, uint32_t offset,
             const void *data, uint32_t len)
{
    struct write_req req = {
        .handle = handle, .version = version, .kind = WRITE_DATA, .offset = offset, .length = len};
    return write_kind(f, members, &req, data, len);
}

int fx_change(struct fx *f, uint32_t members, uint64_t handle, uint64_t version, uint32_t kind,
              uint32_t offset, uint32_t len)
{
    struct write_req req = {
        .handle = handle, .version = version, .kind = kind, .offset = offset, .length = len};
    return write_kind(f, members, &req, NULL, 0);
}

int fx_forward(struct fx *f, uint32_t id, uint64_t handle, uint64_t version, uint64_t mutation,
               uint32_t offset, const void *data, uint32_t len)
{
    uint8_t sums[4 * (FX_CHUNK / FX_BLOCK + 1)];
    struct forward_req req = {.handle = handle,
                              .version = version,
                              .fresh = true,
                              .kind = WRITE_DATA,
                              .offset = offset,
                              .length = len,
                              .mutation = mutation};
    req.sums = bytes_of(sums, sums_of(offset, data, len, sums));
    return fx_ask(f, id, OP_forward, RPC_BODY(forward_req, &req), data, len)->status;
}

int fx_sync(struct fx *f, uint32_t members, uint64_t handle, uint64_t version)
{
    struct slice list = members_of(f, members);
    struct sync_req req = {.handle = handle, .version = version, .members = slice_bytes(&list)};
    struct slice body = RPC_BODY(sync_req, &req);
    slice_drop(&list);
    return fx_ask(f, first_of(members), OP_sync, body, NULL, 0)->status;
}

int fx_read(struct fx *f, uint32_t id, uint64_t handle, uint64_t version, uint32_t offset,
            uint32_t len, void *out)
{
    struct read_req req = {.handle = handle, .version = version, .offset = offset, .length = len};
    struct fx_answer *a = fx_ask(f, id, OP_read, RPC_BODY(read_req, &req), NULL, 0);
    if (a->status != 0) {
        return a->status;
    }
    struct read_rep rep;
    uint8_t sums[4 * (FX_CHUNK / FX_BLOCK + 1)];
    ck_assert_int_eq(read_rep_decode(slice_bytes(&a->body), &rep), 0);
    uint32_t n = sums_of(offset, slice_data(&a->payload), a->payload.len, sums);
    ck_assert(bytes_equal(rep.sums, bytes_of(sums, n)));
    if (a->payload.len > 0) {
        memcpy(out, slice_data(&a->payload), a->payload.len);
    }
    return (int)a->payload.len;
}

int fx_prepare(struct fx *f, uint32_t id, uint64_t handle, uint64_t old, uint64_t version,
               uint32_t make, struct replica *out)
{
    struct prepare_req req = {
        .handle = handle, .ino = handle + 1000, .old = old, .version = version, .make = make};
    struct fx_answer *a = fx_order(f, id, OP_prepare, RPC_BODY(prepare_req, &req));
    if (a->status == 0 && out != NULL) {
        struct prepare_rep rep;
        ck_assert_int_eq(prepare_rep_decode(slice_bytes(&a->body), &rep), 0);
        *out = rep.replica;
    }
    return a->status;
}

int fx_activate(struct fx *f, uint32_t id, uint64_t handle, uint64_t version, uint32_t primary,
                bool accept_torn)
{
    struct activate_req req = {
        .handle = handle, .version = version, .primary = primary, .accept_torn = accept_torn};
    return fx_order(f, id, OP_activate, RPC_BODY(activate_req, &req))->status;
}

int fx_pull_as(struct fx *f, uint32_t id, struct pull_req *req, uint32_t others,
               struct pull_rep *rep)
{
    struct writer w;
    writer_init(&w);
    for (; others != 0; others /= 10) {
        struct server s = {.id = others % 10, .addr = bytes_str(f->servers[others % 10].addr)};
        enc_server(&w, &s);
    }
    req->ino = req->handle + 1000;
    req->source.addr = bytes_str(f->servers[req->source.id].addr);
    req->others = writer_bytes(&w);
    struct slice body = RPC_BODY(pull_req, req);
    writer_free(&w);
    struct fx_answer *a = fx_order(f, id, OP_pull, body);
    if (a->status == 0) {
        ck_assert_int_eq(pull_rep_decode(slice_bytes(&a->body), rep), 0);
    }
    return a->status;
}

int fx_pull(struct fx *f, uint32_t id, uint32_t source, uint64_t handle, uint64_t version,
            uint64_t source_version, uint64_t *out_copied)
{
    struct pull_req req = {.handle = handle,
                           .version = version,
                           .source_version = source_version,
                           .source = {.id = source}};
    struct pull_rep rep = {0};
    int status = fx_pull_as(f, id, &req, 0, &rep);
    if (out_copied != NULL) {
        *out_copied = rep.copied;
    }
    return status;
}

static int drop(struct fx *f, uint32_t id, uint64_t handle, bool aside)
{
    struct writer w;
    writer_init(&w);
    enc_u64(&w, &handle);
    struct drop_replicas_req req = {0};
    *(aside ? &req.aside : &req.handles) = writer_bytes(&w);
    struct slice body = RPC_BODY(drop_replicas_req, &req);
    writer_free(&w);
    return fx_order(f, id, OP_drop_replicas, body)->status;
}

int fx_drop(struct fx *f, uint32_t id, uint64_t handle)
{
    return drop(f, id, handle, false);
}

int fx_set_aside(struct fx *f, uint32_t id, uint64_t handle)
{
    return drop(f, id, handle, true);
}

/* ---------------------------------------------------------------- state */

void fx_flip(struct fx *f, uint32_t id, uint64_t handle, uint64_t offset)
{
    char path[64];
    struct env *e = &f->servers[id].process->env;
    struct env_file *file;
    uint8_t byte;
    snprintf(path, sizeof(path), "chunks/%02x/%016llx", (unsigned)(handle & 0xff),
             (unsigned long long)handle);
    ck_assert_int_eq(env_file_open(e, path, 0, &file), 0);
    ck_assert_int_eq(env_file_read(e, file, offset, &byte, 1), 1);
    byte ^= 4;
    ck_assert_int_eq(env_file_write(e, file, offset, &byte, 1), 1);
    ck_assert_int_eq(env_file_sync(e, file), 0);
    env_file_close(e, file);
}

struct chunkd_replica_info fx_info(struct fx *f, uint32_t id, uint64_t handle)
{
    struct chunkd_replica_info info;
    ck_assert_int_eq(chunkd_replica(f->servers[id].chunkd, handle, &info), 0);
    return info;
}

void fx_expect_equal(struct fx *f, uint32_t members, uint64_t handle)
{
    struct chunkd_replica_info first = fx_info(f, first_of(members), handle);
    for (; members > 0; members /= 10) {
        struct chunkd_replica_info one = fx_info(f, members % 10, handle);
        ck_assert_uint_eq(one.version, first.version);
        ck_assert_uint_eq(one.length, first.length);
        ck_assert_uint_eq(one.digest, first.digest);
        ck_assert_int_eq(chunkd_verify(f->servers[members % 10].chunkd, handle, UINT32_MAX), 0);
    }
}

void fx_fill(void *out, uint32_t len, uint64_t seed)
{
    struct sim_rand r = sim_rand_of(seed, 5);
    uint8_t *p = out;
    for (uint32_t i = 0; i < len; i++) {
        p[i] = (uint8_t)sim_rand64(&r);
    }
}
