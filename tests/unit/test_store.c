/* test_store.c - rows, their hash, commits and copies. */
#include "master/core/store.h"
#include "tests/unit/dir_env.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static struct dir_env *d;
static struct store *s;
static struct why why;

static void reopen(void)
{
    ck_assert_msg(store_open(&d->env, "data.mdb", &s, &why) == 0, "%s", why.text);
}

static void setup(void)
{
    d = dir_env_new();
    reopen();
}

static void teardown(void)
{
    store_close(s);
    dir_env_free(d);
}

static struct bytes b(const char *text)
{
    return bytes_str(text);
}

static void put(const char *key, const char *value)
{
    store_put(s, TABLE_INODE, b(key), b(value));
}

static void expect_row(const char *key, const char *value)
{
    struct bytes v;
    ck_assert_int_eq(store_get(s, TABLE_INODE, b(key), &v), 0);
    ck_assert(bytes_equal(v, b(value)));
}

START_TEST(a_put_is_seen_at_once)
{
    struct bytes v;
    ck_assert_int_eq(store_get(s, TABLE_INODE, b("a"), &v), -ENOENT);
    put("a", "1");
    expect_row("a", "1");
    put("a", "22");
    expect_row("a", "22");
    ck_assert_int_eq(store_get(s, TABLE_CHUNK, b("a"), &v), -ENOENT);
    ck_assert_uint_eq(store_rows(s, TABLE_INODE), 1);
    ck_assert_int_eq(store_del(s, TABLE_INODE, b("a")), 0);
    ck_assert_int_eq(store_del(s, TABLE_INODE, b("a")), -ENOENT);
    ck_assert_uint_eq(store_rows(s, TABLE_INODE), 0);
}
END_TEST

/* A value may be a view of the very page that the put changes. */
START_TEST(a_value_may_be_a_view_of_the_store)
{
    struct bytes v;
    put("a", "the value of a");
    ck_assert_int_eq(store_get(s, TABLE_INODE, b("a"), &v), 0);
    store_put(s, TABLE_INODE, b("A"), v);
    expect_row("A", "the value of a");
}
END_TEST

START_TEST(seek_finds_the_next_row)
{
    struct bytes k, v;
    put("b", "1");
    put("d", "2");
    ck_assert_int_eq(store_seek(s, TABLE_INODE, b(""), false, &k, &v), 0);
    ck_assert(bytes_equal(k, b("b")));
    ck_assert_int_eq(store_seek(s, TABLE_INODE, b("b"), false, &k, &v), 0);
    ck_assert(bytes_equal(k, b("b")));
    ck_assert_int_eq(store_seek(s, TABLE_INODE, b("b"), true, &k, &v), 0);
    ck_assert(bytes_equal(k, b("d")));
    ck_assert(bytes_equal(v, b("2")));
    ck_assert_int_eq(store_seek(s, TABLE_INODE, b("c"), true, &k, &v), 0);
    ck_assert(bytes_equal(k, b("d")));
    ck_assert_int_eq(store_seek(s, TABLE_INODE, b("d"), true, &k, &v), -ENOENT);
}
END_TEST

static bool append_key(void *owner, struct bytes key, struct bytes value)
{
    struct bytes again; /* a look-up in the same table does not disturb the walk */
    ck_assert_int_eq(store_get(s, TABLE_INODE, b("a"), &again), 0);
    strncat(owner, (const char *)key.data, key.len);
    return !bytes_equal(value, b("stop"));
}

START_TEST(walk_stops_when_told)
{
    char seen[16] = "";
    put("a", "1");
    put("b", "2");
    put("c", "stop");
    put("d", "4");
    store_walk(s, TABLE_INODE, b("b"), append_key, seen);
    ck_assert_str_eq(seen, "bc");
    store_walk(s, TABLE_INODE, b("d"), append_key, seen);
    ck_assert_str_eq(seen, "bcd");
}
END_TEST

/* The hash says which rows there are, not how they came; TABLE_META is not in it. */
START_TEST(hash_depends_on_rows_alone)
{
    ck_assert_uint_eq(store_hash(s), 0);
    put("a", "1");
    uint64_t one = store_hash(s);
    put("b", "2");
    uint64_t two = store_hash(s);
    ck_assert_uint_ne(one, two);
    store_put(s, TABLE_META, b("counter"), b("9"));
    ck_assert_uint_eq(store_hash(s), two);
    put("b", "3");
    ck_assert_uint_ne(store_hash(s), two);
    ck_assert_int_eq(store_del(s, TABLE_INODE, b("a")), 0);
    ck_assert_int_eq(store_del(s, TABLE_INODE, b("b")), 0);
    ck_assert_uint_eq(store_hash(s), 0);
    put("b", "2");
    put("a", "1");
    ck_assert_uint_eq(store_hash(s), two);
    ck_assert_int_eq(store_del(s, TABLE_INODE, b("b")), 0);
    ck_assert_uint_eq(store_hash(s), one);
    store_put(s, TABLE_CHUNK, b("b"), b("2"));
    ck_assert_uint_ne(store_hash(s), two);
}
END_TEST

