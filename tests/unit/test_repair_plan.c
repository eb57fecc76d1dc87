/* test_repair_plan.c - what single chunks need, the order of work, and the share of bandwidth. */
#include "master/core/bandwidth.h"
#include "master/core/quarrels.h"
#include "master/core/repair_queue.h"
#include "shared/env/env.h"

#include <check.h>

Suite *suite_repair_plan(void);

/* Members, the primary first: G good, g good but not reported yet, D good and leaving, W good and
 * slow, C good and crowded; S suspect, B bad block, X damaged beyond help, Y the same and leaving, M missing, T stale, F failed,
 * U never seen; A away, L away for long. Flags: f fresh, b bound, u picture unsettled. */
struct row {
    const char *members;
    uint32_t wanted;
    const char *flags;
    enum repair_need need;
    enum repair_risk risk; /* compared if something is needed */
    uint32_t remove;       /* place of the member that leaves, from 1 */
};

static const struct row table[] = {
    {"GGG", 3, "b", NEED_NOTHING, 0, 0},
    {"ggg", 3, "b", NEED_NOTHING, 0, 0},
    {"G", 1, "b", NEED_NOTHING, 0, 0},
    /* Fewer than wanted. */
    {"GG", 3, "b", NEED_ADD, RISK_FEW, 0},
    {"G", 3, "b", NEED_ADD, RISK_LAST_COPY, 0},
    {"GG", 3, "bu", NEED_WAIT, RISK_FEW, 0},
    {"Gg", 3, "b", NEED_WAIT, RISK_FEW, 0},
    {"DD", 3, "b", NEED_ADD, RISK_FEW, 0},
    /* Absences are waited for, unless one copy is left; then also in maintenance. */
    {"GGA", 3, "b", NEED_WAIT, RISK_FEW, 0},
    {"GGL", 3, "b", NEED_ADD, RISK_FEW, 0},
    {"GAA", 3, "b", NEED_ADD, RISK_LAST_COPY, 0},
    {"GAL", 3, "b", NEED_ADD, RISK_LAST_COPY, 0},
    {"GA", 2, "b", NEED_ADD, RISK_LAST_COPY, 0},
    {"gAA", 3, "b", NEED_WAIT, RISK_LAST_COPY, 0},
    {"A", 1, "b", NEED_WAIT, RISK_FEW, 0},
    {"L", 1, "b", NEED_WAIT, RISK_FEW, 0},
    {"LLL", 3, "b", NEED_WAIT, RISK_LAST_COPY, 0},
    /* Replicas that are not what they should be. */
    {"GGS", 3, "b", NEED_HEAL, RISK_FEW, 0},
    {"GGB", 3, "b", NEED_HEAL, RISK_FEW, 0},
    {"GGM", 3, "b", NEED_HEAL, RISK_FEW, 0},
    {"GGT", 3, "b", NEED_HEAL, RISK_FEW, 0},
    {"GGX", 3, "b", NEED_HEAL, RISK_FEW, 0},
    {"GBB", 3, "b", NEED_HEAL, RISK_LAST_COPY, 0},
    {"GSA", 3, "b", NEED_HEAL, RISK_LAST_COPY, 0},
    {"GGSA", 3, "b", NEED_WAIT, RISK_FEW, 0},
    {"SSS", 3, "b", NEED_HEAL, RISK_LAST_COPY, 0},
    {"BBB", 3, "b", NEED_HEAL, RISK_LAST_COPY, 0},
    {"BBA", 3, "b", NEED_WAIT, RISK_LAST_COPY, 0}, /* what is away may have the block */
    {"BBL", 3, "b", NEED_HEAL, RISK_LAST_COPY, 0},
    {"MMM", 3, "b", NEED_WAIT, RISK_FEW, 0},
    {"XXX", 3, "b", NEED_WAIT, RISK_FEW, 0},
    {"XX", 3, "b", NEED_ADD, RISK_LAST_COPY, 0}, /* the good blocks are worth copies */
    /* Never written. */
    {"GGG", 3, "f", NEED_NOTHING, 0, 0},
    {"UUU", 3, "f", NEED_NOTHING, 0, 0},
    {"UUA", 3, "f", NEED_NOTHING, 0, 0},
    {"UUU", 3, "fb", NEED_HEAL, RISK_LAST_COPY, 0},
    {"GGU", 3, "fb", NEED_HEAL, RISK_FEW, 0},
    /* Too many. */
    {"GGGG", 3, "b", NEED_REMOVE, RISK_MOVE, 4},
    {"GWGG", 3, "b", NEED_REMOVE, RISK_MOVE, 2},
    {"GWDG", 3, "b", NEED_REMOVE, RISK_MOVE, 3},
    {"GCGG", 3, "b", NEED_REMOVE, RISK_MOVE, 2},
    {"GGGL", 3, "b", NEED_REMOVE, RISK_MOVE, 4},
    {"GGGg", 3, "b", NEED_NOTHING, 0, 0},
    {"GGGA", 3, "b", NEED_NOTHING, 0, 0},
    {"GG", 1, "b", NEED_REMOVE, RISK_MOVE, 2},
    {"GL", 1, "b", NEED_REMOVE, RISK_MOVE, 2},
    /* Off servers that leave, when nothing else is wrong. */
    {"DGG", 3, "b", NEED_MOVE, RISK_MOVE, 1},
    {"GGD", 3, "b", NEED_MOVE, RISK_MOVE, 3},
    {"D", 1, "b", NEED_MOVE, RISK_MOVE, 1},
    {"DGG", 3, "bu", NEED_NOTHING, 0, 0},
    {"DGA", 3, "b", NEED_WAIT, RISK_FEW, 0},
    {"DGL", 3, "b", NEED_ADD, RISK_FEW, 0},
    {"DGB", 3, "b", NEED_HEAL, RISK_FEW, 0},
    {"XYX", 3, "b", NEED_MOVE, RISK_MOVE, 2},
    {"XYA", 3, "b", NEED_ADD, RISK_LAST_COPY, 0},
    {"XYXX", 3, "b", NEED_REMOVE, RISK_MOVE, 2},
};

