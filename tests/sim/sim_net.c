/* sim_net.c - connections between simulated processes.
 *
 * A connection is two ends. What travels towards an end waits in its `incoming` list, in order,
 * each item with its time of arrival; one event per end stands for the first of them.
 */
#include "tests/sim/sim_net.h"
#include "shared/base/bytes.h"
#include "shared/base/hash.h"
#include "shared/base/invariant.h"
#include "shared/base/mem.h"
#include "tests/sim/sim_env.h"

#include <stdio.h>
#include <string.h>

enum item_kind { ITEM_CONNECT, ITEM_OPENED, ITEM_FRAME, ITEM_CLOSE };

struct item {
    struct list link;
    enum item_kind kind;
    uint64_t at_ns;
    int err; /* ITEM_CLOSE */
    uint8_t header[FRAME_HEADER_BYTES];
    bool damaged; /* on its way */
    struct slice body;
    struct slice payload;
};

/* One end of a connection. */
struct env_conn {
    struct list link; /* sim.conns */
    struct sim *sim;
    uint64_t number;             /* of the connection */
    struct sim_process *process; /* NULL = nobody has accepted yet */
    struct env_conn *peer;       /* NULL = the other end is gone */
    struct sim_process *far;     /* whose the other end is or was */
    uint64_t cut_bytes;          /* it is cut when so many have been sent from here; 0 = not */
    const struct conn_events *events;
    void *owner;
    bool dead; /* its process is gone or hung up: no callback */
    bool open; /* established at this end */
    bool was_dialled;
    struct list incoming;
    struct sim_event arrive;
    uint64_t incoming_bytes;
    char dialled[ADDR_LEN_MAX + 1]; /* address asked for */
    char peer_name[48];
};

struct listener {
    struct list link;
    struct sim_process *process;
    char addr[ADDR_LEN_MAX + 1];
    env_accept_cb cb;
    void *owner;
};

/* Nothing passes from one process to another until then. */
struct block {
    struct list link;
    struct sim_process *from;
    struct sim_process *to;
    uint64_t until_ns;
};

static void arrive(struct sim_event *e);

static uint64_t draw_delay(struct sim *s)
{
    uint64_t mean = s->knobs.net_mean_ns;
    uint64_t more = sim_below(&s->net, 2 * mean + 1);
    if (sim_chance(&s->net, 1, 50)) { /* a retransmission or a full queue somewhere */
        more += sim_below(&s->net, 20 * mean + 1);
    }
    return s->knobs.net_min_ns + more;
}

/* From one process to another, either NULL if it is not known. */
static uint64_t delay_between(struct sim *s, const struct sim_process *a,
                              const struct sim_process *b)
{
    uint64_t more = 0;
    if (a != NULL && a->net_slow_ns > s->now_ns) {
        more = MAX(more, a->net_more_ns);
    }
    if (b != NULL && b->net_slow_ns > s->now_ns) {
        more = MAX(more, b->net_more_ns);
    }
    return draw_delay(s) + sim_below(&s->net, more + 1);
}

static struct env_conn *end_new(struct sim *s, struct sim_process *p)
{
    struct env_conn *c = mem_new(struct env_conn);
    c->sim = s;
    c->process = p;
    list_init(&c->incoming);
    c->arrive.run = arrive;
    list_push_back(&s->conns, &c->link);
    return c;
}

static void item_free(struct item *i)
{
    list_remove(&i->link);
    slice_drop(&i->body);
    slice_drop(&i->payload);
    mem_free(i);
}

static void drop_incoming(struct env_conn *c)
{
    list_for_each_safe (it, &c->incoming) {
        item_free(list_entry(it, struct item, link));
    }
    c->incoming_bytes = 0;
    sim_cancel(c->sim, &c->arrive);
}

static void push(struct env_conn *to, struct item *i, uint64_t delay)
{
    i->at_ns = to->sim->now_ns + delay;
    if (!list_empty(&to->incoming)) {
        struct item *last = list_entry(to->incoming.prev, struct item, link);
        i->at_ns = MAX(i->at_ns, last->at_ns);
    } else {
        sim_at(to->sim, &to->arrive, i->at_ns);
    }
    list_push_back(&to->incoming, &i->link);
}

static void push_kind(struct env_conn *to, enum item_kind kind, int err, uint64_t delay)
{
    struct item *i = mem_new(struct item);
    i->kind = kind;
    i->err = err;
    push(to, i, delay);
}

