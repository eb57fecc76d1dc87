/* test_inode.c - the bytes of the master's rows, their bounds, and damage to them. */
#include "master/core/chunk_row.h"
#include "master/core/dirent.h"
#include "master/core/inode.h"
#include "master/core/row_key.h"
#include "tests/sim/sim.h"
#include "tests/unit/unit.h"

#include <stdio.h>

Suite *suite_inode(void);

static void check_hex(struct bytes got, const char *want)
{
    char hex[2 * INODE_ROW_MAX + 1] = "";
    for (uint32_t i = 0; i < got.len && i < INODE_ROW_MAX; i++) {
        snprintf(hex + 2 * i, 3, "%02x", got.data[i]);
    }
    ck_assert_str_eq(hex, want);
}

/* A file as most are: written once, one chunk, three replicas. */
static struct inode usual_file(void)
{
    return (struct inode){
        .ino = 1000000,
        .mode = S_IFREG | 0644,
        .nlink = 1,
        .uid = 1000,
        .gid = 1000,
        .size = 10000,
        .ctime = {1700000001, 5},
        .mtime = {1700000001, 5},
        .atime = {1700000000, 6},
        .has_chunk0 = true,
        .chunk0 = {.handle = 999999,
                   .version = 3ull << 32 | 1,
                   .trim = NO_TRIM,
                   .fresh = true,
                   .bound = true,
                   .members = {1, 2, 3},
                   .member_count = 3},
    };
}

START_TEST(golden_rows)
{
    uint8_t row[INODE_ROW_MAX];
    struct inode in = usual_file();
    check_hex(bytes_of(row, inode_pack(&in, row)), "42"         /* chunk 0, mtime is ctime */
                                                   "a481"       /* 0100644 */
                                                   "e807"       /* uid 1000, gid the same */
                                                   "904e"       /* size 10000 */
                                                   "82c49fd50c" /* 1700000001 s */
                                                   "05000000"   /* 5 ns */
                                                   "01"         /* atime one second earlier */
                                                   "06000000"
                                                   "33"     /* bound, fresh, 3 members */
                                                   "bf843d" /* handle 999999 */
                                                   "03"
                                                   "01"       /* version */
                                                   "010203"); /* members */
    in.writers = 2; /* sessions have it open for writing, one that did has ended */
    in.cut_due = true;
    check_hex(bytes_of(row, inode_pack(&in, row)), "c2a481e807904e82c49fd50c050000000106000000"
                                                   "33bf843d0301010203"
                                                   "40"
                                                   "05");
    in = (struct inode){.ino = 1,
                        .mode = S_IFDIR | 02775,
                        .nlink = 7,
                        .uid = 0,
                        .gid = 5,
                        .size = 300,
                        .parent = 1,
                        .ctime = {-1, 999999999},
                        .mtime = {-1, 999999999},
                        .atime = {-1, 999999999},
                        .xattr_names = 14,
                        .replicas = 2};
    check_hex(bytes_of(row, inode_pack(&in, row)),
              "9f"   /* replicas, attributes, gid, nlink, all times equal */
              "fd45" /* 042775 */
              "07"
              "00"
              "05"
              "ac02" /* 300 entries */
              "01"   /* parent */
              "01"
              "ffc99a3b" /* -1 s, 999999999 ns */
              "0e"
              "02");
    struct ns_chunk k = {.handle = 128, .version = 5, .trim = 4096, .bound = true};
    check_hex(bytes_of(row, chunk_row_pack(&k, row)), "60"
                                                      "8001"
                                                      "00"
                                                      "05"
                                                      "8020");
    k.trim_set = 7;
    check_hex(bytes_of(row, chunk_row_pack(&k, row)), "60"
                                                      "8001"
                                                      "00"
                                                      "05"
                                                      "80a0808070");
}
END_TEST

START_TEST(golden_keys)
{
    uint8_t key[DIRENT_KEY_MAX];
    struct row_key k = row_key_pair(0, 255);
    check_hex(row_key_bytes(&k), "0001ff");
    k = row_key_pair(0x1234, UINT64_MAX);
    check_hex(row_key_bytes(&k), "02123408ffffffffffffffff");
    check_hex(bytes_of(key, dirent_key(key, 2000, 0x0123456789abcdef)), "0207d00123456789abcdef");
    ck_assert_uint_eq(dirent_cookie(bytes_str("hello")), 0x7f414aaaf42aae00ull);
    ck_assert_uint_eq(dirent_cookie(bytes_str("IMG_0815.jpg")), 0x343c3e215981d100ull);
}
END_TEST

