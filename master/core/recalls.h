/* recalls.h - a truncate is answered when everybody who writes to the file knows of it.
 *
 * A mount remembers where the chunks are that it writes to. After a truncate by another one that is
 * wrong: a chunk is gone, or has a trim that must be carried out before the next write, and what is
 * written as before would be lost. So the master asks all other sessions that have the file open for
 * writing to forget what they know, and holds the answer back until each has done so, has attached
 * again (a mount forgets by itself when it does), or has ended. Whoever does not answer delays it until
 * its session ends.
 *
 * Bounds: as many as there are mutations of all sessions under way. Loop thread only.
 */
#ifndef MASTER_CORE_RECALLS_H
#define MASTER_CORE_RECALLS_H

#include "shared/base/buf.h"
#include "shared/proto/frame.h"

#include <stdbool.h>

struct master;
struct peer;

/* The truncate of `ino`, request `head` of p, is applied. True: others must hear of it first; the
 * answer (status 0, index, body, whose reference is taken) goes out then. */
bool recalls_hold(struct peer *p, const struct frame_header *head, uint64_t ino, uint64_t index,
                  struct slice body);
/* The asker is gone: it will ask again. */
void recalls_forget(struct peer *p);
/* Periodic: asks again who has not answered. */
void recalls_tick(struct master *m);
void recalls_close(struct master *m);

#endif
