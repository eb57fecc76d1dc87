/* settings.c - keys of a chunkserver's configuration. */
#include "chunkd/core/settings.h"
#include "shared/env/masters.h"

#include <stdio.h>

#define S(key, member, kind, must) CONFIG_STR(key, struct chunkd_settings, member, kind, must)

static const struct config_key keys[] = {
    S("dir", dir, CONFIG_TEXT, true),
    S("masters", core.masters, CONFIG_ADDRS, true),
    S("cluster", core.cluster, CONFIG_TEXT, false),
    S("listen", core.listen, CONFIG_ADDR, false),
    S("advertise", core.advertise, CONFIG_ADDR, false),
    S("host", core.host, CONFIG_TEXT, false),
    S("rack", core.rack, CONFIG_TEXT, false),
    CONFIG_NUM("flush_ms", struct chunkd_settings, core.flush_ms, CONFIG_U32, 10, 600000),
    CONFIG_NUM("aside_ms", struct chunkd_settings, core.aside_ms, CONFIG_U32, 0, UINT32_MAX),
    CONFIG_NUM("reserve_bytes", struct chunkd_settings, core.reserve_bytes, CONFIG_SIZE64, 0,
               1ull << 50),
    CONFIG_NUM("scrub_days", struct chunkd_settings, scrub_days, CONFIG_U32, 1, 3650),
    CONFIG_NUM("scrub_period_s", struct chunkd_settings, core.scrub_period_s, CONFIG_U32, 1,
               315360000),
    CONFIG_NUM("scrub_share", struct chunkd_settings, core.scrub_share, CONFIG_U32, 1, 100),
    S("boot_id", boot, CONFIG_TEXT, false),
};

void chunkd_settings_init(struct chunkd_settings *s)
{
    *s = (struct chunkd_settings){
        .core = {
            .listen = "127.0.0.1:9401", .rack = "default", .flush_ms = 5000, .aside_ms = 3600000}};
}

struct config_file chunkd_settings_file(const char *path)
{
    return (struct config_file){.path = path, .table = keys, .count = COUNT_OF(keys)};
}

int chunkd_settings_take(const struct config_file *file, struct chunkd_settings *s, struct why *why)
{
    struct masters masters;
    if (masters_parse(&masters, s->core.masters, why) != 0) {
        char expected[32];
        snprintf(expected, sizeof(expected), "at most %d addresses", MASTERS_MAX);
        return config_wrong(file, "masters", expected, s->core.masters, why);
    }
    if (s->core.scrub_period_s == 0) {
        s->core.scrub_period_s = s->scrub_days * 24 * 3600;
    }
    return config_need_dialable(file, s->core.listen, s->core.advertise, why);
}