static uint64_t family(const char *name)
{
    return dirent_cookie(bytes_str(name)) >> 47;
}

START_TEST(numbered_names_are_neighbours)
{
    ck_assert_uint_eq(family("IMG_0815.jpg"), family("IMG_0899.jpg"));
    ck_assert_uint_eq(family("IMG_0815.jpg"), family("IMG_0815.xmp"));
    ck_assert_uint_eq(family("IMG_0815.jpg"), family("IMG_0815"));
    ck_assert_uint_ne(family("IMG_0815.jpg"), family("IMG_0915.jpg"));
    ck_assert_uint_eq(family(".config17"), family(".config42"));
    ck_assert_uint_eq(family("."), family("ab"));
    ck_assert_uint_ne(dirent_cookie(bytes_str("a")), dirent_cookie(bytes_str("b")));
    ck_assert_uint_ge(dirent_cookie(bytes_str("a")), DIRENT_COOKIE_MIN);
}
END_TEST

/* What the budget of 130 bytes for a file allows: LMDB adds 8 + 2 bytes to a row and pads it to
 * even. */
START_TEST(usual_file_is_small)
{
    uint8_t row[INODE_ROW_MAX], key[DIRENT_KEY_MAX];
    struct inode in = usual_file();
    struct row_key k = row_key_u64(2000000);
    uint32_t inode_bytes = (8 + k.len + inode_pack(&in, row) + 1) / 2 * 2 + 2;
    ck_assert_uint_le(inode_bytes, 48);
    uint32_t value = (uint32_t)put_varint(row, 2000000ull << 4 | 8) + 18;
    uint32_t dirent_bytes = (8 + dirent_key(key, 2000, 1ull << 62) + value + 1) / 2 * 2 + 2;
    ck_assert_uint_le(dirent_bytes, 44);
}
END_TEST

START_TEST(key_order_is_numeric)
{
    static const uint64_t values[] = {0, 1, 2, 255, 256, 257, 65535, 65536, 1ull << 32, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        for (size_t j = 0; j < COUNT_OF(values); j++) {
            struct row_key a = row_key_u64(values[i]), b = row_key_u64(values[j]);
            int order = memcmp(a.data, b.data, MIN(a.len, b.len));
            ck_assert_int_eq(order < 0, values[i] < values[j]);
            ck_assert_int_eq(order > 0, values[i] > values[j]);
        }
        struct row_key pair = row_key_pair(values[i], values[9 - i]);
        uint64_t first, second;
        ck_assert(row_key_get_pair(row_key_bytes(&pair), &first, &second));
        ck_assert(first == values[i] && second == values[9 - i]);
        pair.len--;
        ck_assert(!row_key_get_pair(row_key_bytes(&pair), &first, &second));
    }
    uint64_t v;
    ck_assert(!row_key_get_u64(bytes_of("\x02\x00\x05", 3), &v)); /* not the shortest form */
    ck_assert(!row_key_get_u64(bytes_of("\x09"
                                        "123456789",
                                        10),
                               &v));
    ck_assert(!row_key_get_u64(bytes_of("", 0), &v));
}
END_TEST

static uint64_t random_width(struct sim_rand *r)
{
    return sim_rand64(r) >> sim_below(r, 64);
}

static struct stamp random_stamp(struct sim_rand *r)
{
    return (struct stamp){(int64_t)random_width(r) * (sim_chance(r, 1, 2) ? 1 : -1),
                          (uint32_t)sim_below(r, 1000000000)};
}

