/* faults.c - what goes wrong, when, and the end of it. */
#include "tests/sim/disk_faults.h"
#include "tests/sim/monitors.h"
#include "tests/sim/promises.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/world.h"

#include <string.h>

enum { FAULT_STREAM = 100000 };

uint64_t fault_down_time(struct world *w)
{
    struct sim_rand *r = &w->rand;
    return sim_chance(r, 1, 3) ? 10 * NS_PER_MS + sim_below(r, 200 * NS_PER_MS)
                               : 100 * NS_PER_MS + sim_below(r, 3 * NS_PER_S);
}

struct sim_server *fault_some_chunkd(struct world *w)
{
    return &w->servers[1 + sim_below(&w->rand, w->server_count - 1)];
}

/* Of several mostly the primary. */
struct sim_server *fault_some_master(struct world *w)
{
    struct sim_server *primary = world_primary(w);
    if (w->master_count == 1) {
        return w->masters[0];
    }
    return primary != NULL && sim_chance(&w->rand, 2, 3)
               ? primary
               : w->masters[sim_below(&w->rand, w->master_count)];
}

static struct sim_process *some_process(struct world *w)
{
    return world_process(w, (uint32_t)sim_below(&w->rand, world_process_count(w)));
}

/* A master or a chunkserver. */
static struct sim_server *some_server(struct world *w)
{
    uint64_t i = sim_below(&w->rand, w->server_count + w->master_count - 1);
    return i < w->server_count ? &w->servers[i] : w->masters[1 + i - w->server_count];
}

/* The machine of a master loses power: with it its monitor, if that is there. */
static void cut_power(struct world *w, struct sim_server *s, uint64_t ns)
{
    server_kill(s, true, ns);
    if (s->number == 0) {
        (void)monitors_kill(w->monitors, monitors_beside(w->monitors, s->rank), true, ns);
    }
}

static uint64_t block_time(struct world *w)
{
    uint64_t max = sim_chance(&w->rand, 1, 4) ? 6 * NS_PER_S : 2 * NS_PER_S;
    return 50 * NS_PER_MS + sim_below(&w->rand, max);
}

static bool isolate(struct world *w)
{
    struct sim_process *one = some_process(w);
    uint64_t ns = block_time(w);
    uint64_t ways =
        sim_between(&w->rand, 1, 3); /* bit 0: it hears nobody; bit 1: nobody hears it */
    for (uint32_t i = 0; i < world_process_count(w); i++) {
        struct sim_process *other = world_process(w, i);
        if (other != one && (ways & 1)) {
            sim_net_block(w->sim, other, one, ns);
        }
        if (other != one && (ways & 2)) {
            sim_net_block(w->sim, one, other, ns);
        }
    }
    world_say(w, "%s is cut off (%s) for %llu ms", one->name,
              ways == 1   ? "hears nobody"
              : ways == 2 ? "is not heard"
                          : "both ways",
              (unsigned long long)(ns / NS_PER_MS));
    return true;
}

static bool halves(struct world *w)
{
    uint64_t side = sim_rand64(&w->rand);
    uint64_t ns = block_time(w);
    for (uint32_t i = 0; i < world_process_count(w); i++) {
        for (uint32_t k = 0; k < world_process_count(w); k++) {
            if ((side >> i & 1) != (side >> k & 1)) {
                sim_net_block(w->sim, world_process(w, i), world_process(w, k), ns);
            }
        }
    }
    world_say(w, "partition %llx for %llu ms",
              (unsigned long long)(side & ((1ull << world_process_count(w)) - 1)),
              (unsigned long long)(ns / NS_PER_MS));
    return true;
}

static bool slow_net(struct world *w)
{
    struct sim_process *p = some_process(w);
    p->net_more_ns = sim_between(&w->rand, 1, 400) * NS_PER_MS;
    p->net_slow_ns = w->sim->now_ns + sim_between(&w->rand, 100, 5000) * NS_PER_MS;
    world_say(w, "frames of %s take up to %llu ms more", p->name,
              (unsigned long long)(p->net_more_ns / NS_PER_MS));
    return true;
}

