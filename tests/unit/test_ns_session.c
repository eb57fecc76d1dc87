/* test_ns_session.c - sessions, answers kept for retries, ends of sessions, servers, bad records. */
#include "tests/unit/ns_fixture.h"

Suite *suite_ns_session(void);

static void note_session(void *owner, uint64_t session, struct bytes host)
{
    uint64_t *sum = owner;
    ck_assert(bytes_equal(host, N("client")));
    *sum = *sum * 10 + session;
}

START_TEST(nonce_names_a_session)
{
    struct fixture *f = fixture_open();
    ck_assert(!ns_session_exists(f->ns, 1));
    ck_assert_uint_eq(open_session(f, 100), 1);
    ck_assert_uint_eq(open_session(f, 200), 2);
    ck_assert_uint_eq(open_session(f, 100), 1);
    ck_assert_uint_eq(open_session(f, 300), 3);
    ck_assert_uint_eq(ns_counts(f->ns).sessions, 3);
    uint64_t seen = 0;
    ns_sessions(f->ns, note_session, &seen);
    ck_assert_uint_eq(seen, 123);
    f->session = 2;
    ck_assert_int_eq(DO(f, session_end), 0);
    ck_assert(!ns_session_exists(f->ns, 2));
    f->session = 0;
    ck_assert_uint_eq(open_session(f, 200), 4);
    fixture_close(f);
}
END_TEST

static uint64_t reply_rows(struct fixture *f)
{
    ns_before_commit(f->ns);
    return store_rows(f->store, TABLE_REPLY);
}

/* The stored answer of `sequence` is byte for byte the one that was given. */
static void check_kept(struct fixture *f, uint64_t sequence, enum op_code op,
                       const union op_any *rep)
{
    struct bytes kept;
    struct writer w;
    writer_init(&w);
    op_info_of((uint16_t)op)->rep_encode(&w, rep);
    ck_assert_int_eq(ns_reply_find(f->ns, f->session, sequence, &kept), 0);
    ck_assert(bytes_equal(kept, writer_bytes(&w)));
    writer_free(&w);
}

/* Answers that are acknowledged before the next commit are never put into rows. */
START_TEST(answers_are_kept_in_memory_until_a_commit)
{
    struct fixture *f = fixture_open();
    struct bytes kept;
    f->session = open_session(f, 1);
    ns_before_commit(f->ns);
    make_dir(f, ROOT_INO, "a");
    check_kept(f, 1, OP_mkdir, &f->rep);
    ck_assert_uint_eq(store_rows(f->store, TABLE_REPLY), 0);
    f->acked = 1;
    make_dir(f, ROOT_INO, "b");
    ck_assert_uint_eq(reply_rows(f), 1);
    check_kept(f, 2, OP_mkdir, &f->rep); /* from its row */
    f->acked = 2;
    make_dir(f, ROOT_INO, "c");
    ck_assert_uint_eq(store_rows(f->store, TABLE_REPLY), 1);
    ck_assert_int_eq(ns_reply_find(f->ns, f->session, 2, &kept), -ESTALE);
    check_kept(f, 3, OP_mkdir, &f->rep);
    ck_assert_uint_eq(reply_rows(f), 1);
    make_dir(f, ROOT_INO, "d");
    DO(f, session_end);
    ck_assert_int_eq(ns_reply_find(f->ns, f->session, 4, &kept), ERR_NO_SESSION);
    ck_assert_uint_eq(reply_rows(f), 0);
    fixture_close(f);
}
END_TEST

