/* elect_local.c - lock and epoch in files of one machine. */
#include "deploy/monitor/core/elect_local.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EPOCH_FILE_MAX = 16 + ADDR_LEN_MAX };

static struct elect_local *self(const struct elect *e)
{
    return container_of(e, struct elect_local, elect);
}

/* Writes the file so that a crash leaves the old one or the new one. */
static int store(struct elect_local *l, uint32_t epoch, const char *addr)
{
    char text[EPOCH_FILE_MAX];
    struct env_file *f;
    uint32_t len = (uint32_t)snprintf(text, sizeof(text), "%u %s\n", epoch, addr);
    int err = env_file_open(l->env, "epoch.new", ENV_OPEN_CREATE, &f);
    if (err != 0) {
        return err;
    }
    err = env_file_truncate(l->env, f, 0);
    if (err == 0) {
        int64_t n = env_file_write(l->env, f, 0, text, len);
        err = n < 0 ? (int)n : n != len ? -EIO : env_file_sync(l->env, f);
    }
    env_file_close(l->env, f);
    if (err == 0) {
        err = env_rename(l->env, "epoch.new", "epoch");
    }
    if (err == 0) {
        err = env_sync_dir(l->env, "");
    }
    if (err == 0) {
        l->epoch = epoch;
        if (addr != l->addr) {
            snprintf(l->addr, sizeof(l->addr), "%s", addr);
        }
    }
    return err;
}

/* "EPOCH ADDR\n" and nothing else. */
static bool parse(struct elect_local *l, const char *text, size_t len)
{
    char *end;
    const char *newline = memchr(text, '\n', len);
    if (len == 0 || newline != text + len - 1 || text[0] < '1' || text[0] > '9') {
        return false;
    }
    unsigned long epoch = strtoul(text, &end, 10);
    size_t addr = len - 2 - (size_t)(end - text);
    if (*end != ' ' || epoch > UINT32_MAX || addr == 0 || addr > ADDR_LEN_MAX) {
        return false;
    }
    l->epoch = (uint32_t)epoch;
    memcpy(l->addr, end + 1, addr);
    l->addr[addr] = 0;
    return true;
}

static int load(struct elect_local *l, struct why *why)
{
    char text[EPOCH_FILE_MAX + 1] = {0};
    struct env_file *f;
    int err = env_file_open(l->env, "epoch", ENV_OPEN_READ_ONLY, &f);
    if (err == -ENOENT) {
        snprintf(l->addr, sizeof(l->addr), "-");
        return 0;
    }
    if (err == 0) {
        int64_t n = env_file_read(l->env, f, 0, text, EPOCH_FILE_MAX);
        env_file_close(l->env, f);
        if (n >= 0 && !parse(l, text, (size_t)n)) {
            return why_set(
                why, -EINVAL,
                "file epoch in the monitor's directory is damaged: expected a number and an "
                "address, found \"%.*s\"; write the highest epoch that gfsctl status ever showed "
                "there, and -",
                (int)strcspn(text, "\n"), text);
        }
        err = n < 0 ? (int)n : 0;
    }
    return err == 0 ? 0 : why_set(why, err, "file epoch cannot be read: %s", err_text(err));
}

static void turn_fired(struct env_timer *t)
{
    struct elect_local *l = container_of(t, struct elect_local, turn);
    struct elect_ask *a = l->ask;
    l->ask = NULL;
    a->done(a);
}

static void finish(struct elect_local *l, struct elect_ask *a, int status)
{
    ASSERT(l->ask == NULL);
    a->status = status;
    a->epoch = l->epoch;
    a->before = 0;
    a->before_monitor[0] = 0;
    l->ask = a;
    env_timer_set(l->env, &l->turn, 0);
}

static void join(struct elect *e)
{
    self(e)->joined = true;
}

static void leave(struct elect *e)
{
    self(e)->joined = false;
}

static void view(const struct elect *e, struct elect_view *out)
{
    const struct elect_local *l = self(e);
    *out = (struct elect_view){.joined = l->joined,
                               .held = l->joined,
                               .held_until_ns = UINT64_MAX,
                               .epoch = l->epoch,
                               .active = "", /* the monitor knows */
                               .trouble = ""};
}

/* There is no other monitor. */
static void report(struct elect *e, const struct elect_candidate *c)
{
    (void)e;
    (void)c;
}

static void claim(struct elect *e, struct elect_ask *a)
{
    struct elect_local *l = self(e);
    uint32_t epoch = a->exact ? a->want : MAX(l->epoch + 1, a->want);
    int status = !l->joined                                   ? -EPERM
                 : epoch < l->epoch || l->epoch == UINT32_MAX ? ERR_STALE_EPOCH
                 : epoch > l->epoch                           ? store(l, epoch, l->addr)
                                                              : 0;
    finish(l, a, status);
}

static void publish(struct elect *e, struct elect_ask *a)
{
    struct elect_local *l = self(e);
    finish(l, a,
           !l->joined            ? -EPERM
           : a->want != l->epoch ? ERR_STALE_EPOCH
                                 : store(l, l->epoch, a->addr));
}

int elect_local_open(struct elect_local *l, struct env *env, struct why *why)
{
    static const struct elect_ops ops = {join, leave, view, report, claim, publish};
    *l = (struct elect_local){.elect = {&ops}, .env = env, .turn = {.fire = turn_fired}};
    int err = env_lock_dir(env);
    if (err == -EBUSY) {
        return why_set(why, err, "another monitor is running on this directory");
    }
    if (err != 0) {
        return why_set(why, err, "the directory cannot be locked: %s", err_text(err));
    }
    return load(l, why);
}

void elect_local_close(struct elect_local *l)
{
    env_timer_stop(l->env, &l->turn);
}
