/* replica_table.h - the replicas of this disk: what they hold, their sums in memory, their open
 * files, and the order of operations on each.
 *
 * A replica's data file has exactly `length` bytes; blocks never written are holes. sums[b] covers
 * the block's bytes up to the length. Every change that must survive goes to the meta log by
 * replica_log_* as it is made.
 *
 * Operations of one replica stand in one queue. One runs when no earlier one conflicts: two that
 * change it always conflict, one that changes conflicts with a read of a block it touches, reads
 * never conflict. So mutations run one at a time in their order, and a read sees each block before
 * or after a mutation, never in between.
 */
#ifndef CHUNKD_CORE_REPLICA_TABLE_H
#define CHUNKD_CORE_REPLICA_TABLE_H

#include "chunkd/core/aside.h"
#include "chunkd/core/chunkd.h"
#include "chunkd/core/intent_ring.h"
#include "chunkd/core/latency.h"
#include "chunkd/core/meta_log.h"
#include "shared/base/hash.h"
#include "shared/base/hmap.h"
#include "shared/proto/schema.h"

enum { TOMBSTONES_MAX = 16384, REPLICA_PATH_BYTES = 32, REPLICA_DIRS = 256 };

struct table;

struct local_replica {
    struct table *table;
    struct hmap_node node;
    uint64_t handle, ino, number;
    uint64_t version;           /* epoch << 32 | counter */
    uint64_t previous;          /* last committed version before it */
    uint64_t mutation;          /* last applied under version */
    uint64_t previous_mutation; /* last applied under previous */
    uint32_t length;
    uint32_t reserved_from, reserved_end; /* these bytes have their space on the disk, as far as
                                           * this process knows (replica_reserve.h) */
    uint32_t state;                       /* REPLICA_OK, CLONING, SUSPECT or BAD (then `failed`) */
    bool active;                          /* version is committed: it may be read and written */
    bool failed; /* a write or sync of its file failed: nothing here is to be believed any more */
    /* Failed because its file is not there. Not logged: should the file return, the next process
     * takes it as it was, `state_before`; its blocks must match their sums. */
    bool absent;
    uint32_t state_before;
    bool dirty;   /* the meta log says: after a power cut it may lack writes */
    bool dropped; /* going away; lookups do not find it */
    bool aside;   /* its file is to be set aside then */

    uint32_t *sums; /* of its blocks */
    uint32_t sums_cap;
    uint8_t
        *bad; /* a bit per block of CHUNK_BLOCKS_MAX: its bytes do not match its sum; NULL = none */
    uint32_t bad_count;
    struct list damaged_link; /* in table.damaged while a block is bad or it failed */
    uint32_t verified_s;      /* as in its record */

    struct env_file *file; /* NULL = not open */
    bool file_made;        /* its file is there */
    uint64_t name_number;  /* its file's name in struct replica_names; 0 = durable */
    uint32_t users;        /* why file and replica must stay: operations, syncs, requests */
    struct list open_link; /* in table.open, oldest use first, when file != NULL */
    struct list queue;     /* replica_op */
    bool pumping, pump_again;

    uint64_t queued;          /* last mutation number taken into the queue under version */
    uint64_t primary_version; /* this process orders mutations under it; 0 = none */
    uint64_t written_known;   /* highest `known` of a write under it (data.def) */
    bool broken;              /* a mutation failed: no more under this version */
    uint32_t preparing;       /* prepares waiting or running: no new mutations */
    uint64_t pulled_version;  /* filled from a peer under this version */
    uint64_t shown_version;   /* the state under this version was told to the master by a prepare */
    uint64_t outdated_round;  /* report whose answer said that it is old; 0 = none */
    uint64_t mended_version;  /* under this version its bad blocks are those that nobody has */
    bool copying;             /* a pull runs */

    struct block_stream *tail; /* hash of the last block's bytes so far; NULL = not in memory */
    uint32_t tail_block, tail_bytes;
    struct list tail_link;

