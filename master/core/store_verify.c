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

/* True if the sum of TABLE_META is there and another one. */
static bool meta_differs(struct store *s, uint64_t sum)
{
    MDB_val key = {sizeof(SUM_KEY) - 1, (void *)(uintptr_t)SUM_KEY};
    MDB_val value;
    int rc = mdb_get(s->txn, s->dbi[TABLE_META], &key, &value);
    return rc != MDB_NOTFOUND &&
           (rc != 0 || value.mv_size != SUM_BYTES || get_le(value.mv_data, SUM_BYTES) != sum);
}

int store_verify(struct store *s, struct why *why)
{
    uint64_t rows = 0, meta = 0;
    int rc = sum_rows(s, TABLE_META, bytes_str(SUM_KEY), &meta);
    for (int t = 0; t < TABLE_COUNT && rc == 0; t++) {
        if (t != TABLE_META) {
            rc = sum_rows(s, (enum store_table)t, (struct bytes){0}, &rows);
        }
    }
    if (rc != 0) {
        return why_set(why, ERR_CORRUPT, "%s cannot be read: %s", s->name, mdb_strerror(rc));
    }
    if (rows != s->committed.hash || meta_differs(s, meta)) {
        return why_set(why, ERR_CORRUPT,
                       "%s at index %llu does not hold the rows that were committed", s->name,
                       (unsigned long long)s->committed.index);
    }
    return 0;
}
