/* oplog_mend.c - puts missing records back into a log.
 *
 * The segment is copied, with the records in their place, and the copy takes its place by a rename.
 * Records prove by the chain that they are the ones that are missing: at both ends, so that they are
 * those that were here. Of a hole that reaches over several segments each gets its part; nothing is
 * written before all parts fit.
 */
#include "master/core/oplog_internal.h"

/* Records of another log, checked in themselves. */
struct patch {
    struct bytes records;
    uint64_t first, last;
    uint64_t prev_chain; /* H(first - 1) */
    uint64_t chain;      /* H(last) */
    uint32_t first_epoch, last_epoch;
    uint32_t units; /* that they take, at most */
};

static int check_patch(const struct oplog *l, struct bytes in, struct patch *p, struct why *why)
{
    *p = (struct patch){.records = in};
    for (uint32_t at = 0; at < in.len;) {
        struct record r;
        bool header_good;
        if (record_decode(bytes_of(in.data + at, in.len - at), &r, &header_good, why) != 0 ||
            r.cluster != l->now.cluster) {
            return why_set(why, ERR_PROTOCOL, "records to mend the log with are damaged");
        }
        if (at == 0) {
            p->first = r.index;
            p->prev_chain = r.prev_chain;
            p->first_epoch = r.epoch;
        } else if (r.index != p->last + 1 || r.prev_chain != p->chain || r.epoch < p->last_epoch) {
            return why_set(why, ERR_OUT_OF_SYNC, "records to mend the log with do not follow");
        }
        p->last = r.index;
        p->chain = r.chain;
        p->last_epoch = r.epoch;
        at += record_size(&r);
        p->units += units_of(record_size(&r));
    }
    return in.len > 0 ? 0 : why_set(why, ERR_PROTOCOL, "no record");
}

/* The records as batches of a usual size. */
static int put_patch(struct segment_copy *c, const struct patch *p, struct why *why)
{
    struct bytes in = p->records;
    int rc = 0;
    while (in.len > 0 && rc == 0) {
        struct batch_view b = {0};
        uint32_t len = 0;
        while (len < in.len) {
            struct record r;
            bool header_good;
            rc = record_decode(bytes_of(in.data + len, in.len - len), &r, &header_good, why);
            ASSERT(rc == 0); /* checked before */
            if (b.count > 0 && len + record_size(&r) > BATCH_BYTES) {
                break;
            }
            len += record_size(&r);
            b.count++;
        }
        b.records = bytes_of(in.data, len);
        rc = segment_copy_put(c, &b, p->last, why);
        in = bytes_of(in.data + len, in.len - len);
    }
    return rc;
}

/* Where the copy stands. */
struct place {
    uint64_t next;  /* index */
    uint64_t chain; /* H(next - 1) */
    uint32_t epoch; /* of that record */
    bool known;     /* chain and epoch are */
};

static bool begins_there(const struct patch *p, const struct place *at)
{
    return p->first == at->next &&
           (!at->known || (p->prev_chain == at->chain && p->first_epoch >= at->epoch));
}

/* The good batches of the segment with the patch where it belongs; c NULL: nothing is written.
 * `end`: what follows the segment, if that is known. ERR_OUT_OF_SYNC: it belongs nowhere. */
static int put_all(struct segment_copy *c, struct oplog *l, const struct segment *from,
                   const struct patch *p, struct place at, struct place end, struct why *why)
{
    struct segment_reader r;
    struct batch_view b;
    bool put = false;
    int rc = segment_reader_open(&r, l, from, why);
    r.epoch = at.epoch;
    if (rc == 0 && !at.known) {
        r.chain = 0;
    }
    while (rc == 0 && (rc = survey_next(&r, &b, why)) == 1) {
        uint64_t first = r.index - b.count;
        uint64_t before = record_prev_chain(b.records.data);
        rc = 0;
        if (first < at.next || (first == at.next && at.known && before != at.chain)) {
            continue; /* left from elsewhere */
        }
        if (!put && first == p->last + 1 && begins_there(p, &at)) {
            if (before != p->chain) {
                /* They are of another history: what is here is not given up for them. */
                rc = why_set(why, ERR_OUT_OF_SYNC, "records do not lead to what follows the hole");
                break;
            }
            put = true;
            rc = c != NULL ? put_patch(c, p, why) : 0;
        }
        if (rc == 0 && c != NULL) {
            rc = segment_copy_put(c, &b, r.index, why);
        }
        at = (struct place){r.index, r.chain, r.epoch, true};
    }
    segment_reader_close(&r);
    if (rc == -EIO || rc == -ENOENT) {
        rc = 0; /* the rest cannot be read, or nothing: it is part of a hole */
    }
    bool leads = !end.known || p->last + 1 != end.next || p->chain == end.chain;
    if (rc == 0 && !put && leads && begins_there(p, &at)) { /* it ends what can be read */
        put = true;
        rc = c != NULL ? put_patch(c, p, why) : 0;
    }
    return rc == 0 && !put ? why_set(why, ERR_OUT_OF_SYNC, "records do not fit into the hole") : rc;
}

