/* test_config.c - configuration files: what is taken, and the sentence for what is not. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "shared/io/config.h"

struct sample {
    char dir[16];
    char listen[64];
    char masters[64];
    uint32_t wait_ms;
    uint32_t block;
    uint64_t reserve;
};

static const struct config_key keys[] = {
    CONFIG_STR("dir", struct sample, dir, CONFIG_TEXT, true),
    CONFIG_STR("listen", struct sample, listen, CONFIG_ADDR, false),
    CONFIG_STR("masters", struct sample, masters, CONFIG_ADDRS, false),
    CONFIG_NUM("wait_ms", struct sample, wait_ms, CONFIG_U32, 10, 60000),
    {.name = "block",
     .type = CONFIG_SIZE32,
     .offset = offsetof(struct sample, block),
     .power_of_two = true,
     .min = 4096,
     .max = 65536},
    CONFIG_NUM("reserve", struct sample, reserve, CONFIG_SIZE64, 0, UINT64_MAX),
};

static int parse(const char *text, struct sample *s, struct why *why)
{
    struct config_file file = {.path = "x.conf", .table = keys, .count = COUNT_OF(keys)};
    *s = (struct sample){.wait_ms = 7};
    return config_parse(&file, bytes_str(text), s, why);
}

static void expect_refused(const char *text, const char *sentence)
{
    struct sample s;
    struct why why;
    ck_assert_int_eq(parse(text, &s, &why), -EINVAL);
    ck_assert_str_eq(why.text, sentence);
}

/* Spaces, comments, empty lines, CR LF and a missing last newline do not matter. */
START_TEST(values_reach_their_members)
{
    struct sample s;
    struct why why;
    ck_assert_int_eq(parse("# a file\n\n  dir=/a#b \t# where\r\nlisten = [::1]:9400\n"
                           "masters = a:1,b:2\nwait_ms = 60000\nblock = 64K\nreserve = 3G",
                           &s, &why),
                     0);
    ck_assert_str_eq(s.dir, "/a#b");
    ck_assert_str_eq(s.listen, "[::1]:9400");
    ck_assert_str_eq(s.masters, "a:1,b:2");
    ck_assert_uint_eq(s.wait_ms, 60000);
    ck_assert_uint_eq(s.block, 65536);
    ck_assert_uint_eq(s.reserve, 3ull << 30);
}
END_TEST

/* A key that is not named leaves the program's default. */
START_TEST(defaults_stay)
{
    struct sample s;
    struct why why;
    ck_assert_int_eq(parse("dir = d", &s, &why), 0);
    ck_assert_uint_eq(s.wait_ms, 7);
    ck_assert_str_eq(s.listen, "");
}
END_TEST

START_TEST(refusals_name_file_line_key_and_expectation)
{
    expect_refused("dir = d\ncolour = blue\n",
                   "x.conf:2: \"colour\": unknown key, expected one of dir, listen, masters, "
                   "wait_ms, block, reserve");
    expect_refused("dir = d\nwait_ms = soon",
                   "x.conf:2: wait_ms: expected a whole number from 10 to 60000, found \"soon\"");
    expect_refused("wait_ms = 9",
                   "x.conf:1: wait_ms: expected a whole number from 10 to 60000, found \"9\"");
    expect_refused("wait_ms = 1K",
                   "x.conf:1: wait_ms: expected a whole number from 10 to 60000, found \"1K\"");
    expect_refused("block = 5000", "x.conf:1: block: expected a number of bytes (suffix K, M or G),"
                                   " a power of two, from 4096 to 65536, found \"5000\"");
    expect_refused("listen = 9400",
                   "x.conf:1: listen: expected an address HOST:PORT, found \"9400\"");
    expect_refused("masters = a:1, b:2", "x.conf:1: masters: expected addresses HOST:PORT "
                                         "separated by commas, found \"a:1, b:2\"");
    expect_refused("dir =", "x.conf:1: dir: expected 1 to 15 bytes of text, found nothing");
    expect_refused("dir = d\ndir = e", "x.conf:2: dir: expected once, found again after line 1");
    expect_refused("\nwait_ms = 10\n",
                   "x.conf:2: dir: expected this key, found the end of the file");
    expect_refused("words", "x.conf:1: expected KEY = VALUE, found \"words\"");
}
END_TEST

