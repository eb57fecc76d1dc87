/* config.h - configuration files: lines of `key = value`, '#' starts a comment.
 *
 * A program describes its keys in a table; parsing checks every value and puts it into a struct of
 * the program's. Whatever is wrong is refused with one sentence "FILE:LINE: KEY: expected ...,
 * found ...". Pure: bytes in, struct out. Nothing is allocated.
 */
#ifndef SHARED_BASE_CONFIG_H
#define SHARED_BASE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/bytes.h"
#include "shared/base/err.h"

enum { CONFIG_KEYS_MAX = 32 };

enum config_type {
    CONFIG_TEXT,   /* char[size]: 1..size-1 bytes */
    CONFIG_ADDR,   /* char[size]: HOST:PORT, [IPv6]:PORT or unix:PATH */
    CONFIG_ADDRS,  /* char[size]: the same, separated by commas, without spaces */
    CONFIG_U32,    /* uint32_t in min..max */
    CONFIG_SIZE32, /* uint32_t of bytes in min..max, with suffix K, M or G */
    CONFIG_SIZE64, /* uint64_t, the same */
};

struct config_key {
    const char *name;
    enum config_type type;
    uint32_t offset; /* of the member in the program's struct */
    uint32_t size;   /* of a text member */
    bool mandatory;
    bool power_of_two;
    uint64_t min;
    uint64_t max;
};

/* Table rows: CONFIG_STR(struct s, member, CONFIG_TEXT, mandatory), CONFIG_NUM(struct s, member,
 * ...). */
#define CONFIG_STR(key, s, member, kind, must)                                                     \
    {                                                                                              \
        .name = key, .type = kind, .offset = offsetof(s, member),                                  \
        .size = sizeof(((s *)0)->member), .mandatory = must                                        \
    }
#define CONFIG_NUM(key, s, member, kind, low, high)                                                \
    {                                                                                              \
        .name = key, .type = kind, .offset = offsetof(s, member), .min = low, .max = high          \
    }

/* A file that was parsed, for sentences about it. */
struct config_file {
    const char *path; /* for sentences only */
    const struct config_key *table;
    uint32_t count;
    uint32_t
        line[CONFIG_KEYS_MAX]; /* where each key of the table was set, from 1; 0 = it was not */
    uint32_t lines;            /* of the file */
};

/* Fills in `out`; members of keys not named keep their values. 0 or -EINVAL with a sentence; `out` may
 * then be partly filled in. */
MUST_CHECK int config_parse(struct config_file *file, struct bytes text, void *out,
                            struct why *why);
/* A sentence about key `name` found wrong later, in the same form. Returns -EINVAL. */
int config_wrong(const struct config_file *file, const char *name, const char *expected,
                 const char *found, struct why *why);
/* Others must be able to dial what the key `advertise` names, or `listen` if it is empty. */
MUST_CHECK int config_need_dialable(const struct config_file *file, const char *listen,
                                    const char *advertise, struct why *why);
/* HOST:PORT, [IPv6]:PORT or unix:PATH? */
bool config_is_addr(struct bytes text);

#endif
