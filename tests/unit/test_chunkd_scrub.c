/* test_chunkd_scrub.c - the idle scan: what it finds, in what order and at what rate, what it leaves
 * to clients, and what it tells. */
#include "shared/base/mem.h"
#include "tests/unit/chunkd_fixture.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_chunkd_scrub(void);

enum { H = 0x1234, BS = FX_BLOCK, BLOCKS = FX_CHUNK / FX_BLOCK };

static uint8_t data[FX_CHUNK];
static uint8_t got[FX_CHUNK];

/* What was read of data files in pieces larger than a client of these tests reads. */
static struct {
    uint64_t bytes;
    uint64_t scanned;   /* of these: by more than a block, as only scans here do */
    uint64_t order[16]; /* handles, as they were first read */
    uint32_t count;
    uint32_t fail; /* reads of `failing_block` of any chunk that still fail */
    uint32_t failing_block;
} seen;

static int watch(void *owner, struct sim_process *p, const char *path, const struct disk_op *op)
{
    (void)owner;
    (void)p;
    if (op->kind != DISK_READ || strncmp(path, "chunks/", 7) != 0) {
        return 0;
    }
    uint64_t handle = strtoull(path + 10, NULL, 16);
    bool other = seen.count == 0 || seen.order[seen.count - 1] != handle;
    if (other && seen.count < COUNT_OF(seen.order)) {
        seen.order[seen.count++] = handle;
    }
    seen.bytes += op->len;
    seen.scanned += op->len > BS ? op->len : 0;
    uint64_t at = (uint64_t)seen.failing_block * BS;
    if (seen.fail > 0 && op->off <= at && at < op->off + op->len) {
        seen.fail--;
        return -EIO;
    }
    return 0;
}

static struct fx *start(uint64_t seed, uint32_t period_s)
{
    struct fx *f = fx_new(seed);
    f->scrub_period_s = period_s;
    memset(&seen, 0, sizeof(seen));
    for (uint32_t id = 1; id <= FX_SERVERS; id++) {
        f->servers[id].process->fault_owner = f;
    }
    fx_start_all(f);
    fx_fill(data, sizeof(data), seed);
    f->servers[2].process->fault = watch;
    return f;
}

static struct scan_now_rep scan_now(struct fx *f, uint32_t id)
{
    struct scan_now_req req;
    struct scan_now_rep rep;
    struct fx_answer *a = fx_order(f, id, OP_scan_now, RPC_BODY(scan_now_req, &req));
    ck_assert_int_eq(a->status, 0);
    ck_assert_int_eq(scan_now_rep_decode(slice_bytes(&a->body), &rep), 0);
    return rep;
}

/* Runs a scan to its end; the state after it. */
static struct scrub_state scan(struct fx *f, uint32_t id)
{
    struct scan_now_rep rep = scan_now(f, id);
    for (int i = 0; i < 600 && f->servers[id].scrub.ended < rep.pass; i++) {
        fx_run_ms(f, 100);
    }
    ck_assert_uint_ge(f->servers[id].scrub.ended, rep.pass);
    fx_run_ms(f, 300);
    return f->servers[id].scrub;
}

static void write_chunks(struct fx *f, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_int_eq(fx_write(f, 123, H + i, FX_V1, 0, data, FX_CHUNK), 0);
    }
}

START_TEST(every_damaged_block_is_found_and_repaired_by_a_copy)
{
    struct fx *f = start(1, 0);
    write_chunks(f, 3);
    for (uint32_t i = 0; i < 10; i++) {
        fx_flip(f, 2, H + i % 3, (uint64_t)(i * 6 + 1) * BS + 77 * i);
    }
    struct scrub_state s = scan(f, 2);
    ck_assert_uint_eq(s.found, 10);
    ck_assert_uint_eq(s.damaged, 10);
    ck_assert_uint_eq(s.repaired, 0);
    ck_assert_uint_eq(s.failed, 0);
    ck_assert_uint_eq(f->bad_count, 10);
    ck_assert_uint_eq(f->bad.server, 2);
    ck_assert_uint_eq(f->servers[2].failing, DISK_WELL); /* damage is not the disk's end */
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(fx_info(f, 2, H + i).state, REPLICA_BAD);
        for (uint32_t id = 1; id <= 3; id++) {
            ck_assert_int_eq(fx_prepare(f, id, H + i, FX_V1, FX_V1 + 1, 0, NULL), 0);
        }
        uint64_t copied;
        ck_assert_int_eq(fx_pull(f, 2, 1, H + i, FX_V1 + 1, FX_V1 + 1, &copied), 0);
        ck_assert_uint_eq(copied, (i == 0 ? 4 : 3) * BS);
        for (uint32_t id = 1; id <= 3; id++) {
            ck_assert_int_eq(fx_activate(f, id, H + i, FX_V1 + 1, 1, false), 0);
        }
    }
    s = scan(f, 2);
    ck_assert_uint_eq(s.found, 10);
    ck_assert_uint_eq(s.damaged, 0);
    ck_assert_uint_eq(s.repaired, 10);
    for (uint32_t i = 0; i < 3; i++) {
        fx_expect_equal(f, 123, H + i);
    }
    fx_free(f);
}
END_TEST

