/* test_log_rule.c - the rule by which loggers' histories are taken over, against every state that
 * up to five loggers can be in. */
#include "master/core/log_rule.h"
#include "tests/unit/unit.h"

#include <errno.h>

static struct why why;

/* Up to three records. Epoch 2 began after record 1 or after record 2 of epoch 1. */
enum { LENGTH_MAX = 3, STATES_MAX = 256 };

enum copy { GOOD, TORN, ROTTEN }; /* torn: being written, never acknowledged */

/* One logger: what it once wrote, and what became of it. */
struct state {
    uint32_t length;
    uint32_t epochs[LENGTH_MAX];
    enum copy copies[LENGTH_MAX];
    bool named; /* the slot behind the tail can be read */
    bool away;
};

static const struct state logs[] = {
    {.length = 0},
    {.length = 1, .epochs = {1}},
    {.length = 2, .epochs = {1, 1}},
    {.length = 3, .epochs = {1, 1, 1}},
    {.length = 2, .epochs = {1, 2}},
    {.length = 3, .epochs = {1, 2, 2}},
    {.length = 3, .epochs = {1, 1, 2}},
};

static struct state states[STATES_MAX];
static uint32_t state_count;

/* `few`: at most one bad copy in a log, none whose slot can be read. */
static void make_states(bool few)
{
    state_count = 0;
    for (size_t i = 0; i < sizeof(logs) / sizeof(*logs); i++) {
        uint32_t combinations = 1;
        for (uint32_t n = 0; n < logs[i].length; n++) {
            combinations *= 3;
        }
        for (uint32_t k = 0; k < combinations * 2; k++) {
            struct state s = logs[i];
            uint32_t rest = k / 2, bad = 0;
            bool fine = true;
            s.named = k % 2 != 0;
            for (uint32_t n = 0; n < s.length; n++, rest /= 3) {
                s.copies[n] = (enum copy)(rest % 3);
                bad += s.copies[n] != GOOD;
                fine &= s.copies[n] != TORN || n + 1 == s.length;
            }
            bool end_bad = s.length > 0 && s.copies[s.length - 1] != GOOD;
            if (fine && (!s.named || end_bad) && (!few || (bad <= 1 && !s.named))) {
                MUST(state_count < STATES_MAX);
                states[state_count++] = s;
            }
        }
        MUST(state_count < STATES_MAX);
        states[state_count] = logs[i];
        states[state_count++].away = true;
    }
}

static bool durable(const struct state *s, uint32_t n, uint32_t epoch)
{
    return s->length > n && s->epochs[n] == epoch && s->copies[n] != TORN;
}

/* Copies of record n + 1 of an epoch: durable ones, rotten ones. */
static uint32_t count(const struct state *const *all, uint32_t loggers, uint32_t n, uint32_t epoch,
                      uint32_t *out_rotten)
{
    uint32_t copies = 0;
    *out_rotten = 0;
    for (uint32_t i = 0; i < loggers; i++) {
        copies += durable(all[i], n, epoch);
        *out_rotten += durable(all[i], n, epoch) && all[i]->copies[n] == ROTTEN;
    }
    return copies;
}

/* The committed history: its length and epochs. False if the loggers cannot be in these states
 * together, or are more damaged than the promise covers. */
static bool committed_of(const struct state *const *all, uint32_t loggers, uint32_t acks,
                         struct state *out)
{
    bool after_1 = false, after_2 = false;
    *out = (struct state){0};
    for (uint32_t i = 0; i < loggers; i++) {
        after_1 |= all[i]->length > 1 && all[i]->epochs[1] == 2;
        after_2 |= all[i]->length > 2 && all[i]->epochs[1] == 1 && all[i]->epochs[2] == 2;
    }
    if (after_1 && after_2) {
        return false;
    }
    for (uint32_t n = 0; n < LENGTH_MAX; n++) {
        for (uint32_t epoch = 1; epoch <= 2; epoch++) {
            uint32_t rotten;
            uint32_t copies = count(all, loggers, n, epoch, &rotten);
            if (rotten > LOG_COPIES_LOST) {
                return false;
            }
            if (copies < acks) {
                continue;
            }
            /* What epoch 2 did not take over had not been acknowledged. */
            if (epoch == 1 && ((after_1 && n >= 1) || (after_2 && n >= 2))) {
                return false;
            }
            if (n == out->length) {
                out->length = n + 1;
                out->epochs[n] = epoch;
            }
        }
    }
    return true;
}

