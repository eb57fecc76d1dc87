/* test_chunkd_disk.c - a disk that fails reads, writes and syncs: what is marked, what is told, and
 * what is never tried again. */
#include "tests/unit/chunkd_fixture.h"

#include <check.h>
#include <string.h>

Suite *suite_chunkd_disk(void);

enum { H = 0x1234, BS = FX_BLOCK };

static uint8_t data[FX_CHUNK];
static uint8_t got[FX_CHUNK];

/* Operations of this kind on these blocks of chunk files fail. */
static struct {
    bool on;
    enum disk_kind kind;
    uint32_t first, end;
} bad;

static int fault(void *owner, struct sim_process *p, const char *path, const struct disk_op *op)
{
    (void)owner;
    (void)p;
    bool hits = op->kind == DISK_SYNC ||
                (op->off < (uint64_t)bad.end * BS && op->off + op->len > (uint64_t)bad.first * BS);
    return bad.on && op->kind == bad.kind && strncmp(path, "chunks/", 7) == 0 && hits ? -EIO : 0;
}

static void disk_fails(enum disk_kind kind, uint32_t first, uint32_t end)
{
    bad.on = true;
    bad.kind = kind;
    bad.first = first;
    bad.end = end;
}

static struct fx *three(uint64_t seed)
{
    struct fx *f = fx_new(seed);
    bad.on = false;
    fx_start_all(f);
    fx_fill(data, sizeof(data), seed);
    f->servers[2].process->fault = fault;
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 20 * BS), 0);
    return f;
}

START_TEST(unreadable_block_is_found_and_the_others_are_served)
{
    struct fx *f = three(1);
    disk_fails(DISK_READ, 7, 8);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 0, 20 * BS, got), -EIO);
    fx_run_ms(f, 200);
    ck_assert_uint_eq(f->bad_count, 1);
    ck_assert_uint_eq(f->bad.block, 7);
    ck_assert_uint_eq(f->servers[2].scrub.disk_errors, 1);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 7 * BS, 10, got), ERR_CHECKSUM);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 0, 7 * BS, got), 7 * BS);
    ck_assert_mem_eq(got, data, 7 * BS);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 8 * BS, 12 * BS, got), 12 * BS);
    ck_assert_mem_eq(got, data + 8 * BS, 12 * BS);
    /* Writing it anew repairs it: the disk gives it another sector. */
    bad.on = false;
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 7 * BS, data, BS), 0);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 7 * BS, BS, got), BS);
    ck_assert_mem_eq(got, data, BS);
    fx_run_ms(f, 200);
    ck_assert_uint_eq(f->servers[2].scrub.repaired, 1);
    ck_assert_uint_eq(f->servers[2].failing, DISK_WELL);
    fx_free(f);
}
END_TEST

START_TEST(three_unreadable_blocks_and_the_disk_is_failing)
{
    struct fx *f = three(2);
    for (uint32_t b = 3; b < 12; b += 4) {
        disk_fails(DISK_READ, b, b + 1);
        ck_assert_uint_eq(f->servers[2].failing, DISK_WELL);
        ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 0, 20 * BS, got), b == 3 ? -EIO : ERR_CHECKSUM);
        ck_assert_int_eq(fx_read(f, 2, H, FX_V1, b * BS, 10, got), b == 3 ? ERR_CHECKSUM : -EIO);
        fx_run_ms(f, 200);
    }
    ck_assert_uint_eq(f->servers[2].failing, DISK_IO_ERRORS);
    bad.on = false;
    fx_kill(f, 2);
    f->servers[2].failing = 0;
    ck_assert_int_eq(fx_start(f, 2), 0);
    fx_run_ms(f, 300);
    ck_assert_uint_eq(f->servers[2].failing, DISK_IO_ERRORS); /* the label keeps it */
    fx_free(f);
}
END_TEST

START_TEST(errors_far_apart_are_repaired_and_forgotten)
{
    struct fx *f = three(3);
    for (uint32_t b = 3; b < 12; b += 4) {
        disk_fails(DISK_READ, b, b + 1);
        ck_assert_int_eq(fx_read(f, 2, H, FX_V1, b * BS, 10, got), -EIO);
        fx_run_ms(f, 301000);
    }
    ck_assert_uint_eq(f->servers[2].scrub.disk_errors, 3);
    ck_assert_uint_eq(f->servers[2].failing, DISK_WELL);
    fx_free(f);
}
END_TEST

