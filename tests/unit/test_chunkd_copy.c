/* test_chunkd_copy.c - copies gathered from several damaged replicas, and their pace. */
#include "chunkd/core/core.h"
#include "tests/unit/chunkd_fixture.h"

#include <check.h>
#include <string.h>

Suite *suite_chunkd_copy(void);

enum { H = 0x77, BS = FX_BLOCK, BLOCKS = 40 };
#define V1 FX_V1
#define V2 (FX_V1 + 1)

static uint8_t data[FX_CHUNK];
static uint8_t got[FX_CHUNK];

static struct fx *written(uint64_t seed, uint32_t members)
{
    struct fx *f = fx_new(seed);
    fx_start_all(f);
    fx_fill(data, sizeof(data), seed);
    ck_assert_int_eq(fx_write(f, members, H, V1, 0, data, BLOCKS * BS + 9), 0);
    return f;
}

/* A new replica is filled from two that are both damaged, in different blocks nobody read yet. */
START_TEST(new_replica_is_gathered)
{
    struct fx *f = written(1, 12);
    fx_flip(f, 1, H, 5 * BS + 1);
    fx_flip(f, 1, H, BLOCKS * BS + 3);
    fx_flip(f, 2, H, 9 * BS);
    struct pull_req req = {.handle = H, .source_version = V1, .source.id = 1};
    struct pull_rep rep;
    ck_assert_int_eq(fx_pull_as(f, 3, &req, 2, &rep), 0);
    ck_assert_uint_eq(rep.refused, 2);
    ck_assert_uint_eq(rep.bad, 0);
    ck_assert_uint_eq(rep.copied, BLOCKS * BS + 9);
    ck_assert_uint_eq(rep.digest, fx_info(f, 1, H).digest);
    ck_assert_int_eq(chunkd_verify(f->servers[3].chunkd, H, UINT32_MAX), 0);
    fx_free(f);
}
END_TEST

/* Sources that take one request at a time get no more, and the copy is made. */
START_TEST(busy_sources_are_asked_for_less_at_once)
{
    struct fx *f = written(1, 12);
    for (uint32_t b = 1; b < BLOCKS; b += 2) { /* blocks that are asked for one by one */
        fx_flip(f, 1, H, b * BS + 1);
    }
    f->servers[1].chunkd->cfg.limits.link_requests = 1;
    f->servers[2].chunkd->cfg.limits.link_requests = 1;
    struct pull_req req = {.handle = H, .source_version = V1, .source.id = 1};
    struct pull_rep rep;
    ck_assert_int_eq(fx_pull_as(f, 3, &req, 2, &rep), 0);
    ck_assert_uint_eq(rep.bad, 0);
    ck_assert_int_eq(chunkd_verify(f->servers[3].chunkd, H, UINT32_MAX), 0);
    fx_free(f);
}
END_TEST

/* What is appended to a copied last block goes on from its bytes, not from those that were there before. */
START_TEST(a_copied_tail_is_gone_on_from)
{
    enum { END = BLOCKS * BS + 9 };
    struct fx *f = written(3, 12);
    struct replica r;
    ck_assert_int_eq(fx_write(f, 12, H, V1, END, data, 5), 0);
    ck_assert_int_eq(fx_prepare(f, 1, H, V1, V2, 0, &r), 0);
    ck_assert_int_eq(fx_activate(f, 1, H, V2, 1, false), 0);
    ck_assert_int_eq(fx_write(f, 1, H, V2, END - 9, data + 100, 14), 0);
    struct pull_req req = {.handle = H, .source_version = V2, .source.id = 1};
    struct pull_rep rep;
    ck_assert_int_eq(fx_pull_as(f, 2, &req, 0, &rep), 0);
    for (uint32_t id = 1; id <= 2; id++) {
        ck_assert_int_eq(fx_prepare(f, id, H, id == 1 ? V2 : 0, V2 + 1, id == 2, &r), 0);
    }
    req.version = req.source_version = V2 + 1;
    ck_assert_int_eq(fx_pull_as(f, 2, &req, 0, &rep), 0);
    for (uint32_t id = 1; id <= 2; id++) {
        ck_assert_int_eq(fx_activate(f, id, H, V2 + 1, 1, false), 0);
    }
    ck_assert_int_eq(fx_write(f, 12, H, V2 + 1, END + 5, data, 20), 0);
    ck_assert_int_eq(chunkd_verify(f->servers[2].chunkd, H, UINT32_MAX), 0);
    fx_expect_equal(f, 12, H);
    fx_free(f);
}
END_TEST

