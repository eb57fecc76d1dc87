/* test_grants.c - new versions of chunks: failures, reconciliation, repair, with chunkservers that
 * only keep books. */
#include "tests/unit/master_fixture.h"

#include <check.h>
#include <stdio.h>

static struct fixture *f;
static struct chunk c; /* chunk 0 of the file, as granted last; its members are not kept */
static uint64_t sequence;
static uint64_t first_version; /* under which the primary takes its role by the first write */

static void setup_servers(uint32_t servers)
{
    f = fixture_new(servers);
    sequence = 0;
    fixture_open_session(f);
    struct create_req req = {.parent = ROOT_INO, .name = bytes_str("f"), .mode = 0644};
    struct create_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, create, &req, &rep, ++sequence), 0);
    c = rep.chunk;
    first_version = c.version;
}

static void setup(void)
{
    setup_servers(3);
}

static void setup_four(void)
{
    setup_servers(4);
}

static void setup_one(void)
{
    setup_servers(1);
}

static void teardown(void)
{
    fixture_free(f);
}

static int grant(uint64_t failed_version, uint32_t failed_server, int64_t failed_status)
{
    struct grant_req req = {.ino = c.ino,
                            .failed_version = failed_version,
                            .failed_server = failed_server,
                            .failed_status = failed_status};
    struct grant_rep rep;
    int status = FIXTURE_CALL(f, grant, &req, &rep, 0);
    if (status == 0) {
        c = rep.chunk;
    }
    return status;
}

static struct ns_chunk row(void)
{
    struct ns_chunk k;
    ck_assert_int_eq(ns_chunk_get(f->m->ns, c.ino, 0, &k), 0);
    return k;
}

static bool is_member(uint32_t id)
{
    struct ns_chunk k = row();
    return ns_is_member(&k, id);
}

static struct fake *fake_of(uint32_t id)
{
    return fixture_fake(f, id);
}

/* Every member has the data of mutation `m`, and the size is committed. */
static void write_all(uint64_t m)
{
    struct ns_chunk k = row();
    for (uint32_t i = 0; i < k.member_count; i++) {
        fake_put(fake_of(k.members[i]), &c, m, 100 + m);
    }
    struct extend_req req = {.ino = c.ino, .end = 100};
    struct extend_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, extend, &req, &rep, ++sequence), 0);
    ck_assert(row().bound);
}

static void all_equal_and_active(void)
{
    struct ns_chunk k = row();
    for (uint32_t i = 0; i < k.member_count; i++) {
        struct fake_replica *r = fake_find(fake_of(k.members[i]), c.handle);
        ck_assert_ptr_nonnull(r);
        ck_assert_uint_eq(r->r.version, k.version);
        ck_assert(r->active);
        ck_assert(k.version == first_version || r->primary == (i == 0));
        ck_assert_uint_eq(r->r.digest, fake_find(fake_of(k.members[0]), c.handle)->r.digest);
    }
}

/* A version that can be written is answered without asking anybody. */
START_TEST(live_version_is_answered_at_once)
{
    uint64_t version = c.version;
    write_all(1);
    ck_assert_int_eq(grant(0, 0, 0), 0);
    ck_assert_uint_eq(c.version, version);
    ck_assert_uint_eq(f->fakes[0].prepares, 0);
}
END_TEST

/* A primary that lost its role gets a new version with the same members. */
START_TEST(lost_role_makes_a_version_of_the_same_members)
{
    uint64_t version = c.version;
    write_all(1);
    ck_assert_int_eq(grant(version, c.primary, ERR_NOT_PRIMARY), 0);
    ck_assert_uint_gt(c.version, version);
    ck_assert(!c.fresh);
    ck_assert_uint_eq(row().member_count, 3);
    ck_assert_uint_eq(fake_of(c.primary)->primary_of, 1);
    all_equal_and_active();
}
END_TEST

/* Replicas that got different unanswered writes are made equal to the one that has most. */
START_TEST(different_replicas_copy_from_the_newest)
{
    write_all(1);
    uint32_t ahead = row().members[1];
    fake_put(fake_of(ahead), &c, 2, 102);
    ck_assert_int_eq(grant(c.version, c.primary, ERR_NOT_PRIMARY), 0);
    all_equal_and_active();
    ck_assert_uint_eq(fake_find(fake_of(ahead), c.handle)->r.digest, 102);
    ck_assert_uint_eq(fake_of(ahead)->pulls, 0);
}
END_TEST

/* The first write of a provisional chunk reached only some: the others are made. */
START_TEST(provisional_replicas_are_made)
{
    fake_put(fake_of(c.primary), &c, 1, 101);
    ck_assert_int_eq(grant(c.version, c.primary, ERR_NOT_PRIMARY), 0);
    ck_assert_uint_eq(row().member_count, 3);
    all_equal_and_active();
    ck_assert_uint_eq(fake_find(fake_of(c.primary), c.handle)->r.digest, 101);
}
END_TEST