static struct log_answer answer_of(const struct state *s)
{
    struct log_answer a = {.here = !s->away, .first = 1};
    for (uint32_t n = 0; n < s->length; n++) {
        if (s->copies[n] == GOOD) {
            a.tail = (struct log_place){s->epochs[n], n + 1};
        }
    }
    for (uint32_t n = 0; n < a.tail.index; n++) {
        if (s->copies[n] == GOOD) {
            continue;
        }
        if (n > 0 && s->copies[n - 1] != GOOD) {
            a.holes[a.hole_count - 1].to = n + 1;
        } else {
            a.holes[a.hole_count++] = (struct log_hole){
                .from = n + 1, .to = n + 1, .epoch_before = n > 0 ? s->epochs[n - 1] : 0};
        }
    }
    if (a.tail.index < s->length) {
        a.end = s->named ? LOG_END_NAMED : LOG_END_UNKNOWN;
        a.end_place = (struct log_place){s->epochs[s->length - 1], s->length};
    }
    return a;
}

static bool same_records(const struct state *a, const struct state *b, const struct log_hole *hole)
{
    for (uint64_t n = hole->from - 1; n < hole->to; n++) {
        if (a->epochs[n] != b->epochs[n]) {
            return false;
        }
    }
    return true;
}

/* As a new primary does it: asks, fills holes, marks who does not fit, asks again. */
static int take_over(struct log_rule *rule, const struct state *const *all, struct log_choice *out)
{
    for (;;) {
        int rc = log_rule_choose(rule, out, &why);
        bool again = false;
        struct log_answer *a = &rule->answers[out->source];
        for (uint32_t h = 0; rc == 0 && h < a->hole_count && !again; h++) {
            uint8_t holders = log_rule_holders(rule, &a->holes[h]);
            bool filled = a->holes[h].from > out->tail.index;
            for (uint32_t i = 0; i < rule->loggers && !filled; i++) {
                if (holders & 1u << i) {
                    filled = same_records(all[out->source], all[i], &a->holes[h]);
                    if (!filled) {
                        a->holes[h].unfit = (uint8_t)(a->holes[h].unfit | 1u << i);
                        again = true;
                    }
                }
            }
            again = again && !filled;
        }
        if (!again) {
            return rc;
        }
    }
}

static uint64_t tried, taken;

static void check(const struct state *const *all, uint32_t loggers, uint32_t acks, bool bounds)
{
    struct state committed;
    struct log_rule rule = {.loggers = loggers, .acks = acks};
    struct log_choice choice;
    uint32_t here = 0, rotten = 0;
    bool clean = true;
    if (!committed_of(all, loggers, acks, &committed)) {
        return;
    }
    for (uint32_t i = 0; i < loggers; i++) {
        rule.answers[i] = answer_of(all[i]);
        here += !all[i]->away;
        for (uint32_t n = 0; n < all[i]->length; n++) {
            rotten += all[i]->copies[n] == ROTTEN;
        }
        clean &= all[i]->away ||
                 (rule.answers[i].tail.index == all[i]->length && rule.answers[i].hole_count == 0);
        if (bounds && committed.length <= all[i]->length &&
            (committed.length == 0 ||
             durable(all[i], committed.length - 1, committed.epochs[committed.length - 1]))) {
            rule.answers[i].committed = committed.length;
        }
    }
    int rc = take_over(&rule, all, &choice);
    tried++;
    taken += rc == 0;
    if (rc != 0) {
        MUST(rc == -EAGAIN);
        /* It waits for somebody: not when enough are there and well. When all are there only
         * several damaged records, perhaps of rival histories, keep it. */
        MUST(!clean || here < loggers - acks + 1);
        MUST(here < loggers || rotten > 1);
        return;
    }
    MUST(choice.tail.index >= committed.length);
    for (uint32_t n = 0; n < committed.length; n++) {
        MUST(all[choice.source]->epochs[n] == committed.epochs[n]);
    }
}

