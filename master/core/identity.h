/* identity.h - which cluster a master of a set belongs to, and whether the others agree with it.
 *
 * A master with an empty directory belongs to whatever cluster the others do. Only if all of them
 * are there and new, the first of the list makes up a cluster. So a second one cannot come up beside
 * an old one that is away.
 *
 * Masters compare their lists, and that they are two: one that names other masters, that says it has
 * this one's address, or that is a copy of this one's directory, or of one that is there, is refused.
 * Loop thread only.
 */
#ifndef MASTER_CORE_IDENTITY_H
#define MASTER_CORE_IDENTITY_H

#include "master/core/log_links.h"

enum {
    IDENTITY_AGAIN_MS = 500,
    IDENTITY_TOLD_MS = 5000, /* a new master that waits so long says for whom */
};

struct master;
struct message;
struct peer;

struct identity {
    uint64_t again_ns; /* a new master asks again */
    bool told;         /* the log has a line that it waits */
    struct {
        struct rpc_call call; /* log_compare */
        int said;             /* the status it was last answered with; what is new is told */
        bool here;            /* it answered over the link that is up */
        uint64_t cluster;     /* and belongs to this one */
        uint64_t disk;        /* id of its log, as it said when it asked us; 0 = it did not */
    } peers[LOGGERS_MAX];
};

/* The link to the other master came up, or went down. */
void identity_link_changed(struct master *m, uint32_t number, bool up);
void identity_tick(struct master *m);
/* Another one has another list of masters, or log_ack: what follows from those here may be wrong. */
bool identity_refused(const struct master *m);
void identity_close(struct master *m);
/* Another one asks: log_compare. */
void identity_compare(struct peer *p, struct message *msg);

#endif
