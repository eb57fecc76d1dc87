/* test_scrubs.c - the master and the verification of replicas: digests compared, damage that is
 * told, disks that fail, and what operators see. */
#include "tests/unit/master_fixture.h"

#include <check.h>

static struct fixture *f;
static struct chunk c;

static struct ns_chunk row(void)
{
    struct ns_chunk k;
    ck_assert_int_eq(ns_chunk_get(f->m->ns, c.ino, 0, &k), 0);
    return k;
}

/* The fake that is the i-th member. */
static struct fake *member(uint32_t i)
{
    return &f->fakes[row().members[i] - 1];
}

static struct replica *replica(uint32_t i)
{
    return &fake_find(member(i), c.handle)->r;
}

static void setup(void)
{
    f = fixture_new(4);
    fixture_open_session(f);
    c = fixture_make_file(f, "f", 100, &(uint64_t){0});
    for (uint32_t i = 0; i < 3; i++) {
        replica(i)->digest = 100;
    }
    fixture_run_ms(f, 3000);
}

static void teardown(void)
{
    fixture_free(f);
}

static uint32_t prepares(void)
{
    uint32_t n = 0;
    for (int i = 0; i < FAKES_MAX; i++) {
        n += f->fakes[i].prepares;
    }
    return n;
}

START_TEST(equal_digests_are_the_end_of_it)
{
    fake_scanned(member(0), c.handle);
    fixture_run_ms(f, 500);
    ck_assert_uint_eq(member(0)->digest_asks, 0); /* it said so already */
    ck_assert_uint_eq(member(1)->digest_asks, 1);
    ck_assert_uint_eq(member(2)->digest_asks, 1);
    ck_assert_uint_eq(f->m->scrubs.compared, 1);
    ck_assert_uint_eq(f->m->scrubs.different, 0);
    ck_assert_uint_eq(f->m->scrubs.checks.count, 0);
    ck_assert_uint_eq(prepares(), 0);
}
END_TEST

START_TEST(different_replicas_are_made_equal)
{
    uint64_t version = row().version;
    struct fake *odd = member(2);
    replica(2)->digest = 999;
    fake_scanned(member(1), c.handle);
    fixture_run_ms(f, 1000);
    ck_assert_uint_eq(f->m->scrubs.different, 0); /* looked at once more */
    ck_assert_uint_eq(prepares(), 0);
    fixture_run_ms(f, 10000);
    ck_assert_uint_eq(f->m->scrubs.different, 1);
    ck_assert_uint_gt(row().version, version);
    ck_assert_uint_eq(odd->pulls, 1);
    for (uint32_t i = 0; i < row().member_count; i++) {
        ck_assert_uint_eq(replica(i)->digest, 100); /* that of the majority */
        ck_assert_uint_eq(replica(i)->version, row().version);
    }
    fake_scanned(member(0), c.handle);
    fixture_run_ms(f, 500);
    ck_assert_uint_eq(f->m->scrubs.compared, 2);
    ck_assert_uint_eq(f->m->scrubs.different, 1);
}
END_TEST

START_TEST(the_one_that_was_scanned_may_be_the_odd_one)
{
    replica(0)->digest = 999;
    fake_scanned(member(0), c.handle);
    fixture_run_ms(f, 10000);
    ck_assert_uint_eq(f->m->scrubs.different, 1);
    for (uint32_t i = 0; i < row().member_count; i++) {
        ck_assert_uint_eq(replica(i)->digest, 100);
    }
}
END_TEST

START_TEST(a_chunk_being_written_is_no_difference)
{
    replica(2)->mutation = 2;
    replica(2)->digest = 102;
    fake_scanned(member(0), c.handle);
    fixture_run_ms(f, 1000);
    ck_assert_uint_eq(f->m->scrubs.checks.count, 1);
    for (uint32_t i = 0; i < 2; i++) {
        replica(i)->mutation = 2;
        replica(i)->digest = 102;
    }
    fixture_run_ms(f, 3000);
    ck_assert_uint_eq(f->m->scrubs.checks.count, 0);
    ck_assert_uint_eq(f->m->scrubs.compared, 1);
    ck_assert_uint_eq(f->m->scrubs.different, 0);
    replica(2)->mutation = 3; /* it never ends */
    fake_scanned(member(0), c.handle);
    fixture_run_ms(f, 10000);
    ck_assert_uint_eq(f->m->scrubs.checks.count, 0);
    ck_assert_uint_eq(f->m->scrubs.compared, 1);
    ck_assert_uint_eq(prepares(), 0);
}
END_TEST

START_TEST(other_versions_and_servers_away_are_not_compared)
{
    replica(1)->version--;
    replica(1)->digest = 1;
    fake_stop(member(2));
    fake_scanned(member(0), c.handle);
    fixture_run_ms(f, 500);
    ck_assert_uint_eq(f->m->scrubs.checks.count, 0);
    ck_assert_uint_eq(f->m->scrubs.compared, 0);
}
END_TEST

START_TEST(damage_told_again_is_repaired)
{
    uint64_t version = row().version;
    replica(1)->state = REPLICA_BAD;
    fake_scanned(member(1), c.handle);
    fixture_run_ms(f, 3000);
    ck_assert_uint_gt(row().version, version);
    ck_assert_uint_gt(prepares(), 0);
}
END_TEST

/* Once all were asked and nobody has the block, telling it again changes nothing: no version after
 * version. */
