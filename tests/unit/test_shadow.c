/* test_shadow.c - a master of a set of three that follows: what it applies, what it answers and how
 * old it says that is, and how it comes to a state. The other two are played from here, with the
 * records of a master that is alone.
 */
#include "master/core/oplog_cursor.h"
#include "master/core/oplog_internal.h"
#include "master/core/row_key.h"
#include "shared/base/mem.h"
#include "tests/unit/master_fixture.h"
#include "tests/unit/unit.h"

#include <stdio.h>

enum { OTHERS = 2, CONNS_MAX = 64, SELF = 1 };

/* One of the others. */
struct other {
    const char *addr;
    uint64_t cluster;
    uint32_t role;
    int assure_status, compare_status;
    struct log_assure_rep said;
    struct health_rep health;
    bool mute; /* it does not answer */
};

static struct fixture *f; /* the records' origin */
static struct sim_process *sp, *op;
static struct master_config cfg;
static struct master *s;
static struct other others[OTHERS];
static struct {
    struct rpc rpc;
    struct other *of;
    bool open;
} conns[CONNS_MAX];
static struct rpc feeder, reader_;
static uint64_t serial, fed; /* fed: newest record the shadow was sent */
static uint32_t term;        /* epoch of the primary that is played */
static char died[512];
static uint32_t records_given; /* answers to log_read */

/* ---------------------------------------------------------------- the others */

static void give_checkpoint(struct rpc *r, struct message *m)
{
    struct checkpoint_read_req req;
    struct checkpoint_read_rep rep;
    struct env *env = &f->mp->env;
    struct env_file *file;
    char path[64];
    MUST(checkpoint_read_req_decode(slice_bytes(&m->body), &req) == 0);
    rep.index = req.index != 0 ? req.index : checkpoint_newest(f->m->commit.checkpoint).index;
    if (req.part == CHECKPOINT_SUMS) {
        checkpoint_sum_path(rep.index, path, sizeof(path));
    } else {
        checkpoint_path(rep.index, path, sizeof(path));
    }
    if (rep.index == 0 || env_file_open(env, path, ENV_OPEN_READ_ONLY, &file) != 0) {
        rpc_answer_status(r, &m->head, -ENOENT);
        return;
    }
    rep.size = (uint64_t)env_file_size(env, file);
    uint32_t len = (uint32_t)MIN(rep.size - req.offset, 20000ull);
    struct slice payload = {.buf = buf_new(len), .len = len};
    MUST(env_file_read(env, file, req.offset, payload.buf->data, len) == len);
    env_file_close(env, file);
    rpc_answer(r, &m->head, 0, 0, 0, RPC_BODY(checkpoint_read_rep, &rep), &payload);
}

static void give_records(struct rpc *r, struct message *m)
{
    struct log_read_req req;
    struct oplog_cursor *c;
    struct oplog_piece p;
    struct why why;
    MUST(log_read_req_decode(slice_bytes(&m->body), &req) == 0);
    MUST(oplog_cursor_open(f->m->log, req.from, &c, &why) == 0);
    MUST(oplog_cursor_next(c, &p, &why) == 1);
    struct log_read_rep rep = {
        .first = p.first, .last = p.last, .prev_chain = p.prev_chain, .chain = p.chain};
    struct slice payload = {.buf = buf_new(p.records.len), .len = p.records.len};
    memcpy(payload.buf->data, p.records.data, p.records.len);
    oplog_cursor_close(c);
    records_given++;
    rpc_answer(r, &m->head, 0, 0, 0, RPC_BODY(log_read_rep, &rep), &payload);
}

static void on_request(void *owner, struct rpc *r, struct message *m)
{
    struct other *o = owner;
    struct hello_rep hello = {.cluster = o->cluster, .role = o->role};
    if (o->mute) {
        return;
    }
    switch (m->head.op) {
    case OP_hello:
        rpc_answer(r, &m->head, 0, 0, o->health.epoch, RPC_BODY(hello_rep, &hello), NULL);
        break;
    case OP_log_compare:
        rpc_answer(r, &m->head, o->compare_status, 0, 0,
                   RPC_BODY(log_compare_rep, &(struct log_compare_rep){.cluster = o->cluster}),
                   NULL);
        break;
    case OP_health:
        rpc_answer(r, &m->head, 0, 0, 0, RPC_BODY(health_rep, &o->health), NULL);
        break;
    case OP_log_assure:
        rpc_answer(r, &m->head, o->assure_status, 0, 0,
                   o->assure_status == 0 ? RPC_BODY(log_assure_rep, &o->said) : (struct slice){0},
                   NULL);
        break;
    case OP_checkpoint_read:
        give_checkpoint(r, m);
        break;
    case OP_log_read:
        give_records(r, m);
        break;
    default:
        ck_abort_msg("the shadow asked %s", op_name(m->head.op));
    }
}

static void on_close(void *owner, struct rpc *r, int err)
{
    (void)owner;
    (void)err;
    for (int i = 0; i < CONNS_MAX; i++) {
        if (&conns[i].rpc == r) {
            conns[i].open = false;
        }
    }
}

static const struct rpc_events other_events = {.on_request = on_request, .on_close = on_close};

static void on_accept(void *owner, struct env_conn *c)
{
    int i = 0;
    while (conns[i].open) {
        MUST(++i < CONNS_MAX);
    }
    conns[i].open = true;
    conns[i].of = owner;
    rpc_init(&conns[i].rpc, &op->env, &other_events, owner);
    rpc_accept(&conns[i].rpc, c);
}