/* After a power cut a suspect replica with data is worth more than an empty one made in place of
 * one that was never synced. */
START_TEST(suspect_data_beats_a_made_replica)
{
    write_all(1);
    struct ns_chunk k = row();
    for (uint32_t i = 0; i < 3; i++) {
        struct fake *s = fake_of(k.members[i]);
        fake_stop(s);
        if (i == 1) {
            fake_find(s, c.handle)->r.state = REPLICA_SUSPECT;
        } else {
            s->count = 0;
        }
        fake_start(s);
    }
    fixture_run_ms(f, 8000);
    ck_assert_uint_eq(row().member_count, 3);
    all_equal_and_active();
    ck_assert_uint_eq(fake_find(fake_of(k.members[0]), c.handle)->r.digest, 101);
    ck_assert(master_settled(f->m));
}
END_TEST

/* Member 0 is stopped as it is, the others come back from a power cut: their replicas are suspect,
 * or gone. A grant is asked for, and waits. */
static uint32_t only_the_absent_is_whole(bool gone)
{
    write_all(1);
    struct ns_chunk k = row();
    fake_stop(fake_of(k.members[0]));
    for (uint32_t i = 1; i < 3; i++) {
        struct fake *s = fake_of(k.members[i]);
        fake_stop(s);
        struct fake_replica *r = fake_find(s, c.handle);
        r->r.state = REPLICA_SUSPECT;
        r->r.digest = 50;
        s->count = gone ? 0 : s->count;
        fake_start(s);
    }
    struct grant_req req = {.ino = c.ino, .failed_version = c.version};
    ck_assert_int_eq(fixture_call(f, OP_grant, RPC_BODY(grant_req, &req), 0, 2000), -EAGAIN);
    ck_assert_uint_eq(row().version, k.version);
    return k.members[0];
}

/* Replicas that may lack acknowledged bytes wait for the member that is away: it has them. */
START_TEST(absent_member_may_know_better)
{
    for (int gone = 0; gone < 2; gone++) {
        uint32_t whole = only_the_absent_is_whole(gone != 0);
        fake_start(fake_of(whole));
        ck_assert_int_eq(fixture_wait(f, 5000), 0);
        fixture_run_ms(f, 5000);
        ck_assert_uint_eq(row().member_count, 3);
        ck_assert_uint_eq(row().doubt, 0);
        all_equal_and_active();
        ck_assert_uint_eq(fake_find(fake_of(whole), c.handle)->r.digest, 101);
        teardown();
        setup();
    }
}
END_TEST

/* But not for ever: then the chunk goes on with what there is, marked as doubtful. */
START_TEST(absent_member_is_given_up)
{
    uint32_t whole = only_the_absent_is_whole(true);
    ck_assert_int_eq(fixture_wait(f, 15000), 0);
    ck_assert(!is_member(whole));
    ck_assert_uint_eq(row().doubt, row().version);
    all_equal_and_active();
}
END_TEST

/* Of two members one has a write less, that nobody was told of, and the other, from which it copies,
 * turns out to be damaged; the third one is whole. */
static uint32_t damage_shows_in_the_copy(void)
{
    write_all(1);
    struct ns_chunk k = row();
    fake_put(fake_of(k.members[0]), &c, 2, 102);
    fake_put(fake_of(k.members[1]), &c, 2, 102);
    fake_of(k.members[1])->rotten = true;
    return k.members[0];
}

static void all_have_it_for_certain(void)
{
    struct ns_chunk k = row();
    ck_assert_uint_eq(k.member_count, 3);
    ck_assert_uint_eq(k.doubt, 0);
    all_equal_and_active();
    for (uint32_t i = 0; i < 3; i++) {
        const struct fake_replica *r = fake_find(fake_of(k.members[i]), c.handle);
        ck_assert_uint_eq(r->r.digest, 102);
        ck_assert_uint_eq(r->r.state, REPLICA_OK);
    }
}

/* Then the member that a mount complained of is needed still. */
START_TEST(complained_member_has_what_is_damaged)
{
    uint32_t whole = damage_shows_in_the_copy();
    ck_assert_int_eq(grant(c.version, whole, ERR_TIMEOUT), 0);
    ck_assert(is_member(whole));
    all_have_it_for_certain();
}
END_TEST

/* So is one that is to go because there are copies enough. */
START_TEST(member_to_be_removed_has_what_is_damaged)
{
    struct ns_chunk k;
    uint32_t whole = damage_shows_in_the_copy();
    k = row();
    ck_assert(grants_repair(f->m, &k, &(struct repair_action){.remove = whole}));
    fixture_run_ms(f, 1000);
    all_have_it_for_certain();
}
END_TEST

