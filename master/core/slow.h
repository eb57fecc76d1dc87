/* slow.h - chunkservers that are much slower than their peers.
 *
 * A disk or network card that still answers, but ten times as slowly as the others, holds up every
 * write it takes part in. Chunkservers tell with their heartbeats how long their disk took and how
 * long the others took to answer their forwards. A server whose figure is above four times the
 * median of the others' and above a floor for a whole window is slow; it ceases to be when it was
 * below half of that for a window. At most a tenth of the servers are slow at a time, but one may
 * always be: if many are, the load is the reason. What a slow server is spared: new replicas,
 * primaryships, readers, as far as others are there. Never safety: it counts as a full member.
 * Pure but for the log line; loop thread only.
 */
#ifndef MASTER_CORE_SLOW_H
#define MASTER_CORE_SLOW_H

#include "shared/base/bytes.h"

enum { SLOW_TIMES = 4, SLOW_SERVERS_SHARE = 10, SLOW_OTHERS_MIN = 2 };

/* Part of struct chunkserver. */
struct slow_track {
    uint64_t disk_us, peer_us;       /* means over about a quarter of the window; 0 = not known */
    uint64_t disk_at_ns, peer_at_ns; /* when they were told last */
    uint64_t over_ns, under_ns;      /* since when it stands out, and since when it does not; 0 */
};

/* A mean with a new figure, which stands for the time that passed since the last one. */
uint64_t slow_mean(uint64_t mean, uint32_t figure, uint64_t passed_ns, uint64_t window_ns);

enum slow_look { SLOW_UNDER, SLOW_BETWEEN, SLOW_OVER };
/* A figure against those of the others (0 = not known, ignored; the array is reordered). */
enum slow_look slow_compare(uint64_t figure, uint64_t *others, uint32_t count, uint64_t floor);
/* Takes what was found at `now` into the track: whether the server is to be slow from now on. */
bool slow_step(struct slow_track *t, bool slow, enum slow_look look, uint64_t now_ns,
               uint64_t window_ns);

struct master;
struct chunkserver;
struct heartbeat_req;

/* A heartbeat's figures: of its own disk, and of those it forwards to. */
void slow_heard(struct master *m, struct chunkserver *s, const struct heartbeat_req *req);
/* Looks at all servers, at most once a second. */
void slow_tick(struct master *m);

#endif
