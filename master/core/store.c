/* store.c - rows in LMDB.
 *
 * TABLE_META key "store.position" holds what the last commit contains, 32 bytes little endian:
 *   format u32 (1), epoch u32, index u64, chain u64, hash u64.
 */
#include "master/core/store.h"
#include "shared/base/hash.h"
#include "shared/base/mem.h"

#include <lmdb.h>
#include <stdio.h>

enum {
    NAME_BYTES = 128,
    PATH_BYTES = 4096,
    POSITION_BYTES = 32,
    POSITION_FORMAT = 1,
    COPY_ROWS_PER_TXN = 100000, /* bounds the dirty pages a copy holds in memory */
    RESERVE_BYTES_MIN = 1 << 20,
    RESERVE_BYTES_MAX = 1 << 30,
};

#define POSITION_KEY "store.position"

static const char *const table_names[TABLE_COUNT] = {
    [TABLE_DENTRY] = "dentry", [TABLE_INODE] = "inode",     [TABLE_CHUNK] = "chunk",
    [TABLE_XATTR] = "xattr",   [TABLE_SYMLINK] = "symlink", [TABLE_SESSION] = "session",
    [TABLE_REPLY] = "reply",   [TABLE_ORPHAN] = "orphan",   [TABLE_GARBAGE] = "garbage",
    [TABLE_SERVER] = "server", [TABLE_TRASH] = "trash",     [TABLE_META] = "meta",
};

/* One row as contiguous bytes: key length, key, value. */
struct row_buffer {
    uint8_t *data;
    size_t cap;
};

struct store {
    struct env *env;
    char name[NAME_BYTES];
    MDB_env *mdb;
    MDB_txn *txn;
    MDB_dbi dbi[TABLE_COUNT];
    MDB_cursor *cursor[TABLE_COUNT]; /* of txn; NULL until used */
    struct store_position committed;
    uint64_t hash;
    uint64_t room;
    struct row_buffer new_row, old_row;
};

/* LMDB's codes are positive errnos or its own below -30000. */
static int code_of(int rc)
{
    return rc > 0 ? -rc : rc == MDB_MAP_FULL ? -ENOSPC : rc == 0 ? 0 : ERR_CORRUPT;
}

void store_abandon(struct store *s, const char *reason)
{
    char mark_name[NAME_BYTES + sizeof(STORE_FAILED_SUFFIX)];
    struct env_file *mark;
    snprintf(mark_name, sizeof(mark_name), "%s" STORE_FAILED_SUFFIX, s->name);
    if (env_file_open(s->env, mark_name, ENV_OPEN_CREATE, &mark) == 0) {
        env_file_close(s->env, mark);
    }
    env_die(s->env, reason);
}

static void check(struct store *s, const char *what, int rc)
{
    if (rc != 0) {
        char reason[256];
        snprintf(reason, sizeof(reason), "%s: %s failed: %s", s->name, what, mdb_strerror(rc));
        store_abandon(s, reason);
    }
}

/* ---------------------------------------------------------------- rows and their hash */

static uint64_t row_set(struct row_buffer *row, enum store_table t, MDB_val key, MDB_val value)
{
    size_t len = 1 + key.mv_size + value.mv_size;
    if (len > row->cap) {
        row->cap = len * 2;
        row->data = mem_resize(row->data, row->cap);
    }
    row->data[0] = (uint8_t)key.mv_size;
    memcpy(row->data + 1, key.mv_data, key.mv_size);
    if (value.mv_size > 0) {
        memcpy(row->data + 1 + key.mv_size, value.mv_data, value.mv_size);
    }
    return hash64_seed(row->data, len, (uint64_t)t);
}

static MDB_val val_of(struct bytes b)
{
    return (MDB_val){b.len, (void *)(uintptr_t)b.data};
}

static struct bytes bytes_of_val(MDB_val v)
{
    return bytes_of(v.mv_data, v.mv_size);
}

static void position_encode(const struct store_position *at, uint8_t out[POSITION_BYTES])
{
    put_le(out, POSITION_FORMAT, 4);
    put_le(out + 4, at->epoch, 4);
    put_le(out + 8, at->index, 8);
    put_le(out + 16, at->chain, 8);
    put_le(out + 24, at->hash, 8);
}

