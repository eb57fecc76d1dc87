/* serve_file.c - open files: open, create, read, write, flush, release, fsync, fallocate, lseek.
 *
 * Files opened for writing only, appending ones and those with O_DIRECT use direct I/O: a third of
 * the processor time of writing through the page cache, and an append goes where the core says the
 * file ends. Other files use the page cache, which mmap needs; pages survive from one open to the
 * next if nothing changed.
 */
#include "fuse/io/serve.h"

#include <fcntl.h>
#include <unistd.h>

#include "fuse/io/shell.h"
#include "shared/base/mem.h"

static struct open_file *file_of(const struct fuse_file_info *fi)
{
    return (struct open_file *)(uintptr_t)fi->fh;
}

/* The open file of a done open or create, known to the inode table from here on. */
static struct open_file *add_file(struct request *r)
{
    struct open_file *f = mem_new(struct open_file);
    f->file = r->call.file;
    f->ino = r->call.attr.ino;
    f->is_writer = (r->flags & O_ACCMODE) != O_RDONLY;
    f->is_append = (r->flags & O_APPEND) != 0;
    list_push_back(&r->shell->files, &f->link);
    inode_refs_open(&r->shell->inodes, f->ino, f->is_writer);
    return f;
}

static void drop_file(struct shell *s, struct open_file *f)
{
    list_remove(&f->link);
    client_release(s->client, f->file);
    inode_refs_release(&s->inodes, f->ino, f->is_writer);
    mem_free(f);
}

void serve_free_files(struct shell *s)
{
    struct list *l;
    while ((l = list_pop_front(&s->files)) != NULL) {
        mem_free(list_entry(l, struct open_file, link));
    }
}

/* With O_DIRECT writes within the file are not held up by each other, as on a disk. */
static bool is_parallel(const struct shell *s, int flags)
{
    return (flags & O_DIRECT) && channel_direct_may_map(&s->channel);
}

static void fill_info(struct fuse_file_info *fi, const struct request *r, struct open_file *f)
{
    int access = r->flags & O_ACCMODE;
    *fi = (struct fuse_file_info){.flags = r->flags, .fh = (uintptr_t)f};
    fi->direct_io =
        access == O_WRONLY || (f->is_append && f->is_writer) || is_parallel(r->shell, r->flags);
    fi->keep_cache = client_file_unchanged(f->file);
    fi->noflush = !f->is_writer; /* nothing to push at close, and locks are the kernel's own */
}

/* The path may lead to this unlinked file only because the kernel still trusts a name that another
 * mount has given to a new file: the kernel looks the path up once more. A thread that comes back
 * means this file, by /proc/self/fd. */
static bool must_look_up_again(struct request *r, struct inode_ref *ref)
{
    pid_t thread = fuse_req_ctx(r->fuse)->pid;
    if (ref == NULL || r->call.attr.nlink > 0) {
        return false;
    }
    bool again = ref->reopener != thread;
    ref->reopener = again ? thread : 0;
    return again;
}

static void answer_open(struct request *r)
{
    struct shell *s = r->shell;
    if (r->call.status < 0) {
        request_fail_inode(r, r->call.status);
        return;
    }
    struct inode_ref *ref = inode_refs_find(&s->inodes, r->ino);
    if (must_look_up_again(r, ref)) {
        client_release(s->client, r->call.file);
        request_fail(r, -ESTALE);
        return;
    }
    /* Another mount may have changed the file since the kernel was told its attributes: it must not
     * read by an old size. Dropping attributes alone never waits for anything in the kernel. */
    if (ref != NULL && inode_ref_is_outdated(ref, &r->call.attr)) {
        ref->told = false;
        fuse_lowlevel_notify_inval_inode(s->session, r->ino, -1, 0);
    }
    struct open_file *f = add_file(r);
    struct fuse_file_info fi;
    fill_info(&fi, r, f);
    s->channel.parallel_writes = is_parallel(s, r->flags);
    if (fuse_reply_open(r->fuse, &fi) != 0) {
        drop_file(s, f);
    }
    s->channel.parallel_writes = false;
    request_end(r);
}

void serve_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct request *r = request_begin(req, ino, answer_open);
    r->flags = fi->flags;
    client_open(r->shell->client, &r->call, ino, r->flags);
}

static void answer_create(struct request *r)
{
    struct shell *s = r->shell;
    if (r->call.status < 0) {
        request_fail(r, r->call.status);
        return;
    }
    /* Before it counts as open for writing: its attributes are trusted for a while, as nothing was
     * written yet. Else the kernel asks for them at once, to check what it has just made. When it
     * writes it drops them itself. */
    struct fuse_entry_param e;
    serve_fill_entry(s, &e, &r->call.attr);
    struct open_file *f = add_file(r);
    struct fuse_file_info fi;
    fill_info(&fi, r, f);
    s->channel.parallel_writes = is_parallel(s, r->flags);
    if (fuse_reply_create(r->fuse, &e, &fi) != 0) {
        inode_refs_forget(&s->inodes, f->ino, 1);
        drop_file(s, f);
    }
    s->channel.parallel_writes = false;
    request_end(r);
}

