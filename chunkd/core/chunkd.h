/* chunkd.h - the chunkserver as its shell and the simulator see it.
 *
 * Pure: everything through env. One process, one disk directory:
 *   label                 identity of the disk: format version, disk id, cluster id, server id,
 * epoch obeyed meta/<n>              meta log: versions, checksums, dirty marks (format:
 * meta_log.c) ring                  intent ring, mapped (format: intent_ring.h)
 *   chunks/<xx>/<handle>  data file of a replica, 16 hex digits, xx = its last two
 *   aside/<handle>        file of one that was let go and is kept for a while (aside.h)
 */
#ifndef CHUNKD_CORE_CHUNKD_H
#define CHUNKD_CORE_CHUNKD_H

#include "shared/env/env.h"

struct chunkd;

/* What a chunkserver has at a time, at most; 0 = the usual. */
struct chunkd_limits {
    uint32_t open_files;    /* of chunks kept open beside those in use; 512 */
    uint32_t tails;         /* hashes of last blocks that get longer; 512 */
    uint32_t peers;         /* connections made to other chunkservers; 1024 */
    uint32_t links;         /* accepted connections; 16384 */
    uint32_t link_requests; /* unanswered requests of one connection; 1024 */
    uint64_t request_bytes; /* payload of all unanswered requests; 512 MiB */
    uint64_t answer_bytes;  /* not yet taken by one connection's network; 64 MiB */
};

struct chunkd_config {
    char cluster[64];    /* cluster name; empty = any */
    char masters[512];   /* HOST:PORT[,HOST:PORT], as masters_parse takes it */
    char listen[256];    /* HOST:PORT */
    char advertise[256]; /* what others dial; empty = listen */
    char host[64];       /* host label */
    char rack[64];       /* rack label */
    uint32_t flush_ms;   /* dirty chunks are synced this often; 5000 */
    uint32_t aside_ms;   /* files of replicas the master let go are kept so long; 0 = not at all */
    uint64_t reserve_bytes;  /* kept free; 0 = min(4 GiB, 2 %), at least 1 MiB */
    uint32_t scrub_period_s; /* every replica is verified once in it; 0 = 14 days */
    uint32_t scrub_share;    /* of the time, in percent, a scan asked for may read; 0 = 100 */
    uint64_t compact_bytes;  /* the meta log is written anew when it is larger; 0 = 16 MiB */
    struct chunkd_limits limits;
};

struct chunkd *chunkd_create(struct env *env, const struct chunkd_config *cfg);
/* Locks and opens the directory (formats an empty one), loads the meta log, settles the intent
 * ring, listens, dials the master. Errors, each with a sentence: -EBUSY (another chunkd has it),
 * ERR_FOREIGN_CLUSTER, ERR_CORRUPT (unknown disk format, damaged label or meta log), negative
 * errno. */
MUST_CHECK int chunkd_start(struct chunkd *c, struct why *why);
/* Clean stop: syncs dirty chunks and the meta log, marks it clean; blocks. */
MUST_CHECK int chunkd_stop(struct chunkd *c, struct why *why);
void chunkd_destroy(struct chunkd *c); /* frees without I/O */

/* For tests and the simulator: a replica's version, length and digest (XXH3-64 over LE u32 length
 * and the LE u32 block sums); -ENOENT. verify reads every block and checks it: 0 or ERR_CHECKSUM.
 */
struct chunkd_replica_info {
    uint64_t handle, ino, number, version, digest;
    uint32_t length;
    uint32_t state; /* REPLICA_* */
};
int chunkd_replica(struct chunkd *c, uint64_t handle, struct chunkd_replica_info *out);
/* Replica with the lowest handle >= handle: 0 or -ENOENT. */
int chunkd_replica_next(struct chunkd *c, uint64_t handle, struct chunkd_replica_info *out);
/* Reads every block that begins before `end` and checks it, blocking: 0, -ENOENT, ERR_CHECKSUM or a
 * negative errno. */
int chunkd_verify(struct chunkd *c, uint64_t handle, uint32_t end);
/* No replica is verified while scans are held. */
void chunkd_hold_scans(struct chunkd *c, bool hold);
/* Begins a scan of all replicas. Whether it ended, and nothing is damaged. */
void chunkd_scan(struct chunkd *c);
bool chunkd_scanned(struct chunkd *c);
bool chunkd_settled(struct chunkd *c); /* no mutation, copy or flush is running */

#endif
