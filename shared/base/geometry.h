/* geometry.h - sizes and times of a cluster, run-time values so that tests are small and fast.
 *
 * The master owns them and hands them to sessions and chunkservers when they introduce themselves;
 * log segment size is the master's own. chunk_bytes is a multiple of block_bytes, both are powers
 * of two, chunk_bytes / block_bytes <= CHUNK_BLOCKS_MAX.
 */
#ifndef SHARED_BASE_GEOMETRY_H
#define SHARED_BASE_GEOMETRY_H

#include <stdint.h>

struct geometry {
    uint32_t chunk_bytes;   /* 64 MiB */
    uint32_t block_bytes;   /* 64 KiB */
    uint32_t segment_bytes; /* operation log segment, 64 MiB */
    uint32_t replicas;      /* 3: members wanted for each chunk */
    uint32_t heartbeat_ms;  /* 500: chunkserver to master */
    uint32_t lease_ms;      /* 5000: a chunkserver's lease, which carries its primaryships */
    uint32_t session_ms;    /* 30000: a mount's session ends after this silence */
    uint32_t
        request_timeout_ms; /* 2000: one chunkserver request, before a member counts as failed */
    uint32_t checkpoint_records; /* records between checkpoints, 1,000,000 */
};

#define GEOMETRY_DEFAULT                                                                           \
    ((struct geometry){.chunk_bytes = 64u << 20,                                                   \
                       .block_bytes = 64u << 10,                                                   \
                       .segment_bytes = 64u << 20,                                                 \
                       .replicas = 3,                                                              \
                       .heartbeat_ms = 500,                                                        \
                       .lease_ms = 5000,                                                           \
                       .session_ms = 30000,                                                        \
                       .request_timeout_ms = 2000,                                                 \
                       .checkpoint_records = 1000000})

#endif
