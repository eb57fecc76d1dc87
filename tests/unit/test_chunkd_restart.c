/* test_chunkd_restart.c - what a chunkserver finds after a clean stop, a kill and a power cut, at
 * every moment of a mutation. */
#include "shared/base/hash.h"
#include "tests/sim/sim_env.h"
#include "tests/unit/chunkd_fixture.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

Suite *suite_chunkd_restart(void);

enum { H = 0x77, BS = FX_BLOCK };

static uint8_t data[FX_CHUNK];
static uint8_t got[FX_CHUNK];

static struct fx *three(uint64_t seed)
{
    struct fx *f = fx_new(seed);
    fx_start_all(f);
    fx_fill(data, sizeof(data), seed);
    return f;
}

START_TEST(clean_stop_keeps_everything_ok)
{
    struct fx *f = three(1);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 5 * BS + 9), 0);
    ck_assert_int_eq(fx_write(f, 123, H + 1, FX_V1, 0, data, 10), 0);
    ck_assert_int_eq(fx_stop(f, 2), 0);
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_uint_eq(f->servers[2].report_count, 2);
    ck_assert_uint_eq(f->servers[2].report[0].state, REPLICA_OK);
    ck_assert_uint_eq(f->servers[2].report[0].handle, H);
    ck_assert_uint_eq(f->servers[2].report[0].ino, H + 1000);
    ck_assert_uint_eq(f->servers[2].report[0].mutation, 1);
    fx_expect_equal(f, 123, H);
    fx_expect_equal(f, 123, H + 1);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 0, 5 * BS + 9, got), 5 * BS + 9);
    ck_assert_mem_eq(got, data, 5 * BS + 9);
    fx_free(f);
}
END_TEST

/* A clean stop survives even the power: everything was durable. */
START_TEST(power_cut_after_clean_stop_keeps_everything_ok)
{
    struct fx *f = three(2);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 5 * BS + 9), 0);
    ck_assert_int_eq(fx_stop(f, 2), 0);
    sim_process_start(f->servers[2].process);
    sim_process_power_cut(f->servers[2].process);
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_uint_eq(f->servers[2].report[0].state, REPLICA_OK);
    fx_expect_equal(f, 123, H);
    fx_free(f);
}
END_TEST

/* The answer to the report names replicas that a version left out meanwhile: they are not read until
 * they have a version again. */
START_TEST(what_the_master_calls_stale_is_not_read)
{
    struct fx *f = three(31);
    uint64_t stale[] = {H, FX_V1, H + 1, FX_V1 - 1};
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 10), 0);
    ck_assert_int_eq(fx_write(f, 123, H + 1, FX_V1, 0, data, 10), 0);
    fx_kill(f, 2);
    for (size_t i = 0; i < COUNT_OF(stale); i++) {
        enc_u64(&f->stale, &stale[i]);
    }
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 0, 10, got), ERR_WRONG_VERSION);
    ck_assert_int_eq(fx_read(f, 2, H + 1, FX_V1, 0, 10, got),
                     10); /* of another version than named */
    ck_assert_int_eq(fx_prepare(f, 2, H, FX_V1, FX_V1 + 5, 0, NULL), 0);
    ck_assert_int_eq(fx_activate(f, 2, H, FX_V1 + 5, 1, false), 0);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1 + 5, 0, 10, got), 10);
    fx_free(f);
}
END_TEST

/* Until the report is answered nothing is read: heartbeats alone make no lease. */
START_TEST(no_lease_before_the_report_is_answered)
{
    struct fx *f = three(32);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 10), 0);
    fx_kill(f, 2);
    f->deaf = true;
    (void)fx_start(f, 2);
    fx_run_ms(f, 500);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 0, 10, got), ERR_NO_LEASE);
    fx_free(f);
}
END_TEST

/* What was sent before a lease ended is not taken after it: a first write of a version that others
 * left behind meanwhile would make a replica that nobody calls outdated. */
