/* test_monitor.c - the monitor with the engine of one machine, over fake
 * masters in the simulator. */
#include <stdio.h>

#include "deploy/monitor/core/elect_local.h"
#include "deploy/monitor/core/monitor.h"
#include "shared/base/mem.h"
#include "shared/env/rpc.h"
#include "tests/sim/sim_env.h"
#include "tests/unit/unit.h"

Suite *suite_monitor(void);

enum { FAKES = 3 };

/* A master that only keeps books. */
struct fake {
    struct sim_process *p;
    struct rpc rpc; /* the monitor's newest connection */
    char addr[16];
    uint32_t role, epoch, promised;
    uint64_t durable, age_ms;
    uint64_t nonce;                 /* of the promotion it obeyed */
    bool lone;                      /* makes itself primary of a new epoch when it starts */
    bool stuck;                     /* never listens */
    bool silent;                    /* answers nothing */
    int refusal;                    /* of every promotion; 0 = it obeys */
    uint32_t healths, silent_after; /* answers since its start; 0 = never falls silent by itself */
    bool kill_asked;
    uint32_t starts, kills, promotes, leases;
    bool alarmed;
};

struct world {
    struct sim *sim;
    struct sim_process *p; /* the monitor's */
    struct monitor_config cfg;
    struct elect_local elect;
    struct processes processes;
    struct monitor *m; /* NULL = it does not run */
    struct fake fakes[FAKES];
    uint32_t highest; /* epoch any master ever served in */
    /* an operator's tool */
    struct sim_process *tool;
    struct rpc rpc;
    struct rpc_call call;
    int status;
    struct handover_rep handed;
    char handed_to[32];
};

static struct world *w;

/* ---------------------------------------------------------------- fake masters
 */

/* Two masters never serve in one epoch, and epochs only grow. */
static void serve(struct fake *k, uint32_t epoch)
{
    MUST(epoch > w->highest);
    w->highest = epoch;
    k->role = MASTER_PRIMARY;
    k->epoch = k->promised = epoch;
}

static void fake_promote(struct fake *k, struct message *msg)
{
    struct promote_req req;
    MUST(promote_req_decode(slice_bytes(&msg->body), &req) == 0);
    k->promotes++;
    bool again = k->role == MASTER_PRIMARY && req.epoch == k->epoch;
    if (k->refusal != 0) {
        rpc_answer_status(&k->rpc, &msg->head, k->refusal);
        return;
    }
    if (!again && req.epoch <= k->promised) {
        rpc_answer(&k->rpc, &msg->head, ERR_STALE_EPOCH, 0, k->promised, (struct slice){0}, NULL);
        return;
    }
    if (!again) {
        for (uint32_t i = 0; i < FAKES; i++) { /* the loggers' promise deposes others */
            MUST(&w->fakes[i] == k || w->fakes[i].p == NULL || !w->fakes[i].p->alive ||
                 w->fakes[i].role != MASTER_PRIMARY);
        }
        k->nonce = req.nonce;
        serve(k, req.epoch);
    }
    struct promote_rep rep = {.epoch = k->epoch};
    rpc_answer(&k->rpc, &msg->head, 0, 0, k->epoch, RPC_BODY(promote_rep, &rep), NULL);
}

static void fake_lease(struct fake *k, struct message *msg)
{
    struct master_lease_req req;
    MUST(master_lease_req_decode(slice_bytes(&msg->body), &req) == 0);
    bool right = k->role == MASTER_PRIMARY && req.epoch == k->epoch;
    k->leases += right && req.ms > 0;
    k->alarmed = req.alarm.len > 0;
    rpc_answer_status(&k->rpc, &msg->head, right ? 0 : ERR_STALE_EPOCH);
}

