/* world.h - one seed's cluster: a master, chunkservers and mounts in simulated processes,
 * what they were asked and what happened to them. In a third of the seeds there are three or five
 * masters, one of which is the primary, and monitors that start and promote them (monitors.h).
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "chunkd/core/chunkd.h"
#include "fuse/core/client.h"
#include "master/core/master.h"
#include "tests/sim/fault_kind.h"
#include "tests/sim/log_tap.h"
#include "tests/sim/plan.h"
#include "tests/sim/sim_env.h"

enum {
    WORLD_CHUNKDS_MAX = 5,
    WORLD_SERVERS_MAX = 1 + WORLD_CHUNKDS_MAX, /* the first master is server 0 */
    WORLD_MASTERS_MAX = 5,
    WORLD_PROCESSES_MAX = 32, /* servers, masters, monitors, mounts */
    WORLD_RACKS = 3,
    WORLD_REPLICAS = 3,
    WORLD_UNREADABLE_MAX = 64,
    WORLD_MOUNTS_MAX = 4, /* that work; one more reads everything at the end */
};

struct world;
struct history;
struct acks;
struct reads;
struct versions;
struct promises;
struct drops;
struct actor;
struct data_files;
struct shared_file;
struct writer_model;
struct monitors;
struct answers;
struct checkpoint_book;

/* Of who wrote a master's configuration. */
enum mistake { MISTAKE_NONE, MISTAKE_CLUSTER, MISTAKE_SEGMENT, MISTAKE_ADDRESS };

struct sim_server {
    struct world *world;
    struct sim_process *process;
    uint32_t number;           /* 0 = a master, else the chunkserver */
    uint32_t rank;             /* of a master among the masters, from 0 */
    uint32_t rack, host, port; /* of a chunkserver; it may be another when it starts again */
    struct sim_rand moves;
    struct master *master;
    struct chunkd *chunkd;
    struct sim_event restart;
    struct sim_event room; /* its disk has room again */
    bool began_full;       /* its disk was full when it started: what it replayed had to go in */
    bool may_die;          /* its disk failed: it may end by itself ... */
    bool meta_failed;      /* ... and what it had in its meta log may be lost */
    bool sprung;           /* since its last start: it may refuse to start */
    enum fault_kind trap;  /* what its next trap is counted as */
    uint64_t killed_ns;
    bool wiped;            /* it got an empty disk at some time */
    uint64_t power_cut_ns; /* the last one, or the last damage done to it */
    uint32_t early_deaths; /* to come: it dies early_ns after its start */
    uint64_t early_ns;
    bool early_power_cut;
    bool dies_in_write; /* a master, when it writes to the log next */
    struct sim_event death;
    /* One of several masters: its monitor starts and ends it. */
    uint64_t down_ns;     /* its machine is off until then */
    bool damaged;         /* its log was: it may end by itself whenever it meets that */
    struct sim_event end; /* the process is about to end */
    uint32_t other_list;  /* its configuration is not that of the others: how, 0 = it is */
    struct sim_event mend_list;
};

struct mount {
    struct world *world;
    struct sim_process *process;
    uint32_t number;
    uint32_t life;         /* starts so far: the host label carries it */
    uint64_t dirty_bytes;  /* of all its write-behind: little holds writers up */
    uint32_t remembered;   /* inodes and places; 0 = very many */
    struct client *client; /* NULL = down */
    bool ready;
    bool stopping;         /* it leaves in order: programs have ended ... */
    uint64_t stop_ns;      /* ... since then, and it stops at the latest ... */
    uint32_t patience_ms;  /* ... after this */
    bool left;             /* its last life was over sooner: everything was committed */
    uint64_t away_ns;      /* it comes back so long after it has left */
    struct sim_event gone; /* it has left */
    struct sim_event restart;
    struct sim_event death; /* at a time set before */
};

