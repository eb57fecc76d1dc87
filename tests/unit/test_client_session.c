/* test_client_session.c - the mount's session: reconnecting, repeating, expiry, cancelling. */
#include <check.h>
#include <fcntl.h>
#include <string.h>

#include "tests/unit/script_cluster.h"

Suite *suite_client_session(void);

static void start_mkdir(struct script_cluster *f, struct script_call *c)
{
    script_call_init(c);
    client_mkdir(f->client, &c->k, ROOT_INO, bytes_str("d"), 0755, 0, 0);
}

/* Leaves the first request of an operation unanswered and breaks the connection. */
static enum script_verdict cut_first_mkdir(struct script_cluster *f, struct script_link *l,
                                           struct message *m)
{
    (void)l;
    if (m->head.op != OP_mkdir || f->hook_count++ > 0) {
        return SCRIPT_GO_ON;
    }
    return SCRIPT_DONE;
}

/* A mutation whose answer was lost with the connection is sent again under its number. */
START_TEST(lost_answer_keeps_sequence)
{
    struct script_cluster *f = script_start(NULL);
    struct script_call c;
    f->hook = cut_first_mkdir;
    start_mkdir(f, &c);
    script_run(f, 100);
    ck_assert(!c.over);
    script_cut(f, 0);
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_uint_eq(script_count(f, OP_mkdir), 2);
    const struct script_request *a = script_request(f, OP_mkdir, 0),
                                *b = script_request(f, OP_mkdir, 1);
    ck_assert_uint_eq(a->sequence, 1);
    ck_assert_uint_eq(b->sequence, 1);
    ck_assert_uint_eq(a->session, b->session);
    ck_assert_uint_eq(c.k.attr.ino, 7);
    ck_assert_uint_eq(c.k.index, f->index);
    script_end(f);
}
END_TEST

/* acked names the highest number below which everything is answered. */
START_TEST(acked_follows_answers)
{
    struct script_cluster *f = script_start(NULL);
    struct script_call c[3];
    f->hook = cut_first_mkdir;
    for (int n = 0; n < 3; n++) {
        start_mkdir(f, &c[n]);
    }
    ck_assert_int_eq(script_wait(f, &c[2]), 0);
    ck_assert(!c[0].over);
    struct script_call d;
    start_mkdir(f, &d);
    ck_assert_int_eq(script_wait(f, &d), 0);
    ck_assert_uint_eq(script_request(f, OP_mkdir, 3)->sequence, 4);
    ck_assert_uint_eq(script_request(f, OP_mkdir, 3)->acked, 0);
    script_cut(f, 0);
    ck_assert_int_eq(script_wait(f, &c[0]), 0);
    start_mkdir(f, &d);
    ck_assert_int_eq(script_wait(f, &d), 0);
    ck_assert_uint_eq(script_request(f, OP_mkdir, 5)->acked, 4);
    script_end(f);
}
END_TEST

/* A new connection is told what is open, and only that. */
START_TEST(reconnect_attaches_opens)
{
    struct script_cluster *f = script_start(NULL);
    uint64_t ino[3];
    struct client_file *file[3];
    for (int n = 0; n < 3; n++) {
        char name[2] = {(char)('a' + n), 0};
        ino[n] = script_make(f, name, 100, 1);
        file[n] = script_open(f, ino[n], n == 2 ? O_WRONLY : O_RDONLY);
    }
    client_release(f->client, file[1]);
    script_cut(f, 0);
    script_run(f, 3000);
    ck_assert_uint_eq(f->open_count, 2);
    ck_assert_uint_eq(f->attached_writing, 1);
    ck_assert_uint_eq(f->opens[0], ino[2]);
    ck_assert_uint_eq(f->opens[1], ino[0]);
    client_release(f->client, file[0]);
    client_release(f->client, file[2]);
    script_run(f, 3000);
    ck_assert_uint_eq(f->open_count, 0);
    ck_assert(client_settled(f->client));
    script_end(f);
}
END_TEST

