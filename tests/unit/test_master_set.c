/* test_master_set.c - a set of three whole masters: what was acknowledged is there after every
 * promotion, once, and whoever answers as primary knows it. */
#include "tests/sim/sim_net.h"
#include "tests/unit/master_set.h"
#include "tests/unit/unit.h"

#include <stdio.h>

static struct master_set *s;

static void setup(void)
{
    s = master_set_new(1);
    master_set_run(s, 5000);
    ck_assert_int_ge(master_set_primary(s), 0);
}

static void teardown(void)
{
    master_set_free(s);
}

static uint64_t longest(void)
{
    uint64_t ms = 0;
    for (uint32_t i = 0; i < SET_MOUNTS; i++) {
        ms = MAX(ms, s->mounts[i].longest_ns / NS_PER_MS);
        s->mounts[i].longest_ns = 0;
    }
    return ms;
}

START_TEST(one_of_a_new_set_serves)
{
    uint32_t before = s->acked_count;
    master_set_run(s, 2000);
    ck_assert_uint_gt(s->acked_count, before + 20);
    ck_assert(master_set_equal(s, 5000));
    master_set_check(s);
    ck_assert_uint_eq(s->promotions, 1);
}
END_TEST

START_TEST(another_takes_over_from_a_dead_one)
{
    for (int round = 0; round < 4; round++) {
        uint32_t old = (uint32_t)master_set_primary(s);
        set_master_kill(s, old, round % 2 == 1);
        master_set_run(s, 9000);
        ck_assert_int_ge(master_set_primary(s), 0);
        ck_assert_int_ne(master_set_primary(s), (int)old);
        (void)longest();
        uint32_t before = s->acked_count;
        master_set_run(s, 1000);
        ck_assert_uint_gt(s->acked_count, before + 20);
        set_master_start(s, old);
        master_set_run(s, 1000);
    }
    ck_assert(master_set_equal(s, 10000));
    master_set_check(s);
}
END_TEST

/* It goes on as if nothing had happened, until it notices that it is deposed. */
START_TEST(a_primary_that_was_stopped_harms_nothing)
{
    uint32_t old = (uint32_t)master_set_primary(s);
    sim_process_pause(s->masters[old].process, 8 * NS_PER_S);
    master_set_run(s, 5000);
    master_set_promote(s, (old + 1) % SET_MASTERS);
    master_set_run(s, 8000);
    ck_assert_int_eq(master_set_primary(s), (int)((old + 1) % SET_MASTERS));
    ck_assert_uint_eq(s->masters[old].ends, 1);
    ck_assert(master_set_equal(s, 10000));
    master_set_check(s);
}
END_TEST

/* Nobody waits for a lease to end, and nobody notices much. */
START_TEST(a_primary_hands_over)
{
    uint32_t old = (uint32_t)master_set_primary(s);
    (void)longest();
    master_set_promote(s, (old + 1) % SET_MASTERS);
    master_set_run(s, 3000);
    ck_assert_int_eq(master_set_primary(s), (int)((old + 1) % SET_MASTERS));
    ck_assert_uint_eq(s->masters[old].ends, 1);
    ck_assert_uint_lt(longest(), 1500);
    ck_assert(master_set_equal(s, 10000));
    master_set_check(s);
}
END_TEST

static void isolate(uint32_t number, uint64_t ms)
{
    for (uint32_t i = 0; i < SET_MASTERS; i++) {
        if (i != number) {
            sim_net_block(s->sim, s->masters[number].process, s->masters[i].process,
                          ms * NS_PER_MS);
            sim_net_block(s->sim, s->masters[i].process, s->masters[number].process,
                          ms * NS_PER_MS);
        }
    }
}

