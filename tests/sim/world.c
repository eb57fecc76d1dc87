/* world.c - start, death and return of the cluster's processes. */
#include "tests/sim/world.h"
#include "master/core/master_internal.h"
#include "shared/base/mem.h"
#include "shared/env/masters.h"
#include "tests/sim/acks.h"
#include "tests/sim/actor.h"
#include "tests/sim/answers.h"
#include "tests/sim/checkpoints.h"
#include "tests/sim/conf.h"
#include "tests/sim/data_work.h"
#include "tests/sim/drops.h"
#include "tests/sim/history.h"
#include "tests/sim/monitors.h"
#include "tests/sim/promises.h"
#include "tests/sim/reads.h"
#include "tests/sim/shared_work.h"
#include "tests/sim/versions.h"
#include "tests/sim/writer_model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EARLY_DOWN_NS (100 * NS_PER_MS)

enum { PRINTED = 64 };

void world_fail(struct world *w, const char *format, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    fprintf(stderr, "seed %llu failed at %.3f s, after %u operations: %s\n",
            (unsigned long long)w->seed, (double)w->sim->now_ns / 1e9, w->ops, text);
    if (w->sim->real_base[0] != 0) {
        sim_remove_tree(w->sim->real_base);
    }
    fflush(NULL);
    _exit(1);
}

void world_say(struct world *w, const char *format, ...)
{
    if (!w->trace) {
        return;
    }
    va_list ap;
    va_start(ap, format);
    fprintf(stderr, "%12.6f %-9s   ", (double)w->sim->now_ns / 1e9, "-");
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
}

static struct sim_server *server_of(struct world *w, const struct sim_process *p)
{
    for (uint32_t i = 0; i < w->server_count; i++) {
        if (w->servers[i].process == p) {
            return &w->servers[i];
        }
    }
    for (uint32_t i = 1; i < w->master_count; i++) {
        if (w->masters[i]->process == p) {
            return w->masters[i];
        }
    }
    return NULL;
}

static void on_die(struct sim *s, struct sim_process *p, const char *reason)
{
    struct sim_server *server = server_of(s->owner, p);
    if (server == NULL || (!server->may_die && !server->damaged)) {
        world_fail(s->owner, "%s died: %s", p->name, reason);
    }
    world_say(s->owner, "%s ends: %s", p->name, reason);
}

static void on_death(struct sim *s, struct sim_process *p)
{
    struct world *w = s->owner;
    struct sim_server *server = server_of(w, p);
    server->may_die = false;
    server_kill(server, false, 10 * NS_PER_MS + sim_below(&w->rand, 2 * NS_PER_S));
}

void world_master_addr(uint32_t rank, char out[32])
{
    snprintf(out, 32, "10.0.0.%u:9400", 1 + rank);
}

struct sim_server *world_primary(const struct world *w)
{
    struct sim_server *best = NULL;
    for (uint32_t i = 0; i < w->master_count; i++) {
        struct sim_server *s = w->masters[i];
        bool serves = s->master != NULL && (w->master_count == 1 || s->master->serving) &&
                      !s->master->vigil.ending;
        if (serves && (best == NULL || s->master->epoch > best->master->epoch)) {
            best = s;
        }
    }
    return best;
}

/* Mistakes of who wrote its configuration. */
static void spoil_list(const struct sim_server *s, struct log_set *set)
{
    uint32_t first = set->self > 0 ? 0 : 1, last = set->count - 1;
    switch (s->other_list) {
    case 1: /* another log_ack */
        set->acks = set->acks == set->count ? set->count / 2 + 1 : set->count;
        break;
    case 2: /* another order */
        world_master_addr(first, set->addr[set->self]);
        world_master_addr(set->self, set->addr[first]);
        set->self = first;
        break;
    case 3: /* one is missing */
        last = set->self < last ? last : 0;
        memmove(&set->addr[last], &set->addr[last + 1],
                (set->count - 1 - last) * sizeof(set->addr[0]));
        set->self -= last < set->self;
        set->count--;
        set->acks = MIN(set->acks, set->count);
        break;
    default:
        break;
    }
}

