/* history.h - everything the mounts were asked and what they answered, and the judgement of it.
 *
 * The master's log (log_tap.h) is the witness of the order: it is replayed into the reference
 * filesystem, and
 *  - every record must be possible there, no (session, sequence) may stand in it twice,
 *  - every acknowledged change must be in it, once, between its call and its answer, with the
 * result the reference gives; a refused one must not be in it,
 *  - every other answer must be what the reference gives at some moment between call and answer.
 */
#ifndef TESTS_SIM_HISTORY_H
#define TESTS_SIM_HISTORY_H

#include "shared/base/limits.h"
#include "shared/proto/schema.h"
#include "tests/sim/model.h"

struct world;
struct history;

struct op_entry {
    uint32_t number;
    uint32_t mount;
    uint32_t life; /* of the mount */
    enum op_code op;
    uint64_t ino, parent, new_parent;
    char name[24], new_name[16], target[32]; /* target: also the value of an attribute */
    uint32_t mode, uid, gid, flags, mask;
    uint64_t size; /* setattr; read and write: length */
    uint64_t offset;
    uint64_t start_ns, end_ns;
    uint64_t low, high; /* the answer belongs to a state between these log indices */
    uint64_t
        own_low; /* what the mount had seen when it was called: no state of a shadow's is older */
    bool ended;  /* false = in doubt: the mount died */
    int status;
    struct attr attr;
    uint8_t *bytes; /* readdir, readlink, getxattr, listxattr */
    uint32_t byte_count;
    bool end;        /* readdir: complete */
    bool check_size; /* attr.size is what the log says, not what this mount has not committed yet */
    bool given_up;   /* by a soft mount: it may be done later */
    bool excused;    /* EIO is right: all replicas lost power before the data was synced */
    bool short_of_space; /* ENOSPC is right: some disk is or was full */
    uint64_t index;      /* witness the client gave */
    /* of the judgement */
    uint64_t record; /* index of its record */
    bool found;      /* some state fits */
    bool lengthens;  /* setattr: in some state the file was shorter */
    int expected;    /* what the reference gave last */
};

struct history *history_new(struct world *w);
void history_free(struct history *h);
struct op_entry *history_add(struct history *h);
uint32_t history_count(const struct history *h);

/* Replays and judges; fails the seed with what is wrong. Afterwards history_model is the final
 * state. */
void history_judge(struct history *h);
struct model *history_model(struct history *h);

/* Chunk as the log has it at the end. */
struct chunk_truth {
    uint64_t ino, number, handle, version;
    uint32_t members[REPLICAS_MAX];
    uint32_t member_count;
    bool written; /* a size commit or a later version vouches for it */
};
/* The chunk with the lowest handle >= handle that the final state has, or NULL. */
const struct chunk_truth *history_chunk(struct history *h, uint64_t handle);

void op_describe(const struct op_entry *e, char *out, uint32_t size);

#endif
