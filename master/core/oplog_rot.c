/* oplog_rot.c - what segments that are full have lost: found by reading them again.
 *
 * Nothing is appended to them, and the next segment's header says how they end. So whatever is not
 * there, or does not lead there, was lost by the disk.
 */
#include "master/core/oplog_internal.h"
#include "shared/base/mem.h"

/* ---------------------------------------------------------------- what is missing */

void rot_forget(struct oplog *l, uint64_t from, uint64_t to)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < l->rot_count; i++) {
        if (l->rot[i].from < from || l->rot[i].to > to) {
            l->rot[kept++] = l->rot[i];
        }
    }
    l->rot_count = kept;
}

static void add(struct oplog *l, const char *path, uint64_t from, uint64_t to)
{
    env_log(l->env, LOG_ERROR, "%s: records %llu to %llu cannot be read any more", path,
            (unsigned long long)from, (unsigned long long)to);
    if (l->rot_count < LOG_HOLES_MAX) { /* else those are mended first, and this is found again */
        l->rot[l->rot_count++] = (struct log_hole){.from = from, .to = to};
    }
}

/* The header in memory was read good, or written, by this process. */
static void check_header(struct oplog *l, const struct segment *seg, const char *path)
{
    uint8_t expected[UNIT_BYTES], found[UNIT_BYTES];
    struct env_file *f;
    struct why why;
    if (env_file_open(l->env, path, 0, &f) < 0) {
        return; /* its records tell */
    }
    segment_header_encode(seg, l->now.cluster, expected);
    int64_t n = read_exactly(l, f, path, 0, found, UNIT_BYTES, &why);
    if (n < 0 || memcmp(expected, found, UNIT_BYTES) != 0) {
        n = env_file_write(l->env, f, 0, expected, UNIT_BYTES);
        n = n < 0 ? n : env_file_sync(l->env, f);
        env_log(l->env, LOG_WARN, "%s: header written anew: %s", path,
                n < 0 ? err_text((int)n) : "done");
    }
    env_file_close(l->env, f);
}

void rot_look(struct oplog *l, uint32_t k)
{
    struct segment seg = l->segments[k];
    struct segment next = l->segments[k + 1];
    struct segment_reader r;
    struct batch_view b;
    struct why why;
    uint64_t expected = seg.first, chain = seg.chain;
    rot_forget(l, seg.first, next.first - 1);
    int rc = segment_reader_open(&r, l, &seg, &why);
    check_header(l, &seg, r.path);
    while (rc == 0 && (rc = survey_next(&r, &b, &why)) == 1) {
        uint64_t first = r.index - b.count;
        rc = 0;
        if (first < expected || r.index > next.first ||
            (first == expected && record_prev_chain(b.records.data) != chain)) {
            continue; /* left from elsewhere */
        }
        if (first > expected) {
            add(l, r.path, expected, first - 1);
        }
        expected = r.index;
        chain = r.chain;
    }
    if (expected < next.first) {
        add(l, r.path, expected, next.first - 1);
    }
    segment_reader_close(&r);
}

/* Number of the closed segment that holds `index`; segment_count: none does. */
static uint32_t closed_segment(const struct oplog *l, uint64_t index)
{
    for (uint32_t k = 0; k + 1 < l->segment_count; k++) {
        if (index >= l->segments[k].first && index < l->segments[k + 1].first) {
            return k;
        }
    }
    return l->segment_count;
}

void rot_look_for(struct oplog *l, uint64_t index)
{
    uint32_t k = closed_segment(l, index);
    bool going = k == 0 && l->trim_busy; /* its file may be gone already */
    if (!l->damaged && k < l->segment_count && !going && !oplog_rot_at(l, index)) {
        rot_look(l, k);
    }
}

uint32_t oplog_rot(const struct oplog *l, struct log_hole out[LOG_HOLES_MAX])
{
    memcpy(out, l->rot, sizeof(l->rot));
    return l->rot_count;
}

bool oplog_rot_at(const struct oplog *l, uint64_t index)
{
    return log_hole_at(l->rot, l->rot_count, index) != NULL;
}

uint64_t oplog_missing(const struct oplog *l)
{
    const struct log_hole *holes = l->damaged ? l->findings.holes : l->rot;
    uint32_t count = l->damaged ? l->findings.hole_count : l->rot_count;
    uint64_t missing = 0;
    for (uint32_t i = 0; i < count; i++) {
        missing += holes[i].to - holes[i].from + 1;
    }
    return missing;
}

/* ---------------------------------------------------------------- reading again and again */

struct oplog_check {
    struct oplog *log;
    struct segment segment;       /* being read */
    uint64_t end, chain;          /* first index behind it, H(end - 1) */
    struct segment_reader reader; /* file NULL = none is */
    uint64_t after;               /* the next one begins above this */
    uint32_t cuts;                /* of the log when the file was opened */
    bool busy;
    struct disk_op op;
};

