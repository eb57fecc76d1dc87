/* data_work.h - programs that write and read files, each file one program's at a time, and know
 * every byte.
 *
 * Files live in one directory under a few names. A program locks a name, opens or creates the file,
 * checks what is there, works on it, flushes, closes, and unlocks: the next one may be on another
 * mount (close-to-open).
 */
#ifndef TESTS_SIM_DATA_WORK_H
#define TESTS_SIM_DATA_WORK_H

#include "tests/sim/actor.h"
#include "tests/sim/file_model.h"

struct data_file {
    struct list link;
    uint64_t ino;
    struct file_model *model;
};

enum { DATA_SLOTS = 6 };

struct data_slot {
    char name[8];
    bool locked;
    uint64_t free_ns; /* not before then: a dead mount's last words may be under way */
};

struct data_files {
    struct world *world;
    uint64_t dir;
    struct list files; /* struct data_file.link */
    struct data_slot slots[DATA_SLOTS];
    uint32_t next_write;
};

struct data_files *data_files_new(struct world *w);
void data_files_free(struct data_files *d);
/* The file of that inode, or NULL. */
struct data_file *data_file_of(struct world *w, uint64_t ino);

/* Body of a data program; arg is unused. The directory's inode is set by the first program of all.
 */
void data_work(struct actor *a);
void data_work_dir(struct world *w, uint64_t ino);

/* Reads a whole open file and checks it; fails the seed if a byte is wrong. The call's status or
 * GONE. */
int data_read_all(struct actor *a, struct client_file *f, struct data_file *d, uint64_t size);

#endif
