/* client.h - the mount's core: files of the cluster for whoever asks, asynchronously.
 *
 * Pure: everything through env; no libfuse type. The FUSE shell and the simulator's workload call
 * the same functions. It keeps one session with the master (reconnecting, re-attaching, repeating
 * unanswered mutations with their sequence numbers), connections to chunkservers, cached chunk
 * locations, and for every open inode the bytes written and not yet on the replicas (bounded, at
 * most 1 s old).
 *
 * Every call ends exactly once in call->done, never from inside the function that started it; a
 * call waits as long as the cluster cannot serve it (hard mount) unless client_cancel ends it with
 * -EINTR. The memory of arguments (names, data) must live until done, except where a function says
 * it copies.
 *
 * While no master is the primary, what needs none goes on: questions are answered by a shadow, reads by
 * the chunkservers. What programs see then does not go back, and has what they changed.
 *
 * Consistency inside one client: a read sees every write whose call was made before; getattr sees
 * the size they made. Between clients: close-to-open: when flush has returned, data is on all
 * members and the size in the log; open revalidates. Errors of write-behind are reported once per
 * open file, at the next write, fsync or flush of it.
 */
#ifndef FUSE_CORE_CLIENT_H
#define FUSE_CORE_CLIENT_H

#include "shared/base/list.h"
#include "shared/env/env.h"
#include "shared/env/rpc.h"
#include "shared/proto/schema.h"

struct client;

struct client_config {
    char masters[512]; /* HOST:PORT[,HOST:PORT] */
    char cluster[64];  /* cluster name; empty = any */
    char host[64];     /* host label of this machine, for nearness */
    char rack[64];
    uint64_t dirty_bytes;  /* bound of all write-behind; 64 MiB */
    uint32_t dirty_age_ms; /* written bytes leave after this; 1000 */
    uint32_t remembered;   /* closed inodes, and places of chunks, that are remembered; 16384 */
    uint32_t
        trash; /* seconds + 1 that what it deletes stays in the trash; 0 = as the cluster has it */
    uint32_t soft_ms; /* 0 = hard mount; else calls fail with -EIO after this */
    /* While there is no primary master, shadows are read from as long as what they know is at most so
     * old; 0 = however old it is, STALE_OFF = not at all. */
    uint32_t stale_ms;
};
#define STALE_OFF UINT32_MAX

enum client_call_state { CALL_IDLE, CALL_RUNNING, CALL_ENDING };

/* One call in progress. Embedded in its owner; zero it before its first use, then it may be reused
 * after done. Results are valid inside done (views) or until reuse (values). */
struct client_call {
    void (*done)(struct client_call *c);
    void *owner;
    int status; /* 0, or negative: -errno or a code of errors.def (err_to_errno) */

    struct attr
        attr; /* lookup, getattr, setattr, mknod, mkdir, symlink, link, open, create, write */
    struct attr
        dirs[2]; /* of what makes, moves or removes a name: the directories it changed, as it
                          * left them; ino 0 = none */
    struct client_file *file; /* open, create: to be given to release */
    struct slice head, data;  /* read: the bytes, first those of head; short only at end of file.
                              * Dropped by the core after done:  slice_ref to keep */
    struct bytes bytes; /* readlink, getxattr, listxattr: view. readdir: list of `dir_entry` */
    bool end;           /* readdir: no entry follows */
    uint64_t offset;    /* lseek; readdir: inode of the parent directory */
    struct statfs_rep statfs;
    uint64_t index; /* operation log index the answer depended on (checker's witness) */

    /* private to fuse/core */
    enum client_call_state state;
    struct client *client;
    struct list link;
    void *impl[24];
};

struct client *client_create(struct env *env, const struct client_config *cfg);
/* Starts connecting; calls may be made at once and wait. ready (may be NULL) runs once when the
 * session is open for the first time, or with the error if the cluster refuses this client for
 * good. */
void client_start(struct client *c, void (*ready)(void *owner, int status), void *owner);
/* Flushes everything, ends the session, closes connections, then done(owner). Waits at most
 * `wait_ms`. */
void client_stop(struct client *c, uint32_t wait_ms, void (*done)(void *owner), void *owner);
void client_destroy(struct client *c); /* frees without I/O; running calls are forgotten */

/* Namespace. uid, gid: of the caller. Names are 1..NAME_LEN_MAX bytes, else -ENAMETOOLONG /
 * -EINVAL. */
