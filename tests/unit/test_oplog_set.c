/* test_oplog_set.c - an operation log as one of several: records of other masters, promises, what
 * is durable against what is committed, reading for a log that catches up. */
#include "master/core/oplog_cursor.h"
#include "master/core/oplog_internal.h"
#include "shared/base/hash.h"
#include "shared/proto/codec.h"
#include "tests/sim/sim_env.h"
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
    if (oplog_cluster(l[i]) == 0) { /* one that was there from the beginning */
        ck_assert_int_eq(oplog_adopt(l[i], 4711, &why), 0);
        oplog_joined(l[i]);
    }
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

static void read_slots(uint8_t out[2][SUPER_BYTES])
{
    for (int s = 0; s < 2; s++) {
        struct env_file *f;
        MUST(env_file_open(&d[1]->env, s ? LOG_DIR "/meta.1" : LOG_DIR "/meta.0", 0, &f) == 0);
        MUST(env_file_read(&d[1]->env, f, 0, out[s], SUPER_BYTES) == SUPER_BYTES);
        env_file_close(&d[1]->env, f);
    }
}

static void write_slot(int s, const uint8_t bytes[SUPER_BYTES])
{
    struct env_file *f;
    MUST(env_file_open(&d[1]->env, s ? LOG_DIR "/meta.1" : LOG_DIR "/meta.0", 0, &f) == 0);
    MUST(env_file_write(&d[1]->env, f, 0, bytes, SUPER_BYTES) == SUPER_BYTES);
    env_file_close(&d[1]->env, f);
}

/* A process ends when it could not sync the first slot of a promise: the next one finds that in the
 * page cache, and obeys it. It must be in both slots then, without what was never synced: the power
 * fails, and either slot is damaged. */
START_TEST(a_promise_found_at_the_start_is_made_durable)
{
    static const uint8_t zeros[SUPER_BYTES];
    uint8_t synced[2][SUPER_BYTES], left[2][SUPER_BYTES], now[2][SUPER_BYTES];
    promise(1, 7);
    read_slots(synced);
    oplog_promise(l[1], 8, on_promise, l[1]);
    ck_assert(dir_env_step(d[1])); /* the first of them */
    read_slots(left);
    reopen(1);
    ck_assert_uint_eq(oplog_epoch(l[1]), 8);
    read_slots(now);
    for (int s = 0; s < 2; s++) {
        if (memcmp(now[s], left[s], SUPER_BYTES) == 0) {
            write_slot(s, synced[s]);
        }
    }
    write_slot(_i, zeros);
    reopen(1);
    ck_assert_uint_eq(oplog_epoch(l[1]), 8);
}
END_TEST

/* ---------------------------------------------------------------- damage */

static const char *segment_of(int i, uint64_t index)
{
    static char path[SEGMENT_NAME_BYTES];
    uint32_t n = l[i]->segment_count;
    while (l[i]->segments[n - 1].first > index) {
        n--;
    }
    segment_path(l[i]->segments[n - 1].first, path);
    return path;
}

/* Changes `len` bytes at `off` of a file of log i, or zeroes them. */
static void spoil(int i, const char *path, uint64_t off, uint32_t len, bool zero)
{
    struct env_file *f;
    uint8_t bytes[4096];
    MUST(len <= sizeof(bytes));
    MUST(env_file_open(&d[i]->env, path, 0, &f) == 0);
    MUST(env_file_read(&d[i]->env, f, off, bytes, len) == (int64_t)len);
    for (uint32_t n = 0; n < len; n++) {
        bytes[n] = zero ? 0 : (uint8_t)~bytes[n];
    }
    MUST(env_file_write(&d[i]->env, f, off, bytes, len) == (int64_t)len);
    env_file_close(&d[i]->env, f);
}

static uint64_t unit_at(uint32_t unit)
{
    return segment_unit_offset(SEGMENT, unit);
}

/* What a bad disk puts behind the last record of a full segment is none of the log. */
START_TEST(a_cursor_does_not_mind_what_is_behind)
{
    enum { UNITS_OF_ONE = 3 };
    uint32_t units = segment_units(SEGMENT);
    struct oplog_cursor *c;
    struct oplog_piece p;
    uint64_t next = 1;
    int rc;
    ck_assert_uint_ne(units % UNITS_OF_ONE, 0); /* the unit behind the last record is none of it */
    append(30, 9000);
    ck_assert_uint_ge(l[0]->segment_count, 3);
    for (uint32_t k = 0; k + 1 < l[0]->segment_count; k++) {
        spoil(0, segment_of(0, l[0]->segments[k].first),
              unit_at(units - units % UNITS_OF_ONE) + 4000, 1, false);
    }
    ck_assert_int_eq(oplog_cursor_open(l[0], 1, &c, &why), 0);
    while ((rc = oplog_cursor_next(c, &p, &why)) == 1) {
        next = p.last + 1;
    }
    ck_assert_msg(rc == 0, "%s", why.text);
    ck_assert_uint_eq(next, 31);
    oplog_cursor_close(c);
}
END_TEST

