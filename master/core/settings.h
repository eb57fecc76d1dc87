/* settings.h - what a master's configuration file says. */
#ifndef MASTER_CORE_SETTINGS_H
#define MASTER_CORE_SETTINGS_H

#include "master/core/master.h"
#include "shared/base/config.h"

struct master_settings {
    char dir[4096];
    char boot[64]; /* tests: stands for the kernel's boot id */
    char masters[LOGGERS_MAX * (ADDR_LEN_MAX + 1)];
    char log_ack[16];
    char logger_only[8];
    struct master_config core;
};

/* What holds for keys that are not named. */
void master_settings_init(struct master_settings *s);
/* A file to be parsed into a struct master_settings. */
struct config_file master_settings_file(const char *path);
/* After that: checks what one key alone does not show, and completes s->core. */
MUST_CHECK int master_settings_take(const struct config_file *file, struct master_settings *s,
                                    struct why *why);

#endif
