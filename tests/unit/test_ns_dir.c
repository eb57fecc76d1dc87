/* test_ns_dir.c - directories: mkdir, rmdir, lookup, readdir, collisions of name hashes. */
#include "master/core/dirent.h"
#include "tests/unit/ns_fixture.h"

#include <stdio.h>
#include <sys/stat.h>

Suite *suite_ns_dir(void);

START_TEST(root_is_there)
{
    struct fixture *f = fixture_open();
    struct attr a = attr(f, ROOT_INO);
    ck_assert_uint_eq(a.ino, ROOT_INO);
    ck_assert_uint_eq(a.mode, S_IFDIR | 0755);
    ck_assert_uint_eq(a.nlink, 2);
    ck_assert_uint_eq(a.size, 0);
    ck_assert_int_eq(a.ctime.sec, 1700000001);
    RECORD(f, epoch_start, .epoch = 2);
    struct attr b = attr(f, ROOT_INO);
    ck_assert(same_time(a.ctime, b.ctime));
    fixture_close(f);
}
END_TEST

START_TEST(mkdir_makes)
{
    struct fixture *f = fixture_open();
    ck_assert_int_eq(
        DO(f, mkdir, .parent = ROOT_INO, .name = N("d"), .mode = 07755, .uid = 7, .gid = 8), 0);
    struct attr a = f->rep.mkdir_rep.attr;
    ck_assert_uint_eq(a.ino, 2);
    ck_assert_uint_eq(a.mode, S_IFDIR | 01755);
    ck_assert_uint_eq(a.nlink, 2);
    ck_assert_uint_eq(a.uid, 7);
    ck_assert_uint_eq(a.gid, 8);
    ck_assert(same_time(a.ctime, last_time(f)) && same_time(a.mtime, last_time(f)) &&
              same_time(a.atime, last_time(f)));
    struct attr root = attr(f, ROOT_INO);
    ck_assert_uint_eq(root.nlink, 3);
    ck_assert_uint_eq(root.size, 1);
    ck_assert(same_time(root.mtime, last_time(f)) && same_time(root.ctime, last_time(f)));
    ck_assert(!same_time(root.atime, last_time(f)));
    ck_assert_uint_eq(find(f, ROOT_INO, "d"), 2);
    fixture_close(f);
}
END_TEST

static void is_answered(struct fixture *f, const struct attr *told, uint64_t dir)
{
    struct attr a = attr(f, dir);
    ck_assert_uint_eq(told->ino, dir);
    ck_assert_uint_eq(told->nlink, a.nlink);
    ck_assert_uint_eq(told->size, a.size);
    ck_assert(same_time(told->mtime, a.mtime) && same_time(told->ctime, a.ctime));
    ck_assert(same_time(told->ctime, last_time(f)));
}

/* What changes a directory answers with its attributes after. */
START_TEST(changes_tell_of_the_directory)
{
    struct fixture *f = fixture_open();
    f->session = open_session(f, 1);
    uint64_t d = make_dir(f, ROOT_INO, "d");
    is_answered(f, &f->rep.mkdir_rep.dir, ROOT_INO);
    uint64_t file = make_file(f, d, "file");
    is_answered(f, &f->rep.mknod_rep.dir, d);
    create_file(f, d, "created");
    is_answered(f, &f->rep.create_rep.dir, d);
    ck_assert_int_eq(DO(f, symlink, .parent = d, .name = N("symlink"), .target = N("x")), 0);
    is_answered(f, &f->rep.symlink_rep.dir, d);
    ck_assert_int_eq(DO(f, link, .ino = file, .parent = d, .name = N("link")), 0);
    is_answered(f, &f->rep.link_rep.dir, d);
    ck_assert_int_eq(DO(f, rename, .parent = d, .name = N("link"), .new_parent = ROOT_INO,
                        .new_name = N("moved")),
                     0);
    is_answered(f, &f->rep.rename_rep.dir, d);
    is_answered(f, &f->rep.rename_rep.new_dir, ROOT_INO);
    ck_assert_int_eq(DO(f, unlink, .parent = ROOT_INO, .name = N("moved")), 0);
    is_answered(f, &f->rep.unlink_rep.dir, ROOT_INO);
    make_dir(f, d, "empty");
    ck_assert_int_eq(DO(f, rmdir, .parent = d, .name = N("empty")), 0);
    is_answered(f, &f->rep.rmdir_rep.dir, d);
    fixture_close(f);
}
END_TEST