/* ---------------------------------------------------------------- asking the shadow */

static struct {
    bool done;
    int status;
    struct frame_header head;
    struct slice body;
} a;

static void done(struct rpc_call *c)
{
    a.done = true;
    a.status = c->status;
    slice_drop(&a.body);
    if (c->reply != NULL) {
        a.head = c->reply->head;
        a.body = slice_ref(&c->reply->body);
    }
    mem_free(c);
}

static bool is_done(void *owner)
{
    (void)owner;
    return a.done;
}

static int ask(struct rpc *r, const struct frame_header *head, struct slice body,
               struct slice *payload)
{
    struct rpc_call *c = mem_new(struct rpc_call);
    *c = (struct rpc_call){.done = done};
    a.done = false;
    rpc_call(r, c, head, body, payload, 3000);
    ck_assert(sim_run_until(f->sim, is_done, NULL, 10 * NS_PER_S));
    return a.status;
}

#define ASK(r, name, req, ...)                                                                     \
    ask(r, &(struct frame_header){.op = OP_##name, __VA_ARGS__}, RPC_BODY(name##_req, req), NULL)

static const struct rpc_events quiet = {.on_request = on_request, .on_close = on_close};

static void connect_as(struct rpc *r, uint32_t role)
{
    struct hello_req hello = {.role = role};
    rpc_close(r);
    rpc_init(r, &op->env, &quiet, NULL);
    rpc_dial(r, "shadow:1");
    ck_assert_int_eq(ASK(r, hello, &hello, 0), 0);
}

static int compare(uint32_t number, uint32_t acks, uint64_t disk, const char *last)
{
    struct writer w;
    writer_init(&w);
    for (int i = 0; i < 3; i++) {
        struct bytes addr = bytes_str(i == 2 ? last : cfg.set.addr[i]);
        enc_text(&w, &addr);
    }
    struct log_compare_req req = {
        .masters = writer_bytes(&w), .number = number, .acks = acks, .disk = disk};
    int status = ASK(&feeder, log_compare, &req, 0);
    writer_free(&w);
    return status;
}

/* The primary is the first of the set. */
static void take_office(void)
{
    struct log_promise_req promise = {.epoch = ++term, .holder = 7};
    connect_as(&feeder, ROLE_MASTER);
    ck_assert_int_eq(compare(0, 2, 4711, "other-c:1"), 0);
    ck_assert_int_eq(ASK(&feeder, log_promise, &promise, 0), 0);
}

/* Sends records to the shadow up to `to`, and says that those to `committed` are. */
static void feed_to(uint64_t to, uint64_t committed)
{
    struct oplog_cursor *c;
    struct oplog_piece piece;
    struct why why;
    struct log_append_req req = {.serial = ++serial, .first = fed + 1, .committed = committed};
    ck_assert_int_eq(oplog_chain(f->m->log, fed, &req.prev_chain, &why), 0);
    ck_assert_int_eq(oplog_cursor_open(f->m->log, fed + 1, &c, &why), 0);
    while (fed < to && oplog_cursor_next(c, &piece, &why) == 1) {
        struct slice payload = {.buf = buf_new(piece.records.len), .len = piece.records.len};
        memcpy(payload.buf->data, piece.records.data, piece.records.len);
        req = (struct log_append_req){.serial = ++serial,
                                      .first = piece.first,
                                      .prev_chain = piece.prev_chain,
                                      .committed = committed};
        ck_assert_int_eq(ask(&feeder, &(struct frame_header){.op = OP_log_append, .epoch = term},
                             RPC_BODY(log_append_req, &req), &payload),
                         0);
        fed = piece.last;
    }
    oplog_cursor_close(c);
    req = (struct log_append_req){
        .serial = ++serial, .first = fed + 1, .committed = committed}; /* a beat */
    ck_assert_int_eq(oplog_chain(f->m->log, fed, &req.prev_chain, &why), 0);
    ck_assert_int_eq(ask(&feeder, &(struct frame_header){.op = OP_log_append, .epoch = term},
                         RPC_BODY(log_append_req, &req), NULL),
                     0);
}

static void feed(void)
{
    uint64_t last = oplog_committed(f->m->log);
    feed_to(last, last);
    fixture_run_ms(f, 20);
}

/* What the others say of their logs: all that the origin has. */
static void others_have(uint64_t tail)
{
    for (int i = 0; i < OTHERS; i++) {
        others[i].said = (struct log_assure_rep){.promised = f->m->epoch,
                                                 .tail_epoch = f->m->epoch,
                                                 .tail = tail,
                                                 .durable = tail,
                                                 .first = oplog_first(f->m->log)};
    }
}

/* ---------------------------------------------------------------- life */

static void start_shadow(void)
{
    struct why why;
    sim_process_start(sp);
    s = master_create(&sp->env, &cfg);
    int err = master_start(s, &why);
    ck_assert_msg(err == 0, "%s", why.text);
    fixture_run_ms(f, 100);
}

static void end_shadow(bool power)
{
    if (power) {
        sim_process_power_cut(sp);
    } else {
        sim_process_kill(sp);
    }
    rpc_close(&feeder);
    rpc_close(&reader_);
    master_destroy(s);
    s = NULL;
}

/* It asked to be ended. */
static void ends_in_order(void)
{
    struct why why;
    ck_assert(sp->end_asked);
    ck_assert_msg(master_stop(s, &why) == 0, "%s", why.text);
    end_shadow(false);
}

static void lease_ends(void)
{
    fixture_run_ms(f, 5000);
}

static void setup(void)
{
    f = fixture_new(0);
    cfg = f->cfg;
    snprintf(cfg.listen, sizeof(cfg.listen), "shadow:1");
    cfg.set = (struct log_set){.count = 3, .self = SELF, .acks = 2};
    snprintf(cfg.set.addr[0], sizeof(cfg.set.addr[0]), "other-a:1");
    snprintf(cfg.set.addr[1], sizeof(cfg.set.addr[1]), "shadow:1");
    snprintf(cfg.set.addr[2], sizeof(cfg.set.addr[2]), "other-c:1");
    op = sim_process_create(f->sim, "others");
    sp = sim_process_create(f->sim, "shadow");
    sim_process_start(op);
    memset(conns, 0, sizeof(conns));
    for (int i = 0; i < OTHERS; i++) {
        others[i] = (struct other){.addr = cfg.set.addr[2 * i], .cluster = f->m->cluster};
        ck_assert_int_eq(env_listen(&op->env, others[i].addr, on_accept, &others[i]), 0);
    }
    others[0].role = others[0].health.role = MASTER_PRIMARY;
    others[1].role = others[1].health.role = MASTER_SHADOW;
    others[0].health.epoch = f->m->epoch;
    rpc_init(&feeder, &op->env, &quiet, NULL);
    rpc_init(&reader_, &op->env, &quiet, NULL);
    serial = fed = 0;
    records_given = 0;
    term = f->m->epoch - 1;
    died[0] = 0;
    others_have(0);
    start_shadow();
}

static void teardown(void)
{
    if (s != NULL) {
        end_shadow(false);
    }
    sim_process_kill(op);
    for (int i = 0; i < CONNS_MAX; i++) {
        if (conns[i].open) {
            rpc_close(&conns[i].rpc);
        }
    }
    rpc_close(&feeder);
    rpc_close(&reader_);
    slice_drop(&a.body);
    fixture_free(f);
}

static void make_dirs(int from, int to)
{
    char name[32];
    for (int i = from; i < to; i++) {
        snprintf(name, sizeof(name), "d%d", i);
        struct mkdir_req req = {.parent = ROOT_INO, .name = bytes_str(name), .mode = 0755};
        struct mkdir_rep rep;
        ck_assert_int_eq(FIXTURE_CALL(f, mkdir, &req, &rep, (uint64_t)i + 1), 0);
    }
}

static void same_state(void)
{
    ck_assert_uint_eq(s->commit.applied, f->m->commit.applied);
    ck_assert_uint_eq(master_state_hash(s), master_state_hash(f->m));
    ck_assert_uint_eq(s->epoch, f->m->epoch);
}

static int look(const char *name, uint64_t index, uint32_t flags)
{
    struct lookup_req req = {.parent = ROOT_INO, .name = bytes_str(name)};
    return ASK(&reader_, lookup, &req, .index = index, .flags = flags);
}

/* Of a mount that was told `index` by a master of `epoch`. */
static int look_of_epoch(const char *name, uint64_t index, uint32_t epoch)
{
    struct lookup_req req = {.parent = ROOT_INO, .name = bytes_str(name)};
    return ASK(&reader_, lookup, &req, .index = index, .epoch = epoch, .flags = FRAME_ANY_AGE);
}

/* The shadow has the first directories, the origin five more. Returns the last record of these. */
static uint64_t feed_all_but_five(void)
{
    fixture_open_session(f);
    make_dirs(0, 5);
    take_office();
    feed();
    make_dirs(5, 10);
    return oplog_committed(f->m->log);
}

/* ---------------------------------------------------------------- following */

START_TEST(committed_records_are_applied)
{
    ck_assert_uint_eq(s->cluster, f->m->cluster); /* from the others */
    ck_assert_uint_eq(master_role(s), MASTER_SHADOW);
    fixture_open_session(f);
    make_dirs(0, 20);
    take_office();
    feed();
    same_state();
    make_dirs(20, 40);
    uint64_t last = oplog_committed(f->m->log);
    feed_to(last, last - 5); /* five are not known to be committed */
    fixture_run_ms(f, 300);
    ck_assert_uint_eq(s->commit.applied, last - 5);
    feed_to(last, last);
    fixture_run_ms(f, 300);
    same_state();
    ck_assert_uint_eq(store_committed(s->store).index, last); /* LMDB, too */
}
END_TEST

START_TEST(restarts_and_power_cuts_take_nothing)
{
    fixture_open_session(f);
    for (int round = 0; round < 6; round++) {
        make_dirs(30 * round, 30 * round + 30);
        take_office();
        feed();
        same_state();
        if (round == 3) {
            struct checkpoint_now_req now = {};
            connect_as(&reader_, ROLE_ADMIN);
            ck_assert_int_eq(ASK(&reader_, checkpoint_now, &now, 0), 0);
        }
        if (round % 2 == 0) {
            fixture_run_ms(f, 2000); /* the superblock hears what is committed */
        }
        end_shadow(round > 1);
        start_shadow();
        ck_assert_uint_eq(oplog_last(s->log), fed);
        lease_ends();
    }
    take_office();
    feed();
    same_state();
}
END_TEST

/* A batch that is too large for what is kept in memory is read back. */
START_TEST(the_log_is_read_back)
{
    fixture_open_session(f);
    make_dirs(0, 200);
    take_office();
    uint64_t last = oplog_committed(f->m->log);
    feed_to(last, 0);
    s->follow.cuts--; /* what was kept is not trusted */
    feed_to(last, last);
    fixture_run_ms(f, 100);
    same_state();
}
END_TEST

static void nothing(struct rpc_call *c)
{
    (void)c;
}

/* What is committed of a batch grows record by record: the batch is read once. */
START_TEST(the_rest_of_a_piece_is_kept)
{
    enum { MANY = 40 };
    static struct rpc_call calls[MANY];
    fixture_open_session(f);
    uint64_t first = oplog_committed(f->m->log) + 1;
    for (uint64_t i = 0; i < MANY; i++) {
        struct mkdir_req req = {.parent = ROOT_INO, .mode = 0755};
        char name[16];
        req.name = bytes_of(name, (uint32_t)snprintf(name, sizeof(name), "d%d", (int)i));
        calls[i] = (struct rpc_call){.done = nothing};
        rpc_call(&f->rpc, &calls[i],
                 &(struct frame_header){.op = OP_mkdir, .session = f->session, .sequence = i + 1},
                 RPC_BODY(mkdir_req, &req), NULL, 0);
    }
    fixture_run_ms(f, 500);
    uint64_t last = oplog_committed(f->m->log);
    ck_assert_uint_eq(last, first + MANY - 1);
    take_office();
    feed_to(last, first);
    s->follow.cuts--; /* what was kept is not trusted */
    uint32_t reads = 0;
    for (uint64_t to = first + 1; to <= last; to++) {
        uint32_t before = sp->calls;
        feed_to(last, to);
        fixture_run_ms(f, 20);
        ck_assert_uint_eq(s->commit.applied, to);
        reads += sp->calls != before;
    }
    ck_assert_uint_gt(reads, 0);
    ck_assert_uint_lt(reads, MANY / 4);
    same_state();
}
END_TEST

START_TEST(another_history_is_forgotten)
{
    uint64_t chain;
    struct why why;
    fixture_open_session(f);
    make_dirs(0, 20);
    take_office();
    uint64_t last = oplog_committed(f->m->log);
    feed_to(last, 10);
    ck_assert_int_eq(oplog_chain(f->m->log, last - 5, &chain, &why), 0);
    struct log_cut_req cut = {.index = last - 5, .chain = chain};
    fixture_run_ms(f, 100);
    ck_assert_int_eq(ASK(&feeder, log_cut, &cut, .epoch = term), 0);
    ck_assert_uint_eq(oplog_last(s->log), last - 5);
    fed = last - 5;
    feed();
    same_state();
}
END_TEST

/* Records between two state hashes change a row that the origin has not. */
static void die(struct sim *sim, struct sim_process *p, const char *reason)
{
    (void)sim;
    ck_assert_ptr_eq(p, sp);
    snprintf(died, sizeof(died), "%s", reason);
}

static void death(struct sim *sim, struct sim_process *p)
{
    (void)sim;
    sim_process_kill(p);
}

START_TEST(a_state_that_differs_is_built_anew)
{
    struct row_key key = row_key_u64(ROOT_INO);
    struct bytes row;
    f->sim->on_die = die;
    f->sim->on_death = death;
    fixture_open_session(f);
    make_dirs(0, 20);
    take_office();
    feed();
    ck_assert_int_eq(store_get(s->store, TABLE_INODE, row_key_bytes(&key), &row), 0);
    uint8_t copy[512];
    ck_assert_uint_le(row.len, sizeof(copy));
    memcpy(copy, row.data, row.len);
    copy[row.len - 1] ^= 1;
    store_put(s->store, TABLE_INODE, row_key_bytes(&key), bytes_of(copy, row.len));
    make_dirs(20, 1100); /* the origin logs its hash */
    uint64_t last = oplog_committed(f->m->log);
    struct oplog_cursor *c;
    struct oplog_piece piece;
    struct why why;
    ck_assert_int_eq(oplog_cursor_open(f->m->log, fed + 1, &c, &why), 0);
    while (died[0] == 0 && oplog_cursor_next(c, &piece, &why) == 1) {
        struct slice payload = {.buf = buf_new(piece.records.len), .len = piece.records.len};
        memcpy(payload.buf->data, piece.records.data, piece.records.len);
        struct log_append_req req = {.serial = ++serial,
                                     .first = piece.first,
                                     .prev_chain = piece.prev_chain,
                                     .committed = last};
        (void)ask(&feeder, &(struct frame_header){.op = OP_log_append, .epoch = term},
                  RPC_BODY(log_append_req, &req), &payload);
    }
    oplog_cursor_close(c);
    fixture_run_ms(f, 100);
    ck_assert_ptr_nonnull(strstr(died, "hash"));
    rpc_close(&feeder);
    master_destroy(s);
    f->sim->on_die = NULL;
    start_shadow();
    fed = oplog_last(s->log);
    lease_ends();
    take_office();
    feed();
    fixture_run_ms(f, 100);
    same_state();
}
END_TEST

/* ---------------------------------------------------------------- reading */

START_TEST(reads_are_answered)
{
    struct lookup_rep rep;
    struct mkdir_req mkdir = {.parent = ROOT_INO, .name = bytes_str("x"), .mode = 0755};
    struct session_attach_req attach = {};
    struct session_attach_rep geometry;
    struct status_req status = {};
    struct status_rep state;
    fixture_open_session(f);
    make_dirs(0, 5);
    take_office();
    feed();
    others_have(fed);
    fixture_run_ms(f, 1000);
    connect_as(&reader_, ROLE_CLIENT);
    ck_assert_int_eq(look("d3", 0, 0), 0);
    ck_assert_int_eq(lookup_rep_decode(slice_bytes(&a.body), &rep), 0);
    ck_assert_uint_ne(rep.attr.ino, 0);
    ck_assert_uint_eq(a.head.index, s->commit.applied);
    ck_assert_uint_eq(a.head.epoch, f->m->epoch);
    ck_assert_uint_le(a.head.age_ms, 600);
    ck_assert_uint_gt(a.head.age_ms, 0);
    ck_assert_int_eq(look("absent", 0, 0), -ENOENT);
    ck_assert_uint_eq(a.head.index, s->commit.applied);
    ck_assert_int_eq(ASK(&reader_, mkdir, &mkdir, .session = f->session, .sequence = 77),
                     ERR_NOT_MASTER);
    ck_assert_int_eq(ASK(&reader_, session_attach, &attach, 0), 0);
    ck_assert_int_eq(session_attach_rep_decode(slice_bytes(&a.body), &geometry), 0);
    ck_assert_uint_eq(geometry.chunk_bytes, cfg.geometry.chunk_bytes);
    connect_as(&reader_, ROLE_ADMIN);
    ck_assert_int_eq(ASK(&reader_, status, &status, 0), 0);
    ck_assert_int_eq(status_rep_decode(slice_bytes(&a.body), &state), 0);
    ck_assert(bytes_equal(state.role, bytes_str("shadow")));
    ck_assert_uint_eq(state.files, 6);
    struct master_lease_req lease = {.epoch = s->epoch, .ms = 2000, .monitor = bytes_str("h:1")};
    ck_assert_int_eq(ASK(&reader_, master_lease, &lease, 0),
                     ERR_STALE_EPOCH); /* of a primary only */
}
END_TEST

/* One that does not know yet what is committed of its log has nothing to tell a new mount. */
START_TEST(without_a_state_there_are_no_answers)
{
    struct session_attach_req attach = {};
    connect_as(&reader_, ROLE_CLIENT);
    ck_assert_int_eq(ASK(&reader_, session_attach, &attach, .flags = FRAME_ANY_AGE), ERR_BEHIND);
    fixture_open_session(f);
    make_dirs(0, 5);
    take_office();
    feed_to(oplog_committed(f->m->log), 0);
    ck_assert_int_eq(look("d3", 0, FRAME_ANY_AGE), ERR_BEHIND);
    feed();
    ck_assert_int_eq(look("d3", 0, FRAME_ANY_AGE), 0);
    ck_assert_int_eq(ASK(&reader_, session_attach, &attach, .flags = FRAME_ANY_AGE), 0);
}
END_TEST

/* What a mount has seen is never taken back. */
START_TEST(a_later_index_is_waited_for)
{
    fixture_open_session(f);
    make_dirs(0, 5);
    take_office();
    feed();
    make_dirs(5, 6);
    uint64_t last = oplog_committed(f->m->log);
    others_have(last);
    connect_as(&reader_, ROLE_CLIENT);
    ck_assert_int_eq(look("d5", last, FRAME_ANY_AGE), ERR_BEHIND);
    ck_assert_uint_eq(a.head.index, last - 1);
    ck_assert_int_eq(look("d5", last - 1, FRAME_ANY_AGE), -ENOENT);
    struct lookup_req req = {.parent = ROOT_INO, .name = bytes_str("d5")};
    struct rpc_call *c = mem_new(struct rpc_call);
    *c = (struct rpc_call){.done = done};
    rpc_call(&reader_, c,
             &(struct frame_header){.op = OP_lookup, .index = last, .flags = FRAME_ANY_AGE},
             RPC_BODY(lookup_req, &req), NULL, 0);
    fixture_run_ms(f, 10);
    feed();
    fixture_run_ms(f, 100);
    ck_assert_int_eq(a.status, 0);
    ck_assert_uint_ge(a.head.index, last);
}
END_TEST

/* The age counts from the last proof that nothing newer is committed, and from when it was asked for. */
START_TEST(age_is_proven)
{
    fixture_open_session(f);
    make_dirs(0, 5);
    take_office();
    feed();
    connect_as(&reader_, ROLE_CLIENT);
    others[0].assure_status = others[1].assure_status = ERR_BUSY;
    fixture_run_ms(f, 12000);
    ck_assert_int_eq(look("d1", 0, 0), ERR_TOO_OLD);
    ck_assert_int_eq(look("d1", 0, FRAME_ANY_AGE), 0);
    ck_assert_uint_gt(a.head.age_ms, 10000);
    others[1].assure_status = 0; /* two of three */
    others_have(fed);
    fixture_run_ms(f, 1000);
    ck_assert_int_eq(look("d1", 0, 0), 0);
    ck_assert_uint_lt(a.head.age_ms, 700);
    uint64_t near_ns = f->sim->knobs.net_min_ns;
    f->sim->knobs.net_min_ns = 100 * NS_PER_MS; /* what the others say is so old at least */
    for (int i = 0; i < 10; i++) {
        fixture_run_ms(f, 250);
        ck_assert_int_eq(look("d1", 0, 0), 0);
        ck_assert_uint_ge(a.head.age_ms, 190);
    }
    f->sim->knobs.net_min_ns = near_ns;
    fixture_run_ms(f, 1000);
    others_have(fed + 1); /* something may be committed that is not here */
    others[0].said.durable = others[1].said.durable = fed; /* and is not to be had yet */
    fixture_run_ms(f, 3000);
    ck_assert_int_eq(look("d1", 0, 0), 0);
    ck_assert_uint_gt(a.head.age_ms, 2000);
    fixture_run_ms(f, 10000);
    ck_assert_int_eq(look("d1", 0, 0), ERR_TOO_OLD);
}
END_TEST

static void meet_anew(void)
{
    for (int i = 0; i < CONNS_MAX; i++) {
        if (conns[i].open) {
            rpc_close(&conns[i].rpc);
            conns[i].open = false;
        }
    }
    fixture_run_ms(f, 1000);
}

/* Where all logs must have a record the own one alone proves it; not when another master's list says
 * otherwise, and then what it proved before is no proof either. */
START_TEST(who_is_refused_proves_nothing)
{
    fixture_open_session(f);
    make_dirs(0, 5);
    take_office();
    feed();
    connect_as(&reader_, ROLE_CLIENT);
    s->cfg.set.acks = 3;
    others[0].assure_status = others[1].assure_status = ERR_BUSY;
    fixture_run_ms(f, 12000);
    ck_assert_int_eq(look("d1", 0, 0), 0);
    others[1].compare_status = -EINVAL;
    meet_anew();
    ck_assert_int_eq(look("d1", 0, 0), ERR_TOO_OLD);
    ck_assert_int_eq(look("d1", 0, FRAME_ANY_AGE), 0);
    ck_assert_uint_eq(a.head.age_ms, UINT32_MAX);
    fixture_run_ms(f, 12000);
    ck_assert_int_eq(look("d1", 0, 0), ERR_TOO_OLD);
    others[1].compare_status = 0;
    s->cfg.set.acks = 2;
    meet_anew(); /* no list is another one, and nothing was proven since */
    ck_assert_int_eq(look("d1", 0, FRAME_ANY_AGE), 0);
    ck_assert_uint_eq(a.head.age_ms, UINT32_MAX);
    others[1].assure_status = 0;
    others_have(fed);
    fixture_run_ms(f, 1000);
    ck_assert_int_eq(look("d1", 0, 0), 0);
}
END_TEST

/* The primary died before it said that its last records were committed. */
START_TEST(what_enough_logs_hold_is_committed)
{
    uint64_t last = feed_all_but_five();
    others[0].mute = true;
    feed_to(last, fed);
    others_have(last - 2);
    fixture_run_ms(f, 1500);
    ck_assert_uint_eq(s->commit.applied, last - 2); /* two logs have it, of the epoch promised */
    others[1].said.tail = others[1].said.durable = last;
    others[1].said.promised = f->m->epoch + 1; /* it may be about to go */
    fixture_run_ms(f, 1500);
    ck_assert_uint_eq(s->commit.applied, last - 2);
    others[1].said.promised = f->m->epoch;
    fixture_run_ms(f, 1500);
    same_state();
}
END_TEST

/* A mount was told that the last records are committed: so they are, although nobody else can say it. */
START_TEST(what_a_mount_was_told_is_committed)
{
    uint64_t last = feed_all_but_five();
    others[0].mute = others[1].mute = true;
    feed_to(last, fed);
    connect_as(&reader_, ROLE_CLIENT);
    ck_assert_int_eq(look_of_epoch("d9", last, f->m->epoch + 1), ERR_BEHIND);
    ck_assert_int_eq(look_of_epoch("d9", last + 1, f->m->epoch), ERR_BEHIND);
    ck_assert_uint_lt(s->commit.applied, last);
    ck_assert_int_eq(look_of_epoch("d8", last - 1, f->m->epoch), 0);
    ck_assert_uint_eq(s->commit.applied, last - 1);
    ck_assert_int_eq(look_of_epoch("d9", last, f->m->epoch), 0);
    same_state();
}
END_TEST

/* The primary died before it sent its last records to this log: another one has them. */
START_TEST(what_another_log_has_is_fetched)
{
    uint64_t last = feed_all_but_five();
    others[0].mute = true;
    others_have(last);
    others[1].said.promised = f->m->epoch + 1; /* another one says what belongs in the log */
    fixture_run_ms(f, 3000);
    ck_assert_uint_eq(records_given, 0);
    ck_assert_uint_eq(oplog_last(s->log), fed);
    others[1].said.promised = f->m->epoch;
    fixture_run_ms(f, 1000);
    ck_assert_uint_gt(records_given, 0);
    same_state();
}
END_TEST

/* It does not run ahead of a primary that feeds it. */
START_TEST(a_log_that_is_fed_waits_for_its_primary)
{
    fixture_open_session(f);
    make_dirs(0, 5);
    take_office();
    others_have(oplog_committed(f->m->log) + 5);
    for (int i = 0; i < 20; i++) {
        feed();
        fixture_run_ms(f, 200);
    }
    ck_assert_uint_eq(records_given, 0);
}
END_TEST

/* ---------------------------------------------------------------- identity, and a state from others */

START_TEST(who_does_not_agree_is_refused)
{
    struct log_promise_req promise = {.epoch = 9, .holder = 7};
    connect_as(&feeder, ROLE_MASTER);
    ck_assert_int_eq(ASK(&feeder, log_promise, &promise, 0), ERR_NOT_READY);
    ck_assert_int_eq(compare(0, 2, 4711, "somebody:1"), -EINVAL);
    ck_assert_int_eq(compare(0, 3, 4711, "other-c:1"), -EINVAL);
    ck_assert_int_eq(compare(SELF, 2, 4711, "other-c:1"), -EADDRINUSE);
    ck_assert_int_eq(compare(0, 2, oplog_identity(s->log)->disk, "other-c:1"), -EEXIST);
    ck_assert_int_eq(ASK(&feeder, log_promise, &promise, 0), ERR_NOT_READY);
    ck_assert_int_eq(compare(0, 2, 4711, "other-c:1"), 0);
    ck_assert_int_eq(ASK(&feeder, log_promise, &promise, 0), 0);
    ck_assert_int_eq(compare(2, 2, 4711, "other-c:1"), -EEXIST); /* who has it is there */
    ck_assert_int_eq(compare(2, 2, 4712, "other-c:1"), 0);
    ck_assert_int_eq(compare(0, 2, 4711, "other-c:1"), 0);
    struct hello_req foreign = {.role = ROLE_MASTER, .cluster = 12345};
    rpc_close(&feeder);
    rpc_init(&feeder, &op->env, &quiet, NULL);
    rpc_dial(&feeder, "shadow:1");
    ck_assert_int_eq(ASK(&feeder, hello, &foreign, 0), ERR_FOREIGN_CLUSTER);
}
END_TEST

/* A new cluster is made up once, by the first of the list, when all are there. */
START_TEST(a_cluster_is_made_up_by_all)
{
    end_shadow(false);
    cfg.set.self = 0;
    snprintf(cfg.set.addr[0], sizeof(cfg.set.addr[0]), "shadow:1");
    snprintf(cfg.set.addr[1], sizeof(cfg.set.addr[1]), "other-a:1");
    sp = sim_process_create(f->sim, "new");
    others[0].cluster = others[1].cluster = 0;
    others[1].mute = true;
    start_shadow();
    fixture_run_ms(f, 10000);
    ck_assert_uint_eq(s->cluster, 0);
    ck_assert_uint_eq(master_role(s), MASTER_STARTING);
    others[1].mute = false;
    fixture_run_ms(f, 10000);
    ck_assert_uint_ne(s->cluster, 0);
    uint64_t cluster = s->cluster;
    end_shadow(true);
    start_shadow();
    ck_assert_uint_eq(s->cluster, cluster);
}
END_TEST

START_TEST(a_log_that_cannot_be_continued_begins_anew)
{
    fixture_open_session(f);
    f->m->cfg.geometry.checkpoint_records = 300;
    int64_t early_ns = f->m->commit.time_ns;
    for (int i = 0; i < 6; i++) {
        make_dirs(1000 * i, 1000 * i + 1000);
        fixture_run_ms(f, 3000);
    }
    uint64_t first = oplog_first(f->m->log);
    ck_assert_uint_gt(first, 1);
    others_have(oplog_last(f->m->log));
    bool began = false;
    for (int i = 0; i < 300 && !sp->end_asked; i++) {
        fixture_run_ms(f, 100);
        began |= transfer_running(s);
    }
    ck_assert(began);
    ends_in_order();
    start_shadow();
    ck_assert_uint_ge(s->commit.applied + 1, first);
    ck_assert_uint_eq(s->commit.applied, oplog_last(s->log));
    ck_assert_int_gt(s->commit.time_ns, early_ns); /* no record is here that says it */
    ck_assert_int_le(s->commit.time_ns, f->m->commit.time_ns);
    ck_assert(oplog_joining(s->log));
    fed = s->commit.applied;
    take_office();
    feed();
    same_state();
    feed();
    ck_assert(!oplog_joining(s->log));
    end_shadow(true);
    start_shadow();
    fixture_run_ms(f, 100);
    ck_assert_uint_le(fed - s->commit.applied, 1100);
}
END_TEST

/* Its log has all records, but some that it still needs cannot be read, and nobody else has them: found
 * later, or when it was opened, and then it does not know that they were committed. */
START_TEST(a_state_that_cannot_go_on_gives_way_to_a_checkpoint)
{
    uint64_t early = feed_all_but_five();
    f->m->cfg.geometry.checkpoint_records = 30;
    make_dirs(10, 100);
    fixture_run_ms(f, 3000);
    uint64_t newest = checkpoint_newest(f->m->commit.checkpoint).index;
    ck_assert_uint_gt(newest, early + 3);
    feed_to(oplog_committed(f->m->log), early);
    fixture_run_ms(f, 100);
    ck_assert_uint_eq(s->commit.applied, early);
    struct log_hole hole = {.from = early + 1, .to = early + 3};
    if (_i == 0) {
        s->log->rot[0] = hole;
        s->log->rot_count = 1;
    } else {
        ck_assert_uint_lt(oplog_committed(s->log), hole.from);
        s->log->damaged = true;
        s->log->findings.holes[0] = hole;
        s->log->findings.hole_count = 1;
        s->log->findings.tail = (struct log_place){oplog_last_epoch(s->log), oplog_last(s->log)};
    }
    for (int i = 0; i < OTHERS; i++) {
        others[i].said.first = early + 4;
        others[i].health.committed = newest;
    }
    for (int i = 0; i < 100 && !sp->end_asked; i++) {
        fixture_run_ms(f, 100);
    }
    ends_in_order();
    start_shadow();
    ck_assert_uint_eq(s->commit.applied, newest);
    ck_assert_uint_eq(oplog_first(s->log), _i == 0 ? 1 : newest + 1);
}
END_TEST

/* Nobody gives back what this log lost: whoever lacks it, too, is told to take the checkpoint that has
 * it, once there is one and the others had the time to give it. */
START_TEST(what_cannot_be_fed_is_in_a_checkpoint)
{
    struct log_assure_rep rep;
    uint64_t first[3];
    s->cfg.geometry.checkpoint_records = 30;
    fixture_open_session(f);
    make_dirs(0, 100);
    take_office();
    feed();
    fixture_run_ms(f, 3000);
    ck_assert_uint_gt(checkpoint_newest(s->commit.checkpoint).index, 40);
    for (int i = 0; i < 3; i++) {
        transfer_offer(s); /* as a primary does */
        s->log->rot[0] = (struct log_hole){.from = 35, .to = 37};
        s->log->rot_count = i < 2 ? 1 : 0;
        transfer_offer(s);
        fixture_run_ms(f, i == 0 ? 2000 : 4000);
        transfer_offer(s);
        ck_assert_int_eq(ASK(&feeder, log_assure, &(struct log_assure_req){}, 0), 0);
        ck_assert_int_eq(log_assure_rep_decode(slice_bytes(&a.body), &rep), 0);
        first[i] = rep.first;
    }
    ck_assert_uint_eq(first[0], oplog_first(s->log));
    ck_assert_uint_eq(first[1], 38);
    ck_assert_uint_eq(first[2], oplog_first(s->log));
}
END_TEST

/* What is committed may be in this log only, as far as others can tell: it is given up for the
 * checkpoint of a primary alone, which has everything. One that is promoted and waits for its first
 * record, perhaps for this log's copy of it, is one. */
START_TEST(a_damaged_log_begins_anew_behind_a_primary_alone)
{
    uint64_t early = feed_all_but_five();
    bool promoted = _i == 1;
    f->m->cfg.geometry.checkpoint_records = 30;
    make_dirs(10, 100);
    fixture_run_ms(f, 3000);
    feed_to(early, early);
    for (int i = 0; i < OTHERS; i++) {
        others[i].role = others[i].health.role = MASTER_SHADOW;
        others[i].health.applied = checkpoint_newest(f->m->commit.checkpoint).index;
    }
    if (promoted) {
        others[0].role = others[0].health.role = MASTER_STARTING;
        others[0].health.epoch = term;
    }
    fixture_run_ms(f, 3000);
    s->log->damaged = true;
    s->log->findings = (struct log_answer){.here = true, .first = 1, .tail = {1, early - 2}};
    for (int i = 0; i < 100 && !sp->end_asked; i++) {
        fixture_run_ms(f, 100);
    }
    ck_assert(sp->end_asked == promoted);
    if (promoted) {
        ends_in_order();
        start_shadow();
        ck_assert_uint_eq(s->commit.applied, others[0].health.applied);
        ck_assert(oplog_joining(s->log));
    }
}
END_TEST

Suite *suite_shadow(void);
Suite *suite_shadow(void)
{
    Suite *suite = suite_create("shadow");
    TCase *c = tcase_create("shadow");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, committed_records_are_applied);
    tcase_add_test(c, restarts_and_power_cuts_take_nothing);
    tcase_add_test(c, the_log_is_read_back);
    tcase_add_test(c, who_is_refused_proves_nothing);
    tcase_add_test(c, another_history_is_forgotten);
    tcase_add_test(c, the_rest_of_a_piece_is_kept);
    tcase_add_test(c, a_state_that_differs_is_built_anew);
    tcase_add_test(c, without_a_state_there_are_no_answers);
    tcase_add_test(c, reads_are_answered);
    tcase_add_test(c, a_later_index_is_waited_for);
    tcase_add_test(c, age_is_proven);
    tcase_add_test(c, what_enough_logs_hold_is_committed);
    tcase_add_test(c, what_a_mount_was_told_is_committed);
    tcase_add_test(c, what_another_log_has_is_fetched);
    tcase_add_test(c, a_log_that_is_fed_waits_for_its_primary);
    tcase_add_test(c, who_does_not_agree_is_refused);
    tcase_add_test(c, a_cluster_is_made_up_by_all);
    tcase_add_test(c, a_log_that_cannot_be_continued_begins_anew);
    tcase_add_test(c, what_cannot_be_fed_is_in_a_checkpoint);
    tcase_add_loop_test(c, a_state_that_cannot_go_on_gives_way_to_a_checkpoint, 0, 2);
    tcase_add_loop_test(c, a_damaged_log_begins_anew_behind_a_primary_alone, 0, 2);
    suite_add_tcase(suite, c);
    return suite;
}
