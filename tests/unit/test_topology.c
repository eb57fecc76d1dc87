/* test_topology.c - chunkservers that are drained, in maintenance or slow, replicas that share what
 * they need not, and files that want another number of replicas: what the master does about it. */
#include "tests/unit/master_fixture.h"

#include <check.h>
#include <stdio.h>

enum { FILES = 6 };

static struct fixture *f;
static uint64_t sequence;
static struct chunk files[FILES];

static struct fake *fake_of(uint32_t id)
{
    return fixture_fake(f, id);
}

static struct ns_chunk row(uint32_t file)
{
    struct ns_chunk k;
    ck_assert_int_eq(ns_chunk_get(f->m->ns, files[file].ino, 0, &k), 0);
    return k;
}

static bool is_member(uint32_t file, uint32_t id)
{
    struct ns_chunk k = row(file);
    return ns_is_member(&k, id);
}

static void make_new(uint32_t i)
{
    static uint32_t number;
    char name[16];
    snprintf(name, sizeof(name), "f%u", number++);
    files[i] = fixture_make_file(f, name, 100, &sequence);
}

/* A cluster with written files, and a master that knows all its servers. */
static void begin(uint32_t servers)
{
    f = fixture_new(servers);
    f->m->cfg.balance_kib_s = 1 << 20;
    sequence = 0;
    fixture_open_session(f);
    for (uint32_t i = 0; i < FILES; i++) {
        make_new(i);
    }
}

static void teardown(void)
{
    fixture_free(f);
}

static struct server_status status_of(uint32_t id)
{
    return server_status_of(f->m, servers_get(&f->m->servers, id));
}

/* An operator's wish. The mount's connection becomes the operator's. */
static int ask_server(uint32_t id, uint32_t action, uint64_t ms)
{
    rpc_close(&f->rpc);
    rpc_init(&f->rpc, &f->cp->env, f->rpc.events, f);
    rpc_dial(&f->rpc, "master:1");
    struct hello_req hello = {.role = ROLE_ADMIN};
    struct hello_rep welcome;
    ck_assert_int_eq(FIXTURE_CALL(f, hello, &hello, &welcome, 0), 0);
    struct server_set_req req = {.server = id, .action = action, .duration_ms = ms};
    struct server_set_rep rep;
    return FIXTURE_CALL(f, server_set, &req, &rep, 0);
}

static bool warned_of(const char *text)
{
    struct writer w;
    writer_init(&w);
    balance_warnings(f->m, &w);
    bool found = false;
    for (struct reader r = reader_of(writer_bytes(&w)); !reader_done(&r);) {
        struct bytes one;
        dec_text(&r, &one);
        found |= memmem(one.data, one.len, text, strlen(text)) != NULL;
    }
    writer_free(&w);
    return found;
}

/* Every replica leaves, none is missed meanwhile, and then it may be switched off. */
START_TEST(drained_to_the_last)
{
    begin(4);
    uint32_t id = row(0).members[0];
    ck_assert_int_eq(ask_server(id, SERVER_DRAIN, 0), 0);
    ck_assert(!status_of(id).drained);
    for (int i = 0; i < 100 && !status_of(id).drained; i++) {
        fixture_run_ms(f, 200);
        ck_assert_uint_eq(f->m->repair.under_replicated, 0);
    }
    ck_assert(status_of(id).drained);
    for (uint32_t i = 0; i < FILES; i++) {
        ck_assert(!is_member(i, id));
        ck_assert_uint_eq(row(i).member_count, 3);
    }
    fixture_run_ms(f, 3000);
    ck_assert_uint_eq(fake_of(id)->count, 0);
    /* It is remembered, and nothing new goes there. */
    fixture_kill_master(f);
    fixture_start_master(f);
    fixture_run_ms(f, 3000);
    ck_assert(status_of(id).draining);
    fixture_connect(f);
    fixture_attach(f);
    make_new(0);
    ck_assert(!is_member(0, id));
    ck_assert_int_eq(ask_server(id, SERVER_UNDRAIN, 0), 0);
    ck_assert(!status_of(id).draining && !status_of(id).drained);
    ck_assert_int_eq(ask_server(99, SERVER_DRAIN, 0), -ENOENT);
    ck_assert_int_eq(ask_server(id, 9, 0), -EINVAL);
    ck_assert_int_eq(ask_server(id, SERVER_MAINTENANCE, UINT64_MAX), -EINVAL);
}
END_TEST

START_TEST(a_drain_without_room_says_so)
{
    begin(3);
    ck_assert_int_eq(ask_server(1, SERVER_DRAIN, 0), 0);
    fixture_run_ms(f, 4000);
    struct server_status s = status_of(1);
    ck_assert(s.draining && !s.drained);
    ck_assert_uint_eq(s.member_of, FILES);
    ck_assert_uint_eq(s.stuck, FILES);
    ck_assert(warned_of("cannot be emptied"));
    ck_assert(warned_of("2 chunkservers with room for 3 replicas"));
    ck_assert_uint_eq(row(0).member_count, 3);
}
END_TEST

