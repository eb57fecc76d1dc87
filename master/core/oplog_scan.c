/* oplog_scan.c - finds the end of the log on open, and decides whether what follows it is torn or
 * rotten.
 *
 * One flush is in flight at a time and a segment is begun only when none is, so all that a crash
 * can leave unfinished is the very last batch; a batch is acknowledged as a whole. What follows the
 * last good batch is cut only if it can be that one:
 *   - its index is above the committed lower bound of the superblock;
 *   - nothing lies behind it: no later batch, slot or segment, no data beyond the longest batch;
 *   - its id slot is empty (the data goes first, so the flush never ended), or the machine went
 * down (power tears data and slot in any order). Everything else was acknowledged, or may have
 * been, and is refused.
 */
#include "master/core/oplog_internal.h"
#include "shared/base/mem.h"

#include <stdio.h>

/* The segment being scanned. */
struct scan {
    struct oplog *log;
    struct segment_reader reader;
    bool closed; /* a later segment exists: all its batches were flushed */
    uint8_t *table;
    uint32_t table_bytes;
    bool table_dirty;
    struct batch_view last_batch; /* units == 0: none */
};

/* ---------------------------------------------------------------- damaged or torn */

/* Refusal: what is wrong at the place (already in why) and why it cannot be a torn tail. */
static int refuse(struct why *why, const char *because)
{
    char text[sizeof(why->text)];
    memcpy(text, why->text, sizeof(text));
    return why_set(why, ERR_CORRUPT, "%.330s; this is no torn tail: %.150s", text, because);
}

/* 0 if what lies at `unit` may be cut off; ERR_CORRUPT. why says what is wrong there. */
static int judge(const struct scan *s, const struct tail *t, uint32_t unit, uint64_t index,
                 struct why *why)
{
    char text[160];
    uint32_t longest =
        t->slot == SLOT_GOOD ? t->slot_value.units : (uint32_t)(BATCH_BYTES_MAX / UNIT_BYTES);
    if (s->closed) {
        return refuse(why, "a later segment exists");
    }
    if (index <= s->log->now.committed) {
        snprintf(text, sizeof(text), "records to %llu are committed",
                 (unsigned long long)s->log->now.committed);
        return refuse(why, text);
    }
    if (t->later_unit != 0) {
        snprintf(text, sizeof(text), "record %llu follows at %llu",
                 (unsigned long long)t->later_index,
                 (unsigned long long)segment_unit_offset(s->reader.segment->bytes, t->later_unit));
        return refuse(why, text);
    }
    if (t->later_slot_state != SLOT_EMPTY) {
        snprintf(text, sizeof(text), "the id table is in use at %llu",
                 (unsigned long long)segment_slot_offset(t->later_slot));
        return refuse(why, text);
    }
    if (t->data_end > unit + longest) {
        snprintf(
            text, sizeof(text), "it is longer than a batch: data at %llu",
            (unsigned long long)segment_unit_offset(s->reader.segment->bytes, t->data_end - 1));
        return refuse(why, text);
    }
    if (t->slot != SLOT_EMPTY && s->log->incarnation_same) {
        return refuse(why, "its id slot was written and the machine did not go down");
    }
    if (t->slot != SLOT_EMPTY && s->log->cfg.replicated) {
        return refuse(why, "its id slot was written, and only the other logs can tell");
    }
    return 0;
}

/* ---------------------------------------------------------------- cutting */

static int write_zeros(struct scan *s, uint64_t off, uint64_t len)
{
    uint8_t *zeros = mem_alloc(ZERO_STEP_BYTES);
    int64_t n = 0;
    for (uint64_t at = 0; at < len && n >= 0; at += ZERO_STEP_BYTES) {
        n = env_file_write(s->log->env, s->reader.file, off + at, zeros,
                           (uint32_t)MIN(len - at, (uint64_t)ZERO_STEP_BYTES));
    }
    mem_free(zeros);
    return n < 0 ? (int)n : 0;
}

/* Data goes before the slots: a crash in between leaves a slot without data, which is cut again. */
static int cut(struct scan *s, uint32_t unit, uint32_t data_end, struct why *why)
{
    uint32_t bytes = s->reader.segment->bytes;
    int rc = 0;
    if (data_end > unit) {
        rc = write_zeros(s, segment_unit_offset(bytes, unit),
                         (uint64_t)(data_end - unit) * UNIT_BYTES);
    }
    if (rc == 0) {
        rc = env_file_sync(s->log->env, s->reader.file);
    }
    if (rc < 0) {
        return why_set(why, rc, "cannot cut %s: %s", s->reader.path, err_text(rc));
    }
    size_t kept = (size_t)unit * SLOT_BYTES;
    memset(s->table + kept, 0, s->table_bytes - kept);
    s->table_dirty = true;
    return 0;
}