static void expect_end(int i, enum log_end end, uint64_t tail, uint32_t holes)
{
    struct log_answer a = oplog_findings(l[i]);
    ck_assert(a.here);
    ck_assert_uint_eq(a.tail.index, tail);
    ck_assert_int_eq(a.end, end);
    ck_assert_uint_eq(a.hole_count, holes);
}

/* Whether the last batch was flushed is written in its slot; without one it was not. */
START_TEST(the_end_is_told_apart)
{
    append(5, 100); /* a batch a unit */
    promise(1, 2);
    follow();
    const char *path = segment_of(1, 1);
    spoil(1, path, unit_at(4) + 70, 10, false);
    reopen(1);
    ck_assert(oplog_damaged(l[1]));
    expect_end(1, LOG_END_NAMED, 4, 0);
    ck_assert_uint_eq(oplog_findings(l[1]).end_place.index, 5);
    ck_assert_uint_eq(oplog_findings(l[1]).end_place.epoch, 1);
    spoil(1, path, segment_slot_offset(4), 4, false);
    reopen(1);
    expect_end(1, LOG_END_UNKNOWN, 4, 0);
    spoil(1, path, segment_slot_offset(4), SLOT_BYTES, true);
    reopen(1);
    ck_assert(!oplog_damaged(l[1])); /* the flush had not ended: gone */
    expect_end(1, LOG_END_SURE, 4, 0);
    follow();
    expect_equal();
}
END_TEST

START_TEST(a_committed_end_that_is_gone_is_unsure)
{
    append(5, 100);
    follow();
    oplog_commit_to(l[1], 5);
    dir_env_advance(d[1], 3 * NS_PER_S);
    const char *path = segment_of(1, 1);
    spoil(1, path, unit_at(4), 4096, true);
    spoil(1, path, segment_slot_offset(4), SLOT_BYTES, true);
    reopen(1);
    expect_end(1, LOG_END_UNKNOWN, 4, 0);
    ck_assert_uint_eq(oplog_findings(l[1]).committed, 5);
    ck_assert_int_eq(oplog_cut(l[1], 4, &why), -EPERM);
}
END_TEST

START_TEST(holes_are_found)
{
    append(60, 700);
    follow();
    ck_assert_uint_gt(l[1]->segment_count, 3);
    uint64_t second = l[1]->segments[1].first, last = l[1]->segments[l[1]->segment_count - 1].first;
    ck_assert_uint_gt(60, last + 1);
    spoil(1, segment_of(1, 1), unit_at(2), 100, false);        /* record 3 */
    spoil(1, segment_of(1, second), 0, 100, false);            /* its header alone: no hole */
    spoil(1, segment_of(1, last), unit_at(0) + 80, 10, false); /* its first record */
    reopen(1);
    expect_end(1, LOG_END_SURE, 60, 2);
    struct log_answer a = oplog_findings(l[1]);
    ck_assert_uint_eq(a.first, 1);
    ck_assert_uint_eq(a.holes[0].from, 3);
    ck_assert_uint_eq(a.holes[0].to, 3);
    ck_assert_uint_eq(a.holes[0].epoch_before, 1);
    ck_assert_uint_eq(a.holes[1].from, last);
    ck_assert_uint_eq(a.holes[1].to, last);
    ck_assert_int_eq(oplog_cut(l[1], last, &why), -ENOENT);
    ck_assert_msg(oplog_cut(l[1], last + 1, &why) == 0, "%s", why.text);
    expect_end(1, LOG_END_SURE, last + 1, 2);
    ck_assert_int_eq(oplog_cut(l[1], last + 1, &why), -EALREADY);
    expect_end(1, LOG_END_SURE, last + 1, 2);
    ck_assert_msg(oplog_cut(l[1], 2, &why) == 0, "%s", why.text);
    ck_assert(!oplog_damaged(l[1]));
    follow();
    expect_equal();
}
END_TEST

