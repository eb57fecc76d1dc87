/* master_fixture.h - a master in the simulator, with chunkservers that only keep books and a mount
 * that only sends requests.
 */
#ifndef TESTS_UNIT_MASTER_FIXTURE_H
#define TESTS_UNIT_MASTER_FIXTURE_H

#include "master/core/master_internal.h"
#include "tests/sim/sim_env.h"

enum { FAKES_MAX = 5, FAKE_REPLICAS_MAX = 1200 };

struct fake_replica {
    struct replica r;
    bool active, primary;
};

/* A chunkserver that answers the master's requests from a table. */
struct fake {
    struct fixture *f;
    struct sim_process *p;
    struct rpc rpc;
    struct rpc_call call; /* hello, register, report, in this order */
    struct rpc_call beat;
    struct env_timer timer;
    uint64_t disk, boot;
    char host[16];
    uint32_t id;          /* 0 = not registered */
    uint64_t next_handle; /* as the master said when it registered */
    struct fake_replica replicas[FAKE_REPLICAS_MAX];
    uint32_t count;
    uint64_t avail;
    uint32_t disk_us; /* told in heartbeats */
    bool up;
    bool mute;             /* prepares are not answered */
    bool cut_off;          /* it and the others do not hear each other, the master hears all */
    bool hold_pulls;       /* pulls are not answered */
    bool full;             /* pulls that would make a replica longer find no room */
    bool rotten;           /* its replicas are damaged, as it finds when somebody copies from it */
    uint64_t client_bytes; /* told in each heartbeat */
    uint32_t fills, mends;
    uint64_t copy_rate; /* as the master said last */
    int prepare_status; /* answered to prepares, unless 0 */
    bool hold_drops;    /* drops are done, and answered by fake_answer_drop */
    struct frame_header held_drop;
    uint32_t drops_busy; /* so many drops are answered ERR_BUSY */
    uint32_t primary_of; /* activates that named it primary */
    uint32_t prepares, pulls, activates, drops;
    uint32_t asides; /* of the drops */
    uint32_t last_make;
    int register_status;
    uint32_t failing;         /* told in heartbeats */
    struct scrub_state scrub; /* the same */
    struct rpc_call told;     /* of fake_scanned */
    uint32_t digest_asks, scans;
};

struct fixture {
    struct sim *sim;
    struct sim_process *mp;
    struct master_config cfg;
    struct master *m;
    struct fake fakes[FAKES_MAX];
    struct sim_process *cp;
    struct rpc rpc; /* the mount's */
    uint64_t session, sequence;
    uint64_t fills[256]; /* handles, in the order in which new members were filled */
    uint32_t fill_count;
    /* Of the last answer. */
    struct message answer;
    int status;
    bool answered;
};

struct fixture *fixture_new(uint32_t servers);
void fixture_free(struct fixture *f);
void fixture_run_ms(struct fixture *f, uint64_t ms);

void fixture_start_master(struct fixture *f);
void fixture_kill_master(struct fixture *f);
void fake_start(struct fake *k);
void fake_stop(struct fake *k); /* its connection breaks; its table stays */
void fake_answer_drop(struct fake *k);
struct fake_replica *fake_find(struct fake *k, uint64_t handle);
/* Tells the master that it verified this replica. */
void fake_scanned(struct fake *k, uint64_t handle);
/* Gives it a replica as a write would have made it. */
struct fake_replica *fake_put(struct fake *k, const struct chunk *c, uint64_t mutation,
                              uint64_t digest);

struct fake *fixture_fake(struct fixture *f, uint32_t id); /* the server with that number */
/* A file of one chunk, written to all members and committed at `size`, by the mount's next mutations;
 * the bytes are told by the digest, 100 + handle. Its chunk as granted, without the members. */
struct chunk fixture_make_file(struct fixture *f, const char *name, uint64_t size,
                               uint64_t *sequence);

/* Connects the mount: hello. */
void fixture_connect(struct fixture *f);
void fixture_connect_as(struct fixture *f, uint32_t role);
/* session_open and session_attach. */
void fixture_open_session(struct fixture *f);
void fixture_attach(struct fixture *f);
/* Sends a request and waits up to `ms` for the answer; the answer stays in f->answer. -EAGAIN: none
 * came. */
int fixture_call(struct fixture *f, enum op_code op, struct slice body, uint64_t sequence,
                 uint64_t ms);
/* Waits for the answer of a request sent before. */
int fixture_wait(struct fixture *f, uint64_t ms);

#define FIXTURE_CALL(f, name, req, rep, sequence)                                                  \
    ({                                                                                             \
        int status_ = fixture_call(f, OP_##name, RPC_BODY(name##_req, req), sequence, 20000);      \
        if (status_ == 0) {                                                                        \
            ck_assert_int_eq(name##_rep_decode(slice_bytes(&(f)->answer.body), rep), 0);           \
        }                                                                                          \
        status_;                                                                                   \
    })

#endif
