/* test_name_leases.c - who may add names to a directory, and what answers promise about it. */
#include "tests/unit/master_fixture.h"

#include <check.h>

static struct fixture *f;
static uint64_t mine, other; /* sessions */
static uint64_t sequence[3];

static void act_as(uint64_t session)
{
    f->session = session;
    fixture_attach(f);
}

static uint64_t open_other(void)
{
    struct session_open_req req = {.host = bytes_str("h"), .nonce = 78};
    struct session_open_rep rep;
    f->session = 0;
    ck_assert_int_eq(FIXTURE_CALL(f, session_open, &req, &rep, 0), 0);
    return rep.session;
}

static void setup(void)
{
    f = fixture_new(3);
    sequence[1] = sequence[2] = 0;
    fixture_open_session(f);
    mine = f->session;
    other = open_other();
    ck_assert(mine < 3 && other < 3);
    act_as(mine);
}

static void teardown(void)
{
    fixture_free(f);
}

static uint32_t promised(void)
{
    return f->answer.head.flags & FRAME_PROMISES;
}

static uint64_t make_dir(uint64_t parent, const char *name)
{
    struct mkdir_req req = {.parent = parent, .name = bytes_str(name), .mode = 0755};
    struct mkdir_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, mkdir, &req, &rep, ++sequence[f->session]), 0);
    return rep.attr.ino;
}

static int make_file(uint64_t dir, const char *name)
{
    struct create_req req = {.parent = dir, .name = bytes_str(name), .mode = 0644};
    struct create_rep rep;
    return FIXTURE_CALL(f, create, &req, &rep, ++sequence[f->session]);
}

static int look_up(uint64_t dir, const char *name)
{
    struct lookup_req req = {.parent = dir, .name = bytes_str(name)};
    struct lookup_rep rep;
    return FIXTURE_CALL(f, lookup, &req, &rep, 0);
}

/* The maker of a directory has its lease; who adds a name there waits, and that ends it. */
START_TEST(others_wait_until_it_has_ended)
{
    uint64_t dir = make_dir(ROOT_INO, "d");
    ck_assert_uint_eq(promised(), FRAME_NAMES_NEW);
    ck_assert_int_eq(make_file(dir, "a"), 0);
    ck_assert_uint_eq(promised(), FRAME_NAMES_KEPT);
    ck_assert_int_eq(look_up(dir, "b"), -ENOENT);
    ck_assert_uint_eq(promised(), FRAME_NAMES_KEPT);
    act_as(other);
    ck_assert_int_eq(look_up(dir, "a"), 0);
    ck_assert_uint_eq(promised(), 0);
    ck_assert_int_eq(make_file(dir, "b"), ERR_BUSY);
    act_as(mine);
    ck_assert_int_eq(look_up(dir, "b"), -ENOENT);
    ck_assert_uint_eq(promised(), 0);
    fixture_run_ms(f, NAME_LEASE_MS + 5);
    act_as(other);
    ck_assert_int_eq(make_file(dir, "b"), 0);
    act_as(mine);
    ck_assert_int_eq(make_file(dir, "c"), 0);
    ck_assert_uint_eq(promised(), 0);
}
END_TEST

/* Looking and removing wait for nobody; a name of the directory itself may change. */
START_TEST(only_names_added_wait)
{
    uint64_t dir = make_dir(ROOT_INO, "d");
    ck_assert_int_eq(make_file(dir, "a"), 0);
    act_as(other);
    struct unlink_req req = {.parent = dir, .name = bytes_str("a")};
    struct unlink_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, unlink, &req, &rep, ++sequence[other]), 0);
    struct rename_req move = {.parent = ROOT_INO,
                              .name = bytes_str("d"),
                              .new_parent = ROOT_INO,
                              .new_name = bytes_str("e")};
    struct rename_rep moved;
    ck_assert_int_eq(FIXTURE_CALL(f, rename, &move, &moved, ++sequence[other]), 0);
    move = (struct rename_req){
        .parent = ROOT_INO, .name = bytes_str("e"), .new_parent = dir, .new_name = bytes_str("x")};
    ck_assert_int_eq(FIXTURE_CALL(f, rename, &move, &moved, ++sequence[other]), ERR_BUSY);
    act_as(mine);
    ck_assert_int_eq(make_file(dir, "b"), 0);
    ck_assert_uint_eq(promised(), 0);
}
END_TEST

/* A new master does not know what its predecessor promised. */
START_TEST(new_master_waits_for_old_leases)
{
    uint64_t dir = make_dir(ROOT_INO, "d");
    fixture_kill_master(f);
    fixture_start_master(f);
    fixture_connect(f);
    act_as(other);
    int status = make_file(dir, "a");
    uint64_t since_ns = env_mono_ns(f->m->env) - f->m->start_ns;
    ck_assert(status == ERR_BUSY || since_ns >= NAME_LEASE_MS * NS_PER_MS);
    fixture_run_ms(f, NAME_LEASE_MS + 5);
    ck_assert_int_eq(make_file(dir, "b"), 0);
    act_as(mine);
    ck_assert_int_eq(make_file(dir, "c"), 0);
    ck_assert_uint_eq(promised(), 0);
}
END_TEST

/* What the trash gives back is a name added by nobody. */
START_TEST(restoring_ends_all)
{
    uint64_t dir = make_dir(ROOT_INO, "d");
    act_as(other);
    fixture_connect_as(f, ROLE_ADMIN);
    struct trash_restore_req req = {0};
    struct trash_restore_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, trash_restore, &req, &rep, 0), ERR_BUSY);
    fixture_run_ms(f, NAME_LEASE_MS + 5);
    ck_assert_int_eq(FIXTURE_CALL(f, trash_restore, &req, &rep, 0), 0);
    fixture_connect(f);
    act_as(mine);
    ck_assert_int_eq(make_file(dir, "a"), 0);
    ck_assert_uint_eq(promised(), 0);
}
END_TEST

Suite *suite_name_leases(void);
Suite *suite_name_leases(void)
{
    Suite *s = suite_create("name_leases");
    TCase *t = tcase_create("loopback");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, others_wait_until_it_has_ended);
    tcase_add_test(t, only_names_added_wait);
    tcase_add_test(t, new_master_waits_for_old_leases);
    tcase_add_test(t, restoring_ends_all);
    suite_add_tcase(s, t);
    return s;
}
