/* test_logger.c - a logger and the masters that ask it, over a simulated network and disk: who is
 * obeyed, what is taken, and what survives. */
#include "master/core/logger.h"
#include "master/core/oplog_internal.h"
#include "tests/sim/sim_env.h"
#include "tests/unit/unit.h"

#include <stdio.h>

enum { SEGMENT = 64 << 10, RECORDS = 8 };

static struct sim *s;
static struct sim_process *disk; /* the logger's process */
static struct sim_process *asker;
static struct oplog *log_;
static struct logger *g;
static struct rpc served, asking;
static bool accepted;
static struct why why;
static uint32_t stopped_by; /* epoch that on_promise named last */

/* What the last request was answered. */
static struct {
    bool done;
    int status;
    uint32_t epoch;
    union op_any rep;
    uint8_t body[4096];
    uint8_t payload[1 << 16];
    uint32_t payload_len;
} a;

/* Records of a primary, encoded one after the other. */
static struct {
    uint64_t chain[RECORDS + 1];
    uint32_t at[RECORDS + 2];
    uint8_t data[4096];
} history;

static void on_request(void *owner, struct rpc *r, struct message *m)
{
    (void)owner;
    ck_assert(logger_request(g, r, m));
}

static void on_close(void *owner, struct rpc *r, int err)
{
    (void)owner;
    (void)err;
    if (r == &served) {
        accepted = false;
        logger_forget(g, r);
    }
}

static const struct rpc_events events = {.on_request = on_request, .on_close = on_close};

static void on_accept(void *owner, struct env_conn *c)
{
    (void)owner;
    if (accepted) {
        logger_forget(g, &served);
        rpc_close(&served);
    }
    accepted = true;
    rpc_init(&served, &disk->env, &events, NULL);
    rpc_accept(&served, c);
}

static void on_durable(void *owner, uint64_t index)
{
    (void)owner;
    logger_durable(g, index);
}

static void on_promise(void *owner, uint32_t epoch)
{
    (void)owner;
    stopped_by = epoch;
}

static void start(void)
{
    struct oplog_config cfg = {.segment_bytes = SEGMENT, .replicated = true};
    sim_process_start(disk);
    ck_assert_msg(oplog_open(&disk->env, &cfg, "test", &log_, &why) == 0, "%s", why.text);
    if (oplog_cluster(log_) == 0) { /* one that was there from the beginning */
        ck_assert_int_eq(oplog_adopt(log_, 4711, &why), 0);
        oplog_joined(log_);
    }
    ck_assert_int_eq(oplog_start(log_, &why), 0);
    g = logger_create(&disk->env, log_, on_promise, NULL);
    oplog_on_durable(log_, on_durable, NULL);
    ck_assert_int_eq(env_listen(&disk->env, "logger:1", on_accept, NULL), 0);
    rpc_init(&asking, &asker->env, &events, NULL);
    rpc_dial(&asking, "logger:1");
    sim_run_for(s, NS_PER_S);
}

static void stop(bool power)
{
    rpc_close(&asking);
    if (power) {
        sim_process_power_cut(disk);
    } else {
        sim_process_kill(disk);
    }
    if (accepted) {
        rpc_close(&served);
        accepted = false;
    }
    logger_destroy(g);
    oplog_close(log_);
    sim_run_for(s, NS_PER_S);
}

/* A history of one epoch that follows `index`, `chain`. */
static void make_history(uint32_t epoch, uint64_t index, uint64_t chain)
{
    uint32_t len = 0;
    history.chain[0] = chain;
    for (uint32_t i = 1; i <= RECORDS; i++) {
        struct record r = {.type = 0x0120,
                           .index = index + i,
                           .epoch = epoch,
                           .cluster = oplog_identity(log_)->cluster,
                           .prev_chain = history.chain[i - 1],
                           .body = bytes_str("sixteen bytes...")};
        record_encode(&r, history.data + len);
        history.at[i] = len;
        len += record_size(&r);
        history.chain[i] = r.chain;
    }
    history.at[RECORDS + 1] = len;
}

