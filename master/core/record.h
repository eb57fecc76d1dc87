/* record.h - one operation log record: 64-byte header, body, zero padding to 8.
 *
 *   off size field (little endian)
 *     0   4  magic       "GOPL"
 *     4   2  fmt         format version 1 in the low 8 bits;
 *                        FIRST_OF_BATCH 0x100, LAST_OF_BATCH 0x200
 *     6   2  type        code of shared/proto/ops.def (class MUTATION or RECORD)
 *     8   8  cluster     cluster id: a foreign log can never be replayed
 *    16   4  epoch       epoch of the master that first wrote it; never rewritten
 *    20   4  body_len    <= RECORD_BODY_MAX
 *    24   8  index       contiguous, from 1
 *    32   8  time_ns     wall time chosen by the primary, strictly rising: mtime and ctime
 *    40   8  prev_chain  H(index - 1)
 *    48   8  body_sum    XXH3-64(body)
 *    56   8  hdr_sum     XXH3-64(first 56 bytes)
 *
 *   body: session u64, sequence u64, acked u64, then the msgpack of struct <op>_rec.
 *   H(i) = XXH3-64(prev_chain, header bytes 0..39 with the batch bits of fmt cleared, body_sum);
 *   H(0) = 0.
 *
 * Header and body have sums of their own: a torn body still leaves a header that proves the record
 * was being written.
 */
#ifndef MASTER_CORE_RECORD_H
#define MASTER_CORE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/bytes.h"
#include "shared/base/err.h"

enum {
    RECORD_HEADER_BYTES = 64,
    RECORD_PREFIX_BYTES = 24, /* session, sequence, acked at the start of the body */
    RECORD_MAGIC = 0x4c504f47,
    RECORD_FORMAT = 1,
    RECORD_FIRST_OF_BATCH = 0x100,
    RECORD_LAST_OF_BATCH = 0x200,
};

struct record {
    uint64_t index;
    uint32_t epoch;
    uint16_t type;
    uint16_t batch_flags; /* RECORD_FIRST_OF_BATCH, RECORD_LAST_OF_BATCH */
    uint64_t cluster;
    int64_t time_ns;
    uint64_t prev_chain;
    uint64_t chain; /* H(index) */
    uint64_t session;
    uint64_t sequence;
    uint64_t acked;
    struct bytes body; /* msgpack only; a view */
};

/* Bytes the record takes in a segment. */
uint32_t record_size(const struct record *r);
/* Writes it at out (record_size bytes) and sets r->chain. */
void record_encode(struct record *r, uint8_t *out);
/* Sets the batch flags of an encoded record: which is the last is known only when the batch goes
 * out, and batches are cut differently elsewhere. */
void record_set_batch_flags(uint8_t *encoded, uint16_t flags);
/* H(index - 1) as the header of an encoded record says it. */
uint64_t record_prev_chain(const uint8_t *encoded);
/* Reads the record at in. 0; -EAGAIN if `in` is too short for what the header claims; ERR_CORRUPT
 * with a sentence (bad magic, header sum, body sum, length). *out_header_good says whether the
 * header's sum fits. */
MUST_CHECK int record_decode(struct bytes in, struct record *out, bool *out_header_good,
                             struct why *why);

#endif
