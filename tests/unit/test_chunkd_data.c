/* test_chunkd_data.c - reads and mutations: every row of the checksum table, damage included, and
 * the model of a chunk's bytes under random mutations. */
#include "shared/base/mem.h"
#include "tests/sim/sim_net.h"
#include "tests/unit/chunkd_fixture.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_chunkd_data(void);

enum { H = 0x1234, BS = FX_BLOCK };

static uint8_t data[FX_CHUNK];
static uint8_t got[FX_CHUNK];

static struct fx *three(uint64_t seed)
{
    struct fx *f = fx_new(seed);
    fx_start_all(f);
    fx_fill(data, sizeof(data), seed);
    return f;
}

static void expect_bytes(struct fx *f, uint32_t id, uint32_t offset, const uint8_t *want,
                         uint32_t len)
{
    ck_assert_int_eq(fx_read(f, id, H, FX_V1, offset, len, got), (int)len);
    ck_assert_mem_eq(got, want, len);
}

START_TEST(write_reaches_all_members_and_reads_back)
{
    struct fx *f = three(1);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 300000), 0);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 100, data, 50), 0);
    memcpy(data + 100, (uint8_t[50]){0}, 0);
    uint8_t want[300000];
    memcpy(want, data, sizeof(want));
    memcpy(want + 100, data, 50);
    for (uint32_t id = 1; id <= 3; id++) {
        expect_bytes(f, id, 0, want, sizeof(want));
        expect_bytes(f, id, 12345, want + 12345, 100000);
        ck_assert_int_eq(fx_read(f, id, H, FX_V1, 299990, 100, got), 10);
        ck_assert_int_eq(fx_read(f, id, H, FX_V1, 400000, 100, got), 0);
    }
    fx_expect_equal(f, 123, H);
    fx_free(f);
}
END_TEST

START_TEST(damaged_block_is_never_served)
{
    struct fx *f = three(2);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 10 * BS), 0);
    fx_flip(f, 2, H, 3 * BS + 77);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 3 * BS + 5000, 10, got), ERR_CHECKSUM);
    fx_run_ms(f, 50);
    ck_assert_uint_eq(f->bad_count, 1);
    ck_assert_uint_eq(f->bad.block, 3);
    ck_assert_uint_eq(f->bad.server, 2);
    ck_assert_uint_eq(f->bad.handle, H);
    ck_assert_uint_eq(fx_info(f, 2, H).state, REPLICA_BAD);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 0, 10 * BS, got), ERR_CHECKSUM);
    fx_run_ms(f, 50);
    ck_assert_uint_eq(f->bad_count, 1);
    expect_bytes(f, 2, 4 * BS, data + 4 * BS, 6 * BS); /* the others are good */
    expect_bytes(f, 1, 0, data, 10 * BS);
    fx_free(f);
}
END_TEST

/* A small read of a block that was verified looks at what it wants only, and trusts nothing more. */
START_TEST(pages_of_a_verified_block)
{
    struct fx *f = three(9);
    uint32_t length = 3 * BS + BS / 2 + 77, page = BS / 16;
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, length), 0);
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t at = 0; at < length; at += page / 2 + 13) {
            expect_bytes(f, 2, at, data + at, MIN(page + 9, length - at));
        }
    }
    fx_flip(f, 2, H, BS + 5 * page + 7);
    expect_bytes(f, 2, BS + 2 * page, data + BS + 2 * page, page);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, BS + 4 * page, page + 1, got), ERR_CHECKSUM);
    fx_run_ms(f, 50);
    ck_assert_uint_eq(f->bad.block, 1);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, BS + 2 * page, page, got), ERR_CHECKSUM);
    fx_fill(data, sizeof(data), 10);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, BS, data + BS, BS), 0);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 2 * BS + 5, data + 2 * BS + 5, 3), 0);
    expect_bytes(f, 2, BS + 2 * page, data + BS + 2 * page, page);
    expect_bytes(f, 2, 2 * BS + 5, data + 2 * BS + 5, 3);
    fx_free(f);
}
END_TEST