/* Reads the position in a transaction; all zero if there is none. */
static int position_read(MDB_txn *txn, MDB_dbi meta, struct store_position *out)
{
    MDB_val key = val_of(bytes_str(POSITION_KEY));
    MDB_val value;
    int rc = mdb_get(txn, meta, &key, &value);
    *out = (struct store_position){0};
    if (rc == MDB_NOTFOUND) {
        return 0;
    }
    if (rc != 0) {
        return rc;
    }
    const uint8_t *p = value.mv_data;
    if (value.mv_size != POSITION_BYTES || get_le(p, 4) != POSITION_FORMAT) {
        return MDB_CORRUPTED;
    }
    *out = (struct store_position){.index = get_le(p + 8, 8),
                                   .epoch = (uint32_t)get_le(p + 4, 4),
                                   .chain = get_le(p + 16, 8),
                                   .hash = get_le(p + 24, 8)};
    return 0;
}

/* ---------------------------------------------------------------- open and close */

/* Opens an environment with the largest map the address space allows. An LMDB code. */
static int open_mdb(const char *path, unsigned flags, MDB_env **out)
{
    static const size_t map_bytes[] = {(size_t)1 << 40, (size_t)64 << 30, (size_t)4 << 30};
    int rc = 0;
    for (size_t i = 0; i < COUNT_OF(map_bytes); i++) {
        rc = mdb_env_create(out);
        if (rc != 0) {
            return rc;
        }
        rc = mdb_env_set_mapsize(*out, map_bytes[i]);
        if (rc == 0) {
            rc = mdb_env_set_maxdbs(*out, TABLE_COUNT);
        }
        if (rc == 0) {
            rc = mdb_env_open(*out, path, flags | MDB_NOSUBDIR | MDB_NOTLS, 0600);
        }
        if (rc == 0) {
            return 0;
        }
        mdb_env_close(*out);
        if (rc != ENOMEM) {
            break;
        }
    }
    *out = NULL;
    return rc;
}

