/* test_oplog.c - the operation log: formats, group commit, segments, torn tails and damage. */
#include "master/core/oplog_internal.h"
#include "tests/unit/dir_env.h"
#include "tests/unit/unit.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SECTOR = 512, SEGMENT = 64 << 10 };

static struct dir_env *d;
static struct oplog *l;
static struct why why;
static uint64_t committed_seen;
static bool force;
static uint32_t segment_bytes;

static void on_commit(void *owner, uint64_t index)
{
    (void)owner;
    ck_assert_uint_gt(index, committed_seen);
    committed_seen = index;
}

static int try_open(void)
{
    struct oplog_config cfg = {.segment_bytes = segment_bytes, .force = force};
    int rc = oplog_open(&d->env, &cfg, "test", &l, &why);
    if (rc == 0) {
        oplog_on_commit(l, on_commit, NULL);
        committed_seen = oplog_committed(l);
    }
    return rc;
}

static void open_log(void)
{
    ck_assert_msg(try_open() == 0, "%s", why.text);
}

static void start(void)
{
    ck_assert_msg(oplog_start_epoch(l, oplog_epoch(l) + 1, &why) == 0, "%s", why.text);
    dir_env_pump(d);
}

static void kill_log(void)
{
    dir_env_forget(d);
    oplog_close(l);
    l = NULL;
}

static void setup(void)
{
    d = dir_env_new();
    l = NULL;
    force = false;
    segment_bytes = SEGMENT;
    open_log();
    start();
}

static void teardown(void)
{
    oplog_close(l);
    dir_env_free(d);
}

/* Body of the record with this index: its length and bytes follow from the index. */
static uint32_t body_of(uint64_t index, uint32_t len, uint8_t *out)
{
    for (uint32_t i = 0; i < len; i++) {
        out[i] = (uint8_t)(index * 31 + i);
    }
    return len;
}

static uint64_t append(uint32_t body_len)
{
    static uint8_t body[RECORD_BODY_MAX];
    struct record r = {.type = 0x0120, .session = 1, .sequence = oplog_last(l) + 1};
    r.time_ns = (int64_t)(1000 + oplog_last(l));
    r.body = bytes_of(body, body_of(oplog_last(l) + 1, body_len, body));
    return oplog_append(l, &r);
}

/* `count` records, each in a batch of its own. */
static void append_each(uint32_t count, uint32_t body_len)
{
    for (uint32_t i = 0; i < count; i++) {
        append(body_len);
        dir_env_pump(d);
    }
}

static int check_record(void *owner, const struct record *r)
{
    static uint8_t body[RECORD_BODY_MAX];
    uint64_t *next = owner;
    ck_assert_uint_eq(r->index, *next);
    ck_assert_uint_eq(r->sequence, r->index);
    ck_assert_int_eq(r->time_ns, (int64_t)(1000 + r->index - 1));
    body_of(r->index, r->body.len, body);
    ck_assert(r->body.len == 0 || memcmp(r->body.data, body, r->body.len) == 0);
    ++*next;
    return 0;
}

/* The log holds exactly the records from..last. */
static void expect_records(uint64_t from, uint64_t last)
{
    uint64_t next = from;
    ck_assert_uint_eq(oplog_last(l), last);
    ck_assert_uint_eq(oplog_committed(l), last);
    ck_assert_msg(oplog_replay(l, from, check_record, &next, &why) == 0, "%s", why.text);
    ck_assert_uint_eq(next, last + 1);
}

/* ---------------------------------------------------------------- damage */

static void patch(const char *path, uint64_t off, const void *data, uint32_t len)
{
    struct env_file *f;
    ck_assert_int_eq(env_file_open(&d->env, path, 0, &f), 0);
    ck_assert_int_eq(env_file_write(&d->env, f, off, data, len), len);
    env_file_close(&d->env, f);
}

static void peek(const char *path, uint64_t off, void *data, uint32_t len)
{
    struct env_file *f;
    ck_assert_int_eq(env_file_open(&d->env, path, 0, &f), 0);
    ck_assert_int_eq(env_file_read(&d->env, f, off, data, len), len);
    env_file_close(&d->env, f);
}

