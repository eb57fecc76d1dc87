/* stranger.c - requests that nobody should send. */
#include "tests/sim/stranger.h"
#include "chunkd/core/core.h"
#include "shared/base/mem.h"
#include "shared/env/rpc.h"
#include "tests/sim/harmless.h"

#include <stdio.h>
#include <string.h>

enum { PAUSE_MAX_MS = 300, ANSWER_MS = 300, FIELDS_MAX = 20, TEXT_MAX = 40, REQUESTS_MAX = 40 };

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
    struct typed *typed;
    uint32_t role;               /* on this connection */
    uint32_t rank;               /* of the master it is with; UINT32_MAX = a chunkserver ... */
    const struct sim_server *to; /* ... this one */
    uint64_t session;            /* its own, 0 = none */
    uint64_t nonce;
    uint64_t sequence;
    uint8_t sum[4]; /* of the bytes that go with a request */
    bool attached;  /* the session, to this connection */
    bool own;       /* it is asked in that */
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
    bool change = s->op != NULL && s->op->class == OP_MUTATION && !s->own;
    if (c->status == 0 && (s->op == NULL || change || !s->introduced)) {
        world_fail(s->world, "a stranger's %s is answered%s",
                   s->op != NULL ? s->op->name : "nonsense",
                   s->introduced ? "" : " although it did not introduce itself");
    }
    if (c->status == 0 && s->own && s->op->code == OP_session_end) {
        s->session = 0;
    }
    /* The master stood still, and a copy of a disk has taken over: its owner comes back. */
    bool claimed = c->status == 0 && s->op != NULL && s->op->code == OP_register;
    bool over = claimed || c->status == ERR_DISCONNECTED || c->status == ERR_TIMEOUT ||
                (s->rank != UINT32_MAX &&
                 (c->status == ERR_PROTOCOL || c->status == ERR_UNKNOWN_OP)); /* it hangs up */
    if (over || s->left-- == 0) {
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

/* Such a peer, introduced like that, is asked for it. */
static bool suits(const struct stranger *s, const struct op_info *op)
{
    static const struct {
        uint32_t role;
        uint16_t from, to;
    } rows[] = {{ROLE_CLIENT, OP_session_attach, OP_close_files},
                {ROLE_CLIENT, OP_lookup, OP_grant},
                {ROLE_CLIENT, OP_report_bad, OP_report_bad},
                {ROLE_CHUNKD, OP_register, OP_report_bad},
                {ROLE_CHUNKD, OP_scanned, OP_scanned},
                {ROLE_MASTER, OP_log_promise, OP_log_compare},
                {ROLE_ADMIN, OP_status, OP_masters}};
    bool found = false;
    if (s->rank == UINT32_MAX) {
        return (op->code >= OP_read && op->code <= OP_read_raw) || op->code == OP_verify_replica;
    }
    for (size_t i = 0; i < COUNT_OF(rows) && !found; i++) {
        found = rows[i].role == s->role && op->code >= rows[i].from && op->code <= rows[i].to;
    }
    return found;
}

static const struct op_info *some_op(struct stranger *s)
{
    const struct op_info *op;
    bool any = !s->introduced || sim_chance(&s->rand, 1, 30);
    do {
        op = &op_table[sim_below(&s->rand, op_table_count)];
    } while (!any && !suits(s, op));
    return op;
}

/* A mutation that brings as many bytes as it says, whose sums are right or wrong. */
static void fit(struct stranger *s, const struct slice *payload, uint32_t *kind, uint32_t *offset,
                uint32_t *length, struct bytes *sums)
{
    uint32_t block = s->world->geo.block_bytes;
    *kind = WRITE_DATA;
    *length = payload->len;
    *offset %= block - payload->len; /* all of it is in one block */
    put_le(s->sum, block_sum(slice_data(payload), payload->len), 4);
    s->sum[0] ^= sim_chance(&s->rand, 1, 2);
    *sums = bytes_of(s->sum, sizeof(s->sum));
}

/* Bytes go with the request, fitting or not. */
static struct slice some_payload(struct stranger *s, union op_any *req)
{
    struct writer w;
    writer_init(&w);
    put_noise(&w, &s->rand, 1 + (uint32_t)sim_below(&s->rand, 200));
    struct slice payload = writer_take(&w);
    bool fits = sim_chance(&s->rand, 1, 2);
    struct write_req *q = &req->write_req;
    struct forward_req *f = &req->forward_req;
    if (fits && s->op->code == OP_write) {
        fit(s, &payload, &q->kind, &q->offset, &q->length, &q->sums);
    } else if (fits && s->op->code == OP_forward) {
        fit(s, &payload, &f->kind, &f->offset, &f->length, &f->sums);
    }
    return payload;
}

/* Every field by the table; false: not of this operation. */
static bool ask_typed(struct stranger *s)
{
    struct sim_rand *r = &s->rand;
    union op_any req;
    if (s->op == NULL || !harmless_draw(s->typed, s->world, s->op, s->session, &req)) {
        return false;
    }
    struct frame_header head = {.op = s->op->code};
    struct slice payload = {0};
    s->own = s->attached && s->session != 0;
    if (s->own) {
        head.session = s->session;
        head.sequence =
            s->op->class != OP_MUTATION || sim_chance(r, 1, 16) ? s->sequence : ++s->sequence;
        head.acked = s->sequence - (sim_chance(r, 1, 2) && s->sequence > 0);
    }
    if (s->op->code == OP_log_append || s->op->code == OP_log_cut) {
        head.epoch = sim_chance(r, 1, 2) ? UINT32_MAX : 0;
    }
    if ((s->op->code == OP_log_append || s->op->code == OP_write || s->op->code == OP_forward) &&
        sim_chance(r, 1, 2)) {
        payload = some_payload(s, &req);
    }
    head.index = sim_chance(r, 1, 8) ? sim_below(r, 1000) : 0;
    head.flags = sim_chance(r, 1, 4) ? FRAME_ANY_AGE : 0;
    s->call.done = answered;
    s->call.owner = s;
    rpc_call(&s->rpc, &s->call, &head, typed_body(s->typed, s->op, &req),
             payload.len > 0 ? &payload : NULL, ANSWER_MS);
    return true;
}

static void next(struct stranger *s)
{
    struct sim_rand *r = &s->rand;
    struct frame_header head = {.op = (uint16_t)sim_rand64(r)};
    s->own = false;
    s->op = some_op(s);
    if (s->introduced && sim_chance(r, 19, 20) && ask_typed(s)) {
        return;
    }
    s->own = false;
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
        head.session = head.session != s->session ? head.session : 0;
        head.sequence = sim_between(r, 0, 50);
        head.acked = sim_below(r, 50);
    }
    head.index = sim_chance(r, 1, 4) ? sim_below(r, 1000) : 0;
    s->call.done = answered;
    s->call.owner = s;
    rpc_call(&s->rpc, &s->call, &head, body_of(s), NULL, ANSWER_MS);
}

