/* test_client_masters.c - a mount of several masters: who is the primary, and reading without one. */
#include <check.h>
#include <fcntl.h>
#include <string.h>

#include "tests/unit/script_cluster.h"

Suite *suite_client_masters(void);

static struct script_cluster *start_with_primary(uint32_t n, const struct client_config *cfg)
{
    struct script_cluster *f = script_start_set(cfg);
    script_promote(f, n);
    script_run(f, 1000);
    ck_assert(f->ready);
    return f;
}

static void start_mkdir(struct script_cluster *f, struct script_call *c)
{
    script_call_init(c);
    client_mkdir(f->client, &c->k, ROOT_INO, bytes_str("d"), 0755, 0, 0);
}

static int look_up(struct script_cluster *f, const char *name)
{
    struct script_call c;
    script_call_init(&c);
    client_lookup(f->client, &c.k, ROOT_INO, bytes_str(name));
    return script_wait(f, &c);
}

static bool state_has(struct script_cluster *f, const char *words)
{
    char text[512];
    ck_assert_uint_eq(client_state(f->client, text, sizeof(text)), strlen(text));
    return strstr(text, words) != NULL;
}

/* ---------------------------------------------------------------- who is the primary */

START_TEST(the_primary_is_found)
{
    struct script_cluster *f = start_with_primary((uint32_t)_i, NULL);
    ck_assert_uint_eq(script_count(f, OP_session_open), 1);
    const char *addrs[] = {"primary m:1", "primary m2:1", "primary m3:1"};
    ck_assert(state_has(f, addrs[_i]));
    script_end(f);
}
END_TEST

START_TEST(a_hint_is_followed)
{
    struct script_cluster *f = script_start_set(NULL);
    script_promote(f, 2);
    script_master(f, 0)->hint = "m3:1";
    script_run(f, 1000);
    ck_assert(f->ready);
    ck_assert_uint_eq(script_request(f, OP_hello, 0)->server, 0);
    ck_assert_uint_eq(script_request(f, OP_hello, 1)->server, SCRIPT_MASTER_ID + 1);
    script_end(f);
}
END_TEST

/* Two shadows that take each other for the primary cost no more than a try each. */
START_TEST(wrong_hints_do_no_harm)
{
    struct script_cluster *f = script_start_set(NULL);
    script_promote(f, 2);
    script_master(f, 0)->hint = "m2:1";
    script_master(f, 1)->hint = "m:1";
    script_run(f, 1000);
    ck_assert(f->ready);
    ck_assert_uint_le(script_count(f, OP_hello), 6);
    script_end(f);
}
END_TEST

static enum script_verdict drop_mkdir(struct script_cluster *f, struct script_link *l,
                                      struct message *m)
{
    (void)f;
    return m->head.op == OP_mkdir && l->server->id == 0 ? SCRIPT_DONE : SCRIPT_GO_ON;
}

/* The next primary gets what was not answered under the number it had. */
START_TEST(changes_are_repeated_at_the_next_primary)
{
    struct script_cluster *f = start_with_primary(0, NULL);
    struct script_call c;
    f->hook = drop_mkdir;
    start_mkdir(f, &c);
    script_run(f, 100);
    script_kill(f, 0);
    script_run(f, 3000);
    ck_assert(!c.over);
    script_promote(f, 1);
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_uint_eq(script_count(f, OP_mkdir), 2);
    const struct script_request *a = script_request(f, OP_mkdir, 0),
                                *b = script_request(f, OP_mkdir, 1);
    ck_assert_uint_eq(a->sequence, b->sequence);
    ck_assert_uint_eq(a->session, b->session);
    ck_assert_uint_eq(b->server, SCRIPT_MASTER_ID);
    ck_assert_uint_eq(script_count(f, OP_session_open), 1);
    script_end(f);
}
END_TEST

