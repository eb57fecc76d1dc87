/* session.c - the kernel session: which handlers and which features, and mounting it. */
#include "fuse/io/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/io/serve.h"

enum { MAX_BACKGROUND = 256 };

static void on_init(void *userdata, struct fuse_conn_info *conn)
{
    (void)userdata;
    const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS |
                            FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_READDIRPLUS |
                            FUSE_CAP_READDIRPLUS_AUTO;
    /* Not wanted: the kernel's write-back cache (it hides other mounts' changes), dropping all
     * pages when a file's time changes (ours change with every write), truncation as part of open
     * (setattr does it), splice (no gain). */
    conn->want = wanted & conn->capable;
    conn->max_write = IO_MAX;
    conn->max_read = IO_MAX;
    conn->max_background = MAX_BACKGROUND;
    conn->time_gran = 1;
}

/* Not here, and so answered by the kernel alone: access (default_permissions), locks (local to the
 * mount), fsyncdir (a change of names is durable when it is acknowledged). */
static const struct fuse_lowlevel_ops handlers = {
    .init = on_init,
    .lookup = serve_lookup,
    .forget = serve_forget,
    .forget_multi = serve_forget_multi,
    .getattr = serve_getattr,
    .setattr = serve_setattr,
    .readlink = serve_readlink,
    .mknod = serve_mknod,
    .mkdir = serve_mkdir,
    .unlink = serve_unlink,
    .rmdir = serve_rmdir,
    .symlink = serve_symlink,
    .rename = serve_rename,
    .link = serve_link,
    .open = serve_open,
    .create = serve_create,
    .read = serve_read,
    .write = serve_write,
    .flush = serve_flush,
    .release = serve_release,
    .fsync = serve_fsync,
    .fallocate = serve_fallocate,
    .lseek = serve_lseek,
    .opendir = serve_opendir,
    .readdir = serve_readdir,
    .readdirplus = serve_readdirplus,
    .statfs = serve_statfs,
    .setxattr = serve_setxattr,
    .getxattr = serve_getxattr,
    .listxattr = serve_listxattr,
    .removexattr = serve_removexattr,
};

/* Commas and backslashes of `name` get a backslash, as libfuse's option lists want it. */
static void escape(char *out, const char *name)
{
    for (; *name != '\0'; name++) {
        if (*name == ',' || *name == '\\') {
            *out++ = '\\';
        }
        *out++ = *name;
    }
    *out = '\0';
}

int session_mount(struct fuse_session **out, const struct options *options, struct channel *channel,
                  struct why *why)
{
    char source[2 * sizeof options->spec];
    char list[sizeof source + sizeof options->kernel_options + 128];
    escape(source, options->spec);
    snprintf(list, sizeof list,
             "fsname=%s,subtype=gfs,default_permissions,allow_other,max_read=%d%s%s", source,
             IO_MAX, options->kernel_options[0] != '\0' ? "," : "", options->kernel_options);
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct fuse_session *se = NULL;
    if (fuse_opt_add_arg(&args, "gfs-fuse") == 0 && fuse_opt_add_arg(&args, "-o") == 0 &&
        fuse_opt_add_arg(&args, list) == 0) {
        se = fuse_session_new(&args, &handlers, sizeof handlers, channel);
    }
    fuse_opt_free_args(&args);
    if (se == NULL) {
        return why_set(why, -EINVAL, "libfuse refuses the mount options %s",
                       options->kernel_options);
    }
    if (fuse_session_mount(se, options->dir) != 0) {
        fuse_session_destroy(se);
        return why_set(why, -EPERM, "cannot mount on %s", options->dir);
    }
    *out = se;
    return 0;
}
