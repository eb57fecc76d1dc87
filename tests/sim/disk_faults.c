/* disk_faults.c - what goes wrong with disks. */
#include "tests/sim/disk_faults.h"
#include "shared/base/mem.h"
#include "tests/sim/sim_image.h"
#include "tests/sim/trial.h"

#include <stdio.h>
#include <string.h>

/* Corruption is rationed: of what goes bad somebody else, who is there, has as much. */
static bool has_another(struct world *w, const struct sim_server *s, const char *path)
{
    int64_t size = sim_disk_size(s->process->disk, path);
    for (uint32_t i = 1; i < w->server_count; i++) {
        const struct sim_server *other = &w->servers[i];
        if (other != s && server_up(other) && sim_disk_size(other->process->disk, path) >= size) {
            return true;
        }
    }
    return false;
}

static bool choose_byte(struct world *w, struct sim_place *out)
{
    struct sim_server *s = &w->servers[w->rotten];
    if (!sim_disk_choose(s->process->disk, "chunks/", &w->rand, out) ||
        !has_another(w, s, out->path)) {
        return false;
    }
    w->rots = true;
    return true;
}

bool fault_flip_bit(struct world *w)
{
    struct sim_server *s = &w->servers[w->rotten];
    struct sim_place p;
    if (!choose_byte(w, &p)) {
        return false;
    }
    sim_disk_flip(s->process->disk, &p, (unsigned)sim_below(&w->rand, 8));
    world_say(w, "a bit of %s flips on %s", p.path, s->process->name);
    return true;
}

static void cut_file(struct sim_disk *d, const struct sim_place *p)
{
    struct sim_inode *i;
    if (sim_disk_open(d, p->path, 0, &i) == 0) {
        (void)sim_inode_truncate(i, p->at);
        sim_inode_sync(i);
        sim_inode_drop(i);
    }
}

/* It cannot be read, or the file ends before it, or is not there at all. */
bool fault_spoil_sector(struct world *w)
{
    struct sim_server *s = &w->servers[w->rotten];
    struct sim_disk *d = s->process->disk;
    struct sim_place p;
    if (!choose_byte(w, &p)) {
        return false;
    }
    if (sim_chance(&w->rand, 1, 2)) {
        sim_disk_spoil(d, &p);
        world_say(w, "a sector of %s cannot be read on %s", p.path, s->process->name);
    } else if (sim_chance(&w->rand, 1, 2)) {
        cut_file(d, &p);
        world_say(w, "%s ends at %llu on %s", p.path, (unsigned long long)p.at, s->process->name);
    } else {
        (void)sim_disk_unlink(d, p.path);
        world_say(w, "%s is gone on %s", p.path, s->process->name);
    }
    return true;
}

static bool may_spring(void *owner, const char *path)
{
    struct sim_server *s = owner;
    return strncmp(path, "chunks/", 7) != 0 || has_another(s->world, s, path);
}

/* Without it the process may have to end. */
static bool is_vital(const char *path)
{
    return path[0] != 0 && strncmp(path, "chunks/", 7) != 0 && strncmp(path, "aside/", 6) != 0;
}

static void sprung(void *owner, const char *path)
{
    struct sim_server *s = owner;
    world_say(s->world, "on %s, at %s: %s", s->process->name, path, fault_name(s->trap));
    s->world->faults[s->trap]++;
    s->sprung = true;
    s->world->rots |= s->number != 0;
    s->may_die = is_vital(path);
    s->meta_failed |= s->may_die;
    if (strncmp(path, "live/", 5) == 0) { /* no space could be taken for the state */
        s->world->full_ns = MAX(s->world->full_ns, s->world->sim->now_ns);
    }
}

