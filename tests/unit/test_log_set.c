/* test_log_set.c - one log on several machines: what is acknowledged stays, whoever dies, is cut off
 * or stops, and whoever takes over. */
#include "master/core/oplog_cursor.h"
#include "master/core/oplog_internal.h"
#include "tests/sim/sim_net.h"
#include "tests/unit/log_cluster.h"
#include "tests/unit/unit.h"

#include <stdio.h>

static struct log_cluster *c;

static void begin(uint32_t count, uint32_t acks)
{
    c = log_cluster_create(1, count, acks);
}

static void teardown(void)
{
    log_cluster_free(c);
}

/* Master 0 is primary, with some records. */
static struct log_master *begin_with_primary(uint32_t count, uint32_t acks)
{
    begin(count, acks);
    struct log_master *m = &c->masters[0];
    log_master_promote(m);
    log_cluster_run(c, 500);
    ck_assert(m->serving);
    log_master_append(m, 20, 500);
    ck_assert(log_cluster_equal(c, 3000));
    return m;
}

/* All that goes from and to the others is held back. */
static void isolate(struct log_master *m, uint64_t ms)
{
    for (uint32_t i = 0; i < c->count; i++) {
        if (i != m->number) {
            sim_net_block(c->sim, m->process, c->masters[i].process, ms * NS_PER_MS);
            sim_net_block(c->sim, c->masters[i].process, m->process, ms * NS_PER_MS);
        }
    }
}

START_TEST(records_are_on_all_logs)
{
    struct log_master *m = begin_with_primary(3, 2);
    ck_assert(replicate_open(m->replicate));
    log_master_append(m, 500, 3000);
    ck_assert(log_cluster_equal(c, 5000));
    ck_assert_uint_eq(c->acknowledged_to, oplog_last(m->log));
    for (uint32_t i = 1; i < 3; i++) {
        struct replicate_state state = replicate_state(m->replicate, i);
        ck_assert(state.in_step);
        ck_assert_uint_eq(state.durable, oplog_last(m->log));
        ck_assert_uint_lt(state.age_ms, 500);
    }
    log_cluster_check(c);
}
END_TEST

START_TEST(one_of_three_may_be_away)
{
    struct log_master *m = begin_with_primary(3, 2);
    log_master_end(&c->masters[2], true);
    log_master_append(m, 300, 2000);
    log_cluster_run(c, 8000);
    ck_assert_uint_eq(c->acknowledged_to, oplog_last(m->log));
    ck_assert(replicate_open(m->replicate));
    ck_assert(!replicate_state(m->replicate, 2).in_step);
    struct writer w;
    writer_init(&w);
    replicate_warnings(m->replicate, &w);
    ck_assert_uint_gt(w.len, 0);
    writer_free(&w);
    log_master_start(&c->masters[2]);
    ck_assert(log_cluster_equal(c, 5000));
    log_cluster_check(c);
}
END_TEST

START_TEST(nothing_is_committed_by_one_alone)
{
    struct log_master *m = begin_with_primary(3, 2);
    uint64_t before = c->acknowledged_to;
    isolate(m, 60000);
    log_master_append(m, 10, 100);
    log_cluster_run(c, 3000);
    ck_assert_uint_eq(c->acknowledged_to, before);
    ck_assert(m->serving);
    log_cluster_run(c, 1500);
    ck_assert(!replicate_open(m->replicate));
    log_cluster_run(c, 3000); /* too long: it has ended */
    ck_assert(m->replicate == NULL);
    sim_net_heal(c->sim);
    ck_assert(log_cluster_settle(c, 20000));
    ck_assert(log_cluster_equal(c, 5000));
    log_cluster_check(c);
}
END_TEST

START_TEST(all_may_be_asked_for)
{
    struct log_master *m = begin_with_primary(3, 3);
    uint64_t before = c->acknowledged_to;
    log_master_end(&c->masters[1], false);
    log_master_append(m, 10, 100);
    log_cluster_run(c, 3000);
    ck_assert_uint_eq(c->acknowledged_to, before);
    log_master_start(&c->masters[1]);
    ck_assert(log_cluster_equal(c, 5000));
    ck_assert_uint_gt(c->acknowledged_to, before);
}
END_TEST

