/* write_chunk.h - one mutation of a chunk, or its sync, repeated until all members of a version
 * have it.
 *
 * Takes a grant (cached, or asked for), truncates the replicas first if the grant has a trim, sends
 * the request to the primary. Whatever fails, the master is told under which version and, if known,
 * which server, and the same request is repeated under the grant it answers. Only -ENOSPC, -EFBIG,
 * -EIO, -ENOENT and the like of the master are final; so is, after half a minute, that a block of which
 * only a part is written is damaged on all members: -EIO.
 */
#ifndef FUSE_CORE_WRITE_CHUNK_H
#define FUSE_CORE_WRITE_CHUNK_H

#include "fuse/core/files.h"
#include "fuse/core/locations.h"

enum chunk_write_kind {
    CHUNK_DATA = WRITE_DATA,
    CHUNK_TRUNCATE = WRITE_TRUNCATE,
    CHUNK_PUNCH = WRITE_PUNCH,
    CHUNK_RESERVE = WRITE_RESERVE, /* -ENOSPC of a member is final */
    CHUNK_SYNC,                    /* makes what is there durable; ends well if the chunk is gone */
};

/* Embedded in its owner or allocated; zero it first, set the upper part. */
struct chunk_write {
    void (*done)(struct chunk_write *w); /* inside enter/leave; w->status is set */
    void *owner;
    struct inode *inode; /* pinned by the owner */
    uint64_t number;
    enum chunk_write_kind kind;
    uint32_t offset;
    uint32_t length;
    struct slice data; /* CHUNK_DATA: reference owned by the owner until done */
    int status;
    uint64_t sent_handle;
    uint64_t sent_version; /* done, status 0: the version it was carried out under */
    uint64_t sent_doubt;   /* struct chunk's, at that version */
    bool bind;             /* done: no size commit vouched for the chunk when it was written */
    bool first_sync;       /* done: the master knows of no other */
    /* private */
    struct location *loc; /* pinned; NULL = not running */
    struct location_wait wait;
    struct chunk_call call;
    struct env_timer pause;
    struct writer sums; /* of data, made at the first send */
    bool is_trim;       /* carries out the trim: does not wait for it */
    bool asked_grant;
    uint32_t backoff_ms;
    bool sent_fresh, sent_unsynced;
    uint64_t failed_version;
    uint32_t failed_server;
    int64_t failed_status;
    uint64_t refused_ns; /* when a damaged block refused it first; 0 = never */
};

void chunk_write_start(struct chunk_write *w);
void chunk_write_cancel(struct chunk_write *w); /* fine if it is not running */

#endif
