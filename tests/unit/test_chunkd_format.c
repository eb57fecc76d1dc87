/* test_chunkd_format.c - bytes of label, meta log and intent ring; the meta log's batches, torn
 * tails and compaction. */
#include "chunkd/core/disk_health.h"
#include "chunkd/core/intent_ring.h"
#include "chunkd/core/label.h"
#include "chunkd/core/meta_file.h"
#include "chunkd/core/meta_log.h"
#include "chunkd/core/replica_table.h"
#include "shared/base/bytes.h"
#include "tests/sim/sim_env.h"
#include "tests/unit/dir_env.h"
#include "tests/unit/unit.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

Suite *suite_chunkd_format(void);

/* What these programs wrote when the formats were fixed. */
#define GOLDEN_LABEL                                                                               \
    "4746534c010000000300000000000000887766554433221199000000000000000700000005000000"             \
    "01020300000000000000000000000000000000040000010001000000686f6d650000000000000000"             \
    "00000000000000000000000000000000000000000000000000000000000000000000000000000000"             \
    "00000000000000000000000000000000ca46cb471090d664"
#define GOLDEN_REPLICA                                                                             \
    "6de8a75d4a2c1f4b6800000001000000090000000000000008000000000000003412000000000000"             \
    "2a000000000000000300000000000000060000000500000002000000040000001100000000000000"             \
    "1000000000000000a0860100030000000300000000000000"
#define GOLDEN_SUMS                                                                                \
    "df2c3b96529979e15000000002000000090000000000000008000000000000003412000000000000"             \
    "1200000000000000400d030001000000030000000000000011111111222222223333333300000000"
#define GOLDEN_BAD                                                                                 \
    "87c7553156bb77433000000003000000090000000000000008000000000000003412000000000000"             \
    "0200000000000000"
#define GOLDEN_DROP                                                                                \
    "0af4ef561017811e2800000004000000090000000000000008000000000000003412000000000000"
#define GOLDEN_RESERVED                                                                            \
    "25623d4a187111c13000000006000000090000000000000008000000000000003412000000000000"             \
    "0010000000000100"
#define GOLDEN_META_HEADER "4746534d010000000600000000000000000000000000000094a93aa361a6de01"
#define GOLDEN_INTENT                                                                              \
    "011000000000000034120000000000000600000005000000110000000000000003000000aaaaaaaa"             \
    "bbbbbbbb64000000c800000000000000497058a4f30d4f68"

static void expect_hex(const uint8_t *bytes, size_t n, const char *want)
{
    char text[1024];
    ck_assert_uint_lt(2 * n, sizeof(text));
    for (size_t i = 0; i < n; i++) {
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    }
    ck_assert_str_eq(text, want);
}

/* ---------------------------------------------------------------- golden bytes */

START_TEST(label_bytes)
{
    struct label l = {.sequence = 3,
                      .disk = 0x1122334455667788,
                      .cluster = 0x99,
                      .server = 7,
                      .epoch = 5,
                      .incarnation = {1, 2, 3},
                      .chunk_bytes = 64 << 20,
                      .block_bytes = 64 << 10,
                      .clean = 1,
                      .name = "home"};
    uint8_t out[LABEL_SLOT_BYTES];
    label_encode(&l, out);
    expect_hex(out, sizeof(out), GOLDEN_LABEL);
    struct label back;
    ck_assert_int_eq(label_decode(&back, out), 0);
    ck_assert_uint_eq(back.disk, l.disk);
    ck_assert_uint_eq(back.epoch, 5);
    ck_assert_str_eq(back.name, "home");
    ck_assert_uint_eq(back.clean, 1);
    for (size_t i = 0; i < sizeof(out); i++) {
        out[i] ^= 0x10;
        ck_assert_int_ne(label_decode(&back, out), 0);
        out[i] ^= 0x10;
    }
    out[4] = 2;
    ck_assert_int_eq(label_decode(&back, out), -EPROTONOSUPPORT);
    memset(out, 0, sizeof(out));
    ck_assert_int_eq(label_decode(&back, out), -ENOENT);
}
END_TEST

