/* writer_model.h - the reference of who may write what, fed with the records of the log: which
 * files were cut at their size because everybody who had them open for writing left, and one of
 * them without closing.
 *
 * Shares no code with the master.
 */
#ifndef TESTS_SIM_WRITER_MODEL_H
#define TESTS_SIM_WRITER_MODEL_H

#include "master/core/record.h"
#include "shared/proto/schema.h"

struct writer_model;

struct writer_model *writer_model_new(void);
void writer_model_free(struct writer_model *m);

/* Takes the next record; cut(owner, ino) is called for every file that it cuts. cut may be NULL. */
void writer_model_record(struct writer_model *m, const struct record *r, const union op_any *rec,
                         void (*cut)(void *owner, uint64_t ino), void *owner);

/* Nobody has the file open for writing, and it was cut when the last one left: beyond its size
 * there is nothing. */
bool writer_model_is_cut(const struct writer_model *m, uint64_t ino);

#endif
