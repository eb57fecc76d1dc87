/* surplus.h - bytes read beyond what was asked for, up to the end of a checksum block.
 *
 * A chunkserver reads and hashes whole blocks. For a sequential reader with requests smaller than
 * that (an uncached file, or no read-ahead) it would do so again for every request: so the rest of
 * the block is asked for too, kept with the open file, and given to the requests that follow. Large
 * requests are not worth it: the kernel sends the next before the last is answered, and one
 * block in a MiB is too little to be noticed.
 *
 * It is no cache: the bytes serve the next request if that begins where they begin, within
 * SURPLUS_MS of their being asked for, and if nothing was done or learned meanwhile that may have
 * changed bytes of the inode (inode.changes_seen). Bound: less than a block for each open file,
 * SURPLUS_MAX files; the oldest goes first.
 */
#ifndef FUSE_CORE_SURPLUS_H
#define FUSE_CORE_SURPLUS_H

#include "fuse/core/client.h"

struct client_file;

struct surplus {
    struct list link;  /* client.surpluses; empty when there are no bytes */
    struct slice data; /* its own copy: what was received may be a MiB */
    uint64_t offset;
    uint64_t at_ns;        /* when it was asked for */
    uint64_t changes_seen; /* of the inode then */
};

/* Keeps a copy of the bytes. */
void surplus_keep(struct client_file *f, const struct surplus *about, const uint8_t *data,
                  uint32_t len);
/* The bytes at offset, at most `max`: a reference, empty if there are none. They are used up. */
struct slice surplus_take(struct client_file *f, uint64_t offset, uint32_t max);
void surplus_drop(struct client_file *f);

#endif