void client_lookup(struct client *c, struct client_call *k, uint64_t parent, struct bytes name);
/* True if the name is certainly not there: lookup would say so without asking anybody. */
bool client_lacks(struct client *c, uint64_t parent, struct bytes name);
void client_getattr(struct client *c, struct client_call *k, uint64_t ino);
/* mask: SETATTR_*; values from *a. A size change waits for earlier writes of the inode. */
void client_setattr(struct client *c, struct client_call *k, uint64_t ino, uint32_t mask,
                    const struct attr *a);
void client_mknod(struct client *c, struct client_call *k, uint64_t parent, struct bytes name,
                  uint32_t mode, uint32_t rdev, uint32_t uid, uint32_t gid);
void client_mkdir(struct client *c, struct client_call *k, uint64_t parent, struct bytes name,
                  uint32_t mode, uint32_t uid, uint32_t gid);
void client_symlink(struct client *c, struct client_call *k, uint64_t parent, struct bytes name,
                    struct bytes target, uint32_t uid, uint32_t gid);
void client_link(struct client *c, struct client_call *k, uint64_t ino, uint64_t parent,
                 struct bytes name);
void client_unlink(struct client *c, struct client_call *k, uint64_t parent, struct bytes name);
void client_rmdir(struct client *c, struct client_call *k, uint64_t parent, struct bytes name);
/* Data of the moved inode written before is on the replicas and its size committed before the
 * rename is sent, so that rename over an old file never leaves an empty or short one: if that
 * fails, so does the rename. */
void client_rename(struct client *c, struct client_call *k, uint64_t parent, struct bytes name,
                   uint64_t new_parent, struct bytes new_name, uint32_t flags);
void client_readlink(struct client *c, struct client_call *k, uint64_t ino);
void client_readdir(struct client *c, struct client_call *k, uint64_t ino, uint64_t cookie,
                    uint32_t bytes, bool plus);
void client_statfs(
    struct client *c,
    struct client_call *k); /* from a cache if it is younger than 1 s or no master answers */
void client_getxattr(struct client *c, struct client_call *k, uint64_t ino, struct bytes name);
void client_listxattr(struct client *c, struct client_call *k, uint64_t ino);
void client_setxattr(struct client *c, struct client_call *k, uint64_t ino, struct bytes name,
                     struct bytes value, uint32_t flags);
void client_removexattr(struct client *c, struct client_call *k, uint64_t ino, struct bytes name);

/* Files. flags: of open(2). */
void client_open(struct client *c, struct client_call *k, uint64_t ino, int flags);
void client_create_file(struct client *c, struct client_call *k, uint64_t parent, struct bytes name,
                        uint32_t mode, uint32_t uid, uint32_t gid, int flags);
/* Ends a file given by open or create; not a call: nothing is reported, the rest happens later. */
void client_release(struct client *c, struct client_file *f);
uint64_t client_file_ino(const struct client_file *f);
/* True if nothing changed in the inode since this client last had it open (cached pages may be
 * kept). */
bool client_file_unchanged(const struct client_file *f);

void client_read(struct client *c, struct client_call *k, struct client_file *f, uint64_t offset,
                 uint32_t length);
/* All bytes of a read that is done as one slice, the caller's. */
struct slice client_read_bytes(const struct client_call *k);
/* Copies the bytes (1..IO_MAX); ends as soon as they are buffered within budget, or written if the
 * file was opened with O_SYNC or O_DSYNC (then also durable). append: offset is ignored, the bytes
 * go to the end of the file as this client knows it; k->offset tells where. clear_suid: the writer
 * is not privileged. */
void client_write(struct client *c, struct client_call *k, struct client_file *f, uint64_t offset,
                  struct bytes data, bool append, bool clear_suid);
void client_flush(struct client *c, struct client_call *k, struct client_file *f); /* close(2) */
void client_fsync(struct client *c, struct client_call *k, struct client_file *f, bool data_only);
/* mode as the kernel passes it (FALLOC_FL_*): 0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE [|
 * KEEP_SIZE]; others -EOPNOTSUPP. */
void client_fallocate(struct client *c, struct client_call *k, struct client_file *f, int mode,
                      uint64_t offset, uint64_t length);
void client_lseek(struct client *c, struct client_call *k, struct client_file *f, uint64_t offset,
                  bool hole);

/* Ask a running call to end early with -EINTR. It still ends through done, later; a mutation
 * already sent may have happened. */
void client_cancel(struct client *c, struct client_call *k);

/* True while the master has not answered for more than 2 s. */
bool client_waiting(const struct client *c);
bool client_settled(const struct client *c); /* nothing dirty, nothing in flight but keep-alive */
/* Who serves this mount, and what it waits for, as a sentence; its length. */
size_t client_state(const struct client *c, char *out, size_t size);

#endif