START_TEST(a_missing_segment_is_a_hole)
{
    append(60, 700);
    follow();
    uint64_t from = l[1]->segments[1].first, to = l[1]->segments[2].first - 1;
    MUST(env_unlink(&d[1]->env, segment_of(1, from)) == 0);
    spoil(1, segment_of(1, 60), unit_at(0), 8, false); /* else only the last one is looked at */
    reopen(1);
    struct log_answer a = oplog_findings(l[1]);
    ck_assert_uint_eq(a.holes[0].from, from);
    ck_assert_uint_eq(a.holes[0].to, to);
    ck_assert_msg(oplog_cut(l[1], from - 1, &why) == 0, "%s", why.text);
    follow();
    expect_equal();
}
END_TEST

/* ---------------------------------------------------------------- mending */

/* All that is missing in log 1 comes from log 0, hole by hole. */
static void mend(void)
{
    struct log_hole holes[LOG_HOLES_MAX];
    for (int turn = 0; oplog_missing(l[1]) > 0; turn++) {
        ck_assert_int_lt(turn, 20);
        struct oplog_cursor *c;
        struct oplog_piece p;
        struct writer w;
        struct log_answer a = oplog_findings(l[1]);
        uint32_t count = oplog_rot(l[1], holes);
        struct log_hole hole = oplog_damaged(l[1]) ? a.holes[0] : holes[count - 1];
        writer_init(&w);
        ck_assert_int_eq(oplog_cursor_open(l[0], hole.from, &c, &why), 0);
        for (uint64_t next = hole.from; next <= hole.to; next = p.last + 1) {
            ck_assert_int_eq(oplog_cursor_next(c, &p, &why), 1);
            ck_assert_uint_le(p.last, hole.to); /* batches of one record each */
            writer_raw(&w, p.records.data, p.records.len);
        }
        oplog_cursor_close(c);
        w.buf->data[50] ^= 1;
        ck_assert_int_ne(oplog_mend(l[1], writer_bytes(&w), &why), 0);
        w.buf->data[50] ^= 1;
        int rc = oplog_mend(l[1], writer_bytes(&w), &why);
        ck_assert_msg(rc == 0, "%s", why.text);
        writer_free(&w);
    }
}

/* Reads all full segments of log 1 once. */
static void read_again(void)
{
    struct oplog_check *check = oplog_check_create(l[1]);
    for (uint32_t i = 0; i < l[1]->segment_count; i++) {
        ck_assert(oplog_check_step(check));
        dir_env_pump(d[1]);
        ck_assert(!oplog_check_busy(check));
        ck_assert(oplog_check_step(check)); /* the end of a segment that fits into one read */
        dir_env_pump(d[1]);
    }
    oplog_check_destroy(check);
}

static void zero_file(const char *path)
{
    for (uint32_t at = 0; at < SEGMENT; at += 4096) {
        spoil(1, path, at, 4096, true);
    }
}

static void remove_file(const char *path)
{
    MUST(env_unlink(&d[1]->env, path) == 0);
}

static void shorten_file(const char *path)
{
    struct env_file *f;
    MUST(env_file_open(&d[1]->env, path, 0, &f) == 0);
    MUST(env_file_truncate(&d[1]->env, f, unit_at(3)) == 0);
    env_file_close(&d[1]->env, f);
}

static void spoil_first(const char *path)
{
    spoil(1, path, unit_at(0) + 90, 1, false);
}

static void spoil_last(const char *path) /* the last of its records */
{
    uint32_t unit = (uint32_t)(l[1]->segments[2].first - l[1]->segments[1].first - 1);
    spoil(1, path, unit_at(unit) + 90, 1, false);
}

static void spoil_some(const char *path)
{
    for (uint32_t unit = 1; unit < 9; unit += 3) {
        spoil(1, path, unit_at(unit), 4096, unit == 4);
    }
}

static void spoil_header(const char *path)
{
    spoil(1, path, 20, 1, false);
}

static void spoil_header_and_first(const char *path)
{
    spoil_header(path);
    spoil_first(path);
}

static void make_unreadable(const char *path, uint64_t off)
{
    struct env_file *f;
    MUST(env_file_open(&d[1]->env, path, 0, &f) == 0);
    MUST(env_file_write(&d[1]->env, f, off, DIR_ENV_UNREADABLE, sizeof(DIR_ENV_UNREADABLE)) > 0);
    env_file_close(&d[1]->env, f);
}

static void hide_first(const char *path)
{
    make_unreadable(path, unit_at(0));
}

static void hide_some(const char *path)
{
    for (uint32_t unit = 1; unit < 9; unit += 3) {
        make_unreadable(path, unit_at(unit));
    }
}

static void hide_header(const char *path)
{
    make_unreadable(path, 0);
}

