/* test_ns_trash.c - the trash: what goes there, how it comes back, how it goes for good. */
#include "master/core/ns_internal.h"
#include "tests/unit/ns_fixture.h"

Suite *suite_ns_trash(void);

enum { GRACE = 100 };

static struct fixture *trash_open(void)
{
    struct fixture *f = fixture_open();
    f->ns->decider.trash_s = GRACE;
    return f;
}

static void drop(struct fixture *f, uint64_t expires, uint64_t ino, bool aside)
{
    struct writer w;
    writer_init(&w);
    enc_u64(&w, &expires);
    enc_u64(&w, &ino);
    RECORD(f, trash_drop, .items = writer_bytes(&w), .aside = aside);
    writer_free(&w);
}

static void purge(struct fixture *f, uint64_t ino)
{
    struct ns_trash t;
    ck_assert_int_eq(ns_trash_get(f->ns, ino, &t), 0);
    drop(f, t.expires, ino, false);
}

/* As the master does it: record by record. */
static int restore(struct fixture *f, uint64_t ino, uint64_t parent, const char *name)
{
    union op_any rec;
    bool last = false;
    struct writer w;
    writer_init(&w);
    int err = 0;
    while (!last && err == 0) {
        err = ns_trash_return(f->ns, ino, parent, bytes_str(name), &w, &rec, &last);
        if (err == 0) {
            fixture_record(f, OP_trash_return, &rec);
        }
    }
    writer_free(&w);
    return err;
}

static void check_path(struct fixture *f, uint64_t ino, const char *want)
{
    struct ns_trash t;
    struct writer w;
    ck_assert_int_eq(ns_trash_get(f->ns, ino, &t), 0);
    writer_init(&w);
    ns_path(f->ns, t.parent, t.name, &w);
    ck_assert_msg(bytes_equal(writer_bytes(&w), bytes_str(want)), "%.*s", (int)w.len,
                  (const char *)writer_bytes(&w).data);
    writer_free(&w);
}

static uint64_t trashed(struct fixture *f)
{
    return store_rows(f->store, TABLE_TRASH);
}

static int unlink_name(struct fixture *f, uint64_t parent, const char *name)
{
    return DO(f, unlink, .parent = parent, .name = N(name));
}

static void check_same(const struct attr *a, const struct attr *b)
{
    struct writer x, y;
    writer_init(&x);
    writer_init(&y);
    enc_attr(&x, a);
    enc_attr(&y, b);
    ck_assert(bytes_equal(writer_bytes(&x), writer_bytes(&y)));
    writer_free(&x);
    writer_free(&y);
}

START_TEST(unlinked_file_comes_back)
{
    struct fixture *f = trash_open();
    uint64_t a = create_file(f, ROOT_INO, "a");
    uint64_t h = chunk(f, a, 0).handle, h3 = grow_chunk(f, a, 3);
    extend(f, a, 3 * FIXTURE_CHUNK + 5);
    ck_assert_int_eq(DO(f, setxattr, .ino = a, .name = N("user.a"), .value = N("b")), 0);
    ck_assert_int_eq(DO(f, setattr, .ino = a,
                        .mask = SETATTR_MODE | SETATTR_UID | SETATTR_MTIME | SETATTR_ATIME,
                        .mode = 04711, .uid = 77, .mtime = {5, 6}, .atime = {7, 8}),
                     0);
    struct attr before = attr(f, a);
    ck_assert_int_eq(unlink_name(f, ROOT_INO, "a"), 0);
    ck_assert_uint_eq(f->rep.unlink_rep.nlink, 0);
    struct ns_trash t;
    ck_assert_int_eq(ns_trash_get(f->ns, a, &t), 0);
    ck_assert_int_eq(t.deleted, last_time(f).sec);
    ck_assert_uint_eq(t.expires, (uint64_t)last_time(f).sec + GRACE);
    ck_assert_uint_eq(t.parent, ROOT_INO);
    ck_assert_uint_eq(t.chunks, 2);
    ck_assert_uint_eq(t.bytes, before.blocks * 512);
    ck_assert_uint_eq(ns_counts(f->ns).trash, 1);
    ck_assert_uint_eq(ns_counts(f->ns).trash_bytes, t.bytes);
    ck_assert_uint_eq(ns_counts(f->ns).garbage, 0);
    ck_assert_uint_eq(find(f, ROOT_INO, "a"), 0);
    check_path(f, a, "/a");
    fixture_check(f);
    /* It is hidden. */
    ck_assert_int_eq(ASK(f, getattr, .ino = a), -ENOENT);
    ck_assert_int_eq(DO(f, extend, .ino = a, .end = 100), -ENOENT);
    ck_assert_int_eq(DO(f, link, .ino = a, .parent = ROOT_INO, .name = N("b")), -ENOENT);
    ck_assert_int_eq(restore(f, a, 0, ""), 0);
    ck_assert_uint_eq(find(f, ROOT_INO, "a"), a);
    struct attr after = attr(f, a);
    ck_assert(same_time(after.ctime, last_time(f)));
    after.ctime = before.ctime;
    check_same(&after, &before);
    ck_assert_uint_eq(chunk(f, a, 0).handle, h);
    ck_assert_uint_eq(chunk(f, a, 3).handle, h3);
    ck_assert_int_eq(ASK(f, getxattr, .ino = a, .name = N("user.a")), 0);
    ck_assert_uint_eq(trashed(f), 0);
    ck_assert_uint_eq(ns_counts(f->ns).trash_bytes, 0);
    ck_assert_int_eq(restore(f, a, 0, ""), -ENOENT);
    fixture_close(f);
}
END_TEST

