/* test_monitor_set.c - a monitor for each of three masters, which agree through a model of ZooKeeper;
 * and the engine itself over that model. */
#include <stdio.h>

#include "deploy/monitor/core/elect_keeper.h"
#include "deploy/monitor/core/keeper_text.h"
#include "deploy/monitor/core/monitor.h"
#include "shared/base/mem.h"
#include "shared/env/rpc.h"
#include "tests/sim/sim_env.h"
#include "tests/sim/sim_keeper.h"
#include "tests/unit/unit.h"

Suite *suite_monitor_set(void);

enum { COUNT = 3, SESSION_MS = 6000 };

/* A master of a set, its log and that of the others being one number. */
struct fake {
    struct sim_process *p;
    struct rpc rpc;
    char addr[16];
    uint32_t role, epoch;
    uint64_t deposed_ns; /* it ends then; 0 = it is not deposed */
    bool end_asked;
    uint32_t starts, kills, watched;
    uint32_t ended; /* as the last promotion said */
    bool alarmed;
    bool unfit;      /* it refuses to be promoted */
    uint64_t age_ms; /* of what it knows of the others */
};

/* One machine: monitor and master. */
struct machine {
    struct sim_process *p;
    struct monitor_config cfg;
    struct processes processes;
    struct sim_keeper_client client;
    struct elect_keeper elect;
    struct monitor *m; /* NULL = it does not run */
    uint64_t up_ns;    /* it is started again then */
    struct fake fake;
};

struct world {
    struct sim *sim;
    struct sim_keeper keeper;
    struct machine all[COUNT];
    uint32_t promised; /* by a majority of the logs */
    uint32_t highest;  /* epoch any master ever served in */
    uint32_t promotions;
    uint64_t log; /* newest record */
    uint64_t log_ns;
    uint64_t unready_ns; /* too few logs answer until then */
    uint64_t early_ns;   /* sessions were ended early: locks may overlap until then */
    struct sim_process *tool;
    struct rpc rpc;
    struct rpc_call call;
    int status;
    struct handover_rep handed;
};

static struct world *w;

/* ---------------------------------------------------------------- fake masters */

static void depose_others(const struct fake *but)
{
    for (uint32_t i = 0; i < COUNT; i++) {
        struct fake *k = &w->all[i].fake;
        if (k != but && k->p->alive && k->role == MASTER_PRIMARY && k->deposed_ns == 0) {
            k->deposed_ns = w->sim->now_ns + sim_below(&w->keeper.rand, 3 * NS_PER_S) + 1;
        }
    }
}

static int fake_promote(struct fake *k, const struct promote_req *req)
{
    if (k->role == MASTER_PRIMARY && req->epoch == k->epoch && k->deposed_ns == 0) {
        return 0;
    }
    if (req->epoch <= w->promised || k->role == MASTER_PRIMARY) {
        return ERR_STALE_EPOCH;
    }
    if (w->sim->now_ns < w->unready_ns) {
        return ERR_NOT_READY;
    }
    if (k->unfit) {
        return ERR_CORRUPT;
    }
    MUST(req->epoch > w->highest);
    MUST(req->ended < req->epoch);
    w->highest = w->promised = k->epoch = req->epoch;
    k->role = MASTER_PRIMARY;
    k->ended = req->ended;
    w->promotions++;
    depose_others(k);
    return 0;
}

static int fake_lease(struct fake *k, const struct master_lease_req *req)
{
    bool right = k->role == MASTER_PRIMARY && req->epoch == k->epoch;
    k->watched += right && req->ms > 0;
    k->alarmed = req->alarm.len > 0;
    return right ? 0 : ERR_STALE_EPOCH;
}

