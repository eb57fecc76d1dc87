/* journal.h - what the load did and what it was told, kept outside the cluster it is done to.
 *
 * A writer has a journal file of its own: an entry before each operation and one after it, in the
 * order of time, so that at most the last operation is in doubt when the writer was killed. Cuts of
 * power stand in one text file: lines "TIME-IN-NS MASK", where the mask has CUT_CHUNKD(i) for each
 * chunkserver's disk, CUT_MASTER, and CUT_CLIENT if the mount and the load were killed too.
 * Times are CLOCK_MONOTONIC: everything runs on one machine that stays up.
 */
#ifndef TESTS_CRASH_JOURNAL_H
#define TESTS_CRASH_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CUT_ALL_CHUNKDS = 7, CUT_MASTER = 8, CUT_CLIENT = 16, CUTS_MAX = 65536 };
#define CUT_CHUNKD(number) (1u << ((number)-1)) /* 1 to 3 */

enum op {
    OP_CREATE = 1,
    OP_WRITE,
    OP_FSYNC,
    OP_CLOSE,
    OP_TRUNCATE,
    OP_UNLINK,
    OP_RENAME,
    OP_EXCHANGE,
    OP_LINK,
    OP_SYMLINK,
    OP_MKDIR,
    OP_RMDIR,
    OP_COUNT,
    /* By the check: */
    OP_SETTLED_DOUBT = 32, /* result: 1 = the operation in doubt took place, 0 = it did not */
    OP_SETTLED_SIZE,       /* count: the file's size in sectors, of those it may have */
    OP_CHECKED,            /* everything was compared, every chunk has all its copies */
};

enum {
    WRITE_FSYNC = 1,  /* fsync before the operation ends */
    WRITE_KEEP = 2,   /* the file stays open: its bytes may still be in the mount */
    WRITE_APPEND = 4, /* opened with O_APPEND; `first` is where the file ended */
};

struct entry {
    uint64_t sequence; /* of the operation; both its entries have it */
    uint64_t begin_ns;
    uint64_t end_ns; /* 0: this entry was made before the operation */
    uint64_t inode;  /* of what was made */
    uint32_t op;
    uint32_t name, name2;  /* places, see model.h */
    uint32_t first, count; /* sectors */
    uint32_t flags;
    int32_t result; /* 0 or -errno */
    uint32_t spare;
};

struct cut {
    uint64_t time_ns;
    unsigned mask;
};

struct cuts {
    struct cut *all;
    size_t count;
};

uint64_t now_ns(void);
/* "WHAT: reason", and the end of the program with status 1. */
__attribute__((format(printf, 1, 2), noreturn)) void die(const char *format, ...);

void journal_append(int fd, const struct entry *e);
/* Whole entries of the file; a count, and memory for the caller to free. 0 if there is no file. */
size_t journal_read(const char *path, struct entry **out);
void cuts_read(const char *path, struct cuts *out);
/* Union of what was cut in that time. */
unsigned cuts_between(const struct cuts *c, uint64_t from_ns, uint64_t to_ns);

#endif