START_TEST(connections_do_not_outlive_the_lease)
{
    struct fx *f = three(33);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 10), 0);
    struct rpc *before = &f->servers[1].client;
    ck_assert_ptr_nonnull(before->conn);
    f->mute = true;
    fx_run_ms(f, 6000);
    f->mute = false;
    fx_run_ms(f, 6000);
    ck_assert_ptr_null(before->conn);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 10, data, 10), 0); /* a new one */
    fx_free(f);
}
END_TEST

START_TEST(kill_keeps_acknowledged_writes)
{
    struct fx *f = three(3);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 5 * BS + 9), 0);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 100, data + 500, 3 * BS), 0);
    ck_assert_int_eq(fx_change(f, 123, H, FX_V1, WRITE_TRUNCATE, 4 * BS + 1, 0), 0);
    ck_assert_int_eq(fx_change(f, 123, H, FX_V1, WRITE_PUNCH, 10, BS), 0);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 9 * BS, data, 77), 0);
    for (uint32_t id = 1; id <= 3; id++) {
        fx_kill(f, id);
        ck_assert_int_eq(fx_start(f, id), 0);
        ck_assert_uint_eq(f->servers[id].report_count, 1);
        ck_assert_uint_eq(f->servers[id].report[0].state, REPLICA_OK);
        ck_assert_uint_eq(f->servers[id].report[0].mutation, 5);
    }
    fx_expect_equal(f, 123, H);
    fx_free(f);
}
END_TEST

START_TEST(power_cut_makes_dirty_replicas_suspect)
{
    struct fx *f = three(4 + (uint64_t)_i);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 5 * BS + 9), 0);
    ck_assert_int_eq(fx_sync(f, 123, H, FX_V1), 0);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, BS, data, 2 * BS), 0);
    fx_power_cut(f, 2);
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_uint_eq(f->servers[2].report_count, 1);
    ck_assert_uint_eq(f->servers[2].report[0].state, REPLICA_SUSPECT);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 0, 10, got), ERR_SUSPECT);
    ck_assert_int_eq(fx_sync(f, 123, H, FX_V1), ERR_MEMBER_FAILED); /* it lost the second write */
    fx_free(f);
}
END_TEST

/* What was found can be noted nowhere. Until it can, clean replicas are read, nothing is written, and the
 * next start finds the same. */
START_TEST(starts_on_a_full_disk)
{
    struct fx *f = three(60);
    uint64_t total, avail;
    struct sim_disk *disk = f->servers[2].process->disk;
    ck_assert_int_eq(fx_write(f, 123, H + 1, FX_V1, 0, data, BS), 0);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 5 * BS), 0);
    ck_assert_int_eq(fx_sync(f, 123, H, FX_V1), 0);
    ck_assert_int_eq(fx_sync(f, 123, H + 1, FX_V1), 0);
    for (int round = 0; round < 2;
         round++) { /* what is to be noted does not fit into the last page */
        fx_run_ms(f, 20000);
        for (uint64_t n = 10; n < 60; n++) {
            ck_assert_int_eq(fx_write(f, 2, H + n, FX_V1, 0, data, 10), 0);
        }
    }
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, BS, data, 2 * BS), 0);
    fx_power_cut(f, 2);
    sim_disk_space(disk, &total, &avail);
    sim_disk_set_capacity(disk, total - avail);
    for (int round = 0; round < 3; round++) {
        ck_assert_int_eq(fx_start(f, 2), 0);
        ck_assert_uint_eq(fx_info(f, 2, H).state, REPLICA_SUSPECT);
        ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 0, BS, got), ERR_SUSPECT);
        ck_assert_int_eq(fx_read(f, 2, H + 1, FX_V1, 0, BS, got), BS);
        ck_assert_int_eq(fx_write(f, 2, H + 9, FX_V1, 0, data, 10), -ENOSPC);
        ck_assert_int_eq(fx_forward(f, 2, H + 1, FX_V1, 2, 0, data, 10), -ENOSPC);
        if (round < 2) {
            fx_kill(f, 2);
        }
    }
    sim_disk_set_capacity(disk, total);
    fx_run_ms(f, 1000);
    ck_assert_int_eq(fx_write(f, 2, H + 9, FX_V1, 0, data, 10), 0);
    fx_kill(f, 2);
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_uint_eq(fx_info(f, 2, H).state, REPLICA_SUSPECT);
    ck_assert_uint_eq(fx_info(f, 2, H + 9).state, REPLICA_OK);
    ck_assert_int_eq(fx_stop(f, 2), 0);
    fx_free(f);
}
END_TEST