static enum script_verdict no_extend(struct script_cluster *f, struct script_link *l,
                                     struct message *m)
{
    (void)l;
    return m->head.op == OP_extend && f->hook_count++ == 0 ? SCRIPT_DONE : SCRIPT_GO_ON;
}

/* A file that is closed here counts as open for writing until its size is committed. */
START_TEST(uncommitted_file_is_attached)
{
    struct script_cluster *f = script_start(NULL);
    uint64_t ino = script_make(f, "a", 100, 1);
    struct client_file *file = script_open(f, ino, O_RDWR);
    f->hook = no_extend;
    ck_assert_int_eq(script_write(f, file, 100, 50, 2), 0);
    client_release(f->client, file);
    script_run(f, 300);
    ck_assert_int_eq(f->hook_count, 1);
    f->attached_writing = 0;
    script_cut(f, 0);
    for (int ms = 0; ms < 3000 && f->attached_writing == 0; ms++) {
        script_run(f, 1);
    }
    ck_assert_uint_eq(f->attached_writing, 1);
    ck_assert_uint_eq(f->opens[0], ino);
    script_run(f, 3000);
    ck_assert_uint_eq(f->open_count, 0); /* then it is closed */
    ck_assert(client_settled(f->client));
    script_end(f);
}
END_TEST

static enum script_verdict refuse_mkdir(struct script_cluster *f, struct script_link *l,
                                        struct message *m)
{
    if (m->head.op != OP_mkdir || f->hook_count == 0) {
        return SCRIPT_GO_ON;
    }
    f->hook_count--;
    script_answer(l, m, f->hook_status);
    return SCRIPT_DONE;
}

/* A master that is starting, or busy, is asked again under the same number. */
START_TEST(not_ready_is_asked_again)
{
    struct script_cluster *f = script_start(NULL);
    struct script_call c;
    f->hook = refuse_mkdir;
    f->hook_count = 4;
    f->hook_status = _i == 0 ? ERR_NOT_READY : ERR_BUSY;
    start_mkdir(f, &c);
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_uint_eq(script_count(f, OP_mkdir), 5);
    ck_assert_uint_eq(script_request(f, OP_mkdir, 4)->sequence, 1);
    uint64_t ms =
        (script_request(f, OP_mkdir, 4)->at_ns - script_request(f, OP_mkdir, 0)->at_ns) / NS_PER_MS;
    ck_assert(ms >= 700 && ms < 1500); /* 50 + 100 + 200 + 400 */
    script_end(f);
}
END_TEST

/* The session ended at the master: a refused mutation goes on in a new one, opens are told again. */
START_TEST(ended_session_is_replaced)
{
    struct script_cluster *f = script_start(NULL);
    uint64_t ino = script_make(f, "a", 100, 1);
    script_open(f, ino, O_RDONLY);
    f->session = 5; /* the mount's is unknown from now on */
    struct script_call c;
    start_mkdir(f, &c);
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_uint_eq(script_count(f, OP_session_open), 2);
    ck_assert_uint_eq(f->open_count, 1);
    ck_assert_uint_eq(f->opens[0], ino);
    ck_assert_uint_eq(script_request(f, OP_mkdir, 1)->session, f->session);
    ck_assert_uint_eq(script_request(f, OP_mkdir, 1)->sequence, 1);
    script_end(f);
}
END_TEST

/* A mutation that may have happened under the ended session fails; a query does not. */
START_TEST(doubtful_mutation_fails_with_session)
{
    struct script_cluster *f = script_start(NULL);
    struct script_call c, q;
    uint64_t ino = script_make(f, "a", 100, 1);
    f->hook = cut_first_mkdir;
    start_mkdir(f, &c);
    script_run(f, 100);
    f->session = 5;
    script_call_init(&q);
    client_getattr(f->client, &q.k, ino);
    script_cut(f, 0);
    ck_assert_int_eq(script_wait(f, &q), 0);
    ck_assert_int_eq(script_wait(f, &c), -EIO);
    script_end(f);
}
END_TEST

