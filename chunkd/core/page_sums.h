/* page_sums.h - sums of parts of blocks that were verified, so that a small read of such a block
 * need not read and hash all of it again.
 *
 * A block has PAGES_PER_BLOCK pages of equal size. Their sums are taken when the block is read whole
 * and matches its own; they hold as long as the block's sum is the same, so that no write has to end
 * them. Nothing is believed that was not verified against the block's sum, since the process
 * started. A table of fixed size in memory; blocks that fall on the same place replace each other.
 * Loop thread only.
 */
#ifndef CHUNKD_CORE_PAGE_SUMS_H
#define CHUNKD_CORE_PAGE_SUMS_H

#include <stdint.h>

enum { PAGES_PER_BLOCK = 16, PAGE_SUMS_PLACES = 1 << 15 };

struct page_sums;

struct page_sums *page_sums_new(void);
void page_sums_free(struct page_sums *t); /* NULL is fine */
/* The sums of the pages of a block whose own sum is `block_sum`; NULL if they are not known. */
const uint32_t *page_sums_get(const struct page_sums *t, uint64_t handle, uint32_t block,
                              uint32_t block_sum);
/* Where to put them, all PAGES_PER_BLOCK. */
uint32_t *page_sums_put(struct page_sums *t, uint64_t handle, uint32_t block, uint32_t block_sum);

#endif