/* So is one that is away: the attempt that met the damage makes no version. */
static uint32_t only_the_absent_is_undamaged(void)
{
    uint32_t whole = damage_shows_in_the_copy();
    uint64_t version = c.version;
    fake_stop(fake_of(whole));
    struct grant_req req = {.ino = c.ino, .failed_version = version};
    ck_assert_int_eq(fixture_call(f, OP_grant, RPC_BODY(grant_req, &req), 0, 2000), -EAGAIN);
    ck_assert(!fake_of(row().members[1])->rotten);
    ck_assert_uint_eq(row().version, version);
    return whole;
}

START_TEST(absent_member_has_what_is_damaged)
{
    fake_start(fake_of(only_the_absent_is_undamaged()));
    ck_assert_int_eq(fixture_wait(f, 5000), 0);
    fixture_run_ms(f, 5000);
    all_have_it_for_certain();
}
END_TEST

START_TEST(damage_that_stays_is_told)
{
    uint32_t whole = only_the_absent_is_undamaged();
    ck_assert_int_eq(fixture_wait(f, 15000), 0);
    ck_assert(!is_member(whole));
    ck_assert_uint_eq(row().doubt, row().version);
}
END_TEST

/* Servers that ran all the time and have no replica show that nothing was acknowledged: a first
 * write does not wait for a member that died before it. */
START_TEST(unwritten_chunk_does_not_wait)
{
    uint32_t away = row().members[0];
    fake_stop(fake_of(away));
    uint64_t before = f->sim->now_ns;
    ck_assert_int_eq(grant(c.version, away, ERR_DISCONNECTED), 0);
    ck_assert_uint_le(f->sim->now_ns - before, 2000 * NS_PER_MS);
    ck_assert(!is_member(away));
    all_equal_and_active();
}
END_TEST

/* A chunk that was granted, never written, and then lay below the file's size is made empty. */
START_TEST(never_written_chunk_is_made_empty)
{
    struct extend_req req = {.ino = c.ino, .end = 100};
    struct extend_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, extend, &req, &rep, ++sequence), 0);
    ck_assert_int_eq(grant(c.version, c.primary, ERR_NO_REPLICA), 0);
    ck_assert_uint_eq(row().member_count, 3);
    all_equal_and_active();
}
END_TEST

/* The same when every server came back since and said that it has nothing: nothing is lost. */
START_TEST(never_written_chunk_is_not_lost)
{
    struct ns_chunk k = row();
    struct extend_req req = {.ino = c.ino, .end = 100};
    struct extend_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, extend, &req, &rep, ++sequence), 0);
    for (uint32_t i = 0; i < k.member_count; i++) {
        fake_stop(fake_of(k.members[i]));
        fake_start(fake_of(k.members[i]));
    }
    fixture_run_ms(f, 5000);
    ck_assert_uint_eq(f->m->repair.chunks_lost, 0);
    ck_assert_uint_eq(row().member_count, 3);
    all_equal_and_active();
    ck_assert(master_settled(f->m));
}
END_TEST

static void tell_sync_of(uint64_t handle)
{
    struct writer w;
    uint64_t number = 0;
    writer_init(&w);
    enc_u64(&w, &number);
    enc_u64(&w, &handle);
    struct extend_req req = {.ino = c.ino, .end = 100, .synced = writer_bytes(&w)};
    struct extend_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, extend, &req, &rep, ++sequence), 0);
    writer_free(&w);
}

/* Every member was written, and says after its return that it has nothing. The last one's replica
 * as it was. */
static struct fake_replica written_and_gone(void)
{
    struct ns_chunk k = row();
    struct fake_replica kept = {0};
    for (uint32_t i = 0; i < k.member_count; i++) {
        struct fake *one = fake_of(k.members[i]);
        fake_put(one, &c, 1, 101);
        kept = *fake_find(one, c.handle);
        fake_stop(one);
        one->count = 0;
        fake_start(one);
    }
    return kept;
}

/* All replicas are gone of a chunk that was synced: nobody makes it anew and empty, it counts as
 * lost. When one comes back it is served again. */