/* Copies a file of the log to `<path>.bad`. */
static int copy_aside(struct oplog *l, const char *path, struct why *why)
{
    char bad[SEGMENT_NAME_BYTES + 8];
    struct env_file *from = NULL, *to = NULL;
    uint8_t *data = mem_alloc(ZERO_STEP_BYTES);
    snprintf(bad, sizeof(bad), "%s.bad", path);
    int64_t n = env_file_open(l->env, path, ENV_OPEN_READ_ONLY, &from);
    if (n == 0) {
        n = env_file_open(l->env, bad, ENV_OPEN_CREATE, &to);
    }
    uint64_t at = 0;
    while (n >= 0 && (n = env_file_read(l->env, from, at, data, ZERO_STEP_BYTES)) > 0) {
        n = env_file_write(l->env, to, at, data, (uint32_t)n);
        at += (uint64_t)n;
    }
    if (n == 0) {
        n = env_file_sync(l->env, to);
    }
    if (from != NULL) {
        env_file_close(l->env, from);
    }
    if (to != NULL) {
        env_file_close(l->env, to);
    }
    mem_free(data);
    return n < 0 ? why_set(why, (int)n, "cannot copy %s aside: %s", path, err_text((int)n)) : 0;
}

/* The good batches end before reader.unit: nothing follows, or it is cut, or it is refused. */
static int end_of_batches(struct scan *s, bool batch_bad, struct why *why)
{
    uint32_t unit = s->reader.unit;
    uint64_t index = s->reader.index;
    struct tail t = {0};
    struct why reason = *why;
    if (unit >= segment_units(s->reader.segment->bytes)) {
        return 0;
    }
    int rc = tail_survey(&s->reader, s->table, unit, index, &t, why);
    if (rc < 0) {
        return rc;
    }
    if (t.data_end == 0 && t.slot == SLOT_EMPTY && t.later_slot_state == SLOT_EMPTY) {
        return 0;
    }
    if (!batch_bad) {
        why_set(&reason, 0, "%s at %llu: expected record %llu, found zeros", s->reader.path,
                (unsigned long long)segment_unit_offset(s->reader.segment->bytes, unit),
                (unsigned long long)index);
    }
    rc = judge(s, &t, unit, index, &reason);
    if (rc < 0 && !s->log->cfg.force) {
        *why = reason;
        return rc;
    }
    env_log(s->log->env, LOG_WARN, "operation log is cut before record %llu: %s",
            (unsigned long long)index, reason.text);
    if (rc < 0) {
        rc = copy_aside(s->log, s->reader.path, why);
        if (rc < 0) {
            return rc;
        }
    }
    return cut(s, unit, t.data_end, why);
}

/* ---------------------------------------------------------------- one segment */

/* The id table must say what the batches say; it is mended from them. */
static void check_slots(struct scan *s, const struct batch_view *b)
{
    uint8_t *at = s->table + (size_t)b->unit * SLOT_BYTES;
    uint8_t bytes[SLOT_BYTES];
    struct slot slot = {.first = s->reader.index - b->count,
                        .records = b->count,
                        .units = b->units,
                        .epoch = s->reader.epoch,
                        .chain_low = (uint32_t)s->reader.chain};
    slot_encode(&slot, s->log->now.cluster, bytes);
    if (memcmp(at, bytes, SLOT_BYTES) != 0) {
        env_log(s->log->env, LOG_WARN, "%s at %llu: id slot of records from %llu mended",
                s->reader.path, (unsigned long long)segment_slot_offset(b->unit),
                (unsigned long long)slot.first);
        memcpy(at, bytes, SLOT_BYTES);
        s->table_dirty = true;
    }
    size_t rest = (size_t)(b->units - 1) * SLOT_BYTES;
    if (!bytes_are_zero(at + SLOT_BYTES, rest)) {
        memset(at + SLOT_BYTES, 0, rest);
        s->table_dirty = true;
    }
}

/* After a flush whose sync failed the cache may show as clean what the disk does not have: making it dirty
 * again is the only way to have it written. A process that ended without a word may have met that, and
 * could not have left a mark on a disk that fails. */
