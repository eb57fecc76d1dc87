/* serve_attr.c - inodes and their attributes: lookup, forget, getattr, setattr, readlink, statfs. */
#include "fuse/io/serve.h"

#include <errno.h>
#include <string.h>

#include "fuse/io/shell.h"

/* What stat shows as the preferred size of a read or write: stdio takes it for its buffers, and
 * each buffer is a request. */
#define PREFERRED_IO_BYTES (64 * 1024)
#define STATFS_BLOCK       4096u

void serve_fill_stat(struct stat *out, const struct attr *a)
{
    *out = (struct stat){
        .st_ino = a->ino,
        .st_mode = a->mode,
        .st_nlink = a->nlink,
        .st_uid = a->uid,
        .st_gid = a->gid,
        .st_rdev = a->rdev,
        .st_size = (off_t)a->size,
        .st_blocks = (blkcnt_t)a->blocks,
        .st_blksize = PREFERRED_IO_BYTES,
        .st_atim = {.tv_sec = a->atime.sec, .tv_nsec = a->atime.nsec},
        .st_mtim = {.tv_sec = a->mtime.sec, .tv_nsec = a->mtime.nsec},
        .st_ctim = {.tv_sec = a->ctime.sec, .tv_nsec = a->ctime.nsec},
    };
}

double serve_attr_timeout(struct shell *s, uint64_t ino)
{
    struct inode_ref *ref = inode_refs_find(&s->inodes, ino);
    return ref != NULL && ref->writers > 0 ? 0.0 : s->options->attr_timeout_s;
}

void serve_fill_entry(struct shell *s, struct fuse_entry_param *out, const struct attr *a)
{
    struct inode_ref *ref = inode_refs_learn(&s->inodes, a, 1);
    *out = (struct fuse_entry_param){
        .ino = a->ino,
        .attr_timeout = serve_attr_timeout(s, a->ino),
        .entry_timeout = s->options->entry_timeout_s,
    };
    serve_fill_stat(&out->attr, a);
    ref->told = out->attr_timeout > 0.0;
}

void serve_answer_entry(struct request *r)
{
    if (r->call.status < 0) {
        request_fail(r, r->call.status);
        return;
    }
    struct fuse_entry_param e;
    uint64_t ino = r->call.attr.ino;
    serve_fill_entry(r->shell, &e, &r->call.attr);
    if (fuse_reply_entry(r->fuse, &e) != 0) {
        inode_refs_forget(&r->shell->inodes, ino, 1);
    }
    request_end(r);
}

void serve_answer_attr(struct request *r)
{
    if (r->call.status < 0) {
        request_fail_inode(r, r->call.status);
        return;
    }
    struct stat st;
    double timeout_s = serve_attr_timeout(r->shell, r->ino);
    struct inode_ref *ref = inode_refs_learn(&r->shell->inodes, &r->call.attr, 0);
    if (ref != NULL) {
        ref->told = timeout_s > 0.0;
    }
    serve_fill_stat(&st, &r->call.attr);
    fuse_reply_attr(r->fuse, &st, timeout_s);
    request_end(r);
}

void serve_answer_status(struct request *r)
{
    fuse_reply_err(r->fuse, err_to_errno(r->call.status));
    request_end(r);
}

/* The parent of a directory came with its (first) entries. */
static void answer_parent(struct request *r)
{
    if (r->call.status < 0) {
        request_fail_inode(r, r->call.status);
        return;
    }
    uint64_t parent = r->call.offset;
    struct request *next = request_chain(r, serve_answer_entry);
    client_getattr(next->shell->client, &next->call, parent);
}

/* "." and ".." come when a file handle made by name_to_handle_at is opened. */
void serve_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    bool is_parent = strcmp(name, "..") == 0;
    if (client_lacks(shell_of(req)->client, parent, bytes_str(name))) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    struct request *r = request_begin(req, parent, is_parent ? answer_parent : serve_answer_entry);
    struct client *c = r->shell->client;
    if (strcmp(name, ".") == 0) {
        client_getattr(c, &r->call, parent);
    } else if (is_parent) {
        client_readdir(c, &r->call, parent, 0, READDIR_BYTES_MAX, false);
    } else if (request_keep_name(r, r->name, name)) {
        client_lookup(c, &r->call, parent, bytes_str(r->name));
    }
}

void serve_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
    inode_refs_forget(&shell_of(req)->inodes, ino, lookups);
    fuse_reply_none(req);
}

void serve_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    struct shell *s = shell_of(req);
    for (size_t i = 0; i < count; i++) {
        inode_refs_forget(&s->inodes, forgets[i].ino, forgets[i].nlookup);
    }
    fuse_reply_none(req);
}

static void reply_remembered_root(struct shell *s, fuse_req_t req)
{
    struct attr *last = &inode_refs_find(&s->inodes, ROOT_INO)->last;
    struct stat st;
    serve_fill_stat(&st, last);
    st.st_mode = last->mode != 0 ? last->mode : S_IFDIR | 0755;
    fuse_reply_attr(req, &st, 0.0);
}

