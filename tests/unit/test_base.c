/* test_base.c - shared/base: hash map, list, timer heap, varints, buffers, checksums, error codes. */
#include "shared/base/buf.h"
#include "shared/base/bytes.h"
#include "shared/base/err.h"
#include "shared/base/hash.h"
#include "shared/base/hmap.h"
#include "shared/base/limits.h"
#include "shared/base/list.h"
#include "shared/base/mem.h"
#include "shared/base/timer_heap.h"
#include "tests/sim/sim.h"
#include "tests/unit/unit.h"

Suite *suite_base(void);

/* ---------------------------------------------------------------- hmap */

struct item {
    struct hmap_node node;
    uint32_t key;
    bool in;
};

static struct item *map_find(const struct hmap *m, uint64_t hash, uint32_t key)
{
    for (struct hmap_node *n = hmap_first(m, hash); n != NULL; n = hmap_next(n)) {
        struct item *it = container_of(n, struct item, node);
        MUST(n->hash == hash);
        if (it->key == key) {
            return it;
        }
    }
    return NULL;
}

/* hash_bits 2 puts all into four chains: equal hashes are the rule. */
static void check_hmap(uint64_t seed, unsigned hash_bits)
{
    enum { ITEMS = 500 };
    static struct item items[ITEMS];
    struct sim_rand r = sim_rand_of(seed, 1);
    struct hmap m;
    size_t count = 0;
    memset(items, 0, sizeof(items));
    hmap_init(&m);
    for (int step = 0; step < 20000; step++) {
        uint32_t key = (uint32_t)sim_below(&r, ITEMS);
        uint64_t hash = hmap_hash_u64(key) >> (64 - hash_bits);
        struct item *it = &items[key];
        it->key = key;
        MUST(map_find(&m, hash, key) == (it->in ? it : NULL));
        if (it->in && sim_chance(&r, 2, 3)) {
            hmap_remove(&m, &it->node);
            it->in = false;
            count--;
        } else if (!it->in) {
            hmap_add(&m, &it->node, hash);
            it->in = true;
            count++;
        }
        MUST(m.count == count);
    }
    size_t seen = 0;
    hmap_for_each (n, &m) {
        struct item *it = container_of(n, struct item, node);
        MUST(it->in);
        it->in = false;
        seen++;
        hmap_remove(&m, n); /* allowed while the walk stands on it */
    }
    MUST(seen == count);
    MUST(m.count == 0);
    ck_assert_ptr_null(hmap_begin(&m));
    hmap_close(&m);
}

START_TEST(hmap_holds_what_was_added)
{
    for (uint64_t seed = 0; seed < 5; seed++) {
        check_hmap(seed, 64);
        check_hmap(seed, 2);
    }
    struct hmap empty;
    hmap_init(&empty);
    ck_assert_ptr_null(hmap_first(&empty, 5));
    ck_assert_ptr_null(hmap_begin(&empty));
    hmap_close(&empty);
}
END_TEST

/* The order of a walk is that of hashes and insertion, wherever the elements lie. */
START_TEST(hmap_order_ignores_addresses)
{
    enum { ITEMS = 300 };
    static struct item first[ITEMS], second[ITEMS];
    struct hmap a, b;
    hmap_init(&a);
    hmap_init(&b);
    for (uint32_t i = 0; i < ITEMS; i++) {
        struct item *there = &second[ITEMS - 1 - i];
        first[i].key = there->key = i;
        hmap_add(&a, &first[i].node, hmap_hash_u64(i / 3));
        hmap_add(&b, &there->node, hmap_hash_u64(i / 3));
    }
    struct hmap_node *other = hmap_begin(&b);
    hmap_for_each (n, &a) {
        ck_assert_uint_eq(container_of(n, struct item, node)->key,
                          container_of(other, struct item, node)->key);
        other = hmap_after(&b, other);
    }
    ck_assert_ptr_null(other);
    hmap_close(&a);
    hmap_close(&b);
}
END_TEST

/* ---------------------------------------------------------------- list */

struct link {
    struct list list;
    int n;
};

static void check_order(struct list *head, const char *want)
{
    char got[16] = "";
    size_t len = 0;
    list_for_each (it, head) {
        got[len++] = (char)('0' + list_entry(it, struct link, list)->n);
        ck_assert_ptr_eq(it->next->prev, it);
    }
    got[len] = '\0';
    ck_assert_str_eq(got, want);
}

