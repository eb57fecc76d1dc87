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

/* Who is busy or slow gets less, or nothing while others suit as well; a rack of its own counts
 * more. */
START_TEST(load_and_slowness_are_avoided)
{
    struct placement_server all[] = {server(1, "a", "r1", 1 << 30), server(2, "b", "r1", 1 << 30)};
    uint32_t id, busy = 0;
    all[0].load = 4000;
    for (int turn = 0; turn < 1000; turn++) {
        ck_assert_uint_eq(placement_choose(&d->env, all, 2, NULL, 0, 1, &id), 1);
        busy += id == 1;
    }
    ck_assert_uint_gt(busy, 50);
    ck_assert_uint_lt(busy, 350);
    all[0].slow = true;
    for (int turn = 0; turn < 50; turn++) {
        ck_assert_uint_eq(placement_choose(&d->env, all, 2, NULL, 0, 1, &id), 1);
        ck_assert_uint_eq(id, 2);
    }
    all[0].rack = bytes_str("r2");
    struct placement_server have[] = {server(3, "c", "r1", 1 << 30)};
    ck_assert_uint_eq(placement_choose(&d->env, all, 2, have, 1, 1, &id), 1);
    ck_assert_uint_eq(id, 1); /* never below safety */
}
END_TEST

/* Files made in a row share servers until they pause, are many, or a server may not be taken. */
START_TEST(rows_of_files_stay_together)
{
    struct placement_server all[] = {server(1, "a", "r1", 1), server(2, "b", "r1", 1),
                                     server(3, "c", "r1", 1), server(4, "d", "r1", 1)};
    const uint32_t chosen[] = {3, 1};
    struct placement_row row = {0};
    uint32_t ids[REPLICAS_MAX];
    uint64_t now = NS_PER_S, gap = ROW_GAP_US * 1000ull;
    ck_assert_uint_eq(placement_row_next(&row, all, 4, 2, now, ids), 0);
    placement_row_begin(&row, chosen, 2, 2, now);
    for (int file = 1; file < ROW_MAX; file++) {
        now += gap;
        ck_assert_uint_eq(placement_row_next(&row, all, 4, 2, now, ids), 2);
        ck_assert(ids[0] == 3 && ids[1] == 1);
    }
    ck_assert_uint_eq(placement_row_next(&row, all, 4, 2, now, ids), 0);

    placement_row_begin(&row, chosen, 2, 2, now);
    ck_assert_uint_eq(placement_row_next(&row, all, 4, 3, now, ids), 0);
    ck_assert_uint_eq(placement_row_next(&row, all, 2, 2, now, ids), 0);
    ck_assert_uint_eq(placement_row_next(&row, all, 4, 2, now + gap + 1, ids), 0);
}
END_TEST

START_TEST(moves_that_share_less)
{
    struct placement_server all[] = {
        server(1, "a", "r1", 10), server(2, "b", "r1", 20), server(3, "c", "r2", 30),
        server(4, "d", "r3", 40), server(5, "e", "r3", 50),
    };
    for (int i = 0; i < 5; i++) {
        all[i].avail <<= 20;
        all[i].total = 1000 << 20;
    }
    uint32_t from = 0, to = 0;
    struct placement_server set[] = {all[0], all[1], all[2]};
    ck_assert_uint_gt(placement_crowding(set, 3), 0);
    ck_assert(placement_better(set, 3, all, 5, &from, &to));
    ck_assert_uint_eq(from, 1); /* the fullest of the two */
    ck_assert_uint_eq(to, 5);   /* the emptiest */
    all[4].slow = true;
    ck_assert(placement_better(set, 3, all, 5, &from, &to));
    ck_assert_uint_eq(to, 4);
    ck_assert(!placement_better(set, 3, all, 3, &from, &to)); /* no other rack */
    struct placement_server good[] = {all[0], all[2], all[3]};
    ck_assert_uint_eq(placement_crowding(good, 3), 0);
    ck_assert(!placement_better(good, 3, all, 5, &from, &to));
    /* One host, another host in the same rack: still better. */
    struct placement_server one[] = {server(6, "x", "r", 1), server(7, "x", "r", 1)};
    struct placement_server other[] = {one[0], one[1], server(8, "y", "r", 1)};
    ck_assert(placement_better(one, 2, other, 3, &from, &to));
    ck_assert_uint_eq(to, 8);
}
END_TEST

START_TEST(moves_for_even_disks)
{
    struct placement_server all[] = {
        server(1, "a", "r1", 100),
        server(2, "b", "r1", 900),
        server(3, "c", "r2", 500),
        server(4, "d", "r2", 950),
    };
    for (int i = 0; i < 4; i++) {
        all[i].avail <<= 20;
        all[i].total = 1000 << 20;
    }
    uint32_t from = 0, to = 0;
    struct placement_server set[] = {all[0], all[2]};
    ck_assert(placement_level(set, 2, all, 4, 50, &from, &to));
    ck_assert_uint_eq(from, 1);
    ck_assert_uint_eq(to, 2); /* 4 is emptier but shares a rack with 3 */
    ck_assert(!placement_level(set, 2, all, 4, 900, &from, &to));
    struct placement_server even[] = {all[1], all[3]};
    ck_assert(!placement_level(even, 2, all, 4, 50, &from, &to));
    ck_assert_uint_eq(placement_fill(&all[0]), 900);
}
END_TEST

START_TEST(what_is_missing_is_named)
{
    struct placement_server all[] = {
        server(1, "a", "r1", 1), server(2, "a", "r1", 1), server(3, "b", "r1", 1),
        server(4, "c", "r1", 1), server(5, "d", "r2", 1), server(6, "e", "r3", 1),
    };
    char text[256];
    placement_missing(all, 1, 3, text, sizeof(text));
    ck_assert_str_eq(
        text, "chunks lack replicas: 1 chunkserver with room for 3 replicas; add chunkservers");
    placement_missing(all, 3, 3, text, sizeof(text));
    ck_assert_str_eq(text, "replicas share hosts: 2 hosts with room for 3 replicas; add a host");
    placement_missing(all, 4, 3, text, sizeof(text));
    ck_assert_str_eq(text, "replicas share racks: 1 rack with room for 3 replicas; add racks");
    placement_missing(all, 5, 3, text, sizeof(text));
    ck_assert_str_eq(text, "replicas share racks: 2 racks with room for 3 replicas; add a rack");
    placement_missing(all, 6, 3, text, sizeof(text));
    ck_assert_str_eq(text, "");
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
    tcase_add_test(t, load_and_slowness_are_avoided);
    tcase_add_test(t, rows_of_files_stay_together);
    tcase_add_test(t, moves_that_share_less);
    tcase_add_test(t, moves_for_even_disks);
    tcase_add_test(t, what_is_missing_is_named);
    suite_add_tcase(s, t);
    return s;
}
