/* uv_env.c - the env over libuv: life, clocks, timers, log, and the table of operations.
 *
 * A turn of the loop ends in on_prepare, just before the loop would sleep: due timers run, jobs
 * that were done without a thread are reported, and every connection with something to send gets
 * one writev. What is then still due keeps the loop awake through an idle handle.
 */
#include "shared/io/uv_env.h"

#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "shared/base/mem.h"
#include "shared/io/uv_internal.h"

enum { EXIT_DIED = 70 };

/* ---------------------------------------------------------------- clocks and randomness */

uint64_t uv_mono_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t op_mono_ns(struct env *e)
{
    (void)e;
    return uv_mono_ns();
}

static int64_t op_wall_ns(struct env *e)
{
    (void)e;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * (int64_t)NS_PER_S + t.tv_nsec;
}

static uint64_t op_rand64(struct env *e)
{
    struct uv_env *u = ENV_OF(e);
    if (u->random_left < sizeof(uint64_t)) {
        if (getrandom(u->random, sizeof(u->random), 0) != (ssize_t)sizeof(u->random)) {
            env_die(e, "the kernel gives no random bytes");
        }
        u->random_left = sizeof(u->random);
    }
    u->random_left -= (uint32_t)sizeof(uint64_t);
    uint64_t v;
    memcpy(&v, u->random + u->random_left, sizeof(v));
    return v;
}

/* ---------------------------------------------------------------- timers and turns */

static void op_timer_set(struct env *e, struct env_timer *t, uint64_t after_ns)
{
    struct uv_env *u = ENV_OF(e);
    uint64_t now = uv_mono_ns();
    timer_heap_set(&u->timers, t, after_ns > UINT64_MAX - now ? UINT64_MAX : now + after_ns);
}

static void op_timer_stop(struct env *e, struct env_timer *t)
{
    timer_heap_stop(&ENV_OF(e)->timers, t);
}

/* Timers set while others fire wait for the next turn, so that a timer of 0 cannot keep us here. */
static void fire_timers(struct uv_env *u)
{
    uint64_t now = uv_mono_ns();
    uint64_t limit = u->timers.next_order;
    struct env_timer *t;
    while (!u->settling && (t = timer_heap_first(&u->timers)) != NULL && t->at_ns <= now &&
           t->order < limit) {
        struct turn_part part = turn_timer(t);
        uint64_t begin = turn_now_ns();
        timer_heap_stop(&u->timers, t);
        t->fire(t);
        turn_part_ended(&u->turn, part, begin, turn_now_ns());
    }
}

static void report_ready(struct uv_env *u)
{
    struct job j;
    for (size_t n = u->ready.count; n > 0 && !u->halted && job_pop(&u->ready, &j); n--) {
        job_finish(u, j);
    }
}

static void report_dials(struct uv_env *u)
{
    struct list now, *l;
    list_init(&now);
    while ((l = list_pop_front(&u->outcomes)) != NULL) {
        list_push_back(&now, l);
    }
    while (!u->settling && (l = list_pop_front(&now)) != NULL) {
        struct env_conn *c = list_entry(l, struct env_conn, outcome_link);
        if (c->outcome != 0) {
            conn_fail(c, c->outcome);
        } else {
            c->events->on_open(c->owner, c);
        }
    }
    while ((l = list_pop_front(&now)) != NULL) {
        list_push_back(&u->outcomes, l);
    }
}

static void flush_all(struct uv_env *u)
{
    struct list *l;
    while ((l = list_pop_front(&u->flushing)) != NULL) {
        conn_flush(list_entry(l, struct env_conn, flush_link));
    }
}

static void free_dead(struct uv_env *u)
{
    struct list *l;
    while ((l = list_pop_front(&u->dead)) != NULL) {
        conn_free(list_entry(l, struct env_conn, link));
    }
}

static void on_idle(uv_idle_t *h)
{
    if (container_of(h, struct uv_env, idle)->spin.awake) {
        sched_yield(); /* whoever waits for this processor goes first */
    }
}

static void on_sleep_end(uv_timer_t *h)
{
    container_of(h, struct uv_env, sleep)->sleep_until_ns = 0;
}

/* Decides how long the loop may sleep. */
static void plan_sleep(struct uv_env *u)
{
    struct env_timer *t = u->settling ? NULL : timer_heap_first(&u->timers);
    bool may_spin = u->spin.limit_ns > 0 && (u->spin.stirred || u->spin.awake);
    uint64_t now = t != NULL || may_spin ? uv_mono_ns() : 0;
    bool due = t != NULL && t->at_ns <= now;
    bool spins = may_spin && spin_wanted(&u->spin, now);
    bool dials = !u->settling && !list_empty(&u->outcomes);
    if (due || dials || u->ready.count > 0 || !list_empty(&u->flushing) || spins) {
        uv_idle_start(&u->idle, on_idle);
    } else {
        uv_idle_stop(&u->idle);
    }
    if (t == NULL || due) {
        return;
    }
    if (t->at_ns != u->sleep_until_ns) {
        u->sleep_until_ns = t->at_ns;
        uint64_t ms = (t->at_ns - now) / NS_PER_MS + 1;
        uv_update_time(&u->loop);
        uv_timer_start(&u->sleep, on_sleep_end, ms, 0);
    }
}

