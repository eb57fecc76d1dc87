/* aside.h - files of replicas that the master let go and that are kept for a while, in aside/.
 *
 * A replica set aside has left the table: nobody reads it, and the master may give its handle to
 * this server again. Its file, aside/<handle in 16 hex digits>, holds the bytes of the replica as
 * they were; it goes after keep_ms, or as soon as its room is needed. What is kept and since when
 * stands in the meta log (META_ASIDE), so time goes on over a restart. One file for a handle: a
 * later one replaces the earlier.
 * Loop thread only.
 */
#ifndef CHUNKD_CORE_ASIDE_H
#define CHUNKD_CORE_ASIDE_H

#include "chunkd/core/meta_log.h"
#include "shared/base/hmap.h"

enum { ASIDE_PATH_BYTES = 32 };

struct aside {
    struct env *env;
    struct meta_log *meta;
    uint32_t keep_ms;
    struct hmap kept;    /* struct aside_file, by handle */
    struct list order;   /* the same, oldest first */
    uint64_t bytes;      /* of all of them */
    uint64_t log_number; /* compaction they were handed to */
    bool serving;
    bool pressed; /* room is needed: they go although their time is not over */
    struct env_timer timer;
    struct disk_op unlink;
    struct aside_file *going; /* being unlinked; it is in neither list any more */
    char path[ASIDE_PATH_BYTES];
};

void aside_init(struct aside *a, struct env *env, struct meta_log *meta);
void aside_close(struct aside *a); /* frees; no I/O */
/* Makes the directory; on a disk formatted before there was one, too. */
MUST_CHECK int aside_make_dir(struct aside *a);

void aside_path(uint64_t handle, char out[ASIDE_PATH_BYTES]);

/* Logs that the replica's file goes to aside/: after a kill in between the next start moves it. */
void aside_announce(struct aside *a, uint64_t handle, uint64_t bytes);
/* It is there; bytes: about what it takes. */
void aside_put(struct aside *a, uint64_t handle, uint64_t bytes);
/* The file could not be moved: there is none. */
void aside_lost(struct aside *a, uint64_t handle);
bool aside_has(const struct aside *a, uint64_t handle);

/* From the meta log, while loading. since_ns: wall clock; 0 = it is gone. */
void aside_load(struct aside *a, uint64_t handle, uint64_t since_ns, uint64_t bytes);
/* After loading: removes files nothing is known of. */
void aside_sweep(struct aside *a);
/* To a compaction: all at once. */
void aside_hand_over(struct aside *a);

/* Files go from now on as their time comes. */
void aside_start(struct aside *a);
void aside_stop(struct aside *a);
/* Room is needed (or not any more). */
void aside_press(struct aside *a, bool pressed);
/* Removes the oldest file now; blocks. False: there is none. */
bool aside_unlink_oldest(struct aside *a);

#endif