/* Also by a master that starts meanwhile. */
START_TEST(maintenance_is_waited_for)
{
    begin(4);
    f->m->cfg.away_grace_ms = f->cfg.away_grace_ms = 500;
    uint32_t id = row(0).members[0];
    ck_assert_int_eq(ask_server(id, SERVER_MAINTENANCE, 60000), 0);
    fake_stop(fake_of(id));
    fixture_run_ms(f, 5000);
    ck_assert(is_member(0, id));
    fixture_kill_master(f);
    fixture_start_master(f);
    fixture_run_ms(f, 12000);
    ck_assert(is_member(0, id));
    ck_assert_uint_gt(status_of(id).maintenance_ms, 30000);
    ck_assert_int_eq(ask_server(id, SERVER_MAINTENANCE, 0), 0);
    fixture_run_ms(f, 8000);
    ck_assert(!is_member(0, id));
    ck_assert_uint_eq(row(0).member_count, 3);
}
END_TEST

static void want(uint64_t ino, const char *number)
{
    struct setxattr_req req = {
        .ino = ino, .name = bytes_str("user.gfs.replicas"), .value = bytes_str(number)};
    struct setxattr_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, setxattr, &req, &rep, ++sequence), 0);
}

START_TEST(fewer_and_more_replicas)
{
    begin(4);
    static const char *const steps[] = {"2", "1", "4", "3", "0"};
    static const uint32_t counts[] = {2, 1, 4, 3, 3};
    for (int i = 0; i < 5; i++) {
        want(files[0].ino, steps[i]);
        for (int k = 0; k < 60 && row(0).member_count != counts[i]; k++) {
            fixture_run_ms(f, 200);
        }
        ck_assert_uint_eq(row(0).member_count, counts[i]);
        ck_assert_uint_eq(row(1).member_count, 3);
        fixture_run_ms(f, 3000);
        uint32_t there = 0;
        for (int k = 0; k < 4; k++) {
            there += fake_find(&f->fakes[k], files[0].handle) != NULL;
        }
        ck_assert_uint_eq(there, counts[i]);
    }
}
END_TEST

/* Four servers on two racks; then one of them says that it stands in a third. The pace is one of
 * bytes: that of four small chunks a second would be one of a large one in minutes. */
START_TEST(another_rack_is_used)
{
    begin(4);
    f->m->cfg.balance_kib_s = 256;
    for (int i = 0; i < 4; i++) {
        fake_stop(&f->fakes[i]);
        snprintf(f->fakes[i].host, sizeof(f->fakes[i].host), "rack%d", i / 2);
        fake_start(&f->fakes[i]);
    }
    fixture_run_ms(f, 8000);
    ck_assert(warned_of("2 hosts with room for 3 replicas"));
    ck_assert_uint_eq(f->m->balance.crowded_chunks, 0); /* it cannot be better */
    for (int i = 3; i < 4; i++) {
        fake_stop(&f->fakes[i]);
        snprintf(f->fakes[i].host, sizeof(f->fakes[i].host), "rack2");
        fake_start(&f->fakes[i]);
    }
    for (int k = 0; k < 100 && (f->m->balance.crowded_chunks > 0 || k < 20); k++) {
        fixture_run_ms(f, 200);
    }
    ck_assert(!warned_of("room for 3 replicas"));
    for (uint32_t i = 0; i < FILES; i++) {
        ck_assert(is_member(i, f->fakes[3].id));
        ck_assert(is_member(i, f->fakes[2].id)); /* rack1 has no other */
        ck_assert_uint_eq(row(i).member_count, 3);
    }
}
END_TEST

START_TEST(a_slow_server_is_avoided)
{
    begin(4);
    f->m->cfg.slow_floor_ms = 10;
    f->m->cfg.slow_window_ms = 2000;
    for (int i = 0; i < 4; i++) {
        f->fakes[i].disk_us = i == 0 ? 400000 : 2000;
    }
    uint32_t id = f->fakes[0].id;
    fixture_run_ms(f, 1000);
    ck_assert(!status_of(id).slow);
    fixture_run_ms(f, 4000);
    ck_assert(status_of(id).slow);
    ck_assert(warned_of("is slow"));
    uint32_t on_slow = 0;
    for (uint32_t i = 0; i < FILES; i++) {
        make_new(i);
        on_slow += is_member(i, id);
        ck_assert_uint_ne(row(i).members[0], id);
    }
    ck_assert_uint_eq(on_slow, 0);
    f->fakes[0].disk_us = 2000;
    fixture_run_ms(f, 8000);
    ck_assert(!status_of(id).slow);
}
END_TEST

Suite *suite_topology(void);
Suite *suite_topology(void)
{
    Suite *s = suite_create("topology");
    TCase *t = tcase_create("topology");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_add_test(t, drained_to_the_last);
    tcase_add_test(t, a_drain_without_room_says_so);
    tcase_add_test(t, maintenance_is_waited_for);
    tcase_add_test(t, fewer_and_more_replicas);
    tcase_add_test(t, another_rack_is_used);
    tcase_add_test(t, a_slow_server_is_avoided);
    suite_add_tcase(s, t);
    return s;
}
