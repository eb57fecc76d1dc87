/* log_tap.h - what the masters wrote into their operation logs, seen at their disks: the witness of the
 * order in which everything happened.
 *
 * A record is noted when its write is submitted. It is certain when so many logs as it takes hold it
 * or one after it, synced, written while they obeyed the epoch it is of: nobody can be a primary any
 * more who does not have it. It is told when some master or mount heard that it is committed. Of
 * records that are not certain those of the newest epoch count.
 *
 * Checked at every write, log_tap_wrong tells: a record that was certain or told is never replaced by
 * another; of one epoch there is one history; a record follows the one it names; what is told is
 * certain.
 */
#ifndef TESTS_SIM_LOG_TAP_H
#define TESTS_SIM_LOG_TAP_H

#include "master/core/record.h"
#include "tests/sim/sim_env.h"

struct log_tap;

/* Of `logs` logs it takes `acks` to hold a record. */
struct log_tap *log_tap_new(uint32_t logs, uint32_t acks);
void log_tap_free(struct log_tap *t);
/* Log `number` writes: from sim_process.on_write of a master. `promised`: the epoch it obeys now. */
void log_tap_write(struct log_tap *t, uint32_t number, uint32_t promised, const char *path,
                   const struct disk_op *op, bool completed);
/* Log `number` was opened: it holds the records to this one, synced, and none behind it. */
void log_tap_opened(struct log_tap *t, uint32_t number, uint32_t promised, uint64_t index,
                    uint64_t chain);
/* What log `number` had is gone. */
void log_tap_forget(struct log_tap *t, uint32_t number);
/* Somebody heard that the records to this one are committed. */
void log_tap_told(struct log_tap *t, uint64_t index);

/* each(owner, record) runs for every record that was not seen before. */
void log_tap_tell(struct log_tap *t, void (*each)(void *owner, const struct record *r),
                  void *owner);

uint64_t log_tap_certain(const struct log_tap *t); /* highest index known to be durable */
uint64_t log_tap_last(const struct log_tap *t);    /* highest index written */
/* Highest index somebody was told of; of one log alone what is certain. */
uint64_t log_tap_heard(const struct log_tap *t);
/* The record at an index 1..last; NULL if it was never seen. */
const struct record *log_tap_record(const struct log_tap *t, uint64_t index);
/* So many logs have the record at this index, synced. */
uint32_t log_tap_copies(const struct log_tap *t, uint64_t index);
/* NULL, or what was wrong. */
const char *log_tap_wrong(const struct log_tap *t);

#endif
