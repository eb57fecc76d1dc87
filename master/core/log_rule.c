/* log_rule.c - which history a new primary takes over. */
#include "master/core/log_rule.h"
#include "shared/base/bytes.h"
#include "shared/base/invariant.h"

#include <errno.h>

int log_place_compare(struct log_place a, struct log_place b)
{
    if (a.epoch != b.epoch) {
        return a.epoch < b.epoch ? -1 : 1;
    }
    return a.index < b.index ? -1 : a.index > b.index;
}

static uint32_t answers_here(const struct log_rule *rule)
{
    uint32_t here = 0;
    for (uint32_t i = 0; i < rule->loggers; i++) {
        here += rule->answers[i].here;
    }
    return here;
}

/* Whether a record may have been acknowledged that nobody who answered can read: `lost` answerers
 * certainly held it, `unsure` ones may have. All W copies must be among these and the loggers that
 * are away, and of the unsure ones only those can count that are damaged, not torn: a torn copy was
 * never acknowledged. */
static bool maybe_acknowledged(const struct log_rule *rule, uint32_t lost, uint32_t unsure)
{
    uint32_t away = rule->loggers - answers_here(rule);
    uint32_t rotten = lost < LOG_COPIES_LOST ? LOG_COPIES_LOST - lost : 0;
    return away + lost + MIN(unsure, rotten) >= rule->acks;
}

/* Every record to this one is committed, some answer says. */
static uint64_t committed_floor(const struct log_rule *rule)
{
    uint64_t floor = 0;
    for (uint32_t i = 0; i < rule->loggers; i++) {
        const struct log_answer *a = &rule->answers[i];
        if (a->here) {
            floor = MAX(floor, MAX(a->committed, MAX(a->first, (uint64_t)1) - 1));
        }
    }
    return floor;
}

static uint32_t best_tail(const struct log_rule *rule)
{
    uint32_t best = LOGGERS_MAX;
    for (uint32_t i = 0; i < rule->loggers; i++) {
        const struct log_answer *a = &rule->answers[i];
        if (!a->here) {
            continue;
        }
        int order = best == LOGGERS_MAX ? 1 : log_place_compare(a->tail, rule->answers[best].tail);
        if (order > 0 || (order == 0 && a->hole_count < rule->answers[best].hole_count)) {
            best = i;
        }
    }
    return best;
}

/* Answerers whose disk may hide a record that does not belong to the history which ends at `tail`.
 * A hidden record at or before the tail in the order of logs was overruled or is in the history. */
static uint32_t hiding(const struct log_rule *rule, struct log_place tail)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < rule->loggers; i++) {
        const struct log_answer *a = &rule->answers[i];
        bool harmless = a->end == LOG_END_SURE ||
                        (a->end == LOG_END_NAMED && log_place_compare(a->end_place, tail) <= 0);
        count += a->here && !harmless;
    }
    return count;
}

const struct log_hole *log_hole_at(const struct log_hole *holes, uint32_t count, uint64_t index)
{
    for (uint32_t i = 0; i < count; i++) {
        if (index >= holes[i].from && index <= holes[i].to) {
            return &holes[i];
        }
    }
    return NULL;
}

static bool holds(const struct log_answer *a, uint64_t from, uint64_t to)
{
    if (!a->here || a->first > from || a->tail.index < to) {
        return false;
    }
    for (uint32_t i = 0; i < a->hole_count; i++) {
        if (a->holes[i].from <= to && a->holes[i].to >= from) {
            return false;
        }
    }
    return true;
}

uint8_t log_rule_holders(const struct log_rule *rule, const struct log_hole *hole)
{
    uint8_t mask = 0;
    for (uint32_t i = 0; i < rule->loggers; i++) {
        if (!(hole->unfit & 1u << i) && holds(&rule->answers[i], hole->from, hole->to)) {
            mask = (uint8_t)(mask | 1u << i);
        }
    }
    return mask;
}

