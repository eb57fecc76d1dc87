/* log_tap.c - what the masters wrote into their operation logs. */
#include "tests/sim/log_tap.h"
#include "shared/base/bytes.h"
#include "shared/base/invariant.h"
#include "shared/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { UNIT = 4096 };

/* One of the records that were written at an index. */
struct version {
    struct version *next;
    struct record record; /* its body is a copy */
    uint32_t written;     /* logs that have it: bits ... */
    uint32_t durable;     /* ... synced ... */
    uint32_t obeying;     /* ... at some time, when they obeyed its epoch and no later one */
};

struct log_tap {
    struct version **all;  /* [index - 1]: those written there, the newest first */
    struct version **line; /* [index - 1], up to last: the history */
    uint64_t cap;
    uint64_t highest; /* index of all */
    uint64_t last;
    uint64_t certain;
    uint64_t told;
    uint32_t logs, acks;
    void (*each)(void *owner, const struct record *r);
    void *owner;
    char wrong[256];
};

struct log_tap *log_tap_new(uint32_t logs, uint32_t acks)
{
    struct log_tap *t = mem_new(struct log_tap);
    t->logs = logs;
    t->acks = acks;
    return t;
}

void log_tap_free(struct log_tap *t)
{
    for (uint64_t i = 0; i < t->highest; i++) {
        while (t->all[i] != NULL) {
            struct version *v = t->all[i];
            t->all[i] = v->next;
            mem_free((void *)(uintptr_t)v->record.body.data);
            mem_free(v);
        }
    }
    mem_free(t->all);
    mem_free(t->line);
    mem_free(t);
}

static void wrong(struct log_tap *t, const char *what, const struct record *r)
{
    if (t->wrong[0] == 0) {
        snprintf(t->wrong, sizeof(t->wrong),
                 "%s at index %llu (epoch %u, certain up to %llu, told up to %llu)", what,
                 (unsigned long long)r->index, r->epoch, (unsigned long long)t->certain,
                 (unsigned long long)t->told);
    }
}

static struct version *find(const struct log_tap *t, uint64_t index, uint64_t chain)
{
    struct version *v = index >= 1 && index <= t->highest ? t->all[index - 1] : NULL;
    while (v != NULL && v->record.chain != chain) {
        v = v->next;
    }
    return v;
}

static void reserve(struct log_tap *t, uint64_t index)
{
    if (index > t->cap) {
        uint64_t cap = MAX(2 * index, 1024u);
        t->all = mem_resize(t->all, cap * sizeof(t->all[0]));
        t->line = mem_resize(t->line, cap * sizeof(t->line[0]));
        t->cap = cap;
    }
    while (t->highest < index) {
        t->all[t->highest] = t->line[t->highest] = NULL;
        t->highest++;
    }
}

/* The history is what leads to this record, and nothing behind it. */
static void follow(struct log_tap *t, struct version *v)
{
    uint64_t index = v->record.index;
    uint64_t before = t->last;
    t->last = index;
    while (index >= 1 && v != NULL && (index > before || t->line[index - 1] != v)) {
        if (index <= MAX(t->certain, t->told) && index <= before) {
            wrong(t, "a committed record was replaced", &v->record);
        }
        t->line[index - 1] = v;
        index--;
        v = find(t, index, v->record.prev_chain);
    }
    if (t->last < t->told || t->last < t->certain) {
        wrong(t, "committed records are gone, the log ends", &t->line[t->last - 1]->record);
    }
}

/* Log `number` has no other record any more where it writes this one, and so none behind it. */
static void replace(struct log_tap *t, uint32_t number, const struct version *by)
{
    bool replaced = false;
    for (uint64_t i = by->record.index; i <= t->highest; i++) {
        for (struct version *v = t->all[i - 1]; v != NULL; v = v->next) {
            if (v != by && (i == by->record.index || replaced)) {
                replaced |= (v->written >> number & 1) != 0;
                v->written &= ~(1u << number);
                v->durable &= ~(1u << number);
                v->obeying &= ~(1u << number);
            }
        }
        if (!replaced) {
            return;
        }
    }
}

static struct version *version_new(struct log_tap *t, const struct record *r)
{
    struct version *v = mem_new(struct version);
    reserve(t, r->index);
    for (const struct version *o = t->all[r->index - 1]; o != NULL; o = o->next) {
        if (o->record.epoch == r->epoch) {
            wrong(t, "two records of one epoch", r);
        }
    }
    v->record = *r;
    v->record.body.data = mem_dup(r->body.data, r->body.len);
    v->next = t->all[r->index - 1];
    t->all[r->index - 1] = v;
    if (r->index > 1 && find(t, r->index - 1, r->prev_chain) == NULL) {
        wrong(t, "the chain does not follow", r);
    }
    const struct record *tip = t->last > 0 ? &t->line[t->last - 1]->record : NULL;
    if (tip == NULL || r->epoch > tip->epoch || (r->epoch == tip->epoch && r->index > tip->index)) {
        follow(t, v);
    }
    if (t->each != NULL) {
        t->each(t->owner, &v->record);
    }
    return v;
}

