/* env.h - everything a core may know of the world: clocks, randomness, connections, one directory
 * of files, worker threads. In production it is libuv and real files (shared/io/uv_env.c), in the
 * simulator it is simulated (tests/sim/sim_env.c). A core calls nothing else that is impure; LMDB,
 * behind master/core/store.h, is the one exception.
 *
 * Rules that hold for both:
 *  - One loop thread: every function here is called on it and every callback runs on it.
 *  - A callback runs exactly once and never from inside the call that asked for it.
 *  - Requests (struct disk_op, struct env_work, struct env_timer) are embedded in and owned by the
 *    caller and must live until their callback ran (timers: until it ran or was stopped).
 *  - Paths are relative to the process's directory, '/'-separated, without "..".
 */
#ifndef SHARED_ENV_ENV_H
#define SHARED_ENV_ENV_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/base/buf.h"
#include "shared/base/err.h"
#include "shared/base/timer_heap.h"
#include "shared/proto/frame.h"

/* ---------------------------------------------------------------- messages and connections */

/* One frame. head.body_len, payload_len and the sums are filled in by send. */
struct message {
    struct frame_header head;
    struct slice body;    /* msgpack */
    struct slice payload; /* raw */
};

static inline void message_drop(struct message *m)
{
    slice_drop(&m->body);
    slice_drop(&m->payload);
}

struct env_conn;     /* owned by the env */
struct env_listener; /* owned by the env */

/* What happens on a connection. `owner` is what dial or accept was given. */
struct conn_events {
    /* A dialled connection is up. Not called for accepted ones. */
    void (*on_open)(void *owner, struct env_conn *c);
    /* A whole, checked frame arrived. `m` is borrowed: keep slices with slice_ref. */
    void (*on_message)(void *owner, struct env_conn *c, struct message *m);
    /* The connection is gone (also: a dial failed; the peer broke the protocol): err < 0 says why.
     * `c` is dead after the callback. Not called after env_hangup. */
    void (*on_close)(void *owner, struct env_conn *c, int err);
};

/* A peer connected: give the connection its owner and events (env_conn_bind) before returning, or
 * hang up. */
typedef void (*env_accept_cb)(void *owner, struct env_conn *c);

/* ---------------------------------------------------------------- files */

struct env_file; /* owned by the env until closed */

enum env_open_flags {
    ENV_OPEN_CREATE = 1,    /* make it if absent */
    ENV_OPEN_EXCL = 2,      /* with CREATE: fail with -EEXIST if present */
    ENV_OPEN_READ_ONLY = 4, /* default is read and write */
    ENV_OPEN_SCAN = 8, /* with READ_ONLY: reads leave in the page cache what was there before */
};

enum disk_kind {
    DISK_READ,  /* file, off, len -> data; result = bytes, short only at end of file */
    DISK_WRITE, /* file, off, len, data; then off2/len2/data2 if len2 > 0; then fdatasync if sync.
                 * result 0, all or an error */
    DISK_SYNC,  /* fdatasync(file) */
    DISK_TRUNCATE, /* ftruncate(file, off) */
    DISK_PUNCH,    /* file, off, len (64-bit in off2): make a hole, size unchanged */
    DISK_RESERVE,  /* file, off, len (64-bit in off2): take space for bytes that have none, size and
                    * contents unchanged; result = bytes taken, or -ENOSPC (what was taken before may
                    * stay). 0 and nothing done where the filesystem cannot */
    DISK_SEEK,     /* file, off, flag SEEK_DATA or SEEK_HOLE in len: result = offset or -ENXIO */
    DISK_UNLINK,   /* path */
    DISK_RENAME,   /* path -> path2; not durable before a DISK_SYNC_DIR of the directory */
    DISK_SYNC_DIR, /* path = directory: its entries become durable */
    DISK_IMPORT,   /* a library made <env_real_path>/path: it enters the directory as `path`,
                    * contents synced (production: fsync; the simulator copies it in) */
    DISK_ALLOCATE, /* path, off, off2 = bytes: as allocate() below */
};

/* One asynchronous file operation. Operations submitted for one file run in any order: the caller
 * waits where order matters. */
