/* config.c - parser of configuration files. */
#include "shared/base/config.h"

#include <stdio.h>
#include <string.h>

#include "shared/base/limits.h"

enum { FOUND_SHOWN_MAX = 80 };

struct place {
    const char *file;
    uint32_t line;
    const struct config_key *key;
};

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct bytes trimmed(struct bytes b)
{
    while (b.len > 0 && is_space(b.data[0])) {
        b.data++;
        b.len--;
    }
    while (b.len > 0 && is_space(b.data[b.len - 1])) {
        b.len--;
    }
    return b;
}

/* What an operator wrote, fit for one line of a terminal. */
static const char *shown(struct bytes b, char out[FOUND_SHOWN_MAX + 8])
{
    if (b.len == 0) {
        return "nothing";
    }
    size_t n = MIN(b.len, (uint32_t)FOUND_SHOWN_MAX);
    char *p = out;
    *p++ = '"';
    for (size_t i = 0; i < n; i++) {
        *p++ = b.data[i] >= ' ' && b.data[i] != 0x7f ? (char)b.data[i] : '?';
    }
    strcpy(p, b.len > n ? "...\"" : "\"");
    return out;
}

static int wrong(const struct place *at, const char *expected, struct bytes found, struct why *why)
{
    char text[FOUND_SHOWN_MAX + 8];
    return why_set(why, -EINVAL, "%s:%u: %s: expected %s, found %s", at->file, at->line,
                   at->key->name, expected, shown(found, text));
}

/* ---------------------------------------------------------------- values */

static bool port_is_valid(struct bytes b)
{
    unsigned v = 0;
    if (b.len == 0 || b.len > 5) {
        return false;
    }
    for (uint32_t i = 0; i < b.len; i++) {
        if (b.data[i] < '0' || b.data[i] > '9') {
            return false;
        }
        v = v * 10 + (unsigned)(b.data[i] - '0');
    }
    return v >= 1 && v <= 65535;
}

bool config_is_addr(struct bytes b)
{
    if (b.len == 0 || b.len > ADDR_LEN_MAX || memchr(b.data, 0, b.len) != NULL) {
        return false;
    }
    if (b.len > 5 && memcmp(b.data, "unix:", 5) == 0) {
        return true;
    }
    uint32_t colon = b.len;
    while (colon > 0 && b.data[colon - 1] != ':') {
        colon--;
    }
    if (colon < 2 || !port_is_valid(bytes_of(b.data + colon, b.len - colon))) {
        return false;
    }
    struct bytes host = bytes_of(b.data, colon - 1);
    if (host.data[0] == '[') {
        return host.len > 2 && host.data[host.len - 1] == ']';
    }
    for (uint32_t i = 0; i < host.len; i++) {
        if (host.data[i] == ':' || is_space(host.data[i]) || host.data[i] == ',') {
            return false;
        }
    }
    return true;
}

static bool are_addrs(struct bytes b)
{
    uint32_t start = 0;
    for (uint32_t i = 0; i <= b.len; i++) {
        if (i == b.len || b.data[i] == ',') {
            if (!config_is_addr(bytes_of(b.data + start, i - start))) {
                return false;
            }
            start = i + 1;
        }
    }
    return true;
}

/* Digits, then one of K, M, G if `suffixes`. False: not a number, or beyond 64 bits. */
static bool parse_number(struct bytes b, bool suffixes, uint64_t *out)
{
    unsigned shift = 0;
    if (suffixes && b.len > 1) {
        uint8_t c = b.data[b.len - 1] | 0x20;
        shift = c == 'k' ? 10 : c == 'm' ? 20 : c == 'g' ? 30 : 0;
        b.len -= shift != 0;
    }
    uint64_t v = 0;
    for (uint32_t i = 0; i < b.len; i++) {
        uint8_t d = (uint8_t)(b.data[i] - '0');
        if (d > 9 || v > (UINT64_MAX - d) / 10) {
            return false;
        }
        v = v * 10 + d;
    }
    if (b.len == 0 || v > UINT64_MAX >> shift) {
        return false;
    }
    *out = v << shift;
    return true;
}

static int put_number(const struct place *at, struct bytes value, void *out, struct why *why)
{
    const struct config_key *k = at->key;
    bool size = k->type != CONFIG_U32;
    uint64_t v = 0;
    if (!parse_number(value, size, &v) || v < k->min || v > k->max ||
        (k->power_of_two && (v & (v - 1)) != 0)) {
        char expected[128];
        snprintf(expected, sizeof(expected), "%s%s from %llu to %llu",
                 size ? "a number of bytes (suffix K, M or G)" : "a whole number",
                 k->power_of_two ? ", a power of two," : "", (unsigned long long)k->min,
                 (unsigned long long)k->max);
        return wrong(at, expected, value, why);
    }
    uint8_t *to = (uint8_t *)out + k->offset;
    if (k->type == CONFIG_SIZE64) {
        memcpy(to, &v, sizeof(v));
    } else {
        uint32_t v32 = (uint32_t)v;
        memcpy(to, &v32, sizeof(v32));
    }
    return 0;
}