static void check_record(const struct meta_record *r, const char *want)
{
    uint8_t out[META_RECORD_MAX];
    struct meta_record back;
    uint64_t sequence, durable;
    uint32_t n = meta_record_size(r);
    meta_record_encode(r, 9, 8, out);
    expect_hex(out, n, want);
    ck_assert_int_eq(meta_record_decode(&back, &sequence, &durable, out, n), (int)n);
    ck_assert_uint_eq(sequence, 9);
    ck_assert_uint_eq(durable, 8);
    ck_assert_uint_eq(back.handle, r->handle);
    ck_assert_uint_eq(back.mutation, r->mutation);
    ck_assert_uint_eq(back.length, r->length);
    ck_assert_uint_eq(back.count, r->count);
    ck_assert_uint_eq(back.flags, r->flags);
    for (uint32_t cut = 0; cut < n; cut++) {
        ck_assert_int_eq(meta_record_decode(&back, &sequence, &durable, out, cut), ERR_CORRUPT);
        out[cut] ^= 1;
        ck_assert_int_eq(meta_record_decode(&back, &sequence, &durable, out, n), ERR_CORRUPT);
        out[cut] ^= 1;
    }
}

START_TEST(meta_record_bytes)
{
    uint32_t sums[3] = {0x11111111, 0x22222222, 0x33333333};
    struct meta_record replica = {.type = META_REPLICA,
                                  .handle = 0x1234,
                                  .ino = 42,
                                  .number = 3,
                                  .version = 5ull << 32 | 6,
                                  .previous = 4ull << 32 | 2,
                                  .mutation = 17,
                                  .previous_mutation = 16,
                                  .length = 100000,
                                  .state = REPLICA_SUSPECT,
                                  .flags = META_ACTIVE | META_DIRTY};
    struct meta_record some = {.type = META_SUMS,
                               .handle = 0x1234,
                               .mutation = 18,
                               .length = 200000,
                               .first = 1,
                               .count = 3,
                               .sums = sums};
    struct meta_record bad = {.type = META_BAD, .handle = 0x1234, .block = 2};
    struct meta_record drop = {.type = META_DROP, .handle = 0x1234};
    check_record(&replica, GOLDEN_REPLICA);
    check_record(&some, GOLDEN_SUMS);
    check_record(&bad, GOLDEN_BAD);
    check_record(&drop, GOLDEN_DROP);
    struct meta_record reserved = {
        .type = META_RESERVED, .handle = 0x1234, .from = 4096, .end = 65536};
    check_record(&reserved, GOLDEN_RESERVED);
    uint8_t head[META_FILE_HEADER_BYTES];
    meta_file_header_encode(6, head);
    expect_hex(head, sizeof(head), GOLDEN_META_HEADER);
    ck_assert_int_eq(meta_file_header_decode(6, head), 0);
    ck_assert_int_eq(meta_file_header_decode(7, head), ERR_CORRUPT);
}
END_TEST

/* What was zero in the first disks means what it meant: not known, well. */
START_TEST(fields_that_came_later)
{
    uint8_t out[META_REPLICA_BYTES];
    struct meta_record r = {.type = META_REPLICA, .handle = 1, .state = REPLICA_OK}, back;
    uint64_t sequence, durable;
    r.verified_s = 0xf1020304;
    meta_record_encode(&r, 1, 0, out);
    ck_assert_mem_eq(out + META_REPLICA_BYTES - 4, "\x04\x03\x02\xf1", 4);
    ck_assert_int_gt(meta_record_decode(&back, &sequence, &durable, out, sizeof(out)), 0);
    ck_assert_uint_eq(back.verified_s, r.verified_s);
    struct label l = {.failing = DISK_IO_ERRORS, .name = "home"}, other;
    uint8_t slot[LABEL_SLOT_BYTES];
    label_encode(&l, slot);
    ck_assert_mem_eq(slot + 132, "\2\0\0\0", 4);
    ck_assert_int_eq(label_decode(&other, slot), 0);
    ck_assert_uint_eq(other.failing, DISK_IO_ERRORS);
}
END_TEST

