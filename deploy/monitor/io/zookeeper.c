/* zookeeper.c - ZooKeeper's C library under the loop. */
#include "deploy/monitor/io/zookeeper.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "shared/base/bytes.h"
#include "shared/base/err.h"
#include "shared/base/mem.h"

enum { FIRST_TIMEOUT_MS = 6000, DIAL_PAUSE_MS = 100 };

static struct zookeeper *self(const struct keeper *k)
{
    return container_of(k, struct zookeeper, keeper);
}

static void arm(struct zookeeper *z);

/* ---------------------------------------------------------------- answers */

static int status_of(int rc)
{
    switch (rc) {
    case ZOK:
        return 0;
    case ZNONODE:
        return -ENOENT;
    case ZNODEEXISTS:
        return -EEXIST;
    case ZBADVERSION:
        return -EAGAIN;
    case ZNOAUTH:
    case ZAUTHFAILED:
        return -EACCES;
    case ZCONNECTIONLOSS:
    case ZOPERATIONTIMEOUT:
    case ZSESSIONEXPIRED:
    case ZSESSIONMOVED:
    case ZINVALIDSTATE:
    case ZCLOSING:
        return -ECONNRESET;
    default:
        return -EIO;
    }
}

static void answer(struct zookeeper *z, int status)
{
    struct keeper_call *c = z->call;
    if (c != NULL) { /* else it was forgotten */
        env_timer_stop(z->env, &z->fail);
        z->call = NULL;
        c->status = status;
        c->done(c);
    }
}

/* The library hands it back as it was given. */
static struct zookeeper *owner_of(const void *data)
{
    return (struct zookeeper *)(uintptr_t)data;
}

static void on_path(int rc, const char *path, const void *data)
{
    struct zookeeper *z = owner_of(data);
    (void)path;
    answer(z, status_of(rc));
}

static void on_nothing(int rc, const void *data)
{
    struct zookeeper *z = owner_of(data);
    answer(z, status_of(rc));
}

static void on_stat(int rc, const struct Stat *stat, const void *data)
{
    struct zookeeper *z = owner_of(data);
    if (rc == ZOK && z->call != NULL) {
        z->call->version = stat->version;
    }
    answer(z, status_of(rc));
}

static void on_text(int rc, const char *text, int len, const struct Stat *stat, const void *data)
{
    struct zookeeper *z = owner_of(data);
    struct keeper_call *c = z->call;
    int status = status_of(rc);
    if (status == 0 && c != NULL) {
        size_t n = len > 0 ? MIN((size_t)len, (size_t)KEEPER_TEXT_MAX) : 0;
        memcpy(c->text, text, n);
        c->text[n] = 0;
        c->version = stat->version;
    }
    answer(z, status);
}

static void on_names(int rc, const struct String_vector *names, const void *data)
{
    struct zookeeper *z = owner_of(data);
    struct keeper_call *c = z->call;
    int status = status_of(rc);
    if (status == 0 && c != NULL) {
        c->name_count = 0;
        for (int i = 0; i < names->count && c->name_count < KEEPER_NAMES_MAX; i++) {
            if (strlen(names->data[i]) <= KEEPER_NAME_MAX) {
                strcpy(c->names[c->name_count++], names->data[i]);
            }
        }
    }
    answer(z, status);
}

/* Of a replacement with a proof: the first result is that of the proof. */
static void on_both(int rc, const void *data)
{
    struct zookeeper *z = owner_of(data);
    struct keeper_call *c = z->call;
    int status = status_of(rc);
    if (c != NULL && status == -ENOENT && z->results[0].err == ZNONODE) {
        status = -EPERM;
    } else if (c != NULL && status == 0) {
        c->version = z->stat.version;
    }
    answer(z, status);
}

/* ---------------------------------------------------------------- calls */

static const struct ACL_vector *rights_of(const struct zookeeper *z)
{
    /* Whoever knows the password everything, everybody else may read. */
    static struct ACL own[2];
    static struct ACL_vector list = {2, own};
    own[0] = (struct ACL){ZOO_PERM_ALL, ZOO_AUTH_IDS};
    own[1] = (struct ACL){ZOO_PERM_READ, ZOO_ANYONE_ID_UNSAFE};
    return z->rights[0] != 0 ? &list : &ZOO_OPEN_ACL_UNSAFE;
}

static int replace(struct zookeeper *z, const struct keeper_call *c)
{
    zoo_op_t ops[2];
    int len = (int)strlen(c->text);
    if (c->proof[0] == 0) {
        return zoo_aset(z->session, c->path, c->text, len, c->version, on_stat, z);
    }
    memset(z->results, 0, sizeof(z->results));
    zoo_check_op_init(&ops[0], c->proof, -1);
    zoo_set_op_init(&ops[1], c->path, c->text, len, c->version, &z->stat);
    return zoo_amulti(z->session, 2, ops, z->results, on_both, z);
}

