/* meta_log.h - the per-disk log of what replicas there are and what their blocks must hash to.
 *
 * File meta/<number, 16 hex digits>: a header of 32 bytes, little endian: magic "GFSM" 4, format
 * (1) 4, number 8, zero 8, XXH3-64 of the 24 bytes before 8; then records (meta_record.h). The file
 * with the highest number counts; a new one is made complete and synced as meta/tmp and renamed.
 *
 * Torn tail: after an unclean end, a record that does not check out ends the log if no valid record
 * after it was made when the bad one was already synced (their `durable` fields tell). Anything
 * else, and anything at all after a clean stop, is damage: ERR_CORRUPT naming file and offset. A
 * clean stop says how far the log went: one that ends before is damaged, too.
 *
 * Records are appended in memory and leave in batches, one write at a time; waits say whether they
 * need the batch in the file or synced, so one fdatasync serves all who wait. A log that cannot be
 * written ends the process (env_die), except for want of space: then it is tried again until there
 * is some.
 *
 * Compaction writes the whole table into a new file while the old one goes on: `snapshot` hands
 * over replicas piece by piece; records about replicas handed over go to both.
 */
#ifndef CHUNKD_CORE_META_LOG_H
#define CHUNKD_CORE_META_LOG_H

#include "chunkd/core/meta_record.h"
#include "shared/base/list.h"
#include "shared/env/env.h"

enum { META_FILE_HEADER_BYTES = 32 };

/* One wait for everything appended so far. Embedded in its owner; done runs once, never inside
 * meta_log_wait. */
struct meta_wait {
    void (*done)(struct meta_wait *w);
    void *owner;
    /* private */
    struct list link;
    uint64_t ticket;
    bool durable;
};

struct meta_bytes {
    uint8_t *data;
    uint32_t len;
    uint32_t cap;
};

/* One log file being written. */
struct meta_stream {
    struct env_file *file; /* NULL = none */
    uint64_t number;
    uint64_t size;     /* bytes in the file */
    uint64_t sequence; /* of the newest record */
    uint64_t durable;  /* sequence known to be synced */
    struct meta_bytes pending;
    struct meta_bytes writing;
};

struct meta_log_events {
    /* Append (meta_log_append_next) some more replicas to the new file; false: all are there. */
    bool (*snapshot)(void *owner);
    /* A batch reached the file: records appended when `tickets` was `ticket` or less are
     * in it. */
    void (*written)(void *owner, uint64_t ticket);
    /* The log could not be written; the process ends after this. */
    void (*failed)(void *owner, int err);
};

enum meta_compaction { META_IDLE, META_COPYING, META_DRAINING, META_SWITCHING };

struct meta_log {
    struct env *env;
    const struct meta_log_events *events;
    void *owner;
    struct meta_stream now;
    struct meta_stream next; /* of a compaction */
    enum meta_compaction compaction;
    uint64_t highest_number;
    uint64_t compact_min_bytes; /* no compaction below this size */
    uint64_t tickets;           /* records appended */
    uint64_t written;           /* tickets in the file */
    uint64_t durable;           /* tickets synced */
    struct list waits;
    bool torn; /* its end was cut off when it was opened */
    bool busy; /* a batch is being written */
    uint64_t batch_ticket;
    uint64_t batch_sequence;
    struct disk_op batch;
    struct env_timer retry;
    struct env_timer turn; /* ends waits that were met when they began */
    bool kicked, kicked_sync;
    bool serving;        /* batches may be started; else only meta_log_sync_now writes */
    struct disk_op step; /* of the compaction */
    uint64_t step_ticket;
    char path[32];
    char old_path[32];
    struct disk_op unlink;
    bool unlinking;
};

void meta_log_init(struct meta_log *log, struct env *env, const struct meta_log_events *ev,
                   void *owner);
/* Makes the first log file, durably. */
MUST_CHECK int meta_log_create(struct meta_log *log, struct why *why);
/* Whether a directory without a label has a log that was written to. 0 or a negative errno. */
MUST_CHECK int meta_log_has_records(struct env *env, bool *out);
/* Loads the newest file, calling apply for each record; its ERR_CORRUPT ends the load. `clean`: 0
 * after an unclean end, else what the label said (label.h). */
MUST_CHECK int meta_log_open(struct meta_log *log, uint32_t clean,
                             int (*apply)(void *owner, const struct meta_record *r),
                             struct why *why);
void meta_log_close(struct meta_log *log); /* frees; no I/O */

/* in_next: the replica was handed to the running compaction (meta_log_next_number). */
void meta_log_append(struct meta_log *log, const struct meta_record *r, bool in_next);
void meta_log_append_next(struct meta_log *log, const struct meta_record *r);
uint64_t meta_log_next_number(const struct meta_log *log); /* 0 = no compaction runs */
void meta_log_wait(struct meta_log *log, struct meta_wait *w, bool durable);
void meta_log_cancel(struct meta_wait *w);     /* done will not run */
void meta_log_kick(struct meta_log *log);      /* write what is pending, nobody waits */
void meta_log_kick_sync(struct meta_log *log); /* and sync what is not durable yet */
/* Starts a compaction if the log is large against live_bytes. */
void meta_log_consider_compaction(struct meta_log *log, uint64_t live_bytes);
bool meta_log_idle(const struct meta_log *log);
/* Writes and syncs everything now; blocks. Only while no batch is in flight. -ENOSPC while
 * meta_log_has_pending: what was appended leaves with a later batch. */
MUST_CHECK int meta_log_sync_now(struct meta_log *log);
bool meta_log_has_pending(const struct meta_log *log); /* records that are not in the file */

#endif