START_TEST(only_files_with_their_last_name_and_directories)
{
    struct fixture *f = trash_open();
    uint64_t a = make_file(f, ROOT_INO, "a");
    ck_assert_int_eq(DO(f, link, .ino = a, .parent = ROOT_INO, .name = N("b")), 0);
    ck_assert_int_eq(unlink_name(f, ROOT_INO, "a"), 0);
    ck_assert_uint_eq(trashed(f), 0);
    ck_assert_int_eq(DO(f, symlink, .parent = ROOT_INO, .name = N("s"), .target = N("t")), 0);
    ck_assert_int_eq(unlink_name(f, ROOT_INO, "s"), 0);
    ck_assert_int_eq(DO(f, mknod, .parent = ROOT_INO, .name = N("p"), .mode = S_IFIFO), 0);
    ck_assert_int_eq(unlink_name(f, ROOT_INO, "p"), 0);
    ck_assert_uint_eq(trashed(f), 0);
    ck_assert_int_eq(unlink_name(f, ROOT_INO, "b"), 0);
    ck_assert_uint_eq(trashed(f), 1);
    make_dir(f, ROOT_INO, "d");
    ck_assert_int_eq(DO(f, rmdir, .parent = ROOT_INO, .name = N("d")), 0);
    ck_assert_uint_eq(trashed(f), 2);
    fixture_close(f);
}
END_TEST

START_TEST(grace_of_the_session)
{
    struct fixture *f = trash_open();
    ck_assert_int_eq(DO(f, session_open, .nonce = 1, .host = N("h"), .trash = 1), 0);
    uint64_t none = f->rep.session_open_rep.session;
    ck_assert_int_eq(DO(f, session_open, .nonce = 2, .host = N("h"), .trash = 8), 0);
    uint64_t seven = f->rep.session_open_rep.session;
    uint64_t cluster = open_session(f, 3);
    make_file(f, ROOT_INO, "a");
    uint64_t b = make_file(f, ROOT_INO, "b");
    uint64_t c = make_file(f, ROOT_INO, "c");
    f->session = none;
    ck_assert_int_eq(unlink_name(f, ROOT_INO, "a"), 0);
    ck_assert_uint_eq(trashed(f), 0);
    f->session = seven;
    ck_assert_int_eq(unlink_name(f, ROOT_INO, "b"), 0);
    struct ns_trash t;
    ck_assert_int_eq(ns_trash_get(f->ns, b, &t), 0);
    ck_assert_uint_eq(t.expires, (uint64_t)last_time(f).sec + 7);
    f->session = cluster;
    f->sequence = 0;
    ck_assert_int_eq(unlink_name(f, ROOT_INO, "c"), 0);
    ck_assert_int_eq(ns_trash_get(f->ns, c, &t), 0);
    ck_assert_uint_eq(t.expires, (uint64_t)last_time(f).sec + GRACE);
    /* The first to go comes first. */
    ck_assert_int_eq(ns_trash_next(f->ns, 0, 0, &t), 0);
    ck_assert_uint_eq(t.ino, b);
    ck_assert_int_eq(ns_trash_next(f->ns, t.expires, t.ino + 1, &t), 0);
    ck_assert_uint_eq(t.ino, c);
    fixture_close(f);
}
END_TEST

