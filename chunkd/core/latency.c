/* latency.c - how long the disk and other chunkservers took lately. */
#include "chunkd/core/latency.h"

uint32_t mean_time_us(const struct mean_time *t)
{
    if (t->count == 0) {
        return 0;
    }
    return (uint32_t)MIN(t->ns / t->count / 1000 + 1, (uint64_t)UINT32_MAX);
}

void latency_of_peer(struct latency *l, uint32_t server, uint64_t ns)
{
    for (uint32_t i = 0; i < l->peer_count; i++) {
        if (l->peers[i].server == server) {
            mean_time_add(&l->peers[i].time, ns);
            return;
        }
    }
    if (l->peer_count < LATENCY_PEERS) {
        l->peers[l->peer_count++] = (struct peer_time){.server = server, .time = {ns, 1}};
    }
}

uint32_t latency_take(struct latency *l, struct writer *w)
{
    uint32_t disk_us = mean_time_us(&l->disk);
    for (uint32_t i = 0; i < l->peer_count; i++) {
        uint32_t us = mean_time_us(&l->peers[i].time);
        enc_u32(w, &l->peers[i].server);
        enc_u32(w, &us);
    }
    *l = (struct latency){0};
    return disk_us;
}
