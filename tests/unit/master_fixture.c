/* master_fixture.c - a master in the simulator, with fake chunkservers and a fake mount. */
#include "tests/unit/master_fixture.h"
#include "shared/base/mem.h"

#include <check.h>
#include <stdio.h>

/* ---------------------------------------------------------------- chunkservers */

struct fake_replica *fake_find(struct fake *k, uint64_t handle)
{
    for (uint32_t i = 0; i < k->count; i++) {
        if (k->replicas[i].r.handle == handle) {
            return &k->replicas[i];
        }
    }
    return NULL;
}

static struct fake_replica *make(struct fake *k, uint64_t handle, uint64_t ino, uint64_t number)
{
    ck_assert_uint_lt(k->count, FAKE_REPLICAS_MAX);
    struct fake_replica *r = &k->replicas[k->count++];
    *r = (struct fake_replica){
        .r = {.handle = handle, .ino = ino, .number = number, .state = REPLICA_OK}};
    return r;
}

struct fake_replica *fake_put(struct fake *k, const struct chunk *c, uint64_t mutation,
                              uint64_t digest)
{
    struct fake_replica *r = fake_find(k, c->handle);
    if (r == NULL) {
        r = make(k, c->handle, c->ino, c->number);
    }
    r->r.version = c->version;
    r->r.mutation = mutation;
    r->r.digest = digest;
    r->r.length = 100;
    r->active = true;
    return r;
}

static void fake_prepare(struct fake *k, struct message *msg)
{
    struct prepare_req req;
    ck_assert_int_eq(prepare_req_decode(slice_bytes(&msg->body), &req), 0);
    k->prepares++;
    k->last_make = req.make;
    if (k->mute) {
        return;
    }
    struct fake_replica *r = fake_find(k, req.handle);
    int status = k->prepare_status;
    if (status == 0 && r == NULL && req.make == 0) {
        status = ERR_NO_REPLICA;
    } else if (status == 0 && r != NULL && req.old != 0 && r->r.version != req.old &&
               (r->active || r->r.previous != req.old) &&
               (req.make != 2 || r->active || r->r.previous != 0)) {
        status = ERR_WRONG_VERSION;
    }
    if (status != 0) {
        rpc_answer_status(&k->rpc, &msg->head, status);
        return;
    }
    if (r == NULL) {
        r = make(k, req.handle, req.ino, req.number);
        r->r.state = req.make == 1 ? REPLICA_CLONING : REPLICA_OK;
    }
    ck_assert_uint_gt(req.version, r->r.version);
    struct prepare_rep rep = {.replica = r->r};
    if (r->active || r->r.version == 0) {
        r->r.previous = r->r.version;
    }
    r->r.version = req.version;
    r->active = false;
    r->primary = false;
    rep.replica.version = req.version;
    rep.replica.previous = r->r.previous;
    rpc_answer(&k->rpc, &msg->head, 0, 0, 0, RPC_BODY(prepare_rep, &rep), NULL);
}

static void fake_pull(struct fake *k, struct message *msg)
{
    struct pull_req req;
    ck_assert_int_eq(pull_req_decode(slice_bytes(&msg->body), &req), 0);
    k->pulls++;
    if (req.version == 0 && k->f->fill_count < COUNT_OF(k->f->fills)) {
        k->fills++;
        k->f->fills[k->f->fill_count++] = req.handle;
    }
    struct fake *from = NULL;
    for (int i = 0; i < FAKES_MAX; i++) {
        from = k->f->fakes[i].id == req.source.id ? &k->f->fakes[i] : from;
    }
    if (k->cut_off || (from != NULL && from->cut_off)) {
        rpc_answer_status(&k->rpc, &msg->head, ERR_TIMEOUT);
        return;
    }
    struct fake_replica *source = from != NULL && from->up ? fake_find(from, req.handle) : NULL;
    if (source == NULL || source->r.version != req.source_version) {
        rpc_answer_status(&k->rpc, &msg->head, ERR_WRONG_VERSION);
        return;
    }
    struct fake_replica *r = fake_find(k, req.handle);
    if (r == NULL) {
        r = make(k, req.handle, req.ino, req.number);
        r->r.state = REPLICA_CLONING;
    }
    if (k->full && !req.mend && r->r.length < source->r.length) {
        rpc_answer_status(&k->rpc, &msg->head, -ENOSPC);
        return;
    }
    if (from->rotten) {
        from->rotten = false;
        source->r.state = REPLICA_BAD;
    }
    k->mends += req.mend;
    if (!req.mend) {
        r->r.digest = source->r.digest;
        r->r.length = source->r.length;
    }
    struct pull_rep rep = {.copied = 100, .digest = r->r.digest};
    /* A bad replica is whole if there is another that has its bad blocks: here, any other. */
    bool others = req.others.len > 0;
    rep.bad = source->r.state == REPLICA_BAD && !(req.mend && others);
    rep.refused = source->r.state == REPLICA_BAD;
    r->r.state = rep.bad > 0 ? REPLICA_BAD : r->r.state == REPLICA_BAD ? REPLICA_OK : r->r.state;
    if (k->hold_pulls) {
        return;
    }
    rpc_answer(&k->rpc, &msg->head, 0, 0, 0, RPC_BODY(pull_rep, &rep), NULL);
}