START_TEST(another_history_is_cut_when_its_master_is_back)
{
    struct log_master *m = begin_with_primary(3, 2);
    isolate(m, 60000);
    log_master_append(m, 200, 1000);
    log_cluster_run(c, 200);
    uint64_t left_behind = oplog_last(m->log);
    log_cluster_run(c, 7000);
    log_master_promote(&c->masters[1]);
    log_cluster_run(c, 2000);
    ck_assert(c->masters[1].serving);
    log_master_append(&c->masters[1], 30, 100);
    log_cluster_run(c, 1000);
    ck_assert_uint_ge(oplog_last(m->log), left_behind);
    sim_net_heal(c->sim);
    ck_assert(log_cluster_equal(c, 20000));
    ck_assert_uint_lt(oplog_last(m->log), left_behind);
    log_cluster_check(c);
}
END_TEST

/* A primary that is well yields when another is to take over: nothing is lost, and no lease is
 * waited for. */
START_TEST(a_primary_yields)
{
    struct log_master *m = begin_with_primary(3, 2);
    log_master_append(m, 50, 1000);
    log_master_promote(&c->masters[2]);
    log_cluster_run(c, 1500);
    ck_assert(c->masters[2].serving);
    ck_assert(m->replicate == NULL);
    ck_assert(log_cluster_equal(c, 3000));
    log_cluster_check(c);
}
END_TEST

/* The candidate lacks what was acknowledged while it was away. */
START_TEST(a_candidate_gets_what_it_lacks)
{
    struct log_master *m = begin_with_primary(3, 2);
    log_master_end(&c->masters[1], false);
    log_master_append(m, 400, 3000);
    log_cluster_run(c, 3000);
    uint64_t acknowledged = c->acknowledged_to;
    ck_assert_uint_eq(acknowledged, oplog_last(m->log));
    log_master_end(m, true);
    log_master_start(&c->masters[1]);
    log_cluster_run(c, 6000);
    log_master_promote(&c->masters[1]);
    log_cluster_run(c, 3000);
    ck_assert(c->masters[1].serving);
    ck_assert_uint_gt(oplog_last(c->masters[1].log), acknowledged);
    log_master_start(m);
    ck_assert(log_cluster_equal(c, 5000));
    log_cluster_check(c);
}
END_TEST

/* Of three logs one alone decides nothing, and says so after a while: also where all must have a record,
 * so that each knows all that is committed, or two could be primary of one epoch. */
START_TEST(a_master_alone_is_not_promoted)
{
    begin_with_primary(3, 2 + (uint32_t)_i);
    log_master_end(&c->masters[0], false);
    log_master_end(&c->masters[2], false);
    uint32_t promised = oplog_epoch(c->masters[1].log);
    log_master_promote(&c->masters[1]);
    log_cluster_run(c, PROMOTION_MS + 1000);
    ck_assert_int_eq(c->masters[1].promotion_status, ERR_TIMEOUT);
    ck_assert_uint_eq(oplog_epoch(c->masters[1].log), promised); /* it troubles nobody later */
    log_master_start(&c->masters[0]);
    log_master_start(&c->masters[2]);
    ck_assert(log_cluster_settle(c, 20000));
}
END_TEST

START_TEST(an_epoch_that_was_promised_is_stale)
{
    begin_with_primary(3, 2);
    log_master_promote(&c->masters[1]);
    log_cluster_run(c, 3000);
    ck_assert(c->masters[1].serving);
    promotion_start(c->masters[2].promotion, c->epoch, 9999, 0);
    log_cluster_run(c, 500);
    ck_assert_int_eq(c->masters[2].promotion_status, ERR_STALE_EPOCH);
    ck_assert_uint_eq(c->masters[2].promotion_stale, c->epoch);
    ck_assert(c->masters[1].serving);
}
END_TEST

/* The segment that takes appends is looked through when a log is opened: what is missing in it comes
 * from the others, and the records behind it are kept meanwhile. */
