/* recover.c - what the last process left. */
#include "chunkd/core/recover.h"
#include "chunkd/core/replica_reserve.h"
#include "shared/base/bytes.h"
#include "shared/base/mem.h"

#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- records */

static int load_replica(struct table *t, struct local_replica *r, const struct meta_record *rec)
{
    if (rec->length > t->chunk_bytes || rec->state < REPLICA_OK || rec->state > REPLICA_BAD) {
        return ERR_CORRUPT;
    }
    if (r == NULL) {
        r = table_add(t, rec->handle);
    }
    r->ino = rec->ino;
    r->number = rec->number;
    r->version = rec->version;
    r->previous = rec->previous;
    r->mutation = rec->mutation;
    r->previous_mutation = rec->previous_mutation;
    r->state = rec->state;
    r->active = rec->flags & META_ACTIVE;
    r->dirty = rec->flags & META_DIRTY;
    r->failed = rec->flags & META_FAILED;
    r->verified_s = rec->verified_s;
    replica_note_damage(r);
    replica_set_length(r, rec->length);
    return 0;
}

static int load_sums(struct table *t, struct local_replica *r, const struct meta_record *rec)
{
    if (r == NULL || rec->length > t->chunk_bytes) {
        return ERR_CORRUPT;
    }
    replica_set_length(r, rec->length);
    if (rec->first + rec->count > replica_blocks(r)) {
        return ERR_CORRUPT;
    }
    for (uint32_t i = 0; i < rec->count; i++) {
        r->sums[rec->first + i] = (uint32_t)get_le(rec->sums_raw + 4 * i, 4);
        replica_clear_bad(r, rec->first + i);
    }
    r->mutation = rec->mutation;
    return 0;
}

int recover_record(void *owner, const struct meta_record *rec)
{
    struct chunkd *c = owner;
    struct table *t = &c->table;
    if (t->block_bytes == 0) {
        return ERR_CORRUPT; /* replicas before there was a geometry */
    }
    struct local_replica *r = table_get(t, rec->handle);
    switch (rec->type) {
    case META_REPLICA:
        return load_replica(t, r, rec);
    case META_SUMS:
        return load_sums(t, r, rec);
    case META_BAD:
        if (r == NULL) {
            return 0; /* found in a replica that was being dropped */
        }
        if (rec->block < replica_blocks(r)) {
            replica_set_bad(r, rec->block);
        }
        return 0;
    case META_RESERVED:
        if (rec->end > t->chunk_bytes) {
            return ERR_CORRUPT;
        }
        if (r != NULL) {
            r->reserved_from = rec->from;
            r->reserved_end = rec->end;
        }
        return 0;
    case META_DROP:
        if (r != NULL) {
            table_forget(r);
        }
        return 0;
    case META_ASIDE:
        aside_load(t->aside, rec->handle, rec->since_ns, rec->bytes);
        return 0;
    }
    return ERR_CORRUPT;
}

/* ---------------------------------------------------------------- intents */