static void fake_activate(struct fake *k, struct message *msg)
{
    struct activate_req req;
    ck_assert_int_eq(activate_req_decode(slice_bytes(&msg->body), &req), 0);
    struct fake_replica *r = fake_find(k, req.handle);
    k->activates++;
    if (r == NULL || r->r.version != req.version) {
        rpc_answer_status(&k->rpc, &msg->head, ERR_WRONG_VERSION);
        return;
    }
    if (req.accept_torn) { /* the version is not in the log yet */
        r->r.mutation = 0;
    } else if (!r->active ||
               r->r.state != REPLICA_OK) { /* else repeated: the role stands as it is */
        r->active = true;
        r->r.mutation = 0;
        r->r.state = r->r.state == REPLICA_BAD ? REPLICA_BAD : REPLICA_OK;
        r->primary = req.primary == k->id;
        k->primary_of += r->primary;
    }
    rpc_answer(&k->rpc, &msg->head, 0, 0, 0, RPC_BODY(activate_rep, &(struct activate_rep){}),
               NULL);
}

static uint32_t drop_list(struct fake *k, struct bytes handles)
{
    struct reader rd = reader_of(handles);
    uint32_t n = 0;
    for (; !reader_done(&rd); n++) {
        uint64_t handle = 0;
        dec_u64(&rd, &handle);
        struct fake_replica *r = fake_find(k, handle);
        if (r != NULL) {
            *r = k->replicas[--k->count];
        }
    }
    return n;
}

static void fake_drop(struct fake *k, struct message *msg)
{
    struct drop_replicas_req req;
    ck_assert_int_eq(drop_replicas_req_decode(slice_bytes(&msg->body), &req), 0);
    if (k->drops_busy > 0) {
        k->drops_busy--;
        rpc_answer_status(&k->rpc, &msg->head, ERR_BUSY);
        return;
    }
    uint32_t aside = drop_list(k, req.aside);
    k->asides += aside;
    k->drops += aside + drop_list(k, req.handles);
    k->held_drop = msg->head;
    if (!k->hold_drops) {
        fake_answer_drop(k);
    }
}

void fake_answer_drop(struct fake *k)
{
    rpc_answer_status(&k->rpc, &k->held_drop, 0);
}

static void fake_digests(struct fake *k, struct message *msg)
{
    struct digests_req req;
    ck_assert_int_eq(digests_req_decode(slice_bytes(&msg->body), &req), 0);
    k->digest_asks++;
    struct writer w;
    writer_init(&w);
    struct reader rd = reader_of(req.handles);
    while (!reader_done(&rd)) {
        uint64_t handle = 0;
        dec_u64(&rd, &handle);
        struct fake_replica *r = fake_find(k, handle);
        if (r != NULL) {
            enc_replica(&w, &r->r);
        }
    }
    struct digests_rep rep = {.replicas = writer_bytes(&w)};
    rpc_answer(&k->rpc, &msg->head, 0, 0, 0, RPC_BODY(digests_rep, &rep), NULL);
    writer_free(&w);
}

