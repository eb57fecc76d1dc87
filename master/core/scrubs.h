/* scrubs.h - what the master knows of the verification of replicas, and the comparison of their
 * digests.
 *
 * Chunkservers read what they hold and tell how far they are, what is damaged, and the digest of
 * each replica they verified. The other members' digests are asked for then; they come from memory.
 * Replicas of one version that applied the same number of mutations hold the same bytes: if their
 * digests differ and still do a while later, one of them is wrong although it matches its own sums.
 * That is logged, and the chunk goes through a grant, which makes its members equal.
 * Loop thread only. Bounds: SCRUB_CHECKS_MAX chunks waiting; beyond it they wait for their next scan.
 */
#ifndef MASTER_CORE_SCRUBS_H
#define MASTER_CORE_SCRUBS_H

#include "shared/base/hmap.h"
#include "shared/base/list.h"
#include "shared/env/rpc.h"
#include "shared/proto/schema.h"

enum {
    SCRUB_CHECKS_MAX = 8192,
    SCRUB_BATCH = 256,      /* chunks asked about at a time */
    SCRUB_AGAIN_MS = 2000,  /* until a difference is looked at again */
    SCRUB_STALL_MS = 60000, /* a scan so far behind its plan, and a bit more, does not advance */
};

struct master;
struct peer;
struct chunkserver;
struct scrub_ask;

struct scrubs {
    struct hmap checks; /* by handle */
    struct list queue;  /* of them, those not being asked about, the soonest first */
    struct list batch;  /* and those that are */
    struct scrub_ask *asks;
    uint32_t ask_count;
    uint32_t pending;
    struct list commands; /* operators waiting for a chunkserver */
    uint64_t compared, different;
};

void scrubs_init(struct master *m);
void scrubs_close(struct master *m);
/* What a heartbeat says. */
void scrubs_heartbeat(struct master *m, struct chunkserver *s, const struct heartbeat_req *req);
/* A chunkserver verified replicas, or tells again which are damaged. */
void scrubs_scanned(struct peer *p, struct message *msg);
/* An operator's question: true if it was ours. */
bool scrubs_request(struct peer *p, struct message *msg);
/* The connection is gone: its requests are forgotten. NULL = all are. */
void scrubs_forget(struct master *m, const struct peer *p);
/* Periodic: starts the next comparison. */
void scrubs_tick(struct master *m);

#endif
