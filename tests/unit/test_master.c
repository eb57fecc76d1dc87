/* test_master.c - the serving master over the simulator: sessions, mutations, retries, restarts. */
#include "master/core/warming.h"
#include "tests/unit/master_fixture.h"

#include <check.h>
#include <stdio.h>
#include <sys/stat.h>

static struct fixture *f;

static void setup(void)
{
    f = fixture_new(3);
}

static void teardown(void)
{
    fixture_free(f);
}

static int make_dir(const char *name, uint64_t sequence, struct mkdir_rep *rep)
{
    struct mkdir_req req = {.parent = ROOT_INO, .name = bytes_str(name), .mode = 0755};
    return FIXTURE_CALL(f, mkdir, &req, rep, sequence);
}

static int look(const char *name, struct lookup_rep *rep)
{
    struct lookup_req req = {.parent = ROOT_INO, .name = bytes_str(name)};
    return FIXTURE_CALL(f, lookup, &req, rep, 0);
}

static int create_file(const char *name, uint64_t sequence, struct create_rep *rep)
{
    struct create_req req = {.parent = ROOT_INO, .name = bytes_str(name), .mode = 0644};
    return FIXTURE_CALL(f, create, &req, rep, sequence);
}

static uint32_t members(struct bytes list)
{
    struct reader r = reader_of(list);
    uint32_t n = 0;
    while (!reader_done(&r)) {
        struct server s;
        dec_server(&r, &s);
        ck_assert_int_eq(r.err, 0);
        n++;
    }
    return n;
}

/* A file of very many chunks is cut and emptied by several records, others have their turn in between. */
START_TEST(huge_files_are_cut_in_slices)
{
    enum { MANY = 2500 };
    const uint64_t chunk = f->cfg.geometry.chunk_bytes;
    struct create_rep made;
    fixture_open_session(f);
    ck_assert_int_eq(create_file("huge", 1, &made), 0);
    for (uint64_t n = 1; n < MANY; n++) {
        struct grant_req grant = {.ino = made.attr.ino, .number = 2 * n};
        struct grant_rep granted;
        ck_assert_int_eq(FIXTURE_CALL(f, grant, &grant, &granted, 0), 0);
    }
    struct extend_req extend = {.ino = made.attr.ino, .end = 2 * MANY * chunk};
    struct extend_rep extended;
    ck_assert_int_eq(FIXTURE_CALL(f, extend, &extend, &extended, 2), 0);
    uint64_t index = f->m->commit.applied;
    struct setattr_req cut = {
        .ino = made.attr.ino, .mask = SETATTR_SIZE, .size = 2 * 10 * chunk + 5};
    struct setattr_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, setattr, &cut, &rep, 3), 0);
    ck_assert_uint_eq(rep.attr.size, cut.size);
    ck_assert_uint_eq(ns_counts(f->m->ns).chunks, 11);
    ck_assert_uint_ge(f->m->commit.applied - index, 3);
    struct why why;
    ck_assert_msg(master_audit(f->m, &why) == 0, "%s", why.text);
}
END_TEST

/* Nothing is served before hello. */
START_TEST(hello_comes_first)
{
    struct status_req req;
    rpc_close(&f->rpc);
    fixture_connect(f);
    f->session = 0;
    struct status_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, status, &req, &rep, 0), 0);
    ck_assert_uint_eq(rep.files, 1);
    ck_assert_uint_eq(rep.epoch, 1);
}
END_TEST

/* A mutation needs the session of its connection. */
START_TEST(mutation_needs_a_session)
{
    struct mkdir_rep rep;
    f->session = 5;
    ck_assert_int_eq(make_dir("d", 1, &rep), ERR_NO_SESSION);
    f->session = 0;
    fixture_open_session(f);
    ck_assert_int_eq(make_dir("d", 1, &rep), 0);
    fixture_connect(f); /* not attached */
    ck_assert_int_eq(make_dir("e", 2, &rep), ERR_PROTOCOL);
}
END_TEST

/* A repeated mutation is answered as the first time, also after a kill of the master, and applied
 * once. */