static void hide_file(const char *path)
{
    for (uint32_t at = 0; at < SEGMENT; at += DIR_ENV_PAGE) {
        make_unreadable(path, at);
    }
}

static void (*const damages[])(const char *path) = {
    spoil_first,  spoil_last,  spoil_some, spoil_header, spoil_header_and_first,
    shorten_file, remove_file, zero_file,  hide_first,   hide_some,
    hide_header,  hide_file};

/* Nothing but a header, which is made anew. */
static bool only_header(int damage)
{
    return damages[damage] == spoil_header || damages[damage] == hide_header;
}

/* What a disk lost of a full segment is found by reading it again, and comes back, while the log goes
 * on. */
START_TEST(full_segments_are_read_again)
{
    append(60, 700);
    follow();
    ck_assert_uint_gt(l[1]->segment_count, 3);
    read_again();
    ck_assert_uint_eq(oplog_missing(l[1]), 0);
    damages[_i](segment_of(1, l[1]->segments[1].first));
    append(1, 10);
    follow();
    read_again();
    ck_assert(oplog_missing(l[1]) > 0 || only_header(_i));
    append(1, 10);
    follow();
    mend();
    expect_equal();
    read_again();
    ck_assert_uint_eq(oplog_missing(l[1]), 0);
    reopen(1);
    ck_assert(!oplog_damaged(l[1]));
    append(20, 700);
    follow();
    expect_equal();
}
END_TEST

/* Who reads records meets it, too. */
START_TEST(a_cursor_finds_what_is_missing)
{
    struct oplog_cursor *c;
    struct oplog_piece p;
    int rc;
    append(60, 700);
    follow();
    damages[_i](segment_of(1, l[1]->segments[1].first));
    if (!only_header(_i)) {
        ck_assert_int_eq(oplog_cursor_open(l[1], 1, &c, &why), 0);
        while ((rc = oplog_cursor_next(c, &p, &why)) == 1) {
        }
        ck_assert_int_lt(rc, 0);
        ck_assert_uint_gt(oplog_missing(l[1]), 0);
        ck_assert(oplog_rot_at(l[1], p.last + 1) || damages[_i] == remove_file);
        oplog_cursor_close(c);
    }
    mend();
    expect_equal();
}
END_TEST

/* The header of a segment is lost, too, and what is missing is not at its beginning. */
START_TEST(a_header_is_mended_with_what_follows)
{
    append(60, 700);
    follow();
    const uint64_t second = l[1]->segments[1].first;
    spoil_some(segment_of(1, second));
    spoil(1, segment_of(1, 60), unit_at(0), 8, false); /* else only the last one is looked at */
    reopen(1);
    ck_assert(oplog_damaged(l[1]));
    spoil_header(segment_of(1, second)); /* at the start it would be written anew */
    mend();
    reopen(1);
    ck_assert(!oplog_damaged(l[1]));
    read_again();
    ck_assert_uint_eq(oplog_missing(l[1]), 0);
    expect_equal();
}
END_TEST

/* A log that is found damaged is mended over the borders of segments, headers and all. */
START_TEST(a_damaged_log_is_mended_everywhere)
{
    append(60, 700);
    follow();
    uint64_t second = l[1]->segments[1].first, third = l[1]->segments[2].first;
    uint32_t end = (uint32_t)(third - second);
    damages[_i](segment_of(1, second));
    spoil(1, segment_of(1, second - 1), unit_at((uint32_t)second - 2) + 90, 1, false);
    if (damages[_i] != shorten_file && damages[_i] != remove_file && damages[_i] != hide_file) {
        spoil(1, segment_of(1, second), unit_at(end - 1) + 90, 1, false);
    }
    spoil(1, segment_of(1, third), 0, 100, false);
    spoil(1, segment_of(1, third), unit_at(0) + 90, 1, false);
    reopen(1);
    ck_assert(oplog_damaged(l[1]));
    mend();
    ck_assert(!oplog_damaged(l[1]));
    expect_equal();
    reopen(1);
    ck_assert(!oplog_damaged(l[1]));
    append(20, 700);
    follow();
    expect_equal();
}
END_TEST

/* What precedes a segment is known from the one before if its header cannot be read. */
START_TEST(a_header_that_is_gone_tells_nothing)
{
    uint64_t chains[2];
    append(60, 700);
    follow();
    uint64_t second = l[1]->segments[1].first;
    spoil_header_and_first(segment_of(1, second));
    reopen(1);
    ck_assert(oplog_damaged(l[1]));
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(oplog_chain(l[i], second - 1, &chains[i], &why), 0);
    }
    ck_assert_uint_eq(chains[0], chains[1]);
    ck_assert_int_eq(oplog_cut(l[1], second - 1, &why), 0);
    ck_assert(!oplog_damaged(l[1]));
    follow();
    expect_equal();
}
END_TEST

