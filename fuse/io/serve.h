/* serve.h - the handlers of the kernel's requests, by what they work on, and what they share.
 *
 * Each handler starts one call of the core and returns; its answer function replies. A handler that
 * needs nobody replies at once.
 */
#ifndef FUSE_IO_SERVE_H
#define FUSE_IO_SERVE_H

#include "fuse/io/request.h"

/* An open file as the kernel's file handle names it. */
struct open_file {
    struct list link; /* in shell.files */
    struct client_file *file;
    uint64_t ino;
    bool is_writer;
    bool is_append;
};

/* serve_attr.c: inodes and their attributes. */
void serve_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void serve_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups);
void serve_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void serve_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void serve_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int mask,
                   struct fuse_file_info *fi);
void serve_readlink(fuse_req_t req, fuse_ino_t ino);
void serve_statfs(fuse_req_t req, fuse_ino_t ino);

/* serve_name.c: names. */
void serve_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void serve_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void serve_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void serve_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void serve_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void serve_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                  const char *new_name, unsigned flags);
void serve_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);

/* serve_file.c: open files. */
void serve_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void serve_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                  struct fuse_file_info *fi);
void serve_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                struct fuse_file_info *fi);
void serve_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
                 struct fuse_file_info *fi);
void serve_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void serve_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void serve_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi);
void serve_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                     struct fuse_file_info *fi);
void serve_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
                 struct fuse_file_info *fi);

/* After the core has ended: frees what the kernel did not release. */
void serve_free_files(struct shell *s);

/* serve_dir.c: directories. */
void serve_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void serve_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                   struct fuse_file_info *fi);
void serve_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                       struct fuse_file_info *fi);

/* serve_xattr.c: extended attributes. */
void serve_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                    size_t size, int flags);
void serve_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void serve_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void serve_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

/* serve_attr.c: shared by handlers. */
void serve_fill_stat(struct stat *out, const struct attr *a);
/* Seconds the kernel may trust attributes of the inode: none while this mount has it open for
 * writing. */
double serve_attr_timeout(struct shell *s, uint64_t ino);
/* Counts a lookup of the inode and fills the kernel's entry. Undo it with inode_refs_forget if the
 * kernel does not take the answer. */
void serve_fill_entry(struct shell *s, struct fuse_entry_param *out, const struct attr *a);
/* Answer functions. */
void serve_answer_entry(struct request *r);  /* call->attr is an entry's inode */
void serve_answer_attr(struct request *r);   /* call->attr */
void serve_answer_status(struct request *r); /* success or an error */

#endif
