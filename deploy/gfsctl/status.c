/* status.c - prints the state of a cluster. */
#include <inttypes.h>
#include <stdio.h>

#include "deploy/gfsctl/gfsctl.h"
#include "shared/base/limits.h"

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

static const char *bytes_text(uint64_t bytes, char out[32])
{
    static const char units[] = "KMGTPE";
    if (bytes < 1024) {
        snprintf(out, 32, "%" PRIu64 "B", bytes);
        return out;
    }
    double v = (double)bytes / 1024;
    unsigned u = 0;
    while (v >= 1024 && units[u + 1] != 0) {
        v /= 1024;
        u++;
    }
    snprintf(out, 32, "%.1f%c", v, units[u]);
    return out;
}

static const char *age_text(uint64_t ms, char out[32])
{
    if (ms == UINT64_MAX) {
        return "never";
    }
    snprintf(out, 32, "%" PRIu64 ".%" PRIu64 "s ago", ms / 1000, ms % 1000 / 100);
    return out;
}

/* Text of a peer, shown as it is but for what would move the cursor. */
static const char *plain(struct bytes b, char out[ADDR_LEN_MAX + 1])
{
    uint32_t n = b.len < ADDR_LEN_MAX ? b.len : ADDR_LEN_MAX;
    for (uint32_t i = 0; i < n; i++) {
        out[i] = b.data[i] >= ' ' && b.data[i] != 0x7f ? (char)b.data[i] : '?';
    }
    out[n] = 0;
    return out;
}

static void print_servers(const struct status_rep *s)
{
    struct reader r = reader_of(s->servers);
    struct server_status v;
    printf("%4s  %-22s %-12s %-12s %9s %9s %9s  %-12s %s\n", "id", "chunkserver", "host", "rack",
           "total", "avail", "chunks", "heartbeat", "state");
    while (next_server(&r, &v)) {
        char addr[ADDR_LEN_MAX + 1], host[ADDR_LEN_MAX + 1], rack[ADDR_LEN_MAX + 1];
        char total[32], avail[32], age[32];
        printf("%4u  %-22s %-12s %-12s %9s %9s %9" PRIu64 "  %-12s %s\n", v.server.id,
               plain(v.server.addr, addr), plain(v.server.host, host), plain(v.server.rack, rack),
               bytes_text(v.total, total), bytes_text(v.avail, avail), v.chunks,
               age_text(v.heartbeat_ms, age), v.alive ? "alive" : "dead");
    }
}

void status_print(const struct status_rep *s)
{
    char name[ADDR_LEN_MAX + 1], addr[ADDR_LEN_MAX + 1], role[ADDR_LEN_MAX + 1];
    printf("cluster %s, id %016" PRIx64 "\n", plain(s->name, name), s->cluster);
    printf("master %s, %s, epoch %u, index %" PRIu64 ", committed %" PRIu64 ", checkpoint %" PRIu64
           "\n",
           plain(s->addr, addr), plain(s->role, role), s->epoch, s->index, s->committed,
           s->checkpoint);
    print_servers(s);
    printf("files %" PRIu64 ", chunks %" PRIu64 ", under-replicated %" PRIu64 ", lost %" PRIu64
           ", garbage replicas %" PRIu64 ", mounts %" PRIu64 "\n",
           s->files, s->chunks, s->under_replicated, s->lost, s->garbage, s->sessions);
}

/* ---------------------------------------------------------------- programs */

static void json_text(struct bytes b)
{
    putchar('"');
    for (uint32_t i = 0; i < b.len; i++) {
        uint8_t c = b.data[i];
        if (c == '"' || c == '\\') {
            printf("\\%c", c);
        } else if (c < ' ' || c >= 0x7f) {
            printf("\\u%04x", c); /* labels are ASCII; other bytes are shown one by one */
        } else {
            putchar(c);
        }
    }
    putchar('"');
}

static void json_text_member(const char *name, struct bytes value)
{
    printf("\"%s\": ", name);
    json_text(value);
    printf(", ");
}

static void json_server(const struct server_status *v)
{
    printf("{\"id\": %u, ", v->server.id);
    json_text_member("addr", v->server.addr);
    json_text_member("host", v->server.host);
    json_text_member("rack", v->server.rack);
    printf("\"total\": %" PRIu64 ", \"avail\": %" PRIu64 ", \"chunks\": %" PRIu64 ", ", v->total,
           v->avail, v->chunks);
    if (v->heartbeat_ms == UINT64_MAX) {
        printf("\"heartbeat_ms\": null, ");
    } else {
        printf("\"heartbeat_ms\": %" PRIu64 ", ", v->heartbeat_ms);
    }
    printf("\"alive\": %s}", v->alive ? "true" : "false");
}

void status_print_json(const struct status_rep *s)
{
    struct reader r = reader_of(s->servers);
    struct server_status v;
    printf("{");
    json_text_member("name", s->name);
    printf("\"cluster\": \"%016" PRIx64 "\",\n \"masters\": [{", s->cluster);
    json_text_member("addr", s->addr);
    json_text_member("role", s->role);
    printf("\"epoch\": %u, \"index\": %" PRIu64 "}],\n \"chunkservers\": [", s->epoch, s->index);
    for (const char *comma = ""; next_server(&r, &v); comma = ",") {
        printf("%s\n  ", comma);
        json_server(&v);
    }
    printf("],\n \"files\": %" PRIu64 ", \"chunks\": %" PRIu64 ", \"under_replicated\": %" PRIu64
           ", \"lost\": %" PRIu64 ", \"garbage\": %" PRIu64 ", \"sessions\": %" PRIu64 ",\n",
           s->files, s->chunks, s->under_replicated, s->lost, s->garbage, s->sessions);
    printf(" \"epoch\": %u, \"index\": %" PRIu64 ", \"committed\": %" PRIu64
           ", \"checkpoint\": %" PRIu64 "}\n",
           s->epoch, s->index, s->committed, s->checkpoint);
}
