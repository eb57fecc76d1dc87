/* test_ns_replicas.c - the number of replicas a file wants, and what is logged about servers. */
#include "tests/unit/ns_fixture.h"

#include <sys/stat.h>

Suite *suite_ns_replicas(void);

static int set(struct fixture *f, uint64_t ino, const char *value, uint32_t flags)
{
    return DO(f, setxattr, .ino = ino, .name = N("user.gfs.replicas"), .value = N(value),
              .flags = flags);
}

/* The number as getxattr gives it; 0 = none. */
static int get(struct fixture *f, uint64_t ino)
{
    int err = ASK(f, getxattr, .ino = ino, .name = N("user.gfs.replicas"));
    if (err == -ENODATA) {
        return 0;
    }
    ck_assert_int_eq(err, 0);
    ck_assert_uint_eq(f->rep.getxattr_rep.value.len, 1);
    return f->rep.getxattr_rep.value.data[0] - '0';
}

START_TEST(only_small_numbers)
{
    struct fixture *f = fixture_open();
    uint64_t a = make_file(f, ROOT_INO, "a");
    static const char *const bad[] = {"", "9", "-1", "03", "3 ", "x", "10"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        ck_assert_int_eq(set(f, a, bad[i], 0), -EINVAL);
    }
    ck_assert_int_eq(get(f, a), 0);
    ck_assert_int_eq(set(f, a, "2", XATTR_REPLACE_ONLY), -ENODATA);
    ck_assert_int_eq(set(f, a, "2", XATTR_CREATE_ONLY), 0);
    ck_assert(same_time(attr(f, a).ctime, last_time(f)));
    ck_assert_int_eq(set(f, a, "3", XATTR_CREATE_ONLY), -EEXIST);
    ck_assert_int_eq(set(f, a, "8", XATTR_REPLACE_ONLY), 0);
    ck_assert_int_eq(get(f, a), 8);
    ck_assert_uint_eq(ns_wanted(f->ns, a), 8);
    ck_assert_int_eq(set(f, a, "0", 0), 0);
    ck_assert_int_eq(get(f, a), 0);
    ck_assert_int_eq(set(f, 99, "2", 0), -ENOENT);
    ck_assert_int_eq(DO(f, symlink, .parent = ROOT_INO, .name = N("s"), .target = N("a")), 0);
    ck_assert_int_eq(set(f, f->rep.symlink_rep.attr.ino, "2", 0), -EPERM);
    fixture_close(f);
}
END_TEST

START_TEST(listed_where_set)
{
    struct fixture *f = fixture_open();
    uint64_t a = make_file(f, ROOT_INO, "a");
    ck_assert_int_eq(ASK(f, listxattr, .ino = a), 0);
    ck_assert_uint_eq(f->rep.listxattr_rep.names.len, 0);
    ck_assert_int_eq(set(f, a, "2", 0), 0);
    ck_assert_int_eq(ASK(f, listxattr, .ino = a), 0);
    ck_assert(bytes_equal(f->rep.listxattr_rep.names, bytes_of("user.gfs.replicas", 18)));
    ck_assert_int_eq(DO(f, setxattr, .ino = a, .name = N("user.x"), .value = N("1")), 0);
    ck_assert_int_eq(ASK(f, listxattr, .ino = a), 0);
    ck_assert(bytes_equal(f->rep.listxattr_rep.names, bytes_of("user.gfs.replicas\0user.x", 25)));
    ck_assert_int_eq(DO(f, removexattr, .ino = a, .name = N("user.gfs.replicas")), 0);
    ck_assert_int_eq(DO(f, removexattr, .ino = a, .name = N("user.gfs.replicas")), -ENODATA);
    ck_assert_int_eq(ASK(f, listxattr, .ino = a), 0);
    ck_assert(bytes_equal(f->rep.listxattr_rep.names, bytes_of("user.x", 7)));
    fixture_close(f);
}
END_TEST

START_TEST(inherited_at_creation)
{
    struct fixture *f = fixture_open();
    uint64_t d = make_dir(f, ROOT_INO, "d");
    uint64_t before = create_file(f, d, "before");
    ck_assert_int_eq(set(f, d, "2", 0), 0);
    uint64_t sub = make_dir(f, d, "sub");
    uint64_t file = create_file(f, sub, "file");
    uint64_t node = make_file(f, sub, "node");
    ck_assert_int_eq(get(f, before), 0);
    ck_assert_int_eq(get(f, sub), 2);
    ck_assert_int_eq(get(f, file), 2);
    ck_assert_int_eq(get(f, node), 2);
    ck_assert_uint_eq(chunk(f, before, 0).member_count, 3);
    ck_assert_uint_eq(chunk(f, file, 0).member_count, 2);
    ck_assert_uint_eq(chunk(f, file, 0).wanted, 2);
    ck_assert_int_eq(set(f, d, "5", 0), 0);
    ck_assert_int_eq(get(f, file), 2); /* only what is made from now on */
    uint64_t five = create_file(f, d, "five");
    ck_assert_uint_eq(chunk(f, five, 0).member_count, 5);
    ck_assert_int_eq(
        DO(f, rename, .parent = d, .name = N("five"), .new_parent = ROOT_INO, .new_name = N("5")),
        0);
    ck_assert_int_eq(get(f, five), 5); /* keeps its own */
    ck_assert_int_eq(get(f, create_file(f, ROOT_INO, "other")), 0);
    ck_assert_int_eq(DO(f, mknod, .parent = d, .name = N("p"), .mode = S_IFIFO | 0600), 0);
    ck_assert_int_eq(get(f, f->rep.mknod_rep.attr.ino), 0);
    fixture_close(f);
}
END_TEST

