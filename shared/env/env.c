/* env.c - the variadic form of env_ops.log. */
#include "shared/env/env.h"

void env_log(struct env *e, enum log_level level, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    e->ops->log(e, level, format, ap);
    va_end(ap);
}