START_TEST(synced_chunk_is_never_made_empty)
{
    tell_sync_of(c.handle);
    struct fake_replica kept = written_and_gone();
    ck_assert_int_eq(grant(c.version, c.primary, ERR_NO_REPLICA), -EIO);
    fixture_run_ms(f, 3000);
    ck_assert_uint_eq(f->m->repair.chunks_lost, 1);
    ck_assert_uint_eq(row().version, first_version);
    struct fake *back = fake_of(row().members[2]);
    fake_stop(back);
    back->replicas[back->count++] = kept;
    fake_start(back);
    fixture_run_ms(f, 20000);
    ck_assert_uint_eq(f->m->repair.chunks_lost, 0);
    ck_assert_uint_eq(row().doubt, 0);
    ck_assert_uint_eq(row().member_count, 3);
    all_equal_and_active();
    ck_assert_uint_eq(fake_find(back, c.handle)->r.length, kept.r.length);
}
END_TEST

/* A server that starts hears which chunks it may have held before: of those it makes no replica by a first
 * write, also if a mount asks for none but that. The version made then has a doubt. */
START_TEST(started_server_hears_what_it_may_have_lost)
{
    ck_assert_uint_le(fake_of(c.primary)->next_handle, c.handle);
    written_and_gone();
    fixture_run_ms(f, 3000);
    ck_assert_int_eq(grant(0, 0, 0), 0);
    ck_assert_uint_eq(c.version, first_version);
    ck_assert(c.fresh);
    for (uint32_t i = 0; i < row().member_count; i++) {
        ck_assert_uint_eq(fake_of(row().members[i])->next_handle, c.handle + 1);
    }
    ck_assert_int_eq(grant(c.version, c.primary, ERR_NO_REPLICA), 0);
    ck_assert_uint_eq(c.doubt, c.version);
    ck_assert_uint_eq(row().member_count, 3);
    all_equal_and_active();
}
END_TEST

/* What is told of another chunk says nothing of this one, though it lies below the size: what was
 * not synced may be gone. */
START_TEST(a_sync_is_told_of_its_chunk)
{
    tell_sync_of(c.handle + 7);
    ck_assert(row().bound && row().fresh);
    written_and_gone();
    ck_assert_int_eq(grant(c.version, c.primary, ERR_NO_REPLICA), 0);
    ck_assert_uint_gt(row().doubt, 0);
    all_equal_and_active();
}
END_TEST

/* A member that fails is left out although it answers the master; it is filled and taken in again
 * later. */
START_TEST(failed_member_leaves_and_returns)
{
    write_all(1);
    uint32_t bad = row().members[2];
    ck_assert_int_eq(grant(c.version, bad, -EIO), 0);
    ck_assert_uint_eq(row().member_count, 2);
    ck_assert(!is_member(bad));
    ck_assert_uint_lt(fake_find(fake_of(bad), c.handle)->r.version, c.version);
    fixture_run_ms(f, 5000);
    ck_assert(is_member(bad));
    all_equal_and_active();
    ck_assert(master_settled(f->m));
    ck_assert_uint_eq(f->m->repair.under_replicated, 0);
}
END_TEST

/* A member that is away is left out only when its lease has certainly ended. */
START_TEST(away_member_is_waited_for)
{
    write_all(1);
    uint32_t away = row().members[0];
    fake_stop(fake_of(away));
    fixture_run_ms(f, 50);
    uint64_t before = f->sim->now_ns;
    ck_assert_int_eq(grant(c.version, away, ERR_DISCONNECTED), 0);
    ck_assert_uint_ge(f->sim->now_ns - before, 700 * NS_PER_MS);
    ck_assert_uint_eq(row().member_count, 2);
    ck_assert(!is_member(away));
    ck_assert_uint_ne(c.primary, away);
    all_equal_and_active();
    /* It comes back with its stale replica, which is refreshed. */
    fake_start(fake_of(away));
    fixture_run_ms(f, 6000);
    ck_assert(is_member(away));
    all_equal_and_active();
}
END_TEST

/* A server that does not answer is cut off until its lease has ended. */
START_TEST(mute_member_is_cut_off)
{
    write_all(1);
    uint32_t mute = row().members[1];
    fake_of(mute)->mute = true;
    ck_assert_int_eq(grant(c.version, c.primary, ERR_NOT_PRIMARY), 0);
    ck_assert(!is_member(mute));
    all_equal_and_active();
}
END_TEST

/* One that is to be filled anew and is a member, still or again, is not left out because it has no time: it may serve. */
START_TEST(member_to_be_filled_is_waited_for)
{
    write_all(1);
    struct ns_chunk k = row();
    uint32_t busy = k.members[1];
    const struct repair_action again = {.add = busy, .source = k.members[0]};
    fake_of(busy)->prepare_status = ERR_BUSY;
    ck_assert(grants_repair(f->m, &k, &again));
    fixture_run_ms(f, 500);
    ck_assert_uint_gt(fake_of(busy)->prepares, 0);
    ck_assert(is_member(busy));
    fake_of(busy)->prepare_status = 0;
    fixture_run_ms(f, 5000);
    ck_assert_uint_eq(row().member_count, 3);
    all_equal_and_active();
}
END_TEST