static int rewrite_last_batch(struct scan *s, struct why *why)
{
    struct env *env = s->log->env;
    const struct segment *seg = s->reader.segment;
    int rc = 0;
    if (s->log->incarnation_same && s->log->found.clean_index == 0 && s->last_batch.units > 0) {
        uint32_t len = s->last_batch.units * UNIT_BYTES;
        uint64_t off = segment_unit_offset(seg->bytes, s->last_batch.unit);
        uint8_t header[UNIT_BYTES];
        uint8_t *data = mem_alloc(len);
        int64_t n = env_file_read(env, s->reader.file, off, data, len);
        n = n >= 0 && n < len ? -EIO : n;
        if (n >= 0) {
            segment_header_encode(seg, s->log->now.cluster, header);
            n = env_file_write(env, s->reader.file, off, data, len);
            n = n < 0 ? n : env_file_write(env, s->reader.file, 0, header, sizeof(header));
        }
        rc = n < 0 ? why_set(why, (int)n, "cannot write the end of %s once more: %s",
                             s->reader.path, err_text((int)n))
                   : 0;
        s->table_dirty = true;
        mem_free(data);
    }
    return rc;
}

/* Makes what the scan settled durable. */
static int settle(struct scan *s, struct why *why)
{
    struct env *env = s->log->env;
    int64_t n = 0;
    if (s->table_dirty) {
        n = env_file_write(env, s->reader.file, UNIT_BYTES, s->table, s->table_bytes);
    }
    if (n >= 0) {
        n = env_file_sync(env, s->reader.file);
    }
    if (n < 0) {
        return why_set(why, (int)n, "cannot sync %s: %s", s->reader.path, err_text((int)n));
    }
    return 0;
}

static int scan_batches(struct scan *s, struct why *why)
{
    int rc = read_exactly(s->log, s->reader.file, s->reader.path, UNIT_BYTES, s->table,
                          s->table_bytes, why);
    if (rc < 0) {
        return rc;
    }
    struct batch_view b;
    while ((rc = segment_reader_next(&s->reader, &b, why)) == 1) {
        check_slots(s, &b);
        s->last_batch = b;
    }
    if (rc < 0 && rc != ERR_CORRUPT) {
        return rc;
    }
    rc = end_of_batches(s, rc == ERR_CORRUPT, why);
    if (rc == 0 && !s->closed) {
        rc = rewrite_last_batch(s, why);
    }
    return rc == 0 ? settle(s, why) : rc;
}

/* Scans segment i; *out_unit is where the next batch goes. Sets the log's end. */
static int scan_segment(struct oplog *l, uint32_t i, bool closed, uint32_t *out_unit,
                        struct why *why)
{
    const struct segment *seg = &l->segments[i];
    struct scan s = {.log = l, .closed = closed, .table_bytes = segment_table_bytes(seg->bytes)};
    int rc = segment_reader_open(&s.reader, l, seg, why);
    if (rc == 0) {
        s.table = mem_alloc(s.table_bytes);
        rc = scan_batches(&s, why);
        mem_free(s.table);
    }
    if (rc == 0) {
        *out_unit = s.reader.unit;
        l->last = s.reader.index - 1;
        l->chain = s.reader.chain;
        l->last_epoch = s.reader.epoch;
    }
    segment_reader_close(&s.reader);
    return rc;
}

/* ---------------------------------------------------------------- all segments */

int segment_load(struct oplog *l, uint64_t first, struct segment *out, struct why *why)
{
    char path[SEGMENT_NAME_BYTES];
    uint8_t header[UNIT_BYTES];
    struct segment s = {0};
    struct env_file *f;
    segment_path(first, path);
    int rc = env_file_open(l->env, path, 0, &f);
    if (rc < 0) {
        return why_set(why, rc, "cannot open %s: %s", path, err_text(rc));
    }
    int64_t size = env_file_size(l->env, f);
    rc = size < 0 ? why_set(why, (int)size, "cannot size %s", path)
                  : read_exactly(l, f, path, 0, header, sizeof(header), why);
    env_file_close(l->env, f);
    *out = (struct segment){.first = first, .bytes = size > 0 ? (uint32_t)size : 0};
    if (rc < 0) {
        return rc;
    }
    struct why field = {0};
    rc = segment_header_decode(header, l->now.cluster, &s, &field);
    if (rc < 0) {
        return why_set(why, rc, "%s at 0: %.400s", path, field.text);
    }
    if (s.first != first || s.bytes != size || s.bytes % UNIT_BYTES != 0) {
        return why_set(why, ERR_CORRUPT,
                       "%s at 0: expected first index %llu and %lld bytes, found %llu and %u", path,
                       (unsigned long long)first, (long long)size, (unsigned long long)s.first,
                       s.bytes);
    }
    *out = s;
    return 0;
}

