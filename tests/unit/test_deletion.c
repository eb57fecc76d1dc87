/* test_deletion.c - what the master removes by itself, and what stops it; and the trash, which gives
 * way when room is needed. */
#include "tests/unit/master_fixture.h"

#include <check.h>

static struct fixture *f;
static uint64_t sequence;
static struct chunk c; /* of the file made last; its members are not kept */

static struct fake *fake_of(uint32_t id)
{
    return fixture_fake(f, id);
}

static struct ns_chunk row(void)
{
    struct ns_chunk k;
    ck_assert_int_eq(ns_chunk_get(f->m->ns, c.ino, 0, &k), 0);
    return k;
}

static uint32_t outsider(void)
{
    struct ns_chunk k = row();
    for (uint32_t id = 1; id <= f->m->servers.highest; id++) {
        if (!ns_is_member(&k, id)) {
            return id;
        }
    }
    ck_abort_msg("all are members");
    return 0;
}

static void make_file(const char *name, uint64_t size)
{
    c = fixture_make_file(f, name, size, &sequence);
    struct writer w;
    writer_init(&w);
    enc_u64(&w, &c.ino);
    struct close_files_req close = {.inodes = writer_bytes(&w)};
    struct close_files_rep closed;
    ck_assert_int_eq(FIXTURE_CALL(f, close_files, &close, &closed, 0), 0);
    writer_free(&w);
}

static int unlink_file(const char *name)
{
    struct unlink_req req = {.parent = ROOT_INO, .name = bytes_str(name)};
    struct unlink_rep rep;
    return FIXTURE_CALL(f, unlink, &req, &rep, ++sequence);
}

static void setup(void)
{
    f = fixture_new(4);
    f->m->cfg.deletion_hold_s = 60;
    sequence = 0;
    struct session_open_req req = {.host = bytes_str("here"), .nonce = 5, .trash = 11};
    struct session_open_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, session_open, &req, &rep, 0), 0);
    f->session = rep.session;
    fixture_attach(f);
    make_file("f", 100);
}

static void teardown(void)
{
    fixture_free(f);
}

static void again(struct fake *k)
{
    fake_stop(k);
    fixture_run_ms(f, 100);
    fake_start(k);
    fixture_run_ms(f, 1500);
}

/* A replica of the file's chunk where none belongs. */
static struct fake_replica *put_extra(struct fake *k, uint64_t version, uint32_t state)
{
    struct chunk old = c;
    old.version = version;
    struct fake_replica *r = fake_put(k, &old, 1, 5);
    r->r.state = state;
    return r;
}

START_TEST(extra_replica_is_set_aside)
{
    struct fake *k = fake_of(outsider());
    put_extra(k, c.version - (_i == 0), REPLICA_OK); /* stale, or more than are wanted */
    again(k);
    ck_assert_ptr_null(fake_find(k, c.handle));
    ck_assert_uint_eq(k->asides, 1);
    ck_assert(master_settled(f->m));
}
END_TEST

/* A copy that begins while the removal is under way makes a replica anew, whatever becomes of it. */
START_TEST(replica_made_behind_a_removal_is_known)
{
    struct ns_chunk k = row();
    uint32_t id = outsider();
    struct fake *extra = fake_of(id);
    put_extra(extra, k.version - 1, REPLICA_OK);
    extra->hold_drops = extra->hold_pulls = true;
    again(extra);
    ck_assert_uint_eq(extra->asides, 1);
    struct repair_action move = {.add = id, .source = k.members[0], .remove = k.members[0]};
    ck_assert(grants_repair(f->m, &k, &move));
    fixture_run_ms(f, 100);
    ck_assert_ptr_nonnull(fake_find(extra, c.handle));
    fake_answer_drop(extra);
    extra->hold_drops = false;
    fixture_run_ms(f, 100);
    ck_assert_int_eq(notes_get(&f->m->notes, c.handle, id, k.version), NOTE_EXTRA);
    grants_cancel_fill(f->m, c.handle);
    fixture_run_ms(f, 10000);
    ck_assert_ptr_null(fake_find(extra, c.handle));
    ck_assert_ptr_null(notes_first(&f->m->notes, c.handle));
}
END_TEST

/* 0: one confirmed copy is too few for a stale replica; 1: two are too few for a current one; 2: two
 * are enough for a stale one. */
START_TEST(only_beside_confirmed_copies)
{
    struct ns_chunk k = row();
    struct fake *extra = fake_of(outsider());
    extra->avail = 0; /* it is not made a member */
    fixture_run_ms(f, 500);
    for (int i = 0; i < (_i == 0 ? 2 : 1); i++) {
        fake_stop(fake_of(k.members[i]));
    }
    fixture_run_ms(f, 1500);
    put_extra(extra, _i == 1 ? row().version : row().version - 1, REPLICA_OK);
    again(extra);
    ck_assert_int_eq(fake_find(extra, c.handle) == NULL, _i == 2);
}
END_TEST

