/* script_cluster.h - a scripted master and chunkservers for tests of the mount's core.
 *
 * They answer over simulated connections, keep just enough state to be believed, note every
 * request, and do what a test tells them: a hook may answer, drop or refuse any request first.
 */
#ifndef TESTS_UNIT_SCRIPT_CLUSTER_H
#define TESTS_UNIT_SCRIPT_CLUSTER_H

#include "fuse/core/client.h"
#include "shared/base/hash.h"
#include "tests/sim/sim_env.h"

enum {
    SCRIPT_SERVERS = 3,
    SCRIPT_FILES = 8,
    SCRIPT_CHUNKS = 16, /* per file */
    SCRIPT_CHUNK = 2 << 20,
    SCRIPT_BLOCK = 64 << 10,
    SCRIPT_LOG = 4096,
    SCRIPT_TIMEOUT_MS = 1000,
    SCRIPT_MASTERS = 3,
    SCRIPT_MASTER_ID = 100, /* of the second master as a server; the first has 0 */
};

/* What a hook returns: go on as usual, or this request was dealt with (or is to be left
 * unanswered). */
enum script_verdict { SCRIPT_GO_ON, SCRIPT_DONE };

struct script_chunk {
    uint64_t handle; /* 0 = none */
    uint64_t version;
    uint64_t doubt;
    uint32_t trim, trim_set;
    bool fresh;
    bool synced; /* as the master knows: files made whole */
    bool gone;
};

struct script_file {
    uint64_t ino; /* 0 = none */
    char name[32];
    uint64_t size;
    uint64_t stamp; /* counts changes: shown as ctime and mtime */
    struct script_chunk chunks[SCRIPT_CHUNKS];
};

/* A request as a server saw it. */
struct script_request {
    uint16_t op;
    uint32_t server; /* 0 = the master */
    uint64_t session, sequence, acked, index;
    uint32_t flags;
    /* Where they make sense; grant: failed_version, failed_server; extend: end, numbers of its list. */
    uint64_t ino, offset, length;
    bool untouched; /* extend */
    uint64_t at_ns;
};

struct script_server;

struct script_link {
    struct list link;
    struct rpc rpc;
    struct script_server *server;
};

struct script_server {
    struct script_cluster *f;
    struct sim_process *process;
    uint32_t id; /* 0 = the master */
    struct list links;
    /* masters */
    uint32_t role;    /* MASTER_* */
    uint32_t epoch;   /* 0 = the cluster's */
    uint64_t applied; /* of a shadow: 0 = all there is */
    uint32_t age_ms;  /* of a shadow */
    const char *hint; /* who is the primary; NULL = not known */
    bool dead;        /* nobody listens */
    bool mute;        /* nobody answers */
    /* replicas: data of (file, chunk) */
    uint8_t *data[SCRIPT_FILES][SCRIPT_CHUNKS];
    uint32_t length[SCRIPT_FILES][SCRIPT_CHUNKS];
};

struct script_cluster {
    struct sim *sim;
    struct sim_process *mount;
    struct client *client;
    struct script_server servers[SCRIPT_SERVERS + 1]; /* [0] is the master */
    struct script_server others[SCRIPT_MASTERS - 1];  /* masters */
    bool ready;                                       /* the mount */
    bool no_lease; /* chunkservers answer only reads that need none */
    struct script_file files[SCRIPT_FILES];
    uint32_t primary;
    uint64_t index;
    uint32_t epoch;
    uint64_t session; /* the live one */
    uint64_t sessions_made;
    uint64_t opens[64];        /* of the last session_attach, then open and create */
    uint32_t attached_writing; /* the first of them in that session_attach: open for writing */
    uint32_t open_count;
    bool open_tells; /* where chunk 0 is */
    struct script_request log[SCRIPT_LOG];
    uint32_t log_count;
    enum script_verdict (*hook)(struct script_cluster *f, struct script_link *l, struct message *m);
    int hook_count; /* the hook's own */
    int hook_status;
};

struct script_cluster *script_start(const struct client_config *cfg); /* with a mounted client */
/* The same with the three masters m:1, m2:1 and m3:1, not waiting for the mount; all are shadows. */
struct script_cluster *script_start_set(const struct client_config *cfg);
struct script_server *script_master(struct script_cluster *f, uint32_t n); /* 0, 1, 2 */
/* Nobody listens there any more, as its connections show; or somebody does again. */
void script_kill(struct script_cluster *f, uint32_t n);
/* It is the primary of the next epoch, the others are shadows. */
void script_promote(struct script_cluster *f, uint32_t n);
void script_end(struct script_cluster *f);
/* Kills the connections of a server; it goes on listening. */
void script_cut(struct script_cluster *f, uint32_t server);
void script_run(struct script_cluster *f, uint32_t ms);

/* Requests of `op` seen so far (by any server). */
uint32_t script_count(const struct script_cluster *f, uint16_t op);
/* The n-th of them (0 = first); fails the test if there is none. */
const struct script_request *script_request(const struct script_cluster *f, uint16_t op,
                                            uint32_t n);
struct script_file *script_file_of(struct script_cluster *f, uint64_t ino);
/* Makes a file of `size` bytes of `fill` on all replicas. */
uint64_t script_make(struct script_cluster *f, const char *name, uint32_t size, uint8_t fill);
void script_answer(struct script_link *l, const struct message *m, int status);

/* Calls, run to their end (at most a minute of simulated time): the status. */
struct script_call {
    struct client_call k; /* first */
    bool over;
    struct slice data;   /* kept from done */
    uint8_t bytes[4096]; /* the same for bytes */
    uint32_t bytes_len;
};
void script_call_init(struct script_call *c);
int script_wait(struct script_cluster *f, struct script_call *c);
void script_call_drop(struct script_call *c);

struct client_file *script_create(struct script_cluster *f, const char *name);
struct client_file *script_open(struct script_cluster *f, uint64_t ino, int flags);
int script_write(struct script_cluster *f, struct client_file *file, uint64_t offset, uint32_t len,
                 uint8_t fill);
int script_flush(struct script_cluster *f, struct client_file *file);
int script_fsync(struct script_cluster *f, struct client_file *file);
/* Reads and checks that all bytes are `fill`; returns how many, or the status. */
int64_t script_read(struct script_cluster *f, struct client_file *file, uint64_t offset,
                    uint32_t len, uint8_t fill);

#endif
