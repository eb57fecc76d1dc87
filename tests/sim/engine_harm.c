/* engine_harm.c - damage to files and entries of monitors. */
#include "tests/sim/engine_harm.h"
#include "deploy/monitor/core/elect_local.h"
#include "deploy/monitor/core/keeper_text.h"
#include "tests/sim/sim_image.h"

#include <stdio.h>
#include <string.h>

#define ROOT "/gfs/sim"

/* ---------------------------------------------------------------- files */

void harm_files_shared(struct world *w, struct sim_process *p)
{
    struct elect_local second;
    struct why why = {{0}};
    if (p->alive && elect_local_open(&second, &p->env, &why) != -EBUSY) {
        world_fail(w, "a second monitor may use the directory of %s", p->name);
    }
}

void harm_files_fail(struct world *w, struct sim_process *p, struct sim_rand *r)
{
    p->fail_call = 1 + (uint32_t)sim_below(r, 8);
    p->fail_error = sim_chance(r, 1, 2) ? -ENOSPC : -EIO;
    world_say(w, "a call of %s on its files will fail", p->name);
}

bool harm_files_damage(struct world *w, struct sim_process *p, struct sim_rand *r)
{
    struct sim_damage_text text;
    enum sim_damage kind = (enum sim_damage)sim_below(r, DAMAGE_KINDS);
    bool done =
        sim_disk_size(p->disk, "epoch") > 0 && sim_image_damage(p->disk, "epoch", kind, r, &text);
    if (done) {
        world_say(w, "in file epoch of %s %s", p->name, text.text);
    }
    return done;
}

void harm_files_mend(struct sim_process *p, uint32_t highest)
{
    char text[16];
    struct sim_inode *i;
    int len = snprintf(text, sizeof(text), "%u -\n", highest);
    (void)sim_disk_unlink(p->disk, "epoch");
    if (highest > 0 && sim_disk_open(p->disk, "epoch", ENV_OPEN_CREATE, &i) == 0) {
        (void)sim_inode_write(i, 0, text, (uint32_t)len);
        sim_inode_sync(i);
        sim_inode_drop(i);
    }
    (void)sim_disk_sync_dir(p->disk, "");
}

/* ---------------------------------------------------------------- entries */

static const char *one_of(const char *const *all, size_t count, struct sim_rand *r)
{
    return all[sim_below(r, count)];
}
#define ONE_OF(all, r) one_of(all, COUNT_OF(all), r)

static void put_entry(struct sim_keeper *k, const char *under, const char *name, const char *text)
{
    char path[KEEPER_PATH_MAX + 1];
    snprintf(path, sizeof(path), ROOT "/%s%s%s", under, name[0] != 0 ? "/" : "", name);
    sim_keeper_write(k, path, text);
}

const char *harm_entries(struct sim_keeper *k, const char *monitor, struct sim_rand *r)
{
    static const char *const epochs[] = {"",
                                         "x - - 0",
                                         "7",
                                         "7 -",
                                         "7 - -",
                                         "7 - - -",
                                         "7 - - 0 x",
                                         "7  - 0",
                                         "4294967296 - - 0",
                                         "7 - - 18446744073709551616"};
    static const char *const actives[] = {"", "-", "7", "7 a b", "7  a"};
    static const char *const cands[] = {
        "",          "2 0 0 0 0 -",   "1 2 0 0 0 -",  "1 0 x 0 0 -",
        "1 0 0 0 0", "1 0 0 0 0 - -", "1 0 0 0  0 -", "1 0 0 x 0 -"};
    static const char *const locks[] = {"abc", "0123456789abcdeX-0000000001",
                                        "0123456789abcdef-000000000x",
                                        "0123456789abcdef_0000000001"};
    static const char *const lasting[] = {"/gfs",         ROOT,         ROOT "/epoch",
                                          ROOT "/active", ROOT "/cand", ROOT "/lock"};
    switch (sim_below(r, 6)) {
    case 0:
        put_entry(k, "active", "", ONE_OF(actives, r));
        return "somebody writes who serves";
    case 1:
        put_entry(k, "cand", monitor, ONE_OF(cands, r));
        return "somebody writes what a monitor says of itself";
    case 2:
        put_entry(k, "lock", ONE_OF(locks, r), "");
        return "somebody puts something beside the lock";
    case 3:
        sim_keeper_remove(k, ONE_OF(lasting, r));
        return "somebody removes entries";
    default:
        put_entry(k, "epoch", "", ONE_OF(epochs, r));
        return "somebody writes an epoch";
    }
}

bool harm_entries_mend(struct sim_keeper *k, uint32_t highest)
{
    const char *is = sim_keeper_text(k, ROOT "/epoch");
    struct keeper_epoch read;
    char text[32];
    if (is == NULL || keeper_get_epoch(is, &read)) {
        return false;
    }
    snprintf(text, sizeof(text), "%u - - 0", highest);
    sim_keeper_write(k, ROOT "/epoch", text);
    return true;
}