START_TEST(mkdir_refuses)
{
    struct fixture *f = fixture_open();
    uint64_t file = make_file(f, ROOT_INO, "file");
    char name[300];
    memset(name, 'n', sizeof(name));
    ck_assert_int_eq(DO(f, mkdir, .parent = ROOT_INO, .name = N("file")), -EEXIST);
    ck_assert_int_eq(DO(f, mkdir, .parent = 99, .name = N("d")), -ENOENT);
    ck_assert_int_eq(DO(f, mkdir, .parent = file, .name = N("d")), -ENOTDIR);
    ck_assert_int_eq(DO(f, mkdir, .parent = ROOT_INO, .name = bytes_of(name, 256)), -ENAMETOOLONG);
    ck_assert_int_eq(DO(f, mkdir, .parent = ROOT_INO, .name = bytes_of(name, 255)), 0);
    ck_assert_int_eq(ASK(f, lookup, .parent = ROOT_INO, .name = bytes_of(name, 256)),
                     -ENAMETOOLONG);
    fixture_close(f);
}
END_TEST

START_TEST(set_gid_is_inherited)
{
    struct fixture *f = fixture_open();
    uint64_t d = make_dir(f, ROOT_INO, "d");
    ck_assert_int_eq(
        DO(f, setattr, .ino = d, .mask = SETATTR_GID | SETATTR_MODE, .gid = 50, .mode = 02775), 0);
    ck_assert_int_eq(DO(f, mkdir, .parent = d, .name = N("sub"), .mode = 0755, .gid = 9), 0);
    ck_assert_uint_eq(f->rep.mkdir_rep.attr.gid, 50);
    ck_assert_uint_eq(f->rep.mkdir_rep.attr.mode, S_IFDIR | 02755);
    ck_assert_int_eq(DO(f, create, .parent = d, .name = N("f"), .mode = 0644, .gid = 9), 0);
    ck_assert_uint_eq(f->rep.create_rep.attr.gid, 50);
    ck_assert_uint_eq(f->rep.create_rep.attr.mode, S_IFREG | 0644);
    ck_assert_int_eq(DO(f, symlink, .parent = d, .name = N("s"), .target = N("x"), .gid = 9), 0);
    ck_assert_uint_eq(f->rep.symlink_rep.attr.gid, 50);
    fixture_close(f);
}
END_TEST

START_TEST(rmdir_removes)
{
    struct fixture *f = fixture_open();
    uint64_t d = make_dir(f, ROOT_INO, "d");
    uint64_t sub = make_dir(f, d, "sub");
    make_file(f, ROOT_INO, "file");
    ck_assert_int_eq(DO(f, setxattr, .ino = sub, .name = N("user.a"), .value = N("b")), 0);
    ck_assert_int_eq(DO(f, rmdir, .parent = ROOT_INO, .name = N("d")), -ENOTEMPTY);
    ck_assert_int_eq(DO(f, rmdir, .parent = ROOT_INO, .name = N("file")), -ENOTDIR);
    ck_assert_int_eq(DO(f, rmdir, .parent = ROOT_INO, .name = N("none")), -ENOENT);
    ck_assert_int_eq(DO(f, rmdir, .parent = 99, .name = N("none")), -ENOENT);
    ck_assert_int_eq(DO(f, rmdir, .parent = d, .name = N("sub")), 0);
    ck_assert_uint_eq(f->rep.rmdir_rep.ino, sub);
    ck_assert_uint_eq(attr(f, d).nlink, 2);
    ck_assert_uint_eq(attr(f, d).size, 0);
    ck_assert(same_time(attr(f, d).mtime, last_time(f)));
    ck_assert_uint_eq(attr(f, sub).ino, 0);
    ck_assert_int_eq(DO(f, mkdir, .parent = sub, .name = N("x")), -ENOENT);
    ck_assert_int_eq(DO(f, rmdir, .parent = ROOT_INO, .name = N("d")), 0);
    ck_assert_uint_ne(make_dir(f, ROOT_INO, "d"), d); /* numbers are not used again */
    fixture_close(f);
}
END_TEST

