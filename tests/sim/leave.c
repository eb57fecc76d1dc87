/* leave.c - unmounting in order. */
#include "tests/sim/leave.h"
#include "master/core/master_internal.h"
#include "tests/sim/actor.h"

#include <stdio.h>

enum { LEAVE_MS = 20000, BYTES = 5000 };

struct leaving {
    struct world *world;
    uint64_t files[WORLD_MOUNTS_MAX + 1]; /* of each mount */
    uint32_t here;                        /* mounts */
};

static void last_words(struct actor *a)
{
    static const uint8_t data[BYTES];
    struct leaving *l = a->arg;
    struct attr attr;
    char name[24];
    actor_wait_mount(a);
    snprintf(name, sizeof(name), "last-%u", a->mount->number);
    int status = do_create(a, ROOT_INO, name, 0600, &attr);
    if (status == 0) {
        l->files[a->mount->number] = a->entry->short_of_space ? 0 : attr.ino;
        status = do_write(a, a->opened, 0, data, BYTES, false);
    }
    if (status != 0 && !(status == -ENOSPC && a->entry->short_of_space)) {
        world_fail(a->world, "a file cannot be written before the mounts leave: %s",
                   err_text(status));
    }
}

static void left(void *owner)
{
    struct leaving *l = owner;
    l->here--;
}

static bool all_left(void *owner)
{
    const struct leaving *l = owner;
    return l->here == 0;
}

/* Those of mounts that were killed have to end by time. */
static bool no_session(void *world)
{
    return ns_counts(world_primary(world)->master->ns).sessions == 0;
}

static void check_left(struct leaving *l)
{
    struct master *m = world_primary(l->world)->master;
    for (uint32_t i = 0; i < COUNT_OF(l->files); i++) {
        struct attr attr = {0};
        int err = l->files[i] != 0 ? ns_attr(m->ns, l->files[i], &attr) : 0;
        if (err != 0 || (l->files[i] != 0 && attr.size != BYTES)) {
            world_fail(l->world, "mount %u left without its last bytes: %s, size %llu", i,
                       err_text(err), (unsigned long long)attr.size);
        }
    }
    if (!sim_run_until(l->world->sim, no_session, l->world, 120 * NS_PER_S)) {
        world_fail(l->world, "sessions are left when all mounts have left");
    }
}

void leave_all(struct world *w)
{
    struct leaving l = {.world = w};
    for (uint32_t i = 0; i <= w->mount_count; i++) {
        if (w->mounts[i].client != NULL) {
            (void)actor_new(w, &w->mounts[i], last_words, &l);
        }
    }
    if (!sim_run_until(w->sim, actors_done, w, 120 * NS_PER_S)) {
        world_fail(w, "writing before the mounts leave hangs");
    }
    for (uint32_t i = 0; i <= w->mount_count; i++) {
        if (w->mounts[i].client != NULL) {
            world_say(w, "%s leaves", w->mounts[i].process->name);
            l.here++;
            client_stop(w->mounts[i].client, LEAVE_MS, left, &l);
        }
    }
    if (!sim_run_until(w->sim, all_left, &l, 2 * LEAVE_MS * NS_PER_MS)) {
        world_fail(w, "%u mounts do not leave", l.here);
    }
    check_left(&l);
    for (uint32_t i = 0; i <= w->mount_count; i++) {
        mount_kill(&w->mounts[i], 0);
    }
}
