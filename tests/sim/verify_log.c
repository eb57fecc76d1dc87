/* verify_log.c - damage to what was acknowledged is never taken for a torn tail.
 *
 * The log may be cut only where nobody was told that it was durable. Anywhere else a bit that flips
 * must keep the master from starting, or have done no harm. A cut shows as a record written in the
 * place of a committed one.
 *
 * Records are made until the end, so that the superblock, which names what is committed when the log
 * is at rest, does not know of the newest. The last batch is the one that cannot be told from a torn one after a power cut, so then it is
 * another that is hit.
 */
#include "tests/sim/verify_log.h"
#include "tests/sim/actor.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
    RUN_MS = 500,
    LOG_DAMAGE_STREAM = 13,
    UNIT = 4096,
    HEAD_BYTES = 128,
    RECORDS = 24,      /* made before the damage, a batch each */
    NEWEST_UNITS = 16, /* one of these is hit */
    SPARED_UNITS = 4,  /* more than the last batch has */
};

struct newest {
    char path[64]; /* of the last segment */
};

static void each_name(void *owner, const char *name)
{
    struct newest *n = owner;
    if (strncmp(name, "log-", 4) == 0 && strlen(name) == 24) { /* names come sorted */
        snprintf(n->path, sizeof(n->path), "log/%s", name);
    }
}

static bool is_used(struct sim_inode *i, uint64_t unit)
{
    static const uint8_t zeros[UNIT];
    uint8_t bytes[UNIT];
    return sim_inode_read(i, unit * UNIT, bytes, UNIT) == UNIT && memcmp(bytes, zeros, UNIT) != 0;
}

/* Flips a bit in the beginning of one of the last used units, where records are. False: there is
 * none. */
static bool damage(struct sim_inode *i, struct sim_rand *r, bool spare_last, uint64_t *out_at)
{
    uint64_t units = sim_inode_size(i) / UNIT;
    uint64_t used = 0;
    for (uint64_t u = 0; u < units; u++) {
        used += is_used(i, u);
    }
    uint64_t may = used - (spare_last ? MIN(used, SPARED_UNITS + 0u) : 0);
    uint64_t chosen = may - 1 - sim_below(r, MIN(may, NEWEST_UNITS + 0u));
    for (uint64_t u = 0; u < units && may > 0; u++) {
        if (is_used(i, u) && chosen-- == 0) {
            *out_at = u * UNIT + sim_below(r, HEAD_BYTES);
            sim_inode_flip(i, *out_at, (unsigned)sim_below(r, 8));
            return true;
        }
    }
    return false;
}

static void make_records(struct actor *a)
{
    actor_wait_mount(a);
    for (int n = 0; n < RECORDS && !a->gone; n++) {
        struct attr attr;
        char name[16];
        snprintf(name, sizeof(name), "z%d", n);
        (void)do_make(a, ROOT_INO, name, S_IFDIR | 0755, &attr);
    }
}

void verify_log_damage(struct world *w)
{
    struct sim_rand r = sim_rand_of(w->seed, LOG_DAMAGE_STREAM);
    struct sim_server *s = &w->servers[0];
    struct why why = {{0}};
    struct newest newest = {{0}};
    struct sim_inode *i;
    bool power_cut = sim_chance(&r, 1, 2);
    uint64_t at;
    mount_start(&w->mounts[w->mount_count]);
    (void)actor_new(w, &w->mounts[w->mount_count], make_records, NULL);
    (void)sim_run_until(w->sim, actors_done, w, 60 * NS_PER_S);
    server_kill(s, power_cut, 0);
    if (sim_disk_list(s->process->disk, "log", each_name, &newest) != 0 ||
        sim_disk_open(s->process->disk, newest.path, 0, &i) != 0) {
        return;
    }
    bool hit = damage(i, &r, power_cut, &at);
    sim_inode_drop(i);
    if (!hit) {
        return;
    }
    world_say(w, "a bit of %s flips, at %llu", newest.path, (unsigned long long)at);
    int err = server_try(s, &why);
    if (err == 0) {
        sim_run_for(w->sim, RUN_MS * NS_PER_MS);
    } else {
        world_say(w, "the master does not start: %s", why.text);
    }
    if (log_tap_wrong(w->tap) != NULL) {
        world_fail(w, "a damaged log was cut: %s", log_tap_wrong(w->tap));
    }
}