/* Whatever it was that stood behind this record of log 1: a crash must not make it forgotten. */
static void expect_unsure_when_cut(uint64_t index)
{
    struct log_answer before = oplog_findings(l[1]);
    ck_assert(!oplog_joining(l[1]));
    ck_assert_msg(oplog_cut(l[1], index, &why) == 0, "%s", why.text);
    ck_assert(!oplog_damaged(l[1]));
    reopen(1);
    ck_assert(oplog_joining(l[1]));
    expect_end(1, before.end, index, 0);
    ck_assert_int_eq(log_place_compare(oplog_findings(l[1]).end_place, before.end_place), 0);
    l[1]->now.joining = false;
    ck_assert_int_eq(superblock_write(l[1], &why), 0);
}

/* What precedes a segment may be known to nobody here when its end is cut: the copy must not make it up, or
 * what is missing would never fit. */
START_TEST(a_header_that_is_gone_is_not_made_up)
{
    append(60, 700);
    follow();
    uint64_t last = l[1]->segments[l[1]->segment_count - 1].first;
    ck_assert_uint_gt(60, last + 2);
    spoil_header_and_first(segment_of(1, last));
    uint64_t before = l[1]->segments[l[1]->segment_count - 2].first;
    spoil(1, segment_of(1, before), unit_at((uint32_t)(last - before - 1)) + 90, 1, false);
    spoil(1, segment_of(1, last), unit_at((uint32_t)(60 - last)) + 90, 1, false);
    reopen(1);
    expect_end(1, LOG_END_UNKNOWN, 59, 1);
    ck_assert_int_eq(oplog_cut(l[1], 59, &why), -EAGAIN);
    mend();
    reopen(1);
    ck_assert(!oplog_damaged(l[1]));
    expect_end(1, LOG_END_UNKNOWN, 59, 0);
    follow();
    expect_equal();
}
END_TEST

/* The last segment: what cannot be read there is the end, or beyond it. */
START_TEST(an_end_that_cannot_be_read_is_unsure)
{
    append(5, 100); /* a batch a unit */
    follow();
    const char *path = segment_of(1, 1);
    make_unreadable(path, UNIT_BYTES); /* the id table: made anew, but who knows what it said */
    reopen(1);
    ck_assert(oplog_damaged(l[1]));
    expect_end(1, LOG_END_UNKNOWN, 5, 0);
    expect_unsure_when_cut(5);
    make_unreadable(segment_of(1, 1), unit_at(4));
    reopen(1);
    expect_end(1, LOG_END_NAMED, 4, 0);
    expect_unsure_when_cut(4);
    make_unreadable(segment_of(1, 1), unit_at(7)); /* in no batch that its slot proves */
    reopen(1);
    ck_assert(!oplog_damaged(l[1]));
    expect_end(1, LOG_END_SURE, 4, 0);
    follow();
    expect_equal();
    reopen(1);
    ck_assert(!oplog_damaged(l[1]));
}
END_TEST

/* A log alone has nobody to get it from: it is refused, and says what and where. */
START_TEST(a_lone_log_that_cannot_be_read_is_refused)
{
    struct oplog_config cfg = {.segment_bytes = SEGMENT};
    struct oplog *other;
    append(5, 100);
    follow();
    make_unreadable(segment_of(1, 1), unit_at(2));
    ck_assert_int_eq(oplog_open(&d[1]->env, &cfg, "test", &other, &why), -EIO);
    ck_assert_msg(strstr(why.text, segment_of(1, 1)) != NULL, "%s", why.text);
}
END_TEST

START_TEST(a_header_is_made_anew)
{
    append(60, 700);
    follow();
    spoil_header(segment_of(1, l[1]->segments[0].first));
    spoil_header(segment_of(1, l[1]->segments[1].first));
    spoil_header(segment_of(1, 60));
    reopen(1);
    ck_assert(!oplog_damaged(l[1]));
    expect_equal();
    reopen(1);
    append(5, 700);
    follow();
    expect_equal();
}
END_TEST

/* A later program's format, its sum right: `at` is that of the sum, over all before it. */
static void make_newer(const char *path, uint32_t at)
{
    struct env_file *f;
    uint8_t bytes[UNIT_BYTES];
    MUST(env_file_open(&d[1]->env, path, 0, &f) == 0);
    MUST(env_file_read(&d[1]->env, f, 0, bytes, at + 8) == at + 8);
    put_le(bytes + 4, 2, 4);
    put_le(bytes + at, hash64(bytes, at), 8);
    MUST(env_file_write(&d[1]->env, f, 0, bytes, at + 8) == at + 8);
    env_file_close(&d[1]->env, f);
}