/* What stands before the first record of a segment. */
static struct place begin_of(struct oplog *l, uint32_t k)
{
    struct segment seg = l->segments[k];
    struct segment loaded;
    struct why ignored;
    bool good = segment_load(l, seg.first, &loaded, &ignored) == 0;
    bool told = seg.chain != 0 || seg.first == 1; /* by its first record, or the one before */
    return (struct place){seg.first, good ? loaded.chain : seg.chain, good ? loaded.epoch : 0,
                          good || !l->damaged || told};
}

bool segment_begin_known(struct oplog *l, uint32_t k)
{
    return begin_of(l, k).known;
}

/* The part of the records that belongs into segment number k; len 0: none does. */
static int part_for(const struct oplog *l, struct bytes records, uint32_t k, struct patch *out,
                    struct why *why)
{
    uint64_t low = l->segments[k].first;
    uint64_t high = k + 1 < l->segment_count ? l->segments[k + 1].first : UINT64_MAX;
    uint32_t from = 0, to = 0;
    for (uint32_t at = 0; at < records.len;) {
        struct record r;
        bool header_good;
        int rc =
            record_decode(bytes_of(records.data + at, records.len - at), &r, &header_good, why);
        ASSERT(rc == 0); /* checked before */
        at += record_size(&r);
        if (r.index < low) {
            from = to = at;
        } else if (r.index < high) {
            to = at;
        }
    }
    *out = (struct patch){0};
    return to > from ? check_patch(l, bytes_of(records.data + from, to - from), out, why) : 0;
}

static int mend_segment(struct oplog *l, uint32_t k, const struct patch *p, bool write,
                        struct why *why)
{
    struct segment from = l->segments[k];
    struct segment to = from;
    struct segment_copy c;
    struct place begin = begin_of(l, k);
    struct place end = {0};
    if (k + 1 < l->segment_count) {
        end = begin_of(l, k + 1);
    }
    if (!begin.known && p->first != from.first) { /* its header would be wrong */
        return why_set(why, -EAGAIN, "record %llu is to be mended first",
                       (unsigned long long)from.first);
    }
    if (!write) {
        return put_all(NULL, l, &from, p, begin, end, why);
    }
    to.bytes = segment_bytes_for(segment_units(from.bytes) + p->units, from.bytes);
    if (!begin.known) {
        to.chain = p->prev_chain;
    }
    int rc = segment_copy_begin(&c, l, to, why);
    if (rc == 0) {
        rc = segment_copy_end(&c, put_all(&c, l, &from, p, begin, end, why), why);
    }
    if (rc == 0) {
        l->segments[k] = to;
    }
    return rc;
}

/* Records of a whole hole into the segments they are missing in. */
static int mend_hole(struct oplog *l, struct bytes records, uint64_t last, bool write,
                     struct why *why)
{
    int rc = 0;
    bool any = false;
    for (uint32_t k = 0; k < l->segment_count && rc == 0; k++) {
        struct patch part;
        if (l->segments[k].first > last) {
            break;
        }
        rc = part_for(l, records, k, &part, why);
        if (rc == 0 && part.records.len > 0) {
            any = true;
            rc = mend_segment(l, k, &part, write, why);
        }
    }
    return rc == 0 && !any ? why_set(why, -EOPNOTSUPP, "no segment is left for records to %llu",
                                     (unsigned long long)last)
                           : rc;
}

static bool is_hole(const struct oplog *l, const struct patch *p)
{
    const struct log_hole *holes = l->damaged ? l->findings.holes : l->rot;
    uint32_t count = l->damaged ? l->findings.hole_count : l->rot_count;
    for (uint32_t i = 0; i < count; i++) {
        if (holes[i].from == p->first && holes[i].to == p->last) {
            return true;
        }
    }
    return false;
}

int oplog_mend(struct oplog *l, struct bytes records, struct why *why)
{
    ASSERT((oplog_quiet(l) || !l->damaged) && l->cfg.replicated && !l->stopped);
    struct patch p;
    int rc = check_patch(l, records, &p, why);
    if (rc == 0 && !is_hole(l, &p)) {
        rc = why_set(why, ERR_OUT_OF_SYNC, "records %llu to %llu are no hole",
                     (unsigned long long)p.first, (unsigned long long)p.last);
    }
    if (rc == 0 && l->trim_busy) {
        rc = why_set(why, -EAGAIN, "segments are being removed");
    }
    if (rc == 0) {
        rc = mend_hole(l, records, p.last, false, why);
    }
    if (rc == 0 && p.last >= l->segments[l->segment_count - 1].first) {
        rc = oplog_note_lost(l, l->last, why); /* the end is not copied */
    }
    if (rc == 0) {
        l->cuts++;
        rc = mend_hole(l, records, p.last, true, why);
    }
    if (rc == 0 && l->damaged) {
        return oplog_look_again(l, why);
    }
    if (rc == 0) {
        rot_forget(l, p.first, p.last);
    }
    return rc;
}