/* Counted when it is sprung. */
static bool set_trap(struct world *w, struct sim_server *s, enum fault_kind kind,
                     enum sim_trap_kind trap, const char *prefix)
{
    static const int errors[] = {-EIO,     -EMFILE,  -ENFILE, -ENOMEM, -EROFS,
                                 -EUCLEAN, -EBADMSG, -ENODEV, -ENXIO};
    uint32_t most = sim_chance(&w->rand, 1, 2) ? 3 : 60;
    if (s->process->trap.kind == TRAP_NONE || sim_chance(&w->rand, 1, 2)) {
        s->trap = kind;
        s->process->trap = (struct sim_trap){
            .kind = trap,
            .prefix = prefix,
            .error =
                sim_chance(&w->rand, 1, 2) ? -EIO : errors[sim_below(&w->rand, COUNT_OF(errors))],
            .after = (uint32_t)sim_below(&w->rand, most),
            .may = may_spring,
            .sprung = sprung,
            .owner = s};
    }
    return false;
}

/* Mostly chunks: an error in the meta log ends the process. */
static const char *some_prefix(struct world *w)
{
    return sim_chance(&w->rand, 1, 4) ? "" : "chunks/";
}

/* Writes, and now and then whatever is asked for next. */
bool fault_fail_write(struct world *w)
{
    enum sim_trap_kind kind = sim_chance(&w->rand, 1, 2) ? TRAP_ANY : TRAP_WRITE;
    bool aside = kind == TRAP_ANY && sim_chance(&w->rand, 1, 4);
    return set_trap(w, &w->servers[w->rotten], FAULT_EIO_WRITE, kind,
                    aside ? "aside/" : some_prefix(w));
}

bool fault_fail_sync(struct world *w)
{
    return set_trap(w, &w->servers[w->rotten], FAULT_FAIL_SYNC, TRAP_SYNC, some_prefix(w));
}

bool fault_lose_write(struct world *w)
{
    return set_trap(w, &w->servers[w->rotten], FAULT_LOST_WRITE, TRAP_LOST, "chunks/");
}

bool fault_misdirect_write(struct world *w)
{
    return set_trap(w, &w->servers[w->rotten], FAULT_MISDIRECT, TRAP_MISDIRECTED, "chunks/");
}

bool fault_fail_log(struct world *w)
{
    enum sim_trap_kind kind = sim_chance(&w->rand, 1, 2) ? TRAP_WRITE : TRAP_SYNC;
    return set_trap(w, fault_some_master(w), FAULT_LOG_FAILS, kind, "log/");
}

bool fault_fill_disk(struct world *w)
{
    struct sim_server *s = fault_some_chunkd(w);
    uint64_t left =
        sim_chance(&w->rand, 1, 2) ? sim_below(&w->rand, 2 << 20) : sim_below(&w->rand, 24 << 20);
    uint64_t ns = sim_between(&w->rand, 200, 6000) * NS_PER_MS;
    server_fill(s, left, ns);
    world_say(w, "the disk of %s has %llu KiB left for %llu ms", s->process->name,
              (unsigned long long)(left / 1024), (unsigned long long)(ns / NS_PER_MS));
    return true;
}

/* ---------------------------------------------------------------- the master's disk */

bool fault_fill_master(struct world *w)
{
    struct sim_server *s = fault_some_master(w);
    uint64_t left =
        sim_chance(&w->rand, 1, 2) ? sim_below(&w->rand, 64 << 10) : sim_below(&w->rand, 40 << 20);
    uint64_t ns = sim_between(&w->rand, 200, 6000) * NS_PER_MS;
    server_fill(s, left, ns);
    world_say(w, "the disk of %s has %llu KiB left for %llu ms", s->process->name,
              (unsigned long long)(left / 1024), (unsigned long long)(ns / NS_PER_MS));
    return true;
}

bool fault_fail_state(struct world *w)
{
    static const char *const prefixes[] = {
        "checkpoints", "checkpoints/fetched", "live/", "log", "log/cut", "log/log-"};
    struct sim_server *any = w->masters[sim_below(&w->rand, w->master_count)];
    return set_trap(w, sim_chance(&w->rand, 1, 2) ? any : fault_some_master(w), FAULT_STATE_FAILS,
                    TRAP_ANY, prefixes[sim_below(&w->rand, COUNT_OF(prefixes))]);
}

/* Of "log/log-<index>" or "checkpoints/ckpt-<index>.mdb". */
static uint64_t index_of(const char *path)
{
    unsigned long long index = 0;
    (void)sscanf(path, "%*[^-]-%llu", &index);
    return index;
}

