/* test_chunkd_version.c - prepare, activate, pull, drop, epochs. */
#include "shared/base/mem.h"
#include "tests/unit/chunkd_fixture.h"

#include <check.h>
#include <string.h>

Suite *suite_chunkd_version(void);

enum { H = 0x99, BS = FX_BLOCK };
#define V1 FX_V1
#define V2 (FX_V1 + 1)
#define V3 (FX_V1 + 2)

static uint8_t data[FX_CHUNK];
static uint8_t got[FX_CHUNK];

static struct fx *three(uint64_t seed)
{
    struct fx *f = fx_new(seed);
    fx_start_all(f);
    fx_fill(data, sizeof(data), seed);
    return f;
}

START_TEST(prepared_version_waits_for_activation)
{
    struct fx *f = three(1);
    struct replica r;
    ck_assert_int_eq(fx_write(f, 123, H, V1, 0, data, 5 * BS + 9), 0);
    ck_assert_int_eq(fx_write(f, 123, H, V1, 0, data, 10), 0);
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(fx_prepare(f, id, H, V1, V2, 0, &r), 0);
        ck_assert_uint_eq(r.version, V2);
        ck_assert_uint_eq(r.previous, V1);
        ck_assert_uint_eq(r.mutation, 2);
        ck_assert_uint_eq(r.state, REPLICA_OK);
        ck_assert_uint_eq(r.digest, fx_info(f, 1, H).digest);
    }
    ck_assert_int_eq(fx_write(f, 123, H, V1, 0, data, 10), ERR_WRONG_VERSION);
    ck_assert_int_eq(fx_write(f, 123, H, V2, 0, data, 10), ERR_RETRY_GRANT);
    ck_assert_int_eq(fx_read(f, 1, H, V1, 0, 10, got), ERR_WRONG_VERSION);
    ck_assert_int_eq(fx_read(f, 1, H, V2, 0, 10, got), ERR_NO_LEASE);
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(fx_activate(f, id, H, V2, 2, false), 0);
    }
    ck_assert_int_eq(fx_write(f, 123, H, V2, 0, data, 10), ERR_NOT_PRIMARY);
    ck_assert_int_eq(fx_write(f, 213, H, V2, 9 * BS, data, 10), 0);
    fx_expect_equal(f, 123, H);
    fx_free(f);
}
END_TEST

/* A version that was prepared and never committed does not become anybody's predecessor. */
START_TEST(previous_stays_the_last_committed_version)
{
    struct fx *f = three(2);
    struct replica r;
    ck_assert_int_eq(fx_write(f, 123, H, V1, 0, data, 100), 0);
    ck_assert_int_eq(fx_prepare(f, 1, H, V1, V2, 0, &r), 0);
    ck_assert_int_eq(fx_prepare(f, 1, H, V1, V2, 0, &r), 0); /* repeated */
    ck_assert_uint_eq(r.previous, V1);
    ck_assert_int_eq(fx_prepare(f, 1, H, V1, V3, 0, &r), 0);
    ck_assert_uint_eq(r.previous, V1);
    ck_assert_uint_eq(r.mutation, 1);
    ck_assert_int_eq(fx_prepare(f, 1, H, V1, V2, 0, &r), ERR_WRONG_VERSION);
    fx_kill(f, 1);
    ck_assert_int_eq(fx_start(f, 1), 0);
    ck_assert_uint_eq(f->servers[1].report[0].version, V3);
    ck_assert_uint_eq(f->servers[1].report[0].previous, V1);
    ck_assert_int_eq(fx_prepare(f, 1, H, V1 - 1, V3 + 1, 0, &r), ERR_WRONG_VERSION);
    fx_free(f);
}
END_TEST

START_TEST(prepare_survives_a_power_cut)
{
    struct fx *f = three(30 + (uint64_t)_i);
    ck_assert_int_eq(fx_write(f, 123, H, V1, 0, data, 100), 0);
    ck_assert_int_eq(fx_prepare(f, 1, H, V1, V2, 0, NULL), 0);
    ck_assert_int_eq(fx_activate(f, 1, H, V2, 1, false), 0);
    fx_power_cut(f, 1);
    ck_assert_int_eq(fx_start(f, 1), 0);
    ck_assert_uint_eq(f->servers[1].report[0].version, V2);
    ck_assert_uint_eq(f->servers[1].report[0].previous, V1);
    fx_free(f);
}
END_TEST

