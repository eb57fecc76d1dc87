/* options.h - the command line of gfs-fuse, also as mount(8) calls it (mount.gfs, mount.fuse.gfs).
 *
 *     gfs-fuse SPEC DIR [-f] [-o OPTION[,OPTION...]]
 *
 * SPEC is HOST[:PORT][,HOST[:PORT]...]:/ ; the port is 9400 unless said. Every option is known or
 * refused.
 */
#ifndef FUSE_IO_OPTIONS_H
#define FUSE_IO_OPTIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/base/err.h"
#include "shared/base/limits.h"

struct options {
    char spec[512];    /* as given: what /proc/mounts shows */
    char masters[512]; /* HOST:PORT[,HOST:PORT...] */
    char dir[PATH_MAX];
    char cluster[LABEL_LEN_MAX + 1]; /* empty = any */
    char host[LABEL_LEN_MAX + 1];    /* host label; this machine's name unless said */
    char rack[LABEL_LEN_MAX + 1];
    char pid_file[PATH_MAX];  /* absolute; empty = none */
    char log_file[PATH_MAX];  /* absolute; empty = none was named */
    char kernel_options[256]; /* for libfuse: ro, nodev, ... comma-separated */
    uint64_t dirty_bytes;
    uint32_t trash; /* seconds + 1; 0 = as the cluster has it */
    double attr_timeout_s;
    double entry_timeout_s;
    uint32_t soft_ms;  /* 0 = wait for the cluster for ever */
    uint32_t stale_ms; /* as in client_config */
    bool foreground;
    bool mount_first;  /* option bg: mount even if no master answers yet */
    bool fake;         /* mount -f: check and do nothing */
    bool remount;      /* only the kernel's flags of what is mounted on dir change */
    bool unchangeable; /* with remount: options were given that a remount does not change */
    bool verbose;
    bool help;
};

/* Fills *o with argv and the defaults, and checks that the directory is one. 0, or -EINVAL etc.
 * with a sentence. With o->help set nothing else is checked. */
MUST_CHECK int options_parse(struct options *o, int argc, char **argv, struct why *why);

extern const char options_usage[];

#endif