static bool is_damaged(const struct world *w, uint64_t index)
{
    for (uint32_t i = 0; i < w->bad_count; i++) {
        if (w->bad_checkpoints[i] == index) {
            return true;
        }
    }
    return false;
}

static const char *sums_of(const char *mdb, char out[64])
{
    snprintf(out, 64, "%s", mdb);
    memcpy(out + strlen(out) - 4, ".sum", 4);
    return out;
}

/* A power cut leaves it: its sums have their name durably. Half of one that was being removed or named,
 * as a power cut may leave it too, is none. */
static bool is_checkpoint(const struct sim_disk *d, const char *mdb)
{
    char path[64];
    uint8_t byte;
    sim_disk_durable(d, sums_of(mdb, path), 0, &byte, 1);
    return sim_disk_size(d, path) > 0 && byte != 0;
}

/* Damages a checkpoint's file or its sums. */
static bool damage_checkpoint(struct world *w, const char *mdb)
{
    struct sim_damage_text text;
    char path[64];
    snprintf(path, sizeof(path), "%s", mdb);
    if (sim_chance(&w->rand, 1, 3)) {
        sums_of(mdb, path);
    }
    enum sim_damage kind = (enum sim_damage)sim_below(&w->rand, DAMAGE_KINDS);
    bool done = sim_image_damage(w->servers[0].process->disk, path, kind, &w->rand, &text);
    if (done) {
        world_say(w, "on the master, %s of %s", text.text, path);
    }
    return done;
}

/* One of two checkpoints is damaged, while the log reaches back to the other; the power fails, so that
 * one of them is needed. */
bool fault_damage_checkpoint(struct world *w)
{
    struct sim_server *s = &w->servers[0];
    struct trial_files f = {.prefix = "checkpoints/ckpt-", .suffix = ".mdb"};
    struct trial_files log = {.prefix = "log/log-", .suffix = ""};
    trial_files_find(s->process->disk, &f);
    trial_files_find(s->process->disk, &log);
    uint32_t usable = 0;
    for (uint32_t i = 0; i < f.count; i++) {
        uint64_t index = index_of(f.paths[i]);
        usable += log.count > 0 && index + 1 >= index_of(log.paths[0]) && !is_damaged(w, index) &&
                  is_checkpoint(s->process->disk, f.paths[i]);
    }
    mem_free(log.paths);
    bool done = false;
    if (usable >= 2 && w->bad_count < COUNT_OF(w->bad_checkpoints)) {
        uint32_t chosen = (uint32_t)sim_below(&w->rand, f.count);
        w->bad_checkpoints[w->bad_count++] = index_of(f.paths[chosen]);
        done = damage_checkpoint(w, f.paths[chosen]);
    }
    mem_free(f.paths);
    if (done) {
        server_kill(s, true, fault_down_time(w));
    }
    return done;
}

/* All checkpoints are damaged: the master starts if it can do without, because it has the whole log,
 * and refuses else. Then it gets its disk back. */
bool fault_lose_checkpoints(struct world *w)
{
    struct sim_server *s = &w->servers[0];
    struct trial_files f = {.prefix = "checkpoints/ckpt-", .suffix = ".mdb"};
    struct trial_files log = {.prefix = "log/log-", .suffix = ""};
    struct why why;
    if (!server_up(s) || w->master_count > 1) { /* one of several gets a checkpoint of another */
        return false;
    }
    server_kill(s, true, 0);
    s->process->trap.kind = TRAP_NONE;
    struct sim_disk *image = sim_image_take(s->process->disk);
    trial_files_find(s->process->disk, &f);
    trial_files_find(s->process->disk, &log);
    bool whole = log.count == 0 || index_of(log.paths[0]) == 1;
    uint32_t hurt = 0;
    for (uint32_t i = 0; i < f.count; i++) {
        hurt += damage_checkpoint(w, f.paths[i]);
    }
    bool done = f.count > 0 && hurt == f.count;
    mem_free(f.paths);
    mem_free(log.paths);
    if (done) {
        void (*on_write)(void *, struct sim_process *, const char *, const struct disk_op *, bool) =
            s->process->on_write;
        s->process->on_write = NULL; /* what it writes is undone */
        int err = trial_start(s, &why);
        s->process->on_write = on_write;
        world_say(w, "without checkpoints the master %s%s",
                  err == 0 ? "starts" : "refuses: ", err == 0 ? "" : why.text);
        if ((err == 0) != whole || (err != 0 && err != ERR_CORRUPT)) {
            world_fail(w, "without checkpoints, and with %s log, the master %s%s",
                       whole ? "its whole" : "the end of its",
                       err == 0 ? "starts" : "refuses: ", err == 0 ? "" : why.text);
        }
    }
    server_kill(s, false, fault_down_time(w));
    sim_image_put_back(s->process->disk, image);
    sim_disk_free(image);
    return done;
}

