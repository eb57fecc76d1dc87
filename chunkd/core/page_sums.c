/* page_sums.c - see page_sums.h. */
#include "chunkd/core/page_sums.h"
#include "shared/base/hmap.h"
#include "shared/base/limits.h"
#include "shared/base/mem.h"

#include <stdbool.h>

/* handle 0: nothing */
struct place {
    uint64_t handle;
    uint32_t block;
    uint32_t block_sum;
    uint32_t sums[PAGES_PER_BLOCK];
};

struct page_sums {
    struct place places[PAGE_SUMS_PLACES];
};

struct page_sums *page_sums_new(void)
{
    return mem_new(struct page_sums);
}

void page_sums_free(struct page_sums *t)
{
    mem_free(t);
}

static uint32_t place_of(uint64_t handle, uint32_t block)
{
    return (uint32_t)(hmap_hash_u64(handle * CHUNK_BLOCKS_MAX + block) % PAGE_SUMS_PLACES);
}

const uint32_t *page_sums_get(const struct page_sums *t, uint64_t handle, uint32_t block,
                              uint32_t block_sum)
{
    const struct place *p = &t->places[place_of(handle, block)];
    bool found = p->handle == handle && p->block == block && p->block_sum == block_sum;
    return found ? p->sums : NULL;
}

uint32_t *page_sums_put(struct page_sums *t, uint64_t handle, uint32_t block, uint32_t block_sum)
{
    struct place *p = &t->places[place_of(handle, block)];
    p->handle = handle;
    p->block = block;
    p->block_sum = block_sum;
    return p->sums;
}