/* What was not committed is gone after a kill; the position comes with the rows. */
START_TEST(only_commits_survive)
{
    ck_assert_uint_eq(store_committed(s).index, 0);
    put("a", "1");
    uint64_t hash = store_hash(s);
    store_commit(s, (struct store_position){.index = 12, .epoch = 3, .chain = 99, .time_ns = -7});
    put("b", "2");
    store_close(s);
    reopen();
    struct bytes v;
    expect_row("a", "1");
    ck_assert_int_eq(store_get(s, TABLE_INODE, b("b"), &v), -ENOENT);
    ck_assert_uint_eq(store_committed(s).index, 12);
    ck_assert_uint_eq(store_committed(s).epoch, 3);
    ck_assert_uint_eq(store_committed(s).chain, 99);
    ck_assert_int_eq(store_committed(s).time_ns, -7);
    ck_assert_uint_eq(store_committed(s).hash, hash);
    ck_assert_uint_eq(store_hash(s), hash);
}
END_TEST

static void put_many(uint32_t count, uint32_t step)
{
    for (uint32_t i = 0; i < count; i++) {
        char key[32];
        /* An odd factor modulo a power of two: every key once, in scattered order. */
        snprintf(key, sizeof(key), "key-%08u", i * 7919 % 65536 * step);
        store_put(s, TABLE_DENTRY, b(key), b("a value of some twenty bytes"));
    }
}

/* The copy holds the snapshot, while the loop changes and commits further rows. */
START_TEST(copy_is_the_committed_state)
{
    struct store_position at;
    put_many(5000, 1);
    uint64_t hash = store_hash(s);
    store_commit(s, (struct store_position){.index = 5000, .epoch = 1, .chain = 7});
    put_many(200, 3);
    struct store_copy *copy = store_copy_begin(s, "copy.mdb");
    put_many(300, 5);
    store_commit(s, (struct store_position){.index = 5500, .epoch = 1, .chain = 8});
    store_copy_run(copy, UINT64_MAX / 2);
    put_many(100, 11);
    ck_assert_msg(store_copy_end(copy, &at, &why) == 0, "%s", why.text);
    ck_assert_uint_eq(at.index, 5000);
    ck_assert_uint_eq(at.hash, hash);

    struct store *c;
    ck_assert_int_eq(store_restore(&d->env, "copy.mdb", "restored.mdb", &why), 0);
    ck_assert_int_eq(store_open(&d->env, "restored.mdb", &c, &why), 0);
    ck_assert_uint_eq(store_committed(c).index, 5000);
    ck_assert_uint_eq(store_committed(c).chain, 7);
    ck_assert_uint_eq(store_hash(c), hash);
    ck_assert_uint_eq(store_rows(c, TABLE_DENTRY), 5000);
    store_close(c);
}
END_TEST

static int64_t size_of(const char *name)
{
    struct env_file *f;
    ck_assert_int_eq(env_file_open(&d->env, name, ENV_OPEN_READ_ONLY, &f), 0);
    int64_t size = env_file_size(&d->env, f);
    env_file_close(&d->env, f);
    return size;
}

/* Pages that random inserts and deletes left half empty come out full. */
START_TEST(copy_is_dense)
{
    struct store_position at;
    put_many(60000, 1);
    store_commit(s, (struct store_position){.index = 1});
    for (uint32_t i = 0; i < 65536; i += 2) {
        char key[32];
        snprintf(key, sizeof(key), "key-%08u", i);
        (void)store_del(s, TABLE_DENTRY, b(key)); /* some never were there */
    }
    store_commit(s, (struct store_position){.index = 2});
    struct store_copy *copy = store_copy_begin(s, "copy.mdb");
    store_copy_run(copy, UINT64_MAX / 2);
    ck_assert_int_eq(store_copy_end(copy, &at, &why), 0);
    /* 12 bytes of key, 28 of value, 10 of LMDB, 2 % of inner pages, some pages for the tables. */
    uint64_t rows = store_rows(s, TABLE_DENTRY);
    ck_assert_int_lt(size_of("copy.mdb"), (int64_t)(rows * 52 + 40 * 4096));
}
END_TEST