static void on_prepare(uv_prepare_t *h)
{
    struct uv_env *u = container_of(h, struct uv_env, prepare);
    free_dead(u);
    fire_timers(u);
    report_ready(u);
    report_dials(u);
    flush_all(u);
    turn_ended(&u->turn, &u->base);
    plan_sleep(u);
}

/* ---------------------------------------------------------------- log */

bool uv_net_log_allowed(struct uv_env *u)
{
    struct log_budget *b = &u->net_log;
    uint64_t now = uv_mono_ns();
    uint64_t earned = (now - b->tokens_at_ns) * LOG_PER_S / NS_PER_S;
    if (earned > 0) {
        b->tokens = (uint32_t)MIN((uint64_t)LOG_BURST, b->tokens + earned);
        b->tokens_at_ns = now;
    }
    if (b->tokens == 0) {
        b->suppressed++;
        return false;
    }
    b->tokens--;
    if (b->suppressed > 0) {
        uv_env_log(u, LOG_WARN, "%u lines about peers were left out", b->suppressed);
        b->suppressed = 0;
    }
    return true;
}

static PRINTF_LIKE(3, 0) void op_log(struct env *e, enum log_level level, const char *format,
                                     va_list ap)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    struct uv_env *u = ENV_OF(e);
    if (level < u->log_level) {
        return;
    }
    char line[2048];
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    size_t n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof(line) - n, ".%03dZ %s ", (int)(t.tv_nsec / 1000000),
                          names[level]);
    int m = vsnprintf(line + n, sizeof(line) - n - 1, format, ap);
    size_t end = m < 0 ? n : MIN(n + (size_t)m, sizeof(line) - 2);
    for (size_t i = n; i < end; i++) {
        if (line[i] == '\n' || line[i] == '\r') {
            line[i] = ' '; /* one line each, whatever a peer put into a name */
        }
    }
    line[end++] = '\n';
    if (write(u->log_fd, line, end) < 0) {
        return; /* nowhere left to say it */
    }
}

static void op_end(struct env *e)
{
    env_log(e, LOG_INFO, "stopping");
    uv_env_stop(ENV_OF(e));
}

static __attribute__((noreturn)) void op_die(struct env *e, const char *reason)
{
    env_log(e, LOG_ERROR, "cannot go on: %s", reason);
    _exit(EXIT_DIED);
}

/* ---------------------------------------------------------------- table */

static void op_work_submit(struct env *e, struct env_work *w)
{
    struct uv_env *u = ENV_OF(e);
    u->jobs++;
    pool_submit(u, (struct job){.work = w});
}

static const struct env_ops uv_ops = {
    .mono_ns = op_mono_ns,
    .wall_ns = op_wall_ns,
    .rand64 = op_rand64,
    .timer_set = op_timer_set,
    .timer_stop = op_timer_stop,
    .dial = uv_op_dial,
    .listen = uv_op_listen,
    .conn_bind = uv_op_conn_bind,
    .send = uv_op_send,
    .queued = uv_op_queued,
    .hangup = uv_op_hangup,
    .peer_name = uv_op_peer_name,
    .file_open = uv_op_file_open,
    .file_close = uv_op_file_close,
    .file_size = uv_op_file_size,
    .file_read = uv_op_file_read,
    .file_write = uv_op_file_write,
    .file_sync = uv_op_file_sync,
    .file_truncate = uv_op_file_truncate,
    .make_dir = uv_op_make_dir,
    .rename = uv_op_rename,
    .unlink = uv_op_unlink,
    .sync_dir = uv_op_sync_dir,
    .list_dir = uv_op_list_dir,
    .space = uv_op_space,
    .allocate = uv_op_allocate,
    .map_ring = uv_op_map_ring,
    .lock_dir = uv_op_lock_dir,
    .disk_submit = uv_op_disk_submit,
    .work_submit = op_work_submit,
    .incarnation = uv_op_incarnation,
    .real_path = uv_op_real_path,
    .log = op_log,
    .end = op_end,
    .die = op_die,
};

/* ---------------------------------------------------------------- life */

/* A chunkserver holds a descriptor per chunk file in use: take what the system allows. */
static void raise_file_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE,
                        &r); /* the smaller limit stays: not worth refusing to start */
    }
}

