/* sim_inode.c - one file's content, as seen and as durable. */
#include "tests/sim/sim_inode.h"
#include "shared/base/invariant.h"
#include "shared/base/mem.h"

#include <errno.h>
#include <string.h>

#define PAGE ((uint64_t)SIM_PAGE_BYTES)

struct sim_inode *sim_inode_new(struct sim_disk *d)
{
    struct sim_inode *i = mem_new(struct sim_inode);
    i->disk = d;
    i->refs = 1;
    return i;
}

void sim_inode_ref(struct sim_inode *i)
{
    i->refs++;
}

void sim_inode_drop(struct sim_inode *i)
{
    if (i == NULL || --i->refs > 0) {
        return;
    }
    (void)sim_disk_take(i->disk, -(int64_t)sim_inode_used(i));
    mem_free(i->now);
    mem_free(i->old);
    mem_free(i->flags);
    mem_free(i);
}

uint64_t sim_inode_used(const struct sim_inode *i)
{
    uint64_t pages = 0;
    for (uint64_t p = 0; p < i->page_cap; p++) {
        pages += (i->flags[p] & (PAGE_ALLOC | PAGE_RESERVED)) != 0;
    }
    return pages * PAGE;
}

uint64_t sim_inode_size(const struct sim_inode *i)
{
    return i->now_size;
}

static uint8_t *grown(uint8_t *data, uint64_t from, uint64_t to)
{
    data = mem_resize(data, to);
    memset(data + from, 0, to - from);
    return data;
}

static void make_room(struct sim_inode *i, uint64_t size)
{
    uint64_t pages = (size + PAGE - 1) / PAGE;
    if (pages <= i->page_cap) {
        return;
    }
    ASSERT(!i->ring);
    pages = MAX(pages, i->page_cap + i->page_cap / 2);
    i->now = grown(i->now, i->page_cap * PAGE, pages * PAGE);
    i->old = grown(i->old, i->page_cap * PAGE, pages * PAGE);
    i->flags = grown(i->flags, i->page_cap, pages);
    i->page_cap = pages;
}

int64_t sim_inode_read(struct sim_inode *i, uint64_t off, void *data, uint32_t len)
{
    if (off >= i->now_size) {
        return 0;
    }
    uint64_t n = MIN(len, i->now_size - off);
    for (uint64_t p = off / PAGE; p * PAGE < off + n; p++) {
        if (i->flags[p] & PAGE_SPOILT) {
            return -EIO;
        }
    }
    memcpy(data, i->now + off, n);
    return (int64_t)n;
}

/* Space for the pages of [off, end): up to where there was some. */
static uint64_t take_pages(struct sim_inode *i, uint64_t off, uint64_t end)
{
    for (uint64_t p = off / PAGE; p * PAGE < end; p++) {
        if (!(i->flags[p] & (PAGE_ALLOC | PAGE_RESERVED)) &&
            sim_disk_take(i->disk, (int64_t)PAGE) != 0) {
            return MAX(off, p * PAGE);
        }
        i->flags[p] |= PAGE_DIRTY | PAGE_ALLOC;
        i->flags[p] &= (uint8_t) ~(PAGE_RESERVED | PAGE_LOST | PAGE_SPOILT);
    }
    return end;
}

int64_t sim_inode_write(struct sim_inode *i, uint64_t off, const void *data, uint32_t len)
{
    if (len == 0) {
        return 0;
    }
    make_room(i, off + len);
    for (uint64_t p = off / PAGE; p <= (off + len - 1) / PAGE; p++) {
        bool whole = off <= p * PAGE && (off + len >= (p + 1) * PAGE || off + len >= i->now_size);
        if ((i->flags[p] & PAGE_SPOILT) && !whole) {
            return -EIO; /* it would have to be read first */
        }
    }
    uint64_t end = take_pages(i, off, off + len);
    if (end > off) {
        memcpy(i->now + off, data, end - off);
        i->now_size = MAX(i->now_size, end);
    }
    return end == off + len ? (int64_t)len : -ENOSPC;
}