static struct plan_member member(char kind, uint32_t server)
{
    struct plan_member m = {.server = server, .alive = true, .reported = kind != 'g'};
    switch (kind) {
    case 'D':
        m.leaving = true;
        break;
    case 'W':
        m.slow = true;
        break;
    case 'C':
        m.crowding = 3;
        break;
    case 'S':
        m.note = NOTE_SUSPECT;
        break;
    case 'B':
        m.note = NOTE_BAD;
        break;
    case 'Y':
        m.leaving = true;
        m.note = NOTE_DAMAGED;
        break;
    case 'X':
        m.note = NOTE_DAMAGED;
        break;
    case 'M':
        m.note = NOTE_MISSING;
        break;
    case 'F':
        m.note = NOTE_FAILED;
        break;
    case 'T':
        m.note = NOTE_STALE;
        break;
    case 'U':
        m.note = NOTE_UNSEEN;
        break;
    case 'A':
    case 'L':
        m.alive = m.reported = false;
        m.away_long = kind == 'L';
        break;
    default:
        ck_assert(kind == 'G' || kind == 'g');
    }
    return m;
}

static uint32_t chunk_of(const struct row *r, struct plan_member *members, struct plan_chunk *c)
{
    uint32_t n = (uint32_t)strlen(r->members);
    for (uint32_t i = 0; i < n; i++) {
        members[i] = member(r->members[i], i + 1);
    }
    *c = (struct plan_chunk){.members = members,
                             .count = n,
                             .wanted = r->wanted,
                             .fresh = strchr(r->flags, 'f') != NULL,
                             .bound = strchr(r->flags, 'b') != NULL,
                             .unsettled = strchr(r->flags, 'u') != NULL};
    return n;
}

START_TEST(plans)
{
    const struct row *r = &table[_i];
    struct plan_member members[REPLICAS_MAX];
    struct plan_chunk c;
    chunk_of(r, members, &c);
    struct repair_plan p = repair_plan(&c);
    ck_assert_msg(p.need == r->need, "%s/%u %s: need %d", r->members, r->wanted, r->flags, p.need);
    if (r->need != NEED_NOTHING) {
        ck_assert_msg(p.risk == r->risk, "%s/%u %s: risk %d", r->members, r->wanted, r->flags,
                      p.risk);
    }
    if (r->remove != 0) {
        ck_assert_uint_eq(p.remove, r->remove);
    }
}
END_TEST

