/* store.c - rows in LMDB.
 *
 * TABLE_META key "store.position" holds what the last commit contains, 40 bytes little endian:
 *   format u32 (3), epoch u32, index u64, chain u64, hash u64, time i64.
 */
#include "master/core/store_internal.h"
#include "shared/base/hash.h"
#include "shared/base/mem.h"

#include <stdio.h>

enum {
    POSITION_BYTES = 40,
    POSITION_FORMAT = 3,
    KEY_LEN_BYTES = 2,
};

#define POSITION_KEY "store.position"

static const char *const table_names[TABLE_COUNT] = {
    [TABLE_DENTRY] = "dentry", [TABLE_INODE] = "inode",     [TABLE_CHUNK] = "chunk",
    [TABLE_XATTR] = "xattr",   [TABLE_SYMLINK] = "symlink", [TABLE_SESSION] = "session",
    [TABLE_REPLY] = "reply",   [TABLE_ORPHAN] = "orphan",   [TABLE_GARBAGE] = "garbage",
    [TABLE_SERVER] = "server", [TABLE_TRASH] = "trash",     [TABLE_WRITER] = "writer",
    [TABLE_META] = "meta",
};

/* LMDB's codes are positive errnos or its own below -30000. */
int store_code_of(int rc)
{
    return rc > 0 ? -rc : rc == MDB_MAP_FULL ? -ENOSPC : rc == 0 ? 0 : ERR_CORRUPT;
}

void store_condemn(struct store *s)
{
    char mark_name[STORE_NAME_BYTES + sizeof(STORE_FAILED_SUFFIX)];
    struct env_file *mark;
    snprintf(mark_name, sizeof(mark_name), "%s" STORE_FAILED_SUFFIX, s->name);
    if (env_file_open(s->env, mark_name, ENV_OPEN_CREATE, &mark) == 0) {
        env_file_close(s->env, mark);
    }
}

void store_abandon(struct store *s, const char *reason)
{
    store_condemn(s);
    env_die(s->env, reason);
}

void store_check(struct store *s, const char *what, int rc)
{
    if (rc != 0) {
        char reason[256];
        snprintf(reason, sizeof(reason), "%s: %s failed: %s", s->name, what, mdb_strerror(rc));
        store_abandon(s, reason);
    }
}

/* ---------------------------------------------------------------- rows and their hash */

uint64_t store_row_set(struct row_buffer *row, enum store_table t, MDB_val key, MDB_val value)
{
    size_t len = KEY_LEN_BYTES + key.mv_size + value.mv_size;
    if (len > row->cap) {
        row->cap = len * 2;
        row->data = mem_resize(row->data, row->cap);
    }
    put_le(row->data, key.mv_size, KEY_LEN_BYTES);
    memcpy(row->data + KEY_LEN_BYTES, key.mv_data, key.mv_size);
    if (value.mv_size > 0) {
        memcpy(row->data + KEY_LEN_BYTES + key.mv_size, value.mv_data, value.mv_size);
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
    put_le(out + 32, (uint64_t)at->time_ns, 8);
}

int store_position_read(MDB_txn *txn, MDB_dbi meta, struct store_position *out)
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
                                   .hash = get_le(p + 24, 8),
                                   .time_ns = (int64_t)get_le(p + 32, 8)};
    return 0;
}

/* ---------------------------------------------------------------- open and close */

int store_open_mdb(const char *path, unsigned flags, MDB_env **out)
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

