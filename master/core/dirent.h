/* dirent.h - a directory entry as stored.
 *
 *   key    parent inode (row_key.h), then the cookie, 8 bytes big endian
 *   value  varint inode << 4 | type (the S_IFMT bits of its mode >> 12), then the name
 *
 * The cookie is the entry's place in readdir, stable for its life: 16 bits of the hash of the name's
 * family, 39 bits of the hash of the name, then a byte that tells names of equal hashes apart: the
 * lowest that was free when the entry was made. It fits a signed 64-bit offset, and is at least
 * DIRENT_COOKIE_MIN: lower ones are the mount's, for "." and "..".
 *
 * A family is what is left of a name without its extension and two more characters: names that are
 * numbered are made, listed and removed in one place of the tree after the other, each with a
 * hundred neighbours, not all over it. Without that each new entry of a large directory is a page
 * of the tree to be found in memory, copied and written.
 */
#ifndef MASTER_CORE_DIRENT_H
#define MASTER_CORE_DIRENT_H

#include "master/core/row_key.h"
#include "master/core/store.h"

enum {
    DIRENT_COOKIE_MIN = 256,
    DIRENT_KEY_MAX = ROW_KEY_U64_MAX + 8,
    DIRENT_ROW_MAX = 10 + 255,
};

struct dirent_row {
    uint64_t parent;
    uint64_t cookie;
    uint64_t ino;
    uint32_t type;     /* S_IFMT bits */
    struct bytes name; /* a view of the store, or of who asked */
};

/* First cookie (lowest byte 0) of names with the hashes of `name`. */
uint64_t dirent_cookie(struct bytes name);

/* Finds `name` in `parent`: 0; -ENOENT; ERR_CORRUPT. If out_free is given, it is on -ENOENT the
 * cookie a new entry gets, 0 if none is left (256 names of one hash). */
MUST_CHECK int dirent_find(struct store *s, uint64_t parent, struct bytes name,
                           struct dirent_row *out, uint64_t *out_free);
/* Decodes a row of TABLE_DENTRY: 0 or ERR_CORRUPT. */
MUST_CHECK int dirent_unpack(struct bytes key, struct bytes value, struct dirent_row *out);
/* Writes the row of (parent, cookie), new or replaced; the name must not be a view of the store. */
void dirent_save(struct store *s, const struct dirent_row *d);
void dirent_delete(struct store *s, uint64_t parent, uint64_t cookie);

/* Key of (parent, cookie) at out; returns its length. */
uint32_t dirent_key(uint8_t out[DIRENT_KEY_MAX], uint64_t parent, uint64_t cookie);

#endif
