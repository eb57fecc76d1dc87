/* test_uv_spin.c - when the loop stays awake for the next event. */
#include "shared/io/uv_spin.h"
#include "tests/unit/unit.h"

enum { LIMIT_NS = 50000, LOOK_NS = 1000 };

static uint64_t now;

/* An event, then looks until the next one after `gap_ns`. True if the loop was still awake for it. */
static bool event(struct spin *s, uint64_t gap_ns)
{
    s->stirred = true;
    bool awake = spin_wanted(s, now);
    for (uint64_t end = now + gap_ns; now < end; now += LOOK_NS) {
        awake = awake && spin_wanted(s, now);
    }
    return awake;
}

static struct spin spin_new(void)
{
    now = 1000000;
    return (struct spin){.limit_ns = LIMIT_NS};
}

static unsigned awake_of(struct spin *s, unsigned events, uint64_t gap_ns)
{
    unsigned awake = 0;
    for (unsigned i = 0; i < events; i++) {
        awake += event(s, gap_ns);
    }
    return awake;
}

START_TEST(stays_awake_while_it_pays)
{
    struct spin s = spin_new();
    awake_of(&s, SPIN_TRY_EVERY, 20000); /* until it is tried */
    ck_assert_uint_eq(awake_of(&s, 100, 20000), 100);
    ck_assert_uint_eq(s.score, SPIN_SCORE_MAX);
}
END_TEST

START_TEST(sleeps_when_it_does_not)
{
    struct spin s = spin_new();
    awake_of(&s, 2 * SPIN_TRY_EVERY, 20000);
    ck_assert_uint_eq(awake_of(&s, 10 * SPIN_TRY_EVERY, 200000), 0);
    ck_assert_uint_eq(s.score, 0);
    ck_assert(!s.awake);
}
END_TEST

START_TEST(not_with_many_streams)
{
    struct spin s = spin_new();
    awake_of(&s, 2 * SPIN_TRY_EVERY, 20000);
    s.awaited = SPIN_AWAITED_MAX + 1;
    ck_assert_uint_eq(awake_of(&s, 10, 20000), 0);
    s.awaited = SPIN_AWAITED_MAX;
    ck_assert_uint_eq(awake_of(&s, 10, 20000), 10);
}
END_TEST

START_TEST(stops_when_somebody_else_ran)
{
    struct spin s = spin_new();
    awake_of(&s, 2 * SPIN_TRY_EVERY, 20000);
    s.stirred = true;
    ck_assert(spin_wanted(&s, now));
    ck_assert(spin_wanted(&s, now += LOOK_NS));
    ck_assert(!spin_wanted(&s, now += SPIN_OTHERS_NS));
    ck_assert(!spin_wanted(&s, now += LOOK_NS));
    ck_assert_uint_eq(awake_of(&s, SPIN_TRY_BUSY - 1, 20000), 0);
    ck_assert_uint_gt(awake_of(&s, 2, 20000), 0);
}
END_TEST

Suite *suite_uv_spin(void);
Suite *suite_uv_spin(void)
{
    Suite *s = suite_create("uv_spin");
    TCase *t = tcase_create("spin");
    tcase_add_test(t, stays_awake_while_it_pays);
    tcase_add_test(t, sleeps_when_it_does_not);
    tcase_add_test(t, not_with_many_streams);
    tcase_add_test(t, stops_when_somebody_else_ran);
    suite_add_tcase(s, t);
    return s;
}