struct oplog_check *oplog_check_create(struct oplog *l)
{
    struct oplog_check *c = mem_new(struct oplog_check);
    c->log = l;
    return c;
}

void oplog_check_destroy(struct oplog_check *c)
{
    if (c != NULL) {
        segment_reader_close(&c->reader);
        mem_free(c);
    }
}

bool oplog_check_busy(const struct oplog_check *c)
{
    return c->busy;
}

uint32_t oplog_full_segments(const struct oplog *l)
{
    return l->segment_count > 1 ? l->segment_count - 1 : 0;
}

uint64_t oplog_full_bytes(const struct oplog *l)
{
    uint64_t bytes = 0;
    for (uint32_t k = 0; k + 1 < l->segment_count; k++) {
        bytes += l->segments[k].bytes;
    }
    return bytes;
}

/* The segment was looked at, or cannot be. */
static void leave(struct oplog_check *c, bool good)
{
    struct oplog *l = c->log;
    bool as_it_was = c->cuts == oplog_cuts(l) && !l->damaged;
    segment_reader_close(&c->reader);
    if (!good && as_it_was) {
        uint32_t k = closed_segment(l, c->segment.first);
        if (k < l->segment_count && (k > 0 || !l->trim_busy)) { /* else it is removed */
            rot_look(l, k);
        }
    }
}

/* A batch lies whole in what was read, or the segment ends there. */
static bool enough(const struct segment_reader *r)
{
    uint32_t left = (segment_units(r->segment->bytes) - r->unit) * UNIT_BYTES;
    uint32_t skip = (r->unit - r->window_unit) * UNIT_BYTES;
    return skip <= r->window_len && r->window_len - skip >= MIN(left, (uint32_t)BATCH_BYTES_MAX);
}

static void piece_read(struct disk_op *op)
{
    struct oplog_check *c = op->owner;
    struct segment_reader *r = &c->reader;
    struct batch_view b;
    struct why ignored;
    c->busy = false;
    if (op->result != op->len || c->cuts != oplog_cuts(c->log)) {
        leave(c, false);
        return;
    }
    r->window_unit = r->unit;
    r->window_len = op->len;
    int rc = 1;
    while (rc == 1 && enough(r)) {
        rc = segment_reader_next(r, &b, &ignored);
    }
    if (rc != 1) {
        leave(c, rc == 0 && r->index == c->end && r->chain == c->chain);
    }
}

/* Opens the next full segment: 1, 0 if there is none, -1 if this one cannot be read. */
static int begin(struct oplog_check *c)
{
    struct oplog *l = c->log;
    struct segment_reader *r = &c->reader;
    if (l->segment_count < 2 || l->damaged) {
        return 0;
    }
    uint32_t k = 0;
    while (k + 1 < l->segment_count && l->segments[k].first <= c->after) {
        k++;
    }
    k = k + 1 < l->segment_count ? k : 0;
    c->segment = l->segments[k];
    c->after = c->segment.first;
    c->end = l->segments[k + 1].first;
    c->chain = l->segments[k + 1].chain;
    c->cuts = oplog_cuts(l);
    *r = (struct segment_reader){.log = l,
                                 .segment = &c->segment,
                                 .index = c->segment.first,
                                 .chain = c->segment.chain,
                                 .epoch = c->segment.epoch,
                                 .window_cap = OPLOG_CHECK_BYTES};
    segment_path(c->segment.first, r->path);
    uint8_t expected[UNIT_BYTES], found[UNIT_BYTES];
    struct why ignored;
    segment_header_encode(&c->segment, l->now.cluster, expected);
    /* What is in memory only because it was just written tells nothing, but is not worth evicting. */
    if (env_file_open(l->env, r->path, ENV_OPEN_READ_ONLY | ENV_OPEN_SCAN, &r->file) < 0 ||
        read_exactly(l, r->file, r->path, 0, found, UNIT_BYTES, &ignored) < 0 ||
        memcmp(expected, found, UNIT_BYTES) != 0) {
        leave(c, false);
        return -1;
    }
    r->window = mem_alloc(r->window_cap);
    return 1;
}

bool oplog_check_step(struct oplog_check *c)
{
    struct segment_reader *r = &c->reader;
    ASSERT(!c->busy);
    if (r->file == NULL) {
        int rc = begin(c);
        if (rc <= 0) {
            return rc < 0;
        }
    }
    uint32_t left = (segment_units(c->segment.bytes) - r->unit) * UNIT_BYTES;
    if (left == 0) {
        leave(c, r->index == c->end && r->chain == c->chain);
        return true;
    }
    c->busy = true;
    c->op = (struct disk_op){.kind = DISK_READ,
                             .file = r->file,
                             .off = segment_unit_offset(c->segment.bytes, r->unit),
                             .data = r->window,
                             .len = MIN(left, r->window_cap),
                             .done = piece_read,
                             .owner = c};
    env_disk_submit(c->log->env, &c->op);
    return true;
}