static int by_order(const void *a, const void *b)
{
    const struct intent *x = a;
    const struct intent *y = b;
    if (x->handle != y->handle) {
        return x->handle < y->handle ? -1 : 1;
    }
    if (x->mutation != y->mutation) {
        return x->mutation < y->mutation ? -1 : 1;
    }
    return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

/* Sum of the first n bytes of block b as they are in the file. False if there are fewer, or they
 * cannot be read. */
static bool sum_on_disk(struct local_replica *r, uint32_t b, uint32_t n, uint8_t *scratch,
                        uint32_t *out)
{
    struct table *t = r->table;
    int64_t got = env_file_read(t->env, r->file, (uint64_t)b * t->block_bytes, scratch, n);
    if (got != (int64_t)n) {
        return false;
    }
    *out = block_sum(scratch, n);
    return true;
}

/* A mutation that ended before the process died: its mark says so, or the next one had begun. */
static void take_whole(struct local_replica *r, const struct intent *e, uint32_t count)
{
    replica_set_length(r, e->new_length);
    for (uint32_t i = 0; i < count; i++) {
        if (e[i].block < replica_blocks(r)) {
            r->sums[e[i].block] = e[i].new_sum;
            replica_clear_bad(r, e[i].block);
            replica_note_unlogged(r, e[i].block, e[i].block + 1);
        }
    }
    r->mutation = e->mutation;
    replica_note_unlogged(r, MIN(r->unlogged_first, replica_blocks(r)), replica_blocks(r));
}

/* Are all its blocks as the mutation wanted them? */
static bool was_applied(struct local_replica *r, const struct intent *e, uint32_t count,
                        uint8_t *scratch)
{
    int64_t size = env_file_size(r->table->env, r->file);
    if (size != (int64_t)e->new_length) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (e[i].block == INTENT_NO_BLOCK) {
            continue;
        }
        uint32_t n = block_extent(r->table, e->new_length, e[i].block);
        uint32_t sum;
        if (n > 0 && (!sum_on_disk(r, e[i].block, n, scratch, &sum) || sum != e[i].new_sum)) {
            return false;
        }
    }
    return true;
}

/* To the logged length; what was reserved behind it is gone then. */
static int cut_file(struct local_replica *r)
{
    replica_unreserve(r, r->length, UINT32_MAX);
    return env_file_truncate(r->table->env, r->file, r->length);
}

/* Not applied, or in part: back to the old length; each block is old, new, or torn. True if none is
 * torn. */
static bool take_parts(struct local_replica *r, const struct intent *e, uint32_t count,
                       uint8_t *scratch)
{
    struct table *t = r->table;
    bool whole = true;
    int64_t size = env_file_size(t->env, r->file);
    if (size < (int64_t)r->length) {
        return false;
    }
    if (size > (int64_t)r->length && cut_file(r) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t b = e[i].block;
        uint32_t n = b == INTENT_NO_BLOCK ? 0 : block_extent(t, r->length, b);
        uint32_t sum;
        if (n == 0) {
            continue;
        }
        if (!sum_on_disk(r, b, n, scratch, &sum)) {
            whole = false;
        } else if (sum == e[i].new_sum && n == block_extent(t, e->new_length, b)) {
            r->sums[b] = sum;
            replica_clear_bad(r, b);
            replica_note_unlogged(r, b, b + 1);
        } else if (sum != r->sums[b]) {
            whole = false;
        }
    }
    return whole;
}

/* The disk said that it was written: bytes that are not there are damage. */
static bool was_done(const struct intent *e, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (e[i].flags == INTENT_DONE) {
            return true;
        }
    }
    return false;
}

static void settle_last(struct local_replica *r, const struct intent *e, uint32_t count,
                        uint8_t *scratch)
{
    if (was_done(e, count)) {
        take_whole(r, e, count);
        return;
    }
    replica_use(r);
    int err = replica_open(r, r->length == 0);
    if (err != 0) {
        replica_mark_failed(r, err);
    } else if (was_applied(r, e, count, scratch)) {
        take_whole(r, e, count);
    } else if (!take_parts(r, e, count, scratch)) {
        env_log(r->table->env, LOG_WARN,
                "chunk %016llx: mutation %llu was torn by the end of the process",
                (unsigned long long)r->handle, (unsigned long long)e->mutation);
        r->state = r->state == REPLICA_OK ? REPLICA_SUSPECT : r->state;
        replica_log_head(r);
    }
    replica_unuse(r);
}

static uint32_t newer_than_log(const struct table *t, struct intent *e, uint32_t count)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct local_replica *r = table_get(t, e[i].handle);
        if (r != NULL && r->version == e[i].version && e[i].mutation > r->mutation &&
            (e[i].flags == 0 || e[i].flags == INTENT_DONE) && !r->failed &&
            e[i].old_length <= t->chunk_bytes && e[i].new_length <= t->chunk_bytes) {
            e[n++] = e[i];
        }
    }
    return n;
}