START_TEST(a_pass_takes_its_period)
{
    struct fx *f = start(2, 100);
    write_chunks(f, 4);
    fx_run_ms(f, 15000); /* they are not being written any more */
    struct scrub_state *s = &f->servers[2].scrub;
    uint64_t pass = s->pass;
    for (int i = 0; i < 3000 && s->pass == pass; i++) {
        fx_run_ms(f, 100);
    }
    ck_assert_uint_eq(s->total, 4 * FX_CHUNK);
    seen.bytes = 0;
    fx_run_ms(f, 45000);
    ck_assert_uint_ge(seen.bytes, 4 * FX_CHUNK / 3);
    ck_assert_uint_le(seen.bytes, 4 * FX_CHUNK * 2 / 3);
    fx_run_ms(f, 45500);
    ck_assert_uint_ge(seen.bytes, 4 * FX_CHUNK);
    ck_assert_uint_le(seen.bytes, 4 * FX_CHUNK + (512 << 10));
    ck_assert_uint_le(s->oldest_ms, 100000);
    fx_free(f);
}
END_TEST

START_TEST(time_of_verification_survives_and_gives_the_order)
{
    struct fx *f = start(3, 1000000);
    ck_assert_int_eq(fx_write(f, 123, H + 2, FX_V1, 0, data, FX_CHUNK), 0);
    fx_run_ms(f, 5000);
    ck_assert_int_eq(fx_write(f, 123, H + 1, FX_V1, 0, data, FX_CHUNK), 0);
    fx_run_ms(f, 60000);
    ck_assert_uint_ge(f->servers[2].scrub.oldest_ms, 63000);
    ck_assert_uint_le(f->servers[2].scrub.oldest_ms, 68000);
    ck_assert_uint_le(scan(f, 2).oldest_ms, 3000);
    fx_run_ms(f, 40000);
    fx_kill(f, 2);
    fx_run_ms(f, 10000);
    f->servers[2].process->fault = watch;
    ck_assert_int_eq(fx_start(f, 2), 0);
    fx_run_ms(f, 1000);
    ck_assert_uint_ge(f->servers[2].scrub.oldest_ms, 49000);
    ck_assert_uint_le(f->servers[2].scrub.oldest_ms, 60000);
    ck_assert_int_eq(fx_write(f, 213, H, FX_V1, 0, data, FX_CHUNK), 0);
    fx_run_ms(f, 2000);
    seen.count = 0;
    (void)scan(f, 2);
    ck_assert_uint_ge(seen.count, 3);
    ck_assert_uint_eq(seen.order[seen.count - 1], H); /* the youngest comes last */
    fx_free(f);
}
END_TEST

START_TEST(clients_come_first_but_the_scan_goes_on)
{
    struct fx *f = start(4, 0);
    write_chunks(f, 4);
    fx_run_ms(f, 5000);
    (void)scan_now(f, 2);
    seen.scanned = 0;
    uint64_t begin = f->sim->now_ns;
    while (f->sim->now_ns - begin < NS_PER_S) {
        ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 0, 100, got), 100);
    }
    ck_assert_uint_ge(seen.scanned, 15 * (256 << 10)); /* a piece each 50 ms */
    ck_assert_uint_le(seen.scanned, 21 * (256 << 10));
    fx_free(f);
}
END_TEST

START_TEST(a_scan_asked_for_keeps_to_its_share)
{
    struct fx *f = fx_new(5);
    f->scrub_share = 10;
    fx_start_all(f);
    fx_fill(data, sizeof(data), 5);
    write_chunks(f, 4);
    fx_run_ms(f, 1000);
    f->sim->knobs.disk_min_ns = f->sim->knobs.disk_max_ns = 10 * NS_PER_MS;
    uint64_t begin = f->sim->now_ns;
    ck_assert_uint_eq(scan(f, 2).done, 0 * FX_CHUNK); /* the next pass has begun */
    uint64_t took = f->sim->now_ns - begin;
    ck_assert_uint_ge(took, 1500 * NS_PER_MS); /* 16 pieces of 10 ms in a tenth of the time */
    ck_assert_uint_le(took, 3000 * NS_PER_MS);
    fx_free(f);
}
END_TEST

