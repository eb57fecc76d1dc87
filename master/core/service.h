/* service.h - connections to the master and what their requests do.
 *
 * A connection introduces itself with `hello`; what its role does not allow is refused. A
 * connection that breaks the protocol gets one answer, one log line, and is closed.
 * Loop thread only.
 */
#ifndef MASTER_CORE_SERVICE_H
#define MASTER_CORE_SERVICE_H

#include "shared/env/rpc.h"

struct master;
struct peer;

/* env_accept_cb; owner is the master. */
void service_accept(void *owner, struct env_conn *c);
/* Stops listening to a peer; it is hung up a little later. */
void service_close_soon(struct peer *p);
/* Hangs up peers whose time has come. */
void service_tick(struct master *m);
void service_free_peers(struct master *m);

/* Runs one mutation of a client, or its open for writing, and answers it. */
void service_mutation(struct peer *p, const struct frame_header *head, struct bytes body);
/* Reads and answers an operation of class QUERY that the namespace or the client's service knows. */
void service_query(struct peer *p, const struct frame_header *head, struct bytes body);
/* Ends sessions that were silent too long. */
void service_expire(struct master *m);

/* Handlers by kind of asker: true if the operation was theirs. */
bool service_client(struct peer *p, struct message *msg);
bool service_cluster(struct peer *p, struct message *msg);
bool service_admin(struct peer *p, struct message *msg);
bool service_replicas(struct peer *p, struct message *msg);

#endif