START_TEST(intent_bytes)
{
    struct intent e = {.sequence = 4097,
                       .handle = 0x1234,
                       .version = 5ull << 32 | 6,
                       .mutation = 17,
                       .block = 3,
                       .old_sum = 0xaaaaaaaa,
                       .new_sum = 0xbbbbbbbb,
                       .old_length = 100,
                       .new_length = 200};
    uint8_t out[INTENT_ENTRY_BYTES];
    struct intent back;
    intent_encode(&e, 77, out);
    expect_hex(out, sizeof(out), GOLDEN_INTENT);
    ck_assert(intent_decode(&back, 77, out));
    ck_assert_mem_eq(&back, &e, sizeof(e));
    ck_assert(!intent_decode(&back, 78, out)); /* of another disk */
    out[20] ^= 1;
    ck_assert(!intent_decode(&back, 77, out));
}
END_TEST

/* ---------------------------------------------------------------- intent ring */

START_TEST(held_intents_are_not_overwritten)
{
    struct intent_ring ring = {.map = calloc(1, INTENT_RING_BYTES), .disk = 1};
    struct intent_hold hold, later;
    list_init(&ring.holds);
    ck_assert(!intent_ring_has_room(&ring, 1)); /* what the last process left is still needed */
    intent_ring_clear(&ring);
    intent_ring_hold(&ring, &hold);
    intent_ring_put(&ring, &(struct intent){.handle = 1});
    intent_ring_hold(&ring, &later);
    for (uint32_t i = 1; i < INTENT_ENTRIES; i++) {
        intent_ring_put(&ring, &(struct intent){.handle = 2});
    }
    ck_assert(!intent_ring_has_room(&ring, 1));
    ck_assert_uint_eq(intent_ring_settled(&ring), 0);
    intent_ring_unhold(&hold);
    ck_assert_uint_eq(intent_ring_settled(&ring), 1);
    ck_assert(!intent_ring_has_room(&ring, 1)); /* its sums are not logged */
    intent_ring_release(&ring, intent_ring_settled(&ring));
    ck_assert(intent_ring_has_room(&ring, 1));
    ck_assert(!intent_ring_has_room(&ring, 2));
    struct intent *all = calloc(INTENT_ENTRIES, sizeof(*all));
    bool whole;
    ck_assert_uint_eq(intent_ring_load(&ring, all, &whole), INTENT_ENTRIES);
    ck_assert(whole);
    free(all);
    free(ring.map);
}
END_TEST

/* Entries that are gone are noticed, wherever they were, also before all places were used and after. */
START_TEST(lost_intents_are_noticed)
{
    struct intent_ring ring = {.map = calloc(1, INTENT_RING_BYTES), .disk = 1};
    struct intent *all = calloc(INTENT_ENTRIES, sizeof(*all));
    uint8_t *kept = malloc(INTENT_RING_BYTES);
    uint32_t used[] = {0, 1, 10, INTENT_ENTRIES - 1, INTENT_ENTRIES, INTENT_ENTRIES + 5};
    bool whole;
    (void)intent_ring_load(&ring, all, &whole);
    ck_assert(!whole); /* a new file */
    list_init(&ring.holds);
    intent_ring_clear(&ring);
    for (uint32_t n = 0, i = 0; i < COUNT_OF(used); i++) {
        for (; n < used[i]; n++) {
            intent_ring_put(&ring, &(struct intent){.handle = 2});
            intent_ring_release(&ring, n + 1);
        }
        ck_assert_uint_eq(intent_ring_load(&ring, all, &whole), MIN(n, INTENT_ENTRIES + 0u));
        ck_assert(whole);
        memcpy(kept, ring.map, INTENT_RING_BYTES);
        for (uint32_t lost = n > INTENT_ENTRIES ? n - INTENT_ENTRIES + 1 : 1; lost <= n;
             lost += 1 + n / 7) {
            memset(ring.map + lost % INTENT_ENTRIES * INTENT_ENTRY_BYTES, 0, INTENT_ENTRY_BYTES);
            (void)intent_ring_load(&ring, all, &whole);
            ck_assert(!whole);
            memcpy(ring.map, kept, INTENT_RING_BYTES);
        }
        ring.map[INTENT_RING_BYTES - 9] ^= 1;
        (void)intent_ring_load(&ring, all, &whole);
        ck_assert(!whole);
        memcpy(ring.map, kept, INTENT_RING_BYTES);
    }
    free(kept);
    free(all);
    free(ring.map);
}
END_TEST

