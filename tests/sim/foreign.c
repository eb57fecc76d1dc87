/* foreign.c - a mount that every master sends away. */
#include "tests/sim/foreign.h"

#include <stdio.h>

struct foreign {
    struct client_call call;
    int ready, answer; /* 1 = not yet */
};

static void ready(void *owner, int status)
{
    ((struct foreign *)owner)->ready = status;
}

static void answered(struct client_call *c)
{
    ((struct foreign *)c->owner)->answer = c->status;
}

static bool is_told(void *owner)
{
    const struct foreign *f = owner;
    return f->ready != 1 && f->answer != 1;
}

void foreign_mount(struct world *w)
{
    struct sim_rand r = sim_rand_of(w->seed, 29);
    struct foreign f = {.ready = 1, .answer = 1, .call = {.done = answered, .owner = &f}};
    struct client_config cfg = {.cluster = "another", .host = "foreign", .stale_ms = w->stale_ms};
    if (!sim_chance(&r, 1, 6)) {
        return;
    }
    struct sim_process *p = sim_process_create(w->sim, "foreign");
    snprintf(cfg.masters, sizeof(cfg.masters), "%s", w->master_list);
    sim_process_start(p);
    struct client *c = client_create(&p->env, &cfg);
    client_start(c, ready, &f);
    client_lookup(c, &f.call, ROOT_INO, bytes_str("meta"));
    if (!sim_run_until(w->sim, is_told, &f, 60 * NS_PER_S) || f.ready != ERR_FOREIGN_CLUSTER ||
        f.answer != ERR_FOREIGN_CLUSTER) {
        world_fail(w, "a mount of another cluster: %s, its call: %s", err_name(f.ready),
                   err_name(f.answer));
    }
    sim_process_kill(p);
    client_destroy(c);
}
