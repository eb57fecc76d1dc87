/* checkpoint.c - making, listing and verifying checkpoints.
 *
 * Format of `ckpt-<index>.sum`, little endian:
 *   off size field
 *     0   4  magic "GCKP"
 *     4   4  format 2, of the rows, too (1: directory entries had other cookies)
 *     8   8  index
 *    16   8  chain: H(index)
 *    24   8  hash of the rows
 *    32   4  epoch
 *    36   4  number of sums n
 *    40   8  bytes of the .mdb file
 *    48   8  cluster id
 *    56 8*n  XXH3-64 of each MiB of the .mdb file, the last one shorter
 *   end   8  XXH3-64 of everything before
 *
 * Steps: copy the snapshot into ckpt.tmp (worker, in slices), sync it, read it back and hash it, write and
 * sync sum.tmp, rename both, sync the directory; only then older ones go.
 */
#include "master/core/checkpoint.h"
#include "shared/base/hash.h"
#include "shared/base/mem.h"

#include <stdio.h>

enum {
    SUM_MAGIC = 0x504b4347, /* "GCKP" */
    SUM_FORMAT = 2,
    SUM_HEADER_BYTES = 56,
    SUM_COUNT_MAX = 1 << 20, /* of a file of 1 TiB, the largest map */
    STEP_BYTES = 1 << 20,
    PATH_BYTES = 64,
    SLICES_PER_S = 32,
    SLICE_BYTES_MIN = 16 << 10,
    SLICE_BYTES_MAX = 4 << 20,
};

#define COPY_TMP CHECKPOINT_DIR "/ckpt.tmp"
#define SUM_TMP  CHECKPOINT_DIR "/sum.tmp"

struct checkpoint {
    struct env *env;
    struct store *store;
    struct oplog *log;
    /* Newest first; behind them those that are newer than the state was at the start: it could not be
     * built from them, so nothing counts on them, and they are the first to go. */
    struct checkpoint_ref kept[CHECKPOINTS_LISTED_MAX + 1];
    uint32_t usable, kept_count; /* without those behind, and with them */

    bool running;
    struct checkpoint_ref making;
    struct store_copy *copy;
    struct env_work work;
    struct env_timer pause; /* between slices of the copy */
    uint64_t rate;          /* bytes of the copy per second */
    uint64_t copy_began_ns;
    struct disk_op op;
    struct env_file *file; /* ckpt.tmp while it is hashed, then sum.tmp */
    uint8_t *window;       /* STEP_BYTES */
    uint8_t *sums;         /* the .sum file being built */
    uint32_t sum_count;
    uint64_t hashed;
    char path[PATH_BYTES];
    checkpoint_done done;
    void *owner;
};

const char *checkpoint_sum_path(uint64_t index, char *out, uint32_t size)
{
    snprintf(out, size, CHECKPOINT_DIR "/ckpt-%020llu.sum", (unsigned long long)index);
    return out;
}

const char *checkpoint_path(uint64_t index, char *out, uint32_t size)
{
    snprintf(out, size, CHECKPOINT_DIR "/ckpt-%020llu.mdb", (unsigned long long)index);
    return out;
}

static uint32_t sums_of(uint64_t bytes)
{
    return (uint32_t)((bytes + STEP_BYTES - 1) / STEP_BYTES);
}

static uint32_t sum_file_bytes(uint32_t count)
{
    return SUM_HEADER_BYTES + count * 8 + 8;
}

/* ---------------------------------------------------------------- the .sum file */

/* Fills in the header and the sum over all; the sums of the file are in place. */
static void sum_seal(const struct checkpoint_ref *r, uint8_t *out)
{
    uint32_t count = sums_of(r->bytes);
    uint32_t end = SUM_HEADER_BYTES + count * 8;
    put_le(out, SUM_MAGIC, 4);
    put_le(out + 4, SUM_FORMAT, 4);
    put_le(out + 8, r->at.index, 8);
    put_le(out + 16, r->at.chain, 8);
    put_le(out + 24, r->at.hash, 8);
    put_le(out + 32, r->at.epoch, 4);
    put_le(out + 36, count, 4);
    put_le(out + 40, r->bytes, 8);
    put_le(out + 48, r->cluster, 8);
    put_le(out + end, hash64(out, end), 8);
}

