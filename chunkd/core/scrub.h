/* scrub.h - the idle scan: every replica is read and checked against its sums once in a period.
 *
 * A pass goes over all replicas, the longest unverified first, in pieces of 256 KiB, one at a time;
 * a piece stands in its replica's queue like any read. It is planned to take a little less than the
 * period. While clients are served the next piece waits, until the pass is behind its plan by more
 * than a small part; what was waited for is made up when they are quiet. A pass an operator asked
 * for goes as fast as the disk gives, in its share of the time, and waits for clients too, but never
 * long. Replicas that are being written, copied or compared come later in the pass.
 *
 * A block that does not match is read once more by itself before it counts as damaged. Damaged
 * replicas are told to the master as they are found, and again from time to time; verified ones
 * with their digest, so that it can compare replicas without moving data.
 */
#ifndef CHUNKD_CORE_SCRUB_H
#define CHUNKD_CORE_SCRUB_H

#include "chunkd/core/replica_table.h"

enum {
    SCRUB_PERIOD_S = 14 * 24 * 3600,
    SCRUB_SHARE = 100,
    SCRUB_TOLD_MAX = 256, /* replicas in one message to the master */
};

struct chunkd;
struct link;
struct message;

/* A replica the pass has still to read. */
struct scrub_item {
    uint64_t handle;
    uint32_t verified_s;
    uint32_t block;  /* next one to read */
    uint32_t length; /* counted in `total` */
};

/* A part of a replica that is being read. */
struct scrub_piece {
    struct replica_op op; /* its blocks, from op.first on */
    struct disk_op disk;
    struct env_file *file;
    struct buf *buf;
    uint64_t pass;              /* it belongs to */
    uint32_t block, count, end; /* being read, and where the piece ends */
    uint32_t bytes;             /* read so far */
    bool single;                /* block by block: something did not match */
    bool running;
    uint64_t begin_ns, took_ns;
};

enum scrub_outcome {
    SCRUB_READ,  /* all its blocks were looked at */
    SCRUB_LATER, /* the replica cannot be judged now */
    SCRUB_GONE,  /* there is nothing to verify */
};

struct scrub {
    struct chunkd *c;
    uint64_t period_ns;
    uint32_t share;
    uint64_t pass, ended;
    bool forced;
    uint64_t found_before, repaired_before; /* when the forced pass began */
    struct scrub_item *items;               /* what is left of the pass: from `at` on, */
    uint64_t count, at;
    uint64_t kept; /* and the first `kept`, for another round */
    bool progress; /* something was read in this round */
    uint32_t idle_rounds;
    uint64_t done, total; /* bytes */
    uint64_t begin_ns;    /* of the pass */
    uint64_t due_ns;      /* the plan gives what was read so far time until then */
    uint64_t piece_ns;    /* when the last piece ended, or the pass began */
    bool stopped;
    bool held; /* by a test */
    struct scrub_piece piece;
    struct env_timer timer;            /* next piece */
    struct env_timer tell_timer;       /* next message to the master */
    uint64_t verified[SCRUB_TOLD_MAX]; /* handles to be told */
    uint32_t verified_count;
    uint64_t damage_told_ns;
};

void scrub_init(struct scrub *s, struct chunkd *c);
void scrub_start(struct scrub *s);
void scrub_stop(struct scrub *s); /* starts nothing more; a read may be in flight */
void scrub_release(struct scrub *s);
/* For heartbeats. */
struct scrub_state scrub_state(struct scrub *s);

/* Private to scrub*.c. */
/* Reads blocks of r from `block` on; scrub_piece_ended follows, perhaps before this returns. */
void scrub_piece_begin(struct scrub *s, struct local_replica *r, uint32_t block);
/* Blocks up to `next` were looked at, if outcome is SCRUB_READ. */
void scrub_piece_ended(struct scrub *s, enum scrub_outcome outcome, uint32_t next);
void scrub_begin_forced(struct scrub *s);
/* The replica's digest is to be told to the master. */
void scrub_tell_verified(struct scrub *s, const struct local_replica *r);
void scrub_tell_start(struct scrub *s);

/* Requests of the master. */
void scan_now_handle(struct link *l, struct message *m);
void digests_handle(struct link *l, struct message *m);

#endif