struct world {
    uint64_t seed;
    struct plan plan;
    struct sim *sim;
    struct sim_rand rand; /* of the fault that strikes */
    struct geometry geo;
    uint32_t trash_seconds, aside_ms, log_scrub_s, scrub_share;
    struct tuning {
        uint32_t away_grace_ms, pair_pause_ms, balance_percent, balance_kib_s, slow_floor_ms,
            slow_window_ms, rereplication_share;
        uint64_t checkpoint_rate;
        struct master_bounds bounds;
    } tuning;                   /* of masters */
    bool moves;                 /* chunkservers get other labels and addresses */
    uint64_t preallocate_bytes; /* the master's */
    uint64_t large_state_bytes;
    uint64_t compact_bytes; /* of chunkservers' meta logs */
    uint64_t reserve_bytes; /* of their disks; 0 = the usual */
    struct chunkd_limits limits;
    struct sim_server servers[WORLD_SERVERS_MAX];
    uint32_t server_count; /* with the first master; of this seed */
    struct sim_server more_masters[WORLD_MASTERS_MAX - 1];
    struct sim_server *masters[WORLD_MASTERS_MAX]; /* the first is server 0 */
    uint32_t master_count;
    uint32_t log_acks;     /* so many logs must have a record */
    uint32_t loggers_only; /* so many masters, the last ones, are never the primary */
    uint32_t bad_log; /* rank of the one whose log goes bad, so that the other copies are good */
    char master_list[128];     /* as in configurations */
    uint32_t stale_ms;         /* of mounts */
    uint32_t soft_ms;          /* of mounts that work: calls fail after it; 0 = never */
    bool advertises;           /* masters and monitors name the address that others dial */
    bool watched;              /* masters have monitors: one without others not always */
    struct monitors *monitors; /* NULL if they have none */
    struct answers *answers;
    struct checkpoint_book *checkpoints;
    uint32_t rotten; /* the chunkserver whose disk goes bad, so that the other copies are good */
    bool rots;       /* it has begun to */
    struct mount mounts[WORLD_MOUNTS_MAX + 1];
    uint32_t mount_count; /* that work, in this seed; mounts[mount_count] is the reader */
    struct log_tap *tap;
    struct history *history;
    struct acks *acks;
    struct reads *reads;
    struct versions *versions;
    struct promises *promises;
    struct drops *drops;
    struct writer_model *writers; /* up to the record writers_index */
    uint64_t writers_index;
    struct data_files *data;
    struct shared_file *shared;
    bool share;           /* programs write to it ... */
    bool share_truncates; /* ... and truncate it */
    struct list actors;
    uint64_t meta_dir; /* inode of the directory all metadata programs share; 0 = not set up yet */
    uint32_t ops_wanted; /* actors go on until so many operations were started */
    uint32_t ops;
    uint64_t unreadable[WORLD_UNREADABLE_MAX]; /* chunks some of whose blocks are lost for good */
    uint32_t unreadable_count;
    /* Checkpoints of the first master, by index: damaged, if they are still there, or again: a power cut
     * brings removed ones back. */
    uint64_t bad_checkpoints[16];
    uint32_t bad_count;
    bool impostor;        /* somebody else answers at an address that chunkservers know */
    bool other_cluster;   /* the configuration of a server that starts now names another cluster */
    bool force;           /* it starts although its log is damaged */
    enum mistake mistake; /* in its configuration */
    bool trying;          /* a server starts on a disk that is given back */
    uint64_t full_ns;     /* until then calls may fail for want of space */
    bool healing;         /* no more faults, no more new work */
    uint64_t faults[FAULT_KINDS];
    uint32_t fault_number;      /* of the newest */
    uint64_t fault_mean_ns;     /* between two */
    bool fault_on[FAULT_KINDS]; /* of this seed */
    struct sim_event fault_event;
    struct sim_event lose_event; /* a disk is lost as soon as it can be ... */
    struct sim_server *losing;   /* ... this one's, which is down for so long */
    uint64_t losing_ns;
    struct sim_process *doomed; /* dies at the next break of the simulation */
    bool doomed_by_power;
    bool trace;
};

