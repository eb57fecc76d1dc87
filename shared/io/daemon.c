/* daemon.c - arguments, configuration, signals and the end of a daemon. */
#include "shared/io/daemon.h"
#include "shared/io/std_streams.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { SETTLE_WAIT_MS = 5000 };

struct args {
    const char *file;
    bool force;
};

/* True: go on. False: exit with *out_code (--help, --version, wrong arguments); all is printed. */
static bool parse(const struct daemon *d, struct args *a, int argc, char **argv, int *out_code)
{
    *out_code = 0;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            fputs(d->usage, stdout);
            return false;
        }
        if (strcmp(arg, "--version") == 0) {
            printf("%s %s\n", d->program, GFS_VERSION);
            return false;
        }
        if (strcmp(arg, "--force") == 0 && d->may_force) {
            a->force = true;
        } else if (arg[0] != '-' && a->file == NULL) {
            a->file = arg;
        } else {
            fprintf(stderr, "%s: unexpected argument %s\n%s", d->program, arg, d->usage);
            *out_code = EXIT_USAGE;
            return false;
        }
    }
    if (a->file == NULL) {
        fprintf(stderr, "%s: no configuration file given\n%s", d->program, d->usage);
        *out_code = EXIT_USAGE;
        return false;
    }
    return true;
}

/* "PROGRAM: sentence" on standard error. */
static int fail(const struct daemon *d, int code, const struct why *why)
{
    fprintf(stderr, "%s: %s\n", d->program, why->text);
    return code;
}

/* If err says that `listen` could not be had, makes the sentence name the file, the line and the
 * key; else it is about what lies in the directory. */
static void explain_start(const struct config_file *cfg, const char *listen, const char *dir,
                          int err, struct why *why)
{
    bool listens = strncmp(why->text, "cannot listen", 13) == 0;
    if (!listens || (err != -EADDRINUSE && err != -EADDRNOTAVAIL && err != -EACCES)) {
        struct why inside = *why;
        (void)why_set(why, err, "%.150s: %.350s", dir, inside.text);
        return;
    }
    const char *expected = err == -EADDRINUSE      ? "an address that is not in use"
                           : err == -EADDRNOTAVAIL ? "an address of this machine"
                                                   : "an address this user may listen on";
    (void)config_wrong(cfg, "listen", expected, listen, why);
}

/* What the signals end. */
struct running {
    struct uv_env *env;
    const struct daemon *daemon;
    void *core;
    struct env_timer patience; /* armed: it winds down */
};

static void patience_over(struct env_timer *t)
{
    uv_env_stop(container_of(t, struct running, patience)->env);
}

static void on_signal(uv_signal_t *s, int number)
{
    struct running *r = s->data;
    uv_env_log(r->env, LOG_INFO, "stopping: %s", strsignal(number));
    if (r->patience.place == 0 && r->daemon->wind_down != NULL && r->daemon->wind_down(r->core)) {
        env_timer_set(uv_env_base(r->env), &r->patience, WIND_DOWN_MS * NS_PER_MS);
    } else {
        uv_env_stop(r->env);
    }
}

static void on_signal_closed(uv_handle_t *h)
{
    unsigned *open_count = h->data;
    --*open_count;
}

/* Until SIGTERM or SIGINT; then what is under way ends. */
static void run_until_told(struct uv_env *e, const struct daemon *d, void *core)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    uv_signal_t signals[COUNT_OF(numbers)];
    unsigned open_count = COUNT_OF(numbers);
    struct running running = {
        .env = e, .daemon = d, .core = core, .patience = {.fire = patience_over}};
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        ASSERT(uv_signal_init(uv_env_loop(e), &signals[i]) == 0);
        signals[i].data = &running;
        ASSERT(uv_signal_start(&signals[i], on_signal, numbers[i]) == 0);
    }
    uv_env_run(e);
    env_timer_stop(uv_env_base(e), &running.patience);
    if (!uv_env_settle(e, SETTLE_WAIT_MS)) {
        uv_env_log(e, LOG_WARN, "stopping although operations are still under way");
    }
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        signals[i].data = &open_count;
        uv_close((uv_handle_t *)&signals[i], on_signal_closed);
    }
    while (open_count > 0) {
        uv_run(uv_env_loop(e), UV_RUN_NOWAIT);
    }
}

static int check(const struct daemon *d, const struct config_file *file, struct why *why)
{
    int err = d->check(file, d->settings, why);
    return err != 0 ? err : config_need_dir(file, "dir", d->dir, why);
}

static int serve(const struct daemon *d, const struct config_file *file, bool force)
{
    struct why why = {""};
    struct uv_env *env = uv_env_create(&(struct uv_env_config){.dir = d->dir,
                                                               .log_level = LOG_INFO,
                                                               .awake_us = d->awake_us,
                                                               .boot_override = d->boot},
                                       &why);
    if (env == NULL) {
        return fail(d, EXIT_FAILED, &why);
    }
    void *core = d->create(uv_env_base(env), d->settings, force);
    int err = d->start(core, &why);
    if (err == 0) {
        uv_env_log(env, LOG_INFO, "%s %s started with %s", d->program, GFS_VERSION, file->path);
        run_until_told(env, d, core);
        err = d->stop(core, &why);
    } else {
        explain_start(file, d->listen, d->dir, err, &why);
    }
    int code = err == 0 ? 0 : fail(d, EXIT_FAILED, &why);
    uv_env_halt(env);
    d->destroy(core);
    uv_env_destroy(env);
    return code;
}

int daemon_main(const struct daemon *d, int argc, char **argv)
{
    struct args args = {.file = NULL};
    int code;
    std_streams_open();
    if (!parse(d, &args, argc, argv, &code)) {
        return code;
    }
    struct config_file file = d->file(args.file);
    struct why why;
    if (config_load(&file, d->settings, &why) != 0 || check(d, &file, &why) != 0) {
        return fail(d, EXIT_USAGE, &why);
    }
    return serve(d, &file, args.force);
}