/* A truncate by who heard of the trim before others carried it out and wrote again is refused. */
START_TEST(late_trim_cuts_nothing)
{
    struct fx *f = three(10);
    f->known = 7;
    ck_assert_int_eq(fx_change(f, 123, H, FX_V1, WRITE_TRUNCATE, 0, 0), 0);
    f->known = 8;
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 100, data, 1000), 0);
    f->known = 7;
    ck_assert_int_eq(fx_change(f, 123, H, FX_V1, WRITE_TRUNCATE, 50, 0), ERR_RETRY_GRANT);
    ck_assert_int_eq(fx_read(f, 1, H, FX_V1, 100, 1000, got), 1000);
    f->known = 8;
    ck_assert_int_eq(fx_change(f, 123, H, FX_V1, WRITE_TRUNCATE, 50, 0), 0);
    ck_assert_int_eq(fx_read(f, 1, H, FX_V1, 100, 1000, got), 0);
    fx_free(f);
}
END_TEST

START_TEST(damage_is_remembered_over_a_restart)
{
    struct fx *f = three(3);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 10 * BS), 0);
    fx_flip(f, 2, H, 3 * BS + 77);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 0, 10 * BS, got), ERR_CHECKSUM);
    fx_run_ms(f, 50);
    fx_kill(f, 2);
    ck_assert_int_eq(fx_start(f, 2), 0);
    ck_assert_uint_eq(f->servers[2].report_count, 1);
    ck_assert_uint_eq(f->servers[2].report[0].state, REPLICA_BAD);
    fx_free(f);
}
END_TEST

START_TEST(partial_overwrite_of_damaged_block_fails_the_member)
{
    struct fx *f = three(4);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 4 * BS), 0);
    fx_flip(f, 3, H, BS + 9);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, BS + 100, data, 50), ERR_MEMBER_FAILED);
    fx_run_ms(f, 50);
    ck_assert_uint_eq(f->bad.server, 3);
    ck_assert_uint_eq(f->bad.block, 1);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 50), ERR_RETRY_GRANT);
    fx_free(f);
}
END_TEST

START_TEST(whole_overwrite_heals_a_damaged_block)
{
    struct fx *f = three(5);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 4 * BS), 0);
    fx_flip(f, 3, H, BS + 9);
    ck_assert_int_eq(fx_read(f, 3, H, FX_V1, BS, 10, got), ERR_CHECKSUM);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, BS, data, BS), 0);
    ck_assert_uint_eq(fx_info(f, 3, H).state, REPLICA_OK);
    expect_bytes(f, 3, BS, data, BS);
    fx_free(f);
}
END_TEST

/* An append does not read the partial block: damage there shows at the next read, and the sum still
 * tells. */
START_TEST(append_extends_the_sum_and_hides_no_damage)
{
    struct fx *f = three(6);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 100), 0);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 100, data + 100, 100),
                     0); /* the stream is in memory now */
    fx_flip(f, 2, H, 50);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 200, data + 200, BS), 0);
    ck_assert_int_eq(fx_read(f, 2, H, FX_V1, 150, 10, got), ERR_CHECKSUM);
    expect_bytes(f, 1, 0, data, 200 + BS);
    expect_bytes(f, 2, BS, data + BS, 200);
    fx_free(f);
}
END_TEST

START_TEST(append_without_stream_checks_the_tail)
{
    struct fx *f = three(7);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 100), 0);
    fx_flip(f, 2, H, 50);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 100, data + 100, 100), ERR_MEMBER_FAILED);
    fx_run_ms(f, 50);
    ck_assert_uint_eq(f->bad.server, 2);
    ck_assert_uint_eq(f->bad.block, 0);
    fx_free(f);
}
END_TEST

START_TEST(payload_that_does_not_match_its_sums_is_refused)
{
    struct fx *f = three(8);
    uint8_t sum[4] = {1, 2, 3, 4};
    uint8_t members[64];
    struct writer w;
    writer_init(&w);
    struct server s = {.id = 1, .addr = bytes_str("cs1:1")};
    enc_server(&w, &s);
    memcpy(members, writer_bytes(&w).data, writer_bytes(&w).len);
    struct write_req req = {.handle = H,
                            .version = FX_V1,
                            .fresh = true,
                            .length = 10,
                            .sums = bytes_of(sum, 4),
                            .members = bytes_of(members, writer_bytes(&w).len)};
    writer_free(&w);
    ck_assert_int_eq(fx_ask(f, 1, OP_write, RPC_BODY(write_req, &req), data, 10)->status,
                     ERR_CHECKSUM);
    req.length = 11; /* more than was sent */
    ck_assert_int_eq(fx_ask(f, 1, OP_write, RPC_BODY(write_req, &req), data, 10)->status,
                     ERR_PROTOCOL);
    req.length = 10;
    req.offset = UINT32_MAX - 3;
    ck_assert_int_eq(fx_ask(f, 1, OP_write, RPC_BODY(write_req, &req), data, 10)->status,
                     ERR_PROTOCOL);
    struct read_req rd = {
        .handle = H, .version = FX_V1, .offset = FX_CHUNK - 1, .length = UINT32_MAX};
    ck_assert_int_eq(fx_ask(f, 1, OP_read, RPC_BODY(read_req, &rd), NULL, 0)->status, ERR_PROTOCOL);
    struct chunkd_replica_info info;
    ck_assert_int_eq(chunkd_replica(f->servers[1].chunkd, H, &info), -ENOENT);
    fx_free(f);
}
END_TEST