/* A block nobody can give is bad in the copy too, under its true sum; the rest is copied. */
START_TEST(what_nobody_has_stays_bad)
{
    struct fx *f = written(2, 12);
    fx_flip(f, 1, H, 5 * BS + 1);
    fx_flip(f, 2, H, 5 * BS + 7);
    struct pull_req req = {.handle = H, .source_version = V1, .source.id = 1};
    struct pull_rep rep;
    ck_assert_int_eq(fx_pull_as(f, 3, &req, 2, &rep), 0);
    ck_assert_uint_eq(rep.bad, 1);
    struct replica r;
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(fx_prepare(f, id, H, V1, V2, id == 3, &r), 0);
        ck_assert_uint_eq(r.state, REPLICA_BAD);
        ck_assert_int_eq(fx_activate(f, id, H, V2, 1, false), 0);
    }
    if (_i > 0) { /* and it is remembered */
        fx_run_ms(f, 5000);
        if (_i == 1) {
            fx_kill(f, 3);
        } else {
            ck_assert_int_eq(fx_stop(f, 3), 0);
        }
        ck_assert_int_eq(fx_start(f, 3), 0);
        ck_assert_uint_eq(f->servers[3].report[0].state, REPLICA_BAD);
    }
    ck_assert_int_eq(fx_read(f, 3, H, V2, 5 * BS, 10, got), ERR_CHECKSUM);
    ck_assert_int_eq(fx_read(f, 3, H, V2, 6 * BS, 20 * BS, got), 20 * BS);
    ck_assert_mem_eq(got, data + 6 * BS, 20 * BS);
    ck_assert_uint_eq(fx_info(f, 3, H).digest, fx_info(f, 1, H).digest);
    fx_free(f);
}
END_TEST

/* Every replica has a bad block, every block has a good copy: one is mended from the others, the
 * others copy from it. */
START_TEST(damaged_replicas_mend_each_other)
{
    struct fx *f = written(3, 123);
    struct pull_rep rep;
    for (uint32_t id = 1; id <= 3; id++) {
        fx_flip(f, id, H, id * BS);
        ck_assert_int_eq(fx_read(f, id, H, V1, id * BS, 10, got), ERR_CHECKSUM);
        ck_assert_int_eq(fx_prepare(f, id, H, V1, V2, 0, NULL), 0);
    }
    fx_flip(f, 2, H, BS); /* the first one asked has it bad too, and does not know */
    struct pull_req mend = {
        .handle = H, .version = V2, .source_version = V2, .source.id = 2, .mend = true};
    ck_assert_int_eq(fx_pull_as(f, 1, &mend, 3, &rep), 0);
    ck_assert_uint_eq(rep.copied, BS);
    ck_assert_uint_eq(rep.bad, 0);
    for (uint32_t id = 2; id <= 3; id++) {
        struct pull_req req = {.handle = H, .version = V2, .source_version = V2, .source.id = 1};
        ck_assert_int_eq(fx_pull_as(f, id, &req, 0, &rep), 0);
        ck_assert_uint_eq(rep.copied, id == 2 ? 2 * BS : BS);
    }
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(fx_activate(f, id, H, V2, 1, false), 0);
        ck_assert_uint_eq(fx_info(f, id, H).state, REPLICA_OK);
    }
    fx_expect_equal(f, 123, H);
    fx_free(f);
}
END_TEST

/* Mending takes no other content: a block with another sum is of no use, and a peer that is away
 * neither. */