START_TEST(a_newer_format_is_refused)
{
    struct oplog_config cfg = {.segment_bytes = SEGMENT, .replicated = true};
    struct oplog *other;
    append(60, 700);
    follow();
    bool superblock = _i == 0;
    char path[SEGMENT_NAME_BYTES];
    snprintf(path, sizeof(path), "%s",
             superblock ? LOG_DIR "/meta.1" : segment_of(1, _i == 1 ? 1 : 60));
    make_newer(path, superblock ? SUPER_BYTES - 8 : UNIT_BYTES - 8);
    if (_i == 2) {
        spoil(1, segment_of(1, l[1]->segments[1].first), 20, 1, false); /* damaged, too */
    }
    ck_assert_int_eq(oplog_open(&d[1]->env, &cfg, "test", &other, &why), ERR_FORMAT);
    ck_assert_msg(strstr(why.text, path) != NULL && strstr(why.text, "knows") != NULL, "%s",
                  why.text);
}
END_TEST

/* Wherever it is cut, also within a batch and between segments: what is left is the same history,
 * also after a restart, and goes on. */
START_TEST(a_log_is_cut_anywhere)
{
    for (int i = 0; i < 40; i++) {
        struct record r = {.type = 0x0120, .sequence = oplog_last(l[0]) + 1};
        oplog_append(l[0], &r);
    }
    append(40, 700);
    for (uint64_t keep = 0; keep <= 80; keep++) {
        uint64_t chain[2];
        follow();
        ck_assert_msg(oplog_cut(l[1], keep, &why) == 0, "%s", why.text);
        ck_assert_uint_eq(oplog_last(l[1]), keep);
        ck_assert_uint_eq(oplog_durable(l[1]), keep);
        ck_assert_uint_eq(oplog_last_epoch(l[1]), keep > 0);
        for (int i = 0; i < LOGS; i++) {
            ck_assert_int_eq(oplog_chain(l[i], keep, &chain[i], &why), 0);
        }
        ck_assert_uint_eq(chain[0], chain[1]);
        if (keep % 5 == 0) {
            reopen(1);
            ck_assert_uint_eq(oplog_last(l[1]), keep);
        }
    }
    follow();
    expect_equal();
}
END_TEST

/* At the end of a log nobody could see that a record was lost: it is not made the last one. */
START_TEST(a_log_is_not_cut_behind_what_is_lost)
{
    append(60, 700);
    follow();
    uint64_t last = l[1]->segments[2].first - 1;
    spoil_last(segment_of(1, last));
    ck_assert_int_eq(oplog_cut(l[1], last, &why), -EIO);
    ck_assert_uint_eq(oplog_last(l[1]), 60);
    ck_assert_msg(oplog_cut(l[1], last - 1, &why) == 0, "%s", why.text);
    follow();
    expect_equal();
}
END_TEST

/* ---------------------------------------------------------------- crashes while it is cut */

static struct env_ops limited;
static const struct env_ops *whole;
static uint32_t ops_left; /* the process dies before the next operation */

static bool dead(void)
{
    if (ops_left == 0) {
        return true;
    }
    ops_left--;
    return false;
}

static int64_t limited_write(struct env *e, struct env_file *f, uint64_t off, const void *data,
                             uint32_t len)
{
    return dead() ? -EIO : whole->file_write(e, f, off, data, len);
}

static int limited_sync(struct env *e, struct env_file *f)
{
    return dead() ? -EIO : whole->file_sync(e, f);
}

static int limited_rename(struct env *e, const char *from, const char *to)
{
    return dead() ? -EIO : whole->rename(e, from, to);
}

static int limited_unlink(struct env *e, const char *path)
{
    return dead() ? -EIO : whole->unlink(e, path);
}

static int limited_sync_dir(struct env *e, const char *path)
{
    return dead() ? -EIO : whole->sync_dir(e, path);
}

enum { CUT_RECORDS = 30, CUT_KEEP = 11 };

static struct oplog *sim_log(struct sim *s, struct sim_process *p)
{
    struct oplog_config cfg = {.segment_bytes = SEGMENT, .replicated = true};
    struct oplog *log;
    sim_process_start(p);
    ck_assert_msg(oplog_open(&p->env, &cfg, "test", &log, &why) == 0, "%s", why.text);
    if (oplog_cluster(log) == 0) {
        ck_assert_int_eq(oplog_adopt(log, 4711, &why), 0);
        oplog_joined(log);
    }
    ck_assert_msg(oplog_start(log, &why) == 0, "%s", why.text);
    sim_run_for(s, NS_PER_S);
    return log;
}