START_TEST(retries_are_applied_once)
{
    struct mkdir_rep first, again;
    struct create_rep file, file_again;
    struct lookup_rep found;
    fixture_open_session(f);
    ck_assert_int_eq(make_dir("d", 1, &first), 0);
    ck_assert(S_ISDIR(first.attr.mode));
    ck_assert_int_eq(make_dir("d", 1, &again), 0);
    ck_assert_uint_eq(first.attr.ino, again.attr.ino);
    ck_assert_int_eq(create_file("f", 2, &file), 0);
    ck_assert_uint_ne(file.chunk.handle, 0);
    ck_assert_uint_eq(members(file.chunk.members), 3);
    ck_assert_uint_ne(file.chunk.primary, 0);
    ck_assert(file.chunk.fresh);
    uint64_t handle = file.chunk.handle;

    fixture_kill_master(f);
    fixture_start_master(f);
    fixture_connect(f);
    fixture_attach(f);
    ck_assert_int_eq(make_dir("d", 1, &again), 0);
    ck_assert_uint_eq(first.attr.ino, again.attr.ino);
    ck_assert_int_eq(create_file("f", 2, &file_again), 0);
    ck_assert_uint_eq(file_again.chunk.handle, handle);
    ck_assert_uint_eq(members(file_again.chunk.members), 3);
    ck_assert_int_eq(make_dir("d", 3, &again), -EEXIST);
    ck_assert_int_eq(look("d", &found), 0);
    ck_assert_uint_eq(found.attr.ino, first.attr.ino);
    ck_assert_int_eq(look("none", &found), -ENOENT);
    struct why why;
    ck_assert_msg(master_audit(f->m, &why) == 0, "%s", why.text);
}
END_TEST

/* Everything answered is there after a power cut; the state is the same. */
START_TEST(power_cut_keeps_what_was_answered)
{
    struct mkdir_rep rep;
    struct lookup_rep found;
    char name[16];
    fixture_open_session(f);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "d%d", i);
        ck_assert_int_eq(make_dir(name, (uint64_t)i + 1, &rep), 0);
    }
    sim_process_power_cut(f->mp);
    master_destroy(f->m);
    fixture_start_master(f);
    fixture_connect(f);
    fixture_attach(f);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "d%d", i);
        ck_assert_int_eq(look(name, &found), 0);
    }
    struct why why;
    ck_assert_msg(master_audit(f->m, &why) == 0, "%s", why.text);
}
END_TEST

/* A clean stop, then a start without replay. */
START_TEST(clean_stop_and_start)
{
    struct mkdir_rep rep;
    struct lookup_rep found;
    struct why why;
    fixture_open_session(f);
    ck_assert_int_eq(make_dir("d", 1, &rep), 0);
    fixture_run_ms(f, 300);
    ck_assert_msg(master_stop(f->m, &why) == 0, "%s", why.text);
    uint64_t hash = master_state_hash(f->m);
    fixture_kill_master(f);
    fixture_start_master(f);
    ck_assert_uint_eq(master_state_hash(f->m), hash);
    fixture_connect(f);
    fixture_attach(f);
    ck_assert_int_eq(look("d", &found), 0);
}
END_TEST

/* A silent session ends; its unlinked open file goes with it. */
START_TEST(silent_sessions_end)
{
    struct create_rep file;
    fixture_open_session(f);
    ck_assert_int_eq(create_file("f", 1, &file), 0);
    uint64_t ino = file.attr.ino;
    struct unlink_req req = {.parent = ROOT_INO, .name = bytes_str("f")};
    struct unlink_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, unlink, &req, &rep, 2), 0);
    struct attr attr;
    ck_assert_int_eq(ns_attr(f->m->ns, ino, &attr), 0);
    ck_assert_uint_eq(attr.nlink, 0);
    fixture_run_ms(f, f->cfg.geometry.session_ms + 1000);
    ck_assert_int_eq(ns_attr(f->m->ns, ino, &attr), -ENOENT);
    ck_assert(!ns_session_exists(f->m->ns, f->session));
    struct mkdir_rep made;
    ck_assert_int_eq(make_dir("d", 3, &made), ERR_NO_SESSION);
}
END_TEST

