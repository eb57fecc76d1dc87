/* serve_xattr.c - extended attributes: user, trusted and security are stored, the others refused. */
#include "fuse/io/serve.h"

#include <string.h>

#include "fuse/io/shell.h"

static bool is_stored(const char *name)
{
    return strncmp(name, "user.", 5) == 0 || strncmp(name, "trusted.", 8) == 0 ||
           strncmp(name, "security.", 9) == 0;
}

static void answer_set(struct request *r)
{
    struct inode_ref *ref = inode_refs_find(&r->shell->inodes, r->ino);
    if (r->call.status == 0 && ref != NULL) {
        ref->last.flags |= ATTR_HAS_XATTR;
    }
    serve_answer_status(r);
}

void serve_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                    size_t size, int flags)
{
    struct request *r = request_begin(req, ino, answer_set);
    r->unsettles = true;
    if (!is_stored(name)) {
        request_fail(r, -EOPNOTSUPP);
    } else if (size > XATTR_VALUE_MAX) {
        request_fail(r, -E2BIG);
    } else if (request_keep_name(r, r->name, name)) {
        r->held = channel_take_buffer(&r->shell->channel);
        r->data = bytes_of(value, size);
        client_setxattr(r->shell->client, &r->call, ino, bytes_str(r->name), r->data,
                        (uint32_t)flags);
    }
}

/* The value or list is in call->bytes; with size 0 only its length was asked. */
static void answer_bytes(struct request *r)
{
    struct bytes b = r->call.bytes;
    if (r->call.status < 0) {
        request_fail(r, r->call.status);
        return;
    }
    if (r->size == 0) {
        fuse_reply_xattr(r->fuse, b.len);
    } else if (b.len > r->size) {
        fuse_reply_err(r->fuse, ERANGE);
    } else {
        fuse_reply_buf(r->fuse, (const char *)b.data, b.len);
    }
    request_end(r);
}

/* The kernel asks for security.capability before programs run and files are changed: of inodes
 * known to have no attributes the answer is here. */
static bool is_known_absent(struct shell *s, uint64_t ino, const char *name)
{
    struct inode_ref *ref = inode_refs_find(&s->inodes, ino);
    return strcmp(name, "security.capability") == 0 && ref != NULL && ref->last.mode != 0 &&
           (ref->last.flags & ATTR_HAS_XATTR) == 0;
}

/* Of the root: who serves this mount, and what it waits for. Never waits itself. */
static void reply_state(struct shell *s, fuse_req_t req, size_t size)
{
    enum { SLACK = 64 }; /* it may be longer when it is asked for after its length was */
    char text[512];
    size_t len = client_state(s->client, text, sizeof(text));
    if (size == 0) {
        fuse_reply_xattr(req, len + SLACK);
    } else if (len > size) {
        fuse_reply_err(req, ERANGE);
    } else {
        fuse_reply_buf(req, text, len);
    }
}

void serve_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    if (!is_stored(name)) {
        fuse_reply_err(req, EOPNOTSUPP);
        return;
    }
    if (ino == ROOT_INO && strcmp(name, "user.gfs.state") == 0) {
        reply_state(shell_of(req), req, size);
        return;
    }
    if (is_known_absent(shell_of(req), ino, name)) {
        fuse_reply_err(req, ENODATA);
        return;
    }
    struct request *r = request_begin(req, ino, answer_bytes);
    r->size = (uint32_t)MIN(size, (size_t)XATTR_VALUE_MAX);
    if (request_keep_name(r, r->name, name)) {
        client_getxattr(r->shell->client, &r->call, ino, bytes_str(r->name));
    }
}

void serve_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct request *r = request_begin(req, ino, answer_bytes);
    r->size = (uint32_t)MIN(size, (size_t)XATTR_VALUE_MAX);
    client_listxattr(r->shell->client, &r->call, ino);
}

void serve_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    struct request *r = request_begin(req, ino, serve_answer_status);
    r->unsettles = true;
    if (!is_stored(name)) {
        request_fail(r, -EOPNOTSUPP);
    } else if (request_keep_name(r, r->name, name)) {
        client_removexattr(r->shell->client, &r->call, ino, bytes_str(r->name));
    }
}