/* A segment that got its name but not its first batch is dropped, if the rules allow it. */
static int drop_unbegun(struct oplog *l, const struct segment *seg, struct why *why)
{
    struct why reason = *why;
    struct tail t = {0};
    struct scan s = {.log = l};
    if (seg->bytes % UNIT_BYTES != 0 || seg->bytes < 16 * UNIT_BYTES) {
        return ERR_CORRUPT;
    }
    s.table_bytes = segment_table_bytes(seg->bytes);
    int rc = segment_reader_open(&s.reader, l, seg, why);
    if (rc < 0) {
        return rc;
    }
    s.table = mem_alloc(s.table_bytes);
    rc = read_exactly(l, s.reader.file, s.reader.path, UNIT_BYTES, s.table, s.table_bytes, why);
    if (rc == 0) {
        rc = tail_survey(&s.reader, s.table, 0, seg->first, &t, why);
    }
    if (rc == 0) {
        rc = judge(&s, &t, 0, seg->first, &reason);
        *why = reason;
    }
    if (rc == 0) {
        env_log(l->env, LOG_WARN, "segment without a whole first batch is removed: %s",
                reason.text);
        rc = env_unlink(l->env, s.reader.path);
        rc = rc < 0 ? why_set(why, rc, "cannot remove %s: %s", s.reader.path, err_text(rc)) : 0;
    }
    mem_free(s.table);
    segment_reader_close(&s.reader);
    return rc;
}

/* Forced: everything from segment number `from` of the listed ones goes aside. */
static int set_aside(struct oplog *l, const uint64_t *firsts, uint32_t from, uint32_t count,
                     struct why *why)
{
    for (uint32_t i = from; i < count; i++) {
        char path[SEGMENT_NAME_BYTES];
        char bad[SEGMENT_NAME_BYTES + 8];
        segment_path(firsts[i], path);
        snprintf(bad, sizeof(bad), "%s.bad", path);
        env_log(l->env, LOG_WARN, "%s is set aside as %s: %s", path, bad, why->text);
        int rc = env_rename(l->env, path, bad);
        if (rc < 0) {
            return why_set(why, rc, "cannot rename %s: %s", path, err_text(rc));
        }
    }
    return 0;
}

static void list_entry_name(void *owner, const char *name)
{
    struct segment_listing *list = owner;
    uint64_t first = 0;
    if (strncmp(name, "log-", 4) != 0 || strlen(name) != 24) {
        return;
    }
    for (const char *p = name + 4; *p != '\0'; p++) {
        if (*p < '0' || *p > '9') {
            return;
        }
        first = first * 10 + (uint64_t)(*p - '0');
    }
    if (list->count == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 16;
        list->firsts = mem_resize(list->firsts, list->cap * sizeof(*list->firsts));
    }
    list->firsts[list->count++] = first;
}

/* Loads the headers of all listed segments; *out_closed: a segment after the last loaded one
 * existed. */
static int load_headers(struct oplog *l, const struct segment_listing *list, bool *out_closed,
                        struct why *why)
{
    for (uint32_t i = 0; i < list->count; i++) {
        struct segment seg;
        int rc = segment_load(l, list->firsts[i], &seg, why);
        bool last = i + 1 == list->count;
        if (rc == ERR_CORRUPT && last && (i > 0 || seg.first == 1)) {
            rc = drop_unbegun(l, &seg, why);
            if (rc == 0) {
                *out_closed = i > 0;
                return 0;
            }
        }
        if (rc == ERR_CORRUPT && l->cfg.force && i > 0) {
            return set_aside(l, list->firsts, i, list->count, why);
        }
        if (rc < 0) {
            return rc;
        }
        segment_list_add(l, seg);
    }
    return 0;
}

/* Scans what must be scanned: the last segment; with force all, because replay could not go on
 * later. */
static int scan_segments(struct oplog *l, const struct segment_listing *list, bool dropped_last,
                         struct why *why)
{
    uint32_t i = l->cfg.force ? 0 : l->segment_count - 1;
    for (; i < l->segment_count; i++) {
        bool last = i + 1 == l->segment_count;
        int rc = scan_segment(l, i, !last || dropped_last, &l->current_unit, why);
        if (rc < 0) {
            return rc;
        }
        uint64_t next = last ? list->firsts[list->count - 1] : l->segments[i + 1].first;
        bool fits = last ? !dropped_last || l->last + 1 == next
                         : l->last + 1 == next && l->chain == l->segments[i + 1].chain;
        if (!fits) {
            why_set(why, ERR_CORRUPT,
                    LOG_DIR "/log-%020llu ends at record %llu, but a segment begins at %llu",
                    (unsigned long long)l->segments[i].first, (unsigned long long)l->last,
                    (unsigned long long)next);
            if (!l->cfg.force) {
                return ERR_CORRUPT;
            }
            rc = last ? 0 : set_aside(l, list->firsts, i + 1, l->segment_count, why);
            if (rc < 0) {
                return rc;
            }
            l->segment_count = i + 1;
        }
    }
    return 0;
}

