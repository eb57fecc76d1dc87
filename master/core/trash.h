/* trash.h - the trash gives things up: when their time is over, when room is needed, when an
 * operator says so.
 *
 * At most one record of a bounded number of inodes and chunks is under way, made in a slice of the
 * loop's time, so that however much goes nobody waits for it. Under want of room the oldest go
 * first, a part of the disks at a time; then it waits until the chunkservers removed the replicas
 * and said how much room they have now.
 * Loop thread only.
 */
#ifndef MASTER_CORE_TRASH_H
#define MASTER_CORE_TRASH_H

#include <stdbool.h>
#include <stdint.h>

struct master;
struct peer;
struct message;

struct trash {
    uint64_t index;        /* of the newest record made here */
    uint64_t wanted_ns;    /* somebody who found no room asked until then */
    uint64_t given;        /* bytes given up in this round */
    uint64_t garbage;      /* garbage rows when the round began */
    uint64_t round_end_ns; /* the replicas should be gone by then; 0 = no round waits */
    uint64_t pause_ns;     /* they are gone: heartbeats until then tell the room */
};

/* There is work for trash_slice. */
bool trash_due(struct master *m);
/* One slice; true if there is more to do soon. */
bool trash_slice(struct master *m);
/* A chunkserver's disk, or with `rows` the master's, has no room for a client: true if the trash will
 * give some up, or just did; ask again later. False: the client is told. */
bool trash_give(struct master *m, bool rows);
/* Disks or the master's own space run low. */
bool trash_room_is_low(const struct master *m);
/* trash_list, trash_restore, trash_purge of an operator; false: another request. */
bool trash_request(struct peer *p, struct message *msg);

#endif
