/* test_uv_env.c - the env over real sockets, files, threads and clocks. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shared/base/hash.h"
#include "shared/base/mem.h"
#include "shared/env/rpc.h"
#include "shared/io/uv_env.h"
#include "shared/io/uv_turn.h"

/* ---------------------------------------------------------------- a world with one env */

enum { GIVE_UP_MS = 20000 };

struct end {
    struct env_conn *conn;
    unsigned opened;
    unsigned messages;
    unsigned closed;
    int close_err;
    struct message last;
    bool hang_up_at_message;
    bool echo;
    unsigned stop_at_messages; /* 0 = never */
};

struct world {
    char dir[64];
    char addr[96];
    struct uv_env *uv;
    struct env *env;
    struct end server; /* the last accepted connection */
    struct end client;
    struct env_timer give_up;
    bool gave_up;
};

static struct world *w;

static void stop_if(bool enough)
{
    if (enough) {
        uv_env_stop(w->uv);
    }
}

static void give_up_fired(struct env_timer *t)
{
    (void)t;
    w->gave_up = true;
    uv_env_stop(w->uv);
}

static void run(void)
{
    env_timer_set(w->env, &w->give_up, GIVE_UP_MS * NS_PER_MS);
    uv_env_run(w->uv);
    env_timer_stop(w->env, &w->give_up);
    ck_assert_msg(!w->gave_up, "nothing happened for %d ms", GIVE_UP_MS);
}

struct nap_timer {
    struct env_timer t;
    bool over;
};

static void nap_fired(struct env_timer *t)
{
    container_of(t, struct nap_timer, t)->over = true;
    uv_env_stop(w->uv);
}

/* Runs the loop for a while. */
static void nap(uint64_t ms)
{
    struct nap_timer n = {{.fire = nap_fired}, false};
    env_timer_set(w->env, &n.t, ms * NS_PER_MS);
    while (!n.over) {
        uv_env_run(w->uv);
    }
}

static void on_open(void *owner, struct env_conn *c)
{
    struct end *e = owner;
    e->opened++;
    e->conn = c;
    stop_if(e->stop_at_messages == 0);
}

static void on_message(void *owner, struct env_conn *c, struct message *m)
{
    struct end *e = owner;
    e->messages++;
    message_drop(&e->last);
    e->last = (struct message){m->head, slice_ref(&m->body), slice_ref(&m->payload)};
    if (e->echo) {
        struct message back = {m->head, slice_ref(&m->body), slice_ref(&m->payload)};
        env_send(w->env, c, &back);
    }
    if (e->hang_up_at_message) {
        env_hangup(w->env, c);
        e->conn = NULL;
    }
    stop_if(e->messages == e->stop_at_messages);
}

static void on_close(void *owner, struct env_conn *c, int err)
{
    struct end *e = owner;
    (void)c;
    e->closed++;
    e->close_err = err;
    e->conn = NULL;
    uv_env_stop(w->uv);
}

static const struct conn_events events = {on_open, on_message, on_close};

static void on_accept(void *owner, struct env_conn *c)
{
    struct end *e = owner;
    e->conn = c;
    env_conn_bind(w->env, c, &events, e);
}