/* The one whose disk may go bad: it may end whenever it meets the damage, and what it had acknowledged
 * others have. */
static struct sim_server *bad_master(struct world *w)
{
    struct sim_server *s = w->masters[w->bad_log];
    return w->master_count > 1 ? s : NULL;
}

/* A byte of the log that holds something, if one is soon found. */
static bool choose_log_byte(struct world *w, struct sim_disk *d, struct sim_place *out)
{
    enum { TRIES = 8 };
    uint8_t byte = 0;
    for (int i = 0; i < TRIES && byte == 0; i++) {
        if (!sim_disk_choose(d, "log/log-", &w->rand, out)) {
            return false;
        }
        sim_disk_durable(d, out->path, out->at, &byte, 1);
    }
    return true;
}

/* While it is down, more than a bit, in one place or two. */
static void spoil_log(struct world *w, struct sim_server *s)
{
    static const enum sim_damage kinds[] = {DAMAGE_BIT, DAMAGE_ZEROS, DAMAGE_OTHER_PAGE};
    struct sim_disk *d = s->process->disk;
    server_kill(s, sim_chance(&w->rand, 1, 2), fault_down_time(w));
    for (uint64_t n = sim_between(&w->rand, 1, 3); n > 0; n--) {
        struct sim_damage_text text;
        struct sim_place p;
        enum sim_damage kind = kinds[sim_below(&w->rand, COUNT_OF(kinds))];
        if (choose_log_byte(w, d, &p) && sim_image_damage(d, p.path, kind, &w->rand, &text)) {
            world_say(w, "in %s of %s %s", p.path, s->process->name, text.text);
        }
    }
}

/* It is met when the log is read: by the next start, by a promotion, by another master that needs the
 * records, or because all of it is read again now and then. */
bool fault_flip_log(struct world *w)
{
    struct sim_server *s = bad_master(w);
    struct sim_place p;
    if (s == NULL || !choose_log_byte(w, s->process->disk, &p)) {
        return false;
    }
    s->damaged = true;
    sim_disk_flip(s->process->disk, &p, (unsigned)sim_below(&w->rand, 8));
    world_say(w, "a bit of %s flips on %s", p.path, s->process->name);
    if (sim_chance(&w->rand, 1, 2)) {
        spoil_log(w, s);
    }
    for (uint32_t i = 0; i < w->master_count && sim_chance(&w->rand, 1, 2); i++) {
        if (w->masters[i] != s) {
            server_kill(w->masters[i], false, fault_down_time(w));
        }
    }
    return true;
}

bool fault_wipe_master(struct world *w)
{
    struct sim_server *s = bad_master(w);
    if (s == NULL) {
        return false;
    }
    server_kill(s, true, fault_down_time(w));
    server_wipe(s);
    world_say(w, "%s gets an empty disk", s->process->name);
    return true;
}

/* Seldom: each of them starts a server several times. */
bool fault_try_disk(struct world *w)
{
    enum { TRIALS_MAX = 2 };
    bool master = sim_chance(&w->rand, 1, 2);
    struct sim_server *s = master ? fault_some_master(w) : fault_some_chunkd(w);
    if (w->faults[FAULT_TRIAL] >= TRIALS_MAX) {
        return false;
    }
    return trial_of(w, s, &w->rand, fault_down_time(w));
}
