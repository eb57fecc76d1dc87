/* grants_internal.h - the machine of one chunk, for grants.c (requests), grants_steps.c
 * (steps) and grants_source.c (which replica is believed). */
#ifndef MASTER_CORE_GRANTS_INTERNAL_H
#define MASTER_CORE_GRANTS_INTERNAL_H

#include "master/core/master_internal.h"

enum grant_phase {
    GRANT_WAIT, /* for a lease to end, for members to come back, or between attempts */
    GRANT_ROW,  /* for the row it starts from to be committed */
    GRANT_FILL, /* the new member is filled while writes go on */
    GRANT_PREPARE,
    GRANT_ACCEPT, /* the best of only suspect replicas is accepted as it is */
    GRANT_PULL,
    GRANT_LOG,
    GRANT_ACTIVATE,
};

enum part_state {
    PART_NONE,  /* nothing asked yet */
    PART_ASKED, /* an answer is due */
    PART_READY, /* it holds the new version */
    PART_OUT,   /* certainly serves nothing under the old version */
    PART_LOST,  /* may still serve under the old version */
};

enum { GRANT_PARTS_MAX = REPLICAS_MAX + 1 };

struct grant;

/* A replica that takes part in one attempt. */
struct part {
    struct grant *grant;
    uint32_t server;
    bool added;   /* becomes a member */
    bool leave;   /* is told to leave */
    bool damaged; /* holds bad blocks */
    bool unasked; /* away, and its lease over, when the parts were chosen */
    enum part_state state;
    int status;             /* of its last answer */
    struct replica replica; /* as prepared */
    struct rpc_call call;
};

/* A client's request that waits. */
struct grant_waiter {
    struct list link; /* in grant.waiters or grants.unplaced */
    struct list peer_link;
    struct peer *peer;
    struct frame_header head;
    struct grant_req req;
    bool heard; /* the machine knows which member it complains of */
};

struct grant {
    struct hmap_node node;
    struct master *m;
    uint64_t ino, number, handle;
    enum grant_phase phase;
    struct ns_chunk row; /* of this attempt */
    uint64_t version;    /* of this attempt */
    struct part parts[GRANT_PARTS_MAX];
    uint32_t part_count;
    uint32_t asked;  /* answers due */
    uint32_t source; /* part the others copy from */
    bool accepted;   /* the source was suspect */
    bool mended;     /* the source was damaged: the others were asked for its bad blocks */
    bool lacking;    /* blocks are damaged at the source, and nobody else could give them */
    struct list waiters;
    bool repair;                 /* counted in grants.repairs */
    struct repair_action action; /* of a repair: what was asked for */
    uint32_t complained;         /* member to leave out, 0 = none */
    bool no_space;               /* because it is full */
    bool trash_asked;            /* the trash was to give room up for it */
    bool no_room;                /* a member had no room for what another has more */
    uint64_t pause_ns;           /* the same members do not try again before */
    bool rotate;                 /* another primary, please */
    uint32_t add;                /* server to become a member, 0 = none */
    uint32_t remove;             /* member to leave if the others are in good order, 0 = none */
    uint32_t fill_from;          /* source of the filling, 0 = done or not wanted */
    uint32_t counted[2];         /* servers whose `copies` counts the filling */
    bool stopped; /* replicas were prepared: the old version is not served any more */
    uint32_t attempts;
    uint32_t lease_polls; /* of a repair: times it found that a lease must end first */
    struct env_timer timer;
    struct commit_wait wait;
};

/* Looks at the row and begins an attempt. */
void grant_attempt(struct grant *g);
/* Ends the machine and frees g: status 0 answers the waiters from the row, else with status. */
void grant_end(struct grant *g, int status);
/* Answers who waits now; the machine goes on. */
void grant_refuse_waiters(struct grant *g, int status);
void grant_stop_calls(struct grant *g);
/* Ends the filling of a new member in the servers' counts. */
void grant_fill_done(struct grant *g);

/* Of grants_steps.c, for grants_copy.c. */
void grant_ask(struct part *p, enum op_code op, struct slice body, uint32_t timeouts,
               void (*done)(struct rpc_call *c));
void grant_set_note(struct grant *g, uint32_t server, uint64_t version, enum note_kind kind);
/* Attempts go on for as long as it takes: the same failure is told once. */
bool grant_is_news(struct grant *g, int status);
void grant_part_add(struct grant *g, uint32_t server, bool added);
void grant_accept(struct grant *g);      /* the suspect source */
void grant_log_version(struct grant *g); /* the replicas are equal */
/* The answer says: what was asked for is not here, or not to be believed. */
bool grant_replica_is_lost(int status);

/* grants_copy.c. Fills the new member while writes go on, then begins the attempt. */
void grant_fill(struct grant *g);
/* No replica is whole and known to be current: the best one gets the blocks that do not match their
 * sums from the others, as far as they hold the same. What is suspect is accepted then as it is,
 * so that only what no replica has any more is taken from a torn write. */
void grant_mend_source(struct grant *g);
/* Makes the prepared replicas equal to the source's, then grant_log_version. */
void grant_reconcile(struct grant *g);

/* Index of the part with the best prepared replica, or UINT32_MAX. */
uint32_t grant_best_source(const struct grant *g);
/* The prepared member holds all that was acknowledged, however much more the source holds. */
bool grant_lost_nothing(const struct part *p);
/* Whether another attempt may find a better source than g->source: the member that was to leave, or
 * one that is away and did not say that it lost its replica. Those who are away are waited for as
 * long as they would be before they are replaced. */
bool grant_better_may_come(struct grant *g);

#endif
