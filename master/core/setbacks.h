/* setbacks.h - chunks whose repair failed lately: when it may be tried again, and what was said of it.
 *
 * The pause doubles from SETBACK_FIRST_MS to SETBACK_MAX_MS with every failure in a row; it ends
 * early when a chunkserver has reported, because that is what may change the outcome. An entry goes
 * when the chunk is in order again, or when nothing was tried for SETBACK_KEEP_MS.
 * Pure; loop thread only. Bound: `max`; what fails beyond it is not remembered, and nothing is said
 * of it.
 */
#ifndef MASTER_CORE_SETBACKS_H
#define MASTER_CORE_SETBACKS_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/hmap.h"

enum {
    SETBACKS_MAX = 65536,
    SETBACK_FIRST_MS = 2000,
    SETBACK_MAX_MS = 30000,
    SETBACK_KEEP_MS = 120000,
};

struct setbacks {
    struct hmap map; /* by handle */
    uint32_t max;
};

void setbacks_init(struct setbacks *s, uint32_t max);
void setbacks_close(struct setbacks *s);
/* Whether the chunk may be repaired now. */
bool setback_past(const struct setbacks *s, uint64_t handle, uint64_t now_ns);
/* The repair failed with status. -EAGAIN (not possible yet) does not lengthen the pause. */
void setback_failed(struct setbacks *s, uint64_t handle, int status, uint64_t now_ns);
/* Whether a line about this status is due: it was not the last one said of the chunk. */
bool setback_news(struct setbacks *s, uint64_t handle, int status, uint64_t now_ns);
/* The chunk is in order, or gone. True if something was said of it before. */
bool setback_over(struct setbacks *s, uint64_t handle);
/* Every chunk may be tried again now. */
void setbacks_hurry(struct setbacks *s);
/* Forgets old ones; to be called now and then. */
void setbacks_sweep(struct setbacks *s, uint64_t now_ns);

#endif
