/* monitors.c - monitors of simulated masters. */
#include "tests/sim/monitors.h"
#include "deploy/monitor/core/elect_keeper.h"
#include "deploy/monitor/core/elect_local.h"
#include "deploy/monitor/core/monitor_internal.h"
#include "master/core/master_internal.h"
#include "shared/base/mem.h"
#include "tests/sim/caller.h"
#include "tests/sim/engine_harm.h"
#include "tests/sim/handover.h"
#include "tests/sim/sim_keeper.h"
#include "tests/sim/sim_net.h"

#include <stdio.h>
#include <string.h>

enum { SESSION_MS = 6000, LOOK_MS = 50, SPAWN_MAX_MS = 20, EPOCHS_MAX = 256 };

/* A monitor, and the masters it has. */
struct machine {
    struct monitors *all;
    struct sim_process *process;
    struct monitor_config cfg;
    struct processes processes;
    uint32_t first; /* rank of its first master */
    struct elect_local local;
    struct sim_keeper_client client;
    struct elect_keeper elect;
    struct monitor *monitor; /* NULL = down */
    bool misnamed;           /* its configuration names another cluster */
    struct sim_event rename;
    bool ailing; /* its disk fails a call, or its file was damaged: it may not start */
    struct sim_event restart;
};

struct monitors {
    struct world *world;
    struct sim_rand rand; /* what does not depend on faults */
    bool by_keeper;
    struct sim_keeper keeper;
    struct machine machines[WORLD_MASTERS_MAX];
    uint32_t count;
    uint64_t early_ns; /* sessions were ended early: locks may overlap until then */
    bool restored;     /* the engine may give out epochs again */
    const struct sim_process *given[EPOCHS_MAX]; /* masters that epochs were given to */
    uint32_t highest;                            /* of those */
    struct handover *handover;
    struct caller *caller; /* until everything is healed */
    struct sim_event look, mend;
};

/* ---------------------------------------------------------------- processes */

static struct sim_server *master_of(struct processes *p, uint32_t master)
{
    struct machine *x = container_of(p, struct machine, processes);
    return x->all->world->masters[x->first + master];
}

static int start(struct processes *p, uint32_t master)
{
    struct sim_server *s = master_of(p, master);
    struct monitors *all = container_of(p, struct machine, processes)->all;
    struct sim *sim = s->world->sim;
    ASSERT(!server_up(s));
    bool busy = s->world->meta_dir != 0 && !s->world->healing;
    if (busy && sim_chance(&all->rand, 1, 60)) {
        return -EAGAIN; /* the machine has no room for another process */
    }
    sim_at(sim, &s->restart,
           MAX(sim->now_ns, s->down_ns) + sim_below(&all->rand, SPAWN_MAX_MS * NS_PER_MS));
    return 0;
}

static bool alive(struct processes *p, uint32_t master)
{
    const struct sim_server *s = master_of(p, master);
    return server_up(s) || sim_scheduled(&s->restart);
}

static void kill_soon(struct processes *p, uint32_t master)
{
    struct sim_server *s = master_of(p, master);
    struct monitors *all = container_of(p, struct machine, processes)->all;
    sim_cancel(s->world->sim, &s->restart);
    s->process->end_asked = false;
    sim_at(s->world->sim, &s->end,
           s->world->sim->now_ns + sim_below(&all->rand, SPAWN_MAX_MS * NS_PER_MS));
}

/* ---------------------------------------------------------------- life */

static void machine_down(struct machine *x, bool power_cut, uint64_t ns);

/* It says why it does not start, and somebody does what it says. */
static void machine_refuses(struct machine *x, const struct why *why)
{
    struct monitors *s = x->all;
    world_say(s->world, "%s does not start: %s", x->process->name, why->text);
    if (!x->ailing || why->text[0] == '\0') {
        world_fail(s->world, "%s does not start: %s", x->process->name, why->text);
    }
    harm_files_mend(x->process, s->highest);
    x->ailing = x->process->fail_call > 0;
    machine_down(x, false, NS_PER_S);
}