/* A file whose name never was durable is no damage: nothing in it was promised. */
/* A member that came back may lack what it is asked to sync, under the same version. */
START_TEST(power_cut_member_does_not_say_that_it_is_synced)
{
    struct fx *f = three(12);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 2 * BS), 0);
    ck_assert_int_eq(fx_sync(f, 123, H, FX_V1), 0);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 2 * BS, data, BS), 0);
    fx_power_cut(f, 2);
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_int_eq(fx_sync(f, 123, H, FX_V1), ERR_MEMBER_FAILED);
    fx_free(f);
}
END_TEST

START_TEST(power_cut_takes_unsynced_replicas_whole)
{
    struct fx *f = three(300 + (uint64_t)_i);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 5 * BS + 9), 0);
    fx_power_cut(f, 2);
    ck_assert_int_eq(fx_start(f, 2), 0);
    for (uint32_t i = 0; i < f->servers[2].report_count; i++) {
        ck_assert_uint_eq(f->servers[2].report[i].state, REPLICA_SUSPECT);
    }
    fx_free(f);
}
END_TEST

/* A power cut between the prepare and the activation: the master decided on what may be lost now, so it is
 * asked again. Without a power cut nothing is lost. */
START_TEST(activation_is_of_the_state_that_was_shown)
{
    struct fx *f = three(40 + (uint64_t)_i);
    struct replica info;
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 5 * BS + 9), 0);
    ck_assert_int_eq(fx_prepare(f, 2, H, FX_V1, FX_V1 + 1, 0, NULL), 0);
    if (_i == 0) {
        fx_kill(f, 2);
        ck_assert_int_eq(fx_start(f, 2), 0);
        ck_assert_int_eq(fx_activate(f, 2, H, FX_V1 + 1, 1, false), 0);
    } else {
        fx_power_cut(f, 2);
        ck_assert_int_eq(fx_start(f, 2), 0);
        ck_assert_int_eq(fx_activate(f, 2, H, FX_V1 + 1, 1, false), ERR_SUSPECT);
        ck_assert_int_eq(fx_prepare(f, 2, H, FX_V1 + 1, FX_V1 + 2, 0, &info), 0);
        ck_assert_uint_eq(info.state, REPLICA_SUSPECT);
        ck_assert_int_eq(fx_activate(f, 2, H, FX_V1 + 2, 1, false), 0);
    }
    fx_free(f);
}
END_TEST

START_TEST(power_cut_spares_clean_replicas)
{
    struct fx *f = three(5 + (uint64_t)_i);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 5 * BS + 9), 0);
    fx_run_ms(f, 5000); /* synced and clean */
    fx_power_cut(f, 2);
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_uint_eq(f->servers[2].report_count, 1);
    ck_assert_uint_eq(f->servers[2].report[0].state, REPLICA_OK);
    fx_expect_equal(f, 123, H);
    /* The first write after that is preceded by a durable mark. */
    ck_assert_int_eq(fx_prepare(f, 2, H, FX_V1, FX_V1 + 1, 0, NULL), 0);
    ck_assert_int_eq(fx_activate(f, 2, H, FX_V1 + 1, 2, false), 0);
    ck_assert_int_eq(fx_write(f, 2, H, FX_V1 + 1, 0, data + 9, 100), 0);
    fx_power_cut(f, 2);
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_uint_eq(f->servers[2].report[0].state, REPLICA_SUSPECT);
    fx_free(f);
}
END_TEST

