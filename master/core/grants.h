/* grants.h - who may write a chunk: new versions of chunks, one machine per chunk at a time.
 *
 * A grant names a version, its members and their primary. If the version of the row can still be
 * written it is answered at once; else a new version is made:
 *   prepare   every member is given the new version: it stops the old one and tells what it holds.
 *             A member is left out only if it said that it does not hold the old version, was told to
 *             leave it, or its lease has certainly ended; else the machine waits
 *   reconcile replicas that differ from the best one copy from it
 *   log       the new version with its members is committed
 *   activate  the members are told, the primary first; then the clients are answered
 * At least min(2, members before) replicas must take part; the machine tries again until they do.
 * The same machine repairs: replicas to be compared or refilled, and new members, which are first
 * filled while writes go on.
 * Loop thread only. Bounds of machines and requests: master_bounds.
 */
#ifndef MASTER_CORE_GRANTS_H
#define MASTER_CORE_GRANTS_H

#include "master/core/ns.h"
#include "master/core/quarrels.h"
#include "master/core/repair_plan.h"
#include "shared/base/list.h"
#include "shared/env/rpc.h"

enum { GRANTS_MAX = 8192, GRANT_WAITERS_MAX = 65536, REPAIRS_MAX = 1024, COPIES_PER_SERVER = 4 };

struct master;
struct peer;

struct grants {
    struct hmap by_handle; /* struct grant */
    struct list unplaced;  /* requests for chunks that no server could be found for yet */
    struct quarrels *quarrels;
    uint32_t waiters;
    uint32_t repairs; /* machines nobody waits for */
};

void grants_init(struct master *m);
void grants_close(struct master *m);

/* A client's request: answers it now or later. */
void grants_ask(struct master *m, struct peer *p, const struct frame_header *head,
                const struct grant_req *req);
/* The connection is gone: its requests are forgotten. */
void grants_forget(struct peer *p);
/* Periodic: requests that found no server try again. */
void grants_tick(struct master *m);

bool grants_running(const struct master *m, uint64_t handle);
/* What shall change in a chunk's member set; 0 = nothing of the kind. Both at once move a replica. */
struct repair_action {
    uint32_t add;    /* server that becomes a member; it is filled first */
    uint32_t source; /* member it is filled from */
    /* Member that leaves, if all others hold the new version in good order; else it stays. */
    uint32_t remove;
    uint64_t bytes; /* about as much is copied, for the books */
    enum repair_risk risk;
};

/* Brings the chunk's replicas in order in the background. False if too many run already, or one of
 * this chunk, or its repair failed a moment ago. */
bool grants_repair(struct master *m, const struct ns_chunk *row,
                   const struct repair_action *action);
/* The server failed as a member of this chunk a moment ago: it is not taken in again so soon. */
bool grants_shunned(const struct master *m, uint64_t handle, uint32_t server);
/* Ends the filling of a member that is not needed any more. What was copied is extra. */
void grants_cancel_fill(struct master *m, uint64_t handle);
/* The chunk is being given a new member, for this risk. */
bool grants_filling(const struct master *m, uint64_t handle, enum repair_risk *out_risk);
/* Chunks whose clients wait for members to come back or for new ones. */
uint32_t grants_blocked(const struct master *m);
/* Requests of mounts that wait for the chunk's machine. */
uint32_t grants_waiting(const struct master *m, uint64_t handle);
/* None is running or waiting. */
bool grants_settled(const struct master *m);

#endif