static void fake_scan_now(struct fake *k, struct message *msg)
{
    struct scan_now_rep rep = {.pass = ++k->scans, .found = 5, .repaired = 4};
    rpc_answer(&k->rpc, &msg->head, 0, 0, 0, RPC_BODY(scan_now_rep, &rep), NULL);
}

static void fake_request(void *owner, struct rpc *r, struct message *msg)
{
    struct fake *k = owner;
    (void)r;
    switch (msg->head.op) {
    case OP_prepare:
        fake_prepare(k, msg);
        break;
    case OP_pull:
        fake_pull(k, msg);
        break;
    case OP_activate:
        fake_activate(k, msg);
        break;
    case OP_drop_replicas:
        fake_drop(k, msg);
        break;
    case OP_digests:
        fake_digests(k, msg);
        break;
    case OP_scan_now:
        fake_scan_now(k, msg);
        break;
    default:
        ck_abort_msg("unexpected request %s", op_name(msg->head.op));
    }
}

static void fake_send(struct fake *k, struct rpc_call *c, enum op_code op, struct slice body)
{
    rpc_call(&k->rpc, c, &(struct frame_header){.op = (uint16_t)op}, body, NULL, 0);
}

static void beat_done(struct rpc_call *c)
{
    struct fake *k = c->owner;
    struct heartbeat_rep rep;
    if (c->op == OP_heartbeat && RPC_REPLY(heartbeat, c, &rep) == 0) {
        k->copy_rate = rep.copy_rate;
    }
}

static void beat(struct env_timer *t)
{
    struct fake *k = container_of(t, struct fake, timer);
    struct heartbeat_req req = {.total = 1 << 30,
                                .avail = k->avail,
                                .chunks = k->count,
                                .client_bytes = k->client_bytes,
                                .failing = k->failing,
                                .scrub = k->scrub,
                                .disk_us = k->disk_us};
    env_timer_set(&k->p->env, t, k->f->cfg.geometry.heartbeat_ms * NS_PER_MS);
    if (!rpc_call_running(&k->beat)) {
        fake_send(k, &k->beat, OP_heartbeat, RPC_BODY(heartbeat_req, &req));
    }
}

void fake_scanned(struct fake *k, uint64_t handle)
{
    struct writer w;
    writer_init(&w);
    enc_replica(&w, &fake_find(k, handle)->r);
    struct scanned_req req = {.replicas = writer_bytes(&w)};
    rpc_cancel(&k->told);
    k->told = (struct rpc_call){.done = beat_done, .owner = k};
    fake_send(k, &k->told, OP_scanned, RPC_BODY(scanned_req, &req));
    writer_free(&w);
}

/* The report, in the order of the rows. */
static struct slice report_body(struct fake *k)
{
    struct writer w;
    writer_init(&w);
    for (uint32_t i = 0; i < k->count; i++) {
        for (uint32_t j = i + 1; j < k->count; j++) {
            const struct replica *a = &k->replicas[i].r, *b = &k->replicas[j].r;
            if (a->ino > b->ino || (a->ino == b->ino && a->number > b->number)) {
                struct fake_replica t = k->replicas[i];
                k->replicas[i] = k->replicas[j];
                k->replicas[j] = t;
            }
        }
        enc_replica(&w, &k->replicas[i].r);
    }
    struct report_req req = {.replicas = writer_bytes(&w), .last = true};
    struct slice body = RPC_BODY(report_req, &req);
    writer_free(&w);
    return body;
}

static void introduced(struct rpc_call *c)
{
    struct fake *k = c->owner;
    struct register_rep rep;
    char addr[32];
    if (c->status != 0) {
        k->register_status = c->status;
        return;
    }
    if (c->op == OP_hello) {
        snprintf(addr, sizeof(addr), "fake-%llu:1", (unsigned long long)k->disk);
        struct register_req req = {.disk = k->disk,
                                   .boot = k->boot,
                                   .self = {.addr = bytes_str(addr),
                                            .host = bytes_str(k->host),
                                            .rack = bytes_str(k->host)}};
        fake_send(k, c, OP_register, RPC_BODY(register_req, &req));
    } else if (c->op == OP_register) {
        ck_assert_int_eq(register_rep_decode(slice_bytes(&c->reply->body), &rep), 0);
        k->id = rep.id;
        k->next_handle = rep.next_handle;
        k->register_status = 0;
        fake_send(k, c, OP_report, report_body(k));
        beat(&k->timer);
    }
}

