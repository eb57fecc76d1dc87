/* test_ns_file.c - mknod, create, symlink, link, unlink; inodes without a name; garbage. */
#include "master/core/ns_internal.h"
#include "tests/unit/ns_fixture.h"

#include <stdio.h>

Suite *suite_ns_file(void);

START_TEST(mknod_makes_each_type)
{
    struct fixture *f = fixture_open();
    static const struct {
        const char *name;
        uint32_t type;
        uint32_t rdev;
    } kinds[] = {{"reg", S_IFREG, 0},  {"fifo", S_IFIFO, 0},         {"sock", S_IFSOCK, 0},
                 {"chr", S_IFCHR, 77}, {"blk", S_IFBLK, UINT32_MAX}, {"zero", 0, 0}};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        ck_assert_int_eq(DO(f, mknod, .parent = ROOT_INO, .name = N(kinds[i].name),
                            .mode = kinds[i].type | 06640, .rdev = 77 * (i >= 3), .uid = 1,
                            .gid = 2),
                         0);
        struct attr a = f->rep.mknod_rep.attr;
        ck_assert_uint_eq(a.mode, (kinds[i].type ? kinds[i].type : S_IFREG) | 06640);
        ck_assert_uint_eq(a.nlink, 1);
        ck_assert_uint_eq(a.rdev, i == 3 || i == 4 ? 77 : 0);
        ck_assert_uint_eq(a.uid, 1);
        ck_assert_uint_eq(a.gid, 2);
        ck_assert_uint_eq(chunk(f, a.ino, 0).handle, 0);
    }
    ck_assert_uint_eq(attr(f, ROOT_INO).nlink, 2);
    ck_assert_uint_eq(attr(f, ROOT_INO).size, COUNT_OF(kinds));
    ck_assert_int_eq(DO(f, mknod, .parent = ROOT_INO, .name = N("d"), .mode = S_IFDIR), -EPERM);
    ck_assert_int_eq(DO(f, mknod, .parent = ROOT_INO, .name = N("d"), .mode = S_IFLNK), -EINVAL);
    ck_assert_int_eq(DO(f, mknod, .parent = ROOT_INO, .name = N("reg")), -EEXIST);
    ck_assert_int_eq(DO(f, mknod, .parent = 99, .name = N("d")), -ENOENT);
    ck_assert_int_eq(DO(f, mknod, .parent = find(f, ROOT_INO, "fifo"), .name = N("d")), -ENOTDIR);
    fixture_close(f);
}
END_TEST

START_TEST(create_grants_chunk_0)
{
    struct fixture *f = fixture_open();
    ck_assert_int_eq(
        DO(f, create, .parent = ROOT_INO, .name = N("a"), .mode = S_IFREG | 0640, .uid = 5), 0);
    struct create_rep rep = f->rep.create_rep;
    ck_assert_uint_eq(rep.attr.mode, S_IFREG | 0640);
    ck_assert_uint_eq(rep.attr.size, 0);
    ck_assert_uint_eq(rep.attr.blocks, 0);
    ck_assert_uint_eq(rep.chunk.ino, rep.attr.ino);
    ck_assert_uint_eq(rep.chunk.number, 0);
    ck_assert_uint_eq(rep.chunk.handle, 1);
    ck_assert_uint_eq(rep.chunk.version, 1ull << 32 | 1);
    ck_assert_uint_eq(rep.chunk.trim, NO_TRIM);
    ck_assert(rep.chunk.fresh);
    ck_assert_uint_eq(rep.chunk.primary, 1);
    struct reader r = reader_of(rep.chunk.members);
    for (uint32_t id = 1; id <= 3; id++) {
        struct server s;
        dec_server(&r, &s);
        ck_assert_uint_eq(s.id, id);
        ck_assert(bytes_equal(s.addr, N("10.0.0.1:9401")));
        ck_assert(bytes_equal(s.host, N("h")) && bytes_equal(s.rack, N("r")));
    }
    ck_assert(reader_done(&r) && r.err == 0);
    struct ns_chunk k = chunk(f, rep.attr.ino, 0);
    ck_assert(k.fresh && !k.bound);
    ck_assert_uint_eq(k.member_count, 3);
    ck_assert_uint_eq(ns_counts(f->ns).chunks, 1);
    ck_assert_uint_eq(ns_counts(f->ns).next_handle, 2);
    ck_assert_int_eq(DO(f, create, .parent = ROOT_INO, .name = N("a")), -EEXIST);
    fixture_close(f);
}
END_TEST

