/* channel.c - the kernel's request queue (/dev/fuse) on the loop. */
#include "fuse/io/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shared/base/limits.h"
#include "shared/base/mem.h"

#define PAGE_BYTES 4096u
/* The kernel refuses reads with less room than this for a write of IO_MAX. */
#define WRITE_HEADER_BYTES (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))
#define REQUEST_BYTES      (WRITE_HEADER_BYTES + IO_MAX)
#define SPARE_MAX          32u

/* Newer than the kernel headers of Debian 12; bits of flags2, whose bit 0 is flag 32. */
#define INIT2_DIRECT_IO_ALLOW_MMAP (1u << 4)

struct channel_buffer {
    struct list link;
    uint8_t *pages;
    uint8_t *request; /* in pages, placed so that the data of a write starts a page */
};

static struct channel_buffer *new_buffer(void)
{
    struct channel_buffer *b = mem_new(struct channel_buffer);
    list_init(&b->link);
    void *pages = NULL;
    if (posix_memalign(&pages, PAGE_BYTES, PAGE_BYTES + IO_MAX) != 0) {
        mem_free(b);
        return NULL;
    }
    b->pages = pages;
    b->request = b->pages + PAGE_BYTES - WRITE_HEADER_BYTES;
    return b;
}

static void free_buffer(struct channel_buffer *b)
{
    free(b->pages);
    mem_free(b);
}

struct channel_buffer *channel_take_buffer(struct channel *c)
{
    struct channel_buffer *b = c->current;
    c->current = NULL;
    return b;
}

void channel_give_buffer(struct channel *c, struct channel_buffer *b)
{
    if (b == NULL) {
        return;
    }
    if (c->spare_count >= SPARE_MAX) {
        free_buffer(b);
        return;
    }
    list_push_front(&c->spare, &b->link);
    c->spare_count++;
}

static bool have_buffer(struct channel *c)
{
    if (c->current != NULL) {
        return true;
    }
    struct list *l = list_pop_front(&c->spare);
    if (l != NULL) {
        c->spare_count--;
        c->current = list_entry(l, struct channel_buffer, link);
    } else {
        c->current = new_buffer();
    }
    return c->current != NULL;
}

