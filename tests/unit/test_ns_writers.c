/* test_ns_writers.c - which session may write what, and what is cut when one ends. */
#include "tests/unit/ns_fixture.h"

#include <string.h>

Suite *suite_ns_writers(void);

static void add(struct fixture *f, uint64_t session, uint64_t ino)
{
    struct writer w;
    writer_init(&w);
    enc_u64(&w, &ino);
    RECORD(f, writers_add, .session = session, .inodes = writer_bytes(&w));
    writer_free(&w);
}

static void closed(struct fixture *f, uint64_t session, uint64_t ino)
{
    struct writer w;
    writer_init(&w);
    enc_u64(&w, &session);
    enc_u64(&w, &ino);
    RECORD(f, writers_remove, .closed = writer_bytes(&w));
    writer_free(&w);
}

static uint64_t rows(struct fixture *f)
{
    return store_rows(f->store, TABLE_WRITER);
}

/* A file with `size` committed bytes in as many chunks as they need, and one chunk more. */
static uint64_t written_file(struct fixture *f, const char *name, uint64_t size)
{
    uint64_t ino = create_file(f, ROOT_INO, name);
    uint64_t count = (size + FIXTURE_CHUNK - 1) / FIXTURE_CHUNK;
    for (uint64_t n = 1; n <= count; n++) {
        grow_chunk(f, ino, n);
    }
    extend(f, ino, size);
    return ino;
}

START_TEST(create_opens_for_writing)
{
    struct fixture *f = fixture_open();
    uint64_t nobody = create_file(f, ROOT_INO, "nobody");
    ck_assert_uint_eq(rows(f), 0);
    f->session = open_session(f, 1);
    uint64_t a = create_file(f, ROOT_INO, "a");
    make_file(f, ROOT_INO, "node");
    ck_assert_uint_eq(rows(f), 1);
    ck_assert(ns_writer_exists(f->ns, f->session, a));
    ck_assert(!ns_writer_exists(f->ns, f->session, nobody));
    uint64_t session, ino;
    ck_assert_int_eq(ns_writer_next(f->ns, 0, 0, &session, &ino), 0);
    ck_assert(session == f->session && ino == a);
    ck_assert_int_eq(ns_writer_next(f->ns, f->session, a + 1, &session, &ino), -ENOENT);
    f->session = 77; /* it has ended: its late record does what it says, but nobody writes */
    create_file(f, ROOT_INO, "late");
    ck_assert_uint_eq(rows(f), 1);
    fixture_close(f);
}
END_TEST

START_TEST(rows_are_set_once)
{
    struct fixture *f = fixture_open();
    uint64_t s1 = open_session(f, 1), s2 = open_session(f, 2);
    uint64_t a = create_file(f, ROOT_INO, "a");
    uint64_t before = ns_hash(f->ns);
    add(f, 99, a);
    closed(f, s1, a);
    closed(f, 99, 999);
    ck_assert_uint_eq(ns_hash(f->ns), before);
    struct stamp ctime = attr(f, a).ctime;
    add(f, s1, a);
    add(f, s1, a);
    add(f, s2, a);
    ck_assert_uint_eq(rows(f), 2);
    closed(f, s1, a);
    closed(f, s1, a);
    ck_assert(ns_writer_exists(f->ns, s2, a) && !ns_writer_exists(f->ns, s1, a));
    closed(f, s2, a);
    ck_assert_uint_eq(ns_hash(f->ns), before); /* a close leaves nothing behind */
    ck_assert(same_time(attr(f, a).ctime, ctime));
    fixture_close(f);
}
END_TEST

START_TEST(many_in_one_record)
{
    struct fixture *f = fixture_open();
    uint64_t s1 = open_session(f, 1), s2 = open_session(f, 2);
    struct writer w;
    writer_init(&w);
    for (int i = 0; i < 20; i++) {
        char name[3] = {'f', (char)('a' + i), 0};
        uint64_t ino = create_file(f, ROOT_INO, name);
        enc_u64(&w, &ino);
    }
    RECORD(f, writers_add, .session = s1, .inodes = writer_bytes(&w));
    RECORD(f, writers_add, .session = s2, .inodes = writer_bytes(&w));
    ck_assert_uint_eq(rows(f), 40);
    w.len = 0;
    uint64_t session = 0, ino = 0;
    while (ns_writer_next(f->ns, session, ino, &session, &ino) == 0) {
        enc_u64(&w, &session);
        enc_u64(&w, &ino);
        ino++;
    }
    RECORD(f, writers_remove, .closed = writer_bytes(&w));
    ck_assert_uint_eq(rows(f), 0);
    writer_free(&w);
    fixture_close(f);
}
END_TEST

