/* test_repair.c - changes of a chunk's member set: moves, removals, and what stops them. */
#include "tests/unit/master_fixture.h"

#include <check.h>
#include <stdio.h>

static struct fixture *f;
static uint64_t sequence;
static struct chunk c; /* of the file; its members are not kept */

static struct fake *fake_of(uint32_t id)
{
    return fixture_fake(f, id);
}

static struct ns_chunk row(void)
{
    struct ns_chunk k;
    ck_assert_int_eq(ns_chunk_get(f->m->ns, c.ino, 0, &k), 0);
    return k;
}

static bool is_member(uint32_t id)
{
    struct ns_chunk k = row();
    return ns_is_member(&k, id);
}

/* A server that is not a member. */
static uint32_t outsider(void)
{
    for (uint32_t id = 1; id <= f->m->servers.highest; id++) {
        if (!is_member(id)) {
            return id;
        }
    }
    ck_abort_msg("all are members");
    return 0;
}

static void all_equal_and_active(void)
{
    struct ns_chunk k = row();
    for (uint32_t i = 0; i < k.member_count; i++) {
        struct fake_replica *r = fake_find(fake_of(k.members[i]), c.handle);
        ck_assert_ptr_nonnull(r);
        ck_assert_uint_eq(r->r.version, k.version);
        ck_assert(r->active);
        ck_assert_uint_eq(r->r.digest, fake_find(fake_of(k.members[0]), c.handle)->r.digest);
    }
}

static void make_file(const char *name)
{
    c = fixture_make_file(f, name, 100, &sequence);
}

static void setup(void)
{
    f = fixture_new(4);
    sequence = 0;
    fixture_open_session(f);
    make_file("f");
}

static void teardown(void)
{
    fixture_free(f);
}

/* A replica moves in one new version: no moment with fewer members; the old one is dropped. */
START_TEST(a_replica_moves)
{
    struct ns_chunk k = row();
    uint32_t to = outsider(), from = k.members[0];
    struct repair_action move = {.add = to, .source = from, .remove = from};
    ck_assert(grants_repair(f->m, &k, &move));
    fixture_run_ms(f, 3000);
    ck_assert_uint_eq(row().member_count, 3);
    ck_assert(is_member(to) && !is_member(from));
    ck_assert_uint_eq(fake_find(fake_of(to), c.handle)->r.digest, 100 + c.handle);
    ck_assert_ptr_null(fake_find(fake_of(from), c.handle));
    all_equal_and_active();
    ck_assert(master_settled(f->m));
}
END_TEST

/* A member leaves without another in its place when fewer are wanted. */
START_TEST(a_member_leaves)
{
    f->m->cfg.geometry.replicas = 2;
    struct ns_chunk k = row();
    ck_assert(grants_repair(f->m, &k, &(struct repair_action){.remove = k.members[1]}));
    fixture_run_ms(f, 3000);
    ck_assert_uint_eq(row().member_count, 2);
    ck_assert(!is_member(k.members[1]));
    all_equal_and_active();
    k = row();
    f->m->cfg.geometry.replicas = 1;
    ck_assert(grants_repair(f->m, &k, &(struct repair_action){.remove = k.members[0]}));
    fixture_run_ms(f, 3000);
    ck_assert_uint_eq(row().member_count, 1);
    all_equal_and_active();
    ck_assert(master_settled(f->m));
}
END_TEST

/* Not while another member is away, or damaged: the one that was to leave stays. */
START_TEST(nobody_leaves_while_another_is_in_trouble)
{
    struct ns_chunk k = row();
    struct fake *hurt = fake_of(k.members[2]);
    f->m->cfg.geometry.replicas = 2;
    if (_i == 0) {
        fake_stop(hurt);
        fixture_run_ms(f, 1200); /* its lease ended */
    } else {
        fake_find(hurt, c.handle)->r.state = REPLICA_BAD;
    }
    ck_assert(grants_repair(f->m, &k, &(struct repair_action){.remove = k.members[0]}));
    fixture_run_ms(f, 2000);
    ck_assert(is_member(k.members[0]) && is_member(k.members[1]));
    ck_assert_uint_gt(row().version, k.version);
    ck_assert(fake_find(fake_of(k.members[0]), c.handle)->active);
}
END_TEST