static void machine_up(struct machine *x)
{
    struct why why = {{0}};
    struct elect *engine = &x->local.elect;
    int err = 0;
    sim_cancel(x->all->world->sim, &x->restart);
    sim_process_start(x->process);
    world_say(x->all->world, "start of %s%s", x->process->name,
              x->misnamed ? ", for another cluster" : "");
    snprintf(x->cfg.cluster, sizeof(x->cfg.cluster), "%s", x->misnamed ? "another" : "sim");
    if (x->all->by_keeper) {
        elect_keeper_open(&x->elect, &x->process->env, &x->client.keeper, x->cfg.cluster,
                          x->cfg.listen);
        engine = &x->elect.elect;
    } else {
        err = elect_local_open(&x->local, &x->process->env, &why);
    }
    if (err == 0) {
        x->monitor = monitor_create(&x->process->env, &x->cfg, engine, &x->processes);
        err = monitor_start(x->monitor, &why);
    }
    if (err != 0) {
        machine_refuses(x, &why);
    }
}

static void machine_down(struct machine *x, bool power_cut, uint64_t ns)
{
    struct sim *sim = x->all->world->sim;
    if (x->process->alive) {
        world_say(x->all->world, "%s of %s", power_cut ? "power cut" : "kill", x->process->name);
        if (power_cut) {
            sim_process_power_cut(x->process);
        } else {
            sim_process_kill(x->process);
        }
        monitor_destroy(x->monitor);
        if (x->all->by_keeper) {
            elect_keeper_close(&x->elect);
        } else {
            elect_local_close(&x->local);
        }
        x->monitor = NULL;
    }
    if (ns > 0) {
        sim_at(sim, &x->restart, sim->now_ns + ns);
    }
}

/* Somebody corrects the name of the cluster. */
static void rename_cluster(struct sim_event *e)
{
    struct machine *x = container_of(e, struct machine, rename);
    x->misnamed = false;
    machine_down(x, false, 10 * NS_PER_MS);
}

static void restart(struct sim_event *e)
{
    struct machine *x = container_of(e, struct machine, restart);
    if (x->monitor == NULL) {
        machine_up(x);
    }
}

static struct elect_view view_of(const struct machine *x)
{
    struct elect_view v;
    x->elect.elect.ops->view(&x->elect.elect, &v);
    return v;
}

static void check_locks(struct monitors *s)
{
    uint32_t holders = 0;
    for (uint32_t i = 0; i < s->count && s->by_keeper; i++) {
        const struct machine *x = &s->machines[i];
        bool runs =
            x->monitor != NULL && !x->misnamed && x->process->stopped_ns <= s->world->sim->now_ns;
        holders += runs && view_of(x).held;
    }
    if (holders > 1 && s->world->sim->now_ns >= s->early_ns) {
        world_fail(s->world, "%u monitors hold the lock", holders);
    }
}

static void check_epochs(struct monitors *s)
{
    struct world *w = s->world;
    for (uint32_t i = 0; i < w->master_count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            const struct master *a = w->masters[i]->master, *b = w->masters[k]->master;
            if (a != NULL && b != NULL && a->serving && b->serving && a->epoch == b->epoch) {
                world_fail(w, "masters %u and %u both serve in epoch %u", k, i, a->epoch);
            }
        }
    }
}

void monitors_sent(struct monitors *s, const struct sim_process *to, const struct message *m)
{
    struct promote_req req;
    if (m->head.op != OP_promote || (m->head.flags & FRAME_REPLY) || s == NULL ||
        promote_req_decode(slice_bytes(&m->body), &req) != 0 || req.epoch == 0 ||
        req.epoch >= EPOCHS_MAX) { /* epoch 0 is the stranger's */
        return;
    }
    s->highest = MAX(s->highest, req.epoch);
    if (s->given[req.epoch] != NULL && s->given[req.epoch] != to && !s->restored) {
        world_fail(s->world, "epoch %u is given to %s and to %s", req.epoch,
                   s->given[req.epoch]->name, to->name);
    }
    s->given[req.epoch] = to;
}

