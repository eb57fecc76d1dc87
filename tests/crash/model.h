/* model.h - what one writer's tree must be after what its journal says.
 *
 * A writer has PLACES names, spread over DIRS directories that are never removed. At each place
 * there is nothing, a file, a symbolic link or an empty directory; several places may hold the same
 * file (hard links). Files are made of sectors of 512 bytes, each filled with a stamp that names
 * writer, file, sector and the operation that wrote it.
 *
 * A sector must have its newest write, unless that one may be lost: it was not covered by an fsync
 * and every chunkserver that may have had it was cut from power within FLUSHED_NS, or it was still
 * in a mount that was killed. Then it has the last write that cannot be lost, or one after it.
 */
#ifndef TESTS_CRASH_MODEL_H
#define TESTS_CRASH_MODEL_H

#include "tests/crash/journal.h"

enum {
    PLACES = 24,
    DIRS = 4,
    SECTOR = 512,
    SECTORS_MAX = 1024,
    OBJECTS_MAX = PLACES + 2,
};
/* After this time chunkservers have made durable what nobody fsynced (flush_ms is 1 s). */
#define FLUSHED_NS 10000000000ull

enum kind { KIND_FREE, KIND_FILE, KIND_SYMLINK, KIND_DIR };

struct sector {
    uint64_t floor;              /* operation of the oldest content it may have */
    bool floor_zero;             /* which is zeros */
    bool loose;                  /* the newest write may be lost, whatever is fsynced from now on */
    bool kept;                   /* the newest write may still be in the mount only */
    uint64_t newest;             /* operation that wrote it last; floor if none since */
    uint64_t since_ns, until_ns; /* cuts in this time may have cost the newest write */
};

struct object {
    enum kind kind;
    uint64_t id; /* operation that made it */
    uint64_t inode;
    uint32_t links;
    uint32_t size, size_floor; /* in sectors; they differ if the size may have been lost */
    struct sector sector[SECTORS_MAX];
};

struct model {
    uint32_t writer;
    const struct cuts *cuts;
    struct object *at[PLACES]; /* NULL: nothing */
    struct object *objects;    /* OBJECTS_MAX */
    struct entry doubt;        /* begun and not ended; op 0 = none */
    uint64_t sequence;         /* of the newest operation */
    uint64_t checked_ns;
    uint64_t operations, syncs, failed_syncs;
};

void model_init(struct model *m, uint32_t writer, const struct cuts *cuts);
void model_free(struct model *m);
/* Takes up an entry of the journal. NULL, or why the answer it tells of is wrong. */
const char *model_apply(struct model *m, const struct entry *e);
/* The whole file of a writer; what is wrong ends the program. */
void model_load(struct model *m, const char *path);
/* The mount was killed: what it alone had is lost, perhaps. */
void model_client_killed(struct model *m);
/* May the newest write be missing? */
bool sector_may_be_lost(const struct model *m, const struct sector *s);
/* The path of a place below the writer's directory. */
void place_path(uint32_t place, char out[32]);
void stamp_fill(uint8_t out[SECTOR], uint32_t writer, uint64_t file, uint32_t sector,
                uint64_t sequence);
/* Operation of a whole stamp of that sector; 0 = zeros; UINT64_MAX = neither (out: what is there). */
uint64_t stamp_read(const uint8_t in[SECTOR], uint32_t writer, uint64_t file, uint32_t sector,
                    char out[160]);

#endif
