/* uv_internal.h - what the files of the libuv env share; nobody else includes it. */
#ifndef SHARED_IO_UV_INTERNAL_H
#define SHARED_IO_UV_INTERNAL_H

#include <pthread.h>

#include "shared/base/list.h"
#include "shared/io/uv_env.h"
#include "shared/io/uv_spin.h"
#include "shared/io/uv_turn.h"

enum {
    CONNECTIONS_MAX = 1024,       /* accepted ones */
    FIRST_BODY_MAX = 4096,        /* bytes of the body of a peer's first frame */
    FRAME_WAIT_MS = 10000,        /* for a first frame, and for the rest of a started one */
    FRAME_WAIT_BYTES_PER_MS = 64, /* a long frame gets this much longer */
    DIAL_WAIT_MS = 5000,          /* one address */
    RX_SCRATCH_BYTES = 64 << 10,  /* received at once beyond the frame that is being filled */
    RX_TURN_BYTES = 2 << 20,      /* of one connection before others get their turn */
    TX_PAUSE_BYTES = 64 << 20,    /* waiting for one peer: it is not read from until half is gone */
    TX_ALL_BYTES = 256 << 20,     /* waiting for all peers: then each has */
    TX_SHARE_BYTES = 1 << 20,     /* only this */
    LOG_BURST = 50,               /* lines about misbehaving peers at once; then LOG_PER_S */
    LOG_PER_S = 10,
    INLINE_WRITE_MAX = 64 << 10, /* an unsynced write up to this does not pay for a thread */
    THREADS_DEFAULT = 16,
    THREADS_MAX = 64,
};

/* ---------------------------------------------------------------- jobs (uv_pool.c) */

/* Exactly one is set. */
struct job {
    struct disk_op *op;
    struct env_work *work;
};

/* A growing queue. */
struct job_queue {
    struct job *items;
    size_t first;
    size_t count;
    size_t cap; /* 0 or a power of two */
};

void job_push(struct job_queue *q, struct job j);
bool job_pop(struct job_queue *q, struct job *out);
void job_queue_close(struct job_queue *q);

struct pool {
    pthread_mutex_t lock; /* of everything here but `running` */
    pthread_cond_t wake;
    struct job_queue todo;
    struct job_queue done;
    pthread_t threads[THREADS_MAX];
    unsigned thread_count;
    unsigned threads_max;
    unsigned idle;
    bool ending;
    uv_async_t async; /* `done` became non-empty */
};

int pool_init(struct uv_env *e, unsigned threads_max);
void pool_submit(struct uv_env *e, struct job j);
/* Waits for running jobs, forgets the others; no thread is left. May be called twice. */
void pool_halt(struct uv_env *e);
void pool_close(struct uv_env *e); /* after halt */
/* Runs a job's callback. */
void job_finish(struct uv_env *e, struct job j);

/* ---------------------------------------------------------------- the env */

struct log_budget {
    uint64_t tokens_at_ns; /* when `tokens` was right */
    uint32_t tokens;
    uint32_t suppressed;
};

struct uv_env {
    struct env base;
    uv_loop_t loop;
    uv_prepare_t prepare; /* end of every turn: timers, ready jobs, flushes */
    uv_idle_t idle;       /* active while the next turn must not sleep */
    uv_timer_t sleep;     /* ends the sleep when the first timer is due */
    uint64_t sleep_until_ns;
    bool stopping;
    bool settling; /* no timers, no input */
    bool halted;   /* no callbacks at all */

    struct turn_watch turn;
    struct timer_heap timers;
    struct spin spin;
    struct pool pool;
    struct job_queue ready; /* done without a thread */
    uint64_t jobs;          /* submitted, callback not yet run */

    /* connections (uv_conn.c, uv_dial.c) */
    struct list conns;
    struct list flushing; /* conns with something to send */
    struct list outcomes; /* conns whose dial ended inside dial */
    struct list dead;     /* conns to be freed next turn */
    struct list listeners;
    uint32_t accepted;
    uint64_t tx_bytes; /* waiting on all connections */
    struct log_budget net_log;
    uint8_t *scratch; /* RX_SCRATCH_BYTES */

    /* the directory (uv_disk.c) */
    int dir_fd; /* -1 = none */
    char *dir;  /* absolute */
    char boot_override[64];
    int lock_fd;
    bool memory_files; /* the directory is on tmpfs: reading never waits for a device */
    struct ring_map *rings;
    struct list files; /* open ones */

    int log_fd;
    enum log_level log_level;
    uint8_t random[256];
    uint32_t random_left;
};

#define ENV_OF(e) container_of(e, struct uv_env, base)

/* True if one more line about a peer may be logged now. */
bool uv_net_log_allowed(struct uv_env *e);

/* The clock of timers. */
uint64_t uv_mono_ns(void);

/* ---------------------------------------------------------------- connections */

struct tx_frame {
    uint8_t head[FRAME_HEADER_BYTES];
    struct slice body;
    struct slice payload;
};