/* close_files frees what only this session held. */
START_TEST(closing_an_unlinked_file_frees_it)
{
    struct create_rep file;
    fixture_open_session(f);
    ck_assert_int_eq(create_file("f", 1, &file), 0);
    uint64_t ino = file.attr.ino;
    struct unlink_req req = {.parent = ROOT_INO, .name = bytes_str("f")};
    struct unlink_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, unlink, &req, &rep, 2), 0);
    struct writer w;
    writer_init(&w);
    enc_u64(&w, &ino);
    struct close_files_req close = {.inodes = writer_bytes(&w)};
    struct close_files_rep closed;
    ck_assert_int_eq(FIXTURE_CALL(f, close_files, &close, &closed, 0), 0);
    writer_free(&w);
    struct attr attr;
    ck_assert_int_eq(ns_attr(f->m->ns, ino, &attr), -ENOENT);
    fixture_run_ms(f, 3000); /* its replicas never were; the servers confirm that they are gone */
    ck_assert_uint_eq(ns_counts(f->m->ns).garbage, 0);
    ck_assert_uint_gt(f->fakes[0].drops, 0);
}
END_TEST

/* Clients change things without a pause for so long. */
static void be_busy_ms(uint32_t ms, uint64_t *sequence)
{
    struct mkdir_rep rep;
    char name[16];
    for (uint32_t at = 0; at < ms; at += 100) {
        snprintf(name, sizeof(name), "d%u", (unsigned)*sequence);
        ck_assert_int_eq(make_dir(name, (*sequence)++, &rep), 0);
        fixture_run_ms(f, 100);
    }
}

/* Replicas nobody needs stay while clients change things, but for three seconds. */
START_TEST(removal_gives_way)
{
    struct create_rep file;
    uint64_t sequence = 1;
    fixture_open_session(f);
    fixture_run_ms(f, 2000); /* the disks have told what room they have */
    for (int round = 0; round < 2; round++) {
        ck_assert_int_eq(create_file("f", sequence++, &file), 0);
        struct writer w;
        writer_init(&w);
        enc_u64(&w, &file.attr.ino);
        struct close_files_req close = {.inodes = writer_bytes(&w)};
        struct close_files_rep closed;
        ck_assert_int_eq(FIXTURE_CALL(f, close_files, &close, &closed, 0), 0);
        writer_free(&w);
        uint64_t before = f->fakes[0].drops;
        struct unlink_req req = {.parent = ROOT_INO, .name = bytes_str("f")};
        struct unlink_rep rep;
        ck_assert_int_eq(FIXTURE_CALL(f, unlink, &req, &rep, sequence++), 0);
        be_busy_ms(2000, &sequence);
        ck_assert_uint_eq(f->fakes[0].drops, before);
        if (round == 0) {
            be_busy_ms(2000, &sequence);
        } else {
            fixture_run_ms(f, 1000);
        }
        ck_assert_uint_gt(f->fakes[0].drops, before);
    }
}
END_TEST

