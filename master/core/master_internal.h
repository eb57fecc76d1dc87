/* master_internal.h - struct master, for the modules it consists of. */
#ifndef MASTER_CORE_MASTER_INTERNAL_H
#define MASTER_CORE_MASTER_INTERNAL_H

#include "master/core/assure.h"
#include "master/core/balance.h"
#include "master/core/commit.h"
#include "master/core/deletion.h"
#include "master/core/follow.h"
#include "master/core/garbage.h"
#include "master/core/grants.h"
#include "master/core/identity.h"
#include "master/core/log_level.h"
#include "master/core/log_scrub.h"
#include "master/core/logger.h"
#include "master/core/master.h"
#include "master/core/medium.h"
#include "master/core/name_leases.h"
#include "master/core/notes.h"
#include "master/core/ns.h"
#include "master/core/oplog.h"
#include "master/core/repair.h"
#include "master/core/replies.h"
#include "master/core/scrubs.h"
#include "master/core/server_state.h"
#include "master/core/servers.h"
#include "master/core/service_monitor.h"
#include "master/core/service_shadow.h"
#include "master/core/sessions.h"
#include "master/core/setbacks.h"
#include "master/core/store.h"
#include "master/core/term.h"
#include "master/core/transfer.h"
#include "master/core/trash.h"
#include "master/core/vouch.h"

enum {
    PEERS_MAX = 4096,
    HELLO_WAIT_MS = 10000, /* a connection that does not introduce itself is closed */
    CLOSE_WAIT_MS = 500,   /* a refused one gets its answer first */
    TICK_MS = 50,          /* periodic work */
    AWAKE_STEP_MS = 500,   /* most that one tick adds to master_awake_ns */
    SLICE_MS = 10,         /* scans go on in slices this far apart */
    SLICE_ROWS = 256,
};

/* One connection. */
struct peer {
    struct master *m;
    struct list link; /* in master.peers */
    struct rpc rpc;
    uint32_t role; /* ROLE_*; 0 = no hello yet */
    bool closing;  /* nothing more is read from it; hung up at deadline_ns */
    uint64_t deadline_ns;
    struct session *session;    /* attached to this connection */
    struct chunkserver *server; /* registered on this connection */
    struct list held;           /* answers waiting for the log */
    struct list queued;         /* mutations waiting for a quiet point */
    struct list waiters;        /* grant requests waiting */
    struct list asks;           /* checkpoints asked for */
    struct list reads;          /* of a shadow's: waiting for a later index */
    bool compared;              /* another master of our set */
};

struct master {
    struct env *env;
    struct master_config cfg;
    struct store *store;
    struct oplog *log;
    struct ns *ns;
    struct writer prep;       /* what ns_prepare and queries write */
    struct writer apply;      /* what ns_apply writes */
    struct writer closed;     /* opens.c: u64 session, u64 inode of closes not logged yet */
    uint64_t cluster;         /* 0: a new master of a set that knows it not yet */
    uint32_t epoch;           /* of the primary; a shadow's: of the newest record it has applied */
    uint32_t version_counter; /* versions given to existing chunks in this epoch */
    uint64_t start_ns;
    uint64_t start_awake_ns;   /* the same by master_awake_ns */
    uint64_t awake_ns;         /* master_awake_ns when it was counted last ... */
    uint64_t awake_counted_ns; /* ... which was then */
    uint64_t changed_ns;       /* when a client's change was logged last */
    bool started;
    bool primary;   /* it is the primary, or becoming it */
    bool serving;   /* the record that opens the epoch is committed */
    bool stateless; /* recovery_result.stateless */
    bool stopping;
    struct commit commit;
    struct commit_wait serve_wait;
    struct replies *replies;
    struct sessions sessions;
    struct name_leases name_leases;
    struct servers servers;
    struct placement_row files_row; /* files created one after the other */
    struct notes notes;
    struct setbacks setbacks;
    struct grants grants;
    struct repair repair;
    struct scrubs scrubs;
    struct balance balance;
    uint64_t slow_next_ns; /* servers are compared with each other again */
    struct garbage garbage;
    struct trash trash;
    struct list recalls; /* truncates applied and not answered */
    struct medium medium;
    struct log_scrub log_scrub;
    struct vouch vouch;
    bool warming; /* alone: it reads what it has, and serves reads, before it takes office */
    struct deletion deletion;
    struct vigil vigil;
    struct list peers;
    uint32_t peer_count;
    struct rpc nowhere; /* never open: calls to servers that are away fail through it */
    struct env_timer tick;
    struct env_timer slice; /* armed while a report is merged or a scan runs */
    /* Of a set of masters. */
    struct log_links *links; /* NULL if it is alone, as is the next */
    struct logger *logger;
    struct identity identity;
    struct follow follow;
    struct assure assure;
    struct log_leveller level;
    struct term term;
    struct shadow shadow;
    struct transfer transfer;
};

/* The clock by which others are found absent: it goes on only while this master runs. One that was
 * stopped, or got no processor, for minutes has not listened: that it heard nothing meanwhile says
 * nothing of the others. Leases are counted by the real clock. */
uint64_t master_awake_ns(const struct master *m);

static inline bool master_in_set(const struct master *m)
{
    return m->cfg.set.count > 1;
}

/* Listens to others from now on. */
MUST_CHECK int master_listen(struct master *m, struct why *why);
/* Its own log is the only one: the next epoch begins. */
MUST_CHECK int master_start_alone(struct master *m, struct why *why);
/* The state has the whole log, under which nobody else appends: this is the primary of `epoch`, and
 * serves once the record that says so is committed. */
void master_take_office(struct master *m, uint32_t epoch);

/* Answers `request`, once `index` is committed. Takes the reference of body; without one, status 0
 * answers with fields that are all zero. */
void master_answer(struct peer *p, const struct frame_header *request, int status, uint64_t index,
                   struct slice body);

/* A request of ours to a server; fails with ERR_DISCONNECTED if it is away. Takes the reference of
 * body. */
void server_call(struct master *m, uint32_t server, struct rpc_call *call, enum op_code op,
                 struct slice body, uint32_t timeout_ms);

/* A version above `old` and above every version prepared in this epoch. */
uint64_t master_new_version(struct master *m, uint64_t old);

/* Servers for a new chunk of a file that has some; otherwise as ns_decider.choose_members. */
int master_choose_members(struct master *m, uint32_t wanted, uint32_t *out_ids, uint32_t max);

/* A chunk as clients see it. `reading`: replicas known to be unusable are left out while another is
 * there, live ones first. members is written to `w`, which must live as long as *out. */
void master_chunk(struct master *m, const struct ns_chunk *row, bool reading, struct writer *w,
                  struct chunk *out);

/* Lets go of a server's connection: nothing is sent to it or taken from it any more. It counts as
 * away. */
void master_detach_server(struct master *m, struct chunkserver *s);
/* The server does not do what it was asked: cut it off until its lease has certainly ended. */
void master_fence_server(struct master *m, struct chunkserver *s, const char *reason);

/* Keeps the slice timer running while there is work for it. */
void master_arm_slice(struct master *m);

static inline void writer_reset(struct writer *w)
{
    w->len = 0;
}

#endif
