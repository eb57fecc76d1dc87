/* grants_source.c - which of the prepared replicas the others copy from, and whether one that did
 * not answer may be better.
 *
 * A write is acknowledged when every member applied it. A replica that lost nothing therefore holds
 * all that was acknowledged; one that is suspect after a power cut, or was made just now in place
 * of one that is gone, may not.
 */
#include "master/core/grants_internal.h"

static int state_rank(uint32_t state)
{
    switch (state) {
    case REPLICA_OK:
        return 3;
    case REPLICA_SUSPECT:
        return 2;
    case REPLICA_BAD:
        return 1;
    default:
        return 0;
    }
}

/* Prepared members that hold the same bytes as this one. */
static uint32_t agreeing(const struct grant *g, const struct replica *r)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->part_count; i++) {
        const struct part *p = &g->parts[i];
        n += p->state == PART_READY && !p->added && p->replica.digest == r->digest &&
             p->replica.length == r->length;
    }
    return n;
}

/* The member has no replica of the chunk's first version, and its process did not change since the
 * chunk was made: nothing was ever acknowledged under it. */
static bool proves_empty(const struct part *p)
{
    const struct chunkserver *s = servers_get(&p->grant->m->servers, p->server);
    return p->replica.version != 0 && !p->added && p->replica.previous == 0 &&
           p->grant->handle >= s->first_handle;
}

/* A member that lost nothing has what was acknowledged. What some have beyond it is kept if there is
 * room for it on the others; else they are made equal to the one with least, which takes none. */
static bool least_is_enough(const struct part *least)
{
    return least->grant->no_room && least->replica.state == REPLICA_OK &&
           (least->replica.previous != 0 || proves_empty(least));
}

/* Acknowledged bytes are on every member that lost nothing: of replicas with as many mutations,
 * those that agree are believed. */
static bool better(const struct part *p, const struct part *q)
{
    const struct grant *g = p->grant;
    const struct replica *a = &p->replica, *b = &q->replica;
    if ((a->previous == 0) != (b->previous == 0)) {
        /* One was made just now: there is nothing in it. */
        return (b->previous == 0) != least_is_enough(b->previous == 0 ? q : p);
    }
    if (state_rank(a->state) != state_rank(b->state)) {
        return state_rank(a->state) > state_rank(b->state);
    }
    if (a->previous != b->previous) {
        return a->previous > b->previous;
    }
    if (a->mutation != b->mutation) {
        const struct part *least = a->mutation < b->mutation ? p : q;
        return (least == q) != least_is_enough(least);
    }
    if (agreeing(g, a) != agreeing(g, b)) {
        return agreeing(g, a) > agreeing(g, b);
    }
    return a->length > b->length;
}

uint32_t grant_best_source(const struct grant *g)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < g->part_count; i++) {
        const struct part *p = &g->parts[i];
        if (p->state == PART_READY && !p->added &&
            (best == UINT32_MAX || better(p, &g->parts[best]))) {
            best = i;
        }
    }
    return best;
}

bool grant_lost_nothing(const struct part *p)
{
    const struct replica *source = &p->grant->parts[p->grant->source].replica;
    return proves_empty(p) ||
           (!p->added && p->replica.previous != 0 && p->replica.state == REPLICA_OK &&
            p->replica.previous == source->previous);
}

/* Whether the best replica may lack acknowledged bytes that another member holds. That it is damaged may
 * show only when the others copy from it. */
static bool may_lack(const struct grant *g)
{
    const struct replica *best = &g->parts[g->source].replica;
    if (best->state == REPLICA_OK && best->previous != 0 && !g->lacking) {
        return false;
    }
    for (uint32_t i = 0; i < g->part_count; i++) {
        if (g->parts[i].state == PART_READY && proves_empty(&g->parts[i])) {
            return false;
        }
    }
    return true;
}

bool grant_better_may_come(struct grant *g)
{
    if (!may_lack(g)) {
        return false;
    }
    if (g->complained != 0) {
        g->complained = 0;
        g->rotate = true;
        return true;
    }
    for (uint32_t i = 0; i < g->part_count; i++) {
        const struct part *p = &g->parts[i];
        if (p->state == PART_OUT && !p->added && p->status == ERR_DISCONNECTED &&
            !repair_away_long(g->m, p->server)) {
            return true;
        }
    }
    return false;
}
