/* replies.h - answers held back until the operation log has committed what they saw.
 *
 * An answer depends on one index of the log. It is sent when that index is committed, in the order
 * of (index, arrival). Memory is bounded by the caller, who refuses work while replies_count is
 * high. Pure; loop thread only.
 */
#ifndef MASTER_CORE_REPLIES_H
#define MASTER_CORE_REPLIES_H

#include "shared/base/buf.h"
#include "shared/base/list.h"
#include "shared/proto/frame.h"

struct replies;

/* Sends one answer: takes the reference of `body`. */
typedef void (*replies_send)(void *to, const struct frame_header *request, int status,
                             uint64_t index, struct slice body);

struct replies *replies_new(replies_send send);
void replies_free(struct replies *r); /* held answers are dropped */

/* Answers `request` of `to`: at once if `index` <= committed, else when replies_release reaches it.
 * `of` is the list of the asker's held answers (an initialised head it owns). Takes the reference
 * of `body`. */
void replies_put(struct replies *r, struct list *of, void *to, const struct frame_header *request,
                 int status, uint64_t index, uint64_t committed, struct slice body);
/* `committed` rose. */
void replies_release(struct replies *r, uint64_t committed);
/* The asker is gone: its held answers are dropped. */
void replies_forget(struct replies *r, struct list *of);
uint32_t replies_count(const struct replies *r);

#endif
