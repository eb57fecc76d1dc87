/* hostile.c - bytes no friend would send, to one port: hostile HOST PORT. Each case connects anew,
 * sends, and expects the peer to close within 30 s (cases marked `may stay` may be left waiting for
 * more bytes and are closed by us). Exit 1 names the case that failed. */
#include "shared/base/bytes.h"
#include "shared/base/hash.h"
#include "shared/proto/frame.h"
#include "shared/proto/schema.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *host;
static uint16_t port;
static int failures;

static int dial(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, host, &a.sin_addr);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
        fprintf(stderr, "hostile: cannot connect to %s:%u: %s\n", host, port, strerror(errno));
        exit(1);
    }
    return fd;
}

static void send_all(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return; /* closed already: what we want */
        }
        p += n;
        len -= (size_t)n;
    }
}

/* Waits until the peer closes, throwing away what it says. */
static void expect_closed(int fd, const char *what)
{
    char buf[4096];
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 30000) <= 0) {
            fprintf(stderr, "hostile: %s: the connection is still open after 30 s\n", what);
            failures++;
            break;
        }
        if (recv(fd, buf, sizeof(buf), 0) <= 0) {
            break;
        }
    }
    close(fd);
}

static size_t frame(uint8_t *out, uint16_t op, const void *body, uint32_t len)
{
    struct frame_header h = {
        .op = op, .request_id = 1, .body_len = len, .body_sum = hash64(body, len)};
    frame_header_encode(&h, out);
    memcpy(out + FRAME_HEADER_BYTES, body, len);
    return FRAME_HEADER_BYTES + len;
}

/* A header that claims lengths over or at the bounds, its checksum right. */
static void claim(uint32_t body, uint32_t payload, const char *what)
{
    uint8_t h[FRAME_HEADER_BYTES];
    struct frame_header f = {.op = OP_hello, .body_len = body, .payload_len = payload};
    int fd = dial();
    frame_header_encode(&f, h);
    send_all(fd, h, sizeof(h));
    expect_closed(fd, what);
}

static void say_hello(int fd)
{
    uint8_t out[512], in[512];
    struct hello_req hello = {.cluster = 0, .name = bytes_str(""), .role = ROLE_CLIENT};
    struct writer w;
    writer_init(&w);
    hello_req_encode(&w, &hello);
    struct bytes b = writer_bytes(&w);
    send_all(fd, out, frame(out, OP_hello, b.data, b.len));
    writer_free(&w);
    if (recv(fd, in, sizeof(in), 0) <= 0) {
        fprintf(stderr, "hostile: a friendly hello was not answered\n");
        failures++;
    }
}

/* After a good hello: every operation with a body that is msgpack of the wrong shape, then random.
 */
static void every_op(unsigned seed)
{
    srandom(seed);
    for (uint32_t i = 0; i < op_table_count; i++) {
        uint8_t body[64], out[256];
        uint32_t len = (uint32_t)random() % sizeof(body);
        int fd = dial();
        for (uint32_t j = 0; j < len; j++) {
            body[j] = (uint8_t)random();
        }
        if (seed % 2 == 0 && len > 5) {
            memcpy(body, "\xdd\xff\xff\xff\xff", 5); /* an array of 4 billion */
        }
        say_hello(fd);
        send_all(fd, out, frame(out, op_table[i].code, body, len));
        struct pollfd p = {.fd = fd, .events = POLLIN};
        poll(&p, 1, 20); /* refused by answer or close; either is fine, a crash shows below */
        close(fd);
    }
}

int main(int argc, char **argv)
{
    static uint8_t random_bytes[1 << 16];
    uint8_t h[FRAME_HEADER_BYTES] = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: hostile HOST PORT\n");
        return 2;
    }
    host = argv[1];
    port = (uint16_t)atoi(argv[2]);
    srandom(1);
    for (int round = 0; round < 20; round++) {
        int fd = dial();
        for (size_t i = 0; i < sizeof(random_bytes); i++) {
            random_bytes[i] = (uint8_t)random();
        }
        send_all(fd, random_bytes, 1 + (size_t)random() % sizeof(random_bytes));
        shutdown(fd, SHUT_WR);
        expect_closed(fd, "random bytes");
    }
    struct frame_header good = {.op = OP_hello};
    frame_header_encode(&good, h);
    for (size_t cut = 1; cut < sizeof(h); cut += 13) {
        int fd = dial();
        send_all(fd, h, cut);
        shutdown(fd, SHUT_WR);
        expect_closed(fd, "truncated header");
    }
    claim(UINT32_MAX, 0, "claimed body of 4 GiB");
    claim(0, UINT32_MAX, "claimed payload of 4 GiB");
    claim(FRAME_BODY_MAX, FRAME_PAYLOAD_MAX, "largest claim before any hello");
    put_le(h + 4, 99, 2); /* wrong version, checksum right */
    put_le(h + 80, hash64(h, 80), 8);
    int fd = dial();
    send_all(fd, h, sizeof(h));
    expect_closed(fd, "wrong protocol version");
    uint8_t out[256];
    fd = dial();
    send_all(fd, out, frame(out, OP_getattr, "\x91\x01", 2));
    expect_closed(fd, "an operation before hello");
    for (unsigned seed = 1; seed <= 4; seed++) {
        every_op(seed);
    }
    fd = dial();
    say_hello(fd); /* it still serves friends */
    close(fd);
    /* Many connections that only wait, and then nothing. */
    int fds[200];
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        fds[i] = dial();
        send_all(fds[i], h, 10);
    }
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        close(fds[i]);
    }
    return failures ? 1 : 0;
}