/* One replica alone is not written while a second one could come back. */
START_TEST(one_replica_of_three_waits)
{
    write_all(1);
    uint32_t a = row().members[1], b = row().members[2];
    fake_stop(fake_of(a));
    fake_stop(fake_of(b));
    struct grant_req req = {.ino = c.ino, .failed_version = c.version};
    ck_assert_int_eq(fixture_call(f, OP_grant, RPC_BODY(grant_req, &req), 0, 5000), -EAGAIN);
    fake_start(fake_of(b));
    ck_assert_int_eq(fixture_wait(f, 5000), 0);
    ck_assert_uint_eq(row().member_count, 2);
    ck_assert(is_member(b));
    all_equal_and_active();
}
END_TEST

/* A full member is replaced as long as there is room elsewhere; then the client is told. */
START_TEST(full_disks_end_in_enospc)
{
    write_all(1);
    uint32_t full = row().members[1];
    for (int i = 0; i < 3; i++) {
        f->fakes[i].avail = 0;
    }
    fixture_run_ms(f, 300);
    ck_assert_int_eq(grant(c.version, full, -ENOSPC), 0);
    ck_assert_uint_eq(row().member_count, 2);
    ck_assert_int_eq(grant(c.version, row().members[1], -ENOSPC), -ENOSPC);
    ck_assert_uint_eq(row().member_count, 2);
    struct create_req req = {.parent = ROOT_INO, .name = bytes_str("g"), .mode = 0644};
    struct create_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, create, &req, &rep, ++sequence), 0);
    ck_assert_uint_eq(rep.chunk.handle, 0); /* an empty file needs no room */
    c.ino = rep.attr.ino;
    ck_assert_int_eq(grant(0, 0, 0), -ENOSPC);
}
END_TEST

/* One member holds a write that nobody was told of, and the others, who hold nothing since the chunk
 * was made, have no room for it: all are made equal to them. */
START_TEST(what_nobody_was_told_of_needs_no_room)
{
    fake_put(fake_of(c.primary), &c, 1, 101);
    for (uint32_t i = 1; i < 3; i++) {
        fake_of(row().members[i])->full = true;
    }
    ck_assert_int_eq(grant(c.version, c.primary, ERR_NOT_PRIMARY), 0);
    all_equal_and_active();
    ck_assert_uint_eq(fake_find(fake_of(c.primary), c.handle)->r.length, 0);
}
END_TEST

/* The same after the others were started again: what they held may be lost, so what is left must be
 * kept. Who asks is told that there is no room, and it goes on when there is. */
START_TEST(no_room_for_what_must_be_kept)
{
    fake_put(fake_of(c.primary), &c, 1, 101);
    for (uint32_t i = 1; i < 3; i++) {
        struct fake *full = fake_of(row().members[i]);
        fake_stop(full);
        fake_start(full);
        full->full = true;
    }
    fixture_run_ms(f, 500);
    ck_assert_int_eq(grant(c.version, c.primary, ERR_NOT_PRIMARY), -ENOSPC);
    for (uint32_t i = 1; i < 3; i++) {
        fake_of(row().members[i])->full = false;
    }
    ck_assert_int_eq(grant(c.version, c.primary, ERR_NOT_PRIMARY), 0);
    all_equal_and_active();
    ck_assert_uint_eq(fake_find(fake_of(c.primary), c.handle)->r.digest, 101);
}
END_TEST

/* A replica that a report shows as suspect is compared with its peers; one that is gone is filled
 * again. */
START_TEST(reports_lead_to_repair)
{
    write_all(1);
    uint32_t a = row().members[1], b = row().members[2];
    fake_stop(fake_of(a));
    fake_stop(fake_of(b));
    fake_find(fake_of(a), c.handle)->r.state = REPLICA_SUSPECT;
    fake_of(b)->count = 0;
    fake_start(fake_of(a));
    fake_start(fake_of(b));
    fixture_run_ms(f, 8000);
    ck_assert_uint_eq(row().member_count, 3);
    all_equal_and_active();
    ck_assert_uint_eq(fake_find(fake_of(a), c.handle)->r.state, REPLICA_OK);
    ck_assert(master_settled(f->m));
}
END_TEST

