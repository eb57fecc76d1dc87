/* name_leases.h - promises to a session that nobody else adds a name to a directory for a while.
 *
 * A mount that made a directory and heard of every change since knows which names are not there, as
 * long as nobody else adds any: it need not ask before it creates. So the session whose mkdir made a
 * directory has its name lease for NAME_LEASE_MS, and again with each of its operations on it that is
 * answered. Who else adds a name waits until the lease has ended (ERR_BUSY, asked again soon), and
 * that is the end of it: only a new directory gets one. Who removes a name, or reads, waits for
 * nothing. The session counts from when it sent its request, the master from when it decided
 * about it and a little longer, so that no message is needed to end a lease, and a session that is
 * away holds nobody up for longer. Leases are not logged: a master that starts lets sessions add
 * names only when every lease of its predecessor has ended.
 * At most `max` are remembered, those used last. Loop thread only.
 */
#ifndef MASTER_CORE_NAME_LEASES_H
#define MASTER_CORE_NAME_LEASES_H

#include "shared/base/hmap.h"
#include "shared/base/list.h"
#include "shared/proto/schema.h"

enum { NAME_LEASES_MAX = 1 << 16 };

struct name_leases {
    struct hmap by_dir;
    struct list used; /* struct name_lease, the one renewed last at the end */
    uint32_t max;
    uint64_t
        none_until_ns; /* since when there may be new ones: restoring from the trash ended all */
};

struct master;

void name_leases_init(struct name_leases *t, uint32_t max);
void name_leases_close(struct name_leases *t);
/* The session's mutation must wait: it adds a name where another session may be sure that there are
 * no new ones. */
bool name_leases_bar(struct master *m, uint64_t session, enum op_code op, const union op_any *req);
/* What the answer to the session's request may promise: FRAME_NAMES_KEPT of the directory it names,
 * FRAME_NAMES_NEW of the one it made. `rep` is that of a mutation that was just applied. */
uint32_t name_leases_after(struct master *m, uint64_t session, enum op_code op,
                           const union op_any *req, const union op_any *rep);
/* Ends all: true if some may run yet, then it is to be asked again. */
bool name_leases_end_all(struct master *m);

#endif