static bool slow_disk(struct world *w)
{
    struct sim_process *p = some_server(w)->process;
    p->disk_factor = (uint32_t)sim_between(&w->rand, 2, sim_chance(&w->rand, 1, 3) ? 500 : 40);
    p->disk_slow_ns = w->sim->now_ns + sim_between(&w->rand, 100, 5000) * NS_PER_MS;
    world_say(w, "the disk of %s is %u times as slow", p->name, p->disk_factor);
    return true;
}

static bool pause_server(struct world *w)
{
    struct sim_server *s = sim_chance(&w->rand, 1, 2) ? some_server(w) : fault_some_master(w);
    if (!server_up(s)) {
        return false;
    }
    uint64_t ns = sim_between(&w->rand, 10, sim_chance(&w->rand, 1, 2) ? 5000 : 500) * NS_PER_MS;
    world_say(w, "%s stands still for %llu ms", s->process->name,
              (unsigned long long)(ns / NS_PER_MS));
    sim_process_pause(s->process, ns);
    return true;
}

static bool power_rack(struct world *w)
{
    uint32_t rack = 1 + (uint32_t)sim_below(&w->rand, WORLD_RACKS);
    for (uint32_t i = 1; i < w->server_count; i++) {
        if (w->servers[i].rack == rack) {
            server_kill(&w->servers[i], true, fault_down_time(w));
        }
    }
    return true;
}

static bool jump_clock(struct world *w)
{
    struct sim_process *p = some_process(w);
    int64_t ns =
        (int64_t)sim_below(&w->rand, sim_chance(&w->rand, 1, 4) ? 7200 * NS_PER_S : 3 * NS_PER_S);
    p->wall_offset_ns += sim_chance(&w->rand, 1, 2) ? ns : -ns;
    world_say(w, "the wall clock of %s jumps", p->name);
    return true;
}

/* ---------------------------------------------------------------- death at any event */

static void kill_if(struct sim_server *s, const struct sim_process *p)
{
    if (s->process == p) {
        server_kill(s, s->world->doomed_by_power, fault_down_time(s->world));
    }
}

static void on_break(struct sim *s)
{
    struct world *w = s->owner;
    struct sim_process *p = w->doomed;
    w->doomed = NULL;
    for (uint32_t i = 0; i < w->server_count; i++) {
        kill_if(&w->servers[i], p);
    }
    for (uint32_t i = 1; i < w->master_count; i++) {
        kill_if(w->masters[i], p);
    }
    (void)monitors_kill(w->monitors, p, w->doomed_by_power, fault_down_time(w));
    for (uint32_t i = 0; i < w->mount_count; i++) {
        if (w->mounts[i].process == p) {
            mount_kill(&w->mounts[i], 500 * NS_PER_MS + fault_down_time(w));
        }
    }
}

static bool kill_at_event(struct world *w)
{
    if (w->doomed != NULL) {
        return false;
    }
    w->doomed = some_process(w);
    w->doomed_by_power = sim_chance(&w->rand, 1, 3);
    w->sim->on_break = on_break;
    w->sim->break_events = sim_between(&w->rand, 1, sim_chance(&w->rand, 1, 2) ? 20 : 400);
    return true;
}

static bool block_path(struct world *w)
{
    struct sim_process *ends[WORLD_PROCESSES_MAX];
    for (uint32_t i = 0; i < world_process_count(w); i++) {
        ends[i] = world_process(w, i);
    }
    uint64_t a = sim_below(&w->rand, world_process_count(w));
    uint64_t b = (a + 1 + sim_below(&w->rand, world_process_count(w) - 1)) % world_process_count(w);
    uint64_t ns = block_time(w);
    sim_net_block(w->sim, ends[a], ends[b], ns);
    if (sim_chance(&w->rand, 2, 3)) {
        sim_net_block(w->sim, ends[b], ends[a], ns);
    }
    world_say(w, "block of %s and %s for %llu ms", ends[a]->name, ends[b]->name,
              (unsigned long long)(ns / NS_PER_MS));
    return true;
}