START_TEST(a_log_damaged_in_the_middle_is_mended)
{
    struct log_master *m = begin_with_primary(3, 2);
    log_master_append(m, 30, 500);
    log_cluster_run(c, 500);
    log_master_append(m, 3, 500);
    ck_assert(log_cluster_equal(c, 3000));
    uint64_t last = oplog_last(m->log);
    for (uint64_t index = last - 1; index > last - 30; index -= 9) {
        struct log_master *o = &c->masters[1 + index % 2];
        log_master_end(o, index % 2 == 0);
        log_master_rot(o, index);
        log_master_append(m, 1, 100);
        log_master_start(o);
        ck_assert(log_cluster_equal(c, 5000));
        log_cluster_check(c);
    }
}
END_TEST

/* What was behind its last record is decided first: that one is cut off there, and mended then. */
START_TEST(a_log_damaged_in_the_middle_and_at_its_end_is_mended)
{
    struct log_master *m = begin_with_primary(3, 2);
    struct log_master *o = &c->masters[1];
    log_master_append(m, 30, 500);
    log_cluster_run(c, 500);
    log_master_append(m, 3, 500);
    ck_assert(log_cluster_equal(c, 3000));
    uint64_t last = oplog_last(m->log);
    log_master_end(o, true);
    log_master_rot(o, last);
    log_master_rot(o, last - 12);
    log_master_append(m, 1, 100);
    log_master_start(o);
    ck_assert(oplog_damaged(o->log));
    ck_assert_uint_lt(oplog_last(o->log), last);
    ck_assert(log_cluster_equal(c, 5000));
    log_cluster_check(c);
}
END_TEST

START_TEST(a_damaged_log_is_mended_before_its_master_takes_over)
{
    struct log_master *m = begin_with_primary(3, 2);
    struct log_master *o = &c->masters[1];
    log_master_append(m, 30, 500);
    log_cluster_run(c, 500);
    log_master_append(m, 3, 500);
    ck_assert(log_cluster_equal(c, 3000));
    log_master_end(m, true);
    log_master_end(o, true);
    log_master_rot(o, c->acknowledged_to - 2);
    log_master_start(o);
    log_master_promote(o);
    log_cluster_run(c, 8000);
    ck_assert(o->serving);
    ck_assert(!oplog_damaged(o->log));
    log_master_start(m);
    ck_assert(log_cluster_equal(c, 5000));
    log_cluster_check(c);
}
END_TEST

/* What the disk lost of full segments comes back from the others, at the primary, too. */
START_TEST(full_segments_are_mended)
{
    struct log_master *m = begin_with_primary(3, 2);
    for (int i = 0; i < 5; i++) {
        log_master_append(m, 200, 2000);
        ck_assert(log_cluster_equal(c, 5000));
    }
    for (int i = 0; i < 6; i++) {
        struct log_master *o = &c->masters[i % 3];
        ck_assert(log_master_rot_full(o));
        log_master_append(m, 20, 2000);
        log_cluster_run(c, 3000); /* it is read again, and found */
        ck_assert(log_cluster_equal(c, 5000));
        ck_assert(m->serving);
        log_cluster_check(c);
    }
}
END_TEST

/* What the primary's disk lost of the segment that takes appends cannot be put back yet: who needs later
 * records only gets them. */
START_TEST(rot_does_not_hide_what_follows)
{
    struct log_master *m = begin_with_primary(3, 2);
    struct log_master *third = &c->masters[2];
    log_master_append(m, 10, 500);
    ck_assert(log_cluster_equal(c, 3000));
    log_master_end(third, _i == 0);
    log_master_append(m, 10, 500);
    log_cluster_run(c, 500);
    log_master_rot_now(m, 3);
    log_master_start(third);
    ck_assert(log_cluster_equal(c, 5000));
    ck_assert(m->serving);
}
END_TEST

/* All that it sent and that did not arrive is lost. */
static void start_anew(struct log_master *m)
{
    log_master_end(m, false);
    log_master_start(m);
}

/* Each a batch. */
static void append_some(struct log_master *m, int count)
{
    for (int i = 0; i < count; i++) {
        log_master_append(m, 1, 100);
        log_cluster_run(c, 40);
    }
}