    uint32_t unlogged_first, unlogged_end; /* blocks whose sums are newer than the meta log */
    struct list unlogged_link;             /* in table.unlogged */
    uint64_t log_number;                   /* compaction it was handed to */

    uint64_t writes; /* changes of data so far, as a count */
    uint64_t synced; /* of them, durable with their sums */
    uint64_t last_write_ns;
    struct list dirty_link; /* in table.dirty */
    bool sync_running;
    bool background_sync;
    struct list flush_link; /* in table.flushing */
    struct list sync_waits;
};

struct replica_op {
    struct list link;
    struct local_replica *replica;
    bool mutates;
    bool running;
    uint32_t first, end; /* blocks [first, end) */
    /* Sets first and end of a mutation, whose range depends on the length; NULL = they are set. */
    void (*range)(struct replica_op *op);
    void (*start)(struct replica_op *op); /* may end it before returning */
};

/* Names of the files in one directory, numbered as this process met them: one sync of the directory
 * makes durable all that were there when it began. */
struct replica_names {
    uint64_t met, durable; /* so many; so many of them, the first */
};

struct table {
    struct env *env;
    struct meta_log *meta;
    struct intent_ring *ring;
    struct aside *aside;
    struct disk_health *health; /* is told of errors */
    struct hmap replicas;
    uint64_t count;      /* replicas that are not dropped */
    uint64_t sums_count; /* block sums in memory */
    uint32_t block_bytes;
    uint32_t chunk_bytes;
    uint8_t *zeros; /* block_bytes of them */
    uint32_t zero_sum;
    struct list open;
    uint32_t open_count, open_max;
    struct replica_names names[REPLICA_DIRS];
    struct list tails; /* oldest use first */
    uint32_t tail_count, tails_max;
    struct list unlogged;
    struct list dirty;
    struct list flushing; /* dirty ones whose sync in the background is due */
    struct list damaged;
    /* A damaged replica is whole again; NULL = nobody wants to know. */
    void (*on_whole)(void *owner, const struct local_replica *r);
    void *on_whole_owner;
    uint64_t found_bad; /* blocks found damaged since the process started */
    uint64_t repaired;  /* of them, good again */
    uint64_t *snapshot; /* handles of a compaction, in order */
    uint64_t snapshot_count, snapshot_at, snapshot_number;
    struct latency latency;
    struct page_sums *page_sums;
    struct list removals;        /* files being removed */
    struct hmap tombstones;      /* struct tombstone, by handle */
    struct list tombstone_order; /* oldest first */
    /* Intents that may be overwritten once the meta log's file holds what was appended up to a
     * ticket: the pair that is waited for, and the next one. */
    struct intent_release {
        uint64_t ticket, settled;
    } release, release_next;
    bool dying;
};

void table_init(struct table *t, struct env *env, struct meta_log *meta, struct intent_ring *ring,
                struct aside *aside, const struct chunkd_limits *limits);
void table_set_geometry(struct table *t, uint32_t chunk_bytes, uint32_t block_bytes);
void table_close(struct table *t); /* frees; no I/O */

struct local_replica *table_get(const struct table *t,
                                uint64_t handle); /* NULL if none or dropped */
/* Handles the master named in drops, held or not: a late first write must not make them again. */
void table_note_dropped(struct table *t, uint64_t handle);
bool table_was_dropped(const struct table *t, uint64_t handle); /* one of the last TOMBSTONES_MAX,
                                                                 * or its file is still there */
bool table_is_dropping(const struct table *t, uint64_t handle); /* its file is being removed */
struct local_replica *table_add(struct table *t, uint64_t handle); /* must not be there */
/* Removes it from memory, while loading. */
void table_forget(struct local_replica *r);
/* Handles of all replicas, ascending; freed with mem_free. */
uint64_t *table_handles(const struct table *t, uint64_t *out_count);
uint64_t table_live_bytes(const struct table *t); /* of a fresh meta log */
bool table_snapshot(struct table *t);             /* meta_log_events.snapshot */

