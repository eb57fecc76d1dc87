/* locations.h - where chunks of files are: the mount's cache, bounded, filled by locate, grant and
 * create.
 *
 * A location says which replicas hold a chunk at which version, whether it may be written (its
 * primary is known), and what is dead behind its trim. It may be out of date: a chunkserver then
 * refuses the version, and the location is asked for again. That there is nothing to read (a hole,
 * or no replica left) is believed for a second. Bound: client_config.remembered, plus those in use.
 */
#ifndef FUSE_CORE_LOCATIONS_H
#define FUSE_CORE_LOCATIONS_H

#include "fuse/core/chunk_link.h"
#include "fuse/core/master_link.h"
#include "shared/base/limits.h"

struct inode;

struct location {
    struct hmap_node node; /* client.locations */
    struct list lru;       /* client.location_lru */
    struct list of_inode;  /* inode.locations */
    struct client *client;
    uint32_t pins; /* users and running requests */
    uint64_t ino;
    uint64_t number;

    bool known;
    uint64_t known_ns;
    uint64_t handle; /* 0 = hole */
    uint64_t version;
    uint32_t trim;     /* NO_TRIM = none */
    uint32_t trim_set; /* which one: another may be set at the same offset */
    uint64_t index;    /* of the log, as of which all this is known */
    uint64_t doubt;    /* writes under lower versions that were not synced may be gone; 0 = none */
    bool fresh;
    bool unsynced;    /* as the master says, until a sync asked from here */
    bool gone;        /* no replica can be read, the master says; believed for a second */
    bool by_shadow;   /* that says so: known without a primary */
    uint64_t lost_ns; /* when a write failed because of a block that nobody has whole; 0 = never */
    uint32_t primary; /* 0 = none: ask for a grant */
    struct chunk_peer *members[REPLICAS_MAX];
    uint32_t member_count;

    /* Counts changes made here that an answer on its way cannot know (a trim carried out, a
     * truncation): such an answer is thrown away and the question asked again. */
    uint64_t changes;
    bool trimming; /* one write truncates the replicas; the others wait in trim_waiters */
    struct list trim_waiters;
    struct list locate_waiters;
    struct list grant_waiters;
    struct master_call locate;
    struct master_call grant;
    uint64_t locate_changes; /* `changes` when it was asked */
    uint64_t grant_changes;
    uint64_t locate_recalls; /* client.recalls then */
    uint32_t locate_count;
    /* the grant being asked for */
    uint64_t failed_version;
    uint32_t failed_server;
    int64_t failed_status;
};

/* Somebody waiting for a location. */
struct location_wait {
    struct list link;
    void (*done)(struct location_wait *w, int status);
};
static inline void location_wait_cancel(struct location_wait *w)
{
    list_remove(&w->link);
}

void locations_init(struct client *c);
void locations_close(struct client *c);

/* The location of a chunk of the inode, known or not; pinned. */
struct location *location_get(struct inode *i, uint64_t number);
void location_unpin(struct location *l);

/* True: known now. Else w->done is called once it is, or with an error of the master. */
bool location_locate(struct location *l, struct location_wait *w);
/* Forgets what is known if it is still version `version`: the next locate asks. */
void location_doubt(struct location *l, uint64_t version);
/* True: known now with a primary, of a version above failed_version. Else the master is asked, told
 * which server failed and how, and w->done is called. */
bool location_grant(struct location *l, struct location_wait *w, uint64_t failed_version,
                    uint32_t failed_server, int64_t failed_status);
/* Asks for a grant even if one is known, so that its trim is the newest. Always ends in w->done. */
void location_refresh(struct location *l, struct location_wait *w);
/* One write carries out the trim (trimming is set); this ends it and wakes the others with
 * `status`. done: the replicas are truncated to `trim` and the master knows. */
void location_trimmed(struct location *l, bool done, uint32_t trim, uint32_t set, int status);
/* Takes over what a create's answer says. */
void location_learn(struct location *l, const struct chunk *chunk, uint64_t index);
/* Takes over what another answer says by the way, if nothing is known yet. */
void location_hint(struct inode *i, const struct chunk *chunk, uint64_t index, bool by_shadow);
/* Everything known of the inode's chunks may be wrong. */
void locations_forget(struct inode *i);
/* Frees the inode's locations; nobody may be using them. */
void locations_free(struct inode *i);
void locations_forget_all(struct client *c);

#endif