static void setup(void)
{
    s = sim_create(1);
    s->log_level = LOG_ERROR + 1;
    disk = sim_process_create(s, "logger");
    asker = sim_process_create(s, "master");
    sim_process_start(asker);
    accepted = false;
    stopped_by = 0;
    start();
    make_history(1, 0, 0);
}

static void teardown(void)
{
    stop(false);
    sim_process_kill(asker);
    sim_process_free(asker);
    sim_process_free(disk);
    sim_destroy(s);
}

static void done(struct rpc_call *c)
{
    a.done = true;
    a.status = c->status;
    if (c->reply != NULL) {
        a.epoch = c->reply->head.epoch;
        MUST(c->reply->body.len <= sizeof(a.body) && c->reply->payload.len <= sizeof(a.payload));
        if (c->reply->body.len > 0) {
            memcpy(a.body, slice_data(&c->reply->body), c->reply->body.len);
        }
        a.payload_len = c->reply->payload.len;
        if (a.payload_len > 0) {
            memcpy(a.payload, slice_data(&c->reply->payload), a.payload_len);
        }
        if (a.status == 0) {
            MUST(op_info_of(c->reply->head.op)
                     ->rep_decode(bytes_of(a.body, c->reply->body.len), &a.rep) == 0);
        }
    }
}

static bool is_done(void *owner)
{
    (void)owner;
    return a.done;
}

static int ask(enum op_code op, uint32_t epoch, const union op_any *req, const void *records,
               uint32_t len)
{
    struct rpc_call call = {.done = done};
    struct frame_header head = {.op = (uint16_t)op, .epoch = epoch};
    struct slice payload = {0};
    struct writer w;
    writer_init(&w);
    op_info_of((uint16_t)op)->req_encode(&w, req);
    if (len > 0) {
        payload = (struct slice){.buf = buf_new(len), .len = len};
        memcpy(payload.buf->data, records, len);
    }
    memset(&a, 0, sizeof(a));
    rpc_call(&asking, &call, &head, writer_take(&w), &payload, 2000);
    ck_assert(sim_run_until(s, is_done, NULL, 10 * NS_PER_S));
    return a.status;
}

static int promise(uint32_t epoch, uint64_t holder)
{
    union op_any req = {.log_promise_req = {.epoch = epoch, .holder = holder}};
    return ask(OP_log_promise, 0, &req, NULL, 0);
}

/* Records from..to of the history; from == to + 1: a beat. */
static int send(uint32_t epoch, uint64_t serial, uint32_t from, uint32_t to, uint64_t base,
                uint64_t committed)
{
    union op_any req = {.log_append_req = {.serial = serial,
                                           .first = base + from,
                                           .prev_chain = history.chain[from - 1],
                                           .committed = committed}};
    return ask(OP_log_append, epoch, &req, history.data + history.at[from],
               history.at[to + 1] - history.at[from]);
}

static int cut(uint32_t epoch, uint64_t index, uint64_t chain)
{
    union op_any req = {.log_cut_req = {.index = index, .chain = chain}};
    return ask(OP_log_cut, epoch, &req, NULL, 0);
}

static void lease_ends(void)
{
    sim_run_for(s, 5 * NS_PER_S);
}

START_TEST(records_of_the_promised_epoch_are_taken)
{
    ck_assert_int_eq(send(1, 1, 1, 2, 0, 0), ERR_NOT_READY);
    ck_assert_int_eq(promise(1, 7), 0);
    ck_assert_uint_eq(stopped_by, 1);
    ck_assert_uint_eq(a.rep.log_promise_rep.tail, 0);
    ck_assert_uint_eq(a.rep.log_promise_rep.first, 1);
    ck_assert_int_eq(send(1, 1, 1, 2, 0, 0), 0);
    ck_assert_uint_eq(a.rep.log_append_rep.durable, 2);
    ck_assert_int_eq(send(1, 2, 3, 5, 0, 2), 0);
    ck_assert_uint_eq(a.rep.log_append_rep.durable, 5);
    ck_assert_uint_eq(oplog_committed(log_), 2);
    ck_assert_int_eq(send(1, 3, 6, 5, 0, 5), 0); /* a beat */
    ck_assert_uint_eq(oplog_committed(log_), 5);
    stop(true);
    start();
    ck_assert_uint_eq(oplog_last(log_), 5);
    ck_assert_uint_eq(oplog_epoch(log_), 1);
}
END_TEST

