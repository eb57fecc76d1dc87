/* versions.c - follows the certain part of the log, for the versions in it. */
#include "tests/sim/versions.h"
#include "shared/base/mem.h"

#include <string.h>

/* Long enough for every lease of the old version to end. */
#define RECENT_NS (3 * NS_PER_S)
enum { RECENT = 32 };

struct left_behind {
    uint64_t at_ns; /* seen by us; 0 = none */
    uint64_t handle, version;
};

struct versions {
    struct world *world;
    uint64_t *newest; /* by handle - 1, up to record `index` */
    uint64_t count;
    uint64_t index;
    struct left_behind recent[RECENT]; /* the oldest is overwritten */
    uint32_t next;
};

struct versions *versions_new(struct world *w)
{
    struct versions *v = mem_new(struct versions);
    v->world = w;
    return v;
}

void versions_free(struct versions *v)
{
    mem_free(v->newest);
    mem_free(v);
}

static void set(struct versions *v, uint64_t handle, uint64_t version)
{
    if (handle == 0) {
        return; /* a file made without a chunk */
    }
    if (handle > v->count) {
        uint64_t count = handle * 2;
        v->newest = mem_resize(v->newest, count * sizeof(v->newest[0]));
        memset(&v->newest[v->count], 0, (count - v->count) * sizeof(v->newest[0]));
        v->count = count;
    }
    if (v->newest[handle - 1] != 0) {
        v->recent[v->next++ % RECENT] =
            (struct left_behind){v->world->sim->now_ns, handle, v->newest[handle - 1]};
    }
    v->newest[handle - 1] = version;
}

static void take(struct versions *v, const struct record *r)
{
    union op_any rec;
    const struct op_info *info = op_info_of(r->type);
    memset(&rec, 0, sizeof(rec));
    if (info == NULL || info->rec_decode(r->body, &rec) != 0) {
        return;
    }
    if (r->type == OP_create) {
        set(v, rec.create_rec.handle, rec.create_rec.version);
    } else if (r->type == OP_chunk_new) {
        set(v, rec.chunk_new_rec.handle, rec.chunk_new_rec.version);
    } else if (r->type == OP_chunk_version) {
        set(v, rec.chunk_version_rec.handle, rec.chunk_version_rec.version);
    }
}

static void follow(struct versions *v)
{
    while (v->index < log_tap_certain(v->world->tap)) {
        take(v, log_tap_record(v->world->tap, ++v->index));
    }
}

bool versions_left_behind(struct versions *v, struct sim_rand *r, uint64_t *out_handle,
                          uint64_t *out_version)
{
    uint64_t seen = 0;
    follow(v);
    for (uint32_t i = 0; i < RECENT; i++) {
        const struct left_behind *one = &v->recent[i];
        if (one->at_ns != 0 && v->world->sim->now_ns - one->at_ns < RECENT_NS &&
            sim_below(r, ++seen) == 0) {
            *out_handle = one->handle;
            *out_version = one->version;
        }
    }
    return seen > 0;
}

uint64_t versions_durable(struct versions *v, uint64_t handle)
{
    follow(v);
    return handle >= 1 && handle <= v->count ? v->newest[handle - 1] : 0;
}
