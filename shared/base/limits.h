/* limits.h - the bounds of gfs in one place: bytes, counts. Most times and the geometry are run-time
 * values (geometry.h); what stands here is part of the wire and disk formats or protects memory.
 */
#ifndef SHARED_BASE_LIMITS_H
#define SHARED_BASE_LIMITS_H

#undef XATTR_NAME_MAX /* <linux/limits.h> has a macro of the same name and value */

enum {
    NAME_LEN_MAX = 255,          /* bytes of one directory entry */
    SYMLINK_LEN_MAX = 4095,      /* bytes of a symbolic link's target */
    XATTR_NAME_MAX = 255,        /* bytes of an extended attribute's name */
    XATTR_VALUE_MAX = 64 * 1024, /* bytes of its value */
    REPLICAS_MAX = 8,            /* members of one chunk version */
    FRAME_BODY_MAX = 1 << 20,    /* bytes of a frame's msgpack body */
    FRAME_PAYLOAD_MAX = 2 << 20, /* bytes of a frame's raw payload */
    IO_MAX = 1 << 20,            /* bytes of one read or write of the mount and of chunkd */
    RECORD_BODY_MAX = 1 << 20,   /* bytes of one operation log record */
    ADDR_LEN_MAX = 255,          /* bytes of HOST:PORT */
    LABEL_LEN_MAX = 63,          /* bytes of a rack or host label, of a cluster's name */
    READDIR_BYTES_MAX = 64 * 1024,
    LOCATE_COUNT_MAX = 64,       /* chunks answered by one locate */
    SESSION_INFLIGHT_MAX = 1024, /* unanswered mutations of one session */
    BLOCK_BYTES_MAX = 64 * 1024, /* bytes of one block */
    CHUNK_BLOCKS_MAX = 1024,     /* blocks of one chunk */
    NAME_LEASE_MS = 100,         /* nobody else adds names to a session's new directory */
};

#endif
