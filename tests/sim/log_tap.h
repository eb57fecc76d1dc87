/* log_tap.h - what the master wrote into its operation log, seen at its disk: the witness of the
 * order in which everything happened.
 *
 * Records are noted when their write is submitted and count as certain when the synced write has
 * completed. A record that was not certain may be replaced by a later master's; a certain one
 * never: log_tap_wrong tells.
 */
#ifndef TESTS_SIM_LOG_TAP_H
#define TESTS_SIM_LOG_TAP_H

#include "master/core/record.h"
#include "tests/sim/sim_env.h"

struct log_tap;

struct log_tap *log_tap_new(void);
void log_tap_free(struct log_tap *t);
/* Hook for sim_process.on_write of the master. */
void log_tap_write(void *owner, struct sim_process *p, const char *path, const struct disk_op *op,
                   bool completed);

/* each(owner, record) runs for every record that was not seen before. */
void log_tap_tell(struct log_tap *t, void (*each)(void *owner, const struct record *r),
                  void *owner);

uint64_t log_tap_certain(const struct log_tap *t); /* highest index known to be durable */
uint64_t log_tap_last(const struct log_tap *t);    /* highest index written */
/* The record at an index 1..last; NULL if it was never seen. */
const struct record *log_tap_record(const struct log_tap *t, uint64_t index);
/* NULL, or what was wrong: a certain record replaced, a chain broken. */
const char *log_tap_wrong(const struct log_tap *t);

#endif