/* It answers what it knows already, and changes nothing before it has applied its whole log. */
START_TEST(a_lone_master_is_read_while_it_applies)
{
    struct mkdir_rep made;
    struct lookup_rep found;
    struct checkpoint_now_req now;
    struct checkpoint_now_rep done;
    struct why why;
    fixture_open_session(f);
    ck_assert_int_eq(make_dir("early", 1, &made), 0);
    fixture_connect_as(f, ROLE_ADMIN);
    if (_i == 1) {
        ck_assert_int_eq(FIXTURE_CALL(f, checkpoint_now, &now, &done, 0), 0);
    }
    for (uint64_t i = 0; i <= REPLAY_AT_ONCE; i++) {
        union op_any rec = {.server_state_rec = {.id = f->fakes[0].id, .maintenance_until = i}};
        (void)commit_record(f->m, OP_server_state, &rec, NULL, NULL);
        if (i % 1000 == 0) {
            fixture_run_ms(f, 100);
        }
    }
    fixture_connect(f);
    fixture_attach(f);
    ck_assert_int_eq(make_dir("late", 2, &made), 0);
    sim_process_power_cut(f->mp);
    master_destroy(f->m);
    sim_process_start(f->mp);
    f->m = master_create(&f->mp->env, &f->cfg);
    ck_assert_int_eq(master_start(f->m, &why), 0);
    ck_assert(f->m->warming && !f->m->primary);
    env_timer_stop(&f->mp->env, &f->m->follow.more); /* until the next tick */
    fixture_connect_as(f, ROLE_ADMIN);
    ck_assert_int_eq(look("early", &found), _i == 1 ? 0 : ERR_BEHIND);
    ck_assert_int_eq(look("late", &found), _i == 1 ? -ENOENT : ERR_BEHIND);
    ck_assert_int_eq(make_dir("more", 3, &made), ERR_NOT_MASTER);
    ck_assert(f->m->warming);
    fixture_run_ms(f, 1000);
    ck_assert(!f->m->warming && f->m->serving);
    fixture_connect(f);
    fixture_attach(f);
    ck_assert_int_eq(look("early", &found), 0);
    ck_assert_int_eq(look("late", &found), 0);
    ck_assert_int_eq(make_dir("more", 3, &made), 0);
    ck_assert_msg(master_audit(f->m, &why) == 0, "%s", why.text);
}
END_TEST

/* More records than a quiet point's bound, with state hashes between them, and a checkpoint. */
START_TEST(many_mutations_and_a_checkpoint)
{
    struct mkdir_rep rep;
    char name[16];
    fixture_open_session(f);
    for (int i = 0; i < 1500; i++) {
        snprintf(name, sizeof(name), "d%d", i);
        ck_assert_int_eq(make_dir(name, (uint64_t)i + 1, &rep), 0);
    }
    rpc_close(&f->rpc);
    rpc_init(&f->rpc, &f->cp->env, f->rpc.events, f);
    rpc_dial(&f->rpc, "master:1");
    struct hello_req hello = {.role = ROLE_ADMIN};
    struct hello_rep welcome;
    ck_assert_int_eq(FIXTURE_CALL(f, hello, &hello, &welcome, 0), 0);
    struct checkpoint_now_req req;
    struct checkpoint_now_rep done;
    ck_assert_int_eq(FIXTURE_CALL(f, checkpoint_now, &req, &done, 0), 0);
    ck_assert_uint_gt(done.index, 1500);
    sim_process_power_cut(f->mp);
    master_destroy(f->m);
    fixture_start_master(f);
    struct why why;
    ck_assert_msg(master_audit(f->m, &why) == 0, "%s", why.text);
    ck_assert_uint_eq(ns_counts(f->m->ns).inodes, 1501);
}
END_TEST