/* Format of a .sum file that is whole; 0: it is not. */
static uint32_t sum_format(const uint8_t *in, uint64_t len)
{
    bool whole = len >= SUM_HEADER_BYTES + 8 && get_le(in, 4) == SUM_MAGIC &&
                 get_le(in + len - 8, 8) == hash64(in, len - 8);
    return whole ? (uint32_t)get_le(in + 4, 4) : 0;
}

static bool sum_parse(const uint8_t *in, uint64_t len, struct checkpoint_ref *out)
{
    if (sum_format(in, len) != SUM_FORMAT) {
        return false;
    }
    uint64_t count = get_le(in + 36, 4);
    uint64_t bytes = get_le(in + 40, 8);
    if (count > SUM_COUNT_MAX || len != sum_file_bytes((uint32_t)count) ||
        bytes > (uint64_t)SUM_COUNT_MAX * STEP_BYTES || sums_of(bytes) != count) {
        return false;
    }
    *out = (struct checkpoint_ref){.at = {.index = get_le(in + 8, 8),
                                          .epoch = (uint32_t)get_le(in + 32, 4),
                                          .chain = get_le(in + 16, 8),
                                          .hash = get_le(in + 24, 8)},
                                   .cluster = get_le(in + 48, 8),
                                   .bytes = bytes};
    return true;
}

/* Reads a whole .sum file: 0 and *out_bytes (freed by the caller); ERR_CORRUPT; ERR_FORMAT; negative
 * errno. */
static int sum_read(struct env *env, const char *path, struct checkpoint_ref *out,
                    uint8_t **out_bytes, struct why *why)
{
    struct env_file *f;
    int rc = env_file_open(env, path, ENV_OPEN_READ_ONLY, &f);
    if (rc < 0) {
        return why_set(why, rc, "cannot open %s: %s", path, err_text(rc));
    }
    int64_t size = env_file_size(env, f);
    uint8_t *in = NULL;
    if (size >= 0 && size <= sum_file_bytes(SUM_COUNT_MAX)) {
        in = mem_alloc((size_t)size);
        size = env_file_read(env, f, 0, in, (uint32_t)size);
    }
    env_file_close(env, f);
    if (size < 0) {
        rc = why_set(why, (int)size, "cannot read %s: %s", path, err_text((int)size));
    } else {
        uint32_t format = in != NULL ? sum_format(in, (uint64_t)size) : 0;
        if (format != 0 && format != SUM_FORMAT) {
            rc = why_set(why, ERR_FORMAT, "%s: this program knows format %d, found %u", path,
                         SUM_FORMAT, format);
        } else if (format == 0 || !sum_parse(in, (uint64_t)size, out)) {
            rc = why_set(why, ERR_CORRUPT, "%s is no whole checksum file", path);
        }
    }
    if (rc < 0) {
        mem_free(in);
        return rc;
    }
    *out_bytes = in;
    return 0;
}

/* ---------------------------------------------------------------- listing and verifying */

/* Names found in the directory: indices with a .mdb or .sum. */
struct listing {
    uint64_t index[CHECKPOINTS_LISTED_MAX * 2];
    uint32_t count;
};

/* "ckpt-<20 digits>.mdb" or ".sum". */
static bool index_of_name(const char *name, uint64_t *out)
{
    enum { PREFIX = 5, DIGITS = 20 };
    if (strlen(name) != PREFIX + DIGITS + 4 || strncmp(name, "ckpt-", PREFIX) != 0 ||
        (strcmp(name + PREFIX + DIGITS, ".mdb") != 0 &&
         strcmp(name + PREFIX + DIGITS, ".sum") != 0)) {
        return false;
    }
    *out = 0;
    for (int i = 0; i < DIGITS; i++) {
        char digit = name[PREFIX + i];
        if (digit < '0' || digit > '9') {
            return false;
        }
        *out = *out * 10 + (uint64_t)(digit - '0');
    }
    return true;
}

static void list_entry_name(void *owner, const char *name)
{
    struct listing *list = owner;
    uint64_t index;
    if (!index_of_name(name, &index)) {
        return;
    }
    if (list->count > 0 && list->index[list->count - 1] == index) {
        return; /* names come sorted: .mdb, then .sum */
    }
    if (list->count == COUNT_OF(list->index)) {
        /* Only ever the newest matter. */
        memmove(list->index, list->index + 1, sizeof(list->index) - sizeof(list->index[0]));
        list->count--;
    }
    list->index[list->count++] = index;
}

