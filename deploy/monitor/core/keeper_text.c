/* keeper_text.c - words and numbers, one space between two. */
#include "deploy/monitor/core/keeper_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_DIGITS = 10, NONCE_DIGITS = 16 };

static const char *word_or_dash(const char *word)
{
    return word[0] != 0 ? word : "-";
}

/* The next word; false if there is none, or it is too long. */
static bool take_word(const char **at, char *out, size_t size)
{
    size_t len = strcspn(*at, " ");
    if (len == 0 || len >= size) {
        return false;
    }
    memcpy(out, *at, len);
    out[len] = 0;
    *at += len + ((*at)[len] == ' ');
    if (strcmp(out, "-") == 0) {
        out[0] = 0;
    }
    return true;
}

static bool take_number(const char **at, uint64_t max, uint64_t *out)
{
    char word[24];
    if (!take_word(at, word, sizeof(word)) || word[0] == 0) {
        return false;
    }
    *out = 0;
    for (const char *c = word; *c != 0; c++) {
        uint64_t digit = (uint64_t)(*c - '0');
        if (*c < '0' || *c > '9' || *out > (max - digit) / 10) {
            return false;
        }
        *out = *out * 10 + digit;
    }
    return true;
}

static bool take_u32(const char **at, uint32_t max, uint32_t *out)
{
    uint64_t n = 0;
    bool ok = take_number(at, max, &n);
    *out = (uint32_t)n;
    return ok;
}

void keeper_put_epoch(char out[KEEPER_TEXT_MAX + 1], const struct keeper_epoch *e)
{
    snprintf(out, KEEPER_TEXT_MAX + 1, "%u %s %s %llu", e->epoch, word_or_dash(e->addr),
             word_or_dash(e->monitor), (unsigned long long)e->nonce);
}

bool keeper_get_epoch(const char *text, struct keeper_epoch *out)
{
    const char *at = text;
    return take_u32(&at, UINT32_MAX, &out->epoch) && take_word(&at, out->addr, sizeof(out->addr)) &&
           take_word(&at, out->monitor, sizeof(out->monitor)) &&
           take_number(&at, UINT64_MAX, &out->nonce) && *at == 0;
}

void keeper_put_active(char out[KEEPER_TEXT_MAX + 1], uint32_t epoch, const char *addr)
{
    snprintf(out, KEEPER_TEXT_MAX + 1, "%u %s", epoch, word_or_dash(addr));
}

bool keeper_get_active(const char *text, uint32_t *out_epoch, char addr[ADDR_LEN_MAX + 1])
{
    const char *at = text;
    return take_u32(&at, UINT32_MAX, out_epoch) && take_word(&at, addr, ADDR_LEN_MAX + 1) &&
           *at == 0;
}

void keeper_put_candidate(char out[KEEPER_TEXT_MAX + 1], const struct elect_candidate *c)
{
    snprintf(out, KEEPER_TEXT_MAX + 1, "%u %u %u %u %llu %s", c->able, c->braked, c->role, c->epoch,
             (unsigned long long)c->durable, word_or_dash(c->addr));
}

bool keeper_get_candidate(const char *text, struct elect_candidate *out)
{
    const char *at = text;
    uint32_t able = 0, braked = 0;
    bool ok = take_u32(&at, 1, &able) && take_u32(&at, 1, &braked) &&
              take_u32(&at, UINT32_MAX, &out->role) && take_u32(&at, UINT32_MAX, &out->epoch) &&
              take_number(&at, UINT64_MAX, &out->durable) &&
              take_word(&at, out->addr, sizeof(out->addr)) && *at == 0;
    out->able = able != 0;
    out->braked = braked != 0;
    return ok;
}

void keeper_put_lock(char out[KEEPER_NAME_MAX + 1], uint64_t nonce)
{
    snprintf(out, KEEPER_NAME_MAX + 1, "%016llx-", (unsigned long long)nonce);
}

bool keeper_get_lock(const char *name, uint64_t *out_nonce, uint64_t *out_number)
{
    char *end;
    if (strlen(name) != NONCE_DIGITS + 1 + NUMBER_DIGITS || name[NONCE_DIGITS] != '-' ||
        strspn(name, "0123456789abcdef") != NONCE_DIGITS ||
        strspn(name + NONCE_DIGITS + 1, "0123456789") != NUMBER_DIGITS) {
        return false;
    }
    *out_nonce = strtoull(name, &end, 16);
    *out_number = strtoull(name + NONCE_DIGITS + 1, &end, 10);
    return true;
}
