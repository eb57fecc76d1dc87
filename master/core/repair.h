/* repair.h - the scan over all chunks: counts, and finds what needs copies; the work on what it
 * found; and the merging of chunkservers' reports, which is a scan of the same rows.
 *
 * Scan and merging go on in slices so that the loop never stalls. A pass begins at most once a
 * second and takes at most a fifth of the time. What it finds waits in a queue (repair_queue.h);
 * the work draws from it whenever a copy ends, as far as servers have places and bandwidth for
 * copies. Replicas of a member that is away are replaced only after a grace, unless one good copy
 * is left; a copy that is not needed any more is stopped.
 * Loop thread only.
 */
#ifndef MASTER_CORE_REPAIR_H
#define MASTER_CORE_REPAIR_H

#include "master/core/ns.h"
#include "master/core/repair_queue.h"
#include "shared/base/list.h"
#include "shared/env/rpc.h"

enum {
    PASS_PAUSE_MS = 1000,
    PASS_PAUSE_BUSY_MS = 200,
    PICTURE_LEASES = 6,    /* a new master waits so many lease times for servers that were known */
    RATE_SECONDS = 10,     /* the rate of copies is that of the last so many seconds */
    COPIES_COUNTED = 4,    /* chunks are counted by good copies: 0, 1, 2, 3 and more */
    REPORT_PARTS_MAX = 64, /* parts of one server waiting to be merged */
    REPORT_REPLICAS_MAX = 4096,
};

struct master;
struct peer;
struct chunkserver;

/* From when chunks began to wait for copies until none waited: for the log. */
struct repair_wave {
    bool said;
    uint64_t begin_ns; /* 0 = none */
    uint64_t chunks, bytes, failed, cancelled, last_copies;
};

struct repair {
    bool running; /* a pass is under way */
    struct ns_chunk_walk walk;
    uint32_t round;
    uint64_t begin_ns, end_ns, next_ns;
    uint32_t hosts;       /* servers that could take a replica, as the pass began */
    uint64_t under, lost; /* of the pass under way */
    uint64_t counted[COPIES_COUNTED];
    uint64_t homeless; /* chunks for whose copies there is no server */
    bool acted;
    bool paused; /* a chunk waits before its repair is tried again */
    bool dirty;  /* something happened since the pass began */
    /* Of the last complete pass. */
    uint64_t under_replicated, chunks_lost;
    uint64_t copies[COPIES_COUNTED];
    bool clean; /* it found nothing to do and nothing happened since it began */

    struct repair_queue queue;
    struct repair_class copying[RISK_CLASSES]; /* machines that run */
    struct repair_class done[RISK_CLASSES];    /* since this master started */
    struct repair_wave wave;
    uint64_t begun;                /* copies, since this master started */
    uint64_t last_copies;          /* of these, for chunks with one copy left */
    uint64_t last_copy_at;         /* how many had begun when the last one of them did */
    uint64_t copied[RATE_SECONDS]; /* bytes by second, as chunkservers told */
    uint64_t copied_second;        /* the newest of them */
};

/* What is known of a chunk's members. */
struct repair_view {
    struct plan_member members[REPLICAS_MAX];
    struct plan_chunk chunk;
};

void repair_init(struct master *m);
void repair_close(struct master *m);
/* Something happened that may need repair: the next pass may find work. */
void repair_touch(struct master *m);
/* Starts a pass now. */
void repair_poke(struct master *m);
/* No replica of the chunk is here that could be read, now or soon: they are gone, or their servers
 * away for longer than is waited for. Readers of it get an error, until one returns. */
bool repair_gone(const struct master *m, const struct ns_chunk *row);
/* No good copy of it is here either, nor one that could be made good. */
bool repair_lost(const struct master *m, const struct ns_chunk *row);
/* The server is away for so long that its replicas are replaced. */
bool repair_away_long(const struct master *m, uint32_t server);
/* One slice; true if there is more to do soon. */
bool repair_slice(struct master *m);
/* Every server that ever joined reported, or had its time: the picture is complete. */
bool repair_picture_complete(const struct master *m);
void repair_look(const struct master *m, const struct ns_chunk *row, struct repair_view *out);

/* repair_work.c. The server could become a member of a chunk. */
bool repair_may_take(const struct master *m, uint32_t server);
/* Queues what the plan says the chunk needs. False if nobody could take a replica. */
bool repair_enqueue(struct master *m, const struct ns_chunk *row, const struct repair_plan *p);
/* Queues a move for balance's sake, of so many bytes. False if the queue is full or the chunk has
 * other needs. */
bool repair_offer_move(struct master *m, const struct ns_chunk *row, uint32_t from, uint32_t to,
                       uint64_t *out_bytes);
/* Starts what may start now. */
void repair_pump(struct master *m);
/* A pass ended: says so in the log if copying began or ended. */
void repair_wave_check(struct master *m);
/* A machine that grants_repair started is over. */
struct repair_action;
void repair_ended(struct master *m, const struct repair_action *action, int status);
/* A chunkserver tells what copies wrote. */
void repair_heard(struct master *m, uint64_t bytes);
/* The answer to `rereplication`. Lists are written to writers that must live as long as *out. */
void repair_progress(const struct master *m, struct writer *classes, struct writer *copies,
                     struct rereplication_rep *out);
/* Chunks with 0, 1, 2, 3 and more good copies: u64 each. */
void repair_copies(const struct master *m, struct writer *w);

/* Reports. */
void report_begin(struct master *m, struct chunkserver *s);
void report_end(struct master *m, struct chunkserver *s); /* the server is gone */
/* A part: answered when merged. */
void report_part(struct master *m, struct peer *p, struct message *msg);
/* One slice of all reports; true if there is more to do now. */
bool report_slice(struct master *m);
/* The server has this replica: if it is no member, or the chunk is gone, that is noted. (A request
 * that was late may make a replica long after the server's report.) */
void report_replica(struct master *m, uint32_t server, const struct replica *r);
/* sure: the server that holds it says so. */
void report_bad(struct master *m, const struct report_bad_req *req, bool sure, const char *from);

#endif