static bool stop_cleanly(struct world *w)
{
    struct sim_server *s = some_server(w);
    struct why why = {{0}};
    if (!server_up(s) || s->process->stopped_ns > w->sim->now_ns) {
        return false;
    }
    if (s->number == 0 &&
        master_wind_down(s->master)) { /* it asks to be ended when it has yielded */
        return true;
    }
    int err = s->number == 0 ? master_stop(s->master, &why) : chunkd_stop(s->chunkd, &why);
    if (err != 0 && !s->sprung) {
        world_fail(w, "%s does not stop cleanly: %s (%s)", s->process->name, why.text,
                   err_name(err));
    }
    sim_disk_real_synced(s->process->disk, err == 0);
    /* What a clean stop leaves must stand a power cut too. */
    server_kill(s, sim_chance(&w->rand, 1, 2), fault_down_time(w));
    return true;
}

/* A mount that dies while the master is down has sent what its successor never hears of. */
static bool kill_both(struct world *w)
{
    uint64_t ns = fault_down_time(w);
    struct mount *m = &w->mounts[sim_below(&w->rand, w->mount_count)];
    server_kill(fault_some_master(w), sim_chance(&w->rand, 1, 3), ns);
    mount_kill_later(m, sim_below(&w->rand, ns));
    return true;
}

/* Only while every chunk has all its copies, and there are servers to make new ones: then nothing
 * that was promised may be missing afterwards. */
static bool may_lose_disk(struct world *w)
{
    const struct sim_server *primary = world_primary(w);
    if (primary == NULL || !master_redundant(primary->master)) {
        return false;
    }
    for (uint32_t i = 1; i < w->server_count; i++) {
        if (!server_up(&w->servers[i])) {
            return false;
        }
    }
    return true;
}

static void lose_when_possible(struct sim_event *e)
{
    struct world *w = container_of(e, struct world, lose_event);
    struct sim_server *s = w->losing;
    if (w->rots && s->number != w->rotten) { /* the good copies stay */
        s = &w->servers[w->rotten];
    }
    if (!may_lose_disk(w)) {
        sim_at(w->sim, e, w->sim->now_ns + 20 * NS_PER_MS);
        return;
    }
    world_say(w, "loss of the disk of %s", s->process->name);
    w->faults[FAULT_LOSE_DISK]++;
    server_kill(s, true, w->losing_ns);
    server_wipe(s);
}

/* As soon as it can be; counted then. */
static bool lose_disk(struct world *w)
{
    if (w->server_count - 1 > WORLD_REPLICAS && !sim_scheduled(&w->lose_event)) {
        w->losing = fault_some_chunkd(w);
        w->losing_ns = fault_down_time(w);
        w->lose_event.run = lose_when_possible;
        sim_at(w->sim, &w->lose_event, w->sim->now_ns);
    }
    return false;
}

static bool kill_master(struct world *w)
{
    /* One of several mostly comes back at once: its monitor is there. */
    bool at_once = w->master_count > 1 && sim_chance(&w->rand, 2, 3);
    server_kill(fault_some_master(w), false, at_once ? 0 : fault_down_time(w));
    return true;
}

static bool kill_chunkd(struct world *w)
{
    server_kill(fault_some_chunkd(w), false, fault_down_time(w));
    return true;
}

static bool kill_mount(struct world *w)
{
    mount_kill(&w->mounts[sim_below(&w->rand, w->mount_count)],
               500 * NS_PER_MS + fault_down_time(w));
    return true;
}

static bool stop_mount(struct world *w)
{
    struct mount *m = &w->mounts[sim_below(&w->rand, w->mount_count)];
    uint32_t patience = sim_chance(&w->rand, 1, 4) ? (uint32_t)sim_below(&w->rand, 500) : 10000;
    return mount_stop(m, patience, 500 * NS_PER_MS + fault_down_time(w));
}

static bool power_master(struct world *w)
{
    cut_power(w, fault_some_master(w), fault_down_time(w));
    return true;
}

static bool power_chunkd(struct world *w)
{
    server_kill(fault_some_chunkd(w), true, fault_down_time(w));
    return true;
}

static bool power_site(struct world *w)
{
    for (uint32_t i = 0; i < w->server_count; i++) {
        server_kill(&w->servers[i], true, fault_down_time(w));
    }
    for (uint32_t i = 1; i < w->master_count; i++) {
        server_kill(w->masters[i], true, fault_down_time(w));
    }
    for (uint32_t i = 0; i < monitors_count(w->monitors); i++) {
        (void)monitors_kill(w->monitors, monitors_process(w->monitors, i), true,
                            fault_down_time(w));
    }
    return true;
}

