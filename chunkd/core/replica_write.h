/* replica_write.h - one mutation applied to one replica: data file, sums, intent ring, dirty mark.
 *
 * Which sum a touched block gets:
 *   wholly written        the sender's sum of the piece (the payload was checked against it)
 *   only extended         its sum goes on from the streaming state of the tail; without one the
 *                         stored tail is hashed first and must equal the stored sum, else the
 *                         block is bad
 *   partly overwritten    the old block is read, must equal the old sum, is merged in memory and
 *                         hashed
 *   new, zeros before it  zeros and the new bytes
 *   in a gap              zeros; nothing is written, the file keeps a hole
 *
 * A reservation changes no sum, no byte and no length: only its number is applied.
 *
 * Order: dirty mark durable (if the replica was clean), old blocks read, intents in the ring, file
 * changed, sums in memory. The sums reach the meta log later, at the latest before their intents
 * are overwritten.
 */
#ifndef CHUNKD_CORE_REPLICA_WRITE_H
#define CHUNKD_CORE_REPLICA_WRITE_H

#include "chunkd/core/replica_reserve.h"

/* Embedded in its owner. */
struct write_op {
    /* The owner's part. */
    uint32_t kind; /* WRITE_DATA, WRITE_TRUNCATE, WRITE_PUNCH, WRITE_RESERVE */
    uint32_t offset, length;
    struct slice payload; /* borrowed from the owner until done; DATA */
    const uint8_t *sums;  /* borrowed: of its pieces, 4 bytes LE each; checked */
    uint64_t version;     /* ERR_WRONG_VERSION if the replica holds another when its turn comes */
    uint64_t mutation;    /* number under version */
    uint64_t spare;       /* RESERVE: bytes of the disk that must stay free */
    void (*done)(struct write_op *w); /* once, possibly inside write_op_begin */
    int status; /* 0; ERR_CHECKSUM: bad_block; -ENOSPC; -EIO: the replica failed. RESERVE: -ENOSPC
                 * is no failure, the mutation has taken its number */
    uint32_t bad_block; /* UINT32_MAX = none found bad */

    /* private */
    struct replica_op op;
    struct disk_op disk;
    uint64_t disk_begin_ns;
    struct reserve_op reserve;
    struct meta_wait wait;
    struct meta_wait created;
    struct intent_hold hold;
    struct env_timer ring_timer;
    uint32_t new_length;
    uint32_t first, count; /* blocks whose sums change */
    uint32_t *new_sums;
    uint32_t at;     /* block being planned, relative to first; afterwards: being checked */
    struct buf *old; /* block buffer for merging */
    bool old_valid;  /* it holds the old bytes of block `at` */
    bool holding;
    bool applied;
    uint32_t pending; /* parts of the last step not yet ended */
};

/* 0 or ERR_PROTOCOL: do kind, offset, length, payload and the number of sums fit together and into
 * a chunk? ERR_CHECKSUM: the payload does not match its sums. */
MUST_CHECK int write_op_check(const struct table *t, uint32_t kind, uint32_t offset,
                              uint32_t length, const struct slice *payload, struct bytes sums);
void write_op_begin(struct write_op *w, struct local_replica *r);
void write_op_release(struct write_op *w); /* frees what it holds; for destroying */
static inline struct local_replica *write_op_replica(struct write_op *w)
{
    return w->op.replica;
}

#endif
