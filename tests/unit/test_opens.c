/* test_opens.c - what mounts may write, through the serving master and restarts of it. */
#include "master/core/opens.h"
#include "tests/unit/master_fixture.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>

static struct fixture *f;
static uint64_t sequence;

static void setup(void)
{
    f = fixture_new(3);
    sequence = 0;
    fixture_open_session(f);
}

static void teardown(void)
{
    fixture_free(f);
}

static struct create_rep create(const char *name)
{
    struct create_req req = {.parent = ROOT_INO, .name = bytes_str(name), .mode = 0644};
    struct create_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, create, &req, &rep, ++sequence), 0);
    return rep;
}

static int open_file(uint64_t ino, uint32_t flags)
{
    struct open_req req = {.ino = ino, .flags = flags};
    struct open_rep rep;
    return FIXTURE_CALL(f, open, &req, &rep, 0);
}

static struct bytes list(struct writer *w, const uint64_t *inodes, uint32_t count)
{
    writer_init(w);
    for (uint32_t i = 0; i < count; i++) {
        enc_u64(w, &inodes[i]);
    }
    return writer_bytes(w);
}

static void close_file(uint64_t ino)
{
    struct writer w;
    struct close_files_req req = {.inodes = list(&w, &ino, 1)};
    struct close_files_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, close_files, &req, &rep, 0), 0);
    writer_free(&w);
}

static int attach(uint64_t session, uint64_t reading, uint64_t writing, bool more)
{
    struct writer r, w;
    struct session_attach_req req = {.session = session,
                                     .opens = list(&r, &reading, reading != 0),
                                     .writing = list(&w, &writing, writing != 0),
                                     .more = more};
    struct session_attach_rep rep;
    int status = FIXTURE_CALL(f, session_attach, &req, &rep, 0);
    writer_free(&r);
    writer_free(&w);
    return status;
}

/* Another mount's session, on the same connection from now on. */
static void second_session(void)
{
    struct session_open_req req = {.host = bytes_str("other"), .nonce = 78};
    struct session_open_rep rep;
    f->session = 0;
    ck_assert_int_eq(FIXTURE_CALL(f, session_open, &req, &rep, 0), 0);
    f->session = rep.session;
    sequence = 0;
    ck_assert_int_eq(attach(f->session, 0, 0, false), 0);
}

static void extend(uint64_t ino, uint64_t end)
{
    struct extend_req req = {.ino = ino, .end = end};
    struct extend_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, extend, &req, &rep, ++sequence), 0);
}

static bool writes(uint64_t session, uint64_t ino)
{
    return ns_writer_exists(f->m->ns, session, ino);
}

static uint32_t trim_of(uint64_t ino)
{
    struct ns_chunk k;
    ck_assert_int_eq(ns_chunk_get(f->m->ns, ino, 0, &k), 0);
    return k.trim;
}

static void restart(bool power_cut)
{
    if (power_cut) {
        sim_process_power_cut(f->mp);
        master_destroy(f->m);
    } else {
        fixture_kill_master(f);
    }
    fixture_start_master(f);
    fixture_connect(f);
}

static void audit(void)
{
    struct why why;
    ck_assert_msg(master_audit(f->m, &why) == 0, "%s", why.text);
}

/* The first open for writing is a record, on disk before the answer; further ones are not. */
START_TEST(first_open_for_writing_is_logged)
{
    uint64_t ino = create("f").attr.ino;
    ck_assert(writes(f->session, ino));
    uint64_t before = f->m->commit.applied;
    ck_assert_int_eq(open_file(ino, O_RDWR), 0); /* it is open already */
    close_file(ino);
    ck_assert(!writes(f->session, ino));
    ck_assert_uint_eq(f->m->commit.applied, before + 1);
    ck_assert_int_eq(open_file(ino, O_RDONLY), 0);
    ck_assert_uint_eq(f->m->commit.applied, before + 1);
    ck_assert_int_eq(open_file(ino, O_WRONLY), 0);
    ck_assert(writes(f->session, ino));
    ck_assert_uint_ge(committed_index(f->m), before + 2);
    ck_assert_int_eq(open_file(ino, O_RDWR), 0);
    ck_assert_uint_eq(f->m->commit.applied, before + 2);
    ck_assert_int_eq(open_file(ROOT_INO, O_RDWR), -EISDIR);
    ck_assert_int_eq(open_file(999, O_RDWR), -ENOENT);
    close_file(ino);
    close_file(ino);
    ck_assert_uint_eq(f->m->commit.applied, before + 3);
    audit();
}
END_TEST

/* A mount that died with the master: what it wrote and did not commit is cut off, although the new
 * master never heard of it. */