static bool cut_connection(struct world *w)
{
    return sim_net_cut_one(w->sim, &w->rand);
}

static bool cut_at_byte(struct world *w)
{
    uint64_t max = sim_chance(&w->rand, 1, 2) ? 2000 : 200000;
    return sim_net_cut_at(w->sim, &w->rand, sim_between(&w->rand, 1, max));
}

/* It dies again as soon as it is up: what a start makes durable, and in which order, shows only
 * then. */
static bool die_early(struct world *w)
{
    struct sim_server *s = sim_chance(&w->rand, 1, 2) ? fault_some_master(w) : fault_some_chunkd(w);
    uint64_t ns = fault_down_time(w);
    s->early_deaths = (uint32_t)sim_between(&w->rand, 1, 2);
    s->early_ns = sim_below(&w->rand, (sim_chance(&w->rand, 1, 2) ? 30 : 4) * NS_PER_MS);
    s->early_power_cut = sim_chance(&w->rand, 2, 3);
    if (s->number == 0 && server_up(s) && sim_chance(&w->rand, 1, 2)) {
        s->dies_in_write = true; /* and the power goes before its successor has written */
        s->early_power_cut = true;
        s->early_ns = sim_below(&w->rand, NS_PER_MS / 2);
        return true;
    }
    server_kill(s, sim_chance(&w->rand, 1, 4), ns);
    return true;
}

/* ---------------------------------------------------------------- several masters */

static struct sim_process *some_monitor(struct world *w)
{
    return monitors_process(w->monitors,
                            (uint32_t)sim_below(&w->rand, monitors_count(w->monitors)));
}

/* It dies, or stands still. */
static bool kill_monitor(struct world *w)
{
    if (w->monitors == NULL) {
        return false;
    }
    struct sim_process *p = some_monitor(w);
    uint64_t ns = sim_between(&w->rand, 10, 12000) * NS_PER_MS;
    if (sim_chance(&w->rand, 1, 3) && p->alive) {
        world_say(w, "%s stands still for %llu ms", p->name, (unsigned long long)(ns / NS_PER_MS));
        sim_process_pause(p, ns);
        return true;
    }
    return monitors_kill(w->monitors, p, sim_chance(&w->rand, 1, 4), ns);
}

static void cut_apart(struct world *w, struct sim_process *a, struct sim_process *b, uint64_t ns)
{
    sim_net_block(w->sim, a, b, ns);
    sim_net_block(w->sim, b, a, ns);
}

/* It reaches no other master, and its monitor not the engine: another takes over, while some mounts and
 * chunkservers are still with the old one. */
static bool strand_primary(struct world *w)
{
    struct sim_server *p = world_primary(w);
    uint64_t ns = sim_between(&w->rand, 3000, 10000) * NS_PER_MS;
    if (w->master_count == 1 || p == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < w->master_count; i++) {
        if (w->masters[i] != p) {
            cut_apart(w, p->process, w->masters[i]->process, ns);
        }
    }
    for (uint32_t i = 1; i < w->server_count; i++) {
        if (sim_chance(&w->rand, 1, 2)) {
            cut_apart(w, p->process, w->servers[i].process, ns);
        }
    }
    for (uint32_t i = 0; i < w->mount_count; i++) {
        if (sim_chance(&w->rand, 1, 2)) {
            cut_apart(w, p->process, w->mounts[i].process, ns);
        }
    }
    (void)monitors_strand(w->monitors, p->rank, ns);
    world_say(w, "%s is stranded for %llu ms", p->process->name,
              (unsigned long long)(ns / NS_PER_MS));
    return true;
}

/* The others refuse it, until its list is right. */
static bool wrong_list(struct world *w)
{
    struct sim_server *s = w->masters[sim_below(&w->rand, w->master_count)];
    for (uint32_t i = 0; i < w->master_count; i++) {
        if (w->masters[i]->other_list != 0) { /* two that agree would be a set */
            return false;
        }
    }
    server_wrong_list(s, (uint32_t)sim_between(&w->rand, 1, 3),
                      sim_between(&w->rand, 500, 8000) * NS_PER_MS);
    return true;
}