/* ---------------------------------------------------------------- meta log */

struct fixture {
    struct dir_env *d;
    struct meta_log log;
    struct table table;
    struct aside aside;
    struct intent_ring ring;
    struct disk_health health;
};

static bool snapshot(void *owner)
{
    return table_snapshot(&((struct fixture *)owner)->table);
}

static void written(void *owner, uint64_t ticket)
{
    (void)owner;
    (void)ticket;
}

static void failed(void *owner, int err)
{
    (void)owner;
    (void)err;
}

static void turned(void *owner)
{
    (void)owner;
}

static const struct meta_log_events events = {snapshot, written, failed};

static void open_fixture(struct fixture *f, struct dir_env *d)
{
    memset(f, 0, sizeof(*f));
    f->d = d;
    meta_log_init(&f->log, &d->env, &events, f);
    aside_init(&f->aside, &d->env, &f->log);
    table_init(&f->table, &d->env, &f->log, &f->ring, &f->aside,
               &(struct chunkd_limits){.open_files = 8, .tails = 8});
    disk_health_init(&f->health, &d->env, turned, f);
    f->table.health = &f->health;
    list_init(&f->ring.holds);
    table_set_geometry(&f->table, 1 << 20, 4096);
}

static void close_fixture(struct fixture *f)
{
    struct env_file *files[2] = {f->log.now.file, f->log.next.file};
    for (int i = 0; i < 2; i++) {
        if (files[i] != NULL) {
            env_file_close(&f->d->env, files[i]);
        }
    }
    table_close(&f->table);
    aside_close(&f->aside);
    meta_log_close(&f->log);
}

static uint64_t loaded_count;

static int count_record(void *owner, const struct meta_record *r)
{
    struct fixture *f = owner;
    loaded_count++;
    struct local_replica *one = table_get(&f->table, r->handle);
    if (r->type == META_DROP) {
        if (one != NULL) {
            table_forget(one);
        }
        return 0;
    }
    if (one == NULL) {
        one = table_add(&f->table, r->handle);
    }
    one->mutation = r->mutation;
    if (r->type == META_REPLICA || r->type == META_SUMS) {
        replica_set_length(one, r->length);
    }
    if (r->type == META_SUMS) {
        for (uint32_t i = 0; i < r->count; i++) {
            one->sums[r->first + i] = (uint32_t)get_le(r->sums_raw + 4 * i, 4);
        }
    }
    return 0;
}

static uint64_t state_of(struct fixture *f)
{
    uint64_t n, h = 0;
    uint64_t *handles = table_handles(&f->table, &n);
    for (uint64_t i = 0; i < n; i++) {
        struct local_replica *r = table_get(&f->table, handles[i]);
        uint64_t row[3] = {r->handle, r->mutation, replica_digest(r)};
        h = hash64_seed(row, sizeof(row), h);
    }
    free(handles);
    return h;
}

static int reload(struct fixture *f, struct dir_env *d, uint32_t clean, struct why *why)
{
    open_fixture(f, d);
    loaded_count = 0;
    return meta_log_open(&f->log, clean, count_record, why);
}

static struct dir_env *dir_with_log(struct fixture *f)
{
    struct why why;
    struct dir_env *d = dir_env_new();
    open_fixture(f, d);
    ck_assert_int_eq(env_make_dir(&d->env, "meta"), 0);
    ck_assert_int_eq(meta_log_create(&f->log, &why), 0);
    f->log.serving = true;
    return d;
}