static void fake_request(void *owner, struct rpc *r, struct message *msg)
{
    struct fake *k = owner;
    struct health_rep health = {.role = k->role,
                                .epoch = k->epoch,
                                .promised = k->promised,
                                .durable = k->durable,
                                .committed = k->durable,
                                .applied = k->durable + (k->age_ms > 0),
                                .age_ms = k->age_ms};
    struct hello_rep hello = {.role = k->role};
    k->silent |= k->silent_after != 0 && k->healths == k->silent_after;
    if (k->silent) {
        return;
    }
    switch (msg->head.op) {
    case OP_hello:
        rpc_answer(r, &msg->head, 0, 0, k->epoch, RPC_BODY(hello_rep, &hello), NULL);
        break;
    case OP_health:
        k->healths++;
        rpc_answer(r, &msg->head, 0, 0, k->epoch, RPC_BODY(health_rep, &health), NULL);
        break;
    case OP_promote:
        fake_promote(k, msg);
        break;
    case OP_master_lease:
        fake_lease(k, msg);
        break;
    case OP_step_down:
        rpc_answer_status(r, &msg->head, k->role == MASTER_PRIMARY ? 0 : ERR_NOT_MASTER);
        k->kill_asked = k->role == MASTER_PRIMARY;
        break;
    default:
        rpc_answer_status(r, &msg->head, ERR_UNKNOWN_OP);
    }
}

static void fake_closed(void *owner, struct rpc *r, int err)
{
    (void)owner;
    (void)r;
    (void)err;
}

static const struct rpc_events fake_events = {.on_request = fake_request, .on_close = fake_closed};

static void fake_accept(void *owner, struct env_conn *c)
{
    struct fake *k = owner;
    rpc_close(&k->rpc);
    rpc_init(&k->rpc, &k->p->env, &fake_events, k);
    rpc_accept(&k->rpc, c);
}

static void fake_kill(struct fake *k)
{
    if (k->p->alive) {
        sim_process_kill(k->p);
        rpc_close(&k->rpc);
        k->role = MASTER_STARTING;
    }
    k->kill_asked = false;
}

/* ---------------------------------------------------------------- processes */

static int start(struct processes *p, uint32_t master)
{
    struct fake *k = &w->fakes[master];
    (void)p;
    MUST(!k->p->alive);
    sim_process_start(k->p);
    rpc_init(&k->rpc, &k->p->env, &fake_events, k);
    k->starts++;
    k->silent = false;
    k->healths = 0;
    k->role = MASTER_SHADOW;
    if (k->lone) {
        serve(k, k->promised + 1);
    }
    return k->stuck ? 0 : env_listen(&k->p->env, k->addr, fake_accept, k);
}

static bool alive(struct processes *p, uint32_t master)
{
    (void)p;
    return w->fakes[master].p->alive;
}

static void kill_later(struct processes *p, uint32_t master)
{
    (void)p;
    w->fakes[master].kills += !w->fakes[master].kill_asked;
    w->fakes[master].kill_asked = true;
}

/* ---------------------------------------------------------------- the world */

static void run_ms(uint64_t ms)
{
    for (uint64_t t = 0; t < ms; t += 5) {
        sim_run_for(w->sim, 5 * NS_PER_MS);
        for (uint32_t i = 0; i < FAKES; i++) {
            if (w->fakes[i].kill_asked) {
                fake_kill(&w->fakes[i]);
            }
        }
    }
}

static int monitor_up(struct why *why)
{
    sim_process_start(w->p);
    int err = elect_local_open(&w->elect, &w->p->env, why);
    if (err != 0) {
        return err;
    }
    w->m = monitor_create(&w->p->env, &w->cfg, &w->elect.elect, &w->processes);
    return monitor_start(w->m, why);
}

static void must_up(void)
{
    struct why why = {""};
    ck_assert_msg(monitor_up(&why) == 0, "%s", why.text);
}

static void monitor_down(bool power)
{
    if (power) {
        sim_process_power_cut(w->p);
    } else {
        sim_process_kill(w->p);
    }
    monitor_destroy(w->m);
    elect_local_close(&w->elect);
    w->m = NULL;
}