/* A master that stands still is left for one that took over, and not believed when it goes on. */
START_TEST(a_silent_primary_is_left)
{
    struct script_cluster *f = start_with_primary(0, NULL);
    struct script_call c;
    script_master(f, 0)->mute = true;
    script_master(f, 0)->epoch = f->epoch;
    start_mkdir(f, &c);
    script_run(f, 500);
    script_promote(f, 1);
    script_master(f, 0)->role = MASTER_PRIMARY; /* it does not know better */
    script_run(f, 7000);
    ck_assert(c.over);
    ck_assert_int_eq(c.k.status, 0);
    script_master(f, 0)->mute = false;
    script_kill(f, 1);
    uint32_t attached = script_count(f, OP_session_attach);
    start_mkdir(f, &c);
    script_run(f, 5000);
    ck_assert(!c.over);
    ck_assert_uint_eq(script_count(f, OP_session_attach), attached);
    script_master(f, 1)->dead = false;
    ck_assert_int_eq(script_wait(f, &c), 0);
    script_end(f);
}
END_TEST

/* Questions do not wait for it longer than it takes to be sure. */
START_TEST(a_silent_primary_is_read_without)
{
    struct script_cluster *f = start_with_primary((uint32_t)_i, NULL);
    script_make(f, "x", 1000, 5);
    script_master(f, (uint32_t)_i)->mute = true;
    uint64_t before = f->sim->now_ns;
    ck_assert_int_eq(look_up(f, "x"), 0);
    ck_assert_uint_lt(f->sim->now_ns - before, 4500 * NS_PER_MS);
    script_end(f);
}
END_TEST

/* A primary that may not act is left only when that lasts. */
static enum script_verdict not_ready(struct script_cluster *f, struct script_link *l,
                                     struct message *m)
{
    if (l->server->id != 0 || m->head.op == OP_hello || f->hook_count == 0) {
        return SCRIPT_GO_ON;
    }
    script_answer(l, m, ERR_NOT_READY);
    return SCRIPT_DONE;
}

START_TEST(a_primary_that_may_not_act_is_left)
{
    struct script_cluster *f = start_with_primary(0, NULL);
    script_make(f, "x", 1000, 5);
    f->hook = not_ready;
    f->hook_count = 1;
    ck_assert_int_eq(look_up(f, "x"), 0); /* a shadow says so */
    ck_assert(state_has(f, "shadow m2:1") || state_has(f, "shadow m3:1"));
    struct script_call c;
    start_mkdir(f, &c);
    script_run(f, 2000);
    ck_assert(!c.over);
    f->hook_count = 0;
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert(state_has(f, "primary m:1"));
    script_end(f);
}
END_TEST

/* ---------------------------------------------------------------- shadows */

START_TEST(questions_go_to_a_shadow)
{
    struct script_cluster *f = start_with_primary(0, NULL);
    script_make(f, "x", 1000, 5);
    uint64_t before = f->sim->now_ns;
    script_kill(f, 0);
    struct script_call c, d;
    start_mkdir(f, &c);
    ck_assert_int_eq(look_up(f, "x"), 0);
    ck_assert_uint_lt(f->sim->now_ns - before, NS_PER_S);
    const struct script_request *q = script_request(f, OP_lookup, 0);
    ck_assert_uint_ge(q->server, SCRIPT_MASTER_ID);
    ck_assert_uint_ge(q->index, f->index - 1);
    ck_assert_uint_eq(q->flags & FRAME_ANY_AGE, FRAME_ANY_AGE);
    script_call_init(&d);
    client_open(f->client, &d.k, 100, O_RDWR); /* is no question */
    script_run(f, 5000);
    ck_assert(!c.over && !d.over);
    ck_assert(!client_waiting(f->client)); /* for what can be answered */
    ck_assert(state_has(f, "2 requests wait for a primary"));
    script_promote(f, 2);
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_int_eq(script_wait(f, &d), 0);
    ck_assert_int_eq(look_up(f, "x"), 0);
    ck_assert_uint_eq(script_request(f, OP_lookup, 1)->server, SCRIPT_MASTER_ID + 1);
    client_release(f->client, d.k.file);
    script_run(f, 200);
    script_end(f);
}
END_TEST

