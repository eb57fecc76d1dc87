/* sim_disk_impl.h - inside of the simulated disk: its names, and the real files of libraries. */
#ifndef TESTS_SIM_SIM_DISK_IMPL_H
#define TESTS_SIM_SIM_DISK_IMPL_H

#include "shared/base/list.h"
#include "tests/sim/sim_inode.h"

#include <stddef.h>

struct entry {
    char *path;
    struct sim_inode *inode; /* NULL = directory; a reference */
};

struct names {
    struct entry *items; /* sorted by path */
    uint32_t count;
    uint32_t cap;
};

enum name_op_kind { NAME_CREATE, NAME_DIR, NAME_UNLINK, NAME_RENAME };

/* A change of names that is not durable yet. */
struct name_op {
    struct list link;
    enum name_op_kind kind;
    char *path;
    char *path2;
    struct sim_inode *inode; /* reference, NULL = directory */
};

struct sim_disk {
    struct sim *sim;
    char name[32];
    uint64_t capacity;
    uint64_t used;
    struct names now;
    struct names old; /* durable */
    struct list ops;  /* in order: old + ops = now */
    bool real_made;   /* the real directory exists */
    bool real_synced; /* what a library wrote in it is durable */
    /* Of UNSYNCED_FILE: where the space ends that was taken for it, its size when more was asked for
     * last, and whether it grew beyond both, which a full disk would not have allowed. */
    uint64_t live_taken;
    uint64_t live_size;
    bool live_overgrown;
    uint8_t *live; /* of an image: what UNSYNCED_FILE holds */
    int64_t live_bytes;
};

struct entry *sim_names_find(const struct names *t, const char *path);
void sim_names_put(struct names *t, const char *path, struct sim_inode *inode); /* references it */
void sim_names_free(struct names *t);
void sim_ops_free(struct sim_disk *d);

/* The one file a library keeps open and writes without syncs. A power cut leaves it with pages
 * missing: nobody may believe it. */
#define UNSYNCED_FILE "live/data.mdb"

/* Name of a file's real counterpart. Returns out. */
const char *sim_real_name(struct sim_disk *d, const char *path, char *out, size_t size);
/* Size of the real file, -ENOENT. */
/* A copy of a file that a library made there; to be dropped. */
struct sim_inode *sim_real_view(struct sim_disk *d, const char *path);
int64_t sim_real_size(struct sim_disk *d, const char *path);
void sim_real_make(struct sim_disk *d);
void sim_real_remove(struct sim_disk *d);
void sim_real_power_cut(struct sim_disk *d, struct sim_rand *r);
/* Whole content of a real file into *out (freed by the caller): its size or -errno. */
int64_t sim_real_read(const char *name, uint8_t **out);
void sim_real_write(const char *name, const uint8_t *data, uint64_t size);

#endif
