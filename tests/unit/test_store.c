/* test_store.c - rows, their hash, commits and copies. */
#include "master/core/store.h"
#include "tests/unit/dir_env.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

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
    store_commit(s, (struct store_position){.index = 12, .epoch = 3, .chain = 99});
    put("b", "2");
    store_close(s);
    reopen();
    struct bytes v;
    expect_row("a", "1");
    ck_assert_int_eq(store_get(s, TABLE_INODE, b("b"), &v), -ENOENT);
    ck_assert_uint_eq(store_committed(s).index, 12);
    ck_assert_uint_eq(store_committed(s).epoch, 3);
    ck_assert_uint_eq(store_committed(s).chain, 99);
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
    store_copy_run(copy);
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
    store_copy_run(copy);
    ck_assert_int_eq(store_copy_end(copy, &at, &why), 0);
    /* 12 bytes of key, 28 of value, 10 of LMDB, 2 % of inner pages, some pages for the tables. */
    uint64_t rows = store_rows(s, TABLE_DENTRY);
    ck_assert_int_lt(size_of("copy.mdb"), (int64_t)(rows * 52 + 40 * 4096));
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
    tcase_add_test(c, room_leaves_the_reserve);
    tcase_add_test(c, a_file_that_is_no_environment_is_refused);
    suite_add_tcase(suite, c);
    return suite;
}
