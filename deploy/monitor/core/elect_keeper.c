/* elect_keeper.c - one call after another: what is lasting, a proof, a look, then what is wanted. */
#include "deploy/monitor/core/elect_keeper.h"

#include "deploy/monitor/core/keeper_text.h"
#include "shared/base/bytes.h"
#include "shared/base/err.h"
#include "shared/proto/schema.h"

#include <stdio.h>
#include <string.h>

static void next(struct elect_keeper *k);

static struct elect_keeper *self(const struct elect *e)
{
    return container_of(e, struct elect_keeper, elect);
}

/* ---------------------------------------------------------------- trouble */

static void trouble(struct elect_keeper *k, const char *what)
{
    uint64_t now = env_mono_ns(k->env);
    if (strcmp(k->trouble, what) == 0 && now - k->trouble_ns < KEEPER_QUIET_MS * NS_PER_MS) {
        return;
    }
    snprintf(k->trouble, sizeof(k->trouble), "%s", what);
    k->trouble_ns = now;
    env_log(k->env, LOG_WARN, "%s", what);
}

static void well(struct elect_keeper *k)
{
    if (k->trouble[0] != 0) {
        env_log(k->env, LOG_INFO, "ZooKeeper answers again: automatic failover is on");
        k->trouble[0] = 0;
    }
}

/* A call failed in a way that no retry at once will mend. */
static void failed(struct elect_keeper *k, const struct keeper_call *c)
{
    char text[ADDR_LEN_MAX + 1];
    if (c->status == -EACCES) {
        snprintf(text, sizeof(text),
                 "ZooKeeper gives this monitor no rights on %.80s: automatic failover is off; "
                 "zookeeper_rights must name the same USER:PASSWORD at all monitors",
                 c->path);
        trouble(k, text);
    } else if (c->status != -ECONNRESET) {
        snprintf(text, sizeof(text), "ZooKeeper: %.100s: %s; automatic failover is off", c->path,
                 err_text(c->status));
        trouble(k, text);
    }
    if (c->status == -ENOENT) { /* of what is lasting something is gone */
        k->ready = false;
        k->made = 0;
    }
    k->look_ns = env_mono_ns(k->env) + KEEPER_LOOK_MS * NS_PER_MS;
}

/* ---------------------------------------------------------------- calls */

static bool is_write(enum keeper_kind kind)
{
    return kind != KEEPER_READ && kind != KEEPER_NAMES;
}

static void on_done(struct keeper_call *c)
{
    struct elect_keeper *k = c->owner;
    k->busy = false;
    if (c->status == -ECONNRESET) {
        k->pause_ns = env_mono_ns(k->env) + KEEPER_TICK_MS * NS_PER_MS;
    }
    if (is_write(c->kind) && c->status != -ECONNRESET) {
        k->proven_ns = MAX(k->proven_ns, k->sent_ns);
    }
    k->then(k, c);
    next(k);
}

/* The call, to be filled in; it goes out by submit. */
static struct keeper_call *prepare(struct elect_keeper *k, enum keeper_kind kind, const char *entry,
                                   const char *name)
{
    struct keeper_call *c = &k->call;
    ASSERT(!k->busy);
    c->kind = kind;
    c->version = -1;
    c->ephemeral = c->numbered = c->watch = false;
    c->proof[0] = c->text[0] = 0;
    c->owner = k;
    c->done = on_done;
    snprintf(c->path, sizeof(c->path), "%s/%s%s%s", k->root, entry, name[0] != 0 ? "/" : "", name);
    return c;
}

static void submit(struct elect_keeper *k,
                   void (*then)(struct elect_keeper *k, struct keeper_call *c))
{
    k->busy = true;
    k->then = then;
    k->sent_ns = env_mono_ns(k->env);
    k->keeper->ops->call(k->keeper, &k->call);
}

/* ---------------------------------------------------------------- the proof that the session lives */

static void on_entered(struct elect_keeper *k, struct keeper_call *c)
{
    if (c->status != 0 && c->status != -EEXIST) {
        failed(k, c);
    }
}

static void on_beat(struct elect_keeper *k, struct keeper_call *c)
{
    if (c->status == -ENOENT) { /* the first of this session, or an older session's has gone */
        c = prepare(k, KEEPER_CREATE, "cand", k->monitor);
        c->ephemeral = true;
        keeper_put_candidate(c->text, &k->self);
        submit(k, on_entered);
    } else if (c->status != 0) {
        failed(k, c);
    }
}

