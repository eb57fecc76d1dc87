/* verify_set.c - several masters are one. */
#include "tests/sim/verify_set.h"
#include "master/core/master_internal.h"
#include "tests/sim/checkpoints.h"
#include "tests/sim/monitors.h"

#include <stdio.h>

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

void verify_identity(struct sim_server *s)
{
    struct oplog_identity id, newest = {.epoch = 0};
    const struct oplog *log = s->master->log;
    uint64_t counter, highest = 0;
    for (int n = 0; n < 2; n++) {
        char path[16];
        uint8_t slot[512];
        struct sim_inode *i;
        snprintf(path, sizeof(path), "log/meta.%d", n);
        if (sim_disk_open(s->process->disk, path, 0, &i) != 0) {
            continue;
        }
        int64_t len = sim_inode_read(i, 0, slot, sizeof(slot));
        sim_inode_drop(i);
        if (len > 0 && oplog_read_identity(bytes_of(slot, (uint32_t)len), &id, &counter) &&
            counter > highest) {
            highest = counter;
            newest = id;
        }
        if (oplog_read_identity(bytes_of(slot, sizeof(slot) / 2), &id, &counter)) {
            world_fail(s->world, "half of %s of %s is taken for all of it", path, s->process->name);
        }
    }
    if (newest.epoch != oplog_epoch(log) || newest.cluster != oplog_cluster(log)) {
        world_fail(s->world, "%s obeys epoch %u, its superblock says %u", s->process->name,
                   oplog_epoch(log), newest.epoch);
    }
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
