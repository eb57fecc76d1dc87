/* main.c - gfs-monitor: reads its configuration, runs the monitor's core over
 * real processes. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "deploy/monitor/core/elect_keeper.h"
#include "deploy/monitor/core/elect_local.h"
#include "deploy/monitor/io/local_processes.h"
#include "deploy/monitor/io/zookeeper.h"
#include "shared/base/mem.h"
#include "shared/io/daemon.h"

static const char usage[] =
    "usage: gfs-monitor FILE\n"
    "Starts the masters of this machine and keeps a primary among those of the cluster, with "
    "configuration\n"
    "FILE, in the foreground: a master that dies or hangs is started again, and another one that "
    "has the log\n"
    "is promoted. SIGTERM stops the masters, then the monitor; masters whose monitor was killed go "
    "on, and are\n"
    "taken over when it is started again.\n"
    "  --help     this text\n"
    "  --version  version of the program\n"
    "Keys of FILE (key = value, # starts a comment):\n"
    "  dir        directory of the monitor's lock and of the newest epoch; must exist\n"
    "  cluster    name of the cluster [gfs]\n"
    "  masters    HOST:PORT[,HOST:PORT] of the masters it starts, as others dial them\n"
    "  master_configs  FILE[,FILE]: the configuration of each, in the same order\n"
    "  program    of the masters [gfs-master beside this program]\n"
    "  pid_dir    the pid of a master is written there, NAME.pid for NAME.conf [as dir]\n"
    "  log_dir    what a master prints is appended there to NAME.log [it goes where the monitor's "
    "goes]\n"
    "  listen     HOST:PORT where gfsctl handover and other monitors ask [127.0.0.1:9490]\n"
    "  advertise  HOST:PORT others dial [as listen]\n"
    "  hang_ms    a master that answered before and is silent for so long is killed, if no other "
    "one could\n"
    "             replace it sooner [10000]\n"
    "  fence      no: a primary that hangs or is cut off is replaced, but not ended [yes]\n"
    "  engine     local: this monitor starts all masters of the cluster; zookeeper: each machine "
    "has a\n"
    "             master and a monitor, which agree through ZooKeeper [local]\n"
    "  zookeeper  HOST:PORT[,HOST:PORT] of its servers; addresses rather than names\n"
    "  zookeeper_session_ms  so long after its last sign a monitor has lost the lock [4000]\n"
    "  zookeeper_rights  FILE with USER:PASSWORD: entries are made so that nobody else may change "
    "them\n"
    "Exit status: 0 stopped by a signal, 1 could not start or go on, 2 wrong arguments or "
    "configuration.\n";

enum { STOP_WAIT_S = 50 };

struct settings {
    char dir[PATH_MAX];
    char master_configs[8192];
    char program[PATH_MAX];
    char pid_dir[PATH_MAX];
    char log_dir[PATH_MAX];
    char fence[8];
    char engine[16];
    char zookeeper[1024];
    char zookeeper_rights[PATH_MAX];
    char rights[256]; /* what stands there */
    uint32_t session_ms;
    struct monitor_config core;
};

struct shell {
    struct env *env;
    struct settings *settings;
    struct elect_local local; /* also the lock of the directory */
    struct elect_keeper elect;
    struct zookeeper zookeeper;
    bool agrees; /* elect and zookeeper are open */
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
    S("fence", fence, CONFIG_TEXT, false),
    S("engine", engine, CONFIG_TEXT, false),
    S("zookeeper", zookeeper, CONFIG_ADDRS, false),
    N("zookeeper_session_ms", session_ms, 2000, 60 * 1000),
    S("zookeeper_rights", zookeeper_rights, CONFIG_TEXT, false),
};

static bool is_zookeeper(const struct settings *s)
{
    return strcmp(s->engine, "zookeeper") == 0;
}

static struct config_file settings_file(const char *path)
{
    return (struct config_file){.path = path, .table = keys, .count = COUNT_OF(keys)};
}