START_TEST(lost_is_what_nobody_waits_for)
{
    /* L: lost, damaged blocks aside; g: gone, not even those are left. */
    static const struct {
        const char *members, *flags, *what;
    } cases[] = {
        {"LLL", "b", "Lg"}, {"LLA", "b", ""},    {"AAA", "b", ""},    {"LLM", "b", "Lg"},
        {"MTL", "b", "Lg"}, {"MMM", "b", "Lg"},  {"LLX", "b", "L"},   {"XXX", "b", "L"},
        {"XAM", "b", ""},   {"LLG", "b", ""},    {"LLg", "b", ""},    {"LLS", "b", ""},
        {"LLB", "b", ""},   {"FFF", "fb", "Lg"}, {"FLM", "b", "Lg"},  {"FFX", "b", "L"},
        {"FFS", "b", ""},   {"LLL", "bu", ""},   {"LLL", "fb", "Lg"}, {"UUU", "fb", ""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct row r = {.members = cases[i].members, .wanted = 3, .flags = cases[i].flags};
        struct plan_member members[REPLICAS_MAX];
        struct plan_chunk c;
        chunk_of(&r, members, &c);
        struct repair_plan p = repair_plan(&c);
        ck_assert_msg(p.lost == (strchr(cases[i].what, 'L') != NULL) &&
                          p.gone == (strchr(cases[i].what, 'g') != NULL),
                      "case %zu: %s", i, cases[i].members);
    }
}
END_TEST

static bool gives(const char *text, uint32_t place)
{
    struct row r = {.members = text, .wanted = 3, .flags = "b"};
    struct plan_member members[REPLICAS_MAX];
    struct plan_chunk c;
    chunk_of(&r, members, &c);
    struct repair_plan p = repair_plan(&c);
    return plan_may_give(&c, &p, &members[place - 1]);
}

START_TEST(sources)
{
    ck_assert(gives("GG", 1) && gives("DG", 1) && gives("WG", 1));
    ck_assert(!gives("gG", 1) && !gives("SG", 1) && !gives("XG", 1) && !gives("AG", 1));
    ck_assert(gives("XX", 1));
    ck_assert(!gives("SX", 1) && !gives("MX", 1));
}
END_TEST

/* ---------------------------------------------------------------- queue */

static bool put(struct repair_queue *q, uint64_t handle, enum repair_risk risk, uint64_t bytes)
{
    return repair_queue_put(q,
                            &(struct repair_item){.handle = handle, .risk = risk, .bytes = bytes});
}

static void expect_order(struct repair_queue *q, const uint64_t *handles, uint32_t count)
{
    struct repair_item *i = repair_queue_first(q);
    for (uint32_t n = 0; n < count; n++, i = repair_queue_next(q, i)) {
        ck_assert_ptr_nonnull(i);
        ck_assert_uint_eq(i->handle, handles[n]);
    }
    ck_assert_ptr_null(i);
}

START_TEST(order_is_by_risk_then_bytes)
{
    struct repair_queue q;
    repair_queue_init(&q, 100);
    ck_assert_ptr_null(repair_queue_first(&q));
    put(&q, 1, RISK_BALANCE, 100);
    put(&q, 2, RISK_FEW, 64 << 20);
    put(&q, 3, RISK_FEW, 5000);
    put(&q, 4, RISK_LAST_COPY, 64 << 20);
    put(&q, 5, RISK_MOVE, 1);
    put(&q, 6, RISK_FEW, 4000);
    put(&q, 7, RISK_LAST_COPY, 10);
    put(&q, 8, RISK_CLIENT, 10);
    expect_order(&q, (uint64_t[]){7, 4, 8, 3, 6, 2, 5, 1}, 8);
    ck_assert_uint_eq(q.waiting[RISK_FEW].chunks, 3);
    ck_assert_uint_eq(q.waiting[RISK_FEW].bytes, (64 << 20) + 9000);
    /* More is known of one: it moves. The same again: it keeps its place. */
    put(&q, 2, RISK_LAST_COPY, 64 << 20);
    put(&q, 3, RISK_FEW, 6000);
    expect_order(&q, (uint64_t[]){7, 4, 2, 8, 3, 6, 5, 1}, 8);
    ck_assert_uint_eq(q.waiting[RISK_FEW].bytes, 10000);
    repair_queue_remove(&q, repair_queue_find(&q, 7));
    repair_queue_remove(&q, repair_queue_find(&q, 6));
    expect_order(&q, (uint64_t[]){4, 2, 8, 3, 5, 1}, 6);
    repair_queue_close(&q);
}
END_TEST

START_TEST(full_queue_keeps_the_urgent)
{
    struct repair_queue q;
    repair_queue_init(&q, 3);
    ck_assert(put(&q, 1, RISK_FEW, 1) && put(&q, 2, RISK_MOVE, 1) && put(&q, 3, RISK_MOVE, 1));
    ck_assert(!put(&q, 4, RISK_MOVE, 1));
    ck_assert(put(&q, 3, RISK_MOVE, 2)); /* it is there already */
    ck_assert(put(&q, 5, RISK_LAST_COPY, 1));
    expect_order(&q, (uint64_t[]){5, 1, 2}, 3);
    ck_assert(put(&q, 6, RISK_FEW, 1));
    ck_assert(!put(&q, 7, RISK_FEW, 1));
    ck_assert(put(&q, 8, RISK_LAST_COPY, 1));
    expect_order(&q, (uint64_t[]){5, 8, 1}, 3);
    repair_queue_close(&q);
}
END_TEST

/* ---------------------------------------------------------------- bandwidth */

enum { MIB = 1 << 20, BEAT_MS = 500 };

/* Bytes copied in `seconds` by copies of `chunk` bytes that begin as soon as they may. */
static uint64_t copied_in(struct bandwidth *b, uint64_t *now, uint32_t seconds, uint32_t share,
                          uint64_t client_rate, uint64_t chunk)
{
    uint64_t sum = 0, told = 0;
    for (uint32_t beat = 0; beat < seconds * 1000 / BEAT_MS; beat++) {
        *now += BEAT_MS * NS_PER_MS;
        bandwidth_heard(b, *now, client_rate * BEAT_MS / 1000, told);
        told = 0;
        for (int tries = 0; tries < 10 && bandwidth_may_start(b, *now, share); tries++) {
            bandwidth_take(b, chunk);
            told += chunk;
        }
        sum += told;
    }
    return sum;
}

START_TEST(clients_leave_a_share)
{
    struct bandwidth b = {0};
    uint64_t now = 1000 * NS_PER_S;
    /* Nothing is known: nothing holds copies back. */
    ck_assert_uint_eq(bandwidth_limit(&b, now, 40), BANDWIDTH_FREE);
    uint64_t free = copied_in(&b, &now, 10, 40, 0, 8 * MIB);
    ck_assert_uint_eq(free, 20ull * 10 * 8 * MIB);
    ck_assert_uint_ge(b.peak, 100 * MIB);
    /* Clients are served: 40 % of the most that was seen, on average. */
    uint64_t peak = b.peak;
    (void)copied_in(&b, &now, 2, 40, 50 * MIB, 8 * MIB);
    uint64_t limit = bandwidth_limit(&b, now, 40);
    ck_assert_uint_ge(limit, peak / 100 * 40);
    ck_assert_uint_le(limit, peak / 100 * 40 + 40 * MIB);
    uint64_t shared = copied_in(&b, &now, 100, 40, 50 * MIB, 8 * MIB);
    limit = bandwidth_limit(&b, now, 40);
    ck_assert_uint_le(shared, limit * 102);
    ck_assert_uint_ge(shared, limit * 90);
    /* All of it if the operator wants so; and again when the clients went. */
    ck_assert_uint_eq(bandwidth_limit(&b, now, 100), BANDWIDTH_FREE);
    (void)copied_in(&b, &now, 3, 40, 0, 8 * MIB);
    ck_assert_uint_eq(bandwidth_limit(&b, now, 40), BANDWIDTH_FREE);
}
END_TEST

START_TEST(floor_holds_while_little_was_seen)
{
    struct bandwidth b = {0};
    uint64_t now = 1000 * NS_PER_S;
    (void)copied_in(&b, &now, 4, 40, MIB, 0);
    ck_assert_uint_eq(bandwidth_limit(&b, now, 40), SHARE_FLOOR);
    /* A whole chunk at a time goes into debt, and the share holds all the same. */
    uint64_t sum = copied_in(&b, &now, 160, 40, MIB, 64 * MIB);
    ck_assert_uint_ge(sum, 140ull * SHARE_FLOOR);
    ck_assert_uint_le(sum, 180ull * MAX(SHARE_FLOOR, b.peak / 100 * 40));
}
END_TEST

/* ---------------------------------------------------------------- quarrels */

START_TEST(pairs_are_remembered_for_a_while)
{
    static struct quarrels q;
    quarrels_note(&q, &(struct quarrel){.handle = 5, .until_ns = 100, .primary = 1, .failed = 2});
    ck_assert_uint_eq(quarrels_until(&q, 5, 1, 2, 50), 100);
    ck_assert_uint_eq(quarrels_until(&q, 5, 2, 1, 50), 100);
    ck_assert_uint_eq(quarrels_until(&q, 5, 1, 2, 100), 0);
    ck_assert_uint_eq(quarrels_until(&q, 6, 1, 2, 50), 0);
    ck_assert_uint_eq(quarrels_until(&q, 5, 1, 3, 50), 0);
    ck_assert(quarrels_failed(&q, 5, 2, 50) && !quarrels_failed(&q, 5, 1, 50));
    for (uint32_t i = 0; i < QUARRELS_MAX; i++) {
        quarrels_note(&q, &(struct quarrel){.handle = 9 + i, .until_ns = 100});
    }
    ck_assert(!quarrels_failed(&q, 5, 2, 50));
}
END_TEST

Suite *suite_repair_plan(void)
{
    Suite *s = suite_create("repair_plan");
    TCase *t = tcase_create("plan");
    tcase_add_loop_test(t, plans, 0, (int)COUNT_OF(table));
    tcase_add_test(t, sources);
    tcase_add_test(t, lost_is_what_nobody_waits_for);
    tcase_add_test(t, order_is_by_risk_then_bytes);
    tcase_add_test(t, full_queue_keeps_the_urgent);
    tcase_add_test(t, clients_leave_a_share);
    tcase_add_test(t, floor_holds_while_little_was_seen);
    tcase_add_test(t, pairs_are_remembered_for_a_while);
    suite_add_tcase(s, t);
    return s;
}
