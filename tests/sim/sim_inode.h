/* sim_inode.h - inside of the simulated disk: one file's content, as seen and as durable. */
#ifndef TESTS_SIM_SIM_INODE_H
#define TESTS_SIM_SIM_INODE_H

#include "tests/sim/sim_disk.h"

enum sim_page_flags {
    PAGE_DIRTY = 1,     /* written and not synced */
    PAGE_ALLOC = 2,     /* takes space, as seen by programs */
    PAGE_OLD_ALLOC = 4, /* in the durable content */
    PAGE_RESERVED = 8,  /* takes space and holds nothing; never with PAGE_ALLOC */
    PAGE_LOST = 16,     /* a sync of it failed: as seen is not what will be durable */
    PAGE_SPOILT = 32,   /* cannot be read before it is written */
};

struct sim_inode {
    struct sim_disk *disk;
    uint32_t refs;
    uint8_t *now; /* as programs see it; zeros beyond now_size */
    uint64_t now_size;
    uint8_t *old; /* durable; zeros beyond old_size */
    uint64_t old_size;
    uint8_t *flags;    /* one per page */
    uint64_t page_cap; /* pages that fit in the three arrays */
    bool ring;         /* now is mapped by a process: written without our seeing it */
};

/* How much of what was not synced a power cut keeps. */
enum sim_loss { LOSS_NOTHING, LOSS_ALL, LOSS_MIXED };

struct sim_inode *sim_inode_new(struct sim_disk *d);
void sim_inode_ref(struct sim_inode *i);
void sim_inode_power_cut(struct sim_inode *i, enum sim_loss loss, struct sim_rand *r);
/* Bytes of its pages. */
uint64_t sim_inode_used(const struct sim_inode *i);

/* The disk's account: 0 and taken, or -ENOSPC. Negative amounts always fit. */
int sim_disk_take(struct sim_disk *d, int64_t bytes);

#endif
