/* server_state.h - what an operator or its own disk said about a chunkserver, and since when it is
 * away: logged, so that a new master knows it too.
 *
 * draining: it gets no new replicas and those it has move to others; failing: the same, its disk
 * said so. maintenance: its absence is waited for until a moment. The moments are on the wall clock
 * in the log and on env's clock in struct chunkserver. Loop thread only.
 */
#ifndef MASTER_CORE_SERVER_STATE_H
#define MASTER_CORE_SERVER_STATE_H

#include "shared/env/rpc.h"

struct master;
struct peer;
struct chunkserver;

#define MAINTENANCE_MS_MAX (366ull * 86400 * 1000)

/* At start: what was logged becomes what holds. */
void server_state_load(struct master *m, struct chunkserver *s);
/* Its disk is no longer trusted, for this reason (not 0), or is again (0): logged if that is new. */
void server_state_failing(struct master *m, struct chunkserver *s, uint32_t reason);
/* Periodic: absences are logged once they are long, and their end; maintenance ends. */
void server_state_tick(struct master *m);

/* `server_set` of an operator. */
void server_state_request(struct peer *p, struct message *msg);
/* Since the server was last heard of, also by masters before this one, ms; UINT64_MAX = not known. */
uint64_t server_silent_ms(const struct master *m, const struct chunkserver *s);
/* How long this master, while it ran, has waited for a heartbeat of it (master_awake_ns); s NULL: of
 * one it does not know. */
uint64_t server_awaited_ns(const struct master *m, const struct chunkserver *s);
/* The answer's picture of one server. Views into s. */
struct server_status server_status_of(const struct master *m, const struct chunkserver *s);

#endif
