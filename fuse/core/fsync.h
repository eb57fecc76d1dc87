/* fsync.h - making an inode's data durable on every member of its chunks, and its size in the log.
 *
 * Chunks written since their last sync are remembered with the inode, also after the file was
 * closed. Rounds of one inode follow each other; those who ask meanwhile share the next one.
 */
#ifndef FUSE_CORE_FSYNC_H
#define FUSE_CORE_FSYNC_H

#include "fuse/core/commit.h"

struct chunk_write;

struct file_sync {
    struct list link; /* inode.sync_queue or sync_riders */
    void (*done)(struct file_sync *s);
    /* private */
    struct inode *inode; /* pinned; NULL = not running */
    bool data_only;      /* the time may be committed later */
    struct flush flush;
    struct commit commit;
};

/* False: everything is durable already. True: s->done will be called; errors are left with the
 * inode. */
bool file_sync_start(struct inode *i, struct file_sync *s, bool data_only);
void file_sync_cancel(struct file_sync *s); /* fine if it is not running */

/* The chunk was written by w. */
void fsync_touch(struct inode *i, const struct chunk_write *w);
/* Was something of the chunk written that is not synced? */
bool fsync_has(const struct inode *i, uint64_t handle);
/* The file was cut at size: bytes beyond it need not be durable any more. */
void fsync_cut(struct inode *i, uint64_t size);
/* Something was written that is not synced. */
bool fsync_due(const struct inode *i);
/* Forgets all without doing anything. */
void fsync_drop(struct inode *i);

#endif