/* A replica that is lost between the write and the commit of the size is made again. */
START_TEST(replica_lost_before_the_commit)
{
    struct ns_chunk k = row();
    for (uint32_t i = 0; i < 3; i++) {
        fake_put(fake_of(k.members[i]), &c, 1, 101);
    }
    struct fake *lost = fake_of(k.members[1]);
    fake_stop(lost);
    lost->count = 0;
    fake_start(lost);
    fixture_run_ms(f, 3000);
    ck_assert_uint_eq(row().version, k.version);
    ck_assert(master_settled(f->m));
    write_all(1);
    lost->count = 0;
    fixture_run_ms(f, 5000);
    ck_assert_uint_eq(row().member_count, 3);
    all_equal_and_active();
    ck_assert_uint_eq(fake_find(lost, c.handle)->r.digest, 101);
    ck_assert(master_settled(f->m));
}
END_TEST

/* A member that missed a mutation does not know it: coming back it says that its replica is good. */
START_TEST(complaint_outlives_a_report)
{
    write_all(1);
    struct ns_chunk k = row();
    struct fake *away = fake_of(k.members[2]);
    fake_stop(away);
    fixture_run_ms(f, 50);
    for (uint32_t i = 0; i < 2; i++) {
        fake_put(fake_of(k.members[i]), &c, 2, 102);
    }
    struct report_bad_req req = {.handle = c.handle,
                                 .ino = c.ino,
                                 .version = k.version,
                                 .server = away->id,
                                 .block = UINT32_MAX};
    report_bad(f->m, &req, false, "its primary");
    fake_start(away);
    fixture_run_ms(f, 5000);
    ck_assert_uint_eq(row().member_count, 3);
    ck_assert_uint_gt(row().version, k.version);
    all_equal_and_active();
    ck_assert_uint_eq(fake_find(away, c.handle)->r.digest, 102);
    ck_assert(master_settled(f->m));
}
END_TEST

/* After a power cut of all, when only suspect replicas are left, the best of them is accepted. */
START_TEST(only_suspect_replicas)
{
    write_all(1);
    struct ns_chunk k = row();
    for (uint32_t i = 0; i < 3; i++) {
        struct fake *s = fake_of(k.members[i]);
        fake_stop(s);
        fake_find(s, c.handle)->r.state = REPLICA_SUSPECT;
        fake_find(s, c.handle)->r.mutation = 10 + i;
        fake_find(s, c.handle)->r.digest = 50 + i;
        fake_start(s);
    }
    fixture_run_ms(f, 8000);
    ck_assert_uint_eq(row().member_count, 3);
    ck_assert_uint_gt(row().version, k.version);
    all_equal_and_active();
    ck_assert_uint_eq(fake_find(fake_of(k.members[0]), c.handle)->r.digest, 52);
}
END_TEST

/* Replicas prepared by a master that died before it logged the version are still good. */
START_TEST(prepared_but_never_logged)
{
    write_all(1);
    struct ns_chunk k = row();
    for (uint32_t i = 0; i < 3; i++) {
        struct fake_replica *r = fake_find(fake_of(k.members[i]), c.handle);
        r->r.previous = k.version;
        r->r.version = k.version + 5;
        r->active = false;
    }
    fixture_kill_master(f);
    fixture_start_master(f);
    fixture_run_ms(f, 5000);
    ck_assert_uint_eq(row().member_count, 3);
    ck_assert_uint_gt(row().version, k.version + 5);
    all_equal_and_active();
}
END_TEST

/* A version that was logged, and whose activation was lost with the master, is activated by the
 * next one. */
START_TEST(activation_is_repeated)
{
    write_all(1);
    ck_assert_int_eq(grant(c.version, c.primary, ERR_NOT_PRIMARY), 0);
    struct ns_chunk k = row();
    for (uint32_t i = 0; i < 3; i++) {
        struct fake_replica *r = fake_find(fake_of(k.members[i]), c.handle);
        r->active = r->primary = false;
    }
    fixture_kill_master(f);
    fixture_start_master(f);
    fixture_run_ms(f, 3000);
    ck_assert_uint_eq(row().version, k.version);
    all_equal_and_active();
}
END_TEST

/* By the index of the answers a late truncate is told from one that is due (`known` of a write): a master
 * that started anew, and keeps the version, must not say that it knows the chunk of before the trim. */
START_TEST(what_is_known_of_a_chunk_gets_no_older)
{
    write_all(1);
    struct setattr_req cut = {.ino = c.ino, .mask = SETATTR_SIZE, .size = 50};
    struct setattr_rep was_cut;
    ck_assert_int_eq(FIXTURE_CALL(f, setattr, &cut, &was_cut, ++sequence), 0);
    ck_assert_int_eq(grant(0, 0, 0), 0);
    ck_assert_uint_eq(c.trim, 50);
    struct trimmed_req req = {.ino = c.ino, .handle = c.handle, .trim = c.trim, .set = c.trim_set};
    struct trimmed_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, trimmed, &req, &rep, ++sequence), 0);
    uint64_t trimmed_at = f->answer.head.index, version = c.version;
    ck_assert_uint_gt(trimmed_at, 0);
    fixture_run_ms(f, 20000); /* the state has it */
    fixture_kill_master(f);
    fixture_start_master(f);
    fixture_run_ms(f, 5000);
    fixture_connect(f);
    fixture_attach(f);
    ck_assert_int_eq(grant(0, 0, 0), 0);
    ck_assert_uint_eq(c.version, version);
    ck_assert_uint_ge(f->answer.head.index, trimmed_at);
    struct locate_req locate = {.ino = c.ino, .count = 1};
    struct locate_rep located;
    ck_assert_int_eq(FIXTURE_CALL(f, locate, &locate, &located, 0), 0);
    ck_assert_uint_ge(f->answer.head.index, trimmed_at);
}
END_TEST

