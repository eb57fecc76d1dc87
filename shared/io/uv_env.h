/* uv_env.h - the env of production: libuv, the kernel's sockets and clocks, one real directory.
 *
 * One loop thread (whoever calls uv_env_run) and a pool of worker threads started on demand. Order
 * of a process's life: uv_env_create -> core_create(uv_env_base) -> core_start -> uv_env_run ->
 * uv_env_settle -> core_stop
 *     -> uv_env_halt -> core_destroy -> uv_env_destroy
 * Libraries with handles of their own (signals, the FUSE channel) put them on uv_env_loop and
 * uv_close them before uv_env_destroy, which runs the loop until every handle is closed.
 *
 * What a peer can make us spend is bounded: CONNECTIONS_MAX accepted connections; before its first
 * whole frame a peer may send at most FIRST_BODY_MAX bytes of body and no payload, within
 * FRAME_WAIT_MS; later frames are bounded by FRAME_BODY_MAX and FRAME_PAYLOAD_MAX and by time; a
 * connection whose peer does not read is not read from either once TX_PAUSE_BYTES wait for it (less
 * if many such peers make TX_ALL_BYTES). A peer that breaks the protocol is disconnected and named
 * in one line of the log, at most LOG_BURST lines at once.
 */
#ifndef SHARED_IO_UV_ENV_H
#define SHARED_IO_UV_ENV_H

#include <uv.h>

#include "shared/env/env.h"

struct uv_env;

enum { AWAKE_US = 100 }; /* awake_us of mount and master: others wait for each of their steps */

struct uv_env_config {
    const char *dir;          /* the process's directory, must exist; NULL = it has none */
    const char *log_path;     /* lines are appended there; NULL = standard error */
    enum log_level log_level; /* lines below it are not written; LOG_DEBUG writes all */
    unsigned threads_max;     /* worker threads; 0 = 16 */
    unsigned awake_us;        /* after something happened the loop looks again for so long before it
                          sleeps, as long as that pays (uv_spin.h); 0 = it sleeps at once */
    const char
        *boot_override; /* tests: stands for the kernel's boot id; NULL or empty = the kernel's */
};

/* NULL with a sentence in why: the directory or the log file cannot be opened. */
struct uv_env *uv_env_create(const struct uv_env_config *cfg, struct why *why);
struct env *uv_env_base(struct uv_env *e);
struct uv_env *uv_env_of(struct env *base); /* and back */
uv_loop_t *uv_env_loop(struct uv_env *e);
/* Runs the loop until uv_env_stop. */
void uv_env_run(struct uv_env *e);
/* On the loop, or in a handler of a signal handle. */
void uv_env_stop(struct uv_env *e);
/* No more timers, connections or messages; runs the loop until no disk operation or work is under
 * way or due, their callbacks included. False if some still were after wait_ms. */
bool uv_env_settle(struct uv_env *e, uint32_t wait_ms);
/* Waits for operations that run, forgets the others: no callback runs from now on, and memory of
 * requests may be freed. */
void uv_env_halt(struct uv_env *e);
/* Closes everything and frees. The core must be destroyed before. */
void uv_env_destroy(struct uv_env *e);

/* For handles on uv_env_loop that are not the env's: something happened in this turn. */
void uv_env_stirred(struct uv_env *e);

/* One line for the log outside a core. */
#define uv_env_log(e, ...) env_log(uv_env_base(e), __VA_ARGS__)

#endif