static int master_up(struct sim_server *s, struct why *why)
{
    struct world *w = s->world;
    struct master_config cfg;
    conf_master(s, &cfg);
    cfg.force = w->force;
    cfg.bounds = w->tuning.bounds;
    if (w->master_count > 1) {
        spoil_list(s, &cfg.set);
    }
    if (w->mistake == MISTAKE_CLUSTER) {
        snprintf(cfg.cluster, sizeof(cfg.cluster), "another");
    } else if (w->mistake == MISTAKE_SEGMENT) {
        cfg.geometry.segment_bytes += 512;
    } else if (w->mistake == MISTAKE_ADDRESS) {
        char taken[32];
        world_chunkd_addr(w, 1, taken);
        snprintf(cfg.listen, sizeof(cfg.listen), "%s", taken);
    }
    s->master = master_create(&s->process->env, &cfg);
    int err = master_start(s->master, why);
    if (err == 0 && w->master_count > 1 && !w->trying) {
        answers_master_started(w->answers, s);
        checkpoint_book_look(w->checkpoints, s);
    }
    return err;
}

uint32_t world_draw_replicas(struct world *w, struct sim_rand *r)
{
    uint64_t draw = sim_between(r, 1, w->server_count - 1);
    return draw == 1 ? 0 : (uint32_t)draw;
}

void world_chunkd_addr(const struct world *w, uint32_t chunkd, char out[32])
{
    snprintf(out, 32, "10.0.1.%u:%u", chunkd, w->servers[chunkd].port);
}

/* It is put into another rack, or its host is shared with another one, or it listens elsewhere. */
static void move_chunkd(struct sim_server *s)
{
    switch (sim_below(&s->moves, 3)) {
    case 0:
        s->rack = (uint32_t)sim_between(&s->moves, 1, WORLD_RACKS);
        break;
    case 1:
        s->host = (uint32_t)sim_between(&s->moves, 1, WORLD_CHUNKDS_MAX);
        break;
    default:
        s->port = s->port == 9500 ? 9501 : 9500;
        break;
    }
}

static int chunkd_up(struct sim_server *s, struct why *why)
{
    struct chunkd_config cfg;
    if (s->world->moves && !s->world->healing && sim_chance(&s->moves, 1, 6)) {
        move_chunkd(s);
    }
    conf_chunkd(s, &cfg);
    cfg.rack[0] = s->rack > 0 ? cfg.rack[0] : 0;
    cfg.limits = s->world->limits;
    cfg.compact_bytes = s->world->compact_bytes;
    s->chunkd = chunkd_create(&s->process->env, &cfg);
    return chunkd_start(s->chunkd, why);
}

bool server_up(const struct sim_server *s)
{
    return s->process->alive;
}

int server_try(struct sim_server *s, struct why *why)
{
    sim_cancel(s->world->sim, &s->restart);
    s->began_full = sim_scheduled(&s->room);
    s->sprung = false;
    sim_process_start(s->process);
    world_say(s->world, "start of %s", s->process->name);
    return s->number == 0 ? master_up(s, why) : chunkd_up(s, why);
}

/* Its disk failed, and what was in its meta log is damaged: somebody puts in another disk. */
static int start_with_new_disk(struct sim_server *s, struct why *why)
{
    world_say(s->world, "%s gets a new disk: %s", s->process->name, why->text);
    s->meta_failed = false;
    server_kill(s, true, 0);
    server_wipe(s);
    return server_try(s, why);
}

void server_start(struct sim_server *s)
{
    struct why why = {{0}};
    int err = server_up(s) ? 0 : server_try(s, &why);
    if (err == ERR_CORRUPT && s->meta_failed && s->number != 0) {
        err = start_with_new_disk(s, &why);
    }
    bool full = err == -ENOSPC && s->number == 0 && sim_scheduled(&s->room);
    if (full || (err != 0 && s->sprung && why.text[0] != '\0')) {
        world_say(s->world, "%s does not start: %s", s->process->name, why.text);
        server_kill(s, false, 200 * NS_PER_MS);
        return;
    }
    if (err != 0) {
        world_fail(s->world, "%s does not start: %s (%s)", s->process->name, why.text,
                   err_name(err));
    }
    if (s->early_deaths > 0) {
        s->early_deaths--;
        sim_at(s->world->sim, &s->death, s->world->sim->now_ns + s->early_ns);
    }
}

