/* settings.h - what a chunkserver's configuration file says. */
#ifndef CHUNKD_CORE_SETTINGS_H
#define CHUNKD_CORE_SETTINGS_H

#include "chunkd/core/chunkd.h"
#include "shared/base/config.h"

struct chunkd_settings {
    char dir[4096];
    char boot[64]; /* tests: stands for the kernel's boot id */
    uint32_t scrub_days;
    struct chunkd_config core;
};

/* What holds for keys that are not named. */
void chunkd_settings_init(struct chunkd_settings *s);
/* A file to be parsed into a struct chunkd_settings. */
struct config_file chunkd_settings_file(const char *path);
/* After that: checks what one key alone does not show, and completes s->core. */
MUST_CHECK int chunkd_settings_take(const struct config_file *file, struct chunkd_settings *s,
                                    struct why *why);

#endif
