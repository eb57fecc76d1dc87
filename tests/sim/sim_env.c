/* sim_env.c - a simulated process: env_ops over simulated time, network and disk. */
#include "tests/sim/sim_env.h"
#include "shared/base/invariant.h"
#include "shared/base/mem.h"
#include "tests/sim/sim_files.h"
#include "tests/sim/sim_net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct work_run {
    struct sim_event event;
    struct list link;
    struct sim_process *process;
    struct env_work *work;
    bool ran;
};

static struct sim_process *process_of(struct env *e)
{
    return container_of(e, struct sim_process, env);
}

/* ---------------------------------------------------------------- clocks */

static uint64_t local_ns(const struct sim_process *p, uint64_t global)
{
    return p->clock_offset_ns + (uint64_t)((__int128)global * (1000000 + p->drift_ppm) / 1000000);
}

static uint64_t global_ns(const struct sim_process *p, uint64_t local)
{
    __int128 t = (__int128)(local - MIN(local, p->clock_offset_ns)) * 1000000;
    int64_t rate = 1000000 + p->drift_ppm;
    return (uint64_t)((t + rate - 1) / rate);
}

static uint64_t mono_ns(struct env *e)
{
    struct sim_process *p = process_of(e);
    return local_ns(p, p->sim->now_ns);
}

static int64_t wall_ns(struct env *e)
{
    struct sim_process *p = process_of(e);
    return 1700000000000000000 + p->wall_offset_ns + (int64_t)p->sim->now_ns;
}

static uint64_t rand64(struct env *e)
{
    return sim_rand64(&process_of(e)->rand);
}

static void arm(struct sim_process *p)
{
    struct env_timer *t = timer_heap_first(&p->timers);
    if (t == NULL) {
        sim_cancel(p->sim, &p->timer_event);
        return;
    }
    uint64_t at = MAX(global_ns(p, t->at_ns), p->sim->now_ns);
    if (!sim_scheduled(&p->timer_event) || p->timer_event.at_ns != at) {
        sim_at(p->sim, &p->timer_event, at);
    }
}

static void timers_fire(struct sim_event *ev)
{
    struct sim_process *p = container_of(ev, struct sim_process, timer_event);
    if (sim_process_put_off(p, ev)) {
        return;
    }
    uint64_t now = local_ns(p, p->sim->now_ns);
    uint64_t until = p->timers.next_order; /* those set meanwhile wait for the next turn */
    struct env_timer *t;
    while ((t = timer_heap_first(&p->timers)) != NULL && t->at_ns <= now && t->order < until) {
        timer_heap_stop(&p->timers, t);
        sim_note(p->sim, 'T', p->number, t->at_ns);
        t->fire(t);
    }
    arm(p);
}

static void timer_set(struct env *e, struct env_timer *t, uint64_t after_ns)
{
    struct sim_process *p = process_of(e);
    if (p->alive) {
        timer_heap_set(&p->timers, t, local_ns(p, p->sim->now_ns) + after_ns);
        arm(p);
    }
}

static void timer_stop(struct env *e, struct env_timer *t)
{
    struct sim_process *p = process_of(e);
    timer_heap_stop(&p->timers, t);
    arm(p);
}

/* ---------------------------------------------------------------- network */

static struct env_conn *dial(struct env *e, const char *addr, const struct conn_events *ev,
                             void *owner)
{
    return sim_net_dial(process_of(e), addr, ev, owner);
}

static int listen_at(struct env *e, const char *addr, env_accept_cb cb, void *owner)
{
    int err = sim_process_call(process_of(e), addr);
    return err != 0 ? err : sim_net_listen(process_of(e), addr, cb, owner);
}

static void conn_bind(struct env *e, struct env_conn *c, const struct conn_events *ev, void *owner)
{
    (void)e;
    sim_net_bind(c, ev, owner);
}

static void send_message(struct env *e, struct env_conn *c, struct message *m)
{
    (void)e;
    sim_net_send(c, m);
}

static uint64_t queued(struct env *e, struct env_conn *c)
{
    (void)e;
    return sim_net_queued(c);
}

static void hangup(struct env *e, struct env_conn *c)
{
    (void)e;
    sim_net_hangup(c);
}

static const char *peer_name(struct env *e, struct env_conn *c)
{
    (void)e;
    return sim_net_peer_name(c);
}

/* ---------------------------------------------------------------- names, space */

int sim_process_call(struct sim_process *p, const char *path)
{
    struct sim_trap trap;
    p->calls++;
    if (p->fail_call > 0 && --p->fail_call == 0) {
        return p->fail_error;
    }
    if (p->alive && sim_trap_springs_call(&p->trap, path, &trap)) {
        trap.sprung(trap.owner, path);
        return trap.error != 0 ? trap.error : -EIO;
    }
    return 0;
}