static bool all_readable(struct oplog *l)
{
    struct oplog_cursor *cursor;
    struct oplog_piece piece;
    struct why why;
    MUST(oplog_cursor_open(l, oplog_first(l), &cursor, &why) == 0);
    int rc;
    while ((rc = oplog_cursor_next(cursor, &piece, &why)) == 1) {
    }
    oplog_cursor_close(cursor);
    return rc == 0;
}

/* Its disk lost records of a full segment while it was down, which nobody looks at when the log is opened. */
START_TEST(what_a_candidate_lost_is_had_before_it_takes_office)
{
    struct log_master *m = begin_with_primary(3, 2);
    uint64_t from = oplog_last(m->log) + 2;
    append_some(m, 8);
    log_master_append(m, 200, 8000);
    log_cluster_run(c, 100);
    for (int i = 0; i < 3; i++) {
        log_master_end(&c->masters[i], false);
    }
    for (uint64_t index = from + 2; index >= from; index--) {
        log_master_rot(m, index);
    }
    for (int i = 0; i < 3; i++) {
        log_master_start(&c->masters[i]);
    }
    ck_assert(!oplog_damaged(m->log) &&
              oplog_rot(m->log, (struct log_hole[LOG_HOLES_MAX]){{0}}) == 0);
    ck_assert_uint_lt(oplog_committed(m->log), from);
    log_scrub_stop(&m->scrub); /* it would find them, too */
    log_cluster_run(c, 20);
    uint32_t before = m->promotions_done;
    log_master_promote(m);
    for (int i = 0; i < 200000 && m->promotions_done == before; i++) {
        sim_run_for(c->sim, NS_PER_MS / 20);
    }
    ck_assert_uint_eq(m->promotions_done, before + 1);
    ck_assert_int_eq(m->promotion_status, 0);
    ck_assert(all_readable(m->log));
    ck_assert(log_cluster_equal(c, 10000));
    log_cluster_check(c);
}
END_TEST

/* Master 0 is back with records that nobody else has: it was cut off. */
static struct log_master *begin_with_rival(uint32_t count, uint32_t acks)
{
    struct log_master *m = begin_with_primary(count, acks);
    isolate(m, 60000);
    append_some(m, 8);
    log_cluster_run(c, 8000); /* it has ended */
    return m;
}

/* Until its promotion has succeeded; its first record is on its own disk at most. */
static void promote_alone(struct log_master *m)
{
    log_master_promote(m);
    for (int i = 0; i < 10000 && m->replicate == NULL; i++) {
        log_cluster_run(c, 1);
    }
    ck_assert_ptr_nonnull(m->replicate);
    isolate(m, 60000);
}

/* Records of a history that was overruled may follow what precedes a hole: they are not what was there,
 * and what stands behind it is not given up for them. */
START_TEST(a_hole_is_not_filled_from_another_history)
{
    struct log_master *m = begin_with_rival(3, 2);
    struct log_master *p = &c->masters[1], *o = &c->masters[2];
    log_master_promote(p);
    log_cluster_run(c, 2000);
    ck_assert(p->serving);
    append_some(p, 4);
    uint64_t last = p->opening + 4;
    ck_assert_uint_eq(c->acknowledged_to, last);
    ck_assert_uint_gt(oplog_last(m->log), last);
    log_master_end(p, true);
    log_master_end(o, true);
    log_master_rot(o, last - 4 + (uint64_t)_i);
    log_master_start(o);
    sim_net_heal(c->sim);
    log_cluster_run(c, 5000);
    ck_assert(oplog_damaged(o->log) && oplog_last(o->log) == last);
    log_master_promote(m);
    log_cluster_run(c, 8000);
    ck_assert(!m->serving);
    log_master_start(p);
    ck_assert(log_cluster_settle(c, 60000));
    ck_assert(log_cluster_equal(c, 10000));
    log_cluster_check(c);
}
END_TEST

