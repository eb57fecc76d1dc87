/* daemon.h - the main of every daemon: arguments, configuration, the loop until a signal, exit codes. */
#ifndef SHARED_IO_DAEMON_H
#define SHARED_IO_DAEMON_H

#include "shared/io/config.h"
#include "shared/io/uv_env.h"

#define GFS_VERSION "0.1.0"

enum {
    EXIT_FAILED = 1, /* could not start, or could not stop cleanly; a sentence on standard error */
    EXIT_USAGE = 2,  /* wrong arguments or configuration, the same */
};

/* One program. The strings of `settings` are filled in from its file by the time they are used. */
struct daemon {
    const char *program;                          /* for messages */
    const char *usage;                            /* --help */
    bool may_force;                               /* --force is known */
    struct config_file (*file)(const char *path); /* its configuration, to be parsed */
    void *settings;                               /* what it sets, with its defaults */
    const char *dir, *listen, *advertise, *boot;
    unsigned awake_us; /* of its loop (uv_env.h) */
    /* What one key alone does not show. 0, or negative with a sentence. */
    int (*check)(const struct config_file *file, void *settings, struct why *why);
    /* The program itself. start and stop: 0, or negative with a sentence. */
    void *(*create)(struct env *env, void *settings, bool force);
    int (*start)(void *core, struct why *why);
    int (*stop)(void *core, struct why *why);
    void (*destroy)(void *core);
    /* Told to stop: true if it first brings something to an end, and says so by env_end, for which it
     * has WIND_DOWN_MS. May be NULL. */
    bool (*wind_down)(void *core);
};

enum { WIND_DOWN_MS = 2000 };

/* Runs it until SIGTERM or SIGINT, then lets what is under way end. Returns the exit code. */
int daemon_main(const struct daemon *d, int argc, char **argv);

#endif