static void setup_masters(uint32_t count)
{
    static const struct processes_ops ops = {start, alive, kill_later};
    w = mem_new(struct world);
    w->sim = sim_create(1);
    w->sim->log_level = LOG_ERROR + 1;
    w->processes.ops = &ops;
    w->p = sim_process_create(w->sim, "monitor");
    w->tool = sim_process_create(w->sim, "tool");
    w->cfg = (struct monitor_config){.cluster = "gfs",
                                     .listen = "monitor:1",
                                     .hang_ms = 10000,
                                     .stall_ms = 10000,
                                     .alone = count == 1};
    for (uint32_t i = 0; i < FAKES; i++) {
        struct fake *k = &w->fakes[i];
        snprintf(k->addr, sizeof(k->addr), "m%u:1", i);
        k->p = sim_process_create(w->sim, k->addr);
        k->lone = count == 1;
        k->role = MASTER_STARTING;
        k->durable = 100 + i;
        if (i < count) {
            size_t at = strlen(w->cfg.masters);
            snprintf(w->cfg.masters + at, sizeof(w->cfg.masters) - at, "%s%s", at > 0 ? "," : "",
                     k->addr);
        }
    }
}

static void setup_one(void)
{
    setup_masters(1);
}

static void setup_three(void)
{
    setup_masters(3);
}

static void teardown(void)
{
    if (w->m != NULL) {
        monitor_down(false);
    }
    for (uint32_t i = 0; i < FAKES; i++) {
        fake_kill(&w->fakes[i]);
    }
    sim_destroy(w->sim);
    mem_free(w);
}

static struct fake *primary(void)
{
    struct fake *found = NULL;
    for (uint32_t i = 0; i < FAKES; i++) {
        struct fake *k = &w->fakes[i];
        if (k->p->alive && k->role == MASTER_PRIMARY) {
            ck_assert_ptr_null(found);
            found = k;
        }
    }
    return found;
}

/* ---------------------------------------------------------------- one master
 */

/* It is started, keeps the epoch it gave itself, is told that it is watched,
 * and started again at once when it dies. */
START_TEST(lone_master_is_started_again)
{
    must_up();
    run_ms(2000);
    struct fake *k = primary();
    ck_assert_ptr_eq(k, &w->fakes[0]);
    ck_assert_uint_eq(monitor_epoch(w->m), 1);
    ck_assert_uint_ge(k->leases, 2);
    for (uint32_t i = 2; i < 6; i++) {
        fake_kill(k);
        run_ms(500);
        ck_assert_uint_eq(k->starts, i);
        ck_assert_uint_eq(monitor_epoch(w->m), i);
        ck_assert_uint_eq(w->elect.epoch, i);
        ck_assert_str_eq(w->elect.addr, "m0:1");
    }
    ck_assert_uint_eq(k->kills, 0);
}
END_TEST

/* What never comes to answer is started less and less often, but goes on being
 * started. */
START_TEST(early_ends_make_pauses)
{
    struct fake *k = &w->fakes[0];
    k->stuck = true;
    must_up();
    for (int i = 0; i < 600; i++) {
        run_ms(100);
        fake_kill(k);
    }
    ck_assert_uint_ge(k->starts, 6);
    ck_assert_uint_le(k->starts, 12);
    k->stuck = false;
    run_ms(40000);
    ck_assert_ptr_eq(primary(), k);
    ck_assert_uint_ge(monitor_epoch(w->m), 6);
}
END_TEST

/* One that is silent from the start reads its log, perhaps: it is waited for.
 * One that fell silent is ended, when nobody can replace it after a longer
 * while. */
START_TEST(silence_is_judged_after_an_answer)
{
    struct fake *k = &w->fakes[0];
    k->stuck = true;
    must_up();
    run_ms(100000);
    ck_assert_uint_eq(k->starts, 1);
    ck_assert_uint_eq(k->kills, 0);
    fake_kill(k);
    k->stuck = false;
    run_ms(2000);
    k->silent = true;
    run_ms(8000);
    ck_assert_uint_eq(k->kills, 0);
    run_ms(4000);
    ck_assert_uint_eq(k->kills, 1);
    ck_assert_ptr_eq(primary(), k);
    ck_assert_uint_eq(monitor_epoch(w->m), 3);
}
END_TEST