static void beat(struct elect_keeper *k)
{
    struct keeper_call *c = prepare(k, KEEPER_REPLACE, "cand", k->monitor);
    k->beat_ns = env_mono_ns(k->env) + KEEPER_BEAT_MS * NS_PER_MS;
    keeper_put_candidate(c->text, &k->self);
    submit(k, on_beat);
}

/* ---------------------------------------------------------------- what is lasting */

static void on_made(struct elect_keeper *k, struct keeper_call *c)
{
    if (c->status != 0 && c->status != -EEXIST) {
        failed(k, c);
        return;
    }
    k->made++;
}

/* The entries that every monitor makes sure of; made one after another. */
static void make(struct elect_keeper *k)
{
    static const char *const lasting[] = {"", "lock", "cand", "epoch", "active"};
    if (k->made > COUNT_OF(lasting)) {
        k->ready = true;
        k->ready_ns = env_mono_ns(k->env);
        k->look_ns = k->beat_ns = 0;
        beat(k);
        return;
    }
    struct keeper_call *c = prepare(k, KEEPER_CREATE, "", "");
    if (k->made == 0) { /* what all clusters share */
        snprintf(c->path, sizeof(c->path), "%.*s", (int)(strrchr(k->root, '/') - k->root), k->root);
    } else {
        const char *name = lasting[k->made - 1];
        snprintf(c->path, sizeof(c->path), "%s%s%s", k->root, name[0] != 0 ? "/" : "", name);
        if (strcmp(name, "epoch") == 0) {
            keeper_put_epoch(c->text, &(struct keeper_epoch){.epoch = 0});
        } else if (strcmp(name, "active") == 0) {
            keeper_put_active(c->text, 0, "");
        }
    }
    submit(k, on_made);
}

/* ---------------------------------------------------------------- a look */

static void on_active(struct elect_keeper *k, struct keeper_call *c)
{
    if (c->status != 0) {
        failed(k, c);
    } else if (!keeper_get_active(c->text, &k->active_epoch, k->active)) {
        k->active_epoch = 0; /* a hint for others: the next primary writes it anew */
        k->active[0] = 0;
    }
}

static void on_epoch(struct elect_keeper *k, struct keeper_call *c)
{
    struct keeper_epoch e = {.version = c->version};
    if (c->status != 0) {
        failed(k, c);
        return;
    }
    if (!keeper_get_epoch(c->text, &e)) {
        char text[ADDR_LEN_MAX + 1];
        snprintf(text, sizeof(text),
                 "ZooKeeper: %.100s is damaged, expected \"EPOCH MASTER MONITOR NONCE\": write the "
                 "highest epoch that gfsctl status ever showed there, and \" - - 0\"",
                 c->path);
        trouble(k, text);
        k->first = false;
        return;
    }
    k->epoch = e;
    k->first = k->lowest;
    well(k);
    prepare(k, KEEPER_READ, "active", "")->watch = true;
    submit(k, on_active);
}

static void read_epoch(struct elect_keeper *k)
{
    prepare(k, KEEPER_READ, "epoch", "")->watch = true;
    submit(k, on_epoch);
}

static void on_other(struct elect_keeper *k, struct keeper_call *c);

static void read_other(struct elect_keeper *k)
{
    if (k->other_read == k->other_count) {
        read_epoch(k);
        return;
    }
    prepare(k, KEEPER_READ, "cand", k->others[k->other_read].monitor);
    submit(k, on_other);
}

static void on_other(struct elect_keeper *k, struct keeper_call *c)
{
    struct elect_candidate *o = &k->others[k->other_read].master;
    if (c->status == -ECONNRESET) {
        failed(k, c);
        return;
    }
    if (c->status != 0 || !keeper_get_candidate(c->text, o)) {
        *o = (struct elect_candidate){.able = false};
    }
    k->other_read++;
    read_other(k);
}

static void on_others(struct elect_keeper *k, struct keeper_call *c)
{
    if (c->status != 0) {
        failed(k, c);
        return;
    }
    k->other_count = k->other_read = 0;
    for (uint32_t i = 0; i < c->name_count && k->other_count < KEEPER_OTHERS_MAX; i++) {
        if (strcmp(c->names[i], k->monitor) != 0) {
            strcpy(k->others[k->other_count++].monitor, c->names[i]);
        }
    }
    read_other(k);
}