START_TEST(gap_reads_as_zeros_and_stays_a_hole)
{
    struct fx *f = three(9);
    static uint8_t want[FX_CHUNK];
    memset(want, 0, sizeof(want));
    memcpy(want, data, 100);
    memcpy(want + 9 * BS + 5, data, 1000);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 100), 0);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 9 * BS + 5, data, 1000), 0);
    for (uint32_t id = 1; id <= 3; id++) {
        expect_bytes(f, id, 0, want, 9 * BS + 1005);
    }
    struct seek_req req = {.handle = H, .version = FX_V1, .offset = 0, .hole = true};
    struct fx_answer *a = fx_ask(f, 1, OP_seek, RPC_BODY(seek_req, &req), NULL, 0);
    struct seek_rep rep;
    ck_assert_int_eq(a->status, 0);
    ck_assert_int_eq(seek_rep_decode(slice_bytes(&a->body), &rep), 0);
    ck_assert_uint_ge(rep.offset, 100);
    ck_assert_uint_lt(rep.offset, 2 * BS);
    req.offset = 9 * BS + 1005;
    req.hole = false;
    ck_assert_int_eq(fx_ask(f, 1, OP_seek, RPC_BODY(seek_req, &req), NULL, 0)->status, -ENXIO);
    fx_expect_equal(f, 123, H);
    fx_free(f);
}
END_TEST

START_TEST(nothing_is_served_without_lease)
{
    struct fx *f = three(10);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 100), 0);
    f->mute = true;
    fx_run_ms(f, 1500);
    ck_assert_int_eq(fx_read(f, 1, H, FX_V1, 0, 100, got), ERR_NO_LEASE);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 100), ERR_NO_LEASE);
    fx_free(f);
}
END_TEST

static int read_unfenced(struct fx *f, uint64_t version)
{
    struct read_req req = {
        .handle = H, .version = version, .offset = 0, .length = 100, .unfenced_ok = true};
    return fx_ask(f, 1, OP_read, RPC_BODY(read_req, &req), NULL, 0)->status;
}

/* Who has the version from a shadow may read it without a lease: exactly that, and nothing else. */
START_TEST(reads_without_a_lease_name_the_version)
{
    struct fx *f = three(34);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 100), 0);
    f->mute = true;
    fx_run_ms(f, 1500);
    ck_assert_int_eq(fx_read(f, 1, H, FX_V1, 0, 100, got), ERR_NO_LEASE);
    ck_assert_int_eq(read_unfenced(f, FX_V1), 0);
    ck_assert_int_eq(read_unfenced(f, FX_V1 + 1), ERR_WRONG_VERSION);
    struct seek_req req = {.handle = H, .version = FX_V1, .offset = 0};
    ck_assert_int_eq(fx_ask(f, 1, OP_seek, RPC_BODY(seek_req, &req), NULL, 0)->status,
                     ERR_NO_LEASE);
    req.unfenced_ok = true;
    ck_assert_int_eq(fx_ask(f, 1, OP_seek, RPC_BODY(seek_req, &req), NULL, 0)->status, 0);
    fx_free(f);
}
END_TEST

/* A version that was prepared is served when it is known to be committed, a replica being made is not. */
START_TEST(reads_without_a_lease_of_prepared_versions)
{
    struct fx *f = three(35);
    struct replica r;
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 100), 0);
    ck_assert_int_eq(fx_prepare(f, 1, H, FX_V1, FX_V1 + 1, 0, &r), 0);
    ck_assert_int_eq(fx_read(f, 1, H, FX_V1 + 1, 0, 100, got), ERR_NO_LEASE);
    ck_assert_int_eq(read_unfenced(f, FX_V1 + 1), 0);
    ck_assert_int_eq(read_unfenced(f, FX_V1), ERR_WRONG_VERSION);
    fx_free(f);
}
END_TEST