/* The same in slices, each of which leaves the loop free. */
START_TEST(copy_goes_in_slices)
{
    struct store_position at;
    put_many(5000, 1);
    store_commit(s, (struct store_position){.index = 1});
    struct store_copy *copy = store_copy_begin(s, "copy.mdb");
    uint32_t slices = 0;
    while (!store_copy_over(copy)) {
        uint64_t before = store_copy_bytes(copy);
        store_copy_run(copy, 16 << 10);
        ck_assert_uint_lt(store_copy_bytes(copy), before + (17 << 10));
        put_many(10, ++slices);
        store_commit(s, (struct store_position){.index = 1 + slices});
    }
    ck_assert_uint_gt(slices, 10);
    ck_assert_int_eq(store_copy_end(copy, &at, &why), 0);
    ck_assert_uint_eq(at.index, 1);
    copy = store_copy_begin(s, "copy.mdb");
    store_copy_run(copy, 16 << 10);
    ck_assert_int_eq(store_copy_end(copy, &at, &why), -ECANCELED);
}
END_TEST

/* Rows whose bytes are the same in a row, and whose key lengths differ by 256, are two. */
START_TEST(hash_knows_long_keys)
{
    uint8_t bytes[300];
    memset(bytes, 'x', sizeof(bytes));
    store_put(s, TABLE_XATTR, bytes_of(bytes, 264), bytes_of(bytes + 264, 36));
    uint64_t one = store_hash(s);
    ck_assert_int_eq(store_del(s, TABLE_XATTR, bytes_of(bytes, 264)), 0);
    ck_assert_uint_eq(store_hash(s), 0);
    store_put(s, TABLE_XATTR, bytes_of(bytes, 8), bytes_of(bytes + 8, 292));
    ck_assert_uint_ne(store_hash(s), one);
}
END_TEST

/* ---------------------------------------------------------------- space */

static struct stat stat_of_data(void)
{
    struct stat st;
    ck_assert_int_eq(stat(dir_env_path(d, "data.mdb"), &st), 0);
    return st;
}

/* The file's blocks are there before its pages are; its size is LMDB's affair. */
START_TEST(space_is_taken_ahead)
{
    enum { AHEAD = 4 << 20 };
    struct stat before = stat_of_data();
    store_preallocate(s, AHEAD);
    ck_assert_uint_ge(store_space_ahead(s), AHEAD);
    ck_assert_int_eq(stat_of_data().st_size, before.st_size);
    ck_assert_int_ge((int64_t)stat_of_data().st_blocks * 512, before.st_size + AHEAD);
    for (uint32_t i = 1; i <= 20; i++) {
        put_many(5000, i);
        store_commit(s, (struct store_position){.index = i});
        dir_env_pump(d);
        ck_assert_uint_ge(store_space_ahead(s), AHEAD);
        ck_assert_int_ge((int64_t)stat_of_data().st_blocks * 512, stat_of_data().st_size + AHEAD);
    }
    ck_assert_int_gt(stat_of_data().st_size, AHEAD);
}
END_TEST

/* While a snapshot is read no page is used again; even so a commit that is made when it is due
 * stays within what was taken. */
START_TEST(a_commit_fits_when_it_is_made_in_time)
{
    struct store_position at;
    uint32_t commits = 0;
    put_many(20000, 1);
    store_commit(s, (struct store_position){.index = 1});
    store_preallocate(s, 1 << 20);
    struct store_copy *copy = store_copy_begin(s, "copy.mdb");
    for (uint32_t i = 0; i < 20000; i++) {
        char key[32];
        snprintf(key, sizeof(key), "key-%08u", i * 7919 % 65536);
        store_put(s, i % 3 ? TABLE_DENTRY : TABLE_INODE, b(key), b("another value of some length"));
        if (store_commit_due(s)) {
            int64_t end = stat_of_data().st_blocks * 512;
            store_commit(s, (struct store_position){.index = 2 + i});
            ck_assert_int_le(stat_of_data().st_size, end);
            dir_env_pump(d);
            commits++;
        }
    }
    ck_assert_uint_gt(commits, 100);
    ck_assert_int_eq(store_copy_end(copy, &at, &why), -ECANCELED);
}
END_TEST

static void others_make_room(void)
{
    d->allocate_end = 0;
    store_refresh_room(s);
    dir_env_pump(d);
    store_refresh_room(s);
}

/* No space to be had, although the disk claims some: growth is refused, what was taken stays for
 * deletes, and when there is space again all is as before. */
START_TEST(without_space_there_is_no_room)
{
    enum { AHEAD = 4 << 20 };
    store_preallocate(s, AHEAD);
    uint64_t before = store_room(s);
    d->allocate_end = (uint64_t)stat_of_data().st_size + AHEAD;
    put_many(20000, 1);
    ck_assert(!store_commit_due(s) || store_space_ahead(s) > 0);
    store_commit(s, (struct store_position){.index = 1});
    dir_env_pump(d);
    store_commit(s, (struct store_position){.index = 2});
    ck_assert_uint_lt(store_room(s), 16 << 20);
    ck_assert_uint_lt(store_space_ahead(s), AHEAD);
    ck_assert_uint_gt(store_space_ahead(s), AHEAD / 4);
    others_make_room();
    ck_assert_uint_ge(store_space_ahead(s), AHEAD);
    ck_assert_uint_gt(store_room(s), before / 2);
}
END_TEST

