/* oplog_reader.c - reads the batches of one segment in order and checks every byte of them. */
#include "master/core/oplog_internal.h"
#include "shared/base/mem.h"

#include <stdio.h>

enum {
    WINDOW_BYTES = 4 << 20,
    UNREADABLE = 0xff, /* no record, slot or header, and not zero either: something was there */
};

/* Unit by unit, with UNREADABLE for those that the disk does not give. */
static int64_t read_around(struct oplog *l, struct env_file *f, const char *path, uint64_t off,
                           uint8_t *data, uint32_t len)
{
    uint32_t at = 0, lost = 0;
    while (at < len) {
        uint32_t n = (uint32_t)MIN(UNIT_BYTES - (off + at) % UNIT_BYTES, (uint64_t)len - at);
        int64_t got = env_file_read(l->env, f, off + at, data + at, n);
        if (got == -EIO) {
            memset(data + at, UNREADABLE, n);
            got = n;
            lost++;
        }
        if (got <= 0) {
            return got < 0 ? got : at;
        }
        at += (uint32_t)got;
    }
    if (lost > 0) { /* else it went well the second time */
        env_log(l->env, LOG_ERROR, "%s: %u units from %llu on cannot be read: taken for damaged",
                path, lost, (unsigned long long)off);
    }
    return at;
}

int read_exactly(struct oplog *l, struct env_file *f, const char *path, uint64_t off, void *data,
                 uint32_t len, struct why *why)
{
    int64_t n = env_file_read(l->env, f, off, data, len);
    if (n == -EIO && l->cfg.replicated) {
        n = read_around(l, f, path, off, data, len);
    }
    if (n < 0) {
        return why_set(why, (int)n, "cannot read %s at %llu: %s", path, (unsigned long long)off,
                       err_text((int)n));
    }
    if ((uint64_t)n < len) {
        return why_set(why, ERR_CORRUPT, "%s ends at %llu, expected at least %llu bytes", path,
                       (unsigned long long)off + (uint64_t)n, (unsigned long long)off + len);
    }
    return 0;
}

int segment_reader_open(struct segment_reader *r, struct oplog *l, const struct segment *s,
                        struct why *why)
{
    *r = (struct segment_reader){
        .log = l, .segment = s, .index = s->first, .chain = s->chain, .epoch = s->epoch};
    segment_path(s->first, r->path);
    int rc = env_file_open(l->env, r->path, 0, &r->file);
    if (rc < 0) {
        return why_set(why, rc, "cannot open %s: %s", r->path, err_text(rc));
    }
    r->window_cap = MIN((uint32_t)WINDOW_BYTES, segment_units(s->bytes) * (uint32_t)UNIT_BYTES);
    r->window = mem_alloc(r->window_cap);
    return 0;
}

void segment_reader_close(struct segment_reader *r)
{
    mem_free(r->window);
    if (r->file != NULL) {
        env_file_close(r->log->env, r->file);
    }
    r->window = NULL;
    r->file = NULL;
}

/* Makes a whole batch at r->unit lie in the window, as far as the segment goes. */
static int fill_window(struct segment_reader *r, struct bytes *out, struct why *why)
{
    uint32_t units = segment_units(r->segment->bytes);
    uint32_t skip = (r->unit - r->window_unit) * UNIT_BYTES;
    uint32_t left = (units - r->unit) * UNIT_BYTES;
    if (skip > r->window_len || r->window_len - skip < MIN(left, (uint32_t)BATCH_BYTES_MAX)) {
        uint32_t len = MIN(left, r->window_cap);
        int rc = read_exactly(r->log, r->file, r->path,
                              segment_unit_offset(r->segment->bytes, r->unit), r->window, len, why);
        if (rc < 0) {
            return rc;
        }
        r->window_unit = r->unit;
        r->window_len = len;
        skip = 0;
    }
    *out = bytes_of(r->window + skip, r->window_len - skip);
    return 0;
}