/* Reads a directory in pieces of at most `bytes` bytes; gives the entries and their bitwise sum of
 * inodes. */
static unsigned read_all(struct fixture *f, uint64_t dir, uint32_t bytes, bool plus,
                         uint64_t *out_inodes, unsigned *out_pieces)
{
    unsigned n = 0;
    uint64_t cookie = 0;
    bool end = false;
    *out_inodes = 0;
    *out_pieces = 0;
    while (!end) {
        ck_assert_int_eq(
            ASK(f, readdir, .dir = dir, .cookie = cookie, .bytes = bytes, .plus = plus), 0);
        struct readdir_rep rep = f->rep.readdir_rep;
        struct reader r = reader_of(rep.entries);
        unsigned here = 0;
        while (!reader_done(&r)) {
            struct dir_entry e;
            dec_dir_entry(&r, &e);
            ck_assert_int_eq(r.err, 0);
            ck_assert_uint_gt(e.cookie, cookie);
            ck_assert_uint_ge(e.cookie, DIRENT_COOKIE_MIN);
            ck_assert_uint_le(e.cookie, INT64_MAX);
            cookie = e.cookie;
            *out_inodes += e.attr.ino;
            ck_assert_uint_eq(e.attr.nlink, plus ? 1 : 0);
            ck_assert_uint_eq(e.attr.mode & S_IFMT, S_IFREG);
            n++;
            here++;
        }
        ck_assert(rep.entries.len <= bytes || here == 1);
        ck_assert(here > 0 || end || rep.end);
        end = rep.end;
        ++*out_pieces;
    }
    return n;
}

START_TEST(readdir_gives_all_once)
{
    struct fixture *f = fixture_open();
    uint64_t d = make_dir(f, ROOT_INO, "d"), sum = 0, got;
    unsigned pieces;
    ck_assert_uint_eq(read_all(f, d, 4096, true, &got, &pieces), 0);
    ck_assert_uint_eq(f->rep.readdir_rep.parent, ROOT_INO);
    for (int i = 0; i < 500; i++) {
        char name[32];
        snprintf(name, sizeof(name), "name %d", i);
        sum += make_file(f, d, name);
    }
    ck_assert_uint_eq(read_all(f, d, 1 << 20, false, &got, &pieces), 500);
    ck_assert_uint_eq(got, sum);
    ck_assert_uint_eq(read_all(f, d, 1000, true, &got, &pieces), 500);
    ck_assert_uint_eq(got, sum);
    ck_assert_uint_gt(pieces, 20);
    ck_assert_uint_eq(read_all(f, d, 0, false, &got, &pieces), 500);
    ck_assert_uint_ge(pieces, 500);
    ck_assert_int_eq(ASK(f, readdir, .dir = 9999), -ENOENT);
    ck_assert_int_eq(ASK(f, readdir, .dir = find(f, d, "name 7")), -ENOTDIR);
    fixture_close(f);
}
END_TEST