START_TEST(create_without_servers)
{
    struct fixture *f = fixture_open();
    f->members = 0;
    uint64_t a = create_file(f, ROOT_INO, "a");
    ck_assert_uint_eq(f->rep.create_rep.chunk.handle, 0);
    f->members = -ENOSPC;
    uint64_t b = create_file(f, ROOT_INO, "b");
    ck_assert_uint_eq(chunk(f, a, 0).handle, 0);
    ck_assert_uint_eq(chunk(f, b, 0).handle, 0);
    ck_assert_uint_eq(grow_chunk(f, a, 0), 1);
    ck_assert_uint_eq(chunk(f, a, 0).handle, 1);
    fixture_close(f);
}
END_TEST

START_TEST(symlink_keeps_target)
{
    struct fixture *f = fixture_open();
    char target[4096];
    memset(target, 't', sizeof(target));
    ck_assert_int_eq(DO(f, symlink, .parent = ROOT_INO, .name = N("s"), .target = N("../x")), 0);
    struct attr a = f->rep.symlink_rep.attr;
    ck_assert_uint_eq(a.mode, S_IFLNK | 0777);
    ck_assert_uint_eq(a.size, 4);
    ck_assert_int_eq(ASK(f, readlink, .ino = a.ino), 0);
    ck_assert(bytes_equal(f->rep.readlink_rep.target, N("../x")));
    ck_assert_int_eq(
        DO(f, symlink, .parent = ROOT_INO, .name = N("l"), .target = bytes_of(target, 4096)),
        -ENAMETOOLONG);
    ck_assert_int_eq(
        DO(f, symlink, .parent = ROOT_INO, .name = N("l"), .target = bytes_of(target, 4095)), 0);
    ck_assert_int_eq(ASK(f, readlink, .ino = f->rep.symlink_rep.attr.ino), 0);
    ck_assert_uint_eq(f->rep.readlink_rep.target.len, 4095);
    ck_assert_int_eq(DO(f, symlink, .parent = ROOT_INO, .name = N("e"), .target = N("")), -ENOENT);
    ck_assert_int_eq(DO(f, symlink, .parent = ROOT_INO, .name = N("s"), .target = N("y")), -EEXIST);
    ck_assert_int_eq(ASK(f, readlink, .ino = ROOT_INO), -EINVAL);
    ck_assert_int_eq(ASK(f, readlink, .ino = 99), -ENOENT);
    ck_assert_int_eq(DO(f, unlink, .parent = ROOT_INO, .name = N("s")), 0);
    ck_assert_int_eq(ASK(f, readlink, .ino = a.ino), -ENOENT);
    ck_assert_uint_eq(store_rows(f->store, TABLE_SYMLINK), 1);
    fixture_close(f);
}
END_TEST

