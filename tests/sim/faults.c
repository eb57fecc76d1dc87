/* faults.c - what goes wrong, when, and the end of it. */
#include "tests/sim/sim_net.h"
#include "tests/sim/world.h"

const char *fault_name(enum fault_kind kind)
{
    static const char *const names[FAULT_KINDS] = {
        [FAULT_KILL_MASTER] = "master kills",       [FAULT_KILL_CHUNKD] = "chunkd kills",
        [FAULT_KILL_MOUNT] = "mount kills",         [FAULT_POWER_MASTER] = "master power cuts",
        [FAULT_POWER_CHUNKD] = "chunkd power cuts", [FAULT_POWER_SITE] = "site power cuts",
        [FAULT_CUT_CONNECTION] = "connections cut", [FAULT_BLOCK_PATH] = "paths blocked",
        [FAULT_STOP_SERVER] = "clean stops",        [FAULT_KILL_BOTH] = "master and mount kills",
        [FAULT_LOSE_DISK] = "disks lost",           [FAULT_FLIP_BIT] = "bits flipped",
    };
    return names[kind];
}

static uint64_t down_time(struct world *w)
{
    struct sim_rand *r = &w->rand;
    return sim_chance(r, 1, 3) ? 10 * NS_PER_MS + sim_below(r, 200 * NS_PER_MS)
                               : 100 * NS_PER_MS + sim_below(r, 3 * NS_PER_S);
}

static struct sim_server *some_chunkd(struct world *w)
{
    return &w->servers[1 + sim_below(&w->rand, w->server_count - 1)];
}

static void block_path(struct world *w)
{
    struct sim_process *ends[WORLD_SERVERS_MAX + WORLD_MOUNTS];
    for (uint32_t i = 0; i < w->server_count; i++) {
        ends[i] = w->servers[i].process;
    }
    for (uint32_t i = 0; i < WORLD_MOUNTS; i++) {
        ends[w->server_count + i] = w->mounts[i].process;
    }
    uint64_t a = sim_below(&w->rand, w->server_count + WORLD_MOUNTS);
    uint64_t b = (a + 1 + sim_below(&w->rand, w->server_count + WORLD_MOUNTS - 1)) %
                 (w->server_count + WORLD_MOUNTS);
    uint64_t ns = 50 * NS_PER_MS + sim_below(&w->rand, 2 * NS_PER_S);
    sim_net_block(w->sim, ends[a], ends[b], ns);
    if (sim_chance(&w->rand, 2, 3)) {
        sim_net_block(w->sim, ends[b], ends[a], ns);
    }
    world_say(w, "block of %s and %s for %llu ms", ends[a]->name, ends[b]->name,
              (unsigned long long)(ns / NS_PER_MS));
}

static void stop_cleanly(struct world *w)
{
    struct sim_server *s = &w->servers[sim_below(&w->rand, w->server_count)];
    struct why why = {{0}};
    if (!server_up(s)) {
        return;
    }
    int err = s->number == 0 ? master_stop(s->master, &why) : chunkd_stop(s->chunkd, &why);
    if (err != 0) {
        world_fail(w, "%s does not stop cleanly: %s (%s)", s->process->name, why.text,
                   err_name(err));
    }
    /* What a clean stop leaves must stand a power cut too. */
    server_kill(s, sim_chance(&w->rand, 1, 2), down_time(w));
}

/* A mount that dies while the master is down has sent what its successor never hears of. */
static void kill_both(struct world *w)
{
    uint64_t ns = down_time(w);
    struct mount *m = &w->mounts[sim_below(&w->rand, WORLD_MOUNTS)];
    server_kill(&w->servers[0], sim_chance(&w->rand, 1, 3), ns);
    mount_kill_later(m, sim_below(&w->rand, ns));
}

/* Only while every chunk has all its copies, and there are servers to make new ones: then nothing
 * that was promised may be missing afterwards. */