/* What the chain demands of the next record. 0 or ERR_CORRUPT. */
static int check_order(const struct segment_reader *r, const struct record *rec, bool first,
                       struct why *why)
{
    if (rec->cluster != r->log->now.cluster) {
        return why_set(why, ERR_CORRUPT, "cluster id: expected %#llx, found %#llx",
                       (unsigned long long)r->log->now.cluster, (unsigned long long)rec->cluster);
    }
    if (rec->index != r->index) {
        return why_set(why, ERR_CORRUPT, "record index: expected %llu, found %llu",
                       (unsigned long long)r->index, (unsigned long long)rec->index);
    }
    if (rec->prev_chain != r->chain) {
        return why_set(why, ERR_CORRUPT, "chain before record %llu: expected %#llx, found %#llx",
                       (unsigned long long)r->index, (unsigned long long)r->chain,
                       (unsigned long long)rec->prev_chain);
    }
    if (rec->epoch < r->epoch) {
        return why_set(why, ERR_CORRUPT, "epoch of record %llu: expected at least %u, found %u",
                       (unsigned long long)r->index, r->epoch, rec->epoch);
    }
    if (((rec->batch_flags & RECORD_FIRST_OF_BATCH) != 0) != first) {
        return why_set(why, ERR_CORRUPT, "record %llu: expected %s of a batch",
                       (unsigned long long)r->index, first ? "the first" : "a later one");
    }
    return 0;
}

/* Puts the file and offset before the sentence in why. */
static int at_offset(const struct segment_reader *r, uint32_t batch_offset, struct why *why)
{
    char text[sizeof(why->text)];
    memcpy(text, why->text, sizeof(text));
    return why_set(
        why, ERR_CORRUPT, "%s at %llu: %.400s", r->path,
        (unsigned long long)segment_unit_offset(r->segment->bytes, r->unit) + batch_offset, text);
}

static int parse_batch(struct segment_reader *r, struct bytes in, struct batch_view *out,
                       struct why *why)
{
    struct segment_reader ahead = *r; /* taken over only if the whole batch is good */
    uint32_t at = 0;
    for (bool last = false; !last;) {
        struct record rec;
        bool header_good;
        int rc = record_decode(bytes_of(in.data + at, in.len - at), &rec, &header_good, why);
        if (rc == -EAGAIN) {
            rc = why_set(why, ERR_CORRUPT, "record %llu does not fit into what is left",
                         (unsigned long long)ahead.index);
        }
        if (rc == 0) {
            rc = check_order(&ahead, &rec, at == 0, why);
        }
        if (rc < 0) {
            return at_offset(r, at, why);
        }
        at += record_size(&rec);
        last = (rec.batch_flags & RECORD_LAST_OF_BATCH) != 0;
        ahead.index++;
        ahead.chain = rec.chain;
        ahead.epoch = rec.epoch;
    }
    *out = (struct batch_view){.unit = r->unit,
                               .units = units_of(at),
                               .records = bytes_of(in.data, at),
                               .count = (uint32_t)(ahead.index - r->index)};
    r->index = ahead.index;
    r->chain = ahead.chain;
    r->epoch = ahead.epoch;
    r->unit += out->units;
    return 1;
}

bool segment_reader_peek(struct segment_reader *r, struct record *out)
{
    struct bytes in;
    struct why ignored;
    bool header_good;
    return fill_window(r, &in, &ignored) == 0 &&
           (record_decode(in, out, &header_good, &ignored) == 0 || header_good) &&
           out->cluster == r->log->now.cluster;
}

int segment_reader_next(struct segment_reader *r, struct batch_view *out, struct why *why)
{
    struct bytes in;
    if (r->unit >= segment_units(r->segment->bytes)) {
        return 0;
    }
    int rc = fill_window(r, &in, why);
    if (rc < 0) {
        return rc;
    }
    if (bytes_are_zero(in.data, UNIT_BYTES)) {
        return 0;
    }
    return parse_batch(r, in, out, why);
}