static void setup(void)
{
    struct why why;
    w = mem_new(struct world);
    strcpy(w->dir, "/tmp/gfs-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(w->dir));
    char log[96];
    snprintf(log, sizeof(log), "%s.log", w->dir);
    w->uv = uv_env_create(&(struct uv_env_config){.dir = w->dir, .log_path = log}, &why);
    ck_assert_msg(w->uv != NULL, "%s", why.text);
    w->env = uv_env_base(w->uv);
    w->give_up.fire = give_up_fired;
    snprintf(w->addr, sizeof(w->addr), "unix:%s/sock", w->dir);
    ck_assert_int_eq(env_listen(w->env, w->addr, on_accept, &w->server), 0);
}

/* Everything is closed and no buffer is left; then the directory goes. */
static void teardown(void)
{
    char command[256];
    uv_env_halt(w->uv);
    message_drop(&w->server.last);
    message_drop(&w->client.last);
    uv_env_destroy(w->uv);
    ck_assert_uint_eq(buf_total_bytes(), 0);
    snprintf(command, sizeof(command), "rm -rf %s %s.log", w->dir, w->dir);
    ck_assert_int_eq(system(command), 0);
    mem_free(w);
}

static bool log_says(const char *text)
{
    char command[512];
    snprintf(command, sizeof(command), "grep -qF '%s' %s.log", text, w->dir);
    return system(command) == 0;
}

/* ---------------------------------------------------------------- messages */

static struct slice pattern(uint32_t len, uint8_t seed)
{
    struct slice s = {len ? buf_new(len) : NULL, 0, len};
    for (uint32_t i = 0; i < len; i++) {
        s.buf->data[i] = (uint8_t)(seed + i * 7 + (i >> 8));
    }
    return s;
}

static void send_frame(struct env_conn *c, uint64_t id, uint32_t body, uint32_t payload)
{
    struct message m = {.head = {.op = OP_hello, .request_id = id},
                        .body = pattern(body, (uint8_t)id),
                        .payload = pattern(payload, (uint8_t)(id + 1))};
    env_send(w->env, c, &m);
    ck_assert_ptr_null(m.body.buf);
}

static void expect_frame(struct end *e, uint64_t id, uint32_t body, uint32_t payload)
{
    struct slice b = pattern(body, (uint8_t)id), p = pattern(payload, (uint8_t)(id + 1));
    ck_assert_uint_eq(e->last.head.request_id, id);
    ck_assert(bytes_equal(slice_bytes(&e->last.body), slice_bytes(&b)));
    ck_assert(bytes_equal(slice_bytes(&e->last.payload), slice_bytes(&p)));
    slice_drop(&b);
    slice_drop(&p);
}

/* The dialled end is up and the peer has had a first frame. */
static void connect_greeted(void)
{
    w->client.conn = env_dial(w->env, w->addr, &events, &w->client);
    ck_assert_uint_eq(w->client.opened, 0); /* never from inside dial */
    run();
    ck_assert_uint_eq(w->client.opened, 1);
    w->server.stop_at_messages = 1;
    send_frame(w->client.conn, 1, 20, 0);
    run();
    expect_frame(&w->server, 1, 20, 0);
}

/* Frames of every size arrive whole and in order, in both directions. */
START_TEST(frames_arrive_whole)
{
    static const uint32_t sizes[][2] = {{0, 0},        {1, 0},
                                        {0, 1},        {100, 4096},
                                        {65448, 0},    {65536, 65536},
                                        {0, 100000},   {1 << 20, 10},
                                        {77, 1 << 20}, {FRAME_BODY_MAX, FRAME_PAYLOAD_MAX}};
    connect_greeted();
    w->server.echo = true;
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        w->server.stop_at_messages = 0;
        w->client.stop_at_messages = w->client.messages + 1;
        send_frame(w->client.conn, i + 2, sizes[i][0], sizes[i][1]);
        run();
        expect_frame(&w->client, i + 2, sizes[i][0], sizes[i][1]);
    }
}
END_TEST

/* Many frames at once, small between large, come out as they went in. */
START_TEST(many_frames_in_one_turn)
{
    connect_greeted();
    w->server.stop_at_messages = 1001;
    for (unsigned i = 0; i < 1000; i++) {
        send_frame(w->client.conn, i + 2, i % 50, i % 100 == 7 ? 300000 : i % 3);
    }
    ck_assert_uint_gt(env_queued(w->env, w->client.conn), 3000000);
    run();
    expect_frame(&w->server, 1001, 999 % 50, 999 % 3);
    ck_assert_uint_eq(env_queued(w->env, w->client.conn), 0);
}
END_TEST

/* What is sent before the connection is up goes out when it is. */
START_TEST(sends_wait_for_the_connection)
{
    w->client.stop_at_messages = 1;
    w->server.stop_at_messages = 2;
    w->client.conn = env_dial(w->env, w->addr, &events, &w->client);
    send_frame(w->client.conn, 5, 10, 0);
    send_frame(w->client.conn, 6, 11, 0);
    run();
    expect_frame(&w->server, 6, 11, 0);
}
END_TEST

/* The other end hears of a hang-up; who hung up hears nothing. */
START_TEST(hangup_is_seen_by_the_peer_only)
{
    connect_greeted();
    env_hangup(w->env, w->client.conn);
    run();
    ck_assert_uint_eq(w->server.closed, 1);
    ck_assert_int_eq(w->server.close_err, ERR_DISCONNECTED);
    ck_assert_uint_eq(w->client.closed, 0);
}
END_TEST

