/* log_scrub.c - reads the full segments of the operation log once in a period. */
#include "master/core/log_scrub.h"

static uint64_t pause_ms(const struct log_scrub *s)
{
    uint64_t reads =
        oplog_full_bytes(s->log) / OPLOG_CHECK_BYTES + 2 * oplog_full_segments(s->log) + 1;
    uint64_t pause = s->period_s * 1000ull / reads;
    return MIN(MAX(pause, (uint64_t)LOG_SCRUB_PAUSE_MS), (uint64_t)LOG_SCRUB_PAUSE_MAX_MS);
}

static void timer_fired(struct env_timer *t)
{
    struct log_scrub *s = container_of(t, struct log_scrub, timer);
    if (!oplog_check_busy(s->check)) {
        (void)oplog_check_step(s->check);
    }
    env_timer_set(s->env, t, pause_ms(s) * NS_PER_MS);
}

void log_scrub_start(struct log_scrub *s, struct env *env, struct oplog *log, uint32_t period_s)
{
    *s = (struct log_scrub){.env = env,
                            .check = oplog_check_create(log),
                            .log = log,
                            .period_s = period_s,
                            .timer = {.fire = timer_fired}};
    env_timer_set(env, &s->timer, pause_ms(s) * NS_PER_MS);
}

void log_scrub_stop(struct log_scrub *s)
{
    if (s->check != NULL) {
        env_timer_stop(s->env, &s->timer);
    }
}

void log_scrub_close(struct log_scrub *s)
{
    log_scrub_stop(s);
    oplog_check_destroy(s->check);
    s->check = NULL;
}
