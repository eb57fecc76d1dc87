/* log_tap.c - what the master wrote into its operation log. */
#include "tests/sim/log_tap.h"
#include "shared/base/bytes.h"
#include "shared/base/invariant.h"
#include "shared/base/mem.h"

#include <stdio.h>
#include <string.h>

struct log_tap {
    struct record *records; /* [index - 1]; bodies are copies; index 0 = never seen */
    uint64_t cap;
    uint64_t last;
    uint64_t certain;
    void (*each)(void *owner, const struct record *r);
    void *owner;
    char wrong[256];
};

struct log_tap *log_tap_new(void)
{
    return mem_new(struct log_tap);
}

static void forget_from(struct log_tap *t, uint64_t index)
{
    for (uint64_t i = index; i <= t->last; i++) {
        mem_free((void *)(uintptr_t)t->records[i - 1].body.data);
        t->records[i - 1] = (struct record){0};
    }
    t->last = MIN(t->last, index - 1);
}

void log_tap_free(struct log_tap *t)
{
    forget_from(t, 1);
    mem_free(t->records);
    mem_free(t);
}

static void wrong(struct log_tap *t, const char *what, const struct record *r)
{
    if (t->wrong[0] == 0) {
        snprintf(t->wrong, sizeof(t->wrong), "%s at index %llu (epoch %u, certain up to %llu)",
                 what, (unsigned long long)r->index, r->epoch, (unsigned long long)t->certain);
    }
}

static void note(struct log_tap *t, const struct record *r)
{
    if (r->index == 0 || r->index > t->last + 1) {
        wrong(t, "a gap in the log", r);
        return;
    }
    if (r->index <= t->last && t->records[r->index - 1].chain == r->chain) {
        return; /* written again */
    }
    if (r->index <= t->certain) {
        wrong(t, "a committed record was replaced", r);
        return;
    }
    forget_from(t, r->index);
    if (r->index > 1 && t->records[r->index - 2].chain != r->prev_chain) {
        wrong(t, "the chain does not follow", r);
    }
    if (r->index > t->cap) {
        uint64_t cap = MAX(1024u, 2 * t->cap);
        t->records = mem_resize(t->records, cap * sizeof(struct record));
        t->cap = cap;
    }
    struct record *to = &t->records[r->index - 1];
    *to = *r;
    to->body.data = mem_dup(r->body.data, r->body.len);
    t->last = r->index;
    if (t->each != NULL) {
        t->each(t->owner, to);
    }
}

void log_tap_tell(struct log_tap *t, void (*each)(void *owner, const struct record *r), void *owner)
{
    t->each = each;
    t->owner = owner;
}

void log_tap_write(void *owner, struct sim_process *p, const char *path, const struct disk_op *op,
                   bool completed)
{
    struct log_tap *t = owner;
    (void)p;
    if (strncmp(path, "log/", 4) != 0) {
        return;
    }
    uint64_t highest = 0;
    for (uint32_t at = 0; at + RECORD_HEADER_BYTES <= op->len;) {
        struct record r;
        struct why why;
        bool header_good;
        struct bytes in = bytes_of((const uint8_t *)op->data + at, op->len - at);
        if (get_le(in.data, 4) != RECORD_MAGIC || record_decode(in, &r, &header_good, &why) != 0) {
            at += 8;
            continue;
        }
        if (!completed) {
            note(t, &r);
        }
        highest = r.index;
        at += record_size(&r);
    }
    if (completed && op->sync && op->result >= 0) {
        t->certain = MAX(t->certain, highest);
    }
}

uint64_t log_tap_certain(const struct log_tap *t)
{
    return t->certain;
}

uint64_t log_tap_last(const struct log_tap *t)
{
    return t->last;
}

const struct record *log_tap_record(const struct log_tap *t, uint64_t index)
{
    return index >= 1 && index <= t->last ? &t->records[index - 1] : NULL;
}

const char *log_tap_wrong(const struct log_tap *t)
{
    return t->wrong[0] ? t->wrong : NULL;
}