static void answer_root(struct request *r)
{
    if (r->call.status == 0) {
        serve_answer_attr(r);
        return;
    }
    reply_remembered_root(r->shell, r->fuse);
    request_end(r);
}

/* With the cluster away the root still answers from memory, so that unmounting never waits. */
void serve_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct shell *s = shell_of(req);
    bool is_root = ino == ROOT_INO;
    (void)fi;
    if (is_root && client_waiting(s->client)) {
        reply_remembered_root(s, req);
        return;
    }
    const struct attr *fresh = inode_refs_fresh(&s->inodes, ino, env_mono_ns(s->env));
    if (fresh != NULL) {
        struct stat st;
        serve_fill_stat(&st, fresh);
        inode_refs_find(&s->inodes, ino)->told = true;
        fuse_reply_attr(req, &st, s->options->attr_timeout_s);
        return;
    }
    struct request *r = request_begin(req, ino, is_root ? answer_root : serve_answer_attr);
    r->has_fallback = is_root;
    client_getattr(s->client, &r->call, ino);
}

static const struct {
    int from; /* FUSE_SET_ATTR_* */
    uint32_t to;
} setattr_bits[] = {
    {FUSE_SET_ATTR_MODE, SETATTR_MODE},
    {FUSE_SET_ATTR_UID, SETATTR_UID},
    {FUSE_SET_ATTR_GID, SETATTR_GID},
    {FUSE_SET_ATTR_SIZE, SETATTR_SIZE},
    {FUSE_SET_ATTR_ATIME, SETATTR_ATIME},
    {FUSE_SET_ATTR_MTIME, SETATTR_MTIME},
    {FUSE_SET_ATTR_ATIME_NOW, SETATTR_ATIME_NOW},
    {FUSE_SET_ATTR_MTIME_NOW, SETATTR_MTIME_NOW},
    {FUSE_SET_ATTR_KILL_SUID, SETATTR_CLEAR_SUID},
};

void serve_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int mask,
                   struct fuse_file_info *fi)
{
    struct shell *s = shell_of(req);
    struct request *r = request_begin(req, ino, serve_answer_attr);
    uint32_t wanted = 0;
    (void)fi; /* the kernel has checked that the descriptor is open for writing */
    for (size_t i = 0; i < COUNT_OF(setattr_bits); i++) {
        if (mask & setattr_bits[i].from) {
            wanted |= setattr_bits[i].to;
        }
    }
    struct inode_ref *ref = inode_refs_find(&s->inodes, ino);
    if ((wanted & (SETATTR_UID | SETATTR_GID)) != 0 && !(ref != NULL && S_ISDIR(ref->last.mode))) {
        wanted |= SETATTR_CLEAR_SUID; /* whoever changes the owner */
    }
    r->wanted = (struct attr){
        .mode = st->st_mode & 07777,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .size = (uint64_t)st->st_size,
        .atime = {.sec = st->st_atim.tv_sec, .nsec = (uint32_t)st->st_atim.tv_nsec},
        .mtime = {.sec = st->st_mtim.tv_sec, .nsec = (uint32_t)st->st_mtim.tv_nsec},
    };
    client_setattr(s->client, &r->call, ino, wanted, &r->wanted);
}

static void answer_readlink(struct request *r)
{
    char target[SYMLINK_LEN_MAX + 1];
    if (r->call.status < 0) {
        request_fail_inode(r, r->call.status);
        return;
    }
    size_t len = MIN(r->call.bytes.len, SYMLINK_LEN_MAX);
    memcpy(target, r->call.bytes.data, len);
    target[len] = '\0';
    fuse_reply_readlink(r->fuse, target);
    request_end(r);
}

void serve_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct request *r = request_begin(req, ino, answer_readlink);
    client_readlink(r->shell->client, &r->call, ino);
}

/* A cluster that never answered has sizes of 0. */
static void answer_statfs(struct request *r)
{
    static const struct statfs_rep unknown;
    const struct statfs_rep *rep = r->call.status == 0 ? &r->call.statfs : &unknown;
    struct statvfs out = {
        .f_bsize = STATFS_BLOCK,
        .f_frsize = STATFS_BLOCK,
        .f_blocks = rep->total / STATFS_BLOCK,
        .f_bfree = rep->avail / STATFS_BLOCK,
        .f_bavail = rep->avail / STATFS_BLOCK,
        .f_files = rep->files + rep->files_free,
        .f_ffree = rep->files_free,
        .f_favail = rep->files_free,
        .f_namemax = NAME_LEN_MAX,
    };
    fuse_reply_statfs(r->fuse, &out);
    request_end(r);
}

void serve_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct request *r = request_begin(req, ino, answer_statfs);
    r->has_fallback = true;
    client_statfs(r->shell->client, &r->call);
}