static int submit(struct zookeeper *z, const struct keeper_call *c)
{
    int flags = (c->ephemeral ? ZOO_EPHEMERAL : 0) | (c->numbered ? ZOO_SEQUENCE : 0);
    if (z->session == NULL || z->again) {
        return ZINVALIDSTATE;
    }
    switch (c->kind) {
    case KEEPER_CREATE:
        return zoo_acreate(z->session, c->path, c->text, (int)strlen(c->text), rights_of(z), flags,
                           on_path, z);
    case KEEPER_READ:
        return zoo_aget(z->session, c->path, c->watch, on_text, z);
    case KEEPER_NAMES:
        return zoo_aget_children(z->session, c->path, c->watch, on_names, z);
    case KEEPER_REPLACE:
        return replace(z, c);
    case KEEPER_REMOVE:
        return zoo_adelete(z->session, c->path, -1, on_nothing, z);
    }
    return ZBADARGUMENTS;
}

static void call(struct keeper *k, struct keeper_call *c)
{
    struct zookeeper *z = self(k);
    ASSERT(z->call == NULL);
    z->call = c;
    z->unsent = submit(z, c) != ZOK;
    /* A connection that breaks while a request is written is forgotten by the library, and the
     * request with it. */
    env_timer_set(z->env, &z->fail, z->unsent ? 0 : 2 * z->session_ms * NS_PER_MS);
    if (z->inside) {
        z->called = true;
    } else {
        arm(z);
    }
}

static void fail_fired(struct env_timer *t)
{
    struct zookeeper *z = container_of(t, struct zookeeper, fail);
    if (z->unsent) {
        answer(z, -ECONNRESET);
    } else if (z->call != NULL) {
        z->events->on_state(z->owner, KEEPER_EXPIRED);
    }
}

/* ---------------------------------------------------------------- the session */

static void on_event(zhandle_t *session, int type, int state, const char *path, void *context)
{
    struct zookeeper *z = context;
    (void)path;
    if (session != z->session || z->again) {
        return;
    }
    if (type != ZOO_SESSION_EVENT) {
        z->events->on_change(z->owner);
    } else if (state == ZOO_CONNECTED_STATE) {
        z->events->on_state(z->owner, KEEPER_THERE);
    } else if (state == ZOO_EXPIRED_SESSION_STATE) {
        z->events->on_state(z->owner, KEEPER_EXPIRED);
    } else if (state == ZOO_AUTH_FAILED_STATE) {
        z->events->on_state(z->owner, KEEPER_REFUSED);
    } else {
        z->events->on_state(z->owner, KEEPER_AWAY);
    }
}

static void on_log(const char *line)
{
    (void)line; /* what matters is told by events and answers */
}

static void end_session(struct zookeeper *z)
{
    zhandle_t *session = z->session;
    z->session = NULL;
    z->call = NULL;
    if (z->watched >= 0) {
        (void)epoll_ctl(z->waits, EPOLL_CTL_DEL, z->watched, NULL);
        z->watched = -1;
    }
    env_timer_stop(z->env, &z->fail);
    env_timer_stop(z->env, &z->turn);
    if (session != NULL) {
        z->inside = true;
        (void)zookeeper_close(session);
        z->inside = false;
    }
}

static void begin_session(struct zookeeper *z)
{
    z->again = false;
    end_session(z);
    z->session = zookeeper_init2(z->servers, on_event, (int)z->session_ms, NULL, z,
                                 ZOO_NO_LOG_CLIENTENV, on_log);
    if (z->session != NULL) { /* else it would resolve them again all the time */
        (void)zoo_set_servers_resolution_delay(z->session, -1);
    }
    if (z->session != NULL && z->rights[0] != 0) {
        (void)zoo_add_auth(z->session, "digest", z->rights, (int)strlen(z->rights), NULL, NULL);
    }
    arm(z);
}

static void open_session(struct keeper *k, const struct keeper_events *ev, void *owner)
{
    struct zookeeper *z = self(k);
    z->events = ev;
    z->owner = owner;
    z->call = NULL;
    z->again = true; /* perhaps one of the old session's callbacks is asking */
    env_timer_set(z->env, &z->turn, 0);
}

static void close_session(struct keeper *k)
{
    end_session(self(k));
}

static uint32_t timeout_ms(const struct keeper *k)
{
    const struct zookeeper *z = self(k);
    int agreed = z->session != NULL ? zoo_recv_timeout(z->session) : 0;
    return agreed > 0 ? (uint32_t)agreed : MAX(z->session_ms, (uint32_t)FIRST_TIMEOUT_MS);
}

