/* fuzz_meta_log.c - loading a chunkserver's label and meta log from damaged files. Byte 0 of the
 * input: 1 = the last process stopped cleanly; the rest are edits (mem_env.h) of the label and the
 * meta log of a small disk. A sealed edit gets good checksums afterwards.
 *
 * Both load or are refused with a sentence. Records come as they were written, from the first on;
 * after a clean stop all of them or a refusal, unless a checksum hides the damage. A log that
 * loaded goes on.
 */
#include "chunkd/core/disk_health.h"
#include "chunkd/core/meta_file.h"
#include "chunkd/core/recover.h"
#include "shared/base/bytes.h"
#include "shared/base/hash.h"
#include "shared/base/invariant.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mem_env.h"

#include <string.h>

enum { CLEAN = 1, RECORDS_MAX = 64, CHUNK = 1 << 20, BLOCK = 4096, BLOCKS = 20 };

#define META_PATH "meta/0000000000000001"

/* The part of a chunkserver that loads; its table is what the records end in. */
struct disk {
    struct chunkd c;
    uint32_t loaded;
    bool sealed; /* records may be others than were written */
};

static struct mem_env base;
static struct mem_env now;
static uint32_t record_at[RECORDS_MAX + 1]; /* offsets in the meta log, its end behind the last */
static uint32_t record_count;
static const struct meta_log_events events;

static void turned(void *owner)
{
    (void)owner;
}

static void disk_init(struct disk *d, struct mem_env *m)
{
    memset(d, 0, sizeof(*d));
    d->c.env = &m->env;
    list_init(&d->c.ring.holds);
    meta_log_init(&d->c.meta, &m->env, &events, d);
    aside_init(&d->c.aside, &m->env, &d->c.meta);
    table_init(&d->c.table, &m->env, &d->c.meta, &d->c.ring, &d->c.aside,
               &(struct chunkd_limits){.open_files = 8, .tails = 8});
    disk_health_init(&d->c.health, &m->env, turned, d);
    d->c.table.health = &d->c.health;
}

static void disk_close(struct disk *d)
{
    if (d->c.label_file != NULL) {
        env_file_close(d->c.env, d->c.label_file);
    }
    if (d->c.meta.now.file != NULL) {
        env_file_close(d->c.env, d->c.meta.now.file);
    }
    table_close(&d->c.table);
    aside_close(&d->c.aside);
    meta_log_close(&d->c.meta);
}

/* ---------------------------------------------------------------- the valid disk */

static void add(struct disk *d, const struct meta_record *r)
{
    ASSERT(record_count < RECORDS_MAX);
    meta_log_append(&d->c.meta, r, false);
    record_at[record_count + 1] = record_at[record_count] + meta_record_size(r);
    record_count++;
    if (record_count % 5 == 0) {
        ASSERT(meta_log_sync_now(&d->c.meta) == 0);
    }
}

static void add_replica(struct disk *d, uint64_t handle)
{
    uint32_t sums[BLOCKS];
    for (uint32_t i = 0; i < BLOCKS; i++) {
        sums[i] = (uint32_t)handle * 31 + i;
    }
    add(d, &(struct meta_record){.type = META_REPLICA,
                                 .handle = handle,
                                 .ino = 7,
                                 .version = 1ull << 32 | handle,
                                 .length = BLOCKS * BLOCK - 100,
                                 .state = REPLICA_OK,
                                 .flags = META_ACTIVE | META_DIRTY,
                                 .verified_s = (uint32_t)handle * 1000});
    add(d, &(struct meta_record){.type = META_SUMS,
                                 .handle = handle,
                                 .mutation = 3,
                                 .length = BLOCKS * BLOCK,
                                 .count = BLOCKS,
                                 .sums = sums});
}

static void make_base(void)
{
    struct disk d;
    struct why why;
    mem_env_init(&base);
    mem_env_init(&now);
    disk_init(&d, &base);
    record_at[0] = META_FILE_HEADER_BYTES;
    d.c.label = (struct label){.disk = 5, .chunk_bytes = CHUNK, .block_bytes = BLOCK, .name = "f"};
    ASSERT(label_create(&base.env, &d.c.label, &d.c.label_file, &why) == 0);
    ASSERT(label_store(&base.env, d.c.label_file, &d.c.label) == 0);
    ASSERT(meta_log_create(&d.c.meta, &why) == 0);
    for (uint64_t handle = 1; handle <= 12; handle++) {
        add_replica(&d, handle);
        if (handle % 3 == 0) {
            add(&d, &(struct meta_record){.type = META_BAD, .handle = handle, .block = 2});
        }
        if (handle % 5 == 0) {
            add(&d, &(struct meta_record){.type = META_RESERVED, .handle = handle, .end = BLOCK});
        }
        if (handle % 4 == 0) {
            add(&d, &(struct meta_record){.type = META_DROP, .handle = handle - 1});
        }
    }
    ASSERT(meta_log_sync_now(&d.c.meta) == 0);
    disk_close(&d);
    ASSERT(mem_env_find(&base, META_PATH)->size == record_at[record_count]);
}

/* ---------------------------------------------------------------- good checksums for bad bytes */

