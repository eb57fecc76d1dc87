/* medium.c - hears errors of the disk below the live environment. */
#include "master/core/medium.h"

#include <stdio.h>

static void sync_run(struct env_work *w)
{
    struct medium *m = container_of(w, struct medium, work);
    m->result = store_sync_run(m->store);
}

static void sync_done(struct env_work *w)
{
    struct medium *m = container_of(w, struct medium, work);
    m->running = false;
    m->next_ns = env_mono_ns(m->env) + MEDIUM_INTERVAL_MS * NS_PER_MS;
    if (m->result != 0) {
        char reason[256];
        snprintf(reason, sizeof(reason),
                 "the disk failed to keep the state (sync: %s): it is dropped, the next start "
                 "builds it from a checkpoint and the operation log",
                 err_text(m->result));
        store_abandon(m->store, reason);
    }
}

void medium_start(struct medium *m, struct env *env, struct store *store,
                  const struct checkpoint *checkpoint)
{
    *m = (struct medium){.env = env,
                         .store = store,
                         .checkpoint = checkpoint,
                         .work = {.run = sync_run, .done = sync_done},
                         .next_ns = env_mono_ns(env) + MEDIUM_INTERVAL_MS * NS_PER_MS};
}

void medium_tick(struct medium *m)
{
    if (m->running || env_mono_ns(m->env) < m->next_ns || checkpoint_running(m->checkpoint)) {
        return;
    }
    m->running = true;
    env_work_submit(m->env, &m->work);
}
