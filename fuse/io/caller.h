/* caller.h - what /proc says about the thread that waits for a request. */
#ifndef FUSE_IO_CALLER_H
#define FUSE_IO_CALLER_H

#include <stdbool.h>
#include <sys/types.h>

/* A signal is pending that ends the thread as soon as its call returns; also true if it cannot be
 * told (the thread lives in another process namespace, /proc is hidden): then any signal counts. */
bool caller_must_die(pid_t thread);

/* Whether the thread is past its last instruction and only closes its files, and why. No signal
 * reaches it any more. */
enum caller_end { CALLER_LIVES, CALLER_EXITS, CALLER_WAS_KILLED };
enum caller_end caller_end(pid_t thread);

#endif
