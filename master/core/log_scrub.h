/* log_scrub.h - reads the full segments of the operation log once in a period, to find what the disk
 * lost while nobody needed it: as long as the other masters still have it.
 *
 * What is missing is noted in the log (oplog_rot), and log_mender fetches it. One read of at most
 * OPLOG_CHECK_BYTES is under way, with pauses that spread them over the period, but not more than one
 * in LOG_SCRUB_PAUSE_MS. Pure; loop thread only.
 */
#ifndef MASTER_CORE_LOG_SCRUB_H
#define MASTER_CORE_LOG_SCRUB_H

#include "master/core/oplog.h"

enum {
    LOG_SCRUB_S = 86400,            /* the usual period */
    LOG_SCRUB_PAUSE_MS = 20,        /* at least, between reads */
    LOG_SCRUB_PAUSE_MAX_MS = 60000, /* at most: a log that grows is noticed */
};

/* Owned by the caller. */
struct log_scrub {
    struct env *env;
    struct oplog_check *check; /* NULL = not started */
    struct oplog *log;
    uint32_t period_s;
    struct env_timer timer;
};

void log_scrub_start(struct log_scrub *s, struct env *env, struct oplog *log, uint32_t period_s);
void log_scrub_stop(struct log_scrub *s); /* no read goes on after it but one that is under way */
/* That one has ended, or the env is halted. Fine if it was never started. */
void log_scrub_close(struct log_scrub *s);

#endif
