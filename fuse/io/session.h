/* session.h - the kernel session: which handlers and which features, and mounting it. */
#ifndef FUSE_IO_SESSION_H
#define FUSE_IO_SESSION_H

#include "fuse/io/channel.h"
#include "fuse/io/options.h"

/* Mounts options->dir. The session's user data is `channel`. *out is to be unmounted and destroyed
 * by the caller. 0, or a negative errno with a sentence; the library may have printed details. */
MUST_CHECK int session_mount(struct fuse_session **out, const struct options *options,
                             struct channel *channel, struct why *why);

#endif