static int list_indices(struct env *env, struct listing *list, struct why *why)
{
    *list = (struct listing){0};
    int rc = env_list_dir(env, CHECKPOINT_DIR, list_entry_name, list);
    if (rc == -ENOENT) {
        return 0;
    }
    return rc < 0 ? why_set(why, rc, "cannot list %s: %s", CHECKPOINT_DIR, err_text(rc)) : 0;
}

/* 1 if the checkpoint has both files and its .sum is whole; ERR_CORRUPT or -ENOENT if not; ERR_FORMAT;
 * another errno: it cannot be read now. */
static int ref_load(struct env *env, uint64_t index, struct checkpoint_ref *out, struct why *why)
{
    char path[PATH_BYTES];
    uint8_t *bytes;
    struct env_file *f;
    int rc = sum_read(env, checkpoint_sum_path(index, path, sizeof(path)), out, &bytes, why);
    if (rc < 0) {
        return rc;
    }
    mem_free(bytes);
    rc = env_file_open(env, checkpoint_path(index, path, sizeof(path)), ENV_OPEN_READ_ONLY, &f);
    if (rc < 0) {
        return rc;
    }
    env_file_close(env, f);
    return out->at.index == index ? 1 : ERR_CORRUPT;
}

int checkpoint_list(struct env *env, struct checkpoint_ref out[CHECKPOINTS_LISTED_MAX],
                    struct why *why)
{
    struct listing list;
    int rc = list_indices(env, &list, why);
    int count = 0;
    if (rc < 0) {
        return rc;
    }
    for (uint32_t i = list.count; i > 0 && count < CHECKPOINTS_LISTED_MAX; i--) {
        rc = ref_load(env, list.index[i - 1], &out[count], why);
        if (rc == ERR_FORMAT) {
            return rc;
        }
        count += rc == 1;
    }
    return count;
}

/* Compares the open .mdb file with the sums. */
static int verify_file(struct env *env, struct env_file *f, const char *path, uint64_t bytes,
                       const uint8_t *sums, struct why *why)
{
    int64_t size = env_file_size(env, f);
    if (size < 0 || (uint64_t)size != bytes) {
        return why_set(why, ERR_CORRUPT, "%s: expected %llu bytes, found %lld", path,
                       (unsigned long long)bytes, (long long)size);
    }
    uint8_t *window = mem_alloc(STEP_BYTES);
    int rc = 0;
    for (uint64_t at = 0; at < bytes && rc == 0; at += STEP_BYTES) {
        uint32_t len = (uint32_t)MIN(bytes - at, (uint64_t)STEP_BYTES);
        int64_t n = env_file_read(env, f, at, window, len);
        if (n != len) {
            rc = why_set(why, n < 0 ? (int)n : ERR_CORRUPT, "cannot read %s at %llu: %s", path,
                         (unsigned long long)at, n < 0 ? err_text((int)n) : "too short");
            break;
        }
        uint64_t expected = get_le(sums + at / STEP_BYTES * 8, 8);
        uint64_t found = hash64(window, len);
        if (expected != found) {
            rc = why_set(why, ERR_CORRUPT, "%s at %llu: expected sum %#llx, found %#llx", path,
                         (unsigned long long)at, (unsigned long long)expected,
                         (unsigned long long)found);
        }
    }
    mem_free(window);
    return rc;
}

int checkpoint_verify(struct env *env, const struct checkpoint_ref *ref, struct why *why)
{
    char path[PATH_BYTES];
    struct checkpoint_ref found;
    struct env_file *f;
    uint8_t *sums;
    int rc =
        sum_read(env, checkpoint_sum_path(ref->at.index, path, sizeof(path)), &found, &sums, why);
    if (rc < 0) {
        return rc;
    }
    rc = env_file_open(env, checkpoint_path(ref->at.index, path, sizeof(path)), ENV_OPEN_READ_ONLY,
                       &f);
    if (rc < 0) {
        mem_free(sums);
        return why_set(why, rc, "cannot open %s: %s", path, err_text(rc));
    }
    rc = verify_file(env, f, path, found.bytes, sums + SUM_HEADER_BYTES, why);
    env_file_close(env, f);
    mem_free(sums);
    return rc;
}

