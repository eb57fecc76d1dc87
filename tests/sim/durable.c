/* durable.c - after an fsync, what it covered is on the disks. */
#include "tests/sim/durable.h"

#include <stdio.h>
#include <string.h>

enum { CHUNKS_MAX = 8 };

/* A chunk as the log has it; handle 0 = none. */
struct row {
    uint64_t handle, version;
    uint32_t members[REPLICAS_MAX];
    uint32_t count;
};

struct rows {
    struct row row[CHUNKS_MAX];
    uint64_t size; /* of the file */
};

static void set_row(struct row *rows, uint64_t number, uint64_t handle, uint64_t version,
                    struct bytes members)
{
    if (number >= CHUNKS_MAX || handle == 0) {
        return;
    }
    struct row *row = &rows[number];
    struct reader r = reader_of(members);
    *row = (struct row){.handle = handle, .version = version};
    while (!reader_done(&r) && row->count < REPLICAS_MAX) {
        dec_u32(&r, &row->members[row->count++]);
    }
}

static bool is_wanted(uint16_t type)
{
    return type == OP_create || type == OP_chunk_new || type == OP_chunk_version ||
           type == OP_setattr || type == OP_extend;
}

static void take_record(struct rows *all, uint64_t ino, uint64_t chunk_bytes,
                        const struct record *r)
{
    union op_any rec;
    struct row *rows = all->row;
    memset(&rec, 0, sizeof(rec));
    if (!is_wanted(r->type) || op_info_of(r->type)->rec_decode(r->body, &rec) != 0) {
        return;
    }
    if (r->type == OP_create && rec.create_rec.ino == ino) {
        set_row(rows, 0, rec.create_rec.handle, rec.create_rec.version, rec.create_rec.members);
    } else if (r->type == OP_chunk_new && rec.chunk_new_rec.ino == ino) {
        set_row(rows, rec.chunk_new_rec.number, rec.chunk_new_rec.handle, rec.chunk_new_rec.version,
                rec.chunk_new_rec.members);
    } else if (r->type == OP_chunk_version && rec.chunk_version_rec.ino == ino &&
               rec.chunk_version_rec.number < CHUNKS_MAX &&
               rows[rec.chunk_version_rec.number].handle == rec.chunk_version_rec.handle) {
        set_row(rows, rec.chunk_version_rec.number, rec.chunk_version_rec.handle,
                rec.chunk_version_rec.version, rec.chunk_version_rec.members);
    } else if (r->type == OP_setattr && rec.setattr_rec.ino == ino &&
               (rec.setattr_rec.mask & SETATTR_SIZE)) {
        bool shrinks = rec.setattr_rec.size < all->size;
        for (uint64_t n = 0; n < CHUNKS_MAX && shrinks; n++) {
            rows[n].handle = n * chunk_bytes >= rec.setattr_rec.size ? 0 : rows[n].handle;
        }
        all->size = rec.setattr_rec.size;
    } else if (r->type == OP_setattr && rec.setattr_rec.ino == ino &&
               (rec.setattr_rec.mask & SETATTR_EXTEND)) {
        all->size = MAX(all->size, rec.setattr_rec.size);
    } else if (r->type == OP_extend && rec.extend_rec.ino == ino) {
        all->size = MAX(all->size, rec.extend_rec.end);
    }
}

/* Members become numbers of servers. */
static void name_servers(struct world *w, struct rows *rows)
{
    for (uint32_t n = 0; n < CHUNKS_MAX; n++) {
        struct row *row = &rows->row[n];
        for (uint32_t i = 0; i < row->count; i++) {
            row->members[i] = world_chunkd(w, row->members[i]);
        }
    }
}

static void check_unit(struct world *w, const struct row *row, uint64_t ino, uint64_t offset,
                       uint64_t in_chunk, const uint8_t *want, const bool *known)
{
    char path[64];
    snprintf(path, sizeof(path), "chunks/%02x/%016llx", (unsigned)(row->handle & 0xff),
             (unsigned long long)row->handle);
    for (uint32_t i = 0; i < row->count; i++) {
        uint32_t number = row->members[i];
        uint8_t got[UNIT_BYTES];
        if (number == 0 || (number == w->rotten && w->rots)) {
            continue;
        }
        const struct sim_server *s = &w->servers[number];
        if (s->wiped && sim_disk_size(s->process->disk, path) < 0) {
            continue; /* the disk that had it; the log does not know yet */
        }
        sim_disk_durable(s->process->disk, path, in_chunk, got, UNIT_BYTES);
        for (uint32_t k = 0; k < UNIT_BYTES; k++) {
            if (known[k] && got[k] != want[k]) {
                world_fail(w,
                           "inode %llu was synced, and byte %llu of it is not on the disk of %s "
                           "(chunk %llu version %llx)",
                           (unsigned long long)ino, (unsigned long long)offset + k,
                           s->process->name, (unsigned long long)row->handle,
                           (unsigned long long)row->version);
            }
        }
    }
}

void durable_check(struct world *w, uint64_t ino, const struct file_model *model)
{
    struct rows rows = {0};
    uint64_t chunk = w->geo.chunk_bytes;
    for (uint64_t i = 1; i <= log_tap_certain(w->tap); i++) {
        take_record(&rows, ino, chunk, log_tap_record(w->tap, i));
    }
    name_servers(w, &rows);
    for (uint64_t off = 0; off < file_model_size(model) && off / chunk < CHUNKS_MAX;
         off += UNIT_BYTES) {
        uint8_t want[UNIT_BYTES];
        bool known[UNIT_BYTES];
        if (!file_model_synced(model, off / UNIT_BYTES, want, known)) {
            continue;
        }
        const struct row *row = &rows.row[off / chunk];
        if (row->handle == 0) {
            world_fail(w, "inode %llu was synced, and has no chunk at %llu",
                       (unsigned long long)ino, (unsigned long long)off);
        }
        check_unit(w, row, ino, off, off % chunk, want, known);
    }
}
