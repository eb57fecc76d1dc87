/* frame.h - the frame every connection of gfs speaks, and the checks of its header.
 *
 * Format (version 1, little endian), 88 bytes of header, then body_len bytes of msgpack, then
 * payload_len raw bytes:
 *
 *   off size field
 *     0   4  magic        "GFSF"
 *     4   2  version      1
 *     6   2  op           code of shared/proto/ops.def
 *     8   4  flags        FRAME_REPLY in answers, and FRAME_NAMES_* in those of a master; FRAME_ANY_AGE
 *                         in requests; other bits 0
 *    12   4  status       answers: 0 or a negative error code; requests: 0
 *    16   8  request_id   chosen by the asker, repeated in the answer
 *    24   8  session      the mount's session, 0 = none
 *    32   8  sequence     mutations: number of the request within its session, from 1; else 0
 *    40   8  acked        every sequence <= acked is answered; its stored reply may be dropped
 *    48   8  index        answers of a master: operation log index the answer depends on;
 *                         requests of a client: the highest index it has seen
 *    56   4  epoch        master's epoch (answers and requests of a master; of a shadow: that of the
 *                         last record it applied); requests of a client: that of the answer it has
 *                         `index` from
 *    60   4  body_len     <= FRAME_BODY_MAX
 *    64   4  payload_len  <= FRAME_PAYLOAD_MAX
 *    68   4  age_ms       answers of a shadow: at most so long ago everything that was committed was
 *                         in what it answered from, at least 1; of a primary, and else: 0
 *    72   8  body_sum     XXH3-64 of the body
 *    80   8  header_sum   XXH3-64 of the 80 bytes before
 *
 * The payload has no sum of its own here: the operations that carry one name the sums of its blocks
 * in their body, so that every byte is hashed once per hop.
 */
#ifndef SHARED_PROTO_FRAME_H
#define SHARED_PROTO_FRAME_H

#include <stdint.h>

#include "shared/base/err.h"
#include "shared/base/limits.h"

enum {
    FRAME_HEADER_BYTES = 88,
    FRAME_MAGIC = 0x46534647, /* "GFSF" */
    FRAME_VERSION = 1,
    FRAME_REPLY = 1,
    /* For NAME_LEASE_MS from when the request was sent nobody else adds a name to ... */
    FRAME_NAMES_KEPT = 2, /* its directory, and nobody did since the asker made that */
    FRAME_NAMES_NEW = 4,  /* the directory that it made */
    FRAME_PROMISES = FRAME_NAMES_KEPT | FRAME_NAMES_NEW,
    /* A request to a shadow: to be answered however old what it knows may be. */
    FRAME_ANY_AGE = 8,
};

struct frame_header {
    uint16_t version; /* set by decode, ignored by encode */
    uint16_t op;
    uint32_t flags;
    int32_t status;
    uint64_t request_id;
    uint64_t session;
    uint64_t sequence;
    uint64_t acked;
    uint64_t index;
    uint32_t epoch;
    uint32_t body_len;
    uint32_t payload_len;
    uint32_t age_ms;
    uint64_t body_sum;
};

void frame_header_encode(const struct frame_header *h, uint8_t out[FRAME_HEADER_BYTES]);
/* Errors: ERR_PROTOCOL with a sentence in why (magic, version, sum, a length over its bound). */
MUST_CHECK int frame_header_decode(struct frame_header *h, const uint8_t in[FRAME_HEADER_BYTES],
                                   struct why *why);

#endif
