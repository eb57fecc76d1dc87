/* model.h - the reference filesystem: a plain tree in memory, written from what POSIX says.
 *
 * Shares no code with the master. Inode numbers come from outside, so that they can be those of the
 * real one. Every change has a form that only asks: do_it == false tells what the answer would be.
 */
#ifndef TESTS_SIM_MODEL_H
#define TESTS_SIM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_HOLDERS_MAX = 16 };

struct model_entry {
    char *name;
    uint64_t ino;
};

struct model_xattr {
    char name[24], value[16];
};

struct model_inode {
    uint64_t ino;
    uint32_t mode; /* type and permissions */
    uint32_t nlink;
    uint32_t uid, gid, rdev;
    uint64_t size; /* directories: entries; symlinks: length of the target */
    uint64_t parent;
    char *target;
    struct model_entry *entries; /* sorted by name */
    size_t entry_count;
    uint64_t holders[MODEL_HOLDERS_MAX]; /* sessions that keep it although it has no name */
    size_t holder_count;
    struct model_xattr *xattrs; /* sorted by name */
    size_t xattr_count;
    bool trashed; /* without a name, and can get one back */
};

struct model;

struct model *model_new(void); /* with a root directory, inode 1 */
void model_free(struct model *m);

/* NULL if there is none (any more), or only the trash has it. */
struct model_inode *model_find(struct model *m, uint64_t ino);
/* Also what only the trash has. */
bool model_keeps(struct model *m, uint64_t ino);
struct model_inode *model_kept(struct model *m, uint64_t ino);
/* Inodes in order of number that model_find finds: the first with number >= ino, or NULL. */
struct model_inode *model_next(struct model *m, uint64_t ino);
/* 0 and the inode, -ENOENT, -ENOTDIR. */
int model_lookup(struct model *m, uint64_t parent, const char *name, uint64_t *out);

struct model_make {
    uint64_t parent;
    const char *name;
    uint32_t mode; /* with the type */
    uint32_t uid, gid, rdev;
    const char *target; /* of a symlink */
    uint64_t ino;       /* number it gets */
};
int model_make(struct model *m, bool do_it, const struct model_make *a);
int model_link(struct model *m, bool do_it, uint64_t ino, uint64_t parent, const char *name);
/* holders: sessions that keep the inode if this is its last name; trash: it goes there then. */
int model_unlink(struct model *m, bool do_it, uint64_t parent, const char *name,
                 const uint64_t *holders, size_t holder_count, bool trash);
int model_rmdir(struct model *m, bool do_it, uint64_t parent, const char *name, bool trash);
/* From the trash: for good (nothing if it is not there), or back: -ENOENT, -ENOTDIR, -EEXIST. */
void model_trash_drop(struct model *m, uint64_t ino);
int model_trash_return(struct model *m, uint64_t ino, uint64_t parent, const char *name);

struct model_rename {
    uint64_t parent;
    const char *name;
    uint64_t new_parent;
    const char *new_name;
    uint32_t flags; /* of renameat2(2) */
    const uint64_t *holders;
    size_t holder_count;
    bool trash;
};
int model_rename(struct model *m, bool do_it, const struct model_rename *a);

struct model_setattr {
    uint64_t ino;
    bool set_mode, set_uid, set_gid, set_size, clear_suid;
    uint32_t mode, uid, gid;
    uint64_t size;
};
int model_setattr(struct model *m, bool do_it, const struct model_setattr *a);
int model_extend(struct model *m, bool do_it, uint64_t ino, uint64_t end, bool clear_suid);
/* flags of setxattr(2). The number of replicas is an attribute of files and directories, which what
 * is made in a directory inherits; "0" removes it. */
int model_setxattr(struct model *m, bool do_it, uint64_t ino, const char *name, const char *value,
                   uint32_t flags);
int model_removexattr(struct model *m, bool do_it, uint64_t ino, const char *name);
const char *model_getxattr(const struct model_inode *n, const char *name); /* NULL = none */
/* Names as listxattr(2) gives them; their bytes. */
size_t model_listxattr(const struct model_inode *n, char *out, size_t size);
uint32_t model_replicas(const struct model_inode *n); /* 0 = the default */
void model_set_replicas(struct model_inode *n, uint32_t replicas);
/* A session lets go of an inode, or of all. */
void model_release(struct model *m, uint64_t ino, uint64_t session);
void model_session_end(struct model *m, uint64_t session);

#endif