/* Mounts still reach it, the other masters do not. */
START_TEST(a_primary_cut_off_from_the_others_answers_nothing_that_is_out_of_date)
{
    uint32_t old = (uint32_t)master_set_primary(s);
    s->only_reader = true; /* nothing under way keeps its answers back */
    master_set_run(s, 500);
    isolate(old, 20000);
    master_set_run(s, 3900);
    ck_assert(s->masters[old].m->serving);
    uint32_t new = (old + 1) % SET_MASTERS;
    master_set_promote(s, new);
    while (master_set_primary(s) == (int)old) {
        master_set_run(s, 20);
    }
    ck_assert_uint_eq(s->masters[old].ends, 0);
    master_set_move_writers(s, &new);
    master_set_run(s, 8000);
    s->writers_at = NULL;
    ck_assert_int_eq(master_set_primary(s), (int)((old + 1) % SET_MASTERS));
    ck_assert(master_set_equal(s, 40000));
    master_set_check(s);
}
END_TEST

static void disturb(void)
{
    uint32_t n = (uint32_t)sim_below(&s->rand, SET_MASTERS);
    uint32_t o = (uint32_t)sim_below(&s->rand, SET_MASTERS);
    struct set_master *m = &s->masters[n];
    uint64_t ms = 50 + sim_below(&s->rand, sim_chance(&s->rand, 1, 3) ? 10000 : 1500);
    switch (sim_below(&s->rand, 8)) {
    case 0:
    case 1:
        if (m->m != NULL) {
            set_master_kill(s, n, sim_chance(&s->rand, 1, 2));
        }
        break;
    case 2:
        sim_process_pause(m->process, ms * NS_PER_MS);
        break;
    case 3:
        sim_net_block(s->sim, m->process, s->masters[o].process, ms * NS_PER_MS);
        break;
    case 4:
        isolate(n, ms);
        break;
    case 5:
        (void)sim_net_cut_one(s->sim, &s->rand);
        break;
    case 6:
        if (m->m != NULL && !s->asking) {
            master_set_promote(s, n);
        }
        break;
    default:
        sim_net_heal(s->sim);
        break;
    }
}

static void history(uint64_t seed)
{
    s = master_set_new(seed);
    for (int i = 0; i < 60; i++) {
        if (i > 5 && sim_chance(&s->rand, 1, 3)) {
            disturb();
        }
        for (uint32_t k = 0; k < SET_MASTERS; k++) {
            if (s->masters[k].m == NULL && sim_chance(&s->rand, 1, 3)) {
                set_master_start(s, k);
            }
        }
        master_set_run(s, 20 + sim_below(&s->rand, 1500));
    }
    sim_net_heal(s->sim);
    for (uint32_t k = 0; k < SET_MASTERS; k++) {
        if (s->masters[k].m == NULL) {
            set_master_start(s, k);
        }
    }
    if (!master_set_equal(s, 60000)) {
        ck_abort_msg("seed %llu: they do not come together", (unsigned long long)seed);
    }
    master_set_check(s);
    if (getenv("MASTER_SET_TRACE") != NULL) {
        printf("seed %llu: %u epochs, %u served, %u directories\n", (unsigned long long)seed,
               s->epoch, s->promotions, s->acked_count);
    }
    master_set_free(s);
}

START_TEST(histories)
{
    history((uint64_t)_i + 1);
}
END_TEST

Suite *suite_master_set(void);
Suite *suite_master_set(void)
{
    const char *seeds = getenv("LOG_SET_SEEDS"); /* so many histories */
    Suite *suite = suite_create("master_set");
    TCase *t = tcase_create("events");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, one_of_a_new_set_serves);
    tcase_add_test(t, another_takes_over_from_a_dead_one);
    tcase_add_test(t, a_primary_that_was_stopped_harms_nothing);
    tcase_add_test(t, a_primary_hands_over);
    tcase_add_test(t, a_primary_cut_off_from_the_others_answers_nothing_that_is_out_of_date);
    suite_add_tcase(suite, t);
    t = tcase_create("histories");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, histories, 0, seeds != NULL ? atoi(seeds) : 6);
    suite_add_tcase(suite, t);
    return suite;
}