static void zero(const char *path, uint64_t off, uint32_t len)
{
    uint8_t *zeros = calloc(1, len);
    patch(path, off, zeros, len);
    free(zeros);
}

static void garble(const char *path, uint64_t off, uint32_t len)
{
    uint8_t *data = malloc(len);
    peek(path, off, data, len);
    for (uint32_t i = 0; i < len; i++) {
        data[i] = (uint8_t)(data[i] ^ (i + 1));
    }
    patch(path, off, data, len);
    free(data);
}

#define FIRST_SEGMENT "log/log-00000000000000000001"

static uint64_t unit_at(uint32_t unit)
{
    return segment_unit_offset(SEGMENT, unit);
}

static bool exists(const char *path)
{
    struct env_file *f;
    if (env_file_open(&d->env, path, 0, &f) < 0) {
        return false;
    }
    env_file_close(&d->env, f);
    return true;
}

/* ---------------------------------------------------------------- formats */

static void expect_hex(const uint8_t *p, size_t len, const char *expected)
{
    char hex[1024] = "";
    ck_assert_uint_lt(len * 2, sizeof(hex));
    for (size_t i = 0; i < len; i++) {
        snprintf(hex + 2 * i, 3, "%02x", p[i]);
    }
    ck_assert_str_eq(hex, expected);
}

START_TEST(segment_header_is_the_golden_one)
{
    uint8_t out[UNIT_BYTES];
    struct segment s = {.first = 258, .chain = 0x0102030405060708, .bytes = SEGMENT}, back;
    segment_header_encode(&s, 0x1122334455667788, out);
    expect_hex(out, 40,
               "47534547010000008877665544332211020100000000000008070605040302010000010000000000");
    ck_assert(bytes_are_zero(out + 36, UNIT_BYTES - 8 - 36));
    expect_hex(out + UNIT_BYTES - 8, 8, "42395b92574a1e57");
    ck_assert_int_eq(segment_header_decode(out, 0x1122334455667788, &back, &why), 0);
    ck_assert_uint_eq(back.first, 258);
    ck_assert_uint_eq(back.chain, 0x0102030405060708);
    ck_assert_uint_eq(back.bytes, SEGMENT);
    ck_assert_int_eq(segment_header_decode(out, 1, &back, &why), ERR_FOREIGN_CLUSTER);
}
END_TEST

START_TEST(id_slot_is_the_golden_one)
{
    uint8_t out[SLOT_BYTES];
    struct slot s = {.first = 258, .records = 3, .units = 2, .epoch = 9, .chain_low = 0xaabbccdd};
    struct slot back;
    slot_encode(&s, 0x1122334455667788, out);
    expect_hex(out, SLOT_BYTES, "0201000000000000030000000200000009000000ddccbbaac27160a3dba9c538");
    ck_assert_int_eq(slot_decode(out, 0x1122334455667788, &back), SLOT_GOOD);
    ck_assert_uint_eq(back.first, 258);
    ck_assert_uint_eq(back.units, 2);
    ck_assert_int_eq(slot_decode(out, 1, &back), SLOT_BAD);
    memset(out, 0, sizeof(out));
    ck_assert_int_eq(slot_decode(out, 1, &back), SLOT_EMPTY);
}
END_TEST

START_TEST(superblock_is_the_golden_one)
{
    uint8_t out[SUPER_BYTES];
    uint64_t counter;
    struct oplog_identity id = {.cluster = 0x1122334455667788,
                                .name = "gfs",
                                .disk = 0x99,
                                .epoch = 4,
                                .starts = 5,
                                .committed = 6,
                                .incarnation = {1, 2, 3},
                                .clean_index = 7};
    struct oplog_identity back;
    superblock_encode(&id, 8, out);
    expect_hex(out, 144,
               "474d4554010000000800000000000000887766554433221199000000000000000400000000000000050"
               "00000000000000600000000000000070000000000000001020300000000000000000000000000676673"
               "00000000000000000000000000000000000000000000000000000000000000000000000000000000000"
               "000000000000000000000000000000000000000");
    ck_assert(bytes_are_zero(out + 144, SUPER_BYTES - 8 - 144));
    expect_hex(out + SUPER_BYTES - 8, 8, "7184a79b99d46b24");
    ck_assert(superblock_decode(out, &back, &counter));
    ck_assert_uint_eq(counter, 8);
    ck_assert_str_eq(back.name, "gfs");
    ck_assert_uint_eq(back.clean_index, 7);
    out[40] ^= 1;
    ck_assert(!superblock_decode(out, &back, &counter));
}
END_TEST