/* The session is kept alive by renewals. */
START_TEST(session_is_renewed)
{
    struct script_cluster *f = script_start(NULL);
    script_run(f, 20000);
    uint32_t n = script_count(f, OP_session_renew);
    ck_assert(n >= 9 && n <= 14); /* every third of 6 s */
    script_end(f);
}
END_TEST

static enum script_verdict swallow_mkdir_and_renew(struct script_cluster *f, struct script_link *l,
                                                   struct message *m)
{
    (void)l;
    bool swallow = m->head.op == OP_mkdir || m->head.op == OP_session_renew;
    return swallow && f->hook_count == 0 ? SCRIPT_DONE : SCRIPT_GO_ON;
}

/* A master that has gone silent on an open connection is dialled anew. */
START_TEST(silent_connection_is_replaced)
{
    struct script_cluster *f = script_start(NULL);
    struct script_call c;
    f->hook = swallow_mkdir_and_renew;
    start_mkdir(f, &c);
    script_run(f, 2500);
    ck_assert(client_waiting(f->client));
    f->hook_count = 1;
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_uint_ge(script_count(f, OP_session_attach), 2);
    ck_assert(!client_waiting(f->client));
    script_end(f);
}
END_TEST

/* An answer of a master older than the newest seen does not count. */
START_TEST(old_epoch_is_not_believed)
{
    struct script_cluster *f = script_start(NULL);
    struct script_call c;
    f->epoch = 2;
    start_mkdir(f, &c);
    script_run(f, 3000);
    ck_assert(!c.over);
    f->epoch = 4;
    ck_assert_int_eq(script_wait(f, &c), 0);
    script_end(f);
}
END_TEST

/* Cancelling ends a waiting call, whatever it waits for, and never twice. */
START_TEST(cancelled_call_ends)
{
    struct script_cluster *f = script_start(NULL);
    struct script_call c, g;
    uint64_t ino = script_make(f, "a", 100, 1);
    sim_process_kill(f->servers[0].process);
    script_run(f, 100);
    start_mkdir(f, &c);
    script_call_init(&g);
    client_getattr(f->client, &g.k, ino);
    script_run(f, 5000);
    ck_assert(!c.over && !g.over);
    client_cancel(f->client, &c.k);
    client_cancel(f->client, &g.k);
    ck_assert_int_eq(script_wait(f, &c), -EINTR);
    ck_assert_int_eq(script_wait(f, &g), -EINTR);
    ck_assert(client_settled(f->client));
    script_end(f);
}
END_TEST

static enum script_verdict slow_create(struct script_cluster *f, struct script_link *l,
                                       struct message *m)
{
    (void)l;
    return m->head.op == OP_create && f->hook_count == 0 ? SCRIPT_DONE : SCRIPT_GO_ON;
}

/* A create that was cancelled after it was sent may happen: its file is closed again. */
START_TEST(cancelled_create_is_closed)
{
    struct script_cluster *f = script_start(NULL);
    struct script_call c;
    f->hook = slow_create;
    script_call_init(&c);
    client_create_file(f->client, &c.k, ROOT_INO, bytes_str("x"), 0644, 0, 0, O_RDWR);
    script_run(f, 100);
    client_cancel(f->client, &c.k);
    ck_assert_int_eq(script_wait(f, &c), -EINTR);
    f->hook_count = 1;
    script_cut(f, 0);
    script_run(f, 5000);
    ck_assert_uint_eq(f->files[0].ino, 100);
    ck_assert_uint_eq(f->open_count, 0);
    ck_assert(client_settled(f->client));
    script_end(f);
}
END_TEST

