/* service_shadow.h - what a master answers that is not the primary.
 *
 * Reading of the namespace, and where chunks are, as its rows say. Every answer has the index it was
 * made from and how old that is at most. A request that has seen a later index waits for it a
 * little; one that finds a state of unknown or great age is refused unless it says that any will
 * do. Sessions and opens are the primary's: none is looked at. All else is ERR_NOT_MASTER.
 * Loop thread only.
 */
#ifndef MASTER_CORE_SERVICE_SHADOW_H
#define MASTER_CORE_SERVICE_SHADOW_H

#include "shared/env/rpc.h"

enum {
    SHADOW_WAIT_MS = 50,       /* for a later index, then ERR_BEHIND */
    SHADOW_AGE_MAX_MS = 10000, /* beyond it ERR_TOO_OLD */
    SHADOW_WAITING_MAX = 16384,
};

struct master;
struct ns_chunk;
struct open_req;
struct open_rep;
struct peer;
struct writer;

struct shadow {
    struct list waiting; /* struct waiting_read, the oldest first */
    uint32_t count;
    struct env_timer timer; /* the oldest one's time is over */
};

void shadow_init(struct master *m);
void shadow_close(struct master *m); /* who waits is refused */

/* Answers the request, now or later. */
void service_shadow(struct peer *p, struct message *msg);
/* The state contains more records. */
void shadow_applied(struct master *m);
/* The connection is gone. */
void shadow_forget(struct peer *p);

/* A chunk as its row has it; all members, in the row's order. */
void shadow_chunk(struct master *m, const struct ns_chunk *row, struct writer *w,
                  struct chunk *out);
/* Server rows, as server_status without what only heartbeats tell. */
void shadow_servers(struct master *m, struct writer *w);

#endif
