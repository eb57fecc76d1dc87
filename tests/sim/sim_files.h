/* sim_files.h - open files of a simulated process and its asynchronous disk operations (env_ops of
 * these names). An operation takes effect as a whole when it completes; one that is in flight when
 * its process dies happened, happened in part (a write is cut at a page), or did not.
 */
#ifndef TESTS_SIM_SIM_FILES_H
#define TESTS_SIM_SIM_FILES_H

#include "shared/env/env.h"
#include "tests/sim/sim_env.h"

int sim_file_open(struct env *e, const char *path, unsigned flags, struct env_file **out);
void sim_file_close(struct env *e, struct env_file *f);
int64_t sim_file_size(struct env *e, struct env_file *f);
int64_t sim_file_read(struct env *e, struct env_file *f, uint64_t off, void *data, uint32_t len);
int64_t sim_file_write(struct env *e, struct env_file *f, uint64_t off, const void *data,
                       uint32_t len);
int sim_file_sync(struct env *e, struct env_file *f);
int sim_file_truncate(struct env *e, struct env_file *f, uint64_t size);
void sim_disk_submit(struct env *e, struct disk_op *op);

/* The process died: operations in flight end without callback. */
void sim_files_abandon(struct sim_process *p);
/* Frees files its core left open. */
void sim_files_forget(struct sim_process *p);

#endif
