/* file_model.h - what the bytes of one file may be, told for every 512-byte unit.
 *
 * A unit is zeros and the changes made to parts of it, each by one writer, in order. A change
 * shows where no later one does; one that is uncertain may also not be there. A change becomes
 * uncertain for good when its writer died before it was flushed, and as long as it was not synced
 * when two or more chunkservers lost power after it was made: what one mount synced says nothing of
 * what another wrote beside it.
 *
 * Bytes written say where they belong (file, unit, writer, sequence), so that a foreign byte is
 * known at sight.
 */
#ifndef TESTS_SIM_FILE_MODEL_H
#define TESTS_SIM_FILE_MODEL_H

#include <stdbool.h>
#include <stdint.h>

enum { UNIT_BYTES = 512, FILE_MODEL_MAX = 1 << 20 /* bytes of a file at most */ };

struct file_model;

/* Tells how many chunkservers lost power since a time; owner is file_model_new's. */
typedef uint32_t (*power_losses)(void *owner, uint64_t since_ns);

struct file_model *file_model_new(uint32_t file, power_losses losses, void *owner);
void file_model_free(struct file_model *f);

/* Who writes from now on. */
void file_model_writer(struct file_model *f, uint32_t writer);
bool file_model_is_writer(const struct file_model *f, uint32_t writer);
uint64_t file_model_size(const struct file_model *f);
/* Fills data with what the writer's write number `sequence` at off consists of. */
void file_model_fill(const struct file_model *f, uint32_t sequence, uint64_t off, uint8_t *data,
                     uint32_t len);
void file_model_write(struct file_model *f, uint64_t off, const uint8_t *data, uint32_t len,
                      uint64_t now_ns);
void file_model_truncate(struct file_model *f, uint64_t size, uint64_t now_ns);
void file_model_zero(struct file_model *f, uint64_t off, uint64_t len,
                     uint64_t now_ns); /* a hole; size unchanged */
/* Everything written so far is on the replicas; what this writer wrote is durable too if synced. (A
 * mount does not know what others left un-synced.) */
void file_model_flushed(struct file_model *f, bool synced);
/* The writer died: what was not flushed may be there or not; so may the size. */
void file_model_writer_died(struct file_model *f, uint64_t now_ns);
/* Its size is not known since then. */
bool file_model_in_doubt(const struct file_model *f);
/* After that: the size that was found. False if it cannot be. cut: what the dead writer left beyond
 * it is certainly gone; else it may show when the file grows. */
bool file_model_settle_size(struct file_model *f, uint64_t size, bool cut, uint64_t now_ns);

/* Bytes of the unit (by number) that the newest change to them was synced for: known[i], and what
 * they are. A hole is not known. False if there are none, or the last sync was not of this unit. */
bool file_model_synced(const struct file_model *f, uint64_t unit, uint8_t out[UNIT_BYTES],
                       bool known[UNIT_BYTES]);
/* Something written to this range may be lost. */
bool file_model_is_doubtful(const struct file_model *f, uint64_t off, uint64_t len);
/* While lossy, what was not flushed may be gone: writing it back may have failed. */
void file_model_set_lossy(struct file_model *f, bool lossy);
/* NULL if these bytes may be read at off, else a sentence. */
const char *file_model_check(struct file_model *f, uint64_t off, const uint8_t *data, uint32_t len);

#endif
