/* dir_env.h - a small env for unit tests: files of a real directory, done at once; completions wait
 * in a queue until the test pumps them. No network. Time stands still until the test moves it.
 *
 * A kill is dir_env_forget (completions are lost) and a new start of the core; a power cut is that
 * plus a change of `boot` and whatever the test does to the files.
 */
#ifndef TESTS_UNIT_DIR_ENV_H
#define TESTS_UNIT_DIR_ENV_H

#include "shared/env/env.h"

/* A page of a file that begins so cannot be read (-EIO), until it is written. */
#define DIR_ENV_UNREADABLE "a page that cannot be read"
enum { DIR_ENV_PAGE = 4096 };

struct dir_env {
    struct env env;
    char root[256];
    uint8_t boot; /* changes the incarnation */
    uint64_t now_ns;
    uint64_t seed;     /* of rand64 */
    uint64_t ops_done; /* disk operations executed */
    uint64_t fail_at;  /* the operation with this number (from 1) fails with fail_error; 0 = none */
    int fail_error;
    uint64_t disk_total; /* what space() says; 0 = the filesystem's figures */
    uint64_t disk_free;
    uint64_t allocate_end; /* allocate() of more than this of a file gives -ENOSPC; 0 = no bound */
    int allocate_error;    /* allocate() fails with it; 0 = it works */
    void (*on_die)(struct dir_env *d, const char *reason); /* may jump; else the test ends */
    struct timer_heap timers;
    struct disk_op *first, *last;
    struct env_work *works[16];
    uint32_t work_count;
};

/* Makes a fresh directory under $TMPDIR or /tmp. */
struct dir_env *dir_env_new(void);
/* Removes the directory and everything in it. */
void dir_env_free(struct dir_env *d);
/* Runs completions, works and due timers until nothing is left. */
void dir_env_pump(struct dir_env *d);
/* Runs one completion or work; false if there was none. */
bool dir_env_step(struct dir_env *d);
/* Moves time, running timers on the way. */
void dir_env_advance(struct dir_env *d, uint64_t ns);
/* Loses what was submitted and not completed, and all timers. */
void dir_env_forget(struct dir_env *d);
/* Absolute path of a file. */
const char *dir_env_path(struct dir_env *d, const char *path);

#endif
