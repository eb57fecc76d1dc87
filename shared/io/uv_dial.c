/* uv_dial.c - addresses, outgoing connections and listeners.
 *
 * A dial tries the addresses a name stands for one after another. Numeric addresses are not looked
 * up; names are, on a thread of libuv. Whatever a dial comes to, its owner hears it in a later
 * turn.
 *
 * Who listens on a numeric TCP address listens beside it on a Unix socket in the abstract namespace
 * that is called after the address, and who dials the address tries that first: on one machine it
 * costs about half. Names in that namespace can be taken by every local user, so only a socket of root or
 * of our own user is trusted; else, and when nobody is there, TCP is dialled.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shared/base/mem.h"
#include "shared/io/uv_internal.h"

enum {
    LISTEN_BACKLOG = 512,
    ACCEPT_BATCH = 64,
    ACCEPT_PAUSE_MS = 100, /* after the system ran out of descriptors */
    DIAL_ADDRS_MAX = 8,
    NEAR_BUFFER_BYTES = 2 << 20, /* of a Unix socket: a whole frame of data at once */
};

struct address {
    struct sockaddr_storage sa;
    socklen_t len;
};

/* Addresses still to be tried by a connection. Lives longer than the connection if a look-up runs.
 */
struct dial {
    struct env_conn *conn; /* NULL: given up */
    uv_getaddrinfo_t lookup;
    bool looking_up;
    struct address addrs[DIAL_ADDRS_MAX];
    unsigned count;
    unsigned next;
    int err; /* of the last address tried */
};

struct env_listener {
    struct uv_env *env;
    struct list link;
    uv_poll_t poll;
    int fd;
    env_accept_cb cb;
    void *owner;
    struct env_timer resume;
    char path[108]; /* of a Unix socket: removed at the end; empty = there is none */
};

/* ---------------------------------------------------------------- addresses */

/* "HOST:PORT" or "[HOST]:PORT" into its parts. 0 or -EINVAL. */
static int split(const char *addr, char host[ADDR_LEN_MAX + 1], char port[8])
{
    const char *colon = strrchr(addr, ':');
    if (colon == NULL || strlen(addr) > ADDR_LEN_MAX) {
        return -EINVAL;
    }
    size_t digits = strlen(colon + 1);
    if (digits == 0 || digits > 5 || strspn(colon + 1, "0123456789") != digits ||
        atoi(colon + 1) > 65535) {
        return -EINVAL;
    }
    memcpy(port, colon + 1, digits + 1);
    size_t n = (size_t)(colon - addr);
    if (n >= 2 && addr[0] == '[' && addr[n - 1] == ']') {
        addr++;
        n -= 2;
    } else if (memchr(addr, ':', n) != NULL) {
        return -EINVAL; /* an IPv6 address without brackets */
    }
    if (n == 0) {
        return -EINVAL;
    }
    memcpy(host, addr, n);
    host[n] = 0;
    return 0;
}

static bool is_unix(const char *addr)
{
    return strncmp(addr, "unix:", 5) == 0;
}

/* A Unix socket's or a numeric address. 0, -EINVAL, or -ENOENT: it is a name. */
static int parse_address(const char *addr, struct address *out)
{
    *out = (struct address){0};
    if (is_unix(addr)) {
        struct sockaddr_un *un = (struct sockaddr_un *)&out->sa;
        size_t n = strlen(addr + 5);
        if (n == 0 || n >= sizeof(un->sun_path)) {
            return -EINVAL;
        }
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, addr + 5, n + 1);
        out->len = (socklen_t)sizeof(*un);
        return 0;
    }
    char host[ADDR_LEN_MAX + 1], port[8];
    int err = split(addr, host, port);
    if (err != 0) {
        return err;
    }
    struct sockaddr_in *in4 = (struct sockaddr_in *)&out->sa;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&out->sa;
    if (inet_pton(AF_INET, host, &in4->sin_addr) == 1) {
        in4->sin_family = AF_INET;
        in4->sin_port = htons((uint16_t)atoi(port));
        out->len = (socklen_t)sizeof(*in4);
        return 0;
    }
    if (inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)atoi(port));
        out->len = (socklen_t)sizeof(*in6);
        return 0;
    }
    return -ENOENT;
}