/* The lease runs from the sending of the heartbeat, however late the answer comes. */
START_TEST(a_late_answer_makes_the_lease_no_longer)
{
    struct fx *f = three(33);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 100), 0);
    sim_net_block(f->sim, f->master, f->servers[1].process, 800 * NS_PER_MS);
    fx_run_ms(f, 700);
    f->mute = true;
    fx_run_ms(f, 120);
    ck_assert_int_eq(fx_read(f, 1, H, FX_V1, 0, 100, got), 100);
    fx_run_ms(f, 400);
    ck_assert_int_eq(fx_read(f, 1, H, FX_V1, 0, 100, got), ERR_NO_LEASE);
    fx_free(f);
}
END_TEST

START_TEST(other_versions_and_chunks_are_refused)
{
    struct fx *f = three(11);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 100), 0);
    ck_assert_int_eq(fx_read(f, 1, H, FX_V1 + 1, 0, 100, got), ERR_WRONG_VERSION);
    ck_assert_int_eq(fx_read(f, 1, H + 1, FX_V1, 0, 100, got), ERR_NO_REPLICA);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1 + 1, 0, data, 100), ERR_WRONG_VERSION);
    ck_assert_int_eq(fx_write(f, 213, H, FX_V1, 0, data, 100), ERR_NOT_PRIMARY);
    ck_assert_int_eq(fx_write(f, 23, H, FX_V1, 0, data, 100), ERR_NOT_PRIMARY);
    fx_free(f);
}
END_TEST

START_TEST(mutations_apply_in_order_and_gaps_are_refused)
{
    struct fx *f = three(12);
    ck_assert_int_eq(fx_forward(f, 2, H, FX_V1, 2, 0, data, 100), ERR_MUTATION_GAP);
    ck_assert_int_eq(fx_forward(f, 2, H, FX_V1, 1, 0, data, 100), 0);
    ck_assert_int_eq(fx_forward(f, 2, H, FX_V1, 3, 0, data, 100), ERR_MUTATION_GAP);
    ck_assert_int_eq(fx_forward(f, 2, H, FX_V1, 1, 0, data, 100), ERR_MUTATION_GAP);
    ck_assert_int_eq(fx_forward(f, 2, H, FX_V1, 2, 100, data, 100), 0);
    ck_assert_int_eq(fx_forward(f, 2, H, FX_V1 + 1, 3, 100, data, 100), ERR_WRONG_VERSION);
    fx_free(f);
}
END_TEST

START_TEST(dead_member_is_named_and_primary_stops)
{
    struct fx *f = three(13);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 100), 0);
    fx_kill(f, 3);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 100), ERR_MEMBER_FAILED);
    fx_write(f, 123, H, FX_V1, 0, data, 100);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 100), ERR_RETRY_GRANT);
    ck_assert_int_eq(fx_sync(f, 123, H, FX_V1), ERR_RETRY_GRANT);
    fx_free(f);
}
END_TEST