struct world *world_new(const struct plan *plan, bool trace);
void world_free(struct world *w);

/* Reports that the seed failed, why, and how to see it again, and ends the process. */
_Noreturn void world_fail(struct world *w, const char *format, ...) PRINTF_LIKE(2, 3);

void server_start(struct sim_server *s);
/* Starts one that is down: 0, or why it refuses to. */
int server_try(struct sim_server *s, struct why *why);
/* Down now; it comes up again after `ns`, or stays down if ns is 0. */
void server_kill(struct sim_server *s, bool power_cut, uint64_t ns);
/* An empty disk in place of its own. */
void server_wipe(struct sim_server *s);
/* Its disk has only so much room left for `ns`; has it again. */
void server_fill(struct sim_server *s, uint64_t left, uint64_t ns);
void server_empty(struct sim_server *s);
bool server_up(const struct sim_server *s);
/* One of several masters is started with a wrong list of them (how: 1 to 3) for so long; it is right again. */
void server_wrong_list(struct sim_server *s, uint32_t how, uint64_t ns);
void server_right_list(struct sim_server *s);
/* HOST:PORT of a master. */
void world_master_addr(uint32_t rank, char out[32]);
/* The master that serves now, in the highest epoch; NULL = none. */
struct sim_server *world_primary(const struct world *w);
void mount_start(struct mount *m);
void mount_kill(struct mount *m, uint64_t ns);
void mount_end(struct mount *m); /* it dies, and is started again a little later */
/* Its programs end, and it leaves in order, at the latest after its patience; it comes back `ns` after it has
 * left. False: it is not there. */
bool mount_stop(struct mount *m, uint32_t patience_ms, uint64_t ns);
/* It dies after `ns`. */
void mount_kill_later(struct mount *m, uint64_t ns);
/* By the log as far as it is certain, everybody who wrote to the file has left, and it was cut. */
bool world_is_cut(struct world *w, uint64_t ino);
/* The master ended a session of this life of the mount: what it had open without a name is gone. */
bool world_session_ended(struct world *w, const struct mount *m);
/* A number of replicas that the seed's servers can hold; 0 = the default. Never one: what is lost
 * with a disk then is nobody's fault. */
uint32_t world_draw_replicas(struct world *w, struct sim_rand *r);
/* HOST:PORT of a chunkserver. */
void world_chunkd_addr(const struct world *w, uint32_t chunkd, char out[32]);
/* Chunkservers that lost power or their disk since then, or whose bits flip: what was not synced may be lost with two. */
uint32_t world_power_losses(void *world, uint64_t since_ns);

/* The chunkserver that has the disk with this id now, or 0: the disk was lost. */
uint32_t world_chunkd(struct world *w, uint32_t id);
/* All replicas of a chunk may be suspect: power was lost twice, or once a disk goes bad, a process
 * died with a write half done. Then it is in doubt whether what was not synced is there. */
bool world_may_doubt(struct world *w, uint64_t since_ns);

/* Processes of servers, more masters, monitors, mounts that work: those faults happen to. */
uint32_t world_process_count(const struct world *w);
struct sim_process *world_process(struct world *w, uint32_t i);

/* faults.c: starts the stream of faults; heals everything and brings everybody up. */
void faults_start(struct world *w);
void faults_end(struct world *w);

/* world_draw.c: sizes, numbers and kinds of the seed's world. */
void world_draw(struct world *w);
/* Where a chunkserver stands at first. */
void world_draw_place(struct sim_server *s);
/* world_trace.c: a record (`owner` is the world), a frame that arrives. */
void world_say_record(void *owner, const struct record *r);
void world_say_frame(struct sim *s, const struct sim_process *from, const struct sim_process *to,
                     const struct message *m);

/* One-line trace of what the simulation does, with --trace. */
void world_say(struct world *w, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