static void fake_request(void *owner, struct rpc *r, struct message *msg)
{
    struct fake *k = owner;
    union op_any req;
    const struct op_info *info = op_info_of(msg->head.op);
    struct health_rep health = {.role = k->role,
                                .epoch = k->epoch,
                                .promised = w->promised,
                                .durable = w->log,
                                .committed = w->log,
                                .applied = w->log,
                                .age_ms = k->age_ms};
    struct hello_rep hello = {.role = k->role};
    int status = ERR_UNKNOWN_OP;
    MUST(info != NULL && info->req_decode(slice_bytes(&msg->body), &req) == 0);
    switch (msg->head.op) {
    case OP_hello:
        rpc_answer(r, &msg->head, 0, 0, k->epoch, RPC_BODY(hello_rep, &hello), NULL);
        return;
    case OP_health:
        rpc_answer(r, &msg->head, 0, 0, k->epoch, RPC_BODY(health_rep, &health), NULL);
        return;
    case OP_promote:
        status = fake_promote(k, &req.promote_req);
        if (status == 0) {
            struct promote_rep rep = {.epoch = k->epoch};
            rpc_answer(r, &msg->head, 0, 0, k->epoch, RPC_BODY(promote_rep, &rep), NULL);
            return;
        }
        break;
    case OP_master_lease:
        status = fake_lease(k, &req.master_lease_req);
        break;
    case OP_step_down:
        k->end_asked |= k->role == MASTER_PRIMARY;
        status = k->role == MASTER_PRIMARY ? 0 : ERR_NOT_MASTER;
        break;
    default:
        break;
    }
    rpc_answer(r, &msg->head, status, 0, w->promised, (struct slice){0}, NULL);
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
    }
    k->role = MASTER_STARTING;
    k->end_asked = false;
    k->deposed_ns = 0;
}

/* ---------------------------------------------------------------- processes */

static struct machine *machine_of(struct processes *p)
{
    return container_of(p, struct machine, processes);
}

static int start(struct processes *p, uint32_t master)
{
    struct fake *k = &machine_of(p)->fake;
    MUST(master == 0 && !k->p->alive);
    sim_process_start(k->p);
    rpc_init(&k->rpc, &k->p->env, &fake_events, k);
    k->starts++;
    k->role = MASTER_SHADOW;
    k->epoch = w->highest;
    return env_listen(&k->p->env, k->addr, fake_accept, k);
}

static bool alive(struct processes *p, uint32_t master)
{
    (void)master;
    return machine_of(p)->fake.p->alive;
}

static void kill_later(struct processes *p, uint32_t master)
{
    (void)master;
    machine_of(p)->fake.kills += !machine_of(p)->fake.end_asked;
    machine_of(p)->fake.end_asked = true;
}

/* ---------------------------------------------------------------- the world */

static void monitor_up(struct machine *x)
{
    struct why why = {""};
    sim_process_start(x->p);
    elect_keeper_open(&x->elect, &x->p->env, &x->client.keeper, "gfs", x->cfg.listen);
    x->m = monitor_create(&x->p->env, &x->cfg, &x->elect.elect, &x->processes);
    ck_assert_msg(monitor_start(x->m, &why) == 0, "%s", why.text);
}

static void monitor_down(struct machine *x, uint64_t ms)
{
    if (x->m == NULL) {
        return;
    }
    sim_process_kill(x->p);
    monitor_destroy(x->m);
    elect_keeper_close(&x->elect);
    x->m = NULL;
    x->up_ns = w->sim->now_ns + ms * NS_PER_MS;
}

static struct elect_view view_of(const struct machine *x)
{
    struct elect_view v;
    x->elect.elect.ops->view(&x->elect.elect, &v);
    return v;
}

/* One lock has one holder, whoever believes what. */
static void check_locks(void)
{
    uint32_t holders = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        holders += w->all[i].m != NULL && view_of(&w->all[i]).held;
    }
    MUST(holders <= 1 || w->sim->now_ns < w->early_ns);
}

static void fakes_go_on(void)
{
    for (uint32_t i = 0; i < COUNT; i++) {
        struct machine *x = &w->all[i];
        struct fake *k = &x->fake;
        if (k->end_asked ||
            (k->deposed_ns != 0 && w->sim->now_ns > MAX(k->deposed_ns, k->p->stopped_ns))) {
            fake_kill(k);
        }
        if (k->p->alive && k->role == MASTER_SHADOW) {
            k->epoch = w->highest;
        }
        if (x->m == NULL && w->sim->now_ns >= x->up_ns) {
            monitor_up(x);
        }
    }
    w->log += w->sim->now_ns / NS_PER_S != w->log_ns / NS_PER_S;
    w->log_ns = w->sim->now_ns;
}