static void fake_opened(void *owner, struct rpc *r)
{
    struct fake *k = owner;
    (void)r;
    struct hello_req req = {.role = ROLE_CHUNKD};
    fake_send(k, &k->call, OP_hello, RPC_BODY(hello_req, &req));
}

static void redial(struct env_timer *t)
{
    struct fake *k = container_of(t, struct fake, timer);
    rpc_dial(&k->rpc, "master:1");
    k->timer.fire = beat;
}

static void fake_closed(void *owner, struct rpc *r, int err)
{
    struct fake *k = owner;
    (void)r;
    (void)err;
    if (k->up) {
        k->timer.fire = redial;
        env_timer_set(&k->p->env, &k->timer, 200 * NS_PER_MS);
    }
}

static const struct rpc_events fake_events = {fake_opened, fake_request, fake_closed};

void fake_start(struct fake *k)
{
    sim_process_start(k->p);
    k->boot++;
    k->up = true;
    k->call = (struct rpc_call){.done = introduced, .owner = k};
    k->beat = (struct rpc_call){.done = beat_done, .owner = k};
    k->timer = (struct env_timer){.fire = beat};
    rpc_init(&k->rpc, &k->p->env, &fake_events, k);
    rpc_dial(&k->rpc, "master:1");
}

void fake_stop(struct fake *k)
{
    if (k->p == NULL) {
        return; /* there are fewer */
    }
    k->up = false;
    sim_process_kill(k->p);
    rpc_cancel(&k->call);
    rpc_cancel(&k->beat);
    rpc_cancel(&k->told);
    rpc_close(&k->rpc);
}

/* ---------------------------------------------------------------- the mount */

static void mount_request(void *owner, struct rpc *r, struct message *msg)
{
    (void)owner;
    (void)r;
    (void)msg;
    ck_abort_msg("the master asked a mount");
}

static void mount_closed(void *owner, struct rpc *r, int err)
{
    (void)owner;
    (void)r;
    (void)err;
}

static const struct rpc_events mount_events = {NULL, mount_request, mount_closed};

static void mount_answered(struct rpc_call *c)
{
    struct fixture *f = c->owner;
    f->answered = true;
    f->status = c->status;
    message_drop(&f->answer);
    if (c->reply != NULL) {
        f->answer.head = c->reply->head;
        f->answer.body = slice_ref(&c->reply->body);
    }
    mem_free(c);
}

static bool is_answered(void *owner)
{
    struct fixture *f = owner;
    return f->answered;
}

int fixture_wait(struct fixture *f, uint64_t ms)
{
    (void)sim_run_until(f->sim, is_answered, f, ms * NS_PER_MS);
    return f->answered ? f->status : -EAGAIN;
}

int fixture_call(struct fixture *f, enum op_code op, struct slice body, uint64_t sequence,
                 uint64_t ms)
{
    struct rpc_call *c = mem_new(struct rpc_call);
    c->done = mount_answered;
    c->owner = f;
    f->answered = false;
    struct frame_header head = {.op = (uint16_t)op, .session = f->session, .sequence = sequence};
    rpc_call(&f->rpc, c, &head, body, NULL, 0);
    return fixture_wait(f, ms);
}

void fixture_connect(struct fixture *f)
{
    fixture_connect_as(f, ROLE_CLIENT);
}

void fixture_connect_as(struct fixture *f, uint32_t role)
{
    if (!f->cp->alive) {
        sim_process_start(f->cp);
    } else {
        rpc_close(&f->rpc);
    }
    rpc_init(&f->rpc, &f->cp->env, &mount_events, f);
    rpc_dial(&f->rpc, "master:1");
    struct hello_req req = {.role = role};
    struct hello_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, hello, &req, &rep, 0), 0);
}

void fixture_attach(struct fixture *f)
{
    struct session_attach_req req = {.session = f->session};
    struct session_attach_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, session_attach, &req, &rep, 0), 0);
}

void fixture_open_session(struct fixture *f)
{
    struct session_open_req req = {.host = bytes_str("h"), .nonce = 77};
    struct session_open_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, session_open, &req, &rep, 0), 0);
    f->session = rep.session;
    fixture_attach(f);
}