static void lose_disk(struct world *w)
{
    struct sim_server *s = some_chunkd(w);
    if (w->server_count - 1 <= WORLD_REPLICAS || w->servers[0].master == NULL ||
        !master_settled(w->servers[0].master)) {
        return;
    }
    for (uint32_t i = 1; i < w->server_count; i++) {
        if (!server_up(&w->servers[i])) {
            return;
        }
    }
    world_say(w, "loss of the disk of %s", s->process->name);
    w->faults[FAULT_LOSE_DISK]++;
    server_kill(s, true, down_time(w));
    sim_disk_wipe(s->process->disk);
}

static void flip_bit(struct world *w)
{
    struct sim_server *s = &w->servers[w->rotten];
    char path[64];
    if (sim_disk_flip(s->process->disk, "chunks/", &w->rand, path, sizeof(path))) {
        world_say(w, "a bit of %s flips on %s", path, s->process->name);
        w->faults[FAULT_FLIP_BIT]++;
    }
}

static void strike(struct world *w, enum fault_kind kind)
{
    w->faults[kind] += kind != FAULT_LOSE_DISK && kind != FAULT_FLIP_BIT;
    switch (kind) {
    case FAULT_KILL_MASTER:
    case FAULT_POWER_MASTER:
        server_kill(&w->servers[0], kind == FAULT_POWER_MASTER, down_time(w));
        break;
    case FAULT_KILL_CHUNKD:
        server_kill(some_chunkd(w), false, down_time(w));
        break;
    case FAULT_POWER_CHUNKD:
        server_kill(some_chunkd(w), true, down_time(w));
        break;
    case FAULT_POWER_SITE:
        for (uint32_t i = 0; i < w->server_count; i++) {
            server_kill(&w->servers[i], true, down_time(w));
        }
        break;
    case FAULT_KILL_MOUNT:
        mount_kill(&w->mounts[sim_below(&w->rand, WORLD_MOUNTS)], 500 * NS_PER_MS + down_time(w));
        break;
    case FAULT_CUT_CONNECTION:
        (void)sim_net_cut_one(w->sim, &w->rand);
        break;
    case FAULT_BLOCK_PATH:
        block_path(w);
        break;
    case FAULT_STOP_SERVER:
        stop_cleanly(w);
        break;
    case FAULT_KILL_BOTH:
        kill_both(w);
        break;
    case FAULT_LOSE_DISK:
        lose_disk(w);
        break;
    case FAULT_FLIP_BIT:
        flip_bit(w);
        break;
    case FAULT_KINDS:
        break;
    }
}

static void next_fault(struct world *w)
{
    sim_at(w->sim, &w->fault_event,
           w->sim->now_ns + 100 * NS_PER_MS + sim_below(&w->rand, 3 * NS_PER_S));
}

static void fault(struct sim_event *e)
{
    struct world *w = container_of(e, struct world, fault_event);
    static const struct {
        enum fault_kind kind;
        uint32_t weight;
    } mix[] = {
        {FAULT_KILL_MASTER, 4},    {FAULT_KILL_CHUNKD, 6},  {FAULT_KILL_MOUNT, 3},
        {FAULT_POWER_MASTER, 3},   {FAULT_POWER_CHUNKD, 4}, {FAULT_POWER_SITE, 1},
        {FAULT_CUT_CONNECTION, 6}, {FAULT_BLOCK_PATH, 4},   {FAULT_STOP_SERVER, 2},
        {FAULT_KILL_BOTH, 3},      {FAULT_LOSE_DISK, 4},    {FAULT_FLIP_BIT, 3},
    };
    uint64_t draw = sim_below(&w->rand, 43);
    for (size_t i = 0; i < COUNT_OF(mix); i++) {
        if (draw < mix[i].weight) {
            strike(w, mix[i].kind);
            break;
        }
        draw -= mix[i].weight;
    }
    next_fault(w);
}

void faults_start(struct world *w)
{
    w->fault_event.run = fault;
    next_fault(w);
}

void faults_end(struct world *w)
{
    sim_cancel(w->sim, &w->fault_event);
    sim_net_heal(w->sim);
    for (uint32_t i = 0; i < w->server_count; i++) {
        server_start(&w->servers[i]);
    }
    for (uint32_t i = 0; i < WORLD_MOUNTS; i++) {
        sim_cancel(w->sim, &w->mounts[i].death);
        mount_start(&w->mounts[i]);
    }
}