START_TEST(link_adds_names)
{
    struct fixture *f = fixture_open();
    uint64_t d = make_dir(f, ROOT_INO, "d");
    uint64_t a = make_file(f, ROOT_INO, "a");
    struct stamp made = last_time(f);
    ck_assert_int_eq(DO(f, link, .ino = a, .parent = d, .name = N("b")), 0);
    ck_assert_uint_eq(f->rep.link_rep.attr.nlink, 2);
    ck_assert(same_time(attr(f, a).ctime, last_time(f)));
    ck_assert(same_time(attr(f, a).mtime, made));
    ck_assert(same_time(attr(f, d).mtime, last_time(f)));
    ck_assert_int_eq(DO(f, link, .ino = a, .parent = d, .name = N("b")), -EEXIST);
    ck_assert_int_eq(DO(f, link, .ino = d, .parent = ROOT_INO, .name = N("x")), -EPERM);
    ck_assert_int_eq(DO(f, link, .ino = 99, .parent = d, .name = N("x")), -ENOENT);
    ck_assert_int_eq(DO(f, link, .ino = a, .parent = 99, .name = N("x")), -ENOENT);
    ck_assert_int_eq(DO(f, link, .ino = a, .parent = a, .name = N("x")), -ENOTDIR);
    ck_assert_int_eq(DO(f, unlink, .parent = ROOT_INO, .name = N("a")), 0);
    ck_assert_uint_eq(f->rep.unlink_rep.ino, a);
    ck_assert_uint_eq(f->rep.unlink_rep.nlink, 1);
    ck_assert_uint_eq(find(f, d, "b"), a);
    ck_assert(same_time(attr(f, a).ctime, last_time(f)));
    fixture_close(f);
}
END_TEST

/* Rows put by hand stand for two thousand million names. */
START_TEST(names_are_bounded)
{
    struct fixture *f = fixture_open();
    uint64_t a = make_file(f, ROOT_INO, "a");
    uint64_t d = make_dir(f, ROOT_INO, "d");
    uint64_t e = make_dir(f, ROOT_INO, "e");
    struct inode in, good_a, good_d;
    struct record r = {.index = f->index};
    struct change c = {.ns = f->ns, .record = &r};
    ck_assert_int_eq(inode_load(f->ns, a, &good_a), 0);
    ck_assert_int_eq(inode_load(f->ns, d, &good_d), 0);
    in = good_a;
    in.nlink = NS_LINK_MAX;
    inode_save(&c, &in);
    ck_assert_int_eq(DO(f, link, .ino = a, .parent = d, .name = N("x")), -EMLINK);
    in = good_d;
    in.nlink = NS_LINK_MAX;
    inode_save(&c, &in);
    ck_assert_int_eq(DO(f, mkdir, .parent = d, .name = N("x")), -EMLINK);
    ck_assert_int_eq(
        DO(f, rename, .parent = ROOT_INO, .name = N("e"), .new_parent = d, .new_name = N("x")),
        -EMLINK);
    inode_save(&c, &good_a);
    inode_save(&c, &good_d);
    ck_assert_uint_eq(find(f, ROOT_INO, "e"), e);
    fixture_close(f);
}
END_TEST

START_TEST(unlink_frees)
{
    struct fixture *f = fixture_open();
    uint64_t d = make_dir(f, ROOT_INO, "d");
    uint64_t a = create_file(f, d, "a");
    uint64_t h0 = chunk(f, a, 0).handle;
    uint64_t h5 = grow_chunk(f, a, 5);
    uint64_t h9 = grow_chunk(f, a, 9);
    bump_chunk(f, a, 9);
    ck_assert_int_eq(DO(f, setxattr, .ino = a, .name = N("user.a"), .value = N("b")), 0);
    ck_assert_int_eq(DO(f, setxattr, .ino = a, .name = N("user.b"), .value = N("")), 0);
    ck_assert_int_eq(DO(f, unlink, .parent = ROOT_INO, .name = N("d")), -EISDIR);
    ck_assert_int_eq(DO(f, unlink, .parent = d, .name = N("x")), -ENOENT);
    ck_assert_int_eq(DO(f, unlink, .parent = a, .name = N("x")), -ENOTDIR);
    ck_assert_int_eq(DO(f, unlink, .parent = d, .name = N("a")), 0);
    ck_assert_uint_eq(f->rep.unlink_rep.nlink, 0);
    ck_assert_uint_eq(attr(f, a).ino, 0);
    ck_assert_uint_eq(attr(f, d).size, 0);
    ck_assert_uint_eq(garbage_of(f, h0), 3);
    ck_assert_uint_eq(garbage_of(f, h5), 3);
    ck_assert_uint_eq(garbage_of(f, h9), 2);
    ck_assert_uint_eq(store_rows(f->store, TABLE_XATTR), 0);
    ck_assert_uint_eq(store_rows(f->store, TABLE_CHUNK), 0);
    ck_assert_uint_eq(ns_counts(f->ns).chunks, 0);
    ck_assert_uint_eq(ns_counts(f->ns).garbage, 8);
    struct writer w;
    writer_init(&w);
    for (uint32_t server = 1; server <= 3; server++) {
        enc_u64(&w, &h5);
        enc_u32(&w, &server);
    }
    RECORD(f, garbage_done, .done = writer_bytes(&w));
    RECORD(f, garbage_done, .done = writer_bytes(&w));
    writer_free(&w);
    ck_assert_uint_eq(garbage_of(f, h5), 0);
    ck_assert_uint_eq(ns_counts(f->ns).garbage, 5);
    fixture_close(f);
}
END_TEST

