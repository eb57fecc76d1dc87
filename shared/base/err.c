/* err.c - names, texts and errno of error codes. */
#include "shared/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *err_name(int code)
{
    switch (code) {
#define ERROR(name, code, shown, text)                                                             \
    case code:                                                                                     \
        return #name;
#include "shared/base/errors.def"
#undef ERROR
    default:
        break;
    }
    const char *name = code < 0 && code > -4096 ? strerrorname_np(-code) : NULL;
    return name ? name : code >= 0 ? "OK" : "error";
}

const char *err_text(int code)
{
    switch (code) {
#define ERROR(name, code, shown, text)                                                             \
    case code:                                                                                     \
        return text;
#include "shared/base/errors.def"
#undef ERROR
    default:
        break;
    }
    const char *text = code < 0 && code > -4096 ? strerrordesc_np(-code) : NULL;
    return text ? text : code >= 0 ? "success" : "unknown error";
}

int err_to_errno(int code)
{
    if (code >= 0) {
        return 0;
    }
    switch (code) {
#define ERROR(name, code, shown, text)                                                             \
    case code:                                                                                     \
        return shown;
#include "shared/base/errors.def"
#undef ERROR
    default:
        return code > -4096 ? -code : EIO;
    }
}

int why_set(struct why *why, int code, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(why->text, sizeof(why->text), format, ap);
    va_end(ap);
    return code;
}