START_TEST(damaged_replica_stays_among_the_last_two)
{
    f->m->cfg.geometry.replicas = 1;
    struct ns_chunk k = row();
    ck_assert(grants_repair(f->m, &k, &(struct repair_action){.remove = k.members[1]}));
    fixture_run_ms(f, 2000);
    k = row();
    ck_assert(grants_repair(f->m, &k, &(struct repair_action){.remove = k.members[1]}));
    fixture_run_ms(f, 2000);
    ck_assert_uint_eq(row().member_count, 1);
    struct fake *extra = fake_of(outsider());
    ck_assert_ptr_null(fake_find(extra, c.handle));
    put_extra(extra, row().version - 1, _i == 0 ? REPLICA_BAD : REPLICA_SUSPECT);
    again(extra);
    ck_assert_ptr_nonnull(fake_find(extra, c.handle));
    fake_find(extra, c.handle)->r.state = REPLICA_OK;
    again(extra);
    ck_assert_ptr_null(fake_find(extra, c.handle));
}
END_TEST

static void put_orphan(struct fake *k, uint64_t handle)
{
    struct chunk gone = {.ino = c.ino + 1000 + handle, .handle = handle, .version = c.version};
    fake_put(k, &gone, 1, 5);
}

/* Moves the next handle beyond `handle`. */
static void give_handles(uint64_t handle)
{
    uint64_t ino = ns_counts(f->m->ns).next_ino;
    union op_any made = {.create_rec = {.parent = ROOT_INO,
                                        .name = bytes_str("given"),
                                        .ino = ino,
                                        .handle = handle,
                                        .version = 1}};
    union op_any removed = {.unlink_rec = {.parent = ROOT_INO, .name = bytes_str("given")}};
    (void)commit_record(f->m, OP_create, &made, NULL, NULL);
    (void)commit_record(f->m, OP_unlink, &removed, NULL, NULL);
}

START_TEST(orphan_goes_if_its_handle_was_given)
{
    struct fake *k = &f->fakes[0];
    uint64_t next = ns_next_handle(f->m->ns);
    put_orphan(k, next);
    put_orphan(k, next + 1);
    give_handles(next);
    again(k);
    ck_assert_ptr_null(fake_find(k, next));
    ck_assert_ptr_nonnull(fake_find(k, next + 1));
}
END_TEST

/* A chunkserver that has no time is asked again. */
START_TEST(orphan_goes_when_there_is_time)
{
    struct fake *k = &f->fakes[0];
    uint64_t next = ns_next_handle(f->m->ns);
    put_orphan(k, next);
    give_handles(next);
    k->drops_busy = 2;
    again(k);
    fixture_run_ms(f, 10000);
    ck_assert_uint_eq(k->drops_busy, 0);
    ck_assert_ptr_null(fake_find(k, next));
    ck_assert_ptr_null(notes_first(&f->m->notes, next));
}
END_TEST

START_TEST(nothing_in_safe_mode)
{
    struct ns_chunk k = row();
    struct fake *extra = fake_of(outsider());
    uint64_t handle = ns_next_handle(f->m->ns);
    give_handles(handle);
    for (int i = 0; i < FAKES_MAX; i++) {
        fake_stop(&f->fakes[i]);
    }
    fixture_run_ms(f, 100);
    fixture_kill_master(f);
    put_orphan(extra, handle);
    fixture_start_master(f);
    fake_start(extra);
    fixture_run_ms(f, 8000);
    ck_assert_ptr_nonnull(fake_find(extra, handle));
    fake_start(fake_of(k.members[1])); /* now every chunk has a confirmed replica */
    fixture_run_ms(f, 3000);
    ck_assert_ptr_null(fake_find(extra, handle));
}
END_TEST

START_TEST(very_many_are_held_back)
{
    struct fake *k = &f->fakes[0];
    uint64_t first = ns_next_handle(f->m->ns);
    for (uint64_t n = 0; n <= DELETIONS_FREE + 100; n++) {
        put_orphan(k, first + n);
    }
    give_handles(first + DELETIONS_FREE + 100);
    again(k);
    fixture_run_ms(f, 20000);
    uint32_t left = k->count;
    ck_assert_uint_gt(left, DELETIONS_FREE);
    ck_assert_uint_ge(f->m->deletion.held_until_ns, 1);
    fixture_run_ms(f, 5000);
    ck_assert_uint_eq(k->count, left);
    fixture_run_ms(f, 60000); /* nobody objected: a thousand a minute */
    ck_assert_uint_eq(k->count, left - DELETIONS_FREE);
    fixture_run_ms(f, 60000);
    ck_assert_uint_le(k->count, 1);
}
END_TEST

