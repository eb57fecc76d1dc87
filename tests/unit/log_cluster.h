/* log_cluster.h - bare masters for tests: each a log, its logger, links to the others, and what a
 * primary adds, over a simulated network and disks. No state, no clients: whoever is primary appends
 * records on demand.
 *
 * What holds at every moment is checked as it happens: a record that was acknowledged is never
 * another one later, and no primary of an older epoch has its read gate open once a newer epoch has
 * committed.
 */
#ifndef TESTS_UNIT_LOG_CLUSTER_H
#define TESTS_UNIT_LOG_CLUSTER_H

#include "master/core/log_mender.h"
#include "master/core/log_scrub.h"
#include "master/core/promotion.h"
#include "master/core/replicate.h"
#include "tests/sim/sim_env.h"

enum {
    HISTORY_MAX = 100000,
    LOG_SEGMENT = 256 << 10,
};

struct log_cluster;

struct log_master {
    struct log_cluster *all;
    uint32_t number;
    struct sim_process *process;
    struct log_set set;
    struct oplog *log;
    struct logger *logger;
    struct log_links *links;
    struct promotion *promotion;
    struct log_mender *mender;
    struct log_scrub scrub;
    struct replicate *replicate; /* NULL = no primary */
    struct list peers;           /* connections of others */
    bool alive;
    uint32_t epoch;   /* as primary */
    uint64_t opening; /* index of its first record */
    bool serving;     /* that is committed */
    bool deposed;     /* must be ended */
    bool asked;       /* to yield */
    bool yielding;
    bool yielded; /* must be ended */
    int promotion_status;
    uint32_t promotion_stale; /* epoch that stood against it */
    uint32_t promotions_done;
};

struct log_cluster {
    struct sim *sim;
    struct sim_rand rand;
    uint32_t count;
    struct log_master masters[LOGGERS_MAX];
    uint32_t epoch; /* highest given to anybody */
    /* Chain of every record that some primary saw committed, by index; 0 = none. */
    uint64_t *acknowledged;
    uint64_t acknowledged_to;
    uint32_t committed_epoch; /* highest that committed anything */
    uint32_t served;          /* promotions that got as far as serving */
};

/* All alive, nobody primary. */
struct log_cluster *log_cluster_create(uint64_t seed, uint32_t count, uint32_t acks);
void log_cluster_free(struct log_cluster *c);

void log_master_start(struct log_master *m);
/* power: what was not synced is lost. */
void log_master_end(struct log_master *m, bool power);
/* Flips bits of the batch that holds this record; the master is down. */
void log_master_rot(struct log_master *m, uint64_t index);
/* The same; the master is up. */
void log_master_rot_now(struct log_master *m, uint64_t index);
/* The same, or worse, somewhere in a full segment of a master that is up; false: it has none. */
bool log_master_rot_full(struct log_master *m);
/* Under an epoch above all before. */
void log_master_promote(struct log_master *m);
/* Appends records of its own; it is primary and not ending. */
void log_master_append(struct log_master *m, uint32_t count, uint32_t body_max);
/* The serving primary with the highest epoch; NULL if there is none. */
struct log_master *log_cluster_primary(struct log_cluster *c);

/* Runs for so long; those that must end are ended and started again. */
void log_cluster_run(struct log_cluster *c, uint64_t ms);
/* Runs until somebody serves, promoting as a monitor would; false after so long. */
bool log_cluster_settle(struct log_cluster *c, uint64_t ms);
/* Runs until all logs are equal and everything is committed; false after so long. */
bool log_cluster_equal(struct log_cluster *c, uint64_t ms);
/* Every acknowledged record is in every log, as it was. */
void log_cluster_check(struct log_cluster *c);

#endif
