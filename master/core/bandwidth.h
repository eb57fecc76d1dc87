/* bandwidth.h - how much of one chunkserver's disk and network copies may take.
 *
 * Chunkservers tell with each heartbeat what they served to clients and to copies. While clients are
 * served, copies from and to the server are held to a share of its capacity; otherwise they run as
 * fast as they can. It is told the rate with the answer, and holds copies under way to it, too.
 * Nobody tells the capacity: the highest rate seen stands for it, and a floor
 * while little was seen.
 *
 * So that few share what there is, and an urgent one need not wait for many, a copy starts only when
 * there are tokens. They are bytes: it takes those of its chunk then, and one may go into debt.
 * Pure.
 */
#ifndef MASTER_CORE_BANDWIDTH_H
#define MASTER_CORE_BANDWIDTH_H

#include <stdbool.h>
#include <stdint.h>

#define BANDWIDTH_FREE UINT64_MAX /* no limit */

enum {
    SHARE_FLOOR = 8 << 20, /* bytes a second copies may always take */
    CLIENT_HOLD_MS =
        2000, /* clients count as served for so long after the last heartbeat that said so */
    CLIENT_LEAST = 64 << 10, /* bytes a second below which clients do not count */
    RATE_WINDOW_MS = 1000,   /* rates are measured over at least this */
};

struct bandwidth {
    uint64_t since_ns, bytes; /* of the window being measured */
    uint64_t client_bytes;
    uint64_t peak;      /* bytes a second, the highest seen */
    uint64_t client_ns; /* when clients were served last; 0 = never */
    int64_t tokens;
    uint64_t tokens_ns; /* as of */
};

/* A heartbeat came. */
void bandwidth_heard(struct bandwidth *b, uint64_t now_ns, uint64_t client_bytes, uint64_t copied);
/* Bytes a second that copies may take now; BANDWIDTH_FREE without clients or with share 100. */
uint64_t bandwidth_limit(const struct bandwidth *b, uint64_t now_ns, uint32_t share);
/* May a copy start now? */
bool bandwidth_may_start(struct bandwidth *b, uint64_t now_ns, uint32_t share);
/* One starts. */
void bandwidth_take(struct bandwidth *b, uint64_t bytes);

#endif