static struct inode random_inode(struct sim_rand *r)
{
    static const uint32_t types[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR,
                                     S_IFBLK, S_IFIFO, S_IFSOCK};
    struct inode in;
    memset(&in, 0, sizeof(in)); /* padding too: compared with memcmp */
    in.ino = 5;
    in.mode = types[sim_below(r, COUNT_OF(types))] | (uint32_t)sim_below(r, 010000);
    in.nlink = (uint32_t)sim_below(r, 4);
    in.uid = (uint32_t)random_width(r);
    in.gid = sim_chance(r, 1, 2) ? in.uid : (uint32_t)random_width(r);
    in.rdev = S_ISCHR(in.mode) || S_ISBLK(in.mode) ? (uint32_t)random_width(r) : 0;
    in.parent = S_ISDIR(in.mode) ? random_width(r) : 0;
    in.size = random_width(r);
    in.ctime = random_stamp(r);
    in.mtime = sim_chance(r, 1, 2) ? in.ctime : random_stamp(r);
    in.atime = sim_chance(r, 1, 2) ? in.mtime : random_stamp(r);
    in.xattr_names = (uint32_t)sim_below(r, 3);
    in.replicas = sim_chance(r, 1, 3) ? (uint8_t)(1 + sim_below(r, REPLICAS_MAX)) : 0;
    in.rows = sim_chance(r, 1, 3) ? random_width(r) | 1 : 0;
    in.rows_inside = in.rows ? random_width(r) : 0;
    in.unbound = in.rows ? random_width(r) : 0;
    in.first_unbound = in.rows ? random_width(r) : 0;
    in.writers = sim_chance(r, 1, 3) ? (uint32_t)random_width(r) | 1 : 0;
    in.cut_due = in.writers != 0 && sim_chance(r, 1, 2);
    in.has_chunk0 = sim_chance(r, 1, 2);
    if (in.has_chunk0) {
        in.chunk0.handle = random_width(r);
        in.chunk0.version = random_width(r);
        in.chunk0.trim = sim_chance(r, 1, 2) ? NO_TRIM : (uint32_t)sim_below(r, NO_TRIM);
        in.chunk0.trim_set = in.chunk0.trim == NO_TRIM ? 0 : (uint32_t)sim_rand64(r);
        in.chunk0.fresh = sim_chance(r, 1, 2);
        in.chunk0.bound = sim_chance(r, 1, 2);
        in.chunk0.member_count = (uint32_t)sim_below(r, REPLICAS_MAX + 1);
        for (uint32_t i = 0; i < in.chunk0.member_count; i++) {
            in.chunk0.members[i] = (uint32_t)random_width(r);
        }
    }
    return in;
}

START_TEST(any_inode_round_trips)
{
    struct sim_rand r = sim_rand_of(1, 1);
    for (int i = 0; i < 20000; i++) {
        uint8_t row[INODE_ROW_MAX], again[INODE_ROW_MAX];
        struct inode in = random_inode(&r), out;
        uint32_t len = inode_pack(&in, row);
        MUST(inode_unpack(bytes_of(row, len), 5, &out) == 0);
        ck_assert_mem_eq(&in, &out, sizeof(in));
        /* Cut short, it is refused: a row says where it ends. */
        uint32_t cut = (uint32_t)sim_below(&r, len);
        MUST(inode_unpack(bytes_of(row, cut), 5, &out) == ERR_CORRUPT);
        /* Damaged, it is refused or means something else, and packs again without harm. */
        row[sim_below(&r, len)] ^= (uint8_t)(1u << sim_below(&r, 8));
        if (inode_unpack(bytes_of(row, len), 5, &out) == 0) {
            inode_pack(&out, again);
        }
    }
}
END_TEST

START_TEST(random_bytes_do_no_harm)
{
    struct sim_rand r = sim_rand_of(2, 1);
    for (int i = 0; i < 50000; i++) {
        uint8_t row[300], again[INODE_ROW_MAX];
        uint32_t len = (uint32_t)sim_below(&r, sizeof(row));
        for (uint32_t j = 0; j < len; j++) {
            row[j] = (uint8_t)sim_rand64(&r);
        }
        struct inode out;
        struct dirent_row d;
        if (inode_unpack(bytes_of(row, len), 5, &out) == 0) {
            inode_pack(&out, again);
        }
        uint32_t key_len = (uint32_t)sim_below(&r, len + 1);
        if (dirent_unpack(bytes_of(row, key_len), bytes_of(row + key_len, len - key_len), &d) ==
            0) {
            MUST(d.name.len > 0 && d.name.len <= NAME_LEN_MAX);
        }
    }
}
END_TEST

Suite *suite_inode(void)
{
    Suite *s = suite_create("inode");
    TCase *t = tcase_create("inode");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, golden_rows);
    tcase_add_test(t, golden_keys);
    tcase_add_test(t, numbered_names_are_neighbours);
    tcase_add_test(t, usual_file_is_small);
    tcase_add_test(t, key_order_is_numeric);
    tcase_add_test(t, any_inode_round_trips);
    tcase_add_test(t, random_bytes_do_no_harm);
    suite_add_tcase(s, t);
    return s;
}