static int open_current(struct oplog *l, struct why *why)
{
    const struct segment *seg = &l->segments[l->segment_count - 1];
    segment_path(seg->first, l->current_path);
    l->current_has_header = true;
    int rc = env_file_open(l->env, l->current_path, 0, &l->current);
    return rc < 0 ? why_set(why, rc, "cannot open %s: %s", l->current_path, err_text(rc)) : 0;
}

int segments_list(struct oplog *l, struct segment_listing *out, struct why *why)
{
    *out = (struct segment_listing){0};
    int rc = env_list_dir(l->env, LOG_DIR, list_entry_name, out);
    return rc < 0 ? why_set(why, rc, "cannot list %s: %s", LOG_DIR, err_text(rc)) : 0;
}

/* The log as it must be: every damage is judged, cut or refused. */
static int scan_whole(struct oplog *l, struct why *why)
{
    struct segment_listing list;
    bool dropped_last = false;
    int rc = segments_list(l, &list, why);
    if (rc == 0) {
        rc = load_headers(l, &list, &dropped_last, why);
    }
    if (rc == 0 && l->segment_count > 0) {
        rc = scan_segments(l, &list, dropped_last, why);
        if (rc == 0) {
            rc = open_current(l, why);
        }
    }
    mem_free(list.firsts);
    if (rc < 0) {
        return rc;
    }
    /* Names that the last process did not sync become durable with what they hold. */
    rc = env_sync_dir(l->env, LOG_DIR);
    if (rc < 0) {
        return why_set(why, rc, "cannot sync directory %s: %s", LOG_DIR, err_text(rc));
    }
    uint64_t committed = MAX(l->committed, l->now.committed);
    if (l->last < committed) {
        why_set(why, ERR_CORRUPT,
                LOG_DIR " ends at record %llu, but records to %llu were committed",
                (unsigned long long)l->last, (unsigned long long)committed);
        if (!l->cfg.force || l->cfg.replicated) {
            return ERR_CORRUPT;
        }
        env_log(l->env, LOG_WARN, "forced start: %s", why->text);
    }
    return 0;
}

/* What the other logs are told of a damaged one. */
static int survey(struct oplog *l, struct why *why)
{
    uint32_t mended = l->headers_mended;
    env_log(l->env, LOG_ERROR, "operation log is damaged: %s", why->text);
    int rc = oplog_survey(l, why);
    if (rc != 0 || l->headers_mended == mended) {
        return rc;
    }
    l->segment_count = 0;
    rc = scan_whole(l, why); /* perhaps that was all */
    l->damaged = rc == ERR_CORRUPT;
    return l->damaged ? oplog_survey(l, why) : rc;
}

static bool may_be_uncommitted(const struct oplog *l)
{
    for (uint32_t i = 0; i < l->rot_count; i++) {
        if (l->rot[i].to > l->committed) {
            return true;
        }
    }
    return false;
}

int oplog_judge_rot(struct oplog *l, struct why *why)
{
    if (l->damaged || l->writer_epoch != 0 || !may_be_uncommitted(l)) {
        return 0;
    }
    if (!oplog_quiet(l)) {
        return why_set(why, -EAGAIN, "the log is writing");
    }
    l->cuts++;
    l->rot_count = 0;
    if (l->current != NULL) {
        env_file_close(l->env, l->current);
        l->current = NULL;
    }
    int rc = oplog_survey(l, why);
    if (rc == 0 && l->findings.hole_count == 0 && l->findings.end == LOG_END_SURE) {
        rc = oplog_look_again(l, why); /* it was mended meanwhile */
    }
    if (rc < 0) {
        env_die(l->env, why->text);
    }
    l->durable = l->last;
    l->durable_chain = l->chain;
    return 0;
}

int oplog_scan(struct oplog *l, struct why *why)
{
    (void)env_unlink(l->env, CUT_SEGMENT); /* a cut that did not end has not begun */
    (void)env_unlink(l->env, BASE_SEGMENT);
    l->rot_count = 0; /* what is left of it is found again */
    int rc = scan_whole(l, why);
    if (rc == ERR_CORRUPT && l->cfg.replicated) {
        rc = survey(l, why);
    }
    if (rc == 0) {
        l->durable = l->last;
        l->durable_chain = l->chain;
        l->committed = l->cfg.replicated ? MAX(l->committed, l->now.committed) : l->durable;
    }
    return rc;
}
