/* oplog_cut.c - removes the end of a log.
 *
 * Later segments go one by one, the newest first. The one that holds the first record to be removed
 * is copied up to there. The copy takes its place by a rename, so no sector that holds a kept
 * record is written.
 *
 * A log that begins anew behind a checkpoint gives up all its segments, and gets one without a record.
 */
#include "master/core/oplog_internal.h"
#include "shared/base/mem.h"

#include <stdio.h>

bool oplog_quiet(const struct oplog *l)
{
    return l->flushing == NULL && list_empty(&l->queue) && !l->rolling && !l->trim_busy;
}

static int put(struct segment_copy *c, uint64_t off, const void *data, uint32_t len)
{
    int64_t n = env_file_write(c->log->env, c->file, off, data, len);
    return n < 0 ? (int)n : n < (int64_t)len ? -EIO : 0;
}

/* Records of one batch, from its first one on. */
static int put_batch(struct segment_copy *c, struct bytes records, struct slot slot)
{
    uint32_t len = slot.units * UNIT_BYTES;
    uint8_t *data = mem_alloc(len);
    memset(data, 0, len);
    memcpy(data, records.data, records.len);
    uint32_t at = 0, last = 0;
    for (uint32_t i = 0; i < slot.records; i++) {
        struct record r;
        struct why ignored;
        bool header_good;
        int rc = record_decode(bytes_of(data + at, records.len - at), &r, &header_good, &ignored);
        ASSERT(rc == 0);
        record_set_batch_flags(data + at, i == 0 ? RECORD_FIRST_OF_BATCH : 0);
        last = at;
        at += record_size(&r);
    }
    record_set_batch_flags(data + last, last == 0 ? RECORD_FIRST_OF_BATCH | RECORD_LAST_OF_BATCH
                                                  : RECORD_LAST_OF_BATCH);
    slot_encode(&slot, c->log->now.cluster, c->table + (size_t)c->unit * SLOT_BYTES);
    int rc = put(c, segment_unit_offset(c->segment.bytes, c->unit), data, len);
    c->unit += slot.units;
    mem_free(data);
    return rc;
}

int segment_copy_put(struct segment_copy *c, const struct batch_view *b, uint64_t index,
                     struct why *why)
{
    struct slot slot = {0};
    uint32_t len = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        struct record r;
        bool header_good;
        int rc = record_decode(bytes_of(b->records.data + len, b->records.len - len), &r,
                               &header_good, why);
        if (rc < 0) {
            return rc;
        }
        if (r.index > index) {
            break;
        }
        len += record_size(&r);
        slot.first = i == 0 ? r.index : slot.first;
        slot.records++;
        slot.epoch = r.epoch;
        slot.chain_low = (uint32_t)r.chain;
    }
    slot.units = units_of(len);
    int rc = slot.records > 0 ? put_batch(c, bytes_of(b->records.data, len), slot) : 0;
    return rc < 0 ? why_set(why, rc, "cannot write %s: %s", CUT_SEGMENT, err_text(rc)) : 0;
}

static int put_batches(struct segment_copy *c, uint64_t index, struct why *why)
{
    struct segment_reader r;
    struct batch_view b;
    int rc = segment_reader_open(&r, c->log, &c->segment, why);
    while (rc == 0 && r.index <= index && (rc = survey_next(&r, &b, why)) == 1) {
        rc = segment_copy_put(c, &b, index, why);
    }
    segment_reader_close(&r);
    return rc;
}

/* Zeros to the end of the file, id table, header. */
static int put_rest(struct segment_copy *c)
{
    uint32_t units = segment_units(c->segment.bytes);
    uint8_t header[UNIT_BYTES];
    uint8_t *zeros = mem_alloc(ZERO_STEP_BYTES);
    int rc = 0;
    memset(zeros, 0, ZERO_STEP_BYTES);
    for (uint32_t u = c->unit; u < units && rc == 0; u += ZERO_STEP_BYTES / UNIT_BYTES) {
        rc = put(c, segment_unit_offset(c->segment.bytes, u), zeros,
                 MIN(units - u, (uint32_t)ZERO_STEP_BYTES / UNIT_BYTES) * UNIT_BYTES);
    }
    mem_free(zeros);
    segment_header_encode(&c->segment, c->log->now.cluster, header);
    if (rc == 0) {
        rc = put(c, UNIT_BYTES, c->table, segment_table_bytes(c->segment.bytes));
    }
    return rc == 0 ? put(c, 0, header, sizeof(header)) : rc;
}

