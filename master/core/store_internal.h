/* store_internal.h - what the store*.c files share; nobody else includes it. */
#ifndef MASTER_CORE_STORE_INTERNAL_H
#define MASTER_CORE_STORE_INTERNAL_H

#include "master/core/store.h"

#include <lmdb.h>

enum {
    STORE_NAME_BYTES = 128,
    STORE_PATH_BYTES = 4096,
};

/* One row as contiguous bytes: key length, key, value. */
struct row_buffer {
    uint8_t *data;
    size_t cap;
};

/* Space of the file on the disk (store_space.c). */
struct store_space {
    uint64_t ahead; /* wanted beyond `used`; 0 = nothing is preallocated */
    uint64_t used;  /* bytes of pages at the last commit */
    uint64_t
        allocated; /* the file has its space up to here; UINT64_MAX: that cannot be asked for */
    uint64_t step; /* bytes of the next request: halved while the disk has no room */
    uint64_t room;
    uint64_t changes;    /* rows put and deleted since the last commit */
    uint64_t long_bytes; /* of values that have pages of their own, put since then */
    bool starved;        /* the last request found no room */
    bool growing;        /* `op` is under way */
    struct disk_op op;
};

struct store {
    struct env *env;
    char name[STORE_NAME_BYTES];
    MDB_env *mdb;
    MDB_txn *txn;
    MDB_dbi dbi[TABLE_COUNT];
    MDB_cursor *cursor[TABLE_COUNT]; /* of txn; NULL until used */
    struct store_position committed;
    uint64_t hash;
    struct store_space space;
    struct row_buffer new_row, old_row;
};

/* An LMDB code as 0 or a negative error. */
int store_code_of(int rc);
/* Ends the process (store_abandon) unless rc is 0. */
void store_check(struct store *s, const char *what, int rc);

/* Opens an environment with the largest map the address space allows. An LMDB code. */
int store_open_mdb(const char *path, unsigned flags, MDB_env **out);
/* An LMDB code. */
int store_open_tables(MDB_txn *txn, unsigned flags, MDB_dbi dbi[TABLE_COUNT]);
/* Reads the position in a transaction; all zero if there is none. An LMDB code. */
int store_position_read(MDB_txn *txn, MDB_dbi meta, struct store_position *out);
/* Puts the row into the buffer and returns its hash. */
uint64_t store_row_set(struct row_buffer *row, enum store_table t, MDB_val key, MDB_val value);

/* store_verify.c: before every commit, when everything else of it is put. */
void store_put_sum(struct store *s);

/* store_space.c: after open and after every commit; before every commit; for every put and del. */
void store_space_refresh(struct store *s);
void store_space_before_commit(struct store *s);
static inline void store_space_changed(struct store *s, size_t value_bytes)
{
    enum { LONG_BYTES = 1024 };
    s->space.changes++;
    if (value_bytes > LONG_BYTES) {
        s->space.long_bytes += value_bytes;
    }
}

#endif
