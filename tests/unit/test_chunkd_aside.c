/* test_chunkd_aside.c - files of replicas that were let go: kept for a while, over restarts, and
 * gone when room is needed. */
#include "chunkd/core/core.h"
#include "tests/unit/chunkd_fixture.h"

#include <check.h>
#include <string.h>

Suite *suite_chunkd_aside(void);

enum { H = 0x77, KEEP_MS = 60000 };

static uint8_t data[FX_CHUNK];
static uint8_t got[FX_CHUNK];

static struct fx *three(uint64_t seed)
{
    struct fx *f = fx_new(seed);
    f->aside_ms = KEEP_MS;
    fx_start_all(f);
    fx_fill(data, sizeof(data), seed);
    return f;
}

/* Length of the file kept, -ENOENT if there is none. */
static int64_t kept(struct fx *f, uint32_t id, uint64_t handle)
{
    struct env *env = &f->servers[id].process->env;
    struct env_file *file;
    char path[ASIDE_PATH_BYTES];
    aside_path(handle, path);
    int err = env_file_open(env, path, ENV_OPEN_READ_ONLY, &file);
    if (err != 0) {
        return err;
    }
    int64_t n = env_file_read(env, file, 0, got, sizeof(got));
    env_file_close(env, file);
    return n;
}

START_TEST(kept_for_a_while)
{
    struct fx *f = three(1);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 50000), 0);
    ck_assert_int_eq(fx_write(f, 123, H + 1, FX_V1, 0, data, 50000), 0);
    ck_assert_int_eq(fx_set_aside(f, 2, H), 0);
    ck_assert_int_eq(fx_drop(f, 2, H + 1), 0);
    fx_run_ms(f, 1000);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 0, 10, got), ERR_NO_REPLICA);
    ck_assert_int_eq(kept(f, 2, H), 50000);
    ck_assert_mem_eq(got, data, 50000);
    ck_assert_int_eq(kept(f, 2, H + 1), -ENOENT);
    ck_assert_uint_ge(f->servers[2].chunkd->aside.bytes, 50000);
    fx_run_ms(f, KEEP_MS);
    ck_assert_int_eq(kept(f, 2, H), -ENOENT);
    ck_assert_uint_eq(f->servers[2].chunkd->aside.bytes, 0);
    fx_expect_equal(f, 13, H);
    fx_free(f);
}
END_TEST

/* However the process ends: 0 clean, 1 killed, 2 power cut; and at any moment of the move. */
START_TEST(ages_on_over_restarts)
{
    struct fx *f = three(10 + (uint64_t)_i);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 50000), 0);
    ck_assert_int_eq(fx_sync(f, 123, H, FX_V1), 0);
    fx_run_ms(f, 3000);
    ck_assert_int_eq(fx_set_aside(f, 2, H), 0);
    fx_run_ms(f, (uint64_t)(_i / 3) * 500);
    switch (_i % 3) {
    case 0:
        ck_assert_int_eq(fx_stop(f, 2), 0);
        break;
    case 1:
        fx_kill(f, 2);
        break;
    default:
        fx_power_cut(f, 2);
    }
    fx_run_ms(f, KEEP_MS / 2);
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_uint_eq(f->servers[2].report_count, 0);
    ck_assert_int_eq(kept(f, 2, H), 50000);
    ck_assert_mem_eq(got, data, 50000);
    ck_assert_uint_ge(f->servers[2].chunkd->aside.bytes, 50000);
    fx_run_ms(f, KEEP_MS / 2 + 2000);
    ck_assert_int_eq(kept(f, 2, H), -ENOENT);
    ck_assert_int_eq(fx_stop(f, 2), 0);
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_uint_eq(f->servers[2].chunkd->aside.bytes, 0);
    fx_free(f);
}
END_TEST

/* The handle may come back while an earlier file of it is aside; the end of one is not the end of
 * the other. */
START_TEST(the_same_handle_again)
{
    struct fx *f = three(30);
    uint64_t copied;
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 50000), 0);
    ck_assert_int_eq(fx_set_aside(f, 2, H), 0);
    fx_run_ms(f, 1000);
    ck_assert_int_eq(fx_pull(f, 2, 1, H, 0, FX_V1, &copied), 0);
    ck_assert_uint_eq(fx_info(f, 2, H).length, 50000);
    fx_run_ms(f, KEEP_MS);
    ck_assert_int_eq(kept(f, 2, H), -ENOENT);
    fx_kill(f, 2);
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_uint_eq(f->servers[2].report_count, 1);
    ck_assert_uint_eq(fx_info(f, 2, H).length, 50000);
    ck_assert_int_eq(fx_set_aside(f, 2, H), 0);
    fx_run_ms(f, 1000);
    ck_assert_int_eq(kept(f, 2, H), 50000);
    fx_free(f);
}
END_TEST

START_TEST(gives_way_on_a_full_disk)
{
    struct fx *f = three(40);
    for (uint32_t n = 0; n < 4; n++) {
        ck_assert_int_eq(fx_write(f, 123, H + n, FX_V1, 0, data, FX_CHUNK), 0);
    }
    for (uint32_t n = 0; n < 3; n++) {
        ck_assert_int_eq(fx_set_aside(f, 2, H + n), 0);
        fx_run_ms(f, 100);
    }
    fx_run_ms(f, 1000);
    for (uint32_t n = 0; n < 3; n++) {
        ck_assert_int_eq(kept(f, 2, H + n), FX_CHUNK);
    }
    uint64_t total, avail;
    struct sim_disk *disk = f->servers[2].process->disk;
    sim_disk_space(disk, &total, &avail);
    /* Full: what is aside is all the room there is. */
    sim_disk_set_capacity(disk, total - avail + (1 << 20));
    ck_assert_int_eq(fx_write(f, 2, H + 10, FX_V1, 0, data, FX_CHUNK), 0);
    fx_run_ms(f, 2000);
    ck_assert_int_eq(kept(f, 2, H), -ENOENT);
    ck_assert_uint_eq(f->servers[2].chunkd->aside.bytes, 0);
    fx_expect_equal(f, 2, H + 10);
    fx_free(f);
}
END_TEST

START_TEST(not_kept_without_a_time)
{
    struct fx *f = fx_new(50);
    fx_start_all(f);
    fx_fill(data, sizeof(data), 50);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 50000), 0);
    ck_assert_int_eq(fx_set_aside(f, 2, H), 0);
    fx_run_ms(f, 100);
    ck_assert_int_eq(kept(f, 2, H), -ENOENT);
    fx_free(f);
}
END_TEST

Suite *suite_chunkd_aside(void)
{
    Suite *s = suite_create("chunkd_aside");
    TCase *t = tcase_create("chunkd_aside");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, kept_for_a_while);
    tcase_add_loop_test(t, ages_on_over_restarts, 0, 9);
    tcase_add_test(t, the_same_handle_again);
    tcase_add_test(t, gives_way_on_a_full_disk);
    tcase_add_test(t, not_kept_without_a_time);
    suite_add_tcase(s, t);
    return s;
}