START_TEST(mending_keeps_its_own_content)
{
    struct fx *f = written(4, 123);
    struct pull_rep rep;
    ck_assert_int_eq(fx_forward(f, 2, H, V1, 2, 4 * BS, data, 2 * BS), 0);
    fx_flip(f, 1, H, 4 * BS);
    ck_assert_int_eq(fx_read(f, 1, H, V1, 4 * BS, 10, got), ERR_CHECKSUM);
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(fx_prepare(f, id, H, V1, V2, 0, NULL), 0);
    }
    fx_kill(f, 3);
    struct pull_req mend = {
        .handle = H, .version = V2, .source_version = V2, .source.id = 2, .mend = true};
    uint64_t digest = fx_info(f, 1, H).digest;
    ck_assert_int_eq(fx_pull_as(f, 1, &mend, 3, &rep), 0);
    ck_assert_uint_eq(rep.bad, 1);
    ck_assert_uint_eq(rep.digest, digest);
    ck_assert_int_eq(fx_start(f, 3), 0);
    ck_assert_int_eq(fx_pull_as(f, 1, &mend, 3, &rep), 0);
    ck_assert_uint_eq(rep.bad, 0);
    ck_assert_uint_eq(rep.copied, BS);
    fx_free(f);
}
END_TEST

/* First copies are no faster than the slower of both ends may be; the others do not wait. */
START_TEST(copies_keep_their_pace)
{
    struct fx *f = written(5, 1);
    struct pull_req req = {.handle = H, .source_version = V1, .source.id = 1};
    struct pull_rep rep;
    f->copy_rate[_i == 0 ? 1 : 3] = 20 * BS;
    fx_run_ms(f, 300);
    uint64_t before = f->sim->now_ns;
    ck_assert_int_eq(fx_pull_as(f, 2, &req, 0, &rep), 0);
    ck_assert_int_eq(fx_pull_as(f, 3, &req, 0, &rep), 0);
    ck_assert_uint_ge(f->sim->now_ns - before, 3 * NS_PER_S / 2);
    ck_assert_uint_le(f->sim->now_ns - before, 3 * NS_PER_S);
    for (uint32_t id = 1; id <= 3; id++) {
        ck_assert_int_eq(fx_prepare(f, id, H, V1, V2, 0, NULL), 0);
    }
    fx_flip(f, 3, H, 5 * BS);
    struct pull_req equal = {.handle = H, .version = V2, .source_version = V2, .source.id = 1};
    before = f->sim->now_ns;
    ck_assert_int_eq(fx_pull_as(f, 3, &equal, 0, &rep), 0);
    ck_assert_uint_eq(rep.copied, BS);
    ck_assert_uint_le(f->sim->now_ns - before, NS_PER_S / 2);
    fx_free(f);
}
END_TEST

static struct fx *changing;

/* The master says so with a heartbeat, while the copy is under way. */
static void change_rate(struct env_timer *t)
{
    (void)t;
    changing->copy_rate[3] = changing->copy_rate[3] == 10 * BS ? 0 : 10 * BS;
}

/* A copy that began when nobody was served slows down when clients come, and goes on as fast as it
 * can when they went. */
START_TEST(pace_changes_under_way)
{
    struct fx *f = changing = written(6, 1);
    struct pull_req req = {.handle = H, .source_version = V1, .source.id = 1};
    struct pull_rep rep;
    struct env_timer timer = {.fire = change_rate};
    f->copy_rate[3] = _i == 0 ? 10 * BS : 40 * BS;
    fx_run_ms(f, 300);
    env_timer_set(&f->client->env, &timer, _i == 0 ? NS_PER_S : 1);
    uint64_t before = f->sim->now_ns;
    ck_assert_int_eq(fx_pull_as(f, 3, &req, 0, &rep), 0);
    uint64_t took = f->sim->now_ns - before;
    ck_assert_uint_ge(took, _i == 0 ? NS_PER_S : 2 * NS_PER_S);
    ck_assert_uint_le(took, _i == 0 ? 2 * NS_PER_S : 5 * NS_PER_S);
    fx_free(f);
}
END_TEST

Suite *suite_chunkd_copy(void)
{
    Suite *s = suite_create("chunkd_copy");
    TCase *t = tcase_create("copy");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, new_replica_is_gathered);
    tcase_add_test(t, busy_sources_are_asked_for_less_at_once);
    tcase_add_test(t, a_copied_tail_is_gone_on_from);
    tcase_add_loop_test(t, what_nobody_has_stays_bad, 0, 3);
    tcase_add_test(t, damaged_replicas_mend_each_other);
    tcase_add_test(t, mending_keeps_its_own_content);
    tcase_add_loop_test(t, copies_keep_their_pace, 0, 2);
    tcase_add_loop_test(t, pace_changes_under_way, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