START_TEST(renamed_over)
{
    struct fixture *f = trash_open();
    uint64_t d = make_dir(f, ROOT_INO, "d");
    uint64_t a = make_file(f, ROOT_INO, "a"), b = make_file(f, d, "b");
    ck_assert_int_eq(
        DO(f, rename, .parent = ROOT_INO, .name = N("a"), .new_parent = d, .new_name = N("b")), 0);
    ck_assert_uint_eq(find(f, d, "b"), a);
    check_path(f, b, "/d/b");
    ck_assert_int_eq(restore(f, b, 0, ""), -EEXIST);
    ck_assert_int_eq(restore(f, b, ROOT_INO, "b2"), 0);
    ck_assert_uint_eq(find(f, ROOT_INO, "b2"), b);
    uint64_t e = make_dir(f, ROOT_INO, "e"), g = make_dir(f, ROOT_INO, "g");
    ck_assert_int_eq(DO(f, rename, .parent = ROOT_INO, .name = N("e"), .new_parent = ROOT_INO,
                        .new_name = N("g")),
                     0);
    ck_assert_uint_eq(find(f, ROOT_INO, "g"), e);
    check_path(f, g, "/g");
    fixture_check(f);
    ck_assert_int_eq(restore(f, g, 0, ""), -EEXIST);
    ck_assert_int_eq(restore(f, g, e, "in"), 0);
    ck_assert_uint_eq(find(f, e, "in"), g);
    fixture_close(f);
}
END_TEST

/* top/mid/{x,y}, removed as rm -r does; top was renamed and moved before. */
struct tree {
    uint64_t top, mid, x, y;
};

static struct tree remove_tree(struct fixture *f)
{
    struct tree t;
    uint64_t other = make_dir(f, ROOT_INO, "other");
    t.top = make_dir(f, other, "old");
    t.mid = make_dir(f, t.top, "mid");
    ck_assert_int_eq(DO(f, rename, .parent = other, .name = N("old"), .new_parent = ROOT_INO,
                        .new_name = N("top")),
                     0);
    t.x = create_file(f, t.mid, "x");
    t.y = create_file(f, t.mid, "y");
    ck_assert_int_eq(unlink_name(f, t.mid, "x"), 0);
    ck_assert_int_eq(unlink_name(f, t.mid, "y"), 0);
    ck_assert_int_eq(DO(f, rmdir, .parent = t.top, .name = N("mid")), 0);
    ck_assert_int_eq(DO(f, rmdir, .parent = ROOT_INO, .name = N("top")), 0);
    fixture_check(f);
    return t;
}

START_TEST(tree_comes_back)
{
    struct fixture *f = trash_open();
    struct tree t = remove_tree(f);
    check_path(f, t.x, "/top/mid/x");
    check_path(f, t.mid, "/top/mid");
    /* A removed directory is none for anybody. */
    ck_assert_int_eq(DO(f, mkdir, .parent = t.mid, .name = N("n")), -ENOENT);
    ck_assert_int_eq(ASK(f, getattr, .ino = t.mid), -ENOENT);
    ck_assert_int_eq(ASK(f, readdir, .dir = t.mid, .bytes = 4096), -ENOENT);
    ck_assert_int_eq(restore(f, t.x, 0, ""), 0);
    ck_assert_uint_eq(find(f, ROOT_INO, "top"), t.top);
    ck_assert_uint_eq(find(f, t.top, "mid"), t.mid);
    ck_assert_uint_eq(find(f, t.mid, "x"), t.x);
    ck_assert_uint_eq(attr(f, ROOT_INO).nlink, 4);
    ck_assert_int_eq(restore(f, t.y, 0, ""), 0);
    ck_assert_uint_eq(trashed(f), 0);
    fixture_close(f);
}
END_TEST