START_TEST(prepare_of_what_is_not_there)
{
    struct fx *f = three(3);
    struct replica r;
    ck_assert_int_eq(fx_prepare(f, 1, H, 0, V2, 0, NULL), ERR_NO_REPLICA);
    ck_assert_int_eq(fx_prepare(f, 1, H, 0, V2, 2, &r), 0);
    ck_assert_uint_eq(r.state, REPLICA_OK);
    ck_assert_int_eq(fx_prepare(f, 1, H + 1, 0, V2, 1, &r), 0);
    ck_assert_uint_eq(r.state, REPLICA_CLONING);
    ck_assert_int_eq(fx_activate(f, 1, H, V2, 1, false), 0);
    ck_assert_int_eq(fx_write(f, 1, H, V2, 0, data, 100), 0);
    ck_assert_int_eq(fx_read(f, 1, H, V2, 0, 100, got), 100);
    fx_free(f);
}
END_TEST

/* The version it was made for was never logged: the replica is as empty as it was made. */
START_TEST(prepare_makes_once_more)
{
    struct fx *f = three(3);
    struct replica r;
    ck_assert_int_eq(fx_prepare(f, 1, H, V1, V2, 2, &r), 0);
    ck_assert_uint_eq(r.previous, 0);
    ck_assert_int_eq(fx_prepare(f, 1, H, V1, V3, 2, &r), 0);
    ck_assert_uint_eq(r.previous, 0);
    ck_assert_uint_eq(r.state, REPLICA_OK);
    fx_free(f);
}
END_TEST

/* A mutation that reached only some members: the others take it from the one that has it. */
START_TEST(pull_makes_diverged_replicas_equal)
{
    struct fx *f = three(4);
    struct replica a, b;
    uint64_t copied;
    ck_assert_int_eq(fx_write(f, 123, H, V1, 0, data, 20 * BS + 9), 0);
    ck_assert_int_eq(fx_forward(f, 2, H, V1, 2, 7 * BS + 5, data, BS), 0);
    ck_assert_int_eq(fx_forward(f, 2, H, V1, 3, 20 * BS, data, 2 * BS), 0);
    ck_assert_int_eq(fx_prepare(f, 2, H, V1, V2, 0, &b), 0);
    ck_assert_int_eq(fx_prepare(f, 3, H, V1, V2, 0, &a), 0);
    ck_assert_uint_eq(b.mutation, 3);
    ck_assert_uint_eq(a.mutation, 1);
    ck_assert_uint_ne(a.digest, b.digest);
    ck_assert_int_eq(fx_pull(f, 3, 2, H, V2, V2, &copied), 0);
    ck_assert_uint_eq(copied, 4 * BS);
    ck_assert_int_eq(fx_activate(f, 2, H, V2, 2, false), 0);
    ck_assert_int_eq(fx_activate(f, 3, H, V2, 2, false), 0);
    fx_expect_equal(f, 23, H);
    ck_assert_int_eq(fx_write(f, 23, H, V2, 22 * BS, data, 2 * BS), 0);
    fx_expect_equal(f, 23, H);
    fx_free(f);
}
END_TEST

START_TEST(pull_cuts_a_longer_replica)
{
    struct fx *f = three(5);
    uint64_t copied;
    ck_assert_int_eq(fx_write(f, 123, H, V1, 0, data, 3 * BS + 100), 0);
    ck_assert_int_eq(fx_forward(f, 3, H, V1, 2, 3 * BS, data + 50, 5 * BS), 0);
    ck_assert_int_eq(fx_prepare(f, 2, H, V1, V2, 0, NULL), 0);
    ck_assert_int_eq(fx_prepare(f, 3, H, V1, V2, 0, NULL), 0);
    ck_assert_int_eq(fx_pull(f, 3, 2, H, V2, V2, &copied), 0);
    ck_assert_uint_eq(copied, 100);
    ck_assert_int_eq(fx_activate(f, 2, H, V2, 2, false), 0);
    ck_assert_int_eq(fx_activate(f, 3, H, V2, 2, false), 0);
    fx_expect_equal(f, 23, H);
    fx_free(f);
}
END_TEST

