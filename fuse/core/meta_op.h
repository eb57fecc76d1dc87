/* meta_op.h - one request to the master about the namespace, with what must happen before it.
 *
 * An inode with uncommitted writes is committed first where the answer shows its size and times, or
 * where a crash after the change must not find it short: getattr, setattr, link, rename, open. Without
 * a primary nothing can be committed: then questions do not wait for it, and sizes are those made here.
 * The answers are taken over in meta_op.c; the calls that start them stand in calls_meta.c.
 */
#ifndef FUSE_CORE_META_OP_H
#define FUSE_CORE_META_OP_H

#include "fuse/core/client_impl.h"
#include "fuse/core/commit.h"
#include "fuse/core/first_chunk.h"

struct meta_op {
    struct op op;
    struct master_call call;
    struct commit commit;
    struct first_chunk first;
    struct inode *inode; /* pinned; NULL = none known */
    uint64_t changes;    /* of inode when the request was sent */
    uint64_t recalls;    /* of the client then */
    uint64_t errors;     /* rename: of writing behind, before it began */
    uint16_t code;
    uint64_t dir;      /* whose entry is meant, if its names may be known; else 0 */
    struct slice body; /* of the request, until it is sent */
    struct slice name; /* create, rename: the request again, for its names */
    int flags;         /* open, create: of open(2) */
    bool sets_size;
    bool overtakes; /* a setattr sent before what was written counts, and not answered */
    bool holding;   /* setattr of the size: pieces may not start */
    bool opening;   /* counted in inode->opening */
    bool exchange;  /* rename: the other inode is still to be committed */
    uint64_t new_size;
};

/* Begins an op of call k (not yet sent). */
struct meta_op *meta_new(struct client *c, struct client_call *k, uint16_t code);
/* Makes the inode that of the op if this mount works with it. */
void meta_find_inode(struct meta_op *m, uint64_t ino);
/* Makes it that of the op; takes over a pin. */
void meta_set_inode(struct meta_op *m, struct inode *i);
/* Sends m->body as m->code, after committing m->inode if one is set; or at once. */
void meta_commit_then_send(struct meta_op *m);
void meta_send(struct meta_op *m);
/* Changes wait until there is a primary: questions that waited for one to be committed do not. */
void meta_questions_go_on(struct client *c);
void meta_end(struct meta_op *m, int status);

#endif