static bool has_end(const struct intent *e, uint32_t count, const struct intent *begin)
{
    for (uint32_t i = 0;
         i < count && e[i].handle == begin->handle && e[i].mutation == begin->mutation; i++) {
        if (e[i].flags == INTENT_END && e[i].version == begin->version) {
            return true;
        }
    }
    return false;
}

/* Mutations this server ordered and may not have brought to every member: the master makes them
 * equal. */
static void suspect_unfinished(struct table *t, const struct intent *e, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct local_replica *r = e[i].flags == INTENT_BEGIN ? table_get(t, e[i].handle) : NULL;
        if (r != NULL && r->version == e[i].version && r->state == REPLICA_OK &&
            !has_end(e + i, count - i, &e[i])) {
            r->state = REPLICA_SUSPECT;
            replica_log_head(r);
        }
    }
}

/* False: some were lost, and nothing was settled. */
static bool settle_intents(struct chunkd *c)
{
    struct table *t = &c->table;
    bool whole;
    struct intent *e = mem_alloc(INTENT_ENTRIES * sizeof(*e));
    uint8_t *scratch = mem_alloc(MAX(t->block_bytes, 1u));
    uint32_t n = intent_ring_load(&c->ring, e, &whole);
    n = whole ? n : 0;
    qsort(e, n, sizeof(*e), by_order);
    suspect_unfinished(t, e, n);
    n = newer_than_log(t, e, n);
    for (uint32_t i = 0; i < n;) {
        uint32_t end = i;
        while (end < n && e[end].handle == e[i].handle && e[end].mutation == e[i].mutation) {
            end++;
        }
        struct local_replica *r = table_get(t, e[i].handle);
        if (end < n && e[end].handle == e[i].handle) {
            take_whole(r, e + i, end - i);
        } else {
            settle_last(r, e + i, end - i, scratch);
        }
        i = end;
    }
    mem_free(scratch);
    mem_free(e);
    return whole;
}

/* ---------------------------------------------------------------- replicas */

/* It is compared with the others before it serves. */
static void suspect(struct local_replica *r)
{
    r->state = r->state == REPLICA_OK ? REPLICA_SUSPECT : r->state;
    replica_log_head(r);
}

/* The file of a dirty replica against its logged length. */
static void fit_file(struct local_replica *r, bool power_cut)
{
    struct table *t = r->table;
    int err = replica_open(r, false);
    if (err == -ENOENT && r->length == 0) {
        return;
    }
    int64_t size = err == 0 ? env_file_size(t->env, r->file) : err;
    bool nameless = err == -ENOENT && power_cut;
    if (nameless) {
        /* Its name was never durable, so nothing of it was synced: a replica without a mutation. */
        r->mutation = r->previous_mutation = 0;
        size = 0;
    }
    if (size < 0) {
        replica_mark_failed(r, (int)size);
        return;
    }
    bool grown = power_cut && size > (int64_t)r->length && size <= (int64_t)t->chunk_bytes;
    if (nameless || grown) {
        /* The bytes beyond may be good: whoever compares the replica decides about them. */
        replica_set_length(r, (uint32_t)size);
        replica_note_unlogged(r, 0, replica_blocks(r));
        suspect(r);
    } else if (size != (int64_t)r->length) {
        /* Longer after a kill: the intents do not know of it, so they, or records, were lost. Shorter:
         * what is missing was not synced, or the disk lost it, and then another member has it: the sums
         * of its blocks say that something was there. */
        err = cut_file(r);
        if (err != 0) {
            replica_mark_failed(r, err);
        }
        suspect(r);
    }
}

/* The end of the log is missing, and with it maybe that the replica was being written, or dropped: then
 * its file is gone. One without bytes may have none yet. */
static void doubt_clean(struct local_replica *r)
{
    replica_use(r);
    int err = replica_open(r, false);
    int64_t size = err == 0 ? env_file_size(r->table->env, r->file) : err;
    bool none_yet = size == -ENOENT && r->length == 0;
    if (!none_yet && size != (int64_t)r->length) {
        suspect(r);
    }
    replica_unuse(r);
}