/* A server was away when a file went for good: what it reports is named by a record already. */
START_TEST(garbage_is_no_orphan)
{
    struct fake *k = fake_of(row().members[2]);
    const struct chunkserver *s = servers_get(&f->m->servers, row().members[2]);
    ck_assert_int_eq(unlink_file("f"), 0);
    fixture_run_ms(f, 8500);
    ck_assert_uint_eq(ns_counts(f->m->ns).trash, 1);
    fake_stop(k);
    fixture_run_ms(f, 4000);
    ck_assert_uint_eq(ns_counts(f->m->ns).garbage, 1);
    fake_start(k);
    while (!s->reported) {
        fixture_run_ms(f, 1);
    }
    ck_assert_ptr_nonnull(fake_find(k, c.handle));
    ck_assert_uint_eq(s->orphans, 0);
    ck_assert_int_eq(notes_get(&f->m->notes, c.handle, s->id, c.version), NOTE_NONE);
    fixture_run_ms(f, 5000);
    ck_assert_ptr_null(fake_find(k, c.handle));
    ck_assert_uint_eq(ns_counts(f->m->ns).garbage, 0);
}
END_TEST

/* ---------------------------------------------------------------- the trash */

static uint32_t drops(void)
{
    uint32_t n = 0;
    for (int i = 0; i < FAKES_MAX; i++) {
        n += f->fakes[i].drops;
    }
    return n;
}

START_TEST(trash_expires)
{
    ck_assert_int_eq(unlink_file("f"), 0);
    fixture_run_ms(f, 8500);
    ck_assert_uint_eq(ns_counts(f->m->ns).trash, 1);
    ck_assert_uint_eq(drops(), 0);
    fixture_run_ms(f, 4000);
    ck_assert_uint_eq(ns_counts(f->m->ns).trash, 0);
    ck_assert_uint_eq(drops(), 3);
    ck_assert_uint_eq(ns_counts(f->m->ns).garbage, 0);
}
END_TEST

static void all_have(uint64_t avail)
{
    for (int i = 0; i < FAKES_MAX; i++) {
        f->fakes[i].avail = avail;
    }
    for (uint32_t id = 1; id <= f->m->servers.highest; id++) {
        while (servers_get(&f->m->servers, id)->avail != avail) {
            fixture_run_ms(f, 5);
        }
    }
}

/* A full cluster: whoever writes waits for what the trash gives up, and gets ENOSPC only when that
 * is nothing. */
START_TEST(trash_gives_way)
{
    uint64_t before = f->fakes[0].avail;
    make_file("g", 100000);
    ck_assert_int_eq(unlink_file("f"), 0);
    ck_assert_int_eq(unlink_file("g"), 0);
    struct mknod_req req = {.parent = ROOT_INO, .name = bytes_str("n"), .mode = 0644};
    struct mknod_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, mknod, &req, &rep, ++sequence), 0);
    all_have(0);
    struct grant_req grant = {.ino = rep.attr.ino};
    struct grant_rep granted;
    ck_assert_int_eq(fixture_call(f, OP_grant, RPC_BODY(grant_req, &grant), 0, 300), -EAGAIN);
    ck_assert_uint_eq(drops(), 6);
    ck_assert_uint_eq(ns_counts(f->m->ns).trash, 0);
    if (_i == 0) {
        ck_assert_int_eq(fixture_wait(f, 20000), -ENOSPC);
        return;
    }
    all_have(before);
    ck_assert_int_eq(fixture_wait(f, 20000), 0);
    ck_assert_int_eq(grant_rep_decode(slice_bytes(&f->answer.body), &granted), 0);
    ck_assert_uint_ne(granted.chunk.handle, 0);
}
END_TEST

START_TEST(trash_counts_as_available)
{
    struct statfs_req req = {};
    struct statfs_rep before, after;
    make_file("g", 100000);
    ck_assert_int_eq(FIXTURE_CALL(f, statfs, &req, &before, 0), 0);
    ck_assert_int_eq(unlink_file("g"), 0);
    ck_assert_int_eq(FIXTURE_CALL(f, statfs, &req, &after, 0), 0);
    ck_assert_uint_eq(after.total, before.total);
    ck_assert_uint_eq(after.avail, MIN(before.total, before.avail + (100000 + 511) / 512 * 512));
}
END_TEST

Suite *suite_deletion(void);
Suite *suite_deletion(void)
{
    Suite *s = suite_create("deletion");
    TCase *t = tcase_create("deletion");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, extra_replica_is_set_aside, 0, 2);
    tcase_add_test(t, replica_made_behind_a_removal_is_known);
    tcase_add_loop_test(t, only_beside_confirmed_copies, 0, 3);
    tcase_add_loop_test(t, damaged_replica_stays_among_the_last_two, 0, 2);
    tcase_add_test(t, orphan_goes_if_its_handle_was_given);
    tcase_add_test(t, orphan_goes_when_there_is_time);
    tcase_add_test(t, nothing_in_safe_mode);
    tcase_add_test(t, very_many_are_held_back);
    tcase_add_test(t, garbage_is_no_orphan);
    tcase_add_test(t, trash_expires);
    tcase_add_loop_test(t, trash_gives_way, 0, 2);
    tcase_add_test(t, trash_counts_as_available);
    suite_add_tcase(s, t);
    return s;
}