/* A new member: a copy while writes go on, then the rest under the prepared version. Holes stay
 * holes. */
START_TEST(new_member_is_filled_before_and_after_prepare)
{
    struct fx *f = three(6);
    uint64_t copied;
    ck_assert_int_eq(fx_write(f, 12, H, V1, 0, data, 10 * BS), 0);
    ck_assert_int_eq(fx_write(f, 12, H, V1, 40 * BS, data, 10 * BS + 5), 0);
    ck_assert_int_eq(fx_pull(f, 3, 1, H, 0, V1, &copied), 0);
    ck_assert_uint_eq(copied, 20 * BS + 5);
    ck_assert_int_eq(fx_read(f, 3, H, 0, 0, 10, got), ERR_NO_LEASE);
    ck_assert_int_eq(fx_write(f, 12, H, V1, 2 * BS, data + 1, BS), 0);
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(fx_prepare(f, id, H, V1, V2, id == 3, NULL), 0);
    }
    ck_assert_int_eq(fx_pull(f, 3, 1, H, V2, V2, &copied), 0);
    ck_assert_uint_eq(copied, BS);
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(fx_activate(f, id, H, V2, 1, false), 0);
    }
    fx_expect_equal(f, 123, H);
    ck_assert_int_eq(fx_write(f, 123, H, V2, 5, data, 10), 0);
    fx_expect_equal(f, 123, H);
    fx_free(f);
}
END_TEST

/* After a power cut the sums prove nothing about age and the bytes nothing about the sums: both are
 * compared. */
START_TEST(suspect_replica_is_healed_by_pull)
{
    struct fx *f = three(50 + (uint64_t)_i);
    ck_assert_int_eq(fx_write(f, 123, H, V1, 0, data, 20 * BS + 9), 0);
    ck_assert_int_eq(fx_sync(f, 123, H, V1), 0);
    ck_assert_int_eq(fx_write(f, 123, H, V1, 3 * BS + 1, data, 10 * BS), 0);
    fx_run_ms(f, (uint64_t)_i * 150);
    fx_power_cut(f, 3);
    ck_assert_int_eq(fx_start(f, 3), 0);
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(fx_prepare(f, id, H, V1, V2, 0, NULL), 0);
    }
    ck_assert_int_eq(fx_pull(f, 3, 1, H, V2, V2, NULL), 0);
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(fx_activate(f, id, H, V2, 1, false), 0);
    }
    fx_expect_equal(f, 123, H);
    fx_free(f);
}
END_TEST

static bool pull_ended;

static void pull_answered(struct rpc_call *call)
{
    (void)call;
    pull_ended = true;
}

START_TEST(killed_pull_is_done_again)
{
    struct fx *f = three(80 + (uint64_t)_i);
    ck_assert_int_eq(fx_write(f, 12, H, V1, 0, data, 60 * BS), 0);
    ck_assert_int_eq(fx_forward(f, 3, H, V1, 1, 0, data + 1, 50 * BS), 0);
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(fx_prepare(f, id, H, V1, V2, 0, NULL), 0);
    }
    struct pull_req req = {.handle = H,
                           .version = V2,
                           .source_version = V2,
                           .source = {.id = 1, .addr = bytes_str("cs1:1")}};
    struct rpc_call call = {.done = pull_answered};
    pull_ended = false;
    rpc_call(&f->servers[3].master->rpc, &call, &(struct frame_header){.op = OP_pull, .epoch = 1},
             RPC_BODY(pull_req, &req), NULL, 0);
    for (int i = 0; i < 10 + _i * 3 && !pull_ended; i++) {
        sim_step(f->sim);
    }
    rpc_cancel(&call);
    if (_i % 2) {
        fx_kill(f, 3);
    } else {
        fx_power_cut(f, 3);
    }
    ck_assert_int_eq(fx_start(f, 3), 0);
    ck_assert_int_eq(fx_pull(f, 3, 1, H, V2, V2, NULL), 0);
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(fx_activate(f, id, H, V2, 1, false), 0);
    }
    fx_expect_equal(f, 123, H);
    fx_free(f);
}
END_TEST