void checkpoint_remove(struct env *env, const struct checkpoint_ref *ref)
{
    char path[PATH_BYTES];
    /* The .sum first: without it there is no checkpoint. Absent files are fine. */
    (void)env_unlink(env, checkpoint_sum_path(ref->at.index, path, sizeof(path)));
    (void)env_unlink(env, checkpoint_path(ref->at.index, path, sizeof(path)));
}

/* ---------------------------------------------------------------- life */

/* Removes what is no checkpoint: temporary files, and halves of ones that were being named or
 * removed. */
static int sweep(struct env *env, struct why *why)
{
    struct listing list;
    struct checkpoint_ref ref = {0};
    (void)env_unlink(env, COPY_TMP);
    (void)env_unlink(env, SUM_TMP);
    int rc = list_indices(env, &list, why);
    for (uint32_t i = 0; i < list.count && rc == 0; i++) {
        rc = ref_load(env, list.index[i], &ref, why);
        if (rc == ERR_CORRUPT || rc == -ENOENT) {
            env_log(env, LOG_WARN, "checkpoint %llu is not whole and is removed",
                    (unsigned long long)list.index[i]);
            ref.at.index = list.index[i];
            checkpoint_remove(env, &ref);
        }
        rc = rc == ERR_FORMAT ? rc : 0; /* what cannot be read now stays */
    }
    return rc;
}

static void copy_on(struct env_timer *t)
{
    struct checkpoint *c = container_of(t, struct checkpoint, pause);
    env_work_submit(c->env, &c->work);
}

static void keep(struct checkpoint *c, const struct checkpoint_ref *all, uint32_t count)
{
    uint64_t state = store_committed(c->store).index;
    for (uint32_t i = 0; i < count; i++) {
        if (all[i].at.index <= state) {
            c->kept[c->usable++] = all[i];
        }
    }
    c->kept_count = c->usable;
    for (uint32_t i = 0; i < count; i++) {
        if (all[i].at.index > state) {
            c->kept[c->kept_count++] = all[i];
        }
    }
}

int checkpoint_create(struct env *env, struct store *store, struct oplog *log,
                      struct checkpoint **out, struct why *why)
{
    struct checkpoint_ref all[CHECKPOINTS_LISTED_MAX];
    int rc = env_make_dir(env, CHECKPOINT_DIR);
    if (rc == 0) {
        rc = env_sync_dir(env, "");
    }
    if (rc < 0) {
        return why_set(why, rc, "cannot make directory %s: %s", CHECKPOINT_DIR, err_text(rc));
    }
    rc = sweep(env, why);
    if (rc < 0) {
        return rc;
    }
    struct checkpoint *c = mem_new(struct checkpoint);
    c->env = env;
    c->store = store;
    c->log = log;
    c->rate = CHECKPOINT_RATE_DEFAULT;
    c->pause.fire = copy_on;
    rc = checkpoint_list(env, all, why);
    if (rc < 0) {
        mem_free(c);
        return rc;
    }
    keep(c, all, (uint32_t)rc);
    *out = c;
    return 0;
}

/* Frees what a run holds, wherever it stands. */
static void run_free(struct checkpoint *c)
{
    struct store_position ignored_at;
    struct why ignored;
    env_timer_stop(c->env, &c->pause);
    if (c->copy != NULL) {
        (void)store_copy_end(c->copy, &ignored_at, &ignored);
    }
    if (c->file != NULL) {
        env_file_close(c->env, c->file);
    }
    mem_free(c->window);
    mem_free(c->sums);
    c->copy = NULL;
    c->file = NULL;
    c->window = c->sums = NULL;
    c->running = false;
}

void checkpoint_destroy(struct checkpoint *c)
{
    if (c != NULL) {
        run_free(c);
        mem_free(c);
    }
}

void checkpoint_set_rate(struct checkpoint *c, uint64_t bytes_per_s)
{
    ASSERT(bytes_per_s > 0 && bytes_per_s <= CHECKPOINT_RATE_MAX);
    c->rate = bytes_per_s;
}

bool checkpoint_running(const struct checkpoint *c)
{
    return c->running;
}

struct store_position checkpoint_newest(const struct checkpoint *c)
{
    return c->usable > 0 ? c->kept[0].at : (struct store_position){0};
}

