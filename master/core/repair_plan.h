/* repair_plan.h - what one chunk needs: a pure function of what is known of its members.
 *
 * A replica is good if it holds the current version, every block of it matches its sum as far as
 * known, and its server is here. Short absences are waited for unless only one good copy is left.
 */
#ifndef MASTER_CORE_REPAIR_PLAN_H
#define MASTER_CORE_REPAIR_PLAN_H

#include "master/core/notes.h"

enum repair_need {
    NEED_NOTHING,
    NEED_WAIT,   /* something is missing that may come by itself, or nothing can be done now */
    NEED_HEAL,   /* its members must be compared, filled or mended: a new version of the same */
    NEED_ADD,    /* a new member, in place of those that are gone */
    NEED_MOVE,   /* a new member in place of `remove`, which is leaving */
    NEED_REMOVE, /* `remove` is one too many */
};

/* What is done first. */
enum repair_risk {
    RISK_LAST_COPY, /* one good copy is left */
    RISK_CLIENT,    /* a client's write waits for members */
    RISK_FEW,       /* fewer copies than wanted */
    RISK_MOVE,      /* off servers that are leaving, and where fewer are wanted */
    RISK_BALANCE,   /* for even disks */
    RISK_CLASSES
};

struct plan_member {
    uint32_t server;
    enum note_kind note;
    bool alive;
    bool reported;     /* since it registered: what it holds is known */
    bool away_long;    /* not alive, and not waited for any longer */
    bool leaving;      /* its replicas are to move away */
    bool slow;         /* measured against its peers */
    uint32_t crowding; /* how many other members share its host or rack, in some unit */
};

struct plan_chunk {
    struct plan_member *members; /* the primary first */
    uint32_t count;
    uint32_t wanted; /* >= 1 */
    bool fresh;      /* as its row has it */
    bool bound;      /* something of it is committed */
    bool unsettled;  /* the picture of the cluster is not complete yet: nobody new is brought in */
};

struct repair_plan {
    enum repair_need need;
    enum repair_risk risk;
    uint32_t good;
    uint32_t unsure; /* of them: not confirmed by a report yet */
    uint32_t remove; /* server that leaves */
    bool empty;      /* nobody wrote it yet: what there is of it, its writer puts in order */
    bool lost;       /* no good copy is here, nor one that could be made good or is waited for */
    bool gone;       /* lost, and not even damaged ones are left: nothing of it can be read */
};

struct repair_plan repair_plan(const struct plan_chunk *c);
/* The member may be copied from, in this plan: good and confirmed, or the best there is. */
bool plan_may_give(const struct plan_chunk *c, const struct repair_plan *p,
                   const struct plan_member *m);
const char *risk_name(enum repair_risk risk);

#endif
