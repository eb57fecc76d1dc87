/* main.c - chunkd: reads its configuration, runs the chunkserver's core on one disk's directory. */
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "chunkd/core/settings.h"
#include "shared/io/daemon.h"

static const char usage[] =
    "usage: chunkd FILE\n"
    "Runs a chunkserver of a gfs cluster on one disk's directory with configuration FILE, in the\n"
    "foreground; SIGTERM stops it.\n"
    "  --help     this text\n"
    "  --version  version of the program\n"
    "Keys of FILE (key = value, # starts a comment):\n"
    "  dir            directory of the chunks, on a disk of its own; must exist\n"
    "  masters        HOST:PORT[,HOST:PORT] of the masters\n"
    "  cluster        name of the cluster; left out: any\n"
    "  listen         HOST:PORT to listen on [127.0.0.1:9401]\n"
    "  advertise      HOST:PORT others dial [as listen]\n"
    "  host           host label, replicas of a chunk avoid sharing it [name of this machine]\n"
    "  rack           rack label, the same [default]\n"
    "  flush_ms       written chunks are synced this often [5000]\n"
    "  aside_ms       files of replicas that are not needed any more are kept so long, 0 = not at\n"
    "                 all; they go when the disk gets full [3600000]\n"
    "  reserve_bytes  kept free [2 % of the disk, at most 4G]\n"
    "  scrub_days     every chunk is read and verified once in so many days [14]\n"
    "  scrub_period_s the same in seconds, for tests; takes precedence\n"
    "  scrub_share    percent of its time the disk gives to a scan asked for [100]\n"
    "Exit status: 0 stopped by a signal, 1 could not start or go on, 2 wrong arguments or "
    "configuration.\n";

enum { OPEN_FILES_MAX = 16384 };

/* Half of the descriptors there may be: the rest is for connections. */
static uint32_t open_files(void)
{
    struct rlimit r;
    return getrlimit(RLIMIT_NOFILE, &r) == 0 ? (uint32_t)MIN(r.rlim_cur / 2, OPEN_FILES_MAX) : 0;
}

static int check(const struct config_file *file, void *settings, struct why *why)
{
    return chunkd_settings_take(file, settings, why);
}

static void *create(struct env *env, void *settings, bool force)
{
    struct chunkd_settings *s = settings;
    (void)force;
    s->core.limits.open_files = open_files();
    return chunkd_create(env, &s->core);
}

static int start(void *core, struct why *why)
{
    return chunkd_start(core, why);
}

static int stop(void *core, struct why *why)
{
    return chunkd_stop(core, why);
}

static void destroy(void *core)
{
    chunkd_destroy(core);
}

int main(int argc, char **argv)
{
    struct chunkd_settings s;
    chunkd_settings_init(&s);
    if (gethostname(s.core.host, sizeof(s.core.host) - 1) != 0) {
        snprintf(s.core.host, sizeof(s.core.host), "localhost");
    }
    const struct daemon d = {.program = "chunkd",
                             .usage = usage,
                             .file = chunkd_settings_file,
                             .settings = &s,
                             .dir = s.dir,
                             .listen = s.core.listen,
                             .advertise = s.core.advertise,
                             .boot = s.boot,
                             .check = check,
                             .create = create,
                             .start = start,
                             .stop = stop,
                             .destroy = destroy};
    return daemon_main(&d, argc, argv);
}