static int open_tables(MDB_txn *txn, unsigned flags, MDB_dbi dbi[TABLE_COUNT])
{
    for (int t = 0; t < TABLE_COUNT; t++) {
        int rc = mdb_dbi_open(txn, table_names[t], flags, &dbi[t]);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static uint64_t reserve_bytes(uint64_t total)
{
    uint64_t r = MIN(total / 50, (uint64_t)RESERVE_BYTES_MAX);
    return MAX(r, (uint64_t)RESERVE_BYTES_MIN);
}

/* Bytes of pages that deletes have freed inside the file. */
static uint64_t free_page_bytes(struct store *s, uint64_t page_bytes)
{
    enum { FREE_LIST = 0 }; /* LMDB's own table: value = count, then page numbers */
    MDB_txn *txn;
    MDB_cursor *c;
    check(s, "read transaction", mdb_txn_begin(s->mdb, NULL, MDB_RDONLY, &txn));
    check(s, "free list", mdb_cursor_open(txn, FREE_LIST, &c));
    uint64_t pages = 0;
    MDB_val key, value;
    while (mdb_cursor_get(c, &key, &value, MDB_NEXT) == 0) {
        size_t count;
        memcpy(&count, value.mv_data, sizeof(count));
        pages += count;
    }
    mdb_cursor_close(c);
    mdb_txn_abort(txn);
    return pages * page_bytes;
}

/* Once per commit, because asking the filesystem is a system call. */
static void refresh_room(struct store *s)
{
    MDB_envinfo info;
    MDB_stat stat;
    check(s, "environment info", mdb_env_info(s->mdb, &info));
    check(s, "environment stat", mdb_env_stat(s->mdb, &stat));
    uint64_t used = (info.me_last_pgno + 1) * stat.ms_psize;
    uint64_t room = info.me_mapsize > used ? info.me_mapsize - used : 0;
    uint64_t total = 0, avail = 0;
    if (env_space(s->env, &total, &avail) == 0) {
        uint64_t reserve = reserve_bytes(total);
        room = MIN(room, avail > reserve ? avail - reserve : 0);
        /* The file never shrinks: near the end, what deletes freed inside it is what is left. */
        if (room < 16 * reserve) {
            room += free_page_bytes(s, stat.ms_psize);
        }
    }
    s->room = room;
}

static int begin(struct store *s)
{
    memset(s->cursor, 0, sizeof(s->cursor));
    return mdb_txn_begin(s->mdb, NULL, 0, &s->txn);
}

static int open_rows(struct store *s)
{
    int dead;
    int rc = mdb_reader_check(s->mdb, &dead);
    if (rc == 0) {
        rc = begin(s);
    }
    if (rc != 0) {
        return rc;
    }
    rc = open_tables(s->txn, MDB_CREATE, s->dbi);
    if (rc == 0) {
        rc = position_read(s->txn, s->dbi[TABLE_META], &s->committed);
    }
    if (rc != 0) {
        mdb_txn_abort(s->txn);
        return rc;
    }
    s->hash = s->committed.hash;
    rc = mdb_txn_commit(s->txn);
    return rc ? rc : begin(s);
}

int store_open(struct env *env, const char *name, struct store **out, struct why *why)
{
    char path[PATH_BYTES];
    struct store *s = mem_new(struct store);
    s->env = env;
    snprintf(s->name, sizeof(s->name), "%s", name);
    int rc = open_mdb(env_real_path(env, name, path, sizeof(path)), MDB_NOSYNC, &s->mdb);
    if (rc == 0) {
        rc = open_rows(s);
        if (rc != 0) {
            mdb_env_close(s->mdb);
        }
    }
    if (rc != 0) {
        mem_free(s);
        return why_set(why, code_of(rc), "cannot open %s: %s", path, mdb_strerror(rc));
    }
    refresh_room(s);
    *out = s;
    return 0;
}

void store_close(struct store *s)
{
    if (s == NULL) {
        return;
    }
    mdb_txn_abort(s->txn);
    mdb_env_close(s->mdb);
    mem_free(s->new_row.data);
    mem_free(s->old_row.data);
    mem_free(s);
}

/* ---------------------------------------------------------------- reading and changing */

static MDB_cursor *cursor_of(struct store *s, enum store_table t)
{
    if (s->cursor[t] == NULL) {
        check(s, "cursor", mdb_cursor_open(s->txn, s->dbi[t], &s->cursor[t]));
    }
    return s->cursor[t];
}

/* Puts the table's cursor on the key; false if there is no such row. */
static bool find(struct store *s, enum store_table t, MDB_val key, MDB_val *out)
{
    int rc = mdb_cursor_get(cursor_of(s, t), &key, out, MDB_SET_KEY);
    if (rc == MDB_NOTFOUND) {
        return false;
    }
    check(s, "get", rc);
    return true;
}

int store_get(struct store *s, enum store_table t, struct bytes key, struct bytes *out)
{
    MDB_val value;
    if (!find(s, t, val_of(key), &value)) {
        return -ENOENT;
    }
    *out = bytes_of_val(value);
    return 0;
}

void store_put(struct store *s, enum store_table t, struct bytes key, struct bytes value)
{
    /* The row goes in from our own buffer: key and value may be views of pages that LMDB is about
     * to move. */
    uint64_t new_hash = row_set(&s->new_row, t, val_of(key), val_of(value));
    MDB_val k = {key.len, s->new_row.data + 1};
    MDB_val v = {value.len, s->new_row.data + 1 + key.len};
    MDB_val old;
    bool there = find(s, t, k, &old);
    if (t != TABLE_META) {
        s->hash += new_hash - (there ? row_set(&s->old_row, t, k, old) : 0);
    }
    check(s, "put", mdb_cursor_put(cursor_of(s, t), &k, &v, there ? MDB_CURRENT : 0));
}

int store_del(struct store *s, enum store_table t, struct bytes key)
{
    MDB_val k = val_of(key);
    MDB_val old;
    if (!find(s, t, k, &old)) {
        return -ENOENT;
    }
    if (t != TABLE_META) {
        s->hash -= row_set(&s->old_row, t, k, old);
    }
    check(s, "delete", mdb_cursor_del(cursor_of(s, t), 0));
    return 0;
}

/* Puts a cursor on the first row at or after `want`. An LMDB code. */
static int cursor_from(MDB_cursor *c, struct bytes want, MDB_val *key, MDB_val *value)
{
    *key = val_of(want);
    return mdb_cursor_get(c, key, value, want.len == 0 ? MDB_FIRST : MDB_SET_RANGE);
}

int store_seek(struct store *s, enum store_table t, struct bytes key, bool after,
               struct bytes *out_key, struct bytes *out_value)
{
    MDB_cursor *c = cursor_of(s, t);
    MDB_val k, v;
    int rc = cursor_from(c, key, &k, &v);
    if (rc == 0 && after && bytes_equal(bytes_of_val(k), key)) {
        rc = mdb_cursor_get(c, &k, &v, MDB_NEXT);
    }
    if (rc == MDB_NOTFOUND) {
        return -ENOENT;
    }
    check(s, "seek", rc);
    *out_key = bytes_of_val(k);
    *out_value = bytes_of_val(v);
    return 0;
}

void store_walk(struct store *s, enum store_table t, struct bytes key,
                bool (*each)(void *owner, struct bytes key, struct bytes value), void *owner)
{
    MDB_cursor *c; /* its own: `each` may look up rows of the same table */
    MDB_val k, v;
    check(s, "cursor", mdb_cursor_open(s->txn, s->dbi[t], &c));
    int rc = cursor_from(c, key, &k, &v);
    while (rc == 0 && each(owner, bytes_of_val(k), bytes_of_val(v))) {
        rc = mdb_cursor_get(c, &k, &v, MDB_NEXT);
    }
    mdb_cursor_close(c);
    if (rc != MDB_NOTFOUND) {
        check(s, "walk", rc);
    }
}

uint64_t store_hash(const struct store *s)
{
    return s->hash;
}

uint64_t store_rows(struct store *s, enum store_table t)
{
    MDB_stat stat;
    check(s, "stat", mdb_stat(s->txn, s->dbi[t], &stat));
    return stat.ms_entries;
}

uint64_t store_room(struct store *s)
{
    return s->room;
}

/* ---------------------------------------------------------------- commit */

void store_commit(struct store *s, struct store_position at)
{
    uint8_t position[POSITION_BYTES];
    at.hash = s->hash;
    position_encode(&at, position);
    store_put(s, TABLE_META, bytes_str(POSITION_KEY), bytes_of(position, sizeof(position)));
    check(s, "commit", mdb_txn_commit(s->txn));
    s->committed = at;
    check(s, "write transaction", begin(s));
    refresh_room(s);
}

struct store_position store_committed(const struct store *s)
{
    return s->committed;
}

int store_sync(struct store *s)
{
    return code_of(mdb_env_sync(s->mdb, 1));
}

/* ---------------------------------------------------------------- copies */

struct store_copy {
    struct store *store;
    char name[NAME_BYTES];
    char path[PATH_BYTES];
    MDB_txn *snapshot;
    struct store_position at;
    uint64_t hash; /* recomputed */
    int rc;        /* of the run, an LMDB code */
    bool ran;
    struct row_buffer row;
};

/* The environment being written, and its open transaction. */
struct copy_target {
    MDB_env *mdb;
    MDB_txn *txn;
    MDB_dbi dbi[TABLE_COUNT];
    MDB_cursor *cursor;
    uint32_t rows; /* in the open transaction */
};

/* Commits and syncs, so that no burst of dirty pages delays the log's syncs at the end. */
static int target_flush(struct copy_target *to)
{
    int rc = mdb_txn_commit(to->txn);
    to->txn = NULL;
    return rc ? rc : mdb_env_sync(to->mdb, 1);
}

static int target_begin_table(struct copy_target *to, int table)
{
    to->rows = 0;
    int rc = mdb_txn_begin(to->mdb, NULL, 0, &to->txn);
    return rc ? rc : mdb_cursor_open(to->txn, to->dbi[table], &to->cursor);
}

static int copy_table(struct store_copy *c, struct copy_target *to, int t)
{
    MDB_cursor *from;
    MDB_val key, value;
    int rc = mdb_cursor_open(c->snapshot, c->store->dbi[t], &from);
    if (rc != 0) {
        return rc;
    }
    rc = target_begin_table(to, t);
    while (rc == 0 && (rc = mdb_cursor_get(from, &key, &value, MDB_NEXT)) == 0) {
        if (t != TABLE_META) {
            c->hash += row_set(&c->row, (enum store_table)t, key, value);
        }
        rc = mdb_cursor_put(to->cursor, &key, &value, MDB_APPEND);
        if (rc == 0 && ++to->rows == COPY_ROWS_PER_TXN) {
            rc = target_flush(to);
            if (rc == 0) {
                rc = target_begin_table(to, t);
            }
        }
    }
    mdb_cursor_close(from);
    if (rc == MDB_NOTFOUND) {
        return target_flush(to);
    }
    return rc;
}

static int copy_rows(struct store_copy *c, struct copy_target *to)
{
    int rc = mdb_txn_begin(to->mdb, NULL, 0, &to->txn);
    if (rc == 0) {
        rc = open_tables(to->txn, MDB_CREATE, to->dbi);
    }
    if (rc == 0) {
        rc = target_flush(to);
    }
    for (int t = 0; t < TABLE_COUNT && rc == 0; t++) {
        rc = copy_table(c, to, t);
    }
    return rc;
}

struct store_copy *store_copy_begin(struct store *s, const char *name)
{
    struct store_copy *c = mem_new(struct store_copy);
    c->store = s;
    snprintf(c->name, sizeof(c->name), "%s", name);
    (void)env_unlink(s->env, name); /* of a run that was killed */
    env_real_path(s->env, name, c->path, sizeof(c->path));
    check(s, "snapshot", mdb_txn_begin(s->mdb, NULL, MDB_RDONLY, &c->snapshot));
    check(s, "snapshot position", position_read(c->snapshot, s->dbi[TABLE_META], &c->at));
    return c;
}

void store_copy_run(struct store_copy *c)
{
    struct copy_target to = {0};
    /* One writer and no readers: a lock file would only be left behind. */
    c->rc = open_mdb(c->path, MDB_NOSYNC | MDB_NOLOCK, &to.mdb);
    if (c->rc == 0) {
        c->rc = copy_rows(c, &to);
        if (to.txn != NULL) {
            mdb_txn_abort(to.txn);
        }
        mdb_env_close(to.mdb);
    }
    c->ran = true;
}

int store_copy_end(struct store_copy *c, struct store_position *out_at, struct why *why)
{
    int err = 0;
    if (!c->ran) {
        err = why_set(why, -ECANCELED, "copy into %s was not run", c->name);
    } else if (c->rc != 0) {
        err = why_set(why, code_of(c->rc), "cannot write %s: %s", c->path, mdb_strerror(c->rc));
    } else if (c->hash != c->at.hash) {
        err = why_set(why, ERR_CORRUPT,
                      "rows of %s at index %llu hash to %#llx, but %#llx was committed",
                      c->store->name, (unsigned long long)c->at.index, (unsigned long long)c->hash,
                      (unsigned long long)c->at.hash);
    }
    *out_at = c->at;
    mdb_txn_abort(c->snapshot);
    mem_free(c->row.data);
    mem_free(c);
    return err;
}

int store_restore(struct env *env, const char *from, const char *name, struct why *why)
{
    char from_path[PATH_BYTES];
    char path[PATH_BYTES];
    MDB_env *mdb;
    env_real_path(env, from, from_path, sizeof(from_path));
    env_real_path(env, name, path, sizeof(path));
    int rc = open_mdb(from_path, MDB_RDONLY | MDB_NOLOCK, &mdb);
    if (rc == 0) {
        rc = mdb_env_copy(mdb, path);
        mdb_env_close(mdb);
    }
    return rc == 0 ? 0
                   : why_set(why, code_of(rc), "cannot build %s from %s: %s", path, from_path,
                             mdb_strerror(rc));
}
