/* mutation.h - members of a chunk version and calls to all of them. */
#ifndef CHUNKD_CORE_MUTATION_H
#define CHUNKD_CORE_MUTATION_H

#include "chunkd/core/core.h"

struct member_set;

/* One call to a secondary. */
struct member_call {
    struct rpc_call call;
    struct member_set *set;
    uint32_t server;
    uint64_t begin_ns; /* of a forward; 0 = its time says nothing */
};

/* The other members of a version, and how each answered. Embedded in a request. */
struct member_set {
    struct chunkd *c;
    struct member {
        uint32_t server;
        struct bytes addr; /* in the request's body */
    } others[REPLICAS_MAX];
    uint32_t count;
    struct member_call calls[REPLICAS_MAX];
    uint32_t pending;       /* answers still awaited, ours included */
    uint32_t failed_server; /* 0 = none; else the first that failed */
    int failed_status;
    bool no_space;  /* the first failure was -ENOSPC */
    bool reserving; /* -ENOSPC is an outcome that a member may have, and no failure */
    bool refused;   /* a member had it */
    void (*failed)(struct member_set *s); /* at the first failure; may be NULL */
    void (*done)(struct member_set *s);   /* all answered */
};

/* Parses the members of a request; we must be among them, the first if `first`. ERR_PROTOCOL,
 * ERR_NOT_PRIMARY. */
MUST_CHECK int member_set_parse(struct member_set *s, struct chunkd *c, struct bytes list,
                                bool first);
/* Calls every other member and leaves one answer, ours, pending: member_set_answered gives it. */
void member_set_call(struct member_set *s, uint16_t op, const struct slice *body,
                     const struct slice *payload);
void member_set_answered(struct member_set *s, uint32_t server, int status);
/* What the asker gets: 0, -ENOSPC or ERR_MEMBER_FAILED. */
int member_set_status(const struct member_set *s);
void member_set_release(struct member_set *s);

/* May this process order mutations of r under version? 0 or what to answer. */
MUST_CHECK int primary_check(const struct chunkd *c, const struct local_replica *r,
                             uint64_t version);
/* Is r a good member of version, that the primary may count on? 0 or what to answer. */
MUST_CHECK int secondary_check(struct local_replica *r, uint64_t version);

#endif