/* What was seen once is in every later answer. */
/* What fallocate asks first belongs to a change: a shadow knows nothing of room. */
START_TEST(fallocate_waits_for_a_primary)
{
    struct script_cluster *f = start_with_primary(0, NULL);
    struct client_file *file = script_create(f, "x");
    script_kill(f, 0);
    struct script_call c;
    script_call_init(&c);
    client_fallocate(f->client, &c.k, file, 0, 0, 100000);
    ck_assert_int_eq(look_up(f, "x"), 0); /* of a shadow */
    script_run(f, 1000);
    ck_assert(!c.over);
    ck_assert_uint_eq(script_count(f, OP_statfs), 0);
    script_promote(f, 1);
    ck_assert_int_eq(script_wait(f, &c), 0);
    client_release(f->client, file);
    script_run(f, 200);
    script_end(f);
}
END_TEST

START_TEST(a_shadow_that_is_behind_is_not_believed)
{
    struct script_cluster *f = start_with_primary(0, NULL);
    struct client_file *file = script_create(f, "x");
    ck_assert_int_eq(script_write(f, file, 0, 100, 1), 0);
    ck_assert_int_eq(script_flush(f, file), 0);
    script_master(f, 1)->applied = f->index - 1;
    script_master(f, 2)->applied = f->index - 1;
    script_kill(f, 0);
    struct script_call c;
    script_call_init(&c);
    client_lookup(f->client, &c.k, ROOT_INO, bytes_str("x"));
    script_run(f, 3000);
    ck_assert(!c.over);
    script_master(f, 2)->applied = f->index;
    ck_assert_int_eq(script_wait(f, &c), 0);
    client_release(f->client, file);
    script_end(f);
}
END_TEST

/* The bound is kept; without one everything goes, and off means off. */
START_TEST(stale_reads_are_chosen)
{
    static const uint32_t bounds[] = {0, 10000, 60000, STALE_OFF};
    static const bool answered[] = {true, false, true, false};
    struct client_config cfg = {.stale_ms = bounds[_i]};
    struct script_cluster *f = start_with_primary(0, &cfg);
    script_make(f, "x", 1000, 5);
    script_master(f, 1)->age_ms = script_master(f, 2)->age_ms = 20000;
    script_kill(f, 0);
    struct script_call c;
    script_call_init(&c);
    client_lookup(f->client, &c.k, ROOT_INO, bytes_str("x"));
    script_run(f, 4000);
    ck_assert_int_eq(c.over, answered[_i]);
    ck_assert(state_has(f, _i == 1   ? ": this master cannot tell whether"
                           : _i == 3 ? "and stale_reads=off; 1 requests wait"
                                     : "reading from shadow"));
    if (_i != 3) {
        bool any = (script_request(f, OP_lookup, 0)->flags & FRAME_ANY_AGE) != 0;
        ck_assert_int_eq(any, bounds[_i] != 10000);
    }
    if (!c.over) {
        script_promote(f, 1);
    }
    ck_assert_int_eq(script_wait(f, &c), 0);
    script_end(f);
}
END_TEST

