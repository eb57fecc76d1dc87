/* oplog_cursor.h - reads durable records of a log from some index on, for a logger that catches up.
 *
 * Reading blocks. A cursor survives that the log grows and loses old segments, not that it is cut
 * or mended.
 */
#ifndef MASTER_CORE_OPLOG_CURSOR_H
#define MASTER_CORE_OPLOG_CURSOR_H

#include "master/core/oplog.h"

struct oplog_cursor;

/* Records of one batch, or the rest of one. */
struct oplog_piece {
    struct bytes records; /* a view, until the next call */
    uint64_t first, last;
    uint64_t prev_chain; /* H(first - 1) */
    uint64_t chain;      /* H(last) */
    uint32_t epoch;      /* of the last record */
};

/* -ENOENT: the record `from` is not held (too old, or beyond last + 1). */
MUST_CHECK int oplog_cursor_open(struct oplog *l, uint64_t from, struct oplog_cursor **out,
                                 struct why *why);
/* 1 and the next piece; 0: all that is durable was read, more may come; -ENOENT: the next record was
 * removed with its segment; ERR_CORRUPT (why names the place), negative errno. After an error the
 * cursor is only good for closing. */
MUST_CHECK int oplog_cursor_next(struct oplog_cursor *c, struct oplog_piece *out, struct why *why);
void oplog_cursor_close(struct oplog_cursor *c); /* NULL is fine */

#endif