/* Payload buffers of a megabyte come and go: giving their pages back to the kernel each time would
 * cost more (faults, zeroing) than receiving them. */
static void keep_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
}

static int init_loop(struct uv_env *u)
{
    int err = uv_loop_init(&u->loop);
    if (err < 0) {
        return err;
    }
    ASSERT(uv_prepare_init(&u->loop, &u->prepare) == 0);
    ASSERT(uv_idle_init(&u->loop, &u->idle) == 0);
    ASSERT(uv_timer_init(&u->loop, &u->sleep) == 0);
    ASSERT(uv_prepare_start(&u->prepare, on_prepare) == 0);
    return 0;
}

struct uv_env *uv_env_create(const struct uv_env_config *cfg, struct why *why)
{
    struct uv_env *u = mem_new(struct uv_env);
    u->base.ops = &uv_ops;
    u->dir_fd = u->lock_fd = -1;
    u->log_fd = STDERR_FILENO;
    u->log_level = cfg->log_level;
    u->net_log = (struct log_budget){.tokens_at_ns = uv_mono_ns(), .tokens = LOG_BURST};
    list_init(&u->conns);
    list_init(&u->flushing);
    list_init(&u->outcomes);
    list_init(&u->dead);
    list_init(&u->listeners);
    list_init(&u->files);
    timer_heap_init(&u->timers);
    if (cfg->log_path != NULL) {
        u->log_fd = open(cfg->log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        if (u->log_fd < 0) {
            (void)why_set(why, -errno, "cannot open log file %s: %s", cfg->log_path,
                          strerrordesc_np(errno));
            mem_free(u);
            return NULL;
        }
    }
    raise_file_limit();
    keep_memory();
    int err = disk_init(u, cfg, why);
    if (err == 0 && (err = init_loop(u)) != 0) {
        (void)why_set(why, err, "cannot start the event loop: %s", uv_strerror(err));
    }
    if (err != 0) {
        disk_close(u);
        if (u->log_fd != STDERR_FILENO) {
            close(u->log_fd);
        }
        mem_free(u);
        return NULL;
    }
    ASSERT(pool_init(u, cfg->threads_max) == 0);
    u->scratch = mem_alloc(RX_SCRATCH_BYTES);
    u->spin.limit_ns = cfg->awake_us * 1000ull;
    return u;
}

struct env *uv_env_base(struct uv_env *u)
{
    return &u->base;
}

struct uv_env *uv_env_of(struct env *base)
{
    return ENV_OF(base);
}

uv_loop_t *uv_env_loop(struct uv_env *u)
{
    return &u->loop;
}

void uv_env_stirred(struct uv_env *u)
{
    u->spin.stirred = true;
}

void uv_env_run(struct uv_env *u)
{
    while (!u->stopping) {
        uv_run(&u->loop, UV_RUN_DEFAULT);
    }
    u->stopping = false;
}

void uv_env_stop(struct uv_env *u)
{
    u->stopping = true;
    uv_stop(&u->loop);
}

bool uv_env_settle(struct uv_env *u, uint32_t wait_ms)
{
    u->settling = true;
    listeners_stop(u);
    list_for_each (l, &u->conns) {
        struct env_conn *c = list_entry(l, struct env_conn, link);
        if (c->poll != NULL) {
            uv_poll_stop(c->poll);
        }
    }
    uint64_t end = uv_mono_ns() + wait_ms * NS_PER_MS;
    uv_timer_start(&u->sleep, on_sleep_end, 10, 10); /* looks at the clock now and then */
    while (u->jobs > 0 && uv_mono_ns() < end) {
        uv_run(&u->loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&u->sleep);
    return u->jobs == 0;
}

void uv_env_halt(struct uv_env *u)
{
    u->settling = u->halted = true;
    pool_halt(u);
}

void uv_env_destroy(struct uv_env *u)
{
    uv_env_halt(u);
    listeners_close(u);
    while (!list_empty(&u->conns)) {
        conn_close(list_entry(u->conns.next, struct env_conn, link));
    }
    uv_close((uv_handle_t *)&u->sleep, NULL);
    uv_close((uv_handle_t *)&u->idle, NULL);
    uv_close((uv_handle_t *)&u->prepare, NULL);
    uv_close((uv_handle_t *)&u->pool.async, NULL);
    while (uv_run(&u->loop, UV_RUN_DEFAULT) != 0) {
    }
    free_dead(u);
    ASSERT(uv_loop_close(&u->loop) == 0);
    pool_close(u);
    job_queue_close(&u->ready);
    timer_heap_close(&u->timers);
    disk_close(u);
    mem_free(u->scratch);
    if (u->log_fd != STDERR_FILENO) {
        close(u->log_fd);
    }
    mem_free(u);
}
