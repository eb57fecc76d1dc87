/* oplog_cursor.c - reads durable records of a log from some index on. */
#include "master/core/oplog_cursor.h"
#include "master/core/oplog_internal.h"
#include "shared/base/mem.h"

struct oplog_cursor {
    struct oplog *log;
    uint64_t next;                /* index of the next record */
    struct segment segment;       /* the reader's: the log's own list moves */
    struct segment_reader reader; /* file NULL = not open */
};

/* Goes to the batch that holds c->next by the segment's id table, which the scan at the start
 * mended; if it says nothing the segment is read from its begin. */
static int seek(struct oplog_cursor *c, struct why *why)
{
    struct segment_reader *r = &c->reader;
    uint32_t table_bytes = segment_table_bytes(c->segment.bytes);
    uint32_t units = segment_units(c->segment.bytes);
    uint8_t head[RECORD_HEADER_BYTES];
    uint8_t *table = mem_alloc(table_bytes);
    int rc = read_exactly(c->log, r->file, r->path, UNIT_BYTES, table, table_bytes, why);
    uint32_t unit = 0;
    struct slot best = {.first = c->segment.first};
    for (uint32_t u = 0; u < units && rc == 0; u++) {
        struct slot s;
        if (slot_decode(table + (size_t)u * SLOT_BYTES, c->log->now.cluster, &s) == SLOT_GOOD &&
            s.first <= c->next && s.first > best.first) {
            best = s;
            unit = u;
        }
    }
    mem_free(table);
    if (rc == 0 && unit > 0) {
        rc = read_exactly(c->log, r->file, r->path, segment_unit_offset(c->segment.bytes, unit),
                          head, sizeof(head), why);
        r->unit = unit;
        r->window_unit = unit;
        r->index = best.first;
        r->chain = record_prev_chain(head); /* what follows is checked against it */
    }
    return rc;
}

static int open_segment(struct oplog_cursor *c, struct why *why)
{
    struct oplog *l = c->log;
    uint32_t i = l->segment_count;
    while (i > 0 && l->segments[i - 1].first > c->next) {
        i--;
    }
    if (i == 0) {
        return why_set(why, -ENOENT, "record %llu is not held any more",
                       (unsigned long long)c->next);
    }
    c->segment = l->segments[i - 1];
    int rc = segment_reader_open(&c->reader, l, &c->segment, why);
    return rc == 0 ? seek(c, why) : rc;
}

int oplog_cursor_open(struct oplog *l, uint64_t from, struct oplog_cursor **out, struct why *why)
{
    if (from < oplog_first(l) || from > l->last + 1 || from == 0) {
        return why_set(why, -ENOENT, "record %llu is not held", (unsigned long long)from);
    }
    struct oplog_cursor *c = mem_new(struct oplog_cursor);
    c->log = l;
    c->next = from;
    *out = c;
    return 0;
}

void oplog_cursor_close(struct oplog_cursor *c)
{
    if (c != NULL) {
        segment_reader_close(&c->reader);
        mem_free(c);
    }
}

/* The batch without its records before c->next. */
static int rest_of_batch(struct oplog_cursor *c, const struct batch_view *b,
                         struct oplog_piece *out, struct why *why)
{
    struct bytes in = b->records;
    uint64_t index = c->reader.index - b->count;
    while (index < c->next) {
        struct record rec;
        bool header_good;
        int rc = record_decode(in, &rec, &header_good, why);
        if (rc < 0) {
            return rc;
        }
        in = bytes_of(in.data + record_size(&rec), in.len - record_size(&rec));
        index++;
    }
    *out = (struct oplog_piece){.records = in,
                                .first = c->next,
                                .last = c->reader.index - 1,
                                .prev_chain = record_prev_chain(in.data),
                                .chain = c->reader.chain,
                                .epoch = c->reader.epoch};
    c->next = c->reader.index;
    return 1;
}

/* First index that the cursor's segment does not hold. */
static uint64_t end_of(const struct oplog_cursor *c)
{
    const struct oplog *l = c->log;
    for (uint32_t k = 0; k + 1 < l->segment_count; k++) {
        if (l->segments[k].first == c->segment.first) {
            return l->segments[k + 1].first;
        }
    }
    return UINT64_MAX;
}

static int next_piece(struct oplog_cursor *c, struct oplog_piece *out, struct why *why)
{
    while (c->next <= c->log->durable) {
        struct batch_view b;
        if (c->reader.file != NULL && c->reader.index >= end_of(c)) {
            segment_reader_close(&c->reader); /* whatever lies behind its last record */
        }
        int rc = c->reader.file == NULL ? open_segment(c, why) : 0;
        if (rc == 0) {
            rc = segment_reader_next(&c->reader, &b, why);
        }
        if ((rc == 0 || rc == ERR_CORRUPT) && c->reader.window_len > 0) {
            /* The window may be older than what was written since. */
            c->reader.window_len = 0;
            c->reader.window_unit = c->reader.unit;
            rc = segment_reader_next(&c->reader, &b, why);
        }
        if (rc < 0) {
            return rc;
        }
        if (rc == 1 && c->reader.index > c->next) {
            return rest_of_batch(c, &b, out, why);
        }
        if (rc == 1) {
            continue; /* a batch before the one that is wanted */
        }
        if (c->reader.index <= c->next && c->next < end_of(c)) {
            return why_set(why, ERR_CORRUPT, "%s: record %llu is missing", c->reader.path,
                           (unsigned long long)c->reader.index);
        }
        segment_reader_close(&c->reader);
    }
    return 0;
}

int oplog_cursor_next(struct oplog_cursor *c, struct oplog_piece *out, struct why *why)
{
    if (oplog_rot_at(c->log, c->next)) {
        return why_set(why, ERR_CORRUPT, "record %llu is to be mended",
                       (unsigned long long)c->next);
    }
    int rc = next_piece(c, out, why);
    if (rc == ERR_CORRUPT || rc == -EIO || rc == -ENOENT) {
        rot_look_for(c->log, c->next);
    }
    return rc == -ENOENT && oplog_rot_at(c->log, c->next) ? ERR_CORRUPT : rc;
}