static int check_engine(const struct config_file *file, const struct settings *s, struct why *why)
{
    if (strcmp(s->fence, "yes") != 0 && strcmp(s->fence, "no") != 0) {
        return config_wrong(file, "fence", "yes or no", s->fence, why);
    }
    if (strcmp(s->engine, "local") != 0 && !is_zookeeper(s)) {
        return config_wrong(file, "engine", "local or zookeeper", s->engine, why);
    }
    if (is_zookeeper(s) != (s->zookeeper[0] != 0)) {
        return config_wrong(file, "zookeeper",
                            is_zookeeper(s)
                                ? "the addresses of ZooKeeper's servers, because engine is "
                                  "zookeeper"
                                : "nothing, because engine is not zookeeper",
                            s->zookeeper, why);
    }
    return 0;
}

/* What one key alone does not show. */
static int check(const struct config_file *file, void *settings, struct why *why)
{
    const struct settings *s = settings;
    uint32_t masters = monitor_count_masters(s->core.masters);
    if (masters == 0) {
        return config_wrong(file, "masters", "1 to 5 addresses", s->core.masters, why);
    }
    if (local_processes_count(s->master_configs) != masters) {
        return config_wrong(file, "master_configs", "as many files as masters has addresses",
                            s->master_configs, why);
    }
    int err = check_engine(file, s, why);
    if (err != 0) {
        return err;
    }
    err = config_need_dialable(file, s->core.listen, s->core.advertise, why);
    err = err == 0 && s->pid_dir[0] != 0 ? config_need_dir(file, "pid_dir", s->pid_dir, why) : err;
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
    s->core.spares = strcmp(s->fence, "no") == 0;
    s->core.alone = !is_zookeeper(s) && monitor_count_masters(s->core.masters) == 1;
    shell->env = env;
    shell->settings = s;
    return shell;
}

/* The first line of the file is USER:PASSWORD. */
static int read_rights(struct settings *s, struct why *why)
{
    FILE *f = s->zookeeper_rights[0] != 0 ? fopen(s->zookeeper_rights, "re") : NULL;
    if (f == NULL) {
        return s->zookeeper_rights[0] == 0 ? 0
                                           : why_set(why, -errno, "%s cannot be read: %s",
                                                     s->zookeeper_rights, strerror(errno));
    }
    char *line = fgets(s->rights, sizeof(s->rights), f);
    fclose(f);
    s->rights[line != NULL ? strcspn(s->rights, "\r\n") : 0] = 0;
    return strchr(s->rights, ':') != NULL
               ? 0
               : why_set(why, -EINVAL, "%s has no line USER:PASSWORD", s->zookeeper_rights);
}

static int open_zookeeper(struct shell *shell, struct settings *s, struct why *why)
{
    const char *own = s->core.advertise[0] != 0 ? s->core.advertise : s->core.listen;
    int err = read_rights(s, why);
    if (err == 0) {
        err =
            zookeeper_keeper_open(&shell->zookeeper, shell->env, uv_env_loop(uv_env_of(shell->env)),
                                  s->zookeeper, s->rights, s->session_ms, why);
    }
    if (err == 0) {
        elect_keeper_open(&shell->elect, shell->env, &shell->zookeeper.keeper, s->core.cluster,
                          own);
        shell->agrees = true;
    }
    return err;
}

static int start(void *core, struct why *why)
{
    struct shell *shell = core;
    struct settings *s = shell->settings;
    struct elect *elect = is_zookeeper(s) ? &shell->elect.elect : &shell->local.elect;
    int err = elect_local_open(&shell->local, shell->env, why);
    if (err == 0 && is_zookeeper(s)) {
        err = open_zookeeper(shell, s, why);
    }
    if (err != 0) {
        return err;
    }
    local_processes_open(&shell->processes, shell->env, s->master_configs, s->program, s->pid_dir,
                         s->log_dir);
    shell->monitor = monitor_create(shell->env, &s->core, elect, &shell->processes.processes);
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
    if (shell->agrees) {
        elect_keeper_close(&shell->elect);
        zookeeper_keeper_close(&shell->zookeeper);
    }
    elect_local_close(&shell->local);
    mem_free(shell);
}

int main(int argc, char **argv)
{
    static struct settings s = {
        .fence = "yes",
        .engine = "local",
        .session_ms = 4000,
        .core = {
            .cluster = "gfs", .listen = "127.0.0.1:9490", .hang_ms = 10000, .stall_ms = 10000}};
    const struct daemon d = {.program = "gfs-monitor",
                             .usage = usage,
                             .file = settings_file,
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