/* The newest history has a hole, and others have other records there: it ends where they took over. */
START_TEST(a_hole_of_another_history_is_cut)
{
    struct log_master *m = begin_with_rival(3, _i < 6 ? 2 : 3);
    struct log_master *o = &c->masters[1];
    uint64_t before = oplog_last(o->log);
    promote_alone(o);
    append_some(o, 6);
    ck_assert(!o->serving && oplog_last(o->log) == before + 7);
    start_anew(&c->masters[2]);
    ck_assert_uint_le(oplog_last(c->masters[2].log), before + 1); /* the opening may have arrived */
    uint64_t from = before + 2 + (uint64_t)_i % 3;
    log_master_end(o, true);
    if (_i % 2 == 0) { /* a longer one */
        log_master_rot(o, from + 1);
    }
    log_master_rot(o, from);
    log_master_start(o);
    sim_net_heal(c->sim);
    ck_assert(oplog_damaged(o->log));
    log_cluster_run(c, 5000);
    log_master_promote(_i % 6 < 3 ? o : m);
    ck_assert(log_cluster_settle(c, 60000));
    ck_assert(log_cluster_equal(c, 10000));
    log_cluster_check(c);
}
END_TEST

/* Some of what was in the hole may have been acknowledged, and this log one of two that had it: when it is
 * cut it does not forget that. */
START_TEST(a_hole_that_may_be_ours_stays_known)
{
    struct log_master *o = begin_with_primary(3, _i == 0 ? 2 : 3);
    struct log_master *p = &c->masters[1], *third = &c->masters[2];
    log_master_end(third, false);
    append_some(o, 1);
    uint64_t shared = oplog_last(p->log);
    ck_assert_uint_eq(c->acknowledged_to, _i == 0 ? shared : shared - 1);
    isolate(o, 60000);
    append_some(o, 2);
    log_master_end(o, true);
    log_master_rot(o, shared + 1);
    log_master_rot(o, shared);
    log_master_start(o);
    start_anew(p);
    sim_net_heal(c->sim);
    log_master_start(third);
    log_cluster_run(c, 6000);
    ck_assert(oplog_damaged(o->log) && oplog_last(p->log) == shared);
    promote_alone(p);
    log_master_end(third, false);
    sim_net_heal(c->sim);
    for (int i = 0; i < 100000 && oplog_damaged(o->log); i++) {
        sim_run_for(c->sim, NS_PER_MS / 20);
    }
    ck_assert(!oplog_damaged(o->log) && oplog_last(o->log) == shared - 1);
    log_master_end(p, false);
    log_master_end(o, true);
    log_master_start(o);
    log_master_start(third);
    log_cluster_run(c, 5000);
    log_master_promote(_i == 0 ? o : third);
    log_cluster_run(c, 8000);
    ck_assert(_i != 0 || !o->serving);
    log_master_start(p);
    ck_assert(log_cluster_settle(c, 60000));
    ck_assert(log_cluster_equal(c, 10000));
    log_cluster_check(c);
}
END_TEST

/* Nobody has what is missing in the candidate's own log: that history was overruled. Enough others are whole,
 * but no other master can take over. */
START_TEST(a_candidate_gives_up_an_overruled_hole)
{
    struct log_master *m = begin_with_rival(5, 3);
    struct log_master *p = &c->masters[1];
    log_master_promote(p);
    log_cluster_run(c, 2000);
    ck_assert(p->serving);
    append_some(p, 4);
    log_master_end(m, true);
    log_master_rot(m, p->opening + (uint64_t)_i);
    log_master_start(m);
    ck_assert(oplog_damaged(m->log));
    log_master_end(p, true);
    sim_net_heal(c->sim);
    log_cluster_run(c, 5000);
    log_master_promote(m);
    log_cluster_run(c, 10000);
    ck_assert(m->serving);
    log_master_start(p);
    ck_assert(log_cluster_equal(c, 10000));
    log_cluster_check(c);
}
END_TEST

/* A log whose end is unsure is cut there by the primary, or by its own master that takes over. What may have
 * been there is not forgotten before it is back: a death in between, and the only other log that has it
 * being away, must not make it look like a record that never was. */