/* Asked when a full disk gets room, or its process ends before. Only of one that runs: the disk keeps the
 * account of the last one that opened its state, and a start that was refused since did not. */
static void check_growth(struct sim_server *s)
{
    if (s->number == 0 && server_up(s) && !s->began_full && sim_disk_overgrown(s->process->disk)) {
        world_fail(s->world, "the master's state grew beyond the space it had taken");
    }
}

void server_kill(struct sim_server *s, bool power_cut, uint64_t ns)
{
    sim_cancel(s->world->sim, &s->end);
    if (sim_scheduled(&s->room)) {
        check_growth(s);
    }
    if (server_up(s)) {
        world_say(s->world, "%s of %s", power_cut ? "power cut" : "kill", s->process->name);
        s->killed_ns = s->world->sim->now_ns;
        if (power_cut) {
            sim_process_power_cut(s->process);
            s->power_cut_ns = s->world->sim->now_ns;
        } else {
            sim_process_kill(s->process);
        }
        if (s->number == 0) {
            master_destroy(s->master);
            s->master = NULL;
        } else {
            chunkd_destroy(s->chunkd);
            s->chunkd = NULL;
        }
    }
    if (ns > 0 && s->number == 0 && s->world->monitors != NULL) {
        s->down_ns = s->world->sim->now_ns + ns;
        if (sim_scheduled(&s->restart)) {
            sim_at(s->world->sim, &s->restart, s->down_ns);
        }
    } else if (ns > 0) {
        sim_at(s->world->sim, &s->restart, s->world->sim->now_ns + ns);
    }
}

void server_wipe(struct sim_server *s)
{
    sim_disk_wipe(s->process->disk);
    if (s->number == 0) {
        log_tap_forget(s->world->tap, s->rank);
        answers_forget(s->world->answers, s->rank);
    } else {
        promises_forget(s->world->promises, s->number);
        answers_forget_chunkd(s->world->answers, s->number);
    }
    s->wiped = true;
}

static void make_room(struct sim_event *e)
{
    struct sim_server *s = container_of(e, struct sim_server, room);
    check_growth(s);
    sim_disk_set_capacity(s->process->disk, s->world->sim->knobs.disk_bytes);
    world_say(s->world, "the disk of %s has room again", s->process->name);
}

void server_fill(struct sim_server *s, uint64_t left, uint64_t ns)
{
    struct world *w = s->world;
    sim_disk_set_capacity(s->process->disk, sim_disk_used(s->process->disk) + left);
    sim_at(w->sim, &s->room, w->sim->now_ns + ns);
    w->full_ns = MAX(w->full_ns, w->sim->now_ns + ns);
}

void server_empty(struct sim_server *s)
{
    if (sim_scheduled(&s->room)) {
        sim_cancel(s->world->sim, &s->room);
        make_room(&s->room);
    }
}

static void kill_early(struct sim_event *e)
{
    struct sim_server *s = container_of(e, struct sim_server, death);
    if (server_up(s)) {
        bool in_write = s->process->keeps_cache;
        server_kill(s, s->early_power_cut && !in_write, EARLY_DOWN_NS);
        s->process->keeps_cache = false;
    }
}

/* A master's writes: its log is followed, and it may be killed in the next one. */
static void on_write(void *owner, struct sim_process *p, const char *path, const struct disk_op *op,
                     bool completed)
{
    struct world *w = owner;
    struct sim_server *s = server_of(w, p);
    uint32_t promised =
        s->master != NULL && s->master->log != NULL ? oplog_epoch(s->master->log) : 0;
    log_tap_write(w->tap, s->rank, promised, path, op, completed);
    if (!completed && s->dies_in_write && strncmp(path, "log/log-", 8) == 0) {
        s->dies_in_write = false;
        p->keeps_cache = true;
        sim_at(w->sim, &s->death, w->sim->now_ns);
    }
}