static int take_place(struct segment_copy *c, const char *from)
{
    char path[SEGMENT_NAME_BYTES];
    segment_path(c->segment.first, path);
    int rc = env_file_sync(c->log->env, c->file);
    if (rc == 0) {
        rc = env_rename(c->log->env, from, path);
    }
    return rc == 0 ? env_sync_dir(c->log->env, LOG_DIR) : rc;
}

int segment_copy_begin(struct segment_copy *c, struct oplog *l, struct segment seg, struct why *why)
{
    *c = (struct segment_copy){.log = l, .segment = seg};
    (void)env_unlink(l->env, CUT_SEGMENT);
    int rc = env_file_open(l->env, CUT_SEGMENT, ENV_OPEN_CREATE, &c->file);
    if (rc < 0) {
        return why_set(why, rc, "cannot create %s: %s", CUT_SEGMENT, err_text(rc));
    }
    c->table = mem_alloc(segment_table_bytes(seg.bytes));
    memset(c->table, 0, segment_table_bytes(seg.bytes));
    return 0;
}

int segment_copy_end(struct segment_copy *c, int rc, struct why *why)
{
    if (rc == 0) {
        rc = put_rest(c);
        rc = rc == 0 ? take_place(c, CUT_SEGMENT) : rc;
        if (rc < 0) {
            why_set(why, rc, "cannot write %s: %s", CUT_SEGMENT, err_text(rc));
        }
    }
    mem_free(c->table);
    env_file_close(c->log->env, c->file);
    return rc;
}

static int copy_segment(struct oplog *l, struct segment seg, uint64_t index, struct why *why)
{
    struct segment_copy c;
    int rc = segment_copy_begin(&c, l, seg, why);
    return rc == 0 ? segment_copy_end(&c, put_batches(&c, index, why), why) : rc;
}

/* Removes the segments that begin above `first`, the newest first. */
static int remove_later(struct oplog *l, uint64_t first, struct why *why)
{
    struct segment_listing list;
    int rc = segments_list(l, &list, why);
    for (uint32_t i = list.count; rc == 0 && i > 0 && list.firsts[i - 1] > first; i--) {
        char path[SEGMENT_NAME_BYTES];
        segment_path(list.firsts[i - 1], path);
        rc = env_unlink(l->env, path);
        if (rc == 0) {
            rc = env_sync_dir(l->env, LOG_DIR);
        }
        if (rc < 0) {
            why_set(why, rc, "cannot remove %s: %s", path, err_text(rc));
        }
    }
    mem_free(list.firsts);
    return rc;
}

int oplog_look_again(struct oplog *l, struct why *why)
{
    if (l->current != NULL) {
        env_file_close(l->env, l->current);
        l->current = NULL;
    }
    l->segment_count = 0;
    l->last = 0;
    l->chain = 0;
    l->last_epoch = 0;
    l->damaged = false;
    return oplog_scan(l, why);
}

static bool readable(const struct oplog *l, uint64_t index)
{
    const struct log_answer *a = &l->findings;
    bool lost = l->damaged && log_hole_at(a->holes, a->hole_count, index) != NULL;
    return !lost && index <= l->last;
}

/* The disk may have lost it since the log was opened; at the end nobody could see that it was there. */
static int find_record(struct oplog *l, const struct segment *seg, uint64_t index, struct why *why)
{
    struct segment_reader r;
    struct batch_view b;
    bool found = index < seg->first; /* none of its records stays */
    int rc = segment_reader_open(&r, l, seg, why);
    while (rc == 0 && r.index <= index && (rc = survey_next(&r, &b, why)) == 1) {
        found = r.index > index && r.index - b.count <= index;
        rc = 0;
    }
    if (rc == 0 && !found) {
        rc =
            why_set(why, -EIO, "%s: record %llu cannot be read", r.path, (unsigned long long)index);
    }
    segment_reader_close(&r);
    return rc;
}

/* From here on the log vouches for nothing: whoever asks it must not think that it never had what is
 * removed. */
static int forget(struct oplog *l, struct log_place behind, struct why *why)
{
    l->now.joining = true;
    l->now.behind = behind;
    return superblock_write(l, why);
}