static void run_ms(uint64_t ms)
{
    for (uint64_t t = 0; t < ms; t += 5) {
        sim_run_for(w->sim, 5 * NS_PER_MS);
        sim_keeper_sweep(&w->keeper);
        fakes_go_on();
        check_locks();
    }
}

static void setup_seed(uint64_t seed)
{
    static const struct processes_ops ops = {start, alive, kill_later};
    w = mem_new(struct world);
    w->sim = sim_create(seed);
    w->sim->log_level = getenv("MONITOR_SET_LOG") != NULL ? LOG_INFO : LOG_ERROR + 1;
    w->tool = sim_process_create(w->sim, "tool");
    sim_keeper_init(&w->keeper, w->sim, seed, SESSION_MS);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct machine *x = &w->all[i];
        char name[16];
        snprintf(name, sizeof(name), "monitor%u", i);
        x->p = sim_process_create(w->sim, name);
        x->processes.ops = &ops;
        x->cfg = (struct monitor_config){.cluster = "gfs", .hang_ms = 10000, .stall_ms = 10000};
        snprintf(x->cfg.listen, sizeof(x->cfg.listen), "%s:1", name);
        snprintf(x->fake.addr, sizeof(x->fake.addr), "m%u:1", i);
        snprintf(x->cfg.masters, sizeof(x->cfg.masters), "m%u:1", i);
        x->fake.p = sim_process_create(w->sim, x->fake.addr);
        x->fake.role = MASTER_STARTING;
        sim_keeper_client_init(&x->client, &w->keeper, x->p);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        monitor_up(&w->all[i]);
    }
}

static void setup(void)
{
    setup_seed(1);
}

static void teardown(void)
{
    for (uint32_t i = 0; i < COUNT; i++) {
        monitor_down(&w->all[i], 0);
        fake_kill(&w->all[i].fake);
    }
    sim_destroy(w->sim);
    mem_free(w);
}

/* The machine whose master serves, and is not deposed; NULL = none. */
static struct machine *primary(void)
{
    struct machine *found = NULL;
    for (uint32_t i = 0; i < COUNT; i++) {
        struct fake *k = &w->all[i].fake;
        if (k->p->alive && k->role == MASTER_PRIMARY && k->deposed_ns == 0) {
            ck_assert_ptr_null(found);
            found = &w->all[i];
        }
    }
    return found;
}

/* There is a primary that somebody watches, whom the engine names. */
static void must_be_well(void)
{
    struct machine *x = primary();
    char active[64];
    ck_assert_ptr_nonnull(x);
    ck_assert_ptr_nonnull(x->m);
    ck_assert_uint_eq(monitor_epoch(x->m), x->fake.epoch);
    ck_assert(view_of(x).held);
    snprintf(active, sizeof(active), "%u %s", x->fake.epoch, x->fake.addr);
    ck_assert_str_eq(sim_keeper_text(&w->keeper, "/gfs/gfs/active"), active);
    for (uint32_t i = 0; i < COUNT; i++) {
        ck_assert_str_eq(view_of(&w->all[i]).active, x->fake.addr);
        ck_assert_uint_eq(view_of(&w->all[i]).others, COUNT - 1);
        ck_assert_str_eq(view_of(&w->all[i]).trouble, "");
    }
}

/* ---------------------------------------------------------------- single events */

START_TEST(one_of_three_is_promoted)
{
    run_ms(5000);
    must_be_well();
    ck_assert_uint_eq(w->promotions, 1);
    ck_assert_uint_eq(primary()->fake.epoch, 1);
    run_ms(60000);
    ck_assert_uint_eq(w->promotions, 1);
    ck_assert_uint_gt(primary()->fake.watched, 100);
}
END_TEST

