/* scrub_cmd.c - verification of what chunkservers hold: how far it is, and starting it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "deploy/gfsctl/gfsctl.h"

enum {
    POLL_MS = 250,
    REPAIR_WAIT_MS = 60000, /* without one more block repaired: it will not come right soon */
    AWAY_WAIT_MS = 60000,
};

static bool next_server(struct reader *r, struct scrub_status *out)
{
    if (reader_done(r)) {
        return false;
    }
    dec_scrub_status(r, out);
    return r->err == 0;
}

static uint32_t percent(const struct scrub_state *s)
{
    return s->total == 0 ? 100 : (uint32_t)((double)s->done * 100 / (double)s->total);
}

static bool is_overdue(const struct scrub_state *s)
{
    return s->oldest_ms != UINT64_MAX && s->oldest_ms > s->period_ms + s->period_ms / 2;
}

/* ---------------------------------------------------------------- scrub */

static void print_row(const struct scrub_status *v)
{
    const struct scrub_state *s = &v->state;
    char addr[PLAIN_TEXT], age[SIZE_TEXT], done[SIZE_TEXT], total[SIZE_TEXT], progress[96];
    snprintf(progress, sizeof(progress), "%s of %s (%u%%)%s", bytes_text(s->done, done),
             bytes_text(s->total, total), percent(s), s->forced ? " now" : "");
    printf("%4u  %-22s %9s  %-28s %8" PRIu64 " %8" PRIu64 " %8" PRIu64 "  %s\n", v->server.id,
           plain(v->server.addr, addr),
           s->oldest_ms == UINT64_MAX ? "never" : time_text(s->oldest_ms, age), progress, s->found,
           s->repaired, s->damaged, v->alive ? "" : "away");
}

static void print_warnings(const struct scrub_status *v)
{
    const struct scrub_state *s = &v->state;
    char text[SIZE_TEXT], period[SIZE_TEXT];
    if (v->stalled) {
        printf("warning: the scan of server %u does not advance: %s behind its plan\n",
               v->server.id, time_text(s->late_ms, text));
    }
    if (is_overdue(s)) {
        printf("warning: server %u has replicas not verified for %s; all should be within %s\n",
               v->server.id, time_text(s->oldest_ms, text), time_text(s->period_ms, period));
    }
    if (s->failed > 0) {
        printf("warning: server %u has %" PRIu64 " replicas whose file is missing or failed\n",
               v->server.id, s->failed);
    }
    if (s->disk_errors > 0) {
        printf("warning: the disk of server %u failed %" PRIu64 " operations\n", v->server.id,
               s->disk_errors);
    }
}

static void print_people(const struct scrub_status_rep *rep)
{
    struct reader r = reader_of(rep->servers);
    struct scrub_status v;
    printf("%4s  %-22s %9s  %-28s %8s %8s %8s\n", "id", "chunkserver", "oldest", "this pass",
           "found", "repaired", "damaged");
    while (next_server(&r, &v)) {
        print_row(&v);
    }
    printf("chunks compared %" PRIu64 ", found different %" PRIu64 "\n", rep->compared,
           rep->different);
    r = reader_of(rep->servers);
    while (next_server(&r, &v)) {
        print_warnings(&v);
    }
}

static void json_server(struct json *array, const struct scrub_status *v)
{
    const struct scrub_state *s = &v->state;
    struct json j;
    json_key(array, NULL);
    json_open(&j, '{');
    json_u64(&j, "id", v->server.id);
    json_text(&j, "addr", v->server.addr);
    json_flag(&j, "alive", v->alive);
    json_u64(&j, "pass", s->pass);
    json_flag(&j, "now", s->forced);
    json_u64(&j, "done", s->done);
    json_u64(&j, "total", s->total);
    json_u64(&j, "found", s->found);
    json_u64(&j, "repaired", s->repaired);
    json_u64(&j, "damaged", s->damaged);
    json_u64(&j, "failed", s->failed);
    json_u64(&j, "disk_errors", s->disk_errors);
    if (s->oldest_ms == UINT64_MAX) {
        json_null(&j, "oldest_ms");
    } else {
        json_u64(&j, "oldest_ms", s->oldest_ms);
    }
    json_u64(&j, "period_ms", s->period_ms);
    json_flag(&j, "stalled", v->stalled);
    json_flag(&j, "overdue", is_overdue(s));
    json_close(&j, '}');
}

