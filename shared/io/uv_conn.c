/* uv_conn.c - frames over one socket.
 *
 * Receiving: one readv per batch, first into the rest of the frame that is being filled, then into
 * a scratch area shared by all connections, from which whole small frames are dispatched and the
 * start of the next one is copied. So a large payload goes straight to its place but for its first
 * bytes. Sending: frames queue until the end of the turn, then one sendmsg takes them all.
 */
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shared/base/bytes.h"
#include "shared/base/hash.h"
#include "shared/base/mem.h"
#include "shared/io/uv_internal.h"

enum {
    TX_IOV = 512,          /* at most, in one sendmsg */
    RX_DIRECT_MIN = 16384, /* a smaller rest of a frame is not worth an iovec of its own */
};

/* ---------------------------------------------------------------- ends */

static void on_poll_closed(uv_handle_t *h)
{
    mem_free(h);
}

void conn_unwatch(struct env_conn *c)
{
    if (c->poll != NULL) {
        c->poll->data = NULL;
        uv_close((uv_handle_t *)c->poll, on_poll_closed);
        c->poll = NULL;
    }
    if (c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
    }
    c->interest = 0;
}

static struct tx_frame *tx_at(struct env_conn *c, uint32_t i)
{
    return &c->tx[(c->tx_first + i) & (c->tx_cap - 1)];
}

static void tx_pop(struct env_conn *c)
{
    struct tx_frame *f = tx_at(c, 0);
    slice_drop(&f->body);
    slice_drop(&f->payload);
    c->tx_first = (c->tx_first + 1) & (c->tx_cap - 1);
    c->tx_count--;
}

static void rx_reset(struct env_conn *c)
{
    buf_unref(c->rx_buf);
    c->rx_buf = NULL;
    c->rx_len = 0;
    c->head_len = 0;
}

void conn_close(struct env_conn *c)
{
    struct uv_env *e = c->env;
    ASSERT(c->state != CONN_CLOSED);
    c->state = CONN_CLOSED;
    dial_drop(c);
    conn_unwatch(c);
    timer_heap_stop(&e->timers, &c->deadline);
    list_remove(&c->flush_link);
    list_remove(&c->outcome_link);
    list_remove(&c->link);
    list_push_back(&e->dead, &c->link);
    while (c->tx_count > 0) {
        tx_pop(c);
    }
    e->tx_bytes -= c->tx_bytes;
    c->tx_bytes = 0;
    e->spin.awaited -= c->awaited;
    c->awaited = 0;
    rx_reset(c);
    if (c->accepted) {
        e->accepted--;
    }
}

void conn_free(struct env_conn *c)
{
    mem_free(c->tx);
    mem_free(c);
}

void conn_fail(struct env_conn *c, int err)
{
    const struct conn_events *ev = c->events;
    void *owner = c->owner;
    conn_close(c);
    ev->on_close(owner, c, err);
}

/* The peer does what the protocol forbids. */
static void violated(struct env_conn *c, const char *reason)
{
    if (uv_net_log_allowed(c->env)) {
        uv_env_log(c->env, LOG_WARN, "connection with %s closed: %s", c->name, reason);
    }
    conn_fail(c, ERR_PROTOCOL);
}

/* ---------------------------------------------------------------- watching */

static void on_readable(struct env_conn *c);
static bool read_once(struct env_conn *c, size_t *total);

static int socket_error(int fd)
{
    int err = 0;
    socklen_t len = sizeof(err);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0) {
        return -errno;
    }
    return err != 0 ? -err : -ECONNRESET;
}

/* The connection broke: what the peer said before is still taken. */
static void drain(struct env_conn *c)
{
    size_t total = 0;
    int err = socket_error(c->fd);
    while (read_once(c, &total)) {
    }
    if (c->state == CONN_OPEN) {
        conn_fail(c, err);
    }
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct env_conn *c = h->data;
    if (c == NULL) {
        return;
    }
    c->env->spin.stirred = true;
    if (c->state == CONN_DIALLING) {
        dial_ready(c);
        return;
    }
    if (status < 0) {
        c->interest = 0; /* libuv stopped watching */
        drain(c);
        return;
    }
    if (events & UV_WRITABLE) {
        c->tx_full = false;
        conn_flush(c);
    }
    if (c->state == CONN_OPEN && (events & (UV_READABLE | UV_DISCONNECT))) {
        on_readable(c);
    }
}