/* The second open is answered late, and refused. */
static enum script_verdict refuse_second_open(struct script_cluster *f, struct script_link *l,
                                              struct message *m)
{
    if (m->head.op != OP_open || f->hook_count == 0) {
        return SCRIPT_GO_ON;
    }
    if (f->hook_count == 2) {
        script_answer(l, m, -ENOSPC);
    }
    return SCRIPT_DONE;
}

/* A file is closed while it is being opened again: if that fails or is given up, the master hears of
 * the close. 0: released before the answer; 1: released before, and the close was due while the open
 * was on its way; 2: given up before it was sent. */
START_TEST(failed_open_lets_close_go)
{
    struct script_cluster *f = script_start(NULL);
    uint64_t ino = script_make(f, "x", 100, 1);
    struct client_file *file = script_open(f, ino, O_RDONLY);
    struct script_call c;
    f->hook = refuse_second_open;
    f->hook_count = _i == 0 ? 2 : 1;
    if (_i == 2) {
        script_cut(f, 0);
        script_run(f, 1);
    }
    script_call_init(&c);
    client_open(f->client, &c.k, ino, O_RDWR);
    client_release(f->client, file);
    if (_i == 1) {
        script_run(f, 200);
        ck_assert_uint_eq(script_count(f, OP_close_files), 0);
        f->hook_count = 2;
        script_cut(f, 0);
    } else if (_i == 2) {
        client_cancel(f->client, &c.k);
    }
    ck_assert_int_eq(script_wait(f, &c), _i == 2 ? -EINTR : -ENOSPC);
    script_run(f, 2000);
    ck_assert_uint_eq(script_count(f, OP_open), _i == 0 ? 2 : _i == 1 ? 3 : 1);
    ck_assert_uint_eq(script_count(f, OP_close_files), 1);
    ck_assert_uint_eq(f->open_count, 0);
    ck_assert(client_settled(f->client));
    script_end(f);
}
END_TEST

/* create of a name that is taken opens it, unless O_EXCL. */
START_TEST(create_of_existing_opens)
{
    struct script_cluster *f = script_start(NULL);
    uint64_t ino = script_make(f, "x", 100, 1);
    struct client_file *file = script_create(f, "x");
    ck_assert_uint_eq(client_file_ino(file), ino);
    ck_assert_uint_eq(f->opens[0], ino);
    struct script_call c;
    script_call_init(&c);
    client_create_file(f->client, &c.k, ROOT_INO, bytes_str("x"), 0644, 0, 0, O_RDWR | O_EXCL);
    ck_assert_int_eq(script_wait(f, &c), -EEXIST);
    script_end(f);
}
END_TEST

/* Another mount removes what has the name: before it is looked up, or before it is opened. */
static const uint16_t removed_before[] = {OP_lookup, OP_open};

static enum script_verdict remove_once(struct script_cluster *f, struct script_link *l,
                                       struct message *m)
{
    if (m->head.op != removed_before[f->hook_count] || f->files[0].name[0] == '\0') {
        return SCRIPT_GO_ON;
    }
    f->files[0].name[0] = '\0';
    script_answer(l, m, -ENOENT);
    return SCRIPT_DONE;
}

START_TEST(create_of_removed_makes_it)
{
    struct script_cluster *f = script_start(NULL);
    uint64_t ino = script_make(f, "x", 100, 1);
    f->hook_count = _i;
    f->hook = remove_once;
    struct client_file *file = script_create(f, "x");
    ck_assert_uint_ne(client_file_ino(file), ino);
    ck_assert_uint_eq(script_count(f, OP_create), 2);
    ck_assert_uint_eq(f->open_count, 1);
    client_release(f->client, file);
    script_run(f, 5000);
    ck_assert_uint_eq(f->open_count, 0);
    ck_assert(client_settled(f->client));
    script_end(f);
}
END_TEST

