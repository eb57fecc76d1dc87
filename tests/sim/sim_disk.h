/* sim_disk.h - a disk of one directory: what programs see, what is durable, and what a power cut
 * leaves.
 *
 * A file has its content as programs see it (the page cache) and its durable content. A power cut
 * keeps, drops or tears (by 512-byte sectors) each 4 KiB page written and not synced; a size not
 * synced may fall back. Names: operations on entries (create, rename, unlink, make_dir) not yet
 * followed by a sync of their directory are undone independently. Syncing a file makes its data and
 * size durable, not its name. An entry whose parent directory is lost goes with it.
 *
 * A ring (map_ring) is memory: kept when the process dies; a power cut leaves per page the newest,
 * the older or zero bytes.
 *
 * Libraries that open files themselves get a real directory (real_path). What they make there
 * exists for the disk only after import; a power cut empties it, but for the file it wrote to without
 * syncs, which has lost pages.
 */
#ifndef TESTS_SIM_SIM_DISK_H
#define TESTS_SIM_SIM_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/sim.h"

enum { SIM_PAGE_BYTES = 4096, SIM_SECTOR_BYTES = 512 };

struct sim_disk;
struct sim_inode;

struct sim_disk *sim_disk_create(struct sim *s, const char *name, uint64_t capacity);
void sim_disk_free(struct sim_disk *d);
void sim_disk_power_cut(struct sim_disk *d);
/* A new disk in its place: empty. */
void sim_disk_wipe(struct sim_disk *d);
/* A byte of a file. */
struct sim_place {
    char path[64];
    uint64_t at;
};

/* One of the bytes of all files whose path begins with `prefix`; false if there is none. */
bool sim_disk_choose(struct sim_disk *d, const char *prefix, struct sim_rand *r,
                     struct sim_place *out);
/* A bit of it flips. */
void sim_disk_flip(struct sim_disk *d, const struct sim_place *p, unsigned bit);
/* Its sector cannot be read any more until it is written. */
void sim_disk_spoil(struct sim_disk *d, const struct sim_place *p);
/* Calls each(owner, path, size) for every file, sorted by path. */
void sim_disk_each(const struct sim_disk *d,
                   void (*each)(void *owner, const char *path, uint64_t size), void *owner);
/* Size of a file, -ENOENT. */
int64_t sim_disk_size(const struct sim_disk *d, const char *path);
/* What a power cut now would leave for certain of [off, off + len) of a file; zeros where there is
 * nothing. */
void sim_disk_durable(const struct sim_disk *d, const char *path, uint64_t off, void *out,
                      uint32_t len);
/* A file below the prefix that has data, or NULL; not referenced. */
struct sim_inode *sim_disk_some_file(struct sim_disk *d, const char *prefix, struct sim_rand *r);
/* Bytes taken, and bytes in all. */
uint64_t sim_disk_used(const struct sim_disk *d);
/* Room is made or taken away: tests of a full disk. */
void sim_disk_set_capacity(struct sim_disk *d, uint64_t capacity);

/* Flags of env_file_open. The inode is referenced until sim_inode_drop. */
int sim_disk_open(struct sim_disk *d, const char *path, unsigned flags, struct sim_inode **out);
void sim_inode_drop(struct sim_inode *i);
uint64_t sim_inode_size(const struct sim_inode *i);
/* -EIO if a sector of the range is spoilt. */
int64_t sim_inode_read(struct sim_inode *i, uint64_t off, void *data, uint32_t len);
/* -ENOSPC after the pages that fit. */
int64_t sim_inode_write(struct sim_inode *i, uint64_t off, const void *data, uint32_t len);
int sim_inode_truncate(struct sim_inode *i, uint64_t size);
/* Bytes taken, or -ENOSPC after the first that fit. */
int64_t sim_inode_allocate(struct sim_inode *i, uint64_t off, uint64_t len);
void sim_inode_punch(struct sim_inode *i, uint64_t off, uint64_t len);
/* Offset, or -ENXIO. */
int64_t sim_inode_seek(struct sim_inode *i, uint64_t off, bool hole);
void sim_inode_sync(struct sim_inode *i);
/* What is not synced will never be durable: see TRAP_SYNC. */
void sim_inode_fail_sync(struct sim_inode *i);
/* Flips a bit where the disk holds it, behind everybody's back. */
void sim_inode_flip(struct sim_inode *i, uint64_t off, unsigned bit);

int sim_disk_make_dir(struct sim_disk *d, const char *path);
int sim_disk_rename(struct sim_disk *d, const char *from, const char *to);
int sim_disk_unlink(struct sim_disk *d, const char *path);
int sim_disk_sync_dir(struct sim_disk *d, const char *path);
int sim_disk_list(struct sim_disk *d, const char *path, void (*each)(void *owner, const char *name),
                  void *owner);
void sim_disk_space(struct sim_disk *d, uint64_t *out_total, uint64_t *out_free);
/* The file that a library keeps open has grown beyond the space that was taken for it. */
bool sim_disk_overgrown(struct sim_disk *d);
int sim_disk_allocate(struct sim_disk *d, const char *path, uint64_t off, uint64_t bytes);
void *sim_disk_ring(struct sim_disk *d, const char *path, uint32_t size);

const char *sim_disk_real_path(struct sim_disk *d, const char *path, char *out, uint32_t size);
/* Whether the library has synced what it wrote. */
void sim_disk_real_synced(struct sim_disk *d, bool synced);
int sim_disk_import(struct sim_disk *d, const char *path);

#endif