int store_open_tables(MDB_txn *txn, unsigned flags, MDB_dbi dbi[TABLE_COUNT])
{
    for (int t = 0; t < TABLE_COUNT; t++) {
        int rc = mdb_dbi_open(txn, table_names[t], flags, &dbi[t]);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
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
    rc = store_open_tables(s->txn, MDB_CREATE, s->dbi);
    if (rc == 0) {
        rc = store_position_read(s->txn, s->dbi[TABLE_META], &s->committed);
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
    char path[STORE_PATH_BYTES];
    struct store *s = mem_new(struct store);
    s->env = env;
    snprintf(s->name, sizeof(s->name), "%s", name);
    int rc = store_open_mdb(env_real_path(env, name, path, sizeof(path)), MDB_NOSYNC, &s->mdb);
    if (rc == 0) {
        rc = open_rows(s);
        if (rc != 0) {
            mdb_env_close(s->mdb);
        }
    }
    if (rc != 0) {
        mem_free(s);
        return why_set(why, store_code_of(rc), "cannot open %s: %s", path, mdb_strerror(rc));
    }
    store_space_refresh(s);
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
        store_check(s, "cursor", mdb_cursor_open(s->txn, s->dbi[t], &s->cursor[t]));
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
    store_check(s, "get", rc);
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
    uint64_t new_hash = store_row_set(&s->new_row, t, val_of(key), val_of(value));
    MDB_val k = {key.len, s->new_row.data + KEY_LEN_BYTES};
    MDB_val v = {value.len, s->new_row.data + KEY_LEN_BYTES + key.len};
    MDB_val old;
    bool there = find(s, t, k, &old);
    store_space_changed(s, value.len);
    if (t != TABLE_META) {
        s->hash += new_hash - (there ? store_row_set(&s->old_row, t, k, old) : 0);
    }
    store_check(s, "put", mdb_cursor_put(cursor_of(s, t), &k, &v, there ? MDB_CURRENT : 0));
}

int store_del(struct store *s, enum store_table t, struct bytes key)
{
    MDB_val k = val_of(key);
    MDB_val old;
    if (!find(s, t, k, &old)) {
        return -ENOENT;
    }
    store_space_changed(s, 0);
    if (t != TABLE_META) {
        s->hash -= store_row_set(&s->old_row, t, k, old);
    }
    store_check(s, "delete", mdb_cursor_del(cursor_of(s, t), 0));
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
    store_check(s, "seek", rc);
    *out_key = bytes_of_val(k);
    *out_value = bytes_of_val(v);
    return 0;
}

int store_seek_back(struct store *s, enum store_table t, struct bytes key, struct bytes *out_key,
                    struct bytes *out_value)
{
    MDB_cursor *c = cursor_of(s, t);
    MDB_val k, v;
    int rc = cursor_from(c, key, &k, &v);
    if (rc == 0 || rc == MDB_NOTFOUND) {
        rc = mdb_cursor_get(c, &k, &v, rc == 0 ? MDB_PREV : MDB_LAST);
    }
    if (rc == MDB_NOTFOUND) {
        return -ENOENT;
    }
    store_check(s, "seek", rc);
    *out_key = bytes_of_val(k);
    *out_value = bytes_of_val(v);
    return 0;
}

void store_walk(struct store *s, enum store_table t, struct bytes key,
                bool (*each)(void *owner, struct bytes key, struct bytes value), void *owner)
{
    MDB_cursor *c; /* its own: `each` may look up rows of the same table */
    MDB_val k, v;
    store_check(s, "cursor", mdb_cursor_open(s->txn, s->dbi[t], &c));
    int rc = cursor_from(c, key, &k, &v);
    while (rc == 0 && each(owner, bytes_of_val(k), bytes_of_val(v))) {
        rc = mdb_cursor_get(c, &k, &v, MDB_NEXT);
    }
    mdb_cursor_close(c);
    if (rc != MDB_NOTFOUND) {
        store_check(s, "walk", rc);
    }
}

uint64_t store_hash(const struct store *s)
{
    return s->hash;
}

uint64_t store_rows(struct store *s, enum store_table t)
{
    MDB_stat stat;
    store_check(s, "stat", mdb_stat(s->txn, s->dbi[t], &stat));
    return stat.ms_entries;
}

/* ---------------------------------------------------------------- commit */

void store_commit(struct store *s, struct store_position at)
{
    uint8_t position[POSITION_BYTES];
    at.hash = s->hash;
    position_encode(&at, position);
    store_put(s, TABLE_META, bytes_str(POSITION_KEY), bytes_of(position, sizeof(position)));
    store_put_sum(s);
    store_space_before_commit(s);
    store_check(s, "commit", mdb_txn_commit(s->txn));
    s->committed = at;
    store_check(s, "write transaction", begin(s));
    store_space_refresh(s);
}

struct store_position store_committed(const struct store *s)
{
    return s->committed;
}

/* A failed sync says that pages are lost, and the kernel tells it once: the mark remembers it. */
int store_sync(struct store *s)
{
    int err = store_code_of(mdb_env_sync(s->mdb, 1));
    if (err != 0) {
        store_condemn(s);
    }
    return err;
}

int store_sync_run(struct store *s)
{
    return store_code_of(mdb_env_sync(s->mdb, 1));
}