/* ---------------------------------------------------------------- a session of its own */

static void attached(struct rpc_call *c)
{
    struct stranger *s = c->owner;
    if (c->status == ERR_NO_SESSION) {
        s->session = 0;
    }
    s->attached = c->status == 0;
    if (c->status == ERR_DISCONNECTED || c->status == ERR_TIMEOUT) {
        hang_up(s);
    } else {
        next(s);
    }
}

static void attach(struct stranger *s);

static void session_opened(struct rpc_call *c)
{
    struct stranger *s = c->owner;
    struct session_open_rep rep;
    if (RPC_REPLY(session_open, c, &rep) != 0) {
        hang_up(s);
        return;
    }
    s->session = rep.session;
    attach(s);
}

static void compared(struct rpc_call *c)
{
    struct stranger *s = c->owner;
    if (c->status == ERR_DISCONNECTED || c->status == ERR_TIMEOUT) {
        hang_up(s);
    } else {
        next(s);
    }
}

/* Says that it is another one of the masters. */
static void compare(struct stranger *s)
{
    const struct world *w = s->world;
    struct writer list;
    struct frame_header head = {.op = OP_log_compare};
    writer_init(&list);
    typed_put_masters(&list, w->master_list);
    struct log_compare_req req = {.masters = writer_bytes(&list),
                                  .number = (s->rank + 1) % w->master_count,
                                  .acks = w->log_acks,
                                  .disk = sim_rand64(&s->rand)};
    s->call.done = compared;
    s->call.owner = s;
    rpc_call(&s->rpc, &s->call, &head, RPC_BODY(log_compare_req, &req), NULL, ANSWER_MS);
    writer_free(&list);
}

