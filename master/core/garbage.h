/* garbage.h - removal of replicas that committed records named, and of extra ones.
 *
 * Runs at quiet points only: what it sees in the rows is committed. Garbage of servers that are
 * away waits for them. What a server confirmed is logged as garbage_done.
 * While clients change things removal waits for a moment of calm, 3 s at most: chunkservers that
 * unlink files take processors and disks from whoever deletes a tree. Not when room is low.
 * Loop thread only.
 */
#ifndef MASTER_CORE_GARBAGE_H
#define MASTER_CORE_GARBAGE_H

#include <stdbool.h>
#include <stdint.h>

enum { GARBAGE_ROWS_PER_SCAN = 4096 };

struct master;
struct chunkserver;

struct garbage {
    uint64_t next_ns;  /* no scan before */
    uint64_t since_ns; /* there has been garbage; 0 = none when last looked */
    uint64_t handle;   /* cursor */
    uint32_t server;
};

/* At a quiet point: sends what is due. */
void garbage_scan(struct master *m);
/* Has `s` be asked to set a replica aside that no row names, by garbage_flush in the same turn of the
 * loop: later it may be a member. Its note, marked as asked by the caller, is cleared when it is done.
 * False: its request is full or running. The rows that say so must be committed. */
bool garbage_drop_extra(struct master *m, struct chunkserver *s, uint64_t handle);
/* Sends what garbage_drop_extra gathered. */
void garbage_flush(struct master *m, struct chunkserver *s);
/* No removal is running, or due at a server that is here. */
bool garbage_settled(struct master *m);

#endif
