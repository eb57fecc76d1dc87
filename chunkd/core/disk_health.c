/* disk_health.c - whether the disk may be trusted with more data. */
#include "chunkd/core/disk_health.h"
#include "shared/base/err.h"
#include "shared/proto/schema.h"

void disk_health_init(struct disk_health *h, struct env *env, void (*turned)(void *owner),
                      void *owner)
{
    *h = (struct disk_health){.env = env, .turned = turned, .owner = owner};
}

/* Of the device or the filesystem, as opposed to a limit that was reached. */
static bool is_disk_error(int err)
{
    switch (err) {
    case -EIO:
    case -EROFS:
    case -EUCLEAN:
    case -EBADMSG:
    case -ENODEV:
    case -ENXIO:
        return true;
    default:
        return false;
    }
}

static void turn(struct disk_health *h, uint32_t reason)
{
    if (h->failing == DISK_WELL) {
        h->failing = reason;
        h->turned(h->owner);
    }
}

void disk_health_error(struct disk_health *h, uint64_t handle, uint32_t block, int err)
{
    if (!is_disk_error(err)) {
        return;
    }
    uint64_t now = env_mono_ns(h->env);
    uint32_t young = 0;
    struct disk_error *oldest = &h->recent[0];
    h->errors++;
    for (uint32_t i = 0; i < DISK_ERROR_BLOCKS; i++) {
        struct disk_error *e = &h->recent[i];
        if (e->handle == handle && e->block == block) {
            e->at_ns = now;
            return;
        }
        if (e->handle == 0 || (oldest->handle != 0 && e->at_ns < oldest->at_ns)) {
            oldest = e;
        }
    }
    *oldest = (struct disk_error){handle, now, block};
    for (uint32_t i = 0; i < DISK_ERROR_BLOCKS; i++) {
        young +=
            h->recent[i].handle != 0 && now - h->recent[i].at_ns <= DISK_ERROR_SPAN_MS * NS_PER_MS;
    }
    if (young == DISK_ERROR_BLOCKS) {
        turn(h, DISK_IO_ERRORS);
    }
}

void disk_health_sync_failed(struct disk_health *h, int err)
{
    if (is_disk_error(err)) {
        h->errors++;
        turn(h, DISK_SYNC_FAILED);
    }
}