/* One that falls silent before it was told that it is the primary is ended, too. */
START_TEST(silence_of_who_is_not_primary_yet)
{
    struct fake *k = &w->fakes[0];
    k->silent_after = (uint32_t)_i;
    must_up();
    run_ms(2000);
    ck_assert(k->silent);
    k->silent_after = 0;
    run_ms(12000);
    ck_assert_uint_eq(k->kills, 1);
    ck_assert_ptr_eq(primary(), k);
    ck_assert_uint_eq(monitor_epoch(w->m), 2);
}
END_TEST

/* A monitor that stood still judges nobody by the time in between. */
START_TEST(lagging_monitor_judges_nobody)
{
    must_up();
    run_ms(2000);
    sim_process_pause(w->p, 60 * NS_PER_S);
    run_ms(62000);
    ck_assert_uint_eq(w->fakes[0].kills, 0);
    ck_assert_uint_eq(monitor_epoch(w->m), 1);
}
END_TEST

static void write_epoch(const char *text)
{
    struct env_file *f;
    sim_process_start(w->p);
    ck_assert_int_eq(env_file_open(&w->p->env, "epoch", ENV_OPEN_CREATE, &f), 0);
    ck_assert_int_eq(env_file_truncate(&w->p->env, f, 0), 0);
    ck_assert_int_eq(env_file_write(&w->p->env, f, 0, text, (uint32_t)strlen(text)),
                     (int64_t)strlen(text));
    env_file_close(&w->p->env, f);
    sim_process_kill(w->p);
}

/* A master whose directory is another one: its epoch is lower than one given
 * out before. Until somebody says that this one is right. */
START_TEST(older_epoch_is_noticed)
{
    struct fake *k = &w->fakes[0];
    k->promised = 7;
    w->highest = 7;
    must_up();
    run_ms(2000);
    ck_assert_uint_eq(monitor_epoch(w->m), 8);
    fake_kill(k);
    k->promised = 2;
    w->highest = 2;
    run_ms(2000);
    ck_assert_uint_eq(monitor_epoch(w->m), 0);
    ck_assert_uint_eq(w->elect.epoch, 8);
    monitor_down(false);
    write_epoch("3 -\n");
    must_up();
    run_ms(2000);
    ck_assert_uint_eq(monitor_epoch(w->m), 3);
    ck_assert_uint_eq(k->kills, 0);
}
END_TEST

/* ---------------------------------------------------------------- the monitor
 * itself */

/* Its death changes nothing; its successor takes over what runs. */
START_TEST(masters_outlive_their_monitor)
{
    must_up();
    run_ms(2000);
    monitor_down(false);
    run_ms(2000);
    ck_assert_ptr_eq(primary(), &w->fakes[0]);
    must_up();
    run_ms(2000);
    ck_assert_uint_eq(w->fakes[0].starts, 1);
    ck_assert_uint_eq(monitor_epoch(w->m), 1);
}
END_TEST

START_TEST(one_monitor_to_a_directory)
{
    struct why why;
    struct elect_local other;
    must_up();
    ck_assert_int_eq(elect_local_open(&other, &w->p->env, &why), -EBUSY);
    ck_assert_str_eq(why.text, "another monitor is running on this directory");
}
END_TEST

START_TEST(damaged_epoch_is_refused)
{
    static const char *const bad[] = {"",        "\n",       "7",           "7\n",
                                      "7 \n",    " 7 a:1\n", "-7 a:1\n",    "0 a:1\n",
                                      "x a:1\n", "7 a:1",    "7 a:1\n7 \n", "4294967296 a:1\n"};
    struct why why;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        write_epoch(bad[i]);
        int err = monitor_up(&why);
        ck_assert_msg(err == -EINVAL, "'%s' was taken: %d", bad[i], err);
        sim_process_kill(w->p);
        elect_local_close(&w->elect);
    }
    write_epoch("41 -\n");
    must_up();
    ck_assert_uint_eq(w->elect.epoch, 41);
}
END_TEST

/* ---------------------------------------------------------------- three
 * masters */

/* The one with the longest log is promoted; when it dies, the freshest that
 * lives; it comes back as a shadow. */
