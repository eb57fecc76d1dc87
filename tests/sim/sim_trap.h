/* sim_trap.h - a disk that fails: what it does to one of the operations to come.
 *
 * A process has at most one trap set. It is sprung by the operation of its kind, on a path below
 * its prefix, that it was set for, calls that wait for the disk being of the kind TRAP_ANY only; that
 * operation then
 *   TRAP_WRITE        fails with -EIO, having written nothing, or whole pages of it
 *   TRAP_SYNC         fails with -EIO: what was written and not synced is still seen by programs
 *                     and will never be on the disk, whatever is synced later
 *   TRAP_LOST         says it was written, and nothing was
 *   TRAP_ANY          fails with -EIO, whatever it is, having done nothing
 *   TRAP_MISDIRECTED  says it was written, and was: elsewhere, below the same prefix
 */
#ifndef TESTS_SIM_SIM_TRAP_H
#define TESTS_SIM_SIM_TRAP_H

#include "shared/env/env.h"
#include "tests/sim/sim_disk.h"

enum sim_trap_kind { TRAP_NONE, TRAP_WRITE, TRAP_SYNC, TRAP_LOST, TRAP_MISDIRECTED, TRAP_ANY };

struct sim_trap {
    enum sim_trap_kind kind;
    const char *prefix; /* a literal */
    uint32_t after;     /* matching operations that pass before */
    int error;          /* what a call that waits for the disk fails with; 0 = -EIO */
    bool (*may)(void *owner, const char *path); /* else it waits for another */
    void (*sprung)(void *owner, const char *path);
    void *owner;
};

/* True if the operation springs the trap, which is gone then; `out` is what it was. */
bool sim_trap_springs(struct sim_trap *t, const struct disk_op *op, const char *path,
                      struct sim_trap *out);
/* The same for a call that waits for the disk. */
bool sim_trap_springs_call(struct sim_trap *t, const char *path, struct sim_trap *out);
/* Does what the trap does; the operation's result. */
int64_t sim_trap_perform(const struct sim_trap *t, struct sim_disk *d, struct sim_inode *inode,
                         const struct disk_op *op, struct sim_rand *r);

#endif
