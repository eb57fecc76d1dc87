/* test_slow.c - which server stands out as slow, and when it is said. */
#include "chunkd/core/latency.h"
#include "master/core/slow.h"
#include "tests/unit/unit.h"

Suite *suite_slow(void);

START_TEST(stands_out_against_the_others)
{
    uint64_t others[] = {1000, 0, 3000, 2000}; /* 0: not known */
    ck_assert_int_eq(slow_compare(8001, others, 4, 10), SLOW_OVER);
    ck_assert_int_eq(slow_compare(8000, others, 3, 10), SLOW_BETWEEN);
    ck_assert_int_eq(slow_compare(4000, others, 3, 10), SLOW_UNDER);
    ck_assert_int_eq(slow_compare(8001, others, 3, 50000), SLOW_UNDER);
    ck_assert_int_eq(slow_compare(50001, others, 3, 50000), SLOW_OVER);
    ck_assert_int_eq(slow_compare(0, others, 3, 10), SLOW_UNDER);
    uint64_t few[] = {1000};
    ck_assert_int_eq(slow_compare(1000000, few, 1, 10), SLOW_UNDER); /* one peer proves nothing */
    uint64_t all_slow[] = {400000, 500000};
    ck_assert_int_eq(slow_compare(600000, all_slow, 2, 10), SLOW_UNDER);
}
END_TEST

START_TEST(only_after_a_window)
{
    struct slow_track t = {0};
    ck_assert(!slow_step(&t, false, SLOW_OVER, 100, 50));
    ck_assert(!slow_step(&t, false, SLOW_OVER, 149, 50));
    ck_assert(slow_step(&t, false, SLOW_OVER, 150, 50));
    ck_assert(slow_step(&t, true, SLOW_BETWEEN, 300, 50)); /* stays until it is clearly better */
    ck_assert(slow_step(&t, true, SLOW_UNDER, 310, 50));
    ck_assert(slow_step(&t, true, SLOW_BETWEEN, 340, 50));
    ck_assert(slow_step(&t, true, SLOW_UNDER, 350, 50));
    ck_assert(!slow_step(&t, true, SLOW_UNDER, 400, 50));
    t = (struct slow_track){0};
    ck_assert(!slow_step(&t, false, SLOW_OVER, 100, 50));
    ck_assert(!slow_step(&t, false, SLOW_BETWEEN, 130, 50)); /* begins anew */
    ck_assert(!slow_step(&t, false, SLOW_OVER, 160, 50));
    ck_assert(!slow_step(&t, false, SLOW_OVER, 200, 50));
}
END_TEST

START_TEST(means_follow)
{
    ck_assert_uint_eq(slow_mean(0, 500, 1, 4000), 500);
    ck_assert_uint_eq(slow_mean(100, 500, 1000, 4000), 500);
    uint64_t half = slow_mean(100, 500, 500, 4000);
    ck_assert_uint_eq(half, 300);
    ck_assert_uint_eq(slow_mean(100, 500, 0, 4000), 100);
    ck_assert_uint_eq(slow_mean(UINT32_MAX, UINT32_MAX, 7, 4000), UINT32_MAX);
}
END_TEST

START_TEST(chunkservers_measure)
{
    struct latency l = {0};
    struct writer w;
    writer_init(&w);
    ck_assert_uint_eq(latency_take(&l, &w), 0);
    ck_assert_uint_eq(w.len, 0);
    mean_time_add(&l.disk, 1000000);
    mean_time_add(&l.disk, 3000000);
    latency_of_peer(&l, 7, 500);
    latency_of_peer(&l, 9, 2000000);
    latency_of_peer(&l, 9, 4000000);
    for (uint32_t id = 100; id < 100 + 2 * LATENCY_PEERS; id++) {
        latency_of_peer(&l, id, 1);
    }
    ck_assert_uint_eq(latency_take(&l, &w), 2001);
    struct reader r = reader_of(writer_bytes(&w));
    uint32_t v[4];
    for (int i = 0; i < 4; i++) {
        dec_u32(&r, &v[i]);
    }
    ck_assert(v[0] == 7 && v[1] == 1 && v[2] == 9 && v[3] == 3001);
    ck_assert_uint_eq(l.peer_count, 0);
    writer_free(&w);
}
END_TEST

Suite *suite_slow(void)
{
    Suite *s = suite_create("slow");
    TCase *t = tcase_create("slow");
    tcase_add_test(t, stands_out_against_the_others);
    tcase_add_test(t, only_after_a_window);
    tcase_add_test(t, means_follow);
    tcase_add_test(t, chunkservers_measure);
    suite_add_tcase(s, t);
    return s;
}
