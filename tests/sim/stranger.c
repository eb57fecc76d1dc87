/* stranger.c - requests that nobody should send. */
#include "tests/sim/stranger.h"
#include "shared/base/mem.h"
#include "shared/env/rpc.h"

#include <stdio.h>

enum { PAUSE_MAX_MS = 400, ANSWER_MS = 300, FIELDS_MAX = 20, TEXT_MAX = 40, REQUESTS_MAX = 12 };

struct stranger {
    struct world *world;
    struct sim_process *process;
    struct sim_rand rand;
    struct rpc rpc;
    struct rpc_call call;
    struct env_timer timer;
    uint32_t left;            /* requests on this connection */
    bool introduced;          /* as one of this cluster */
    const struct op_info *op; /* asked; NULL = none there is */
    bool readable;            /* its body was */
};

/* ---------------------------------------------------------------- bodies */

static void put_byte(struct writer *w, uint8_t b)
{
    writer_raw(w, &b, 1);
}

static void put_number(struct writer *w, uint64_t v, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--) {
        put_byte(w, (uint8_t)(v >> 8 * i));
    }
}

static void put_noise(struct writer *w, struct sim_rand *r, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        put_byte(w, (uint8_t)sim_rand64(r));
    }
}

/* Zero, or larger than any number that is given. */
static void put_uint(struct writer *w, struct sim_rand *r)
{
    uint64_t v = sim_chance(r, 1, 3) ? 0 : sim_rand64(r) | 1ull << 62;
    if (sim_chance(r, 1, 4)) {
        put_byte(w, 0xce);
        put_number(w, (uint32_t)v | (v != 0 ? 1u << 31 : 0), 4);
    } else {
        put_byte(w, v == 0 ? 0x00 : 0xcf);
        put_number(w, v, v == 0 ? 0 : 8);
    }
}

static void put_text(struct writer *w, struct sim_rand *r, uint8_t code8)
{
    uint32_t len = (uint32_t)sim_below(r, TEXT_MAX);
    int wide = (int)sim_below(r, 3);
    put_byte(w, (uint8_t)(code8 + wide));
    put_number(w, len, 1 << wide);
    put_noise(w, r, len);
}

static void put_value(struct writer *w, struct sim_rand *r, int depth)
{
    static const uint8_t fixed[] = {0xca, 4, 0xcb, 8, 0xd0, 1, 0xd1, 2, 0xd2, 4,  0xd3, 8,
                                    0xd4, 2, 0xd5, 3, 0xd6, 5, 0xd7, 9, 0xd8, 17, 0xc0, 0,
                                    0xc2, 0, 0xc3, 0, 0xcc, 1, 0xcd, 2, 0xe0, 0,  0xa3, 3};
    uint32_t n = (uint32_t)sim_below(r, 4);
    uint64_t i = sim_below(r, COUNT_OF(fixed) / 2);
    switch (sim_below(r, depth > 0 ? 6 : 4)) {
    case 0:
    case 1:
        put_uint(w, r);
        break;
    case 2:
        put_text(w, r, sim_chance(r, 1, 2) ? 0xc4 : 0xd9);
        break;
    case 3:
        put_byte(w, fixed[2 * i]);
        put_noise(w, r, fixed[2 * i + 1]);
        break;
    case 4:
        put_byte(w, sim_chance(r, 1, 2) ? (uint8_t)(0x90 + n) : 0xdc);
        if (w->buf->data[w->len - 1] == 0xdc) {
            put_number(w, n, 2);
        }
        for (; n > 0; n--) {
            put_value(w, r, depth - 1);
        }
        break;
    default:
        put_byte(w, sim_chance(r, 1, 2) ? (uint8_t)(0x80 + n) : 0xde);
        if (w->buf->data[w->len - 1] == 0xde) {
            put_number(w, n, 2);
        }
        for (n *= 2; n > 0; n--) {
            put_value(w, r, depth - 1);
        }
        break;
    }
}

/* Some fields of any kind; if it is not to be readable, something is wrong at the end of it. */
static struct slice body_of(struct stranger *s)
{
    struct writer w;
    struct sim_rand *r = &s->rand;
    uint32_t fields = (uint32_t)sim_below(r, FIELDS_MAX);
    writer_init(&w);
    if (sim_chance(r, 1, 10)) {
        put_byte(&w, 0xdd); /* far more than there are bytes */
        put_number(&w, sim_rand64(r), 4);
    } else if (fields < 16) {
        put_byte(&w, (uint8_t)(0x90 + fields));
    } else {
        put_byte(&w, 0xdc);
        put_number(&w, fields, 2);
    }
    for (uint32_t i = 0; i < fields; i++) {
        put_value(&w, r, 2);
    }
    if (!s->readable) {
        put_byte(&w, sim_chance(r, 1, 2) ? 0xc1 : 0x00);
    }
    return writer_take(&w);
}

/* ---------------------------------------------------------------- asking */

static void next(struct stranger *s);

static void hang_up(struct stranger *s)
{
    rpc_cancel(&s->call);
    rpc_close(&s->rpc);
    env_timer_set(&s->process->env, &s->timer, sim_below(&s->rand, PAUSE_MAX_MS) * NS_PER_MS);
}

