/* repair.h - the scan over all chunks: counts, and starts what brings replicas back in order; and
 * the merging of chunkservers' reports, which is a scan of the same rows.
 *
 * Both go on in slices so that the loop never stalls. A pass begins at most once a second and takes
 * at most a twentieth of the loop's time. Replicas of a member that is away are replaced only after
 * a grace, unless they are the last but one.
 * Loop thread only.
 */
#ifndef MASTER_CORE_REPAIR_H
#define MASTER_CORE_REPAIR_H

#include "shared/base/list.h"
#include "shared/env/rpc.h"

enum {
    PASS_PAUSE_MS = 1000,
    PASS_PAUSE_BUSY_MS = 50,
    AWAY_GRACE_LEASES = 6, /* a member away for so many lease times is replaced */
    REPORT_PARTS_MAX = 64, /* parts of one server waiting to be merged */
    REPORT_REPLICAS_MAX = 4096,
};

struct master;
struct peer;
struct chunkserver;

struct repair {
    bool running; /* a pass is under way */
    uint64_t ino, number;
    uint32_t round;
    uint64_t begin_ns, end_ns, next_ns;
    uint64_t under, lost; /* of the pass under way */
    bool acted;
    bool paused; /* a chunk waits before its repair is tried again */
    bool dirty;  /* something happened since the pass began */
    /* Of the last complete pass. */
    uint64_t under_replicated, chunks_lost;
    bool clean; /* it found nothing to do and nothing happened since it began */
};

void repair_init(struct master *m);
/* Something happened that may need repair: the next pass may find work. */
void repair_touch(struct master *m);
/* Starts a pass now. */
void repair_poke(struct master *m);
/* The server is away for so long that its replicas are replaced. */
bool repair_away_long(const struct master *m, uint32_t server);
/* One slice; true if there is more to do soon. */
bool repair_slice(struct master *m);

/* Reports. */
void report_begin(struct master *m, struct chunkserver *s);
void report_end(struct master *m, struct chunkserver *s); /* the server is gone */
/* A part: answered when merged. */
void report_part(struct master *m, struct peer *p, struct message *msg);
/* One slice of all reports; true if there is more to do now. */
bool report_slice(struct master *m);
/* sure: the server that holds it says so. */
void report_bad(struct master *m, const struct report_bad_req *req, bool sure, const char *from);

#endif