START_TEST(freshest_shadow_is_promoted)
{
    must_up();
    run_ms(4000);
    ck_assert_ptr_eq(primary(), &w->fakes[2]);
    ck_assert_uint_eq(monitor_epoch(w->m), 1);
    w->fakes[0].durable = 200;
    run_ms(1000);
    fake_kill(&w->fakes[2]);
    run_ms(1000);
    ck_assert_ptr_eq(primary(), &w->fakes[0]);
    ck_assert_uint_eq(monitor_epoch(w->m), 2);
    ck_assert_uint_eq(w->fakes[2].starts, 2);
    ck_assert_uint_eq(w->fakes[2].role, MASTER_SHADOW);
    ck_assert_uint_eq(w->fakes[2].promotes + w->fakes[0].promotes, 2);
}
END_TEST

/* Those that are promoted in vain make room for one that looks no better: nobody knows how far the
 * others are. */
START_TEST(all_have_their_turn)
{
    for (uint32_t i = 0; i < FAKES; i++) {
        w->fakes[i].age_ms = 6000;
        w->fakes[i].refusal = i == 0 ? 0 : _i == 0 ? ERR_NOT_READY : ERR_CORRUPT;
    }
    must_up();
    run_ms(_i == 0 ? 35000 : 5000);
    ck_assert_ptr_eq(primary(), &w->fakes[0]);
    ck_assert_uint_ge(w->fakes[1].promotes, 1);
}
END_TEST

/* A log that has promised more than the engine knows: the next epoch is above
 * it. */
START_TEST(promised_epochs_are_skipped)
{
    w->fakes[2].promised = 41;
    must_up();
    run_ms(4000);
    ck_assert_ptr_eq(primary(), &w->fakes[2]);
    ck_assert_uint_eq(monitor_epoch(w->m), 42);
    w->fakes[2].promised = 50; /* the loggers it depends on know more than it said */
    w->fakes[1].promised = 60;
    w->fakes[1].durable = 300;
    w->fakes[1].epoch = 42; /* it has followed the primary */
    run_ms(1000);
    w->fakes[1].promised = 70;
    fake_kill(&w->fakes[2]);
    run_ms(2000);
    ck_assert_ptr_eq(primary(), &w->fakes[1]);
    ck_assert_uint_ge(monitor_epoch(w->m), 61);
}
END_TEST

/* A primary that hangs is gone before another one is promoted: fake_promote
 * insists on it. */
START_TEST(hung_primary_is_fenced)
{
    must_up();
    run_ms(4000);
    primary()->silent = true;
    run_ms(4000);
    ck_assert_uint_eq(w->fakes[2].kills, 1);
    ck_assert_ptr_eq(primary(), &w->fakes[1]);
    ck_assert_uint_eq(monitor_epoch(w->m), 2);
}
END_TEST

START_TEST(stalled_log_is_replaced)
{
    must_up();
    run_ms(4000);
    w->fakes[2].age_ms = 5000;
    run_ms(2000);
    ck_assert_uint_eq(w->fakes[2].kills, 0);
    w->fakes[2].age_ms = 11000;
    run_ms(2000);
    ck_assert_uint_eq(w->fakes[2].kills, 1);
    ck_assert_ptr_eq(primary(), &w->fakes[1]);
}
END_TEST

/* Power cuts at any moment, deaths of primaries: no epoch is given twice
 * (serve() insists), and at the end there is a primary. */
START_TEST(epochs_are_never_given_twice)
{
    struct sim_rand r = sim_rand_of(3, (uint64_t)_i);
    must_up();
    for (int i = 0; i < 60; i++) {
        run_ms(sim_below(&r, 1500));
        fake_kill(&w->fakes[sim_below(&r, FAKES)]);
        run_ms(sim_below(&r, 60));
        if (sim_chance(&r, 1, 3)) {
            monitor_down(sim_chance(&r, 1, 2));
            must_up();
        }
    }
    run_ms(5000);
    ck_assert_ptr_nonnull(primary());
    ck_assert_uint_eq(monitor_epoch(w->m), primary()->epoch);
    ck_assert_uint_eq(w->elect.epoch, primary()->epoch);
}
END_TEST