START_TEST(open_files_stay)
{
    struct fixture *f = fixture_open();
    uint64_t s1 = open_session(f, 11), s2 = open_session(f, 22);
    uint64_t a = create_file(f, ROOT_INO, "a");
    uint64_t handle = chunk(f, a, 0).handle;
    hold(f, a, s1);
    hold(f, a, s2);
    ck_assert_int_eq(DO(f, link, .ino = a, .parent = ROOT_INO, .name = N("b")), 0);
    ck_assert_int_eq(DO(f, unlink, .parent = ROOT_INO, .name = N("b")), 0);
    ck_assert_uint_eq(store_rows(f->store, TABLE_ORPHAN), 0);
    ck_assert_int_eq(DO(f, unlink, .parent = ROOT_INO, .name = N("a")), 0);
    ck_assert_uint_eq(f->rep.unlink_rep.nlink, 0);
    ck_assert_uint_eq(attr(f, a).ino, a);
    ck_assert_uint_eq(attr(f, a).nlink, 0);
    ck_assert_uint_eq(store_rows(f->store, TABLE_ORPHAN), 2);
    uint64_t ino, session;
    ck_assert_int_eq(ns_orphan_next(f->ns, 0, 0, &ino, &session), 0);
    ck_assert_uint_eq(ino, a);
    ck_assert_uint_eq(session, s1);
    ck_assert_int_eq(ns_orphan_next(f->ns, ino, session + 1, &ino, &session), 0);
    ck_assert_uint_eq(session, s2);
    ck_assert_int_eq(ns_orphan_next(f->ns, ino, session + 1, &ino, &session), -ENOENT);
    ck_assert_int_eq(DO(f, link, .ino = a, .parent = ROOT_INO, .name = N("c")), -ENOENT);
    extend(f, a, 100);
    truncate_to(f, a, 50);
    fixture_check(f);
    RECORD(f, release_orphan, .ino = a, .session = s2);
    RECORD(f, release_orphan, .ino = a, .session = s2);
    RECORD(f, release_orphan, .ino = a, .session = 999);
    ck_assert_uint_eq(attr(f, a).ino, a);
    RECORD(f, release_orphan, .ino = a, .session = s1);
    ck_assert_uint_eq(attr(f, a).ino, 0);
    ck_assert_uint_eq(garbage_of(f, handle), 3);
    fixture_close(f);
}
END_TEST

/* Chunks of a file that has no first one, however many inodes without chunks are before it. */
START_TEST(every_chunk_is_walked)
{
    struct fixture *f = fixture_open();
    for (int dirs = 0; dirs < 40; dirs++) {
        char name[16];
        snprintf(name, sizeof(name), "d%d", dirs);
        make_dir(f, ROOT_INO, name);
    }
    ck_assert_int_eq(DO(f, mknod, .parent = ROOT_INO, .name = N("f"), .mode = S_IFREG | 0644), 0);
    uint64_t file = f->rep.mknod_rep.attr.ino;
    uint64_t handle = grow_chunk(f, file, 1);
    for (uint64_t from = 0; from <= file; from++) {
        struct ns_chunk row;
        uint64_t ino = from;
        int err;
        while ((err = ns_chunk_next(f->ns, ino, 0, &row)) == -EAGAIN) {
            ck_assert_uint_gt(row.ino, ino);
            ino = row.ino;
        }
        ck_assert_int_eq(err, 0);
        ck_assert_uint_eq(row.handle, handle);
    }
    fixture_close(f);
}
END_TEST

