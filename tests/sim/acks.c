/* acks.c - under one version of a chunk, which is in the durable log, only one chunkserver
 * acknowledges writes. */
#include "tests/sim/acks.h"
#include "shared/base/hash.h"
#include "shared/base/mem.h"
#include "tests/sim/asked.h"
#include "tests/sim/versions.h"

#include <string.h>

struct acked {
    struct hmap_node node;
    uint64_t handle, version;
    uint32_t server;
};

struct acks {
    struct world *world;
    struct hmap asked; /* writes */
    struct hmap acked;
};

struct acks *acks_new(struct world *w)
{
    struct acks *a = mem_new(struct acks);
    a->world = w;
    hmap_init(&a->asked);
    hmap_init(&a->acked);
    return a;
}

void acks_free(struct acks *a)
{
    struct hmap_node *n;
    while ((n = hmap_begin(&a->acked)) != NULL) {
        hmap_remove(&a->acked, n);
        mem_free(container_of(n, struct acked, node));
    }
    asked_close(&a->asked);
    hmap_close(&a->acked);
    mem_free(a);
}

static void acknowledged(struct acks *a, const struct asked *w, const struct sim_process *server)
{
    if (versions_durable(a->world->versions, w->handle) < w->version) {
        world_fail(
            a->world,
            "a write of chunk %llu is acknowledged under version %llx, which is not in the log",
            (unsigned long long)w->handle, (unsigned long long)w->version);
    }
    uint64_t key[2] = {w->handle, w->version};
    uint64_t hash = hash64(key, sizeof(key));
    for (struct hmap_node *n = hmap_first(&a->acked, hash); n; n = hmap_next(n)) {
        struct acked *one = container_of(n, struct acked, node);
        if (one->handle != w->handle || one->version != w->version) {
            continue;
        }
        if (one->server != server->number) {
            world_fail(a->world, "chunk %llu version %llx: two chunkservers acknowledge writes, %s",
                       (unsigned long long)w->handle, (unsigned long long)w->version, server->name);
        }
        return;
    }
    struct acked *one = mem_new(struct acked);
    one->handle = w->handle;
    one->version = w->version;
    one->server = server->number;
    hmap_add(&a->acked, &one->node, hash);
}

void acks_frame(struct acks *a, uint64_t conn, const struct sim_process *from,
                const struct message *m)
{
    if (m->head.op != OP_write || from == NULL) {
        return;
    }
    if (m->head.flags & FRAME_REPLY) {
        struct asked *w = asked_find(&a->asked, conn, m->head.request_id, false);
        if (w != NULL && m->head.status == 0) {
            acknowledged(a, w, from);
        }
        asked_drop(&a->asked, w);
        return;
    }
    struct write_req req;
    if (write_req_decode(slice_bytes(&m->body), &req) == 0) {
        struct asked *w = asked_find(&a->asked, conn, m->head.request_id, true);
        w->handle = req.handle;
        w->version = req.version;
    }
}
