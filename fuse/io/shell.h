/* shell.h - the mounted process: core, session of the kernel, loop, and how they start and end.
 *
 * Life: connect to the cluster (at most CONNECT_MS) -> mount -> tell whoever started us -> serve ->
 * unmounted, or told to stop by SIGTERM or SIGINT -> flush and end the session (at most STOP_MS) ->
 * exit. With the option bg it mounts first. The shell makes no decision of the protocol: handlers
 * translate between the kernel's requests and calls of the core.
 *
 * The process never touches its own mount point once it is mounted: that would wait for itself.
 */
#ifndef FUSE_IO_SHELL_H
#define FUSE_IO_SHELL_H

#include "fuse/core/client.h"
#include "fuse/io/background.h"
#include "fuse/io/channel.h"
#include "fuse/io/inode_refs.h"
#include "fuse/io/options.h"
#include "fuse/io/request.h"
#include "shared/io/uv_env.h"

enum { CONNECT_MS = 30000, STOP_MS = 5000 };

struct shell {
    const struct options *options;
    struct background *background;
    struct uv_env *uv;
    struct env *env;
    uv_loop_t *loop;
    struct client *client;
    struct fuse_session *session;
    struct channel channel;
    struct requests requests;
    struct inode_refs inodes;
    struct list files; /* struct open_file */
    uv_signal_t on_term;
    uv_signal_t on_int;
    uv_timer_t deadline; /* of connecting, later of stopping */
    uv_work_t unmount;
    struct client_call first_root;
    struct client_call first_statfs;
    int unmount_err;
    int minor; /* device number of the mount; negative = unknown */
    bool is_connected;
    bool is_mounted;   /* the kernel may send requests */
    bool is_leaving;   /* told to stop: unmounting */
    bool is_unmounted; /* the mount point is free */
    bool is_stopping;
    bool is_reported; /* the starter knows how it went */
    int exit_code;
};

/* Everything from connecting to the end. Returns the exit code; if it could not start, the starter
 * was told why. */
int shell_run(const struct options *options, struct background *background);

/* The shell a kernel request belongs to. */
static inline struct shell *shell_of(fuse_req_t fuse)
{
    struct channel *c = fuse_req_userdata(fuse);
    return c->owner;
}

#endif