/* The id table has a slot for each data unit, whatever the size of the segment. */
START_TEST(geometry_of_segments)
{
    ck_assert_uint_eq(segment_table_bytes(64 << 20), 512 << 10);
    ck_assert_uint_eq(segment_units(SEGMENT), 14);
    for (uint32_t bytes = SEGMENT; bytes < 4 << 20; bytes += UNIT_BYTES) {
        uint32_t units = segment_units(bytes);
        ck_assert_uint_le(segment_slot_offset(units), UNIT_BYTES + segment_table_bytes(bytes));
        ck_assert_uint_eq(segment_unit_offset(bytes, units), bytes);
    }
    ck_assert_uint_ge(segment_units(segment_bytes_for(257, SEGMENT)), 257);
    ck_assert_uint_eq(segment_bytes_for(14, SEGMENT), SEGMENT);
}
END_TEST

/* ---------------------------------------------------------------- appending */

START_TEST(a_record_is_committed_when_it_is_durable)
{
    ck_assert_uint_eq(append(100), 1);
    ck_assert_uint_eq(oplog_last(l), 1);
    ck_assert_uint_eq(oplog_committed(l), 0);
    ck_assert_uint_eq(oplog_pending_bytes(l), 64 + 24 + 100 + 4);
    dir_env_pump(d);
    ck_assert_uint_eq(oplog_committed(l), 1);
    ck_assert_uint_eq(committed_seen, 1);
    ck_assert_uint_eq(oplog_pending_bytes(l), 0);
    expect_records(1, 1);
}
END_TEST

/* Records of one turn share a flush, and those that come while it is in flight the next one. */
START_TEST(waiting_records_go_out_as_one_batch)
{
    append_each(1, 10);
    uint64_t before = d->ops_done;
    for (int i = 0; i < 50; i++) {
        append(100);
    }
    ck_assert_ptr_null(l->flushing);
    env_timer_stop(&d->env, &l->soon);
    oplog_soon(&l->soon); /* the turn ends */
    ck_assert_ptr_nonnull(l->flushing);
    for (int i = 0; i < 50; i++) {
        append(100);
    }
    dir_env_pump(d);
    ck_assert_uint_eq(d->ops_done - before, 2);
    kill_log();
    open_log();
    expect_records(1, 101);
}
END_TEST

START_TEST(records_come_back_after_a_kill_and_after_a_power_cut)
{
    append_each(3, 500);
    kill_log();
    open_log();
    ck_assert(oplog_incarnation_same(l));
    ck_assert_uint_eq(oplog_identity(l)->clean_index, 0);
    expect_records(1, 3);
    start();
    append_each(2, 500);
    kill_log();
    d->boot++;
    open_log();
    ck_assert(!oplog_incarnation_same(l));
    expect_records(1, 5);
    ck_assert_uint_eq(oplog_epoch(l), 2);
}
END_TEST

START_TEST(epochs_only_grow)
{
    ck_assert_int_eq(oplog_start_epoch(l, 1, &why), ERR_STALE_EPOCH);
    ck_assert_int_eq(oplog_start_epoch(l, 9, &why), 0);
    kill_log();
    open_log();
    ck_assert_uint_eq(oplog_epoch(l), 9);
    ck_assert_int_eq(oplog_start_epoch(l, 9, &why), ERR_STALE_EPOCH);
    ck_assert_uint_eq(oplog_identity(l)->starts, 2);
}
END_TEST