/* A full disk: what grows is refused, what frees is not. */
START_TEST(growth_ends_below_the_reserve)
{
    struct fixture *f = fixture_open();
    uint64_t d = make_dir(f, ROOT_INO, "d");
    uint64_t a = create_file(f, d, "a");
    extend(f, a, 100);
    ck_assert_int_eq(DO(f, setxattr, .ino = a, .name = N("user.a"), .value = N("b")), 0);
    sim_disk_set_capacity(f->process->disk, 0);
    ns_before_commit(f->ns);
    store_commit(f->store, (struct store_position){.index = f->index});
    ck_assert_int_eq(DO(f, mkdir, .parent = d, .name = N("x")), -ENOSPC);
    ck_assert_int_eq(DO(f, mknod, .parent = d, .name = N("x")), -ENOSPC);
    ck_assert_int_eq(DO(f, create, .parent = d, .name = N("x")), -ENOSPC);
    ck_assert_int_eq(DO(f, symlink, .parent = d, .name = N("x"), .target = N("y")), -ENOSPC);
    ck_assert_int_eq(DO(f, link, .ino = a, .parent = d, .name = N("x")), -ENOSPC);
    ck_assert_int_eq(DO(f, setxattr, .ino = a, .name = N("user.c"), .value = N("b")), -ENOSPC);
    truncate_to(f, a, 0);
    extend(f, a, 10);
    ck_assert_int_eq(DO(f, removexattr, .ino = a, .name = N("user.a")), 0);
    ck_assert_int_eq(DO(f, unlink, .parent = d, .name = N("a")), 0);
    ck_assert_int_eq(DO(f, rmdir, .parent = ROOT_INO, .name = N("d")), 0);
    open_session(f, 4);
    fixture_close(f);
}
END_TEST

/* The counters come back from a commit. */
START_TEST(counters_survive)
{
    struct fixture *f = fixture_open();
    create_file(f, ROOT_INO, "a");
    open_session(f, 1);
    struct ns_counts before = ns_counts(f->ns);
    uint32_t next_server = ns_next_server_id(f->ns);
    ns_before_commit(f->ns);
    store_commit(f->store, (struct store_position){.index = f->index});
    struct geometry geo = f->ns->geo;
    struct ns_decider decider = f->ns->decider;
    ns_destroy(f->ns);
    f->ns = ns_create(&f->process->env, f->store, &geo, &decider);
    struct ns_counts after = ns_counts(f->ns);
    ck_assert_mem_eq(&before, &after, sizeof(before));
    ck_assert_uint_eq(ns_next_server_id(f->ns), next_server);
    ck_assert_uint_eq(open_session(f, 2), 2);
    create_file(f, ROOT_INO, "b");
    fixture_close(f);
}
END_TEST

Suite *suite_ns_file(void)
{
    Suite *s = suite_create("ns_file");
    TCase *t = tcase_create("ns_file");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, mknod_makes_each_type);
    tcase_add_test(t, create_grants_chunk_0);
    tcase_add_test(t, create_without_servers);
    tcase_add_test(t, symlink_keeps_target);
    tcase_add_test(t, link_adds_names);
    tcase_add_test(t, names_are_bounded);
    tcase_add_test(t, unlink_frees);
    tcase_add_test(t, open_files_stay);
    tcase_add_test(t, growth_ends_below_the_reserve);
    tcase_add_test(t, every_chunk_is_walked);
    tcase_add_test(t, counters_survive);
    suite_add_tcase(s, t);
    return s;
}