/* ---------------------------------------------------------------- the queue at work */

enum { FILES = 24 };

static struct chunk files[FILES];

static void make_files(void)
{
    char name[8];
    for (uint32_t i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        make_file(name);
        files[i] = c;
    }
}

static void setup_five(void)
{
    f = fixture_new(5);
    sequence = 0;
    fixture_open_session(f);
    make_files();
    fixture_run_ms(f, 6500); /* a new master waits for those it knows */
}

/* Copies of the file that are here. */
static uint32_t copies_of(uint32_t i)
{
    struct ns_chunk k;
    uint32_t n = 0;
    ck_assert_int_eq(ns_chunk_get(f->m->ns, files[i].ino, 0, &k), 0);
    for (uint32_t j = 0; j < k.member_count; j++) {
        n += fake_of(k.members[j])->up;
    }
    return n;
}

static bool filled_before(uint64_t handle, uint32_t place)
{
    for (uint32_t i = 0; i < place; i++) {
        if (f->fills[i] == handle) {
            return true;
        }
    }
    return false;
}

/* Two of five servers die: the chunks of which one copy is left are copied first. */
START_TEST(last_copies_come_first)
{
    uint32_t singles = 0;
    f->m->cfg.away_grace_ms = 1;
    fake_stop(&f->fakes[0]);
    fake_stop(&f->fakes[1]);
    bool single[FILES];
    for (uint32_t i = 0; i < FILES; i++) {
        single[i] = copies_of(i) == 1;
        singles += single[i];
    }
    ck_assert_uint_gt(singles, 1);
    fixture_run_ms(f, 4000);
    ck_assert_uint_gt(f->fill_count, FILES / 2);
    /* Not one for one: what is free next to them is used. */
    for (uint32_t i = 0; i < FILES; i++) {
        ck_assert(!single[i] || filled_before(files[i].handle, singles + COPIES_PER_SERVER));
        ck_assert_uint_eq(copies_of(i), 3);
    }
    ck_assert(master_settled(f->m));
    ck_assert_uint_eq(f->m->repair.done[RISK_LAST_COPY].chunks, singles);
    ck_assert_uint_eq(f->m->repair.copies[3], FILES);
    ck_assert_uint_eq(f->m->repair.wave.begin_ns, 0);
}
END_TEST

/* Nothing is copied before the grace is over but what has one copy left; nothing at all while the
 * operator is at work on the server. */
START_TEST(short_absences_are_waited_for)
{
    f->m->cfg.away_grace_ms = 5000;
    fake_stop(&f->fakes[0]);
    if (_i == 1) {
        servers_get(&f->m->servers, f->fakes[0].id)->maintenance_until_ns = UINT64_MAX;
    }
    fixture_run_ms(f, 4500);
    ck_assert_uint_eq(f->fill_count, 0);
    ck_assert_uint_gt(f->m->repair.under_replicated, 0);
    fixture_run_ms(f, 4500);
    ck_assert((f->fill_count > 0) == (_i == 0));
}
END_TEST

/* The server comes back while its replicas are being copied elsewhere: what runs and what waits is
 * stopped, and what was made so far goes. */
START_TEST(copies_stop_when_the_server_returns)
{
    f->m->cfg.away_grace_ms = 100;
    for (int i = 1; i < 5; i++) {
        f->fakes[i].hold_pulls = true;
    }
    fake_stop(&f->fakes[0]);
    fixture_run_ms(f, 3000);
    uint32_t begun = f->fill_count;
    ck_assert_uint_gt(begun, 0);
    ck_assert(!repair_queue_empty(&f->m->repair.queue));
    fake_start(&f->fakes[0]);
    fixture_run_ms(f, 3000);
    ck_assert_uint_eq(f->fill_count, begun);
    ck_assert(master_settled(f->m));
    uint32_t replicas = 0;
    for (int i = 0; i < 5; i++) {
        replicas += f->fakes[i].count;
    }
    ck_assert_uint_eq(replicas, 3 * FILES);
    for (uint32_t i = 0; i < FILES; i++) {
        c = files[i];
        ck_assert_uint_eq(row().version, files[i].version);
    }
}
END_TEST

