/* oplog.h - the operation log of one logger: records, batches, segments, the superblock.
 *
 * (The byte formats are specified at the top of oplog.c and record.h.) Records are appended in
 * memory; at the end of the turn of the loop, or of the flush that is running then, all that are
 * waiting go out as one batch padded to 4 KiB, written and fdatasynced by one disk operation
 * together with the batch's slot in the segment's id table. When it is on this disk, durable() rises
 * and on_durable runs.
 *
 * A lone log commits by that: committed() rises with durable(). One log of several (replicated) is
 * told by oplog_commit_to what enough of them hold; damage found when it is opened is not judged by
 * itself: oplog_findings tells what is there, and the log takes no records until it was cut.
 *
 * Pure: env only. A failed write or sync ends the process (env_die): a failed fsync is never
 * retried. Invariants: a sector that holds a committed record is never rewritten; indices are
 * contiguous; H(i) binds all history (record.h).
 */
#ifndef MASTER_CORE_OPLOG_H
#define MASTER_CORE_OPLOG_H

#include "master/core/log_rule.h"
#include "master/core/record.h"
#include "shared/base/geometry.h"
#include "shared/env/env.h"

struct oplog;

enum { OPLOG_CHECK_BYTES = 2 << 20 };

struct oplog_config {
    uint32_t segment_bytes; /* multiple of 4 KiB, >= 64 KiB */
    bool force;      /* start although the log is damaged: bad segments are copied aside first */
    bool replicated; /* one log of several */
};

/* What the superblock holds. */
struct oplog_identity {
    uint64_t cluster;        /* random, made when the directory was formatted */
    char name[64];           /* cluster name of the configuration at that time */
    uint64_t disk;           /* random id of this log directory */
    uint32_t epoch;          /* highest epoch promised */
    uint64_t starts;         /* processes that opened it */
    uint64_t committed;      /* committed lower bound */
    uint8_t incarnation[16]; /* env_incarnation of the last process that opened it */
    uint64_t clean_index;    /* index of a clean stop; 0 = the last process did not stop cleanly */
    /* Made for a set, or what could not be read of it was cut: something that this disk, or another
     * one here, may have held is not here yet. */
    bool joining;
    struct log_place behind; /* the last of that; {0, 0} = not known */
};

/* Opens the log in directory "log", formatting it if there is none (one of several gets no cluster id
 * by that: oplog_adopt); fdatasyncs what a killed
 * process may have left in the page cache, then scans: a provable torn tail is cut, other damage is
 * refused (ERR_CORRUPT, why names file, offset, expected, found). ERR_FOREIGN_CLUSTER  the
 * directory was formatted under another cluster name ERR_CORRUPT, negative errno */
MUST_CHECK int oplog_open(struct env *env, const struct oplog_config *cfg, const char *cluster_name,
                          struct oplog **out, struct why *why);
/* What stands in one of the two superblock slots, log/meta.0 and log/meta.1: false if it is damaged, or
 * of another format. The newer one has the higher counter. For tools. */
bool oplog_read_identity(struct bytes slot, struct oplog_identity *out, uint64_t *out_counter);
/* Frees memory; no I/O. */
void oplog_close(struct oplog *l);

/* As found by oplog_open, before this process changed it (incarnation, clean_index of the
 * predecessor). */
const struct oplog_identity *oplog_identity(const struct oplog *l);
/* Un-synced writes of the last process that opened it are still there: it was killed, the machine
 * was not. */
bool oplog_incarnation_same(const struct oplog *l);
uint64_t oplog_first(const struct oplog *l);      /* lowest index held; last + 1 if empty */
uint64_t oplog_last(const struct oplog *l);       /* highest index appended; 0 if none */
uint64_t oplog_durable(const struct oplog *l);    /* highest index on this disk */
bool oplog_settled(const struct oplog *l);        /* all that was appended is on this disk */
uint64_t oplog_committed(const struct oplog *l);  /* highest index known to be committed */
uint32_t oplog_epoch(const struct oplog *l);      /* highest epoch promised */
uint64_t oplog_cluster(const struct oplog *l);    /* 0: a new one of several that knows none yet */
uint64_t oplog_last_chain(const struct oplog *l); /* H(last) */
/* Epoch of the last record; 0 if there is none. */
uint32_t oplog_last_epoch(const struct oplog *l);
/* H(i) for a durable index held, or first - 1, also next to what cannot be read. -ENOENT if not held;
 * ERR_CORRUPT or a negative errno if the log cannot be read. Reads the log and blocks, unless index is
 * the last. */
