/* verify_space.c - at rest: what takes space is what should. */
#include "tests/sim/verify_space.h"

#include <stdio.h>
#include <string.h>

struct files {
    struct sim_server *server;
    uint64_t with_bytes; /* files that have any */
};

static void check_file(void *owner, const char *path, uint64_t size)
{
    struct files *f = owner;
    struct world *w = f->server->world;
    struct chunkd_replica_info r;
    unsigned long long handle;
    unsigned dir;
    bool aside = strncmp(path, "aside/", 6) == 0;
    /* A removal that failed costs only space: it is repeated by the next start. */
    bool stuck = f->server->number == w->rotten && w->faults[FAULT_EIO_WRITE] > 0;
    if (aside && w->faults[FAULT_CLOCK] == 0 && !stuck) {
        world_fail(w, "%s keeps %s", f->server->process->name, path);
    }
    if (sscanf(path, "chunks/%x/%llx", &dir, &handle) != 2) {
        return;
    }
    if (chunkd_replica(f->server->chunkd, handle, &r) != 0) {
        if (stuck) {
            return;
        }
        world_fail(w, "%s has a file %s of no replica", f->server->process->name, path);
    }
    if (size != r.length) {
        world_fail(w, "%s: %s has %llu bytes, its replica %u", f->server->process->name, path,
                   (unsigned long long)size, r.length);
    }
    f->with_bytes += size > 0;
}

void verify_files(struct world *w)
{
    for (uint32_t i = 1; i < w->server_count; i++) {
        struct files f = {&w->servers[i], 0};
        struct chunkd_replica_info r;
        uint64_t replicas = 0;
        sim_disk_each(w->servers[i].process->disk, check_file, &f);
        for (uint64_t h = 1; chunkd_replica_next(w->servers[i].chunkd, h, &r) == 0;
             h = r.handle + 1) {
            replicas += r.length > 0;
        }
        if (replicas != f.with_bytes) {
            world_fail(w, "%s has %llu replicas with bytes and %llu such files",
                       w->servers[i].process->name, (unsigned long long)replicas,
                       (unsigned long long)f.with_bytes);
        }
    }
}