static void name_of(const struct sockaddr_storage *sa, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)sa;
        inet_ntop(AF_INET, &in4->sin_addr, host, sizeof(host));
        snprintf(out, size, "%s:%u", host, ntohs(in4->sin_port));
    } else if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        snprintf(out, size, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else {
        snprintf(out, size, "unix");
    }
}

/* The Unix socket beside a TCP address. */
static void near_address(const struct address *tcp, struct address *out)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&out->sa;
    char name[ADDR_LEN_MAX];
    *out = (struct address){0};
    name_of(&tcp->sa, name, sizeof(name));
    un->sun_family = AF_UNIX;
    int n = snprintf(un->sun_path + 1, sizeof(un->sun_path) - 1, "gfs/%s", name);
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static bool is_near(const struct address *a)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&a->sa;
    return un->sun_family == AF_UNIX && un->sun_path[0] == 0;
}

/* Whoever listens there may be anybody. */
static bool is_trusted(int fd)
{
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

static void set_int(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value,
                     sizeof(value)); /* a refused wish changes no result */
}

/* Small messages leave at once; a peer whose machine is gone is noticed within a minute. */
static void tune(int fd, int family)
{
    if (family != AF_INET && family != AF_INET6) {
        set_int(fd, SOL_SOCKET, SO_SNDBUF, NEAR_BUFFER_BYTES);
        set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, NEAR_BUFFER_BYTES); /* root's only */
        return;
    }
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, 20);
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
    set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
    set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 30000);
}

/* ---------------------------------------------------------------- dialling */

static void conclude(struct env_conn *c, int outcome)
{
    c->outcome = outcome;
    list_remove(&c->outcome_link);
    list_push_back(&c->env->outcomes, &c->outcome_link);
}

/* A port of ours that dials itself gets a connection with itself: nobody listens there. */
static bool is_own_reflection(int fd)
{
    struct sockaddr_storage a = {0}, b = {0};
    socklen_t la = sizeof(a), lb = sizeof(b);
    return getsockname(fd, (struct sockaddr *)&a, &la) == 0 &&
           getpeername(fd, (struct sockaddr *)&b, &lb) == 0 && a.ss_family != AF_UNIX && la == lb &&
           memcmp(&a, &b, la) == 0;
}

static void became_open(struct env_conn *c)
{
    dial_drop(c);
    conn_opened(c, c->fd);
    conclude(c, 0);
}

/* Starts the next address; concludes if there is none. */
static void try_next(struct env_conn *c)
{
    struct dial *d = c->dial;
    while (d->next < d->count) {
        struct address *a = &d->addrs[d->next++];
        int family = a->sa.ss_family;
        int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            d->err = -errno;
            continue;
        }
        tune(fd, family);
        int err = connect(fd, (struct sockaddr *)&a->sa, a->len) == 0 ? 0 : -errno;
        if (err == 0 && is_near(a) && !is_trusted(fd)) {
            err = -EACCES;
        }
        if (err != 0 && err != -EINPROGRESS) {
            close(fd);
            d->err = err;
            continue;
        }
        env_timer_set(&c->env->base, &c->deadline, DIAL_WAIT_MS * NS_PER_MS);
        conn_watch(c, fd,
                   UV_WRITABLE); /* also when it is up already: a socket that is up is writable */
        return;
    }
    conclude(c, d->err);
}

void dial_ready(struct env_conn *c)
{
    int err = 0;
    socklen_t len = sizeof(err);
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0) {
        err = errno;
    }
    if (err == 0 && is_own_reflection(c->fd)) {
        err = ECONNREFUSED;
    }
    if (err == 0) {
        became_open(c);
        return;
    }
    c->dial->err = -err;
    conn_unwatch(c);
    try_next(c);
}