static bool hand_over(struct world *w)
{
    return w->monitors != NULL && monitors_hand_over(w->monitors, &w->rand);
}

static bool disturb_engine(struct world *w)
{
    return w->monitors != NULL && monitors_disturb(w->monitors, &w->rand);
}

/* ---------------------------------------------------------------- which, and when */

/* One row per kind. strike: false if it could not happen now. */
static const struct fault_row {
    const char *name;
    uint32_t weight; /* how often, beside the others that are on */
    bool (*strike)(struct world *w);
} rows[FAULT_KINDS] = {
    [FAULT_KILL_MASTER] = {"master kills", 4, kill_master},
    [FAULT_KILL_CHUNKD] = {"chunkd kills", 6, kill_chunkd},
    [FAULT_KILL_MOUNT] = {"mount kills", 3, kill_mount},
    [FAULT_POWER_MASTER] = {"master power cuts", 3, power_master},
    [FAULT_POWER_CHUNKD] = {"chunkd power cuts", 4, power_chunkd},
    [FAULT_POWER_SITE] = {"site power cuts", 1, power_site},
    [FAULT_CUT_CONNECTION] = {"connections cut", 6, cut_connection},
    [FAULT_BLOCK_PATH] = {"paths blocked", 4, block_path},
    [FAULT_STOP_SERVER] = {"clean stops", 2, stop_cleanly},
    [FAULT_KILL_BOTH] = {"master and mount kills", 3, kill_both},
    [FAULT_LOSE_DISK] = {"disks lost", 4, lose_disk},
    [FAULT_DIE_EARLY] = {"early deaths", 4, die_early},
    [FAULT_FLIP_BIT] = {"bits flipped", 3, fault_flip_bit},
    [FAULT_KILL_AT_EVENT] = {"kills at an event", 6, kill_at_event},
    [FAULT_CUT_AT_BYTE] = {"frames cut", 6, cut_at_byte},
    [FAULT_ISOLATE] = {"isolations", 3, isolate},
    [FAULT_HALVES] = {"partitions", 2, halves},
    [FAULT_SLOW_NET] = {"slow networks", 4, slow_net},
    [FAULT_SLOW_DISK] = {"slow disks", 4, slow_disk},
    [FAULT_PAUSE] = {"pauses", 4, pause_server},
    [FAULT_POWER_RACK] = {"rack power cuts", 2, power_rack},
    [FAULT_EIO_READ] = {"unreadable sectors", 3, fault_spoil_sector},
    [FAULT_EIO_WRITE] = {"failed writes", 3, fault_fail_write},
    [FAULT_FAIL_SYNC] = {"failed syncs", 2, fault_fail_sync},
    [FAULT_LOST_WRITE] = {"lost writes", 3, fault_lose_write},
    [FAULT_MISDIRECT] = {"misdirected writes", 3, fault_misdirect_write},
    [FAULT_LOG_FAILS] = {"failures of the log", 3, fault_fail_log},
    [FAULT_DISK_FULL] = {"full disks", 3, fault_fill_disk},
    [FAULT_CLOCK] = {"clock jumps", 2, jump_clock},
    [FAULT_MASTER_FULL] = {"full disks of the master", 3, fault_fill_master},
    [FAULT_STATE_FAILS] = {"failures of the state", 3, fault_fail_state},
    [FAULT_BAD_CHECKPOINT] = {"damaged checkpoints", 3, fault_damage_checkpoint},
    [FAULT_NO_CHECKPOINT] = {"lost checkpoints", 2, fault_lose_checkpoints},
    [FAULT_TRIAL] = {"trials of damaged disks", 3, fault_try_disk},
    [FAULT_KILL_MONITOR] = {"monitor kills", 3, kill_monitor},
    [FAULT_HAND_OVER] = {"hand-overs", 3, hand_over},
    [FAULT_ENGINE] = {"engine failures", 5, disturb_engine},
    [FAULT_STRAND] = {"primaries stranded", 4, strand_primary},
    [FAULT_STOP_MOUNT] = {"mounts that left", 3, stop_mount},
    [FAULT_OTHER_LIST] = {"wrong lists of masters", 2, wrong_list},
    [FAULT_FLIP_LOG] = {"bits of a log flipped", 8, fault_flip_log},
    [FAULT_WIPE_MASTER] = {"masters' disks lost", 4, fault_wipe_master},
};