START_TEST(synced_bytes_survive_a_power_cut)
{
    struct fx *f = three(20 + (uint64_t)_i);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 5 * BS + 9), 0);
    ck_assert_int_eq(fx_sync(f, 123, H, FX_V1), 0);
    fx_power_cut(f, 2);
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_int_eq(chunkd_verify(f->servers[2].chunkd, H, UINT32_MAX), 0);
    ck_assert_uint_eq(fx_info(f, 2, H).digest, fx_info(f, 1, H).digest);
    fx_free(f);
}
END_TEST

/* Files that share a directory, one made before the other's sync and one after: each is there. */
START_TEST(synced_names_of_one_directory_survive)
{
    enum { FILES = 3, NEXT = 256 };
    struct fx *f = three(40 + (uint64_t)_i);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, BS), 0);
    ck_assert_int_eq(fx_write(f, 123, H + NEXT, FX_V1, 0, data, 2 * BS), 0);
    ck_assert_int_eq(fx_sync(f, 123, H + NEXT, FX_V1), 0);
    ck_assert_int_eq(fx_write(f, 123, H + 2 * NEXT, FX_V1, 0, data, 3 * BS), 0);
    ck_assert_int_eq(fx_sync(f, 123, H, FX_V1), 0);
    ck_assert_int_eq(fx_sync(f, 123, H + 2 * NEXT, FX_V1), 0);
    fx_power_cut(f, 2);
    ck_assert_int_eq(fx_start(f, 2), 0);
    for (uint64_t i = 0; i < FILES; i++) {
        ck_assert_int_eq(chunkd_verify(f->servers[2].chunkd, H + i * NEXT, UINT32_MAX), 0);
        fx_expect_equal(f, 12, H + i * NEXT);
    }
    fx_free(f);
}
END_TEST

/* Without a descriptor left, files that nobody uses are closed: the replica is not at fault. */
START_TEST(descriptors_that_run_out_are_given_back)
{
    struct fx *f = three(50);
    struct sim_process *p = f->servers[2].process;
    for (uint64_t i = 0; i < 3; i++) {
        ck_assert_int_eq(fx_write(f, 123, H + i, FX_V1, 0, data, BS), 0);
    }
    p->fail_call = 1;
    p->fail_error = -EMFILE;
    ck_assert_int_eq(fx_write(f, 123, H + 3, FX_V1, 0, data, BS), 0);
    ck_assert_uint_eq(p->fail_call, 0); /* it did fail */
    for (uint64_t i = 0; i < 4; i++) {
        ck_assert_int_eq(fx_read(f, 2, H + i, FX_V1, 0, BS, got), BS);
    }
    fx_free(f);
}
END_TEST

/* The disk lost the end of a file that had been synced, before the process ended: that something was there
 * is not forgotten. */
START_TEST(a_file_that_got_shorter_is_no_shorter_replica)
{
    struct fx *f = three(60 + (uint64_t)_i);
    struct env *e = &f->servers[2].process->env;
    struct env_file *file;
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 5 * BS + 9), 0);
    ck_assert_int_eq(fx_sync(f, 123, H, FX_V1), 0);
    if (_i == 0) {
        fx_power_cut(f, 2);
    } else {
        fx_kill(f, 2);
    }
    sim_process_start(f->servers[2].process);
    ck_assert_int_eq(env_file_open(e, "chunks/77/0000000000000077", 0, &file), 0);
    ck_assert_int_eq(env_file_truncate(e, file, 2 * BS), 0);
    ck_assert_int_eq(env_file_sync(e, file), 0);
    env_file_close(e, file);
    sim_process_kill(f->servers[2].process);
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_uint_eq(f->servers[2].report[0].state, REPLICA_SUSPECT);
    ck_assert_uint_eq(f->servers[2].report[0].length, 5 * BS + 9);
    ck_assert_int_eq(chunkd_verify(f->servers[2].chunkd, H, 2 * BS), 0);
    ck_assert_int_eq(chunkd_verify(f->servers[2].chunkd, H, 2 * BS + 1), ERR_CHECKSUM);
    fx_free(f);
}
END_TEST

