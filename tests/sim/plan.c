/* plan.c - plans as options of the command line. */
#include "tests/sim/plan.h"
#include "shared/base/invariant.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool plan_set_has(const struct plan_set *s, uint32_t number)
{
    return number < PLAN_SET_MAX && (s->bits[number / 64] >> (number % 64) & 1) != 0;
}

void plan_set_add(struct plan_set *s, uint32_t number)
{
    if (number < PLAN_SET_MAX) {
        s->bits[number / 64] |= 1ull << (number % 64);
    }
}

bool plan_strikes(const struct plan *p, enum fault_kind kind, uint32_t number)
{
    bool yes = plan_has_kind(p, kind) && (!p->some_faults || plan_set_has(&p->faults, number));
    if (yes && p->struck != NULL) {
        plan_set_add(p->struck, number);
    }
    return yes;
}

/* A kind's name as a word. */
static void kind_option(enum fault_kind kind, char *out, size_t size)
{
    snprintf(out, size, "%s", fault_name(kind));
    for (char *c = out; *c != '\0'; c++) {
        *c = *c == ' ' ? '-' : *c;
    }
}

/* "3-7,9" */
static bool parse_set(struct plan_set *s, const char *text)
{
    while (*text != '\0') {
        char *end;
        if (!isdigit((unsigned char)*text)) {
            return false;
        }
        unsigned long from = strtoul(text, &end, 10);
        unsigned long to = from;
        if (*end == '-' && isdigit((unsigned char)end[1])) {
            to = strtoul(end + 1, &end, 10);
        }
        if (to >= PLAN_SET_MAX || from > to || (*end != ',' && *end != '\0')) {
            return false;
        }
        for (unsigned long n = from; n <= to; n++) {
            plan_set_add(s, (uint32_t)n);
        }
        text = *end == ',' ? end + 1 : end;
    }
    return true;
}

/* "master-kills,bits-flipped" */
static bool parse_kinds(struct plan_set *s, const char *text)
{
    while (*text != '\0') {
        size_t n = strcspn(text, ",");
        char name[64];
        int kind = 0;
        while (kind < FAULT_KINDS) {
            kind_option((enum fault_kind)kind, name, sizeof(name));
            if (strlen(name) == n && memcmp(name, text, n) == 0) {
                break;
            }
            kind++;
        }
        if (kind == FAULT_KINDS) {
            return false;
        }
        plan_set_add(s, (uint32_t)kind);
        text += n + (text[n] == ',');
    }
    return true;
}

static bool parse_count(const char *text, uint32_t *out)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    *out = (uint32_t)n;
    return isdigit((unsigned char)*text) && *end == '\0' && n > 0 && n < 1000000;
}

bool plan_option(struct plan *p, int letter, const char *value)
{
    switch (letter) {
    case 'o':
        return parse_count(value, &p->ops);
    case 'c':
        return parse_count(value, &p->chunkds);
    case 'm':
        return parse_count(value, &p->masters);
    case 'w':
        return parse_kinds(&p->absent, value);
    case 'k':
        p->some_faults = true;
        return parse_set(&p->faults, value);
    case 'i':
        return parse_set(&p->idle, value);
    default:
        return false;
    }
}

struct text {
    char *out;
    size_t size;
    size_t len;
};

static void PRINTF_LIKE(2, 3) put(struct text *t, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(t->out + t->len, t->size - t->len, format, ap);
    va_end(ap);
    t->len = MIN(t->len + (size_t)MAX(n, 0), t->size - 1);
}

static void put_set(struct text *t, const char *option, const struct plan_set *s)
{
    const char *before = option;
    for (uint32_t n = 0; n < PLAN_SET_MAX; n++) {
        uint32_t last = n;
        if (!plan_set_has(s, n)) {
            continue;
        }
        while (plan_set_has(s, last + 1)) {
            last++;
        }
        put(t, "%s%u", before, n);
        if (last > n) {
            put(t, "-%u", last);
        }
        before = ",";
        n = last;
    }
}

static void put_kinds(struct text *t, const struct plan_set *s)
{
    const char *before = " --without ";
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        char name[64];
        kind_option((enum fault_kind)kind, name, sizeof(name));
        if (plan_set_has(s, (uint32_t)kind)) {
            put(t, "%s%s", before, name);
            before = ",";
        }
    }
}

void plan_print(const struct plan *p, char *out, size_t size)
{
    struct text t = {out, size, 0};
    put(&t, "--seed %llu", (unsigned long long)p->seed);
    if (p->ops != 0) {
        put(&t, " --ops %u", p->ops);
    }
    if (p->chunkds != 0) {
        put(&t, " --chunkds %u", p->chunkds);
    }
    if (p->masters != 0) {
        put(&t, " --masters %u", p->masters);
    }
    put_kinds(&t, &p->absent);
    if (p->some_faults) {
        put_set(&t, " --faults ", &p->faults);
    }
    put_set(&t, " --idle ", &p->idle);
}