void serve_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                  struct fuse_file_info *fi)
{
    const struct fuse_ctx *who = fuse_req_ctx(req);
    struct request *r = request_begin(req, parent, answer_create);
    r->flags = fi->flags;
    if (request_keep_name(r, r->name, name)) {
        client_create_file(r->shell->client, &r->call, parent, bytes_str(r->name), mode, who->uid,
                           who->gid, r->flags);
    }
}

static void answer_read(struct request *r)
{
    if (r->call.status < 0) {
        request_fail(r, r->call.status);
        return;
    }
    const struct slice *head = &r->call.head;
    const struct slice *data = &r->call.data;
    struct iovec parts[] = {{slice_data(head), head->len}, {slice_data(data), data->len}};
    if (head->len == 0) {
        fuse_reply_buf(r->fuse, (const char *)slice_data(data), data->len);
    } else {
        fuse_reply_iov(r->fuse, parts, COUNT_OF(parts));
    }
    request_end(r);
}

void serve_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                struct fuse_file_info *fi)
{
    struct request *r = request_begin(req, ino, answer_read);
    r->file = file_of(fi);
    client_read(r->shell->client, &r->call, r->file->file, (uint64_t)offset,
                (uint32_t)MIN(size, (size_t)IO_MAX));
}

static void answer_write(struct request *r)
{
    if (r->call.status < 0) {
        request_fail(r, r->call.status);
        return;
    }
    fuse_reply_write(r->fuse, r->size);
    request_end(r);
}

static void start_write(struct request *r, bool append)
{
    client_write(r->shell->client, &r->call, r->file->file, r->offset, r->data, append,
                 r->clear_suid);
}

/* A dirty page of a shared mapping: stores beyond the end of the file are dropped, they never
 * extend it. */
static void answer_page_size(struct request *r)
{
    if (r->call.status < 0) {
        request_fail(r, r->call.status);
        return;
    }
    uint64_t end = r->call.attr.size;
    if (r->offset >= end) {
        answer_write(r);
        return;
    }
    r->data.len = (uint32_t)MIN(r->data.len, end - r->offset);
    start_write(request_chain(r, answer_write), false);
}

void serve_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
                 struct fuse_file_info *fi)
{
    bool from_page_cache = fi->writepage;
    struct request *r = request_begin(req, ino, from_page_cache ? answer_page_size : answer_write);
    struct shell *s = r->shell;
    if (size == 0 || size > IO_MAX) {
        request_fail(r, -EINVAL);
        return;
    }
    r->clear_suid = channel_write_kills_suid(&s->channel, fuse_req_ctx(req)->uid, from_page_cache);
    r->held = channel_take_buffer(&s->channel);
    r->data = bytes_of(data, size);
    r->size = (uint32_t)size;
    r->offset = (uint64_t)offset;
    r->file = file_of(fi);
    if (from_page_cache) {
        client_getattr(s->client, &r->call, ino);
    } else {
        start_write(r, (fi->flags & O_APPEND) != 0);
    }
}

void serve_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct request *r = request_begin(req, ino, serve_answer_status);
    r->is_flush = true;
    client_flush(r->shell->client, &r->call, file_of(fi)->file);
}

void serve_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    drop_file(shell_of(req), file_of(fi));
    fuse_reply_err(req, 0);
}

void serve_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
    struct request *r = request_begin(req, ino, serve_answer_status);
    client_fsync(r->shell->client, &r->call, file_of(fi)->file, data_only != 0);
}

void serve_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                     struct fuse_file_info *fi)
{
    struct request *r = request_begin(req, ino, serve_answer_status);
    client_fallocate(r->shell->client, &r->call, file_of(fi)->file, mode, (uint64_t)offset,
                     (uint64_t)length);
}

static void answer_lseek(struct request *r)
{
    if (r->call.status < 0) {
        request_fail(r, r->call.status);
        return;
    }
    fuse_reply_lseek(r->fuse, (off_t)r->call.offset);
    request_end(r);
}

/* The kernel moves file positions itself; only SEEK_DATA and SEEK_HOLE come here. */
void serve_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
                 struct fuse_file_info *fi)
{
    struct request *r = request_begin(req, ino, answer_lseek);
    if (whence != SEEK_DATA && whence != SEEK_HOLE) {
        request_fail(r, -EINVAL);
        return;
    }
    client_lseek(r->shell->client, &r->call, file_of(fi)->file, (uint64_t)offset,
                 whence == SEEK_HOLE);
}