/* Its monitor sees it end at once, leaves the lock, and says which epoch has ended. */
START_TEST(dead_primary_is_replaced_by_another)
{
    run_ms(5000);
    struct machine *first = primary();
    fake_kill(&first->fake);
    run_ms(1500);
    struct machine *second = primary();
    ck_assert_ptr_nonnull(second);
    ck_assert_ptr_ne(first, second);
    ck_assert_uint_eq(second->fake.ended, 1);
    run_ms(3000);
    must_be_well();
    ck_assert_int_eq((int)first->fake.role, MASTER_SHADOW);
}
END_TEST

/* One that hangs is ended by its monitor, and another one serves. */
START_TEST(hung_primary_is_replaced)
{
    run_ms(5000);
    struct machine *first = primary();
    sim_process_pause(first->fake.p, 60 * NS_PER_S);
    run_ms(5000);
    ck_assert_uint_eq(first->fake.kills, 1);
    ck_assert_ptr_nonnull(primary());
    ck_assert_ptr_ne(primary(), first);
    ck_assert_uint_eq(primary()->fake.ended, 1);
}
END_TEST

/* ... or left alone, if so configured: the epoch takes its place. */
START_TEST(hung_primary_is_spared)
{
    run_ms(5000);
    struct machine *first = primary();
    monitor_down(first, 0);
    first->cfg.spares = true;
    run_ms(8000);
    first = primary();
    for (uint32_t i = 0; i < COUNT; i++) {
        monitor_down(&w->all[i], 0);
        w->all[i].cfg.spares = true;
    }
    run_ms(12000);
    must_be_well();
    first = primary();
    sim_process_pause(first->fake.p, 20 * NS_PER_S);
    run_ms(8000);
    ck_assert_uint_eq(first->fake.kills, 0);
    ck_assert_ptr_ne(primary(), first);
    ck_assert_ptr_nonnull(primary());
    run_ms(30000);
    must_be_well();
    ck_assert_uint_eq(first->fake.kills, 0);
}
END_TEST

/* The whole machine is gone: its session's end is waited for. */
START_TEST(dead_machine_is_replaced)
{
    run_ms(5000);
    struct machine *first = primary();
    monitor_down(first, 60000);
    fake_kill(&first->fake);
    run_ms(9500);
    ck_assert_ptr_nonnull(primary());
    ck_assert_uint_eq(primary()->fake.ended, 0);
}
END_TEST

/* Its monitor dies and comes back before anybody may take the lock: nothing happens. */
START_TEST(monitor_takes_its_primary_over)
{
    run_ms(5000);
    struct machine *first = primary();
    monitor_down(first, 1000);
    run_ms(15000);
    must_be_well();
    ck_assert_ptr_eq(primary(), first);
    ck_assert_uint_eq(w->promotions, 1);
}
END_TEST

/* It stays away: another master is promoted, although the old one lives. */
START_TEST(dead_monitor_costs_the_role)
{
    run_ms(5000);
    struct machine *first = primary();
    monitor_down(first, 20000);
    run_ms(10000);
    ck_assert_ptr_nonnull(primary());
    ck_assert_ptr_ne(primary(), first);
    ck_assert_uint_eq(w->promotions, 2);
    run_ms(15000);
    must_be_well();
}
END_TEST

/* Nobody is promoted, the primary goes on and says that it is alone; afterwards it is watched. */
START_TEST(engine_is_away)
{
    run_ms(5000);
    struct machine *first = primary();
    w->keeper.down_ns = w->sim->now_ns + 60 * NS_PER_S;
    run_ms(10000);
    uint32_t watched = first->fake.watched;
    ck_assert(first->fake.alarmed);
    run_ms(40000);
    ck_assert_uint_eq(first->fake.watched, watched);
    ck_assert_ptr_eq(primary(), first);
    ck_assert_uint_eq(monitor_epoch(first->m), 1);
    run_ms(30000);
    must_be_well();
    ck_assert_ptr_eq(primary(), first);
    ck_assert(!first->fake.alarmed);
    ck_assert_uint_eq(w->promotions, 1);
}
END_TEST

/* Monitors without rights at the engine: the primary goes on and says so, nothing is overwritten, and
 * with rights all is well again. */