/* Which entries are ours, and whether one of them is the lowest of all. */
static void on_locks(struct elect_keeper *k, struct keeper_call *c)
{
    uint64_t lowest = UINT64_MAX, own = UINT64_MAX;
    if (c->status != 0) {
        failed(k, c);
        return;
    }
    k->mine[0] = k->spare[0] = 0;
    for (uint32_t i = 0; i < c->name_count; i++) {
        uint64_t nonce, number;
        if (!keeper_get_lock(c->names[i], &nonce, &number)) {
            continue;
        }
        lowest = MIN(lowest, number);
        if (nonce != k->nonce) {
            continue;
        }
        if (number < own) {
            strcpy(k->spare, k->mine);
            strcpy(k->mine, c->names[i]);
            own = number;
        } else {
            strcpy(k->spare, c->names[i]);
        }
    }
    k->lowest = k->mine[0] != 0 && own == lowest;
    k->first &= k->lowest;
    k->free_ns = lowest != UINT64_MAX ? 0 : k->free_ns != 0 ? k->free_ns : env_mono_ns(k->env);
    prepare(k, KEEPER_NAMES, "cand", "");
    submit(k, on_others);
}

static void look(struct elect_keeper *k)
{
    k->look_ns = env_mono_ns(k->env) + KEEPER_LOOK_MS * NS_PER_MS;
    prepare(k, KEEPER_NAMES, "lock", "")->watch = true;
    submit(k, on_locks);
}

/* ---------------------------------------------------------------- the lock */

static uint32_t rank(const struct elect_keeper *k)
{
    uint32_t better = 0;
    for (uint32_t i = 0; i < k->other_count; i++) {
        const struct keeper_other *o = &k->others[i];
        bool equal = !elect_better(&k->self, &o->master) && !elect_better(&o->master, &k->self);
        better += o->master.able && (elect_better(&o->master, &k->self) ||
                                     (equal && strcmp(o->monitor, k->monitor) < 0));
    }
    return better;
}

static void on_locked(struct elect_keeper *k, struct keeper_call *c)
{
    k->look_ns = 0;
    if (c->status != 0 && c->status != -ECONNRESET) {
        failed(k, c);
    }
}

static void on_unlocked(struct elect_keeper *k, struct keeper_call *c)
{
    k->look_ns = 0;
    if (c->status != 0 && c->status != -ENOENT && c->status != -ECONNRESET) {
        failed(k, c);
    }
}

/* After a time without ZooKeeper all begin anew, the primary's monitor perhaps last: it comes first. */
static bool is_early(const struct elect_keeper *k, uint64_t now)
{
    return k->renewed && k->self.role != MASTER_PRIMARY &&
           now - k->ready_ns < KEEPER_SETTLE_MS * NS_PER_MS;
}

/* True: something is being done about our entries. */
static bool change_lock(struct elect_keeper *k, uint64_t now)
{
    bool withdraws = k->mine[0] != 0 && (!k->joined || !k->lowest);
    if (k->spare[0] != 0 || withdraws) {
        prepare(k, KEEPER_REMOVE, "lock", k->spare[0] != 0 ? k->spare : k->mine);
        k->spare[0] = 0;
        if (withdraws) {
            k->mine[0] = 0;
            k->free_ns = 0;
        }
        submit(k, on_unlocked);
        return true;
    }
    if (k->joined && k->mine[0] == 0 && k->free_ns != 0 && !is_early(k, now) &&
        now - k->free_ns >= rank(k) * (KEEPER_RANK_MS * NS_PER_MS)) {
        char name[KEEPER_NAME_MAX + 1];
        keeper_put_lock(name, k->nonce);
        struct keeper_call *c = prepare(k, KEEPER_CREATE, "lock", name);
        c->ephemeral = c->numbered = true;
        snprintf(c->text, sizeof(c->text), "%s", k->monitor);
        k->free_ns = 0;
        submit(k, on_locked);
        return true;
    }
    return false;
}

/* ---------------------------------------------------------------- what the monitor asks for */

static void finish(struct elect_keeper *k, int status)
{
    struct elect_ask *a = k->ask;
    k->ask = NULL;
    a->status = status;
    a->epoch = k->epoch.epoch;
    if (!k->publishes) {
        bool foreign = strcmp(k->before.monitor, k->monitor) != 0;
        a->before = k->before.epoch;
        snprintf(a->before_monitor, sizeof(a->before_monitor), "%s",
                 foreign ? k->before.monitor : "");
    }
    a->done(a);
}

static void prove(struct elect_keeper *k, struct keeper_call *c)
{
    snprintf(c->proof, sizeof(c->proof), "%s/lock/%s", k->root, k->mine);
}