/* A log of some segments. */
static struct oplog *long_log(struct sim *s, struct sim_process *p, uint64_t *chains)
{
    struct oplog *log = sim_log(s, p);
    oplog_promise(log, 1, on_promise, log);
    sim_run_for(s, NS_PER_S);
    oplog_take_epoch(log, 1);
    for (uint32_t i = 1; i <= CUT_RECORDS; i++) {
        static uint8_t body[9000];
        struct record r = {.type = 0x0120, .body = bytes_of(body, 8000)};
        oplog_append(log, &r);
        chains[i] = r.chain;
        sim_run_for(s, i % 3 == 0 ? NS_PER_S : 0); /* three a batch */
    }
    MUST(oplog_durable(log) == CUT_RECORDS && log->segment_count > 3);
    return log;
}

/* Of the calls that change something so many more are done, then the process dies. */
static void die_after(struct sim_process *p, uint32_t after)
{
    whole = p->env.ops;
    limited = *whole;
    limited.file_write = limited_write;
    limited.file_sync = limited_sync;
    limited.rename = limited_rename;
    limited.unlink = limited_unlink;
    limited.sync_dir = limited_sync_dir;
    p->env.ops = &limited;
    ops_left = after;
}

static void dies(struct sim_process *p, struct oplog *log, bool power)
{
    if (power) {
        sim_process_power_cut(p);
    } else {
        sim_process_kill(p);
    }
    p->env.ops = whole;
    oplog_close(log);
}

static void records_fit(struct oplog *log, const uint64_t *chains)
{
    for (uint64_t i = 1; i <= oplog_last(log); i++) {
        uint64_t chain;
        MUST(oplog_chain(log, i, &chain, &why) == 0 && chain == chains[i]);
    }
}

static void ends(struct sim *s, struct sim_process *p, const char *reason)
{
    (void)s;
    (void)p;
    MUST(reason[0] != '\0');
}

/* True if the cut ended before the crash. One that fails leaves a log that knows what it has, or ends the
 * process because that cannot be found out. */
static bool crash_in_cut(uint64_t seed, uint32_t after)
{
    uint64_t chains[CUT_RECORDS + 1] = {0};
    struct sim *s = sim_create(seed);
    struct sim_process *p = sim_process_create(s, "logger");
    s->log_level = LOG_ERROR + 1;
    struct oplog *log = long_log(s, p, chains);
    die_after(p, after);
    why.text[0] = '\0';
    volatile bool ended = false;
    s->on_die = ends;
    if (setjmp(s->out) == 0) {
        ended = oplog_cut(log, CUT_KEEP, &why) == 0;
        MUST(ended || why.text[0] != '\0');
        records_fit(log, chains);
    }
    dies(p, log, seed % 2 == 0);

    log = sim_log(s, p);
    MUST(!oplog_damaged(log));
    MUST(oplog_last(log) >= CUT_KEEP && oplog_last(log) <= (ended ? CUT_KEEP : CUT_RECORDS));
    records_fit(log, chains);
    MUST(oplog_cut(log, CUT_KEEP, &why) == 0 && oplog_last(log) == CUT_KEEP);
    sim_process_kill(p);
    oplog_close(log);
    sim_process_free(p);
    sim_destroy(s);
    return ended;
}

START_TEST(a_crash_while_it_is_cut_leaves_a_log)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        uint32_t after = 0;
        while (!crash_in_cut(seed, after)) {
            after++;
        }
        ck_assert_uint_gt(after, 8);
    }
}
END_TEST

enum { BASE = 1000, BASE_EPOCH = 1, BASE_CHAIN = 0x1234 };

