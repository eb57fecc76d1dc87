/* reads.c - no read is answered that came under a version which the durable log had left behind, unless a
 * mount that finds no primary asks for that, and no byte leaves a chunkserver that does not match its checksum. */
#include "tests/sim/reads.h"
#include "shared/base/bytes.h"
#include "shared/base/hash.h"
#include "shared/base/mem.h"
#include "tests/sim/answers.h"
#include "tests/sim/asked.h"
#include "tests/sim/versions.h"

#include <string.h>

struct reads {
    struct world *world;
    struct hmap asked;
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
    asked_close(&r->asked);
    mem_free(r);
}

static void answered(struct reads *r, const struct sim_process *from, const struct asked *a)
{
    if (a->newest > a->version) {
        world_fail(r->world,
                   "stale read: %s answered for chunk %llu under version %llx, the log had %llx",
                   from->name, (unsigned long long)a->handle, (unsigned long long)a->version,
                   (unsigned long long)a->newest);
    }
}

static void check_sums(struct reads *r, const struct sim_process *from, const struct asked *a,
                       const struct message *m)
{
    struct read_rep rep;
    uint32_t block = r->world->geo.block_bytes;
    const uint8_t *data = slice_data(&m->payload);
    if (read_rep_decode(slice_bytes(&m->body), &rep) != 0) {
        return;
    }
    for (uint32_t at = 0, i = 0; at < m->payload.len; i++) {
        uint32_t n = MIN(m->payload.len - at, block - (a->offset + at) % block);
        if (4 * i + 4 > rep.sums.len ||
            block_sum(data + at, n) != (uint32_t)get_le(rep.sums.data + 4 * i, 4)) {
            world_fail(r->world,
                       "%s gave bytes of chunk %llu at %u that do not match their checksum",
                       from->name, (unsigned long long)a->handle, a->offset + at);
        }
        at += n;
    }
}

void reads_sent(struct reads *r, const struct sim_process *from, const struct message *m)
{
    struct read_req req;
    bool mount = from != NULL && strncmp(from->name, "mount-", 6) == 0;
    if (mount && m->head.op == OP_read && !(m->head.flags & FRAME_REPLY) &&
        read_req_decode(slice_bytes(&m->body), &req) == 0 && req.unfenced_ok &&
        !answers_lacks_primary(r->world->answers, from)) {
        world_fail(r->world, "%s would have chunk %llu read without a lease, and has a primary",
                   from->name, (unsigned long long)req.handle);
    }
}

void reads_frame(struct reads *r, uint64_t conn, const struct sim_process *from,
                 const struct message *m)
{
    struct read_req req;
    struct read_raw_req raw;
    if ((m->head.op != OP_read && m->head.op != OP_read_raw) || from == NULL) {
        return;
    }
    if (m->head.flags & FRAME_REPLY) {
        struct asked *a = asked_find(&r->asked, conn, m->head.request_id, false);
        if (a != NULL && m->head.status == 0) {
            check_sums(r, from, a, m);
            answered(r, from, a);
        }
        asked_drop(&r->asked, a);
        return;
    }
    if (m->head.op == OP_read_raw && read_raw_req_decode(slice_bytes(&m->body), &raw) == 0) {
        struct asked *a = asked_find(&r->asked, conn, m->head.request_id, true);
        a->handle = raw.handle;
        a->version = UINT64_MAX; /* also of a replica that is not of the newest one */
        a->offset = raw.offset;
        return;
    }
    if (read_req_decode(slice_bytes(&m->body), &req) == 0) {
        struct asked *a = asked_find(&r->asked, conn, m->head.request_id, true);
        a->handle = req.handle;
        a->version = req.version;
        a->offset = req.offset;
        a->newest = req.unfenced_ok ? 0 : versions_durable(r->world->versions, req.handle);
    }
}