/* With one server, one replica is enough. */
START_TEST(one_server_is_enough)
{
    ck_assert_uint_eq(row().member_count, 1);
    write_all(1);
    ck_assert_int_eq(grant(c.version, c.primary, ERR_NOT_PRIMARY), 0);
    ck_assert_uint_eq(row().member_count, 1);
    all_equal_and_active();
}
END_TEST

/* A member away for long is replaced by another server; when it returns, its extra replica is
 * removed. */
START_TEST(long_absence_is_repaired_elsewhere)
{
    write_all(1);
    uint32_t away = row().members[1];
    fake_stop(fake_of(away));
    fixture_run_ms(f, 15000);
    ck_assert_uint_eq(row().member_count, 3);
    ck_assert(!is_member(away));
    all_equal_and_active();
    fake_start(fake_of(away));
    fixture_run_ms(f, 5000);
    ck_assert_uint_eq(row().member_count, 3);
    ck_assert(!is_member(away));
    ck_assert_ptr_null(fake_find(fake_of(away), c.handle));
    ck_assert(master_settled(f->m));
}
END_TEST

/* No member holds the chunk any more: the client is told, it does not wait for ever. */
START_TEST(lost_chunk_is_an_error)
{
    write_all(1);
    ck_assert_int_eq(grant(c.version, c.primary, ERR_NOT_PRIMARY), 0);
    for (int i = 0; i < 3; i++) {
        f->fakes[i].count = 0;
    }
    ck_assert_int_eq(grant(c.version, c.primary, ERR_NO_REPLICA), -EIO);
}
END_TEST

/* Disks that fail whatever is asked of them: the repair is tried less and less often, but at once
 * when a server reports anew. */
START_TEST(hopeless_repair_is_tried_seldom)
{
    write_all(1);
    for (int i = 0; i < 3; i++) {
        f->fakes[i].prepare_status = -EIO;
    }
    ck_assert_int_eq(grant(c.version, c.primary, ERR_NOT_PRIMARY), -EIO);
    struct note n = {.handle = c.handle,
                     .ino = c.ino,
                     .version = row().version,
                     .server = row().members[0],
                     .kind = NOTE_SUSPECT};
    notes_set(&f->m->notes, &n);
    uint32_t before = f->fakes[0].prepares;
    fixture_run_ms(f, 120000);
    uint32_t tries = f->fakes[0].prepares - before;
    ck_assert_uint_ge(tries, 4);
    ck_assert_uint_le(tries, 8);

    for (int i = 0; i < 3; i++) {
        f->fakes[i].prepare_status = 0;
    }
    fake_stop(&f->fakes[2]);
    fake_start(&f->fakes[2]);
    fixture_run_ms(f, 3000);
    ck_assert_uint_gt(row().version, c.version);
    ck_assert_uint_eq(f->m->repair.under_replicated, 0);
}
END_TEST

/* The same disk from two live processes: the second one is refused. */
START_TEST(second_process_of_a_disk_is_refused)
{
    struct fake *twin = &f->fakes[3];
    twin->f = f;
    twin->p = sim_process_create(f->sim, "twin");
    twin->disk = f->fakes[0].disk;
    twin->boot = 99;
    snprintf(twin->host, sizeof(twin->host), "twin");
    fake_start(twin);
    fixture_run_ms(f, 1000);
    ck_assert_int_eq(twin->register_status, -EBUSY);
    ck_assert_uint_eq(twin->id, 0);
    ck_assert_ptr_nonnull(servers_get(&f->m->servers, f->fakes[0].id)->peer);
}
END_TEST