/* This end learns that the connection is gone after what is under way to it, or some of that. */
static void end_late(struct sim *s, struct sim_rand *r, struct env_conn *c)
{
    uint64_t late = sim_chance(r, 1, 2) ? sim_below(r, 2000000000) : 0;
    uint64_t count = 0;
    list_for_each (it, &c->incoming) {
        list_entry(it, struct item, link)->at_ns += late;
        count++;
    }
    uint64_t kept = sim_chance(r, 1, 2) ? count : sim_below(r, count + 1);
    list_for_each_safe (it, &c->incoming) {
        struct item *i = list_entry(it, struct item, link);
        if (kept > 0) {
            kept--;
        } else {
            c->incoming_bytes -= MIN(c->incoming_bytes, (uint64_t)i->body.len + i->payload.len);
            item_free(i);
        }
    }
    if (list_empty(&c->incoming)) {
        sim_cancel(s, &c->arrive);
    } else {
        sim_at(s, &c->arrive, list_entry(c->incoming.next, struct item, link)->at_ns);
    }
    if (!c->dead) {
        push_kind(c, ITEM_CLOSE, ERR_DISCONNECTED, sim_below(r, 500000000));
    }
}

/* This end learns that the connection is gone after `delay`; what is under way until then is lost.
 */
static void lose(struct env_conn *c, int err, uint64_t delay)
{
    drop_incoming(c);
    if (!c->dead) {
        push_kind(c, ITEM_CLOSE, err, delay);
    }
}

static void die(struct env_conn *c)
{
    c->dead = true;
    c->sim->sweep = true;
    drop_incoming(c);
}

static void part(struct env_conn *c)
{
    if (c->peer != NULL) {
        c->peer->peer = NULL;
        c->peer = NULL;
    }
}

/* ---------------------------------------------------------------- partitions */

static uint64_t blocked_until(struct sim *s, struct sim_process *from, struct sim_process *to)
{
    uint64_t until = 0;
    list_for_each_safe (it, &s->blocks) {
        struct block *b = list_entry(it, struct block, link);
        if (b->until_ns <= s->now_ns) {
            list_remove(&b->link);
            mem_free(b);
        } else if (b->from == from && b->to == to) {
            until = MAX(until, b->until_ns);
        }
    }
    return until;
}

void sim_net_block(struct sim *s, struct sim_process *from, struct sim_process *to, uint64_t ns)
{
    struct block *b = mem_new(struct block);
    b->from = from;
    b->to = to;
    b->until_ns = s->now_ns + ns;
    list_push_back(&s->blocks, &b->link);
    sim_note(s, 'B', (uint64_t)from->number << 32 | to->number, ns);
}

void sim_net_heal(struct sim *s)
{
    list_for_each_safe (it, &s->blocks) {
        struct block *b = list_entry(it, struct block, link);
        b->until_ns = 0;
    }
    list_for_each (it, &s->conns) {
        struct env_conn *c = list_entry(it, struct env_conn, link);
        c->cut_bytes = 0;
        if (!list_empty(&c->incoming)) {
            struct item *first = list_entry(c->incoming.next, struct item, link);
            sim_at(s, &c->arrive, first->at_ns);
        }
    }
}

/* ---------------------------------------------------------------- arrivals */

static struct listener *listener_of(struct sim *s, const char *addr)
{
    list_for_each (it, &s->listeners) {
        struct listener *l = list_entry(it, struct listener, link);
        if (strcmp(l->addr, addr) == 0) {
            return l;
        }
    }
    return NULL;
}

static void on_connect(struct env_conn *c)
{
    struct env_conn *dialler = c->peer;
    struct listener *l = listener_of(c->sim, dialler->dialled);
    if (l == NULL) {
        part(c);
        die(c);
        lose(dialler, -ECONNREFUSED, draw_delay(c->sim));
        return;
    }
    c->process = l->process;
    dialler->far = l->process;
    c->open = true;
    push_kind(dialler, ITEM_OPENED, 0, draw_delay(c->sim));
    l->cb(l->owner, c);
    ASSERT(c->dead || c->events != NULL); /* accept binds or hangs up */
}

/* As in uv_conn.c: what cannot be read ends the connection. */
static void hang_up_on(struct env_conn *c)
{
    struct env_conn *far = c->peer;
    sim_note(c->sim, 'R', c->process->number, 0);
    part(c);
    die(c);
    if (far != NULL && !far->dead) {
        lose(far, ERR_DISCONNECTED, draw_delay(c->sim));
    }
    c->events->on_close(c->owner, c, ERR_PROTOCOL);
}

