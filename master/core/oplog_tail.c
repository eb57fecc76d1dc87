/* oplog_tail.c - what lies behind the last good batch of a segment. */
#include "master/core/oplog_internal.h"
#include "shared/base/mem.h"

static void survey_slots(const struct segment_reader *r, const uint8_t *table, uint32_t unit,
                         struct tail *t)
{
    uint32_t units = segment_units(r->segment->bytes);
    uint64_t cluster = r->log->now.cluster;
    struct slot v;
    t->slot = slot_decode(table + (size_t)unit * SLOT_BYTES, cluster, &t->slot_value);
    for (uint32_t u = unit + 1; u < units && t->later_slot_state != SLOT_GOOD; u++) {
        enum slot_state state = slot_decode(table + (size_t)u * SLOT_BYTES, cluster, &v);
        /* A flush rewrites one page of the table: what it tore lies in that page. */
        bool same_page = u / (UNIT_BYTES / SLOT_BYTES) == unit / (UNIT_BYTES / SLOT_BYTES);
        if (state == SLOT_GOOD || (state == SLOT_BAD && !same_page)) {
            t->later_slot = u;
            t->later_slot_state = state;
        }
    }
}

static int survey_data(const struct segment_reader *r, uint32_t unit, uint64_t index,
                       struct tail *t, struct why *why)
{
    const struct segment *seg = r->segment;
    uint32_t units = segment_units(seg->bytes);
    uint32_t step = ZERO_STEP_BYTES / UNIT_BYTES;
    uint8_t *data = mem_alloc(ZERO_STEP_BYTES);
    int rc = 0;
    for (uint32_t from = unit; from < units && rc == 0; from += step) {
        uint32_t count = MIN(step, units - from);
        rc = read_exactly(r->log, r->file, r->path, segment_unit_offset(seg->bytes, from), data,
                          count * UNIT_BYTES, why);
        for (uint32_t i = 0; i < count && rc == 0; i++) {
            const uint8_t *p = data + (size_t)i * UNIT_BYTES;
            struct record rec;
            struct why ignored;
            bool header_good;
            if (bytes_are_zero(p, UNIT_BYTES)) {
                continue;
            }
            t->data_end = from + i + 1;
            int decoded = record_decode(bytes_of(p, UNIT_BYTES), &rec, &header_good, &ignored);
            if ((decoded == 0 || header_good) && from + i > unit && t->later_unit == 0 &&
                rec.index > index && rec.cluster == r->log->now.cluster &&
                (rec.batch_flags & RECORD_FIRST_OF_BATCH)) {
                t->later_unit = from + i;
                t->later_index = rec.index;
            }
        }
    }
    mem_free(data);
    return rc;
}

int tail_survey(const struct segment_reader *r, const uint8_t *table, uint32_t unit, uint64_t index,
                struct tail *out, struct why *why)
{
    *out = (struct tail){0};
    survey_slots(r, table, unit, out);
    return survey_data(r, unit, index, out, why);
}