START_TEST(an_end_that_was_cut_stays_unsure)
{
    struct log_master *m = begin_with_primary(3, 2);
    struct log_master *o = &c->masters[1], *third = &c->masters[2];
    log_master_end(third, false);
    log_cluster_run(c, 500);
    uint64_t before = oplog_last(m->log);
    log_master_append(m, 1, 100);
    while (c->acknowledged_to <= before) {
        log_cluster_run(c, 1);
    }
    log_master_end(m, false); /* it did not say that this is committed */
    log_master_end(o, false);
    log_master_rot(o, before + 1);
    log_master_start(m);
    log_master_start(o);
    ck_assert(oplog_damaged(o->log) && oplog_last(o->log) == before);
    ck_assert_uint_le(oplog_committed(o->log), before);
    log_cluster_run(c, 5000);
    log_master_promote(_i % 2 == 0 ? m : o);
    for (int i = 0; i < 100000 && oplog_damaged(o->log); i++) {
        sim_run_for(c->sim, NS_PER_MS / 20);
    }
    ck_assert(!oplog_damaged(o->log) && oplog_last(o->log) == before);
    log_master_end(m, false);
    log_master_end(o, true);
    log_master_start(o);
    if (_i < 2) {
        log_master_start(third);
        log_cluster_run(c, 5000);
        log_master_promote(_i == 0 ? third : o);
        log_cluster_run(c, 8000);
        ck_assert(!o->serving && !third->serving);
        log_master_start(m);
    } else { /* who has all that may have been there is enough */
        log_master_start(m);
        ck_assert(log_cluster_settle(c, 20000));
        log_master_start(third);
    }
    ck_assert(log_cluster_settle(c, 60000));
    ck_assert(log_cluster_equal(c, 10000));
    log_cluster_check(c);
}
END_TEST

/* Master 0 was cut off with records that nobody else has, some of them in full segments, of which those
 * three were lost by its disk: where nobody looks when the log is opened. */
static struct log_master *begin_with_rotten_rival(void)
{
    struct log_master *m = begin_with_primary(3, 2);
    uint64_t from = oplog_last(m->log) + 2;
    isolate(m, 60000);
    append_some(m, 8);
    for (int i = 0; i < 5; i++) {
        log_master_append(m, 40, 8000);
        log_cluster_run(c, 100);
    }
    log_master_end(m, false);
    for (uint64_t index = from + 2; index >= from; index--) {
        log_master_rot(m, index);
    }
    start_anew(&c->masters[1]); /* what was held back for it is gone */
    start_anew(&c->masters[2]);
    return m;
}

/* Its history is the longest, and nobody can go on from it: it ends in front of what was lost, which was
 * never acknowledged. */
START_TEST(a_history_with_rot_is_cut_before_it)
{
    struct log_master *m = begin_with_rotten_rival();
    log_master_start(m);
    ck_assert(!oplog_damaged(m->log));
    sim_net_heal(c->sim);
    log_cluster_run(c, 6000);
    for (uint32_t i = 1; i < 6 && log_cluster_primary(c) == NULL; i++) {
        log_master_promote(&c->masters[1 + i % 2]);
        log_cluster_run(c, 1000);
    }
    ck_assert_ptr_nonnull(log_cluster_primary(c));
    ck_assert(log_cluster_equal(c, 10000));
    log_cluster_check(c);
}
END_TEST

/* It was overruled, and what was lost lies where the histories part. */
START_TEST(an_overruled_history_with_rot_is_cut)
{
    struct log_master *m = begin_with_rotten_rival();
    struct log_master *p = &c->masters[1];
    log_cluster_run(c, 6000);
    log_master_promote(p);
    log_cluster_run(c, 2000);
    ck_assert(p->serving);
    append_some(p, _i);
    log_master_start(m);
    ck_assert(!oplog_damaged(m->log));
    sim_net_heal(c->sim);
    ck_assert(log_cluster_equal(c, 20000));
    ck_assert(p->serving);
    log_cluster_check(c);
}
END_TEST

static void flip(struct env *env, struct env_file *f, uint64_t at)
{
    uint8_t byte;
    MUST(env_file_read(env, f, at, &byte, 1) == 1);
    byte ^= 0x55;
    MUST(env_file_write(env, f, at, &byte, 1) == 1);
}

/* The header, from which a start learns that it must look, and the first record. */
static void damage_segment(struct log_master *m, uint32_t number)
{
    const struct segment *s = &m->log->segments[number];
    struct env *env = &m->process->env;
    char path[SEGMENT_NAME_BYTES];
    struct env_file *f;
    segment_path(s->first, path);
    MUST(env_file_open(env, path, 0, &f) == 0);
    flip(env, f, 20);
    flip(env, f, segment_unit_offset(s->bytes, 0) + 70);
    env_file_close(env, f);
}