static void print_programs(const struct scrub_status_rep *rep)
{
    struct reader r = reader_of(rep->servers);
    struct scrub_status v;
    struct json j, array;
    json_open(&j, '{');
    json_key(&j, "chunkservers");
    json_open(&array, '[');
    while (next_server(&r, &v)) {
        json_server(&array, &v);
    }
    json_close(&array, ']');
    json_u64(&j, "compared", rep->compared);
    json_u64(&j, "different", rep->different);
    json_close(&j, '}');
    putchar('\n');
}

static bool ask_status(struct call *c, union op_any *rep)
{
    union op_any req = {.scrub_status_req = {}};
    return session_ask_or_say(c->session, OP_scrub_status, &req, rep, 0, "scrub") == 0;
}

int cmd_scrub(struct call *c)
{
    union op_any rep;
    if (c->argc != 0) {
        return EXIT_USAGE;
    }
    if (!ask_status(c, &rep)) {
        return EXIT_FAILED;
    }
    if (c->json) {
        print_programs(&rep.scrub_status_rep);
    } else {
        print_people(&rep.scrub_status_rep);
    }
    return 0;
}

/* ---------------------------------------------------------------- scrub now */

static bool is_called(const struct scrub_status *v, const char *name)
{
    uint64_t id;
    return (parse_u64(name, &id) && id == v->server.id) ||
           bytes_equal(v->server.addr, bytes_str(name));
}

/* The server of that number or address; strings in *out are not kept. */
static bool find_server(struct call *c, const char *name, struct scrub_status *out)
{
    union op_any rep;
    if (!ask_status(c, &rep)) {
        return false;
    }
    struct reader r = reader_of(rep.scrub_status_rep.servers);
    while (next_server(&r, out)) {
        if (is_called(out, name)) {
            return true;
        }
    }
    (void)say("there is no chunkserver %s", name);
    return false;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int finished(struct call *c, const struct scrub_now_rep *began, const struct scrub_state *s)
{
    uint64_t found = s->found - began->found;
    uint64_t repaired = s->repaired - began->repaired;
    if (c->json) {
        struct json j;
        json_open(&j, '{');
        json_u64(&j, "found", found);
        json_u64(&j, "repaired", repaired);
        json_u64(&j, "damaged", s->damaged);
        json_u64(&j, "failed", s->failed);
        json_close(&j, '}');
        putchar('\n');
    } else {
        printf("found %" PRIu64 ", repaired %" PRIu64 "\n", found, repaired);
    }
    if (s->damaged + s->failed > 0) {
        return say("%" PRIu64 " blocks and %" PRIu64 " replicas are damaged still", s->damaged,
                   s->failed);
    }
    return 0;
}

/* Until the pass has ended and what it found is repaired. */
static int wait_for_end(struct call *c, const char *name, const struct scrub_now_rep *began)
{
    uint64_t repaired = 0, alive_at = now_ms(), moved_at = alive_at;
    for (;;) {
        struct scrub_status v;
        uint64_t now = now_ms();
        if (!find_server(c, name, &v)) {
            return EXIT_FAILED;
        }
        if (v.boot != began->boot) {
            return say("chunkserver %s was started anew: it does not finish this scan", name);
        }
        alive_at = v.alive ? now : alive_at;
        if (now - alive_at > AWAY_WAIT_MS) {
            return say("chunkserver %s is away", name);
        }
        bool ended = v.state.ended >= began->pass;
        bool whole = v.state.damaged + v.state.failed == 0;
        if (!ended || v.state.repaired > repaired) {
            moved_at = now;
            repaired = v.state.repaired;
        }
        if (ended && (whole || now - moved_at > REPAIR_WAIT_MS)) {
            return finished(c, began, &v.state);
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
}

int cmd_scrub_now(struct call *c)
{
    bool wait = take_option(c, "--wait");
    struct scrub_status v;
    union op_any rep;
    if (c->argc != 1) {
        return EXIT_USAGE;
    }
    if (!find_server(c, c->argv[0], &v)) {
        return EXIT_FAILED;
    }
    union op_any req = {.scrub_now_req = {.server = v.server.id}};
    if (session_ask_or_say(c->session, OP_scrub_now, &req, &rep, 0, c->argv[0]) != 0) {
        return EXIT_FAILED;
    }
    struct scrub_now_rep began = rep.scrub_now_rep;
    if (wait) {
        return wait_for_end(c, c->argv[0], &began);
    }
    if (c->json) {
        json_done();
    } else {
        printf("server %u verifies all it holds: see `gfsctl scrub`\n", v.server.id);
    }
    return 0;
}
