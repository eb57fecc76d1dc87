/* daemon.c - arguments, signals and the end of a daemon. */
#include "shared/io/daemon.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { SETTLE_WAIT_MS = 5000 };

bool daemon_parse(struct daemon_args *a, int argc, char **argv, int *out_code)
{
    *out_code = 0;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            fputs(a->usage, stdout);
            return false;
        }
        if (strcmp(arg, "--version") == 0) {
            printf("%s %s\n", a->program, GFS_VERSION);
            return false;
        }
        if (strcmp(arg, "--force") == 0 && a->may_force) {
            a->force = true;
        } else if (arg[0] != '-' && a->file == NULL) {
            a->file = arg;
        } else {
            fprintf(stderr, "%s: unexpected argument %s\n%s", a->program, arg, a->usage);
            *out_code = EXIT_USAGE;
            return false;
        }
    }
    if (a->file == NULL) {
        fprintf(stderr, "%s: no configuration file given\n%s", a->program, a->usage);
        *out_code = EXIT_USAGE;
        return false;
    }
    return true;
}

int daemon_fail(const struct daemon_args *a, int code, const struct why *why)
{
    fprintf(stderr, "%s: %s\n", a->program, why->text);
    return code;
}

void daemon_explain_listen(const struct config_file *cfg, const char *listen, int err,
                           struct why *why)
{
    if (err != -EADDRINUSE && err != -EADDRNOTAVAIL && err != -EACCES) {
        return;
    }
    const char *expected = err == -EADDRINUSE      ? "an address that is not in use"
                           : err == -EADDRNOTAVAIL ? "an address of this machine"
                                                   : "an address this user may listen on";
    (void)config_wrong(cfg->path, cfg->table, cfg->count, &cfg->lines, "listen", expected, listen,
                       why);
}

static void on_signal(uv_signal_t *s, int number)
{
    struct uv_env *e = s->data;
    uv_env_log(e, LOG_INFO, "stopping: %s", strsignal(number));
    uv_env_stop(e);
}

static void on_signal_closed(uv_handle_t *h)
{
    unsigned *open_count = h->data;
    --*open_count;
}

void daemon_serve(struct uv_env *e)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    uv_signal_t signals[COUNT_OF(numbers)];
    unsigned open_count = COUNT_OF(numbers);
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        ASSERT(uv_signal_init(uv_env_loop(e), &signals[i]) == 0);
        signals[i].data = e;
        ASSERT(uv_signal_start(&signals[i], on_signal, numbers[i]) == 0);
    }
    uv_env_run(e);
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