void dial_timed_out(struct env_conn *c)
{
    c->dial->err = -ETIMEDOUT;
    conn_unwatch(c);
    try_next(c);
}

void dial_drop(struct env_conn *c)
{
    struct dial *d = c->dial;
    c->dial = NULL;
    if (d == NULL) {
        return;
    }
    d->conn = NULL;
    if (d->looking_up) {
        uv_cancel((uv_req_t *)&d->lookup); /* if it runs already, its callback frees */
    } else {
        mem_free(d);
    }
}

static int lookup_error(int status)
{
    return status == UV_EAI_AGAIN || status == UV_EAI_MEMORY ? -EAGAIN : -ENOENT;
}

static void on_lookup(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    struct dial *d = container_of(req, struct dial, lookup);
    struct env_conn *c = d->conn;
    d->looking_up = false;
    for (struct addrinfo *i = res; status == 0 && i != NULL && d->count < DIAL_ADDRS_MAX;
         i = i->ai_next) {
        memcpy(&d->addrs[d->count].sa, i->ai_addr, i->ai_addrlen);
        d->addrs[d->count++].len = i->ai_addrlen;
    }
    uv_freeaddrinfo(res);
    if (c == NULL) {
        mem_free(d);
        return;
    }
    d->err = status == 0 ? -ENOENT : lookup_error(status);
    try_next(c);
}

struct env_conn *uv_op_dial(struct env *env, const char *addr, const struct conn_events *ev,
                            void *owner)
{
    struct uv_env *e = ENV_OF(env);
    struct env_conn *c = conn_new(e, addr);
    c->events = ev;
    c->owner = owner;
    c->dial = mem_new(struct dial);
    c->dial->conn = c;
    struct address a;
    int err = parse_address(addr, &a);
    if (err == 0) {
        if (!is_unix(addr)) {
            near_address(&a, &c->dial->addrs[c->dial->count++]);
        }
        c->dial->addrs[c->dial->count++] = a;
        try_next(c);
        return c;
    }
    char host[ADDR_LEN_MAX + 1], port[8];
    if (err == -ENOENT && (err = split(addr, host, port)) == 0) {
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
        err = uv_getaddrinfo(&e->loop, &c->dial->lookup, on_lookup, host, port, &hints);
        c->dial->looking_up = err == 0;
    }
    if (err != 0) {
        conclude(c, err);
    }
    return c;
}

/* ---------------------------------------------------------------- listening */

static void on_connection(uv_poll_t *h, int status, int events);

static void resume_accepting(struct env_timer *t)
{
    struct env_listener *l = container_of(t, struct env_listener, resume);
    uv_poll_start(&l->poll, UV_READABLE, on_connection);
}

static void accepted(struct env_listener *l, int fd, const struct sockaddr_storage *sa)
{
    struct uv_env *e = l->env;
    char name[ADDR_LEN_MAX];
    name_of(sa, name, sizeof(name));
    if (e->accepted >= CONNECTIONS_MAX) {
        close(fd);
        if (uv_net_log_allowed(e)) {
            uv_env_log(e, LOG_WARN, "connection with %s refused: there are %d already", name,
                       CONNECTIONS_MAX);
        }
        return;
    }
    tune(fd, sa->ss_family);
    struct env_conn *c = conn_new(e, name);
    c->accepted = true;
    e->accepted++;
    conn_opened(c, fd);
    l->cb(l->owner, c);
    ASSERT(c->state == CONN_CLOSED || c->events != NULL);
}

static void on_connection(uv_poll_t *h, int status, int events)
{
    struct env_listener *l = container_of(h, struct env_listener, poll);
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct sockaddr_storage sa = {0};
        socklen_t len = sizeof(sa);
        int fd = accept4(l->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accepted(l, fd, &sa);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            if (uv_net_log_allowed(l->env)) {
                uv_env_log(l->env, LOG_WARN, "cannot accept a connection: %s",
                           strerrordesc_np(errno));
            }
            uv_poll_stop(&l->poll);
            env_timer_set(&l->env->base, &l->resume, ACCEPT_PAUSE_MS * NS_PER_MS);
            return;
        }
        /* else: that peer gave up before it was accepted */
    }
}

