/* write_back.h - bytes written and not yet on the replicas.
 *
 * They are kept in pieces: at most 1 MiB, inside one window (an aligned MiB of the file, or a chunk
 * if that is smaller), appended to and overwritten in place until they are sent. Unsent pieces of
 * an inode do not overlap; one that overlaps a piece on its way waits for it, so that overlapping
 * writes keep their order. A piece that fills up its window goes out at once, others when somebody
 * flushes or by age.
 *
 * Bound: client_config.dirty_bytes over all inodes; writers beyond it wait in order. At most
 * FLYING_INODE_MAX pieces of an inode, FLYING_MAX of the mount, are on their way.
 */
#ifndef FUSE_CORE_WRITE_BACK_H
#define FUSE_CORE_WRITE_BACK_H

#include "fuse/core/files.h"

/* Waits until what was written before, within [lo, hi), is on the replicas or has failed. */
struct flush {
    struct list link;
    void (*done)(struct flush *f); /* inside enter/leave */
    /* private */
    uint64_t lo, hi;
    uint64_t ticket; /* queued writes that come before */
    uint64_t serial; /* pieces that come before; UINT64_MAX = not known while writes are queued */
    bool marked;     /* all it waits for is due */
};

void write_back_init(struct client *c);

/* False: nothing to wait for. True: f->done will be called. */
bool flush_start(struct inode *i, struct flush *f, uint64_t lo, uint64_t hi);
void flush_cancel(struct flush *f);

/* Keeps pieces from starting until as many releases. */
void write_back_hold(struct inode *i);
void write_back_release(struct inode *i);

/* End of the last piece, 0 = none. */
uint64_t write_back_end(const struct inode *i);
/* Bytes written here, to be laid over what the replicas have, in this order. */
struct written {
    uint64_t offset; /* in the file */
    struct slice data;
};
/* What touches [lo, hi): how many in *out; each data to be dropped, then mem_free. */
uint32_t write_back_copy(const struct inode *i, uint64_t lo, uint64_t hi, struct written **out);
/* Anything of the inode waiting or on its way. */
bool write_back_busy(const struct inode *i);
/* What is on its way beyond the committed size may be cut off by the master: it is sent once more.
 */
void write_back_session_lost(struct inode *i);
/* Frees the inode's pieces without writing them. */
void write_back_drop(struct inode *i);

#endif
