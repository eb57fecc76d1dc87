/* opens.h - what sessions hold open: in memory (sessions.h), and in the log what they may write.
 *
 * A session's first open of a file for writing is a record, and its close is another, which nobody
 * waits for (ns_writers.c tells what they are for). Bound: a session has no more rows than opens,
 * once it has told what it holds (session_attach complete); it cannot open before.
 * Loop thread only.
 */
#ifndef MASTER_CORE_OPENS_H
#define MASTER_CORE_OPENS_H

#include "shared/base/bytes.h"
#include "shared/base/err.h"

struct master;
struct session;

/* The session opens a regular file. 0; -ENFILE, -ENOSPC. The answer must wait for the newest change
 * of the inode (ns_changed_at). Not while a quiet point is being reached, if it writes. */
MUST_CHECK int opens_open(struct master *m, struct session *s, uint64_t ino, bool writing);
/* It writes to a file that it has just made: there was room for that. 0 or -ENFILE. */
MUST_CHECK int opens_made(struct master *m, struct session *s, uint64_t ino);
/* It holds these inodes (u64) open no longer. */
void opens_close(struct master *m, struct session *s, struct bytes inodes);
/* It tells what it held open before this connection: a part of it. 0, -ENFILE, ERR_PROTOCOL. */
MUST_CHECK int opens_told(struct master *m, struct session *s, struct bytes reading,
                          struct bytes writing);
/* That was all: the log learns what it does not have, and forgets what the session does not hold. */
void opens_attached(struct master *m, struct session *s);
/* Every row of a session that told what it holds stands for an open: 0 or ERR_CORRUPT. */
MUST_CHECK int opens_audit(struct master *m, struct why *why);
/* Logs closes that were held back while a quiet point was being reached. */
void opens_flush(struct master *m);

#endif
