/* test_oplog_set.c - an operation log as one of several: records of other masters, promises, what
 * is durable against what is committed, reading for a log that catches up. */
#include "master/core/oplog_cursor.h"
#include "master/core/oplog_internal.h"
#include "tests/unit/dir_env.h"
#include "tests/unit/unit.h"

#include <stdio.h>

enum { SEGMENT = 64 << 10, LOGS = 2 };

/* Log 0 is the writer's, log 1 follows it. */
static struct dir_env *d[LOGS];
static struct oplog *l[LOGS];
static struct why why;
static uint64_t committed_seen, durable_seen;
static uint32_t promises;

static void on_commit(void *owner, uint64_t index)
{
    (void)owner;
    ck_assert_uint_gt(index, committed_seen);
    committed_seen = index;
}

static void on_durable(void *owner, uint64_t index)
{
    (void)owner;
    durable_seen = index;
}

static void on_promise(void *owner)
{
    ck_assert(!oplog_promising(owner));
    promises++;
}

static void open_log(int i)
{
    struct oplog_config cfg = {.segment_bytes = SEGMENT, .replicated = true};
    int rc = oplog_open(&d[i]->env, &cfg, "test", &l[i], &why);
    ck_assert_msg(rc == 0, "%s", why.text);
    ck_assert_msg(oplog_start(l[i], &why) == 0, "%s", why.text);
    dir_env_pump(d[i]);
}

static void reopen(int i)
{
    dir_env_forget(d[i]);
    oplog_close(l[i]);
    open_log(i);
}

static void promise(int i, uint32_t epoch)
{
    uint32_t before = promises;
    oplog_promise(l[i], epoch, on_promise, l[i]);
    ck_assert_uint_eq(promises, before);
    dir_env_pump(d[i]);
    ck_assert_uint_eq(promises, before + 1);
}

/* Both logs belong to one cluster: the second directory starts as a copy of the first's superblock.
 */
static void setup(void)
{
    committed_seen = durable_seen = 0;
    for (int i = 0; i < LOGS; i++) {
        d[i] = dir_env_new();
        if (i > 0) {
            char command[1200];
            snprintf(command, sizeof(command), "cp -r %s %s", dir_env_path(d[0], "log"),
                     dir_env_path(d[i], "log"));
            MUST(system(command) == 0);
        }
        open_log(i);
    }
    for (int i = 0; i < LOGS; i++) {
        promise(i, 1);
    }
    oplog_take_epoch(l[0], 1);
    oplog_on_commit(l[0], on_commit, NULL);
    oplog_on_durable(l[0], on_durable, NULL);
}

static void teardown(void)
{
    for (int i = 0; i < LOGS; i++) {
        oplog_close(l[i]);
        dir_env_free(d[i]);
    }
}

static void append(uint32_t count, uint32_t body_len)
{
    static uint8_t body[RECORD_BODY_MAX];
    for (uint32_t i = 0; i < count; i++) {
        struct record r = {.type = 0x0120, .session = 1, .body = bytes_of(body, body_len)};
        r.sequence = oplog_last(l[0]) + 1;
        oplog_append(l[0], &r);
        dir_env_pump(d[0]);
    }
}

/* Log 1 gets what it lacks. */
static void follow(void)
{
    struct oplog_cursor *c;
    struct oplog_piece p;
    int rc;
    ck_assert_int_eq(oplog_cursor_open(l[0], oplog_last(l[1]) + 1, &c, &why), 0);
    while ((rc = oplog_cursor_next(c, &p, &why)) == 1) {
        ck_assert_uint_eq(p.first, oplog_last(l[1]) + 1);
        ck_assert_msg(oplog_append_encoded(l[1], p.records, &why) == 0, "%s", why.text);
        ck_assert_uint_eq(oplog_last(l[1]), p.last);
        dir_env_pump(d[1]);
    }
    ck_assert_msg(rc == 0, "%s", why.text);
    oplog_cursor_close(c);
}

static int each_sequence(void *owner, const struct record *r)
{
    ck_assert_uint_eq(r->sequence, r->index);
    ++*(uint64_t *)owner;
    return 0;
}

static void expect_equal(void)
{
    uint64_t chain[LOGS], seen = 0;
    for (int i = 0; i < LOGS; i++) {
        ck_assert_int_eq(oplog_chain(l[i], oplog_last(l[i]), &chain[i], &why), 0);
    }
    ck_assert_uint_eq(oplog_last(l[0]), oplog_last(l[1]));
    ck_assert_uint_eq(chain[0], chain[1]);
    ck_assert_msg(oplog_replay(l[1], 1, each_sequence, &seen, &why) == 0, "%s", why.text);
    ck_assert_uint_eq(seen, oplog_last(l[1]));
}

/* This disk alone commits nothing; what others hold may be committed before it is here. */
START_TEST(committed_is_what_one_is_told)
{
    append(3, 100);
    ck_assert_uint_eq(durable_seen, 3);
    ck_assert_uint_eq(oplog_committed(l[0]), 0);
    oplog_commit_to(l[0], 2);
    ck_assert_uint_eq(committed_seen, 2);
    oplog_commit_to(l[0], 1);
    ck_assert_uint_eq(oplog_committed(l[0]), 2);
    struct record r = {.type = 0x0120};
    oplog_append(l[0], &r);
    oplog_commit_to(l[0], 9);
    ck_assert_uint_eq(oplog_committed(l[0]), 4);
    ck_assert_uint_eq(oplog_durable(l[0]), 3);
    reopen(0); /* the fourth was never written */
    ck_assert_uint_eq(oplog_durable(l[0]), 3);
    ck_assert_uint_eq(oplog_committed(l[0]), 0);
    oplog_commit_to(l[0], 3);
    dir_env_advance(d[0], 3 * NS_PER_S);
    reopen(0);
    ck_assert_uint_eq(oplog_committed(l[0]), 3);
}
END_TEST