START_TEST(expiry_trims_uncommitted_bytes)
{
    struct fixture *f = fixture_open();
    uint64_t s = open_session(f, 1);
    uint64_t a = written_file(f, "a", FIXTURE_CHUNK + 10), b = create_file(f, ROOT_INO, "b");
    uint64_t c = written_file(f, "c", 20), held = create_file(f, ROOT_INO, "held");
    add(f, s, a);
    add(f, s, b);
    add(f, s, held);
    hold(f, held, s);
    ck_assert_int_eq(DO(f, unlink, .parent = ROOT_INO, .name = N("held")), 0);
    ck_assert_uint_eq(attr(f, held).ino, held);
    struct stamp mtime = attr(f, a).mtime;
    RECORD(f, session_expire, .session = s);
    ck_assert_uint_eq(chunk(f, a, 1).trim, 10);
    ck_assert_uint_eq(chunk(f, a, 0).trim, NO_TRIM);
    ck_assert_uint_eq(chunk(f, a, 2).handle, 0);
    ck_assert_uint_eq(attr(f, a).size, FIXTURE_CHUNK + 10);
    ck_assert(same_time(attr(f, a).ctime, last_time(f))); /* mounts look for the trim */
    ck_assert(same_time(attr(f, a).mtime, mtime));
    ck_assert_uint_eq(chunk(f, b, 0).handle, 0);
    ck_assert_uint_eq(chunk(f, c, 0).trim, NO_TRIM);
    ck_assert_uint_eq(attr(f, held).ino, 0);
    ck_assert_uint_eq(rows(f), 0);
    ck_assert(!ns_session_exists(f->ns, s));
    fixture_close(f);
}
END_TEST

/* An unmount that left files open is an end too; what was closed before is left alone. */
START_TEST(end_cuts_what_is_open)
{
    struct fixture *f = fixture_open();
    uint64_t s = open_session(f, 1);
    uint64_t a = written_file(f, "a", 10), b = written_file(f, "b", 10);
    add(f, s, a);
    add(f, s, b);
    closed(f, s, b);
    f->session = s;
    ck_assert_int_eq(DO(f, session_end), 0);
    ck_assert_uint_eq(chunk(f, a, 0).trim, 10);
    ck_assert_uint_eq(chunk(f, b, 0).trim, NO_TRIM);
    fixture_close(f);
}
END_TEST

/* Bytes that another session wrote and will commit are not cut off. */
START_TEST(cut_waits_for_other_writers)
{
    struct fixture *f = fixture_open();
    uint64_t dead = open_session(f, 1), live = open_session(f, 2), silent = open_session(f, 3);
    uint64_t a = written_file(f, "a", 10), b = written_file(f, "b", 10);
    add(f, dead, a);
    add(f, live, a);
    add(f, dead, b);
    add(f, silent, b);
    RECORD(f, session_expire, .session = dead);
    ck_assert_uint_eq(chunk(f, a, 0).trim, NO_TRIM);
    ck_assert_uint_eq(chunk(f, b, 0).trim, NO_TRIM);
    fixture_check(f);
    extend(f, a, 500);
    add(f, live, a);
    closed(f, live, a); /* the last one leaves: now nothing that counts lies beyond the size */
    ck_assert_uint_eq(chunk(f, a, 0).trim, 500);
    ck_assert_uint_eq(chunk(f, a, 1).handle, 0);
    RECORD(f, session_expire, .session = silent);
    ck_assert_uint_eq(chunk(f, b, 0).trim, 10);
    /* It is done once. */
    DO(f, trimmed, .ino = a, .number = 0, .handle = chunk(f, a, 0).handle, .trim = 500);
    add(f, live, a);
    closed(f, live, a);
    ck_assert_uint_eq(chunk(f, a, 0).trim, NO_TRIM);
    fixture_close(f);
}
END_TEST

START_TEST(removed_inodes_lose_their_rows)
{
    struct fixture *f = fixture_open();
    uint64_t s1 = open_session(f, 1), s2 = open_session(f, 2), s3 = open_session(f, 3);
    uint64_t low = create_file(f, ROOT_INO, "low"), a = create_file(f, ROOT_INO, "a");
    uint64_t high = create_file(f, ROOT_INO, "high");
    uint64_t sessions[] = {s1, s2, s3};
    for (int i = 0; i < 3; i++) {
        add(f, sessions[i], low);
        add(f, sessions[i], high);
    }
    add(f, s1, a);
    add(f, s3, a);
    ck_assert_int_eq(DO(f, unlink, .parent = ROOT_INO, .name = N("a")), 0); /* nobody holds it */
    ck_assert_uint_eq(attr(f, a).ino, 0);
    ck_assert_uint_eq(rows(f), 6);
    fixture_check(f);
    hold(f, high, s2);
    hold(f, high, s3);
    ck_assert_int_eq(DO(f, unlink, .parent = ROOT_INO, .name = N("high")), 0);
    RECORD(f, release_orphan, .ino = high, .session = s2);
    ck_assert(!ns_writer_exists(f->ns, s2, high));
    fixture_check(f);
    RECORD(f, release_orphan, .ino = high, .session = s3);
    ck_assert_uint_eq(attr(f, high).ino, 0);
    ck_assert_uint_eq(rows(f), 3); /* s1 was on record, but did not hold it */
    ck_assert_uint_eq(rows(f), 3);
    fixture_close(f);
}
END_TEST

