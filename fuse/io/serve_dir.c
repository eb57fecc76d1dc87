/* serve_dir.c - reading directories.
 *
 * Nothing is kept between requests: a position is 0 at the start, 1 after ".", 2 after "..", else
 * the cookie of the last entry, which the master keeps for the life of the entry and which is above
 * 255 and below 2^63. What does not fit into an answer is fetched again from its cookie.
 */
#include "fuse/io/serve.h"

#include <linux/fuse.h>
#include <string.h>

#include "fuse/io/shell.h"
#include "shared/base/mem.h"

enum { AFTER_DOT = 1, AFTER_DOT_DOT = 2 };

/* An entry with attributes takes at least this much more in the kernel's form than on the wire. */
#define PLUS_GROWTH 2u
#define WIRE_MIN    2048u

/* The kernel's answer being filled. */
struct page {
    struct request *r;
    char *data;
    size_t used;
    size_t size;
};

void serve_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    fuse_reply_open(req, fi);
}

/* False if it does not fit. Only inode number and type of "." and ".." reach the program. */
static bool add_plain(struct page *p, const char *name, const struct attr *a, uint64_t position)
{
    fuse_req_t fuse = p->r->fuse;
    struct fuse_entry_param e = {.attr = {.st_ino = a->ino, .st_mode = a->mode}};
    char *at = p->data + p->used;
    size_t left = p->size - p->used;
    size_t n = p->r->plus ? fuse_add_direntry_plus(fuse, at, left, name, &e, (off_t)position)
                          : fuse_add_direntry(fuse, at, left, name, &e.attr, (off_t)position);
    if (n > left) {
        return false;
    }
    p->used += n;
    return true;
}

/* With all attributes the entry counts as looked up. An inode this mount is writing to is only
 * named: the kernel knows its size better than the directory. */
static bool add_entry(struct page *p, const char *name, const struct dir_entry *d)
{
    struct shell *s = p->r->shell;
    struct inode_ref *ref = inode_refs_find(&s->inodes, d->attr.ino);
    if (!p->r->plus || (ref != NULL && ref->writers > 0)) {
        return add_plain(p, name, &d->attr, d->cookie);
    }
    struct fuse_entry_param e;
    size_t left = p->size - p->used;
    if (fuse_add_direntry_plus(p->r->fuse, NULL, 0, name, NULL, 0) > left) {
        return false;
    }
    serve_fill_entry(s, &e, &d->attr);
    p->used +=
        fuse_add_direntry_plus(p->r->fuse, p->data + p->used, left, name, &e, (off_t)d->cookie);
    return true;
}

/* Calls each(p, name, entry) until it is false. 0 or ERR_PROTOCOL. */
static int walk(struct page *p, struct bytes entries,
                bool (*each)(struct page *p, const char *name, const struct dir_entry *d))
{
    struct reader in = reader_of(entries);
    while (!reader_done(&in)) {
        struct dir_entry d = {0};
        char name[NAME_LEN_MAX + 1];
        dec_dir_entry(&in, &d);
        if (in.err != 0) {
            break;
        }
        memcpy(name, d.name.data, d.name.len);
        name[d.name.len] = '\0';
        if (!each(p, name, &d)) {
            break;
        }
    }
    return in.err;
}

/* The answer did not reach the kernel: the lookups in it did not happen. */
static void forget_all(const struct page *p)
{
    const size_t head = offsetof(struct fuse_direntplus, dirent.name);
    for (size_t at = 0; at + head <= p->used;) {
        struct fuse_direntplus d;
        memcpy(&d, p->data + at, head);
        if (d.entry_out.nodeid != 0) {
            inode_refs_forget(&p->r->shell->inodes, d.entry_out.nodeid, 1);
        }
        at += FUSE_DIRENT_ALIGN(head + d.dirent.namelen);
    }
}

static void answer_readdir(struct request *r)
{
    if (r->call.status < 0) {
        request_fail(r, r->call.status);
        return;
    }
    struct page p = {.r = r, .data = mem_alloc(r->size), .size = r->size};
    struct attr self = {.ino = r->ino, .mode = S_IFDIR};
    struct attr parent = {.ino = r->call.offset, .mode = S_IFDIR};
    bool fits = (r->offset >= AFTER_DOT || add_plain(&p, ".", &self, AFTER_DOT)) &&
                (r->offset >= AFTER_DOT_DOT || add_plain(&p, "..", &parent, AFTER_DOT_DOT));
    int err = fits ? walk(&p, r->call.bytes, add_entry) : 0;
    if (p.used == 0 && err != 0) {
        request_fail(r, err);
    } else {
        if (fuse_reply_buf(r->fuse, p.data, p.used) != 0 && r->plus) {
            forget_all(&p);
        }
        request_end(r);
    }
    mem_free(p.data);
}

static void start(fuse_req_t req, uint64_t ino, size_t size, off_t offset, bool plus)
{
    struct request *r = request_begin(req, ino, answer_readdir);
    uint32_t wire = (uint32_t)MIN(plus ? size / PLUS_GROWTH : size, (size_t)READDIR_BYTES_MAX);
    r->size = (uint32_t)MIN(size, (size_t)IO_MAX);
    r->offset = (uint64_t)offset;
    r->plus = plus;
    client_readdir(r->shell->client, &r->call, ino, r->offset > AFTER_DOT_DOT ? r->offset : 0,
                   MAX(wire, WIRE_MIN), plus);
}

void serve_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                   struct fuse_file_info *fi)
{
    (void)fi;
    start(req, ino, size, offset, false);
}

void serve_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                       struct fuse_file_info *fi)
{
    (void)fi;
    start(req, ino, size, offset, true);
}
