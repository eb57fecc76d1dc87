/* test_replies.c - answers held back until the log has committed what they saw. */
#include "master/core/replies.h"

#include <check.h>
#include <string.h>

static uint64_t sent[64];
static uint32_t sent_count;

static void send_one(void *to, const struct frame_header *request, int status, uint64_t index,
                     struct slice body)
{
    (void)to;
    (void)status;
    (void)index;
    sent[sent_count++] = request->request_id;
    slice_drop(&body);
}

static struct replies *r;
static struct list asker;

static void setup(void)
{
    sent_count = 0;
    r = replies_new(send_one);
    list_init(&asker);
}

static void teardown(void)
{
    replies_free(r);
}

static void put(uint64_t id, uint64_t index, uint64_t committed)
{
    struct frame_header head = {.request_id = id};
    struct slice body = {buf_new(8), 0, 8};
    replies_put(r, &asker, NULL, &head, 0, index, committed, body);
}

/* What is committed already is answered at once. */
START_TEST(committed_is_sent_at_once)
{
    put(1, 5, 5);
    ck_assert_uint_eq(sent_count, 1);
    ck_assert_uint_eq(replies_count(r), 0);
}
END_TEST

/* Answers leave in the order of their index, equal ones in the order of arrival, none too early. */
START_TEST(order_is_by_index)
{
    put(1, 9, 0);
    put(2, 7, 0);
    put(3, 8, 0);
    put(4, 7, 0);
    replies_release(r, 6);
    ck_assert_uint_eq(sent_count, 0);
    replies_release(r, 7);
    ck_assert_uint_eq(sent_count, 2);
    replies_release(r, 20);
    const uint64_t want[] = {2, 4, 3, 1};
    ck_assert_uint_eq(sent_count, 4);
    ck_assert_mem_eq(sent, want, sizeof(want));
}
END_TEST

/* An asker that went away gets nothing, and its answers' memory is freed. */
START_TEST(forgotten_is_not_sent)
{
    size_t before = buf_total_bytes();
    for (uint64_t i = 1; i <= 10; i++) {
        put(i, i, 0);
    }
    replies_forget(r, &asker);
    replies_release(r, 5);
    ck_assert_uint_eq(sent_count, 0);
    ck_assert_uint_eq(replies_count(r), 5);
    replies_release(r, 10);
    ck_assert_uint_eq(buf_total_bytes(), before);
}
END_TEST

Suite *suite_replies(void);
Suite *suite_replies(void)
{
    Suite *s = suite_create("replies");
    TCase *t = tcase_create("held");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, committed_is_sent_at_once);
    tcase_add_test(t, order_is_by_index);
    tcase_add_test(t, forgotten_is_not_sent);
    suite_add_tcase(s, t);
    return s;
}