START_TEST(the_log_goes_on_in_further_segments)
{
    append_each(200, 700); /* 13 or 14 batches fill a segment */
    ck_assert_uint_gt(l->segment_count, 10);
    ck_assert_uint_eq(oplog_first(l), 1);
    uint64_t chain = l->chain, found;
    kill_log();
    open_log();
    expect_records(1, 200);
    expect_records(77, 200);
    ck_assert_uint_eq(l->chain, chain);
    ck_assert_int_eq(oplog_chain(l, 0, &found, &why), 0);
    ck_assert_uint_eq(found, 0);
    ck_assert_int_eq(oplog_chain(l, 200, &found, &why), 0);
    ck_assert_uint_eq(found, chain);
    ck_assert_int_eq(oplog_chain(l, 201, &found, &why), -ENOENT);
}
END_TEST

static uint64_t chains[64];

static int note_chain(void *owner, const struct record *r)
{
    (void)owner;
    chains[r->index] = r->chain;
    return 0;
}

START_TEST(chain_of_every_index_is_found)
{
    append_each(20, 700);
    for (int i = 0; i < 20; i++) {
        append(3000); /* several records in a batch, over a change of segments */
    }
    dir_env_pump(d);
    ck_assert_int_eq(oplog_replay(l, 1, note_chain, NULL, &why), 0);
    for (uint64_t i = 1; i <= 40; i++) {
        uint64_t found = 0;
        ck_assert_int_eq(oplog_chain(l, i, &found, &why), 0);
        ck_assert_uint_eq(found, chains[i]);
    }
}
END_TEST

static int stop_at_three(void *owner, const struct record *r)
{
    (void)owner;
    return r->index == 3 ? -ECANCELED : 0;
}

START_TEST(replay_stops_when_told)
{
    append_each(5, 10);
    ck_assert_int_eq(oplog_replay(l, 1, stop_at_three, NULL, &why), -ECANCELED);
}
END_TEST

/* A record larger than a segment gets one that is large enough. */
START_TEST(large_records_fit)
{
    append_each(1, 10);
    append(RECORD_BODY_MAX - RECORD_PREFIX_BYTES);
    append(10);
    append(300 << 10);
    dir_env_pump(d);
    append_each(30, 700);
    kill_log();
    open_log();
    expect_records(1, 34);
}
END_TEST

START_TEST(trim_removes_whole_segments)
{
    append_each(60, 700);
    uint32_t count = l->segment_count;
    uint64_t second = l->segments[1].first;
    oplog_trim(l, second - 2);
    dir_env_pump(d);
    ck_assert_uint_eq(l->segment_count, count);
    oplog_trim(l, second - 1);
    dir_env_pump(d);
    ck_assert_uint_eq(oplog_first(l), second);
    ck_assert(!exists(FIRST_SEGMENT));
    oplog_trim(l, 60);
    dir_env_pump(d);
    ck_assert_uint_eq(l->segment_count, 1);
    uint64_t first = oplog_first(l), chain;
    kill_log();
    open_log();
    expect_records(first, 60);
    ck_assert_int_eq(oplog_chain(l, first - 1, &chain, &why), 0);
    ck_assert_int_eq(oplog_chain(l, first - 2, &chain, &why), -ENOENT);
    uint64_t next = 1;
    ck_assert_int_eq(oplog_replay(l, 1, check_record, &next, &why), ERR_CORRUPT);
}
END_TEST

START_TEST(clean_stop_is_noted_and_forgotten_at_the_next_start)
{
    append_each(3, 10);
    ck_assert_int_eq(oplog_clean_stop(l, 3, &why), 0);
    kill_log();
    open_log();
    ck_assert_uint_eq(oplog_identity(l)->clean_index, 3);
    start();
    kill_log();
    open_log();
    ck_assert_uint_eq(oplog_identity(l)->clean_index, 0);
}
END_TEST

