/* quarrels.c - pairs of servers that failed each other lately. */
#include "master/core/quarrels.h"

void quarrels_note(struct quarrels *q, const struct quarrel *what)
{
    q->ring[q->next] = *what;
    q->next = (q->next + 1) % QUARRELS_MAX;
}

uint64_t quarrels_until(const struct quarrels *q, uint64_t handle, uint32_t a, uint32_t b,
                        uint64_t now_ns)
{
    uint64_t until = 0;
    for (uint32_t i = 0; i < QUARRELS_MAX; i++) {
        const struct quarrel *one = &q->ring[i];
        bool same =
            (one->primary == a && one->failed == b) || (one->primary == b && one->failed == a);
        if (one->handle == handle && same && one->until_ns > now_ns && one->until_ns > until) {
            until = one->until_ns;
        }
    }
    return until;
}

bool quarrels_failed(const struct quarrels *q, uint64_t handle, uint32_t server, uint64_t now_ns)
{
    for (uint32_t i = 0; i < QUARRELS_MAX; i++) {
        const struct quarrel *one = &q->ring[i];
        if (one->handle == handle && one->failed == server && one->until_ns > now_ns) {
            return true;
        }
    }
    return false;
}
