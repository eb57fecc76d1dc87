/* oplog_internal.h - what the files of the operation log share. Only oplog*.c include it.
 *
 * The byte formats stand at the top of oplog.c.
 */
#ifndef MASTER_CORE_OPLOG_INTERNAL_H
#define MASTER_CORE_OPLOG_INTERNAL_H

#include "master/core/oplog.h"
#include "shared/base/limits.h"
#include "shared/base/list.h"

enum {
    UNIT_BYTES = 4096,                          /* batches start and end on units */
    SLOT_BYTES = 32,                            /* one id table slot */
    SUPER_BYTES = 512,                          /* one superblock slot */
    SEGMENT_HEAD_MAX = UNIT_BYTES + SLOT_BYTES, /* header and the first slot lie side by side */
    BATCH_BYTES = 256 << 10,                    /* a batch is closed when it would grow beyond */
    /* A record larger than that is a batch of its own. */
    BATCH_BYTES_MAX =
        (RECORD_HEADER_BYTES + RECORD_BODY_MAX + UNIT_BYTES - 1) / UNIT_BYTES * UNIT_BYTES,
    SEGMENT_NAME_BYTES = 64,
    ZERO_STEP_BYTES = 256 << 10,
    NEXT_LEAD_PART = 8, /* of a segment the next one is zeroed ahead of the current one's use */
};

#define LOG_DIR      "log"
#define NEXT_SEGMENT LOG_DIR "/next"
#define CUT_SEGMENT  LOG_DIR "/cut"  /* the segment that will be the last, while it is copied */
#define BASE_SEGMENT LOG_DIR "/base" /* the one that will be the only one */

/* One file of the log. */
struct segment {
    uint64_t first; /* index of its first record */
    uint64_t chain; /* H(first - 1) */
    uint32_t bytes; /* of the whole file */
    uint32_t epoch; /* of the record before, if no segment holds that; else 0 */
};

/* An id table slot: names the batch whose first unit it belongs to. */
struct slot {
    uint64_t first;
    uint32_t records;
    uint32_t units;
    uint32_t epoch;     /* of the last record */
    uint32_t chain_low; /* low half of H(last record) */
};

enum slot_state { SLOT_EMPTY, SLOT_GOOD, SLOT_BAD };

/* Records on their way to the disk. */
struct batch {
    struct list link;
    uint8_t *data;
    uint32_t cap;
    uint32_t len;         /* bytes of records */
    uint32_t last_offset; /* of the last record */
    uint64_t first, last; /* indices */
    uint32_t epoch;
    uint64_t chain; /* H(last) */
};

/* The next segment, being zeroed or ready under NEXT_SEGMENT. */
struct next_segment {
    struct env_file *file; /* NULL = not begun */
    uint32_t zeroed;
    uint32_t bytes; /* wanted; ready when zeroed reaches it */
    bool needed;    /* a flush waits for it */
    void *zeros;    /* ZERO_STEP_BYTES while zeroing */
    struct disk_op op;
    bool busy;
};

struct oplog {
    struct env *env;
    struct oplog_config cfg;
    struct oplog_identity found; /* as oplog_open met it */
    struct oplog_identity now;
    uint64_t super_counter; /* of the newest superblock slot */
    struct env_file *super_file[2];
    bool incarnation_same; /* un-synced writes of the last process are still there */

    struct segment *segments; /* by first index; the last one takes appends */
    uint32_t segment_count;
    uint32_t segment_cap;
    struct env_file *current; /* file of the last segment, NULL if there is none */
    char current_path[SEGMENT_NAME_BYTES];
    uint32_t current_unit;   /* first unused data unit */
    bool current_has_header; /* false until the flush that begins the segment */

    uint64_t last;         /* highest index appended */
    uint64_t chain;        /* H(last) */
    uint32_t last_epoch;   /* of the record at last */
    uint32_t writer_epoch; /* oplog_append stamps it; 0 = this process appends nothing of its own */
    bool deposed;          /* this process appended, and then promised a higher epoch */
    uint64_t durable;
    uint64_t durable_chain; /* H(durable) */
    uint64_t committed;
    uint64_t pending_bytes;

    struct list queue;     /* batches, oldest first; the last one takes appends */
    struct env_timer soon; /* the end of the turn in which one was begun */
    struct list spare;     /* empty batches of BATCH_BYTES */
    struct batch *flushing;
    struct disk_op flush_op;
    uint8_t
        head[SEGMENT_HEAD_MAX]; /* slot of the flush, behind the header if it begins a segment */

    struct next_segment next;
    bool rolling; /* the next segment is getting its name */
    struct disk_op roll_op;
    struct env_timer next_retry;

    struct env_timer idle;
    bool idle_disturbed; /* a flush ended since the timer was armed */
    struct disk_op super_op;
    bool super_busy;
    uint8_t super_bytes[SUPER_BYTES];
    uint32_t super_epoch[2];       /* what this process wrote to each slot, or is writing */
    void (*promised)(void *owner); /* waits for now.epoch to be durable; NULL = nobody */
    void *promised_owner;

