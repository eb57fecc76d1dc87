/* oplog_survey.c - what is left of a damaged log that is one of several: its good batches, the holes
 * between them, and whether something was behind the last one.
 *
 * Nothing is changed on the disk. A batch counts if it is whole and its place in the history is
 * proved by its own chain: it follows the one before, or its index is higher, with a hole between.
 */
#include "master/core/oplog_internal.h"
#include "shared/base/mem.h"

int survey_next(struct segment_reader *r, struct batch_view *out, struct why *why)
{
    uint32_t units = segment_units(r->segment->bytes);
    for (; r->unit < units; r->unit++) {
        struct segment_reader before = *r;
        struct record rec;
        int rc = segment_reader_next(r, out, why);
        if (rc == ERR_CORRUPT && segment_reader_peek(r, &rec) && rec.index > r->index &&
            rec.epoch >= r->epoch) {
            r->index = rec.index;
            r->chain = rec.prev_chain;
            rc = segment_reader_next(r, out, why);
            if (rc != 1) {
                r->index = before.index;
                r->chain = before.chain;
            }
        }
        if (rc == 1) {
            return 1;
        }
        if (rc < 0 && rc != ERR_CORRUPT) {
            return rc;
        }
    }
    return 0;
}

static void add_hole(struct log_answer *a, uint64_t from, uint64_t to)
{
    if (a->hole_count == LOG_HOLES_MAX) { /* too many: the last one swallows what is between */
        a->holes[a->hole_count - 1].to = to;
        return;
    }
    a->holes[a->hole_count++] = (struct log_hole){
        .from = from, .to = to, .epoch_before = from > a->first ? a->tail.epoch : 0};
}

/* The header says nothing that its first record, and the records before, do not say. */
static void mend_header(struct oplog *l, const struct segment *seg)
{
    uint8_t header[UNIT_BYTES];
    char path[SEGMENT_NAME_BYTES];
    struct env_file *f;
    segment_path(seg->first, path);
    segment_header_encode(seg, l->now.cluster, header);
    int64_t n = env_file_open(l->env, path, 0, &f);
    if (n == 0) {
        n = env_file_write(l->env, f, 0, header, sizeof(header));
        n = n < 0 ? n : env_file_sync(l->env, f);
        env_file_close(l->env, f);
    }
    env_log(l->env, LOG_WARN, "%s: header written anew from its records: %s", path,
            n < 0 ? err_text((int)n) : "done");
    l->headers_mended += n == 0;
}

/* Takes in the good batches of one segment; *out_end: the unit behind the last one, if any. */
static int survey_segment(struct oplog *l, struct segment *seg, bool header_good, uint32_t *out_end,
                          struct why *why)
{
    struct log_answer *a = &l->findings;
    struct segment_reader r;
    struct batch_view b;
    int rc = segment_reader_open(&r, l, seg, why);
    if (rc == 0 && !header_good) {
        seg->chain = r.chain = seg->first == a->tail.index + 1 ? l->chain : 0;
    }
    r.epoch = a->tail.epoch;
    while (rc == 0 && (rc = survey_next(&r, &b, why)) == 1) {
        uint64_t first = r.index - b.count;
        uint64_t expected = a->tail.index + 1;
        rc = 0;
        if (first < expected ||
            (first == expected && record_prev_chain(b.records.data) != l->chain)) {
            continue; /* of no use: left from elsewhere */
        }
        if (first > expected) {
            add_hole(a, expected, first - 1);
        }
        if (!header_good && first == seg->first) {
            seg->chain = record_prev_chain(b.records.data);
            mend_header(l, seg);
            header_good = true;
        }
        a->tail = (struct log_place){r.epoch, r.index - 1};
        l->chain = r.chain;
        *out_end = r.unit;
    }
    segment_reader_close(&r);
    return rc;
}

/* A file that is shorter, or longer, than its header says gets its size again: what is not there any
 * more is zero then. */
static void mend_size(struct oplog *l, uint64_t first)
{
    char path[SEGMENT_NAME_BYTES];
    uint8_t header[UNIT_BYTES];
    struct env_file *f;
    struct segment said;
    struct why why;
    segment_path(first, path);
    if (env_file_open(l->env, path, 0, &f) < 0) {
        return;
    }
    int64_t n = read_exactly(l, f, path, 0, header, sizeof(header), &why);
    n = n < 0 ? n : segment_header_decode(header, l->now.cluster, &said, &why);
    if (n == 0 && said.first == first && said.bytes != env_file_size(l->env, f)) {
        n = env_file_truncate(l->env, f, said.bytes);
        n = n < 0 ? n : env_file_sync(l->env, f);
        env_log(l->env, LOG_WARN, "%s: size corrected to %u: %s", path, said.bytes,
                n < 0 ? err_text((int)n) : "done");
        l->headers_mended += n == 0;
    }
    env_file_close(l->env, f);
}