/* All multisets of states: the rule does not look at the loggers' numbers. */
static void check_all(uint32_t loggers, uint32_t depth, uint32_t from, const struct state **all)
{
    if (depth == loggers) {
        for (uint32_t acks = loggers / 2 + 1; acks <= loggers; acks++) {
            check(all, loggers, acks, false);
            check(all, loggers, acks, true);
        }
        return;
    }
    for (uint32_t i = from; i < state_count; i++) {
        all[depth] = &states[i];
        check_all(loggers, depth + 1, i, all);
    }
}

START_TEST(nothing_acknowledged_is_discarded)
{
    const struct state *all[LOGGERS_MAX];
    uint32_t loggers = (uint32_t)_i;
    make_states(loggers > 3);
    tried = taken = 0;
    check_all(loggers, 0, 0, all);
    MUST(tried > 1000 && taken > tried / 10);
}
END_TEST

/* ---------------------------------------------------------------- single cases */

static struct log_rule rule;

static struct log_answer log_to(uint32_t epoch, uint64_t index)
{
    return (struct log_answer){.here = true, .first = 1, .tail = {epoch, index}};
}

static void setup(void)
{
    rule = (struct log_rule){.loggers = 3, .acks = 2};
}

START_TEST(the_later_epoch_wins_over_the_longer_log)
{
    struct log_choice c;
    rule.answers[0] = log_to(1, 90);
    rule.answers[2] = log_to(2, 50);
    ck_assert_int_eq(log_rule_choose(&rule, &c, &why), 0);
    ck_assert_uint_eq(c.source, 2);
    ck_assert_uint_eq(c.tail.index, 50);
    rule.answers[1] = log_to(2, 51);
    ck_assert_int_eq(log_rule_choose(&rule, &c, &why), 0);
    ck_assert_uint_eq(c.source, 1);
}
END_TEST

START_TEST(a_minority_decides_nothing)
{
    struct log_choice c;
    rule.answers[1] = log_to(7, 90);
    ck_assert_int_eq(log_rule_choose(&rule, &c, &why), -EAGAIN);
}
END_TEST

/* A power cut of the whole site tears the last batch of every log. */
START_TEST(a_tail_torn_on_all_is_discarded)
{
    struct log_choice c;
    for (int i = 0; i < 3; i++) {
        rule.answers[i] = log_to(3, 40);
        rule.answers[i].end = LOG_END_UNKNOWN;
    }
    ck_assert_int_eq(log_rule_choose(&rule, &c, &why), 0);
    ck_assert_uint_eq(c.tail.index, 40);
    rule.answers[2].here = false;
    ck_assert_int_eq(log_rule_choose(&rule, &c, &why), -EAGAIN);
}
END_TEST

/* A torn batch that its slot names, and that another log has, keeps nobody waiting. */
START_TEST(a_named_end_that_another_has_is_harmless)
{
    struct log_choice c;
    rule.answers[0] = log_to(3, 40);
    rule.answers[0].end = LOG_END_NAMED;
    rule.answers[0].end_place = (struct log_place){3, 44};
    rule.answers[1] = log_to(3, 44);
    ck_assert_int_eq(log_rule_choose(&rule, &c, &why), 0);
    ck_assert_uint_eq(c.tail.index, 44);
    rule.answers[1] = log_to(3, 43);
    ck_assert_int_eq(log_rule_choose(&rule, &c, &why), -EAGAIN);
}
END_TEST