/* A member that lost power between a write and its sync has lost the write, and says so. */
START_TEST(suspect_member_does_not_sync)
{
    struct fx *f = three(60 + (uint64_t)_i);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 5 * BS + 9), 0);
    fx_power_cut(f, 2);
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_int_eq(fx_sync(f, 123, H, FX_V1), ERR_MEMBER_FAILED);
    fx_free(f);
}
END_TEST

/* A process that may have lost a replica makes none by a first write, also if who writes has heard long
 * ago that nobody did: it would pass for one that has what was acknowledged. */
START_TEST(replica_from_before_the_start_is_not_made_anew)
{
    struct fx *f = three(70 + (uint64_t)_i);
    struct chunkd_replica_info info;
    uint32_t lost = 0;
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, BS), 0); /* the one mount */
    f->next_handle = H + 2;
    for (uint32_t id = 1; id <= 3; id++) {
        sim_process_power_cut(f->servers[id].process); /* all at once */
    }
    for (uint32_t id = 1; id <= 3; id++) {
        fx_kill(f, id);
    }
    fx_start_all(f);
    for (uint32_t id = 1; id <= 3; id++) {
        lost += chunkd_replica(f->servers[id].chunkd, H, &info) != 0;
    }
    ck_assert_int_ne(fx_write(f, 123, H, FX_V1, BS, data, BS), 0); /* the other */
    ck_assert_int_ne(fx_sync(f, 123, H, FX_V1), 0);                /* the one that wrote first */
    for (uint32_t id = 1; id <= 3; id++) {
        lost -= chunkd_replica(f->servers[id].chunkd, H, &info) != 0;
    }
    ck_assert_uint_eq(lost, 0);
    ck_assert_int_eq(fx_write(f, 123, H + 1, FX_V1, 0, data, BS), ERR_NO_REPLICA);
    ck_assert_int_eq(fx_forward(f, 2, H + 1, FX_V1, 1, 0, data, BS), ERR_NO_REPLICA);
    ck_assert_int_eq(fx_write(f, 123, H + 2, FX_V1, 0, data, BS), 0);
    ck_assert_int_eq(fx_prepare(f, 1, H + 1, FX_V1, FX_V1 + 1, 2, NULL), 0);
    /* What was made since it started it knows, whoever is the primary. */
    f->next_handle = H + 9;
    fx_cut_master(f);
    fx_run_ms(f, 1000);
    ck_assert_int_eq(fx_write(f, 123, H + 3, FX_V1, 0, data, BS), 0);
    fx_free(f);
}
END_TEST

/* A replica that was made and got its file only after a kill: what is synced survives, too. */
START_TEST(file_made_after_a_kill_is_durable)
{
    uint64_t v2 = FX_V1 + 1;
    struct fx *f = three(80 + (uint64_t)_i);
    ck_assert_int_eq(fx_write(f, 12, H, FX_V1, 0, data, 5 * BS + 9), 0);
    ck_assert_int_eq(fx_prepare(f, 3, H, 0, v2, 1, NULL), 0);
    fx_kill(f, 3);
    ck_assert_int_eq(fx_start(f, 3), 0);
    ck_assert_int_eq(fx_prepare(f, 1, H, FX_V1, v2, 0, NULL), 0);
    ck_assert_int_eq(fx_prepare(f, 3, H, 0, v2, 1, NULL), 0);
    ck_assert_int_eq(fx_pull(f, 3, 1, H, v2, v2, NULL), 0);
    ck_assert_int_eq(fx_activate(f, 1, H, v2, 1, false), 0);
    ck_assert_int_eq(fx_activate(f, 3, H, v2, 1, false), 0);
    ck_assert_int_eq(fx_sync(f, 13, H, v2), 0);
    fx_power_cut(f, 3);
    ck_assert_int_eq(fx_start(f, 3), 0);
    ck_assert_int_eq(chunkd_verify(f->servers[3].chunkd, H, UINT32_MAX), 0);
    ck_assert_uint_eq(fx_info(f, 3, H).digest, fx_info(f, 1, H).digest);
    fx_free(f);
}
END_TEST