START_TEST(failed_sync_is_never_tried_into_success)
{
    struct fx *f = three(4);
    disk_fails(DISK_SYNC, 0, 0);
    ck_assert_int_eq(fx_sync(f, 123, H, FX_V1), ERR_MEMBER_FAILED);
    bad.on = false;
    ck_assert_uint_eq(fx_info(f, 2, H).state, REPLICA_BAD);
    fx_run_ms(f, 300);
    ck_assert_uint_eq(f->servers[2].failing, DISK_SYNC_FAILED);
    ck_assert_int_eq(fx_sync(f, 213, H, FX_V1), -EIO);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 0, BS, got), -EIO);
    fx_run_ms(f, 5000); /* background syncs come and go */
    ck_assert_uint_eq(fx_info(f, 2, H).state, REPLICA_BAD);
    fx_kill(f, 2);
    ck_assert_int_eq(fx_start(f, 2), 0);
    fx_run_ms(f, 300);
    ck_assert_uint_eq(f->servers[2].failing, DISK_SYNC_FAILED);
    ck_assert_uint_eq(fx_info(f, 2, H).state, REPLICA_BAD);
    fx_free(f);
}
END_TEST

START_TEST(failed_background_sync_is_told)
{
    struct fx *f = three(5);
    disk_fails(DISK_SYNC, 0, 0);
    fx_run_ms(f, 15000);
    ck_assert_uint_eq(f->servers[2].failing, DISK_SYNC_FAILED);
    ck_assert_uint_eq(f->servers[2].scrub.failed, 1);
    ck_assert_uint_eq(f->scanned[0].handle, H);
    ck_assert_uint_eq(f->scanned[0].state, REPLICA_BAD);
    fx_free(f);
}
END_TEST

/* What the page cache shows after a sync failed need not be on the disk: as after a power cut. */
START_TEST(dirty_replicas_of_a_failing_disk_are_suspect_after_a_kill)
{
    struct fx *f = three(6);
    disk_fails(DISK_SYNC, 0, 0);
    ck_assert_int_eq(fx_sync(f, 123, H, FX_V1), ERR_MEMBER_FAILED);
    bad.on = false;
    fx_run_ms(f, 50);
    ck_assert_int_eq(fx_write(f, 213, H + 1, FX_V1, 0, data, BS), 0);
    fx_kill(f, 2);
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_uint_eq(fx_info(f, 2, H + 1).state, REPLICA_SUSPECT);
    fx_free(f);
}
END_TEST

START_TEST(failed_write_fails_the_member_and_counts)
{
    struct fx *f = three(7);
    disk_fails(DISK_WRITE, 4, 5);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 4 * BS, data, BS), ERR_MEMBER_FAILED);
    fx_run_ms(f, 300);
    ck_assert_uint_eq(fx_info(f, 2, H).state, REPLICA_BAD);
    ck_assert_uint_eq(f->servers[2].scrub.disk_errors, 1);
    ck_assert_uint_eq(f->servers[2].failing, DISK_WELL);
    fx_free(f);
}
END_TEST

/* Nothing takes the place of a failed file before there is something to copy. */
START_TEST(failed_replica_is_not_emptied)
{
    struct fx *f = three(8);
    disk_fails(DISK_WRITE, 4, 5);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 4 * BS, data, BS), ERR_MEMBER_FAILED);
    bad.on = false;
    fx_run_ms(f, 300);
    uint32_t length = fx_info(f, 2, H).length;
    ck_assert_uint_gt(length, 0);
    ck_assert_int_eq(fx_prepare(f, 2, H, FX_V1, FX_V1 + 1, 2, NULL), -EIO);
    ck_assert_int_eq(fx_pull(f, 2, 1, H, 0, FX_V1 + 7, NULL), ERR_WRONG_VERSION);
    ck_assert_uint_eq(fx_info(f, 2, H).length, length);
    ck_assert_uint_eq(fx_info(f, 2, H).state, REPLICA_BAD);
    ck_assert_int_eq(fx_pull(f, 2, 1, H, 0, FX_V1, NULL), 0);
    ck_assert_uint_eq(fx_info(f, 2, H).state, REPLICA_CLONING);
    fx_free(f);
}
END_TEST

Suite *suite_chunkd_disk(void)
{
    Suite *s = suite_create("chunkd_disk");
    TCase *t = tcase_create("disk");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, failed_replica_is_not_emptied);
    tcase_add_test(t, unreadable_block_is_found_and_the_others_are_served);
    tcase_add_test(t, three_unreadable_blocks_and_the_disk_is_failing);
    tcase_add_test(t, errors_far_apart_are_repaired_and_forgotten);
    tcase_add_test(t, failed_sync_is_never_tried_into_success);
    tcase_add_test(t, failed_background_sync_is_told);
    tcase_add_test(t, dirty_replicas_of_a_failing_disk_are_suspect_after_a_kill);
    tcase_add_test(t, failed_write_fails_the_member_and_counts);
    suite_add_tcase(s, t);
    return s;
}
