/* world_draw.c - what kind of world a seed draws. */
#include "tests/sim/world.h"

#include <stdio.h>
#include <string.h>

/* Each seed has a world of its own: slow or quick network and disks, small or large log segments.
 */
static void draw_world(struct world *w)
{
    struct sim_rand r = sim_rand_of(w->seed, 10);
    struct sim_knobs *k = &w->sim->knobs;
    k->drift_ppm = (int32_t)(sim_chance(&r, 1, 2) ? 10000 : sim_below(&r, 4000));
    k->net_min_ns = sim_between(&r, 10000, 100000);
    k->net_mean_ns = sim_between(&r, 50000, 1000000);
    k->disk_min_ns = sim_between(&r, 10000, 100000);
    k->disk_max_ns = k->disk_min_ns + sim_between(&r, 100000, 8000000);
    w->geo = (struct geometry){.chunk_bytes = 256 * 1024,
                               .block_bytes = 4096,
                               .segment_bytes = sim_chance(&r, 1, 2) ? 64 * 1024 : 256 * 1024,
                               .replicas = WORLD_REPLICAS,
                               .heartbeat_ms = 100,
                               .lease_ms = 1000,
                               .session_ms = 5000,
                               .request_timeout_ms = 300,
                               .checkpoint_records = (uint32_t)sim_between(&r, 60, 400)};
    w->server_count = 1 + (sim_chance(&r, 1, 2) ? 3 : (uint32_t)sim_between(&r, 4, 5));
    if (w->plan.chunkds != 0) {
        w->server_count = 1 + MAX(MIN(w->server_count - 1, w->plan.chunkds), WORLD_REPLICAS + 0u);
    }
    w->mount_count = sim_chance(&r, 1, 2) ? 2 : (uint32_t)sim_between(&r, 1, WORLD_MOUNTS_MAX);
    w->share = w->mount_count > 1 && sim_chance(&r, 1, 2);
    w->share_truncates = sim_chance(&r, 1, 2);
    w->rotten = 1 + (uint32_t)sim_below(&r, w->server_count - 1);
    w->ops_wanted = (uint32_t)sim_between(&r, 540, 700);
    if (w->plan.ops != 0) {
        w->ops_wanted = MIN(w->ops_wanted, w->plan.ops);
    }
    w->trash_seconds = sim_chance(&r, 1, 2) ? (uint32_t)sim_between(&r, 1, 20) : 0;
    w->aside_ms = sim_chance(&r, 1, 2) ? (uint32_t)sim_between(&r, 50, 5000) : 0;
    w->preallocate_bytes = sim_chance(&r, 1, 2) ? 1 << 20 : 64 << 20; /* little: many commits */
    w->large_state_bytes = sim_chance(&r, 1, 3) ? 4096 : 0;           /* any state is large */
    w->compact_bytes = sim_chance(&r, 1, 2) ? sim_between(&r, 2, 24) << 10 : 0;
    w->scrub_share = sim_chance(&r, 1, 2) ? 100 : (uint32_t)sim_between(&r, 20, 99);
}

/* What chunkservers have at a time, at most: so little, in some seeds, that they must refuse now and then. */
static void draw_limits(struct world *w)
{
    struct sim_rand r = sim_rand_of(w->seed, 17);
    struct chunkd_limits *l = &w->limits;
    w->reserve_bytes = sim_chance(&r, 1, 2) ? sim_between(&r, 1, 500) << 12 : 0;
    l->open_files = 8;
    l->tails = sim_chance(&r, 1, 2) ? (uint32_t)sim_between(&r, 1, 4) : 0;
    l->peers = sim_chance(&r, 1, 4) ? (uint32_t)sim_between(&r, 3, 5) : 0;
    /* Enough for mounts and other chunkservers, not for everybody else. */
    uint32_t needed = w->mount_count + 1 + w->server_count - 2;
    l->links = sim_chance(&r, 1, 4) ? needed + (uint32_t)sim_below(&r, 3) : 0;
    l->link_requests = sim_chance(&r, 1, 3) ? (uint32_t)sim_between(&r, 2, 8) : 0;
    l->request_bytes =
        sim_chance(&r, 1, 3) ? sim_between(&r, 260, 420) << 10 : 0; /* a chunk in one write */
    l->answer_bytes = sim_chance(&r, 1, 4) ? sim_between(&r, 64, 500) << 10 : 0;
}

static void draw_impostor(struct world *w)
{
    struct sim_rand r = sim_rand_of(w->seed, 18);
    w->impostor = sim_chance(&r, 1, 4);
}