START_TEST(bad_block_is_repaired_by_pull)
{
    struct fx *f = three(7);
    uint64_t copied;
    ck_assert_int_eq(fx_write(f, 123, H, V1, 0, data, 20 * BS), 0);
    fx_flip(f, 3, H, 5 * BS);
    ck_assert_int_eq(fx_read(f, 3, H, V1, 5 * BS, 10, got), ERR_CHECKSUM);
    ck_assert_int_eq(fx_pull(f, 3, 1, H, 0, V1, &copied), 0);
    ck_assert_uint_eq(copied, BS);
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(fx_prepare(f, id, H, V1, V2, id == 3, NULL), 0);
    }
    ck_assert_int_eq(fx_pull(f, 3, 1, H, V2, V2, &copied), 0);
    ck_assert_uint_eq(copied, 0);
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(fx_activate(f, id, H, V2, 1, false), 0);
    }
    fx_expect_equal(f, 123, H);
    ck_assert_uint_eq(fx_info(f, 3, H).state, REPLICA_OK);
    fx_free(f);
}
END_TEST

START_TEST(good_member_is_not_overwritten_by_pull)
{
    struct fx *f = three(8);
    ck_assert_int_eq(fx_write(f, 123, H, V1, 0, data, 20 * BS), 0);
    ck_assert_int_eq(fx_pull(f, 3, 1, H, 0, V1, NULL), ERR_WRONG_VERSION);
    ck_assert_int_eq(fx_pull(f, 3, 1, H, V1, V1, NULL), ERR_WRONG_VERSION);
    fx_free(f);
}
END_TEST

START_TEST(torn_blocks_are_accepted_only_when_told)
{
    struct fx *f = three(9);
    ck_assert_int_eq(fx_write(f, 123, H, V1, 0, data, 20 * BS), 0);
    ck_assert_int_eq(fx_sync(f, 123, H, V1), 0);
    fx_power_cut(f, 1);
    ck_assert_int_eq(fx_start(f, 1), 0);
    fx_flip(f, 1, H, 4 * BS + 1); /* as a torn write would leave it */
    ck_assert_int_eq(fx_prepare(f, 1, H, V1, V2, 0, NULL), 0);
    ck_assert_int_eq(fx_activate(f, 1, H, V2, 1, true), 0);
    ck_assert_uint_eq(fx_info(f, 1, H).state, REPLICA_SUSPECT); /* until V2 is in the log */
    ck_assert_int_lt(fx_read(f, 1, H, V2, 0, 20 * BS, got), 0);
    ck_assert_int_eq(fx_activate(f, 1, H, V2, 1, false), 0);
    ck_assert_int_eq(fx_read(f, 1, H, V2, 0, 20 * BS, got), 20 * BS);
    ck_assert_int_eq(chunkd_verify(f->servers[1].chunkd, H, UINT32_MAX), 0);
    fx_free(f);
}
END_TEST

/* The disk put bytes of something else where nothing was ever written. */
START_TEST(foreign_bytes_in_a_hole_are_not_accepted)
{
    struct fx *f = three(9);
    static const uint8_t zeros[BS];
    ck_assert_int_eq(fx_write(f, 123, H, V1, 0, data, BS), 0);
    ck_assert_int_eq(fx_write(f, 123, H, V1, 9 * BS, data + 9 * BS, BS + 7), 0);
    ck_assert_int_eq(fx_sync(f, 123, H, V1), 0);
    fx_power_cut(f, 1);
    ck_assert_int_eq(fx_start(f, 1), 0);
    fx_flip(f, 1, H, 4 * BS + 1);
    fx_flip(f, 1, H, 9 * BS + 1); /* a torn write, for all that is known */
    ck_assert_int_eq(fx_prepare(f, 1, H, V1, V2, 0, NULL), 0);
    ck_assert_int_eq(fx_activate(f, 1, H, V2, 1, true), 0);
    ck_assert_int_eq(fx_activate(f, 1, H, V2, 1, false), 0);
    ck_assert_int_eq(fx_read(f, 1, H, V2, 4 * BS, BS, got), BS);
    ck_assert_mem_eq(got, zeros, BS);
    ck_assert_int_eq(fx_read(f, 1, H, V2, 9 * BS, BS + 7, got), BS + 7);
    ck_assert_uint_eq(fx_info(f, 1, H).state, REPLICA_OK);
    ck_assert_int_eq(chunkd_verify(f->servers[1].chunkd, H, UINT32_MAX), 0);
    fx_free(f);
}
END_TEST

