/* run.c - one seed: work under faults, healing, and everything checked. */
#include "tests/sim/run.h"
#include "tests/sim/data_work.h"
#include "tests/sim/foreign.h"
#include "tests/sim/ghost.h"
#include "tests/sim/hoarder.h"
#include "tests/sim/impostor.h"
#include "tests/sim/meta_work.h"
#include "tests/sim/monitors.h"
#include "tests/sim/operator.h"
#include "tests/sim/prober.h"
#include "tests/sim/shared_work.h"
#include "tests/sim/spy_work.h"
#include "tests/sim/stranger.h"
#include "tests/sim/verify.h"
#include "tests/sim/verify_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool all_joined(void *world)
{
    const struct world *w = world;
    uint32_t joined = 0;
    for (uint64_t i = 1; i <= log_tap_last(w->tap); i++) {
        const struct record *r = log_tap_record(w->tap, i);
        joined += r != NULL && r->type == OP_server_add;
    }
    return joined >= w->server_count - 1;
}

static void come_up(struct world *w)
{
    (void)actor_new(w, &w->mounts[0], setup_work, NULL);
    if (!sim_run_until(w->sim, actors_done, w, 60 * NS_PER_S)) {
        world_fail(w, "the cluster does not come up");
    }
    /* Chunks made before would have fewer replicas and be lost by fewer power cuts. */
    if (!all_joined(w)) {
        if (!sim_run_until(w->sim, all_joined, w, 60 * NS_PER_S)) {
            world_fail(w, "a chunkserver does not join");
        }
        sim_run_for(w->sim, 2 * w->geo.heartbeat_ms * NS_PER_MS);
    }
    (void)actor_new(w, &w->mounts[0], shared_work_setup, NULL);
    if (!sim_run_until(w->sim, actors_done, w, 60 * NS_PER_S)) {
        world_fail(w, "the shared file cannot be made");
    }
}

static void no_work(struct actor *a)
{
    (void)a;
}

/* What runs on every mount. */
static void (*const programs[])(struct actor *a) = {meta_work, data_work, data_work, shared_work,
                                                    spy_work};

uint32_t run_programs(void)
{
    return WORLD_MOUNTS_MAX * COUNT_OF(programs);
}

static void start_programs(struct world *w)
{
    uint32_t number = 0;
    for (uint32_t i = 0; i < w->mount_count; i++) {
        for (size_t k = 0; k < COUNT_OF(programs); k++) {
            bool idle = plan_set_has(&w->plan.idle, ++number);
            (void)actor_new(w, &w->mounts[i], idle ? no_work : programs[k], NULL);
        }
    }
}

static void work(struct world *w)
{
    come_up(w);
    foreign_mount(w);
    start_programs(w);
    struct operator* operator= operator_start(w);
    struct prober *prober = prober_start(w);
    struct stranger *stranger = stranger_start(w);
    struct hoarder *hoarder = hoarder_start(w);
    struct ghost *ghost = ghost_start(w);
    struct impostor *impostor = impostor_start(w);
    faults_start(w);
    (void)sim_run_until(w->sim, actors_done, w, 300 * NS_PER_S);
    w->healing = true;
    prober_stop(prober);
    stranger_stop(stranger);
    hoarder_stop(hoarder);
    ghost_stop(ghost);
    impostor_stop(impostor);
    faults_end(w);
    if (!sim_run_until(w->sim, actors_done, w, 120 * NS_PER_S)) {
        const struct op_entry *e = actors_stuck(w);
        char text[256] = "a program waits for its mount";
        if (e != NULL) {
            op_describe(e, text, sizeof(text));
        }
        world_fail(w, "not done 120 s after everything was healed: %s", text);
    }
    if (!sim_run_until(w->sim, operator_done, operator, 120 * NS_PER_S)) {
        world_fail(w, "the operator gets no answers");
    }
    operator_stop(operator);
}

struct run_result run_seed(const struct plan *plan, bool trace)
{
    struct world *w = world_new(plan, trace);
    for (uint32_t i = w->monitors != NULL ? 1 : 0; i < w->server_count; i++) {
        server_start(&w->servers[i]);
    }
    if (w->monitors != NULL) {
        monitors_start(w->monitors);
    }
    for (uint32_t i = 0; i < w->mount_count; i++) {
        mount_start(&w->mounts[i]);
    }
    work(w);
    verify_all(w);
    struct run_result r = {.hash = w->sim->hash,
                           .ops = w->ops,
                           .events = w->sim->events,
                           .records = log_tap_last(w->tap),
                           .sim_ns = w->sim->now_ns};
    memcpy(r.faults, w->faults, sizeof(r.faults));
    if (w->master_count == 1) {
        verify_log_damage(w);
    }
    world_free(w);
    if (buf_total_bytes() != 0) {
        fprintf(stderr, "seed %llu failed: %zu bytes of buffers were not freed\n",
                (unsigned long long)plan->seed, buf_total_bytes());
        exit(1);
    }
    return r;
}