static bool is_whole(const struct item *i)
{
    struct frame_header head;
    struct why why;
    return frame_header_decode(&head, i->header, &why) == 0 &&
           head.body_sum == hash64(slice_data(&i->body), i->body.len);
}

static void on_frame(struct env_conn *c, struct item *i)
{
    ASSERT(is_whole(i) != i->damaged);
    if (i->damaged) {
        hang_up_on(c);
        return;
    }
    struct sim *sim = c->sim;
    struct message *m = mem_new(struct message);
    struct why why;
    m->body = i->body;
    m->payload = i->payload;
    ASSERT(frame_header_decode(&m->head, i->header, &why) == 0);
    ASSERT(m->head.body_len == m->body.len && m->head.payload_len == m->payload.len);
    ASSERT(m->head.body_sum == hash64(slice_data(&m->body), m->body.len));
    sim_note(sim, 'M' | (uint64_t)c->process->number << 8 | (uint64_t)m->head.op << 32,
             get_le(i->header + 80, 8), m->payload.len);
    sim->delivered = m;
    i->body = i->payload = (struct slice){0};
    if (c->sim->on_frame != NULL) {
        c->sim->on_frame(c->sim, c->number, c->far, c->process, m);
    }
    if (c->events->on_message != NULL) {
        c->events->on_message(c->owner, c, m);
    }
    sim_net_delivered(sim);
}

void sim_net_delivered(struct sim *s)
{
    if (s->delivered != NULL) {
        message_drop(s->delivered);
        mem_free(s->delivered);
        s->delivered = NULL;
    }
}

static uint64_t held_until(struct env_conn *c)
{
    if (c->far == NULL) {
        return 0;
    }
    if (c->process != NULL) {
        return blocked_until(c->sim, c->far, c->process);
    }
    struct listener *l = c->peer != NULL ? listener_of(c->sim, c->peer->dialled) : NULL;
    return l != NULL ? blocked_until(c->sim, c->far, l->process) : 0;
}

static void arrive(struct sim_event *e)
{
    struct env_conn *c = container_of(e, struct env_conn, arrive);
    struct item *i = list_entry(c->incoming.next, struct item, link);
    if (c->dead) {
        drop_incoming(c);
        return;
    }
    uint64_t until = held_until(c);
    if (until > c->sim->now_ns) {
        sim_at(c->sim, e, until + draw_delay(c->sim));
        return;
    }
    if (c->process != NULL && sim_process_put_off(c->process, e)) {
        return;
    }
    list_remove(&i->link);
    c->incoming_bytes -= MIN(c->incoming_bytes, (uint64_t)i->body.len + i->payload.len);
    if (!list_empty(&c->incoming)) {
        sim_at(c->sim, e, list_entry(c->incoming.next, struct item, link)->at_ns);
    }
    switch (i->kind) {
    case ITEM_CONNECT:
        on_connect(c);
        break;
    case ITEM_OPENED:
        sim_note(c->sim, 'O', c->process->number, 0);
        c->open = true;
        if (c->events->on_open != NULL) {
            c->events->on_open(c->owner, c);
        }
        break;
    case ITEM_FRAME:
        on_frame(c, i);
        break;
    case ITEM_CLOSE:
        sim_note(c->sim, 'C', c->process->number, (uint64_t)i->err);
        part(c);
        die(c);
        c->events->on_close(c->owner, c, i->err);
        break;
    }
    item_free(i);
}

/* ---------------------------------------------------------------- env_ops */

struct env_conn *sim_net_dial(struct sim_process *p, const char *addr, const struct conn_events *ev,
                              void *owner)
{
    struct sim *s = p->sim;
    struct env_conn *c = end_new(s, p);
    c->number = ++s->dials;
    c->events = ev;
    c->owner = owner;
    c->was_dialled = true;
    snprintf(c->dialled, sizeof(c->dialled), "%s", addr);
    snprintf(c->peer_name, sizeof(c->peer_name), "%.40s", addr);
    if (!p->alive) {
        die(c);
        return c;
    }
    struct env_conn *far = end_new(s, NULL);
    far->number = c->number;
    snprintf(far->peer_name, sizeof(far->peer_name), "%s", p->name);
    far->peer = c;
    far->far = p;
    c->peer = far;
    push_kind(far, ITEM_CONNECT, 0, draw_delay(s));
    return c;
}

