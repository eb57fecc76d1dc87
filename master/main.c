/* main.c - gfs-master: reads its configuration, runs the master's core on real files and sockets.
 */
#include <stdio.h>
#include <string.h>

#include "master/core/checkpoint.h"
#include "master/core/master.h"
#include "shared/base/limits.h"
#include "shared/io/daemon.h"

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
    "             so long [3600]\n"
    "  heartbeat_ms, lease_ms, session_ms, request_timeout_ms, checkpoint_records,\n"
    "  chunk_bytes, block_bytes, segment_bytes: times and sizes of the cluster\n"
    "  preallocate_bytes  of the disk, taken ahead for the state [64M]\n"
    "  checkpoint_rate    bytes per second at which a checkpoint is written [128M]\n"
    "Exit status: 0 stopped by a signal, 1 could not start or go on, 2 wrong arguments or "
    "configuration.\n";

struct settings {
    char dir[4096];
    struct master_config core;
};

#define S(key, member, kind, must) CONFIG_STR(key, struct settings, member, kind, must)
#define N(key, member, low, high)  CONFIG_NUM(key, struct settings, member, CONFIG_U32, low, high)
#define BYTES(key, member, low, high)                                                              \
    {                                                                                              \
        .name = key, .type = CONFIG_SIZE32, .offset = offsetof(struct settings, member),           \
        .power_of_two = true, .min = low, .max = high                                              \
    }

static const struct config_key keys[] = {
    S("dir", dir, CONFIG_TEXT, true),
    S("cluster", core.cluster, CONFIG_TEXT, false),
    S("listen", core.listen, CONFIG_ADDR, false),
    S("advertise", core.advertise, CONFIG_ADDR, false),
    N("replicas", core.geometry.replicas, 1, REPLICAS_MAX),
    N("away_grace_ms", core.away_grace_ms, 0, 24 * 3600 * 1000),
    N("rereplication_share", core.rereplication_share, 1, 100),
    N("pair_pause_ms", core.pair_pause_ms, 0, 3600 * 1000),
    N("balance_percent", core.balance_percent, 0, 50),
    N("slow_floor_ms", core.slow_floor_ms, 1, 60000),
    N("slow_window_ms", core.slow_window_ms, 0, 3600 * 1000),
    N("balance_kib_s", core.balance_kib_s, 0, 16 << 20),
    N("trash_seconds", core.trash_seconds, 0, 365 * 86400),
    N("deletion_hold_s", core.deletion_hold_s, 0, 86400),
    N("heartbeat_ms", core.geometry.heartbeat_ms, 10, 60000),
    N("lease_ms", core.geometry.lease_ms, 50, 600000),
    N("session_ms", core.geometry.session_ms, 100, 3600000),
    N("request_timeout_ms", core.geometry.request_timeout_ms, 10, 600000),
    N("checkpoint_records", core.geometry.checkpoint_records, 1, UINT32_MAX),
    BYTES("chunk_bytes", core.geometry.chunk_bytes, 4096, 64 << 20),
    BYTES("block_bytes", core.geometry.block_bytes, 4096, BLOCK_BYTES_MAX),
    BYTES("segment_bytes", core.geometry.segment_bytes, 64 << 10, 1 << 30),
    CONFIG_NUM("preallocate_bytes", struct settings, core.preallocate_bytes, CONFIG_SIZE64, 1 << 20,
               64ull << 30),
    CONFIG_NUM("checkpoint_rate", struct settings, core.checkpoint_rate, CONFIG_SIZE64, 1 << 20,
               CHECKPOINT_RATE_MAX),
    S("boot_id", core.boot_override, CONFIG_TEXT, false),
};

/* What one key alone does not show. */
static int check(const struct config_file *file, const void *settings, struct why *why)
{
    const struct settings *s = settings;
    const struct geometry *g = &s->core.geometry;
    char text[32];
    if (g->chunk_bytes < g->block_bytes || g->chunk_bytes / g->block_bytes > CHUNK_BLOCKS_MAX) {
        snprintf(text, sizeof(text), "%u", g->chunk_bytes);
        return config_wrong(file->path, keys, COUNT_OF(keys), &file->lines, "chunk_bytes",
                            "1 to 1024 times block_bytes", text, why);
    }
    if (g->lease_ms < 2 * g->heartbeat_ms) {
        snprintf(text, sizeof(text), "%u", g->lease_ms);
        return config_wrong(file->path, keys, COUNT_OF(keys), &file->lines, "lease_ms",
                            "at least twice heartbeat_ms", text, why);
    }
    return 0;
}

static void *create(struct env *env, void *settings, bool force)
{
    struct settings *s = settings;
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

static void destroy(void *core)
{
    master_destroy(core);
}

int main(int argc, char **argv)
{
    struct settings s = {.core = {.cluster = "gfs",
                                  .listen = "127.0.0.1:9400",
                                  .geometry = GEOMETRY_DEFAULT,
                                  .away_grace_ms = 60000,
                                  .pair_pause_ms = 10000,
                                  .rereplication_share = 40,
                                  .trash_seconds = 86400,
                                  .deletion_hold_s = 3600,
                                  .slow_floor_ms = 50,
                                  .slow_window_ms = 60000,
                                  .balance_percent = 5,
                                  .balance_kib_s = 32768}};
    const struct daemon d = {.program = "gfs-master",
                             .usage = usage,
                             .may_force = true,
                             .keys = keys,
                             .key_count = COUNT_OF(keys),
                             .settings = &s,
                             .dir = s.dir,
                             .listen = s.core.listen,
                             .advertise = s.core.advertise,
                             .boot = s.core.boot_override,
                             .check = check,
                             .create = create,
                             .start = start,
                             .stop = stop,
                             .destroy = destroy};
    return daemon_main(&d, argc, argv);
}