int64_t sim_inode_allocate(struct sim_inode *i, uint64_t off, uint64_t len)
{
    make_room(i, off + len);
    int64_t taken = 0;
    for (uint64_t p = off / PAGE; p * PAGE < off + len; p++) {
        if (i->flags[p] & (PAGE_ALLOC | PAGE_RESERVED)) {
            continue;
        }
        if (sim_disk_take(i->disk, (int64_t)PAGE) != 0) {
            return -ENOSPC;
        }
        i->flags[p] |= PAGE_RESERVED;
        taken += (int64_t)PAGE;
    }
    return taken;
}

/* Zeros over [off, end); pages wholly inside give their space back. */
static void clear(struct sim_inode *i, uint64_t off, uint64_t end)
{
    int64_t freed = 0;
    for (uint64_t p = off / PAGE; p < i->page_cap && p * PAGE < end; p++) {
        if ((i->flags[p] & PAGE_RESERVED) && p * PAGE >= off && (p + 1) * PAGE <= end) {
            i->flags[p] &= (uint8_t)~PAGE_RESERVED;
            freed++;
        }
        if (!(i->flags[p] & PAGE_ALLOC)) {
            continue; /* zeros already */
        }
        i->flags[p] |= PAGE_DIRTY;
        if (p * PAGE >= off && (p + 1) * PAGE <= end) {
            i->flags[p] &= (uint8_t) ~(PAGE_ALLOC | PAGE_LOST | PAGE_SPOILT);
            freed++;
        }
        uint64_t from = MAX(off, p * PAGE);
        uint64_t to = MIN(end, (p + 1) * PAGE);
        memset(i->now + from, 0, to - from);
    }
    (void)sim_disk_take(i->disk, -freed * (int64_t)PAGE);
}

int sim_inode_truncate(struct sim_inode *i, uint64_t size)
{
    make_room(i, size);
    if (size <= i->now_size) { /* what was reserved beyond the end goes, too */
        clear(i, size, i->page_cap * PAGE);
    }
    i->now_size = size;
    return 0;
}

void sim_inode_punch(struct sim_inode *i, uint64_t off, uint64_t len)
{
    if (off < i->now_size) {
        clear(i, off, MIN(off + len, i->now_size));
    }
}

int64_t sim_inode_seek(struct sim_inode *i, uint64_t off, bool hole)
{
    if (off >= i->now_size) {
        return -ENXIO;
    }
    for (uint64_t p = off / PAGE; p * PAGE < i->now_size; p++) {
        if (((i->flags[p] & PAGE_ALLOC) == 0) == hole) {
            return (int64_t)MAX(off, p * PAGE);
        }
    }
    return hole ? (int64_t)i->now_size : -ENXIO;
}

void sim_inode_sync(struct sim_inode *i)
{
    for (uint64_t p = 0; p < i->page_cap; p++) {
        if ((i->flags[p] & PAGE_DIRTY) || i->ring) {
            memcpy(i->old + p * PAGE, i->now + p * PAGE, PAGE);
        }
        uint8_t kept = i->flags[p] & (PAGE_LOST | PAGE_SPOILT);
        if (!(kept & PAGE_LOST)) {
            i->flags[p] = (i->flags[p] & PAGE_ALLOC) ? PAGE_ALLOC | PAGE_OLD_ALLOC
                                                     : i->flags[p] & PAGE_RESERVED;
        }
        i->flags[p] |= kept;
    }
    i->old_size = i->now_size;
}

void sim_inode_fail_sync(struct sim_inode *i)
{
    for (uint64_t p = 0; p < i->page_cap; p++) {
        if (i->flags[p] & PAGE_DIRTY) {
            i->flags[p] = (i->flags[p] & (uint8_t)~PAGE_DIRTY) | PAGE_LOST;
        }
    }
}

void sim_inode_flip(struct sim_inode *i, uint64_t off, unsigned bit)
{
    if (off < i->now_size) {
        i->now[off] ^= (uint8_t)(1u << bit);
        i->old[off] ^= (uint8_t)(1u << bit);
    }
}