START_TEST(engine_gives_no_rights)
{
    run_ms(5000);
    struct machine *first = primary();
    w->keeper.forbidden_ns = UINT64_MAX;
    sim_keeper_expire(&w->keeper, &first->client); /* the lock is to be taken again */
    run_ms(20000);
    ck_assert(first->fake.alarmed);
    ck_assert_ptr_eq(primary(), first);
    ck_assert_uint_eq(w->promotions, 1);
    w->keeper.forbidden_ns = 0;
    run_ms(30000);
    must_be_well();
    ck_assert(!primary()->fake.alarmed);
}
END_TEST

/* The session ends early: the lock is taken again before anybody else wants it. */
START_TEST(session_ends_early)
{
    run_ms(5000);
    struct machine *first = primary();
    w->early_ns = w->sim->now_ns + SESSION_MS * NS_PER_MS;
    sim_keeper_expire(&w->keeper, &first->client);
    run_ms(20000);
    must_be_well();
}
END_TEST

/* The engine knows an epoch that was long ago: the primary tells it; a promotion goes above. */
START_TEST(engine_is_restored)
{
    run_ms(5000);
    sim_keeper_save(&w->keeper);
    for (int i = 0; i < 5; i++) {
        fake_kill(&primary()->fake);
        run_ms(4000);
    }
    uint32_t before = w->highest;
    struct machine *first = primary();
    ck_assert_uint_ge(before, 6);
    w->early_ns = w->sim->now_ns + SESSION_MS * NS_PER_MS;
    sim_keeper_restore(&w->keeper);
    run_ms(30000);
    must_be_well();
    ck_assert_ptr_eq(primary(), first);
    ck_assert_uint_eq(w->highest, before);
    w->early_ns = w->sim->now_ns + SESSION_MS * NS_PER_MS;
    sim_keeper_restore(&w->keeper);
    fake_kill(&first->fake);
    run_ms(30000);
    must_be_well();
    ck_assert_uint_gt(w->highest, before);
}
END_TEST

/* A candidate that cannot become primary makes room after a while. */
START_TEST(promotion_in_vain_is_given_up)
{
    w->unready_ns = w->sim->now_ns + 40 * NS_PER_S;
    run_ms(60000);
    must_be_well();
    ck_assert_uint_ge(primary()->fake.epoch, 2);
}
END_TEST

/* The primary's machine dies; the other two in turn are the one that shall come next. */
static struct machine *successor(int turn)
{
    run_ms(5000);
    uint32_t first = (uint32_t)(primary() - w->all);
    return &w->all[(first + 1 + (uint32_t)turn) % COUNT];
}

static void other_than(struct machine *next, bool unfit, uint64_t age_ms)
{
    struct machine *first = primary();
    for (uint32_t i = 0; i < COUNT; i++) {
        if (&w->all[i] != first && &w->all[i] != next) {
            w->all[i].fake.unfit = unfit;
            w->all[i].fake.age_ms = age_ms;
        }
    }
    run_ms(2000);
    monitor_down(first, 60000);
    fake_kill(&first->fake);
    run_ms(10000);
    ck_assert_ptr_eq(primary(), next);
}

/* Nor does one that refuses hold it up. */
START_TEST(unfit_candidate_makes_room)
{
    other_than(successor(_i), true, 0);
}
END_TEST

/* A shadow that hears no other log would wait for their promises in vain. */
START_TEST(who_is_out_of_touch_comes_last)
{
    other_than(successor(_i), false, UINT64_MAX);
}
END_TEST

/* One that is promoted again and again comes after the others. */
START_TEST(flapping_is_braked)
{
    run_ms(5000);
    monitor_down(&w->all[1], 10000000);
    fake_kill(&w->all[1].fake);
    for (int i = 0; i < 8; i++) {
        fake_kill(&primary()->fake);
        run_ms(10000);
        ck_assert_ptr_nonnull(primary());
    }
    w->all[1].up_ns = 0;
    run_ms(20000);
    fake_kill(&primary()->fake);
    run_ms(3000);
    ck_assert_ptr_eq(primary(), &w->all[1]);
}
END_TEST

/* ---------------------------------------------------------------- hand-over */

