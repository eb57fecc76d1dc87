/* test_record.c - bytes of a log record. */
#include "master/core/record.h"
#include "shared/base/hash.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static struct record example(void)
{
    return (struct record){.index = 7,
                           .epoch = 3,
                           .type = 0x0120,
                           .batch_flags = RECORD_FIRST_OF_BATCH,
                           .cluster = 0x1122334455667788,
                           .time_ns = 1700000000123456789,
                           .prev_chain = 0xa1a2a3a4a5a6a7a8,
                           .session = 5,
                           .sequence = 6,
                           .acked = 4,
                           .body = bytes_str("hello")};
}

static void expect_hex(const uint8_t *p, size_t len, const char *expected)
{
    char hex[1024] = "";
    ck_assert_uint_lt(len * 2, sizeof(hex));
    for (size_t i = 0; i < len; i++) {
        snprintf(hex + 2 * i, 3, "%02x", p[i]);
    }
    ck_assert_str_eq(hex, expected);
}

/* The bytes of format 1 never change. */
START_TEST(encoding_is_the_golden_one)
{
    struct record r = example();
    uint8_t out[128];
    ck_assert_uint_eq(record_size(&r), 96);
    memset(out, 0xff, sizeof(out));
    record_encode(&r, out);
    expect_hex(out, 96,
               "474f504c010120018877665544332211030000001d000000070000000000000015cd853dfe9c9717a8a"
               "7a6a5a4a3a2a1a984e8fe722043ffc3f347bfc86572b505000000000000000600000000000000040000"
               "000000000068656c6c6f000000");
    ck_assert_uint_eq(r.chain, 417221839559846221u);
    ck_assert_uint_eq(out[96], 0xff);
}
END_TEST

START_TEST(decode_gives_back_what_was_encoded)
{
    struct record r = example(), back;
    struct why why;
    uint8_t out[128];
    bool header_good;
    record_encode(&r, out);
    ck_assert_int_eq(record_decode(bytes_of(out, sizeof(out)), &back, &header_good, &why), 0);
    ck_assert(header_good);
    ck_assert_uint_eq(back.index, r.index);
    ck_assert_uint_eq(back.epoch, r.epoch);
    ck_assert_uint_eq(back.type, r.type);
    ck_assert_uint_eq(back.batch_flags, r.batch_flags);
    ck_assert_uint_eq(back.cluster, r.cluster);
    ck_assert_int_eq(back.time_ns, r.time_ns);
    ck_assert_uint_eq(back.prev_chain, r.prev_chain);
    ck_assert_uint_eq(back.chain, r.chain);
    ck_assert_uint_eq(back.session, 5);
    ck_assert_uint_eq(back.sequence, 6);
    ck_assert_uint_eq(back.acked, 4);
    ck_assert(bytes_equal(back.body, bytes_str("hello")));
}
END_TEST

/* How records are cut into batches is not history. */
START_TEST(batch_flags_do_not_change_the_chain)
{
    struct record r = example(), back;
    struct why why;
    uint8_t out[128];
    bool header_good;
    record_encode(&r, out);
    record_set_batch_flags(out, RECORD_FIRST_OF_BATCH | RECORD_LAST_OF_BATCH);
    ck_assert_int_eq(record_decode(bytes_of(out, sizeof(out)), &back, &header_good, &why), 0);
    ck_assert_uint_eq(back.batch_flags, RECORD_FIRST_OF_BATCH | RECORD_LAST_OF_BATCH);
    ck_assert_uint_eq(back.chain, r.chain);
    record_set_batch_flags(out, 0);
    ck_assert_int_eq(record_decode(bytes_of(out, sizeof(out)), &back, &header_good, &why), 0);
    ck_assert_uint_eq(back.batch_flags, 0);
    ck_assert_uint_eq(back.chain, r.chain);
    ck_assert_uint_eq(record_prev_chain(out), r.prev_chain);
}
END_TEST

/* No bit of header or body may change unnoticed; a body alone leaves a good header. */
START_TEST(every_flipped_bit_is_found)
{
    struct record r = example(), back;
    uint8_t out[96];
    for (size_t bit = 0; bit < (RECORD_HEADER_BYTES + RECORD_PREFIX_BYTES + 5) * 8; bit++) {
        struct why why = {""};
        bool header_good;
        record_encode(&r, out);
        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert_int_eq(record_decode(bytes_of(out, sizeof(out)), &back, &header_good, &why),
                         ERR_CORRUPT);
        ck_assert_int_eq(header_good, bit >= RECORD_HEADER_BYTES * 8);
        ck_assert_uint_gt(strlen(why.text), 10);
    }
}
END_TEST

START_TEST(short_input_asks_for_more)
{
    struct record r = example(), back;
    uint8_t out[96];
    struct why why;
    record_encode(&r, out);
    for (size_t len = 0; len < sizeof(out); len++) {
        bool header_good;
        ck_assert_int_eq(record_decode(bytes_of(out, len), &back, &header_good, &why), -EAGAIN);
        ck_assert_int_eq(header_good, len >= RECORD_HEADER_BYTES);
    }
}
END_TEST

/* A length beyond the bound is refused even with right sums, before anything is read by it. */
START_TEST(claimed_length_beyond_the_bound_is_refused)
{
    struct record r = example(), back;
    uint8_t out[96];
    struct why why;
    bool header_good;
    record_encode(&r, out);
    put_le(out + 20, UINT32_MAX, 4);
    put_le(out + 56, hash64(out, 56), 8);
    ck_assert_int_eq(record_decode(bytes_of(out, sizeof(out)), &back, &header_good, &why),
                     ERR_CORRUPT);
}
END_TEST

Suite *suite_record(void);
Suite *suite_record(void)
{
    Suite *s = suite_create("record");
    TCase *c = tcase_create("record");
    tcase_add_test(c, encoding_is_the_golden_one);
    tcase_add_test(c, decode_gives_back_what_was_encoded);
    tcase_add_test(c, batch_flags_do_not_change_the_chain);
    tcase_add_test(c, every_flipped_bit_is_found);
    tcase_add_test(c, short_input_asks_for_more);
    tcase_add_test(c, claimed_length_beyond_the_bound_is_refused);
    suite_add_tcase(s, c);
    return s;
}
