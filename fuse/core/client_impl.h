/* client_impl.h - what the files of the mount's core share; nobody else includes it.
 *
 * Every event that enters the core (a callback of env or rpc, a call of client.h) stands between
 * client_enter and client_leave, or api_begin and api_end. Calls that ended meanwhile are collected
 * and their done callbacks run at the end of the event, when no structure of the core is being
 * changed; calls that ended inside a function of client.h run theirs on the next turn of the loop.
 */
#ifndef FUSE_CORE_CLIENT_IMPL_H
#define FUSE_CORE_CLIENT_IMPL_H

#include "fuse/core/client.h"
#include "fuse/core/known_names.h"
#include "fuse/core/master_link.h"
#include "shared/base/limits.h"
#include "shared/base/mem.h"

enum {
    PEERS_MAX = 65536,    /* chunkservers ever heard of */
    FLYING_INODE_MAX = 4, /* chunk writes in flight of one inode */
    FLYING_MAX = 16,      /* of the whole mount */
    CLOSE_BATCH_MS = 50,  /* closes wait this long for company */
    BACKOFF_MIN_MS = 50,
    BACKOFF_MAX_MS = 2000,
};

/* The work behind a call. Embedded first in the struct of its kind. */
struct op {
    struct list link; /* in client.ops */
    struct client *client;
    struct client_call *call;        /* NULL = cancelled: nobody waits for the result */
    void (*drop)(struct op *o);      /* stops everything and frees; called once, at the end */
    void (*cancelled)(struct op *o); /* the call is gone; may drop. NULL = goes on to its end */
};

/* What the core keeps inside a client_call. */
struct call_impl {
    struct op *op;
    struct slice hold; /* bytes that k->bytes points into */
    struct env_timer soft;
};
_Static_assert(sizeof(struct call_impl) <= sizeof(((struct client_call *)0)->impl),
               "client_call.impl is too small");

struct client {
    struct env *env;
    struct client_config cfg;
    uint32_t depth; /* of enter/leave */
    bool freeing;
    struct list ops;    /* every struct op */
    struct list ending; /* calls whose done is due */
    struct env_timer end_timer;

    struct master_link master;
    struct hmap peers; /* chunk_link.c: by server id */

    /* files.c */
    struct hmap inodes; /* by number */
    struct list idle;   /* inodes nobody uses, oldest first */
    uint32_t idle_count;
    uint32_t forgetting;           /* inodes that are synced, to be forgotten */
    struct env_timer forget_timer; /* some more of them are */
    struct list close_due;         /* inodes whose last close the master should hear of */
    struct env_timer close_timer;
    struct list closing; /* close_files on their way */

    struct known_names names;

    /* surplus.c */
    struct list surpluses; /* struct surplus of files that have one, oldest first */
    uint32_t surplus_count;

    /* write_back.c */
    struct list dirty;   /* inodes with bytes or a size not yet committed */
    struct list aging;   /* inodes by the time of their first uncommitted write */
    struct list stalled; /* inodes that may send but for FLYING_MAX */
    struct env_timer age_timer;
    struct list writers;  /* writes waiting for budget, in order */
    uint64_t dirty_bytes; /* in pieces */
    uint32_t flying;      /* pieces on their way */

    /* locations.c */
    struct hmap locations;
    uint64_t recalls;         /* times that something known of chunks had to be forgotten */
    struct list location_lru; /* oldest first */

    struct statfs_rep statfs;
    uint64_t statfs_ns; /* when it was learned; 0 = never */

    void (*ready)(void *owner, int status);
    void *ready_owner;
    int ready_status;
    struct env_timer ready_timer;

    bool stopping;
    struct env_timer stop_timer; /* ends the stop at the latest */
    struct op *stop_op;
    void (*stopped)(void *owner);
    void *stopped_owner;
};

void client_enter(struct client *c);
void client_leave(struct client *c);
void api_begin(struct client *c);
void api_end(struct client *c);

/* Starts k; results are cleared. */
void call_begin(struct client *c, struct client_call *k);
/* Registers o as the work of k (k may be NULL). */
void op_begin(struct op *o, struct client *c, struct client_call *k, void (*drop)(struct op *o));
/* Ends the call, if somebody still waits, and drops the op. */
void op_end(struct op *o, int status);
/* Ends a call that has no op. */
void call_end(struct client_call *k, int status);
static inline struct call_impl *call_impl(struct client_call *k)
{
    return (struct call_impl *)(void *)k->impl;
}

/* There is no primary, and a shadow serves. */
static inline bool client_on_shadow(const struct client *c)
{
    return shadow_link_ready(&c->master.shadow);
}

/* read.c: reads do not wait any longer for what was written before to be on the replicas. */
void reads_go_on(struct client *c);

/* The next pause of a repeated attempt: doubles from BACKOFF_MIN_MS to BACKOFF_MAX_MS. */
static inline uint32_t backoff_next(uint32_t ms)
{
    return ms == 0 ? BACKOFF_MIN_MS : MIN(ms * 2, (uint32_t)BACKOFF_MAX_MS);
}

#endif
