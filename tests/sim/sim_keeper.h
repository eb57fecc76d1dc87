/* sim_keeper.h - a model of ZooKeeper for the simulator, and its clients.
 *
 * One ensemble, whose writes have one order. Each client has a session that ends on its own clock when
 * nothing is heard of it; replies get lost before and after what was asked for was done; reads are old,
 * but never older than what their session has seen; some changes are not told to who watches. The
 * ensemble can be away, forget what it knew since an earlier moment, end sessions, and be changed by an
 * administrator's hand.
 */
#ifndef TESTS_SIM_SIM_KEEPER_H
#define TESTS_SIM_SIM_KEEPER_H

#include "deploy/monitor/core/keeper.h"
#include "tests/sim/sim_env.h"

enum {
    SIM_KEEPER_ENTRIES = 48,
    SIM_KEEPER_PAST = 16, /* states that reads may still see */
    SIM_KEEPER_CLIENTS = 5,
    SIM_KEEPER_ORPHANS = 64,
};

struct sim_keeper_entry {
    char path[KEEPER_PATH_MAX + 1];
    char text[KEEPER_TEXT_MAX + 1];
    int32_t version;
    uint32_t numbers; /* given to entries under it */
    uint64_t session; /* of an ephemeral one; 0 = it is lasting */
};

struct sim_keeper_tree {
    struct sim_keeper_entry all[SIM_KEEPER_ENTRIES];
    uint32_t count;
};

struct sim_keeper;

struct sim_keeper_client {
    struct keeper keeper;
    struct sim_keeper *server;
    struct sim_process *p;
    const struct keeper_events *events; /* NULL = closed */
    void *owner;
    struct keeper_call *call;
    bool there;
    bool done;         /* the call under way was done, or never will be: its answer comes */
    bool lost;         /* ... or its loss */
    uint64_t session;  /* 0 = none yet */
    uint64_t heard_ns; /* by the ensemble */
    uint64_t seen;     /* number of the newest state this session has seen */
    bool ahead;        /* of the state that was restored: no server lets it in */
    uint64_t cut_ns;   /* it reaches no server until then */
    struct env_timer link, answer, change;
};

/* A session whose client has gone. */
struct sim_keeper_orphan {
    uint64_t session, heard_ns;
};

struct sim_keeper {
    struct sim *sim;
    struct sim_rand rand;
    uint32_t session_ms;
    uint32_t lost_per_mille; /* of calls */
    uint64_t down_ns;        /* nobody is answered until then */
    uint64_t forbidden_ns;   /* nobody may change anything until then */
    uint64_t next_session;
    uint64_t now;                                 /* number of the newest state */
    struct sim_keeper_tree past[SIM_KEEPER_PAST]; /* by number, modulo */
    struct sim_keeper_tree backup;
    struct sim_keeper_client *clients[SIM_KEEPER_CLIENTS];
    uint32_t client_count;
    struct sim_keeper_orphan orphans[SIM_KEEPER_ORPHANS];
    uint32_t orphan_count;
};

void sim_keeper_init(struct sim_keeper *s, struct sim *sim, uint64_t seed, uint32_t session_ms);
/* A client in process `p`; to be opened when the process has started, again after every start. */
void sim_keeper_client_init(struct sim_keeper_client *c, struct sim_keeper *s,
                            struct sim_process *p);
/* Ends sessions nothing was heard of; called now and then. */
void sim_keeper_sweep(struct sim_keeper *s);
/* Ends the session of a client; it hears of it when it is there again. */
void sim_keeper_expire(struct sim_keeper *s, struct sim_keeper_client *c);
void sim_keeper_save(struct sim_keeper *s);
/* What is lasting becomes as it was when it was saved; every session ends, and no client hears of it. */
void sim_keeper_restore(struct sim_keeper *s);
/* An administrator writes an entry, which is made if it is not there, or removes it with all below. */
void sim_keeper_write(struct sim_keeper *s, const char *path, const char *text);
void sim_keeper_remove(struct sim_keeper *s, const char *path);
/* The text of a lasting entry as of now, NULL = none. */
const char *sim_keeper_text(const struct sim_keeper *s, const char *path);

#endif