/* How many masters there are, and how many of them must have a record. */
static void draw_masters(struct world *w)
{
    struct sim_rand r = sim_rand_of(w->seed, 14);
    w->master_count = !sim_chance(&r, 1, 3) ? 1 : sim_chance(&r, 4, 5) ? 3 : 5;
    w->log_acks = sim_chance(&r, 1, 5) ? w->master_count : w->master_count / 2 + 1;
    w->loggers_only = w->master_count > 1 && sim_chance(&r, 1, 5) ? 1 : 0;
    w->bad_log = (uint32_t)sim_below(&r, w->master_count);
    w->stale_ms = sim_chance(&r, 1, 2)   ? 0
                  : sim_chance(&r, 1, 2) ? STALE_OFF
                                         : (uint32_t)sim_between(&r, 1000, 10000);
    w->log_scrub_s = sim_chance(&r, 1, 2) ? (uint32_t)sim_between(&r, 1, 10) : 0;
    if (w->master_count > 1 && sim_chance(&r, 2, 3)) { /* who was away needs a checkpoint */
        w->geo.checkpoint_records = (uint32_t)sim_between(&r, 10, 60);
    }
    w->soft_ms = sim_chance(&r, 1, 6) ? (uint32_t)sim_between(&r, 400, 6000) : 0;
    if (w->plan.masters != 0 && w->plan.masters < w->master_count) {
        w->master_count = w->log_acks = 1;
        w->loggers_only = 0;
    }
    w->advertises = sim_chance(&r, 1, 2);
    w->watched = w->master_count > 1 || sim_chance(&r, 1, 4);
    for (uint32_t i = 0; i < w->master_count; i++) {
        char addr[32];
        size_t n = strlen(w->master_list);
        world_master_addr(i, addr);
        snprintf(w->master_list + n, sizeof(w->master_list) - n, "%s%s", i > 0 ? "," : "", addr);
        w->masters[i] = i == 0 ? &w->servers[0] : &w->more_masters[i - 1];
    }
}

/* Half of the bounds are so low that they are met. */
static void draw_bounds(struct sim_rand *r, struct master_bounds *b)
{
    const struct {
        uint32_t *bound, least, most;
    } rows[] = {{&b->commit_records, 4, 60},  {&b->held_replies, 4, 40},
                {&b->queued_mutations, 1, 8}, {&b->pending_log_bytes, 200, 4000},
                {&b->grants, 2, 8},           {&b->grant_waiters, 2, 8},
                {&b->repairs, 1, 3},          {&b->repair_queue, 1, 4},
                {&b->setbacks, 1, 3},         {&b->name_leases, 1, 3},
                {&b->waiting_reads, 1, 3}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        *rows[i].bound =
            sim_chance(r, 1, 2) ? (uint32_t)sim_between(r, rows[i].least, rows[i].most) : 0;
    }
}

/* Configurations of masters: usual, at their ends, or anything in between. */
static void draw_tuning(struct world *w)
{
    struct sim_rand r = sim_rand_of(w->seed, 16);
    w->tuning = (struct tuning){.away_grace_ms = 6000,
                                .pair_pause_ms = 1000,
                                .balance_percent = 5,
                                .balance_kib_s = 16 << 20,
                                .slow_floor_ms = 20,
                                .slow_window_ms = 2000,
                                .rereplication_share = 40,
                                .checkpoint_rate = 512 << 10};
    w->moves = sim_chance(&r, 1, 3);
    if (sim_chance(&r, 1, 3)) {
        draw_bounds(&r, &w->tuning.bounds);
    }
    if (sim_chance(&r, 1, 2)) {
        return;
    }
    if (sim_chance(&r, 1, 4)) { /* what is usual outside */
        w->tuning.checkpoint_rate = 0;
        w->preallocate_bytes = 0;
    }
    w->tuning.away_grace_ms = (uint32_t)sim_between(&r, 6000, 12000);
    w->tuning.pair_pause_ms = (uint32_t)sim_below(&r, 3000);
    w->tuning.balance_percent = sim_chance(&r, 1, 4) ? 0 : (uint32_t)sim_between(&r, 1, 10);
    w->tuning.balance_kib_s = sim_chance(&r, 1, 4) ? 0 : 64u << sim_below(&r, 16);
    w->tuning.slow_floor_ms = (uint32_t)sim_between(&r, 1, 19);
    w->tuning.slow_window_ms = sim_chance(&r, 1, 4) ? 0 : (uint32_t)sim_between(&r, 200, 3000);
    w->tuning.rereplication_share = sim_chance(&r, 1, 4) ? 100 : (uint32_t)sim_between(&r, 1, 99);
}

/* In racks and on hosts of their own, some without a rack, some sharing a host. */
void world_draw_place(struct sim_server *s)
{
    s->moves = sim_rand_of(s->world->seed, 80 + s->number);
    s->port = 9500;
    s->host = s->number;
    s->rack = 1 + (s->number - 1) % WORLD_RACKS;
    if (s->world->moves && sim_chance(&s->moves, 1, 3)) {
        s->rack = (uint32_t)sim_below(&s->moves, WORLD_RACKS);
        s->host = (uint32_t)sim_between(&s->moves, 1, WORLD_CHUNKDS_MAX);
    }
}

void world_draw(struct world *w)
{
    draw_world(w);
    draw_limits(w);
    draw_impostor(w);
    draw_masters(w);
    draw_tuning(w);
}