/* Random mutations against a plain array, on three replicas, with restarts in between. */
START_TEST(random_mutations_match_a_model)
{
    struct fx *f = three(100 + (uint64_t)_i);
    static uint8_t model[FX_CHUNK];
    struct sim_rand r = sim_rand_of((uint64_t)_i, 9);
    uint32_t length = 0;
    memset(model, 0, sizeof(model));
    for (int step = 0; step < 150; step++) {
        uint32_t kind = (uint32_t)sim_below(&r, 10);
        uint32_t offset = (uint32_t)sim_below(&r, sim_chance(&r, 1, 3) ? FX_CHUNK : 5 * BS);
        uint32_t len = (uint32_t)sim_between(&r, 1, sim_chance(&r, 1, 4) ? 6 * BS : 3000);
        len = MIN(len, FX_CHUNK - offset);
        if (kind < 4) {
            offset = MIN(length, FX_CHUNK - 1); /* append */
            len = MIN(len, FX_CHUNK - offset);
        } else if (kind == 4) {
            offset = offset / BS * BS;
            len = MIN((len + BS - 1) / BS * BS, FX_CHUNK - offset);
        }
        if (kind < 8) {
            uint32_t from = (uint32_t)sim_below(&r, FX_CHUNK - len + 1);
            ck_assert_int_eq(fx_write(f, 123, H, FX_V1, offset, data + from, len), 0);
            memcpy(model + offset, data + from, len);
            length = MAX(length, offset + len);
        } else if (length == 0) {
            continue;
        } else if (sim_chance(&r, 1, 4)) {
            ck_assert_int_eq(fx_change(f, 123, H, FX_V1, WRITE_RESERVE, offset, len), 0);
        } else if (kind == 8) {
            ck_assert_int_eq(fx_change(f, 123, H, FX_V1, WRITE_TRUNCATE, offset, 0), 0);
            if (offset < length) {
                memset(model + offset, 0, length - offset);
                length = offset;
            }
        } else {
            ck_assert_int_eq(fx_change(f, 123, H, FX_V1, WRITE_PUNCH, offset, len), 0);
            memset(model + offset, 0, offset < length ? MIN(len, length - offset) : 0);
        }
        if (sim_chance(&r, 1, 10)) {
            ck_assert_int_eq(fx_sync(f, 123, H, FX_V1), 0);
        }
        if (sim_chance(&r, 1, 10)) {
            fx_run_ms(f, 3000); /* becomes clean */
        }
    }
    fx_expect_equal(f, 123, H);
    for (uint32_t id = 1; id <= 3 && length > 0; id++) {
        expect_bytes(f, id, 0, model, length);
    }
    fx_free(f);
}
END_TEST

START_TEST(full_disk_answers_before_it_is_full)
{
    struct fx *f = fx_new(14);
    for (uint32_t id = 1; id <= 3; id++) {
        sim_disk_set_capacity(f->servers[id].process->disk, 4 << 20);
    }
    fx_start_all(f);
    fx_fill(data, sizeof(data), 14);
    int status = 0;
    uint32_t chunks = 0;
    for (; chunks < 10 && status == 0; chunks++) {
        status = fx_write(f, 123, H + chunks, FX_V1, 0, data, FX_CHUNK);
    }
    ck_assert_int_eq(status, -ENOSPC);
    ck_assert_uint_ge(chunks, 2);
    ck_assert_uint_le(chunks, 4);
    for (uint32_t c = 0; c + 1 < chunks; c++) {
        fx_expect_equal(f, 123, H + c);
        for (uint32_t id = 1; id <= 3; id++) {
            ck_assert_int_eq(fx_read(f, id, H + c, FX_V1, 0, FX_CHUNK, got), FX_CHUNK);
        }
    }
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(fx_drop(f, id, H), 0);
    }
    fx_run_ms(f, 100);
    ck_assert_int_eq(fx_write(f, 123, H + 20, FX_V1, 0, data, FX_CHUNK / 2), 0);
    fx_free(f);
}
END_TEST

/* The disk fills under a write in spite of the reserve: what fitted is there, and known. */
START_TEST(write_that_meets_a_full_disk_leaves_sums_and_bytes_in_step)
{
    struct fx *f = three(15);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 5 * BS + 7), 0);
    uint64_t total, avail;
    sim_disk_space(f->servers[2].process->disk, &total, &avail);
    fx_run_ms(f, 500);
    sim_disk_set_capacity(f->servers[2].process->disk, total - avail + 5000);
    int status = fx_write(f, 123, H, FX_V1, 4 * BS, data, 8 * BS);
    ck_assert(status == -ENOSPC || status == ERR_MEMBER_FAILED);
    sim_disk_set_capacity(f->servers[2].process->disk, total);
    struct chunkd_replica_info info;
    ck_assert_int_eq(chunkd_replica(f->servers[2].chunkd, H, &info), 0);
    ck_assert_uint_eq(info.state, REPLICA_BAD); /* half of a block fitted */
    ck_assert_int_eq(chunkd_verify(f->servers[2].chunkd, H, UINT32_MAX), ERR_CHECKSUM);
    fx_free(f);
}
END_TEST

/* ---------------------------------------------------------------- reservations */

static uint64_t room(struct fx *f, uint32_t id)
{
    uint64_t total, avail;
    sim_disk_space(f->servers[id].process->disk, &total, &avail);
    return avail;
}