    uint64_t trim_index;
    bool trim_busy;
    struct disk_op trim_op;
    char trim_path[SEGMENT_NAME_BYTES];

    bool damaged;               /* `findings` has holes or an unsure end, or the end is dirty */
    struct log_answer findings; /* of a damaged log: all but committed */
    uint32_t headers_mended;    /* of segments */

    struct log_hole rot[LOG_HOLES_MAX]; /* of closed segments, found since the log was opened */
    uint32_t rot_count;

    bool stopped;
    void (*on_batch)(void *owner, const struct oplog_batch *b);
    void *on_batch_owner;
    void (*on_durable)(void *owner, uint64_t index);
    void *on_durable_owner;
    void (*on_commit)(void *owner, uint64_t index);
    void *on_commit_owner;
    void (*on_records)(void *owner, struct bytes records);
    void *on_records_owner;
    uint32_t cuts;
    bool joined; /* the superblock is to be told */
};

/* ---- oplog_segment.c: bytes of segments */

uint32_t segment_table_bytes(uint32_t segment_bytes);
uint32_t segment_units(uint32_t segment_bytes); /* data units */
uint64_t segment_unit_offset(uint32_t segment_bytes, uint32_t unit);
uint64_t segment_slot_offset(uint32_t unit);
/* Smallest segment that has `units` data units and is no smaller than `at_least`. */
uint32_t segment_bytes_for(uint32_t units, uint32_t at_least);
void segment_path(uint64_t first, char out[SEGMENT_NAME_BYTES]);
void segment_header_encode(const struct segment *s, uint64_t cluster, uint8_t out[UNIT_BYTES]);
/* 0 or ERR_CORRUPT, ERR_FORMAT, ERR_FOREIGN_CLUSTER with the field; the caller adds the file's name. */
MUST_CHECK int segment_header_decode(const uint8_t in[UNIT_BYTES], uint64_t cluster,
                                     struct segment *out, struct why *why);
void slot_encode(const struct slot *s, uint64_t cluster, uint8_t out[SLOT_BYTES]);
enum slot_state slot_decode(const uint8_t in[SLOT_BYTES], uint64_t cluster, struct slot *out);
void segment_list_add(struct oplog *l, struct segment s); /* behind the others */
void segment_list_drop_first(struct oplog *l);
static inline uint32_t units_of(uint32_t len)
{
    return (len + UNIT_BYTES - 1) / UNIT_BYTES;
}

/* ---- oplog_superblock.c */

void superblock_encode(const struct oplog_identity *id, uint64_t counter, uint8_t out[SUPER_BYTES]);
/* Format of a slot that is whole; 0: it is not. */
uint32_t superblock_format_of(const uint8_t in[SUPER_BYTES]);
/* False if the slot is not a whole superblock of the format known here. */
bool superblock_decode(const uint8_t in[SUPER_BYTES], struct oplog_identity *out,
                       uint64_t *out_counter);
/* Opens both slots. 0; -ENOENT if neither was ever written. */
MUST_CHECK int superblock_load(struct oplog *l, struct why *why);
MUST_CHECK int superblock_format(struct oplog *l, const char *cluster_name, struct why *why);
/* Writes l->now into the older slot, durably; blocks. */
MUST_CHECK int superblock_write(struct oplog *l, struct why *why);
/* The same while serving, and none is under way; failure ends the process. */
void superblock_submit(struct oplog *l);
/* Both slots have the epoch of now, or are being written. */
bool superblock_has_epoch(const struct oplog *l);

/* ---- oplog_reader.c: batches of one segment in order */

struct segment_reader {
    struct oplog *log;
    const struct segment *segment;
    struct env_file *file;
    char path[SEGMENT_NAME_BYTES];
    uint8_t *window;
    uint32_t window_cap;
    uint32_t window_unit; /* first data unit in the window */
    uint32_t window_len;  /* bytes */
    uint32_t unit;        /* next batch's first data unit */
    uint64_t index;       /* its first index */
    uint64_t chain;       /* H(index - 1) */
    uint32_t epoch;       /* no record may have a lower one */
};

/* What segment_reader_next found at `unit`. */
struct batch_view {
    uint32_t unit;
    uint32_t units;
    struct bytes records;
    uint32_t count;
};

MUST_CHECK int segment_reader_open(struct segment_reader *r, struct oplog *l,
                                   const struct segment *s, struct why *why);
void segment_reader_close(struct segment_reader *r);
/* 1 and the next batch, checked and chained; 0 at a unit of zeros or the end of the segment;
 * ERR_CORRUPT (why names file, offset, expected, found); negative errno. */
MUST_CHECK int segment_reader_next(struct segment_reader *r, struct batch_view *out,
                                   struct why *why);
/* The header of the record at r->unit, if it is whole and of this cluster. */
bool segment_reader_peek(struct segment_reader *r, struct record *out);
/* Whole read or an error with the file's name. What the disk cannot read (EIO) of one log of several
 * comes as bytes that are good for nothing: it goes the way of what is damaged. */
