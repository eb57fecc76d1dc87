/* test_sim.c - the simulator's own parts: disk after a power cut, connections, clocks. */
#include "shared/base/hash.h"
#include "tests/sim/sim_env.h"
#include "tests/sim/sim_net.h"

#include <check.h>
#include <string.h>

Suite *suite_sim(void);

static struct env_file *open_file(struct env *e, const char *path, unsigned flags)
{
    struct env_file *f = NULL;
    ck_assert_int_eq(env_file_open(e, path, flags, &f), 0);
    return f;
}

START_TEST(synced_survives_power_cut)
{
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim *s = sim_create(seed);
        struct sim_process *p = sim_process_create(s, "a");
        struct env *e = &p->env;
        sim_process_start(p);
        ck_assert_int_eq(env_make_dir(e, "d"), 0);
        ck_assert_int_eq(env_sync_dir(e, ""), 0);
        struct env_file *f = open_file(e, "d/x", ENV_OPEN_CREATE);
        char data[10000];
        memset(data, 'o', sizeof(data));
        ck_assert_int_eq(env_file_write(e, f, 0, data, sizeof(data)), sizeof(data));
        ck_assert_int_eq(env_file_sync(e, f), 0);
        ck_assert_int_eq(env_sync_dir(e, "d"), 0);
        memset(data, 'n', sizeof(data));
        ck_assert_int_eq(env_file_write(e, f, 5000, data, 4000), 4000);
        ck_assert_int_eq(env_file_write(e, f, 10000, data, 4000), 4000);
        ck_assert_int_eq(env_unlink(e, "d/x"), 0);
        struct env_file *g = open_file(e, "d/y", ENV_OPEN_CREATE);
        ck_assert_int_eq(env_file_sync(e, g), 0);
        sim_process_power_cut(p);
        sim_process_start(p);
        int err = env_file_open(e, "d/x", 0, &f);
        ck_assert(err == 0 || err == -ENOENT);
        if (err == 0) {
            int64_t size = env_file_size(e, f);
            ck_assert(size >= 10000 && size <= 14000);
            ck_assert_int_eq(env_file_read(e, f, 0, data, sizeof(data)), sizeof(data));
            for (int i = 0; i < 10000; i++) {
                bool new_here = i >= 5000 && i < 9000;
                ck_assert(data[i] == 'o' || (new_here && data[i] == 'n'));
            }
        }
        sim_destroy(s);
    }
}
END_TEST

START_TEST(kill_keeps_page_cache)
{
    struct sim *s = sim_create(7);
    struct sim_process *p = sim_process_create(s, "a");
    struct env *e = &p->env;
    sim_process_start(p);
    struct env_file *f = open_file(e, "x", ENV_OPEN_CREATE);
    ck_assert_int_eq(env_file_write(e, f, 0, "abc", 3), 3);
    uint8_t *ring = env_map_ring(e, "ring", 8192);
    ring[5000] = 9;
    uint8_t before[16], after[16];
    env_incarnation(e, before);
    sim_process_kill(p);
    sim_process_start(p);
    env_incarnation(e, after);
    ck_assert_mem_eq(before, after, 16);
    ring = env_map_ring(e, "ring", 8192);
    ck_assert_int_eq(ring[5000], 9);
    char got[4];
    ck_assert_int_eq(env_file_read(e, open_file(e, "x", 0), 0, got, 4), 3);
    ck_assert_mem_eq(got, "abc", 3);
    sim_process_power_cut(p);
    sim_process_start(p);
    env_incarnation(e, after);
    ck_assert(memcmp(before, after, 16) != 0);
    sim_destroy(s);
}
END_TEST

struct end {
    struct env *env;
    struct env_conn *conn;
    int opened, closed, got;
    uint64_t last;
};

static void on_open(void *owner, struct env_conn *c)
{
    struct end *e = owner;
    ck_assert_ptr_eq(c, e->conn);
    e->opened++;
}

static void on_message(void *owner, struct env_conn *c, struct message *m)
{
    struct end *e = owner;
    ck_assert_ptr_eq(c, e->conn);
    ck_assert_uint_eq(m->head.request_id, e->last + 1);
    e->last++;
    e->got++;
}

static void on_close(void *owner, struct env_conn *c, int err)
{
    struct end *e = owner;
    (void)c;
    ck_assert_int_lt(err, 0);
    e->closed++;
    e->conn = NULL;
}

static const struct conn_events events = {on_open, on_message, on_close};

static void on_accept(void *owner, struct env_conn *c)
{
    struct end *e = owner;
    e->conn = c;
    e->last = 0;
    env_conn_bind(e->env, c, &events, e);
}