struct disk_op {
    enum disk_kind kind;
    struct env_file *file;
    const char *path;  /* lives until done */
    const char *path2; /* lives until done */
    uint64_t off;
    void *data; /* not written to by DISK_WRITE */
    uint32_t len;
    uint64_t off2;
    const void *data2;
    uint32_t len2;
    bool sync;
    void (*done)(struct disk_op *op); /* on the loop */
    void *owner;                      /* the caller's */
    int64_t result;                   /* set before done: >= 0 or negative errno */
    struct disk_op *impl_next;        /* the env's */
    void *impl[6];                    /* the env's */
};

/* A computation for a worker thread. run() must touch nothing the loop touches meanwhile. */
struct env_work {
    void (*run)(struct env_work *w);
    void (*done)(struct env_work *w); /* on the loop */
    void *impl[6];
};

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct env {
    const struct env_ops *ops;
};

struct env_ops {
    /* Clocks: nanoseconds. mono never goes back and counts suspend; wall may jump and is only data.
     */
    uint64_t (*mono_ns)(struct env *e);
    int64_t (*wall_ns)(struct env *e);
    uint64_t (*rand64)(struct env *e);
    void (*timer_set)(struct env *e, struct env_timer *t, uint64_t after_ns); /* re-arms if armed */
    void (*timer_stop)(struct env *e, struct env_timer *t);

    /* Connections. Addresses are "HOST:PORT" or "unix:PATH". dial returns at once, never NULL; the
     * outcome is on_open or on_close. listen: 0 or negative errno. send takes the references of
     * m's slices (m is empty afterwards), queues without bound and cannot fail: a broken connection
     * shows as on_close. queued is the bytes not yet handed to the network: the caller's
     * back-pressure. After hangup no callback of `c` runs. */
    struct env_conn *(*dial)(struct env *e, const char *addr, const struct conn_events *ev,
                             void *owner);
    int (*listen)(struct env *e, const char *addr, env_accept_cb cb, void *owner);
    void (*conn_bind)(struct env *e, struct env_conn *c, const struct conn_events *ev, void *owner);
    void (*send)(struct env *e, struct env_conn *c, struct message *m);
    uint64_t (*queued)(struct env *e, struct env_conn *c);
    void (*hangup)(struct env *e, struct env_conn *c);
    const char *(*peer_name)(struct env *e,
                             struct env_conn *c); /* "10.0.0.7:41312", for messages */

    /* Files, at once: opening a file, and everything before a process serves (recovery). They block
     * in production. Results: 0 or a count >= 0, or negative errno; -ENOSPC also if a quota is used up. */
    int (*file_open)(struct env *e, const char *path, unsigned flags, struct env_file **out);
    void (*file_close)(struct env *e, struct env_file *f); /* no operation may be in flight */
    int64_t (*file_size)(struct env *e, struct env_file *f);
    int64_t (*file_read)(struct env *e, struct env_file *f, uint64_t off, void *data, uint32_t len);
    int64_t (*file_write)(struct env *e, struct env_file *f, uint64_t off, const void *data,
                          uint32_t len);
    int (*file_sync)(struct env *e, struct env_file *f);
    int (*file_truncate)(struct env *e, struct env_file *f, uint64_t size);
    int (*make_dir)(struct env *e, const char *path); /* 0 also if it is there */
    int (*rename)(struct env *e, const char *from, const char *to);
    int (*unlink)(struct env *e, const char *path);
    int (*sync_dir)(struct env *e, const char *path);
    /* Calls each(owner, name) for every entry but "." and "..", sorted by name. "" = the directory.
     */
    int (*list_dir)(struct env *e, const char *path, void (*each)(void *owner, const char *name),
                    void *owner);
    int (*space)(struct env *e, uint64_t *out_total, uint64_t *out_free);
    /* The range of a file that is there, or that a library made at real_path, gets its space on the
     * disk now; contents and size stay. -ENOSPC, -EOPNOTSUPP if the filesystem cannot. */
    int (*allocate)(struct env *e, const char *path, uint64_t off, uint64_t bytes);
    /* A file of `size` bytes mapped shared: survives the process, not the power. Unmapped at exit.
     */
    void *(*map_ring)(struct env *e, const char *path, uint32_t size);
    /* 0, or -EBUSY if another live process holds the lock of this directory. Held until exit. */
    int (*lock_dir)(struct env *e);