/* ---------------------------------------------------------------- the run, last step first */

static void finish(struct checkpoint *c, int status, const char *what)
{
    struct store_position at = c->making.at;
    run_free(c);
    if (status < 0) {
        env_log(c->env, LOG_ERROR, "checkpoint %llu failed: %s: %s", (unsigned long long)at.index,
                what, err_text(status));
        (void)env_unlink(c->env, COPY_TMP);
        (void)env_unlink(c->env, SUM_TMP);
    }
    c->done(c->owner, status, at);
}

static void submit(struct checkpoint *c, struct disk_op op, void (*done)(struct disk_op *op))
{
    c->op = op;
    c->op.done = done;
    c->op.owner = c;
    env_disk_submit(c->env, &c->op);
}

static void prune(struct checkpoint *c);

static void old_file_removed(struct disk_op *op)
{
    struct checkpoint *c = op->owner;
    c->kept_count--;
    c->usable = MIN(c->usable, c->kept_count);
    prune(c);
}

static void old_sum_removed(struct disk_op *op)
{
    struct checkpoint *c = op->owner;
    checkpoint_path(c->kept[c->kept_count - 1].at.index, c->path, sizeof(c->path));
    submit(c, (struct disk_op){.kind = DISK_UNLINK, .path = c->path}, old_file_removed);
}

/* Removes the oldest until two are left, then the log that nothing needs any more. What cannot be
 * removed is tried again at the next start. */
static void prune(struct checkpoint *c)
{
    if (c->kept_count > CHECKPOINTS_KEPT) {
        checkpoint_sum_path(c->kept[c->kept_count - 1].at.index, c->path, sizeof(c->path));
        submit(c, (struct disk_op){.kind = DISK_UNLINK, .path = c->path}, old_sum_removed);
        return;
    }
    if (c->usable == CHECKPOINTS_KEPT) {
        oplog_trim(c->log, c->kept[CHECKPOINTS_KEPT - 1].at.index);
    }
    finish(c, 0, NULL);
}

/* It may have taken the place of one that was of no use. */
static void keep_made(struct checkpoint *c)
{
    uint32_t i = c->usable;
    while (i < c->kept_count && c->kept[i].at.index != c->making.at.index) {
        i++;
    }
    c->kept_count += i == c->kept_count;
    memmove(c->kept + 1, c->kept, i * sizeof(c->kept[0]));
    c->kept[0] = c->making;
    c->usable++;
}

static void names_synced(struct disk_op *op)
{
    struct checkpoint *c = op->owner;
    if (op->result < 0) {
        finish(c, (int)op->result, "sync of directory " CHECKPOINT_DIR);
        return;
    }
    keep_made(c);
    prune(c);
}

static void sum_named(struct disk_op *op)
{
    struct checkpoint *c = op->owner;
    if (op->result < 0) {
        finish(c, (int)op->result, "rename of " SUM_TMP);
        return;
    }
    submit(c, (struct disk_op){.kind = DISK_SYNC_DIR, .path = CHECKPOINT_DIR}, names_synced);
}

static void copy_named(struct disk_op *op)
{
    struct checkpoint *c = op->owner;
    if (op->result < 0) {
        finish(c, (int)op->result, "rename of " COPY_TMP);
        return;
    }
    checkpoint_sum_path(c->making.at.index, c->path, sizeof(c->path));
    submit(c, (struct disk_op){.kind = DISK_RENAME, .path = SUM_TMP, .path2 = c->path}, sum_named);
}

static void sums_written(struct disk_op *op)
{
    struct checkpoint *c = op->owner;
    if (op->result < 0) {
        finish(c, (int)op->result, "write of " SUM_TMP);
        return;
    }
    checkpoint_path(c->making.at.index, c->path, sizeof(c->path));
    submit(c, (struct disk_op){.kind = DISK_RENAME, .path = COPY_TMP, .path2 = c->path},
           copy_named);
}

static void write_sums(struct checkpoint *c)
{
    sum_seal(&c->making, c->sums);
    env_file_close(c->env, c->file);
    c->file = NULL;
    int rc = env_file_open(c->env, SUM_TMP, ENV_OPEN_CREATE | ENV_OPEN_EXCL, &c->file);
    if (rc < 0) {
        finish(c, rc, "creation of " SUM_TMP);
        return;
    }
    submit(c,
           (struct disk_op){.kind = DISK_WRITE,
                            .file = c->file,
                            .data = c->sums,
                            .len = sum_file_bytes(c->sum_count),
                            .sync = true},
           sums_written);
}