START_TEST(a_scan_while_chunks_are_written_finds_nothing_wrong)
{
    struct fx *f = start(6, 1);
    struct sim_rand r = sim_rand_of(6, 1);
    write_chunks(f, 3);
    for (int i = 0; i < 400; i++) {
        uint32_t offset = (uint32_t)sim_below(&r, FX_CHUNK - 70000);
        uint32_t len = (uint32_t)sim_between(&r, 1, 70000);
        ck_assert_int_eq(fx_write(f, 123, H + (uint64_t)i % 3, FX_V1, offset, data, len), 0);
        if (i % 50 == 0) {
            (void)scan_now(f, 2);
            uint32_t end = (uint32_t)sim_below(&r, FX_CHUNK);
            ck_assert_int_eq(fx_change(f, 123, H + 1, FX_V1, WRITE_TRUNCATE, end, 0), 0);
        }
    }
    seen.count = 0;
    struct scrub_state s = scan(f, 2);
    ck_assert_uint_eq(s.found, 0);
    ck_assert_uint_eq(f->bad_count, 0);
    for (uint32_t i = 0; i < 3; i++) {
        fx_expect_equal(f, 123, H + i);
    }
    fx_free(f);
}
END_TEST

START_TEST(what_was_verified_is_told_with_its_digest)
{
    struct fx *f = start(7, 0);
    write_chunks(f, 2);
    fx_run_ms(f, 1500);
    (void)scan(f, 3);
    fx_run_ms(f, 1500);
    ck_assert_uint_eq(f->scanned_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        const struct replica *r = &f->scanned[i];
        struct chunkd_replica_info other = fx_info(f, 1, r->handle);
        ck_assert_uint_eq(r->digest, other.digest);
        ck_assert_uint_eq(r->version, FX_V1);
        ck_assert_uint_eq(r->mutation, 1);
    }
    struct writer w;
    writer_init(&w);
    uint64_t handles[3] = {H, 99, H + 1};
    for (int i = 0; i < 3; i++) {
        enc_u64(&w, &handles[i]);
    }
    struct digests_req req = {.handles = writer_bytes(&w)};
    struct slice body = RPC_BODY(digests_req, &req);
    writer_free(&w);
    struct fx_answer *a = fx_order(f, 1, OP_digests, body);
    struct digests_rep rep;
    ck_assert_int_eq(a->status, 0);
    ck_assert_int_eq(digests_rep_decode(slice_bytes(&a->body), &rep), 0);
    struct reader r = reader_of(rep.replicas);
    for (int i = 0; i < 3; i += 2) { /* the one it does not hold is left out */
        struct replica one;
        dec_replica(&r, &one);
        ck_assert_uint_eq(one.handle, handles[i]);
        ck_assert_uint_eq(one.digest, fx_info(f, 2, handles[i]).digest);
    }
    ck_assert(reader_done(&r));
    fx_free(f);
}
END_TEST

/* Damage is told again: the first message may come while the chunk is busy. */
START_TEST(damage_is_told_again)
{
    struct fx *f = start(8, 0);
    write_chunks(f, 1);
    fx_flip(f, 2, H, 5 * BS);
    (void)scan(f, 2);
    ck_assert_uint_eq(f->bad_count, 1);
    f->scanned_count = 0;
    fx_run_ms(f, 12000);
    ck_assert_uint_eq(f->scanned_count, 1);
    ck_assert_uint_eq(f->scanned[0].handle, H);
    ck_assert_uint_eq(f->scanned[0].state, REPLICA_BAD);
    ck_assert_uint_eq(f->bad_count, 1);
    fx_free(f);
}
END_TEST

/* Who writes the damaged block anew makes the replica whole, and the master hears of it. */
START_TEST(damage_written_over_is_told)
{
    struct fx *f = start(9, 0);
    write_chunks(f, 1);
    fx_flip(f, 2, H, 5 * BS);
    (void)scan(f, 2);
    ck_assert_uint_eq(f->bad_count, 1);
    fx_run_ms(f, 1500);
    f->scanned_count = 0;
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 5 * BS, data, BS), 0);
    ck_assert_int_eq(fx_sync(f, 123, H, FX_V1), 0);
    fx_run_ms(f, 2500);
    ck_assert_uint_ge(f->scanned_count, 1);
    ck_assert_uint_eq(f->scanned[0].handle, H);
    ck_assert_uint_eq(f->scanned[0].state, REPLICA_OK);
    fx_free(f);
}
END_TEST

static void path_of(uint64_t handle, char out[64])
{
    snprintf(out, 64, "chunks/%02x/%016llx", (unsigned)(handle & 0xff), (unsigned long long)handle);
}