START_TEST(dropped_replica_is_gone_for_good)
{
    struct fx *f = three(10);
    ck_assert_int_eq(fx_write(f, 123, H, V1, 0, data, 20 * BS), 0);
    ck_assert_int_eq(fx_drop(f, 2, H), 0);
    ck_assert_int_eq(fx_drop(f, 2, H), 0);
    ck_assert_int_eq(fx_read(f, 2, H, V1, 0, 10, got), ERR_NO_REPLICA);
    fx_power_cut(f, 2);
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_uint_eq(f->servers[2].report_count, 0);
    struct env_file *file;
    ck_assert_int_eq(
        env_file_open(&f->servers[2].process->env, "chunks/99/0000000000000099", 0, &file),
        -ENOENT);
    fx_free(f);
}
END_TEST

START_TEST(lower_epochs_are_refused_also_after_a_restart)
{
    struct fx *f = three(11);
    ck_assert_int_eq(fx_write(f, 123, H, V1, 0, data, 20 * BS), 0);
    f->epoch = 5;
    ck_assert_int_eq(fx_prepare(f, 1, H, V1, 5ull << 32 | 1, 0, NULL), 0);
    f->epoch = 4;
    ck_assert_int_eq(fx_prepare(f, 1, H, V1, 5ull << 32 | 2, 0, NULL), ERR_STALE_EPOCH);
    ck_assert_int_eq(fx_drop(f, 1, H), ERR_STALE_EPOCH);
    fx_power_cut(f, 1);
    f->servers[1].reported = false;
    ck_assert_int_eq(fx_start(f, 1), 0);
    ck_assert(!f->servers[1].reported); /* it does not register with an older master */
    f->epoch = 5;
    fx_run_ms(f, 5000);
    ck_assert(f->servers[1].reported);
    fx_free(f);
}
END_TEST

START_TEST(master_only_requests_are_refused_from_others)
{
    struct fx *f = three(12);
    struct drop_replicas_req req = {0};
    ck_assert_int_eq(
        fx_ask(f, 1, OP_drop_replicas, RPC_BODY(drop_replicas_req, &req), NULL, 0)->status,
        ERR_UNKNOWN_OP);
    ck_assert_int_eq(fx_ask(f, 1, OP_mkdir, (struct slice){0}, NULL, 0)->status, ERR_UNKNOWN_OP);
    ck_assert_int_eq(fx_ask(f, 1, OP_read, (struct slice){0}, NULL, 0)->status, ERR_PROTOCOL);
    fx_free(f);
}
END_TEST

Suite *suite_chunkd_version(void)
{
    Suite *s = suite_create("chunkd_version");
    TCase *t = tcase_create("version");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, prepared_version_waits_for_activation);
    tcase_add_test(t, previous_stays_the_last_committed_version);
    tcase_add_loop_test(t, prepare_survives_a_power_cut, 0, 10);
    tcase_add_test(t, prepare_of_what_is_not_there);
    tcase_add_test(t, prepare_makes_once_more);
    tcase_add_test(t, pull_makes_diverged_replicas_equal);
    tcase_add_test(t, pull_cuts_a_longer_replica);
    tcase_add_test(t, new_member_is_filled_before_and_after_prepare);
    tcase_add_loop_test(t, suspect_replica_is_healed_by_pull, 0, 12);
    tcase_add_loop_test(t, killed_pull_is_done_again, 0, 24);
    tcase_add_test(t, bad_block_is_repaired_by_pull);
    tcase_add_test(t, good_member_is_not_overwritten_by_pull);
    tcase_add_test(t, torn_blocks_are_accepted_only_when_told);
    tcase_add_test(t, foreign_bytes_in_a_hole_are_not_accepted);
    tcase_add_test(t, dropped_replica_is_gone_for_good);
    tcase_add_test(t, lower_epochs_are_refused_also_after_a_restart);
    tcase_add_test(t, master_only_requests_are_refused_from_others);
    suite_add_tcase(s, t);
    return s;
}
