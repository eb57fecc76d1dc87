/* err.h - error codes: 0 or negative. A negative errno where POSIX has the word, else a code of
 * errors.def, below -10000 so that it can be taken for neither errno nor libuv.
 */
#ifndef SHARED_BASE_ERR_H
#define SHARED_BASE_ERR_H

#include <errno.h>

#include "shared/base/invariant.h"

enum {
#define ERROR(name, code, shown, text) name = code,
#include "shared/base/errors.def"
#undef ERROR
};

/* "ENOENT", "ERR_STALE_EPOCH"; "errno 123" style codes are formatted as "error". Never NULL. */
const char *err_name(int code);
/* One sentence without a full stop. Never NULL. */
const char *err_text(int code);
/* The errno (positive) a program sees for `code`; 0 for codes >= 0. */
int err_to_errno(int code);

/* Why something an operator asked for failed: one sentence, set once, where it is known. */
struct why {
    char text[512];
};

/* Formats into why->text and returns code, so that `return why_set(why, -EINVAL, ...)` reads well.
 */
int why_set(struct why *why, int code, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
