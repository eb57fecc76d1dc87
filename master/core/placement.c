/* placement.c - which servers get the replicas of a chunk. */
#include "master/core/placement.h"
#include "shared/base/limits.h"

/* How badly a server would share: replicas in its rack weigh more than any number on its host. */
static uint32_t sharing(const struct placement_server *s, const struct placement_server *have,
                        uint32_t have_count)
{
    uint32_t racks = 0, hosts = 0;
    for (uint32_t i = 0; i < have_count; i++) {
        if (have[i].id == s->id) {
            return UINT32_MAX;
        }
        racks += bytes_equal(have[i].rack, s->rack);
        hosts += bytes_equal(have[i].host, s->host);
    }
    return racks * (2 * REPLICAS_MAX + 1) + hosts;
}

static uint64_t weight(const struct placement_server *s)
{
    return (s->avail >> 12) + 1; /* of 4 KiB: sums of many disks do not overflow */
}

/* One of the servers that share least; NULL if all hold the chunk already. */
static const struct placement_server *draw(struct env *env, const struct placement_server *servers,
                                           uint32_t count, const struct placement_server *have,
                                           uint32_t have_count)
{
    uint32_t least = UINT32_MAX;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t s = sharing(&servers[i], have, have_count);
        if (s < least) {
            least = s;
            sum = 0;
        }
        if (s == least) {
            sum += weight(&servers[i]);
        }
    }
    if (least == UINT32_MAX) {
        return NULL;
    }
    uint64_t at = env_rand64(env) % sum;
    for (uint32_t i = 0; i < count; i++) {
        if (sharing(&servers[i], have, have_count) != least) {
            continue;
        }
        if (at < weight(&servers[i])) {
            return &servers[i];
        }
        at -= weight(&servers[i]);
    }
    UNREACHABLE();
}

uint32_t placement_choose(struct env *env, const struct placement_server *servers, uint32_t count,
                          const struct placement_server *have, uint32_t have_count, uint32_t wanted,
                          uint32_t *out_ids)
{
    ASSERT(wanted <= REPLICAS_MAX && have_count <= REPLICAS_MAX);
    struct placement_server taken[2 * REPLICAS_MAX];
    uint32_t picked = 0;
    for (uint32_t i = 0; i < have_count; i++) {
        taken[i] = have[i];
    }
    while (picked < wanted) {
        const struct placement_server *s = draw(env, servers, count, taken, have_count + picked);
        if (s == NULL) {
            break;
        }
        taken[have_count + picked] = *s;
        out_ids[picked++] = s->id;
    }
    return picked;
}
