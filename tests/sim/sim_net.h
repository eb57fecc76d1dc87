/* sim_net.h - connections between simulated processes.
 *
 * Frames arrive whole and in order, each after a drawn delay; their headers are encoded and checked
 * on the way and their bytes copied into buffers of exactly their size. A connection may be cut at
 * any moment, also in the middle of a frame: of what is in flight to an end nothing arrives any
 * more, or what went before, perhaps late, when the other end has long come back with a new one;
 * both ends hear of it (ERR_DISCONNECTED), each at its own time. A block between two processes holds frames back, as retransmission does, until it ends
 * or the connection is cut.
 */
#ifndef TESTS_SIM_SIM_NET_H
#define TESTS_SIM_SIM_NET_H

#include "shared/env/env.h"
#include "tests/sim/sim.h"

/* env_ops of the same names. */
struct env_conn *sim_net_dial(struct sim_process *p, const char *addr, const struct conn_events *ev,
                              void *owner);
int sim_net_listen(struct sim_process *p, const char *addr, env_accept_cb cb, void *owner);
void sim_net_bind(struct env_conn *c, const struct conn_events *ev, void *owner);
void sim_net_send(struct env_conn *c, struct message *m);
uint64_t sim_net_queued(struct env_conn *c);
void sim_net_hangup(struct env_conn *c);
const char *sim_net_peer_name(struct env_conn *c);

/* Cuts one random established connection; false if there is none. */
bool sim_net_cut_one(struct sim *s, struct sim_rand *r);
/* One random connection is cut in the frame that holds the byte `bytes` from now, either way; or that frame
 * arrives damaged. */
bool sim_net_cut_at(struct sim *s, struct sim_rand *r, uint64_t bytes);
/* Frames from `from` to `to` are held for `ns`. */
void sim_net_block(struct sim *s, struct sim_process *from, struct sim_process *to, uint64_t ns);
/* Ends all blocks; no connection is about to be cut. */
void sim_net_heal(struct sim *s);

/* The process is gone: no callback of it runs; peers hear of it soon, or late if the machine is
 * gone. */
void sim_net_process_gone(struct sim_process *p, bool power_cut);
/* Frees the ends of a process whose core was destroyed. */
void sim_net_process_free(struct sim_process *p);
/* The frame that arrived is dealt with, or whom it came to has died of it. */
void sim_net_delivered(struct sim *s);
/* Frees ends that nobody uses any more; called between events. */
void sim_net_sweep(struct sim *s);
void sim_net_close(struct sim *s);

#endif
