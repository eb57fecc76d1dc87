/* trial_log.c - what a promotion, a primary or a transfer does to a log. */
#include "tests/sim/trial_log.h"
#include "master/core/master_internal.h"
#include "shared/base/mem.h"
#include "tests/sim/trial.h"

#include <setjmp.h>
#include <string.h>

enum { CALLS = 30, PATCH_MAX = 1 << 20 };

static struct oplog *log_of(const struct sim_server *s)
{
    return s->master->log;
}

/* One of the next calls fails, or none. */
static void arm(struct sim_server *s, struct sim_rand *r)
{
    s->process->fail_call = sim_chance(r, 2, 3) ? 1 + (uint32_t)sim_below(r, CALLS) : 0;
    s->process->fail_error = sim_chance(r, 1, 4) ? -ENOSPC : -EIO;
}

/* The records as another log has them. False: they are not known for certain, or too many. */
static bool records_of(const struct world *w, uint64_t from, uint64_t to, struct writer *out)
{
    if (to > log_tap_certain(w->tap)) {
        return false;
    }
    for (uint64_t i = from; i <= to; i++) {
        const struct record *known = log_tap_record(w->tap, i);
        if (known == NULL || out->len > PATCH_MAX) {
            return false;
        }
        struct record one = *known;
        uint8_t *bytes = mem_alloc(record_size(&one));
        record_encode(&one, bytes);
        writer_raw(out, bytes, record_size(&one));
        mem_free(bytes);
    }
    return true;
}

static void mend_one(struct sim_server *s, struct sim_rand *r, const struct log_hole *hole,
                     struct writer *records)
{
    struct world *w = s->world;
    struct oplog *l = log_of(s);
    struct why why = {{0}};
    uint64_t chain;
    writer_reset(records);
    if (records_of(w, hole->from, hole->to, records)) {
        arm(s, r);
        int rc = oplog_mend(l, writer_bytes(records), &why);
        s->process->fail_call = 0;
        world_say(w, "records %llu to %llu of %s are mended: %s", (unsigned long long)hole->from,
                  (unsigned long long)hole->to, s->process->name, rc == 0 ? "yes" : why.text);
        bool told =
            rc == 0 && oplog_chain(l, hole->to, &chain, &why) == 0; /* else more is missing */
        if (told && chain != log_tap_record(w->tap, hole->to)->chain) {
            world_fail(w, "record %llu of %s was mended, and is another",
                       (unsigned long long)hole->to, s->process->name);
        }
    }
}

/* What is missing in the middle of the log, as far as reading it shows. */
static uint32_t holes_of(struct oplog *l, struct log_hole out[LOG_HOLES_MAX])
{
    enum { STEP = 16 };
    if (oplog_damaged(l)) {
        struct log_answer now = oplog_findings(l);
        memcpy(out, now.holes, sizeof(now.holes));
        return now.hole_count;
    }
    for (uint64_t i = oplog_first(l); i < oplog_last(l); i += STEP) {
        struct why why;
        uint64_t chain;
        int rc = oplog_chain(l, i, &chain, &why); /* what it meets is noted */
        (void)rc;
    }
    return oplog_rot(l, out);
}

static void mend(struct sim_server *s, struct sim_rand *r, struct writer *records)
{
    struct oplog *l = log_of(s);
    for (uint32_t turn = 0; turn < LOG_HOLES_MAX && oplog_quiet(l); turn++) {
        struct log_hole holes[LOG_HOLES_MAX];
        uint32_t count = holes_of(l, holes);
        if (count == 0) {
            return;
        }
        mend_one(s, r, &holes[sim_below(r, count)], records);
    }
}

static void cut(struct sim_server *s, struct sim_rand *r)
{
    struct oplog *l = log_of(s);
    struct why why = {{0}};
    uint64_t low = MAX(oplog_committed(l), oplog_first(l) - 1);
    if (!oplog_quiet(l) || low >= oplog_last(l)) {
        return;
    }
    uint64_t index = sim_between(r, low, oplog_last(l));
    arm(s, r);
    int rc = oplog_cut(l, index, &why);
    s->process->fail_call = 0;
    world_say(s->world, "the log of %s is cut after %llu: %s", s->process->name,
              (unsigned long long)index, rc == 0 ? "yes" : why.text);
    /* A page of what was to stay may have become unreadable: then it says that it is damaged. */
    bool wrong = !oplog_damaged(l) && (rc == 0 ? oplog_last(l) != index : oplog_last(l) < index);
    if (wrong && log_of(s) == l && rc != -EIO && rc != -ENOSPC) {
        world_fail(s->world, "the log of %s was to be cut after %llu, and ends at %llu",
                   s->process->name, (unsigned long long)index, (unsigned long long)oplog_last(l));
    }
}

static void begin_anew(struct sim_server *s, struct sim_rand *r)
{
    struct world *w = s->world;
    struct why why = {{0}};
    uint64_t index = sim_between(r, 1, MAX(log_tap_certain(w->tap), 1));
    const struct record *at = log_tap_record(w->tap, index);
    if (at == NULL || !oplog_quiet(log_of(s))) {
        return;
    }
    arm(s, r);
    int rc = oplog_begin_at(log_of(s), index, at->epoch, at->chain, &why);
    s->process->fail_call = 0;
    world_say(w, "the log of %s begins anew behind %llu: %s", s->process->name,
              (unsigned long long)index, rc == 0 ? "yes" : why.text);
    server_kill(s, false, 0);
    int err = trial_start(s, &why);
    bool there = err == 0 && oplog_first(log_of(s)) == index + 1 && oplog_joining(log_of(s));
    if ((rc == 0 && !there) || (err < 0 && why.text[0] == '\0')) {
        world_fail(w, "the log of %s began anew behind %llu, and then it %s", s->process->name,
                   (unsigned long long)index, err == 0 ? "does not" : why.text);
    }
}

/* A log that cannot be read after it was changed ends its process. */
void trial_log(struct sim_server *s, struct sim_rand *r)
{
    struct sim *sim = s->world->sim;
    struct writer *records = mem_new(struct writer);
    volatile bool may_die = s->may_die;
    jmp_buf out;
    memcpy(&out, &sim->out, sizeof(out));
    writer_init(records);
    s->may_die = true;
    if (setjmp(sim->out) == 0) {
        mend(s, r, records);
        if (sim_chance(r, 1, 2)) {
            cut(s, r);
        } else {
            begin_anew(s, r);
        }
    } else {
        sim->dying = NULL;
    }
    memcpy(&sim->out, &out, sizeof(out));
    s->may_die = may_die;
    s->process->fail_call = 0;
    writer_free(records);
    mem_free(records);
}
