/* chunkd_fixture.h - chunkservers of the simulator between a master and a client that do what the
 * test says.
 *
 * The master answers introductions, heartbeats and reports, keeps the last report of each server,
 * and sends what the test asks. Every call runs the simulation until its answer is there.
 */
#ifndef TESTS_UNIT_CHUNKD_FIXTURE_H
#define TESTS_UNIT_CHUNKD_FIXTURE_H

#include "chunkd/core/chunkd.h"
#include "shared/env/rpc.h"
#include "tests/sim/sim_env.h"

enum { FX_SERVERS = 3, FX_CHUNK = 1 << 20, FX_BLOCK = 16 << 10, FX_REPORT_MAX = 64 };
#define FX_CLUSTER 77ull
#define FX_V1      (1ull << 32 | 1)

struct fx_master_conn {
    struct rpc rpc;
    struct fx *fx;
    uint32_t server; /* 0 = not registered */
    struct list link;
};

struct fx_server {
    struct sim_process *process;
    struct chunkd *chunkd;
    char addr[16];
    struct rpc client; /* the client's connection */
    struct fx_master_conn *master;
    struct replica report[FX_REPORT_MAX];
    uint32_t report_count;
    bool reported;
    uint32_t failing;         /* of its last heartbeat */
    struct scrub_state scrub; /* the same */
};

struct fx {
    struct sim *sim;
    struct sim_process *master, *client;
    struct list conns;
    struct fx_server servers[FX_SERVERS + 1]; /* by id, from 1 */
    bool mute;                                /* the master answers no heartbeats */
    uint32_t role;                            /* of the master: MASTER_* */
    const char *masters;                      /* of servers started from now on */
    uint32_t epoch;
    uint64_t cluster;
    uint32_t lease_ms;
    uint64_t next_handle; /* told to servers that register */
    struct writer stale;  /* told in the answers to reports: handle, version, alternating */
    bool deaf;            /* reports are not answered */
    uint64_t copy_rate[FX_SERVERS + 1]; /* told to each, from the next heartbeat on */
    uint32_t aside_ms;                  /* of servers started from now on */
    struct report_bad_req bad;          /* last one */
    uint32_t bad_count;
    uint64_t known;                        /* of writes */
    struct replica scanned[FX_REPORT_MAX]; /* what was told last, by whomever */
    uint32_t scanned_count;
    uint32_t scrub_period_s, scrub_share; /* of servers started from now on */
    char log[4096];                       /* what start said on failure */
};

struct fx_answer {
    int status;
    struct slice body, payload; /* dropped by the next call */
};

struct fx *fx_new(uint64_t seed);
void fx_free(struct fx *f);
/* Starts server id and waits until it is registered and has a lease; returns chunkd_start's result.
 */
int fx_start(struct fx *f, uint32_t id);
void fx_start_all(struct fx *f);
void fx_kill(struct fx *f, uint32_t id);
void fx_power_cut(struct fx *f, uint32_t id);
int fx_stop(struct fx *f, uint32_t id); /* clean */
void fx_run_ms(struct fx *f, uint64_t ms);
/* Ends the connections to the master. */
void fx_cut_master(struct fx *f);

/* A call of the client to a server, and of the master to a server. */
struct fx_answer *fx_ask(struct fx *f, uint32_t id, uint16_t op, struct slice body,
                         const void *payload, uint32_t len);
struct fx_answer *fx_order(struct fx *f, uint32_t id, uint16_t op, struct slice body);

/* Short forms; each returns the status. members: ids as digits, the primary first: 123. */
int fx_write(struct fx *f, uint32_t members, uint64_t handle, uint64_t version, uint32_t offset,
             const void *data, uint32_t len);
int fx_change(struct fx *f, uint32_t members, uint64_t handle, uint64_t version, uint32_t kind,
              uint32_t offset, uint32_t len);
int fx_sync(struct fx *f, uint32_t members, uint64_t handle, uint64_t version);
/* Bytes read, or the status. The sums of the answer are checked. */
int fx_read(struct fx *f, uint32_t id, uint64_t handle, uint64_t version, uint32_t offset,
            uint32_t len, void *out);
int fx_prepare(struct fx *f, uint32_t id, uint64_t handle, uint64_t old, uint64_t version,
               uint32_t make, struct replica *out);
int fx_activate(struct fx *f, uint32_t id, uint64_t handle, uint64_t version, uint32_t primary,
                bool accept_torn);
int fx_pull(struct fx *f, uint32_t id, uint32_t source, uint64_t handle, uint64_t version,
            uint64_t source_version, uint64_t *out_copied);
/* Of *req, what names servers is filled in but for source.id; others: decimal digits, the last one
 * first. */
int fx_pull_as(struct fx *f, uint32_t id, struct pull_req *req, uint32_t others,
               struct pull_rep *rep);
int fx_drop(struct fx *f, uint32_t id, uint64_t handle);
/* The same, to be kept aside. */
int fx_set_aside(struct fx *f, uint32_t id, uint64_t handle);
int fx_forward(struct fx *f, uint32_t id, uint64_t handle, uint64_t version, uint64_t mutation,
               uint32_t offset, const void *data, uint32_t len);

/* Flips a bit in a replica's data file. */
void fx_flip(struct fx *f, uint32_t id, uint64_t handle, uint64_t offset);
struct chunkd_replica_info fx_info(struct fx *f, uint32_t id, uint64_t handle);
/* Equal version and digest everywhere, every block as its sum says. */
void fx_expect_equal(struct fx *f, uint32_t members, uint64_t handle);
/* Bytes that depend on seed. */
void fx_fill(void *out, uint32_t len, uint64_t seed);

#endif