bool channel_write_kills_suid(const struct channel *c, uint32_t uid, bool from_page_cache)
{
    if (c->kills_suid) {
        return (c->write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
    }
    return !from_page_cache && uid != 0;
}

/* Features that the library cannot ask for, added to its answer of INIT: lookups of one directory
 * side by side; the server clears set-uid bits (else the kernel asks for security.capability at
 * every write); shared mappings of files opened for direct I/O. */
static void add_features(struct channel *c, struct fuse_init_out *out)
{
    out->flags |= (uint32_t)c->kernel_flags & (FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2);
    c->kills_suid = (out->flags & FUSE_HANDLE_KILLPRIV_V2) != 0;
    if (out->flags & FUSE_INIT_EXT) {
        out->flags2 |= (uint32_t)(c->kernel_flags >> 32) & INIT2_DIRECT_IO_ALLOW_MMAP;
    }
}

bool channel_direct_may_map(const struct channel *c)
{
    return (c->kernel_flags >> 32 & INIT2_DIRECT_IO_ALLOW_MMAP) != 0;
}

/* In answers of open and create the flags stand in the last field but one. */
static void add_open_flags(uint32_t flags, struct iovec *last)
{
    struct fuse_open_out out;
    if (last->iov_len >= sizeof out) {
        char *at = (char *)last->iov_base + last->iov_len - sizeof out;
        memcpy(&out, at, sizeof out);
        out.open_flags |= flags;
        memcpy(at, &out, sizeof out);
    }
}

/* Every answer of the library comes through here; userdata is the session's, the channel. */
static ssize_t write_reply(int fd, struct iovec *iov, int count, void *userdata)
{
    struct channel *c = userdata;
    if (c->opcode == FUSE_INIT && count == 2 && iov[1].iov_len == sizeof(struct fuse_init_out)) {
        struct fuse_init_out out;
        memcpy(&out, iov[1].iov_base, sizeof out);
        add_features(c, &out);
        memcpy(iov[1].iov_base, &out, sizeof out);
    }
    if (c->parallel_writes && count == 2) {
        add_open_flags(FOPEN_PARALLEL_DIRECT_WRITES, &iov[1]);
    }
    ssize_t n = writev(fd, iov, count);
    if (n < 0 && errno == ENODEV) {
        errno = ENOENT; /* unmounted meanwhile: to the library, as if the caller had gone */
    }
    return n;
}

/* The library wants one, but the channel reads for itself. */
static ssize_t no_read(int fd, void *buf, size_t len, void *userdata)
{
    (void)fd, (void)buf, (void)len, (void)userdata;
    errno = ENOTSUP;
    return -1;
}

/* Notes what the library will not say about the request. */
static void peek(struct channel *c, const uint8_t *request, size_t len)
{
    struct fuse_in_header head;
    memcpy(&head, request, sizeof head);
    c->opcode = head.opcode;
    c->write_flags = 0;
    if (head.opcode == FUSE_WRITE && len >= WRITE_HEADER_BYTES) {
        struct fuse_write_in in;
        memcpy(&in, request + sizeof head, sizeof in);
        c->write_flags = in.write_flags;
    }
    if (head.opcode == FUSE_INIT && len >= sizeof head + sizeof(struct fuse_init_in)) {
        struct fuse_init_in in;
        memcpy(&in, request + sizeof head, sizeof in);
        c->kernel_flags = in.flags;
        if (in.flags & FUSE_INIT_EXT) {
            c->kernel_flags |= (uint64_t)in.flags2 << 32;
        }
    }
}

static void end(struct channel *c, int err)
{
    if (!c->is_open) {
        return;
    }
    c->is_open = false;
    uv_poll_stop(&c->poll);
    c->on_end(c->owner, err);
}

static void serve(struct channel *c, size_t len)
{
    uint8_t *request = c->current->request;
    peek(c, request, len);
    bool is_init = c->opcode == FUSE_INIT;
    struct fuse_buf b = {.size = len, .mem = request};
    fuse_session_process_buf(c->session, &b);
    c->opcode = 0;
    if (is_init && !c->is_ready) {
        c->is_ready = true;
        c->on_ready(c->owner);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct channel *c = container_of(poll, struct channel, poll);
    (void)events;
    for (int i = 0; i < CHANNEL_BATCH && c->is_open; i++) {
        if (!have_buffer(c)) {
            return; /* no memory now; the request waits in the kernel */
        }
        ssize_t n = read(c->fd, c->current->request, REQUEST_BYTES);
        if (n >= (ssize_t)sizeof(struct fuse_in_header)) {
            c->on_request(c->owner);
            serve(c, (size_t)n);
        } else if (n >= 0) {
            end(c, -EPROTO);
        } else if (errno == ENODEV || errno == ECONNABORTED) {
            end(c, 0);
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR && errno != ENOENT) { /* ENOENT: the caller has gone */
            end(c, -errno);
        }
    }
    if (status < 0) {
        end(c, 0); /* the queue was cut off: libuv does not watch it any more */
    }
}

int channel_open(struct channel *c, uv_loop_t *loop, struct fuse_session *session)
{
    static const struct fuse_custom_io io = {.writev = write_reply, .read = no_read};
    c->session = session;
    c->fd = fuse_session_fd(session);
    list_init(&c->spare);
    int flags = fcntl(c->fd, F_GETFL);
    if (flags < 0 || fcntl(c->fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(c->fd, F_SETFD, FD_CLOEXEC) != 0) {
        return -errno;
    }
    int err = fuse_session_custom_io(session, &io, c->fd);
    if (err == 0) {
        err = uv_poll_init(loop, &c->poll, c->fd);
    }
    if (err == 0) {
        err = uv_poll_start(&c->poll, UV_READABLE, on_poll);
    }
    c->is_open = err == 0;
    return err;
}

void channel_close(struct channel *c)
{
    c->is_open = false;
    uv_close((uv_handle_t *)&c->poll, NULL);
}

void channel_free(struct channel *c)
{
    if (c->session == NULL) {
        return;
    }
    channel_give_buffer(c, channel_take_buffer(c));
    struct list *l;
    while ((l = list_pop_front(&c->spare)) != NULL) {
        free_buffer(list_entry(l, struct channel_buffer, link));
    }
    c->session = NULL;
}