static int make_dir(struct env *e, const char *path)
{
    int err = sim_process_call(process_of(e), path);
    return err != 0 ? err : sim_disk_make_dir(process_of(e)->disk, path);
}

static int rename_file(struct env *e, const char *from, const char *to)
{
    int err = sim_process_call(process_of(e), from);
    return err != 0 ? err : sim_disk_rename(process_of(e)->disk, from, to);
}

static int unlink_file(struct env *e, const char *path)
{
    int err = sim_process_call(process_of(e), path);
    return err != 0 ? err : sim_disk_unlink(process_of(e)->disk, path);
}

static int sync_dir(struct env *e, const char *path)
{
    int err = sim_process_call(process_of(e), path);
    return err != 0 ? err : sim_disk_sync_dir(process_of(e)->disk, path);
}

static int list_dir(struct env *e, const char *path, void (*each)(void *owner, const char *name),
                    void *owner)
{
    int err = sim_process_call(process_of(e), path);
    return err != 0 ? err : sim_disk_list(process_of(e)->disk, path, each, owner);
}

static int space(struct env *e, uint64_t *out_total, uint64_t *out_free)
{
    int err = sim_process_call(process_of(e), NULL);
    if (err == 0) {
        sim_disk_space(process_of(e)->disk, out_total, out_free);
    }
    return err;
}

static int allocate(struct env *e, const char *path, uint64_t off, uint64_t bytes)
{
    int err = sim_process_call(process_of(e), path);
    return err != 0 ? err : sim_disk_allocate(process_of(e)->disk, path, off, bytes);
}

static void *map_ring(struct env *e, const char *path, uint32_t size)
{
    bool fails = sim_process_call(process_of(e), path) != 0;
    return fails ? NULL : sim_disk_ring(process_of(e)->disk, path, size);
}

static int lock_dir(struct env *e)
{
    struct sim_process *p = process_of(e);
    int err = p->disk_locked ? -EBUSY : sim_process_call(p, NULL);
    p->disk_locked |= err == 0;
    return err;
}

static void incarnation(struct env *e, uint8_t out[16])
{
    memcpy(out, process_of(e)->incarnation, 16);
}

static const char *real_path(struct env *e, const char *path, char *out, uint32_t size)
{
    return sim_disk_real_path(process_of(e)->disk, path, out, size);
}

/* ---------------------------------------------------------------- threads */

static void work_step(struct sim_event *ev)
{
    struct work_run *r = container_of(ev, struct work_run, event);
    struct sim_process *p = r->process;
    if (sim_process_put_off(p, ev)) {
        return;
    }
    if (!r->ran) {
        r->ran = true;
        r->work->run(r->work);
        sim_at(p->sim, ev, p->sim->now_ns + sim_between(&p->sim->disk, 10000, 1000000));
        return;
    }
    struct env_work *w = r->work;
    list_remove(&r->link);
    mem_free(r);
    sim_note(p->sim, 'W', p->number, 0);
    w->done(w);
}

static void work_submit(struct env *e, struct env_work *w)
{
    struct sim_process *p = process_of(e);
    if (!p->alive) {
        return;
    }
    struct work_run *r = mem_new(struct work_run);
    r->event.run = work_step;
    r->process = p;
    r->work = w;
    list_push_back(&p->works, &r->link);
    sim_at(p->sim, &r->event, p->sim->now_ns + sim_between(&p->sim->disk, 1000, 1000000));
}

/* ---------------------------------------------------------------- words */

static void log_line(struct env *e, enum log_level level, const char *format, va_list ap)
{
    struct sim_process *p = process_of(e);
    p->log_lines[level]++;
    if (level == LOG_ERROR && p->sim->on_error != NULL) {
        char text[512];
        va_list again;
        va_copy(again, ap);
        vsnprintf(text, sizeof(text), format, again);
        va_end(again);
        p->sim->on_error(p->sim, p, text);
    }
    if ((int)level < p->sim->log_level) {
        return;
    }
    fprintf(stderr, "%12.6f %-9s %c ", (double)p->sim->now_ns / 1e9, p->name, "DIWE"[level]);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
}

static void end(struct env *e)
{
    struct sim_process *p = process_of(e);
    p->end_asked = true;
    if (p->sim->on_end != NULL) {
        p->sim->on_end(p->sim, p);
    }
}

static void __attribute__((noreturn)) die(struct env *e, const char *reason)
{
    struct sim_process *p = process_of(e);
    if (p->sim->on_die != NULL) {
        p->sim->on_die(p->sim, p, reason);
        p->sim->dying = p;
        longjmp(p->sim->out, 1);
    }
    fprintf(stderr, "%s died: %s\n", p->name, reason);
    abort();
}