static struct local_replica *add_replica(struct fixture *f, uint64_t handle, uint32_t length)
{
    struct local_replica *r = table_add(&f->table, handle);
    replica_set_length(r, length);
    for (uint32_t b = 0; b < replica_blocks(r); b++) {
        r->sums[b] = (uint32_t)handle * 31 + b;
    }
    replica_log_head(r);
    replica_note_unlogged(r, 0, replica_blocks(r));
    replica_log_sums(r);
    return r;
}

static int waits_done;

static void count_wait(struct meta_wait *w)
{
    (void)w;
    waits_done++;
}

START_TEST(one_sync_serves_all_who_wait)
{
    struct fixture f;
    struct dir_env *d = dir_with_log(&f);
    struct meta_wait waits[100];
    waits_done = 0;
    add_replica(&f, 1, 5000);
    waits[0].done = count_wait;
    meta_log_wait(&f.log, &waits[0], true); /* its batch leaves at once */
    uint64_t before = d->ops_done;
    for (int i = 1; i < 100; i++) {
        add_replica(&f, (uint64_t)i + 10, 5000);
        waits[i].done = count_wait;
        meta_log_wait(&f.log, &waits[i], i % 2);
    }
    ck_assert_int_eq(waits_done, 0);
    dir_env_pump(d);
    ck_assert_int_eq(waits_done, 100);
    ck_assert_uint_le(d->ops_done - before, 2);
    /* Nothing new: no operation, and still a turn of the loop later. */
    before = d->ops_done;
    meta_log_wait(&f.log, &waits[0], true);
    ck_assert_int_eq(waits_done, 100);
    dir_env_pump(d);
    ck_assert_int_eq(waits_done, 101);
    ck_assert_uint_eq(d->ops_done, before);
    close_fixture(&f);
    dir_env_free(d);
}
END_TEST

START_TEST(want_of_space_is_waited_out)
{
    struct fixture f;
    struct dir_env *d = dir_with_log(&f);
    struct meta_wait wait = {.done = count_wait};
    waits_done = 0;
    add_replica(&f, 1, 5000);
    d->fail_at = d->ops_done + 1;
    d->fail_error = -ENOSPC;
    meta_log_wait(&f.log, &wait, true);
    for (int i = 0; i < 10 && waits_done == 0; i++) {
        dir_env_advance(d, 100 * NS_PER_MS);
    }
    ck_assert_int_eq(waits_done, 1);
    uint64_t state = state_of(&f);
    close_fixture(&f);
    struct why why;
    ck_assert_int_eq(reload(&f, d, true, &why), 0);
    ck_assert_uint_eq(state_of(&f), state);
    close_fixture(&f);
    dir_env_free(d);
}
END_TEST

/* Cut at every byte: after a kill everything before the cut record is there; after a clean stop it
 * is damage, also if the cut is between records. */
START_TEST(torn_tail_at_every_byte)
{
    struct fixture f;
    struct dir_env *d = dir_with_log(&f);
    uint64_t ends[8], states[8];
    for (uint64_t i = 0; i < 8; i++) {
        struct meta_wait wait = {.done = count_wait};
        add_replica(&f, 100 + i, 5000);
        meta_log_wait(&f.log, &wait, false);
        dir_env_pump(d);
        ends[i] = f.log.now.size;
        states[i] = f.table.count;
    }
    char path[512];
    snprintf(path, sizeof(path), "%s", dir_env_path(d, "meta/0000000000000001"));
    uint32_t stopped = (uint32_t)f.log.now.sequence + 1;
    close_fixture(&f);
    static uint8_t bytes[16384];
    FILE *file = fopen(path, "rb");
    size_t size = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    ck_assert_uint_eq(size, ends[7]);
    for (size_t cut = META_FILE_HEADER_BYTES; cut <= size; cut++) {
        struct why why;
        for (int clean = 0; clean < 2; clean++) {
            file = fopen(path, "wb");
            ck_assert_uint_eq(fwrite(bytes, 1, cut, file), cut);
            fclose(file);
            int err = reload(&f, d, clean ? stopped : 0, &why);
            ck_assert(!clean || (err == 0) == (cut == size));
            if (err == 0) {
                uint64_t whole = 0;
                for (int i = 0; i < 8 && ends[i] <= cut; i++) {
                    whole = states[i];
                }
                ck_assert_uint_ge(f.table.count, whole);
                ck_assert_uint_le(f.table.count, whole + 1);
            } else {
                ck_assert_int_eq(err, ERR_CORRUPT);
                ck_assert(clean);
                ck_assert_ptr_nonnull(strstr(why.text, "offset"));
            }
            close_fixture(&f);
        }
    }
    dir_env_free(d);
}
END_TEST