/* Opens a session, or says that this connection is its session's. */
static void attach(struct stranger *s)
{
    struct session_open_req open = {.host = bytes_str("stranger"), .nonce = s->nonce};
    struct session_attach_req req = {.session = s->session};
    struct frame_header head = {.op = s->session != 0 ? OP_session_attach : OP_session_open};
    s->call.done = s->session != 0 ? attached : session_opened;
    s->call.owner = s;
    if (s->session == 0 && sim_chance(&s->rand, 1, 2)) {
        open.nonce = s->nonce = sim_rand64(&s->rand);
        open.trash = sim_chance(&s->rand, 1, 2) ? 1 : 0;
    }
    rpc_call(&s->rpc, &s->call, &head,
             s->session != 0 ? RPC_BODY(session_attach_req, &req)
                             : RPC_BODY(session_open_req, &open),
             NULL, ANSWER_MS);
}

/* A chunkserver that was never told the name takes whoever comes, as long as no master told it the id. */
static bool takes_anybody(const struct stranger *s)
{
    return s->rank == UINT32_MAX && s->to->chunkd != NULL && s->to->chunkd->label.name[0] == '\0' &&
           s->to->chunkd->cfg.cluster[0] == '\0';
}

static void greeted(struct rpc_call *c)
{
    struct stranger *s = c->owner;
    if (c->status == 0 && !s->introduced && !takes_anybody(s)) {
        world_fail(s->world, "one of another cluster is let in");
    }
    if (c->status != 0 || !s->introduced) {
        hang_up(s);
    } else if (s->role == ROLE_CLIENT && s->introduced && s->rank != UINT32_MAX &&
               sim_chance(&s->rand, 3, 4)) {
        attach(s);
    } else if (s->role == ROLE_MASTER && s->rank != UINT32_MAX && s->world->master_count > 1 &&
               sim_chance(&s->rand, 3, 4)) {
        compare(s);
    } else {
        next(s);
    }
}

static void opened(void *owner, struct rpc *rpc)
{
    struct stranger *s = owner;
    struct sim_rand *r = &s->rand;
    struct frame_header head = {.op = OP_hello};
    static const uint8_t roles[] = {ROLE_CLIENT, ROLE_CLIENT, ROLE_CLIENT, ROLE_CHUNKD,
                                    ROLE_MASTER, ROLE_ADMIN,  ROLE_ADMIN};
    struct hello_req req = {.role = roles[sim_below(r, COUNT_OF(roles))]};
    s->role = req.role;
    s->attached = false;
    s->left = (uint32_t)sim_below(r, REQUESTS_MAX);
    s->introduced = sim_chance(r, 3, 4);
    s->readable = false;
    if (!s->introduced && sim_chance(r, 1, 2)) {
        next(s);
        return;
    }
    bool malformed = !s->introduced && sim_chance(r, 1, 4);
    if (!s->introduced) {
        req.name = bytes_str("another");
        req.cluster = sim_chance(r, 1, 2) ? 0 : sim_rand64(r) | 1;
        req.server = sim_chance(r, 3, 4) ? 0 : UINT32_MAX;
    }
    s->call.done = greeted;
    s->call.owner = s;
    rpc_call(rpc, &s->call, &head, malformed ? body_of(s) : RPC_BODY(hello_req, &req), NULL,
             ANSWER_MS);
}

static void closed(void *owner, struct rpc *r, int err)
{
    struct stranger *s = owner;
    (void)r;
    (void)err;
    env_timer_set(&s->process->env, &s->timer, sim_below(&s->rand, PAUSE_MAX_MS) * NS_PER_MS);
}

static const struct rpc_events events = {.on_open = opened, .on_close = closed};

static void fired(struct env_timer *t)
{
    struct stranger *s = container_of(t, struct stranger, timer);
    struct world *w = s->world;
    char addr[32];
    rpc_cancel(&s->call);
    rpc_close(&s->rpc);
    rpc_init(&s->rpc, &s->process->env, &events, s);
    if (sim_chance(&s->rand, 2, 3)) {
        const struct sim_server *primary = world_primary(w);
        bool that = primary != NULL && sim_chance(&s->rand, 1, 2);
        s->rank = that ? primary->rank : (uint32_t)sim_below(&s->rand, w->master_count);
        world_master_addr(s->rank, addr);
    } else {
        s->rank = UINT32_MAX;
        s->to = &w->servers[1 + sim_below(&s->rand, w->server_count - 1)];
        world_chunkd_addr(w, s->to->number, addr);
    }
    rpc_dial(&s->rpc, addr);
}

struct stranger *stranger_start(struct world *w)
{
    struct stranger *s = mem_new(struct stranger);
    s->world = w;
    s->rand = sim_rand_of(w->seed, 27);
    s->typed = typed_new(&s->rand);
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
    typed_free(s->typed);
    mem_free(s);
}
