/* test_ns_rename.c - rename: moving, replacing, exchanging, and every refusal. */
#include "tests/unit/ns_fixture.h"

#include <sys/stat.h>

Suite *suite_ns_rename(void);

static int rename_to(struct fixture *f, uint64_t parent, const char *name, uint64_t new_parent,
                     const char *new_name, uint32_t flags)
{
    return DO(f, rename, .parent = parent, .name = N(name), .new_parent = new_parent,
              .new_name = N(new_name), .flags = flags);
}

enum { NOREPLACE = 1, EXCHANGE = 2 };

START_TEST(moves_a_file)
{
    struct fixture *f = fixture_open();
    uint64_t d = make_dir(f, ROOT_INO, "d"), e = make_dir(f, ROOT_INO, "e");
    uint64_t a = make_file(f, d, "a");
    struct stamp made = last_time(f);
    ck_assert_int_eq(rename_to(f, d, "a", d, "b", 0), 0);
    ck_assert_uint_eq(f->rep.rename_rep.ino, a);
    ck_assert_uint_eq(f->rep.rename_rep.replaced, 0);
    ck_assert_uint_eq(find(f, d, "a"), 0);
    ck_assert_uint_eq(find(f, d, "b"), a);
    ck_assert_uint_eq(attr(f, d).size, 1);
    ck_assert_int_eq(rename_to(f, d, "b", e, "c", NOREPLACE), 0);
    ck_assert_uint_eq(find(f, e, "c"), a);
    ck_assert_uint_eq(attr(f, d).size, 0);
    ck_assert_uint_eq(attr(f, e).size, 1);
    ck_assert(same_time(attr(f, d).mtime, last_time(f)));
    ck_assert(same_time(attr(f, e).mtime, last_time(f)));
    ck_assert(same_time(attr(f, a).ctime, last_time(f)));
    ck_assert(same_time(attr(f, a).mtime, made));
    fixture_close(f);
}
END_TEST

START_TEST(moves_a_directory)
{
    struct fixture *f = fixture_open();
    uint64_t d = make_dir(f, ROOT_INO, "d"), e = make_dir(f, ROOT_INO, "e");
    uint64_t sub = make_dir(f, d, "sub");
    make_file(f, sub, "x");
    ck_assert_int_eq(rename_to(f, d, "sub", e, "moved", 0), 0);
    ck_assert_uint_eq(attr(f, d).nlink, 2);
    ck_assert_uint_eq(attr(f, e).nlink, 3);
    ck_assert_int_eq(ASK(f, readdir, .dir = sub, .bytes = 100), 0);
    ck_assert_uint_eq(f->rep.readdir_rep.parent, e);
    ck_assert_int_eq(rename_to(f, e, "moved", e, "again", 0), 0);
    ck_assert_uint_eq(attr(f, e).nlink, 3);
    /* Over an empty directory, in the same and in another directory. */
    uint64_t empty = make_dir(f, e, "empty");
    ck_assert_int_eq(rename_to(f, e, "again", e, "empty", 0), 0);
    ck_assert_uint_eq(f->rep.rename_rep.replaced, empty);
    ck_assert_uint_eq(f->rep.rename_rep.replaced_nlink, 0);
    ck_assert_uint_eq(attr(f, empty).ino, 0);
    ck_assert_uint_eq(attr(f, e).nlink, 3);
    ck_assert_uint_eq(attr(f, e).size, 1);
    make_dir(f, d, "empty");
    ck_assert_int_eq(rename_to(f, e, "empty", d, "empty", 0), 0);
    ck_assert_uint_eq(attr(f, e).nlink, 2);
    ck_assert_uint_eq(attr(f, d).nlink, 3);
    ck_assert_uint_eq(find(f, d, "empty"), sub);
    fixture_close(f);
}
END_TEST