static void restart_server(struct sim_event *e)
{
    server_start(container_of(e, struct sim_server, restart));
}

/* The process of one of several masters ends: by itself, in order, or its monitor has ended it. */
static void end_server(struct sim_event *e)
{
    struct sim_server *s = container_of(e, struct sim_server, end);
    struct why why = {{0}};
    if (!server_up(s)) {
        return;
    }
    if (s->process->end_asked) {
        int err = master_stop(s->master, &why);
        if (err != 0 && !s->sprung) {
            world_fail(s->world, "%s does not end in order: %s (%s)", s->process->name, why.text,
                       err_name(err));
        }
        sim_disk_real_synced(s->process->disk, err == 0);
    }
    server_kill(s, false, 0);
}

static void mend_list(struct sim_event *e)
{
    server_right_list(container_of(e, struct sim_server, mend_list));
}

void server_right_list(struct sim_server *s)
{
    if (s->other_list != 0) {
        world_say(s->world, "the configuration of %s is as it should be", s->process->name);
        s->other_list = 0;
        sim_cancel(s->world->sim, &s->mend_list);
        server_kill(s, false, 10 * NS_PER_MS);
    }
}

void server_wrong_list(struct sim_server *s, uint32_t how, uint64_t ns)
{
    world_say(s->world, "%s is started anew, and its list of masters is another one: %u",
              s->process->name, how);
    s->other_list = how;
    server_kill(s, false, 10 * NS_PER_MS);
    sim_at(s->world->sim, &s->mend_list, s->world->sim->now_ns + ns);
}

static void on_end(struct sim *s, struct sim_process *p)
{
    struct world *w = s->owner;
    struct sim_server *server = server_of(w, p);
    if (server != NULL && server->number == 0 && w->monitors != NULL) {
        world_say(w, "%s wants to end", p->name);
        sim_at(s, &server->end, s->now_ns);
    }
}

static void mount_ready(void *owner, int status)
{
    struct mount *m = owner;
    if (status != 0) {
        world_fail(m->world, "%s was refused: %s", m->process->name, err_text(status));
    }
    if (m->stopping) {
        return;
    }
    m->ready = true;
    actors_wake(m->world);
}

/* What a mount's options may say of masters, and is refused before one is made. */
static void try_wrong_masters(struct world *w, uint64_t draw)
{
    static const char *const lists[] = {"", "10.0.0.1", "10.0.0.1:9400,,", ",",
                                        "a:1,b:1,c:1,d:1,e:1,f:1,g:1,h:1,i:1,j:1,k:1,l:1,m:1,n:1,"
                                        "o:1,p:1,q:1"};
    struct masters masters;
    struct why why = {{0}};
    int err = masters_parse(&masters, lists[draw % COUNT_OF(lists)], &why);
    if (err != -EINVAL || why.text[0] == '\0') {
        world_fail(w, "a wrong list of masters is taken");
    }
}

void mount_start(struct mount *m)
{
    if (m->client != NULL) {
        return;
    }
    sim_cancel(m->world->sim, &m->restart);
    struct client_config cfg = {.cluster = "sim",
                                .dirty_bytes = m->dirty_bytes,
                                .dirty_age_ms = 1000,
                                .remembered = m->remembered,
                                .soft_ms =
                                    m->number < m->world->mount_count ? m->world->soft_ms : 0,
                                .stale_ms = m->world->stale_ms};
    m->life++;
    try_wrong_masters(m->world, m->life + m->world->seed);
    snprintf(cfg.masters, sizeof(cfg.masters), "%s", m->world->master_list);
    snprintf(cfg.host, sizeof(cfg.host), "mount-%u-%u", m->number, m->life);
    snprintf(cfg.rack, sizeof(cfg.rack), "rack-%u", 1 + m->number);
    sim_process_start(m->process);
    world_say(m->world, "start of %s", m->process->name);
    m->ready = m->left = false;
    m->client = client_create(&m->process->env, &cfg);
    client_start(m->client, mount_ready, m);
}

