/* replica_reserve.h - space on the disk for bytes of a replica that are not written yet.
 *
 * The data file gets blocks beyond its end and in its holes; its size, its bytes and so its sums
 * stay as they are. A failure for want of space gives back what it took beyond the file's end, unless
 * something was reserved there before; the rest stays until the file is cut or removed.
 *
 * What is reserved is remembered as one range, in the meta log too: writes inside it are not refused
 * because the disk is nearly full. If a power cut took the blocks but not the record, such a write
 * may find the disk full. A replica that is copied elsewhere is reserved only where it was copied
 * from.
 */
#ifndef CHUNKD_CORE_REPLICA_RESERVE_H
#define CHUNKD_CORE_REPLICA_RESERVE_H

#include "chunkd/core/replica_table.h"

/* Embedded in its owner; zeroed but for the upper part. */
struct reserve_op {
    void (*done)(struct reserve_op *o); /* possibly inside reserve_begin */
    uint64_t spare;                     /* bytes of the disk that must stay free */
    uint32_t from, end;                 /* in the chunk, not empty */
    int status;                         /* 0; -ENOSPC; what the disk said */

    /* private */
    struct local_replica *replica;
    struct disk_op disk;
    uint32_t at;
    uint32_t length; /* of the running step */
    bool stepping;   /* little is free: in small steps */
    bool tried;      /* something may have been taken */
    uint32_t inside; /* the file's own blocks end here */
    bool had_some;   /* not all of what is behind them was new */
};

/* The replica's file is open and nobody else changes it meanwhile. */
void reserve_begin(struct reserve_op *o, struct local_replica *r);

bool replica_is_reserved(const struct local_replica *r, uint32_t from, uint32_t end);
/* [from, end) may have lost its space. */
void replica_unreserve(struct local_replica *r, uint32_t from, uint32_t end);

#endif
