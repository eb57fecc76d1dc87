/* main.c - gfs-master: reads its configuration, runs the master's core on real files and sockets.
 */
#include <stdio.h>
#include <string.h>

#include "master/core/checkpoint.h"
#include "master/core/master.h"
#include "shared/base/limits.h"
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

struct settings {
    char dir[4096];
    char masters[LOGGERS_MAX * (ADDR_LEN_MAX + 1)];
    char log_ack[16];
    char logger_only[8];
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
    S("masters", masters, CONFIG_ADDRS, false),
    S("log_ack", log_ack, CONFIG_TEXT, false),
    S("logger_only", logger_only, CONFIG_TEXT, false),
    N("replicas", core.geometry.replicas, 1, REPLICAS_MAX),
    N("away_grace_ms", core.away_grace_ms, 0, 24 * 3600 * 1000),
    N("rereplication_share", core.rereplication_share, 1, 100),
    N("pair_pause_ms", core.pair_pause_ms, 0, 3600 * 1000),
    N("balance_percent", core.balance_percent, 0, 50),
    N("slow_floor_ms", core.slow_floor_ms, 1, 60000),
    N("slow_window_ms", core.slow_window_ms, 0, 3600 * 1000),
    N("balance_kib_s", core.balance_kib_s, 0, 16 << 20),
    N("trash_seconds", core.trash_seconds, 0, 365 * 86400),
    N("log_scrub_s", core.log_scrub_s, 1, 365 * 86400),
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
    CONFIG_NUM("large_state_bytes", struct settings, core.large_state_bytes, CONFIG_SIZE64, 4096,
               1ull << 40),
    S("boot_id", core.boot_override, CONFIG_TEXT, false),
};

static int wrong(const struct config_file *file, const char *key, const char *expected,
                 const char *found, struct why *why)
{
    return config_wrong(file->path, keys, COUNT_OF(keys), &file->lines, key, expected, found, why);
}

static bool logger_only(const struct settings *s)
{
    return strcmp(s->logger_only, "yes") == 0;
}

/* The list of masters, and which of them this one is. */
static int take_masters(const struct config_file *file, const struct settings *s,
                        struct log_set *set, struct why *why)
{
    const char *own = s->core.advertise[0] != 0 ? s->core.advertise : s->core.listen;
    char list[sizeof(s->masters)];
    char *rest = list, *one;
    bool found = false;
    *set = (struct log_set){0};
    snprintf(list, sizeof(list), "%s", s->masters);
    while (s->masters[0] != 0 && (one = strsep(&rest, ",")) != NULL) {
        if (set->count == LOGGERS_MAX) {
            return wrong(file, "masters", "at most 5 addresses", s->masters, why);
        }
        for (uint32_t i = 0; i < set->count; i++) {
            if (strcmp(set->addr[i], one) == 0) {
                return wrong(file, "masters", "each address once", s->masters, why);
            }
        }
        if (strcmp(one, own) == 0) {
            found = true;
            set->self = set->count;
        }
        snprintf(set->addr[set->count++], sizeof(set->addr[0]), "%s", one);
    }
    if (set->count > 0 && !found) {
        char expected[ADDR_LEN_MAX + 64];
        snprintf(expected, sizeof(expected), "addresses with this master's among them, %.255s",
                 own);
        return wrong(file, "masters", expected, s->masters, why);
    }
    bool all = strcmp(s->log_ack, "all") == 0;
    if (!all && strcmp(s->log_ack, "majority") != 0) {
        return wrong(file, "log_ack", "majority or all", s->log_ack, why);
    }
    set->acks = all ? set->count : set->count / 2 + 1;
    if (!logger_only(s) && strcmp(s->logger_only, "no") != 0) {
        return wrong(file, "logger_only", "yes or no", s->logger_only, why);
    }
    return logger_only(s) && set->count < 2
               ? wrong(file, "logger_only", "no, because there is no other master", s->logger_only,
                       why)
               : 0;
}

/* What one key alone does not show. */
static int check(const struct config_file *file, const void *settings, struct why *why)
{
    const struct settings *s = settings;
    const struct geometry *g = &s->core.geometry;
    struct log_set set;
    char text[32];
    int err = take_masters(file, s, &set, why);
    if (err != 0) {
        return err;
    }
    if (g->chunk_bytes < g->block_bytes || g->chunk_bytes / g->block_bytes > CHUNK_BLOCKS_MAX) {
        snprintf(text, sizeof(text), "%u", g->chunk_bytes);
        return wrong(file, "chunk_bytes", "1 to 1024 times block_bytes", text, why);
    }
    if (g->lease_ms < 2 * g->heartbeat_ms) {
        snprintf(text, sizeof(text), "%u", g->lease_ms);
        return wrong(file, "lease_ms", "at least twice heartbeat_ms", text, why);
    }
    return 0;
}

static void *create(struct env *env, void *settings, bool force)
{
    struct settings *s = settings;
    struct config_file none = {0};
    struct why ignored;
    (void)take_masters(&none, s, &s->core.set, &ignored); /* it was checked */
    s->core.logger_only = logger_only(s);
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
    struct settings s = {.log_ack = "majority",
                         .logger_only = "no",
                         .core = {.cluster = "gfs",
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
                             .awake_us = AWAKE_US,
                             .check = check,
                             .create = create,
                             .start = start,
                             .stop = stop,
                             .destroy = destroy,
                             .wind_down = wind_down};
    return daemon_main(&d, argc, argv);
}
