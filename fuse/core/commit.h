/* commit.h - making written data count: on all members, then its end and time in the master's log
 * (extend).
 *
 * One extend of an inode is on its way at a time; commits that arrive meanwhile share the next one.
 * Errors are left with the inode (inode_set_error): a commit itself just ends.
 *
 * A setattr that waits for a commit may travel with the extend, as one record: `carry`. If that is
 * refused the size is committed without it. One that comes while the data is still on its way to the
 * replicas need not wait at all: it overtakes, and if it sets mtime, what was written before leaves
 * the times alone when it counts.
 */
#ifndef FUSE_CORE_COMMIT_H
#define FUSE_CORE_COMMIT_H

#include "fuse/core/write_back.h"

struct commit {
    struct list link; /* inode.commits */
    void (*done)(struct commit *k);
    const struct slice *carry; /* a setattr_req that sets no size, or NULL; it may travel along */
    bool carried;              /* it did; it ended with ... */
    int carried_status;
    struct attr carried_attr;
    uint64_t carried_index;
    /* private */
    struct inode *inode; /* pinned; NULL = not running */
    struct flush flush;
    bool flushed;
    bool riding; /* the extend on its way covers it */
};

/* False: nothing to commit. True: k->done will be called. */
bool commit_start(struct inode *i, struct commit *k);
void commit_cancel(struct commit *k); /* fine if it is not running */
/* A setattr that sets no size: true if it may be sent at once, before what was written counts. The
 * data is sent to the replicas meanwhile. */
bool commit_overtake(struct inode *i, bool sets_mtime);
/* It failed. */
void commit_times_not_set(struct inode *i);
static inline bool commit_running(const struct commit *k)
{
    return k->inode != NULL;
}
/* Data reached the replicas: [.., end) must be committed. */
void commit_need(struct inode *i, uint64_t end, bool bind);
/* A chunk was synced on all members, and the master does not know of any sync of it. */
void commit_first_sync(struct inode *i, uint64_t number, uint64_t handle);
/* Puts the inode among those to be committed by age. */
void commit_age(struct inode *i);
/* The inode has uncommitted bytes or size. */
bool commit_due(const struct inode *i);
/* Takes the inode off the list of dirty ones if it is not. */
void commit_settle(struct inode *i);
void commit_age_fired(struct env_timer *t);

/* All inodes dirty now. */
struct commit_all {
    void (*done)(struct commit_all *a);
    struct list parts;
};
bool commit_all_start(struct client *c, struct commit_all *a);
void commit_all_cancel(struct commit_all *a);

#endif