static int asked;

static void answered(struct rpc_call *call)
{
    asked = call->status;
}

/* Starts a forward to server 2 and ends it at some event after; then what is there is old or new,
 * block by block, and honest about it. */
static void end_in_mid_write(uint64_t seed, bool power_cut)
{
    struct fx *f = three(seed);
    ck_assert_int_eq(fx_forward(f, 2, H, FX_V1, 1, 0, data, 5 * BS + 9), 0);
    ck_assert_int_eq(fx_forward(f, 2, H, FX_V1, 2, 5, data + 7, BS), 0);
    struct chunkd_replica_info before = fx_info(f, 2, H);
    static uint8_t old[FX_CHUNK];
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 0, 5 * BS + 9, old), 5 * BS + 9);

    uint8_t sums[4 * 8];
    uint32_t offset = 2 * BS + 100, len = 4 * BS, n = 0;
    for (uint32_t at = 0; at < len; n++) {
        uint32_t piece = MIN(BS - (offset + at) % BS, len - at);
        put_le(sums + 4 * n, block_sum(data + at, piece), 4);
        at += piece;
    }
    struct forward_req req = {.handle = H,
                              .version = FX_V1,
                              .offset = offset,
                              .length = len,
                              .sums = bytes_of(sums, 4 * n),
                              .mutation = 3};
    struct rpc_call call = {.done = answered};
    struct slice p = {buf_new(len), 0, len};
    memcpy(p.buf->data, data, len);
    asked = 1;
    rpc_call(&f->servers[2].client, &call, &(struct frame_header){.op = OP_forward},
             RPC_BODY(forward_req, &req), &p, 20000);
    for (uint64_t i = 0; i < seed % 40 && asked == 1; i++) {
        sim_step(f->sim);
    }
    bool acked = asked == 0;
    rpc_cancel(&call);
    if (power_cut) {
        fx_power_cut(f, 2);
    } else {
        fx_kill(f, 2);
    }
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_uint_le(f->servers[2].report_count, 1);
    if (f->servers[2].report_count == 0) {
        ck_assert(power_cut); /* its record was never durable: nothing was synced */
        fx_free(f);
        return;
    }
    uint32_t state = f->servers[2].report[0].state;
    if (power_cut) {
        ck_assert(state == REPLICA_SUSPECT || state == REPLICA_BAD);
        fx_free(f);
        return;
    }
    ck_assert(state == REPLICA_OK || state == REPLICA_SUSPECT);
    struct chunkd_replica_info after = fx_info(f, 2, H);
    ck_assert_uint_ge(f->servers[2].report[0].mutation, acked ? 3 : 2);
    if (state == REPLICA_OK) {
        ck_assert_int_eq(chunkd_verify(f->servers[2].chunkd, H, UINT32_MAX), 0);
        ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 0, after.length, got), (int)after.length);
        if (f->servers[2].report[0].mutation == 3) {
            ck_assert_mem_eq(got, old, offset);
            ck_assert_mem_eq(got + offset, data, len);
        } else {
            ck_assert_uint_eq(after.length, before.length);
        }
    } else {
        ck_assert(!acked);
    }
    fx_free(f);
}

START_TEST(kill_in_mid_write_is_settled)
{
    end_in_mid_write(1000 + (uint64_t)_i, false);
}
END_TEST

START_TEST(power_cut_in_mid_write_is_suspect)
{
    end_in_mid_write(2000 + (uint64_t)_i, true);
}
END_TEST

START_TEST(second_daemon_on_the_directory_is_refused)
{
    struct fx *f = three(6);
    struct chunkd_config cfg = {.masters = "master:1", .listen = "x:1"};
    struct why why = {""};
    struct chunkd *c = chunkd_create(&f->servers[1].process->env, &cfg);
    ck_assert_int_eq(chunkd_start(c, &why), -EBUSY);
    ck_assert_ptr_nonnull(strstr(why.text, "another chunkd"));
    chunkd_destroy(c);
    fx_free(f);
}
END_TEST