MUST_CHECK int oplog_chain(struct oplog *l, uint64_t index, uint64_t *out, struct why *why);

/* Calls each(owner, record) for records from..last in order, before serving; stops at a non-zero
 * return and returns it. */
MUST_CHECK int oplog_replay(struct oplog *l, uint64_t from,
                            int (*each)(void *owner, const struct record *r), void *owner,
                            struct why *why);

/* Records the incarnation and clears clean_index, durably: from now on the process appends. */
MUST_CHECK int oplog_start(struct oplog *l, struct why *why);
/* The same for a lone log, and takes an epoch above the promised one: oplog_append stamps it. */
MUST_CHECK int oplog_start_epoch(struct oplog *l, uint32_t epoch, struct why *why);

/* Promises to obey no lower epoch; done(owner) once that is durable. The epoch is above the
 * promised one, and no other promise is under way (oplog_promising). Nothing is appended under a
 * lower epoch from now on: what a deposed primary still appends, before its process ends, is
 * dropped and never committed. */
void oplog_promise(struct oplog *l, uint32_t epoch, void (*done)(void *owner), void *owner);
bool oplog_promising(const struct oplog *l);
/* oplog_append stamps this epoch, the promised one, from now on. */
void oplog_take_epoch(struct oplog *l, uint32_t epoch);

/* A new log of several belongs to this cluster from now on. Durable when it returns; blocks. */
MUST_CHECK int oplog_adopt(struct oplog *l, uint64_t cluster, struct why *why);
/* A new log of several, perhaps in the place of a disk that is gone, does not know what that had
 * acknowledged, nor does one that was cut know what stood there and could not be read: until it holds all
 * that was committed when it came, or was cut, it vouches for nothing. */
bool oplog_joining(const struct oplog *l);
/* It does now; durable some time later. */
void oplog_joined(struct oplog *l);

/* What a replicated log, settled, has on its disk: for the rule by which a new primary chooses. */
struct log_answer oplog_findings(const struct oplog *l);
/* It has holes, or bytes behind its last record: nothing can be appended before it is cut. */
bool oplog_damaged(const struct oplog *l);
/* No record is on its way to the disk and no file of the log is being renamed or removed. */
bool oplog_quiet(const struct oplog *l);
/* Removes the records above `index`, and what cannot be read behind it, durably; a crash at any
 * moment leaves the log as it was, or shorter, never below index. The log is quiet and replicated.
 * If something behind index cannot be read it joins (oplog_joining), before anything is removed: else,
 * should it die before the records are back, it would say that it never had them.
 * -EPERM: records to be removed are committed; -ENOENT: the log does not reach to index; -EIO: record
 * `index` cannot be read any more; -EALREADY: there is nothing behind it, but holes before it, which
 * oplog_mend fills; -EAGAIN: one of those must be filled first. Blocks. If what is left cannot be read the
 * process ends. */
MUST_CHECK int oplog_cut(struct oplog *l, uint64_t index, struct why *why);
/* Puts back what is missing in a hole, from its first to its last record, as another log has it; a
 * crash leaves it as it was, mended, or with a smaller hole. A damaged log is quiet; an unsure end may be
 * lost by it, as by a cut. ERR_OUT_OF_SYNC: they do not fit, at their begin or their end; -EAGAIN:
 * segments are being removed; -EOPNOTSUPP: more is damaged than that; ERR_PROTOCOL. Blocks. */
MUST_CHECK int oplog_mend(struct oplog *l, struct bytes records, struct why *why);
/* Holes in segments that are full, of a log that is not damaged else: it goes on. They are noted when
 * a cursor or a check meets them; those of a damaged log are among its findings. */
