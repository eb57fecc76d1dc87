/* settings.c - keys of a master's configuration, and what must hold between them. */
#include "master/core/settings.h"
#include "master/core/checkpoint.h"
#include "shared/base/limits.h"

#include <stdio.h>
#include <string.h>

#define S(key, member, kind, must) CONFIG_STR(key, struct master_settings, member, kind, must)
#define N(key, member, low, high)                                                                  \
    CONFIG_NUM(key, struct master_settings, member, CONFIG_U32, low, high)
#define BYTES(key, member, low, high)                                                              \
    {                                                                                              \
        .name = key, .type = CONFIG_SIZE32, .offset = offsetof(struct master_settings, member),    \
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
    CONFIG_NUM("preallocate_bytes", struct master_settings, core.preallocate_bytes, CONFIG_SIZE64,
               1 << 20, 64ull << 30),
    CONFIG_NUM("checkpoint_rate", struct master_settings, core.checkpoint_rate, CONFIG_SIZE64,
               64 << 10, CHECKPOINT_RATE_MAX),
    CONFIG_NUM("large_state_bytes", struct master_settings, core.large_state_bytes, CONFIG_SIZE64,
               4096, 1ull << 40),
    S("boot_id", boot, CONFIG_TEXT, false),
};

void master_settings_init(struct master_settings *s)
{
    *s = (struct master_settings){.log_ack = "majority",
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
}

struct config_file master_settings_file(const char *path)
{
    return (struct config_file){.path = path, .table = keys, .count = COUNT_OF(keys)};
}

static bool is_in(const struct log_set *set, const char *addr)
{
    bool found = false;
    for (uint32_t i = 0; i < set->count; i++) {
        found = found || strcmp(set->addr[i], addr) == 0;
    }
    return found;
}

/* The list of masters, and which of them this one is. */
static int take_masters(const struct config_file *file, struct master_settings *s, struct why *why)
{
    const char *own = s->core.advertise[0] != 0 ? s->core.advertise : s->core.listen;
    struct log_set *set = &s->core.set;
    char list[sizeof(s->masters)];
    memcpy(list, s->masters, sizeof(list));
    set->count = 0;
    for (char *one = list, *next; s->masters[0] != 0 && one != NULL; one = next) {
        next = strchr(one, ',');
        if (next != NULL) {
            *next++ = 0;
        }
        if (set->count == LOGGERS_MAX) {
            return config_wrong(file, "masters", "at most 5 addresses", s->masters, why);
        }
        if (is_in(set, one)) {
            return config_wrong(file, "masters", "each address once", s->masters, why);
        }
        set->self = strcmp(one, own) == 0 ? set->count : set->self;
        snprintf(set->addr[set->count++], sizeof(set->addr[0]), "%s", one);
    }
    if (set->count > 0 && !is_in(set, own)) {
        char expected[ADDR_LEN_MAX + 64];
        snprintf(expected, sizeof(expected), "addresses with this master's among them, %.255s",
                 own);
        return config_wrong(file, "masters", expected, s->masters, why);
    }
    return 0;
}

/* How many of them must have a change, and whether this one may be the primary. */
static int take_roles(const struct config_file *file, struct master_settings *s, struct why *why)
{
    struct log_set *set = &s->core.set;
    bool all = strcmp(s->log_ack, "all") == 0;
    bool only = strcmp(s->logger_only, "yes") == 0;
    if (!all && strcmp(s->log_ack, "majority") != 0) {
        return config_wrong(file, "log_ack", "majority or all", s->log_ack, why);
    }
    if (!only && strcmp(s->logger_only, "no") != 0) {
        return config_wrong(file, "logger_only", "yes or no", s->logger_only, why);
    }
    if (only && set->count < 2) {
        return config_wrong(file, "logger_only", "no, because there is no other master",
                            s->logger_only, why);
    }
    set->acks = all ? set->count : set->count / 2 + 1;
    s->core.logger_only = only;
    return 0;
}

static int check_geometry(const struct config_file *file, const struct geometry *g, struct why *why)
{
    char text[32];
    if (g->chunk_bytes < g->block_bytes || g->chunk_bytes / g->block_bytes > CHUNK_BLOCKS_MAX) {
        snprintf(text, sizeof(text), "%u", g->chunk_bytes);
        return config_wrong(file, "chunk_bytes", "1 to 1024 times block_bytes", text, why);
    }
    if (g->lease_ms < 2 * g->heartbeat_ms) {
        snprintf(text, sizeof(text), "%u", g->lease_ms);
        return config_wrong(file, "lease_ms", "at least twice heartbeat_ms", text, why);
    }
    return 0;
}

int master_settings_take(const struct config_file *file, struct master_settings *s, struct why *why)
{
    int err = take_masters(file, s, why);
    err = err == 0 ? take_roles(file, s, why) : err;
    err = err == 0 ? check_geometry(file, &s->core.geometry, why) : err;
    return err == 0 ? config_need_dialable(file, s->core.listen, s->core.advertise, why) : err;
}