static void tool_handed(struct rpc_call *c)
{
    w->status = c->status;
    if (c->status == 0) {
        ck_assert_int_eq(RPC_REPLY(handover, c, &w->handed), 0);
    }
}

static void tool_hello(struct rpc_call *c)
{
    struct frame_header head = {.op = OP_handover};
    ck_assert_int_eq(c->status, 0);
    c->done = tool_handed;
    rpc_call(&w->rpc, c, &head, RPC_BODY(handover_req, &(struct handover_req){}), NULL, 0);
}

START_TEST(primary_hands_over)
{
    run_ms(5000);
    struct machine *first = primary();
    struct frame_header head = {.op = OP_hello};
    struct hello_req req = {.role = ROLE_ADMIN, .name = bytes_str("gfs")};
    sim_process_start(w->tool);
    rpc_init(&w->rpc, &w->tool->env, &fake_events, w);
    rpc_dial(&w->rpc, first->cfg.listen);
    w->status = 1;
    w->call = (struct rpc_call){.done = tool_hello};
    rpc_call(&w->rpc, &w->call, &head, RPC_BODY(hello_req, &req), NULL, 0);
    run_ms(8000);
    sim_process_kill(w->tool);
    rpc_close(&w->rpc);
    ck_assert_int_eq(w->status, 0);
    ck_assert_uint_eq(w->handed.epoch, 2);
    ck_assert_uint_lt(w->handed.took_ms, 1000);
    must_be_well();
    ck_assert_ptr_ne(primary(), first);
    ck_assert_uint_eq(first->fake.kills, 0);
    ck_assert_uint_eq(primary()->fake.ended, 1);
}
END_TEST

/* ---------------------------------------------------------------- everything */

static void fault(struct sim_rand *r)
{
    struct machine *x = &w->all[sim_below(r, COUNT)];
    uint64_t now = w->sim->now_ns;
    switch (sim_below(r, 10)) {
    case 0:
    case 1:
        fake_kill(&x->fake);
        break;
    case 2:
        monitor_down(x, sim_below(r, 12000));
        break;
    case 3:
        monitor_down(x, sim_below(r, 12000));
        fake_kill(&x->fake);
        break;
    case 4:
        sim_process_pause(x->p, sim_below(r, 15 * NS_PER_S));
        break;
    case 5:
        sim_process_pause(x->fake.p, sim_below(r, 15 * NS_PER_S));
        break;
    case 6:
        x->client.cut_ns = now + sim_below(r, 20 * NS_PER_S);
        break;
    case 7:
        w->keeper.down_ns = now + sim_below(r, 20 * NS_PER_S);
        break;
    case 8:
        w->early_ns = now + SESSION_MS * NS_PER_MS;
        sim_keeper_expire(&w->keeper, &x->client);
        break;
    default:
        if (sim_chance(r, 1, 2)) {
            sim_keeper_save(&w->keeper);
        } else if (w->keeper.backup.count > 0) {
            w->early_ns = now + SESSION_MS * NS_PER_MS;
            sim_keeper_restore(&w->keeper);
        }
    }
}

/* Whatever happens, epochs are given once (fake_promote insists), one monitor holds the lock, and
 * after half a minute of peace a primary serves. */
START_TEST(random_faults)
{
    struct sim_rand r = sim_rand_of(11, (uint64_t)_i);
    setup_seed((uint64_t)_i + 100);
    w->keeper.lost_per_mille = (uint32_t)sim_below(&r, 40);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 10; i++) {
            run_ms(sim_below(&r, 6000));
            fault(&r);
        }
        run_ms(60000);
        must_be_well();
    }
    teardown();
}
END_TEST

/* ---------------------------------------------------------------- texts */

