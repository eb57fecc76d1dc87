/* hash.h - the checksums of gfs; the only caller of xxhash. */
#ifndef SHARED_BASE_HASH_H
#define SHARED_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* XXH3-64 of len bytes: frames, records, segments, checkpoints, the state hash. */
uint64_t hash64(const void *data, size_t len);
/* XXH3-64 with a seed, to keep kinds of objects apart. */
uint64_t hash64_seed(const void *data, size_t len, uint64_t seed);
/* Checksum of one block of a chunk (at most 64 KiB): the low half of XXH3-64. */
uint32_t block_sum(const void *data, size_t len);

/* Streaming form of block_sum, for the open tail of an append. Opaque, about 600 bytes. */
struct block_stream;
struct block_stream *block_stream_new(void); /* empty; freed with block_stream_free */
void block_stream_reset(struct block_stream *s);
void block_stream_add(struct block_stream *s, const void *data, size_t len);
uint32_t block_stream_sum(const struct block_stream *s); /* the stream may go on after it */
void block_stream_free(struct block_stream *s);          /* NULL is fine */

#endif