/* A damaged record before one that says it was durable is damage, whatever ended the process. */
START_TEST(damage_before_the_durable_mark)
{
    struct fixture f;
    struct dir_env *d = dir_with_log(&f);
    struct why why;
    for (uint64_t i = 0; i < 8; i++) {
        struct meta_wait wait = {.done = count_wait};
        add_replica(&f, 100 + i, 5000);
        meta_log_wait(&f.log, &wait, true);
        dir_env_pump(d);
    }
    char path[512];
    snprintf(path, sizeof(path), "%s", dir_env_path(d, "meta/0000000000000001"));
    close_fixture(&f);
    FILE *file = fopen(path, "r+b");
    fseek(file, 200, SEEK_SET);
    fputc(0xee, file);
    fclose(file);
    ck_assert_int_eq(reload(&f, d, false, &why), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(why.text, "damaged at offset"));
    close_fixture(&f);
    dir_env_free(d);
}
END_TEST

START_TEST(compaction_keeps_the_table_while_it_changes)
{
    struct fixture f;
    struct dir_env *d = dir_with_log(&f);
    struct meta_wait waits[64];
    f.log.compact_min_bytes = 1 << 20;
    for (uint64_t h = 1; h <= 2000; h++) {
        add_replica(&f, h * 7919, 1 << 20);
    }
    for (int round = 0; round < 8; round++) {
        for (uint64_t h = 1; h <= 2000; h++) {
            struct local_replica *r = table_get(&f.table, h * 7919);
            r->sums[round] ^= 0x5a5a5a5a;
            r->mutation++;
            replica_note_unlogged(r, 0, replica_blocks(r));
            replica_log_sums(r);
        }
        meta_log_kick(&f.log);
        dir_env_pump(d);
    }
    uint64_t large = f.log.now.size;
    ck_assert_uint_gt(large, 4 * table_live_bytes(&f.table));
    meta_log_consider_compaction(&f.log, table_live_bytes(&f.table));
    ck_assert_uint_ne(meta_log_next_number(&f.log), 0);
    /* Changes of what was copied, of what was not, new ones and drops, between its steps. */
    waits_done = 0;
    for (int i = 0; i < 64; i++) {
        uint64_t h = 7919 * (uint64_t)(1 + i * 31);
        struct local_replica *r = table_get(&f.table, h);
        r->sums[9] = (uint32_t)i;
        r->mutation += 3;
        replica_note_unlogged(r, 9, 10);
        replica_log_sums(r);
        add_replica(&f, 1 + (uint64_t)i, 5000);
        struct local_replica *gone = table_get(&f.table, h + 7919);
        replica_log_drop(gone);
        table_forget(gone);
        waits[i].done = count_wait;
        meta_log_wait(&f.log, &waits[i], i % 2);
        dir_env_step(d);
    }
    dir_env_pump(d);
    ck_assert_int_eq(waits_done, 64);
    ck_assert_uint_eq(f.log.now.number, 2);
    ck_assert_uint_lt(f.log.now.size, large / 3);
    add_replica(&f, 5000000, 100);
    meta_log_kick(&f.log);
    dir_env_pump(d);
    ck_assert(meta_log_idle(&f.log));
    uint64_t state = state_of(&f);
    uint64_t count = f.table.count;
    close_fixture(&f);
    struct why why;
    ck_assert_int_eq(reload(&f, d, true, &why), 0);
    ck_assert_uint_eq(f.table.count, count);
    ck_assert_uint_eq(state_of(&f), state);
    ck_assert_int_eq(access(dir_env_path(d, "meta/0000000000000001"), F_OK), -1);
    close_fixture(&f);
    dir_env_free(d);
}
END_TEST