bool monitors_gave(const struct monitors *s, uint32_t epoch, const char *addr)
{
    const struct world *w = s->world;
    bool known = epoch < EPOCHS_MAX && !s->restored;
    bool gave = !known;
    for (uint32_t i = 0; i < w->master_count && known; i++) {
        char own[32];
        world_master_addr(i, own);
        gave |= s->given[epoch] == w->masters[i]->process && strcmp(own, addr) == 0;
    }
    return gave;
}

/* A bit that flips may leave an epoch that can be read. If it is higher than any, the monitor of one
 * master takes the master's directory for an old copy, and says so, until somebody looks and finds
 * that it is the monitor's own file that is wrong. */
static void check_alarm(struct machine *x)
{
    const struct monitor *m = x->monitor;
    if (m == NULL || !m->cfg.alone || m->state != LOOKING ||
        strstr(m->alarm, "file epoch") == NULL) {
        return;
    }
    if (!x->all->restored) {
        world_fail(x->all->world, "%s says: %s", x->process->name, m->alarm);
    }
    machine_down(x, false, NS_PER_S);
    harm_files_mend(x->process, x->all->highest);
}

static void look(struct sim_event *e)
{
    struct monitors *s = container_of(e, struct monitors, look);
    sim_keeper_sweep(&s->keeper);
    check_locks(s);
    check_epochs(s);
    for (uint32_t i = 0; i < s->count; i++) {
        check_alarm(&s->machines[i]);
    }
    sim_at(s->world->sim, e, s->world->sim->now_ns + LOOK_MS * NS_PER_MS);
}

static void mend(struct sim_event *e);

static void machine_init(struct monitors *s, struct machine *x, uint32_t number)
{
    static const struct processes_ops ops = {start, alive, kill_soon};
    struct world *w = s->world;
    char name[32];
    snprintf(name, sizeof(name), "monitor-%u", number);
    x->all = s;
    x->first = number;
    x->process = sim_process_create(w->sim, name);
    x->processes.ops = &ops;
    x->restart.run = restart;
    x->rename.run = rename_cluster;
    x->cfg = (struct monitor_config){.cluster = "sim", .hang_ms = 4000, .stall_ms = 8000};
    x->cfg.alone = w->master_count == 1;
    x->cfg.spares = sim_chance(&s->rand, 1, s->by_keeper ? 2 : 6);
    if (w->advertises) {
        snprintf(x->cfg.advertise, sizeof(x->cfg.advertise), "10.0.2.%u:9450", 1 + number);
    }
    snprintf(x->cfg.listen, sizeof(x->cfg.listen), "10.0.2.%u:9450", 1 + number);
    if (s->by_keeper) {
        world_master_addr(number, x->cfg.masters);
        sim_keeper_client_init(&x->client, &s->keeper, x->process);
    } else {
        snprintf(x->cfg.masters, sizeof(x->cfg.masters), "%s", w->master_list);
    }
    if (monitor_count_masters(x->cfg.masters) != (s->by_keeper ? 1 : w->master_count) ||
        monitor_count_masters("a:1,b:1,c:1,d:1,e:1,f:1") != 0) {
        world_fail(w, "%u masters are counted in %s", monitor_count_masters(x->cfg.masters),
                   x->cfg.masters);
    }
}

struct monitors *monitors_new(struct world *w)
{
    struct monitors *s = mem_new(struct monitors);
    s->world = w;
    s->rand = sim_rand_of(w->seed, 15);
    s->by_keeper = w->master_count > 1 && sim_chance(&s->rand, 1, 2);
    s->count = s->by_keeper ? w->master_count : 1;
    sim_keeper_init(&s->keeper, w->sim, w->seed, SESSION_MS);
    for (uint32_t i = 0; i < s->count; i++) {
        machine_init(s, &s->machines[i], i);
    }
    s->look.run = look;
    s->mend.run = mend;
    s->handover = handover_new(w);
    return s;
}