static void on_claimed(struct elect_keeper *k, struct keeper_call *c)
{
    if (c->status == 0) {
        struct keeper_epoch taken = {.version = c->version};
        (void)keeper_get_epoch(c->text, &taken); /* we wrote it */
        k->epoch = taken;
        finish(k, 0);
    } else if (c->status == -EPERM) {
        k->first = false;
        finish(k, -EPERM);
    } else if (c->status != -EAGAIN && c->status != -ECONNRESET) {
        failed(k, c);
        finish(k, c->status);
    } /* else the epoch is read again: somebody else's, or ours after all */
}

static void on_claim_read(struct elect_keeper *k, struct keeper_call *c)
{
    struct elect_ask *a = k->ask;
    struct keeper_epoch now = {.version = c->version};
    if (c->status == -ECONNRESET) {
        return;
    }
    if (c->status != 0 || !keeper_get_epoch(c->text, &now)) {
        failed(k, c);
        finish(k, c->status != 0 ? c->status : ERR_CORRUPT);
        return;
    }
    k->epoch = now;
    if (k->claimed && now.nonce == k->claim_nonce) {
        finish(k, 0); /* the answer was lost */
        return;
    }
    if (now.epoch == UINT32_MAX || (a->exact && now.epoch > a->want)) {
        finish(k, ERR_STALE_EPOCH);
        return;
    }
    struct keeper_epoch fresh = {.epoch = a->exact ? a->want : MAX(now.epoch + 1, a->want),
                                 .nonce = k->claim_nonce};
    snprintf(fresh.addr, sizeof(fresh.addr), "%s", a->addr);
    snprintf(fresh.monitor, sizeof(fresh.monitor), "%s", k->monitor);
    k->before = now;
    k->claimed = true;
    c = prepare(k, KEEPER_REPLACE, "epoch", "");
    c->version = now.version;
    keeper_put_epoch(c->text, &fresh);
    prove(k, c);
    submit(k, on_claimed);
}

static void on_published(struct elect_keeper *k, struct keeper_call *c)
{
    if (c->status == -ECONNRESET) {
        return; /* once more */
    }
    k->look_ns = 0;
    if (c->status == -EPERM) {
        k->first = false;
    } else if (c->status != 0) {
        failed(k, c);
    }
    finish(k, c->status);
}

static void serve_ask(struct elect_keeper *k)
{
    if (!k->first) {
        finish(k, -EPERM);
    } else if (k->publishes && k->ask->want != k->epoch.epoch) {
        finish(k, ERR_STALE_EPOCH);
    } else if (k->publishes) {
        struct keeper_call *c = prepare(k, KEEPER_REPLACE, "active", "");
        keeper_put_active(c->text, k->ask->want, k->ask->addr);
        prove(k, c);
        submit(k, on_published);
    } else {
        prepare(k, KEEPER_READ, "epoch", "");
        submit(k, on_claim_read);
    }
}

/* ---------------------------------------------------------------- turns */

static void next(struct elect_keeper *k)
{
    uint64_t now = env_mono_ns(k->env);
    if (k->busy || k->state != KEEPER_THERE || now < k->pause_ns) {
        return;
    }
    if (!k->ready) {
        if (now >= k->look_ns) {
            make(k);
        }
    } else if (k->ask != NULL) {
        serve_ask(k);
    } else if (now >= k->beat_ns) {
        beat(k);
    } else if (!change_lock(k, now) && now >= k->look_ns) {
        look(k);
    }
}

static void soon(struct elect_keeper *k)
{
    env_timer_set(k->env, &k->tick, 0);
}

static void on_state(void *owner, enum keeper_state state);

static void on_change(void *owner)
{
    struct elect_keeper *k = owner;
    k->look_ns = 0;
    soon(k);
}

static const struct keeper_events events = {on_state, on_change};

static void begin(struct elect_keeper *k)
{
    k->state = KEEPER_AWAY;
    k->ready = k->busy = k->lowest = k->first = false;
    k->made = 0;
    k->proven_ns = k->look_ns = k->beat_ns = k->free_ns = 0;
    k->mine[0] = k->spare[0] = 0;
    k->nonce = env_rand64(k->env);
    k->renewed = k->open_ns != 0;
    k->open_ns = env_mono_ns(k->env);
    k->keeper->ops->open(k->keeper, &events, k);
}