static void set_interest(struct env_conn *c, int events)
{
    if (events == c->interest || c->poll == NULL || c->env->settling) {
        return;
    }
    c->interest = events;
    if (events == 0) {
        uv_poll_stop(c->poll);
    } else {
        uv_poll_start(c->poll, events, on_poll);
    }
}

void conn_watch(struct env_conn *c, int fd, int events)
{
    c->fd = fd;
    c->poll = mem_new(uv_poll_t);
    ASSERT(uv_poll_init(&c->env->loop, c->poll, fd) == 0);
    c->poll->data = c;
    set_interest(c, events);
}

static void update_interest(struct env_conn *c)
{
    bool crowded = c->env->tx_bytes > TX_ALL_BYTES;
    if (c->tx_bytes > (crowded ? TX_SHARE_BYTES : TX_PAUSE_BYTES)) {
        c->paused = true;
    } else if (c->tx_bytes < (crowded ? TX_SHARE_BYTES : TX_PAUSE_BYTES) / 2) {
        c->paused = false;
    }
    if (c->paused) {
        timer_heap_stop(&c->env->timers, &c->deadline); /* we are late, not the peer */
    }
    set_interest(c, (c->paused ? 0 : UV_READABLE) | (c->tx_full ? UV_WRITABLE : 0));
}

/* ---------------------------------------------------------------- receiving */

static uint32_t rx_want(const struct env_conn *c)
{
    return c->rx.body_len + c->rx.payload_len;
}

/* A whole frame is there: check its body and hand it over. The connection may be closed after. */
static void deliver(struct env_conn *c)
{
    struct message m = {.head = c->rx};
    struct buf *b = c->rx_buf;
    timer_heap_stop(&c->env->timers, &c->deadline);
    const uint8_t *body = b != NULL ? b->data : NULL;
    if (hash64(body, c->rx.body_len) != c->rx.body_sum) {
        violated(c, "frame body does not match its checksum");
        return;
    }
    c->rx_buf = NULL;
    c->greeted = true;
    rx_reset(c);
    if ((m.head.flags & FRAME_REPLY) && c->awaited > 0) {
        c->awaited--;
        c->env->spin.awaited--;
    }
    if (m.head.body_len > 0) {
        m.body = (struct slice){buf_ref(b), 0, m.head.body_len};
    }
    if (m.head.payload_len > 0) {
        m.payload = (struct slice){buf_ref(b), m.head.body_len, m.head.payload_len};
    }
    buf_unref(b);
    struct uv_env *u = c->env;
    uint64_t begin = turn_now_ns();
    c->events->on_message(c->owner, c, &m);
    message_drop(&m);
    struct turn_part part = {.kind = TURN_MESSAGE, .op = m.head.op};
    turn_part_ended(&u->turn, part, begin, turn_now_ns());
}

/* The header is complete: check it and make room. False: the connection is closed. */
static bool start_frame(struct env_conn *c)
{
    struct why why;
    if (frame_header_decode(&c->rx, c->head, &why) != 0) {
        violated(c, why.text);
        return false;
    }
    if (c->accepted && !c->greeted && (c->rx.body_len > FIRST_BODY_MAX || c->rx.payload_len > 0)) {
        violated(c, "first frame is larger than an introduction may be");
        return false;
    }
    c->rx_len = 0;
    if (rx_want(c) > 0) {
        c->rx_buf = buf_new(rx_want(c));
    }
    return true;
}

/* Of a header that is not complete: a peer of another kind need not wait for the rest. */
static void check_start(struct env_conn *c)
{
    if (c->head_len >= 4 && get_le(c->head, 4) != FRAME_MAGIC) {
        violated(c, "these are not frames of gfs");
    }
}

/* Received bytes in the order they came: completes frames and starts the next. */
static void take_bytes(struct env_conn *c, const uint8_t *data, size_t len)
{
    while (c->state == CONN_OPEN && len > 0) {
        if (c->head_len < FRAME_HEADER_BYTES) {
            size_t n = MIN(len, (size_t)FRAME_HEADER_BYTES - c->head_len);
            memcpy(c->head + c->head_len, data, n);
            c->head_len += (uint32_t)n;
            data += n;
            len -= n;
            if (c->head_len < FRAME_HEADER_BYTES) {
                check_start(c);
                return;
            }
            if (!start_frame(c)) {
                return;
            }
        }
        size_t n = MIN(len, (size_t)(rx_want(c) - c->rx_len));
        if (n > 0) {
            memcpy(c->rx_buf->data + c->rx_len, data, n);
            c->rx_len += (uint32_t)n;
            data += n;
            len -= n;
        }
        if (c->rx_len == rx_want(c)) {
            deliver(c);
        }
    }
}

