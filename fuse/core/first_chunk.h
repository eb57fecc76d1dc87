/* first_chunk.h - a file whose chunk 0 was granted with its creation and not written first.
 *
 * Replicas are made by the first write. Once a size commit vouches for chunk 0, a missing replica
 * is a loss; so before a size beyond it is committed, empty replicas are made, unless they exist or
 * there is no such chunk.
 */
#ifndef FUSE_CORE_FIRST_CHUNK_H
#define FUSE_CORE_FIRST_CHUNK_H

#include "fuse/core/write_chunk.h"

struct first_chunk {
    void (*done)(struct first_chunk *f, int status);
    struct inode *inode_of_extend; /* the owner's */
    struct inode *inode;           /* pinned; NULL = not running */
    struct location *loc;
    struct location_wait wait;
    struct chunk_write write;
};

/* False: nothing to do. True: f->done will be called, never from inside. */
bool first_chunk_start(struct inode *i, struct first_chunk *f, uint64_t size);
void first_chunk_cancel(struct first_chunk *f); /* fine if it is not running */

#endif