/* ---------------------------------------------------------------- hand-over */

static void tool_handed(struct rpc_call *c)
{
    w->status = c->status;
    if (c->status == 0) {
        ck_assert_int_eq(RPC_REPLY(handover, c, &w->handed), 0);
        snprintf(w->handed_to, sizeof(w->handed_to), "%.*s", (int)w->handed.primary.len,
                 (const char *)w->handed.primary.data);
    }
}

static void tool_hello(struct rpc_call *c)
{
    struct frame_header head = {.op = OP_handover};
    ck_assert_int_eq(c->status, 0);
    c->done = tool_handed;
    rpc_call(&w->rpc, c, &head, RPC_BODY(handover_req, &(struct handover_req){}), NULL, 0);
}

/* 0 or how the monitor refused; what it said is in w->handed. */
static int hand_over(void)
{
    struct frame_header head = {.op = OP_hello};
    struct hello_req req = {.role = ROLE_ADMIN, .name = bytes_str("gfs")};
    sim_process_start(w->tool);
    rpc_init(&w->rpc, &w->tool->env, &fake_events, w);
    rpc_dial(&w->rpc, "monitor:1");
    w->status = 1;
    w->call = (struct rpc_call){.done = tool_hello};
    rpc_call(&w->rpc, &w->call, &head, RPC_BODY(hello_req, &req), NULL, 0);
    run_ms(5000);
    sim_process_kill(w->tool);
    rpc_close(&w->rpc);
    return w->status;
}

START_TEST(primary_hands_over)
{
    must_up();
    run_ms(4000);
    ck_assert_int_eq(hand_over(), 0);
    ck_assert_uint_eq(w->handed.epoch, 2);
    ck_assert_uint_lt(w->handed.took_ms, 1000);
    ck_assert_str_eq(w->handed_to, "m1:1");
    ck_assert_ptr_eq(primary(), &w->fakes[1]);
    ck_assert_uint_eq(w->fakes[2].role, MASTER_SHADOW);
    ck_assert_uint_eq(w->fakes[2].kills, 0);
}
END_TEST

/* Alone it starts anew; while there is none, nothing is handed over. */
START_TEST(lone_primary_starts_anew)
{
    must_up();
    run_ms(4000);
    ck_assert_int_eq(hand_over(), 0);
    ck_assert_uint_eq(w->handed.epoch, 2);
    ck_assert_uint_eq(w->fakes[0].starts, 2);
    w->fakes[0].stuck = true;
    fake_kill(&w->fakes[0]);
    run_ms(100);
    ck_assert_int_eq(hand_over(), ERR_BUSY);
}
END_TEST

Suite *suite_monitor(void)
{
    Suite *s = suite_create("monitor");
    TCase *one = tcase_create("one");
    tcase_add_checked_fixture(one, setup_one, teardown);
    tcase_add_test(one, lone_master_is_started_again);
    tcase_add_test(one, early_ends_make_pauses);
    tcase_add_test(one, silence_is_judged_after_an_answer);
    tcase_add_loop_test(one, silence_of_who_is_not_primary_yet, 1, 5);
    tcase_add_test(one, lagging_monitor_judges_nobody);
    tcase_add_test(one, older_epoch_is_noticed);
    tcase_add_test(one, masters_outlive_their_monitor);
    tcase_add_test(one, one_monitor_to_a_directory);
    tcase_add_test(one, damaged_epoch_is_refused);
    tcase_add_test(one, lone_primary_starts_anew);
    suite_add_tcase(s, one);
    TCase *three = tcase_create("three");
    tcase_add_checked_fixture(three, setup_three, teardown);
    tcase_add_test(three, freshest_shadow_is_promoted);
    tcase_add_loop_test(three, all_have_their_turn, 0, 2);
    tcase_add_test(three, promised_epochs_are_skipped);
    tcase_add_test(three, hung_primary_is_fenced);
    tcase_add_test(three, stalled_log_is_replaced);
    tcase_add_loop_test(three, epochs_are_never_given_twice, 0, 20);
    tcase_add_test(three, primary_hands_over);
    suite_add_tcase(s, three);
    return s;
}
