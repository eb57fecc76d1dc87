/* config.h - a program's configuration file, read from disk.
 *
 * What every daemon does with it besides parsing (shared/base/config.h): its directory must exist.
 */
#ifndef SHARED_IO_CONFIG_H
#define SHARED_IO_CONFIG_H

#include "shared/base/config.h"

/* A file that was read, for sentences about it. */
struct config_file {
    const char *path;
    const struct config_key *table;
    uint32_t count;
    struct config_lines lines;
};

/* Reads and parses cfg->path into out. 0, or negative with a sentence. */
MUST_CHECK int config_load(struct config_file *cfg, void *out, struct why *why);
/* The value of key `name` must name a directory. */
MUST_CHECK int config_need_dir(const struct config_file *cfg, const char *name, const char *dir,
                               struct why *why);
/* Others must be able to dial what `advertise` names, or `listen` if it is empty. */
MUST_CHECK int config_need_dialable(const struct config_file *cfg, const char *listen,
                                    const char *advertise, struct why *why);

#endif
