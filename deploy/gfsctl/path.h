/* path.h - which inode a PATH argument means.
 *
 * A path that exists on a mount of gfs is taken from there, so that what a shell completes works;
 * any other is a path from the root of the filesystem, with or without a leading slash, and is
 * looked up by the master. Symbolic links are followed on a mount only.
 */
#ifndef DEPLOY_GFSCTL_PATH_H
#define DEPLOY_GFSCTL_PATH_H

#include <limits.h>

#include "deploy/gfsctl/gfsctl.h"

/* 0 and the inode, or EXIT_FAILED after a sentence. */
MUST_CHECK int path_inode(struct session *s, const char *path, uint64_t *out_ino);

/* The mount point of the gfs mount that an absolute real path lies on; false if it lies on none. */
bool path_mount_point(const char *real, char out[PATH_MAX]);

/* What the mount that a path lies on says of itself: who serves it and what waits; false if it lies on
 * none. */
bool path_mount_state(const char *path, char *out, size_t size);

int cmd_inode(struct call *c);

#endif