static void seal(struct mem_file *f, uint64_t off)
{
    if (strcmp(f->path, "label") == 0) {
        uint64_t at = off < LABEL_SLOT_GAP ? 0 : LABEL_SLOT_GAP;
        if (at + LABEL_SLOT_BYTES <= f->size) {
            uint8_t *slot = f->data + at;
            put_le(slot + LABEL_SLOT_BYTES - 8, hash64(slot, LABEL_SLOT_BYTES - 8), 8);
        }
        return;
    }
    if (off < META_FILE_HEADER_BYTES) {
        if (f->size >= META_FILE_HEADER_BYTES) {
            put_le(f->data + 24, hash64(f->data, 24), 8);
        }
        return;
    }
    uint32_t i = 0;
    while (i + 1 < record_count && record_at[i + 1] <= off) {
        i++;
    }
    if (record_at[i] + META_HEADER_BYTES <= f->size) {
        uint8_t *p = f->data + record_at[i];
        uint64_t len = get_le(p + 8, 4);
        if (len >= 8 && len <= f->size - record_at[i]) {
            put_le(p, hash64(p + 8, len - 8), 8);
        }
    }
}

/* ---------------------------------------------------------------- what must hold */

static int check_record(void *owner, const struct meta_record *r)
{
    struct disk *d = owner;
    if (!d->sealed && d->loaded < record_count) {
        struct meta_record want;
        uint64_t sequence, durable;
        uint32_t at = record_at[d->loaded];
        ASSERT(meta_record_decode(&want, &sequence, &durable,
                                  mem_env_find(&base, META_PATH)->data + at,
                                  record_at[d->loaded + 1] - at) > 0);
        ASSERT(sequence == d->loaded + 1);
        ASSERT(r->type == want.type && r->handle == want.handle && r->version == want.version);
        ASSERT(r->length == want.length && r->mutation == want.mutation && r->block == want.block);
        ASSERT(r->count == want.count && r->first == want.first && r->flags == want.flags);
        ASSERT(r->verified_s == want.verified_s);
        ASSERT(r->count == 0 || memcmp(r->sums_raw, want.sums_raw, 4 * r->count) == 0);
    }
    d->loaded++;
    return recover_record(&d->c, r);
}

static int load(struct disk *d, bool clean, bool sealed, struct why *why)
{
    disk_init(d, &now);
    d->sealed = sealed;
    why->text[0] = '\0';
    int err = label_load(&now.env, &d->c.label, &d->c.label_file, why);
    if (err != 0) {
        return err;
    }
    if (d->c.label.block_bytes != 0) {
        table_set_geometry(&d->c.table, d->c.label.chunk_bytes, d->c.label.block_bytes);
    }
    d->c.meta.owner = d;
    return meta_log_open(&d->c.meta, clean, check_record, why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct disk d;
    struct why why;
    if (record_count == 0) {
        make_base();
    }
    if (size < 1) {
        return 0;
    }
    bool clean = data[0] & CLEAN;
    mem_env_copy(&now, &base);
    bool sealed = mem_env_damage(&now, bytes_of(data + 1, size - 1), seal) > 0;
    const struct mem_file *log = mem_env_find(&now, META_PATH);
    bool cut = log != NULL && log->size < record_at[record_count];
    int err = load(&d, clean, sealed, &why);
    if (err != 0) {
        ASSERT(err == ERR_CORRUPT || (err == -ENOENT && mem_env_find(&now, "label") == NULL));
        ASSERT(err == -ENOENT || why.text[0] != '\0');
        disk_close(&d);
        return 0;
    }
    if (d.c.table.block_bytes == 0) { /* a disk that was never registered has no replicas */
        ASSERT(d.loaded == 0);
        disk_close(&d);
        return 0;
    }
    uint32_t loaded = d.loaded;
    ASSERT(sealed || loaded <= record_count);
    ASSERT(sealed || !clean || cut || loaded == record_count);
    meta_log_append(&d.c.meta, &(struct meta_record){.type = META_DROP, .handle = 1000}, false);
    ASSERT(meta_log_sync_now(&d.c.meta) == 0);
    disk_close(&d);
    ASSERT(load(&d, true, true, &why) == 0);
    ASSERT(d.loaded == loaded + 1);
    disk_close(&d);
    return 0;
}

/* ---------------------------------------------------------------- examples */

size_t fuzz_example(uint32_t n, uint8_t *out, size_t cap)
{
    static const uint8_t counts[] = {1, 1, 2, 4, 8, 64, 255};
    uint8_t bytes[255];
    uint32_t mix = (n + 1) * 2246822519u;
    size_t used = 1;
    if (record_count == 0) {
        make_base();
    }
    ASSERT(cap > 1024);
    out[0] = (uint8_t)(n & CLEAN);
    for (uint32_t i = 0; i <= n / 2 % 3; i++) {
        mix = mix * 747796405u + 2891336453u;
        uint32_t file = (mix >> 8) % 4 == 0 ? 0 : 1;
        uint32_t off = (mix >> 9) % 2 * LABEL_SLOT_GAP + (mix >> 10) % 36 * 4;
        if (file == 1) {
            off = record_at[(mix >> 9) % record_count] + (mix >> 18) % 26 * 4;
            off = (mix >> 23) % 16 == 0 ? mix % META_FILE_HEADER_BYTES : off;
        }
        uint8_t flags = (uint8_t)file;
        flags |= (mix >> 12) % 2 == 0 ? MEM_SEAL : 0;
        flags |= (mix >> 16) % 16 == 0 ? MEM_CUT : (mix >> 16) % 64 == 1 ? MEM_REMOVE : 0;
        uint8_t count = counts[(mix >> 20) % COUNT_OF(counts)];
        memset(bytes, mix >> 27 & 1 ? 0 : (int)(mix >> 4 & 0xff), sizeof(bytes));
        used += mem_edit_encode(flags, off, bytes, count, out + used, cap - used);
    }
    return used;
}