/* Some answerer needs nothing of the hole: its log begins in it or behind it, and what is committed there
 * has all of it. Who cannot read it takes that one's checkpoint. */
static bool is_passed(const struct log_rule *rule, const struct log_hole *hole)
{
    bool passed = false;
    for (uint32_t i = 0; i < rule->loggers; i++) {
        const struct log_answer *a = &rule->answers[i];
        bool has_rest =
            a->first > hole->to || (a->committed >= hole->to && a->tail.index >= hole->to);
        passed |= a->here && a->first > hole->from && has_rest;
    }
    return passed;
}

/* Nobody can fill the hole of the logger `source`: 0 if its records may be discarded, with all
 * after them. */
static int may_discard(const struct log_rule *rule, const struct log_hole *hole, struct why *why)
{
    uint32_t lost = 0, unsure = 0;
    for (uint32_t i = 0; i < rule->loggers; i++) {
        const struct log_answer *a = &rule->answers[i];
        bool bad = false;
        for (uint32_t n = 0; a->here && n < a->hole_count; n++) {
            bad |= a->holes[n].from <= hole->to && a->holes[n].to >= hole->from;
        }
        lost += bad;
        unsure += !bad && a->here && a->end != LOG_END_SURE && a->tail.index < hole->to;
    }
    if (hole->from <= committed_floor(rule)) {
        return why_set(why, -EAGAIN, "record %llu is committed, and no logger that answers has it",
                       (unsigned long long)hole->from);
    }
    if (maybe_acknowledged(rule, lost, unsure)) {
        return why_set(why, -EAGAIN,
                       "record %llu may be acknowledged: %u loggers had it and cannot read it, %u "
                       "may have had it",
                       (unsigned long long)hole->from, lost, unsure);
    }
    return 0;
}

/* The log ends before its hole n: what follows was never acknowledged. */
static void shorten(struct log_answer *a, uint32_t n)
{
    const struct log_hole *hole = &a->holes[n];
    a->tail = (struct log_place){hole->epoch_before, hole->from - 1};
    a->hole_count = n;
    a->end = LOG_END_SURE;
}

int log_rule_choose(const struct log_rule *rule, struct log_choice *out, struct why *why)
{
    struct log_rule r = *rule;
    ASSERT(r.loggers >= 2 && r.loggers <= LOGGERS_MAX);
    ASSERT(r.acks <= r.loggers && r.acks > r.loggers / 2);
    uint32_t here = answers_here(&r);
    if (here < r.loggers - r.acks + 1) {
        return why_set(why, -EAGAIN, "%u of %u loggers answer, %u are needed", here, r.loggers,
                       r.loggers - r.acks + 1);
    }
    for (;;) {
        uint32_t source = best_tail(&r);
        struct log_answer *a = &r.answers[source];
        if (a->tail.index < committed_floor(&r)) {
            return why_set(why, -EAGAIN,
                           "records to %llu are committed, but no logger that answers has more "
                           "than %llu",
                           (unsigned long long)committed_floor(&r),
                           (unsigned long long)a->tail.index);
        }
        uint32_t unsure = hiding(&r, a->tail);
        if (maybe_acknowledged(&r, 0, unsure)) {
            return why_set(why, -EAGAIN,
                           "what follows record %llu may be acknowledged: %u loggers cannot say "
                           "what they had",
                           (unsigned long long)a->tail.index, unsure);
        }
        uint32_t n = 0;
        while (n < a->hole_count &&
               (log_rule_holders(&r, &a->holes[n]) != 0 || is_passed(&r, &a->holes[n]))) {
            n++;
        }
        if (n == a->hole_count) {
            *out = (struct log_choice){.source = source, .tail = a->tail};
            return 0;
        }
        int rc = may_discard(&r, &a->holes[n], why);
        if (rc < 0) {
            return rc;
        }
        shorten(a, n);
    }
}
