/* inode.h - an inode as stored: key inode number (row_key.h), value:
 *
 *   1       flags: which parts are present or equal to another (INODE_* in inode.c)
 *   2       mode, little endian: type and permission bits
 *   varint  nlink, unless it is the usual one (1; a directory: 2)
 *   varint  uid
 *   varint  gid, unless equal to uid
 *   varint  size (directory: entries; symlink: bytes of the target)
 *   varint  inode of the parent: directories only
 *   varint  rdev: device nodes only
 *   varint  ctime seconds (zigzag), then 4 bytes little endian nanoseconds
 *   varint  mtime seconds - ctime seconds (zigzag), 4 bytes nanoseconds; unless mtime equals ctime
 *   varint  atime seconds - ctime seconds (zigzag), 4 bytes nanoseconds; unless atime equals mtime
 *   varint  bytes of the names of extended attributes with a NUL each, if there are any
 *   4 varints  rows, rows_inside, unbound, first_unbound: if the file has chunks in TABLE_CHUNK
 *   chunk_row  chunk 0, if it exists
 *   1       bits 0..3 replicas wanted (0 = not set), 0x10 a name follows, 0x20 an expiry follows,
 *           0x40 writers follow: if any of them is there
 *   1       length of the name, then the name: of a directory but the root
 *   varint  expiry: of what is in the trash
 *   varint  writers << 1 | cut_due: if sessions have the file open for writing
 *
 * A directory's name stands here, beside its parent, so that the path of anything is found without
 * a search, also of what lies in a directory that was removed. A small file of the usual kind takes about
 * 30 bytes. There is one encoding of each inode: equal inodes are equal rows.
 */
#ifndef MASTER_CORE_INODE_H
#define MASTER_CORE_INODE_H

#include <sys/stat.h>

#include "master/core/ns.h"
#include "shared/base/limits.h"

struct inode {
    uint64_t ino;
    uint32_t mode;
    uint32_t nlink;
    uint32_t uid;
    uint32_t gid;
    uint32_t rdev;   /* devices */
    uint64_t parent; /* directories; the root's is itself */
    uint64_t size;   /* bytes; entries; bytes of the target */
    struct stamp ctime;
    struct stamp mtime;
    struct stamp atime;
    uint32_t xattr_names; /* bytes listxattr gives */
    uint8_t replicas;     /* wanted for its chunks, or for what is made in it; 0 = the default */
    /* Chunks of number >= 1, in TABLE_CHUNK. */
    uint64_t rows;          /* how many */
    uint64_t rows_inside;   /* that begin below size */
    uint64_t unbound;       /* that are not bound */
    uint64_t first_unbound; /* no unbound one has a lower number; 0 if unbound is 0 */
    uint32_t writers;       /* rows of TABLE_WRITER: sessions that have it open for writing */
    bool cut_due; /* a session ended while others wrote: what it left beyond size goes when the last
                     of them leaves */
    bool has_chunk0;
    struct ns_chunk chunk0; /* its ino and number are not used */
    /* Without a name (nlink 0): seconds since 1970 when it leaves the trash; 0 = it is not there. */
    uint64_t trash_expires;
    uint8_t name_len; /* directories; 0 = the root */
    uint8_t name[NAME_LEN_MAX];
};

enum { INODE_ROW_MAX = 512 };

/* Writes the row at out; returns its length. */
uint32_t inode_pack(const struct inode *in, uint8_t out[INODE_ROW_MAX]);
/* 0 or ERR_CORRUPT. */
MUST_CHECK int inode_unpack(struct bytes row, uint64_t ino, struct inode *out);

/* A directory gets its name. */
void inode_set_name(struct inode *in, struct bytes name);

static inline bool inode_is_dir(const struct inode *in)
{
    return S_ISDIR(in->mode);
}

static inline bool inode_is_file(const struct inode *in)
{
    return S_ISREG(in->mode);
}

#endif
