/* masters.c - the masters somebody knows. */
#include "shared/env/masters.h"

#include <string.h>

#include "shared/base/config.h"

int masters_parse(struct masters *s, const char *list, struct why *why)
{
    *s = (struct masters){0};
    while (*list != '\0') {
        size_t n = strcspn(list, ",");
        if (!config_is_addr(bytes_of(list, n))) {
            return why_set(why, -EINVAL, "masters: expected HOST:PORT[,HOST:PORT], found '%.100s'",
                           list);
        }
        if (s->count == MASTERS_MAX) {
            return why_set(why, -EINVAL, "masters: at most %d addresses", MASTERS_MAX);
        }
        memcpy(s->addrs[s->count++], list, n);
        list += n + (list[n] == ',');
    }
    return s->count > 0 ? 0 : why_set(why, -EINVAL, "masters: no address given");
}

bool masters_several(const struct masters *s)
{
    return s->count > 1;
}

bool masters_have(const struct masters *s, struct bytes addr)
{
    for (uint32_t i = 0; i < s->count; i++) {
        if (bytes_equal(bytes_str(s->addrs[i]), addr)) {
            return true;
        }
    }
    return false;
}

const char *masters_take(struct masters *s)
{
    if (s->hint[0] != '\0') {
        memcpy(s->current, s->hint, sizeof(s->current));
        s->hint[0] = '\0';
    } else {
        memcpy(s->current, s->addrs[s->next], sizeof(s->current));
        s->next = (s->next + 1) % s->count;
        s->taken++;
    }
    return s->current;
}

void masters_begin_after(struct masters *s, const char *addr)
{
    masters_round_begins(s);
    for (uint32_t i = 0; i < s->count; i++) {
        if (strcmp(s->addrs[i], addr) == 0) {
            s->next = (i + 1) % s->count;
        }
    }
}

static void set_hint(struct masters *s, struct bytes addr)
{
    memcpy(s->hint, addr.data, addr.len);
    s->hint[addr.len] = '\0';
}

bool masters_named(struct masters *s, struct bytes primary)
{
    if (primary.len == 0 || primary.len > ADDR_LEN_MAX || s->hinted ||
        bytes_equal(primary, bytes_str(s->current))) {
        return false;
    }
    set_hint(s, primary);
    s->hinted = true;
    return true;
}

bool masters_found(struct masters *s, const char *addr)
{
    if (s->hint[0] != '\0') {
        return false;
    }
    set_hint(s, bytes_str(addr));
    return true;
}

bool masters_round_over(const struct masters *s)
{
    return s->hint[0] == '\0' && s->taken >= s->count;
}

void masters_round_begins(struct masters *s)
{
    s->taken = 0;
    s->hinted = false;
}