START_TEST(texts_are_read_back)
{
    char text[KEEPER_TEXT_MAX + 1], addr[ADDR_LEN_MAX + 1];
    struct keeper_epoch e = {.epoch = UINT32_MAX, .addr = "a:1", .nonce = UINT64_MAX},
                        e2 = {.version = 3};
    struct elect_candidate c = {.able = true, .role = 2, .epoch = 5, .durable = 9, .addr = "x:2"},
                           c2;
    uint32_t epoch;
    uint64_t nonce, number;
    keeper_put_epoch(text, &e);
    ck_assert_str_eq(text, "4294967295 a:1 - 18446744073709551615");
    ck_assert(keeper_get_epoch(text, &e2));
    ck_assert_uint_eq(e2.epoch, e.epoch);
    ck_assert_str_eq(e2.addr, "a:1");
    ck_assert_str_eq(e2.monitor, "");
    ck_assert(e2.nonce == UINT64_MAX);
    keeper_put_candidate(text, &c);
    ck_assert_str_eq(text, "1 0 2 5 9 x:2");
    ck_assert(keeper_get_candidate(text, &c2));
    ck_assert(c2.able && !c2.braked && c2.durable == 9);
    keeper_put_active(text, 4, "");
    ck_assert_str_eq(text, "4 -");
    ck_assert(keeper_get_active(text, &epoch, addr));
    ck_assert_str_eq(addr, "");
    keeper_put_lock(text, 0xab);
    ck_assert_str_eq(text, "00000000000000ab-");
    ck_assert(keeper_get_lock("00000000000000ab-0000000012", &nonce, &number));
    ck_assert(nonce == 0xab && number == 12);
}
END_TEST

START_TEST(damaged_texts_are_refused)
{
    static const char *const epochs[] = {"",
                                         " ",
                                         "1",
                                         "1 a",
                                         "1 a b",
                                         "1 a b x",
                                         "1 a b 2 c",
                                         "1  a b 2",
                                         "-1 a b 2",
                                         "x a b 2",
                                         "1 a b 2\n",
                                         "4294967296 a b 2",
                                         "1 a b 18446744073709551616"};
    static const char *const locks[] = {"",
                                        "n-1",
                                        "00000000000000ab-000000001",
                                        "00000000000000ab-00000000012",
                                        "0000000000000xab-0000000012",
                                        "00000000000000ab_0000000012"};
    struct keeper_epoch e;
    uint64_t nonce, number;
    char longer[2 * ADDR_LEN_MAX];
    for (size_t i = 0; i < COUNT_OF(epochs); i++) {
        ck_assert_msg(!keeper_get_epoch(epochs[i], &e), "'%s' was taken", epochs[i]);
    }
    for (size_t i = 0; i < COUNT_OF(locks); i++) {
        ck_assert_msg(!keeper_get_lock(locks[i], &nonce, &number), "'%s' was taken", locks[i]);
    }
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = 0;
    memcpy(longer, "1 ", 2);
    ck_assert(!keeper_get_active(longer, &(uint32_t){0}, (char[ADDR_LEN_MAX + 1]){0}));
}
END_TEST

Suite *suite_monitor_set(void)
{
    Suite *s = suite_create("monitor_set");
    TCase *events = tcase_create("events");
    tcase_add_checked_fixture(events, setup, teardown);
    tcase_add_test(events, one_of_three_is_promoted);
    tcase_add_test(events, dead_primary_is_replaced_by_another);
    tcase_add_test(events, hung_primary_is_replaced);
    tcase_add_test(events, hung_primary_is_spared);
    tcase_add_test(events, dead_machine_is_replaced);
    tcase_add_test(events, monitor_takes_its_primary_over);
    tcase_add_test(events, dead_monitor_costs_the_role);
    tcase_add_test(events, engine_is_away);
    tcase_add_test(events, engine_gives_no_rights);
    tcase_add_test(events, session_ends_early);
    tcase_add_test(events, engine_is_restored);
    tcase_add_test(events, promotion_in_vain_is_given_up);
    tcase_add_loop_test(events, unfit_candidate_makes_room, 0, 2);
    tcase_add_loop_test(events, who_is_out_of_touch_comes_last, 0, 2);
    tcase_add_test(events, flapping_is_braked);
    tcase_add_test(events, primary_hands_over);
    suite_add_tcase(s, events);
    TCase *all = tcase_create("all");
    tcase_add_loop_test(all, random_faults, 0, 30);
    tcase_add_test(all, texts_are_read_back);
    tcase_add_test(all, damaged_texts_are_refused);
    suite_add_tcase(s, all);
    return s;
}