/* A socket file whose owner is gone is in the way: remove it. */
static void remove_stale_socket(const struct address *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return;
    }
    if (connect(fd, (const struct sockaddr *)&a->sa, a->len) != 0 && errno == ECONNREFUSED) {
        (void)unlink(((const struct sockaddr_un *)&a->sa)->sun_path); /* bind will tell */
    }
    close(fd);
}

/* The first address a listening name stands for. Blocks: done once, at the start. */
static int resolve_now(const char *addr, struct address *out)
{
    char host[ADDR_LEN_MAX + 1], port[8];
    int err = split(addr, host, port);
    if (err != 0) {
        return err;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *res = NULL;
    if (getaddrinfo(host, port, &hints, &res) != 0) {
        return -EADDRNOTAVAIL;
    }
    memcpy(&out->sa, res->ai_addr, res->ai_addrlen);
    out->len = res->ai_addrlen;
    freeaddrinfo(res);
    return 0;
}

static int bind_socket(const struct address *a, int *out_fd)
{
    int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (a->sa.ss_family != AF_UNIX) {
        set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    }
    if (bind(fd, (const struct sockaddr *)&a->sa, a->len) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    *out_fd = fd;
    return 0;
}

static struct env_listener *listen_on(struct uv_env *e, int fd, env_accept_cb cb, void *owner)
{
    struct env_listener *l = mem_new(struct env_listener);
    l->env = e;
    l->fd = fd;
    l->cb = cb;
    l->owner = owner;
    l->resume.fire = resume_accepting;
    list_push_back(&e->listeners, &l->link);
    ASSERT(uv_poll_init(&e->loop, &l->poll, fd) == 0);
    ASSERT(uv_poll_start(&l->poll, UV_READABLE, on_connection) == 0);
    return l;
}

/* Nothing depends on it: whoever finds nobody there dials TCP. */
static void listen_near(struct uv_env *e, const struct address *tcp, env_accept_cb cb, void *owner)
{
    struct address near;
    int fd;
    near_address(tcp, &near);
    int err = bind_socket(&near, &fd);
    if (err == 0) {
        listen_on(e, fd, cb, owner);
    } else {
        uv_env_log(e, LOG_WARN, "the Unix socket beside the address is not ours: %s",
                   err_text(err));
    }
}

int uv_op_listen(struct env *env, const char *addr, env_accept_cb cb, void *owner)
{
    struct uv_env *e = ENV_OF(env);
    struct address a;
    int fd = -1;
    int err = parse_address(addr, &a);
    if (err == -ENOENT) {
        err = resolve_now(addr, &a);
    }
    if (err == 0 && is_unix(addr)) {
        remove_stale_socket(&a);
    }
    if (err == 0) {
        err = bind_socket(&a, &fd);
    }
    if (err != 0) {
        return err;
    }
    struct env_listener *l = listen_on(e, fd, cb, owner);
    if (is_unix(addr)) {
        strncpy(l->path, addr + 5, sizeof(l->path) - 1);
    } else {
        listen_near(e, &a, cb, owner);
    }
    return 0;
}

void listeners_stop(struct uv_env *e)
{
    list_for_each (i, &e->listeners) {
        uv_poll_stop(&list_entry(i, struct env_listener, link)->poll);
    }
}

static void on_listener_closed(uv_handle_t *h)
{
    mem_free(container_of((uv_poll_t *)h, struct env_listener, poll));
}

void listeners_close(struct uv_env *e)
{
    struct list *i;
    while ((i = list_pop_front(&e->listeners)) != NULL) {
        struct env_listener *l = list_entry(i, struct env_listener, link);
        timer_heap_stop(&e->timers, &l->resume);
        uv_close((uv_handle_t *)&l->poll, on_listener_closed);
        close(l->fd);
        if (l->path[0] != 0) {
            (void)unlink(l->path); /* if it is gone, so much the better */
        }
    }
}
