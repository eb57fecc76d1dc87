/* disk_health.h - whether the disk may be trusted with more data.
 *
 * A sync that failed, or DISK_ERROR_BLOCKS different blocks with I/O errors within
 * DISK_ERROR_SPAN_MS, and the disk is failing. It stays so: `failing` is told to the owner once,
 * who keeps it. Damaged bytes (checksums) are no sign of that and are not noted here, nor is want
 * of space.
 */
#ifndef CHUNKD_CORE_DISK_HEALTH_H
#define CHUNKD_CORE_DISK_HEALTH_H

#include "shared/env/env.h"

enum { DISK_ERROR_BLOCKS = 3, DISK_ERROR_SPAN_MS = 600000 };

struct disk_health {
    struct env *env;
    uint32_t failing; /* DISK_* */
    uint64_t errors;  /* reads, writes and syncs that failed */
    void (*turned)(void *owner);
    void *owner;
    struct disk_error {
        uint64_t handle, at_ns;
        uint32_t block;
    } recent[DISK_ERROR_BLOCKS]; /* different blocks; handle 0 = none */
};

void disk_health_init(struct disk_health *h, struct env *env, void (*turned)(void *owner),
                      void *owner);
/* An operation on a block failed; block UINT32_MAX: it is not known which. */
void disk_health_error(struct disk_health *h, uint64_t handle, uint32_t block, int err);
void disk_health_sync_failed(struct disk_health *h, int err);

#endif