static void send_one(struct end *e, uint64_t id)
{
    struct message m = {.head.op = 1, .head.request_id = id};
    m.body = (struct slice){buf_new(10), 0, 10};
    memset(m.body.buf->data, 1, 10);
    env_send(e->env, e->conn, &m);
}

START_TEST(frames_in_order_then_cut)
{
    struct sim *s = sim_create(3);
    struct sim_process *a = sim_process_create(s, "a");
    struct sim_process *b = sim_process_create(s, "b");
    sim_process_start(a);
    sim_process_start(b);
    struct end ea = {.env = &a->env}, eb = {.env = &b->env};
    ea.conn = env_dial(&a->env, "b:1", &events, &ea);
    sim_run_for(s, NS_PER_S);
    ck_assert_int_eq(ea.closed, 1);
    ck_assert_int_eq(env_listen(&b->env, "b:1", on_accept, &eb), 0);
    ea.conn = env_dial(&a->env, "b:1", &events, &ea);
    for (uint64_t i = 1; i <= 100; i++) {
        send_one(&ea, i);
    }
    sim_run_for(s, NS_PER_S);
    ck_assert_int_eq(eb.got, 100);
    ck_assert_int_eq(ea.opened, 1);
    send_one(&eb, 1);
    sim_process_kill(b);
    sim_run_for(s, 2 * NS_PER_S);
    ck_assert_int_eq(ea.closed, 2);
    ck_assert_int_eq(eb.closed, 0);
    sim_destroy(s);
    ck_assert_uint_eq(buf_total_bytes(), 0);
}
END_TEST

static uint64_t fired_at;
static struct sim_process *timer_process;

static void on_timer(struct env_timer *t)
{
    (void)t;
    fired_at = env_mono_ns(&timer_process->env);
}

START_TEST(timers_follow_own_clock)
{
    struct sim *s = sim_create(11);
    timer_process = sim_process_create(s, "a");
    sim_process_start(timer_process);
    struct env_timer t = {.fire = on_timer};
    uint64_t start = env_mono_ns(&timer_process->env);
    env_timer_set(&timer_process->env, &t, 3 * NS_PER_S);
    sim_run_for(s, 4 * NS_PER_S);
    ck_assert(fired_at >= start + 3 * NS_PER_S && fired_at < start + 3 * NS_PER_S + 10);
    sim_destroy(s);
}
END_TEST

static bool any_path(void *owner, const char *path)
{
    (void)owner;
    (void)path;
    return true;
}

static void count_sprung(void *owner, const char *path)
{
    ck_assert_str_eq(path, "d/x");
    ++*(int *)owner;
}

/* A trap for any operation below "d/" is sprung by the third call that waits for the disk there, once. */
START_TEST(trap_springs_for_waiting_calls)
{
    struct sim *s = sim_create(3);
    struct sim_process *p = sim_process_create(s, "a");
    struct env *e = &p->env;
    int sprung = 0;
    sim_process_start(p);
    ck_assert_int_eq(env_make_dir(e, "d"), 0);
    struct env_file *f = open_file(e, "d/x", ENV_OPEN_CREATE);
    struct env_file *g = open_file(e, "y", ENV_OPEN_CREATE);
    p->trap = (struct sim_trap){.kind = TRAP_ANY,
                                .prefix = "d/",
                                .after = 2,
                                .may = any_path,
                                .sprung = count_sprung,
                                .owner = &sprung};
    ck_assert_int_eq(env_file_write(e, f, 0, "abc", 3), 3);
    ck_assert_int_eq(env_file_write(e, g, 0, "abc", 3), 3);
    ck_assert_int_eq(env_file_size(e, f), 3);
    ck_assert_int_eq(sprung, 0);
    ck_assert_int_eq(env_file_write(e, f, 3, "def", 3), -EIO);
    ck_assert_int_eq(sprung, 1);
    ck_assert_int_eq(env_file_size(e, f), 3);
    p->trap = (struct sim_trap){.kind = TRAP_WRITE,
                                .prefix = "d/",
                                .may = any_path,
                                .sprung = count_sprung,
                                .owner = &sprung};
    ck_assert_int_eq(env_file_write(e, f, 3, "def", 3), 3); /* that one is for operations in time */
    ck_assert_int_eq(sprung, 1);
    sim_destroy(s);
}
END_TEST

Suite *suite_sim(void)
{
    Suite *s = suite_create("sim");
    TCase *t = tcase_create("sim");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, synced_survives_power_cut);
    tcase_add_test(t, kill_keeps_page_cache);
    tcase_add_test(t, trap_springs_for_waiting_calls);
    tcase_add_test(t, frames_in_order_then_cut);
    tcase_add_test(t, timers_follow_own_clock);
    suite_add_tcase(s, t);
    return s;
}