static void check_death_with_master(bool power_cut)
{
    uint64_t made = create("made").attr.ino, opened = create("opened").attr.ino;
    uint64_t shut = create("shut").attr.ino;
    extend(made, 100);
    extend(opened, 200);
    extend(shut, 300);
    close_file(opened);
    close_file(shut);
    ck_assert_int_eq(open_file(opened, O_RDWR), 0);
    fixture_run_ms(f, 300);
    restart(power_cut);
    ck_assert(writes(f->session, made) && writes(f->session, opened) && !writes(f->session, shut));
    uint64_t dead = f->session;
    second_session(); /* which looks on */
    ck_assert_uint_eq(trim_of(made), NO_TRIM);
    fixture_run_ms(f, f->cfg.geometry.session_ms + 1000);
    ck_assert(!ns_session_exists(f->m->ns, dead));
    ck_assert_uint_eq(trim_of(made), 100);
    ck_assert_uint_eq(trim_of(opened), 200);
    ck_assert_uint_eq(trim_of(shut), NO_TRIM);
    audit();
    fixture_run_ms(f, 300);
    restart(true); /* replayed, it is the same */
    ck_assert_uint_eq(trim_of(made), 100);
    ck_assert_uint_eq(store_rows(f->m->store, TABLE_WRITER), 0);
    audit();
}

START_TEST(mount_dies_with_the_killed_master)
{
    check_death_with_master(false);
}
END_TEST

START_TEST(mount_dies_with_the_master_without_power)
{
    check_death_with_master(true);
}
END_TEST

/* Attaching to a new master keeps what is open and forgets what is not: the close was heard by a
 * master that died before it logged it. */
START_TEST(attach_forgets_what_is_closed)
{
    uint64_t kept = create("kept").attr.ino, left = create("left").attr.ino;
    uint64_t read = create("read").attr.ino;
    restart(false);
    ck_assert_int_eq(attach(f->session, read, 0, true), 0);
    ck_assert(writes(f->session, left));
    ck_assert_int_eq(open_file(kept, O_RDWR), ERR_PROTOCOL); /* it has not told everything yet */
    ck_assert_int_eq(attach(f->session, 0, kept, false), 0);
    ck_assert(writes(f->session, kept) && writes(f->session, read) && !writes(f->session, left));
    uint64_t before = f->m->commit.applied;
    ck_assert_int_eq(attach(f->session, 0, kept, false), 0); /* again, to the same master */
    ck_assert_uint_eq(f->m->commit.applied, before);
    audit();
}
END_TEST

/* A session that replaces one that ended tells what it has open for writing. */
START_TEST(attach_registers_what_is_missing)
{
    uint64_t a = create("a").attr.ino, b = create("b").attr.ino, old = f->session;
    extend(a, 100);
    second_session();
    ck_assert_int_eq(attach(f->session, b, a, false), 0);
    ck_assert(writes(f->session, a) && !writes(f->session, b));
    ck_assert_uint_eq(committed_index(f->m), f->m->commit.applied); /* before the answer */
    for (int i = 0; i < 20; i++) {                                  /* the other one falls silent */
        fixture_run_ms(f, f->cfg.geometry.session_ms / 10);
        ck_assert_int_eq(attach(f->session, 0, 0, false), 0);
    }
    ck_assert(!ns_session_exists(f->m->ns, old));
    ck_assert_uint_eq(trim_of(a), NO_TRIM); /* the new one still writes it */
    close_file(a);
    ck_assert_uint_eq(trim_of(a), 100);
    audit();
}
END_TEST

/* A create that is repeated at a new master, whose session attached without the file. */
START_TEST(repeated_create_is_open_again)
{
    uint64_t ino = create("f").attr.ino;
    restart(false);
    ck_assert_int_eq(attach(f->session, 0, 0, false), 0);
    ck_assert(!writes(f->session, ino));
    sequence--;
    ck_assert_uint_eq(create("f").attr.ino, ino);
    ck_assert(writes(f->session, ino));
    audit();
}
END_TEST

/* Under the number of another request, whose answer is that of a directory: no file is open. */
START_TEST(repeated_number_opens_nothing)
{
    struct setattr_req req = {.ino = ROOT_INO, .mask = SETATTR_MODE, .mode = 0755};
    struct setattr_rep made;
    ck_assert_int_eq(FIXTURE_CALL(f, setattr, &req, &made, ++sequence), 0);
    struct create_req wrong = {.parent = ROOT_INO, .name = bytes_str("f"), .mode = 0644};
    struct create_rep rep;
    (void)FIXTURE_CALL(f, create, &wrong, &rep, sequence);
    ck_assert_uint_eq(rep.attr.ino, ROOT_INO); /* a client's mistake */
    ck_assert(!writes(f->session, ROOT_INO));
    audit();
}
END_TEST

/* The same without room for anything new: the file is there, and what made it may write it. */
START_TEST(what_was_made_may_be_opened_without_room)
{
    uint64_t ino = create("f").attr.ino, other = create("g").attr.ino;
    restart(false);
    ck_assert_int_eq(attach(f->session, 0, 0, false), 0);
    sim_disk_set_capacity(f->mp->disk, 0);
    fixture_run_ms(f, 1000);
    struct mkdir_req req = {.parent = ROOT_INO, .name = bytes_str("d"), .mode = 0755};
    struct mkdir_rep rep;
    sequence++;
    ck_assert_int_eq(FIXTURE_CALL(f, mkdir, &req, &rep, sequence), -ENOSPC);
    ck_assert_int_eq(open_file(ino, O_RDWR), -ENOSPC);
    ck_assert_int_eq(open_file(ino, O_RDWR | OPEN_MADE), 0);
    ck_assert(writes(f->session, ino) && !writes(f->session, other));
    audit();
}
END_TEST

