/* test_masters.c - whom somebody who knows several masters asks next. */
#include "shared/env/masters.h"
#include "tests/unit/unit.h"

#include <string.h>

Suite *suite_masters(void);

static struct masters s;
static struct why why;

static void setup(void)
{
    ck_assert_int_eq(masters_parse(&s, "a:1,b:2,c:3", &why), 0);
}

START_TEST(lists)
{
    char long_list[4096] = "";
    ck_assert_uint_eq(s.count, 3);
    ck_assert(masters_several(&s));
    ck_assert(masters_have(&s, bytes_str("b:2")));
    ck_assert(!masters_have(&s, bytes_str("b:22")));
    ck_assert_int_eq(masters_parse(&s, "a:1", &why), 0);
    ck_assert(!masters_several(&s));
    ck_assert_int_eq(masters_parse(&s, "", &why), -EINVAL);
    ck_assert_int_eq(masters_parse(&s, "a:1,,b:2", &why), -EINVAL);
    ck_assert_int_eq(masters_parse(&s, "a:1,b", &why), -EINVAL);
    for (int i = 0; i <= MASTERS_MAX; i++) {
        strcat(long_list, i == 0 ? "h:1" : ",h:1");
    }
    ck_assert_int_eq(masters_parse(&s, long_list, &why), -EINVAL);
}
END_TEST

START_TEST(in_turn)
{
    ck_assert_str_eq(masters_take(&s), "a:1");
    ck_assert_str_eq(masters_take(&s), "b:2");
    ck_assert(!masters_round_over(&s));
    ck_assert_str_eq(masters_take(&s), "c:3");
    ck_assert(masters_round_over(&s));
    masters_round_begins(&s);
    ck_assert_str_eq(masters_take(&s), "a:1");
    masters_begin_after(&s, "b:2");
    ck_assert_str_eq(masters_take(&s), "c:3");
    ck_assert_str_eq(s.current, "c:3");
}
END_TEST

/* Two that name each other do not keep the others from being asked. */
START_TEST(who_is_named_comes_first_once_in_a_round)
{
    char too_long[ADDR_LEN_MAX + 2];
    memset(too_long, 'x', sizeof(too_long));
    masters_take(&s);
    ck_assert(!masters_named(&s, bytes_str("")));
    ck_assert(!masters_named(&s, bytes_str("a:1"))); /* itself */
    ck_assert(!masters_named(&s, bytes_of(too_long, sizeof(too_long))));
    ck_assert(masters_named(&s, bytes_str("z:9"))); /* need not be in the list */
    ck_assert(!masters_found(&s, "c:3"));
    ck_assert_str_eq(masters_take(&s), "z:9");
    ck_assert(!masters_named(&s, bytes_str("a:1")));
    ck_assert_str_eq(masters_take(&s), "b:2");
    ck_assert(masters_found(&s, "c:3"));
    ck_assert(!masters_round_over(&s));
    ck_assert_str_eq(masters_take(&s), "c:3");
    ck_assert_str_eq(masters_take(&s), "c:3"); /* of the list */
    ck_assert(masters_round_over(&s));
    masters_round_begins(&s);
    ck_assert(masters_named(&s, bytes_str("a:1")));
}
END_TEST

Suite *suite_masters(void)
{
    Suite *suite = suite_create("masters");
    TCase *c = tcase_create("masters");
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_test(c, lists);
    tcase_add_test(c, in_turn);
    tcase_add_test(c, who_is_named_comes_first_once_in_a_round);
    suite_add_tcase(suite, c);
    return suite;
}
