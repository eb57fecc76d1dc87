/* sim_keeper.c - the tree, sessions, and what goes wrong between. */
#include "tests/sim/sim_keeper.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/bytes.h"
#include "shared/base/err.h"

static struct sim_keeper_tree *tree_at(struct sim_keeper *s, uint64_t number)
{
    return &s->past[number % SIM_KEEPER_PAST];
}

static struct sim_keeper_entry *find(struct sim_keeper_tree *t, const char *path)
{
    for (uint32_t i = 0; i < t->count; i++) {
        if (strcmp(t->all[i].path, path) == 0) {
            return &t->all[i];
        }
    }
    return NULL;
}

/* The next state, still equal to the newest. */
static struct sim_keeper_tree *change(struct sim_keeper *s)
{
    struct sim_keeper_tree *old = tree_at(s, s->now);
    s->now++;
    *tree_at(s, s->now) = *old;
    return tree_at(s, s->now);
}

/* Who watches is told, mostly; other monitors' news of themselves nobody watches. */
static void tell(struct sim_keeper *s, const char *path)
{
    for (uint32_t i = 0; i < s->client_count; i++) {
        struct sim_keeper_client *c = s->clients[i];
        if (c->there && c->p->alive && strstr(path, "/cand/") == NULL &&
            sim_chance(&s->rand, 9, 10)) {
            env_timer_set(&c->p->env, &c->change, sim_between(&s->rand, 1, 10) * NS_PER_MS);
        }
    }
}

static void remove_entry(struct sim_keeper *s, const char *path)
{
    struct sim_keeper_tree *t = change(s);
    struct sim_keeper_entry *gone = find(t, path);
    *gone = t->all[--t->count];
    tell(s, path);
}

static void end_session(struct sim_keeper *s, uint64_t session)
{
    for (;;) {
        struct sim_keeper_tree *t = tree_at(s, s->now);
        uint32_t i = 0;
        while (i < t->count && t->all[i].session != session) {
            i++;
        }
        if (i == t->count) {
            return;
        }
        char path[KEEPER_PATH_MAX + 1];
        strcpy(path, t->all[i].path);
        remove_entry(s, path);
    }
}

/* ---------------------------------------------------------------- what the ensemble does */

static void create_entry(struct sim_keeper *s, struct sim_keeper_client *c, struct keeper_call *k)
{
    struct sim_keeper_entry fresh = {.session = k->ephemeral ? c->session : 0};
    char parent[KEEPER_PATH_MAX + 1];
    strcpy(parent, k->path);
    char *slash = strrchr(parent, '/');
    *slash = 0;
    struct sim_keeper_tree *t = tree_at(s, s->now);
    if (parent[0] != 0 && find(t, parent) == NULL) {
        k->status = -ENOENT;
        return;
    }
    if (!k->numbered && find(t, k->path) != NULL) {
        k->status = -EEXIST;
        return;
    }
    t = change(s);
    snprintf(fresh.path, sizeof(fresh.path), "%s", k->path);
    if (k->numbered) {
        size_t at = strlen(fresh.path);
        snprintf(fresh.path + at, sizeof(fresh.path) - at, "%010u", find(t, parent)->numbers++);
    }
    strcpy(fresh.text, k->text);
    ASSERT(t->count < SIM_KEEPER_ENTRIES);
    t->all[t->count++] = fresh;
    tell(s, fresh.path);
    k->status = 0;
}

static void replace_entry(struct sim_keeper *s, struct keeper_call *k)
{
    struct sim_keeper_tree *t = tree_at(s, s->now);
    const struct sim_keeper_entry *e = find(t, k->path);
    k->status = k->proof[0] != 0 && find(t, k->proof) == NULL ? -EPERM
                : e == NULL                                   ? -ENOENT
                : k->version >= 0 && e->version != k->version ? -EAGAIN
                                                              : 0;
    if (k->status == 0) {
        struct sim_keeper_entry *now = &change(s)->all[e - t->all];
        strcpy(now->text, k->text);
        k->version = ++now->version;
        tell(s, k->path);
    }
}

static void read_tree(struct sim_keeper *s, struct sim_keeper_client *c, struct keeper_call *k)
{
    uint64_t oldest = s->now >= SIM_KEEPER_PAST ? s->now - SIM_KEEPER_PAST + 1 : 0;
    c->seen =
        sim_chance(&s->rand, 1, 2) ? s->now : sim_between(&s->rand, MAX(c->seen, oldest), s->now);
    struct sim_keeper_tree *t = tree_at(s, c->seen);
    const struct sim_keeper_entry *e = find(t, k->path);
    k->status = e == NULL ? -ENOENT : 0;
    if (e == NULL) {
        return;
    }
    strcpy(k->text, e->text);
    k->version = e->version;
    k->name_count = 0;
    size_t len = strlen(k->path);
    for (uint32_t i = 0; i < t->count; i++) {
        const char *path = t->all[i].path;
        if (strncmp(path, k->path, len) == 0 && path[len] == '/' &&
            strchr(path + len + 1, '/') == NULL) {
            strcpy(k->names[k->name_count++], path + len + 1);
        }
    }
}