START_TEST(missing_and_short_files_are_damage)
{
    struct fx *f = start(9, 0);
    char path[64];
    write_chunks(f, 2);
    /* The last blocks are a hole: zeros where the file ends are damage all the same. */
    ck_assert_int_eq(fx_change(f, 123, H + 1, FX_V1, WRITE_PUNCH, FX_CHUNK - 4 * BS, 4 * BS), 0);
    fx_run_ms(f, 3000);
    fx_kill(f, 2);
    sim_process_start(f->servers[2].process);
    struct env *e = &f->servers[2].process->env;
    path_of(H, path);
    ck_assert_int_eq(env_unlink(e, path), 0);
    path_of(H + 1, path);
    struct env_file *file;
    ck_assert_int_eq(env_file_open(e, path, 0, &file), 0);
    ck_assert_int_eq(env_file_truncate(e, file, FX_CHUNK - 5 * BS), 0);
    env_file_close(e, file);
    sim_process_kill(f->servers[2].process);
    ck_assert_int_eq(fx_start(f, 2), 0);
    struct scrub_state s = scan(f, 2);
    ck_assert_uint_eq(s.failed, 1);
    ck_assert_uint_eq(s.damaged, 5);
    ck_assert_uint_eq(f->bad_count, 6);
    ck_assert_uint_eq(fx_info(f, 2, H).state, REPLICA_BAD);
    ck_assert_uint_eq(f->servers[2].failing, DISK_WELL);
    /* A copy makes the missing one anew. */
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(fx_prepare(f, id, H, FX_V1, FX_V1 + 1, id == 2, NULL), 0);
    }
    ck_assert_int_eq(fx_pull(f, 2, 1, H, FX_V1 + 1, FX_V1 + 1, NULL), 0);
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(fx_activate(f, id, H, FX_V1 + 1, 1, false), 0);
    }
    fx_expect_equal(f, 123, H);
    ck_assert_uint_eq(scan(f, 2).failed, 0);
    fx_free(f);
}
END_TEST

START_TEST(a_read_that_fails_once_is_no_damage)
{
    struct fx *f = start(10, 0);
    write_chunks(f, 1);
    seen.failing_block = 5;
    seen.fail = 1;
    struct scrub_state s = scan(f, 2);
    ck_assert_uint_eq(seen.fail, 0);
    ck_assert_uint_eq(s.found, 0);
    ck_assert_uint_eq(s.disk_errors, 0);
    fx_free(f);
}
END_TEST

START_TEST(an_unreadable_block_is_damage_and_counts_against_the_disk)
{
    struct fx *f = start(11, 0);
    write_chunks(f, 1);
    seen.failing_block = 5;
    seen.fail = UINT32_MAX;
    struct scrub_state s = scan(f, 2);
    ck_assert_uint_eq(s.found, 1);
    ck_assert_uint_eq(f->bad.block, 5);
    ck_assert_uint_eq(s.disk_errors, 1);
    ck_assert_uint_eq(f->servers[2].failing, DISK_WELL);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 0, 5 * BS, got), 5 * BS);
    fx_free(f);
}
END_TEST

/* Stopping in the middle of a pass leaves everything durable. */
START_TEST(a_clean_stop_does_not_wait_for_the_scan)
{
    struct fx *f = start(12, 0);
    write_chunks(f, 4);
    (void)scan_now(f, 2);
    fx_run_ms(f, 1);
    ck_assert_int_eq(fx_stop(f, 2), 0);
    fx_power_cut(f, 2);
    ck_assert_int_eq(fx_start(f, 2), 0);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(fx_info(f, 2, H + i).state, REPLICA_OK);
    }
    ck_assert_uint_eq(scan(f, 2).found, 0);
    fx_free(f);
}
END_TEST

Suite *suite_chunkd_scrub(void)
{
    Suite *s = suite_create("chunkd_scrub");
    TCase *t = tcase_create("scrub");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, every_damaged_block_is_found_and_repaired_by_a_copy);
    tcase_add_test(t, a_pass_takes_its_period);
    tcase_add_test(t, time_of_verification_survives_and_gives_the_order);
    tcase_add_test(t, clients_come_first_but_the_scan_goes_on);
    tcase_add_test(t, a_scan_asked_for_keeps_to_its_share);
    tcase_add_test(t, a_scan_while_chunks_are_written_finds_nothing_wrong);
    tcase_add_test(t, what_was_verified_is_told_with_its_digest);
    tcase_add_test(t, damage_is_told_again);
    tcase_add_test(t, damage_written_over_is_told);
    tcase_add_test(t, missing_and_short_files_are_damage);
    tcase_add_test(t, a_read_that_fails_once_is_no_damage);
    tcase_add_test(t, an_unreadable_block_is_damage_and_counts_against_the_disk);
    tcase_add_test(t, a_clean_stop_does_not_wait_for_the_scan);
    suite_add_tcase(s, t);
    return s;
}