static void read_next(struct checkpoint *c);

static void step_read(struct disk_op *op)
{
    struct checkpoint *c = op->owner;
    if (op->result != op->len) {
        finish(c, op->result < 0 ? (int)op->result : -EIO, "reading " COPY_TMP);
        return;
    }
    put_le(c->sums + SUM_HEADER_BYTES + c->hashed / STEP_BYTES * 8, hash64(c->window, op->len), 8);
    c->hashed += op->len;
    read_next(c);
}

static void read_next(struct checkpoint *c)
{
    if (c->hashed == c->making.bytes) {
        write_sums(c);
        return;
    }
    submit(
        c,
        (struct disk_op){.kind = DISK_READ,
                         .file = c->file,
                         .off = c->hashed,
                         .data = c->window,
                         .len = (uint32_t)MIN(c->making.bytes - c->hashed, (uint64_t)STEP_BYTES)},
        step_read);
}

static void copy_imported(struct disk_op *op)
{
    struct checkpoint *c = op->owner;
    if (op->result < 0) {
        finish(c, (int)op->result, "sync of " COPY_TMP);
        return;
    }
    int64_t size = env_file_open(c->env, COPY_TMP, ENV_OPEN_READ_ONLY, &c->file);
    if (size == 0) {
        size = env_file_size(c->env, c->file);
    }
    if (size < 0) {
        finish(c, (int)size, "opening " COPY_TMP);
        return;
    }
    c->making.bytes = (uint64_t)size;
    c->sum_count = sums_of(c->making.bytes);
    c->sums = mem_alloc(sum_file_bytes(c->sum_count));
    c->window = mem_alloc(STEP_BYTES);
    c->hashed = 0;
    read_next(c);
}

static uint64_t slice_bytes(const struct checkpoint *c)
{
    return MIN(MAX(c->rate / SLICES_PER_S, (uint64_t)SLICE_BYTES_MIN), (uint64_t)SLICE_BYTES_MAX);
}

static void copy_run(struct env_work *w)
{
    struct checkpoint *c = container_of(w, struct checkpoint, work);
    store_copy_run(c->copy, slice_bytes(c));
}

/* The next slice starts when the rate allows the bytes copied so far. */
static void copy_next(struct checkpoint *c)
{
    uint64_t copied = store_copy_bytes(c->copy);
    uint64_t due = copied / c->rate * NS_PER_S + copied % c->rate * NS_PER_S / c->rate;
    uint64_t passed = env_mono_ns(c->env) - c->copy_began_ns;
    env_timer_set(c->env, &c->pause, due > passed ? due - passed : 0);
}

static void copy_done(struct env_work *w)
{
    struct checkpoint *c = container_of(w, struct checkpoint, work);
    if (!store_copy_over(c->copy)) {
        copy_next(c);
        return;
    }
    struct store_copy *copy = c->copy;
    struct why why;
    c->copy = NULL;
    int rc = store_copy_end(copy, &c->making.at, &why);
    if (rc == ERR_CORRUPT) {
        store_abandon(c->store, why.text);
    }
    if (rc < 0) {
        finish(c, rc, why.text);
        return;
    }
    submit(c, (struct disk_op){.kind = DISK_IMPORT, .path = COPY_TMP}, copy_imported);
}

int checkpoint_start(struct checkpoint *c, checkpoint_done done, void *owner)
{
    struct store_position at = store_committed(c->store);
    if (c->running) {
        return -EBUSY;
    }
    if (c->usable > 0 && c->kept[0].at.index == at.index) {
        return -EALREADY;
    }
    c->running = true;
    c->done = done;
    c->owner = owner;
    c->making = (struct checkpoint_ref){.at = at, .cluster = oplog_identity(c->log)->cluster};
    (void)env_unlink(c->env, SUM_TMP); /* of a run that failed */
    c->copy = store_copy_begin(c->store, COPY_TMP);
    c->work = (struct env_work){.run = copy_run, .done = copy_done};
    c->copy_began_ns = env_mono_ns(c->env);
    env_work_submit(c->env, &c->work);
    return 0;
}
