/* replica_call.h - a question any replica of a chunk can answer (read, seek), asked until one does.
 *
 * Members are asked in turn, the nearest first, equally near ones spread by chunk, those that
 * failed lately last. When all have failed the location is asked for anew and the round repeated,
 * with pauses. The end without an answer is -EIO when every member, at a version the master has
 * just confirmed, answered that it has no good copy, or the master says that none is left and none
 * expected soon; members that are merely unreachable are waited for until then.
 */
#ifndef FUSE_CORE_REPLICA_CALL_H
#define FUSE_CORE_REPLICA_CALL_H

#include "fuse/core/files.h"
#include "fuse/core/locations.h"

struct replica_call {
    void (*done)(struct replica_call *r); /* inside enter/leave */
    void *owner;
    struct inode *inode; /* pinned by the owner */
    uint64_t number;
    uint16_t op;     /* OP_read or OP_seek */
    uint32_t offset; /* in the chunk */
    uint32_t length; /* read */
    bool hole;       /* seek */
    /* Results. 0; -ENXIO of seek; or an error. */
    int status;
    bool is_hole;      /* there is no chunk, or nothing was ever written to it */
    uint32_t trim;     /* bytes from here are dead */
    struct slice data; /* read: owned by the call until the owner takes it */
    uint32_t found;    /* seek */
    /* private */
    struct location *loc; /* pinned; NULL = not running */
    struct location_wait wait;
    struct chunk_call call;
    struct env_timer pause;
    uint32_t backoff_ms;
    uint64_t version;     /* of this round */
    uint64_t bad_version; /* of a whole round of bad answers; 0 = none */
    uint32_t tried;       /* bits of loc->members */
    uint32_t bad;         /* of these: have no good copy */
    uint32_t missing;     /* of these: have none at all */
    uint32_t asked;       /* the member being asked */
};

void replica_call_start(struct replica_call *r);
void replica_call_cancel(struct replica_call *r); /* fine if it is not running; drops data */

#endif
