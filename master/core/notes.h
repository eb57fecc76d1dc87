/* notes.h - what is known to be wrong with single replicas, for the few of which something is.
 *
 * Learned from reports, from bad blocks and from grants that failed; volatile, and only a hint: it
 * keeps readers away from replicas that would refuse them and tells the repair scan where to look.
 * What a replica really holds, the grant machine asks its server. A note speaks of a replica at one
 * version of its chunk and means nothing at another.
 * Pure; loop thread only. Bound: NOTES_MAX; beyond it new notes are dropped.
 */
#ifndef MASTER_CORE_NOTES_H
#define MASTER_CORE_NOTES_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/hmap.h"

enum { NOTES_MAX = 1 << 20 };

enum note_kind {
    NOTE_NONE,
    NOTE_MISSING, /* its server does not have it */
    NOTE_UNSEEN,  /* the same, of a chunk not known to be synced: perhaps it was not made yet */
    NOTE_STALE,   /* it holds an older version */
    NOTE_SUSPECT, /* it must be compared with a peer */
    NOTE_BAD,     /* a block failed its checksum */
    NOTE_DAMAGED, /* the same, and no other member had the block when they were asked */
    NOTE_FAILED,  /* its file cannot be used: nothing of it is served */
    NOTE_CLONING, /* it was being filled */
    NOTE_AHEAD,   /* it was prepared for a version that was never committed */
    NOTE_EXTRA, /* its server has one, or may have, but is no member of the chunk; or the chunk is gone */
};

struct note {
    struct hmap_node node;
    uint64_t handle;
    uint64_t ino, number; /* where the chunk stands, or stood */
    uint64_t version;     /* of the chunk, when it was noted */
    uint32_t server;
    enum note_kind kind;
    /* Of an extra replica: */
    bool reported;  /* its server said so; else the master itself left it out of the members */
    bool current;   /* it holds the chunk's version */
    bool damaged;   /* a block is bad, or it must be compared */
    bool asked;     /* its server is to remove it */
    uint32_t due;   /* scan that first found that it may go; 0 = none */
    uint32_t round; /* last repair scan that looked at it */
};

struct notes {
    struct hmap map; /* by handle */
};

void notes_init(struct notes *ns);
void notes_close(struct notes *ns);
/* Replaces an older note of the same replica; kind NOTE_NONE removes it. Of *what, all but
 * node, asked, due and round are used. */
void notes_set(struct notes *ns, const struct note *what);
void notes_clear(struct notes *ns, uint64_t handle, uint32_t server);
/* Its server has removed the replica that it was asked to. What was noted since is about another one. */
void notes_removed(struct notes *ns, uint64_t handle, uint32_t server);
/* Kind noted for the replica at this version. */
enum note_kind notes_get(const struct notes *ns, uint64_t handle, uint32_t server,
                         uint64_t version);
/* Walks the notes of a chunk. */
struct note *notes_first(const struct notes *ns, uint64_t handle);
struct note *notes_next(const struct note *n);
/* A server will report anew. That a replica must be compared stays noted until the chunk has another
 * version: its server cannot know that it missed a mutation. */
void notes_clear_server(struct notes *ns, uint32_t server);
/* Calls each(owner, note) for notes that the scan of `round` did not look at although they are
 * older: their chunks are gone. True drops the note. */
void notes_sweep(struct notes *ns, uint32_t round, bool (*each)(void *owner, struct note *n),
                 void *owner);

#endif
