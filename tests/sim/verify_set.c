/* verify_set.c - several masters are one. */
#include "tests/sim/verify_set.h"
#include "master/core/master_internal.h"
#include "tests/sim/checkpoints.h"
#include "tests/sim/monitors.h"

static bool has_state(const struct master *m)
{
    return !m->stateless;
}

const char *verify_set_unsettled(struct world *w)
{
    const struct master *primary = world_primary(w)->master;
    uint64_t last = oplog_last(primary->log);
    for (uint32_t i = 0; i < w->master_count; i++) {
        const struct sim_server *s = w->masters[i];
        const struct master *m = s->master;
        if (m == NULL || oplog_damaged(m->log) || oplog_joining(m->log) ||
            oplog_durable(m->log) != last || oplog_committed(m->log) != last || !has_state(m) ||
            m->commit.applied != last) {
            return s->process->name;
        }
    }
    return monitors_unsettled(w->monitors);
}

void verify_set(struct world *w)
{
    const struct master *primary = world_primary(w)->master;
    uint64_t last = log_tap_last(w->tap);
    struct why why = {{0}};
    if (log_tap_certain(w->tap) != last || oplog_last(primary->log) != last) {
        world_fail(w, "the log ends at %llu, committed is %llu, the primary has %llu",
                   (unsigned long long)last, (unsigned long long)log_tap_certain(w->tap),
                   (unsigned long long)oplog_last(primary->log));
    }
    for (uint32_t i = 0; i < w->master_count; i++) {
        struct sim_server *s = w->masters[i];
        if (oplog_last_chain(s->master->log) != oplog_last_chain(primary->log)) {
            world_fail(w, "the log of %s is another", s->process->name);
        }
        if (master_state_hash(s->master) != master_state_hash(world_primary(w)->master)) {
            world_fail(w, "the state of %s is another", s->process->name);
        }
        checkpoint_book_look(w->checkpoints, s);
        if (ns_audit(s->master->ns, &why) != 0) {
            world_fail(w, "audit of %s: %s", s->process->name, why.text);
        }
    }
}