/* ---------------------------------------------------------------- under the loop */

/* Waits for what the library wants to wait for. */
static void arm(struct zookeeper *z)
{
    struct timeval wait = {.tv_sec = 0};
    int fd = -1, interest = 0;
    if (z->session == NULL) { /* out of descriptors, or a name that cannot be resolved */
        z->again = true;
        env_timer_set(z->env, &z->turn, NS_PER_S);
        return;
    }
    uint64_t now = env_mono_ns(z->env);
    int state = zoo_state(z->session);
    if (state == 0 || state == ZOO_NOTCONNECTED_STATE) { /* it would dial again and again */
        if (now < z->dial_ns) {
            env_timer_set(z->env, &z->turn, z->dial_ns - now);
            return;
        }
        z->dial_ns = now + DIAL_PAUSE_MS * NS_PER_MS;
    }
    z->inside = true;
    int rc = zookeeper_interest(z->session, &fd, &interest, &wait);
    z->inside = false;
    if (z->again) {
        env_timer_set(z->env, &z->turn, 0);
        return;
    }
    if (z->watched >= 0 && z->watched != fd) {
        (void)epoll_ctl(z->waits, EPOLL_CTL_DEL, z->watched, NULL);
    }
    z->watched = rc == ZOK ? fd : -1;
    if (z->watched >= 0) {
        struct epoll_event e = {.events = ((interest & ZOOKEEPER_READ) != 0 ? EPOLLIN : 0u) |
                                          ((interest & ZOOKEEPER_WRITE) != 0 ? EPOLLOUT : 0u)};
        if (epoll_ctl(z->waits, EPOLL_CTL_MOD, fd, &e) != 0) { /* a new one of the same number */
            (void)epoll_ctl(z->waits, EPOLL_CTL_ADD, fd, &e);
        }
    }
    uint64_t ns = (uint64_t)wait.tv_sec * NS_PER_S + (uint64_t)wait.tv_usec * 1000;
    ns = z->called ? 0 : rc == ZOK ? MAX(ns, NS_PER_MS) : 100 * NS_PER_MS;
    z->called = false; /* the library may want something else for it */
    env_timer_set(z->env, &z->turn, ns);
}

static void run(struct zookeeper *z, int events)
{
    if (z->session != NULL && !z->again) {
        z->inside = true;
        (void)zookeeper_process(z->session, events);
        z->inside = false;
    }
    if (z->again) {
        begin_session(z);
    } else {
        arm(z);
    }
}

static void turn_fired(struct env_timer *t)
{
    run(container_of(t, struct zookeeper, turn), 0);
}

static void on_poll(uv_poll_t *p, int status, int events)
{
    struct zookeeper *z = p->data;
    struct epoll_event e;
    (void)events;
    if (status < 0 || epoll_wait(z->waits, &e, 1, 0) <= 0) {
        return;
    }
    bool broken = (e.events & (EPOLLERR | EPOLLHUP)) != 0;
    run(z, ((e.events & EPOLLIN) != 0 || broken ? ZOOKEEPER_READ : 0) |
               ((e.events & EPOLLOUT) != 0 ? ZOOKEEPER_WRITE : 0));
}

int zookeeper_keeper_open(struct zookeeper *z, struct env *env, uv_loop_t *loop,
                          const char *servers, const char *rights, uint32_t session_ms,
                          struct why *why)
{
    static const struct keeper_ops ops = {open_session, close_session, call, timeout_ms};
    *z = (struct zookeeper){.keeper = {&ops},
                            .env = env,
                            .servers = servers,
                            .rights = rights,
                            .session_ms = session_ms,
                            .watched = -1,
                            .turn = {.fire = turn_fired},
                            .fail = {.fire = fail_fired}};
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    z->waits = epoll_create1(EPOLL_CLOEXEC);
    int err = z->waits < 0 ? -errno : 0;
    if (err == 0) {
        z->poll = mem_new(uv_poll_t);
        ASSERT(uv_poll_init(loop, z->poll, z->waits) == 0);
        z->poll->data = z;
        err = uv_poll_start(z->poll, UV_READABLE, on_poll);
    }
    return err == 0 ? 0 : why_set(why, err, "ZooKeeper's client cannot start: %s", err_text(err));
}

static void on_poll_closed(uv_handle_t *h)
{
    mem_free(h);
}

void zookeeper_keeper_close(struct zookeeper *z)
{
    end_session(z);
    if (z->poll != NULL) {
        uv_close((uv_handle_t *)z->poll, on_poll_closed);
        z->poll = NULL;
    }
    if (z->waits >= 0) {
        close(z->waits);
        z->waits = -1;
    }
}