START_TEST(replaces_a_file)
{
    struct fixture *f = fixture_open();
    uint64_t session = open_session(f, 1);
    uint64_t d = make_dir(f, ROOT_INO, "d");
    uint64_t a = create_file(f, ROOT_INO, "a"), b = create_file(f, d, "b");
    uint64_t handle = chunk(f, b, 0).handle;
    ck_assert_int_eq(rename_to(f, ROOT_INO, "a", d, "b", 0), 0);
    ck_assert_uint_eq(f->rep.rename_rep.ino, a);
    ck_assert_uint_eq(f->rep.rename_rep.replaced, b);
    ck_assert_uint_eq(f->rep.rename_rep.replaced_nlink, 0);
    ck_assert_uint_eq(attr(f, b).ino, 0);
    ck_assert_uint_eq(garbage_of(f, handle), 3);
    ck_assert_uint_eq(attr(f, d).size, 1);
    ck_assert_uint_eq(attr(f, ROOT_INO).size, 1);
    /* Open: it stays without a name. With another name: it has one less. */
    hold(f, a, session);
    uint64_t c = create_file(f, d, "c");
    ck_assert_int_eq(rename_to(f, d, "c", d, "b", 0), 0);
    ck_assert_uint_eq(attr(f, a).ino, a);
    ck_assert_uint_eq(attr(f, a).nlink, 0);
    RECORD(f, release_orphan, .ino = a, .session = session);
    ck_assert_uint_eq(attr(f, a).ino, 0);
    ck_assert_int_eq(DO(f, link, .ino = c, .parent = d, .name = N("c2")), 0);
    create_file(f, d, "e");
    ck_assert_int_eq(rename_to(f, d, "e", d, "c2", 0), 0);
    ck_assert_uint_eq(f->rep.rename_rep.replaced, c);
    ck_assert_uint_eq(f->rep.rename_rep.replaced_nlink, 1);
    ck_assert(same_time(attr(f, c).ctime, last_time(f)));
    fixture_close(f);
}
END_TEST

START_TEST(same_inode_is_left_alone)
{
    struct fixture *f = fixture_open();
    uint64_t a = make_file(f, ROOT_INO, "a");
    ck_assert_int_eq(DO(f, link, .ino = a, .parent = ROOT_INO, .name = N("b")), 0);
    struct stamp before = last_time(f);
    ck_assert_int_eq(rename_to(f, ROOT_INO, "a", ROOT_INO, "b", 0), 0);
    ck_assert_uint_eq(f->rep.rename_rep.ino, a);
    ck_assert_uint_eq(f->rep.rename_rep.replaced, 0);
    ck_assert_int_eq(rename_to(f, ROOT_INO, "a", ROOT_INO, "a", 0), 0);
    ck_assert_int_eq(rename_to(f, ROOT_INO, "a", ROOT_INO, "b", EXCHANGE), 0);
    ck_assert_int_eq(rename_to(f, ROOT_INO, "a", ROOT_INO, "b", NOREPLACE), -EEXIST);
    ck_assert_uint_eq(find(f, ROOT_INO, "a"), a);
    ck_assert_uint_eq(find(f, ROOT_INO, "b"), a);
    ck_assert_uint_eq(attr(f, a).nlink, 2);
    ck_assert(same_time(attr(f, a).ctime, before));
    fixture_close(f);
}
END_TEST

START_TEST(exchanges)
{
    struct fixture *f = fixture_open();
    uint64_t d = make_dir(f, ROOT_INO, "d"), e = make_dir(f, ROOT_INO, "e");
    uint64_t file = make_file(f, d, "x"), sub = make_dir(f, e, "y");
    make_file(f, sub, "inside");
    ck_assert_int_eq(rename_to(f, d, "x", e, "y", EXCHANGE), 0);
    ck_assert_uint_eq(f->rep.rename_rep.ino, file);
    ck_assert_uint_eq(f->rep.rename_rep.replaced, sub);
    ck_assert_uint_eq(f->rep.rename_rep.replaced_nlink, 2);
    ck_assert_uint_eq(find(f, d, "x"), sub);
    ck_assert_uint_eq(find(f, e, "y"), file);
    ck_assert_uint_eq(attr(f, d).nlink, 3);
    ck_assert_uint_eq(attr(f, e).nlink, 2);
    ck_assert_int_eq(ASK(f, readdir, .dir = sub, .bytes = 100), 0);
    ck_assert_uint_eq(f->rep.readdir_rep.parent, d);
    ck_assert(same_time(attr(f, sub).ctime, last_time(f)));
    ck_assert(same_time(attr(f, file).ctime, last_time(f)));
    ck_assert_int_eq(rename_to(f, e, "y", d, "x", EXCHANGE), 0);
    ck_assert_uint_eq(find(f, e, "y"), sub);
    /* Two directories, and two entries of one directory. */
    ck_assert_int_eq(rename_to(f, ROOT_INO, "d", ROOT_INO, "e", EXCHANGE), 0);
    ck_assert_uint_eq(find(f, ROOT_INO, "d"), e);
    uint64_t other = make_dir(f, d, "z");
    ck_assert_int_eq(rename_to(f, d, "z", e, "y", EXCHANGE), 0);
    ck_assert_uint_eq(find(f, e, "y"), other);
    ck_assert_uint_eq(find(f, d, "z"), sub);
    ck_assert_int_eq(rename_to(f, d, "z", d, "x", EXCHANGE), 0);
    ck_assert_uint_eq(find(f, d, "x"), sub);
    ck_assert_int_eq(rename_to(f, d, "x", d, "none", EXCHANGE), -ENOENT);
    fixture_close(f);
}
END_TEST