static uint64_t timeout_ns(const struct elect_keeper *k)
{
    return k->keeper->ops->timeout_ms(k->keeper) * NS_PER_MS;
}

/* Servers that went back to an older state refuse whoever has seen a newer one, in the same way as if they
 * were not there: only a new session is let in. */
static bool is_given_up(const struct elect_keeper *k, uint64_t now)
{
    return k->state == KEEPER_AWAY &&
           now - MAX(k->proven_ns, k->open_ns) > KEEPER_GIVE_UP * timeout_ns(k);
}

static void tick_fired(struct env_timer *t)
{
    struct elect_keeper *k = container_of(t, struct elect_keeper, tick);
    uint64_t now = env_mono_ns(k->env);
    env_timer_set(k->env, &k->tick, KEEPER_TICK_MS * NS_PER_MS);
    if (k->state == KEEPER_REFUSED) {
        trouble(
            k,
            "ZooKeeper does not accept who this monitor says it is: automatic failover is off; see "
            "zookeeper_rights");
    } else if (now - MAX(k->proven_ns, k->open_ns) > timeout_ns(k)) {
        trouble(k, "ZooKeeper does not answer: automatic failover is off; see to its servers, and "
                   "to the line zookeeper of this monitor");
    }
    if (is_given_up(k, now)) {
        begin(k);
    }
    if (k->ask != NULL && !k->busy && now - k->ask_ns > KEEPER_ASK_MS * NS_PER_MS) {
        finish(k, -ENOTCONN);
    }
    next(k);
}

static void on_state(void *owner, enum keeper_state state)
{
    struct elect_keeper *k = owner;
    if (state == KEEPER_EXPIRED) {
        env_log(k->env, LOG_WARN, "the session with ZooKeeper has ended: a new one is begun");
        begin(k);
        return;
    }
    k->state = state;
    k->look_ns = k->beat_ns = 0;
    soon(k);
}

/* ---------------------------------------------------------------- elect.h */

static void join(struct elect *e)
{
    self(e)->joined = true;
    soon(self(e));
}

static void leave(struct elect *e)
{
    self(e)->joined = false;
    soon(self(e));
}

static void view(const struct elect *e, struct elect_view *out)
{
    const struct elect_keeper *k = self(e);
    uint64_t until = k->proven_ns + timeout_ns(k) * 66 / 100;
    *out = (struct elect_view){.joined = k->joined,
                               .held = k->joined && k->first && k->proven_ns != 0 &&
                                       env_mono_ns(k->env) < until,
                               .held_until_ns = until,
                               .epoch = k->epoch.epoch,
                               .active_epoch = k->active_epoch,
                               .active = k->active,
                               .trouble = k->trouble};
    for (uint32_t i = 0; i < k->other_count; i++) {
        out->others += k->others[i].master.able;
        out->calm_others += k->others[i].master.able && !k->others[i].master.braked;
    }
}

static void report(struct elect *e, const struct elect_candidate *c)
{
    struct elect_keeper *k = self(e);
    if (k->self.able != c->able || k->self.role != c->role || k->self.braked != c->braked) {
        k->beat_ns = 0;
        soon(k);
    }
    k->self = *c;
}

static void ask(struct elect_keeper *k, struct elect_ask *a, bool publishes)
{
    ASSERT(k->ask == NULL);
    k->ask = a;
    k->ask_ns = env_mono_ns(k->env);
    k->publishes = publishes;
    soon(k);
}

static void claim(struct elect *e, struct elect_ask *a)
{
    struct elect_keeper *k = self(e);
    k->claimed = false;
    k->claim_nonce = env_rand64(k->env);
    k->before = (struct keeper_epoch){.epoch = 0};
    ask(k, a, false);
}

static void publish(struct elect *e, struct elect_ask *a)
{
    ask(self(e), a, true);
}

void elect_keeper_open(struct elect_keeper *k, struct env *env, struct keeper *keeper,
                       const char *cluster, const char *monitor)
{
    static const struct elect_ops ops = {join, leave, view, report, claim, publish};
    *k = (struct elect_keeper){
        .elect = {&ops}, .env = env, .keeper = keeper, .tick = {.fire = tick_fired}};
    snprintf(k->root, sizeof(k->root), "/gfs/%s", cluster);
    snprintf(k->monitor, sizeof(k->monitor), "%s", monitor);
    begin(k);
    soon(k);
}

void elect_keeper_close(struct elect_keeper *k)
{
    env_timer_stop(k->env, &k->tick);
    k->keeper->ops->close(k->keeper);
}
