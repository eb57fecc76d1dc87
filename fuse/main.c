/* main.c - gfs-fuse: mounts a cluster. Also mount.gfs and mount.fuse.gfs of mount(8). */
#include <stdio.h>

#include "fuse/io/shell.h"
#include "shared/io/std_streams.h"

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
    if (background_begin(&background, options.foreground, options.pid_file, &why) != 0) {
        background_report_failure(&background, why.text);
        return 1;
    }
    return shell_run(&options, &background);
}