START_TEST(tree_comes_back_into_a_new_one)
{
    struct fixture *f = trash_open();
    struct tree t = remove_tree(f);
    uint64_t top = make_dir(f, ROOT_INO, "top");
    ck_assert_int_eq(restore(f, t.x, 0, ""), 0);
    ck_assert_uint_eq(find(f, top, "mid"), t.mid);
    ck_assert_uint_eq(find(f, t.mid, "x"), t.x);
    ck_assert_int_eq(restore(f, t.top, 0, ""), -EEXIST);
    ck_assert_int_eq(unlink_name(f, t.mid, "x"), 0);
    ck_assert_int_eq(DO(f, rmdir, .parent = top, .name = N("mid")), 0);
    make_file(f, top, "mid");
    ck_assert_int_eq(restore(f, t.x, 0, ""), -ENOTDIR);
    purge(f, t.mid);
    ck_assert_int_eq(restore(f, t.x, 0, ""), -ESTALE);
    check_path(f, t.x, "/(gone)/x");
    ck_assert_int_eq(restore(f, t.x, top, "x"), 0);
    fixture_close(f);
}
END_TEST

START_TEST(purged_file_goes)
{
    struct fixture *f = trash_open();
    uint64_t a = create_file(f, ROOT_INO, "a"), b = create_file(f, ROOT_INO, "b");
    uint64_t ha = chunk(f, a, 0).handle, hb = chunk(f, b, 0).handle;
    ck_assert_int_eq(unlink_name(f, ROOT_INO, "a"), 0);
    ck_assert_int_eq(unlink_name(f, ROOT_INO, "b"), 0);
    struct ns_trash t;
    ck_assert_int_eq(ns_trash_get(f->ns, a, &t), 0);
    drop(f, t.expires + 1, a, false); /* another row than it has */
    ck_assert_int_eq(ns_trash_get(f->ns, a, &t), 0);
    drop(f, t.expires, a, false);
    drop(f, t.expires, a, false);
    ck_assert_uint_eq(attr(f, a).ino, 0);
    ck_assert_uint_eq(garbage_of(f, ha), 3);
    ck_assert(!ns_garbage_aside(f->ns, ha, 1));
    ck_assert_int_eq(ns_trash_get(f->ns, b, &t), 0);
    drop(f, t.expires, b, true);
    ck_assert(ns_garbage_aside(f->ns, hb, 1));
    ck_assert_uint_eq(trashed(f), 0);
    fixture_close(f);
}
END_TEST

/* It goes when neither a holder nor the trash keeps it, whichever ends first. */
START_TEST(held_and_in_the_trash)
{
    struct fixture *f = trash_open();
    uint64_t s = open_session(f, 1);
    uint64_t a = create_file(f, ROOT_INO, "a"), b = create_file(f, ROOT_INO, "b");
    uint64_t c = create_file(f, ROOT_INO, "c");
    hold(f, a, s);
    hold(f, b, s);
    hold(f, c, s);
    ck_assert_int_eq(unlink_name(f, ROOT_INO, "a"), 0);
    ck_assert_int_eq(unlink_name(f, ROOT_INO, "b"), 0);
    ck_assert_int_eq(unlink_name(f, ROOT_INO, "c"), 0);
    ck_assert_uint_eq(trashed(f), 3);
    extend(f, a, 10); /* its holder may write on */
    fixture_check(f);
    purge(f, a);
    ck_assert_uint_eq(attr(f, a).ino, a);
    fixture_check(f);
    RECORD(f, release_orphan, .ino = a, .session = s);
    ck_assert_uint_eq(attr(f, a).ino, 0);
    RECORD(f, release_orphan, .ino = b, .session = s);
    struct ns_trash t;
    ck_assert_int_eq(ns_trash_get(f->ns, b, &t), 0);
    ck_assert_uint_eq(attr(f, b).ino, 0); /* hidden */
    purge(f, b);
    ck_assert_uint_eq(attr(f, b).ino, 0);
    /* With a name again nobody holds it as an orphan. */
    ck_assert_int_eq(restore(f, c, 0, ""), 0);
    ck_assert_uint_eq(store_rows(f->store, TABLE_ORPHAN), 0);
    RECORD(f, release_orphan, .ino = c, .session = s);
    ck_assert_uint_eq(attr(f, c).nlink, 1);
    RECORD(f, session_expire, .session = s);
    ck_assert_uint_eq(find(f, ROOT_INO, "c"), c);
    fixture_close(f);
}
END_TEST