START_TEST(answers_are_kept)
{
    struct fixture *f = fixture_open();
    struct bytes kept;
    f->session = open_session(f, 1);
    create_file(f, ROOT_INO, "a");
    check_kept(f, 1, OP_create, &f->rep);
    make_dir(f, ROOT_INO, "d");
    check_kept(f, 2, OP_mkdir, &f->rep);
    ck_assert_int_eq(DO(f, setxattr, .ino = 2, .name = N("user.x")), 0); /* an empty answer too */
    check_kept(f, 3, OP_setxattr, &f->rep);
    ck_assert_int_eq(ns_reply_find(f->ns, f->session, 4, &kept), -ENOENT);
    ck_assert_int_eq(ns_reply_find(f->ns, 77, 1, &kept), ERR_NO_SESSION);
    f->acked = 2;
    make_dir(f, ROOT_INO, "e");
    ck_assert_int_eq(ns_reply_find(f->ns, f->session, 1, &kept), -ESTALE);
    ck_assert_int_eq(ns_reply_find(f->ns, f->session, 2, &kept), -ESTALE);
    check_kept(f, 4, OP_mkdir, &f->rep);
    ck_assert_uint_eq(reply_rows(f), 2);
    f->acked = 1; /* an older request arrives late */
    make_dir(f, ROOT_INO, "g");
    ck_assert_int_eq(ns_reply_find(f->ns, f->session, 2, &kept), -ESTALE);
    ck_assert_uint_eq(reply_rows(f), 3);
    /* What is refused is not kept. */
    ck_assert_int_eq(DO(f, mkdir, .parent = ROOT_INO, .name = N("g")), -EEXIST);
    ck_assert_int_eq(ns_reply_find(f->ns, f->session, 6, &kept), -ENOENT);
    f->acked = UINT64_MAX; /* a lie costs only the liar */
    make_dir(f, ROOT_INO, "h");
    ck_assert_uint_eq(reply_rows(f), 0);
    ck_assert_int_eq(DO(f, session_end), 0);
    ck_assert_int_eq(ns_reply_find(f->ns, f->session, 5, &kept), ERR_NO_SESSION);
    fixture_close(f);
}
END_TEST

START_TEST(sessions_keep_their_own)
{
    struct fixture *f = fixture_open();
    struct bytes kept;
    uint64_t s1 = open_session(f, 1), s2 = open_session(f, 2);
    f->session = s1;
    make_dir(f, ROOT_INO, "a");
    f->session = s2;
    make_dir(f, ROOT_INO, "b");
    make_dir(f, ROOT_INO, "c");
    ck_assert_uint_eq(reply_rows(f), 3);
    f->session = s1;
    ck_assert_int_eq(DO(f, session_end), 0);
    ck_assert_uint_eq(reply_rows(f), 2);
    ck_assert_int_eq(ns_reply_find(f->ns, s2, 2, &kept), 0);
    make_dir(f, ROOT_INO,
             "late"); /* of a session that has ended: applied, its answer is not kept */
    ck_assert_uint_eq(reply_rows(f), 2);
    fixture_close(f);
}
END_TEST

static void unlink_open(struct fixture *f, const char *name, uint64_t ino, uint64_t session)
{
    hold(f, ino, session);
    ck_assert_int_eq(DO(f, unlink, .parent = ROOT_INO, .name = N(name)), 0);
    ck_assert_uint_eq(attr(f, ino).ino, ino);
}

START_TEST(end_frees_what_it_held)
{
    struct fixture *f = fixture_open();
    uint64_t s1 = open_session(f, 1), s2 = open_session(f, 2);
    uint64_t a = create_file(f, ROOT_INO, "a"), b = create_file(f, ROOT_INO, "b");
    uint64_t c = create_file(f, ROOT_INO, "c"), d = create_file(f, ROOT_INO, "d");
    unlink_open(f, "a", a, s1);
    hold(f, b, s2);
    unlink_open(f, "b", b, s1);
    unlink_open(f, "c", c, s2);
    unlink_open(f, "d", d, s1);
    f->session = s1;
    ck_assert_int_eq(DO(f, session_end), 0);
    ck_assert_uint_eq(attr(f, a).ino, 0);
    ck_assert_uint_eq(attr(f, b).ino, b);
    ck_assert_uint_eq(attr(f, c).ino, c);
    ck_assert_uint_eq(attr(f, d).ino, 0);
    fixture_check(f);
    RECORD(f, session_expire, .session = s2);
    ck_assert_uint_eq(attr(f, b).ino, 0);
    ck_assert_uint_eq(attr(f, c).ino, 0);
    ck_assert_uint_eq(ns_counts(f->ns).chunks, 0);
    ck_assert_uint_eq(store_rows(f->store, TABLE_ORPHAN), 0);
    ck_assert_int_eq(DO(f, session_end), 0); /* again, late: nothing */
    fixture_close(f);
}
END_TEST

