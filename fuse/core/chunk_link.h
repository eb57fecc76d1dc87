/* chunk_link.h - chunkservers as the mount knows them, and requests to them.
 *
 * A peer is learned from the masters' answers and remembered by its id. Its connection is dialled
 * when it is needed, greeted with the cluster's id, and closed after a minute without a request. A
 * chunk_call is sent once and ends once: with the answer, ERR_TIMEOUT, or ERR_DISCONNECTED;
 * repeating is its owner's business.
 */
#ifndef FUSE_CORE_CHUNK_LINK_H
#define FUSE_CORE_CHUNK_LINK_H

#include "fuse/core/client.h"

enum { NEAR_HOST, NEAR_RACK, NEAR_NOT };

struct chunk_peer {
    struct hmap_node node; /* client.peers */
    struct client *client;
    uint32_t id;
    char addr[256];
    char host[64];
    char rack[64];
    struct rpc rpc;
    bool greeted; /* hello was sent; requests may follow it */
    struct rpc_call hello;
    struct list queue;      /* chunk_calls waiting for the connection */
    struct env_timer timer; /* dialling: end of patience; open: idle */
    uint64_t used_ns;       /* last request */
    uint64_t failed_ns;     /* last broken connection or timeout; 0 = none since an answer */
};

/* Embedded in its owner; zero it before the first use. */
struct chunk_call {
    void (*done)(struct chunk_call *k); /* inside enter/leave */
    void *owner;
    int status;
    struct message *reply; /* valid inside done; NULL without an answer */
    /* private */
    struct chunk_peer *peer; /* NULL = not running */
    struct list link;        /* in peer.queue */
    struct rpc_call rpc;
    uint16_t op;
    struct slice body;
    struct slice payload;
    uint32_t timeout_ms;
};

void chunk_links_init(struct client *c);
/* Hangs up; running calls end, later ones wait for ever. */
void chunk_links_close(struct client *c);
void chunk_links_free(struct client *c); /* after close; no call may be running */

/* The peer the master described; its address may have changed. NULL if it makes no sense. */
struct chunk_peer *chunk_peer_learn(struct client *c, const struct server *s);
/* NULL if never learned. */
struct chunk_peer *chunk_peer_get(struct client *c, uint32_t id);
/* How far it is: NEAR_*. */
int chunk_peer_distance(const struct chunk_peer *p);
/* True if it failed within the last seconds: ask it last. */
bool chunk_peer_doubtful(const struct chunk_peer *p);
void chunk_peer_describe(const struct chunk_peer *p, struct server *out); /* views into p */

/* References of body and payload (may be NULL) are taken. */
void chunk_call_start(struct chunk_peer *p, struct chunk_call *k, uint16_t op, struct slice body,
                      struct slice *payload, uint32_t timeout_ms);
void chunk_call_cancel(struct chunk_call *k); /* fine if it is not running */

#endif