/* A full disk holds the flush up; when there is room again it goes on. */
/* Little by little, a lead ahead of the use, and all of it as soon as it is needed. */
START_TEST(the_next_segment_is_zeroed_as_this_one_fills)
{
    kill_log();
    segment_bytes = 8 << 20;
    open_log();
    start();
    append_each(8, 200000); /* the first one is of the size of the fixture's */
    ck_assert_uint_eq(l->segments[l->segment_count - 1].bytes, segment_bytes);
    uint32_t units = segment_units(segment_bytes), step = ZERO_STEP_BYTES;
    bool part = false;
    for (uint32_t used = l->current_unit; used < units / 4 * 3; used = l->current_unit) {
        uint64_t due =
            MIN((uint64_t)segment_bytes * (used + units / NEXT_LEAD_PART) / units, segment_bytes);
        ck_assert_uint_ge(l->next.zeroed, due);
        ck_assert_uint_lt(l->next.zeroed, due + step + 1);
        part = part || l->next.zeroed < segment_bytes;
        append_each(1, 100000);
    }
    ck_assert(part);
    uint32_t count = l->segment_count;
    while (l->segment_count == count) {
        append_each(1, 100000);
    }
    expect_records(1, oplog_last(l));
}
END_TEST

START_TEST(a_full_disk_is_waited_out)
{
    append_each(10, 700);
    l->next.zeroed = 0;           /* as if the next segment had not been made yet */
    d->fail_at = d->ops_done + 2; /* after the flush */
    d->fail_error = -ENOSPC;
    append_each(10, 700);
    ck_assert_uint_lt(oplog_committed(l), 20);
    d->fail_at = 0;
    dir_env_advance(d, 3 * NS_PER_S);
    ck_assert_uint_eq(oplog_committed(l), 20);
}
END_TEST

START_TEST(a_failed_flush_ends_the_process)
{
    append_each(1, 10);
    d->fail_at = d->ops_done + 1;
    d->fail_error = -EIO;
    append_each(1, 10);
}
END_TEST

/* Whether a start writes the end of the log again. */
static bool start_rewrites(void)
{
    const struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    struct stat st;
    ck_assert_int_eq(utimensat(AT_FDCWD, dir_env_path(d, FIRST_SEGMENT), old, 0), 0);
    open_log();
    ck_assert_int_eq(stat(dir_env_path(d, FIRST_SEGMENT), &st), 0);
    expect_records(1, 3);
    return st.st_mtime != 1;
}

/* What a failed flush left in the page cache is written before it counts; whoever stopped in order met none. */
START_TEST(after_a_sudden_end_the_last_batch_is_written_again)
{
    append_each(3, 10);
    kill_log();
    ck_assert(start_rewrites());
    ck_assert_msg(oplog_clean_stop(l, 3, &why) == 0, "%s", why.text);
    kill_log();
    ck_assert(!start_rewrites());
}
END_TEST

/* ---------------------------------------------------------------- torn tails */

/* Three batches of one unit, then a last one of six units (48 sectors) with eight records. */
static void make_tail(void)
{
    append_each(2, 10);
    append_each(1, 2500);
    for (int i = 0; i < 8; i++) {
        append(2500); /* they share a batch */
    }
}

enum { TAIL_UNIT = 3, TAIL_UNITS = 6, TAIL_FIRST = 4, TAIL_LAST = 11 };

/* The records after which a cut leaves the log. */
static void expect_cut(uint64_t last)
{
    open_log();
    expect_records(1, last);
    start();
    append_each(3, 700);
    kill_log();
    open_log();
    expect_records(1, last + 3);
}

static char image[300];

/* Keeps a copy of the directory, to try many kinds of damage on one state. */
static void keep_image(void)
{
    char command[1600];
    snprintf(image, sizeof(image), "%s.image", d->root);
    snprintf(command, sizeof(command), "rm -rf '%s' && cp -a '%s' '%s'", image, d->root, image);
    ck_assert_int_eq(system(command), 0);
}

static void back_to_image(void)
{
    char command[1600];
    snprintf(command, sizeof(command), "rm -rf '%s' && cp -a '%s' '%s'", d->root, image, d->root);
    ck_assert_int_eq(system(command), 0);
}

static void drop_image(void)
{
    char command[1600];
    snprintf(command, sizeof(command), "rm -rf '%s'", image);
    ck_assert_int_eq(system(command), 0);
}

static void tail_image(void)
{
    make_tail();
    dir_env_pump(d);
    ck_assert_uint_eq(oplog_committed(l), TAIL_LAST);
    ck_assert_uint_eq(l->current_unit, TAIL_UNIT + TAIL_UNITS);
    kill_log();
    keep_image();
}

