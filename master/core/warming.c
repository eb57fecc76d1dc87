/* warming.c - what a master does while there is still a lot to read after its start. */
#include "master/core/warming.h"
#include "master/core/master_internal.h"

void warming_found(struct master *m, const struct recovery_result *found)
{
    if (found->unproven) {
        vouch_start(&m->vouch, m->env, m->store);
    }
    m->warming = !master_in_set(m) && oplog_last(m->log) + 1 - found->replay_from > REPLAY_AT_ONCE;
}

int warming_start(struct master *m, struct why *why)
{
    int err = oplog_start(m->log, why);
    if (err == 0) {
        err = master_listen(m, why);
    }
    if (err == 0) {
        follow_start(m);
        env_log(m->env, LOG_INFO,
                "master of cluster \"%s\" at %s serves reads for now: index %llu of %llu",
                m->cfg.cluster, m->cfg.listen, (unsigned long long)m->commit.applied,
                (unsigned long long)oplog_last(m->log));
    }
    return err;
}

void warming_tick(struct master *m)
{
    struct why why;
    follow_tick(m);
    if (m->commit.applied != oplog_last(m->log)) {
        return;
    }
    follow_close(m);
    shadow_close(m); /* who waits for more asks again */
    m->warming = false;
    if (master_start_alone(m, &why) != 0) {
        env_die(m->env, why.text);
    }
}