static uint64_t truncate_ns(uint64_t ino)
{
    struct setattr_req req = {.ino = ino, .mask = SETATTR_SIZE};
    uint64_t before = f->sim->now_ns;
    struct slice body = RPC_BODY(setattr_req, &req);
    uint32_t patience_ms = 2 * f->m->cfg.geometry.session_ms;
    ck_assert_int_eq(fixture_call(f, OP_setattr, body, ++sequence, patience_ms), 0);
    return f->sim->now_ns - before;
}

/* A truncate is answered when who else writes to the file has forgotten where its chunks are, or cannot
 * write any more: here, when that session has ended. Readers are not waited for. */
START_TEST(truncate_waits_for_other_writers)
{
    uint64_t session_ns = f->m->cfg.geometry.session_ms * NS_PER_MS;
    uint64_t ino = create("a").attr.ino;
    uint64_t first = f->session;
    ck_assert_uint_lt(truncate_ns(ino), session_ns / 4);
    second_session();
    sim_run_for(f->sim, session_ns / 2);
    ck_assert_uint_ge(truncate_ns(ino), session_ns / 4);
    ck_assert(!writes(first, ino));
    ck_assert_uint_lt(truncate_ns(ino), session_ns / 4);
    ck_assert_int_eq(open_file(ino, O_RDONLY), 0);
    second_session();
    ck_assert_uint_lt(truncate_ns(ino), session_ns / 4);
    audit();
}
END_TEST

/* A session has no more rows than it may have files open. */
START_TEST(opens_are_bounded)
{
    enum { PART = 1 << 16 };
    uint64_t ino = create("f").attr.ino;
    close_file(ino);
    struct writer w;
    for (uint64_t first = 1000; first < 1000 + SESSION_OPENS_MAX; first += PART) {
        writer_init(&w);
        for (uint64_t i = first; i < first + PART; i++) {
            enc_u64(&w, &i);
        }
        struct session_attach_req req = {.session = f->session, .writing = writer_bytes(&w)};
        struct session_attach_rep rep;
        ck_assert_int_eq(FIXTURE_CALL(f, session_attach, &req, &rep, 0), 0);
        writer_free(&w);
    }
    ck_assert_uint_eq(store_rows(f->m->store, TABLE_WRITER), 0); /* no such files */
    ck_assert_int_eq(open_file(ino, O_RDWR), -ENFILE);
    struct create_req req = {.parent = ROOT_INO, .name = bytes_str("g"), .mode = 0644};
    struct create_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, create, &req, &rep, ++sequence), -ENFILE);
    ck_assert_uint_eq(store_rows(f->m->store, TABLE_WRITER), 0);
    ck_assert_uint_eq(ns_counts(f->m->ns).inodes, 2);
}
END_TEST

/* Closes that come while a quiet point is being reached are logged when it is over. */
START_TEST(closes_wait_for_quiet_points)
{
    enum { FILES = 10 };
    uint64_t ino[FILES];
    for (int i = 0; i < FILES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "f%d", i);
        ino[i] = create(name).attr.ino;
    }
    struct session *s = sessions_get(&f->m->sessions, f->session);
    struct writer w;
    f->m->commit.draining = true;
    opens_close(f->m, s, list(&w, ino, FILES));
    opens_close(f->m, s, writer_bytes(&w)); /* twice is once */
    writer_free(&w);
    ck_assert(writes(f->session, ino[0]));
    uint64_t before = f->m->commit.applied;
    ck_assert_int_eq(open_file(ino[3], O_RDWR), 0); /* waits too, and so comes after it */
    ck_assert_uint_le(f->m->commit.applied, before + 3);
    for (int i = 0; i < FILES; i++) {
        ck_assert(writes(f->session, ino[i]) == (i == 3));
    }
    audit();
}
END_TEST

Suite *suite_opens(void);
Suite *suite_opens(void)
{
    Suite *s = suite_create("opens");
    TCase *t = tcase_create("loopback");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, first_open_for_writing_is_logged);
    tcase_add_test(t, mount_dies_with_the_killed_master);
    tcase_add_test(t, mount_dies_with_the_master_without_power);
    tcase_add_test(t, attach_forgets_what_is_closed);
    tcase_add_test(t, attach_registers_what_is_missing);
    tcase_add_test(t, repeated_create_is_open_again);
    tcase_add_test(t, repeated_number_opens_nothing);
    tcase_add_test(t, what_was_made_may_be_opened_without_room);
    tcase_add_test(t, truncate_waits_for_other_writers);
    tcase_add_test(t, opens_are_bounded);
    tcase_add_test(t, closes_wait_for_quiet_points);
    suite_add_tcase(s, t);
    return s;
}