/* The newest record is in one log only, which has a hole that no other log reaches back to: the others
 * go on from that record. */
START_TEST(a_hole_that_checkpoints_have_is_passed)
{
    struct log_master *m = begin_with_primary(3, 2);
    struct log_master *p = &c->masters[1], *third = &c->masters[2];
    log_master_append(m, 1000, 3000);
    ck_assert(log_cluster_equal(c, 10000));
    ck_assert_uint_gt(m->log->segment_count, 4);
    oplog_trim(p->log, p->log->segments[3].first - 1);
    oplog_trim(third->log, third->log->segments[3].first - 1);
    log_cluster_run(c, 2000); /* the commit index of all is on their disks */
    log_master_end(p, false);
    log_master_end(third, false);
    append_some(m, 1);
    uint64_t last = oplog_last(m->log);
    damage_segment(m, 1);
    log_master_end(m, false);
    log_master_start(m);
    log_master_start(p);
    log_master_start(third);
    struct log_answer now = oplog_findings(m->log);
    ck_assert(now.hole_count == 1 && now.tail.index == last);
    ck_assert_uint_eq(oplog_last(p->log), last - 1);
    ck_assert_uint_lt(now.holes[0].to, oplog_first(p->log));
    log_cluster_run(c, 2000);
    log_master_promote(p);
    log_cluster_run(c, 3000);
    ck_assert(p->serving);
    ck_assert_uint_eq(p->opening, last + 1);
}
END_TEST

/* ---------------------------------------------------------------- random histories */

/* One disk of the cluster loses what it stored. What it lost last must be back first. */
static void rot(void)
{
    struct log_master *victim = &c->masters[c->count / 2];
    if (victim->alive && oplog_missing(victim->log) == 0) {
        (void)log_master_rot_full(victim);
    }
}

static void disturb(void)
{
    struct log_master *m = &c->masters[sim_below(&c->rand, c->count)];
    struct log_master *o = &c->masters[sim_below(&c->rand, c->count)];
    uint64_t ms = 50 + sim_below(&c->rand, sim_chance(&c->rand, 1, 4) ? 12000 : 1500);
    switch (sim_below(&c->rand, 11)) {
    case 0:
    case 1:
        if (m->alive) {
            log_master_end(m, sim_chance(&c->rand, 1, 2));
        }
        break;
    case 2:
        if (m->alive) {
            sim_process_pause(m->process, ms * NS_PER_MS);
        }
        break;
    case 3:
        sim_net_block(c->sim, m->process, o->process, ms * NS_PER_MS);
        break;
    case 4:
        isolate(m, ms);
        break;
    case 5:
        (void)sim_net_cut_one(c->sim, &c->rand);
        break;
    case 6:
        if (m->alive && m->replicate == NULL) {
            log_master_promote(m);
        }
        break;
    case 7: /* all machines lose power */
        for (uint32_t i = 0; i < c->count && sim_chance(&c->rand, 1, 4); i++) {
            if (c->masters[i].alive) {
                log_master_end(&c->masters[i], true);
            }
        }
        break;
    case 8:
    case 9:
        rot();
        break;
    default:
        sim_net_heal(c->sim);
        break;
    }
}

static void work(void)
{
    for (uint32_t i = 0; i < c->count; i++) {
        struct log_master *m = &c->masters[i];
        if (m->alive && m->replicate != NULL && !m->deposed && !m->yielding && !m->yielded &&
            oplog_last(m->log) < HISTORY_MAX - 1000 && sim_chance(&c->rand, 3, 4)) {
            uint32_t large = sim_chance(&c->rand, 1, 50) ? 200000 : 300;
            log_master_append(m, (uint32_t)sim_below(&c->rand, large > 300 ? 3 : 30), large);
        }
        if (!m->alive && sim_chance(&c->rand, 1, 12)) {
            log_master_start(m);
        }
    }
}