static void apply(struct sim_keeper *s, struct sim_keeper_client *c, struct keeper_call *k)
{
    if (s->sim->now_ns < s->forbidden_ns && k->kind != KEEPER_READ && k->kind != KEEPER_NAMES) {
        k->status = -EACCES;
        return;
    }
    switch (k->kind) {
    case KEEPER_CREATE:
        create_entry(s, c, k);
        break;
    case KEEPER_REPLACE:
        replace_entry(s, k);
        break;
    case KEEPER_REMOVE:
        k->status = find(tree_at(s, s->now), k->path) == NULL ? -ENOENT : 0;
        if (k->status == 0) {
            remove_entry(s, k->path);
        }
        break;
    case KEEPER_READ:
    case KEEPER_NAMES:
        read_tree(s, c, k);
        return;
    }
    c->seen = s->now;
}

/* ---------------------------------------------------------------- clients */

static struct sim_keeper_client *self(const struct keeper *k)
{
    return container_of(k, struct sim_keeper_client, keeper);
}

static bool reached(const struct sim_keeper_client *c)
{
    return !c->ahead && c->server->sim->now_ns >= MAX(c->cut_ns, c->server->down_ns);
}

static bool expired(const struct sim_keeper_client *c)
{
    return c->session != 0 && c->heard_ns == 0;
}

static void answer_after(struct sim_keeper_client *c, uint64_t ms, bool done, bool lost)
{
    c->done = done;
    c->lost = lost;
    env_timer_set(&c->p->env, &c->answer, ms * NS_PER_MS);
}

static void go_away(struct sim_keeper_client *c)
{
    c->there = false;
    env_timer_set(&c->p->env, &c->link, sim_between(&c->server->rand, 1, 100) * NS_PER_MS);
    if (c->call != NULL && !c->done) {
        answer_after(c, 0, true, true);
    }
    c->events->on_state(c->owner, KEEPER_AWAY);
}

/* Connects, or shows that it lives. */
static void link_fired(struct env_timer *t)
{
    struct sim_keeper_client *c = container_of(t, struct sim_keeper_client, link);
    struct sim_keeper *s = c->server;
    env_timer_set(&c->p->env, &c->link, c->there ? s->session_ms * NS_PER_MS / 3 : 100 * NS_PER_MS);
    sim_keeper_sweep(s);
    if (!reached(c)) {
        if (c->there) {
            go_away(c);
        }
    } else if (expired(c)) {
        c->there = false;
        c->events->on_state(c->owner, KEEPER_EXPIRED);
    } else {
        if (c->session == 0) {
            c->session = s->next_session++;
            c->seen = 0;
        }
        c->heard_ns = s->sim->now_ns;
        if (!c->there) {
            c->there = true;
            c->events->on_state(c->owner, KEEPER_THERE);
        }
    }
}

static void answer_fired(struct env_timer *t)
{
    struct sim_keeper_client *c = container_of(t, struct sim_keeper_client, answer);
    struct sim_keeper *s = c->server;
    struct keeper_call *k = c->call;
    if (k == NULL) {
        return;
    }
    if (c->done) {
        c->call = NULL;
        k->status = c->lost ? -ECONNRESET : k->status;
        if (c->lost && c->there) {
            go_away(c);
        }
        k->done(k);
        return;
    }
    sim_keeper_sweep(s);
    if (!reached(c) || expired(c)) { /* noticed by time */
        answer_after(c, sim_below(&s->rand, 4000), true, true);
        return;
    }
    c->heard_ns = s->sim->now_ns;
    if (sim_chance(&s->rand, s->lost_per_mille, 2000)) {
        answer_after(c, sim_below(&s->rand, 100), true, true);
        return;
    }
    apply(s, c, k);
    answer_after(c, sim_below(&s->rand, 5), true, sim_chance(&s->rand, s->lost_per_mille, 2000));
}

static void change_fired(struct env_timer *t)
{
    struct sim_keeper_client *c = container_of(t, struct sim_keeper_client, change);
    if (c->there) {
        c->events->on_change(c->owner);
    }
}

/* The client knows nothing of its session any more; the ensemble does. */
static void forget_session(struct sim_keeper_client *c)
{
    struct sim_keeper *s = c->server;
    if (c->session != 0 && c->heard_ns != 0) {
        ASSERT(s->orphan_count < SIM_KEEPER_ORPHANS);
        s->orphans[s->orphan_count++] = (struct sim_keeper_orphan){c->session, c->heard_ns};
    }
    c->call = NULL;
    c->there = c->ahead = false;
    c->session = c->heard_ns = c->seen = 0;
}

static void open_session(struct keeper *k, const struct keeper_events *ev, void *owner)
{
    struct sim_keeper_client *c = self(k);
    c->events = ev;
    c->owner = owner;
    forget_session(c);
    env_timer_set(&c->p->env, &c->link, sim_between(&c->server->rand, 1, 50) * NS_PER_MS);
}