/* A commit asked for more than is wanted ahead, in vain, and grew the file by nothing: that there is room
 * again is noticed all the same. */
START_TEST(room_comes_back_although_enough_is_ahead)
{
    enum { AHEAD = 1 << 20 };
    for (uint32_t i = 1; i <= 6; i++) { /* leaves free pages in the file */
        put_many(20000, 1 + i % 2);
        store_commit(s, (struct store_position){.index = i});
    }
    store_preallocate(s, AHEAD);
    uint64_t before = store_room(s);
    d->allocate_end = (uint64_t)stat_of_data().st_size + AHEAD;
    put_many(20000, 1);
    store_commit(s, (struct store_position){.index = 7});
    dir_env_pump(d);
    ck_assert_uint_ge(store_space_ahead(s), AHEAD);
    ck_assert_uint_lt(store_room(s), before / 2);
    others_make_room();
    ck_assert_uint_gt(store_room(s), before / 2);
}
END_TEST

/* Filesystems without allocation: only the reserve guards. */
START_TEST(space_may_not_be_had_ahead)
{
    d->allocate_error = -EOPNOTSUPP;
    uint64_t before = store_room(s);
    store_preallocate(s, 4 << 20);
    put_many(20000, 1);
    ck_assert(!store_commit_due(s));
    store_commit(s, (struct store_position){.index = 1});
    dir_env_pump(d);
    ck_assert_uint_gt(store_room(s), before / 2);
}
END_TEST

/* The environment keeps room for deletes: less is offered than is there. */
START_TEST(room_leaves_the_reserve)
{
    d->disk_total = 1000 << 20;
    d->disk_free = 100 << 20;
    store_commit(s, (struct store_position){.index = 1});
    ck_assert_uint_ge(store_room(s), 80 << 20);
    ck_assert_uint_lt(store_room(s), 81 << 20);
    d->disk_free = 10 << 20;
    store_commit(s, (struct store_position){.index = 2});
    ck_assert_uint_lt(store_room(s), 1 << 20);
    d->disk_free = 20 << 20;
    put_many(50000, 1);
    store_commit(s, (struct store_position){.index = 3});
    uint64_t before = store_room(s);
    for (uint32_t i = 0; i < 65536; i++) {
        char key[32];
        snprintf(key, sizeof(key), "key-%08u", i);
        (void)store_del(s, TABLE_DENTRY, b(key));
    }
    store_commit(s, (struct store_position){.index = 4});
    ck_assert_uint_gt(store_room(s), before + (2 << 20));
}
END_TEST

START_TEST(a_file_that_is_no_environment_is_refused)
{
    struct store *other;
    struct env_file *f;
    char junk[16384];
    memset(junk, 0x5a, sizeof(junk));
    ck_assert_int_eq(env_file_open(&d->env, "junk.mdb", ENV_OPEN_CREATE, &f), 0);
    ck_assert_int_eq(env_file_write(&d->env, f, 0, junk, sizeof(junk)), sizeof(junk));
    env_file_close(&d->env, f);
    ck_assert_int_eq(store_open(&d->env, "junk.mdb", &other, &why), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(why.text, "junk.mdb"));
}
END_TEST

Suite *suite_store(void);
Suite *suite_store(void)
{
    Suite *suite = suite_create("store");
    TCase *c = tcase_create("store");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_put_is_seen_at_once);
    tcase_add_test(c, a_value_may_be_a_view_of_the_store);
    tcase_add_test(c, seek_finds_the_next_row);
    tcase_add_test(c, walk_stops_when_told);
    tcase_add_test(c, hash_depends_on_rows_alone);
    tcase_add_test(c, only_commits_survive);
    tcase_add_test(c, copy_is_the_committed_state);
    tcase_add_test(c, copy_is_dense);
    tcase_add_test(c, copy_goes_in_slices);
    tcase_add_test(c, hash_knows_long_keys);
    tcase_add_test(c, space_is_taken_ahead);
    tcase_add_test(c, a_commit_fits_when_it_is_made_in_time);
    tcase_add_test(c, without_space_there_is_no_room);
    tcase_add_test(c, room_comes_back_although_enough_is_ahead);
    tcase_add_test(c, space_may_not_be_had_ahead);
    tcase_add_test(c, room_leaves_the_reserve);
    tcase_add_test(c, a_file_that_is_no_environment_is_refused);
    suite_add_tcase(suite, c);
    return suite;
}