/* Beside clients copies keep to a rate; without them, or if the operator says so, they do not. */
START_TEST(copies_yield_to_clients)
{
    f->m->cfg.away_grace_ms = 100;
    f->m->cfg.rereplication_share = _i == 1 ? 100 : 40;
    for (int i = 0; i < 5; i++) {
        f->fakes[i].client_bytes = _i == 2 ? 0 : 1 << 20;
    }
    fixture_run_ms(f, 3000);
    fake_stop(&f->fakes[0]);
    fixture_run_ms(f, 5000);
    ck_assert_uint_gt(f->fill_count, 0);
    for (int i = 1; i < 5; i++) {
        ck_assert((f->fakes[i].copy_rate != 0) == (_i == 0));
        f->fakes[i].client_bytes = _i == 2 ? 1 << 20 : 0;
    }
    fixture_run_ms(f, 5000); /* told also when no copy begins */
    for (int i = 1; i < 5; i++) {
        ck_assert((f->fakes[i].copy_rate != 0) == (_i == 2));
    }
}
END_TEST

/* Every replica has a bad block: they mend each other and nobody is left out. */
START_TEST(damaged_replicas_are_made_whole)
{
    c = files[0];
    struct ns_chunk k = row();
    for (uint32_t i = 0; i < 3; i++) {
        fake_find(fake_of(k.members[i]), c.handle)->r.state = REPLICA_BAD;
        struct report_bad_req req = {
            .handle = c.handle, .ino = c.ino, .version = k.version, .server = k.members[i]};
        report_bad(f->m, &req, true, "itself");
    }
    fixture_run_ms(f, 3000);
    ck_assert_uint_eq(row().member_count, 3);
    all_equal_and_active();
    uint32_t mends = 0;
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(fake_find(fake_of(k.members[i]), c.handle)->r.state, REPLICA_OK);
        mends += fake_of(k.members[i])->mends;
    }
    ck_assert_uint_eq(mends, 1);
    ck_assert(master_settled(f->m));
    ck_assert_uint_eq(f->m->repair.copies[3], FILES);
}
END_TEST

/* A block that no replica has cannot be mended: it is tried once, not for ever. */
START_TEST(hopeless_damage_is_left)
{
    c = files[0];
    f->m->cfg.geometry.replicas = 2; /* two replicas: nobody else to ask */
    fixture_run_ms(f, 3000);
    struct ns_chunk k = row();
    ck_assert_uint_eq(k.member_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        fake_find(fake_of(k.members[i]), c.handle)->r.state = REPLICA_BAD;
        struct report_bad_req req = {
            .handle = c.handle, .ino = c.ino, .version = k.version, .server = k.members[i]};
        report_bad(f->m, &req, true, "itself");
    }
    fixture_run_ms(f, 4000);
    ck_assert(master_settled(f->m));
    uint64_t version = row().version;
    fixture_run_ms(f, 4000);
    ck_assert_uint_eq(row().version, version);
    ck_assert_uint_eq(row().member_count, 2);
    ck_assert_uint_eq(f->m->repair.chunks_lost, 1);
}
END_TEST

/* A move for balance's sake waits behind everything else and is made in the end. */
START_TEST(balance_moves_are_made)
{
    c = files[3];
    struct ns_chunk k = row();
    uint32_t to = outsider();
    uint64_t bytes = 0;
    ck_assert(repair_offer_move(f->m, &k, k.members[1], to, &bytes));
    ck_assert_uint_gt(bytes, 0);
    fixture_run_ms(f, 3000);
    ck_assert(is_member(to) && !is_member(k.members[1]));
    ck_assert_uint_eq(row().member_count, 3);
    ck_assert_uint_eq(f->m->repair.done[RISK_BALANCE].chunks, 1);
    all_equal_and_active();
    ck_assert(master_settled(f->m));
}
END_TEST

