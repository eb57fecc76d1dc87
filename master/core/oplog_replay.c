/* oplog_replay.c - reading the log back: every record is checked and chained again. */
#include "master/core/oplog_cursor.h"
#include "master/core/oplog_internal.h"

/* Walks records from the segment `i` on until each returns non-zero. */
static int walk(struct oplog *l, uint32_t i, int (*each)(void *owner, const struct record *r),
                void *owner, struct why *why)
{
    int rc = 0;
    for (; i < l->segment_count && rc == 0; i++) {
        struct segment_reader r;
        struct batch_view b;
        rc = segment_reader_open(&r, l, &l->segments[i], why);
        if (rc < 0) {
            return rc;
        }
        while ((rc = segment_reader_next(&r, &b, why)) == 1) {
            struct bytes in = b.records;
            for (uint32_t n = 0; n < b.count && rc >= 0; n++) {
                struct record rec;
                bool header_good;
                rc = record_decode(in, &rec, &header_good, why);
                if (rc == 0 && (rc = each(owner, &rec)) != 0) {
                    segment_reader_close(&r);
                    return rc;
                }
                uint32_t size = record_size(&rec);
                in = bytes_of(in.data + size, in.len - size);
            }
        }
        bool last = i + 1 == l->segment_count;
        uint64_t expected = last ? l->durable + 1 : l->segments[i + 1].first;
        uint64_t chain = last ? l->durable_chain : l->segments[i + 1].chain;
        if (rc == 0 && (r.index != expected || r.chain != chain)) {
            rc = why_set(why, ERR_CORRUPT,
                         "%s: expected records to %llu with chain %#llx, found %llu with %#llx",
                         r.path, (unsigned long long)expected - 1, (unsigned long long)chain,
                         (unsigned long long)r.index - 1, (unsigned long long)r.chain);
        }
        segment_reader_close(&r);
    }
    return rc;
}

/* Segment that holds `index`; segment_count if none does. */
static uint32_t segment_of(const struct oplog *l, uint64_t index)
{
    uint32_t i = l->segment_count;
    while (i > 0 && l->segments[i - 1].first > index) {
        i--;
    }
    return i > 0 ? i - 1 : l->segment_count;
}

struct replay {
    uint64_t from;
    int (*each)(void *owner, const struct record *r);
    void *owner;
};

static int replay_each(void *owner, const struct record *r)
{
    struct replay *p = owner;
    return r->index < p->from ? 0 : p->each(p->owner, r);
}

int oplog_replay(struct oplog *l, uint64_t from, int (*each)(void *owner, const struct record *r),
                 void *owner, struct why *why)
{
    struct replay p = {from, each, owner};
    if (from > l->durable) {
        return 0;
    }
    uint32_t i = segment_of(l, from);
    if (i == l->segment_count) {
        return why_set(why, ERR_CORRUPT,
                       "the operation log begins at record %llu, but record %llu is needed",
                       (unsigned long long)oplog_first(l), (unsigned long long)from);
    }
    return walk(l, i, replay_each, &p, why);
}

struct chain_search {
    uint64_t index;
    uint64_t chain;
};

static int chain_each(void *owner, const struct record *r)
{
    struct chain_search *s = owner;
    s->chain = r->chain;
    return r->index == s->index;
}

/* Something before it in its segment cannot be read: the record behind it says it, or its batch, if it is
 * the last of that. */
static int chain_beside(struct oplog *l, uint64_t index, uint64_t *out)
{
    int rc = ERR_CORRUPT;
    for (uint32_t i = 0; i < 2 && rc != 0; i++) {
        struct oplog_cursor *c;
        struct oplog_piece p = {0};
        struct why ignored;
        rc = oplog_cursor_open(l, index + 1 - i, &c, &ignored);
        if (rc == 0) {
            rc = oplog_cursor_next(c, &p, &ignored) == 1 && (i == 0 || p.last == index)
                     ? 0
                     : ERR_CORRUPT;
            *out = i == 0 ? p.prev_chain : p.chain;
            oplog_cursor_close(c);
        }
    }
    return rc;
}

int oplog_chain(struct oplog *l, uint64_t index, uint64_t *out, struct why *why)
{
    if (index == l->last) {
        *out = l->chain;
        return 0;
    }
    for (uint32_t i = 0; i < l->segment_count; i++) {
        const struct segment *s = &l->segments[i];
        bool said = !l->damaged || i == 0 || s->chain != 0; /* its header could be read */
        if (s->first == index + 1 && said) {
            *out = s->chain;
            return 0;
        }
    }
    uint32_t i = segment_of(l, index);
    if (index > l->durable || i == l->segment_count) {
        return why_set(why, -ENOENT, "record %llu is not in the operation log",
                       (unsigned long long)index);
    }
    struct chain_search s = {.index = index};
    int rc = walk(l, i, chain_each, &s, why);
    if (rc < 0) {
        rot_look_for(l, index);
        return chain_beside(l, index, out) == 0 ? 0 : rc;
    }
    ASSERT(rc == 1);
    *out = s.chain;
    return 0;
}