void mount_kill(struct mount *m, uint64_t ns)
{
    if (m->client != NULL) {
        world_say(m->world, "kill of %s", m->process->name);
        sim_process_kill(m->process);
        client_destroy(m->client);
        m->client = NULL;
        m->ready = m->stopping = false;
        sim_cancel(m->world->sim, &m->gone);
        actors_mount_died(m);
    }
    if (ns > 0) {
        sim_at(m->world->sim, &m->restart, m->world->sim->now_ns + ns);
    }
}

static void restart_mount(struct sim_event *e)
{
    mount_start(container_of(e, struct mount, restart));
}

static void mount_left(void *owner)
{
    struct mount *m = owner;
    uint64_t took = m->world->sim->now_ns - m->stop_ns;
    m->left = took < m->patience_ms * (NS_PER_MS / 100 * 98); /* clocks differ by a hundredth */
    sim_at(m->world->sim, &m->gone, m->world->sim->now_ns);
}

static void end_mount(struct sim_event *e)
{
    struct mount *m = container_of(e, struct mount, gone);
    mount_kill(m, m->away_ns);
}

bool mount_stop(struct mount *m, uint32_t patience_ms, uint64_t ns)
{
    if (m->client == NULL || m->stopping) {
        return false;
    }
    world_say(m->world, "%s leaves", m->process->name);
    m->ready = false;
    m->stopping = true;
    m->stop_ns = m->world->sim->now_ns;
    m->patience_ms = patience_ms;
    m->away_ns = ns;
    actors_mount_leaves(m);
    client_stop(m->client, patience_ms, mount_left, m);
    return true;
}

void mount_kill_later(struct mount *m, uint64_t ns)
{
    sim_at(m->world->sim, &m->death, m->world->sim->now_ns + ns);
}

void mount_end(struct mount *m)
{
    mount_kill(m, 500 * NS_PER_MS + sim_below(&m->world->rand, 3 * NS_PER_S));
}

static void kill_mount(struct sim_event *e)
{
    mount_end(container_of(e, struct mount, death));
}

bool world_is_cut(struct world *w, uint64_t ino)
{
    while (w->writers_index < log_tap_certain(w->tap)) {
        union op_any rec;
        const struct record *r = log_tap_record(w->tap, ++w->writers_index);
        memset(&rec, 0, sizeof(rec));
        if (op_info_of(r->type)->rec_decode(r->body, &rec) == 0) {
            writer_model_record(w->writers, r, &rec, NULL, NULL);
        }
    }
    return writer_model_is_cut(w->writers, ino);
}

bool world_session_ended(struct world *w, const struct mount *m)
{
    uint64_t sessions[16];
    uint32_t count = 0;
    char host[32];
    snprintf(host, sizeof(host), "mount-%u-%u", m->number, m->life);
    for (uint64_t i = 1; i <= log_tap_last(w->tap); i++) {
        const struct record *r = log_tap_record(w->tap, i);
        struct session_open_rec opened;
        struct session_expire_rec ended;
        if (r->type == OP_session_open && session_open_rec_decode(r->body, &opened) == 0 &&
            bytes_equal(opened.host, bytes_str(host)) && count < COUNT_OF(sessions)) {
            sessions[count++] = opened.session;
        }
        if (r->type == OP_session_expire && session_expire_rec_decode(r->body, &ended) == 0) {
            for (uint32_t k = 0; k < count; k++) {
                if (sessions[k] == ended.session) {
                    return true;
                }
            }
        }
    }
    return false;
}

/* at_ns 0 = never, whenever "since" is. */
static bool happened_since(uint64_t at_ns, uint64_t since_ns)
{
    return at_ns != 0 && at_ns >= since_ns;
}

