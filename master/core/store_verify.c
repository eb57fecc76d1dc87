/* store_verify.c - whether an environment that was found holds what was committed.
 *
 * Nothing in LMDB's pages tells that the disk changed them. The state hash tells for the rows that
 * it covers; those of TABLE_META but one have a sum of their own in the row "store.sum", 8 bytes
 * little endian, renewed by every commit.
 */
#include "master/core/store_internal.h"
#include "shared/base/hash.h"
#include "shared/base/mem.h"

#define SUM_KEY "store.sum"

enum { SUM_BYTES = 8 };

/* Sum of the rows of a table, but for the row `except`. An LMDB code. */
static int sum_rows(struct store *s, enum store_table t, struct bytes except, uint64_t *sum)
{
    MDB_cursor *c;
    MDB_val key, value;
    int rc = mdb_cursor_open(s->txn, s->dbi[t], &c);
    if (rc != 0) {
        return rc;
    }
    while ((rc = mdb_cursor_get(c, &key, &value, MDB_NEXT)) == 0) {
        if (except.len == 0 || !bytes_equal(bytes_of(key.mv_data, key.mv_size), except)) {
            *sum += store_row_set(&s->new_row, t, key, value);
        }
    }
    mdb_cursor_close(c);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

void store_put_sum(struct store *s)
{
    uint8_t row[SUM_BYTES];
    uint64_t sum = 0;
    store_check(s, "sum", sum_rows(s, TABLE_META, bytes_str(SUM_KEY), &sum));
    put_le(row, sum, SUM_BYTES);
    store_put(s, TABLE_META, bytes_str(SUM_KEY), bytes_of(row, sizeof(row)));
}

/* A walk over all rows of a transaction. */
struct store_proof {
    struct store *store;
    MDB_txn *txn;
    bool own_txn; /* a snapshot */
    struct store_position at;
    struct row_buffer row;
    int table;        /* being read */
    MDB_cursor *from; /* NULL = at the table's beginning */
    uint64_t rows, meta, bytes;
    uint64_t stored_meta; /* what the row "store.sum" says */
    bool has_meta;
    int rc; /* an LMDB code */
    bool over;
};

static void add_row(struct store_proof *c, MDB_val key, MDB_val value)
{
    bool meta = c->table == TABLE_META;
    if (meta && bytes_equal(bytes_of(key.mv_data, key.mv_size), bytes_str(SUM_KEY))) {
        c->has_meta = true;
        c->stored_meta = value.mv_size == SUM_BYTES ? get_le(value.mv_data, SUM_BYTES) : ~0ull;
        return;
    }
    uint64_t sum = store_row_set(&c->row, (enum store_table)c->table, key, value);
    *(meta ? &c->meta : &c->rows) += sum;
    c->bytes += key.mv_size + value.mv_size;
}

/* Rows of the current table until `until` bytes were read; MDB_NOTFOUND at the table's end. */
static int read_table(struct store_proof *c, uint64_t until)
{
    MDB_val key, value;
    int rc = c->from == NULL ? mdb_cursor_open(c->txn, c->store->dbi[c->table], &c->from) : 0;
    while (rc == 0 && c->bytes < until) {
        rc = mdb_cursor_get(c->from, &key, &value, MDB_NEXT);
        if (rc == 0) {
            add_row(c, key, value);
        }
    }
    return rc;
}

void store_proof_run(struct store_proof *c, uint64_t bytes)
{
    uint64_t until = c->bytes + bytes;
    while (c->rc == 0 && c->table < TABLE_COUNT && c->bytes < until) {
        int rc = read_table(c, until);
        if (rc == MDB_NOTFOUND) {
            mdb_cursor_close(c->from);
            c->from = NULL;
            c->table++;
        } else {
            c->rc = rc;
        }
    }
    c->over = c->rc != 0 || c->table == TABLE_COUNT;
}

bool store_proof_over(const struct store_proof *c)
{
    return c->over;
}

struct store_proof *store_proof_begin(struct store *s)
{
    struct store_proof *c = mem_new(struct store_proof);
    c->store = s;
    c->own_txn = true;
    store_check(s, "snapshot", mdb_txn_begin(s->mdb, NULL, MDB_RDONLY, &c->txn));
    store_check(s, "snapshot position", store_position_read(c->txn, s->dbi[TABLE_META], &c->at));
    return c;
}

int store_proof_end(struct store_proof *c, struct why *why)
{
    int rc = 0;
    if (!c->over) {
        rc = why_set(why, -ECANCELED, "rows of %s were not read to their end", c->store->name);
    } else if (c->rc != 0) {
        rc =
            why_set(why, ERR_CORRUPT, "%s cannot be read: %s", c->store->name, mdb_strerror(c->rc));
    } else if (c->rows != c->at.hash || (c->has_meta && c->meta != c->stored_meta)) {
        rc =
            why_set(why, ERR_CORRUPT, "%s at index %llu does not hold the rows that were committed",
                    c->store->name, (unsigned long long)c->at.index);
    }
    if (c->from != NULL) {
        mdb_cursor_close(c->from);
    }
    if (c->own_txn) {
        mdb_txn_abort(c->txn);
    }
    mem_free(c->row.data);
    mem_free(c);
    return rc;
}

int store_verify(struct store *s, struct why *why)
{
    struct store_proof *c = mem_new(struct store_proof);
    c->store = s;
    c->txn = s->txn;
    c->at = s->committed;
    while (!c->over) { /* once */
        store_proof_run(c, UINT64_MAX / 2);
    }
    return store_proof_end(c, why);
}