static void wipe_slot(void)
{
    zero(FIRST_SEGMENT, segment_slot_offset(TAIL_UNIT), SLOT_BYTES);
}

/* Power tears any sector of the last batch, with or without its slot: cut, and the log goes on. */
START_TEST(a_power_cut_may_tear_any_sector_of_the_last_batch)
{
    tail_image();
    for (uint32_t sector = 0; sector < TAIL_UNITS * 8; sector++) {
        for (int kind = 0; kind < 4; kind++) {
            uint64_t off = unit_at(TAIL_UNIT) + sector * SECTOR;
            back_to_image();
            uint8_t before[SECTOR];
            peek(FIRST_SEGMENT, off, before, SECTOR);
            if (bytes_are_zero(before, SECTOR)) {
                continue; /* padding */
            }
            if (kind & 1) {
                garble(FIRST_SEGMENT, off, SECTOR);
            } else {
                zero(FIRST_SEGMENT, off, SECTOR);
            }
            if (kind & 2) {
                wipe_slot();
            }
            d->boot++;
            expect_cut(TAIL_FIRST - 1);
            kill_log();
        }
    }
    drop_image();
}
END_TEST

/* The write stopped anywhere, before the slot: a killed process leaves that, and it is cut too. */
START_TEST(a_kill_may_end_the_last_write_anywhere)
{
    tail_image();
    for (uint32_t sector = 0; sector < TAIL_UNITS * 8; sector++) {
        back_to_image();
        wipe_slot();
        uint8_t before[SECTOR];
        uint64_t off = unit_at(TAIL_UNIT) + sector * SECTOR;
        peek(FIRST_SEGMENT, off, before, SECTOR);
        if (bytes_are_zero(before, SECTOR)) {
            continue;
        }
        zero(FIRST_SEGMENT, off, (TAIL_UNITS * 8 - sector) * SECTOR);
        expect_cut(TAIL_FIRST - 1);
        kill_log();
    }
    drop_image();
}
END_TEST

/* With its slot written by a process that was only killed, the batch was whole: this is rot. */
START_TEST(damage_of_a_finished_batch_is_refused)
{
    tail_image();
    for (uint32_t sector = 0; sector < 40; sector += 5) {
        back_to_image();
        zero(FIRST_SEGMENT, unit_at(TAIL_UNIT) + sector * SECTOR, SECTOR);
        ck_assert_int_eq(try_open(), ERR_CORRUPT);
        ck_assert_ptr_nonnull(strstr(why.text, FIRST_SEGMENT " at "));
    }
    drop_image();
}
END_TEST

/* All data is there, only the slot is not: the batch is whole, so it counts. */
START_TEST(a_whole_batch_without_slot_is_kept)
{
    tail_image();
    wipe_slot();
    open_log();
    expect_records(1, TAIL_LAST);
    uint8_t slot[SLOT_BYTES];
    peek(FIRST_SEGMENT, segment_slot_offset(TAIL_UNIT), slot, SLOT_BYTES);
    ck_assert(!bytes_are_zero(slot, SLOT_BYTES));
    kill_log();
    back_to_image();
    garble(FIRST_SEGMENT, UNIT_BYTES, SECTOR); /* slots 0..15 */
    d->boot++;
    open_log();
    expect_records(1, TAIL_LAST);
    drop_image();
}
END_TEST

/* After a second of quiet the superblock says what is committed: then nothing of it is ever cut. */
START_TEST(what_the_superblock_calls_committed_is_never_cut)
{
    make_tail();
    dir_env_advance(d, 3 * NS_PER_S);
    kill_log();
    wipe_slot();
    zero(FIRST_SEGMENT, unit_at(TAIL_UNIT), TAIL_UNITS * UNIT_BYTES);
    d->boot++;
    ck_assert_int_eq(try_open(), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(why.text, "11"));
}
END_TEST

