/* replica_scan.h - reads blocks of a replica and tells which do not match their sums.
 *
 * The caller holds the replica's queue or otherwise knows that nothing changes it meanwhile.
 */
#ifndef CHUNKD_CORE_REPLICA_SCAN_H
#define CHUNKD_CORE_REPLICA_SCAN_H

#include "chunkd/core/replica_table.h"

/* Embedded in its owner; set the callbacks, then start. */
struct replica_scan {
    /* A block whose bytes hash to `sum` instead of what is stored. `readable` false: they cannot be
     * read. */
    void (*mismatch)(struct replica_scan *s, uint32_t block, uint32_t sum, bool readable);
    /* Should block b be read? NULL = every one. */
    bool (*wanted)(struct replica_scan *s, uint32_t block);
    void (*done)(struct replica_scan *s,
                 int status); /* 0, or the file cannot be opened. Never inside start */
    /* private */
    struct local_replica *replica;
    uint32_t at, piece_blocks;
    struct buf *buf;
    struct disk_op op;
    struct env_timer turn;
    int status;
};

void replica_scan_start(struct replica_scan *s, struct local_replica *r);
void replica_scan_release(struct replica_scan *s); /* frees what it holds; for destroying */

#endif