/* Leaves `bytes` of the server's disk free. */
static void leave_room(struct fx *f, uint32_t id, uint64_t bytes)
{
    uint64_t total, avail;
    sim_disk_space(f->servers[id].process->disk, &total, &avail);
    sim_disk_set_capacity(f->servers[id].process->disk, total - avail + bytes);
}

/* It takes space on every disk and changes neither bytes, nor length, nor sums; also as the first
 * mutation of a chunk, and over a restart. */
START_TEST(reserve_takes_space_and_nothing_else)
{
    struct fx *f = three(16);
    uint64_t before[4];
    for (uint32_t id = 1; id <= 3; id++) {
        before[id] = room(f, id);
    }
    ck_assert_int_eq(fx_change(f, 123, H, FX_V1, WRITE_RESERVE, 0, FX_CHUNK), 0);
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_uint_ge(before[id] - room(f, id), FX_CHUNK);
        ck_assert_uint_le(before[id] - room(f, id), FX_CHUNK + FX_CHUNK / 2);
        ck_assert_int_eq(fx_read(f, id, H, FX_V1, 0, 1000, got), 0);
        before[id] = room(f, id);
    }
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 3 * BS, data, BS + 100), 0);
    ck_assert_int_eq(fx_change(f, 123, H, FX_V1, WRITE_RESERVE, 0, FX_CHUNK), 0);
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_uint_lt(before[id] - room(f, id), BS); /* the log grew, the file did not */
        ck_assert_int_eq(fx_read(f, id, H, FX_V1, 0, FX_CHUNK, got), 4 * BS + 100);
        ck_assert_mem_eq(got + 3 * BS, data, BS + 100);
    }
    fx_expect_equal(f, 123, H);
    struct seek_req req = {.handle = H, .version = FX_V1};
    struct seek_rep rep;
    struct fx_answer *a = fx_ask(f, 2, OP_seek, RPC_BODY(seek_req, &req), NULL, 0);
    ck_assert_int_eq(a->status, 0);
    ck_assert_int_eq(seek_rep_decode(slice_bytes(&a->body), &rep), 0);
    ck_assert_uint_eq(rep.offset, 3 * BS);
    for (uint32_t id = 1; id <= 3; id++) {
        fx_kill(f, id);
    }
    fx_start_all(f);
    for (uint32_t id = 1; id <= 3; id++) {
        expect_bytes(f, id, 3 * BS, data, BS + 100);
        ck_assert_int_eq(chunkd_verify(f->servers[id].chunkd, H, UINT32_MAX), 0);
    }
    fx_free(f);
}
END_TEST

/* One disk without room: -ENOSPC with nobody to blame, the chunk goes on under its version. */
START_TEST(reserve_without_room_fails_nobody)
{
    struct fx *f = three(17);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, 3 * BS), 0);
    fx_run_ms(f, 200);
    uint32_t poor = (uint32_t)_i + 1;
    leave_room(f, poor, (1 << 20) + (300 << 10)); /* the disk's reserve is 1 MiB */
    uint64_t before = room(f, poor);
    ck_assert_int_eq(fx_change(f, 123, H, FX_V1, WRITE_RESERVE, 0, FX_CHUNK), -ENOSPC);
    ck_assert_uint_eq(f->bad_count, 0);
    ck_assert_uint_le(before - room(f, poor), 64 << 10); /* what it had taken was given back */
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 3 * BS, data, BS), 0);
    ck_assert_int_eq(fx_change(f, 123, H, FX_V1, WRITE_RESERVE, 0, 4 * BS), 0); /* is there */
    for (uint32_t n = 0; n < 8; n++) {
        ck_assert_int_eq(fx_change(f, 123, H, FX_V1, WRITE_RESERVE, 0, FX_CHUNK), -ENOSPC);
    }
    ck_assert_uint_ge(room(f, poor), 512 << 10); /* trying again does not eat the disk's reserve */
    fx_expect_equal(f, 123, H);
    leave_room(f, poor, 16 << 20);
    ck_assert_int_eq(fx_change(f, 123, H, FX_V1, WRITE_RESERVE, 0, FX_CHUNK), 0);
    fx_free(f);
}
END_TEST