/* The process ends after any number of steps of a compaction: nothing that was durable is lost. */
START_TEST(compaction_cut_short_loses_nothing)
{
    struct fixture f;
    struct dir_env *d = dir_with_log(&f);
    struct meta_wait wait = {.done = count_wait};
    f.log.compact_min_bytes = 64 << 10;
    for (uint64_t h = 1; h <= 100; h++) {
        for (int i = 0; i < 8; i++) {
            if (i == 0) {
                add_replica(&f, h, 1 << 20);
            }
            replica_note_unlogged(table_get(&f.table, h), 0, 256);
            replica_log_sums(table_get(&f.table, h));
        }
    }
    meta_log_wait(&f.log, &wait, true);
    dir_env_pump(d);
    uint64_t state = state_of(&f);
    meta_log_consider_compaction(&f.log, table_live_bytes(&f.table));
    ck_assert_uint_ne(meta_log_next_number(&f.log), 0);
    for (int i = 0; i < _i; i++) {
        dir_env_step(d);
    }
    dir_env_forget(d);
    close_fixture(&f);
    struct why why;
    ck_assert_int_eq(reload(&f, d, false, &why), 0);
    ck_assert_uint_eq(state_of(&f), state);
    close_fixture(&f);
    dir_env_free(d);
}
END_TEST

/* The process was killed when the new file had its name, but the name was not durable yet. What the next
 * process adds to it is durable, so the name has to be, too. */
START_TEST(name_of_the_last_process_is_made_durable)
{
    uint8_t head[META_FILE_HEADER_BYTES];
    struct sim *sim = sim_create((uint64_t)_i);
    struct sim_process *p = sim_process_create(sim, "chunkd");
    struct meta_log log;
    struct env_file *file;
    struct why why;
    sim_process_start(p);
    meta_log_init(&log, &p->env, &events, NULL);
    MUST(env_make_dir(&p->env, "meta") == 0 && env_sync_dir(&p->env, "") == 0);
    MUST(meta_log_create(&log, &why) == 0);
    meta_file_header_encode(2, head);
    MUST(env_file_open(&p->env, "meta/tmp", ENV_OPEN_CREATE, &file) == 0);
    MUST(env_file_write(&p->env, file, 0, head, sizeof(head)) == (int64_t)sizeof(head));
    MUST(env_file_sync(&p->env, file) == 0);
    MUST(env_rename(&p->env, "meta/tmp", "meta/0000000000000002") == 0);
    sim_process_kill(p);
    meta_log_close(&log);

    for (int start = 0; start < 2; start++) { /* before a power cut, and after it */
        sim_process_start(p);
        meta_log_init(&log, &p->env, &events, NULL);
        ck_assert_int_eq(meta_log_open(&log, 0, count_record, &why), 0);
        ck_assert_uint_eq(log.now.number, 2);
        sim_process_power_cut(p);
        meta_log_close(&log);
    }
    sim_process_free(p);
    sim_destroy(sim);
}
END_TEST

Suite *suite_chunkd_format(void)
{
    Suite *s = suite_create("chunkd_format");
    TCase *t = tcase_create("format");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, label_bytes);
    tcase_add_test(t, meta_record_bytes);
    tcase_add_test(t, fields_that_came_later);
    tcase_add_test(t, intent_bytes);
    tcase_add_test(t, held_intents_are_not_overwritten);
    tcase_add_test(t, lost_intents_are_noticed);
    tcase_add_test(t, one_sync_serves_all_who_wait);
    tcase_add_test(t, want_of_space_is_waited_out);
    tcase_add_test(t, torn_tail_at_every_byte);
    tcase_add_test(t, damage_before_the_durable_mark);
    tcase_add_test(t, compaction_keeps_the_table_while_it_changes);
    tcase_add_loop_test(t, compaction_cut_short_loses_nothing, 0, 8);
    tcase_add_loop_test(t, name_of_the_last_process_is_made_durable, 1, 10);
    suite_add_tcase(s, t);
    return s;
}
