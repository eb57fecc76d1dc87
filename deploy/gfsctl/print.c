/* print.c - how gfsctl shows things, and reads small arguments. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/gfsctl/gfsctl.h"
#include "shared/base/limits.h"

int say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("gfsctl: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return EXIT_FAILED;
}

/* ---------------------------------------------------------------- people */

const char *bytes_text(uint64_t bytes, char out[SIZE_TEXT])
{
    static const char units[] = "KMGTPE";
    if (bytes < 1024) {
        snprintf(out, SIZE_TEXT, "%" PRIu64 "B", bytes);
        return out;
    }
    double v = (double)bytes / 1024;
    unsigned u = 0;
    while (v >= 1024 && units[u + 1] != 0) {
        v /= 1024;
        u++;
    }
    snprintf(out, SIZE_TEXT, "%.1f%c", v, units[u]);
    return out;
}

const char *time_text(uint64_t ms, char out[SIZE_TEXT])
{
    double s = (double)ms / 1000;
    if (s < 120) {
        snprintf(out, SIZE_TEXT, "%.0fs", s);
    } else if (s < 7200) {
        snprintf(out, SIZE_TEXT, "%.0fm", s / 60);
    } else if (s < 172800) {
        snprintf(out, SIZE_TEXT, "%.1fh", s / 3600);
    } else {
        snprintf(out, SIZE_TEXT, "%.1fd", s / 86400);
    }
    return out;
}

const char *plain(struct bytes b, char out[PLAIN_TEXT])
{
    uint32_t n = b.len < PLAIN_TEXT - 1 ? b.len : PLAIN_TEXT - 1;
    for (uint32_t i = 0; i < n; i++) {
        out[i] = b.data[i] >= ' ' && b.data[i] != 0x7f ? (char)b.data[i] : '?';
    }
    out[n] = 0;
    return out;
}

/* ---------------------------------------------------------------- programs */

static void quoted(struct bytes b)
{
    putchar('"');
    for (uint32_t i = 0; i < b.len; i++) {
        uint8_t c = b.data[i];
        if (c == '"' || c == '\\') {
            printf("\\%c", c);
        } else if (c < ' ' || c >= 0x7f) {
            printf("\\u%04x", c); /* names are bytes: what is not ASCII is shown byte by byte */
        } else {
            putchar(c);
        }
    }
    putchar('"');
}

void json_open(struct json *j, char bracket)
{
    putchar(bracket);
    j->more = false;
}

void json_close(struct json *j, char bracket)
{
    putchar(bracket);
    j->more = true;
}

void json_key(struct json *j, const char *name)
{
    if (j->more) {
        fputs(", ", stdout);
    }
    j->more = true;
    if (name != NULL) {
        printf("\"%s\": ", name);
    }
}

void json_text(struct json *j, const char *name, struct bytes value)
{
    json_key(j, name);
    quoted(value);
}

void json_u64(struct json *j, const char *name, uint64_t value)
{
    json_key(j, name);
    printf("%" PRIu64, value);
}

void json_flag(struct json *j, const char *name, bool value)
{
    json_key(j, name);
    fputs(value ? "true" : "false", stdout);
}

void json_null(struct json *j, const char *name)
{
    json_key(j, name);
    fputs("null", stdout);
}

void json_done(void)
{
    puts("{\"done\": true}");
}

/* ---------------------------------------------------------------- arguments */

bool parse_u64(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    *out = v;
    return text[0] >= '0' && text[0] <= '9' && *end == 0 && errno == 0;
}

bool parse_duration(const char *text, uint64_t *out_ms)
{
    static const struct {
        char letter;
        uint64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    char digits[24];
    size_t n = strlen(text);
    uint64_t unit = 1000;
    if (n == 0 || n >= sizeof(digits)) {
        return false;
    }
    memcpy(digits, text, n + 1);
    for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (digits[n - 1] == units[i].letter) {
            digits[n - 1] = 0;
            unit = units[i].ms;
            break;
        }
    }
    uint64_t v;
    if (!parse_u64(digits, &v) || v > UINT32_MAX) {
        return false;
    }
    *out_ms = v * unit;
    return true;
}

bool take_option(struct call *c, const char *option)
{
    for (int i = 0; i < c->argc; i++) {
        if (strcmp(c->argv[i], option) == 0) {
            memmove(c->argv + i, c->argv + i + 1, (size_t)(c->argc - i - 1) * sizeof(char *));
            c->argc--;
            return true;
        }
    }
    return false;
}
