/* masters_cmd.c - the masters of the cluster and who watches them. */
#include "deploy/gfsctl/masters_cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { HAND_OVER_WAIT_MS = 40000 };

static void keep(char to[ADDR_LEN_MAX + 1], struct bytes text)
{
    memcpy(to, text.data, text.len);
    to[text.len] = 0;
}

int masters_ask(struct session *s, struct masters_seen *out)
{
    union op_any req = {0}, rep;
    if (session_ask_or_say(s, OP_masters, &req, &rep, 0, "") != 0) {
        return EXIT_FAILED;
    }
    const struct masters_rep *r = &rep.masters_rep;
    struct reader list = reader_of(r->masters);
    *out = (struct masters_seen){.monitor_ms = r->monitor_ms, .watched = r->watched};
    keep(out->monitor, r->monitor);
    while (out->count < MASTERS_SEEN_MAX && !reader_done(&list)) {
        struct master_seen *one = &out->all[out->count];
        dec_master_status(&list, &one->status);
        if (list.err == 0) {
            keep(one->addr, one->status.addr);
            out->count++;
        }
    }
    return 0;
}

static const char *role_text(uint32_t role)
{
    static const char *const names[] = {"unknown", "primary", "shadow", "logger", "starting"};
    return role < COUNT_OF(names) ? names[role] : names[0];
}

/* How old what it tells is. */
static void print_age(const struct master_status *v)
{
    char age[SIZE_TEXT];
    if (v->role == MASTER_PRIMARY) {
        fputs(", current", stdout);
    } else if (v->age_ms == UINT64_MAX) {
        fputs(", age not known", stdout);
    } else {
        printf(", as of %s ago", time_text(v->age_ms, age));
    }
}

void masters_print(const struct masters_seen *m)
{
    char shown[PLAIN_TEXT], age[SIZE_TEXT];
    for (uint32_t i = 0; m->count > 1 && i < m->count; i++) {
        const struct master_status *v = &m->all[i].status;
        printf("  %s, ", plain(bytes_str(m->all[i].addr), shown));
        if (v->role == 0) {
            puts("away");
            continue;
        }
        printf("%s, epoch %u, log to %" PRIu64 ", committed %" PRIu64 ", index %" PRIu64,
               role_text(v->role), v->epoch, v->durable, v->committed, v->applied);
        print_age(v);
        if (v->unreadable > 0) {
            printf(", %" PRIu64 " RECORDS OF ITS LOG UNREADABLE", v->unreadable);
        }
        putchar('\n');
    }
    if (m->monitor[0] != 0) {
        printf("monitor %s, %s, heard of %s ago\n", plain(bytes_str(m->monitor), shown),
               m->watched ? "holds the lock" : "WITHOUT THE LOCK", time_text(m->monitor_ms, age));
    }
}

static void json_monitor(struct json *j, const struct masters_seen *m)
{
    if (m->monitor[0] == 0) {
        json_null(j, "monitor");
        return;
    }
    json_key(j, "monitor");
    json_open(j, '{');
    json_text(j, "addr", bytes_str(m->monitor));
    json_flag(j, "watched", m->watched);
    json_u64(j, "heard_ms", m->monitor_ms);
    json_close(j, '}');
}

void masters_json(struct json *j, const struct masters_seen *m)
{
    json_key(j, "masters");
    json_open(j, '[');
    for (uint32_t i = 0; i < m->count; i++) {
        const struct master_status *v = &m->all[i].status;
        json_key(j, NULL);
        json_open(j, '{');
        json_text(j, "addr", bytes_str(m->all[i].addr));
        json_text(j, "role", bytes_str(role_text(v->role)));
        json_u64(j, "epoch", v->epoch);
        json_u64(j, "index", v->applied);
        json_u64(j, "committed", v->committed);
        json_u64(j, "log", v->durable);
        json_u64(j, "unreadable", v->unreadable);
        if (v->age_ms == UINT64_MAX) {
            json_null(j, "age_ms");
        } else {
            json_u64(j, "age_ms", v->age_ms);
        }
        json_close(j, '}');
    }
    json_close(j, ']');
    json_monitor(j, m);
}

/* ---------------------------------------------------------------- handover */

static bool has_primary(const struct masters_seen *m)
{
    bool any = false;
    for (uint32_t i = 0; i < m->count; i++) {
        any |= m->all[i].status.role == MASTER_PRIMARY;
    }
    return any;
}

int cmd_handover(struct call *c)
{
    union op_any req = {0}, rep;
    struct masters_seen masters;
    char addr[PLAIN_TEXT];
    if (c->argc != 0) {
        return EXIT_USAGE;
    }
    if (masters_ask(c->session, &masters) != 0) {
        return EXIT_FAILED;
    }
    if (!has_primary(&masters)) {
        return say("no master is the primary: there is nothing to hand over");
    }
    if (masters.monitor[0] == 0 || !masters.watched) {
        return say("no monitor watches the master: nobody would replace it, or start it again");
    }
    struct session *monitor = session_new(masters.monitor);
    if (monitor == NULL) {
        return say("the monitor's address is none: %s", plain(bytes_str(masters.monitor), addr));
    }
    int code = session_ask(monitor, OP_handover, &req, &rep, HAND_OVER_WAIT_MS);
    const struct handover_rep *r = &rep.handover_rep;
    if (code == ERR_BUSY) {
        (void)say("monitor %s: a promotion or another hand-over is under way: ask again",
                  plain(bytes_str(masters.monitor), addr));
    } else if (code != 0) {
        (void)say("monitor: %s", session_error(monitor));
    }
    if (code == 0 && c->json) {
        struct json j = {false};
        json_open(&j, '{');
        json_text(&j, "primary", r->primary);
        json_u64(&j, "epoch", r->epoch);
        json_u64(&j, "took_ms", r->took_ms);
        json_close(&j, '}');
        putchar('\n');
    } else if (code == 0) {
        printf("master %s serves in epoch %u, after %" PRIu64 " ms\n", plain(r->primary, addr),
               r->epoch, r->took_ms);
    }
    session_free(monitor);
    return code == 0 ? 0 : EXIT_FAILED;
}