int sim_net_listen(struct sim_process *p, const char *addr, env_accept_cb cb, void *owner)
{
    if (listener_of(p->sim, addr) != NULL) {
        return -EADDRINUSE;
    }
    if (!p->alive) {
        return 0;
    }
    struct listener *l = mem_new(struct listener);
    l->process = p;
    l->cb = cb;
    l->owner = owner;
    snprintf(l->addr, sizeof(l->addr), "%s", addr);
    list_push_back(&p->sim->listeners, &l->link);
    return 0;
}

void sim_net_bind(struct env_conn *c, const struct conn_events *ev, void *owner)
{
    c->events = ev;
    c->owner = owner;
}

static struct slice copy_of(struct slice *from)
{
    if (from->len == 0) {
        return (struct slice){0};
    }
    struct slice to = {buf_new(from->len), 0, from->len};
    memcpy(to.buf->data, slice_data(from), from->len);
    return to;
}

static void cut(struct sim *s, struct sim_rand *r, struct env_conn *c);

/* Counts the bytes of a frame down to where the connection is to be cut: true if that is in it. */
static bool is_cut_in(struct env_conn *c, const struct message *m)
{
    uint64_t bytes = (uint64_t)FRAME_HEADER_BYTES + m->body.len + m->payload.len;
    if (c->cut_bytes == 0 || c->cut_bytes > bytes) {
        c->cut_bytes -= MIN(c->cut_bytes, bytes);
        return false;
    }
    return true;
}

/* A bit flips, or it is of another build, or claims too much. */
static void damage(struct item *i, struct sim_rand *r)
{
    uint64_t kind = sim_below(r, 6);
    i->damaged = true;
    if (kind == 0 && i->body.len > 0) {
        i->body.buf->data[sim_below(r, i->body.len)] ^= (uint8_t)(1u << sim_below(r, 8));
        return;
    }
    if (kind <= 2) {
        i->header[sim_below(r, FRAME_HEADER_BYTES)] ^= (uint8_t)(1u << sim_below(r, 8));
        return;
    }
    put_le(i->header + (kind == 3   ? 4
                        : kind == 4 ? 60
                                    : 64),
           kind == 3 ? FRAME_VERSION + 1u : FRAME_PAYLOAD_MAX + 1u, kind == 3 ? 2 : 4);
    put_le(i->header + 80, hash64(i->header, 80), 8);
}

void sim_net_send(struct env_conn *c, struct message *m)
{
    bool last = !c->dead && c->peer != NULL && !c->peer->dead && is_cut_in(c, m);
    bool damages = last && sim_chance(&c->sim->net, 1, 3);
    if (last && !damages) {
        cut(c->sim, &c->sim->net, c);
    } else if (!c->dead && c->peer != NULL && !c->peer->dead) {
        struct item *i = mem_new(struct item);
        i->kind = ITEM_FRAME;
        ASSERT(m->body.len <= FRAME_BODY_MAX && m->payload.len <= FRAME_PAYLOAD_MAX);
        m->head.body_len = m->body.len;
        m->head.payload_len = m->payload.len;
        m->head.body_sum = hash64(slice_data(&m->body), m->body.len);
        frame_header_encode(&m->head, i->header);
        if (c->sim->on_send != NULL) {
            c->sim->on_send(c->sim, c->process, c->far, m);
        }
        i->body = copy_of(&m->body);
        i->payload = copy_of(&m->payload);
        if (damages) {
            c->cut_bytes = 0;
            damage(i, &c->sim->net);
        }
        c->peer->incoming_bytes += (uint64_t)i->body.len + i->payload.len;
        push(c->peer, i, delay_between(c->sim, c->process, c->far) + (uint64_t)m->payload.len / 2);
    }
    message_drop(m);
}

uint64_t sim_net_queued(struct env_conn *c)
{
    return c->peer != NULL ? c->peer->incoming_bytes : 0;
}

void sim_net_hangup(struct env_conn *c)
{
    if (c->dead) {
        return;
    }
    struct env_conn *far = c->peer;
    part(c);
    die(c);
    if (far == NULL || far->dead) {
        return;
    }
    if (far->process == NULL) { /* never accepted */
        die(far);
    } else if (sim_chance(&c->sim->net, 1, 2)) {
        push_kind(far, ITEM_CLOSE, ERR_DISCONNECTED, draw_delay(c->sim)); /* after what was sent */
    } else {
        lose(far, ERR_DISCONNECTED, draw_delay(c->sim));
    }
}

