/* test_chunkd_masters.c - a chunkserver of several masters registers with the primary alone. */
#include "shared/base/mem.h"
#include "tests/unit/chunkd_fixture.h"

#include <check.h>

Suite *suite_chunkd_masters(void);

/* Another master: says who it is, and counts who registers. */
struct other {
    struct sim_process *process;
    struct list conns;
    uint32_t role, epoch;
    const char *hint;
    uint32_t hellos, registers;
};

struct other_conn {
    struct list link;
    struct rpc rpc;
    struct other *o;
};

static void other_request(void *owner, struct rpc *r, struct message *m)
{
    struct other *o = ((struct other_conn *)owner)->o;
    if (m->head.op == OP_register) {
        o->registers++;
        rpc_answer_status(r, &m->head, ERR_NOT_READY);
        return;
    }
    o->hellos++;
    struct hello_rep rep = {.cluster = FX_CLUSTER,
                            .role = o->role,
                            .primary = bytes_str(o->hint != NULL ? o->hint : "")};
    rpc_answer(r, &m->head, 0, 0, o->epoch, RPC_BODY(hello_rep, &rep), NULL);
}

static void conn_free(struct other_conn *c)
{
    list_remove(&c->link);
    rpc_close(&c->rpc);
    mem_free(c);
}

static void other_closed(void *owner, struct rpc *r, int err)
{
    (void)r;
    (void)err;
    conn_free(owner);
}

static const struct rpc_events other_events = {.on_request = other_request,
                                               .on_close = other_closed};

static void other_accept(void *owner, struct env_conn *conn)
{
    struct other *o = owner;
    struct other_conn *c = mem_new(struct other_conn);
    c->o = o;
    list_push_back(&o->conns, &c->link);
    rpc_init(&c->rpc, &o->process->env, &other_events, c);
    rpc_accept(&c->rpc, conn);
}

static struct fx *start(struct other *o, uint32_t role, const char *masters)
{
    struct fx *f = fx_new(1);
    *o = (struct other){.role = role, .epoch = 1};
    list_init(&o->conns);
    o->process = sim_process_create(f->sim, "other");
    sim_process_start(o->process);
    ck_assert_int_eq(env_listen(&o->process->env, "other:1", other_accept, o), 0);
    f->masters = masters;
    return f;
}

static void end(struct fx *f, struct other *o)
{
    while (!list_empty(&o->conns)) {
        conn_free(list_entry(o->conns.next, struct other_conn, link));
    }
    fx_free(f);
}

START_TEST(the_primary_alone_is_registered_with)
{
    struct other o;
    struct fx *f = start(&o, _i == 0 ? MASTER_SHADOW : MASTER_STARTING, "other:1,master:1");
    ck_assert_int_eq(fx_start(f, 1), 0);
    ck_assert(f->servers[1].reported);
    ck_assert_uint_eq(o.hellos, 1);
    ck_assert_uint_eq(o.registers, 0);
    end(f, &o);
}
END_TEST

START_TEST(a_hint_is_followed)
{
    struct other o;
    struct fx *f = start(&o, MASTER_SHADOW, "other:1,nobody:1,nobody:2");
    o.hint = "master:1";
    ck_assert_int_eq(fx_start(f, 1), 0);
    ck_assert(f->servers[1].reported);
    end(f, &o);
}
END_TEST

/* A master that does not know that it was replaced. */
START_TEST(a_deposed_primary_is_not_registered_with)
{
    struct other o;
    struct fx *f = start(&o, MASTER_PRIMARY, "master:1,other:1");
    f->epoch = 5;
    o.epoch = 4;
    ck_assert_int_eq(fx_start(f, 1), 0);
    ck_assert(f->servers[1].reported);
    f->role = MASTER_SHADOW;
    fx_cut_master(f);
    fx_run_ms(f, 3000);
    ck_assert_uint_gt(o.hellos, 1);
    ck_assert_uint_eq(o.registers, 0);
    o.epoch = 6;
    fx_run_ms(f, 1500);
    ck_assert_uint_gt(o.registers, 0);
    end(f, &o);
}
END_TEST

START_TEST(a_silent_primary_is_left)
{
    struct other o;
    struct fx *f = start(&o, MASTER_SHADOW, "master:1,other:1");
    ck_assert_int_eq(fx_start(f, 1), 0);
    ck_assert(f->servers[1].reported);
    f->mute = true;
    o.epoch = 2;
    o.role = MASTER_PRIMARY;
    fx_run_ms(f, 4000);
    ck_assert_uint_gt(o.registers, 0);
    end(f, &o);
}
END_TEST

Suite *suite_chunkd_masters(void)
{
    Suite *s = suite_create("chunkd_masters");
    TCase *t = tcase_create("masters");
    suite_add_tcase(s, t);
    tcase_add_loop_test(t, the_primary_alone_is_registered_with, 0, 2);
    tcase_add_test(t, a_hint_is_followed);
    tcase_add_test(t, a_deposed_primary_is_not_registered_with);
    tcase_add_test(t, a_silent_primary_is_left);
    return s;
}