START_TEST(huge_file_goes_in_slices)
{
    struct fixture *f = fixture_open(); /* no grace */
    uint64_t a = create_file(f, ROOT_INO, "a");
    for (uint64_t n = 1; n <= SLICE_CHUNKS; n++) {
        grow_chunk(f, a, n);
    }
    uint64_t b = create_file(f, ROOT_INO, "b");
    ck_assert_int_eq(unlink_name(f, ROOT_INO, "a"), 0);
    ck_assert_uint_eq(ns_counts(f->ns).garbage, 0);
    ck_assert_int_eq(ASK(f, getattr, .ino = a), -ENOENT);
    struct ns_trash t;
    ck_assert_int_eq(ns_trash_get(f->ns, a, &t), -ENOENT);
    ck_assert_int_eq(ns_trash_next(f->ns, 0, 0, &t), 0);
    ck_assert_uint_eq(t.expires, 0);
    ck_assert_uint_eq(t.chunks, SLICE_CHUNKS + 1);
    ck_assert_int_eq(restore(f, a, 0, ""), -ENOENT);
    fixture_check(f);
    RECORD(f, chunks_drop, .ino = a, .count = 1000);
    ck_assert_uint_eq(ns_counts(f->ns).garbage, 3000);
    fixture_check(f);
    RECORD(f, chunks_drop, .ino = a, .count = 1000);
    ck_assert_uint_eq(attr(f, a).ino, 0);
    ck_assert_uint_eq(attr(f, b).ino, b);
    ck_assert_uint_eq(trashed(f), 0);
    ck_assert_uint_eq(ns_counts(f->ns).garbage, 3 * (SLICE_CHUNKS + 1));
    /* The same from the trash, and from the last holder. */
    for (uint64_t n = 1; n <= SLICE_CHUNKS; n++) {
        grow_chunk(f, b, n);
    }
    f->ns->decider.trash_s = GRACE;
    uint64_t s = open_session(f, 1);
    hold(f, b, s);
    ck_assert_int_eq(unlink_name(f, ROOT_INO, "b"), 0);
    purge(f, b);
    fixture_check(f);
    RECORD(f, release_orphan, .ino = b, .session = s);
    fixture_check(f);
    RECORD(f, chunks_drop, .ino = b, .count = 2 * SLICE_CHUNKS);
    ck_assert_uint_eq(trashed(f), 0);
    fixture_close(f);
}
END_TEST

START_TEST(inodes_of_paths)
{
    struct fixture *f = trash_open();
    uint64_t d = make_dir(f, ROOT_INO, "d"), e = make_dir(f, d, "e"), a = make_file(f, e, "a");
    uint64_t ino;
    struct bytes name;
    ck_assert_int_eq(ns_path_find(f->ns, N("/d/e/a"), &ino, NULL), 0);
    ck_assert_uint_eq(ino, a);
    ck_assert_int_eq(ns_path_find(f->ns, N("d//e/"), &ino, NULL), 0);
    ck_assert_uint_eq(ino, e);
    ck_assert_int_eq(ns_path_find(f->ns, N("/"), &ino, NULL), 0);
    ck_assert_uint_eq(ino, ROOT_INO);
    ck_assert_int_eq(ns_path_find(f->ns, N("/"), &ino, &name), -EINVAL);
    ck_assert_int_eq(ns_path_find(f->ns, N("/d/new"), &ino, &name), 0);
    ck_assert_uint_eq(ino, d);
    ck_assert(bytes_equal(name, N("new")));
    ck_assert_int_eq(ns_path_find(f->ns, N("/x/new"), &ino, &name), -ENOENT);
    ck_assert_int_eq(ns_path_find(f->ns, N("/d/e/a/b"), &ino, NULL), -ENOTDIR);
    fixture_close(f);
}
END_TEST

Suite *suite_ns_trash(void)
{
    Suite *s = suite_create("ns_trash");
    TCase *t = tcase_create("ns_trash");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, unlinked_file_comes_back);
    tcase_add_test(t, only_files_with_their_last_name_and_directories);
    tcase_add_test(t, grace_of_the_session);
    tcase_add_test(t, renamed_over);
    tcase_add_test(t, tree_comes_back);
    tcase_add_test(t, tree_comes_back_into_a_new_one);
    tcase_add_test(t, purged_file_goes);
    tcase_add_test(t, held_and_in_the_trash);
    tcase_add_test(t, huge_file_goes_in_slices);
    tcase_add_test(t, inodes_of_paths);
    suite_add_tcase(s, t);
    return s;
}