enum conn_state { CONN_DIALLING, CONN_OPEN, CONN_CLOSED };

struct env_conn {
    struct uv_env *env;
    const struct conn_events *events;
    void *owner;
    enum conn_state state;
    bool accepted;
    bool greeted; /* the peer's first frame was whole */
    bool tx_full; /* the kernel took less than was offered */
    bool paused;  /* the peer does not read: it is not read from */
    int fd;       /* -1 = none */
    int outcome;  /* while in env->outcomes: 0 = open, or why the dial failed */
    uv_poll_t *poll;
    int interest;
    char name[ADDR_LEN_MAX + 64];
    struct list link; /* env->conns or env->dead */
    struct list flush_link;
    struct list outcome_link;
    struct env_timer deadline; /* of the dial, the first frame, a started frame */

    uint8_t head[FRAME_HEADER_BYTES];
    uint32_t head_len; /* FRAME_HEADER_BYTES: rx is valid */
    struct frame_header rx;
    struct buf *rx_buf; /* body, then payload; NULL if both are empty */
    uint32_t rx_len;    /* bytes of rx_buf received */

    struct tx_frame *tx; /* ring */
    uint32_t tx_first;
    uint32_t tx_count;
    uint32_t tx_cap;     /* 0 or a power of two */
    uint32_t tx_written; /* bytes of the first frame the kernel has */
    uint64_t tx_bytes;   /* not yet handed to the kernel */
    uint32_t awaited;    /* requests sent, answers not yet received */

    struct dial *dial; /* addresses to try; NULL once open, and for accepted ones */
};

/* A new connection in env->conns, not yet with a socket. */
struct env_conn *conn_new(struct uv_env *e, const char *name);
/* Takes the descriptor over; it is open from now on. */
void conn_opened(struct env_conn *c, int fd);
/* Watch fd for a dial's outcome. */
void conn_watch(struct env_conn *c, int fd, int events);
void conn_unwatch(struct env_conn *c); /* and close the descriptor */
void conn_flush(struct env_conn *c);
/* Ends the connection without a callback; freed in a later turn. */
void conn_close(struct env_conn *c);
/* Ends the connection and tells its owner. */
void conn_fail(struct env_conn *c, int err);
void conn_free(struct env_conn *c);

/* uv_dial.c */
void dial_ready(struct env_conn *c); /* the socket of a dial became writable */
void dial_timed_out(struct env_conn *c);
void dial_drop(struct env_conn *c); /* forget the addresses and a running look-up */
void listeners_close(struct uv_env *e);
void listeners_stop(struct uv_env *e);

/* env_ops, by file */
struct env_conn *uv_op_dial(struct env *e, const char *addr, const struct conn_events *ev,
                            void *owner);
int uv_op_listen(struct env *e, const char *addr, env_accept_cb cb, void *owner);
void uv_op_conn_bind(struct env *e, struct env_conn *c, const struct conn_events *ev, void *owner);
void uv_op_send(struct env *e, struct env_conn *c, struct message *m);
uint64_t uv_op_queued(struct env *e, struct env_conn *c);
void uv_op_hangup(struct env *e, struct env_conn *c);
const char *uv_op_peer_name(struct env *e, struct env_conn *c);

/* uv_disk.c: fills in the file part of the table. */
int disk_init(struct uv_env *e, const struct uv_env_config *cfg, struct why *why);
void disk_close(struct uv_env *e);
/* Carries an operation out, blocking; on any thread. */
void disk_run(struct uv_env *e, struct disk_op *op);

int uv_op_file_open(struct env *e, const char *path, unsigned flags, struct env_file **out);
void uv_op_file_close(struct env *e, struct env_file *f);
int64_t uv_op_file_size(struct env *e, struct env_file *f);
int64_t uv_op_file_read(struct env *e, struct env_file *f, uint64_t off, void *data, uint32_t len);
int64_t uv_op_file_write(struct env *e, struct env_file *f, uint64_t off, const void *data,
                         uint32_t len);
int uv_op_file_sync(struct env *e, struct env_file *f);
int uv_op_file_truncate(struct env *e, struct env_file *f, uint64_t size);
int uv_op_make_dir(struct env *e, const char *path);
int uv_op_rename(struct env *e, const char *from, const char *to);
int uv_op_unlink(struct env *e, const char *path);
int uv_op_sync_dir(struct env *e, const char *path);
int uv_op_list_dir(struct env *e, const char *path, void (*each)(void *owner, const char *name),
                   void *owner);
int uv_op_space(struct env *e, uint64_t *out_total, uint64_t *out_free);
int uv_op_allocate(struct env *e, const char *path, uint64_t off, uint64_t bytes);
void *uv_op_map_ring(struct env *e, const char *path, uint32_t size);
int uv_op_lock_dir(struct env *e);
void uv_op_disk_submit(struct env *e, struct disk_op *op);
void uv_op_incarnation(struct env *e, uint8_t out[16]);
const char *uv_op_real_path(struct env *e, const char *path, char *out, uint32_t size);

#endif