/* statfs is answered from what is known while no master answers. */
START_TEST(statfs_without_master)
{
    struct script_cluster *f = script_start(NULL);
    struct script_call c;
    script_call_init(&c);
    client_statfs(f->client, &c.k);
    ck_assert_int_eq(script_wait(f, &c), 0);
    sim_process_kill(f->servers[0].process);
    script_run(f, 5000);
    script_call_init(&c);
    client_statfs(f->client, &c.k);
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_uint_eq(c.k.statfs.avail, 500 << 20);
    script_end(f);
}
END_TEST

/* Names the master would not take are refused here. */
START_TEST(bad_names_are_refused)
{
    struct script_cluster *f = script_start(NULL);
    char longest[257];
    memset(longest, 'a', sizeof(longest));
    const struct {
        struct bytes name;
        int status;
    } cases[] = {{bytes_of("", 0), -EINVAL},
                 {bytes_str(".."), -EINVAL},
                 {bytes_str("a/b"), -EINVAL},
                 {bytes_of(longest, 256), -ENAMETOOLONG}};
    for (size_t n = 0; n < COUNT_OF(cases); n++) {
        struct script_call c;
        script_call_init(&c);
        client_mkdir(f->client, &c.k, ROOT_INO, cases[n].name, 0755, 0, 0);
        ck_assert_int_eq(script_wait(f, &c), cases[n].status);
    }
    ck_assert_uint_eq(script_count(f, OP_mkdir), 0);
    script_end(f);
}
END_TEST

static void note_stopped(void *owner)
{
    *(bool *)owner = true;
}

/* Stopping writes what is left, closes, and ends the session. */
START_TEST(stop_flushes_and_ends_session)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "x");
    ck_assert_int_eq(script_write(f, file, 0, 1000, 7), 0);
    client_release(f->client, file);
    bool stopped = false;
    client_stop(f->client, 5000, note_stopped, &stopped);
    script_run(f, 1000);
    ck_assert(stopped);
    ck_assert_uint_eq(f->files[0].size, 1000);
    ck_assert_uint_eq(script_count(f, OP_session_end), 1);
    script_end(f);
}
END_TEST

/* With nobody there, stopping ends after the time it was given. */
START_TEST(stop_without_cluster_ends)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "x");
    for (int n = 0; n <= SCRIPT_SERVERS; n++) {
        sim_process_kill(f->servers[n].process);
    }
    ck_assert_int_eq(script_write(f, file, 0, 1000, 7), 0);
    bool stopped = false;
    client_stop(f->client, 3000, note_stopped, &stopped);
    script_run(f, 4000);
    ck_assert(stopped);
    script_end(f);
}
END_TEST

Suite *suite_client_session(void)
{
    Suite *s = suite_create("client_session");
    TCase *t = tcase_create("session");
    suite_add_tcase(s, t);
    tcase_add_test(t, lost_answer_keeps_sequence);
    tcase_add_test(t, acked_follows_answers);
    tcase_add_test(t, reconnect_attaches_opens);
    tcase_add_test(t, uncommitted_file_is_attached);
    tcase_add_loop_test(t, not_ready_is_asked_again, 0, 2);
    tcase_add_test(t, ended_session_is_replaced);
    tcase_add_test(t, doubtful_mutation_fails_with_session);
    tcase_add_test(t, session_is_renewed);
    tcase_add_test(t, silent_connection_is_replaced);
    tcase_add_test(t, old_epoch_is_not_believed);
    tcase_add_test(t, cancelled_call_ends);
    tcase_add_test(t, cancelled_create_is_closed);
    tcase_add_loop_test(t, failed_open_lets_close_go, 0, 3);
    tcase_add_test(t, create_of_existing_opens);
    tcase_add_loop_test(t, create_of_removed_makes_it, 0, COUNT_OF(removed_before));
    tcase_add_test(t, statfs_without_master);
    tcase_add_test(t, bad_names_are_refused);
    tcase_add_test(t, stop_flushes_and_ends_session);
    tcase_add_test(t, stop_without_cluster_ends);
    return s;
}