/* An answer sent just before a hang-up still reaches the peer. */
START_TEST(last_words_arrive)
{
    connect_greeted();
    w->client.stop_at_messages = 1;
    send_frame(w->server.conn, 9, 30, 0);
    env_hangup(w->env, w->server.conn);
    run();
    expect_frame(&w->client, 9, 30, 0);
    run();
    ck_assert_uint_eq(w->client.closed, 1);
}
END_TEST

/* Hanging up inside a callback stops the frames that were received with it. */
START_TEST(hangup_inside_a_message)
{
    connect_greeted();
    w->server.hang_up_at_message = true;
    for (unsigned i = 0; i < 10; i++) {
        send_frame(w->client.conn, i + 2, 10, 0);
    }
    run();
    ck_assert_uint_eq(w->client.closed, 1);
    ck_assert_uint_eq(w->server.messages, 2);
    ck_assert_uint_eq(w->server.closed, 0);
}
END_TEST

START_TEST(failed_dials_are_told_later)
{
    static const struct {
        const char *addr;
        int err;
    } cases[] = {{"unix:/nowhere/at/all", -ENOENT},
                 {"127.0.0.1:1", -ECONNREFUSED},
                 {"[::1]:1", 0},
                 {"no port", -EINVAL},
                 {"::1:1", -EINVAL},
                 {"name.invalid:1", 0}};
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        w->client.closed = 0;
        w->client.conn = env_dial(w->env, cases[i].addr, &events, &w->client);
        ck_assert_ptr_nonnull(w->client.conn);
        ck_assert_uint_eq(w->client.closed, 0);
        run();
        ck_assert_uint_eq(w->client.closed, 1);
        ck_assert_int_lt(w->client.close_err, 0);
        if (cases[i].err != 0) {
            ck_assert_int_eq(w->client.close_err, cases[i].err);
        }
    }
}
END_TEST

/* A dial may be given up at any moment, also while a name is looked up. */
START_TEST(dials_can_be_given_up)
{
    env_hangup(w->env, env_dial(w->env, w->addr, &events, &w->client));
    env_hangup(w->env, env_dial(w->env, "name.invalid:1", &events, &w->client));
    env_hangup(w->env, env_dial(w->env, "no port", &events, &w->client));
    nap(50);
    (void)env_dial(w->env, "other.invalid:1", &events, &w->client); /* destroyed while it runs */
    ck_assert_uint_eq(w->client.closed + w->client.opened, 0);
}
END_TEST

/* A port of the loopback address nobody uses. */
static unsigned free_port(void)
{
    int probe = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    ck_assert_int_eq(bind(probe, (struct sockaddr *)&in, len), 0);
    ck_assert_int_eq(getsockname(probe, (struct sockaddr *)&in, &len), 0);
    close(probe);
    return ntohs(in.sin_port);
}

static bool server_sees(const char *start)
{
    return strncmp(env_peer_name(w->env, w->server.conn), start, strlen(start)) == 0;
}

START_TEST(tcp_works_and_a_used_port_is_refused)
{
    unsigned port = free_port();
    snprintf(w->addr, sizeof(w->addr), "127.0.0.1:%u", port);
    ck_assert_int_eq(env_listen(w->env, w->addr, on_accept, &w->server), 0);
    ck_assert_int_eq(env_listen(w->env, w->addr, on_accept, &w->server), -EADDRINUSE);
    snprintf(w->addr, sizeof(w->addr), "localhost:%u", port);
    connect_greeted();
    ck_assert(server_sees("127.0.0.1:"));
}
END_TEST

START_TEST(near_peers_meet_beside_tcp)
{
    snprintf(w->addr, sizeof(w->addr), "127.0.0.1:%u", free_port());
    ck_assert_int_eq(env_listen(w->env, w->addr, on_accept, &w->server), 0);
    connect_greeted();
    ck_assert(server_sees("unix"));
}
END_TEST

/* Somebody else has the name beside the address. */
START_TEST(tcp_stands_in_for_the_near_socket)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(w->addr, sizeof(w->addr), "127.0.0.1:%u", free_port());
    int n = snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "gfs/%s", w->addr);
    int other = socket(AF_UNIX, SOCK_STREAM, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    ck_assert_int_eq(bind(other, (struct sockaddr *)&un, len), 0);
    ck_assert_int_eq(env_listen(w->env, w->addr, on_accept, &w->server), 0);
    connect_greeted();
    ck_assert(server_sees("127.0.0.1:"));
    close(other);
}
END_TEST

