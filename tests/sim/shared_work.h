/* shared_work.h - programs on several mounts that write and read one file at the same time.
 *
 * They write whole units of 512 bytes, each carrying file, unit, writer and sequence, and truncate. A read may give
 * of a unit what a write put there unless another one that began later was finished, on the
 * chunkservers, before the reader opened the file (close-to-open), or was made on the reader's own
 * mount. What is on the chunkservers and not synced may be lost if power is lost twice.
 */
#ifndef TESTS_SIM_SHARED_WORK_H
#define TESTS_SIM_SHARED_WORK_H

#include "tests/sim/actor.h"

struct shared_file *shared_file_new(void);
void shared_file_free(struct shared_file *s);

/* Makes the file, of fixed size; before the programs start. */
void shared_work_setup(struct actor *a);
/* Body of a program. */
void shared_work(struct actor *a);
/* Reads the whole file, open as f since open_ns: the call's status, or GONE. Nothing if it is another
 * file. */
int shared_read_all(struct actor *a, uint64_t ino, struct client_file *f, uint64_t open_ns);

/* It is that file, and something written to it may be lost. */
bool shared_is_doubtful(struct world *w, uint64_t ino);

#endif
