/* mem_env.h - an env whose files are in memory, for fuzz targets of what is read from a disk: a
 * small directory is made once, and every run begins with a copy of it.
 *
 * No network, no worker threads; disk operations are done when mem_env_pump runs. Time moves only
 * with mem_env_advance. Everything written is durable at once. Log lines are formatted and dropped.
 */
#ifndef TESTS_FUZZ_MEM_ENV_H
#define TESTS_FUZZ_MEM_ENV_H

#include "shared/base/bytes.h"
#include "shared/env/env.h"

enum { MEM_FILES_MAX = 24, MEM_PATH_BYTES = 64 };

struct mem_file {
    char path[MEM_PATH_BYTES]; /* "" = not there, though it may be open still */
    uint8_t *data;
    uint64_t size;
    uint64_t cap;
    uint32_t opens;
};

struct mem_env {
    struct env env;
    struct mem_file files[MEM_FILES_MAX];
    struct timer_heap timers;
    struct disk_op *first, *last;
    uint64_t now_ns;
    uint64_t seed;
    uint8_t boot; /* changes the incarnation */
};

void mem_env_init(struct mem_env *m);
void mem_env_close(struct mem_env *m); /* no file may be open */
/* Makes the files of `to` those of `from`, in the same places. Nothing of `to` may be open. */
void mem_env_copy(struct mem_env *to, const struct mem_env *from);
/* NULL = not there. */
struct mem_file *mem_env_find(struct mem_env *m, const char *path);
/* Does what was submitted, until nothing is left. */
void mem_env_pump(struct mem_env *m);
/* Moves time, running timers and disk operations on the way. */
void mem_env_advance(struct mem_env *m, uint64_t ns);
/* The process ends: loses what was submitted and not done, and all timers. */
void mem_env_forget(struct mem_env *m);

/* Damage: `in` is a list of edits, each
 *   flags 1   0x80 cut the file there, 0x40 remove it, 0x20 call seal afterwards;
 *             low bits: the file, in the order they were made
 *   offset 3, count 1, then count bytes that replace what is there
 * A last edit may be short. Returns how many files were sealed, so that damage was hidden. */
uint32_t mem_env_damage(struct mem_env *m, struct bytes in,
                        void (*seal)(struct mem_file *f, uint64_t offset));
/* Appends one edit of `count` bytes to out; returns the bytes it took. */
size_t mem_edit_encode(uint8_t flags, uint32_t offset, const uint8_t *bytes, uint8_t count,
                       uint8_t *out, size_t cap);
enum { MEM_CUT = 0x80, MEM_REMOVE = 0x40, MEM_SEAL = 0x20, MEM_EDIT_HEADER_BYTES = 5 };

#endif