MUST_CHECK int read_exactly(struct oplog *l, struct env_file *f, const char *path, uint64_t off,
                            void *data, uint32_t len, struct why *why);

/* ---- oplog_tail.c: what lies behind the last good batch */

/* What lies at and after the unit where the good batches end. */
struct tail {
    uint32_t data_end;   /* unit after the last that is not zero; 0 = all are zero */
    uint32_t later_unit; /* of a whole header of a later batch; 0 = none */
    uint64_t later_index;
    enum slot_state slot; /* of the first unit */
    struct slot slot_value;
    uint32_t later_slot; /* unit of another slot that is not empty; 0 = none */
    enum slot_state later_slot_state;
};

/* `unit` and `index` are those of the next batch. 0 or a negative errno. */
MUST_CHECK int tail_survey(const struct segment_reader *r, const uint8_t *table, uint32_t unit,
                           uint64_t index, struct tail *out, struct why *why);

/* ---- oplog_scan.c: finding the log's end on open */

MUST_CHECK int oplog_scan(struct oplog *l, struct why *why);
/* First indices of the segments there are, from their names, ascending; the caller frees. */
struct segment_listing {
    uint64_t *firsts;
    uint32_t count;
    uint32_t cap;
};
MUST_CHECK int segments_list(struct oplog *l, struct segment_listing *out, struct why *why);
/* Reads a segment's header. On a bad one *out has first and bytes, for judging. */
MUST_CHECK int segment_load(struct oplog *l, uint64_t first, struct segment *out, struct why *why);

/* ---- oplog_survey.c: what is left of a damaged log */

/* The next good batch of the segment, past what is not; 0: there is none; negative errno. Records
 * from `index` as it was to the batch's first one are missing. */
MUST_CHECK int survey_next(struct segment_reader *r, struct batch_view *out, struct why *why);
/* Fills l->findings, the list of segments, last, chain. */
MUST_CHECK int oplog_survey(struct oplog *l, struct why *why);

/* Behind the end, too, something may have been, as far as this; epoch 0: that is not known. */
void findings_add(struct log_answer *a, struct log_place behind);

/* ---- oplog_rot.c: what closed segments lack */

/* Reads closed segment number k through, once more, and notes what is missing in it; the header is
 * written anew if it is another one. Blocks. */
void rot_look(struct oplog *l, uint32_t k);
/* The same for the one that holds `index`, unless that is known to be missing. */
void rot_look_for(struct oplog *l, uint64_t index);
/* Nothing is missing between these any more. */
void rot_forget(struct oplog *l, uint64_t from, uint64_t to);

/* ---- oplog_cut.c: a segment is made anew beside the old one, and takes its place by a rename */

struct segment_copy {
    struct oplog *log;
    struct segment segment;
    struct env_file *file;
    uint8_t *table;
    uint32_t unit;
};

/* The copy is of seg.bytes. 0: to be ended. */
MUST_CHECK int segment_copy_begin(struct segment_copy *c, struct oplog *l, struct segment seg,
                                  struct why *why);
/* The batch's records up to `index`, as one batch. */
MUST_CHECK int segment_copy_put(struct segment_copy *c, const struct batch_view *b, uint64_t index,
                                struct why *why);
/* rc: of what went before; takes its place if that is 0. */
MUST_CHECK int segment_copy_end(struct segment_copy *c, int rc, struct why *why);
/* What cannot be read behind record `index` is about to be removed: the superblock knows of it then. */
MUST_CHECK int oplog_note_lost(struct oplog *l, uint64_t index, struct why *why);
/* The list of segments, the end, and what is damaged, as they are on the disk now. */
MUST_CHECK int oplog_look_again(struct oplog *l, struct why *why);

/* ---- oplog_mend.c */

/* H of the record before segment number k. If not, a copy of it would have a wrong header. */
bool segment_begin_known(struct oplog *l, uint32_t k);

/* ---- oplog_append.c */

/* Starts a flush if there is something to flush and none runs. */
void oplog_flush_next(struct oplog *l);
/* The superblock shall soon know what is committed. */
void oplog_disturb_idle(struct oplog *l);
void batch_free(struct batch *b); /* NULL is fine */
struct batch *batch_of_link(struct list *link);

/* ---- oplog_roll.c: the segment that takes appends, its successor, and the old ones' removal */

/* True if the current segment has room for `units`. Else a new segment is on its way, and
 * oplog_flush_next is called when it is there. */
bool oplog_make_room(struct oplog *l, uint32_t units);
/* Begins zeroing the next segment, if that has not happened. */
void oplog_prepare_next(struct oplog *l, uint32_t bytes);
void oplog_next_retry(struct env_timer *t);
/* The current segment has been filled further. */
void oplog_next_on(struct oplog *l);
/* The end of the turn: flushes. */
void oplog_soon(struct env_timer *t);

#endif
