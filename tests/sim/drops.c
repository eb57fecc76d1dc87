/* drops.c - no member of a chunk is told to remove its replica. */
#include "tests/sim/drops.h"
#include "shared/base/mem.h"

struct drop {
    uint64_t index;
    uint64_t at_ns;
    uint64_t handle;
    uint32_t chunkd; /* its number in the world */
};

struct drops {
    struct world *world;
    struct drop *all; /* in order of arrival, so of index */
    uint32_t count, cap;
    uint32_t judged;
};

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

static void note(struct drops *d, uint32_t chunkd, struct bytes handles)
{
    struct reader r = reader_of(handles);
    while (!reader_done(&r)) {
        struct drop one = {.index = log_tap_certain(d->world->tap),
                           .at_ns = d->world->sim->now_ns,
                           .chunkd = chunkd};
        dec_u64(&r, &one.handle);
        if (d->count == d->cap) {
            d->cap = d->cap ? 2 * d->cap : 64;
            d->all = mem_resize(d->all, d->cap * sizeof(one));
        }
        d->all[d->count++] = one;
    }
}

void drops_frame(struct drops *d, const struct sim_process *to, const struct message *m)
{
    struct drop_replicas_req req;
    if (m->head.op != OP_drop_replicas || (m->head.flags & FRAME_REPLY) != 0 ||
        drop_replicas_req_decode(slice_bytes(&m->body), &req) != 0) {
        return;
    }
    for (uint32_t i = 1; i < d->world->server_count; i++) {
        if (d->world->servers[i].process == to) {
            note(d, i, req.handles);
            note(d, i, req.aside);
        }
    }
}

void drops_judge(struct drops *d, uint64_t index, uint32_t (*id)(void *owner, uint32_t chunkd),
                 bool (*is_member)(void *owner, uint64_t handle, uint32_t id), void *owner)
{
    for (; d->judged < d->count && d->all[d->judged].index <= index; d->judged++) {
        const struct drop *one = &d->all[d->judged];
        uint32_t server = id(owner, one->chunkd);
        if (is_member(owner, one->handle, server)) {
            world_fail(d->world,
                       "at %.3f s server %u, a member of chunk %llu, was told to remove its "
                       "replica, with record %llu durable",
                       (double)one->at_ns / 1e9, server, (unsigned long long)one->handle,
                       (unsigned long long)index);
        }
    }
}
