/* store.h - the master's state as rows of one LMDB environment, and its running hash.
 *
 * The only module that calls LMDB. One write transaction is open from store_open to store_close;
 * reads go through it and see every put. Nothing is durable by itself: MDB_NOSYNC, the operation
 * log is the durability. store_commit makes the rows visible to a checkpoint and to a successor
 * process of the same incarnation.
 *
 * Loop thread only, but for store_copy_run, store_proof_run and store_sync_run. Any LMDB error ends
 * the process (env_die): an environment that failed is dropped and rebuilt at the next start.
 *
 * State hash: sum modulo 2^64, over the rows of all tables but TABLE_META, of
 * hash64_seed(key length, 2 bytes little endian ‖ key ‖ value, table).
 */
#ifndef MASTER_CORE_STORE_H
#define MASTER_CORE_STORE_H

#include "shared/base/bytes.h"
#include "shared/env/env.h"

enum { PREALLOCATE_DEFAULT = 256 << 20 };

enum store_table {
    TABLE_DENTRY,
    TABLE_INODE,
    TABLE_CHUNK,
    TABLE_XATTR,
    TABLE_SYMLINK,
    TABLE_SESSION,
    TABLE_REPLY,
    TABLE_ORPHAN,
    TABLE_GARBAGE,
    TABLE_SERVER,
    TABLE_TRASH,
    TABLE_WRITER,
    TABLE_META, /* counters, applied position; not part of the state hash. Keys "store.*" are the store's */
    TABLE_COUNT
};

struct store;

/* After an LMDB error a file `name` + this suffix says that the environment must be dropped. */
#define STORE_FAILED_SUFFIX ".failed"

/* Position in the operation log that the rows contain. */
struct store_position {
    uint64_t index;
    uint32_t epoch;
    uint64_t chain; /* H(index) */
    uint64_t hash;  /* state hash */
    /* Time of that record: later ones are not before it, also when the log begins behind it. 0 = not
     * known. A checkpoint's side file does not name it. */
    int64_t time_ns;
};

/* Opens (or makes) the environment in the file `name` of the process's directory.
 * Errors: ERR_CORRUPT, negative errno, with why. */
MUST_CHECK int store_open(struct env *env, const char *name, struct store **out, struct why *why);
/* Reads every row and compares with the hash that was committed: 0 or ERR_CORRUPT. To be called right after
 * store_open; blocks, about 0.3 s for a million files. */
MUST_CHECK int store_verify(struct store *s, struct why *why);
/* The same of what is committed now, on a worker thread, in steps, while the loop goes on: begin and end
 * on the loop, run anywhere until over. End: 0; ERR_CORRUPT: the caller abandons the store. */
struct store_proof;
struct store_proof *store_proof_begin(struct store *s);
void store_proof_run(struct store_proof *c, uint64_t bytes); /* of rows, about */
bool store_proof_over(const struct store_proof *c);
int store_proof_end(struct store_proof *c, struct why *why);
/* The next start drops the environment, and builds it from a checkpoint. */
void store_condemn(struct store *s);
/* The rows turned out to be wrong: marks the environment as one to be dropped at the next start,
 * and ends the process. */
void store_abandon(struct store *s, const char *reason) __attribute__((noreturn));
/* Drops what was not committed, closes. What was handed to the env has ended, or the env is halted. */
void store_close(struct store *s);

/* Value of a key: 0, or -ENOENT. The view is valid until the next put or del. */
MUST_CHECK int store_get(struct store *s, enum store_table t, struct bytes key, struct bytes *out);
void store_put(struct store *s, enum store_table t, struct bytes key, struct bytes value);
/* 0, or -ENOENT if there was no such row. */
int store_del(struct store *s, enum store_table t, struct bytes key);
/* First row with key >= key (after == false) or > key (after == true), in memcmp order.
 * 0 or -ENOENT. Views as above. */
MUST_CHECK int store_seek(struct store *s, enum store_table t, struct bytes key, bool after,
                          struct bytes *out_key, struct bytes *out_value);
/* Last row with key < `key`: 0 or -ENOENT. */
MUST_CHECK int store_seek_back(struct store *s, enum store_table t, struct bytes key,
                               struct bytes *out_key, struct bytes *out_value);
/* Walks rows from `key` (>=) while each returns true; each must not modify the store. For readdir
 * and scans. */
void store_walk(struct store *s, enum store_table t, struct bytes key,
                bool (*each)(void *owner, struct bytes key, struct bytes value), void *owner);

uint64_t store_hash(const struct store *s);
/* Rows of a table. */
uint64_t store_rows(struct store *s, enum store_table t);
/* Bytes the environment may still grow before it reaches its map or the disk's reserve, which is
 * left to deletes: min(4 GiB, 2 %), at least 1 MiB. What is preallocated is not in it. */
uint64_t store_room(struct store *s);
/* Without a commit: whether others made room, if there was little. */
void store_refresh_room(struct store *s);

/* From now on the file's space is taken ahead of its last page, at once here and in steps on a
 * worker later: about `ahead` bytes, or 1/16 of the disk if that is less. Without it a commit may
 * meet a full disk, which ends the process. */
void store_preallocate(struct store *s, uint64_t ahead);
/* True if the changes since the last commit may need all that is preallocated: commit now. */
bool store_commit_due(const struct store *s);
/* Bytes preallocated beyond the last page. */
uint64_t store_space_ahead(const struct store *s);

/* Commits the rows together with the position (its hash is filled in here); a new write transaction
 * is open after. */
void store_commit(struct store *s, struct store_position at);
/* What the last commit contains; all zero in a new environment. */
struct store_position store_committed(const struct store *s);
/* Sync to disk, for a clean stop. After an error the environment is dropped at the next start. */
MUST_CHECK int store_sync(struct store *s);
/* The same on a worker thread while the loop goes on (LMDB takes no lock for it), to hear errors of
 * the disk; the caller abandons the store on an error. */
MUST_CHECK int store_sync_run(struct store *s);

/* A copy of the committed rows into a new environment file, every page filled (rows are appended in
 * key order, so a tree that random inserts and deletes left half empty comes out dense), the hash
 * recomputed on the way. store_copy_begin (loop) opens the snapshot: call it right after
 * store_commit; store_copy_run copies about `bytes` more and syncs them: call it on a worker thread,
 * the loop goes on meanwhile, until store_copy_over (between runs) says that every row is copied or
 * that it failed; store_copy_end (loop) closes the snapshot. */
struct store_copy;
struct store_copy *store_copy_begin(struct store *s, const char *name);
void store_copy_run(struct store_copy *c, uint64_t bytes);
bool store_copy_over(const struct store_copy *c);
uint64_t store_copy_bytes(const struct store_copy *c); /* copied so far */
/* 0; ERR_CORRUPT if the recomputed hash is not the committed one; or a negative errno. *out_at is
 * the position of the snapshot. After a failure the file is the caller's to remove. */
int store_copy_end(struct store_copy *c, struct store_position *out_at, struct why *why);

/* Builds the file `name` from the checkpoint file `from`. */
MUST_CHECK int store_restore(struct env *env, const char *from, const char *name, struct why *why);

#endif