static void note(struct log_tap *t, uint32_t number, const struct record *r)
{
    if (r->index == 0) {
        wrong(t, "a gap in the log", r);
        return;
    }
    struct version *v = find(t, r->index, r->chain);
    if (v == NULL) {
        v = version_new(t, r);
    }
    v->written |= 1u << number;
    replace(t, number, v);
}

/* Log `number` has synced this record, and so all before it. */
static void synced(struct log_tap *t, uint32_t number, uint32_t promised, uint64_t index,
                   uint64_t chain)
{
    uint32_t bit = 1u << number;
    struct version *v = find(t, index, chain);
    if (v == NULL || (v->written & bit) == 0) {
        return;
    }
    if (promised == v->record.epoch || t->logs == 1) {
        v->obeying |= bit;
    }
    bool enough = (uint32_t)__builtin_popcount(v->obeying) >= t->acks;
    if (enough && index > t->certain) {
        if (index > t->last || t->line[index - 1] != v) {
            wrong(t, "what enough logs have is not the history", &v->record);
            return;
        }
        t->certain = index;
    }
    while (v != NULL && (v->durable & bit) == 0 && (v->written & bit) != 0) {
        v->durable |= bit;
        v = find(t, v->record.index - 1, v->record.prev_chain);
    }
}

void log_tap_tell(struct log_tap *t, void (*each)(void *owner, const struct record *r), void *owner)
{
    t->each = each;
    t->owner = owner;
}

void log_tap_write(struct log_tap *t, uint32_t number, uint32_t promised, const char *path,
                   const struct disk_op *op, bool completed)
{
    if (strncmp(path, "log/", 4) != 0 || (completed && (!op->sync || op->result < 0))) {
        return;
    }
    for (uint32_t at = 0; at + RECORD_HEADER_BYTES <= op->len;) {
        struct record r;
        struct why why;
        bool header_good;
        struct bytes in = bytes_of((const uint8_t *)op->data + at, op->len - at);
        if (get_le(in.data, 4) != RECORD_MAGIC || record_decode(in, &r, &header_good, &why) != 0) {
            at = (at / UNIT + 1) * UNIT; /* a batch begins with one */
            continue;
        }
        if (completed) {
            synced(t, number, promised, r.index, r.chain);
        } else {
            note(t, number, &r);
        }
        at += record_size(&r);
    }
}

/* That it had them once counts for what was committed. */
static void forget_above(struct log_tap *t, uint32_t number, uint64_t index)
{
    for (uint64_t i = index; i < t->highest; i++) {
        for (struct version *v = t->all[i]; v != NULL; v = v->next) {
            v->written &= ~(1u << number);
            v->durable &= ~(1u << number);
        }
    }
}

void log_tap_opened(struct log_tap *t, uint32_t number, uint32_t promised, uint64_t index,
                    uint64_t chain)
{
    forget_above(t, number, index);
    synced(t, number, promised, index, chain);
}

void log_tap_forget(struct log_tap *t, uint32_t number)
{
    forget_above(t, number, 0);
}

void log_tap_told(struct log_tap *t, uint64_t index)
{
    if (index > t->certain && index <= t->last) {
        wrong(t, "a record is told to be committed that too few logs have",
              &t->line[index - 1]->record);
    } else if (index > t->last && t->wrong[0] == 0) {
        snprintf(t->wrong, sizeof(t->wrong),
                 "record %llu is told to be committed, the log has %llu", (unsigned long long)index,
                 (unsigned long long)t->last);
    }
    t->told = MAX(t->told, MIN(index, t->last));
}

uint64_t log_tap_certain(const struct log_tap *t)
{
    return t->certain;
}

uint64_t log_tap_last(const struct log_tap *t)
{
    return t->last;
}

uint64_t log_tap_heard(const struct log_tap *t)
{
    return t->logs == 1 ? t->certain : t->told;
}

const struct record *log_tap_record(const struct log_tap *t, uint64_t index)
{
    return index >= 1 && index <= t->last ? &t->line[index - 1]->record : NULL;
}

uint32_t log_tap_copies(const struct log_tap *t, uint64_t index)
{
    return index >= 1 && index <= t->last
               ? (uint32_t)__builtin_popcount(t->line[index - 1]->durable)
               : 0;
}

const char *log_tap_wrong(const struct log_tap *t)
{
    return t->wrong[0] ? t->wrong : NULL;
}
