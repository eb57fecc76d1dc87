/* servers.h - the chunkservers as this master sees them: who is connected, with what lease and
 * space.
 *
 * Which disks ever joined stands in the namespace's rows; this is the volatile side. A
 * chunkserver's lease is counted here from the moment a heartbeat was answered and a little longer
 * than the chunkserver counts it: once it ended here the chunkserver certainly serves nothing under
 * it. A new master knows nothing of the leases its predecessor renewed and counts each as just
 * renewed. Pure; loop thread only. Bound: SERVERS_MAX.
 */
#ifndef MASTER_CORE_SERVERS_H
#define MASTER_CORE_SERVERS_H

#include "master/core/bandwidth.h"
#include "master/core/placement.h"
#include "master/core/slow.h"
#include "shared/base/geometry.h"
#include "shared/base/limits.h"
#include "shared/env/rpc.h"
#include "shared/proto/schema.h"

enum { SERVERS_MAX = 1024, DROP_BATCH = 1024 };

struct peer;
struct report;

struct chunkserver {
    uint32_t id;
    uint64_t disk;
    char addr[ADDR_LEN_MAX + 1];
    char host[LABEL_LEN_MAX + 1];
    char rack[LABEL_LEN_MAX + 1];
    uint64_t boot;     /* of the process that registered last; 0 = none yet */
    struct peer *peer; /* its connection, once registered; NULL = away */
    uint64_t total;    /* as of the last heartbeat, bytes */
    uint64_t avail;
    uint64_t chunks;
    uint64_t heartbeat_ns;       /* last one answered; 0 = none since this master started */
    uint64_t heartbeat_awake_ns; /* the same by master_awake_ns */
    uint64_t lease_until_ns;     /* 0 = certainly none */
    bool beating;                /* a heartbeat came since it registered */
    bool reported;               /* its report since it registered is merged */
    bool fenced;                 /* cut off: may register again once its lease ended */
    bool full;                   /* a write failed for space since its last heartbeat */
    bool draining;               /* logged: no new replicas, and the ones it has move away */
    bool failing;                /* its disk says so: treated as draining */
    bool slow;                   /* measured against its peers: avoided, never below safety */
    /* Until then its absence is not repaired, but for chunks with one copy left; 0 = none. */
    uint64_t maintenance_until_ns;
    struct bandwidth bandwidth;
    /* As logged (server_state.h): ns since 1970, 0 = not. */
    uint64_t maintenance_until, away_since;
    uint32_t failing_reason;

    uint64_t load; /* bytes a second it moved for clients lately */
    struct slow_track track;
    uint32_t disk_us; /* its disk's recent time for an operation, as it says; 0 = not known */
    /* Chunks it is a member of, and of them, if it is leaving, those nobody else has room for: as
     * the last whole scan found them, and as the running one counts (balance.h). */
    uint64_t member_of, stuck, member_counting, stuck_counting;
    uint64_t counted_from_ns; /* counts of scans that began before say nothing */
    bool drained_said;
    uint32_t copies;          /* copies between replicas that run from or to it */
    struct scrub_state scrub; /* as of its last heartbeat */
    bool scrub_stalled;       /* its scan does not advance */
    uint32_t failing_told;    /* why its disk is failing, as its last heartbeat said */
    uint64_t orphans;         /* replicas of no chunk in its last report */
    struct report *report;    /* being merged, or NULL */
    /* Chunks from this handle on were made while the process that is registered now was running. */
    uint64_t first_handle;

    /* Removal of replicas: one request at a time. */
    struct rpc_call drop_call;
    uint64_t drops[DROP_BATCH];
    bool drop_logged[DROP_BATCH]; /* a garbage row names it */
    bool drop_aside[DROP_BATCH];  /* it is kept aside for a while */
    uint32_t drop_count;
    uint64_t drop_after_ns; /* not before: the last request failed */
    uint64_t deletions;     /* of its replicas that the master decided, since: */
    uint64_t deletions_since_ns;
};

struct servers {
    struct chunkserver *by_id[SERVERS_MAX + 1]; /* those that ever joined: 1 to highest */
    uint32_t highest;
};

void servers_close(struct servers *ss);
/* The server that was given this id. */
struct chunkserver *servers_get(const struct servers *ss, uint32_t id);
/* The same for a number that somebody names: NULL if none was given it. */
struct chunkserver *servers_find(const struct servers *ss, uint32_t id);
struct chunkserver *servers_by_disk(const struct servers *ss, uint64_t disk);
/* Learns of a disk, which has the next id, or of its new labels. */
struct chunkserver *servers_put(struct servers *ss, uint64_t disk, const struct server *row);
/* True if the row says something new. */
bool servers_differs(const struct chunkserver *s, const struct server *row);

/* Its lease runs and it is here: it may serve and be given work. */
bool server_alive(const struct chunkserver *s, uint64_t now_ns);
/* Its replicas are to move to others, and it gets no new ones. */
bool server_leaving(const struct chunkserver *s);
/* The operator asked that its absence be waited for. */
bool server_in_maintenance(const struct chunkserver *s, uint64_t now_ns);
/* Room for another chunk. */
bool server_has_room(const struct chunkserver *s, const struct geometry *geo);
/* Servers alive; those that are leaving only if `leaving`. */
uint32_t servers_alive(const struct servers *ss, uint64_t now_ns, bool leaving);
/* Every server that ever joined has reported to this master. */
bool servers_all_reported(const struct servers *ss);
/* Servers that are not leaving, here or away. */
uint32_t servers_staying(const struct servers *ss);
/* As `server` of the tables; views into s. */
struct server server_as_field(const struct chunkserver *s);
struct placement_server server_as_candidate(const struct chunkserver *s);
/* It moved so many bytes for clients since its last heartbeat: its load, over some ten seconds. */
void server_note_load(struct chunkserver *s, uint64_t now_ns, uint64_t bytes);
/* Servers alive with room, for placement; those that are leaving only if `leaving`. Returns their
 * count. */
uint32_t servers_candidates(const struct servers *ss, uint64_t now_ns, const struct geometry *geo,
                            bool leaving, struct placement_server *out, uint32_t max);
/* Replicas a chunk should have: `wanted` of its file (0 = geometry.replicas), or fewer if fewer
 * servers ever joined; at least 1. */
uint32_t servers_wanted(const struct servers *ss, const struct geometry *geo, uint32_t wanted);

#endif