START_TEST(refuses)
{
    struct fixture *f = fixture_open();
    uint64_t d = make_dir(f, ROOT_INO, "d"), sub = make_dir(f, d, "sub");
    uint64_t deep = make_dir(f, sub, "deep");
    uint64_t file = make_file(f, ROOT_INO, "file");
    make_dir(f, ROOT_INO, "empty");
    char name[300];
    memset(name, 'n', sizeof(name));
    ck_assert_int_eq(rename_to(f, ROOT_INO, "none", ROOT_INO, "x", 0), -ENOENT);
    ck_assert_int_eq(rename_to(f, 99, "d", ROOT_INO, "x", 0), -ENOENT);
    ck_assert_int_eq(rename_to(f, ROOT_INO, "d", 99, "x", 0), -ENOENT);
    ck_assert_int_eq(rename_to(f, file, "d", ROOT_INO, "x", 0), -ENOTDIR);
    ck_assert_int_eq(rename_to(f, ROOT_INO, "d", file, "x", 0), -ENOTDIR);
    ck_assert_int_eq(rename_to(f, ROOT_INO, "d", d, "x", 0), -EINVAL);
    ck_assert_int_eq(rename_to(f, ROOT_INO, "d", sub, "x", 0), -EINVAL);
    ck_assert_int_eq(rename_to(f, ROOT_INO, "d", deep, "x", 0), -EINVAL);
    ck_assert_int_eq(rename_to(f, ROOT_INO, "d", sub, "deep", EXCHANGE), -EINVAL);
    ck_assert_int_eq(rename_to(f, sub, "deep", ROOT_INO, "d", EXCHANGE), -EINVAL);
    ck_assert_int_eq(rename_to(f, sub, "deep", ROOT_INO, "d", 0), -ENOTEMPTY);
    ck_assert_int_eq(rename_to(f, ROOT_INO, "empty", ROOT_INO, "d", 0), -ENOTEMPTY);
    ck_assert_int_eq(rename_to(f, ROOT_INO, "empty", ROOT_INO, "file", 0), -ENOTDIR);
    ck_assert_int_eq(rename_to(f, ROOT_INO, "file", ROOT_INO, "empty", 0), -EISDIR);
    ck_assert_int_eq(rename_to(f, ROOT_INO, "file", ROOT_INO, "empty", NOREPLACE), -EEXIST);
    ck_assert_int_eq(rename_to(f, ROOT_INO, "file", ROOT_INO, "x", NOREPLACE | EXCHANGE), -EINVAL);
    ck_assert_int_eq(rename_to(f, ROOT_INO, "file", ROOT_INO, "x", 4), -EINVAL);
    ck_assert_int_eq(DO(f, rename, .parent = ROOT_INO, .name = N("file"), .new_parent = d,
                        .new_name = bytes_of(name, 256)),
                     -ENAMETOOLONG);
    ck_assert_int_eq(DO(f, rename, .parent = ROOT_INO, .name = N("file"), .new_parent = d,
                        .new_name = bytes_of(name, 255)),
                     0);
    /* Upwards is fine. */
    ck_assert_int_eq(rename_to(f, sub, "deep", ROOT_INO, "deep", 0), 0);
    fixture_close(f);
}
END_TEST

Suite *suite_ns_rename(void)
{
    Suite *s = suite_create("ns_rename");
    TCase *t = tcase_create("ns_rename");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, moves_a_file);
    tcase_add_test(t, moves_a_directory);
    tcase_add_test(t, replaces_a_file);
    tcase_add_test(t, same_inode_is_left_alone);
    tcase_add_test(t, exchanges);
    tcase_add_test(t, refuses);
    suite_add_tcase(s, t);
    return s;
}