/* Bytes that were reserved can be written when everything else is refused. */
START_TEST(reserved_bytes_are_written_on_a_full_disk)
{
    struct fx *f = three(18);
    ck_assert_int_eq(fx_change(f, 123, H, FX_V1, WRITE_RESERVE, BS, FX_CHUNK - BS), 0);
    fx_run_ms(f, 200);
    for (uint32_t id = 1; id <= 3; id++) {
        leave_room(f, id, 1 << 20);
    }
    fx_run_ms(f, 2000);
    uint64_t version = FX_V1;
    for (uint32_t id = 1; id <= 3 && _i > 0; id++) { /* also after a restart */
        fx_kill(f, id);
        ck_assert_int_eq(fx_start(f, id), 0);
    }
    for (uint32_t id = 1; id <= 3 && _i > 0; id++) {
        version = FX_V1 + 1;
        ck_assert_int_eq(fx_prepare(f, id, H, FX_V1, version, 0, NULL), 0);
        ck_assert_int_eq(fx_activate(f, id, H, version, 1, false), 0);
    }
    ck_assert_int_eq(fx_write(f, 123, H, version, BS, data, FX_CHUNK - BS), 0);
    fx_expect_equal(f, 123, H);
    ck_assert_int_eq(fx_write(f, 123, H + 1, FX_V1, 0, data, FX_CHUNK), -ENOSPC);
    fx_free(f);
}
END_TEST

/* A truncate gives back what is reserved behind it and keeps the rest. */
START_TEST(truncate_gives_reserved_space_back)
{
    struct fx *f = three(19);
    ck_assert_int_eq(fx_change(f, 123, H, FX_V1, WRITE_RESERVE, 0, FX_CHUNK), 0);
    ck_assert_int_eq(fx_write(f, 123, H, FX_V1, 0, data, BS), 0);
    uint64_t full = room(f, 2);
    ck_assert_int_eq(fx_change(f, 123, H, FX_V1, WRITE_TRUNCATE, FX_CHUNK / 2, 0), 0);
    ck_assert_uint_ge(room(f, 2) - full, FX_CHUNK / 2 - BS);
    ck_assert_uint_le(room(f, 2) - full, FX_CHUNK / 2);
    ck_assert_int_eq(fx_change(f, 123, H, FX_V1, WRITE_TRUNCATE, 100, 0), 0);
    ck_assert_uint_ge(room(f, 2) - full, FX_CHUNK - 2 * BS);
    expect_bytes(f, 2, 0, data, 100);
    fx_expect_equal(f, 123, H);
    fx_free(f);
}
END_TEST

Suite *suite_chunkd_data(void)
{
    Suite *s = suite_create("chunkd_data");
    TCase *t = tcase_create("data");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, write_reaches_all_members_and_reads_back);
    tcase_add_test(t, damaged_block_is_never_served);
    tcase_add_test(t, pages_of_a_verified_block);
    tcase_add_test(t, late_trim_cuts_nothing);
    tcase_add_test(t, damage_is_remembered_over_a_restart);
    tcase_add_test(t, partial_overwrite_of_damaged_block_fails_the_member);
    tcase_add_test(t, whole_overwrite_heals_a_damaged_block);
    tcase_add_test(t, append_extends_the_sum_and_hides_no_damage);
    tcase_add_test(t, append_without_stream_checks_the_tail);
    tcase_add_test(t, payload_that_does_not_match_its_sums_is_refused);
    tcase_add_test(t, gap_reads_as_zeros_and_stays_a_hole);
    tcase_add_test(t, nothing_is_served_without_lease);
    tcase_add_test(t, reads_without_a_lease_name_the_version);
    tcase_add_test(t, reads_without_a_lease_of_prepared_versions);
    tcase_add_test(t, a_late_answer_makes_the_lease_no_longer);
    tcase_add_test(t, other_versions_and_chunks_are_refused);
    tcase_add_test(t, mutations_apply_in_order_and_gaps_are_refused);
    tcase_add_test(t, dead_member_is_named_and_primary_stops);
    tcase_add_loop_test(t, random_mutations_match_a_model, 0, 8);
    tcase_add_test(t, full_disk_answers_before_it_is_full);
    tcase_add_test(t, write_that_meets_a_full_disk_leaves_sums_and_bytes_in_step);
    tcase_add_test(t, reserve_takes_space_and_nothing_else);
    tcase_add_loop_test(t, reserve_without_room_fails_nobody, 0, 3);
    tcase_add_loop_test(t, reserved_bytes_are_written_on_a_full_disk, 0, 2);
    tcase_add_test(t, truncate_gives_reserved_space_back);
    suite_add_tcase(s, t);
    return s;
}