START_TEST(servers_are_remembered)
{
    struct fixture *f = fixture_open();
    struct server s;
    uint64_t disk;
    ck_assert_uint_eq(ns_next_server_id(f->ns), 6);
    RECORD(f, server_add, .disk = 5555,
           .server = {.id = 300, .addr = N("b:1"), .host = N(""), .rack = N("rack")});
    RECORD(f, server_add, .disk = 1003, .server = {.id = 3, .addr = N("moved:1")});
    ck_assert_uint_eq(ns_next_server_id(f->ns), 301);
    ck_assert_int_eq(ns_server_next(f->ns, 3, &s, &disk), 0);
    ck_assert_uint_eq(s.id, 3);
    ck_assert_uint_eq(disk, 1003);
    ck_assert(bytes_equal(s.addr, N("moved:1")));
    ck_assert_int_eq(ns_server_next(f->ns, 6, &s, &disk), 0);
    ck_assert_uint_eq(s.id, 300);
    ck_assert_uint_eq(disk, 5555);
    ck_assert(bytes_equal(s.rack, N("rack")) && s.host.len == 0);
    ck_assert_int_eq(ns_server_next(f->ns, 301, &s, &disk), -ENOENT);
    fixture_close(f);
}
END_TEST

START_TEST(bad_records_are_refused)
{
    struct fixture *f = fixture_open();
    struct why why;
    struct writer w;
    writer_init(&w);
    struct state_hash_rec rec = {.hash = store_hash(f->store) + 1};
    state_hash_rec_encode(&w, &rec);
    struct record r = {.index = f->index + 1, .type = OP_state_hash, .body = writer_bytes(&w)};
    ck_assert_int_eq(ns_apply_record(f->ns, &r, &why), ERR_CORRUPT);
    rec.hash--;
    w.len = 0;
    state_hash_rec_encode(&w, &rec);
    ck_assert_int_eq(ns_apply_record(f->ns, &r, &why), 0);
    r.type = OP_mkdir;
    r.body.len = 1;
    ck_assert_int_eq(ns_apply_record(f->ns, &r, &why), ERR_CORRUPT);
    r.type = OP_lookup;
    ck_assert_int_eq(ns_apply_record(f->ns, &r, &why), ERR_CORRUPT);
    r.type = 0x7777;
    ck_assert_int_eq(ns_apply_record(f->ns, &r, &why), ERR_CORRUPT);
    union op_any any = {0}, out;
    uint64_t depends;
    ck_assert_int_eq(ns_query(f->ns, OP_open, &any, &f->scratch, &out, &depends), ERR_UNKNOWN_OP);
    ck_assert_int_eq(ns_query(f->ns, OP_mkdir, &any, &f->scratch, &out, &depends), ERR_UNKNOWN_OP);
    ck_assert_int_eq(ns_prepare(f->ns, OP_lookup, 0, &any, &f->scratch, &out, &depends),
                     ERR_UNKNOWN_OP);
    ck_assert_int_eq(ns_prepare(f->ns, OP_chunk_new, 0, &any, &f->scratch, &out, &depends),
                     ERR_UNKNOWN_OP);
    writer_free(&w);
    fixture_close(f);
}
END_TEST

Suite *suite_ns_session(void)
{
    Suite *s = suite_create("ns_session");
    TCase *t = tcase_create("ns_session");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, nonce_names_a_session);
    tcase_add_test(t, answers_are_kept_in_memory_until_a_commit);
    tcase_add_test(t, answers_are_kept);
    tcase_add_test(t, sessions_keep_their_own);
    tcase_add_test(t, end_frees_what_it_held);
    tcase_add_test(t, servers_are_remembered);
    tcase_add_test(t, bad_records_are_refused);
    suite_add_tcase(s, t);
    return s;
}