/* Entries whose names share a hash cannot be made by hand: rows are put as if they did. */
START_TEST(collisions_are_told_apart)
{
    struct fixture *f = fixture_open();
    struct dirent_row d, found;
    uint64_t free;
    uint64_t cookie = dirent_cookie(N("wanted"));
    ck_assert_uint_eq(cookie & 0xff, 0);
    for (unsigned i = 0; i < 256; i++) {
        char name[32];
        snprintf(name, sizeof(name), "other %u", i);
        d = (struct dirent_row){77, cookie + i, 5, S_IFREG, N(name)};
        ck_assert_int_eq(dirent_find(f->store, 77, N("wanted"), &found, &free), -ENOENT);
        ck_assert_uint_eq(free, cookie + i);
        dirent_save(f->store, &d);
    }
    ck_assert_int_eq(dirent_find(f->store, 77, N("wanted"), &found, &free), -ENOENT);
    ck_assert_uint_eq(free, 0);
    dirent_delete(f->store, 77, cookie + 3);
    dirent_delete(f->store, 77, cookie + 200);
    ck_assert_int_eq(dirent_find(f->store, 77, N("wanted"), &found, &free), -ENOENT);
    ck_assert_uint_eq(free, cookie + 3);
    d = (struct dirent_row){77, cookie + 200, 9, S_IFLNK, N("wanted")};
    dirent_save(f->store, &d);
    ck_assert_int_eq(dirent_find(f->store, 77, N("wanted"), &found, &free), 0);
    ck_assert_uint_eq(found.cookie, cookie + 200);
    ck_assert_uint_eq(found.ino, 9);
    ck_assert_uint_eq(found.type, S_IFLNK);
    ck_assert_int_eq(dirent_find(f->store, 76, N("wanted"), &found, &free), -ENOENT);
    ck_assert_uint_eq(free, cookie);
    for (unsigned i = 0; i < 256; i++) {
        dirent_delete(f->store, 77, cookie + i);
    }
    fixture_close(f);
}
END_TEST

START_TEST(answers_depend_on_what_they_saw)
{
    struct fixture *f = fixture_open();
    uint64_t a = make_dir(f, ROOT_INO, "a");
    uint64_t made_a = f->index;
    uint64_t b = make_dir(f, ROOT_INO, "b");
    uint64_t made_b = f->index;
    ck_assert_int_eq(ASK(f, getattr, .ino = a), 0);
    ck_assert_uint_eq(f->depends, made_a);
    ck_assert_int_eq(ASK(f, getattr, .ino = b), 0);
    ck_assert_uint_eq(f->depends, made_b);
    ck_assert_int_eq(ASK(f, lookup, .parent = ROOT_INO, .name = N("c")), -ENOENT);
    ck_assert_uint_eq(f->depends, made_b);
    uint64_t file = make_file(f, a, "file");
    ck_assert_int_eq(DO(f, mkdir, .parent = a, .name = N("file")), -EEXIST);
    ck_assert_uint_eq(f->depends, f->index);
    ck_assert_int_eq(DO(f, setattr, .ino = file, .mask = SETATTR_MODE, .mode = 0600), 0);
    ck_assert_int_eq(ASK(f, readdir, .dir = a, .bytes = 1000), 0);
    ck_assert_uint_eq(f->depends, f->index - 1);
    ck_assert_int_eq(ASK(f, readdir, .dir = a, .bytes = 1000, .plus = true), 0);
    ck_assert_uint_eq(f->depends, f->index);
    ck_assert_int_eq(ASK(f, getattr, .ino = b), 0);
    ck_assert_uint_eq(f->depends, made_b);
    ck_assert_uint_eq(ns_changed_at(f->ns, file), f->index);
    fixture_close(f);
}
END_TEST

Suite *suite_ns_dir(void)
{
    Suite *s = suite_create("ns_dir");
    TCase *t = tcase_create("ns_dir");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, root_is_there);
    tcase_add_test(t, mkdir_makes);
    tcase_add_test(t, mkdir_refuses);
    tcase_add_test(t, changes_tell_of_the_directory);
    tcase_add_test(t, set_gid_is_inherited);
    tcase_add_test(t, rmdir_removes);
    tcase_add_test(t, readdir_gives_all_once);
    tcase_add_test(t, collisions_are_told_apart);
    tcase_add_test(t, answers_depend_on_what_they_saw);
    suite_add_tcase(s, t);
    return s;
}