const char *sim_net_peer_name(struct env_conn *c)
{
    return c->peer_name;
}

/* ---------------------------------------------------------------- faults */

static void cut(struct sim *s, struct sim_rand *r, struct env_conn *c)
{
    struct env_conn *far = c->peer;
    sim_note(s, 'X', c->process->number, 0);
    part(c);
    for (int side = 0; side < 2; side++) {
        struct env_conn *end = side == 0 ? c : far;
        if (end->process == NULL) {
            die(end);
        } else if (sim_chance(r, 1, 2)) {
            lose(end, ERR_DISCONNECTED, sim_below(r, 500000000));
        } else {
            end_late(s, r, end);
        }
    }
}

/* A random connection that can be cut, by its dialled end. */
static struct env_conn *choose(struct sim *s, struct sim_rand *r)
{
    uint64_t count = 0;
    list_for_each (it, &s->conns) {
        struct env_conn *c = list_entry(it, struct env_conn, link);
        count += c->was_dialled && !c->dead && c->peer != NULL;
    }
    uint64_t chosen = sim_below(r, count);
    list_for_each (it, &s->conns) {
        struct env_conn *c = list_entry(it, struct env_conn, link);
        if (c->was_dialled && !c->dead && c->peer != NULL && chosen-- == 0) {
            return c;
        }
    }
    return NULL;
}

bool sim_net_cut_one(struct sim *s, struct sim_rand *r)
{
    struct env_conn *c = choose(s, r);
    if (c != NULL) {
        cut(s, r, c);
    }
    return c != NULL;
}

bool sim_net_cut_at(struct sim *s, struct sim_rand *r, uint64_t bytes)
{
    struct env_conn *c = choose(s, r);
    if (c == NULL) {
        return false;
    }
    c = sim_chance(r, 1, 2) ? c : c->peer;
    c->cut_bytes = bytes;
    return true;
}

void sim_net_process_gone(struct sim_process *p, bool power_cut)
{
    struct sim *s = p->sim;
    list_for_each (it, &s->conns) {
        struct env_conn *c = list_entry(it, struct env_conn, link);
        if (c->process != p || c->dead) {
            continue;
        }
        struct env_conn *far = c->peer;
        part(c);
        die(c);
        if (far == NULL || far->dead) {
            continue;
        }
        if (far->process == NULL) {
            die(far);
            continue;
        }
        /* A dead machine sends nothing: peers learn it from the next machine's reset, or by
         * themselves. */
        uint64_t delay = draw_delay(s) + (power_cut ? sim_below(&s->net, 1500000000) : 0);
        if (sim_chance(&s->net, 1, 2)) {
            lose(far, ERR_DISCONNECTED, delay);
        } else {
            push_kind(far, ITEM_CLOSE, ERR_DISCONNECTED, delay);
        }
    }
    list_for_each_safe (it, &s->listeners) {
        struct listener *l = list_entry(it, struct listener, link);
        if (l->process == p) {
            list_remove(&l->link);
            mem_free(l);
        }
    }
}

static void end_free(struct env_conn *c)
{
    part(c);
    drop_incoming(c);
    list_remove(&c->link);
    mem_free(c);
}

void sim_net_process_free(struct sim_process *p)
{
    list_for_each_safe (it, &p->sim->conns) {
        struct env_conn *c = list_entry(it, struct env_conn, link);
        if (c->process == p) {
            end_free(c);
        }
    }
}

void sim_net_sweep(struct sim *s)
{
    if (!s->sweep) {
        return;
    }
    s->sweep = false;
    list_for_each_safe (it, &s->conns) {
        struct env_conn *c = list_entry(it, struct env_conn, link);
        if (c->dead && (c->process == NULL || c->process->alive)) {
            end_free(c);
        }
    }
}

void sim_net_close(struct sim *s)
{
    list_for_each_safe (it, &s->conns) {
        end_free(list_entry(it, struct env_conn, link));
    }
    list_for_each_safe (it, &s->listeners) {
        struct listener *l = list_entry(it, struct listener, link);
        list_remove(&l->link);
        mem_free(l);
    }
    list_for_each_safe (it, &s->blocks) {
        struct block *b = list_entry(it, struct block, link);
        list_remove(&b->link);
        mem_free(b);
    }
}
