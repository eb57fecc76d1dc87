/* oplog_mend.c - puts missing records back into a damaged log.
 *
 * The segment is copied, with the records in their place, and the copy takes its place by a rename.
 * Records prove by the chain that they are the ones that are missing: at both ends, so that they are
 * those that were here.
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

/* The good batches of the segment with the patch where it belongs. ERR_OUT_OF_SYNC: nowhere. */
static int put_all(struct segment_copy *c, const struct segment *from, const struct patch *p,
                   struct place at, struct why *why)
{
    struct segment_reader r;
    struct batch_view b;
    bool put = false;
    int rc = segment_reader_open(&r, c->log, from, why);
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
                break; /* they do not lead to it */
            }
            put = true;
            rc = put_patch(c, p, why);
        }
        if (rc == 0) {
            rc = segment_copy_put(c, &b, r.index, why);
        }
        at = (struct place){r.index, r.chain, r.epoch, true};
    }
    segment_reader_close(&r);
    if (rc == 0 && !put && begins_there(p, &at)) { /* it ends the segment */
        put = true;
        rc = put_patch(c, p, why);
    }
    return rc == 0 && !put ? why_set(why, ERR_OUT_OF_SYNC, "records do not fit into the hole") : rc;
}

/* Number of the segment the hole lies in. -EOPNOTSUPP. */
static int segment_of(const struct oplog *l, const struct log_hole *hole, struct why *why)
{
    uint32_t i = l->segment_count;
    while (i > 0 && l->segments[i - 1].first > hole->from) {
        i--;
    }
    bool last = i == l->segment_count;
    if (i == 0 || (!last && l->segments[i].first <= hole->to) ||
        (last && l->findings.end != LOG_END_SURE)) {
        return why_set(why, -EOPNOTSUPP, "more is damaged than records %llu to %llu",
                       (unsigned long long)hole->from, (unsigned long long)hole->to);
    }
    return (int)i - 1;
}

/* What stands before the first record of a segment. */
static struct place begin_of(struct oplog *l, int i)
{
    struct segment seg = l->segments[i];
    struct segment loaded;
    struct why ignored;
    bool good = segment_load(l, seg.first, &loaded, &ignored) == 0;
    return (struct place){seg.first, seg.chain, good ? seg.epoch : 0, good};
}

int oplog_mend(struct oplog *l, struct bytes records, struct why *why)
{
    ASSERT(oplog_quiet(l) && l->cfg.replicated && !l->stopped);
    const struct log_hole *hole = NULL;
    struct segment_copy c;
    struct patch p;
    int rc = check_patch(l, records, &p, why);
    for (uint32_t i = 0; rc == 0 && l->damaged && i < l->findings.hole_count; i++) {
        const struct log_hole *h = &l->findings.holes[i];
        hole = h->from == p.first && h->to == p.last ? h : hole;
    }
    if (rc == 0 && hole == NULL) {
        rc = why_set(why, ERR_OUT_OF_SYNC, "records %llu to %llu are no hole",
                     (unsigned long long)p.first, (unsigned long long)p.last);
    }
    int number = rc == 0 ? segment_of(l, hole, why) : rc;
    if (number < 0) {
        return number;
    }
    struct segment from = l->segments[number];
    struct segment to = from;
    struct place begin = begin_of(l, number);
    to.bytes = segment_bytes_for(segment_units(from.bytes) + p.units, from.bytes);
    if (!begin.known) {
        to.chain = p.prev_chain;
    }
    rc = segment_copy_begin(&c, l, to, why);
    if (rc == 0) {
        rc = segment_copy_end(&c, put_all(&c, &from, &p, begin, why), why);
    }
    if (rc == 0) {
        l->cuts++;
        rc = oplog_look_again(l, why);
    }
    return rc;
}