/* Chunkservers whose lease ran out serve those who have the version from a shadow, nobody else. */
START_TEST(files_are_read_without_leases)
{
    struct script_cluster *f = start_with_primary(0, NULL);
    uint64_t ino = script_make(f, "x", 100000, 5);
    struct client_file *old = script_open(f, ino, O_RDONLY);
    ck_assert_int_eq(script_read(f, old, 0, 1000, 5), 1000);
    f->no_lease = true;
    script_kill(f, 0);
    ck_assert_int_eq(script_read(f, old, 70000, 1000, 5), 1000);
    uint64_t other = script_make(f, "y", 3000000, 6);
    struct client_file *file = script_open(f, other, O_RDONLY);
    ck_assert_int_eq(script_read(f, file, 2900000, 1000, 6), 1000);
    f->no_lease = false;
    script_promote(f, 1);
    script_run(f, 1500);
    ck_assert_uint_eq(f->open_count, 2); /* the primary knows of both */
    f->no_lease = true;
    struct script_call c; /* with a primary there are leases */
    script_call_init(&c);
    client_read(f->client, &c.k, file, 0, 1000);
    script_run(f, 2000);
    ck_assert(!c.over);
    f->no_lease = false;
    ck_assert_int_eq(script_wait(f, &c), 0);
    script_call_drop(&c);
    client_release(f->client, old);
    client_release(f->client, file);
    script_run(f, 200);
    ck_assert_uint_eq(f->open_count, 0);
    script_end(f);
}
END_TEST

static enum script_verdict refuse_reads(struct script_cluster *f, struct script_link *l,
                                        struct message *m)
{
    if (l->server->id == 0 || m->head.op != OP_read) {
        return SCRIPT_GO_ON;
    }
    rpc_answer(&l->rpc, &m->head, f->hook_status, 0, 0,
               RPC_BODY(read_rep, &(struct read_rep){.block = 0}), NULL);
    return SCRIPT_DONE;
}

/* A shadow may not know yet that a chunk was removed: then nobody has it, and that is no error. */
START_TEST(what_is_removed_is_waited_for)
{
    struct script_cluster *f = start_with_primary(0, NULL);
    uint64_t ino = script_make(f, "x", 100000, 5);
    script_kill(f, 0);
    struct client_file *file = script_open(f, ino, O_RDONLY);
    f->hook = refuse_reads;
    f->hook_status = _i == 0 ? ERR_NO_REPLICA : ERR_CHECKSUM;
    struct script_call c;
    script_call_init(&c);
    client_read(f->client, &c.k, file, 0, 1000);
    script_run(f, 5000);
    ck_assert(c.over == (_i == 1));
    f->hook = NULL;
    ck_assert_int_eq(script_wait(f, &c), _i == 0 ? 0 : -EIO);
    script_call_drop(&c);
    script_end(f);
}
END_TEST

/* What this mount wrote is seen here, though it is nowhere else yet. */
START_TEST(own_writes_are_seen)
{
    struct script_cluster *f = start_with_primary(0, NULL);
    uint64_t ino = script_make(f, "x", 100000, 5);
    struct client_file *file = script_open(f, ino, O_RDWR);
    script_kill(f, 0);
    struct script_call c;
    script_call_init(&c);
    ck_assert_int_eq(script_write(f, file, 50000, 100000, 9), 0);
    client_getattr(f->client, &c.k, ino); /* waits for the commit, until there is a shadow */
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_uint_eq(c.k.attr.size, 150000);
    ck_assert_int_eq(script_read(f, file, 50000, 100000, 9), 100000);
    ck_assert_int_eq(script_read(f, file, 40000, 10000, 5), 10000);
    ck_assert_int_eq(script_write(f, file, 60000, 10, 3), 0);
    ck_assert_int_eq(script_read(f, file, 60000, 10, 3), 10);
    ck_assert_int_eq(script_read(f, file, 60010, 10, 9), 10);
    ck_assert_int_eq(look_up(f, "x"), 0);
    ck_assert_uint_eq(script_count(f, OP_extend), 0);
    script_promote(f, 1);
    ck_assert_int_eq(script_flush(f, file), 0);
    ck_assert_uint_eq(script_file_of(f, ino)->size, 150000);
    ck_assert_int_eq(script_read(f, file, 60000, 10, 3), 10);
    client_release(f->client, file);
    script_run(f, 200);
    script_end(f);
}
END_TEST

