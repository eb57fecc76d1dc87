/* world_trace.c - records and frames as lines of a trace. */
#include "tests/sim/world.h"

#include <string.h>

enum { ROOM = 512, LITTLE_ROOM = 90 };

/* A printer for what is shown, or only tried. */
static struct printer printer_of(const struct world *w, char text[ROOM])
{
    text[0] = 0;
    return (struct printer){text, w->trace ? ROOM : LITTLE_ROOM};
}

/* Whatever it holds, what is printed is one line. */
static void check_text(struct world *w, const char *text)
{
    for (const char *c = text; *c != 0; c++) {
        if (*c < ' ' || *c > '~') {
            world_fail(w, "what is printed is no text: %s", text);
        }
    }
    if (!w->trace && strlen(text) >= LITTLE_ROOM) {
        world_fail(w, "what is printed is too long: %s", text);
    }
}

void world_say_record(void *owner, const struct record *r)
{
    char text[ROOM];
    struct printer p = printer_of(owner, text);
    union op_any rec;
    const struct op_info *info = op_info_of(r->type);
    memset(&rec, 0, sizeof(rec));
    if (info != NULL && info->rec_decode(r->body, &rec) == 0) {
        info->rec_print(&p, &rec);
        check_text(owner, text);
    }
    world_say(owner, "record %llu session %llu sequence %llu: %s %s", (unsigned long long)r->index,
              (unsigned long long)r->session, (unsigned long long)r->sequence, op_name(r->type),
              text);
}

void world_say_frame(struct sim *s, const struct sim_process *from, const struct sim_process *to,
                     const struct message *m)
{
    char text[ROOM];
    struct printer p = printer_of(s->owner, text);
    union op_any any;
    const struct op_info *info = op_info_of(m->head.op);
    bool reply = m->head.flags & FRAME_REPLY;
    memset(&any, 0, sizeof(any));
    if (info == NULL || m->head.op == OP_heartbeat || m->head.op == OP_session_renew ||
        m->head.op == OP_log_assure || m->head.op == OP_health || m->head.op == OP_master_lease) {
        return;
    }
    int err = (reply ? info->rep_decode : info->req_decode)(slice_bytes(&m->body), &any);
    if (err == 0) {
        (reply ? info->rep_print : info->req_print)(&p, &any);
        check_text(s->owner, text);
    }
    world_say(s->owner, "  %s -> %s #%llu %s %s%s [%u]", from ? from->name : "?", to->name,
              (unsigned long long)m->head.request_id, reply ? "answer" : "asks",
              reply && m->head.status != 0 ? err_name(m->head.status) : "", text, m->payload.len);
}
