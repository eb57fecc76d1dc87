/* server_cmd.c - drain, undrain and maintenance of chunkservers.
 *
 * SERVER is a number, HOST:PORT or a host label; a label of several chunkservers means all of them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "deploy/gfsctl/server_cmd.h"
#include "shared/base/limits.h"

enum { CHOSEN_MAX = 1024, WAIT_STEP_MS = 500 };

struct chosen {
    uint32_t ids[CHOSEN_MAX];
    uint32_t count;
};

static bool is_meant(const struct server *s, const char *name)
{
    uint64_t id;
    if (parse_u64(name, &id)) {
        return s->id == id;
    }
    return bytes_equal(s->addr, bytes_str(name)) || bytes_equal(s->host, bytes_str(name));
}

/* The servers that `name` means: 0, or EXIT_FAILED after a sentence. */
static int choose(struct session *s, const char *name, struct chosen *out)
{
    union op_any req = {0}, rep;
    if (session_ask_or_say(s, OP_status, &req, &rep, 0, "status") != 0) {
        return EXIT_FAILED;
    }
    struct reader r = reader_of(rep.status_rep.servers);
    out->count = 0;
    while (!reader_done(&r) && out->count < CHOSEN_MAX) {
        struct server_status one;
        dec_server_status(&r, &one);
        if (r.err == 0 && is_meant(&one.server, name)) {
            out->ids[out->count++] = one.server.id;
        }
    }
    return out->count > 0 ? 0 : say("no chunkserver is %s: gfsctl status lists them", name);
}

const char *server_state_text(const struct server_status *v, char out[STATE_TEXT])
{
    char left[SIZE_TEXT];
    int n = snprintf(out, STATE_TEXT, "%s", v->alive ? "alive" : "dead");
    if (v->drained) {
        n += snprintf(out + n, (size_t)(STATE_TEXT - n), ", drained: may be switched off");
    } else if ((v->draining || v->failing != 0) && v->member_of == UINT64_MAX) {
        n += snprintf(out + n, (size_t)(STATE_TEXT - n), ", draining");
    } else if (v->draining || v->failing != 0) {
        n += snprintf(out + n, (size_t)(STATE_TEXT - n), ", draining: %" PRIu64 " chunks left",
                      v->member_of);
    }
    if (v->failing != 0) {
        n += snprintf(out + n, (size_t)(STATE_TEXT - n), ", disk failing");
    }
    if (v->slow) {
        n += snprintf(out + n, (size_t)(STATE_TEXT - n), ", slow");
    }
    if (v->maintenance_ms > 0) {
        snprintf(out + n, (size_t)(STATE_TEXT - n), ", maintenance for %s",
                 time_text(v->maintenance_ms, left));
    }
    return out;
}

void server_state_json(struct json *j, const struct server_status *v)
{
    json_flag(j, "draining", v->draining);
    json_flag(j, "drained", v->drained);
    json_u64(j, "failing", v->failing);
    json_flag(j, "slow", v->slow);
    json_u64(j, "maintenance_ms", v->maintenance_ms);
    if (v->member_of == UINT64_MAX) {
        json_null(j, "member_of");
    } else {
        json_u64(j, "member_of", v->member_of);
    }
    json_u64(j, "stuck", v->stuck);
    json_u64(j, "load", v->load);
    json_u64(j, "disk_us", v->disk_us);
}

static void show(const struct call *c, struct json *list, const struct server_status *v)
{
    char addr[PLAIN_TEXT], text[STATE_TEXT];
    if (!c->json) {
        printf("chunkserver %u at %s: %s\n", v->server.id, plain(v->server.addr, addr),
               server_state_text(v, text));
        if (v->stuck > 0) {
            printf("  no other chunkserver has room for %" PRIu64
                   " of its replicas: add one, or free space\n",
                   v->stuck);
        }
        return;
    }
    json_key(list, NULL);
    json_open(list, '{');
    json_u64(list, "id", v->server.id);
    json_text(list, "addr", v->server.addr);
    server_state_json(list, v);
    json_close(list, '}');
}

/* Asks for the action on one server: 0 and the server after, or EXIT_FAILED after a sentence. */
static int set(struct session *s, uint32_t id, uint32_t action, uint64_t ms, union op_any *rep)
{
    union op_any req = {.server_set_req = {.server = id, .action = action, .duration_ms = ms}};
    return session_ask_or_say(s, OP_server_set, &req, rep, 0, "server") == 0 ? 0 : EXIT_FAILED;
}

static int set_all(struct call *c, const char *name, uint32_t action, uint64_t ms)
{
    struct chosen all;
    struct json list = {false};
    int code = choose(c->session, name, &all);
    if (code != 0) {
        return code;
    }
    if (c->json) {
        json_open(&list, '[');
    }
    for (uint32_t i = 0; i < all.count && code == 0; i++) {
        union op_any rep;
        code = set(c->session, all.ids[i], action, ms, &rep);
        if (code == 0) {
            show(c, &list, &rep.server_set_rep.status);
        }
    }
    if (c->json) {
        json_close(&list, ']');
        putchar('\n');
    }
    return code;
}

/* Until all are drained, or one cannot be. */
static int wait_drained(struct call *c, const char *name)
{
    struct chosen all;
    int code = choose(c->session, name, &all);
    for (uint32_t i = 0; i < all.count && code == 0; i++) {
        union op_any rep;
        while ((code = set(c->session, all.ids[i], SERVER_DRAIN, 0, &rep)) == 0 &&
               !rep.server_set_rep.status.drained) {
            const struct server_status *v = &rep.server_set_rep.status;
            if (v->stuck > 0 && v->stuck == v->member_of) {
                return say("chunkserver %u cannot be emptied: no other one has room for %" PRIu64
                           " of its replicas",
                           v->server.id, v->stuck);
            }
            nanosleep(&(struct timespec){0, WAIT_STEP_MS * 1000000L}, NULL);
        }
    }
    return code;
}

int cmd_drain(struct call *c)
{
    bool wait = take_option(c, "--wait");
    if (c->argc != 1) {
        return EXIT_USAGE;
    }
    if (wait) {
        int code = wait_drained(c, c->argv[0]);
        if (code != 0) {
            return code;
        }
    }
    return set_all(c, c->argv[0], SERVER_DRAIN, 0);
}

int cmd_undrain(struct call *c)
{
    return c->argc == 1 ? set_all(c, c->argv[0], SERVER_UNDRAIN, 0) : EXIT_USAGE;
}

int cmd_maintenance(struct call *c)
{
    uint64_t ms;
    if (c->argc != 2 || !parse_duration(c->argv[1], &ms)) {
        return EXIT_USAGE;
    }
    return set_all(c, c->argv[0], SERVER_MAINTENANCE, ms);
}
