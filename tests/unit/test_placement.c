/* test_placement.c - the choice of servers for replicas. */
#include "master/core/placement.h"
#include "tests/unit/dir_env.h"

#include <check.h>

static struct dir_env *d;

static void setup(void)
{
    d = dir_env_new();
}

static void teardown(void)
{
    dir_env_free(d);
}

static struct placement_server server(uint32_t id, const char *host, const char *rack,
                                      uint64_t avail)
{
    return (struct placement_server){
        .id = id, .host = bytes_str(host), .rack = bytes_str(rack), .avail = avail};
}

/* Three replicas go to three racks when there are three. */
START_TEST(racks_come_first)
{
    struct placement_server all[] = {
        server(1, "a", "r1", 1 << 30), server(2, "b", "r1", 1 << 30), server(3, "c", "r1", 1 << 30),
        server(4, "d", "r2", 1 << 20), server(5, "e", "r3", 1 << 20),
    };
    for (int turn = 0; turn < 50; turn++) {
        uint32_t ids[3];
        ck_assert_uint_eq(placement_choose(&d->env, all, 5, NULL, 0, 3, ids), 3);
        uint32_t in_r1 = 0;
        for (int i = 0; i < 3; i++) {
            in_r1 += ids[i] <= 3;
        }
        ck_assert_uint_eq(in_r1, 1);
    }
}
END_TEST

/* Within one rack, hosts are not shared while another is free; disks of one host are the last
 * resort. */
START_TEST(hosts_come_before_disks)
{
    struct placement_server all[] = {server(1, "a", "r", 1 << 20), server(2, "a", "r", 1 << 20),
                                     server(3, "b", "r", 1 << 20)};
    for (int turn = 0; turn < 50; turn++) {
        uint32_t ids[3];
        ck_assert_uint_eq(placement_choose(&d->env, all, 3, NULL, 0, 2, ids), 2);
        ck_assert((ids[0] == 3) != (ids[1] == 3));
        ck_assert_uint_eq(placement_choose(&d->env, all, 3, NULL, 0, 3, ids), 3);
    }
}
END_TEST

/* Servers that hold the chunk are never picked again, and their racks are avoided. */
START_TEST(holders_are_left_out)
{
    struct placement_server all[] = {server(1, "a", "r1", 1 << 20), server(2, "b", "r1", 1 << 20),
                                     server(3, "c", "r2", 1 << 20)};
    uint32_t id = 0;
    for (int turn = 0; turn < 20; turn++) {
        ck_assert_uint_eq(placement_choose(&d->env, all, 3, all, 1, 1, &id), 1);
        ck_assert_uint_eq(id, 3);
    }
    ck_assert_uint_eq(placement_choose(&d->env, all, 3, all, 3, 1, &id), 0);
}
END_TEST

/* Among equals, the chance grows with free space. */
START_TEST(free_space_is_the_weight)
{
    struct placement_server all[] = {server(1, "a", "r1", 900u << 20),
                                     server(2, "b", "r2", 100u << 20)};
    uint32_t first = 0;
    for (int turn = 0; turn < 1000; turn++) {
        uint32_t id;
        ck_assert_uint_eq(placement_choose(&d->env, all, 2, NULL, 0, 1, &id), 1);
        first += id == 1;
    }
    ck_assert_uint_gt(first, 800);
    ck_assert_uint_lt(first, 1000);
}
END_TEST

/* Fewer servers than wanted: all of them. */
START_TEST(too_few_gives_what_there_is)
{
    struct placement_server all[] = {server(1, "a", "r1", 0)};
    uint32_t ids[3];
    ck_assert_uint_eq(placement_choose(&d->env, all, 1, NULL, 0, 3, ids), 1);
    ck_assert_uint_eq(placement_choose(&d->env, all, 0, NULL, 0, 3, ids), 0);
}
END_TEST

Suite *suite_placement(void);
Suite *suite_placement(void)
{
    Suite *s = suite_create("placement");
    TCase *t = tcase_create("choice");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, racks_come_first);
    tcase_add_test(t, hosts_come_before_disks);
    tcase_add_test(t, holders_are_left_out);
    tcase_add_test(t, free_space_is_the_weight);
    tcase_add_test(t, too_few_gives_what_there_is);
    suite_add_tcase(s, t);
    return s;
}