START_TEST(damage_beyond_repair_is_told_again_in_vain)
{
    for (uint32_t i = 0; i < 3; i++) {
        replica(i)->state = REPLICA_BAD;
    }
    fake_scanned(member(1), c.handle);
    fixture_run_ms(f, 5000);
    uint64_t version = row().version;
    for (uint32_t i = 0; i < 3; i++) {
        struct note n = {.handle = c.handle,
                         .ino = c.ino,
                         .version = version,
                         .server = row().members[i],
                         .kind = NOTE_DAMAGED};
        notes_set(&f->m->notes, &n);
        replica(i)->state = REPLICA_BAD;
    }
    for (uint32_t i = 0; i < 3; i++) {
        fake_scanned(member(i), c.handle);
        struct report_bad_req told = {.handle = c.handle,
                                      .ino = c.ino,
                                      .version = version,
                                      .server = row().members[i],
                                      .block = 0};
        report_bad(f->m, &told, false, "a mount");
    }
    fixture_run_ms(f, 5000);
    ck_assert_uint_eq(row().version, version);
    for (uint32_t i = 0; i < 3; i++) { /* somebody wrote the block anew */
        *replica(i) = *replica(0);
        replica(i)->state = REPLICA_OK;
    }
    for (uint32_t i = 0; i < 3; i++) {
        fake_scanned(member(i), c.handle);
        fixture_run_ms(f, 500);
        ck_assert_int_eq(notes_get(&f->m->notes, c.handle, row().members[i], row().version),
                         NOTE_NONE);
    }
}
END_TEST

START_TEST(a_failing_disk_is_left_and_stays_so)
{
    uint32_t id = row().members[1];
    f->fakes[id - 1].failing = DISK_SYNC_FAILED;
    fixture_run_ms(f, 500);
    struct server_state_rec state;
    ck_assert(servers_get(&f->m->servers, id)->failing);
    ck_assert(server_leaving(servers_get(&f->m->servers, id)));
    ck_assert_int_eq(ns_server_state(f->m->ns, id, &state), 0);
    ck_assert_uint_eq(state.failing, DISK_SYNC_FAILED);
    fixture_kill_master(f);
    fixture_start_master(f);
    ck_assert_int_eq(ns_server_state(f->m->ns, id, &state), 0);
    ck_assert_uint_eq(state.failing, DISK_SYNC_FAILED);
    fixture_run_ms(f, 2000);
    struct chunkserver *s = servers_get(&f->m->servers, id);
    ck_assert(s->failing);
    server_state_failing(f->m, s, DISK_WELL); /* an operator trusts it, until it fails again */
    fixture_run_ms(f, 1000);
    ck_assert(!s->failing);
    f->fakes[id - 1].scrub.disk_errors++;
    fixture_run_ms(f, 500);
    ck_assert(s->failing);
}
END_TEST

START_TEST(a_scan_that_does_not_advance_is_a_warning)
{
    struct fake *k = member(0);
    k->scrub = (struct scrub_state){.pass = 1, .done = 5, .total = 10, .period_ms = 1000000};
    fixture_run_ms(f, 500);
    const struct chunkserver *s = servers_get(&f->m->servers, k->id);
    ck_assert(!s->scrub_stalled);
    k->scrub.late_ms = SCRUB_STALL_MS + 50001;
    fixture_run_ms(f, 500);
    ck_assert(s->scrub_stalled);
    struct scrub_status_req req = {};
    struct scrub_status_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, scrub_status, &req, &rep, 0), 0);
    struct reader r = reader_of(rep.servers);
    for (uint32_t i = 0; i < 4; i++) {
        struct scrub_status one;
        dec_scrub_status(&r, &one);
        ck_assert_int_eq(r.err, 0);
        ck_assert(one.stalled == (one.server.id == k->id));
        ck_assert_uint_eq(one.state.done, one.server.id == k->id ? 5 : 0);
    }
    ck_assert(reader_done(&r));
    k->scrub.late_ms = 0;
    fixture_run_ms(f, 500);
    ck_assert(!s->scrub_stalled);
    k->scrub.oldest_ms = 3000000;
    fixture_run_ms(f, 500);
    ck_assert(s->scrub_stalled);
}
END_TEST

START_TEST(operators_start_scans)
{
    struct scrub_now_req req = {.server = member(0)->id};
    struct scrub_now_rep rep;
    f->session = 0;
    fixture_connect_as(f, ROLE_ADMIN);
    ck_assert_int_eq(FIXTURE_CALL(f, scrub_now, &req, &rep, 0), 0);
    ck_assert_uint_eq(rep.pass, 1);
    ck_assert_uint_eq(rep.found, 5);
    ck_assert_uint_eq(rep.repaired, 4);
    ck_assert_uint_eq(rep.boot, member(0)->boot);
    req.server = 77;
    ck_assert_int_eq(FIXTURE_CALL(f, scrub_now, &req, &rep, 0), -ENOENT);
    fake_stop(member(1));
    fixture_run_ms(f, 100);
    req.server = member(1)->id;
    ck_assert_int_eq(FIXTURE_CALL(f, scrub_now, &req, &rep, 0), -ENOTCONN);
}
END_TEST

Suite *suite_scrubs(void);
Suite *suite_scrubs(void)
{
    Suite *s = suite_create("scrubs");
    TCase *t = tcase_create("scrubs");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, equal_digests_are_the_end_of_it);
    tcase_add_test(t, different_replicas_are_made_equal);
    tcase_add_test(t, the_one_that_was_scanned_may_be_the_odd_one);
    tcase_add_test(t, a_chunk_being_written_is_no_difference);
    tcase_add_test(t, other_versions_and_servers_away_are_not_compared);
    tcase_add_test(t, damage_told_again_is_repaired);
    tcase_add_test(t, damage_beyond_repair_is_told_again_in_vain);
    tcase_add_test(t, a_failing_disk_is_left_and_stays_so);
    tcase_add_test(t, a_scan_that_does_not_advance_is_a_warning);
    tcase_add_test(t, operators_start_scans);
    suite_add_tcase(s, t);
    return s;
}