static void scribble(struct fx *f, uint32_t id, const char *path, uint64_t offset,
                     const void *bytes, uint32_t n)
{
    struct env *e = &f->servers[id].process->env;
    struct env_file *file;
    sim_process_start(f->servers[id].process);
    ck_assert_int_eq(env_file_open(e, path, 0, &file), 0);
    ck_assert_int_eq(env_file_write(e, file, offset, bytes, n), n);
    ck_assert_int_eq(env_file_sync(e, file), 0);
    env_file_close(e, file);
    sim_process_kill(f->servers[id].process);
}

START_TEST(damaged_meta_log_is_named_with_its_offset)
{
    struct fx *f = three(7);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 5 * BS + 9), 0);
    ck_assert_int_eq(fx_stop(f, 2), 0);
    scribble(f, 2, "meta/0000000000000001", 60, "x", 1);
    ck_assert_int_eq(fx_start(f, 2), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(f->log, "meta/0000000000000001: damaged at offset 32"));
    fx_free(f);
}
END_TEST

/* The same after a kill: the record was synced, so this is no torn tail. */
START_TEST(damaged_synced_record_is_no_torn_tail)
{
    struct fx *f = three(8);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 5 * BS + 9), 0);
    ck_assert_int_eq(fx_sync(f, 123, H, FX_V1), 0);
    ck_assert_int_eq(fx_write(f, 123, H + 1, FX_V1, 0, data, 5 * BS + 9), 0);
    ck_assert_int_eq(fx_sync(f, 123, H + 1, FX_V1), 0);
    fx_kill(f, 2);
    scribble(f, 2, "meta/0000000000000001", 60, "x", 1);
    ck_assert_int_eq(fx_start(f, 2), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(f->log, "offset 32"));
    fx_free(f);
}
END_TEST

/* A meta log that was cut short has the replica, which was dropped behind the cut: its file is gone. */
START_TEST(replica_without_a_file_behind_a_torn_log_is_suspect)
{
    struct fx *f = three(72);
    struct env *e = &f->servers[2].process->env;
    struct env_file *file;
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 5 * BS + 9), 0);
    ck_assert_int_eq(fx_write(f, 123, H + 1, FX_V1, 0, data, BS), 0);
    fx_run_ms(f, 10000);
    ck_assert_int_eq(fx_drop(f, 2, H), 0);
    fx_kill(f, 2);
    sim_process_start(f->servers[2].process);
    ck_assert_int_eq(env_file_open(e, "meta/0000000000000001", 0, &file), 0);
    ck_assert_int_eq(env_file_truncate(e, file, (uint64_t)env_file_size(e, file) - 1), 0);
    env_file_close(e, file);
    sim_process_kill(f->servers[2].process);
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_uint_eq(f->servers[2].report_count, 2);
    ck_assert_uint_eq(f->servers[2].report[0].handle, H);
    ck_assert_uint_eq(f->servers[2].report[0].state, REPLICA_SUSPECT);
    ck_assert_uint_eq(f->servers[2].report[1].state, REPLICA_OK);
    fx_free(f);
}
END_TEST

/* What the master told a new disk stands in both slots: either may be damaged. */
START_TEST(one_damaged_slot_of_the_label_costs_nothing)
{
    struct fx *f = three(10);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 5 * BS + 9), 0);
    ck_assert_int_eq(fx_sync(f, 123, H, FX_V1), 0);
    fx_kill(f, 2);
    scribble(f, 2, "label", (unsigned)_i * 4096 + 20, "xyz", 3);
    ck_assert_msg(fx_start(f, 2) == 0, "%s", f->log);
    fx_free(f);
}
END_TEST

/* A directory that was in use is not formatted, also if its chunks have no bytes. */
START_TEST(missing_label_is_refused)
{
    struct fx *f = three(71);
    struct env *env = &f->servers[2].process->env;
    char path[64];
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, BS), 0);
    ck_assert_int_eq(fx_sync(f, 123, H, FX_V1), 0);
    fx_kill(f, 2);
    snprintf(path, sizeof(path), "chunks/%02x/%016llx", (unsigned)(H & 0xff),
             (unsigned long long)H);
    ck_assert_int_eq(env_unlink(env, path), 0);
    ck_assert_int_eq(env_unlink(env, "label"), 0);
    ck_assert_int_eq(fx_start(f, 2), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(f->log, "label: missing"));
    fx_free(f);
}
END_TEST

