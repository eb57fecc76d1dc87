/* master_link.h - the mount's connection to the master, its session, and the calls over both.
 *
 * Dials the masters in turn, and whom they name as the primary, until one says that it is; then
 * introduces the mount, opens a session once and attaches it on every connection. A master_call waits
 * until it is answered: after a broken connection it is sent again, also to another master, a mutation
 * under the sequence number it had. ERR_NOT_READY and ERR_BUSY are asked again later. Of several masters
 * that call themselves primary the one of the highest epoch is right: what others answer is no answer.
 *
 * While there is no primary, questions may be answered by a shadow (shadow_link.h).
 *
 * If the master says that the session has ended, a new one is opened. Mutations that may or may not
 * have happened under the old one fail with -EIO; what certainly did not happen, and what may
 * happen twice, is sent again.
 */
#ifndef FUSE_CORE_MASTER_LINK_H
#define FUSE_CORE_MASTER_LINK_H

#include "fuse/core/shadow_link.h"
#include "shared/base/list.h"
#include "shared/env/masters.h"
#include "shared/env/rpc.h"

struct client;

enum master_state {
    MASTER_CLOSED, /* waiting to dial */
    MASTER_DIALING,
    MASTER_HELLO,
    MASTER_OPENING,   /* session_open */
    MASTER_ATTACHING, /* session_attach */
    MASTER_READY,
    MASTER_REFUSED, /* another cluster: for good */
    MASTER_STOPPED,
};

struct master_link {
    struct client *client;
    struct rpc rpc;
    enum master_state state;
    struct masters masters;
    uint32_t foreign; /* of this round: belong to another cluster */
    uint64_t lost_ns; /* since when there is no primary; 0 = there is one */
    uint32_t backoff_ms;
    struct env_timer dial_timer; /* next dial, or the end of patience with this one */
    struct env_timer tick_timer; /* keep-alive */
    struct rpc_call control;     /* hello, session_open, session_attach */
    struct rpc_call renew;
    struct shadow_link shadow;
    uint64_t renewed_ns; /* last renewal sent */
    uint64_t heard_ns;   /* last answer */
    bool was_ready;

    uint64_t cluster; /* id; 0 = not known */
    uint64_t nonce;
    uint64_t session; /* 0 = none */
    uint64_t last_sequence;
    uint64_t index;       /* highest seen */
    uint32_t index_epoch; /* of the master that told it */
    uint32_t epoch;       /* highest seen of a primary */
    uint64_t *opens;      /* inodes to attach, while attaching */
    uint32_t open_count;
    uint32_t open_writing; /* the first of them: those it may have written to */
    uint32_t open_next;

    struct list calls;     /* unanswered master_calls, oldest first */
    struct list mutations; /* those with a sequence number, in its order */
    uint32_t held;         /* mutations waiting for room in the session's window */

    /* Geometry, from session_attach. */
    uint32_t chunk_bytes;
    uint32_t block_bytes;
    uint32_t session_ms;
    uint32_t request_timeout_ms;
};

/* One request to the master, embedded in its owner; zero it before master_call. */
struct master_call {
    void (*done)(struct master_call *m); /* inside enter/leave */
    void *owner;
    bool twice_ok;     /* a mutation that may be applied twice */
    bool once;         /* not sent again: ends with ERR_DISCONNECTED */
    bool primary_only; /* a question no shadow may answer */
    bool by_shadow;    /* inside done: one did */
    int status;
    struct message *reply; /* valid inside done; NULL without an answer */
    uint32_t sends;        /* how often it was sent */
    uint64_t sent_ns;      /* the first time */
    /* private */
    struct master_link *link;
    struct list call_link; /* unlinked = not running */
    struct list mutation_link;
    struct rpc_call rpc;
    struct env_timer retry;
    struct slice body;
    uint64_t sequence;
    uint32_t backoff_ms;
    uint16_t op;
    bool mutation;
    bool question;  /* a shadow may answer it */
    bool at_shadow; /* one was asked */
    bool is_held;
    bool paused; /* waiting in `retry` */
};

void master_link_init(struct master_link *l, struct client *c);
void master_link_start(struct master_link *l);
void master_link_stop(struct master_link *l); /* hangs up; calls stay where they are */

/* Sends request `op` with the encoded `body` (reference taken), now or when a master serves. */
void master_call(struct master_link *l, struct master_call *m, uint16_t op, struct slice body);
/* A shadow serves: sends it the questions that wait. */
void master_calls_to_shadow(struct master_link *l);
/* A primary may be there: it is dialled next. */
void master_link_hint(struct master_link *l, const char *addr);
bool master_link_several(const struct master_link *l); /* masters are known */
/* Takes the cluster's geometry over. ERR_PROTOCOL: it makes no sense; -EINVAL: it is not what it was. */
int master_link_geometry(struct master_link *l, const struct session_attach_rep *rep);
/* The mount can be used from now on. */
void master_link_usable(struct master_link *l);

/* Forgets a running call: done does not run. Fine if it is not running. */
void master_call_cancel(struct master_call *m);
bool master_call_running(const struct master_call *m);
/* True once a request is or may be with the master. */
static inline bool master_call_sent(const struct master_call *m)
{
    return m->sends > 0;
}

/* Decode a master_call's answer inside done. */
#define MASTER_REPLY(kind, m, out)                                                                 \
    ((m)->status != 0 ? (m)->status : kind##_rep_decode(slice_bytes(&(m)->reply->body), out))

#endif
