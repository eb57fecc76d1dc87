/* rpc.h - requests and answers in both directions over one connection.
 *
 * Pure (only env). An rpc owns its connection. Requests carry an id; answers find their call by it,
 * in any order. A call ends exactly once, never from inside rpc_call: with the answer, by time, or
 * because the connection went away (ERR_DISCONNECTED) or rpc_close was called.
 */
#ifndef SHARED_ENV_RPC_H
#define SHARED_ENV_RPC_H

#include "shared/base/hmap.h"
#include "shared/base/list.h"
#include "shared/env/env.h"
#include "shared/proto/schema.h"

struct rpc;

struct rpc_events {
    void (*on_open)(void *owner, struct rpc *r); /* dialled only */
    /* A request of the peer: answer it now or later with rpc_answer (keep head, slice_ref the
     * rest). NULL: this side serves nothing, and answers ERR_UNKNOWN_OP. */
    void (*on_request)(void *owner, struct rpc *r, struct message *m);
    /* The connection is gone; all calls have ended. The rpc may be dialled again or freed from
     * here. */
    void (*on_close)(void *owner, struct rpc *r, int err);
};

struct rpc {
    struct env *env;
    struct env_conn *conn; /* NULL = closed */
    const struct rpc_events *events;
    void *owner;
    bool open;          /* requests reach the peer */
    struct hmap calls;  /* unanswered, by request id */
    struct list ending; /* calls that failed at once and wait for the next turn of the loop */
    struct env_timer end_timer;
    uint64_t next_id;
};

/* One request of ours. Embedded in its owner; may be reused once done ran. */
struct rpc_call {
    void (*done)(struct rpc_call *c);
    void *owner;           /* the caller's */
    int status;            /* answer's status, or ERR_DISCONNECTED, ERR_TIMEOUT, ERR_PROTOCOL */
    struct message *reply; /* valid inside done; NULL if there was no answer */
    /* private */
    struct rpc *rpc; /* NULL = not running */
    struct hmap_node node;
    struct list link;
    struct env_timer timer;
    uint64_t id;
    uint16_t op;
};

void rpc_init(struct rpc *r, struct env *env, const struct rpc_events *ev, void *owner);
void rpc_dial(struct rpc *r, const char *addr); /* must be closed */
void rpc_accept(struct rpc *r, struct env_conn *c);
/* Ends every call (done with ERR_DISCONNECTED runs inside) and hangs up; on_close is not called. */
void rpc_close(struct rpc *r);

/* Send a request. `op`, `session`, `sequence`, `acked`, `index`, `epoch` and the flag FRAME_ANY_AGE
 * of `head` are used; `body`
 * and `payload` references are taken (payload may be NULL). timeout_ms 0 = wait for ever. */
void rpc_call(struct rpc *r, struct rpc_call *c, const struct frame_header *head, struct slice body,
              struct slice *payload, uint32_t timeout_ms);
/* Forget a running call: done will not run. Fine if it is not running. */
void rpc_cancel(struct rpc_call *c);
static inline bool rpc_call_running(const struct rpc_call *c)
{
    return c->rpc != NULL;
}

/* Answer the request with header `request`; of its flags FRAME_PROMISES go into the answer, and its
 * age_ms, which is 0 as received. `index` and `epoch` go there, too (0 if none). Takes the
 * references; payload may be NULL. Nothing happens if the connection is gone. */
void rpc_answer(struct rpc *r, const struct frame_header *request, int status, uint64_t index,
                uint32_t epoch, struct slice body, struct slice *payload);
/* Answer with a status and nothing else. */
void rpc_answer_status(struct rpc *r, const struct frame_header *request, int status);

/* View of a message's body or payload. */
static inline struct bytes slice_bytes(const struct slice *s)
{
    return bytes_of(slice_data(s), s->len);
}

/* Encode a request or answer into a slice: RPC_BODY(mkdir_req, &req). */
#define RPC_BODY(kind, m)                                                                          \
    ({                                                                                             \
        struct writer rpc_w_;                                                                      \
        writer_init(&rpc_w_);                                                                      \
        kind##_encode(&rpc_w_, m);                                                                 \
        writer_take(&rpc_w_);                                                                      \
    })
/* Decode the answer of a call inside done: 0, the call's failure, or ERR_PROTOCOL. */
#define RPC_REPLY(kind, call, out)                                                                 \
    ((call)->status != 0 ? (call)->status                                                          \
                         : kind##_rep_decode(slice_bytes(&(call)->reply->body), out))

#endif
