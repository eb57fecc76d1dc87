/* placement.c - which servers get the replicas of a chunk. */
#include "master/core/placement.h"

#include <stdio.h>

enum {
    RACK_WEIGHT =
        2 * REPLICAS_MAX + 1, /* one in its rack weighs more than any number on its host */
    HELD = UINT32_MAX,
    LOAD_MAX = 4000, /* permille: above, a server is busy enough */
};

/* How much s would share with the others of the set, leaving out `but` (an id); HELD if it is in
 * it. */
static uint32_t sharing(const struct placement_server *s, const struct placement_server *set,
                        uint32_t count, uint32_t but)
{
    uint32_t racks = 0, hosts = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (set[i].id == but) {
            continue;
        }
        if (set[i].id == s->id) {
            return HELD;
        }
        racks += bytes_equal(set[i].rack, s->rack);
        hosts += bytes_equal(set[i].host, s->host);
    }
    return racks * RACK_WEIGHT + hosts;
}

/* Lower is better. */
static uint32_t rank(const struct placement_server *s, const struct placement_server *have,
                     uint32_t have_count)
{
    uint32_t share = sharing(s, have, have_count, 0);
    return share == HELD ? HELD : share * 2 + s->slow;
}

static uint64_t weight(const struct placement_server *s)
{
    /* Of 4 KiB and bounded: the weights of all disks can be added up. */
    uint64_t room = MIN(s->avail >> 12, 1ull << 40) + 1;
    return room * 1000 / (1000 + MIN(s->load, (uint32_t)LOAD_MAX)) + 1;
}

/* One of the servers that rank best; NULL if all hold the chunk already. */
static const struct placement_server *draw(struct env *env, const struct placement_server *servers,
                                           uint32_t count, const struct placement_server *have,
                                           uint32_t have_count)
{
    uint32_t best = HELD;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t r = rank(&servers[i], have, have_count);
        if (r < best) {
            best = r;
            sum = 0;
        }
        if (r == best) {
            sum += weight(&servers[i]);
        }
    }
    if (best == HELD) {
        return NULL;
    }
    uint64_t at = env_rand64(env) % sum;
    for (uint32_t i = 0; i < count; i++) {
        if (rank(&servers[i], have, have_count) != best) {
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

/* ---------------------------------------------------------------- rows */

static bool is_among(const struct placement_server *servers, uint32_t count, uint32_t id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (servers[i].id == id) {
            return true;
        }
    }
    return false;
}

uint32_t placement_row_next(struct placement_row *r, const struct placement_server *servers,
                            uint32_t count, uint32_t wanted, uint64_t now_ns, uint32_t *out_ids)
{
    if (r->left == 0 || r->wanted != wanted || now_ns - r->last_ns > ROW_GAP_US * 1000ull) {
        return 0;
    }
    for (uint32_t i = 0; i < r->count; i++) {
        if (!is_among(servers, count, r->ids[i])) {
            return 0;
        }
        out_ids[i] = r->ids[i];
    }
    r->left--;
    r->last_ns = now_ns;
    return r->count;
}

void placement_row_begin(struct placement_row *r, const uint32_t *ids, uint32_t count,
                         uint32_t wanted, uint64_t now_ns)
{
    *r = (struct placement_row){
        .count = count, .wanted = wanted, .left = ROW_MAX - 1, .last_ns = now_ns};
    for (uint32_t i = 0; i < count; i++) {
        r->ids[i] = ids[i];
    }
}

/* ---------------------------------------------------------------- moves */

uint32_t placement_crowding(const struct placement_server *set, uint32_t count)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += sharing(&set[i], set, count, set[i].id);
    }
    return sum;
}

uint32_t placement_fill(const struct placement_server *s)
{
    if (s->total == 0) {
        return 0;
    }
    uint64_t total = MAX(s->total >> 20, 1), avail = MIN(s->avail, s->total) >> 20;
    return (uint32_t)((total - MIN(avail, total)) * 1000 / total); /* of MiB: no overflow */
}

bool placement_better(const struct placement_server *members, uint32_t member_count,
                      const struct placement_server *servers, uint32_t count, uint32_t *out_from,
                      uint32_t *out_to)
{
    uint32_t best_gain = 0, best_from_fill = 0, best_to_fill = 0;
    for (uint32_t i = 0; i < member_count; i++) {
        uint32_t from_fill = placement_fill(&members[i]);
        uint32_t now = sharing(&members[i], members, member_count, members[i].id);
        if (now == 0 || now == HELD) {
            continue;
        }
        for (uint32_t j = 0; j < count; j++) {
            uint32_t after = sharing(&servers[j], members, member_count, members[i].id);
            uint32_t to_fill = placement_fill(&servers[j]);
            if (servers[j].id == members[i].id || servers[j].slow || after >= now) {
                continue;
            }
            uint32_t gain = now - after;
            bool better =
                gain > best_gain ||
                (gain == best_gain && (from_fill > best_from_fill ||
                                       (from_fill == best_from_fill && to_fill < best_to_fill)));
            if (better) {
                best_gain = gain;
                best_from_fill = from_fill;
                best_to_fill = to_fill;
                *out_from = members[i].id;
                *out_to = servers[j].id;
            }
        }
    }
    return best_gain > 0;
}

bool placement_level(const struct placement_server *members, uint32_t member_count,
                     const struct placement_server *servers, uint32_t count, uint32_t gap,
                     uint32_t *out_from, uint32_t *out_to)
{
    uint32_t best = 0;
    for (uint32_t i = 0; i < member_count; i++) {
        uint32_t fill = placement_fill(&members[i]);
        uint32_t now = sharing(&members[i], members, member_count, members[i].id);
        for (uint32_t j = 0; j < count && fill >= gap; j++) {
            uint32_t to_fill = placement_fill(&servers[j]);
            if (servers[j].id == members[i].id || servers[j].slow || to_fill + gap > fill ||
                fill - to_fill <= best) {
                continue;
            }
            uint32_t after = sharing(&servers[j], members, member_count, members[i].id);
            if (after <= now) { /* HELD is above any */
                best = fill - to_fill;
                *out_from = members[i].id;
                *out_to = servers[j].id;
            }
        }
    }
    return best > 0;
}

/* ---------------------------------------------------------------- what is missing */

static uint32_t distinct(const struct placement_server *servers, uint32_t count, bool racks)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool seen = false;
        for (uint32_t j = 0; j < i && !seen; j++) {
            seen = racks ? bytes_equal(servers[i].rack, servers[j].rack)
                         : bytes_equal(servers[i].host, servers[j].host);
        }
        n += !seen;
    }
    return n;
}

void placement_missing(const struct placement_server *servers, uint32_t count, uint32_t wanted,
                       char *out, size_t size)
{
    uint32_t racks = distinct(servers, count, true), hosts = distinct(servers, count, false);
    out[0] = 0;
    if (count < wanted) {
        snprintf(out, size,
                 "chunks lack replicas: %u chunkserver%s with room for %u replicas; add %s", count,
                 count == 1 ? "" : "s", wanted,
                 wanted - count == 1 ? "a chunkserver" : "chunkservers");
    } else if (hosts < wanted) {
        snprintf(out, size, "replicas share hosts: %u host%s with room for %u replicas; add %s",
                 hosts, hosts == 1 ? "" : "s", wanted, wanted - hosts == 1 ? "a host" : "hosts");
    } else if (racks < wanted) {
        snprintf(out, size, "replicas share racks: %u rack%s with room for %u replicas; add %s",
                 racks, racks == 1 ? "" : "s", wanted, wanted - racks == 1 ? "a rack" : "racks");
    }
}