/* A server that drains ends up empty, and every chunk keeps its copies meanwhile. */
START_TEST(draining_server_is_emptied)
{
    servers_get(&f->m->servers, f->fakes[2].id)->draining = true;
    repair_poke(f->m);
    fixture_run_ms(f, 6000);
    ck_assert_uint_eq(f->fakes[2].count, 0);
    for (uint32_t i = 0; i < FILES; i++) {
        c = files[i];
        ck_assert_uint_eq(row().member_count, 3);
        ck_assert(!is_member(f->fakes[2].id));
        all_equal_and_active();
    }
    ck_assert(master_settled(f->m));
}
END_TEST

static int grant(uint32_t failed_server)
{
    struct grant_req req = {.ino = c.ino,
                            .failed_version = c.version,
                            .failed_server = failed_server,
                            .failed_status = -ETIMEDOUT};
    struct grant_rep rep;
    int status = FIXTURE_CALL(f, grant, &req, &rep, 0);
    c = rep.chunk;
    return status;
}

/* Two replicas of each chunk, and nobody takes another one: c's row. */
static struct ns_chunk only_two_members(void)
{
    f->m->cfg.geometry.replicas = 2;
    fixture_run_ms(f, 3000);
    for (int i = 0; i < 5; i++) {
        f->fakes[i].avail = 0; /* nobody takes a replica */
    }
    fixture_run_ms(f, 200);
    struct ns_chunk k = row();
    c.version = k.version;
    return k;
}

/* Two servers that do not reach each other make a new version at most once in a while; a third one
 * takes the place of the one that failed, and that is not taken in again at once. */
START_TEST(a_pair_does_not_quarrel_for_ever)
{
    f->m->cfg.pair_pause_ms = 10000;
    c = files[0];
    uint32_t failed = row().members[2];
    ck_assert_int_eq(grant(failed), 0);
    ck_assert(!is_member(failed));
    fixture_run_ms(f, 3000);
    ck_assert_uint_eq(row().member_count, 3); /* by another */
    ck_assert(!is_member(failed));
    /* With two members nobody can be left out: the second new version waits. */
    c = files[1];
    struct ns_chunk k = only_two_members();
    ck_assert_uint_eq(k.member_count, 2);
    ck_assert_int_eq(grant(k.members[1]), 0);
    uint64_t before = f->sim->now_ns;
    ck_assert_int_eq(grant(row().members[1]), 0);
    ck_assert_uint_ge(f->sim->now_ns - before, 8000 * NS_PER_MS);
}
END_TEST

/* Two complaints of the same old version, each of the other one's member: the second makes one new
 * version, not one after the other. */
START_TEST(a_complaint_is_heard_once)
{
    f->m->cfg.pair_pause_ms = 2000;
    struct ns_chunk k = only_two_members();
    ck_assert_int_eq(grant(k.members[1]), 0);
    uint32_t before = fixture_fake(f, k.members[0])->prepares;
    c.version = k.version;
    ck_assert_int_eq(grant(k.members[0]), 0);
    fixture_run_ms(f, 5000);
    ck_assert_uint_eq(fixture_fake(f, k.members[0])->prepares, before + 1);
}
END_TEST

Suite *suite_repair(void);
Suite *suite_repair(void)
{
    Suite *s = suite_create("repair");
    TCase *t = tcase_create("moves");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_replica_moves);
    tcase_add_test(t, a_member_leaves);
    tcase_add_loop_test(t, nobody_leaves_while_another_is_in_trouble, 0, 2);
    suite_add_tcase(s, t);
    TCase *q = tcase_create("queue");
    tcase_set_timeout(q, 60);
    tcase_add_checked_fixture(q, setup_five, teardown);
    tcase_add_test(q, last_copies_come_first);
    tcase_add_loop_test(q, short_absences_are_waited_for, 0, 2);
    tcase_add_test(q, copies_stop_when_the_server_returns);
    tcase_add_loop_test(q, copies_yield_to_clients, 0, 3);
    tcase_add_test(q, damaged_replicas_are_made_whole);
    tcase_add_test(q, hopeless_damage_is_left);
    tcase_add_test(q, balance_moves_are_made);
    tcase_add_test(q, draining_server_is_emptied);
    tcase_add_test(q, a_pair_does_not_quarrel_for_ever);
    tcase_add_test(q, a_complaint_is_heard_once);
    suite_add_tcase(s, q);
    return s;
}
