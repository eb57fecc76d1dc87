/* background.h - going to the background, and what a background process owes the machine.
 *
 * The starter forks; the child becomes a daemon; the parent waits until the child says that it
 * serves, or why it cannot, and exits with 0 or 1. In the foreground there is no fork and the rest
 * is the same.
 */
#ifndef FUSE_IO_BACKGROUND_H
#define FUSE_IO_BACKGROUND_H

#include <stdbool.h>

#include "shared/base/err.h"

struct background {
    int starter; /* pipe to the waiting parent; -1 = none */
    bool foreground;
    const char *pid_file; /* empty = none */
};

/* Returns in the process that shall serve; the parent waits and exits in here. Call it before any
 * thread exists. Inherited descriptors are closed, the directory is "/". 0 or a negative errno. */
MUST_CHECK int background_begin(struct background *d, bool foreground, const char *pid_file,
                                struct why *why);
/* It serves: writes the pid file, lets go of the terminal, lets the parent exit with 0. 0 or a
 * negative errno, the parent is not told then. */
MUST_CHECK int background_report_ready(struct background *d, struct why *why);
/* It cannot serve: says why on standard error; the parent exits with 1. */
void background_report_failure(struct background *d, const char *why);
/* Removes the pid file if it is ours. */
void background_end(struct background *d);

#endif
