/* verify_log.c - damage to what was acknowledged is never taken for a torn tail.
 *
 * The log may be cut only where nobody was told that it was durable. A bit that flips in the unused
 * part, or in a segment a checkpoint made unnecessary, does no harm; anywhere else the master must
 * refuse to start. A cut shows as a record that is written in the place of a committed one.
 */
#include "tests/sim/verify_log.h"
#include "tests/sim/sim_disk.h"

#include <stdio.h>

enum { RUN_MS = 500, LOG_DAMAGE_STREAM = 13 };

void verify_log_damage(struct world *w)
{
    struct sim_rand r = sim_rand_of(w->seed, LOG_DAMAGE_STREAM);
    struct sim_server *s = &w->servers[0];
    struct why why = {{0}};
    char path[64];
    server_kill(s, sim_chance(&r, 1, 2), 0);
    if (!sim_disk_flip(s->process->disk, "log/log-", &r, path, sizeof(path))) {
        return;
    }
    world_say(w, "a bit of %s flips on %s", path, s->process->name);
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
