/* test_repair.c - changes of a chunk's member set: moves, removals, and what stops them. */
#include "tests/unit/master_fixture.h"

#include <check.h>

static struct fixture *f;
static uint64_t sequence;
static struct chunk c; /* of the file; its members are not kept */

static struct fake *fake_of(uint32_t id)
{
    for (int i = 0; i < FAKES_MAX; i++) {
        if (f->fakes[i].id == id) {
            return &f->fakes[i];
        }
    }
    ck_abort_msg("no server %u", id);
    return NULL;
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
    for (uint32_t i = 0; i < k.member_count; i++) {
        if (k.members[i] == id) {
            return true;
        }
    }
    return false;
}

/* A server that is not a member. */
static uint32_t outsider(void)
{
    for (uint32_t id = 1; id <= FAKES_MAX; id++) {
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

/* A file of one chunk, written to all members and committed. */
static void make_file(const char *name)
{
    struct create_req req = {.parent = ROOT_INO, .name = bytes_str(name), .mode = 0644};
    struct create_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, create, &req, &rep, ++sequence), 0);
    c = rep.chunk;
    struct ns_chunk k = row();
    for (uint32_t i = 0; i < k.member_count; i++) {
        fake_put(fake_of(k.members[i]), &c, 1, 100 + c.handle);
    }
    struct extend_req extend = {.ino = c.ino, .end = 100};
    struct extend_rep extended;
    ck_assert_int_eq(FIXTURE_CALL(f, extend, &extend, &extended, ++sequence), 0);
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
    return s;
}