/* Numbers at and beyond the ends of 64 bits, and text at and beyond its room. */
START_TEST(limits_hold)
{
    struct sample s;
    struct why why;
    ck_assert_int_eq(parse("dir = d\nreserve = 18446744073709551615", &s, &why), 0);
    ck_assert_uint_eq(s.reserve, UINT64_MAX);
    ck_assert_int_eq(parse("dir = d\nreserve = 18446744073709551616", &s, &why), -EINVAL);
    ck_assert_int_eq(parse("dir = d\nreserve = 17179869184G", &s, &why), -EINVAL);
    ck_assert_int_eq(parse("dir = d\nreserve = K", &s, &why), -EINVAL);
    ck_assert_int_eq(parse("dir = d\nreserve = -1", &s, &why), -EINVAL);
    ck_assert_int_eq(parse("dir = 123456789012345", &s, &why), 0);
    ck_assert_int_eq(parse("dir = 1234567890123456", &s, &why), -EINVAL);
}
END_TEST

START_TEST(nul_bytes_are_refused)
{
    struct sample s;
    struct config_file file = {.path = "x", .table = keys, .count = COUNT_OF(keys)};
    struct why why;
    ck_assert_int_eq(config_parse(&file, bytes_of("dir = a\0b", 9), &s, &why), -EINVAL);
}
END_TEST

START_TEST(addresses_are_recognised)
{
    static const char *const good[] = {"h:1", "10.0.0.1:65535", "[::1]:80", "unix:/x", "a-b.c:9"};
    static const char *const bad[] = {"",      ":1",   "h:",       "h:0",     "h:65536", "h",
                                      "::1:1", "[]:1", "h:1x",     "h i:1",   "unix:",   "h,i:1",
                                      "[::1]", "h:-1", "h:00001x", "h:123456"};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        ck_assert_msg(config_is_addr(bytes_str(good[i])), "%s", good[i]);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        ck_assert_msg(!config_is_addr(bytes_str(bad[i])), "%s", bad[i]);
    }
}
END_TEST

/* A directory that is not there is refused where it was named. */
START_TEST(missing_directory_is_refused)
{
    struct config_file file = {.path = "x.conf", .table = keys, .count = COUNT_OF(keys)};
    struct why why;
    file.line[0] = 4;
    ck_assert_int_eq(config_need_dir(&file, "dir", "/", &why), 0);
    ck_assert_int_eq(config_need_dir(&file, "dir", "/nowhere", &why), -EINVAL);
    ck_assert_str_eq(why.text,
                     "x.conf:4: dir: expected a directory that exists, found \"/nowhere\"");
    ck_assert_int_eq(config_need_dir(&file, "dir", "/etc/passwd", &why), -EINVAL);
}
END_TEST

START_TEST(unreadable_file_is_refused)
{
    struct config_file file = {.path = "/nowhere.conf", .table = keys, .count = COUNT_OF(keys)};
    struct sample s;
    struct why why;
    ck_assert_int_eq(config_load(&file, &s, &why), -ENOENT);
    ck_assert_str_eq(why.text, "/nowhere.conf: cannot be read: No such file or directory");
}
END_TEST

Suite *suite_config(void);
Suite *suite_config(void)
{
    Suite *s = suite_create("config");
    TCase *c = tcase_create("config");
    tcase_add_test(c, values_reach_their_members);
    tcase_add_test(c, defaults_stay);
    tcase_add_test(c, refusals_name_file_line_key_and_expectation);
    tcase_add_test(c, limits_hold);
    tcase_add_test(c, nul_bytes_are_refused);
    tcase_add_test(c, addresses_are_recognised);
    tcase_add_test(c, missing_directory_is_refused);
    tcase_add_test(c, unreadable_file_is_refused);
    suite_add_tcase(s, c);
    return s;
}
