/* config.h - a program's configuration file, read from disk.
 *
 * What every daemon does with it besides parsing (shared/base/config.h): its directory must exist.
 */
#ifndef SHARED_IO_CONFIG_H
#define SHARED_IO_CONFIG_H

#include "shared/base/config.h"

/* Reads and parses file->path into out. 0, or negative with a sentence. */
MUST_CHECK int config_load(struct config_file *file, void *out, struct why *why);
/* The value of key `name` must name a directory. */
MUST_CHECK int config_need_dir(const struct config_file *file, const char *name, const char *dir,
                               struct why *why);

#endif
