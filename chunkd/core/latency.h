/* latency.h - how long the disk and other chunkservers took lately, for the master to compare
 * servers with.
 *
 * Means since they were taken last (with each heartbeat). Pure.
 */
#ifndef CHUNKD_CORE_LATENCY_H
#define CHUNKD_CORE_LATENCY_H

#include "shared/proto/codec.h"

enum { LATENCY_PEERS = 64 }; /* told of in one heartbeat; more are passed over until the next */

struct mean_time {
    uint64_t ns, count;
};

struct latency {
    struct mean_time disk;
    struct peer_time {
        uint32_t server;
        struct mean_time time;
    } peers[LATENCY_PEERS];
    uint32_t peer_count;
};

static inline void mean_time_add(struct mean_time *t, uint64_t ns)
{
    t->ns += ns;
    t->count++;
}
/* Microseconds, rounded up, so that 0 is only what never happened. */
uint32_t mean_time_us(const struct mean_time *t);

void latency_of_peer(struct latency *l, uint32_t server, uint64_t ns);
/* The disk's mean, and u32 server, u32 microseconds of each peer to w; everything starts anew. */
uint32_t latency_take(struct latency *l, struct writer *w);

#endif