void monitors_free(struct monitors *s)
{
    if (s == NULL) {
        return;
    }
    for (uint32_t i = 0; i < s->count; i++) {
        machine_down(&s->machines[i], false, 0);
        sim_cancel(s->world->sim, &s->machines[i].restart);
        sim_cancel(s->world->sim, &s->machines[i].rename);
    }
    sim_cancel(s->world->sim, &s->look);
    sim_cancel(s->world->sim, &s->mend);
    handover_free(s->handover);
    caller_stop(s->caller);
    mem_free(s);
}

void monitors_start(struct monitors *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        machine_up(&s->machines[i]);
    }
    sim_at(s->world->sim, &s->look, s->world->sim->now_ns);
    s->caller = sim_chance(&s->rand, 1, 2) ? caller_start(s->world) : NULL;
}

uint32_t monitors_count(const struct monitors *s)
{
    return s != NULL ? s->count : 0;
}

struct sim_process *monitors_process(struct monitors *s, uint32_t i)
{
    return s->machines[i].process;
}

bool monitors_kill(struct monitors *s, const struct sim_process *p, bool power_cut, uint64_t ns)
{
    for (uint32_t i = 0; i < monitors_count(s); i++) {
        struct machine *x = &s->machines[i];
        if (x->process == p && x->monitor != NULL) {
            machine_down(x, power_cut, ns);
            return true;
        }
    }
    return false;
}

struct sim_process *monitors_beside(struct monitors *s, uint32_t rank)
{
    return s != NULL && s->by_keeper ? s->machines[rank].process : NULL;
}

bool monitors_hand_over(struct monitors *s, struct sim_rand *r)
{
    const struct sim_server *primary = world_primary(s->world);
    if (primary != NULL && sim_chance(r, 2, 3)) {
        return handover_ask(s->handover, primary->rank);
    }
    for (uint32_t i = 0; i < s->count; i++) {
        struct machine *x = &s->machines[i];
        if (x->monitor != NULL && x->monitor->state == HOLDING && monitor_hand_over(x->monitor)) {
            world_say(s->world, "%s hands over", x->process->name);
            return true;
        }
    }
    return false;
}

bool monitors_strand(struct monitors *s, uint32_t rank, uint64_t ns)
{
    struct machine *x = &s->machines[rank];
    if (!s->by_keeper) {
        return false;
    }
    x->client.cut_ns = s->world->sim->now_ns + ns;
    s->early_ns = s->world->sim->now_ns + SESSION_MS * NS_PER_MS;
    sim_keeper_expire(&s->keeper, &x->client);
    for (uint32_t i = 0; i < s->count; i++) {
        if (i != rank) {
            sim_net_block(s->world->sim, x->process, s->machines[i].process, ns);
            sim_net_block(s->world->sim, s->machines[i].process, x->process, ns);
        }
    }
    return true;
}

/* ---------------------------------------------------------------- engines that fail */

/* The number of the epoch in the engine cannot be trusted any more. */
static void doubt_epochs(struct monitors *s)
{
    s->restored = true;
    s->early_ns = s->world->sim->now_ns + SESSION_MS * NS_PER_MS;
}

static void mend(struct sim_event *e)
{
    struct monitors *s = container_of(e, struct monitors, mend);
    if (harm_entries_mend(&s->keeper, s->highest)) {
        world_say(s->world, "the epoch at the engine is written anew");
    }
}