START_TEST(what_does_not_follow_is_out_of_sync)
{
    ck_assert_int_eq(promise(1, 7), 0);
    ck_assert_int_eq(send(1, 1, 3, 4, 0, 0), ERR_OUT_OF_SYNC);
    ck_assert_int_eq(send(1, 2, 1, 2, 0, 0), 0);
    ck_assert_int_eq(send(1, 3, 1, 2, 0, 0), ERR_OUT_OF_SYNC);
    ck_assert_int_eq(send(1, 4, 2, 1, 0, 9), ERR_OUT_OF_SYNC); /* a beat about another end */
    ck_assert_uint_eq(oplog_committed(log_), 0);
    uint64_t chain = history.chain[2];
    history.chain[2]++;
    ck_assert_int_eq(send(1, 5, 3, 4, 0, 0), ERR_OUT_OF_SYNC);
    history.chain[2] = chain;
    history.data[history.at[3] + 70] ^= 1;
    ck_assert_int_eq(send(1, 6, 3, 4, 0, 0), ERR_PROTOCOL);
    history.data[history.at[3] + 70] ^= 1;
    ck_assert_int_eq(send(1, 6, 3, 4, 0, 0), ERR_PROTOCOL); /* a serial that was seen */
    ck_assert_int_eq(send(1, 7, 3, 4, 0, 0), 0);
}
END_TEST

/* The epoch is the fence: a deposed primary is refused for good, also after a power cut. */
START_TEST(a_lower_epoch_is_refused)
{
    ck_assert_int_eq(promise(3, 7), 0);
    make_history(3, 0, 0);
    ck_assert_int_eq(send(3, 1, 1, 2, 0, 0), 0);
    lease_ends();
    ck_assert_int_eq(promise(5, 8), 0);
    ck_assert_uint_eq(stopped_by, 5);
    ck_assert_uint_eq(a.rep.log_promise_rep.tail, 2);
    ck_assert_uint_eq(a.rep.log_promise_rep.tail_epoch, 3);
    ck_assert_uint_eq(a.rep.log_promise_rep.chain, history.chain[2]);
    ck_assert_int_eq(send(3, 2, 3, 4, 0, 0), ERR_STALE_EPOCH);
    ck_assert_uint_eq(a.epoch, 5);
    ck_assert_int_eq(cut(3, 1, history.chain[1]), ERR_STALE_EPOCH);
    ck_assert_int_eq(promise(4, 7), ERR_STALE_EPOCH);
    ck_assert_int_eq(promise(5, 9), ERR_STALE_EPOCH);
    ck_assert_int_eq(promise(5, 8), 0); /* its answer was lost */
    stop(true);
    start();
    ck_assert_int_eq(send(3, 9, 3, 4, 0, 0), ERR_STALE_EPOCH);
    lease_ends();
    ck_assert_int_eq(promise(5, 8), ERR_STALE_EPOCH);
    ck_assert_int_eq(promise(6, 8), 0);
}
END_TEST

/* A primary that was told its records are here has the logger's word for some seconds. */
START_TEST(a_lease_is_kept)
{
    ck_assert_int_eq(promise(1, 7), 0);
    ck_assert_int_eq(send(1, 1, 1, 2, 0, 0), 0);
    ck_assert_uint_eq(a.rep.log_append_rep.yield_to, 0);
    ck_assert_int_eq(promise(2, 8), ERR_LEASE_HELD);
    ck_assert_uint_eq(stopped_by, 1);
    ck_assert_int_eq(send(1, 2, 3, 4, 0, 0), 0);
    ck_assert_uint_eq(a.rep.log_append_rep.yield_to, 2);
    sim_run_for(s, 3 * NS_PER_S);
    ck_assert_int_eq(promise(2, 8), ERR_LEASE_HELD);
    stop(false); /* forgets when it was, not that it was */
    start();
    ck_assert_int_eq(promise(2, 8), ERR_LEASE_HELD);
    sim_run_for(s, 4 * NS_PER_S);
    ck_assert_int_eq(promise(2, 8), 0);
}
END_TEST