static void recover_dirty(struct local_replica *r, bool power_cut)
{
    replica_use(r);
    if (power_cut && r->state == REPLICA_OK) {
        r->state = REPLICA_SUSPECT;
        replica_log_head(r);
    }
    fit_file(r, power_cut);
    /* Not synced as far as this process knows. */
    replica_note_write(r);
    replica_unuse(r);
}

static void recover_each(struct chunkd *c, enum last_end end)
{
    uint64_t count;
    uint64_t *handles = table_handles(&c->table, &count);
    for (uint64_t i = 0; i < count; i++) {
        struct local_replica *r = table_get(&c->table, handles[i]);
        if (r->dirty && !r->failed && end != ENDED_CLEAN) {
            recover_dirty(r, end == ENDED_POWER_CUT);
        } else {
            /* One without bytes may have no file yet: its name is still to be made durable. */
            r->file_made = r->length > 0;
            if (c->meta.torn && !r->failed) {
                doubt_clean(r);
            }
        }
        r->queued = r->mutation;
    }
    mem_free(handles);
}

/* ---------------------------------------------------------------- orphans */

struct orphans {
    struct chunkd *c;
    char dir[REPLICA_PATH_BYTES];
    char (*names)[17];
    uint32_t count, cap;
};

static void each_file(void *owner, const char *name)
{
    struct orphans *o = owner;
    if (strlen(name) != 16) {
        return;
    }
    char *end;
    uint64_t handle = strtoull(name, &end, 16);
    if (*end != '\0' || table_get(&o->c->table, handle) != NULL) {
        return;
    }
    if (o->count == o->cap) {
        o->cap = o->cap ? 2 * o->cap : 16;
        o->names = mem_resize(o->names, o->cap * sizeof(*o->names));
    }
    memcpy(o->names[o->count++], name, 17);
}

/* Data files no record names: of replicas that were dropped, or whose record was never durable.
 * What was to be set aside and was not moved is moved now. */
static void remove_orphans(struct chunkd *c)
{
    struct orphans o = {.c = c};
    for (uint64_t low = 0; low < 256; low++) {
        o.count = 0;
        replica_dir(low, o.dir);
        (void)env_list_dir(c->env, o.dir, each_file,
                           &o); /* one that cannot be listed keeps its orphans */
        for (uint32_t i = 0; i < o.count; i++) {
            char path[REPLICA_PATH_BYTES];
            char kept[ASIDE_PATH_BYTES];
            uint64_t handle = strtoull(o.names[i], NULL, 16);
            replica_path(handle, path);
            aside_path(handle, kept);
            if (!aside_has(&c->aside, handle) || env_rename(c->env, path, kept) != 0) {
                (void)env_unlink(c->env, path); /* costs only space until the next start */
            }
        }
    }
    mem_free(o.names);
}

/* What is kept aside gives way. On a disk that is full all the same the records wait for room: until
 * they are durable the next start must find what this one found. */
static int sync_records(struct chunkd *c)
{
    int err = meta_log_sync_now(&c->meta);
    while (err == -ENOSPC && aside_unlink_oldest(&c->aside)) {
        err = meta_log_sync_now(&c->meta);
    }
    c->crammed = err == -ENOSPC && meta_log_has_pending(&c->meta);
    return c->crammed ? 0 : err;
}

int recover_replicas(struct chunkd *c, enum last_end end, struct why *why)
{
    if (end == ENDED_KILLED && !settle_intents(c)) {
        env_log(c->env, LOG_WARN, "ring: missing or not whole: what was written last is not known");
        end = ENDED_POWER_CUT;
    }
    recover_each(c, end);
    int err = aside_make_dir(&c->aside);
    if (err != 0) {
        return why_set(why, err, "aside: cannot make the directory: %s", err_text(err));
    }
    remove_orphans(c);
    aside_sweep(&c->aside);
    table_log_all_sums(&c->table);
    err = sync_records(c);
    if (err != 0) {
        return why_set(why, err, "meta: cannot sync the meta log: %s", err_text(err));
    }
    return 0;
}