/* A batch with a good one behind it was acknowledged. */
START_TEST(damage_in_the_middle_is_refused_and_forced)
{
    tail_image();
    zero(FIRST_SEGMENT, segment_slot_offset(1), SLOT_BYTES);
    garble(FIRST_SEGMENT, unit_at(1) + 70, 20);
    d->boot++;
    ck_assert_int_eq(try_open(), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(why.text, FIRST_SEGMENT " at 12288"));
    ck_assert_ptr_nonnull(strstr(why.text, "expected"));
    ck_assert_ptr_nonnull(strstr(why.text, "found"));
    force = true;
    open_log();
    expect_records(1, 1);
    ck_assert(exists(FIRST_SEGMENT ".bad"));
    start();
    append_each(1, 10);
    kill_log();
    force = false;
    open_log();
    expect_records(1, 2);
    drop_image();
}
END_TEST

START_TEST(zeros_in_the_middle_are_refused)
{
    tail_image();
    zero(FIRST_SEGMENT, unit_at(1), UNIT_BYTES);
    zero(FIRST_SEGMENT, segment_slot_offset(1), SLOT_BYTES);
    d->boot++;
    ck_assert_int_eq(try_open(), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(why.text, "found zeros"));
    drop_image();
}
END_TEST

/* Damage in an older segment is met by replay; a forced start cuts there and sets the rest aside. */
START_TEST(damage_in_an_older_segment)
{
    uint64_t next = 1;
    append_each(40, 700);
    uint64_t second = l->segments[1].first;
    char path[SEGMENT_NAME_BYTES], bad[SEGMENT_NAME_BYTES + 8];
    segment_path(second, path);
    snprintf(bad, sizeof(bad), "%s.bad", path);
    kill_log();
    garble(FIRST_SEGMENT, unit_at(5) + 100, 20);
    open_log();
    ck_assert_int_eq(oplog_replay(l, 1, check_record, &next, &why), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(why.text, FIRST_SEGMENT));
    expect_records(second, 40);
    kill_log();
    force = true;
    open_log();
    expect_records(1, next - 1);
    ck_assert(exists(bad));
    ck_assert(!exists(path));
}
END_TEST

START_TEST(a_missing_segment_is_refused)
{
    append_each(40, 700);
    char path[SEGMENT_NAME_BYTES];
    segment_path(l->segments[1].first, path);
    kill_log();
    ck_assert_int_eq(env_unlink(&d->env, path), 0);
    open_log(); /* the end of the log is whole */
    uint64_t next = 1;
    ck_assert_int_eq(oplog_replay(l, 1, check_record, &next, &why), ERR_CORRUPT);
    kill_log();
    ck_assert_int_eq(env_unlink(&d->env, FIRST_SEGMENT), 0);
}
END_TEST

/* Stops after every single disk operation of a run over several segments: what was committed is
 * there, what comes back is a prefix, and the log goes on. */
START_TEST(a_kill_at_any_operation_loses_nothing_committed)
{
    for (uint32_t stop = 1; stop < 90; stop++) {
        teardown();
        setup();
        append(700);
        for (uint32_t i = 0; i < stop && dir_env_step(d); i++) {
            if (oplog_last(l) < 45) {
                append(900);
            }
        }
        uint64_t committed = oplog_committed(l);
        kill_log();
        d->boot = (uint8_t)(d->boot + stop % 2);
        open_log();
        ck_assert_uint_ge(oplog_last(l), committed);
        expect_records(1, oplog_last(l));
        start();
        uint64_t last = oplog_last(l);
        append_each(20, 900);
        expect_records(1, last + 20);
    }
}
END_TEST

/* A segment that got its name and no whole first batch. */
START_TEST(an_unbegun_segment_is_removed)
{
    append_each(30, 700);
    uint64_t newest = l->segments[l->segment_count - 1].first;
    char path[SEGMENT_NAME_BYTES];
    segment_path(newest, path);
    for (uint64_t i = oplog_last(l); i >= newest; i--) {
        uint32_t unit = (uint32_t)(i - newest); /* one unit each */
        zero(path, segment_unit_offset(SEGMENT, unit), UNIT_BYTES);
        zero(path, segment_slot_offset(unit), SLOT_BYTES);
    }
    kill_log();
    zero(path, 0, SECTOR);
    d->boot++;
    open_log();
    ck_assert(!exists(path));
    expect_records(1, newest - 1);
    start();
    append_each(3, 700);
    expect_records(1, newest + 2);
}
END_TEST