/* ---------------------------------------------------------------- any order of things */

enum { SESSIONS = 4, FILES = 6, STEPS = 3000 };

struct play {
    struct fixture *f;
    struct sim_rand r;
    uint64_t nonce;
    uint64_t session[SESSIONS];
    uint64_t ino[FILES]; /* 0 = none */
    bool writes[SESSIONS][FILES];
    bool due[FILES];
};

static void expect_leave(struct play *p, int s, int i, bool died, bool *cut)
{
    if (!p->writes[s][i]) {
        return;
    }
    p->writes[s][i] = false;
    p->due[i] |= died;
    bool any = false;
    for (int k = 0; k < SESSIONS; k++) {
        any |= p->writes[k][i];
    }
    *cut = p->due[i] && !any;
    p->due[i] &= any;
}

static void play_end(struct play *p, int s)
{
    bool cut[FILES] = {false};
    if (sim_chance(&p->r, 1, 2)) {
        RECORD(p->f, session_expire, .session = p->session[s]);
    } else {
        p->f->session = p->session[s];
        ck_assert_int_eq(DO(p->f, session_end), 0);
        p->f->session = 0;
    }
    for (int i = 0; i < FILES; i++) {
        expect_leave(p, s, i, true, &cut[i]);
        if (cut[i]) {
            struct attr a = attr(p->f, p->ino[i]);
            ck_assert(same_time(a.ctime, last_time(p->f)));
            ck_assert(chunk(p->f, p->ino[i], 0).handle == 0 ||
                      chunk(p->f, p->ino[i], 0).trim <= a.size || a.size >= FIXTURE_CHUNK);
        }
    }
    p->session[s] = open_session(p->f, ++p->nonce);
}

static void play_step(struct play *p)
{
    int s = (int)sim_below(&p->r, SESSIONS), i = (int)sim_below(&p->r, FILES);
    char name[3] = {'f', (char)('a' + i), 0};
    bool cut = false;
    uint64_t draw = sim_below(&p->r, 20);
    if (p->ino[i] == 0) {
        p->f->session = p->session[s];
        p->ino[i] = create_file(p->f, ROOT_INO, name);
        p->f->session = 0;
        p->writes[s][i] = true;
    } else if (draw < 7) {
        add(p->f, p->session[s], p->ino[i]);
        p->writes[s][i] = true;
    } else if (draw < 13) {
        closed(p->f, p->session[s], p->ino[i]);
        expect_leave(p, s, i, false, &cut);
        ck_assert_int_eq(same_time(attr(p->f, p->ino[i]).ctime, last_time(p->f)), cut);
    } else if (draw < 15) {
        play_end(p, s);
    } else if (draw < 16) {
        ck_assert_int_eq(DO(p->f, unlink, .parent = ROOT_INO, .name = N(name)), 0);
        p->ino[i] = 0;
        p->due[i] = false;
        for (int k = 0; k < SESSIONS; k++) {
            p->writes[k][i] = false;
        }
    } else if (draw < 17) {
        truncate_to(p->f, p->ino[i], sim_below(&p->r, 3 * FIXTURE_CHUNK));
    } else if (draw < 19) {
        extend(p->f, p->ino[i], sim_below(&p->r, 3 * FIXTURE_CHUNK));
    } else {
        uint64_t number = sim_below(&p->r, 4);
        if (chunk(p->f, p->ino[i], number).handle == 0) {
            grow_chunk(p->f, p->ino[i], number);
        }
    }
}

START_TEST(any_order)
{
    struct play p = {.f = fixture_open(), .r = sim_rand_of(5, 5)};
    for (int s = 0; s < SESSIONS; s++) {
        p.session[s] = open_session(p.f, ++p.nonce);
    }
    for (int n = 0; n < STEPS; n++) {
        play_step(&p);
        for (int s = 0; s < SESSIONS; s++) {
            for (int i = 0; i < FILES; i++) {
                MUST(p.ino[i] == 0 ||
                     ns_writer_exists(p.f->ns, p.session[s], p.ino[i]) == p.writes[s][i]);
            }
        }
        if (n % 10 == 0) {
            fixture_check(p.f);
        }
    }
    fixture_close(p.f);
}
END_TEST

Suite *suite_ns_writers(void)
{
    Suite *s = suite_create("ns_writers");
    TCase *t = tcase_create("ns_writers");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, create_opens_for_writing);
    tcase_add_test(t, rows_are_set_once);
    tcase_add_test(t, many_in_one_record);
    tcase_add_test(t, expiry_trims_uncommitted_bytes);
    tcase_add_test(t, end_cuts_what_is_open);
    tcase_add_test(t, cut_waits_for_other_writers);
    tcase_add_test(t, removed_inodes_lose_their_rows);
    tcase_add_test(t, any_order);
    suite_add_tcase(s, t);
    return s;
}
