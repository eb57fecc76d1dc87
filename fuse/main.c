/* main.c - gfs-fuse: mounts a cluster. Also mount.gfs and mount.fuse.gfs of mount(8). */
#include <stdio.h>

#include "fuse/io/mount_point.h"
#include "fuse/io/shell.h"
#include "shared/io/std_streams.h"

/* Without a process of its own: the one that serves the mount knows nothing of these flags. */
static int remount(const struct options *o)
{
    struct why why;
    if (o->unchangeable) {
        fprintf(stderr, "gfs-fuse: options of gfs itself stay as they were when %s was mounted\n",
                o->dir);
    }
    if (mount_point_remount(o->dir, o->kernel_options, &why) != 0) {
        fprintf(stderr, "gfs-fuse: %s\n", why.text);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct options options;
    struct background background;
    struct why why;
    std_streams_open();
    if (options_parse(&options, argc, argv, &why) != 0) {
        fprintf(stderr, "gfs-fuse: %s\n", why.text);
        return 1;
    }
    if (options.help) {
        fputs(options_usage, stdout);
        return 0;
    }
    if (options.fake) {
        return 0;
    }
    if (options.remount) {
        return remount(&options);
    }
    if (background_begin(&background, options.foreground, options.pid_file, &why) != 0) {
        background_report_failure(&background, why.text);
        return 1;
    }
    return shell_run(&options, &background);
}
