/* copy_internal.h - one pull, for copy.c (what is to be copied) and copy_blocks.c (copying it). */
#ifndef CHUNKD_CORE_COPY_INTERNAL_H
#define CHUNKD_CORE_COPY_INTERNAL_H

#include "chunkd/core/core.h"
#include "chunkd/core/replica_scan.h"
#include "chunkd/core/replica_sync.h"

enum { COPY_LANES = 4, COPY_SOURCES_MAX = REPLICAS_MAX };

struct pull_request;

/* One run of blocks on its way. */
struct copy_lane {
    struct pull_request *p;
    struct copy_wait wait;
    struct rpc_call call;
    struct disk_op disk;
    struct slice payload;
    uint32_t first, count; /* blocks */
    uint32_t offset, length;
    uint32_t source; /* index */
    bool busy;
};

struct pull_request {
    struct request q;
    struct pull_req req;
    uint64_t source_version;
    struct replica_op op;
    struct meta_wait wait;
    struct rpc_call call;
    struct disk_op disk;
    struct replica_scan scan;
    struct sync_wait sync;
    uint32_t *vector; /* sums the blocks shall have */
    uint32_t blocks, length;
    bool trusted; /* stored sums are those of the bytes here */
    int status;

    /* copy_blocks.c */
    struct copy_lane lanes[COPY_LANES];
    uint32_t lane_count;                     /* as many at once, 1 to COPY_LANES */
    struct server sources[COPY_SOURCES_MAX]; /* the source, then the others */
    uint32_t source_count;
    uint32_t gone;                       /* a bit per source that does not answer as it should */
    uint8_t need[CHUNK_BLOCKS_MAX / 8];  /* a bit per block to be copied */
    uint8_t alone[CHUNK_BLOCKS_MAX / 8]; /* of those, to be asked for by itself */
    uint8_t tried[CHUNK_BLOCKS_MAX];     /* sources that could not give the block */
    uint32_t next;                       /* block */
    uint64_t copied;
    uint32_t refused, bad;
};

/* A first copy, while writes go on: clients come first. */
static inline bool copy_is_first(const struct pull_request *p)
{
    return p->req.version == 0;
}

static inline bool copy_is_needed(const struct pull_request *p, uint32_t b)
{
    return p->need[b / 8] >> (b % 8) & 1;
}

static inline void copy_need(struct pull_request *p, uint32_t b)
{
    p->need[b / 8] |= (uint8_t)(1u << (b % 8));
}

/* Copies what is needed; then copy_ended runs. The replica's length is p->length. */
void copy_blocks(struct pull_request *p);
/* p->status: 0, or why it ended early. Nothing is under way any more. */
void copy_ended(struct pull_request *p);
/* Cancels everything; no callbacks. */
void copy_blocks_release(struct pull_request *p);

#endif
