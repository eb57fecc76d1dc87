/* known_names.h - directories in which this mount knows which names are not there.
 *
 * Of a directory it made itself it has heard every name since, its own; and the master promises it
 * for NAME_LEASE_MS from each request about the directory that nobody else adds one (the frame's
 * FRAME_NAMES_* flags). Until then a name that was never added from here is not there, and who looks
 * for it, as the kernel does before it creates, need not wait for the master. Removed names stay
 * noted: those are asked for.
 * Names are kept as hashes; a collision costs a question. They are those of the directories used last: of
 * directories a quarter as many as inodes are remembered, of names 32 times as many, in one directory 8.
 */
#ifndef FUSE_CORE_KNOWN_NAMES_H
#define FUSE_CORE_KNOWN_NAMES_H

#include "shared/base/bytes.h"
#include "shared/base/hmap.h"
#include "shared/base/list.h"

struct client;

struct known_names {
    struct hmap dirs;    /* struct known_dir by inode */
    struct list used;    /* the one confirmed last at the end */
    uint32_t hash_slots; /* of all */
};

void known_names_init(struct client *c);
void known_names_close(struct client *c);
void known_names_forget_all(struct client *c); /* the session has ended */
/* The master promised, in its answer to a request sent then: of a new, empty directory, or again. */
void known_names_made(struct client *c, uint64_t dir, uint64_t sent_ns);
void known_names_kept(struct client *c, uint64_t dir, uint64_t sent_ns);
/* A request that adds the name is about to be made. */
void known_names_add(struct client *c, uint64_t dir, struct bytes name);
/* The name is certainly not in the directory now. */
bool known_names_lack(struct client *c, uint64_t dir, struct bytes name);

#endif
