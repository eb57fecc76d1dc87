/* test_sessions.c - who holds what open, and who fell silent. */
#include "master/core/sessions.h"

#include <check.h>

static struct sessions ss;
static struct writer w;

static void setup(void)
{
    sessions_init(&ss);
    writer_init(&w);
}

static void teardown(void)
{
    sessions_close(&ss);
    writer_free(&w);
}

/* The u64s in w as a sum of powers of ten, for short expectations: {3, 1} gives 31. */
static uint64_t listed(void)
{
    struct reader r = reader_of(writer_bytes(&w));
    uint64_t all = 0;
    while (!reader_done(&r)) {
        uint64_t v = 0;
        dec_u64(&r, &v);
        all = all * 10 + v;
    }
    w.len = 0;
    return all;
}

/* A session that has not attached since the start may hold anything. */
START_TEST(unattached_sessions_may_hold_anything)
{
    (void)sessions_add(&ss, 1, false, 0);
    struct session *s = sessions_add(&ss, 2, true, 0);
    ck_assert_int_eq(session_open(&ss, s, 7, false), 0);
    sessions_holders(&ss, 7, &w);
    ck_assert_uint_eq(listed(), 12);
    sessions_holders(&ss, 8, &w);
    ck_assert_uint_eq(listed(), 1);
    sessions_get(&ss, 1)->attached = true;
    sessions_holders(&ss, 8, &w);
    ck_assert_uint_eq(listed(), 0);
}
END_TEST

/* Closing forgets; removing a session forgets all its opens. */
START_TEST(closing_forgets)
{
    struct session *a = sessions_add(&ss, 1, true, 0);
    struct session *b = sessions_add(&ss, 2, true, 0);
    ck_assert_int_eq(session_open(&ss, a, 7, false), 0);
    ck_assert_int_eq(session_open(&ss, a, 7, true), 0);
    ck_assert_int_eq(session_open(&ss, b, 7, true), 0);
    session_close(&ss, a, 7);
    session_close(&ss, a, 99);
    ck_assert(!session_has_open(a, 7));
    sessions_holders(&ss, 7, &w);
    ck_assert_uint_eq(listed(), 2);
    sessions_remove(&ss, b);
    sessions_holders(&ss, 7, &w);
    ck_assert_uint_eq(listed(), 0);
    ck_assert_ptr_null(sessions_get(&ss, 2));
}
END_TEST

/* What was opened for writing once counts as that until it is closed. */
START_TEST(writes_are_listed)
{
    struct session *a = sessions_add(&ss, 1, true, 0);
    struct session *b = sessions_add(&ss, 2, true, 0);
    ck_assert_int_eq(session_open(&ss, a, 5, true), 0);
    ck_assert_int_eq(session_open(&ss, a, 5, false), 0);
    ck_assert_int_eq(session_open(&ss, a, 6, false), 0);
    ck_assert_int_eq(session_open(&ss, b, 7, true), 0);
    session_writes(a, &w);
    ck_assert_uint_eq(listed(), 5);
    session_close(&ss, a, 5);
    ck_assert_int_eq(session_open(&ss, a, 5, false), 0);
    session_writes(a, &w);
    ck_assert_uint_eq(listed(), 0);
}
END_TEST

START_TEST(silence_is_found)
{
    (void)sessions_add(&ss, 1, true, 100);
    (void)sessions_add(&ss, 2, true, 10);
    ck_assert_ptr_null(sessions_silent(&ss, 10));
    ck_assert_uint_eq(sessions_silent(&ss, 11)->id, 2);
}
END_TEST

/* The bound of opens is refused with an error, not exceeded. */
START_TEST(opens_are_bounded)
{
    struct session *s = sessions_add(&ss, 1, true, 0);
    for (uint64_t ino = 1; ino <= SESSION_OPENS_MAX; ino++) {
        ck_assert_int_eq(session_open(&ss, s, ino, false), 0);
    }
    ck_assert(session_full(s));
    ck_assert_int_eq(session_open(&ss, s, SESSION_OPENS_MAX + 1, false), -ENFILE);
    ck_assert_int_eq(session_open(&ss, s, 1, false), 0);
}
END_TEST

Suite *suite_sessions(void);
Suite *suite_sessions(void)
{
    Suite *s = suite_create("sessions");
    TCase *t = tcase_create("opens");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, unattached_sessions_may_hold_anything);
    tcase_add_test(t, closing_forgets);
    tcase_add_test(t, writes_are_listed);
    tcase_add_test(t, silence_is_found);
    tcase_add_test(t, opens_are_bounded);
    suite_add_tcase(s, t);
    return s;
}
