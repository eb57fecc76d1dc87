/* status.c - the state of the cluster, and the checkpoint. */
#include <inttypes.h>
#include <stdio.h>

#include "deploy/gfsctl/masters_cmd.h"
#include "deploy/gfsctl/server_cmd.h"

/* The next chunkserver of the list; false at its end or where it is malformed. */
static bool next_server(struct reader *r, struct server_status *out)
{
    if (reader_done(r)) {
        return false;
    }
    dec_server_status(r, out);
    return r->err == 0;
}

/* ---------------------------------------------------------------- people */

static const char *age_text(uint64_t ms, char out[SIZE_TEXT])
{
    if (ms == UINT64_MAX) {
        return "never";
    }
    snprintf(out, SIZE_TEXT, "%" PRIu64 ".%" PRIu64 "s ago", ms / 1000, ms % 1000 / 100);
    return out;
}

static void print_servers(const struct status_rep *s)
{
    struct reader r = reader_of(s->servers);
    struct server_status v;
    printf("%4s  %-22s %-12s %-12s %9s %9s %9s  %-12s %s\n", "id", "chunkserver", "host", "rack",
           "total", "avail", "chunks", "heartbeat", "state");
    while (next_server(&r, &v)) {
        char addr[PLAIN_TEXT], host[PLAIN_TEXT], rack[PLAIN_TEXT];
        char total[SIZE_TEXT], avail[SIZE_TEXT], age[SIZE_TEXT], state[STATE_TEXT];
        printf("%4u  %-22s %-12s %-12s %9s %9s %9" PRIu64 "  %-12s %s\n", v.server.id,
               plain(v.server.addr, addr), plain(v.server.host, host), plain(v.server.rack, rack),
               bytes_text(v.total, total), bytes_text(v.avail, avail), v.chunks,
               age_text(v.heartbeat_ms, age), server_state_text(&v, state));
    }
}

static void status_print(const struct status_rep *s, const struct masters_seen *masters)
{
    char name[PLAIN_TEXT], addr[PLAIN_TEXT], role[PLAIN_TEXT];
    printf("cluster %s, id %016" PRIx64 "\n", plain(s->name, name), s->cluster);
    printf("master %s, %s, epoch %u, index %" PRIu64 ", committed %" PRIu64 ", checkpoint %" PRIu64
           "\n",
           plain(s->addr, addr), plain(s->role, role), s->epoch, s->index, s->committed,
           s->checkpoint);
    masters_print(masters);
    print_servers(s);
    printf("files %" PRIu64 ", chunks %" PRIu64 ", under-replicated %" PRIu64 ", lost %" PRIu64
           ", garbage replicas %" PRIu64 ", mounts %" PRIu64 "\n",
           s->files, s->chunks, s->under_replicated, s->lost, s->garbage, s->sessions);
    copies_print(s->copies);
    char trash[SIZE_TEXT];
    printf("trash %" PRIu64 " files and directories, %s\n", s->trash_files,
           bytes_text(s->trash_bytes, trash));
}

static void print_warnings(const struct status_rep *s)
{
    struct reader r = reader_of(s->warnings);
    while (!reader_done(&r)) {
        struct bytes text;
        char shown[PLAIN_TEXT];
        dec_text(&r, &text);
        if (r.err == 0) {
            printf("warning: %s\n", plain(text, shown));
        }
    }
}

/* ---------------------------------------------------------------- programs */

static void json_warnings(struct json *j, const struct status_rep *s)
{
    struct reader r = reader_of(s->warnings);
    json_key(j, "warnings");
    json_open(j, '[');
    while (!reader_done(&r)) {
        struct bytes text;
        dec_text(&r, &text);
        if (r.err == 0) {
            json_text(j, NULL, text);
        }
    }
    json_close(j, ']');
}

static void json_server(struct json *j, const struct server_status *v)
{
    json_key(j, NULL);
    fputs("\n  ", stdout);
    json_open(j, '{');
    json_u64(j, "id", v->server.id);
    json_text(j, "addr", v->server.addr);
    json_text(j, "host", v->server.host);
    json_text(j, "rack", v->server.rack);
    json_u64(j, "total", v->total);
    json_u64(j, "avail", v->avail);
    json_u64(j, "chunks", v->chunks);
    if (v->heartbeat_ms == UINT64_MAX) {
        json_null(j, "heartbeat_ms");
    } else {
        json_u64(j, "heartbeat_ms", v->heartbeat_ms);
    }
    json_flag(j, "alive", v->alive);
    server_state_json(j, v);
    json_close(j, '}');
}

static void status_print_json(const struct status_rep *s, const struct masters_seen *masters)
{
    struct reader r = reader_of(s->servers);
    struct server_status v;
    struct json j = {false};
    char cluster[17];
    snprintf(cluster, sizeof(cluster), "%016" PRIx64, s->cluster);
    json_open(&j, '{');
    json_text(&j, "name", s->name);
    json_text(&j, "cluster", bytes_str(cluster));
    masters_json(&j, masters);
    json_key(&j, "chunkservers");
    json_open(&j, '[');
    while (next_server(&r, &v)) {
        json_server(&j, &v);
    }
    json_close(&j, ']');
    json_u64(&j, "files", s->files);
    json_u64(&j, "chunks", s->chunks);
    json_u64(&j, "under_replicated", s->under_replicated);
    json_u64(&j, "lost", s->lost);
    copies_json(&j, s->copies);
    json_u64(&j, "garbage", s->garbage);
    json_u64(&j, "trash_files", s->trash_files);
    json_u64(&j, "trash_bytes", s->trash_bytes);
    json_u64(&j, "sessions", s->sessions);
    json_warnings(&j, s);
    json_u64(&j, "epoch", s->epoch);
    json_u64(&j, "index", s->index);
    json_u64(&j, "committed", s->committed);
    json_u64(&j, "checkpoint", s->checkpoint);
    json_close(&j, '}');
    putchar('\n');
}

/* ---------------------------------------------------------------- commands */

int cmd_status(struct call *c)
{
    union op_any req = {0}, rep;
    if (c->argc != 0) {
        return EXIT_USAGE;
    }
    struct masters_seen masters;
    if (masters_ask(c->session, &masters) != 0 ||
        session_ask_or_say(c->session, OP_status, &req, &rep, 0, "") != 0) {
        return EXIT_FAILED;
    }
    if (c->json) {
        status_print_json(&rep.status_rep, &masters);
    } else {
        status_print(&rep.status_rep, &masters);
        print_warnings(&rep.status_rep);
    }
    return 0;
}