/* Every chunk of the file tells, whether it lies in the inode row or not. */
START_TEST(chunks_tell_what_is_wanted)
{
    struct fixture *f = fixture_open();
    uint64_t a = create_file(f, ROOT_INO, "a"), b = create_file(f, ROOT_INO, "b");
    grow_chunk(f, a, 1);
    grow_chunk(f, a, 7);
    ck_assert_int_eq(set(f, a, "1", 0), 0);
    struct ns_chunk k;
    uint64_t ino = 0, number = 0;
    unsigned seen = 0;
    while (ns_chunk_next(f->ns, ino, number, &k) == 0) {
        ck_assert_uint_eq(k.wanted, k.ino == a ? 1 : 0);
        ino = k.ino;
        number = k.number + 1;
        seen++;
    }
    ck_assert_uint_eq(seen, 4);
    ck_assert_uint_eq(chunk(f, a, 7).wanted, 1);
    ck_assert_uint_eq(chunk(f, b, 0).wanted, 0);
    fixture_close(f);
}
END_TEST

START_TEST(many_at_once)
{
    struct fixture *f = fixture_open();
    uint64_t a = make_file(f, ROOT_INO, "a"), d = make_dir(f, ROOT_INO, "d");
    ck_assert_int_eq(DO(f, symlink, .parent = ROOT_INO, .name = N("s"), .target = N("a")), 0);
    uint64_t s = f->rep.symlink_rep.attr.ino, gone = 999;
    struct writer w;
    writer_init(&w);
    enc_u64(&w, &a);
    enc_u64(&w, &gone);
    enc_u64(&w, &s);
    enc_u64(&w, &d);
    RECORD(f, replicas_put, .inodes = writer_bytes(&w), .replicas = 4);
    ck_assert_int_eq(get(f, a), 4);
    ck_assert_int_eq(get(f, d), 4);
    ck_assert_int_eq(get(f, s), 0);
    RECORD(f, replicas_put, .inodes = writer_bytes(&w), .replicas = 0);
    ck_assert_int_eq(get(f, a), 0);
    writer_free(&w);
    fixture_close(f);
}
END_TEST

START_TEST(server_state_is_kept)
{
    struct fixture *f = fixture_open();
    struct server_state_rec state;
    ck_assert_int_eq(ns_server_state(f->ns, 3, &state), 0);
    ck_assert(!state.draining && state.failing == 0 && state.away_since == 0);
    RECORD(f, server_state, .id = 3, .draining = true, .failing = 7, .away_since = 1ull << 60,
           .maintenance_until = 12345);
    RECORD(f, server_add, .disk = 1003, .server = {.id = 3, .addr = N("moved:1")});
    ck_assert_int_eq(ns_server_state(f->ns, 3, &state), 0);
    ck_assert_uint_eq(state.id, 3);
    ck_assert(state.draining);
    ck_assert_uint_eq(state.failing, 7);
    ck_assert_uint_eq(state.away_since, 1ull << 60);
    ck_assert_uint_eq(state.maintenance_until, 12345);
    struct server row;
    uint64_t disk;
    ck_assert_int_eq(ns_server_next(f->ns, 3, &row, &disk), 0);
    ck_assert(bytes_equal(row.addr, N("moved:1")) && disk == 1003);
    RECORD(f, server_state, .id = 3);
    ck_assert_int_eq(ns_server_state(f->ns, 3, &state), 0);
    ck_assert(!state.draining && state.maintenance_until == 0);
    ck_assert_int_eq(ns_server_state(f->ns, 77, &state), -ENOENT);
    fixture_close(f);
}
END_TEST

Suite *suite_ns_replicas(void)
{
    Suite *s = suite_create("ns_replicas");
    TCase *t = tcase_create("ns_replicas");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, only_small_numbers);
    tcase_add_test(t, listed_where_set);
    tcase_add_test(t, inherited_at_creation);
    tcase_add_test(t, chunks_tell_what_is_wanted);
    tcase_add_test(t, many_at_once);
    tcase_add_test(t, server_state_is_kept);
    suite_add_tcase(s, t);
    return s;
}
