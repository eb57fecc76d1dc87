/* test_setbacks.c - how long a failed repair waits, and what is said of it. */
#include "master/core/setbacks.h"
#include "shared/env/env.h"
#include "tests/unit/unit.h"

#include <errno.h>

Suite *suite_setbacks(void);

enum { H = 7 };

static struct setbacks s;
static uint64_t now;

static void setup(void)
{
    setbacks_init(&s, SETBACKS_MAX);
    now = 1;
}

static void teardown(void)
{
    setbacks_close(&s);
}

/* Milliseconds until the chunk may be tried again. */
static uint64_t pause_ms(uint64_t handle)
{
    uint64_t ms = 0;
    while (!setback_past(&s, handle, now + ms * NS_PER_MS)) {
        ms++;
    }
    return ms;
}

START_TEST(pause_doubles_up_to_half_a_minute)
{
    static const uint64_t expected[] = {2000, 4000, 8000, 16000, 30000, 30000};
    ck_assert_uint_eq(pause_ms(H), 0);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        setback_failed(&s, H, -EIO, now);
        ck_assert_uint_eq(pause_ms(H), expected[i]);
        ck_assert_uint_eq(pause_ms(H + 1), 0);
        now += expected[i] * NS_PER_MS;
    }
    setbacks_hurry(&s);
    ck_assert_uint_eq(pause_ms(H), 0);
    setback_failed(&s, H, -EIO, now);
    ck_assert_uint_eq(pause_ms(H), 2000);
}
END_TEST

START_TEST(not_yet_possible_is_no_failure)
{
    for (int i = 0; i < 5; i++) {
        setback_failed(&s, H, -EAGAIN, now);
        ck_assert_uint_eq(pause_ms(H), 2000);
    }
}
END_TEST

START_TEST(said_once_until_it_is_over)
{
    ck_assert(setback_news(&s, H, -EIO, now));
    setback_failed(&s, H, -EIO, now);
    ck_assert(!setback_news(&s, H, -EIO, now));
    setbacks_hurry(&s);
    ck_assert(!setback_news(&s, H, -EIO, now));
    ck_assert(setback_news(&s, H, -ENOSPC, now));
    ck_assert(setback_over(&s, H));
    ck_assert(!setback_over(&s, H));
    ck_assert_uint_eq(pause_ms(H), 0);
    ck_assert(setback_news(&s, H, -EIO, now));
}
END_TEST

START_TEST(old_ones_are_forgotten)
{
    setback_failed(&s, H, -EIO, now);
    setback_failed(&s, H + 1, -EIO, now + SETBACK_KEEP_MS * NS_PER_MS);
    setbacks_sweep(&s, now + (SETBACK_KEEP_MS + 1) * NS_PER_MS);
    ck_assert_uint_eq(s.map.count, 1);
}
END_TEST

START_TEST(full_table_forgets_and_is_silent)
{
    for (uint64_t h = 1; h <= SETBACKS_MAX; h++) {
        setback_failed(&s, h, -EIO, now);
    }
    setback_failed(&s, SETBACKS_MAX + 1, -EIO, now);
    ck_assert_uint_eq(s.map.count, SETBACKS_MAX);
    ck_assert(setback_past(&s, SETBACKS_MAX + 1, now));
    ck_assert(!setback_news(&s, SETBACKS_MAX + 1, -EIO, now));
}
END_TEST

Suite *suite_setbacks(void)
{
    Suite *suite = suite_create("setbacks");
    TCase *t = tcase_create("setbacks");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, pause_doubles_up_to_half_a_minute);
    tcase_add_test(t, not_yet_possible_is_no_failure);
    tcase_add_test(t, said_once_until_it_is_over);
    tcase_add_test(t, old_ones_are_forgotten);
    tcase_add_test(t, full_table_forgets_and_is_silent);
    suite_add_tcase(suite, t);
    return suite;
}
