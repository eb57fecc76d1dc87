/* promises.c - prepared versions are not forgotten. */
#include "tests/sim/promises.h"
#include "shared/base/mem.h"

#include <string.h>

struct promises {
    struct world *world;
    struct {
        uint64_t *versions; /* by handle - 1; 0 = none */
        uint64_t count;
    } of[WORLD_SERVERS_MAX];
};

struct promises *promises_new(struct world *w)
{
    struct promises *p = mem_new(struct promises);
    p->world = w;
    return p;
}

void promises_free(struct promises *p)
{
    for (uint32_t i = 0; i < WORLD_SERVERS_MAX; i++) {
        mem_free(p->of[i].versions);
    }
    mem_free(p);
}

void promises_forget(struct promises *p, uint32_t chunkd)
{
    p->of[chunkd].count = 0;
}

static uint64_t *slot(struct promises *p, uint32_t chunkd, uint64_t handle, bool make)
{
    uint64_t count = p->of[chunkd].count;
    if (handle > count && make) {
        p->of[chunkd].versions = mem_resize(p->of[chunkd].versions, 2 * handle * sizeof(uint64_t));
        memset(&p->of[chunkd].versions[count], 0, (2 * handle - count) * sizeof(uint64_t));
        p->of[chunkd].count = 2 * handle;
    }
    return handle >= 1 && handle <= p->of[chunkd].count ? &p->of[chunkd].versions[handle - 1]
                                                        : NULL;
}

static void forget_dropped(struct promises *p, uint32_t chunkd, struct bytes handles)
{
    struct reader r = reader_of(handles);
    while (!reader_done(&r)) {
        uint64_t handle;
        dec_u64(&r, &handle);
        uint64_t *version = slot(p, chunkd, handle, false);
        if (version != NULL) {
            *version = 0;
        }
    }
}

static void judge(struct promises *p, uint32_t chunkd, struct bytes replicas)
{
    struct reader r = reader_of(replicas);
    while (!reader_done(&r)) {
        struct replica one;
        dec_replica(&r, &one);
        const uint64_t *version = slot(p, chunkd, one.handle, false);
        if (version != NULL && one.version < *version) {
            world_fail(p->world,
                       "%s reports chunk %llu at version %llx; it was prepared for version %llx",
                       p->world->servers[chunkd].process->name, (unsigned long long)one.handle,
                       (unsigned long long)one.version, (unsigned long long)*version);
        }
    }
}

static uint32_t chunkd_of(const struct promises *p, const struct sim_process *process)
{
    for (uint32_t i = 1; i < p->world->server_count; i++) {
        if (p->world->servers[i].process == process) {
            return i;
        }
    }
    return 0;
}

void promises_frame(struct promises *p, const struct sim_process *from,
                    const struct sim_process *to, const struct message *m)
{
    struct bytes body = slice_bytes(&m->body);
    bool reply = m->head.flags & FRAME_REPLY;
    struct drop_replicas_req drop;
    struct prepare_rep prepared;
    if (m->head.op == OP_drop_replicas && !reply && chunkd_of(p, to) != 0 &&
        drop_replicas_req_decode(body, &drop) == 0) {
        forget_dropped(p, chunkd_of(p, to), drop.handles);
        forget_dropped(p, chunkd_of(p, to), drop.aside);
    }
    uint32_t chunkd = from != NULL ? chunkd_of(p, from) : 0;
    if (chunkd == 0) {
        return;
    }
    if (m->head.op == OP_prepare && reply && m->head.status == 0 &&
        prepare_rep_decode(body, &prepared) == 0) {
        uint64_t *version = slot(p, chunkd, prepared.replica.handle, true);
        if (version != NULL) {
            *version = MAX(*version, prepared.replica.version);
        }
    }
}

void promises_sent(struct promises *p, const struct sim_process *from, const struct message *m)
{
    bool reply = m->head.flags & FRAME_REPLY;
    struct report_req report;
    uint32_t chunkd = from != NULL ? chunkd_of(p, from) : 0;
    if (chunkd != 0 && m->head.op == OP_report && !reply &&
        report_req_decode(slice_bytes(&m->body), &report) == 0) {
        judge(p, chunkd, report.replicas);
    }
}
