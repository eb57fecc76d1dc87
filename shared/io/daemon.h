/* daemon.h - what every daemon's main does the same way: arguments, signals, exit codes. */
#ifndef SHARED_IO_DAEMON_H
#define SHARED_IO_DAEMON_H

#include "shared/io/config.h"
#include "shared/io/uv_env.h"

#define GFS_VERSION "0.1.0"

enum {
    EXIT_FAILED = 1, /* could not start, or could not stop cleanly; a sentence on standard error */
    EXIT_USAGE = 2,  /* wrong arguments or configuration, the same */
};

struct daemon_args {
    const char *program; /* for messages */
    const char *usage;   /* --help */
    bool may_force;      /* --force is known */
    /* results */
    const char *file;
    bool force;
};

/* True: go on. False: exit with *out_code (--help, --version, wrong arguments); all is printed. */
bool daemon_parse(struct daemon_args *a, int argc, char **argv, int *out_code);
/* "PROGRAM: sentence" on standard error; returns code. */
int daemon_fail(const struct daemon_args *a, int code, const struct why *why);
/* If err says that `listen` could not be had, makes the sentence name the file, the line and the
 * key. */
void daemon_explain_listen(const struct config_file *cfg, const char *listen, int err,
                           struct why *why);
/* Runs the loop until SIGTERM or SIGINT, then lets what is under way end. */
void daemon_serve(struct uv_env *e);

#endif
