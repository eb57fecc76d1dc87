/* main.c - gfs-master: reads its configuration, runs the master's core on real files and sockets.
 */
#include "master/core/settings.h"
#include "shared/io/daemon.h"
#include "shared/io/uv_env.h"

static const char usage[] =
    "usage: gfs-master [--force] FILE\n"
    "Runs the master of a gfs cluster with configuration FILE, in the foreground; SIGTERM stops "
    "it.\n"
    "  --force    start although the operation log is damaged (bad segments are set aside first)\n"
    "  --help     this text\n"
    "  --version  version of the program\n"
    "Keys of FILE (key = value, # starts a comment):\n"
    "  dir        directory of the namespace, the operation log and checkpoints; must exist\n"
    "  cluster    name of the cluster [gfs]\n"
    "  listen     HOST:PORT to listen on [127.0.0.1:9400]\n"
    "  advertise  HOST:PORT others dial [as listen]\n"
    "  masters    HOST:PORT,HOST:PORT,... all masters of the cluster by what they advertise, this "
    "one\n"
    "             too, the same at each: they hold copies of the operation log, and one that a "
    "monitor\n"
    "             promotes is the primary [this one alone]\n"
    "  log_ack    majority or all of them must hold a change before it is acknowledged [majority]\n"
    "  logger_only  yes: this one holds the log and is never the primary [no]\n"
    "  replicas   copies of each chunk [3]\n"
    "  away_grace_ms  a chunkserver away for so long gets its replicas copied elsewhere, at once "
    "those\n"
    "             of which one copy is left [60000]\n"
    "  rereplication_share  percent of a chunkserver that copies may take while it serves "
    "clients,\n"
    "             100 = as much as they can [40]\n"
    "  pair_pause_ms  two chunkservers that fail each other make a chunk's version anew at most "
    "once\n"
    "             in this time [10000]\n"
    "  balance_percent  chunks move while disks differ in fill by more, 0 = never [5]\n"
    "  balance_kib_s  and when replicas share a rack needlessly: KiB a second for both [32768]\n"
    "  slow_floor_ms  a chunkserver is avoided as slow if an operation takes it longer on average\n"
    "             [50] and four times as long as the others, for slow_window_ms [60000]\n"
    "  trash_seconds  what is deleted can be restored for so long, 0 = not at all [86400]\n"
    "  deletion_hold_s  removals of more than 5 % of all chunks' number that reports ask for wait\n"
    "             so long, and all of them after a start while servers are missing [3600]\n"
    "  log_scrub_s  what is full of the operation log is read again and verified once in so long\n"
    "             [86400]\n"
    "  heartbeat_ms, lease_ms, session_ms, request_timeout_ms, checkpoint_records,\n"
    "  chunk_bytes, block_bytes, segment_bytes: times and sizes of the cluster\n"
    "  preallocate_bytes  of the disk, taken ahead for the state [256M]\n"
    "  large_state_bytes  of a state that is read through while it is used already [64M]\n"
    "  checkpoint_rate    bytes per second at which a checkpoint is written [128M]\n"
    "Exit status: 0 stopped by a signal, 1 could not start or go on, 2 wrong arguments or "
    "configuration.\n";

static int check(const struct config_file *file, void *settings, struct why *why)
{
    return master_settings_take(file, settings, why);
}

static void *create(struct env *env, void *settings, bool force)
{
    struct master_settings *s = settings;
    s->core.force = force;
    return master_create(env, &s->core);
}

static int start(void *core, struct why *why)
{
    return master_start(core, why);
}

static int stop(void *core, struct why *why)
{
    return master_stop(core, why);
}

static bool wind_down(void *core)
{
    return master_wind_down(core);
}

static void destroy(void *core)
{
    master_destroy(core);
}

int main(int argc, char **argv)
{
    struct master_settings s;
    master_settings_init(&s);
    const struct daemon d = {.program = "gfs-master",
                             .usage = usage,
                             .may_force = true,
                             .file = master_settings_file,
                             .settings = &s,
                             .dir = s.dir,
                             .listen = s.core.listen,
                             .advertise = s.core.advertise,
                             .boot = s.boot,
                             .awake_us = AWAKE_US,
                             .check = check,
                             .create = create,
                             .start = start,
                             .stop = stop,
                             .destroy = destroy,
                             .wind_down = wind_down};
    return daemon_main(&d, argc, argv);
}
