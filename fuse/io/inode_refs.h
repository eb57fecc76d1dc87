/* inode_refs.h - what this process must remember of inodes the kernel knows: lookup counts, open
 * files, and which attributes it was told to trust.
 *
 * An inode is in the table while the kernel holds a lookup of it or a file of it is open; the root
 * always is. The kernel's node id is the inode number. Loop thread only.
 *
 * After every change of a directory the kernel asks for its attributes again, to check the
 * permissions of the next. Answers of the master come in the order of the states they saw, so the
 * newest that came holds every change of ours that was answered: for DIRECTORY_FRESH_MS it is given
 * instead of asking. Operations that change a directory and do not answer with its attributes (its
 * own rename, its removal, its extended attributes) end that for all.
 */
#ifndef FUSE_IO_INODE_REFS_H
#define FUSE_IO_INODE_REFS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shared/base/hmap.h"
#include "shared/proto/schema.h"

enum { DIRECTORY_FRESH_MS = 100 };

struct inode_ref {
    struct hmap_node link;
    uint64_t ino;
    uint64_t lookups; /* as the kernel counts them */
    uint32_t files;   /* open files */
    uint32_t writers; /* of these, those opened for writing */
    pid_t reopener;   /* thread that was told to look an unlinked file's path up again; 0 = none */
    bool told;        /* `last` was given to the kernel with a lifetime above zero */
    struct attr last; /* newest attributes seen */
    uint64_t fresh_until_ns; /* a directory: until then `last` may answer for the master */
    uint64_t fresh_at;       /* inode_refs.unsettled then */
};

struct inode_refs {
    struct hmap map;
    uint64_t unsettled; /* times freshness ended for all */
};

void inode_refs_init(struct inode_refs *t); /* with the root */
void inode_refs_close(struct inode_refs *t);
struct inode_ref *inode_refs_find(const struct inode_refs *t, uint64_t ino); /* NULL if unknown */
/* Takes in attributes of an inode and `lookups` new references of the kernel. The result is valid
 * until the inode is forgotten; it is NULL if lookups == 0 and the inode is unknown. */
struct inode_ref *inode_refs_learn(struct inode_refs *t, const struct attr *a, uint64_t lookups);
/* The same of a directory that an operation of ours just changed. */
void inode_refs_learn_changed(struct inode_refs *t, const struct attr *dir, uint64_t now_ns);
/* An operation of ours may have changed any directory without telling how. */
void inode_refs_unsettle(struct inode_refs *t);
/* Attributes of a directory that may be given without asking; NULL if there are none. */
const struct attr *inode_refs_fresh(const struct inode_refs *t, uint64_t ino, uint64_t now_ns);
void inode_refs_forget(struct inode_refs *t, uint64_t ino, uint64_t lookups);
void inode_refs_open(struct inode_refs *t, uint64_t ino, bool writer);
void inode_refs_release(struct inode_refs *t, uint64_t ino, bool writer);
/* True if the kernel may still trust attributes that differ from *now. */
bool inode_ref_is_outdated(const struct inode_ref *r, const struct attr *now);

#endif