uint32_t world_power_losses(void *world, uint64_t since_ns)
{
    struct world *w = world;
    uint32_t n = 0;
    for (uint32_t i = 1; i < w->server_count; i++) {
        bool rots = i == w->rotten && w->rots;
        n += rots || happened_since(w->servers[i].power_cut_ns, since_ns);
    }
    return n;
}

uint32_t world_chunkd(struct world *w, uint32_t id)
{
    uint32_t current[WORLD_SERVERS_MAX] = {0};
    for (uint64_t i = 1; i <= log_tap_last(w->tap); i++) {
        const struct record *r = log_tap_record(w->tap, i);
        struct server_add_rec rec;
        uint32_t number = 0;
        char addr[ADDR_LEN_MAX + 1] = {0};
        if (r == NULL || r->type != OP_server_add || server_add_rec_decode(r->body, &rec) != 0) {
            continue;
        }
        memcpy(addr, rec.server.addr.data, MIN(rec.server.addr.len, sizeof(addr) - 1));
        if (sscanf(addr, "10.0.1.%u:", &number) == 1 && number < WORLD_SERVERS_MAX) {
            current[number] = rec.server.id;
        }
    }
    for (uint32_t number = 1; number < w->server_count; number++) {
        if (current[number] == id) {
            return number;
        }
    }
    return 0;
}

bool world_may_doubt(struct world *w, uint64_t since_ns)
{
    bool killed = false;
    for (uint32_t i = 1; i < w->server_count; i++) {
        killed |= i != w->rotten && happened_since(w->servers[i].killed_ns, since_ns);
    }
    return world_power_losses(w, since_ns) >= 2 || (w->rots && killed);
}

static void on_send(struct sim *s, const struct sim_process *from, const struct sim_process *to,
                    const struct message *m)
{
    struct world *w = s->owner;
    answers_sent(w->answers, from, to, m);
    reads_sent(w->reads, from, m);
    monitors_sent(w->monitors, to, m);
    promises_sent(w->promises, from, m);
}

static void on_frame(struct sim *s, uint64_t conn, const struct sim_process *from,
                     const struct sim_process *to, const struct message *m)
{
    struct world *w = s->owner;
    if (w->trace || m->head.request_id % PRINTED == 0) { /* some are printed for nobody */
        world_say_frame(s, from, to, m);
    }
    acks_frame(w->acks, conn, from, m);
    reads_frame(w->reads, conn, from, m);
    drops_frame(w->drops, from, to, m);
    promises_frame(w->promises, from, to, m);
    answers_frame(w->answers, from, to, m);
}

/* The master compares replicas in the background and mends what differs: no later check would see
 * it. Only a disk that lies may have made them differ. */
static void on_error(struct sim *s, const struct sim_process *p, const char *text)
{
    struct world *w = s->owner;
    uint64_t lies = w->faults[FAULT_LOST_WRITE] + w->faults[FAULT_MISDIRECT];
    if (strstr(text, "replicas of version") != NULL && lies == 0) {
        world_fail(w, "%s: %s", p->name, text);
    }
}

static void server_init(struct world *w, struct sim_server *s, uint32_t number, const char *name)
{
    s->world = w;
    s->number = number;
    s->process = sim_process_create(w->sim, name);
    s->restart.run = restart_server;
    s->room.run = make_room;
    s->death.run = kill_early;
    s->end.run = end_server;
    s->mend_list.run = mend_list;
}

uint32_t world_process_count(const struct world *w)
{
    return w->server_count + w->master_count - 1 + monitors_count(w->monitors) + w->mount_count;
}

struct sim_process *world_process(struct world *w, uint32_t i)
{
    uint32_t monitors = monitors_count(w->monitors);
    if (i < w->server_count) {
        return w->servers[i].process;
    }
    i -= w->server_count;
    if (i < w->master_count - 1) {
        return w->masters[1 + i]->process;
    }
    i -= w->master_count - 1;
    return i < monitors ? monitors_process(w->monitors, i) : w->mounts[i - monitors].process;
}