START_TEST(another_log_becomes_equal)
{
    append(1, 10);
    follow();
    append(40, 700); /* several segments */
    append(2, 300 << 10);
    follow();
    expect_equal();
    reopen(1);
    expect_equal();
    append(3, 10);
    follow();
    expect_equal();
}
END_TEST

/* The same records come back however a cursor begins; those that come later are found too. */
START_TEST(a_cursor_begins_anywhere)
{
    for (int i = 0; i < 30; i++) { /* in two batches */
        struct record r = {.type = 0x0120, .sequence = oplog_last(l[0]) + 1};
        oplog_append(l[0], &r);
    }
    dir_env_pump(d[0]);
    append(30, 900);
    for (uint64_t from = 1; from <= 61; from++) {
        struct oplog_cursor *c;
        struct oplog_piece p;
        uint64_t next = from;
        int rc;
        ck_assert_int_eq(oplog_cursor_open(l[0], from, &c, &why), 0);
        while ((rc = oplog_cursor_next(c, &p, &why)) == 1) {
            uint64_t chain;
            ck_assert_uint_eq(p.first, next);
            ck_assert_int_eq(oplog_chain(l[0], p.last, &chain, &why), 0);
            ck_assert_uint_eq(p.chain, chain);
            ck_assert_int_eq(oplog_chain(l[0], p.first - 1, &chain, &why), 0);
            ck_assert_uint_eq(p.prev_chain, chain);
            next = p.last + 1;
        }
        ck_assert_msg(rc == 0, "%s", why.text);
        ck_assert_uint_eq(next, oplog_last(l[0]) + 1);
        append(1, 5);
        ck_assert_int_eq(oplog_cursor_next(c, &p, &why), 1);
        ck_assert_uint_eq(p.last, oplog_last(l[0]));
        oplog_cursor_close(c);
    }
    struct oplog_cursor *none;
    ck_assert_int_eq(oplog_cursor_open(l[0], 0, &none, &why), -ENOENT);
    ck_assert_int_eq(oplog_cursor_open(l[0], oplog_last(l[0]) + 2, &none, &why), -ENOENT);
}
END_TEST

START_TEST(records_that_do_not_follow_are_refused)
{
    struct oplog_cursor *c;
    struct oplog_piece p;
    uint8_t copy[4096];
    append(3, 104); /* no padding, which no sum covers */
    ck_assert_int_eq(oplog_cursor_open(l[0], 2, &c, &why), 0);
    ck_assert_int_eq(oplog_cursor_next(c, &p, &why), 1);
    ck_assert_int_eq(oplog_append_encoded(l[1], p.records, &why), ERR_OUT_OF_SYNC);
    oplog_cursor_close(c);
    ck_assert_int_eq(oplog_cursor_open(l[0], 1, &c, &why), 0);
    ck_assert_int_eq(oplog_cursor_next(c, &p, &why), 1);
    memcpy(copy, p.records.data, p.records.len);
    for (uint32_t at = 0; at < p.records.len; at += 7) {
        copy[at] ^= 4;
        ck_assert_int_ne(oplog_append_encoded(l[1], bytes_of(copy, p.records.len), &why), 0);
        copy[at] ^= 4;
    }
    for (uint32_t len = 0; len < p.records.len; len += 5) {
        ck_assert_int_eq(oplog_append_encoded(l[1], bytes_of(copy, len), &why), ERR_PROTOCOL);
    }
    ck_assert_uint_eq(oplog_last(l[1]), 0);
    ck_assert_int_eq(oplog_append_encoded(l[1], p.records, &why), 0);
    ck_assert_int_eq(oplog_append_encoded(l[1], p.records, &why), ERR_OUT_OF_SYNC);
    oplog_cursor_close(c);
    dir_env_pump(d[1]);
    /* An epoch nobody promised to this log. */
    promise(0, 5);
    oplog_take_epoch(l[0], 5);
    append(1, 1);
    ck_assert_int_eq(oplog_cursor_open(l[0], 4, &c, &why), 0);
    ck_assert_int_eq(oplog_cursor_next(c, &p, &why), 1);
    ck_assert_uint_eq(p.epoch, 5);
    ck_assert_int_eq(oplog_append_encoded(l[1], p.records, &why), ERR_PROTOCOL);
    oplog_cursor_close(c);
}
END_TEST

/* A promise is durable when it is told, also when the superblock was being written meanwhile. */
START_TEST(a_promise_survives)
{
    promise(1, 7);
    reopen(1);
    ck_assert_uint_eq(oplog_epoch(l[1]), 7);
    append(1, 10);
    follow();
    oplog_commit_to(l[1], 1);
    d[1]->now_ns += 2 * NS_PER_S;
    dir_env_step(d[1]);
    promise(1, 8);
    reopen(1);
    ck_assert_uint_eq(oplog_epoch(l[1]), 8);
}
END_TEST

Suite *suite_oplog_set(void);
Suite *suite_oplog_set(void)
{
    Suite *s = suite_create("oplog_set");
    TCase *c = tcase_create("records");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, committed_is_what_one_is_told);
    tcase_add_test(c, another_log_becomes_equal);
    tcase_add_test(c, a_cursor_begins_anywhere);
    tcase_add_test(c, records_that_do_not_follow_are_refused);
    tcase_add_test(c, a_promise_survives);
    suite_add_tcase(s, c);
    return s;
}