static bool frame_started(const struct env_conn *c)
{
    return c->head_len > 0;
}

/* One readv; false if nothing more is there now or the connection is closed. */
static bool read_once(struct env_conn *c, size_t *total)
{
    struct iovec iov[2];
    int iov_count = 0;
    size_t direct = 0;
    if (c->rx_buf != NULL && rx_want(c) - c->rx_len >= RX_DIRECT_MIN) {
        direct = rx_want(c) - c->rx_len;
        iov[iov_count++] = (struct iovec){c->rx_buf->data + c->rx_len, direct};
    }
    iov[iov_count++] = (struct iovec){c->env->scratch, RX_SCRATCH_BYTES};
    ssize_t n = readv(c->fd, iov, iov_count);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            conn_fail(c, -errno);
        }
        return false;
    }
    if (n == 0) {
        if (frame_started(c) && uv_net_log_allowed(c->env)) {
            uv_env_log(c->env, LOG_WARN, "connection with %s ended in the middle of a frame",
                       c->name);
        }
        conn_fail(c, frame_started(c) ? ERR_PROTOCOL : ERR_DISCONNECTED);
        return false;
    }
    size_t straight = MIN((size_t)n, direct);
    *total += (size_t)n;
    if (straight > 0) {
        c->rx_len += (uint32_t)straight;
        if (c->rx_len == rx_want(c)) {
            deliver(c);
        }
    }
    take_bytes(c, c->env->scratch, (size_t)n - straight);
    return c->state == CONN_OPEN && (size_t)n == direct + RX_SCRATCH_BYTES;
}

static void deadline_passed(struct env_timer *t)
{
    struct env_conn *c = container_of(t, struct env_conn, deadline);
    if (c->state == CONN_DIALLING) {
        dial_timed_out(c);
    } else {
        violated(c, c->greeted ? "a started frame was not completed in time"
                               : "no introduction in time");
    }
}

static void on_readable(struct env_conn *c)
{
    size_t total = 0;
    while (!c->paused && read_once(c, &total) && total < RX_TURN_BYTES) {
    }
    if (c->state == CONN_OPEN && frame_started(c) && c->deadline.place == 0) {
        uint64_t ms = FRAME_WAIT_MS;
        if (c->head_len == FRAME_HEADER_BYTES) {
            ms += rx_want(c) / FRAME_WAIT_BYTES_PER_MS;
        }
        env_timer_set(&c->env->base, &c->deadline, ms * NS_PER_MS);
    }
}

/* ---------------------------------------------------------------- sending */

void uv_op_send(struct env *env, struct env_conn *c, struct message *m)
{
    (void)env;
    if (c->state == CONN_CLOSED) {
        message_drop(m);
        return;
    }
    ASSERT(m->body.len <= FRAME_BODY_MAX && m->payload.len <= FRAME_PAYLOAD_MAX);
    if (c->tx_count == c->tx_cap) {
        uint32_t cap = c->tx_cap ? c->tx_cap * 2 : 8;
        struct tx_frame *tx = mem_alloc(cap * sizeof(*tx));
        for (uint32_t i = 0; i < c->tx_count; i++) {
            tx[i] = *tx_at(c, i);
        }
        mem_free(c->tx);
        c->tx = tx;
        c->tx_first = 0;
        c->tx_cap = cap;
    }
    struct tx_frame *f = tx_at(c, c->tx_count++);
    m->head.body_len = m->body.len;
    m->head.payload_len = m->payload.len;
    m->head.body_sum = hash64(slice_data(&m->body), m->body.len);
    frame_header_encode(&m->head, f->head);
    f->body = m->body;
    f->payload = m->payload;
    m->body = m->payload = (struct slice){0};
    uint64_t bytes = FRAME_HEADER_BYTES + (uint64_t)f->body.len + f->payload.len;
    c->tx_bytes += bytes;
    c->env->tx_bytes += bytes;
    if (!(m->head.flags & FRAME_REPLY)) {
        c->awaited++;
        c->env->spin.awaited++;
    }
    if (c->state == CONN_OPEN && !(c->tx_full && c->paused)) {
        list_remove(&c->flush_link);
        list_push_back(&c->env->flushing, &c->flush_link);
    }
}