static const struct env_ops ops = {
    .mono_ns = mono_ns,
    .wall_ns = wall_ns,
    .rand64 = rand64,
    .timer_set = timer_set,
    .timer_stop = timer_stop,
    .dial = dial,
    .listen = listen_at,
    .conn_bind = conn_bind,
    .send = send_message,
    .queued = queued,
    .hangup = hangup,
    .peer_name = peer_name,
    .file_open = sim_file_open,
    .file_close = sim_file_close,
    .file_size = sim_file_size,
    .file_read = sim_file_read,
    .file_write = sim_file_write,
    .file_sync = sim_file_sync,
    .file_truncate = sim_file_truncate,
    .make_dir = make_dir,
    .rename = rename_file,
    .unlink = unlink_file,
    .sync_dir = sync_dir,
    .list_dir = list_dir,
    .space = space,
    .allocate = allocate,
    .map_ring = map_ring,
    .lock_dir = lock_dir,
    .disk_submit = sim_disk_submit,
    .work_submit = work_submit,
    .incarnation = incarnation,
    .real_path = real_path,
    .log = log_line,
    .end = end,
    .die = die,
};

/* ---------------------------------------------------------------- life */

static void new_incarnation(struct sim_process *p)
{
    for (int i = 0; i < 16; i++) {
        p->incarnation[i] = (uint8_t)sim_rand64(&p->rand);
    }
}

struct sim_process *sim_process_create(struct sim *s, const char *name)
{
    struct sim_process *p = mem_new(struct sim_process);
    p->env.ops = &ops;
    p->sim = s;
    p->number = list_empty(&s->processes)
                    ? 0
                    : list_entry(s->processes.prev, struct sim_process, link)->number + 1;
    snprintf(p->name, sizeof(p->name), "%s", name);
    p->rand = sim_rand_of(s->seed, 1000 + p->number);
    p->disk = sim_disk_create(s, name, s->knobs.disk_bytes);
    p->timer_event.run = timers_fire;
    timer_heap_init(&p->timers);
    list_init(&p->disk_ops);
    list_init(&p->works);
    list_init(&p->files);
    new_incarnation(p);
    p->clock_offset_ns = sim_below(&p->rand, 1000 * NS_PER_S);
    p->wall_offset_ns = (int64_t)sim_below(&p->rand, 20 * NS_PER_S) - (int64_t)(10 * NS_PER_S);
    p->drift_ppm =
        (int32_t)sim_below(&p->rand, (uint64_t)(2 * s->knobs.drift_ppm + 1)) - s->knobs.drift_ppm;
    list_push_back(&s->processes, &p->link);
    return p;
}

void sim_process_start(struct sim_process *p)
{
    ASSERT(!p->alive);
    sim_files_forget(p);
    sim_disk_real_synced(p->disk, false);
    p->starts++;
    p->calls = 0;
    p->alive = true;
    p->end_asked = false;
    p->sim->sweep = true;
    sim_note(p->sim, 'S', p->number, p->starts);
}

void sim_process_pause(struct sim_process *p, uint64_t ns)
{
    p->stopped_ns = p->sim->now_ns + ns;
    sim_note(p->sim, 'P', p->number, ns);
}

bool sim_process_put_off(struct sim_process *p, struct sim_event *e)
{
    if (p->stopped_ns <= p->sim->now_ns) {
        return false;
    }
    sim_at(p->sim, e, p->stopped_ns);
    return true;
}

static void stop(struct sim_process *p, bool power_cut)
{
    if (!p->alive) {
        return;
    }
    sim_note(p->sim, 'K', p->number, power_cut);
    p->alive = false;
    p->stopped_ns = 0;
    p->disk_locked = false;
    timer_heap_close(&p->timers);
    sim_cancel(p->sim, &p->timer_event);
    list_for_each_safe (it, &p->works) {
        struct work_run *r = list_entry(it, struct work_run, link);
        list_remove(&r->link);
        sim_cancel(p->sim, &r->event);
        mem_free(r);
    }
    sim_files_abandon(p);
    sim_net_process_gone(p, power_cut);
    if (power_cut) {
        sim_disk_power_cut(p->disk);
        new_incarnation(p);
    }
}

void sim_process_kill(struct sim_process *p)
{
    stop(p, false);
}

void sim_process_power_cut(struct sim_process *p)
{
    stop(p, true);
}

void sim_process_free(struct sim_process *p)
{
    stop(p, false);
    sim_files_forget(p);
    sim_net_process_free(p);
    sim_disk_free(p->disk);
    list_remove(&p->link);
    mem_free(p);
}

bool sim_process_idle(const struct sim_process *p)
{
    return list_empty(&p->disk_ops) && list_empty(&p->works);
}