uint32_t oplog_rot(const struct oplog *l, struct log_hole out[LOG_HOLES_MAX]);
/* Whether the history goes on behind such a hole depends on the other logs if its records may not be
 * committed: the log of a process that appends nothing itself counts as damaged then, with these holes
 * among its findings. -EAGAIN: it is not quiet. Blocks, as opening a damaged log does. */
MUST_CHECK int oplog_judge_rot(struct oplog *l, struct why *why);
bool oplog_rot_at(const struct oplog *l, uint64_t index); /* the record is in one of them */
/* Records in holes of either kind. */
uint64_t oplog_missing(const struct oplog *l);

/* Reads full segments again and again, to find what the disk lost meanwhile. */
struct oplog_check;
struct oplog_check *oplog_check_create(struct oplog *l);
/* No read may be under way (oplog_check_busy), or the env is halted. */
void oplog_check_destroy(struct oplog_check *c);
bool oplog_check_busy(const struct oplog_check *c);
/* Begins to read the next piece of at most OPLOG_CHECK_BYTES. False: there is no full segment. */
bool oplog_check_step(struct oplog_check *c);
uint32_t oplog_full_segments(const struct oplog *l);
/* Their bytes. */
uint64_t oplog_full_bytes(const struct oplog *l);
/* How often records of it were removed or mended: what was read before may not be there any more. */
uint32_t oplog_cuts(const struct oplog *l);
/* oplog_begin_at gave up records. */
bool oplog_begun(const struct oplog *l);
/* Gives up all records, because a checkpoint at `index` (epoch and H of that record) takes their
 * place: the log begins behind it. The log is quiet and replicated. A crash leaves the old records,
 * some of them, or none; opened then it may be damaged, and this can be repeated. Blocks. The process
 * must end after it, and open the log anew; after an error, too, if oplog_begun. */
MUST_CHECK int oplog_begin_at(struct oplog *l, uint64_t index, uint32_t epoch, uint64_t chain,
                              struct why *why);

/* Appends r (type, session, sequence, acked, time_ns, body of `r` are used; body is copied);
 * returns its index and, in *r, what was decided (index, epoch, chain). */
uint64_t oplog_append(struct oplog *l, struct record *r);
/* Appends records that another master made. 0; ERR_OUT_OF_SYNC: they do not follow the last one (by
 * index, chain, epoch); ERR_PROTOCOL: they are damaged, of another cluster, none, or of an epoch
 * above the promised one. On an error nothing is appended. */
MUST_CHECK int oplog_append_encoded(struct oplog *l, struct bytes records, struct why *why);
/* on_records(owner, records) runs whenever records of others were appended; they are a view. */
void oplog_on_records(struct oplog *l, void (*on_records)(void *owner, struct bytes records),
                      void *owner);
/* Records that go to the disk together. */
struct oplog_batch {
    struct bytes records; /* a view, for the time of the call */
    uint64_t first, last;
    uint64_t prev_chain; /* H(first - 1) */
    uint64_t chain;      /* H(last) */
};
/* on_batch(owner, batch) runs when a batch was handed to the disk, perhaps inside an append. NULL:
 * nobody cares. */
void oplog_on_batch(struct oplog *l, void (*on_batch)(void *owner, const struct oplog_batch *b),
                    void *owner);
/* on_durable(owner, index) runs on the loop whenever durable() rose. */
void oplog_on_durable(struct oplog *l, void (*on_durable)(void *owner, uint64_t index),
                      void *owner);
/* Records to this index are committed (replicated logs); those not appended yet do not count. */
void oplog_commit_to(struct oplog *l, uint64_t index);
/* on_commit(owner, index) runs on the loop whenever committed() rose. */
void oplog_on_commit(struct oplog *l, void (*on_commit)(void *owner, uint64_t index), void *owner);
/* Bytes appended and not yet durable: the caller's back-pressure. */
uint64_t oplog_pending_bytes(const struct oplog *l);

/* Segments whose records all are <= index may go (a checkpoint holds them). */
void oplog_trim(struct oplog *l, uint64_t index);
/* Clean stop: everything committed is durable; names `index` as what the synced live environment
 * contains. Blocks. */
MUST_CHECK int oplog_clean_stop(struct oplog *l, uint64_t index, struct why *why);

#endif