START_TEST(a_log_shorter_than_what_is_committed_is_not_taken)
{
    struct log_choice c;
    rule.answers[0] = log_to(3, 40);
    rule.answers[0].committed = 41;
    rule.answers[1] = log_to(3, 39);
    ck_assert_int_eq(log_rule_choose(&rule, &c, &why), -EAGAIN);
    ck_assert_str_eq(why.text, "records to 41 are committed, but no logger that answers has more "
                               "than 40");
}
END_TEST

START_TEST(a_hole_is_filled_by_who_has_it)
{
    struct log_choice c;
    rule.answers[0] = log_to(3, 40);
    rule.answers[0].hole_count = 1;
    rule.answers[0].holes[0] = (struct log_hole){.from = 10, .to = 12, .epoch_before = 2};
    rule.answers[1] = log_to(3, 12);
    ck_assert_int_eq(log_rule_choose(&rule, &c, &why), 0);
    ck_assert_uint_eq(c.source, 0);
    ck_assert_uint_eq(c.tail.index, 40);
    ck_assert_uint_eq(log_rule_holders(&rule, &rule.answers[0].holes[0]), 2);
    rule.answers[1] = log_to(3, 11);
    ck_assert_int_eq(log_rule_choose(&rule, &c, &why), -EAGAIN);
    rule.answers[2] = log_to(2, 9); /* never had them: so they were not acknowledged */
    ck_assert_int_eq(log_rule_choose(&rule, &c, &why), 0);
    ck_assert_uint_eq(c.source, 1);
    ck_assert_uint_eq(c.tail.index, 11);
}
END_TEST

/* The others have it in a checkpoint, and their logs begin in the hole or behind it. */
START_TEST(a_hole_before_another_log_keeps_nobody_waiting)
{
    struct log_choice c;
    rule.answers[0] = log_to(4, 41);
    rule.answers[0].hole_count = 1;
    rule.answers[0].holes[0] = (struct log_hole){.from = 10, .to = 12, .epoch_before = 2};
    rule.answers[1] = log_to(3, 40);
    rule.answers[1].first = 13;
    ck_assert_int_eq(log_rule_choose(&rule, &c, &why), 0);
    ck_assert_uint_eq(c.source, 0);
    ck_assert_uint_eq(c.tail.index, 41);
    rule.answers[1].first = 12; /* what it has of the hole need not be committed */
    ck_assert_int_eq(log_rule_choose(&rule, &c, &why), -EAGAIN);
    rule.answers[1].committed = 12;
    ck_assert_int_eq(log_rule_choose(&rule, &c, &why), 0);
    ck_assert_uint_eq(c.tail.index, 41);
    rule.answers[1].here = false;
    rule.answers[2] = log_to(3, 40);
    rule.answers[2].committed = 40;
    rule.answers[2].first = 10;
    ck_assert_int_eq(log_rule_choose(&rule, &c, &why), 0); /* it fills the hole */
    ck_assert_uint_eq(log_rule_holders(&rule, &rule.answers[0].holes[0]), 4);
}
END_TEST

Suite *suite_log_rule(void);
Suite *suite_log_rule(void)
{
    Suite *s = suite_create("log_rule");
    TCase *all = tcase_create("every state");
    tcase_set_timeout(all, 60);
    tcase_add_loop_test(all, nothing_acknowledged_is_discarded, 2, LOGGERS_MAX + 1);
    suite_add_tcase(s, all);
    TCase *c = tcase_create("cases");
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_test(c, the_later_epoch_wins_over_the_longer_log);
    tcase_add_test(c, a_minority_decides_nothing);
    tcase_add_test(c, a_tail_torn_on_all_is_discarded);
    tcase_add_test(c, a_named_end_that_another_has_is_harmless);
    tcase_add_test(c, a_log_shorter_than_what_is_committed_is_not_taken);
    tcase_add_test(c, a_hole_is_filled_by_who_has_it);
    tcase_add_test(c, a_hole_before_another_log_keeps_nobody_waiting);
    suite_add_tcase(s, c);
    return s;
}