START_TEST(a_lease_is_given_back)
{
    union op_any none = {0};
    ck_assert_int_eq(promise(1, 7), 0);
    ck_assert_int_eq(send(1, 1, 1, 2, 0, 0), 0);
    ck_assert_int_eq(ask(OP_log_yield, 0, &none, NULL, 0), ERR_STALE_EPOCH);
    ck_assert_int_eq(promise(2, 8), ERR_LEASE_HELD);
    ck_assert_int_eq(ask(OP_log_yield, 1, &none, NULL, 0), 0);
    ck_assert_int_eq(promise(2, 8), 0);
}
END_TEST

/* What an old primary left and a new one did not take over goes. */
START_TEST(another_history_is_cut)
{
    uint64_t chain;
    ck_assert_int_eq(promise(1, 7), 0);
    ck_assert_int_eq(send(1, 1, 1, 5, 0, 2), 0);
    chain = history.chain[3];
    lease_ends();
    ck_assert_int_eq(promise(2, 8), 0);
    ck_assert_uint_eq(a.rep.log_promise_rep.committed, 2);
    ck_assert_int_eq(cut(2, 1, history.chain[1]), -EPERM);
    ck_assert_int_eq(cut(2, 3, chain + 1), -ENOENT);
    ck_assert_int_eq(cut(2, 9, chain), -ENOENT);
    ck_assert_int_eq(cut(2, 3, chain), 0);
    make_history(2, 3, chain);
    ck_assert_int_eq(send(2, 1, 1, 4, 3, 7), 0);
    ck_assert_uint_eq(a.rep.log_append_rep.durable, 7);
    union op_any none = {0};
    ck_assert_int_eq(ask(OP_log_assure, 0, &none, NULL, 0), 0);
    ck_assert_uint_eq(a.rep.log_assure_rep.promised, 2);
    ck_assert_uint_eq(a.rep.log_assure_rep.tail_epoch, 2);
    ck_assert_uint_eq(a.rep.log_assure_rep.tail, 7);
    ck_assert_uint_eq(a.rep.log_assure_rep.chain, history.chain[4]);
    ck_assert_uint_eq(a.rep.log_assure_rep.committed, 7);
}
END_TEST

/* A log that joins never seems sure of its end to a primary: it is not cut again and again, and keeps what
 * it has behind its holes, which are mended. */
START_TEST(a_log_with_holes_alone_is_not_cut)
{
    make_history(1, 0, 0);
    ck_assert_int_eq(promise(1, 7), 0);
    ck_assert_int_eq(send(1, 1, 1, RECORDS, 0, 2), 0);
    for (int i = 0; i < 2; i++) {
        log_->now.joining = i == 1;
        log_->damaged = true;
        log_->findings.hole_count = 1;
        log_->findings.holes[0] = (struct log_hole){.from = 5, .to = 5};
        uint32_t cuts = oplog_cuts(log_);
        ck_assert_int_eq(cut(1, RECORDS, history.chain[RECORDS]), -EALREADY);
        ck_assert_uint_eq(oplog_last(log_), RECORDS);
        ck_assert_uint_eq(oplog_cuts(log_), cuts);
    }
}
END_TEST