static void answered(struct rpc_call *c)
{
    struct stranger *s = c->owner;
    bool change = s->op != NULL && s->op->class == OP_MUTATION;
    if (c->status == 0 && (s->op == NULL || change || !s->introduced)) {
        world_fail(s->world, "a stranger's %s is answered%s",
                   s->op != NULL ? s->op->name : "nonsense",
                   s->introduced ? "" : " although it did not introduce itself");
    }
    if (c->status == ERR_DISCONNECTED || c->status == ERR_TIMEOUT || s->left-- == 0) {
        hang_up(s);
    } else {
        next(s);
    }
}

/* What reads, and so may be asked with values that can be read. The rest would do something. */
static bool only_reads(const struct op_info *op)
{
    switch (op->code) {
    case OP_read:
    case OP_sync:
    case OP_sync_replica:
    case OP_seek:
    case OP_vector:
    case OP_read_raw:
    case OP_chunk_list:
    case OP_trash_list:
    case OP_replicas_get:
    case OP_grant:
    case OP_report_bad:
    case OP_digests:
        return true;
    case OP_session_open:
        return false;
    default:
        return op->class == OP_QUERY || op->class == OP_MUTATION;
    }
}

/* Some of them are not refused for what their body is: they have none. */
static bool has_body(const struct op_info *op)
{
    switch (op->code) {
    case OP_checkpoint_now:
    case OP_session_open:
    case OP_handover:
    case OP_step_down:
    case OP_promote:
        return false;
    default:
        return true;
    }
}

static void next(struct stranger *s)
{
    struct sim_rand *r = &s->rand;
    struct frame_header head = {.op = (uint16_t)sim_rand64(r)};
    s->op = sim_chance(r, 1, 10) ? op_info_of(head.op) : &op_table[sim_below(r, op_table_count)];
    if (s->op != NULL && (s->op->code == OP_hello || !has_body(s->op))) {
        s->op = NULL;
        head.op = 0xffff;
    }
    if (s->op != NULL) {
        head.op = s->op->code;
    }
    s->readable = s->op != NULL && only_reads(s->op) && sim_chance(r, 2, 3);
    if (sim_chance(r, 1, 2)) { /* of somebody else, perhaps */
        head.session = sim_chance(r, 1, 2) ? sim_between(r, 1, 6) : sim_rand64(r);
        head.sequence = sim_between(r, 0, 50);
        head.acked = sim_below(r, 50);
    }
    head.index = sim_chance(r, 1, 4) ? sim_below(r, 1000) : 0;
    s->call.done = answered;
    s->call.owner = s;
    rpc_call(&s->rpc, &s->call, &head, body_of(s), NULL, ANSWER_MS);
}

static void greeted(struct rpc_call *c)
{
    struct stranger *s = c->owner;
    bool foreign = !s->introduced;
    if (c->status == 0 && foreign) {
        world_fail(s->world, "one of another cluster is let in");
    }
    if (c->status != 0) {
        hang_up(s);
    } else {
        next(s);
    }
}

static void opened(void *owner, struct rpc *rpc)
{
    struct stranger *s = owner;
    struct sim_rand *r = &s->rand;
    struct frame_header head = {.op = OP_hello};
    struct hello_req req = {.role = (uint32_t)sim_between(r, ROLE_CLIENT, ROLE_ADMIN)};
    s->left = (uint32_t)sim_below(r, REQUESTS_MAX);
    s->introduced = sim_chance(r, 3, 4);
    if (!s->introduced && sim_chance(r, 1, 2)) {
        next(s);
        return;
    }
    if (!s->introduced) {
        req.name = bytes_str("another");
    }
    s->call.done = greeted;
    s->call.owner = s;
    rpc_call(rpc, &s->call, &head, RPC_BODY(hello_req, &req), NULL, ANSWER_MS);
}

static void requested(void *owner, struct rpc *r, struct message *m)
{
    (void)owner;
    rpc_answer_status(r, &m->head, ERR_UNKNOWN_OP);
}

static void closed(void *owner, struct rpc *r, int err)
{
    struct stranger *s = owner;
    (void)r;
    (void)err;
    env_timer_set(&s->process->env, &s->timer, sim_below(&s->rand, PAUSE_MAX_MS) * NS_PER_MS);
}

static const struct rpc_events events = {opened, requested, closed};

static void fired(struct env_timer *t)
{
    struct stranger *s = container_of(t, struct stranger, timer);
    struct world *w = s->world;
    char addr[32];
    rpc_cancel(&s->call);
    rpc_close(&s->rpc);
    rpc_init(&s->rpc, &s->process->env, &events, s);
    if (sim_chance(&s->rand, 1, 2)) {
        world_master_addr((uint32_t)sim_below(&s->rand, w->master_count), addr);
    } else {
        snprintf(addr, sizeof(addr), "10.0.1.%u:9500",
                 1 + (unsigned)sim_below(&s->rand, w->server_count - 1));
    }
    rpc_dial(&s->rpc, addr);
}

struct stranger *stranger_start(struct world *w)
{
    struct stranger *s = mem_new(struct stranger);
    s->world = w;
    s->rand = sim_rand_of(w->seed, 27);
    s->process = sim_process_create(w->sim, "stranger");
    sim_process_start(s->process);
    rpc_init(&s->rpc, &s->process->env, &events, s);
    s->timer.fire = fired;
    env_timer_set(&s->process->env, &s->timer, PAUSE_MAX_MS * NS_PER_MS);
    return s;
}

void stranger_stop(struct stranger *s)
{
    sim_process_kill(s->process);
    rpc_cancel(&s->call);
    rpc_close(&s->rpc);
    mem_free(s);
}