/* ---------------------------------------------------------------- hostile peers */

/* A socket of a peer that is no env. */
static int raw_peer(void)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    strcpy(un.sun_path, w->addr + 5);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    return fd;
}

static void raw_send(int fd, const void *data, size_t len)
{
    ck_assert_int_eq(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* The server's end must close with ERR_PROTOCOL and say `reason` in the log. */
static void expect_refused(int fd, const char *reason)
{
    char byte;
    unsigned messages = w->server.messages;
    w->server.closed = 0;
    run();
    ck_assert_uint_eq(w->server.closed, 1);
    ck_assert_int_eq(w->server.close_err, ERR_PROTOCOL);
    ck_assert_uint_eq(w->server.messages, messages);
    ck_assert_int_le(recv(fd, &byte, 1, 0), 0);
    ck_assert_msg(log_says(reason), "the log does not say '%s'", reason);
    ck_assert_uint_eq(buf_total_bytes(), 0);
    close(fd);
}

static void header(uint8_t out[FRAME_HEADER_BYTES], uint32_t body, uint32_t payload)
{
    struct frame_header h = {.op = OP_hello, .body_len = body, .payload_len = payload};
    frame_header_encode(&h, out);
}

START_TEST(random_bytes_are_refused)
{
    uint8_t junk[200];
    memset(junk, 'x', sizeof(junk));
    int fd = raw_peer();
    raw_send(fd, junk, sizeof(junk));
    expect_refused(fd, "frame magic is");
    fd = raw_peer();
    raw_send(fd, junk, 5);
    expect_refused(fd, "these are not frames of gfs");
}
END_TEST

START_TEST(wrong_version_is_refused)
{
    uint8_t head[FRAME_HEADER_BYTES];
    header(head, 0, 0);
    head[4] = 9;
    int fd = raw_peer();
    raw_send(fd, head, sizeof(head));
    expect_refused(fd, "protocol version is 9");
}
END_TEST

START_TEST(huge_claims_are_refused_before_memory_is_taken)
{
    static const uint32_t claims[][2] = {
        {UINT32_MAX, 0}, {0, UINT32_MAX}, {4097, 0}, {0, 1}, {FRAME_BODY_MAX, FRAME_PAYLOAD_MAX}};
    for (unsigned i = 0; i < COUNT_OF(claims); i++) {
        uint8_t head[FRAME_HEADER_BYTES];
        header(head, claims[i][0], claims[i][1]);
        int fd = raw_peer();
        raw_send(fd, head, sizeof(head));
        expect_refused(fd, i < 2 ? "frame claims" : "first frame is larger");
    }
}
END_TEST

START_TEST(damaged_body_is_refused)
{
    uint8_t head[FRAME_HEADER_BYTES];
    header(head, 16, 0);
    int fd = raw_peer();
    raw_send(fd, head, sizeof(head));
    raw_send(fd, "0123456789abcdef", 16);
    expect_refused(fd, "frame body does not match");
}
END_TEST

START_TEST(truncated_frame_is_noticed)
{
    uint8_t head[FRAME_HEADER_BYTES];
    header(head, 16, 0);
    int fd = raw_peer();
    raw_send(fd, head, sizeof(head));
    raw_send(fd, "01234567", 8);
    shutdown(fd, SHUT_WR);
    expect_refused(fd, "ended in the middle of a frame");
}
END_TEST

/* One byte at a time is as good as all at once. */
START_TEST(dribbled_frame_arrives)
{
    struct slice body = pattern(40, 3);
    struct frame_header h = {.op = OP_hello, .request_id = 3, .body_len = 40};
    uint8_t head[FRAME_HEADER_BYTES];
    h.body_sum = hash64(slice_data(&body), 40);
    frame_header_encode(&h, head);
    int fd = raw_peer();
    w->server.stop_at_messages = 1;
    for (unsigned i = 0; i < sizeof(head) + 40; i++) {
        raw_send(fd, i < sizeof(head) ? &head[i] : slice_data(&body) + (i - sizeof(head)), 1);
        if (i + 1 < sizeof(head) + 40) {
            uv_run(uv_env_loop(w->uv), UV_RUN_NOWAIT);
        }
    }
    run();
    expect_frame(&w->server, 3, 40, 0);
    slice_drop(&body);
    close(fd);
}
END_TEST

/* A peer that asks and never reads: what waits for it stays bounded, and so does what it may ask. */
START_TEST(deaf_peer_is_not_read_from)
{
    uint8_t frame[FRAME_HEADER_BYTES];
    uint64_t sent = 0, answers = 0;
    struct frame_header h = {.op = OP_hello, .body_sum = hash64("", 0)};
    frame_header_encode(&h, frame);
    int fd = raw_peer();
    raw_send(fd, frame, sizeof(frame));
    w->server.stop_at_messages = 1;
    run();
    for (unsigned turn = 0; turn < 2000; turn++) {
        if (send(fd, frame, sizeof(frame), MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
            sent++;
        }
        uv_run(uv_env_loop(w->uv), UV_RUN_NOWAIT);
        for (; answers < w->server.messages; answers++) { /* each request costs 1 MiB to answer */
            send_frame(w->server.conn, answers, 0, 1 << 20);
        }
    }
    ck_assert_uint_gt(env_queued(w->env, w->server.conn), 60u << 20);
    ck_assert_uint_lt(env_queued(w->env, w->server.conn), 70u << 20);
    ck_assert_uint_lt(answers, 80);
    close(fd);
    run();
    ck_assert_uint_eq(w->server.closed, 1);
}
END_TEST

/* ---------------------------------------------------------------- timers */

static char fired[16];

struct named_timer {
    struct env_timer t;
    char name;
    bool again;
};

static void named_fired(struct env_timer *t)
{
    struct named_timer *n = container_of(t, struct named_timer, t);
    strncat(fired, &n->name, 1);
    if (n->again) {
        n->again = false;
        env_timer_set(w->env, t, 0);
    }
    stop_if(n->name == 'z');
}

static void dawdle(struct env_timer *t)
{
    (void)t;
    usleep((SLOW_TURN_MS + 50) * 1000);
}

static bool log_has(const char *what)
{
    char path[128], text[8192];
    snprintf(path, sizeof(path), "%s.log", w->dir);
    FILE *f = fopen(path, "r");
    size_t n = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;
    text[n] = 0;
    if (f != NULL) {
        fclose(f);
    }
    return strstr(text, what) != NULL;
}

/* A turn that takes long is told in the log. */
START_TEST(long_turns_are_logged)
{
    struct env_timer slow = {.fire = dawdle};
    env_timer_set(w->env, &slow, 0);
    nap(10);
    ck_assert(log_has("a turn of the loop took"));
    ck_assert(log_has("of them in a timer (code at 0x"));
}
END_TEST

/* By deadline, ties in the order of setting; a stopped one never; one may set itself again. */
START_TEST(timers_fire_in_order)
{
    struct named_timer a = {{.fire = named_fired}, 'a', false},
                       b = {{.fire = named_fired}, 'b', true},
                       c = {{.fire = named_fired}, 'c', false},
                       d = {{.fire = named_fired}, 'd', false},
                       z = {{.fire = named_fired}, 'z', false};
    fired[0] = 0;
    uint64_t start = env_mono_ns(w->env);
    env_timer_set(w->env, &z.t, 60 * NS_PER_MS);
    env_timer_set(w->env, &c.t, 30 * NS_PER_MS);
    env_timer_set(w->env, &a.t, 0);
    env_timer_set(w->env, &b.t, 10 * NS_PER_MS);
    env_timer_set(w->env, &d.t, 20 * NS_PER_MS);
    env_timer_stop(w->env, &d.t);
    run();
    ck_assert_str_eq(fired, "abbcz");
    ck_assert_uint_ge(env_mono_ns(w->env) - start, 60 * NS_PER_MS);
    ck_assert_uint_lt(env_mono_ns(w->env) - start, 5 * NS_PER_S);
}
END_TEST

/* ---------------------------------------------------------------- files */

static unsigned ops_done;
static unsigned ops_wanted;

static void op_done(struct disk_op *op)
{
    (void)op;
    stop_if(++ops_done == ops_wanted);
}

static int64_t do_op(struct disk_op op)
{
    op.done = op_done;
    ops_done = 0;
    ops_wanted = 1;
    env_disk_submit(w->env, &op);
    ck_assert_uint_eq(ops_done, 0); /* never from inside submit */
    run();
    return op.result;
}

START_TEST(file_operations)
{
    struct env_file *f;
    char abc[] = "abc", de[] = "de", back[8] = "";
    ck_assert_int_eq(env_file_open(w->env, "f", 0, &f), -ENOENT);
    ck_assert_int_eq(env_file_open(w->env, "f", ENV_OPEN_CREATE | ENV_OPEN_EXCL, &f), 0);
    struct disk_op base = {.file = f};
#define OPS(...) ((struct disk_op){.file = base.file, __VA_ARGS__})
    ck_assert_int_eq(do_op(OPS(.kind = DISK_WRITE, .off = 0, .data = abc, .len = 3)), 0);
    ck_assert_int_eq(do_op(OPS(.kind = DISK_WRITE, .off = 3, .data = de, .len = 2, .off2 = 5,
                               .data2 = "f", .len2 = 1, .sync = true)),
                     0);
    ck_assert_int_eq(do_op(OPS(.kind = DISK_READ, .off = 1, .data = back, .len = 4)), 4);
    ck_assert_str_eq(back, "bcde");
    ck_assert_int_eq(do_op(OPS(.kind = DISK_READ, .off = 4, .data = back, .len = 8)), 2);
    ck_assert_int_eq(do_op(OPS(.kind = DISK_READ, .off = 6, .data = back, .len = 8)), 0);
    ck_assert_int_eq(do_op(OPS(.kind = DISK_SYNC)), 0);
    ck_assert_int_eq(do_op(OPS(.kind = DISK_TRUNCATE, .off = 1 << 20)), 0);
    ck_assert_int_eq(do_op(OPS(.kind = DISK_PUNCH, .off = 0, .off2 = 4096)), 0);
    ck_assert_int_eq(do_op(OPS(.kind = DISK_SEEK, .off = 0, .len = SEEK_DATA)), -ENXIO);
    ck_assert_int_eq(do_op(OPS(.kind = DISK_SEEK, .off = 5, .len = SEEK_HOLE)), 5);
    int64_t taken = do_op(OPS(.kind = DISK_RESERVE, .off = 0, .off2 = 4 << 20));
    ck_assert(taken == 0 || taken >= 4 << 20); /* 0: this filesystem cannot */
    ck_assert_int_eq(do_op(OPS(.kind = DISK_RESERVE, .off = 4096, .off2 = 1 << 20)), 0);
    ck_assert_int_eq(do_op(OPS(.kind = DISK_READ, .off = 4096, .data = back, .len = 8)), 8);
    ck_assert_int_eq(back[0], 0);
    ck_assert_int_eq(env_file_size(w->env, f), 1 << 20);
    ck_assert_int_eq(do_op((struct disk_op){.kind = DISK_RENAME, .path = "f", .path2 = "g"}), 0);
    ck_assert_int_eq(do_op((struct disk_op){.kind = DISK_SYNC_DIR, .path = ""}), 0);
    ck_assert_int_eq(do_op((struct disk_op){.kind = DISK_IMPORT, .path = "g"}), 0);
    ck_assert_int_eq(
        do_op((struct disk_op){.kind = DISK_ALLOCATE, .path = "g", .off = 4096, .off2 = 2 << 20}),
        0);
    ck_assert_int_eq(env_allocate(w->env, "g", 0, 1 << 20), 0);
    ck_assert_int_eq(env_allocate(w->env, "f", 0, 1 << 20), -ENOENT);
    ck_assert_int_eq(do_op((struct disk_op){.kind = DISK_UNLINK, .path = "f"}), -ENOENT);
    ck_assert_int_eq(do_op((struct disk_op){.kind = DISK_UNLINK, .path = "g"}), 0);
    env_file_close(w->env, f);
}
END_TEST

/* Large writes and reads of many files at once use the threads and all come back. */
START_TEST(many_operations_at_once)
{
    enum { FILES = 40, BYTES = 200000 };
    static struct disk_op ops[FILES];
    static uint8_t data[BYTES], back[FILES][BYTES];
    struct env_file *files[FILES];
    for (unsigned i = 0; i < BYTES; i++) {
        data[i] = (uint8_t)(i * 31 >> 3);
    }
    for (unsigned i = 0; i < FILES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "file%u", i);
        ck_assert_int_eq(env_file_open(w->env, name, ENV_OPEN_CREATE, &files[i]), 0);
        ops[i] = (struct disk_op){.kind = DISK_WRITE,
                                  .file = files[i],
                                  .off = i,
                                  .data = data,
                                  .len = BYTES - 1000,
                                  .sync = i % 2 == 0,
                                  .done = op_done};
        env_disk_submit(w->env, &ops[i]);
    }
    ops_done = 0;
    ops_wanted = FILES;
    run();
    for (unsigned i = 0; i < FILES; i++) {
        ck_assert_int_eq(ops[i].result, 0);
        ops[i] = (struct disk_op){.kind = DISK_READ,
                                  .file = files[i],
                                  .off = i,
                                  .data = back[i],
                                  .len = BYTES,
                                  .done = op_done};
        env_disk_submit(w->env, &ops[i]);
    }
    ops_done = 0;
    run();
    for (unsigned i = 0; i < FILES; i++) {
        ck_assert_int_eq(ops[i].result, BYTES - 1000);
        ck_assert_int_eq(memcmp(back[i], data, BYTES - 1000), 0);
        env_file_close(w->env, files[i]);
    }
}
END_TEST

static void count_name(void *owner, const char *name)
{
    strcat(owner, name);
    strcat(owner, " ");
}

START_TEST(directories_and_places)
{
    char names[256] = "", path[256], expected[256];
    uint64_t total, free_bytes;
    struct env_file *f;
    ck_assert_int_eq(env_make_dir(w->env, "d"), 0);
    ck_assert_int_eq(env_make_dir(w->env, "d"), 0);
    static const char *const files[] = {"d/b", "d/a", "d/10", "d/9"};
    for (unsigned i = 0; i < COUNT_OF(files); i++) {
        ck_assert_int_eq(env_file_open(w->env, files[i], ENV_OPEN_CREATE, &f), 0);
        env_file_close(w->env, f);
    }
    ck_assert_int_eq(env_file_open(w->env, "d/a", 0, &f), 0); /* left open: the env closes it */
    ck_assert_int_eq(env_list_dir(w->env, "d", count_name, names), 0);
    ck_assert_str_eq(names, "10 9 a b ");
    ck_assert_int_eq(env_list_dir(w->env, "none", count_name, names), -ENOENT);
    ck_assert_int_eq(env_rename(w->env, "d/a", "d/c"), 0);
    ck_assert_int_eq(env_unlink(w->env, "d/a"), -ENOENT);
    ck_assert_int_eq(env_sync_dir(w->env, "d"), 0);
    ck_assert_int_eq(env_space(w->env, &total, &free_bytes), 0);
    ck_assert_uint_ge(total, free_bytes);
    snprintf(expected, sizeof(expected), "%s/d/c", w->dir);
    ck_assert_str_eq(env_real_path(w->env, "d/c", path, sizeof(path)), expected);
}
END_TEST

/* A second process (here: a second env) is kept off the directory. */
START_TEST(directory_has_one_owner)
{
    struct why why;
    struct uv_env *other = uv_env_create(&(struct uv_env_config){.dir = w->dir}, &why);
    ck_assert_int_eq(env_lock_dir(w->env), 0);
    ck_assert_int_eq(env_lock_dir(uv_env_base(other)), -EBUSY);
    uv_env_destroy(other);
    ck_assert_ptr_null(uv_env_create(&(struct uv_env_config){.dir = "/nowhere"}, &why));
    ck_assert_str_eq(why.text, "cannot open directory /nowhere: No such file or directory");
}
END_TEST

/* Equal in another process of this boot and mount, another under another boot. */
START_TEST(incarnation_is_of_boot_and_mount)
{
    struct why why;
    uint8_t mine[16], same[16], other[16];
    struct uv_env *a = uv_env_create(&(struct uv_env_config){.dir = w->dir}, &why);
    struct uv_env *b =
        uv_env_create(&(struct uv_env_config){.dir = w->dir, .boot_override = "tuesday"}, &why);
    env_incarnation(w->env, mine);
    env_incarnation(uv_env_base(a), same);
    env_incarnation(uv_env_base(b), other);
    ck_assert_mem_eq(mine, same, 16);
    ck_assert_mem_ne(mine, other, 16);
    uv_env_destroy(a);
    uv_env_destroy(b);
}
END_TEST

START_TEST(ring_survives_the_process)
{
    struct why why;
    char *ring = env_map_ring(w->env, "ring", 8192);
    strcpy(ring + 5000, "still here");
    struct uv_env *next = uv_env_create(&(struct uv_env_config){.dir = w->dir}, &why);
    char *again = env_map_ring(uv_env_base(next), "ring", 8192);
    ck_assert_str_eq(again + 5000, "still here");
    uv_env_destroy(next);
}
END_TEST

/* ---------------------------------------------------------------- work, and the end */

struct sum_work {
    struct env_work work;
    uint64_t sum;
    bool done;
};

static void sum_run(struct env_work *work)
{
    struct sum_work *s = container_of(work, struct sum_work, work);
    for (uint64_t i = 0; i < 1000000; i++) {
        s->sum += i;
    }
}

static void sum_done(struct env_work *work)
{
    container_of(work, struct sum_work, work)->done = true;
    stop_if(++ops_done == ops_wanted);
}

START_TEST(work_runs_on_threads)
{
    static struct sum_work works[50];
    ops_done = 0;
    ops_wanted = COUNT_OF(works);
    for (unsigned i = 0; i < COUNT_OF(works); i++) {
        works[i] = (struct sum_work){.work = {.run = sum_run, .done = sum_done}};
        env_work_submit(w->env, &works[i].work);
    }
    run();
    for (unsigned i = 0; i < COUNT_OF(works); i++) {
        ck_assert_uint_eq(works[i].sum, 499999500000);
    }
}
END_TEST

/* Settling ends what is under way, callbacks included; timers and messages rest. */
START_TEST(settle_finishes_work)
{
    static struct sum_work works[20];
    struct env_timer t = {.fire = give_up_fired};
    ops_wanted = 0;
    env_timer_set(w->env, &t, 0);
    for (unsigned i = 0; i < COUNT_OF(works); i++) {
        works[i] = (struct sum_work){.work = {.run = sum_run, .done = sum_done}};
        env_work_submit(w->env, &works[i].work);
    }
    ck_assert(uv_env_settle(w->uv, 10000));
    for (unsigned i = 0; i < COUNT_OF(works); i++) {
        ck_assert(works[i].done);
    }
    ck_assert(!w->gave_up);
    env_timer_stop(w->env, &t);
}
END_TEST

/* After a halt no callback runs, whatever was under way. */
START_TEST(halt_forgets_work)
{
    static struct sum_work works[200];
    for (unsigned i = 0; i < COUNT_OF(works); i++) {
        works[i] = (struct sum_work){.work = {.run = sum_run, .done = sum_done}};
        env_work_submit(w->env, &works[i].work);
    }
    uv_env_halt(w->uv);
    uv_run(uv_env_loop(w->uv), UV_RUN_NOWAIT);
    for (unsigned i = 0; i < COUNT_OF(works); i++) {
        ck_assert(!works[i].done);
    }
}
END_TEST

Suite *suite_uv_env(void);
Suite *suite_uv_env(void)
{
    Suite *s = suite_create("uv_env");
    TCase *c = tcase_create("uv_env");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, frames_arrive_whole);
    tcase_add_test(c, many_frames_in_one_turn);
    tcase_add_test(c, sends_wait_for_the_connection);
    tcase_add_test(c, hangup_is_seen_by_the_peer_only);
    tcase_add_test(c, last_words_arrive);
    tcase_add_test(c, hangup_inside_a_message);
    tcase_add_test(c, failed_dials_are_told_later);
    tcase_add_test(c, dials_can_be_given_up);
    tcase_add_test(c, tcp_works_and_a_used_port_is_refused);
    tcase_add_test(c, near_peers_meet_beside_tcp);
    tcase_add_test(c, tcp_stands_in_for_the_near_socket);
    tcase_add_test(c, random_bytes_are_refused);
    tcase_add_test(c, wrong_version_is_refused);
    tcase_add_test(c, huge_claims_are_refused_before_memory_is_taken);
    tcase_add_test(c, damaged_body_is_refused);
    tcase_add_test(c, truncated_frame_is_noticed);
    tcase_add_test(c, dribbled_frame_arrives);
    tcase_add_test(c, deaf_peer_is_not_read_from);
    tcase_add_test(c, timers_fire_in_order);
    tcase_add_test(c, long_turns_are_logged);
    tcase_add_test(c, file_operations);
    tcase_add_test(c, many_operations_at_once);
    tcase_add_test(c, directories_and_places);
    tcase_add_test(c, directory_has_one_owner);
    tcase_add_test(c, incarnation_is_of_boot_and_mount);
    tcase_add_test(c, ring_survives_the_process);
    tcase_add_test(c, work_runs_on_threads);
    tcase_add_test(c, settle_finishes_work);
    tcase_add_test(c, halt_forgets_work);
    suite_add_tcase(s, c);
    return s;
}