/* ---------------------------------------------------------------- superblock */

START_TEST(one_superblock_slot_is_enough)
{
    append_each(3, 10);
    uint32_t epoch = oplog_epoch(l);
    kill_log();
    keep_image();
    for (int i = 0; i < 2; i++) {
        back_to_image();
        garble(i ? "log/meta.1" : "log/meta.0", 0, SECTOR);
        open_log();
        ck_assert_uint_eq(oplog_epoch(l), epoch);
        expect_records(1, 3);
        start();
        kill_log();
    }
    back_to_image();
    garble("log/meta.0", 0, SECTOR);
    garble("log/meta.1", 0, SECTOR);
    ck_assert_int_eq(try_open(), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(why.text, "meta.0"));
    drop_image();
}
END_TEST

START_TEST(another_cluster_is_refused)
{
    struct oplog_config cfg = {.segment_bytes = SEGMENT};
    struct oplog *other;
    kill_log();
    ck_assert_int_eq(oplog_open(&d->env, &cfg, "other", &other, &why), ERR_FOREIGN_CLUSTER);
    ck_assert_ptr_nonnull(strstr(why.text, "\"test\""));
    ck_assert_ptr_nonnull(strstr(why.text, "\"other\""));
}
END_TEST

Suite *suite_oplog(void);
Suite *suite_oplog(void)
{
    Suite *s = suite_create("oplog");
    TCase *format = tcase_create("format");
    tcase_add_test(format, segment_header_is_the_golden_one);
    tcase_add_test(format, id_slot_is_the_golden_one);
    tcase_add_test(format, superblock_is_the_golden_one);
    tcase_add_test(format, geometry_of_segments);
    suite_add_tcase(s, format);
    TCase *c = tcase_create("append");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_record_is_committed_when_it_is_durable);
    tcase_add_test(c, waiting_records_go_out_as_one_batch);
    tcase_add_test(c, records_come_back_after_a_kill_and_after_a_power_cut);
    tcase_add_test(c, epochs_only_grow);
    tcase_add_test(c, the_log_goes_on_in_further_segments);
    tcase_add_test(c, chain_of_every_index_is_found);
    tcase_add_test(c, replay_stops_when_told);
    tcase_add_test(c, large_records_fit);
    tcase_add_test(c, trim_removes_whole_segments);
    tcase_add_test(c, clean_stop_is_noted_and_forgotten_at_the_next_start);
    tcase_add_test(c, the_next_segment_is_zeroed_as_this_one_fills);
    tcase_add_test(c, a_full_disk_is_waited_out);
    if (unit_forks()) {
        tcase_add_test_raise_signal(c, a_failed_flush_ends_the_process, SIGABRT);
    }
    tcase_add_test(c, after_a_sudden_end_the_last_batch_is_written_again);
    suite_add_tcase(s, c);
    TCase *scan = tcase_create("scan");
    tcase_set_timeout(scan, 60);
    tcase_add_checked_fixture(scan, setup, teardown);
    tcase_add_test(scan, a_power_cut_may_tear_any_sector_of_the_last_batch);
    tcase_add_test(scan, a_kill_may_end_the_last_write_anywhere);
    tcase_add_test(scan, damage_of_a_finished_batch_is_refused);
    tcase_add_test(scan, a_whole_batch_without_slot_is_kept);
    tcase_add_test(scan, what_the_superblock_calls_committed_is_never_cut);
    tcase_add_test(scan, damage_in_the_middle_is_refused_and_forced);
    tcase_add_test(scan, zeros_in_the_middle_are_refused);
    tcase_add_test(scan, damage_in_an_older_segment);
    tcase_add_test(scan, a_missing_segment_is_refused);
    tcase_add_test(scan, a_kill_at_any_operation_loses_nothing_committed);
    tcase_add_test(scan, an_unbegun_segment_is_removed);
    tcase_add_test(scan, one_superblock_slot_is_enough);
    tcase_add_test(scan, another_cluster_is_refused);
    suite_add_tcase(s, scan);
    return s;
}
