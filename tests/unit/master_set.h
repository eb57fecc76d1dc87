/* master_set.h - whole masters of one set in the simulator, a monitor that promotes them, and mounts
 * that make directories and look each other's up, for tests.
 *
 * Checked as it happens: what was acknowledged to one mount is found by the others whenever a primary
 * answers them, and nothing is done twice.
 */
#ifndef TESTS_UNIT_MASTER_SET_H
#define TESTS_UNIT_MASTER_SET_H

#include "master/core/master_internal.h"
#include "tests/sim/sim_env.h"

enum { SET_MASTERS = 3, SET_MOUNTS = 3, SET_DIRS_MAX = 50000 };

struct master_set;

struct set_master {
    struct sim_process *process;
    struct master_config cfg;
    struct master *m; /* NULL = down */
    uint32_t ends;    /* processes that ended by themselves */
};

/* A mount: one operation at a time, each until it is answered. */
struct set_mount {
    struct master_set *all;
    struct sim_process *process;
    uint32_t number;
    struct rpc rpc;
    struct rpc_call call;
    struct env_timer again;
    uint32_t master; /* the one it is connected to */
    bool attached;
    uint64_t session;
    uint64_t sequence; /* of the operation under way */
    uint32_t making;   /* directory that is made; 0 = it looks one up */
    uint32_t looking;  /* directory that is looked up */
    bool busy;         /* an operation is under way, perhaps to be sent again */
    uint64_t acked;    /* operations */
    uint64_t since_ns; /* when the operation under way was begun */
    uint64_t longest_ns;
};

struct master_set {
    struct sim *sim;
    struct sim_rand rand;
    struct set_master masters[SET_MASTERS];
    struct set_mount mounts[SET_MOUNTS];
    bool stopping;                /* mounts begin nothing more */
    bool only_reader;             /* but for one that only looks up */
    const uint32_t *writers_at;   /* the only master they try; NULL = they try all */
    uint32_t dirs;                /* names given out, from 1 */
    uint64_t inos[SET_DIRS_MAX];  /* of acknowledged ones; 0 = not */
    uint32_t acked[SET_DIRS_MAX]; /* acknowledged names, in order */
    uint32_t acked_count;
    /* The monitor: what it asked last. */
    struct sim_process *monitor;
    struct rpc asker;
    struct rpc_call ask;
    bool asking;
    uint32_t asked;   /* master */
    uint32_t epoch;   /* highest it gave to anybody */
    uint64_t idle_ns; /* when it saw the last primary, or asked */
    uint32_t promotions;
};

struct master_set *master_set_new(uint64_t seed);
void master_set_free(struct master_set *s);
void set_master_start(struct master_set *s, uint32_t number);
void set_master_kill(struct master_set *s, uint32_t number, bool power);
/* The serving one of the highest epoch; -1 = none. */
int master_set_primary(const struct master_set *s);
/* Asks this one to be primary, under an epoch above all before. */
void master_set_promote(struct master_set *s, uint32_t number);
/* Runs for so long; the monitor promotes somebody when there was no primary for a while, and starts
 * again what has ended. */
void master_set_run(struct master_set *s, uint64_t ms);
/* Those that make directories, and were stopped, go on at this master, and no other. */
void master_set_move_writers(struct master_set *s, const uint32_t *number);
/* All are up and in one state, with everything acknowledged; false after so long. */
bool master_set_equal(struct master_set *s, uint64_t ms);
/* All acknowledged directories are there, and no others. */
void master_set_check(struct master_set *s);

#endif