static void history(uint64_t seed, uint32_t count, uint32_t acks)
{
    c = log_cluster_create(seed, count, acks);
    for (int i = 0; i < 250; i++) {
        work();
        if (sim_chance(&c->rand, 1, 6)) {
            disturb();
        }
        if (sim_chance(&c->rand, 1, 8)) {
            (void)log_cluster_settle(c, 100);
        }
        log_cluster_run(c, 10 + sim_below(&c->rand, 200));
    }
    sim_net_heal(c->sim);
    log_cluster_run(c, 13000); /* who was stopped goes on */
    for (uint32_t i = 0; i < count; i++) {
        if (!c->masters[i].alive) {
            log_master_start(&c->masters[i]);
        }
    }
    bool together = log_cluster_settle(c, 60000) && log_cluster_equal(c, 30000);
    log_cluster_run(c, 3000); /* full segments are read again */
    if (!together || !log_cluster_settle(c, 60000) || !log_cluster_equal(c, 30000)) {
        ck_abort_msg("seed %llu: they do not come together", (unsigned long long)seed);
    }
    log_cluster_check(c);
    if (getenv("LOG_SET_TRACE") != NULL) {
        printf("seed %llu: %u epochs, %u served, %llu records\n", (unsigned long long)seed,
               c->epoch, c->served, (unsigned long long)c->acknowledged_to);
    }
    log_cluster_free(c);
}

START_TEST(histories_of_three)
{
    history((uint64_t)_i + 1, 3, 2);
}
END_TEST

START_TEST(histories_of_five)
{
    history((uint64_t)_i + 1001, 5, 3);
}
END_TEST

START_TEST(histories_where_all_must_have_it)
{
    history((uint64_t)_i + 2001, 3, 3);
}
END_TEST

/* LOG_SET_SEEDS=n: so many histories of each kind. */
static int seeds(int usual)
{
    const char *wanted = getenv("LOG_SET_SEEDS");
    return wanted != NULL ? atoi(wanted) : usual;
}

Suite *suite_log_set(void);
Suite *suite_log_set(void)
{
    Suite *suite = suite_create("log_set");
    TCase *t = tcase_create("events");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_add_test(t, records_are_on_all_logs);
    tcase_add_test(t, one_of_three_may_be_away);
    tcase_add_test(t, nothing_is_committed_by_one_alone);
    tcase_add_test(t, all_may_be_asked_for);
    tcase_add_test(t, another_history_is_cut_when_its_master_is_back);
    tcase_add_test(t, a_primary_yields);
    tcase_add_test(t, a_candidate_gets_what_it_lacks);
    tcase_add_loop_test(t, a_master_alone_is_not_promoted, 0, 2);
    tcase_add_test(t, an_epoch_that_was_promised_is_stale);
    tcase_add_test(t, a_log_damaged_in_the_middle_is_mended);
    tcase_add_test(t, a_log_damaged_in_the_middle_and_at_its_end_is_mended);
    tcase_add_test(t, a_damaged_log_is_mended_before_its_master_takes_over);
    tcase_add_test(t, full_segments_are_mended);
    tcase_add_loop_test(t, rot_does_not_hide_what_follows, 0, 2);
    tcase_add_loop_test(t, a_hole_is_not_filled_from_another_history, 0, 2);
    tcase_add_loop_test(t, a_hole_of_another_history_is_cut, 0, 12);
    tcase_add_loop_test(t, a_hole_that_may_be_ours_stays_known, 0, 2);
    tcase_add_loop_test(t, a_candidate_gives_up_an_overruled_hole, 0, 4);
    tcase_add_loop_test(t, an_end_that_was_cut_stays_unsure, 0, 4);
    tcase_add_test(t, a_history_with_rot_is_cut_before_it);
    tcase_add_loop_test(t, an_overruled_history_with_rot_is_cut, 0, 6);
    tcase_add_test(t, a_hole_that_checkpoints_have_is_passed);
    tcase_add_test(t, what_a_candidate_lost_is_had_before_it_takes_office);
    suite_add_tcase(suite, t);
    t = tcase_create("histories");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, histories_of_three, 0, seeds(12));
    tcase_add_loop_test(t, histories_of_five, 0, seeds(4));
    tcase_add_loop_test(t, histories_where_all_must_have_it, 0, seeds(4));
    suite_add_tcase(suite, t);
    return suite;
}
