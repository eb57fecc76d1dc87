/* store_copy.c - copies of the committed rows, and an environment made from one. */
#include "master/core/store_internal.h"
#include "shared/base/mem.h"

#include <stdio.h>

enum {
    ROW_EXTRA_BYTES = 10, /* of a page, for each row */
};

struct store_copy {
    struct store *store;
    char name[STORE_NAME_BYTES];
    char path[STORE_PATH_BYTES];
    MDB_txn *snapshot;
    struct store_position at;
    uint64_t hash; /* recomputed */
    int rc;        /* an LMDB code */
    bool over;     /* every row is copied, or rc is not 0 */
    struct row_buffer row;
    int table;        /* being copied */
    MDB_cursor *from; /* of the snapshot; NULL = at the table's beginning */
    uint64_t bytes;   /* of rows copied */
    /* The environment being written. */
    MDB_env *mdb;
    MDB_dbi dbi[TABLE_COUNT];
};

struct store_copy *store_copy_begin(struct store *s, const char *name)
{
    struct store_copy *c = mem_new(struct store_copy);
    c->store = s;
    snprintf(c->name, sizeof(c->name), "%s", name);
    (void)env_unlink(s->env, name); /* of a run that was killed */
    env_real_path(s->env, name, c->path, sizeof(c->path));
    store_check(s, "snapshot", mdb_txn_begin(s->mdb, NULL, MDB_RDONLY, &c->snapshot));
    store_check(s, "snapshot position",
                store_position_read(c->snapshot, s->dbi[TABLE_META], &c->at));
    return c;
}

static int open_target(struct store_copy *c, MDB_txn **txn)
{
    if (c->mdb != NULL) {
        return mdb_txn_begin(c->mdb, NULL, 0, txn);
    }
    /* One writer and no readers: a lock file would only be left behind. */
    int rc = store_open_mdb(c->path, MDB_NOSYNC | MDB_NOLOCK, &c->mdb);
    if (rc == 0) {
        rc = mdb_txn_begin(c->mdb, NULL, 0, txn);
    }
    return rc ? rc : store_open_tables(*txn, MDB_CREATE, c->dbi);
}

static void close_target(struct store_copy *c)
{
    if (c->mdb != NULL) {
        mdb_env_close(c->mdb);
        c->mdb = NULL;
    }
}

/* Rows of the current table until `until` bytes are copied; MDB_NOTFOUND at the table's end. */
static int copy_table(struct store_copy *c, MDB_txn *txn, uint64_t until)
{
    MDB_cursor *to = NULL;
    MDB_val key, value;
    int rc = 0;
    if (c->from == NULL) {
        rc = mdb_cursor_open(c->snapshot, c->store->dbi[c->table], &c->from);
    }
    if (rc == 0) {
        rc = mdb_cursor_open(txn, c->dbi[c->table], &to);
    }
    while (rc == 0 && c->bytes < until) {
        rc = mdb_cursor_get(c->from, &key, &value, MDB_NEXT);
        if (rc != 0) {
            break;
        }
        if (c->table != TABLE_META) {
            c->hash += store_row_set(&c->row, (enum store_table)c->table, key, value);
        }
        rc = mdb_cursor_put(to, &key, &value, MDB_APPEND);
        c->bytes += key.mv_size + value.mv_size + ROW_EXTRA_BYTES;
    }
    if (to != NULL) {
        mdb_cursor_close(to);
    }
    return rc;
}

static int copy_slice(struct store_copy *c, MDB_txn *txn, uint64_t until)
{
    while (c->table < TABLE_COUNT && c->bytes < until) {
        int rc = copy_table(c, txn, until);
        if (rc == MDB_NOTFOUND) {
            mdb_cursor_close(c->from);
            c->from = NULL;
            c->table++;
        } else if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

void store_copy_run(struct store_copy *c, uint64_t bytes)
{
    MDB_txn *txn = NULL;
    c->rc = open_target(c, &txn);
    if (c->rc == 0) {
        c->rc = copy_slice(c, txn, c->bytes + bytes);
    }
    if (c->rc == 0) {
        c->rc = mdb_txn_commit(txn);
        txn = NULL;
    }
    /* Each slice is synced: one sync at the end would hold up the log's own for long. */
    if (c->rc == 0) {
        c->rc = mdb_env_sync(c->mdb, 1);
    }
    if (txn != NULL) {
        mdb_txn_abort(txn);
    }
    c->over = c->rc != 0 || c->table == TABLE_COUNT;
    if (c->over) {
        close_target(c); /* here: unmapping takes its time */
    }
}

bool store_copy_over(const struct store_copy *c)
{
    return c->over;
}

uint64_t store_copy_bytes(const struct store_copy *c)
{
    return c->bytes;
}

int store_copy_end(struct store_copy *c, struct store_position *out_at, struct why *why)
{
    int err = 0;
    if (!c->over) {
        err = why_set(why, -ECANCELED, "copy into %s was not run to its end", c->name);
    } else if (c->rc != 0) {
        err =
            why_set(why, store_code_of(c->rc), "cannot write %s: %s", c->path, mdb_strerror(c->rc));
    } else if (c->hash != c->at.hash) {
        err = why_set(why, ERR_CORRUPT,
                      "rows of %s at index %llu hash to %#llx, but %#llx was committed",
                      c->store->name, (unsigned long long)c->at.index, (unsigned long long)c->hash,
                      (unsigned long long)c->at.hash);
    }
    *out_at = c->at;
    if (c->from != NULL) {
        mdb_cursor_close(c->from);
    }
    mdb_txn_abort(c->snapshot);
    close_target(c); /* if it was not run to its end */
    mem_free(c->row.data);
    mem_free(c);
    return err;
}

int store_restore(struct env *env, const char *from, const char *name, struct why *why)
{
    char from_path[STORE_PATH_BYTES];
    char path[STORE_PATH_BYTES];
    MDB_env *mdb;
    env_real_path(env, from, from_path, sizeof(from_path));
    env_real_path(env, name, path, sizeof(path));
    int rc = store_open_mdb(from_path, MDB_RDONLY | MDB_NOLOCK, &mdb);
    if (rc == 0) {
        rc = mdb_env_copy(mdb, path);
        mdb_env_close(mdb);
    }
    return rc == 0 ? 0
                   : why_set(why, store_code_of(rc), "cannot build %s from %s: %s", path, from_path,
                             mdb_strerror(rc));
}