int oplog_note_lost(struct oplog *l, uint64_t index, struct why *why)
{
    struct log_answer a = oplog_findings(l);
    const struct log_hole *last = a.hole_count > 0 ? &a.holes[a.hole_count - 1] : NULL;
    bool hole = last != NULL && last->to > index;
    if (!l->damaged || (l->findings.end == LOG_END_SURE && !hole)) {
        return 0;
    }
    if (hole) { /* no record in it is of a later epoch than the tail */
        findings_add(&a, (struct log_place){a.tail.epoch, last->to});
    }
    return forget(l, a.end == LOG_END_NAMED ? a.end_place : (struct log_place){0}, why);
}

int oplog_cut(struct oplog *l, uint64_t index, struct why *why)
{
    ASSERT(oplog_quiet(l) && l->cfg.replicated && !l->stopped);
    const struct log_answer *a = &l->findings;
    if (l->damaged && a->end == LOG_END_SURE && a->hole_count > 0 && index == l->last) {
        return why_set(why, -EALREADY, "nothing is behind record %llu", (unsigned long long)index);
    }
    l->cuts++;
    uint32_t i = l->segment_count;
    while (i > 0 && l->segments[i - 1].first > index + 1) {
        i--;
    }
    if (index < MAX(l->committed, l->now.committed)) {
        return why_set(why, -EPERM, "records to %llu are committed",
                       (unsigned long long)MAX(l->committed, l->now.committed));
    }
    if (i == 0 || !readable(l, index)) {
        return why_set(why, -ENOENT, "the log has no record %llu", (unsigned long long)index);
    }
    /* Where the log begins stays known: the first segment is kept, perhaps without a record. */
    bool whole = i > 1 && l->segments[i - 1].first == index + 1;
    struct segment seg = l->segments[whole ? i - 2 : i - 1];
    int rc = find_record(l, &seg, index, why);
    if (rc != 0) {
        return rc;
    }
    if (!whole && index >= seg.first && !segment_begin_known(l, i - 1)) {
        return why_set(why, -EAGAIN, "record %llu is to be mended first",
                       (unsigned long long)seg.first);
    }
    rc = oplog_note_lost(l, index, why);
    if (rc == 0) {
        rc = remove_later(l, seg.first, why);
    }
    if (rc == 0 && !whole) {
        rc = copy_segment(l, seg, index, why);
    }
    struct why looked;
    if (oplog_look_again(l, &looked) < 0) { /* also at what a cut that failed left */
        env_die(l->env, looked.text); /* what is there is not known: it must not pass for nothing */
    }
    return rc;
}

bool oplog_begun(const struct oplog *l)
{
    return l->stopped;
}

int oplog_begin_at(struct oplog *l, uint64_t index, uint32_t epoch, uint64_t chain, struct why *why)
{
    ASSERT(oplog_quiet(l) && !l->super_busy && l->cfg.replicated && !l->stopped);
    struct segment_copy c = {
        .log = l,
        .segment = {
            .first = index + 1, .chain = chain, .bytes = l->cfg.segment_bytes, .epoch = epoch}};
    (void)env_unlink(l->env, BASE_SEGMENT);
    int rc = env_file_open(l->env, BASE_SEGMENT, ENV_OPEN_CREATE, &c.file);
    if (rc < 0) {
        return why_set(why, rc, "cannot create %s: %s", BASE_SEGMENT, err_text(rc));
    }
    c.table = mem_alloc(segment_table_bytes(c.segment.bytes));
    memset(c.table, 0, segment_table_bytes(c.segment.bytes));
    rc = put_rest(&c);
    if (rc < 0) {
        why_set(why, rc, "cannot write %s: %s", BASE_SEGMENT, err_text(rc));
        (void)env_unlink(l->env, BASE_SEGMENT); /* a disk that is full gets the room back */
    }
    if (rc == 0) {
        l->stopped = true;
        l->cuts++;
        l->now.committed = index;
        rc = forget(l, (struct log_place){0}, why);
    }
    if (rc == 0) {
        rc = remove_later(l, 0, why);
    }
    if (rc == 0) {
        rc = take_place(&c, BASE_SEGMENT);
        if (rc < 0) {
            why_set(why, rc, "cannot name %s: %s", BASE_SEGMENT, err_text(rc));
        }
    }
    mem_free(c.table);
    env_file_close(l->env, c.file);
    return rc;
}