static void close_session(struct keeper *k)
{
    struct sim_keeper_client *c = self(k);
    c->events = NULL;
    forget_session(c);
    env_timer_stop(&c->p->env, &c->link);
    env_timer_stop(&c->p->env, &c->answer);
    env_timer_stop(&c->p->env, &c->change);
}

static void call(struct keeper *k, struct keeper_call *kc)
{
    struct sim_keeper_client *c = self(k);
    ASSERT(c->call == NULL);
    c->call = kc;
    answer_after(c, sim_below(&c->server->rand, 5), !c->there, !c->there);
}

static uint32_t timeout_ms(const struct keeper *k)
{
    return self(k)->server->session_ms;
}

/* ---------------------------------------------------------------- life, and faults */

void sim_keeper_init(struct sim_keeper *s, struct sim *sim, uint64_t seed, uint32_t session_ms)
{
    s->sim = sim;
    s->rand = sim_rand_of(seed, 77);
    s->session_ms = session_ms;
    s->next_session = 1;
}

void sim_keeper_client_init(struct sim_keeper_client *c, struct sim_keeper *s,
                            struct sim_process *p)
{
    static const struct keeper_ops ops = {open_session, close_session, call, timeout_ms};
    *c = (struct sim_keeper_client){.keeper = {&ops},
                                    .server = s,
                                    .p = p,
                                    .link = {.fire = link_fired},
                                    .answer = {.fire = answer_fired},
                                    .change = {.fire = change_fired}};
    ASSERT(s->client_count < SIM_KEEPER_CLIENTS);
    s->clients[s->client_count++] = c;
}

void sim_keeper_expire(struct sim_keeper *s, struct sim_keeper_client *c)
{
    if (c->session != 0 && c->heard_ns != 0) {
        c->heard_ns = 0;
        end_session(s, c->session);
    }
}

/* Nothing was heard for too long, not counting the time nobody could hear. */
static bool overdue(const struct sim_keeper *s, uint64_t heard_ns)
{
    return s->sim->now_ns > MAX(heard_ns, s->down_ns) + s->session_ms * NS_PER_MS;
}

void sim_keeper_sweep(struct sim_keeper *s)
{
    if (s->sim->now_ns < s->down_ns) { /* without its leader nothing ends */
        return;
    }
    for (uint32_t i = 0; i < s->client_count; i++) {
        struct sim_keeper_client *c = s->clients[i];
        if (c->session != 0 && c->heard_ns != 0 && overdue(s, c->heard_ns)) {
            sim_keeper_expire(s, c);
        }
    }
    for (uint32_t i = 0; i < s->orphan_count;) {
        if (overdue(s, s->orphans[i].heard_ns)) {
            end_session(s, s->orphans[i].session);
            s->orphans[i] = s->orphans[--s->orphan_count];
        } else {
            i++;
        }
    }
}

void sim_keeper_save(struct sim_keeper *s)
{
    s->backup = *tree_at(s, s->now);
}

void sim_keeper_restore(struct sim_keeper *s)
{
    for (uint32_t i = 0; i < s->client_count; i++) {
        sim_keeper_expire(s, s->clients[i]);
        s->clients[i]->ahead = s->clients[i]->session != 0;
    }
    s->orphan_count = 0;
    struct sim_keeper_tree *t = change(s);
    t->count = 0;
    for (uint32_t i = 0; i < s->backup.count; i++) {
        if (s->backup.all[i].session == 0) {
            t->all[t->count++] = s->backup.all[i];
        }
    }
    for (uint32_t i = 0; i < SIM_KEEPER_PAST; i++) { /* nobody sees what was before */
        s->past[i] = *t;
    }
}

void sim_keeper_write(struct sim_keeper *s, const char *path, const char *text)
{
    struct sim_keeper_tree *t = change(s);
    struct sim_keeper_entry *e = find(t, path);
    if (e == NULL) {
        ASSERT(t->count < SIM_KEEPER_ENTRIES);
        e = &t->all[t->count++];
        *e = (struct sim_keeper_entry){.version = -1};
        snprintf(e->path, sizeof(e->path), "%s", path);
    }
    snprintf(e->text, sizeof(e->text), "%s", text);
    e->version++;
    tell(s, path);
}

void sim_keeper_remove(struct sim_keeper *s, const char *path)
{
    size_t len = strlen(path);
    const struct sim_keeper_tree *t = tree_at(s, s->now);
    for (uint32_t i = 0; i < t->count;) {
        const char *at = t->all[i].path;
        if (strncmp(at, path, len) == 0 && (at[len] == 0 || at[len] == '/')) {
            char gone[KEEPER_PATH_MAX + 1];
            strcpy(gone, at);
            remove_entry(s, gone);
            t = tree_at(s, s->now);
            i = 0;
        } else {
            i++;
        }
    }
}

const char *sim_keeper_text(const struct sim_keeper *s, const char *path)
{
    struct sim_keeper *own = (struct sim_keeper *)(uintptr_t)s;
    const struct sim_keeper_entry *e = find(tree_at(own, s->now), path);
    return e != NULL ? e->text : NULL;
}