START_TEST(list_keeps_order)
{
    struct list head;
    struct link l[6];
    list_init(&head);
    ck_assert(list_empty(&head));
    ck_assert_ptr_null(list_pop_front(&head));
    for (int i = 0; i < 6; i++) {
        list_init(&l[i].list);
        l[i].n = i;
    }
    list_push_back(&head, &l[1].list);
    list_push_back(&head, &l[2].list);
    list_push_front(&head, &l[0].list);
    list_add_before(&l[2].list, &l[5].list);
    check_order(&head, "0152");
    list_remove(&l[5].list);
    list_remove(&l[5].list); /* twice is fine */
    check_order(&head, "012");
    list_push_back(&head, &l[5].list);
    ck_assert_ptr_eq(list_pop_front(&head), &l[0].list);
    ck_assert(list_empty(&l[0].list));
    check_order(&head, "125");
    list_for_each_safe (it, &head) {
        list_remove(it);
    }
    ck_assert(list_empty(&head));
}
END_TEST

/* ---------------------------------------------------------------- timer heap */

START_TEST(timers_come_in_order)
{
    enum { TIMERS = 200 };
    static struct env_timer timers[TIMERS];
    uint64_t set_at[TIMERS] = {0}; /* when last set; 0 = not armed */
    struct sim_rand r = sim_rand_of(3, 1);
    struct timer_heap h;
    timer_heap_init(&h);
    ck_assert_ptr_null(timer_heap_first(&h));
    for (uint64_t step = 1; step < 20000; step++) {
        size_t i = sim_below(&r, TIMERS);
        uint64_t what = sim_below(&r, 4);
        if (what < 2) {
            timer_heap_set(&h, &timers[i], sim_below(&r, 50));
            set_at[i] = step;
        } else if (what == 2) {
            timer_heap_stop(&h, &timers[i]);
            set_at[i] = 0;
        }
        struct env_timer *want = NULL;
        size_t armed = 0;
        for (size_t j = 0; j < TIMERS; j++) {
            MUST((timers[j].place != 0) == (set_at[j] != 0));
            armed += set_at[j] != 0;
            if (set_at[j] != 0 &&
                (want == NULL || timers[j].at_ns < want->at_ns ||
                 (timers[j].at_ns == want->at_ns && set_at[j] < set_at[want - timers]))) {
                want = &timers[j];
            }
        }
        MUST(h.count == armed);
        MUST(timer_heap_first(&h) == want);
        if (what == 3 && want != NULL) {
            timer_heap_stop(&h, want);
            set_at[want - timers] = 0;
        }
    }
    timer_heap_close(&h);
}
END_TEST

/* ---------------------------------------------------------------- bytes */

START_TEST(varints_round_trip)
{
    static const struct {
        uint64_t v;
        size_t len;
    } known[] = {{0, 1},     {127, 1},        {128, 2},        {16383, 2},
                 {16384, 3}, {UINT32_MAX, 5}, {1ull << 62, 9}, {UINT64_MAX, 10}};
    uint8_t p[10];
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        ck_assert_uint_eq(put_varint(p, known[i].v), known[i].len);
        struct byte_reader r = byte_reader_of(bytes_of(p, known[i].len));
        ck_assert_uint_eq(byte_reader_varint(&r), known[i].v);
        ck_assert(!r.bad && byte_reader_left(&r) == 0);
        for (size_t cut = 0; cut < known[i].len; cut++) {
            r = byte_reader_of(bytes_of(p, cut));
            ck_assert_uint_eq(byte_reader_varint(&r), 0);
            ck_assert(r.bad);
        }
    }
    memset(p, 0xff, sizeof(p)); /* no end */
    struct byte_reader r = byte_reader_of(bytes_of(p, sizeof(p)));
    byte_reader_varint(&r);
    ck_assert(r.bad);
}
END_TEST

START_TEST(zigzag_round_trips)
{
    static const struct {
        int64_t v;
        uint64_t z;
    } known[] = {
        {0, 0}, {-1, 1}, {1, 2}, {-2, 3}, {INT64_MAX, UINT64_MAX - 1}, {INT64_MIN, UINT64_MAX}};
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        ck_assert_uint_eq(zigzag(known[i].v), known[i].z);
        ck_assert_int_eq(unzigzag(known[i].z), known[i].v);
    }
}
END_TEST

START_TEST(short_input_is_bad)
{
    struct byte_reader r = byte_reader_of(bytes_of("abc", 3));
    ck_assert_uint_eq(byte_reader_le(&r, 2), 0x6261);
    ck_assert_uint_eq(byte_reader_le(&r, 2), 0);
    ck_assert(r.bad && byte_reader_left(&r) == 0);
    r = byte_reader_of(bytes_of("abc", 3));
    struct bytes b = byte_reader_bytes(&r, 3);
    ck_assert(bytes_equal(b, bytes_str("abc")) && !r.bad);
    b = byte_reader_bytes(&r, 1);
    ck_assert(b.len == 0 && r.bad);
    uint8_t p[8];
    put_be64(p, 0x0102030405060708);
    ck_assert_uint_eq(p[0], 1);
    ck_assert_uint_eq(get_be64(p), 0x0102030405060708);
    put_le(p, 0x0102030405060708, 8);
    ck_assert_uint_eq(p[0], 8);
    ck_assert_uint_eq(get_le(p, 8), 0x0102030405060708);
}
END_TEST

