/* main.c - gfs-monitor: reads its configuration, runs the monitor's core over
 * real processes. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "deploy/monitor/core/elect_local.h"
#include "deploy/monitor/io/local_processes.h"
#include "shared/base/mem.h"
#include "shared/io/daemon.h"

static const char usage[] =
    "usage: gfs-monitor FILE\n"
    "Starts the masters of this machine and keeps a primary among them, with "
    "configuration FILE, in "
    "the\n"
    "foreground: one that dies or hangs is started again. SIGTERM stops the "
    "masters, then the "
    "monitor;\n"
    "masters whose monitor was killed go on, and are taken over when it is "
    "started again.\n"
    "  --help     this text\n"
    "  --version  version of the program\n"
    "Keys of FILE (key = value, # starts a comment):\n"
    "  dir        directory of the monitor's lock and of the newest epoch; "
    "must exist\n"
    "  cluster    name of the cluster [gfs]\n"
    "  masters    HOST:PORT[,HOST:PORT] of the masters it starts, as others "
    "dial them\n"
    "  master_configs  FILE[,FILE]: the configuration of each, in the same "
    "order\n"
    "  program    of the masters [gfs-master beside this program]\n"
    "  pid_dir    the pid of a master is written there, NAME.pid for NAME.conf "
    "[as dir]\n"
    "  log_dir    what a master prints is appended there to NAME.log [it goes "
    "where the monitor's "
    "goes]\n"
    "  listen     HOST:PORT where gfsctl handover asks [127.0.0.1:9490]\n"
    "  advertise  HOST:PORT others dial [as listen]\n"
    "  hang_ms    a master that answered before and is silent for so long is "
    "killed [10000]\n"
    "Exit status: 0 stopped by a signal, 1 could not start or go on, 2 wrong "
    "arguments or "
    "configuration.\n";

enum { STOP_WAIT_S = 50 };

struct settings {
    char dir[PATH_MAX];
    char master_configs[8192];
    char program[PATH_MAX];
    char pid_dir[PATH_MAX];
    char log_dir[PATH_MAX];
    struct monitor_config core;
};

struct shell {
    struct env *env;
    const struct settings *settings;
    struct elect_local elect;
    struct local_processes processes;
    struct monitor *monitor; /* NULL: it was not started */
};

#define S(key, member, kind, must) CONFIG_STR(key, struct settings, member, kind, must)
#define N(key, member, low, high)  CONFIG_NUM(key, struct settings, member, CONFIG_U32, low, high)

static const struct config_key keys[] = {
    S("dir", dir, CONFIG_TEXT, true),
    S("cluster", core.cluster, CONFIG_TEXT, false),
    S("masters", core.masters, CONFIG_ADDRS, true),
    S("master_configs", master_configs, CONFIG_TEXT, true),
    S("program", program, CONFIG_TEXT, false),
    S("pid_dir", pid_dir, CONFIG_TEXT, false),
    S("log_dir", log_dir, CONFIG_TEXT, false),
    S("listen", core.listen, CONFIG_ADDR, false),
    S("advertise", core.advertise, CONFIG_ADDR, false),
    N("hang_ms", core.hang_ms, 1000, 3600 * 1000),
};

/* What one key alone does not show. */
static int check(const struct config_file *file, const void *settings, struct why *why)
{
    const struct settings *s = settings;
    uint32_t masters = monitor_count_masters(s->core.masters);
    if (masters == 0) {
        return config_wrong(file->path, keys, COUNT_OF(keys), &file->lines, "masters",
                            "1 to 5 addresses", s->core.masters, why);
    }
    if (local_processes_count(s->master_configs) != masters) {
        return config_wrong(file->path, keys, COUNT_OF(keys), &file->lines, "master_configs",
                            "as many files as masters has addresses", s->master_configs, why);
    }
    int err = s->pid_dir[0] != 0 ? config_need_dir(file, "pid_dir", s->pid_dir, why) : 0;
    return err == 0 && s->log_dir[0] != 0 ? config_need_dir(file, "log_dir", s->log_dir, why) : err;
}

/* gfs-master in the directory of this program. */
static void default_program(char out[PATH_MAX])
{
    char own[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
    own[n > 0 ? n : 0] = 0;
    char *slash = strrchr(own, '/');
    snprintf(out, PATH_MAX, "%.*sgfs-master", slash != NULL ? (int)(slash + 1 - own) : 0, own);
}

static void *create(struct env *env, void *settings, bool force)
{
    struct settings *s = settings;
    struct shell *shell = mem_new(struct shell);
    (void)force;
    if (s->program[0] == 0) {
        default_program(s->program);
    }
    if (s->pid_dir[0] == 0) {
        strcpy(s->pid_dir, s->dir);
    }
    shell->env = env;
    shell->settings = s;
    return shell;
}

static int start(void *core, struct why *why)
{
    struct shell *shell = core;
    const struct settings *s = shell->settings;
    int err = elect_local_open(&shell->elect, shell->env, why);
    if (err != 0) {
        return err;
    }
    local_processes_open(&shell->processes, shell->env, s->master_configs, s->program, s->pid_dir,
                         s->log_dir);
    shell->monitor =
        monitor_create(shell->env, &s->core, &shell->elect.elect, &shell->processes.processes);
    return monitor_start(shell->monitor, why);
}

static int stop(void *core, struct why *why)
{
    struct shell *shell = core;
    (void)why;
    local_processes_stop(&shell->processes, STOP_WAIT_S);
    return 0;
}

static void destroy(void *core)
{
    struct shell *shell = core;
    if (shell->monitor != NULL) {
        monitor_destroy(shell->monitor);
        local_processes_close(&shell->processes);
    }
    elect_local_close(&shell->elect);
    mem_free(shell);
}

int main(int argc, char **argv)
{
    static struct settings s = {
        .core = {
            .cluster = "gfs", .listen = "127.0.0.1:9490", .hang_ms = 10000, .stall_ms = 10000}};
    const struct daemon d = {.program = "gfs-monitor",
                             .usage = usage,
                             .keys = keys,
                             .key_count = COUNT_OF(keys),
                             .settings = &s,
                             .dir = s.dir,
                             .listen = s.core.listen,
                             .advertise = s.core.advertise,
                             .boot = "",
                             .check = check,
                             .create = create,
                             .start = start,
                             .stop = stop,
                             .destroy = destroy};
    return daemon_main(&d, argc, argv);
}
