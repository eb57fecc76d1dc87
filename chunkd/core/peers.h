/* peers.h - our connections to other chunkservers, by number and address, made on demand.
 *
 * A call goes out at once; a connection that is not up yet carries it after its hello. A lost
 * connection ends its calls (ERR_DISCONNECTED); the next call dials again.
 */
#ifndef CHUNKD_CORE_PEERS_H
#define CHUNKD_CORE_PEERS_H

#include "shared/env/rpc.h"

struct peers {
    struct env *env;
    struct hmap by_addr; /* struct peer */
    const uint64_t *cluster;
    const char *name; /* cluster name */
    uint32_t most;
};

/* At most so many connections at a time. */
void peers_init(struct peers *p, struct env *env, const uint64_t *cluster, const char *name,
                uint32_t most);
void peers_close(struct peers *p); /* no call may be running */
/* As rpc_call, to chunkserver `server` at `addr`; 0 = whoever is there. ERR_BUSY: too many peers;
 * the call was not made and the references not taken. */
MUST_CHECK int peers_call(struct peers *p, uint32_t server, struct bytes addr,
                          struct rpc_call *call, const struct frame_header *head, struct slice body,
                          struct slice *payload, uint32_t timeout_ms);

#endif
