/* plan.h - how much of a seed's world takes place: all of it, or less while a failure is reduced.
 *
 * A seed draws everything; a plan only takes away. Faults have numbers, from 1, in the order in
 * which they strike, and programs too; leaving one out does not change what the others draw. A plan
 * is written as the options of the command that runs it.
 */
#ifndef TESTS_SIM_PLAN_H
#define TESTS_SIM_PLAN_H

#include "tests/sim/fault_kind.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PLAN_SET_MAX = 1024 }; /* numbers from here on are in no set */

/* Some numbers below PLAN_SET_MAX. */
struct plan_set {
    uint64_t bits[PLAN_SET_MAX / 64];
};

struct plan {
    uint64_t seed;
    uint32_t ops;           /* at most so many operations; 0 = as many as the seed draws */
    uint32_t chunkds;       /* at most so many chunkservers; 0 = as many as the seed draws */
    uint32_t masters;       /* if the seed draws more there is one; 0 = as many as it draws */
    struct plan_set absent; /* kinds of faults that do not happen */
    bool some_faults;       /* only these happen, by number: */
    struct plan_set faults;
    struct plan_set idle;    /* programs that do nothing */
    struct plan_set *struck; /* NULL, or where the numbers of those that happen are noted */
};

bool plan_set_has(const struct plan_set *s, uint32_t number);
void plan_set_add(struct plan_set *s, uint32_t number);

/* Does fault `number`, of this kind, happen? */
bool plan_strikes(const struct plan *p, enum fault_kind kind, uint32_t number);

static inline bool plan_has_kind(const struct plan *p, enum fault_kind kind)
{
    return !plan_set_has(&p->absent, kind);
}

/* Takes the value of an option of getopt_long (`letter` is 'o' ops, 'c' chunkds, 'm' masters, 'w' without,
 * 'k' faults, 'i' idle). False if it makes no sense. */
bool plan_option(struct plan *p, int letter, const char *value);

/* The options of this plan, with --seed. */
void plan_print(const struct plan *p, char *out, size_t size);

#endif
