/* shadow_link.h - the mount's connection to a shadow master, while there is no primary.
 *
 * It begins a moment after the primary was lost, if the mount may read what is not certain to be the
 * newest (client_config.stale_ms), and ends when there is one again. The masters are dialled in turn
 * until one says that it is a shadow; the questions of the calls that wait (master_link.h) are sent to
 * it. Requests name the highest index this mount has seen and a shadow that is not as far refuses, so
 * what programs see never goes back and has all they changed. Refusals (behind, too old, no shadow any
 * more) count as no answer: the call waits, and after some of them another master is asked.
 *
 * A lone master is a shadow, too, while it has records to apply before it may change anything.
 *
 * A mount that never had a session learns the geometry from the shadow: it can be used for reading.
 */
#ifndef FUSE_CORE_SHADOW_LINK_H
#define FUSE_CORE_SHADOW_LINK_H

#include "shared/env/masters.h"
#include "shared/env/rpc.h"

struct client;
struct master_call;

enum shadow_state {
    SHADOW_OFF,     /* there is a primary, or none is to be asked */
    SHADOW_WAITING, /* before it begins, and between dials */
    SHADOW_DIALING,
    SHADOW_HELLO,
    SHADOW_ATTACHING, /* asking for the geometry */
    SHADOW_READY,
};

struct shadow_link {
    struct client *client;
    struct rpc rpc;
    enum shadow_state state;
    struct masters masters;
    uint32_t backoff_ms;
    uint32_t refusals;      /* since the last answer */
    int refusal;            /* the last one, 0 = none since the last answer */
    struct env_timer timer; /* next dial, or the end of patience with this one */
    struct rpc_call control;
    bool used;         /* in this outage */
    uint32_t age_ms;   /* of what the last answer told, when it came */
    uint64_t heard_ns; /* last answer */
};

void shadow_link_init(struct shadow_link *s, struct client *c);
/* There is no primary any more, or one again. */
void shadow_link_begin(struct shadow_link *s);
void shadow_link_end(struct shadow_link *s);
static inline bool shadow_link_ready(const struct shadow_link *s)
{
    return s->state == SHADOW_READY;
}

const char *shadow_link_addr(const struct shadow_link *s); /* who is asked */

/* The rest is for master_link.c. Sends the call's question. */
void shadow_link_send(struct shadow_link *s, struct master_call *m, const struct slice *body);
/* What an answer is worth: true if it is one. May hang up. */
bool shadow_link_heard(struct shadow_link *s, int status, const struct message *reply);

#endif
