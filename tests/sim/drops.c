/* drops.c - no member of a chunk is told to remove its replica, and nobody before two members
 * confirmed theirs. */
#include "tests/sim/drops.h"
#include "shared/base/mem.h"

#include <string.h>

struct drop {
    uint64_t index;
    uint64_t at_ns;
    uint64_t handle;
    uint32_t chunkd;   /* its number in the world */
    uint32_t reported; /* chunkservers that have told this master what they have: bits */
};

/* What a master was told. */
struct listener {
    uint32_t reported;
    uint64_t until_ns[WORLD_SERVERS_MAX]; /* and not anew since they registered again, then */
    uint64_t starts;                      /* of it, when they told it */
    uint32_t epoch;                       /* newest that it used */
    /* What an earlier process, up to this epoch, asked for may arrive when it is gone. */
    uint32_t old_epoch, old_reported;
};

struct drops {
    struct world *world;
    struct drop *all; /* in order of arrival, so of index */
    uint32_t count, cap;
    uint32_t judged;
    struct listener masters[WORLD_MASTERS_MAX];
};

/* What was ordered before a member registered again may still be under way. */
#define LATE_NS (10 * NS_PER_S)

struct drops *drops_new(struct world *w)
{
    struct drops *d = mem_new(struct drops);
    d->world = w;
    return d;
}

void drops_free(struct drops *d)
{
    mem_free(d->all);
    mem_free(d);
}

static uint32_t reported_lately(const struct listener *l, uint64_t now)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < WORLD_SERVERS_MAX; i++) {
        bool late = l->until_ns[i] + LATE_NS > now;
        bits |= l->until_ns[i] != 0 && late ? 1u << i : 0;
    }
    return bits;
}

static void note(struct drops *d, const struct listener *l, uint32_t chunkd,
                 const struct message *m, struct bytes handles)
{
    struct reader r = reader_of(handles);
    bool old = m->head.epoch <= l->old_epoch;
    uint32_t lately = reported_lately(l, d->world->sim->now_ns);
    while (!reader_done(&r)) {
        struct drop one = {.index = log_tap_certain(d->world->tap),
                           .at_ns = d->world->sim->now_ns,
                           .chunkd = chunkd,
                           .reported = old ? l->old_reported : l->reported | lately};
        dec_u64(&r, &one.handle);
        if (d->count == d->cap) {
            d->cap = d->cap ? 2 * d->cap : 64;
            d->all = mem_resize(d->all, d->cap * sizeof(one));
        }
        d->all[d->count++] = one;
    }
}

/* What a new process of a master has heard, it has not heard of those before. */
static void follow_master(struct listener *l, const struct sim_process *master)
{
    if (l->starts != master->starts) {
        l->starts = master->starts;
        if (l->epoch > l->old_epoch) { /* else it died before it asked for anything */
            l->old_epoch = l->epoch;
            l->old_reported = l->reported | reported_lately(l, master->sim->now_ns);
        }
        l->reported = 0;
        memset(l->until_ns, 0, sizeof(l->until_ns));
    }
}

static void follow_reports(struct listener *l, uint64_t now, uint32_t chunkd,
                           const struct message *m)
{
    struct report_req req;
    if (m->head.op == OP_register) {
        if (l->reported >> chunkd & 1) {
            l->until_ns[chunkd] = now;
        }
        l->reported &= ~(1u << chunkd);
    } else if (m->head.op == OP_report && report_req_decode(slice_bytes(&m->body), &req) == 0 &&
               req.last) {
        l->reported |= 1u << chunkd;
    }
}

static struct listener *listener_of(struct drops *d, const struct sim_process *p)
{
    for (uint32_t i = 0; i < d->world->master_count; i++) {
        if (d->world->masters[i]->process == p) {
            return &d->masters[i];
        }
    }
    return NULL;
}

void drops_frame(struct drops *d, const struct sim_process *from, const struct sim_process *to,
                 const struct message *m)
{
    struct drop_replicas_req req;
    if (m->head.flags & FRAME_REPLY) {
        return;
    }
    for (uint32_t i = 0; i < d->world->master_count; i++) {
        follow_master(&d->masters[i], d->world->masters[i]->process);
    }
    struct listener *asks = listener_of(d, from), *hears = listener_of(d, to);
    for (uint32_t i = 1; i < d->world->server_count; i++) {
        if (d->world->servers[i].process == from && hears != NULL) {
            follow_reports(hears, d->world->sim->now_ns, i, m);
        }
        if (d->world->servers[i].process != to || asks == NULL) {
            continue;
        }
        asks->epoch = MAX(asks->epoch, m->head.epoch);
        if (m->head.op == OP_drop_replicas &&
            drop_replicas_req_decode(slice_bytes(&m->body), &req) == 0) {
            note(d, asks, i, m, req.handles);
            note(d, asks, i, m, req.aside);
        }
    }
}

static void judge(struct drops *d, const struct drop *one, const struct drop_ground *g)
{
    uint32_t members = 0;
    uint32_t confirmed = 0;
    for (uint32_t i = 1; i < d->world->server_count; i++) {
        bool member = g->is_member(g->owner, one->handle, i);
        confirmed += member && (one->reported >> i & 1) != 0;
        members += member;
    }
    if (g->is_member(g->owner, one->handle, one->chunkd)) {
        world_fail(d->world, "at %.3f s %s, a member of chunk %llu, was told to remove its replica",
                   (double)one->at_ns / 1e9, d->world->servers[one->chunkd].process->name,
                   (unsigned long long)one->handle);
    }
    if (confirmed < MIN(2u, members)) {
        world_fail(d->world,
                   "at %.3f s a replica of chunk %llu was removed when %u of its %u members had "
                   "reported theirs",
                   (double)one->at_ns / 1e9, (unsigned long long)one->handle, confirmed, members);
    }
}

void drops_judge(struct drops *d, uint64_t index, const struct drop_ground *g)
{
    for (; d->judged < d->count && d->all[d->judged].index <= index; d->judged++) {
        judge(d, &d->all[d->judged], g);
    }
}