static int put_text(const struct place *at, struct bytes value, void *out, struct why *why)
{
    const struct config_key *k = at->key;
    if (k->type == CONFIG_ADDR && !config_is_addr(value)) {
        return wrong(at, "an address HOST:PORT", value, why);
    }
    if (k->type == CONFIG_ADDRS && !are_addrs(value)) {
        return wrong(at, "addresses HOST:PORT separated by commas", value, why);
    }
    if (value.len == 0 || value.len >= k->size) {
        char expected[64];
        snprintf(expected, sizeof(expected), "1 to %u bytes of text", k->size - 1);
        return wrong(at, expected, value, why);
    }
    char *to = (char *)out + k->offset;
    memcpy(to, value.data, value.len);
    to[value.len] = 0;
    return 0;
}

/* ---------------------------------------------------------------- lines */

static uint32_t find_key(const struct config_file *file, struct bytes name)
{
    for (uint32_t i = 0; i < file->count; i++) {
        if (bytes_equal(bytes_str(file->table[i].name), name)) {
            return i;
        }
    }
    return file->count;
}

static int unknown_key(const struct config_file *file, struct bytes name, struct why *why)
{
    char text[FOUND_SHOWN_MAX + 8], known[300] = "";
    size_t n = 0;
    for (uint32_t i = 0; i < file->count && n < sizeof(known) - 1; i++) {
        n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", i > 0 ? ", " : "",
                              file->table[i].name);
    }
    return why_set(why, -EINVAL, "%s:%u: %s: unknown key, expected one of %s", file->path,
                   file->lines, shown(name, text), known);
}

/* '#' starts a comment at the start of a line or after a space. */
static struct bytes without_comment(struct bytes b)
{
    for (uint32_t i = 0; i < b.len; i++) {
        if (b.data[i] == '#' && (i == 0 || is_space(b.data[i - 1]))) {
            b.len = i;
        }
    }
    return trimmed(b);
}

static int parse_line(struct config_file *file, struct bytes line, void *out, struct why *why)
{
    char text[FOUND_SHOWN_MAX + 8];
    if (line.len > 0 && memchr(line.data, 0, line.len) != NULL) {
        return why_set(why, -EINVAL, "%s:%u: expected text, found a NUL byte", file->path,
                       file->lines);
    }
    line = without_comment(line);
    if (line.len == 0) {
        return 0;
    }
    const uint8_t *equals = memchr(line.data, '=', line.len);
    if (equals == NULL) {
        return why_set(why, -EINVAL, "%s:%u: expected KEY = VALUE, found %s", file->path,
                       file->lines, shown(line, text));
    }
    uint32_t key_len = (uint32_t)(equals - line.data);
    struct bytes name = trimmed(bytes_of(line.data, key_len));
    struct bytes value = trimmed(bytes_of(equals + 1, line.len - key_len - 1));
    uint32_t i = find_key(file, name);
    if (i == file->count) {
        return unknown_key(file, name, why);
    }
    struct place at = {file->path, file->lines, &file->table[i]};
    if (file->line[i] != 0) {
        return why_set(why, -EINVAL, "%s:%u: %s: expected once, found again after line %u",
                       file->path, file->lines, at.key->name, file->line[i]);
    }
    file->line[i] = file->lines;
    return at.key->type <= CONFIG_ADDRS ? put_text(&at, value, out, why)
                                        : put_number(&at, value, out, why);
}

int config_parse(struct config_file *file, struct bytes text, void *out, struct why *why)
{
    ASSERT(file->count <= CONFIG_KEYS_MAX);
    memset(file->line, 0, sizeof(file->line));
    file->lines = 0;
    while (text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        uint32_t len = end != NULL ? (uint32_t)(end - text.data) : text.len;
        file->lines++;
        int err = parse_line(file, bytes_of(text.data, len), out, why);
        if (err != 0) {
            return err;
        }
        uint32_t used = end != NULL ? len + 1 : len;
        text.data += used;
        text.len -= used;
    }
    for (uint32_t i = 0; i < file->count; i++) {
        if (file->table[i].mandatory && file->line[i] == 0) {
            return why_set(why, -EINVAL, "%s:%u: %s: expected this key, found the end of the file",
                           file->path, file->lines, file->table[i].name);
        }
    }
    return 0;
}

int config_wrong(const struct config_file *file, const char *name, const char *expected,
                 const char *found, struct why *why)
{
    uint32_t i = find_key(file, bytes_str(name));
    ASSERT(i < file->count);
    uint32_t line = file->line[i] != 0 ? file->line[i] : file->lines;
    struct place at = {file->path, line, &file->table[i]};
    return wrong(&at, expected, bytes_str(found), why);
}

int config_need_dialable(const struct config_file *file, const char *listen, const char *advertise,
                         struct why *why)
{
    bool any = strncmp(listen, "0.0.0.0:", 8) == 0 || strncmp(listen, "[::]:", 5) == 0;
    if (!any || advertise[0] != 0) {
        return 0;
    }
    return config_wrong(file, "advertise",
                        "the address others dial, because listen names every interface", "", why);
}