/* The files of the one monitor. */
static bool disturb_files(struct monitors *s, struct sim_rand *r)
{
    struct machine *x = &s->machines[0];
    uint64_t draw = sim_below(r, 4);
    if (draw == 0) {
        harm_files_shared(s->world, x->process);
        return false;
    }
    x->ailing = true;
    if (draw < 3) {
        harm_files_fail(s->world, x->process, r);
        return true;
    }
    doubt_epochs(s);
    machine_down(x, sim_chance(r, 1, 2), sim_between(r, 10, 5000) * NS_PER_MS);
    return harm_files_damage(s->world, x->process, r);
}

/* The hand of an administrator. */
static bool meddle(struct monitors *s, struct sim_rand *r)
{
    uint64_t now = s->world->sim->now_ns;
    const struct machine *x = &s->machines[sim_below(r, s->count)];
    if (sim_chance(r, 1, 3)) {
        s->keeper.forbidden_ns = now + sim_below(r, 8 * NS_PER_S);
        world_say(s->world, "the engine gives nobody rights");
        return true;
    }
    doubt_epochs(s);
    world_say(s->world, "at the engine %s", harm_entries(&s->keeper, x->cfg.listen, r));
    sim_at(s->world->sim, &s->mend, now + sim_between(r, 100, 6000) * NS_PER_MS);
    return true;
}

/* The masters refuse a monitor of another cluster. */
static bool misname(struct machine *x, struct sim_rand *r)
{
    struct sim *sim = x->all->world->sim;
    x->misnamed = true;
    machine_down(x, false, 10 * NS_PER_MS);
    sim_at(sim, &x->rename, sim->now_ns + sim_between(r, 300, 5000) * NS_PER_MS);
    return true;
}

bool monitors_disturb(struct monitors *s, struct sim_rand *r)
{
    uint64_t now = s->world->sim->now_ns;
    struct machine *x = &s->machines[sim_below(r, s->count)];
    if (sim_chance(r, 1, 10)) {
        return misname(x, r);
    }
    if (!s->by_keeper) {
        return disturb_files(s, r);
    }
    switch (sim_below(r, 6)) {
    case 0:
        x->client.cut_ns = now + sim_below(r, 15 * NS_PER_S);
        world_say(s->world, "%s does not reach the engine", x->process->name);
        break;
    case 1:
        s->keeper.down_ns = now + sim_below(r, 15 * NS_PER_S);
        world_say(s->world, "the engine is away");
        break;
    case 2:
        s->early_ns = now + SESSION_MS * NS_PER_MS;
        sim_keeper_expire(&s->keeper, &x->client);
        world_say(s->world, "the session of %s is ended", x->process->name);
        break;
    case 3:
        s->keeper.lost_per_mille = (uint32_t)sim_below(r, 60);
        break;
    case 4:
        return meddle(s, r);
    default:
        if (s->keeper.backup.count == 0 || sim_chance(r, 1, 2)) {
            sim_keeper_save(&s->keeper);
            return false;
        }
        doubt_epochs(s);
        sim_keeper_restore(&s->keeper);
        sim_at(s->world->sim, &s->mend, now + NS_PER_S);
        world_say(s->world, "the engine is restored from an old copy");
    }
    return true;
}

void monitors_heal(struct monitors *s)
{
    caller_stop(s->caller);
    s->caller = NULL;
    s->keeper.down_ns = s->keeper.forbidden_ns = s->keeper.lost_per_mille = 0;
    if (s->by_keeper) {
        mend(&s->mend);
    }
    for (uint32_t i = 0; i < s->count; i++) {
        struct machine *x = &s->machines[i];
        x->client.cut_ns = 0;
        x->process->fail_call = 0;
        if (x->misnamed) {
            sim_cancel(s->world->sim, &x->rename);
            rename_cluster(&x->rename);
        }
        if (x->monitor == NULL) {
            machine_up(x);
        }
    }
}

const char *monitors_unsettled(const struct monitors *s)
{
    bool held = false;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct monitor *m = s->machines[i].monitor;
        held |= m != NULL && m->state == HOLDING;
    }
    return held ? NULL : "the monitors";
}