/* ---------------------------------------------------------------- the world */

static void die(struct sim *s, struct sim_process *p, const char *reason)
{
    (void)s;
    ck_abort_msg("%s died: %s", p->name, reason);
}

static bool is_serving(void *owner)
{
    struct fixture *f = owner;
    return f->m->serving;
}

void fixture_start_master(struct fixture *f)
{
    struct why why;
    sim_process_start(f->mp);
    f->m = master_create(&f->mp->env, &f->cfg);
    ck_assert_msg(master_start(f->m, &why) == 0, "%s", why.text);
    ck_assert(sim_run_until(f->sim, is_serving, f, 5 * NS_PER_S));
}

void fixture_kill_master(struct fixture *f)
{
    sim_process_kill(f->mp);
    master_destroy(f->m);
    f->m = NULL;
}

void fixture_run_ms(struct fixture *f, uint64_t ms)
{
    sim_run_for(f->sim, ms * NS_PER_MS);
}

struct fixture *fixture_new(uint32_t servers)
{
    struct fixture *f = mem_new(struct fixture);
    f->sim = sim_create(7);
    f->sim->on_die = die;
    f->sim->log_level = LOG_ERROR + 1;
    f->cfg = (struct master_config){
        .cluster = "test", .listen = "master:1", .geometry = GEOMETRY_DEFAULT};
    f->cfg.geometry.segment_bytes = 1 << 20;
    f->cfg.geometry.lease_ms = 1000;
    f->cfg.geometry.heartbeat_ms = 100;
    f->cfg.geometry.request_timeout_ms = 500;
    f->cfg.away_grace_ms = 6000;
    f->cfg.pair_pause_ms = 1000;
    f->cfg.rereplication_share = 40;
    f->mp = sim_process_create(f->sim, "master");
    f->cp = sim_process_create(f->sim, "mount");
    fixture_start_master(f);
    for (uint32_t i = 0; i < servers; i++) {
        struct fake *k = &f->fakes[i];
        char name[16];
        snprintf(name, sizeof(name), "fake-%u", i + 1);
        k->f = f;
        k->p = sim_process_create(f->sim, name);
        k->disk = i + 1;
        k->boot = (uint64_t)(i + 1) << 32;
        k->avail = 1 << 29;
        snprintf(k->host, sizeof(k->host), "h%u", i + 1);
        fake_start(k);
        fixture_run_ms(f, 50); /* one after the other: ids as in the table */
    }
    fixture_run_ms(f, 500);
    fixture_connect(f);
    return f;
}

void fixture_free(struct fixture *f)
{
    for (uint32_t i = 0; i < FAKES_MAX; i++) {
        if (f->fakes[i].up) {
            fake_stop(&f->fakes[i]);
        }
    }
    if (f->cp->alive) {
        sim_process_kill(f->cp);
        rpc_close(&f->rpc);
    }
    message_drop(&f->answer);
    if (f->m != NULL) {
        fixture_kill_master(f);
    }
    sim_destroy(f->sim);
    mem_free(f);
}

/* ---------------------------------------------------------------- files */

struct fake *fixture_fake(struct fixture *f, uint32_t id)
{
    for (int i = 0; i < FAKES_MAX; i++) {
        if (f->fakes[i].id == id) {
            return &f->fakes[i];
        }
    }
    ck_abort_msg("no server %u", id);
    return NULL;
}

struct chunk fixture_make_file(struct fixture *f, const char *name, uint64_t size,
                               uint64_t *sequence)
{
    struct create_req req = {.parent = ROOT_INO, .name = bytes_str(name), .mode = 0644};
    struct create_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, create, &req, &rep, ++*sequence), 0);
    struct chunk c = rep.chunk;
    struct ns_chunk row;
    ck_assert_int_eq(ns_chunk_get(f->m->ns, c.ino, 0, &row), 0);
    for (uint32_t i = 0; i < row.member_count; i++) {
        fake_put(fixture_fake(f, row.members[i]), &c, 1, 100 + c.handle);
    }
    struct extend_req extend = {.ino = c.ino, .end = size};
    struct extend_rep extended;
    ck_assert_int_eq(FIXTURE_CALL(f, extend, &extend, &extended, ++*sequence), 0);
    return c;
}
