/* hash.c - the checksums of gfs, by xxhash. */
#include "shared/base/hash.h"
#include "shared/base/invariant.h"

#include <xxhash.h>
#if defined(__x86_64__)
/* The library's own choice of instructions at run time; what it calls without is scalar in
 * Debian's build, seven times slower for a block. The sums are the same. */
#include <xxh_x86dispatch.h>
#endif

uint64_t hash64(const void *data, size_t len)
{
    return XXH3_64bits(data, len);
}

uint64_t hash64_seed(const void *data, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, len, seed);
}

uint32_t block_sum(const void *data, size_t len)
{
    return (uint32_t)XXH3_64bits(data, len);
}

/* xxhash hides its state type from users of the shared library; the pointer is the stream. */
static XXH3_state_t *state_of(struct block_stream *s)
{
    return (XXH3_state_t *)(void *)s;
}

struct block_stream *block_stream_new(void)
{
    XXH3_state_t *st = XXH3_createState();
    ASSERT(st != NULL);
    XXH3_64bits_reset(st);
    return (struct block_stream *)(void *)st;
}

void block_stream_reset(struct block_stream *s)
{
    XXH3_64bits_reset(state_of(s));
}

void block_stream_add(struct block_stream *s, const void *data, size_t len)
{
    XXH3_64bits_update(state_of(s), data, len);
}

uint32_t block_stream_sum(const struct block_stream *s)
{
    return (uint32_t)XXH3_64bits_digest((const XXH3_state_t *)(const void *)s);
}

void block_stream_free(struct block_stream *s)
{
    if (s != NULL) {
        XXH3_freeState(state_of(s));
    }
}
