/* meta_record.h - records of the meta log: what they say and their bytes.
 *
 * Every record tells how things are after it, never how they change, so that a record may be
 * repeated. Little endian; lengths are multiples of 8:
 *
 *   off size field
 *     0   8  sum       XXH3-64 of the rest of the record
 *     8   4  len       of the record, this header included
 *    12   2  type
 *    14   2  zero
 *    16   8  sequence  consecutive within one log file
 *    24   8  durable   every record with sequence <= this was synced when this one was made
 *    32      body
 *
 *   REPLICA 1  handle 8, ino 8, number 8, version 8, previous 8, mutation 8, previous_mutation 8,
 *              length 4, state 4, flags 4 (ACTIVE 1, DIRTY 2, FAILED 4), verified 4.
 *              Makes it if it is not there. verified: when all its blocks were last found to match
 *              their sums, or it was made; seconds since 1970, 0 = not known
 *   SUMS    2  handle 8, mutation 8, length 4, first 4, count 4, zero 4, then count sums of 4 bytes
 *              each for the blocks from `first`, padded to 8: they are good from here on
 *   BAD     3  handle 8, block 4, zero 4: the block's bytes do not match its sum
 *   DROP    4  handle 8: the replica is gone
 *   ASIDE   5  handle 8, since 8, bytes 8: the file of a replica that was let go is in aside/, or
 *              on its way there, since then (ns since 1970; 0 = it is gone)
 *   RESERVED 6 handle 8, from 4, end 4: bytes [from, end) have their space on the disk, none if the
 *              two are equal
 */
#ifndef CHUNKD_CORE_META_RECORD_H
#define CHUNKD_CORE_META_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/err.h"
#include "shared/base/limits.h"

enum meta_type {
    META_REPLICA = 1,
    META_SUMS = 2,
    META_BAD = 3,
    META_DROP = 4,
    META_ASIDE = 5,
    META_RESERVED = 6
};
enum { META_ACTIVE = 1, META_DIRTY = 2, META_FAILED = 4 };
enum {
    META_HEADER_BYTES = 32,
    META_REPLICA_BYTES = META_HEADER_BYTES + 72,
    META_RECORD_MAX = META_HEADER_BYTES + 32 + 4 * CHUNK_BLOCKS_MAX,
};

struct meta_record {
    enum meta_type type;
    uint64_t handle;
    uint64_t ino, number, version, previous, previous_mutation; /* REPLICA */
    uint64_t mutation;                                          /* REPLICA, SUMS */
    uint32_t length;                                            /* REPLICA, SUMS */
    uint32_t state, flags;                                      /* REPLICA */
    uint32_t verified_s;                                        /* REPLICA */
    uint32_t first, count;                                      /* SUMS */
    const uint32_t *sums;    /* SUMS, encoding: `count` of them */
    const uint8_t *sums_raw; /* SUMS, decoding: the same, 4 bytes LE each, in the input */
    uint32_t block;          /* BAD */
    uint64_t since_ns;       /* ASIDE */
    uint64_t bytes;          /* ASIDE */
    uint32_t from, end;      /* RESERVED */
};

uint32_t meta_record_size(const struct meta_record *r);
/* Writes meta_record_size bytes. */
void meta_record_encode(const struct meta_record *r, uint64_t sequence, uint64_t durable,
                        uint8_t *out);
/* Reads the record at `in`, of which `left` bytes are there. Returns its size, or ERR_CORRUPT if
 * these bytes are not a whole and valid record. */
MUST_CHECK int meta_record_decode(struct meta_record *r, uint64_t *out_sequence,
                                  uint64_t *out_durable, const uint8_t *in, uint64_t left);

#endif
