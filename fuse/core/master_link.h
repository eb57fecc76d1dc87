/* master_link.h - the mount's connection to the master, its session, and the calls over both.
 *
 * Dials the masters in turn until one serves, introduces the mount, opens a session once and
 * attaches it on every connection. A master_call waits until it is answered: after a broken
 * connection it is sent again, a mutation under the sequence number it had. ERR_NOT_READY and
 * ERR_BUSY are asked again later.
 *
 * If the master says that the session has ended, a new one is opened. Mutations that may or may not
 * have happened under the old one fail with -EIO; what certainly did not happen, and what may
 * happen twice, is sent again.
 */
#ifndef FUSE_CORE_MASTER_LINK_H
#define FUSE_CORE_MASTER_LINK_H

#include "shared/base/list.h"
#include "shared/env/rpc.h"

struct client;

enum { MASTERS_MAX = 16 };

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
    char addrs[MASTERS_MAX][256];
    uint32_t addr_count;
    uint32_t addr_next;
    uint32_t backoff_ms;
    struct env_timer dial_timer; /* next dial, or the end of patience with this one */
    struct env_timer tick_timer; /* keep-alive */
    struct rpc_call control;     /* hello, session_open, session_attach */
    struct rpc_call renew;
    uint64_t renewed_ns; /* last renewal sent */
    uint64_t heard_ns;   /* last answer */
    bool was_ready;

    uint64_t cluster; /* id; 0 = not known */
    uint64_t nonce;
    uint64_t session; /* 0 = none */
    uint64_t last_sequence;
    uint64_t index;  /* highest seen */
    uint32_t epoch;  /* highest seen */
    uint64_t *opens; /* inodes to attach, while attaching */
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
    bool twice_ok; /* a mutation that may be applied twice */
    bool once;     /* not sent again: ends with ERR_DISCONNECTED */
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
    bool is_held;
    bool paused; /* waiting in `retry` */
};

void master_link_init(struct master_link *l, struct client *c);
void master_link_start(struct master_link *l);
void master_link_stop(struct master_link *l); /* hangs up; calls stay where they are */

/* Sends request `op` with the encoded `body` (reference taken), now or when a master serves. */
void master_call(struct master_link *l, struct master_call *m, uint16_t op, struct slice body);
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
