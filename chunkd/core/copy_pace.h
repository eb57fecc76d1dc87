/* copy_pace.h - how fast copies may go on this chunkserver, so that they leave the rest to clients.
 *
 * With each answered heartbeat the master says how many bytes a second copies may take here, given
 * and taken counted together. Whoever is about to move bytes for a copy asks first; when copies are
 * ahead of the rate it waits, in order of asking. The rate may change at any time, also for copies
 * that are under way.
 * Waits of a copy that ends are cancelled by it. Loop thread only.
 */
#ifndef CHUNKD_CORE_COPY_PACE_H
#define CHUNKD_CORE_COPY_PACE_H

#include "shared/base/list.h"
#include "shared/env/env.h"

struct copy_wait {
    struct list link;
    uint32_t bytes;
    void (*go)(struct copy_wait *w);
};

struct copy_pace {
    struct env *env;
    uint64_t rate;    /* bytes a second; 0 = no limit */
    uint64_t next_ns; /* what went until now has its time until then */
    struct list waits;
    struct env_timer timer;
};

void copy_pace_init(struct copy_pace *p, struct env *env);
void copy_pace_stop(struct copy_pace *p); /* nobody waits any more */
void copy_pace_set(struct copy_pace *p, uint64_t rate);
/* True: the bytes may go now. Else w->go runs when they may. */
MUST_CHECK bool copy_pace_pass(struct copy_pace *p, struct copy_wait *w, uint32_t bytes);
void copy_pace_cancel(struct copy_wait *w); /* also of one that does not wait */
/* `most`, or less: as many bytes as may be moved at once. */
uint32_t copy_pace_piece(const struct copy_pace *p, uint32_t most);

#endif
