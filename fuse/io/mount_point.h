/* mount_point.h - what the kernel's mount table says of a mount point, without touching the mount. */
#ifndef FUSE_IO_MOUNT_POINT_H
#define FUSE_IO_MOUNT_POINT_H

#include <stdbool.h>

#include "shared/base/err.h"

/* Minor device number of the topmost filesystem mounted on `dir` (absolute, without links), or
 * -ENOENT. */
MUST_CHECK int mount_point_minor(const char *dir);
/* Changes the flags of the gfs that is topmost on `dir` as the comma-separated words say (ro, rw,
 * nosuid, ...); the others stay. 0, or negative with a sentence. */
MUST_CHECK int mount_point_remount(const char *dir, const char *words, struct why *why);
/* Raises the kernel's read-ahead of the filesystem with that minor number to `kib` KiB. 0 or a
 * negative errno. */
MUST_CHECK int mount_point_read_ahead(int minor, unsigned kib);
/* Unmounts the filesystem with that minor number if it is topmost on `dir`: now, or if it is in
 * use, as soon as nobody uses it any more. May wait for its daemon, so it is not for its loop
 * thread. 0 or a negative errno. */
MUST_CHECK int mount_point_unmount(const char *dir, int minor);

#endif