Suite *suite_master(void);
/* The monitor's questions are answered truthfully; stepping down ends the process in order. */
START_TEST(monitor_is_answered)
{
    struct health_req ask = {};
    struct health_rep health;
    fixture_connect_as(f, ROLE_ADMIN);
    f->session = 0;
    ck_assert_int_eq(FIXTURE_CALL(f, health, &ask, &health, 0), 0);
    ck_assert_uint_eq(health.role, MASTER_PRIMARY);
    ck_assert_uint_eq(health.epoch, 1);
    ck_assert_uint_eq(health.promised, 1);
    ck_assert_uint_ge(health.committed, 1);
    ck_assert_uint_le(health.committed, health.applied);
    struct promote_req promote = {.epoch = 1, .nonce = 7};
    struct promote_rep promoted;
    ck_assert_int_eq(FIXTURE_CALL(f, promote, &promote, &promoted, 0), 0);
    ck_assert_uint_eq(promoted.epoch, 1);
    promote.epoch = 0;
    ck_assert_int_eq(FIXTURE_CALL(f, promote, &promote, &promoted, 0), ERR_STALE_EPOCH);
    ck_assert_uint_eq(f->answer.head.epoch, 1);
    promote.epoch = 2;
    ck_assert_int_eq(FIXTURE_CALL(f, promote, &promote, &promoted, 0), -EOPNOTSUPP);

    struct masters_req who = {};
    struct masters_rep seen;
    ck_assert_int_eq(FIXTURE_CALL(f, masters, &who, &seen, 0), 0);
    ck_assert(!seen.watched && seen.monitor.len == 0 && seen.monitor_ms == UINT64_MAX);
    struct master_lease_req lease = {
        .epoch = 1, .ms = 2000, .monitor = bytes_str("h:1"), .alarm = bytes_str("beware")};
    struct master_lease_rep leased;
    ck_assert_int_eq(FIXTURE_CALL(f, master_lease, &lease, &leased, 0), 0);
    ck_assert_int_eq(FIXTURE_CALL(f, masters, &who, &seen, 0), 0);
    ck_assert(seen.watched && bytes_equal(seen.monitor, bytes_str("h:1")));
    struct master_lease_req other = {.epoch = 1, .ms = 2000, .monitor = bytes_str("h:2")};
    ck_assert_int_eq(FIXTURE_CALL(f, master_lease, &other, &leased, 0), -EEXIST);
    ck_assert_int_eq(FIXTURE_CALL(f, master_lease, &lease, &leased, 0), 0);
    ck_assert_uint_ne(f->m->vigil.rivals_ns, 0);
    ck_assert_int_eq(FIXTURE_CALL(f, masters, &who, &seen, 0), 0);
    ck_assert(seen.watched && bytes_equal(seen.monitor, bytes_str("h:1")));
    fixture_run_ms(f, 2100);
    ck_assert_int_eq(FIXTURE_CALL(f, masters, &who, &seen, 0), 0);
    ck_assert(!seen.watched);
    struct reader r = reader_of(seen.masters);
    struct master_status self;
    dec_master_status(&r, &self);
    ck_assert(reader_done(&r) && self.role == MASTER_PRIMARY);
    lease.epoch = 2;
    ck_assert_int_eq(FIXTURE_CALL(f, master_lease, &lease, &leased, 0), ERR_STALE_EPOCH);

    struct step_down_req down = {.epoch = 0, .why = STEP_DOWN_HAND_OVER};
    struct step_down_rep went;
    ck_assert_int_eq(FIXTURE_CALL(f, step_down, &down, &went, 0), ERR_STALE_EPOCH);
    ck_assert(!f->mp->end_asked);
    down.epoch = 1;
    ck_assert_int_eq(FIXTURE_CALL(f, step_down, &down, &went, 0), 0);
    struct status_req status;
    struct status_rep none;
    ck_assert_int_eq(FIXTURE_CALL(f, status, &status, &none, 0), ERR_NOT_READY);
    fixture_run_ms(f, 100);
    ck_assert(f->mp->end_asked);
}
END_TEST

/* A mount may not promote, nor depose. */
START_TEST(mounts_are_no_monitors)
{
    struct step_down_req down = {.epoch = 1, .why = STEP_DOWN_HAND_OVER};
    struct step_down_rep went;
    ck_assert_int_eq(FIXTURE_CALL(f, step_down, &down, &went, 0), ERR_UNKNOWN_OP);
    fixture_run_ms(f, 100);
    ck_assert(!f->mp->end_asked);
}
END_TEST

Suite *suite_master(void)
{
    Suite *s = suite_create("master");
    TCase *t = tcase_create("loopback");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, monitor_is_answered);
    tcase_add_test(t, mounts_are_no_monitors);
    tcase_add_test(t, hello_comes_first);
    tcase_add_test(t, huge_files_are_cut_in_slices);
    tcase_add_test(t, mutation_needs_a_session);
    tcase_add_test(t, retries_are_applied_once);
    tcase_add_test(t, power_cut_keeps_what_was_answered);
    tcase_add_test(t, clean_stop_and_start);
    tcase_add_test(t, silent_sessions_end);
    tcase_add_test(t, closing_an_unlinked_file_frees_it);
    tcase_add_test(t, removal_gives_way);
    tcase_add_test(t, many_mutations_and_a_checkpoint);
    tcase_add_loop_test(t, a_lone_master_is_read_while_it_applies, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
