/* serve_name.c - names: mknod, mkdir, unlink, rmdir, symlink, rename, link. */
#include "fuse/io/serve.h"

#include "fuse/io/shell.h"

void serve_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    const struct fuse_ctx *who = fuse_req_ctx(req);
    struct request *r = request_begin(req, parent, serve_answer_entry);
    if (request_keep_name(r, r->name, name)) {
        /* The device number is in the kernel's own 32-bit encoding, here and in attributes. */
        client_mknod(r->shell->client, &r->call, parent, bytes_str(r->name), mode, (uint32_t)rdev,
                     who->uid, who->gid);
    }
}

void serve_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    const struct fuse_ctx *who = fuse_req_ctx(req);
    struct request *r = request_begin(req, parent, serve_answer_entry);
    if (request_keep_name(r, r->name, name)) {
        client_mkdir(r->shell->client, &r->call, parent, bytes_str(r->name), mode, who->uid,
                     who->gid);
    }
}

void serve_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct request *r = request_begin(req, parent, serve_answer_status);
    if (request_keep_name(r, r->name, name)) {
        client_unlink(r->shell->client, &r->call, parent, bytes_str(r->name));
    }
}

void serve_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct request *r = request_begin(req, parent, serve_answer_status);
    r->unsettles = true;
    if (request_keep_name(r, r->name, name)) {
        client_rmdir(r->shell->client, &r->call, parent, bytes_str(r->name));
    }
}

void serve_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    const struct fuse_ctx *who = fuse_req_ctx(req);
    struct request *r = request_begin(req, parent, serve_answer_entry);
    if (!request_keep_name(r, r->name, name)) {
        return;
    }
    r->held = channel_take_buffer(&r->shell->channel);
    r->data = bytes_str(target);
    if (r->data.len > SYMLINK_LEN_MAX) {
        request_fail(r, -ENAMETOOLONG);
        return;
    }
    client_symlink(r->shell->client, &r->call, parent, bytes_str(r->name), r->data, who->uid,
                   who->gid);
}

void serve_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                  const char *new_name, unsigned flags)
{
    struct request *r = request_begin(req, parent, serve_answer_status);
    r->unsettles = true;
    if (request_keep_name(r, r->name, name) && request_keep_name(r, r->new_name, new_name)) {
        client_rename(r->shell->client, &r->call, parent, bytes_str(r->name), new_parent,
                      bytes_str(r->new_name), flags);
    }
}

void serve_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
    struct request *r = request_begin(req, ino, serve_answer_entry);
    if (request_keep_name(r, r->name, name)) {
        client_link(r->shell->client, &r->call, ino, parent, bytes_str(r->name));
    }
}
