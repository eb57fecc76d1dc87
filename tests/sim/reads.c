/* reads.c - no read is answered under a version that the durable log has left behind. */
#include "tests/sim/reads.h"
#include "shared/base/hash.h"
#include "shared/base/mem.h"

#include <string.h>

/* A read on its way: the last one with this number between the two. */
struct asked {
    struct hmap_node node;
    uint32_t mount, server; /* process numbers */
    uint64_t request, handle, version;
};

struct reads {
    struct world *world;
    struct hmap asked;
    uint64_t *versions; /* by handle - 1, up to record `index` */
    uint64_t count;
    uint64_t index;
};

struct reads *reads_new(struct world *w)
{
    struct reads *r = mem_new(struct reads);
    r->world = w;
    hmap_init(&r->asked);
    return r;
}

void reads_free(struct reads *r)
{
    struct hmap_node *n;
    while ((n = hmap_begin(&r->asked)) != NULL) {
        hmap_remove(&r->asked, n);
        mem_free(container_of(n, struct asked, node));
    }
    hmap_close(&r->asked);
    mem_free(r->versions);
    mem_free(r);
}

static struct asked *asked_find(struct reads *r, uint32_t mount, uint32_t server, uint64_t request,
                                bool make)
{
    uint64_t key[3] = {mount, server, request};
    uint64_t hash = hash64(key, sizeof(key));
    for (struct hmap_node *n = hmap_first(&r->asked, hash); n; n = hmap_next(n)) {
        struct asked *one = container_of(n, struct asked, node);
        if (one->mount == mount && one->server == server && one->request == request) {
            return one;
        }
    }
    if (!make) {
        return NULL;
    }
    struct asked *one = mem_new(struct asked);
    one->mount = mount;
    one->server = server;
    one->request = request;
    hmap_add(&r->asked, &one->node, hash);
    return one;
}

/* Takes in what has become durable. */
static void follow_log(struct reads *r)
{
    while (r->index < log_tap_certain(r->world->tap)) {
        const struct record *rec = log_tap_record(r->world->tap, ++r->index);
        struct chunk_version_rec v;
        if (rec->type != OP_chunk_version || chunk_version_rec_decode(rec->body, &v) != 0) {
            continue;
        }
        if (v.handle > r->count) {
            uint64_t count = v.handle * 2;
            r->versions = mem_resize(r->versions, count * sizeof(r->versions[0]));
            memset(&r->versions[r->count], 0, (count - r->count) * sizeof(r->versions[0]));
            r->count = count;
        }
        r->versions[v.handle - 1] = v.version;
    }
}

void reads_frame(struct reads *r, const struct sim_process *from, const struct sim_process *to,
                 const struct message *m)
{
    struct read_req req;
    if (m->head.op == OP_read && (m->head.flags & FRAME_REPLY) == 0 && from != NULL &&
        read_req_decode(slice_bytes(&m->body), &req) == 0) {
        struct asked *a = asked_find(r, from->number, to->number, m->head.request_id, true);
        a->handle = req.handle;
        a->version = req.version;
    }
}

void reads_sent(struct reads *r, const struct sim_process *from, const struct sim_process *to,
                const struct message *m)
{
    if (m->head.op != OP_read || (m->head.flags & FRAME_REPLY) == 0 || m->head.status != 0) {
        return;
    }
    const struct asked *a = asked_find(r, to->number, from->number, m->head.request_id, false);
    follow_log(r);
    if (a != NULL && a->handle <= r->count && r->versions[a->handle - 1] > a->version) {
        world_fail(r->world,
                   "stale read: %s answers for chunk %llu under version %llx, the log has %llx",
                   from->name, (unsigned long long)a->handle, (unsigned long long)a->version,
                   (unsigned long long)r->versions[a->handle - 1]);
    }
}