/* Adds [data, data + len) without its first *skip bytes. */
static int add_iov(struct iovec *iov, int count, uint8_t *data, uint32_t len, uint32_t *skip)
{
    uint32_t s = MIN(*skip, len);
    *skip -= s;
    if (len - s == 0) {
        return count;
    }
    iov[count] = (struct iovec){data + s, len - s};
    return count + 1;
}

static void tx_advance(struct env_conn *c, size_t n)
{
    c->tx_bytes -= n;
    c->env->tx_bytes -= n;
    n += c->tx_written;
    c->tx_written = 0;
    while (n > 0) {
        struct tx_frame *f = tx_at(c, 0);
        size_t whole = FRAME_HEADER_BYTES + f->body.len + (size_t)f->payload.len;
        if (n < whole) {
            c->tx_written = (uint32_t)n;
            return;
        }
        n -= whole;
        tx_pop(c);
    }
}

/* 0, -EAGAIN if the kernel is full, or why the connection broke. */
static int send_queue(struct env_conn *c)
{
    while (c->tx_count > 0) {
        struct iovec iov[TX_IOV];
        int count = 0;
        size_t offered = 0;
        uint32_t skip = c->tx_written;
        for (uint32_t i = 0; i < c->tx_count && count + 3 <= TX_IOV; i++) {
            struct tx_frame *f = tx_at(c, i);
            count = add_iov(iov, count, f->head, FRAME_HEADER_BYTES, &skip);
            count = add_iov(iov, count, slice_data(&f->body), f->body.len, &skip);
            count = add_iov(iov, count, slice_data(&f->payload), f->payload.len, &skip);
        }
        for (int i = 0; i < count; i++) {
            offered += iov[i].iov_len;
        }
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)count};
        ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -errno;
        }
        tx_advance(c, (size_t)n);
        if ((size_t)n < offered) {
            return -EAGAIN;
        }
    }
    return 0;
}

void conn_flush(struct env_conn *c)
{
    list_remove(&c->flush_link);
    if (c->state != CONN_OPEN) {
        return;
    }
    int err = c->tx_full ? -EAGAIN : send_queue(c);
    if (err == -ENOBUFS || err == -ENOMEM) {
        err = -EAGAIN;
    }
    if (err != 0 && err != -EAGAIN) {
        conn_fail(c, err);
        return;
    }
    c->tx_full = err == -EAGAIN;
    update_interest(c);
}

/* ---------------------------------------------------------------- life */

struct env_conn *conn_new(struct uv_env *e, const char *name)
{
    struct env_conn *c = mem_new(struct env_conn);
    c->env = e;
    c->fd = -1;
    c->deadline.fire = deadline_passed;
    list_init(&c->flush_link);
    list_init(&c->outcome_link);
    list_push_back(&e->conns, &c->link);
    strncpy(c->name, name, sizeof(c->name) - 1);
    return c;
}

void conn_opened(struct env_conn *c, int fd)
{
    c->state = CONN_OPEN;
    timer_heap_stop(&c->env->timers, &c->deadline);
    if (c->poll == NULL) {
        conn_watch(c, fd, UV_READABLE);
    } else {
        set_interest(c, UV_READABLE);
    }
    if (c->accepted) {
        env_timer_set(&c->env->base, &c->deadline, FRAME_WAIT_MS * NS_PER_MS);
    }
    if (c->tx_count > 0) {
        list_push_back(&c->env->flushing, &c->flush_link);
    }
}

void uv_op_conn_bind(struct env *env, struct env_conn *c, const struct conn_events *ev, void *owner)
{
    (void)env;
    c->events = ev;
    c->owner = owner;
}

uint64_t uv_op_queued(struct env *env, struct env_conn *c)
{
    (void)env;
    return c->tx_bytes;
}

/* What was sent before still goes out as far as the kernel takes it: a refusal reaches the peer. */
void uv_op_hangup(struct env *env, struct env_conn *c)
{
    (void)env;
    if (c->state == CONN_CLOSED) {
        return;
    }
    if (c->state == CONN_OPEN && c->tx_count > 0) {
        (void)send_queue(c); /* nobody is left to hear an error */
    }
    conn_close(c);
}

const char *uv_op_peer_name(struct env *env, struct env_conn *c)
{
    (void)env;
    return c->name;
}