/* What is in the last segment at unit `end`, behind everything good. */
static int survey_end(struct oplog *l, const struct segment *seg, uint32_t end, struct why *why)
{
    struct log_answer *a = &l->findings;
    struct segment_reader r;
    struct tail t;
    if (end >= segment_units(seg->bytes)) {
        return 0;
    }
    int rc = segment_reader_open(&r, l, seg, why);
    uint32_t table_bytes = segment_table_bytes(seg->bytes);
    uint8_t *table = mem_alloc(table_bytes);
    if (rc == 0) {
        rc = read_exactly(l, r.file, r.path, UNIT_BYTES, table, table_bytes, why);
    }
    if (rc == 0) {
        rc = tail_survey(&r, table, end, a->tail.index + 1, &t, why);
    }
    segment_reader_close(&r);
    mem_free(table);
    if (rc < 0) {
        return rc;
    }
    bool single = t.later_unit == 0 && t.later_slot_state == SLOT_EMPTY;
    if (single && t.slot == SLOT_GOOD && t.slot_value.first == a->tail.index + 1 &&
        t.data_end <= end + t.slot_value.units) {
        a->end = LOG_END_NAMED;
        a->end_place =
            (struct log_place){t.slot_value.epoch, t.slot_value.first + t.slot_value.records - 1};
    } else if (!single || t.slot != SLOT_EMPTY ||
               t.data_end > end + (uint32_t)(BATCH_BYTES_MAX / UNIT_BYTES)) {
        a->end = LOG_END_UNKNOWN;
    }
    return 0;
}

/* The list of segments is made anew; those without a readable header may have good batches too. */
static int survey_segments(struct oplog *l, const struct segment_listing *list, struct why *why)
{
    struct log_answer *a = &l->findings;
    bool any = false, end_good = true;
    struct segment last = {0};
    uint32_t end = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        struct segment seg;
        mend_size(l, list->firsts[i]);
        int rc = segment_load(l, list->firsts[i], &seg, why);
        bool header_good = rc == 0;
        if (rc == 0 && !any) {
            l->chain = seg.chain;
        }
        if (!any) {
            a->first = list->firsts[i];
            a->tail = (struct log_place){rc == 0 ? seg.epoch : 0, a->first - 1};
            any = true;
        }
        end_good = header_good;
        if (rc == ERR_FOREIGN_CLUSTER || rc == ERR_FORMAT) {
            return rc;
        }
        if (rc < 0 && (seg.bytes % UNIT_BYTES != 0 || seg.bytes < 16 * UNIT_BYTES)) {
            env_log(l->env, LOG_ERROR, "%s", why->text);
            continue;
        }
        segment_list_add(l, seg);
        last = seg;
        end = 0;
        rc = survey_segment(l, &l->segments[l->segment_count - 1], header_good, &end, why);
        if (rc < 0) {
            env_log(l->env, LOG_ERROR, "%s", why->text);
            end_good = false;
        }
    }
    if (l->segment_count == 0) {
        return 0;
    }
    if (!end_good || survey_end(l, &last, end, why) < 0) {
        a->end = LOG_END_UNKNOWN;
    }
    return 0;
}

int oplog_survey(struct oplog *l, struct why *why)
{
    struct segment_listing list;
    l->segment_count = 0;
    l->chain = 0;
    l->damaged = true;
    l->findings = (struct log_answer){.here = true, .first = 1};
    int rc = segments_list(l, &list, why);
    if (rc == 0) {
        rc = survey_segments(l, &list, why);
    }
    mem_free(list.firsts);
    if (rc < 0) {
        return rc;
    }
    struct log_answer *a = &l->findings;
    if (a->tail.index < MAX(l->committed, l->now.committed)) {
        a->end = LOG_END_UNKNOWN;
    }
    l->last = a->tail.index;
    l->last_epoch = a->tail.epoch;
    env_log(l->env, LOG_ERROR, "operation log: last good record %llu of epoch %u, %u holes%s",
            (unsigned long long)a->tail.index, a->tail.epoch, a->hole_count,
            a->end == LOG_END_SURE ? "" : "; something was behind it");
    return 0;
}

void findings_add(struct log_answer *a, struct log_place behind)
{
    if (behind.epoch == 0 || a->end == LOG_END_UNKNOWN) {
        a->end = LOG_END_UNKNOWN;
    } else if (a->end == LOG_END_SURE || log_place_compare(behind, a->end_place) > 0) {
        a->end = LOG_END_NAMED;
        a->end_place = behind;
    }
}

struct log_answer oplog_findings(const struct oplog *l)
{
    struct log_answer a = l->findings;
    if (!l->damaged) {
        a = (struct log_answer){
            .here = true, .first = oplog_first(l), .tail = {l->last_epoch, l->durable}};
    }
    if (l->now.joining) {
        findings_add(&a, l->now.behind);
    }
    a.committed = MIN(l->committed, l->durable);
    if (l->damaged) {
        a.committed = MAX(l->committed, l->now.committed);
    }
    return a;
}

bool oplog_damaged(const struct oplog *l)
{
    return l->damaged;
}