    /* Files while serving. */
    void (*disk_submit)(struct env *e, struct disk_op *op);
    void (*work_submit)(struct env *e, struct env_work *w);

    /* Names this boot of this machine and this mount of the directory: equal after a restart of the
     * process iff un-synced writes of its predecessor are still there. 16 bytes. */
    void (*incarnation)(struct env *e, uint8_t out[16]);
    /* Absolute path of `path` for a library that opens files itself (LMDB). Files made there are
     * not durable before DISK_IMPORT, and gone after a power cut if they were not imported. A file
     * of the directory is readable there. Returns out. */
    const char *(*real_path)(struct env *e, const char *path, char *out, uint32_t size);

    void (*log)(struct env *e, enum log_level level, const char *format, va_list ap);
    /* The process shall end, as if its operator had told it to: soon, in order, with status 0. */
    void (*end)(struct env *e);
    /* The process cannot go on (a failed log sync, an LMDB error): says why and ends it. */
    void (*die)(struct env *e, const char *reason) __attribute__((noreturn));
};

/* Short forms: env_x(e, ...) calls e->ops->x. */
#define env_mono_ns(e)                       ((e)->ops->mono_ns(e))
#define env_wall_ns(e)                       ((e)->ops->wall_ns(e))
#define env_rand64(e)                        ((e)->ops->rand64(e))
#define env_timer_set(e, t, after_ns)        ((e)->ops->timer_set(e, t, after_ns))
#define env_timer_stop(e, t)                 ((e)->ops->timer_stop(e, t))
#define env_dial(e, addr, ev, owner)         ((e)->ops->dial(e, addr, ev, owner))
#define env_listen(e, addr, cb, owner)       ((e)->ops->listen(e, addr, cb, owner))
#define env_conn_bind(e, c, ev, owner)       ((e)->ops->conn_bind(e, c, ev, owner))
#define env_send(e, c, m)                    ((e)->ops->send(e, c, m))
#define env_queued(e, c)                     ((e)->ops->queued(e, c))
#define env_hangup(e, c)                     ((e)->ops->hangup(e, c))
#define env_peer_name(e, c)                  ((e)->ops->peer_name(e, c))
#define env_file_open(e, path, flags, out)   ((e)->ops->file_open(e, path, flags, out))
#define env_file_close(e, f)                 ((e)->ops->file_close(e, f))
#define env_file_size(e, f)                  ((e)->ops->file_size(e, f))
#define env_file_read(e, f, off, data, len)  ((e)->ops->file_read(e, f, off, data, len))
#define env_file_write(e, f, off, data, len) ((e)->ops->file_write(e, f, off, data, len))
#define env_file_sync(e, f)                  ((e)->ops->file_sync(e, f))
#define env_file_truncate(e, f, size)        ((e)->ops->file_truncate(e, f, size))
#define env_make_dir(e, path)                ((e)->ops->make_dir(e, path))
#define env_rename(e, from, to)              ((e)->ops->rename(e, from, to))
#define env_unlink(e, path)                  ((e)->ops->unlink(e, path))
#define env_sync_dir(e, path)                ((e)->ops->sync_dir(e, path))
#define env_list_dir(e, path, each, owner)   ((e)->ops->list_dir(e, path, each, owner))
#define env_space(e, total, free)            ((e)->ops->space(e, total, free))
#define env_allocate(e, path, off, bytes)    ((e)->ops->allocate(e, path, off, bytes))
#define env_map_ring(e, path, size)          ((e)->ops->map_ring(e, path, size))
#define env_lock_dir(e)                      ((e)->ops->lock_dir(e))
#define env_disk_submit(e, op)               ((e)->ops->disk_submit(e, op))
#define env_work_submit(e, w)                ((e)->ops->work_submit(e, w))
#define env_incarnation(e, out)              ((e)->ops->incarnation(e, out))
#define env_real_path(e, path, out, size)    ((e)->ops->real_path(e, path, out, size))
#define env_end(e)                           ((e)->ops->end(e))
#define env_die(e, reason)                   ((e)->ops->die(e, reason))

void env_log(struct env *e, enum log_level level, const char *format, ...) PRINTF_LIKE(3, 4);

#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

#endif