START_TEST(records_are_read_back)
{
    ck_assert_int_eq(promise(1, 7), 0);
    ck_assert_int_eq(send(1, 1, 1, 3, 0, 0), 0);
    ck_assert_int_eq(send(1, 2, 4, 6, 0, 0), 0);
    for (uint64_t from = 1; from <= 6; from++) {
        union op_any req = {.log_read_req = {.from = from}};
        ck_assert_int_eq(ask(OP_log_read, 0, &req, NULL, 0), 0);
        const struct log_read_rep *rep = &a.rep.log_read_rep;
        ck_assert_uint_eq(rep->first, from);
        ck_assert_uint_eq(rep->last, from <= 3 ? 3 : 6);
        ck_assert_uint_eq(rep->prev_chain, history.chain[from - 1]);
        ck_assert_uint_eq(rep->chain, history.chain[rep->last]);
        ck_assert_uint_eq(a.payload_len, history.at[rep->last + 1] - history.at[from]);
    }
    union op_any end = {.log_read_req = {.from = 7}};
    ck_assert_int_eq(ask(OP_log_read, 0, &end, NULL, 0), 0);
    ck_assert_uint_eq(a.rep.log_read_rep.first, 0);
    union op_any beyond = {.log_read_req = {.from = 8}};
    ck_assert_int_eq(ask(OP_log_read, 0, &beyond, NULL, 0), -ENOENT);
}
END_TEST

/* Everything a dying logger answered it has; what it did not answer it may have. */
START_TEST(a_power_cut_takes_nothing_that_was_answered)
{
    ck_assert_int_eq(promise(1, 7), 0);
    ck_assert_int_eq(send(1, 1, 1, 3, 0, 0), 0);
    struct rpc_call call = {.done = done};
    struct frame_header head = {.op = OP_log_append, .epoch = 1};
    struct log_append_req req = {.serial = 2, .first = 4, .prev_chain = history.chain[3]};
    uint32_t len = history.at[7] - history.at[4];
    struct slice payload = {.buf = buf_new(len), .len = len};
    memcpy(payload.buf->data, history.data + history.at[4], len);
    memset(&a, 0, sizeof(a));
    rpc_call(&asking, &call, &head, RPC_BODY(log_append_req, &req), &payload, 0);
    while (!a.done && oplog_last(log_) == 3) {
        ck_assert(sim_step(s));
    }
    ck_assert(!a.done); /* it is on its way to the disk */
    stop(true);
    ck_assert_int_eq(a.status, ERR_DISCONNECTED);
    start();
    struct log_answer found = oplog_findings(log_);
    ck_assert(found.tail.index == 3 || found.tail.index == 6);
    ck_assert(found.tail.index == 3 || found.end == LOG_END_SURE);
}
END_TEST

START_TEST(garbage_is_refused)
{
    union op_any none = {0};
    struct log_append_req req = {.serial = 1, .first = 1};
    ck_assert_int_eq(promise(1, 0), ERR_PROTOCOL);
    ck_assert_int_eq(promise(1, 7), 0);
    for (uint16_t op = OP_log_promise; op <= OP_log_cut; op++) {
        struct rpc_call call = {.done = done};
        struct frame_header head = {.op = op, .epoch = 1};
        memset(&a, 0, sizeof(a));
        rpc_call(&asking, &call, &head, (struct slice){0}, NULL, 2000);
        ck_assert(sim_run_until(s, is_done, NULL, 10 * NS_PER_S));
        ck_assert_int_eq(a.status, ERR_PROTOCOL);
    }
    ck_assert_int_eq(ask(OP_log_append, 1, &(union op_any){.log_append_req = req}, "garbage", 7),
                     ERR_PROTOCOL);
    ck_assert_int_eq(ask(OP_log_yield, 1, &none, NULL, 0), 0);
}
END_TEST

Suite *suite_logger(void);
Suite *suite_logger(void)
{
    Suite *suite = suite_create("logger");
    TCase *c = tcase_create("requests");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, records_of_the_promised_epoch_are_taken);
    tcase_add_test(c, what_does_not_follow_is_out_of_sync);
    tcase_add_test(c, a_lower_epoch_is_refused);
    tcase_add_test(c, a_lease_is_kept);
    tcase_add_test(c, a_lease_is_given_back);
    tcase_add_test(c, another_history_is_cut);
    tcase_add_test(c, a_log_with_holes_alone_is_not_cut);
    tcase_add_test(c, records_are_read_back);
    tcase_add_test(c, a_power_cut_takes_nothing_that_was_answered);
    tcase_add_test(c, garbage_is_refused);
    suite_add_tcase(suite, c);
    return suite;
}