const char *fault_name(enum fault_kind kind)
{
    return rows[kind].name;
}

static void next_fault(struct world *w)
{
    sim_at(w->sim, &w->fault_event,
           w->sim->now_ns + w->fault_mean_ns / 16 + sim_below(&w->rand, 2 * w->fault_mean_ns));
}

/* The next one. It has chance of its own, so that leaving one out does not change the others. */
static void fault(struct sim_event *e)
{
    struct world *w = container_of(e, struct world, fault_event);
    uint64_t total = 0;
    w->rand = sim_rand_of(w->seed, FAULT_STREAM + ++w->fault_number);
    next_fault(w);
    for (int i = 0; i < FAULT_KINDS; i++) {
        total += w->fault_on[i] ? rows[i].weight : 0;
    }
    uint64_t draw = sim_below(&w->rand, total);
    int kind = 0;
    while (!w->fault_on[kind] || draw >= rows[kind].weight) {
        draw -= w->fault_on[kind] ? rows[kind].weight : 0;
        kind++;
    }
    if (plan_strikes(&w->plan, (enum fault_kind)kind, w->fault_number)) {
        world_say(w, "fault %u, of: %s", w->fault_number, rows[kind].name);
        w->faults[kind] += rows[kind].strike(w);
    }
}

/* Half of the kinds, drawn for the seed: what is rare beside the others happens often in some. */
static void draw_kinds(struct world *w)
{
    struct sim_rand r = sim_rand_of(w->seed, 12);
    uint32_t on = 0;
    for (int i = 0; i < FAULT_STRAND; i++) {
        w->fault_on[i] = sim_chance(&r, 1, 2) && (w->monitors != NULL || i < FAULT_KILL_MONITOR);
        on += w->fault_on[i];
    }
    w->fault_on[FAULT_KILL_CHUNKD] |= on == 0;
    w->fault_mean_ns = sim_between(&r, 200, 1500) * NS_PER_MS;
    w->fault_on[FAULT_STRAND] =
        sim_chance(&r, 1, 2) && w->monitors != NULL; /* others stay as they were */
    w->fault_on[FAULT_STOP_MOUNT] = sim_chance(&r, 1, 3);
    w->fault_on[FAULT_OTHER_LIST] = sim_chance(&r, 1, 3) && w->master_count > 1;
}

void faults_start(struct world *w)
{
    w->fault_event.run = fault;
    draw_kinds(w);
    next_fault(w);
}

static void heal_server(struct world *w, struct sim_server *s)
{
    s->process->trap.kind = TRAP_NONE;
    server_empty(s);
    s->early_deaths = 0;
    s->dies_in_write = false;
    server_right_list(s);
    s->process->keeps_cache = false;
    s->down_ns = 0;
    sim_cancel(w->sim, &s->death);
    if (s->number != 0 || w->monitors == NULL) {
        server_start(s);
    } else if (sim_scheduled(&s->restart)) {
        sim_at(w->sim, &s->restart, w->sim->now_ns); /* not when its machine would be on again */
    }
}

void faults_end(struct world *w)
{
    sim_cancel(w->sim, &w->fault_event);
    sim_cancel(w->sim, &w->lose_event);
    w->sim->break_events = 0;
    w->doomed = NULL;
    for (uint32_t i = 0; i < world_process_count(w); i++) {
        world_process(w, i)->disk_slow_ns = 0;
        world_process(w, i)->net_slow_ns = 0;
    }
    sim_net_heal(w->sim);
    for (uint32_t i = 0; i < w->server_count; i++) {
        heal_server(w, &w->servers[i]);
    }
    for (uint32_t i = 1; i < w->master_count; i++) {
        heal_server(w, w->masters[i]);
    }
    if (w->monitors != NULL) {
        monitors_heal(w->monitors);
    }
    for (uint32_t i = 0; i < w->mount_count; i++) {
        sim_cancel(w->sim, &w->mounts[i].death);
        if (w->mounts[i].stopping) {
            mount_kill(&w->mounts[i], 0);
        }
        mount_start(&w->mounts[i]);
    }
}