/* Page p is written half: some sectors are new, the others durable. */
static void tear(struct sim_inode *i, uint64_t p, struct sim_rand *r)
{
    for (uint64_t at = p * PAGE; at < (p + 1) * PAGE; at += SIM_SECTOR_BYTES) {
        if (sim_chance(r, 1, 2)) {
            memcpy(i->now + at, i->old + at, SIM_SECTOR_BYTES);
        }
    }
    i->flags[p] = (i->flags[p] & (uint8_t)~PAGE_RESERVED) | PAGE_ALLOC;
}

static void drop_page(struct sim_inode *i, uint64_t p)
{
    memcpy(i->now + p * PAGE, i->old + p * PAGE, PAGE);
    uint8_t spoilt = i->flags[p] & PAGE_SPOILT;
    i->flags[p] = ((i->flags[p] & PAGE_OLD_ALLOC) ? PAGE_ALLOC : 0) | spoilt;
}

static uint64_t size_left(struct sim_inode *i, enum sim_loss loss, struct sim_rand *r)
{
    if (loss == LOSS_NOTHING || i->now_size == i->old_size) {
        return i->now_size;
    }
    if (loss == LOSS_ALL || sim_chance(r, 1, 2)) {
        return i->old_size;
    }
    if (i->now_size > i->old_size && sim_chance(r, 1, 3)) {
        uint64_t pages = (i->now_size - i->old_size) / PAGE;
        uint64_t left = (i->old_size / PAGE + sim_below(r, pages + 1) + 1) * PAGE;
        return MIN(i->now_size, left);
    }
    return i->now_size;
}

static void ring_power_cut(struct sim_inode *i, enum sim_loss loss, struct sim_rand *r)
{
    for (uint64_t p = 0; p < i->page_cap && loss != LOSS_NOTHING; p++) {
        uint64_t fate = loss == LOSS_ALL ? 1 : sim_below(r, 3);
        if (fate == 1) {
            memcpy(i->now + p * PAGE, i->old + p * PAGE, PAGE);
        } else if (fate == 2) {
            memset(i->now + p * PAGE, 0, PAGE);
        }
    }
    sim_inode_sync(i);
}

void sim_inode_power_cut(struct sim_inode *i, enum sim_loss loss, struct sim_rand *r)
{
    if (i->ring) {
        ring_power_cut(i, loss, r);
        return;
    }
    uint64_t size = size_left(i, loss, r);
    uint64_t before = sim_inode_used(i);
    for (uint64_t p = 0; p < i->page_cap; p++) {
        if (i->flags[p] & PAGE_LOST) {
            i->flags[p] &= (uint8_t)~PAGE_LOST;
            drop_page(i, p);
        }
        if (!(i->flags[p] & PAGE_DIRTY) || loss == LOSS_NOTHING) {
            continue;
        }
        uint64_t fate = loss == LOSS_ALL ? 1 : sim_below(r, 3);
        if (fate == 1 || p * PAGE >= i->now_size) { /* a lost truncate brings back what was there */
            drop_page(i, p);
        } else if (fate == 2) {
            tear(i, p, r);
        }
    }
    i->now_size = size;
    for (uint64_t p = size / PAGE; p < i->page_cap; p++) {
        uint64_t from = MAX(size, p * PAGE);
        memset(i->now + from, 0, (p + 1) * PAGE - from);
        if (p * PAGE >= size) {
            i->flags[p] &= (uint8_t)~PAGE_ALLOC;
        }
        if ((i->flags[p] & PAGE_RESERVED) &&
            sim_chance(r, 1, 4)) { /* a reservation that was not synced may be lost */
            i->flags[p] &= (uint8_t)~PAGE_RESERVED;
        }
    }
    for (uint64_t p = 0; p < i->page_cap; p++) {
        i->flags[p] |= PAGE_DIRTY;
    }
    (void)sim_disk_take(i->disk, (int64_t)(sim_inode_used(i) - before));
    sim_inode_sync(i);
}