struct world *world_new(const struct plan *plan, bool trace)
{
    struct world *w = mem_new(struct world);
    w->plan = *plan;
    w->seed = plan->seed;
    w->trace = trace;
    w->sim = sim_create(w->seed);
    w->sim->owner = w;
    w->sim->on_die = on_die;
    w->sim->on_death = on_death;
    w->sim->on_end = on_end;
    w->sim->log_level = trace ? LOG_DEBUG : LOG_ERROR + 1;
    w->rand = sim_rand_of(w->seed, 11);
    list_init(&w->actors);
    world_draw(w);
    w->tap = log_tap_new(w->master_count, w->log_acks);
    log_tap_tell(w->tap, world_say_record, w);
    w->acks = acks_new(w);
    w->versions = versions_new(w);
    w->promises = promises_new(w);
    w->reads = reads_new(w);
    w->drops = drops_new(w);
    w->answers = answers_new(w);
    w->checkpoints = checkpoint_book_new(w);
    w->sim->on_frame = on_frame;
    w->sim->on_send = on_send;
    w->sim->on_error = on_error;
    w->history = history_new(w);
    w->writers = writer_model_new();
    w->data = data_files_new(w);
    w->shared = shared_file_new();
    for (uint32_t i = 0; i < w->server_count; i++) {
        char name[32];
        snprintf(name, sizeof(name),
                 i > 0                 ? "chunkd-%u"
                 : w->master_count > 1 ? "master-0"
                                       : "master",
                 i);
        server_init(w, &w->servers[i], i, name);
        world_draw_place(&w->servers[i]);
    }
    for (uint32_t i = 0; i < w->master_count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "master-%u", i);
        if (i > 0) {
            server_init(w, w->masters[i], 0, name);
        }
        w->masters[i]->rank = i;
        w->masters[i]->process->on_write = on_write;
        w->masters[i]->process->on_write_owner = w;
    }
    for (uint32_t i = 0; i <= w->mount_count; i++) {
        struct mount *m = &w->mounts[i];
        char name[32];
        snprintf(name, sizeof(name), "mount-%u", i);
        m->world = w;
        m->number = i;
        struct sim_rand r = sim_rand_of(w->seed, 60 + i);
        m->dirty_bytes = sim_chance(&r, 1, 2) ? 1 << 20 : sim_between(&r, 16, 100) << 10;
        m->remembered = sim_chance(&r, 1, 2) ? 0 : (uint32_t)sim_between(&r, 1, 24);
        m->process = sim_process_create(w->sim, name);
        m->restart.run = restart_mount;
        m->death.run = kill_mount;
        m->gone.run = end_mount;
    }
    w->monitors = w->watched ? monitors_new(w) : NULL;
    return w;
}

static void server_free(struct sim_server *s)
{
    server_kill(s, false, 0);
    sim_cancel(s->world->sim, &s->restart);
    sim_cancel(s->world->sim, &s->room);
    sim_cancel(s->world->sim, &s->death);
    sim_cancel(s->world->sim, &s->mend_list);
}

void world_free(struct world *w)
{
    actors_free(w);
    for (uint32_t i = 0; i <= w->mount_count; i++) {
        mount_kill(&w->mounts[i], 0);
        sim_cancel(w->sim, &w->mounts[i].restart);
        sim_cancel(w->sim, &w->mounts[i].death);
    }
    monitors_free(w->monitors);
    for (uint32_t i = 0; i < w->server_count; i++) {
        server_free(&w->servers[i]);
    }
    for (uint32_t i = 1; i < w->master_count; i++) {
        server_free(w->masters[i]);
    }
    sim_destroy(w->sim);
    history_free(w->history);
    acks_free(w->acks);
    reads_free(w->reads);
    versions_free(w->versions);
    promises_free(w->promises);
    drops_free(w->drops);
    answers_free(w->answers);
    checkpoint_book_free(w->checkpoints);
    data_files_free(w->data);
    shared_file_free(w->shared);
    writer_model_free(w->writers);
    log_tap_free(w->tap);
    mem_free(w);
}