START_TEST(damaged_label_is_refused)
{
    struct fx *f = three(9);
    ck_assert_int_eq(fx_stop(f, 2), 0);
    scribble(f, 2, "label", 20, "xyz", 3);
    ck_assert_int_eq(fx_start(f, 2), 0); /* the other slot is good */
    ck_assert_int_eq(fx_stop(f, 2), 0);
    scribble(f, 2, "label", 20, "xyz", 3);
    scribble(f, 2, "label", 4096 + 20, "xyz", 3);
    ck_assert_int_eq(fx_start(f, 2), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(f->log, "label"));
    fx_free(f);
}
END_TEST

START_TEST(foreign_master_is_not_obeyed)
{
    struct fx *f = three(10);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 100), 0);
    fx_kill(f, 2);
    f->cluster = 999;
    f->servers[2].reported = false;
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert(!f->servers[2].reported);
    f->cluster = FX_CLUSTER;
    fx_run_ms(f, 12000);
    ck_assert(f->servers[2].reported);
    fx_free(f);
}
END_TEST

Suite *suite_chunkd_restart(void)
{
    Suite *s = suite_create("chunkd_restart");
    TCase *t = tcase_create("restart");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, clean_stop_keeps_everything_ok);
    tcase_add_test(t, what_the_master_calls_stale_is_not_read);
    tcase_add_test(t, no_lease_before_the_report_is_answered);
    tcase_add_test(t, connections_do_not_outlive_the_lease);
    tcase_add_test(t, power_cut_after_clean_stop_keeps_everything_ok);
    tcase_add_test(t, kill_keeps_acknowledged_writes);
    tcase_add_test(t, starts_on_a_full_disk);
    tcase_add_loop_test(t, power_cut_makes_dirty_replicas_suspect, 0, 10);
    tcase_add_loop_test(t, replica_from_before_the_start_is_not_made_anew, 0, 20);
    tcase_add_test(t, power_cut_member_does_not_say_that_it_is_synced);
    tcase_add_loop_test(t, power_cut_takes_unsynced_replicas_whole, 0, 20);
    tcase_add_loop_test(t, activation_is_of_the_state_that_was_shown, 0, 2);
    tcase_add_loop_test(t, power_cut_spares_clean_replicas, 0, 10);
    tcase_add_loop_test(t, synced_bytes_survive_a_power_cut, 0, 20);
    tcase_add_loop_test(t, a_file_that_got_shorter_is_no_shorter_replica, 0, 2);
    tcase_add_loop_test(t, suspect_member_does_not_sync, 0, 10);
    tcase_add_loop_test(t, synced_names_of_one_directory_survive, 0, 10);
    tcase_add_test(t, descriptors_that_run_out_are_given_back);
    tcase_add_loop_test(t, file_made_after_a_kill_is_durable, 0, 10);
    tcase_add_loop_test(t, kill_in_mid_write_is_settled, 0, 80);
    tcase_add_loop_test(t, power_cut_in_mid_write_is_suspect, 0, 80);
    tcase_add_test(t, second_daemon_on_the_directory_is_refused);
    tcase_add_test(t, damaged_meta_log_is_named_with_its_offset);
    tcase_add_test(t, damaged_synced_record_is_no_torn_tail);
    tcase_add_test(t, replica_without_a_file_behind_a_torn_log_is_suspect);
    tcase_add_loop_test(t, one_damaged_slot_of_the_label_costs_nothing, 0, 2);
    tcase_add_test(t, missing_label_is_refused);
    tcase_add_test(t, damaged_label_is_refused);
    tcase_add_test(t, foreign_master_is_not_obeyed);
    suite_add_tcase(s, t);
    return s;
}
