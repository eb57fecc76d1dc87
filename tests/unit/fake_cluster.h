/* fake_cluster.h - a scripted master and chunkservers for tests of the mount's core.
 *
 * They answer over simulated connections, keep just enough state to be believed, note every request, and do what
 * a test tells them: a hook may answer, drop or refuse any request first.
 */
#ifndef TESTS_UNIT_FAKE_CLUSTER_H
#define TESTS_UNIT_FAKE_CLUSTER_H

#include "fuse/core/client.h"
#include "shared/base/hash.h"
#include "tests/sim/sim_env.h"

enum {
    FAKE_SERVERS = 3,
    FAKE_FILES = 8,
    FAKE_CHUNKS = 16, /* per file */
    FAKE_CHUNK = 2 << 20,
    FAKE_BLOCK = 64 << 10,
    FAKE_LOG = 4096,
    FAKE_TIMEOUT_MS = 1000,
};

/* What a hook returns: go on as usual, or this request was dealt with (or is to be left unanswered). */
enum fake_verdict { FAKE_GO_ON, FAKE_DONE };

struct fake_chunk {
    uint64_t handle; /* 0 = none */
    uint64_t version;
    uint32_t trim;
    bool fresh;
};

struct fake_file {
    uint64_t ino; /* 0 = none */
    char name[32];
    uint64_t size;
    uint64_t stamp; /* counts changes: shown as ctime and mtime */
    struct fake_chunk chunks[FAKE_CHUNKS];
};

/* A request as a server saw it. */
struct fake_request {
    uint16_t op;
    uint32_t server; /* 0 = the master */
    uint64_t session, sequence, acked;
    uint64_t ino, offset, length; /* where they make sense; grant: failed_version, failed_server */
    uint64_t at_ns;
};

struct fake_server;

struct fake_link {
    struct list link;
    struct rpc rpc;
    struct fake_server *server;
};

struct fake_server {
    struct fake_cluster *f;
    struct sim_process *process;
    uint32_t id; /* 0 = the master */
    struct list links;
    /* replicas: data of (file, chunk) */
    uint8_t *data[FAKE_FILES][FAKE_CHUNKS];
    uint32_t length[FAKE_FILES][FAKE_CHUNKS];
};

struct fake_cluster {
    struct sim *sim;
    struct sim_process *mount;
    struct client *client;
    struct fake_server servers[FAKE_SERVERS + 1]; /* [0] is the master */
    struct fake_file files[FAKE_FILES];
    uint32_t primary;
    uint64_t index;
    uint32_t epoch;
    uint64_t session; /* the live one */
    uint64_t sessions_made;
    uint64_t opens[64]; /* of the last session_attach, then open and create */
    uint32_t open_count;
    struct fake_request log[FAKE_LOG];
    uint32_t log_count;
    enum fake_verdict (*hook)(struct fake_cluster *f, struct fake_link *l, struct message *m);
    int hook_count; /* the hook's own */
    int hook_status;
};

struct fake_cluster *fake_start(const struct client_config *cfg); /* with a mounted client */
void fake_end(struct fake_cluster *f);
/* Kills the connections of a server; it goes on listening. */
void fake_cut(struct fake_cluster *f, uint32_t server);
void fake_run(struct fake_cluster *f, uint32_t ms);

/* Requests of `op` seen so far (by any server). */
uint32_t fake_count(const struct fake_cluster *f, uint16_t op);
/* The n-th of them (0 = first); fails the test if there is none. */
const struct fake_request *fake_request(const struct fake_cluster *f, uint16_t op, uint32_t n);
struct fake_file *fake_file_of(struct fake_cluster *f, uint64_t ino);
/* Makes a file of `size` bytes of `fill` on all replicas. */
uint64_t fake_make(struct fake_cluster *f, const char *name, uint32_t size, uint8_t fill);
void fake_answer(struct fake_link *l, const struct message *m, int status);

/* Calls, run to their end (at most a minute of simulated time): the status. */
struct fake_call {
    struct client_call k; /* first */
    bool over;
    struct slice data;   /* kept from done */
    uint8_t bytes[4096]; /* the same for bytes */
    uint32_t bytes_len;
};
void fake_call_init(struct fake_call *c);
int fake_wait(struct fake_cluster *f, struct fake_call *c);
void fake_call_drop(struct fake_call *c);

struct client_file *fake_create(struct fake_cluster *f, const char *name);
struct client_file *fake_open(struct fake_cluster *f, uint64_t ino, int flags);
int fake_write(struct fake_cluster *f, struct client_file *file, uint64_t offset, uint32_t len,
               uint8_t fill);
int fake_flush(struct fake_cluster *f, struct client_file *file);
int fake_fsync(struct fake_cluster *f, struct client_file *file);
/* Reads and checks that all bytes are `fill`; returns how many, or the status. */
int64_t fake_read(struct fake_cluster *f, struct client_file *file, uint64_t offset, uint32_t len,
                  uint8_t fill);

#endif