/* Readers are kept away from replicas known to be bad, as long as there is another. */
START_TEST(locate_leaves_out_bad_replicas)
{
    write_all(1);
    ck_assert_int_eq(grant(c.version, c.primary, ERR_NOT_PRIMARY), 0);
    struct report_bad_req bad = {.handle = c.handle,
                                 .ino = c.ino,
                                 .version = c.version,
                                 .server = row().members[0],
                                 .block = 3};
    struct report_bad_rep done;
    ck_assert_int_eq(FIXTURE_CALL(f, report_bad, &bad, &done, 0), 0);
    struct locate_req req = {.ino = c.ino, .count = 4};
    struct locate_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, locate, &req, &rep, 0), 0);
    ck_assert_uint_eq(rep.size, 100);
    struct reader r = reader_of(rep.chunks);
    struct chunk k;
    dec_chunk(&r, &k);
    ck_assert(reader_done(&r) && r.err == 0);
    struct reader m = reader_of(k.members);
    int n = 0;
    while (!reader_done(&m)) {
        struct server s;
        dec_server(&m, &s);
        ck_assert_uint_ne(s.id, bad.server);
        n++;
    }
    ck_assert_int_eq(n, 2);
}
END_TEST

static void add(Suite *s, const char *name, void (*before)(void), const TTest *const *tests)
{
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, before, teardown);
    for (; *tests != NULL; tests++) {
        tcase_add_test(t, *tests);
    }
    suite_add_tcase(s, t);
}

/* The best replica is where nobody can copy from: the others have all that was acknowledged. */
START_TEST(source_nobody_reaches_is_left_out)
{
    write_all(1);
    uint32_t ahead = row().members[0];
    fake_find(fake_of(ahead), c.handle)->r.mutation = 2;
    fake_find(fake_of(ahead), c.handle)->r.digest = 777;
    fake_of(ahead)->cut_off = true;
    ck_assert_int_eq(grant(c.version, 0, ERR_MEMBER_FAILED), 0);
    ck_assert(!is_member(ahead));
    ck_assert_uint_eq(row().member_count, 2);
    all_equal_and_active();
    fake_of(ahead)->cut_off = false;
    fixture_run_ms(f, 60000);
    ck_assert(is_member(ahead));
    all_equal_and_active();
}
END_TEST

/* A member that does not hear the others complains of one, and cannot copy from the other: none of
 * these two is to blame. */
START_TEST(who_hears_nobody_is_left_out)
{
    write_all(1);
    uint32_t deaf = row().members[0], one = row().members[1], other = row().members[2];
    fake_of(deaf)->cut_off = true;
    fake_put(fake_of(one), &c, 2, 102);
    fake_put(fake_of(other), &c, 2, 102);
    ck_assert_int_eq(grant(c.version, one, ERR_TIMEOUT), 0);
    ck_assert(!is_member(deaf) && is_member(one) && is_member(other));
    all_equal_and_active();
}
END_TEST

Suite *suite_grants(void);
Suite *suite_grants(void)
{
    const TTest *const three[] = {live_version_is_answered_at_once,
                                  lost_role_makes_a_version_of_the_same_members,
                                  different_replicas_copy_from_the_newest,
                                  provisional_replicas_are_made,
                                  suspect_data_beats_a_made_replica,
                                  absent_member_may_know_better,
                                  absent_member_is_given_up,
                                  complained_member_has_what_is_damaged,
                                  member_to_be_removed_has_what_is_damaged,
                                  absent_member_has_what_is_damaged,
                                  damage_that_stays_is_told,
                                  unwritten_chunk_does_not_wait,
                                  never_written_chunk_is_made_empty,
                                  never_written_chunk_is_not_lost,
                                  synced_chunk_is_never_made_empty,
                                  started_server_hears_what_it_may_have_lost,
                                  a_sync_is_told_of_its_chunk,
                                  failed_member_leaves_and_returns,
                                  away_member_is_waited_for,
                                  mute_member_is_cut_off,
                                  member_to_be_filled_is_waited_for,
                                  source_nobody_reaches_is_left_out,
                                  who_hears_nobody_is_left_out,
                                  one_replica_of_three_waits,
                                  full_disks_end_in_enospc,
                                  what_nobody_was_told_of_needs_no_room,
                                  no_room_for_what_must_be_kept,
                                  reports_lead_to_repair,
                                  replica_lost_before_the_commit,
                                  complaint_outlives_a_report,
                                  only_suspect_replicas,
                                  prepared_but_never_logged,
                                  activation_is_repeated,
                                  what_is_known_of_a_chunk_gets_no_older,
                                  lost_chunk_is_an_error,
                                  hopeless_repair_is_tried_seldom,
                                  second_process_of_a_disk_is_refused,
                                  locate_leaves_out_bad_replicas,
                                  NULL};
    const TTest *const four[] = {long_absence_is_repaired_elsewhere, NULL};
    const TTest *const one[] = {one_server_is_enough, NULL};
    Suite *s = suite_create("grants");
    add(s, "three", setup, three);
    add(s, "four", setup_four, four);
    add(s, "one", setup_one, one);
    return s;
}
