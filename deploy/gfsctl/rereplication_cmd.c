/* rereplication_cmd.c - copies that are missing, being made, and made. */
#include <inttypes.h>
#include <stdio.h>

#include "deploy/gfsctl/gfsctl.h"

static bool next_class(struct reader *r, struct copy_class *out)
{
    if (reader_done(r)) {
        return false;
    }
    dec_copy_class(r, out);
    return r->err == 0;
}

/* Numbers of chunks by copies, from a list of u64. */
static void copies_of(struct bytes list, uint64_t out[4])
{
    struct reader r = reader_of(list);
    for (int i = 0; i < 4; i++) {
        out[i] = 0;
        if (!reader_done(&r)) {
            dec_u64(&r, &out[i]);
        }
    }
}

void copies_print(struct bytes list)
{
    uint64_t n[4];
    copies_of(list, n);
    printf("chunks with 0 good copies %" PRIu64 ", with 1 %" PRIu64 ", with 2 %" PRIu64
           ", with 3 or more %" PRIu64 "\n",
           n[0], n[1], n[2], n[3]);
}

void copies_json(struct json *j, struct bytes list)
{
    static const char *const names[] = {"copies_0", "copies_1", "copies_2", "copies_3"};
    uint64_t n[4];
    copies_of(list, n);
    for (int i = 0; i < 4; i++) {
        json_u64(j, names[i], n[i]);
    }
}

static const char *reason(struct bytes name)
{
    static const char *const reasons[][2] = {
        {"last_copy", "one copy left"}, {"client", "a writer waits"},
        {"few", "fewer than wanted"},   {"move", "server leaves, or too many"},
        {"balance", "for even disks"},
    };
    for (unsigned i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (bytes_equal(name, bytes_str(reasons[i][0]))) {
            return reasons[i][1];
        }
    }
    return "other";
}

static void print_people(const struct rereplication_rep *p)
{
    struct reader r = reader_of(p->classes);
    struct copy_class c;
    uint64_t left = 0;
    char a[SIZE_TEXT], b[SIZE_TEXT], d[SIZE_TEXT], eta[SIZE_TEXT];
    printf("%-28s %9s %9s %9s %9s %9s %9s\n", "why", "waiting", "bytes", "copying", "bytes", "done",
           "bytes");
    while (next_class(&r, &c)) {
        left += c.waiting_bytes + c.copying_bytes;
        printf("%-28s %9" PRIu64 " %9s %9" PRIu64 " %9s %9" PRIu64 " %9s\n", reason(c.name),
               c.waiting, bytes_text(c.waiting_bytes, a), c.copying, bytes_text(c.copying_bytes, b),
               c.done, bytes_text(c.done_bytes, d));
    }
    copies_print(p->copies);
    printf("left %.2f GB, %.1f MB/s over the last 10 s, ends in %s; share beside clients %u %%\n",
           (double)left / 1e9, (double)p->rate / 1e6,
           p->eta_s == UINT64_MAX ? "unknown time"
                                  : time_text(MIN(p->eta_s, UINT64_MAX / 1000) * 1000, eta),
           p->share);
    if (p->blocked > 0) {
        printf("writers wait for members of %u chunks\n", p->blocked);
    }
    if (p->homeless > 0) {
        printf("warning: %" PRIu64 " chunks lack copies for which there is no chunkserver\n",
               p->homeless);
    }
}

static void print_json(const struct rereplication_rep *p)
{
    struct reader r = reader_of(p->classes);
    struct copy_class c;
    struct json j = {false};
    uint64_t chunks = 0, bytes = 0;
    json_open(&j, '{');
    json_key(&j, "classes");
    json_open(&j, '[');
    while (next_class(&r, &c)) {
        chunks += c.waiting + c.copying;
        bytes += c.waiting_bytes + c.copying_bytes;
        json_key(&j, NULL);
        json_open(&j, '{');
        json_text(&j, "name", c.name);
        json_u64(&j, "waiting", c.waiting);
        json_u64(&j, "waiting_bytes", c.waiting_bytes);
        json_u64(&j, "copying", c.copying);
        json_u64(&j, "copying_bytes", c.copying_bytes);
        json_u64(&j, "done", c.done);
        json_u64(&j, "done_bytes", c.done_bytes);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    copies_json(&j, p->copies);
    json_u64(&j, "left_chunks", chunks);
    json_u64(&j, "left_bytes", bytes);
    json_u64(&j, "bytes_per_second", p->rate);
    if (p->eta_s == UINT64_MAX) {
        json_null(&j, "eta_s");
    } else {
        json_u64(&j, "eta_s", p->eta_s);
    }
    json_u64(&j, "share", p->share);
    json_u64(&j, "blocked", p->blocked);
    json_u64(&j, "homeless", p->homeless);
    json_u64(&j, "begun", p->begun);
    json_u64(&j, "last_copies_begun", p->last_copies);
    json_u64(&j, "last_copy_begun_at", p->last_copy_at);
    json_close(&j, '}');
    putchar('\n');
}

int cmd_rereplication(struct call *c)
{
    union op_any req = {0}, rep;
    if (c->argc != 0) {
        return EXIT_USAGE;
    }
    if (session_ask_or_say(c->session, OP_rereplication, &req, &rep, 0, "") != 0) {
        return EXIT_FAILED;
    }
    if (c->json) {
        print_json(&rep.rereplication_rep);
    } else {
        print_people(&rep.rereplication_rep);
    }
    return 0;
}
