/* bandwidth.c - how much of one chunkserver copies may take. */
#include "master/core/bandwidth.h"
#include "shared/base/bytes.h"
#include "shared/env/env.h"

static uint64_t per_second(uint64_t bytes, uint64_t ns)
{
    return ns == 0 ? 0 : (uint64_t)((double)bytes * (double)NS_PER_S / (double)ns);
}

void bandwidth_heard(struct bandwidth *b, uint64_t now_ns, uint64_t client_bytes, uint64_t copied)
{
    b->bytes += MIN(client_bytes, UINT64_MAX / 4) + MIN(copied, UINT64_MAX / 4);
    b->client_bytes += MIN(client_bytes, UINT64_MAX / 4);
    if (b->since_ns == 0) { /* the first one covers an unknown time */
        b->since_ns = now_ns;
        b->bytes = b->client_bytes = 0;
        return;
    }
    uint64_t ns = now_ns - b->since_ns;
    if (per_second(client_bytes, MAX(ns, NS_PER_S)) >= CLIENT_LEAST) {
        b->client_ns = now_ns;
    }
    if (ns < RATE_WINDOW_MS * NS_PER_MS) {
        return;
    }
    b->peak = MAX(b->peak, per_second(b->bytes, ns));
    if (per_second(b->client_bytes, ns) >= CLIENT_LEAST) {
        b->client_ns = now_ns;
    }
    b->since_ns = now_ns;
    b->bytes = b->client_bytes = 0;
}

uint64_t bandwidth_limit(const struct bandwidth *b, uint64_t now_ns, uint32_t share)
{
    bool served = b->client_ns != 0 && now_ns - b->client_ns < CLIENT_HOLD_MS * NS_PER_MS;
    if (share >= 100 || !served) {
        return BANDWIDTH_FREE;
    }
    return MAX((uint64_t)SHARE_FLOOR, b->peak / 100 * share);
}

bool bandwidth_may_start(struct bandwidth *b, uint64_t now_ns, uint32_t share)
{
    uint64_t limit = bandwidth_limit(b, now_ns, share);
    uint64_t ns = now_ns - b->tokens_ns;
    b->tokens_ns = now_ns;
    if (limit == BANDWIDTH_FREE || ns > 3600 * NS_PER_S) {
        b->tokens = 0; /* debts end with the clients' traffic */
        return true;
    }
    double more = (double)limit * (double)ns / (double)NS_PER_S;
    b->tokens =
        (int64_t)MIN((double)b->tokens + more, (double)limit); /* at most a second's worth */
    return b->tokens >= 0;
}

void bandwidth_take(struct bandwidth *b, uint64_t bytes)
{
    b->tokens -= (int64_t)MIN(bytes, (uint64_t)INT64_MAX / 2);
}