/* True if the log had begun anew before the crash. What is left of the old one vouches for nothing. */
static bool crash_in_begin(uint64_t seed, uint32_t after)
{
    uint64_t chains[CUT_RECORDS + 1] = {0}, chain;
    struct sim *s = sim_create(seed);
    struct sim_process *p = sim_process_create(s, "logger");
    s->log_level = LOG_ERROR + 1;
    struct oplog *log = long_log(s, p, chains);
    die_after(p, after);
    bool ended = oplog_begin_at(log, BASE, BASE_EPOCH, BASE_CHAIN, &why) == 0;
    dies(p, log, seed % 2 == 0);

    log = sim_log(s, p);
    bool there = oplog_last(log) == BASE;
    MUST(there || !ended);
    MUST(oplog_last(log) == CUT_RECORDS || oplog_joining(log));
    MUST(!oplog_joining(log) || oplog_findings(log).end == LOG_END_UNKNOWN);
    if (!there) {
        MUST(oplog_begin_at(log, BASE, BASE_EPOCH, BASE_CHAIN, &why) == 0);
        sim_process_kill(p);
        oplog_close(log);
        log = sim_log(s, p);
    }
    MUST(!oplog_damaged(log) && oplog_joining(log) && oplog_committed(log) == BASE);
    MUST(oplog_last(log) == BASE && oplog_first(log) == BASE + 1);
    MUST(oplog_last_epoch(log) == BASE_EPOCH);
    MUST(oplog_chain(log, BASE, &chain, &why) == 0 && chain == BASE_CHAIN);
    sim_process_kill(p);
    oplog_close(log);
    sim_process_free(p);
    sim_destroy(s);
    return ended;
}

START_TEST(a_crash_while_it_begins_anew_can_be_repeated)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        uint32_t after = 0;
        while (!crash_in_begin(seed, after)) {
            after++;
        }
        ck_assert_uint_gt(after, 8);
    }
}
END_TEST

/* Without the room for its first segment the log is as it was, and goes on. */
START_TEST(a_full_disk_keeps_the_log)
{
    uint64_t chains[CUT_RECORDS + 1] = {0};
    struct sim *s = sim_create(1);
    struct sim_process *p = sim_process_create(s, "logger");
    s->log_level = LOG_ERROR + 1;
    struct oplog *log = long_log(s, p, chains);
    for (uint32_t call = 2; call <= 3; call++) { /* the first one removes what is left of another */
        p->fail_call = call;
        p->fail_error = -ENOSPC;
        ck_assert_int_eq(oplog_begin_at(log, BASE, BASE_EPOCH, BASE_CHAIN, &why), -ENOSPC);
        ck_assert(!oplog_begun(log));
    }
    ck_assert_int_eq(oplog_cut(log, CUT_KEEP, &why), 0);
    records_fit(log, chains);
    ck_assert_int_eq(oplog_begin_at(log, BASE, BASE_EPOCH, BASE_CHAIN, &why), 0);
    ck_assert(oplog_begun(log));
    sim_process_kill(p);
    oplog_close(log);
    sim_process_free(p);
    sim_destroy(s);
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
    tcase_add_test(c, a_cursor_does_not_mind_what_is_behind);
    tcase_add_test(c, records_that_do_not_follow_are_refused);
    tcase_add_test(c, a_promise_survives);
    tcase_add_loop_test(c, a_promise_found_at_the_start_is_made_durable, 0, 2);
    suite_add_tcase(s, c);
    TCase *damage = tcase_create("damage");
    tcase_add_checked_fixture(damage, setup, teardown);
    tcase_add_test(damage, the_end_is_told_apart);
    tcase_add_test(damage, a_committed_end_that_is_gone_is_unsure);
    tcase_add_test(damage, holes_are_found);
    tcase_add_test(damage, a_missing_segment_is_a_hole);
    tcase_add_test(damage, a_log_is_not_cut_behind_what_is_lost);
    tcase_add_loop_test(damage, full_segments_are_read_again, 0, COUNT_OF(damages));
    tcase_add_loop_test(damage, a_cursor_finds_what_is_missing, 0, COUNT_OF(damages));
    tcase_add_test(damage, a_header_is_mended_with_what_follows);
    tcase_add_loop_test(damage, a_damaged_log_is_mended_everywhere, 0, COUNT_OF(damages));
    tcase_add_test(damage, a_header_that_is_gone_tells_nothing);
    tcase_add_test(damage, a_header_that_is_gone_is_not_made_up);
    tcase_add_test(damage, an_end_that_cannot_be_read_is_unsure);
    tcase_add_test(damage, a_lone_log_that_cannot_be_read_is_refused);
    tcase_add_test(damage, a_header_is_made_anew);
    tcase_add_loop_test(damage, a_newer_format_is_refused, 0, 3);
    tcase_add_test(damage, a_log_is_cut_anywhere);
    suite_add_tcase(s, damage);
    TCase *crash = tcase_create("crash");
    tcase_add_test(crash, a_crash_while_it_is_cut_leaves_a_log);
    tcase_add_test(crash, a_crash_while_it_begins_anew_can_be_repeated);
    tcase_add_test(crash, a_full_disk_keeps_the_log);
    suite_add_tcase(s, crash);
    return s;
}
