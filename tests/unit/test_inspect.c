/* test_inspect.c - what an operator is told about single files and chunks. */
#include "tests/unit/master_fixture.h"

#include <check.h>
#include <string.h>

static struct fixture *f;
static struct chunk c;

static void setup(void)
{
    f = fixture_new(3);
    fixture_open_session(f);
    c = fixture_make_file(f, "f", 100, &(uint64_t){0});
}

static void teardown(void)
{
    fixture_free(f);
}

static struct chunk_list_rep list(bool whole)
{
    struct chunk_list_req req = {.ino = c.ino, .count = 8, .one_file = true, .whole = whole};
    struct chunk_list_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, chunk_list, &req, &rep, 0), 0);
    return rep;
}

START_TEST(whole_file)
{
    struct chunk_list_rep rep = list(false);
    ck_assert_uint_eq(rep.looked, 1);
    ck_assert_uint_eq(rep.ino, 0);
    ck_assert_uint_eq(rep.chunks.len, 0);
    struct reader r = reader_of(list(true).chunks);
    struct chunk_state one;
    dec_chunk_state(&r, &one);
    ck_assert(reader_done(&r));
    ck_assert_uint_eq(one.good, 3);
    ck_assert_uint_eq(one.wanted, 3);
    ck_assert_uint_eq(one.version, c.version);
}
END_TEST

START_TEST(no_such_file)
{
    struct chunk_list_req req = {.ino = 4711, .count = 1, .one_file = true};
    struct chunk_list_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, chunk_list, &req, &rep, 0), -ENOENT);
}
END_TEST

START_TEST(names_who_is_away_and_since_when)
{
    uint32_t away = f->fakes[1].id;
    fake_stop(&f->fakes[1]);
    fixture_run_ms(f, 10000);
    struct reader r = reader_of(list(false).chunks);
    struct chunk_state chunk;
    dec_chunk_state(&r, &chunk);
    ck_assert_int_eq(r.err, 0);
    ck_assert_uint_eq(chunk.handle, c.handle);
    ck_assert_uint_eq(chunk.good, 2);
    struct reader members = reader_of(chunk.replicas);
    for (int i = 0; i < 3; i++) {
        struct replica_state one;
        dec_replica_state(&members, &one);
        ck_assert_int_eq(members.err, 0);
        ck_assert(one.alive == (one.server.id != away));
        ck_assert(bytes_equal(one.state, bytes_str(one.server.id == away ? "away" : "good")));
        ck_assert(one.server.id != away || one.away_ms >= 9000);
    }
    ck_assert(reader_done(&members));
}
END_TEST

static struct chunk located(void)
{
    struct locate_req req = {.ino = c.ino, .count = 1};
    struct locate_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, locate, &req, &rep, 0), 0);
    struct reader r = reader_of(rep.chunks);
    struct chunk k;
    dec_chunk(&r, &k);
    ck_assert_int_eq(r.err, 0);
    return k;
}

static struct chunk_state listed(void)
{
    struct reader r = reader_of(list(true).chunks);
    struct chunk_state k;
    dec_chunk_state(&r, &k);
    ck_assert_int_eq(r.err, 0);
    return k;
}

/* All servers away: waited for at first, lost then, and served again when one is back. */
START_TEST(lost_while_all_are_away_for_long)
{
    for (int i = 0; i < 3; i++) {
        fake_stop(&f->fakes[i]);
    }
    fixture_run_ms(f, f->cfg.away_grace_ms - 1500);
    ck_assert(!located().gone && !listed().lost && listed().good == 0);
    ck_assert_uint_eq(f->m->repair.chunks_lost, 0);
    fixture_run_ms(f, 4000);
    ck_assert(located().gone && listed().lost);
    ck_assert_uint_eq(f->m->repair.chunks_lost, 1);
    fake_start(&f->fakes[1]);
    fixture_run_ms(f, 3000);
    ck_assert(!located().gone && !listed().lost);
    ck_assert_uint_eq(f->m->repair.chunks_lost, 0);
}
END_TEST

/* A master that got no processor heard nobody: that says nothing of servers and mounts. */
START_TEST(own_standstill_is_nobodys_absence)
{
    uint64_t long_ms = 10ull * MAX(f->cfg.away_grace_ms, f->cfg.geometry.session_ms);
    sim_process_pause(f->mp, long_ms * NS_PER_MS);
    fixture_run_ms(f, long_ms - 1);
    for (int i = 0; i < 3; i++) {
        const struct chunkserver *s = servers_get(&f->m->servers, f->fakes[i].id);
        ck_assert(!server_alive(s, env_mono_ns(f->m->env))); /* its lease counts all the same */
        ck_assert(!repair_away_long(f->m, s->id));
    }
    ck_assert(!located().gone);
    ck_assert_ptr_nonnull(sessions_get(&f->m->sessions, f->session));
    fixture_run_ms(f, f->cfg.geometry.session_ms + 1000);
    ck_assert_ptr_null(sessions_get(&f->m->sessions, f->session));
}
END_TEST

START_TEST(lists_written_chunks_in_pages)
{
    struct create_req req = {.parent = ROOT_INO, .name = bytes_str("empty"), .mode = 0644};
    struct create_rep created;
    ck_assert_int_eq(FIXTURE_CALL(f, create, &req, &created, 3), 0);
    struct chunk_list_req ask = {.count = 1, .whole = true};
    struct chunk_list_rep rep;
    ck_assert_int_eq(FIXTURE_CALL(f, chunk_list, &ask, &rep, 0), 0);
    struct reader r = reader_of(rep.chunks);
    struct chunk_state one;
    dec_chunk_state(&r, &one);
    ck_assert(reader_done(&r));
    ck_assert_uint_eq(one.ino, c.ino);
    ck_assert_uint_eq(rep.ino, created.attr.ino);
    ask.ino = rep.ino;
    ask.number = rep.number;
    ck_assert_int_eq(FIXTURE_CALL(f, chunk_list, &ask, &rep, 0), 0);
    ck_assert_uint_eq(rep.chunks.len, 0);
    ck_assert_uint_eq(rep.ino, 0);
    ask.count = 0;
    ck_assert_int_eq(FIXTURE_CALL(f, chunk_list, &ask, &rep, 0), ERR_PROTOCOL);
}
END_TEST

Suite *suite_inspect(void);
Suite *suite_inspect(void)
{
    Suite *s = suite_create("inspect");
    TCase *t = tcase_create("inspect");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, whole_file);
    tcase_add_test(t, no_such_file);
    tcase_add_test(t, names_who_is_away_and_since_when);
    tcase_add_test(t, lost_while_all_are_away_for_long);
    tcase_add_test(t, own_standstill_is_nobodys_absence);
    tcase_add_test(t, lists_written_chunks_in_pages);
    suite_add_tcase(s, t);
    return s;
}