/* Keep a replica (and its open file) while something runs. When the last use of a dropped one ends
 * it leaves the table and its file the disk: whoever drops it holds a use until the DROP record is
 * durable. */
void replica_use(struct local_replica *r);
void replica_unuse(struct local_replica *r);
/* Opens the data file if it is not open; create: makes it. The caller holds a use. -ENOENT: it is
 * missing. */
MUST_CHECK int replica_open(struct local_replica *r, bool create);
/* Replaces the file by none and forgets what it held: the replica is empty and CLONING. Nothing
 * uses the file. */
void replica_reset(struct local_replica *r);
void replica_path(uint64_t handle, char out[REPLICA_PATH_BYTES]);
void replica_dir(uint64_t handle, char out[REPLICA_PATH_BYTES]);
struct replica_names *replica_names(const struct local_replica *r); /* of its directory */
bool replica_name_is_durable(const struct local_replica *r);        /* its file is there, too */

void replica_op_begin(struct local_replica *r,
                      struct replica_op *op); /* may start it before returning */
void replica_op_end(struct replica_op *op);

/* Seconds of the wall clock; 0 while it stands before 1970. */
uint32_t wall_clock_s(struct env *env);
uint32_t replica_blocks(const struct local_replica *r);
/* Bytes of block b when the chunk has `length`. */
uint32_t block_extent(const struct table *t, uint32_t length, uint32_t b);
uint32_t zeros_sum(const struct table *t, uint32_t bytes);
/* Changes the length; sums of new blocks are those of zeros, except that of a block that was
 * partial before. */
void replica_set_length(struct local_replica *r, uint32_t length);
/* Leaves the sums of new blocks to the caller. */
void replica_take_length(struct local_replica *r, uint32_t length);
bool replica_block_is_bad(const struct local_replica *r, uint32_t b);
void replica_clear_bad(struct local_replica *r, uint32_t b);
/* Its bytes were replaced by good ones. */
void replica_block_repaired(struct local_replica *r, uint32_t b);
/* Keeps table.damaged in step, after `failed` changed. */
void replica_note_damage(struct local_replica *r);
void replica_set_bad(struct local_replica *r, uint32_t b);  /* in memory only */
void replica_mark_bad(struct local_replica *r, uint32_t b); /* logged */
void replica_mark_failed(struct local_replica *r, int err); /* logged */
/* A read of block b failed. */
void replica_note_read_error(struct local_replica *r, uint32_t b, int err);
/* All its blocks match their sums now, or are marked. Logged. */
void replica_mark_verified(struct local_replica *r);
/* Mutations are running or waiting. */
bool replica_is_changing(const struct local_replica *r);
uint64_t replica_digest(const struct local_replica *r);
/* For the master; digest 0. BAD if any block is; SUSPECT after a mutation that not every member may
 * have. */
struct replica replica_report(const struct local_replica *r);
void replica_drop_tail(struct local_replica *r);
struct block_stream *replica_new_tail(struct local_replica *r, uint32_t block);

/* The meta log. Sums that are newer than the log always go before the head that names their
 * mutation. */
void replica_note_unlogged(struct local_replica *r, uint32_t first, uint32_t end);
void replica_log_sums(struct local_replica *r);
void replica_log_head(struct local_replica *r);
void replica_log_reserved(struct local_replica *r);
/* It is gone; with r->aside, its file is set aside. */
void replica_log_drop(struct local_replica *r);
/* About what its file takes: blocks of zeros are holes mostly. */
uint64_t replica_stored_bytes(const struct local_replica *r);
/* Logs the sums of all mutations that ended; their intents are released when the log's file has
 * them. */
void table_log_all_sums(struct table *t);
void table_meta_written(struct table *t); /* after each batch of the meta log */
/* A data change was made: counts it and keeps the replica on the list of those to be synced. */
void replica_note_write(struct local_replica *r);

#endif