/* ---------------------------------------------------------------- buffers, sums, errors */

START_TEST(buffers_are_counted)
{
    size_t before = buf_total_bytes();
    struct buf *b = buf_new(100);
    ck_assert_uint_eq(buf_total_bytes(), before + 100);
    struct slice s = {b, 10, 20}, t = slice_ref(&s);
    ck_assert_ptr_eq(slice_data(&s), b->data + 10);
    slice_drop(&s);
    ck_assert_ptr_null(slice_data(&s));
    slice_drop(&s);
    ck_assert_uint_eq(buf_total_bytes(), before + 100);
    slice_drop(&t);
    ck_assert_uint_eq(buf_total_bytes(), before);
    buf_unref(NULL);
}
END_TEST

/* The sum of a block does not depend on how its bytes arrive. */
START_TEST(streamed_sums_are_equal)
{
    static uint8_t block[65536];
    struct sim_rand r = sim_rand_of(4, 1);
    for (size_t i = 0; i < sizeof(block); i++) {
        block[i] = (uint8_t)sim_rand64(&r);
    }
    struct block_stream *s = block_stream_new();
    for (int round = 0; round < 50; round++) {
        size_t at = 0;
        block_stream_reset(s);
        MUST(block_stream_sum(s) == block_sum(block, 0));
        while (at < sizeof(block)) {
            size_t n = sim_below(&r, 9000);
            n = MIN(n, sizeof(block) - at);
            block_stream_add(s, block + at, n);
            at += n;
            MUST(block_stream_sum(s) == block_sum(block, at));
        }
    }
    block_stream_free(s);
    block_stream_free(NULL);
    ck_assert_uint_eq(block_sum(block, 100), (uint32_t)hash64(block, 100));
    ck_assert_uint_ne(hash64(block, 100), hash64_seed(block, 100, 1));
    ck_assert_uint_eq(hash64("hello", 5), 0x9555e8555c62dcfdull); /* XXH3-64, for ever */
}
END_TEST

START_TEST(errors_have_names)
{
    ck_assert_str_eq(err_name(0), "OK");
    ck_assert_str_eq(err_name(-ENOENT), "ENOENT");
    ck_assert_str_eq(err_name(ERR_STALE_EPOCH), "ERR_STALE_EPOCH");
    ck_assert_str_eq(err_name(-4000), "error");
    ck_assert_str_eq(err_name(-99999), "error");
    ck_assert_str_eq(err_text(-99999), "unknown error");
    ck_assert_int_eq(err_to_errno(0), 0);
    ck_assert_int_eq(err_to_errno(-ENOSPC), ENOSPC);
    ck_assert_int_eq(err_to_errno(ERR_BUSY), EAGAIN);
    ck_assert_int_eq(err_to_errno(-99999), EIO);
#define ERROR(name, code, shown, text)                                                             \
    ck_assert_str_eq(err_name(code), #name);                                                       \
    ck_assert_str_eq(err_text(code), text);                                                        \
    ck_assert_int_eq(err_to_errno(code), shown);                                                   \
    ck_assert_int_lt(code, -10000);
#include "shared/base/errors.def"
#undef ERROR
    struct why why;
    ck_assert_int_eq(why_set(&why, -EIO, "disk %d", 5), -EIO);
    ck_assert_str_eq(why.text, "disk 5");
    char *copy = mem_dup("abc", 3);
    ck_assert_str_eq(copy, "abc");
    mem_free(copy);
}
END_TEST

Suite *suite_base(void)
{
    Suite *s = suite_create("base");
    TCase *t = tcase_create("base");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, hmap_holds_what_was_added);
    tcase_add_test(t, hmap_order_ignores_addresses);
    tcase_add_test(t, list_keeps_order);
    tcase_add_test(t, timers_come_in_order);
    tcase_add_test(t, varints_round_trip);
    tcase_add_test(t, zigzag_round_trips);
    tcase_add_test(t, short_input_is_bad);
    tcase_add_test(t, buffers_are_counted);
    tcase_add_test(t, streamed_sums_are_equal);
    tcase_add_test(t, errors_have_names);
    suite_add_tcase(s, t);
    return s;
}