/* A mount made while there is no primary can read, and has its session as soon as there is one. */
START_TEST(a_new_mount_reads)
{
    struct script_cluster *f = script_start_set(NULL);
    uint64_t ino = script_make(f, "x", 1000, 5);
    script_kill(f, 0);
    f->no_lease = true;
    script_run(f, 2000);
    ck_assert(f->ready);
    ck_assert_uint_eq(script_count(f, OP_session_open), 0);
    struct client_file *file = script_open(f, ino, O_RDONLY);
    ck_assert_int_eq(script_read(f, file, 0, 1000, 5), 1000);
    struct script_call c;
    script_call_init(&c);
    client_statfs(f->client, &c.k);
    ck_assert_int_eq(script_wait(f, &c), 0);
    start_mkdir(f, &c);
    script_run(f, 1000);
    ck_assert(!c.over);
    script_promote(f, 2);
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_uint_eq(script_count(f, OP_session_open), 1);
    ck_assert_uint_eq(f->open_count, 1);
    client_release(f->client, file);
    script_run(f, 200);
    script_end(f);
}
END_TEST

/* A shadow that dies, or stands still, is replaced by another. */
START_TEST(shadows_are_replaced)
{
    struct script_cluster *f = start_with_primary(0, NULL);
    script_make(f, "x", 1000, 5);
    script_kill(f, 0);
    ck_assert_int_eq(look_up(f, "x"), 0);
    uint32_t first = script_request(f, OP_lookup, 0)->server - SCRIPT_MASTER_ID + 1;
    if (_i == 0) {
        script_kill(f, first);
    } else {
        script_master(f, first)->mute = true;
    }
    ck_assert_int_eq(look_up(f, "x"), 0);
    uint32_t last = script_count(f, OP_lookup) - 1;
    ck_assert_uint_ne(script_request(f, OP_lookup, last)->server, SCRIPT_MASTER_ID + first - 1);
    script_end(f);
}
END_TEST

/* Nobody is there: calls wait, and the sentence says so. */
START_TEST(nobody_is_there)
{
    struct script_cluster *f = start_with_primary(0, NULL);
    for (uint32_t n = 0; n < SCRIPT_MASTERS; n++) {
        script_kill(f, n);
    }
    struct script_call c;
    script_call_init(&c);
    client_lookup(f->client, &c.k, ROOT_INO, bytes_str("x"));
    script_run(f, 5000);
    ck_assert(!c.over && client_waiting(f->client));
    ck_assert(state_has(f, "no shadow"));
    client_cancel(f->client, &c.k);
    ck_assert_int_eq(script_wait(f, &c), -EINTR);
    script_end(f);
}
END_TEST

Suite *suite_client_masters(void)
{
    Suite *s = suite_create("client_masters");
    TCase *t = tcase_create("primary");
    suite_add_tcase(s, t);
    tcase_add_loop_test(t, the_primary_is_found, 0, 3);
    tcase_add_test(t, a_hint_is_followed);
    tcase_add_test(t, wrong_hints_do_no_harm);
    tcase_add_test(t, changes_are_repeated_at_the_next_primary);
    tcase_add_test(t, a_silent_primary_is_left);
    tcase_add_loop_test(t, a_silent_primary_is_read_without, 0, 3);
    tcase_add_test(t, a_primary_that_may_not_act_is_left);
    t = tcase_create("shadows");
    suite_add_tcase(s, t);
    tcase_add_test(t, questions_go_to_a_shadow);
    tcase_add_test(t, fallocate_waits_for_a_primary);
    tcase_add_test(t, a_shadow_that_is_behind_is_not_believed);
    tcase_add_loop_test(t, stale_reads_are_chosen, 0, 4);
    tcase_add_test(t, files_are_read_without_leases);
    tcase_add_loop_test(t, what_is_removed_is_waited_for, 0, 2);
    tcase_add_test(t, own_writes_are_seen);
    tcase_add_test(t, a_new_mount_reads);
    tcase_add_loop_test(t, shadows_are_replaced, 0, 2);
    tcase_add_test(t, nobody_is_there);
    return s;
}
