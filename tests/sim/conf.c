/* conf.c - configuration files of the simulated servers. */
#include "tests/sim/conf.h"
#include "chunkd/core/settings.h"
#include "master/core/settings.h"
#include "shared/base/mem.h"
#include "tests/sim/impostor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINES_MAX = 48, VALUE_MAX = 320, TEXT_MAX = 32 << 10, CONF_STREAM = 1 << 20 };

struct line {
    const char *key; /* NULL = none */
    char value[VALUE_MAX];
    uint32_t number; /* in the file, from 1 */
    bool wrong;
    bool nul; /* a NUL byte stands in it */
};

struct conf {
    struct sim_server *server;
    struct sim_rand rand;
    char path[64];
    struct line lines[LINES_MAX];
    uint32_t count;
    const char *named; /* the key that a refusal names; "" = none */
    char text[TEXT_MAX];
    uint32_t len;
    uint32_t last; /* line of the file */
};

/* ---------------------------------------------------------------- lines */

static struct line *find(struct conf *c, const char *key)
{
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->lines[i].key != NULL && strcmp(c->lines[i].key, key) == 0) {
            return &c->lines[i];
        }
    }
    return NULL;
}

static struct line *PRINTF_LIKE(3, 4) put(struct conf *c, const char *key, const char *format, ...)
{
    va_list ap;
    ASSERT(c->count < LINES_MAX);
    struct line *l = &c->lines[c->count++];
    *l = (struct line){.key = key};
    va_start(ap, format);
    vsnprintf(l->value, sizeof(l->value), format, ap);
    va_end(ap);
    return l;
}

static void put_number(struct conf *c, const char *key, uint64_t value)
{
    put(c, key, "%llu", (unsigned long long)value);
}

/* That holds anyway: most leave it out. */
static void put_usual(struct conf *c, const char *key, const char *value)
{
    if (sim_chance(&c->rand, 1, 3)) {
        put(c, key, "%s", value);
    }
}

static void put_size(struct conf *c, const char *key, uint64_t value)
{
    static const char *const suffixes[][2] = {{"", ""}, {"K", "k"}, {"M", "m"}, {"G", "g"}};
    uint32_t unit = 0;
    while (unit < 3 && value % 1024 == 0 && sim_chance(&c->rand, 3, 4)) {
        value /= 1024;
        unit++;
    }
    put(c, key, "%llu%s", (unsigned long long)value, suffixes[unit][sim_below(&c->rand, 2)]);
}

/* 0: as usual. */
static void put_if(struct conf *c, const char *key, uint64_t value)
{
    if (value != 0) {
        put_size(c, key, value);
    }
}

static void shuffle(struct conf *c)
{
    for (uint32_t i = c->count; i > 1; i--) {
        uint64_t k = sim_below(&c->rand, i);
        struct line l = c->lines[i - 1];
        c->lines[i - 1] = c->lines[k];
        c->lines[k] = l;
    }
}

static void add(struct conf *c, const char *text)
{
    size_t n = strlen(text);
    ASSERT(c->len + n <= sizeof(c->text));
    memcpy(c->text + c->len, text, n);
    c->len += (uint32_t)n;
}

static const char *one_of(struct conf *c, const char *const *texts, uint64_t count)
{
    return texts[sim_below(&c->rand, count)];
}

static void write_line(struct conf *c, struct line *l)
{
    static const char *const before[] = {"", "", "", " ", "\t", "\n", "# what follows\n", "#\r\n"};
    static const char *const equals[] = {" = ", " = ", "=", "\t=  ", " ="};
    static const char *const behind[] = {"", "", "", " ", "\r", " # so it was told", "\t#"};
    add(c, one_of(c, before, COUNT_OF(before)));
    l->number = 1;
    for (uint32_t i = 0; i < c->len; i++) {
        l->number += c->text[i] == '\n';
    }
    if (l->key != NULL) {
        add(c, l->key);
        add(c, one_of(c, equals, COUNT_OF(equals)));
    }
    add(c, l->value);
    if (l->nul) {
        c->text[c->len - 1] = 0;
    }
    add(c, one_of(c, behind, COUNT_OF(behind)));
    c->last = l->number;
}

static struct bytes write_text(struct conf *c)
{
    c->len = 0;
    shuffle(c);
    for (uint32_t i = 0; i < c->count; i++) {
        write_line(c, &c->lines[i]);
        if (i + 1 < c->count || sim_chance(&c->rand, 1, 2)) {
            add(c, "\n");
        }
    }
    return bytes_of(c->text, c->len);
}

/* ---------------------------------------------------------------- mistakes */

/* A value that is refused, in a file that is in order else. */
struct slip {
    const char *key, *value;
    const char *named;        /* the key it is said of, if another */
    const char *and, *value2; /* another line that goes with it */
    bool alone;               /* only if no list of masters says otherwise */
};

#define LONG_TEXT "0123456789012345678901234567890123456789012345678901234567890123456789"

static const struct slip common[] = {
    {.key = "dir"}, /* not there */
    {.key = "dir", .value = ""},
    {.key = "cluster", .value = ""},
    {.key = "cluster", .value = LONG_TEXT},
    {.key = "listen", .value = "9400"},
    {.key = "listen", .value = ":1"},
    {.key = "listen", .value = "h:"},
    {.key = "listen", .value = "h:0"},
    {.key = "listen", .value = "h:65536"},
    {.key = "listen", .value = "h:123456"},
    {.key = "listen", .value = "h:1x"},
    {.key = "listen", .value = "h:-1"},
    {.key = "listen", .value = "::1:1"},
    {.key = "listen", .value = "[]:1"},
    {.key = "listen", .value = "[::1:1"},
    {.key = "listen", .value = "h i:1"},
    {.key = "listen", .value = "h,i:1"},
    {.key = "listen", .value = "unix:"},
    {.key = "listen", .value = LONG_TEXT LONG_TEXT LONG_TEXT LONG_TEXT ":1"},
    {.key = "masters", .value = ""},
    {.key = "masters", .value = "a:1, b:2"},
    {.key = "masters", .value = "a:1,,b:2"},
    {.key = "listen", .value = "0.0.0.0:9400", .named = "advertise", .alone = true},
    {.key = "listen", .value = "[::]:9400", .named = "advertise", .alone = true},
};

static const struct slip of_master[] = {
    {.key = "masters", .value = "a:1,b:2"},
    {.key = "masters", .value = "a:1,a:1"},
    {.key = "masters", .value = "a:1,b:1,c:1,d:1,e:1,f:1"},
    {.key = "log_ack", .value = "most"},
    {.key = "logger_only", .value = "perhaps"},
    {.key = "logger_only", .value = "yes", .alone = true},
    {.key = "replicas", .value = "0"},
    {.key = "replicas", .value = "9"},
    {.key = "replicas", .value = "three"},
    {.key = "replicas", .value = "3K"},
    {.key = "replicas", .value = ""},
    {.key = "lease_ms", .value = "199"},
    {.key = "chunk_bytes", .value = "262145"},
    {.key = "chunk_bytes", .value = "64M"},
    {.key = "chunk_bytes", .value = "4K", .and = "block_bytes", .value2 = "64k"},
    {.key = "segment_bytes", .value = "2G"},
    {.key = "preallocate_bytes", .value = "17179869184G"},
    {.key = "preallocate_bytes", .value = "18446744073709551616"},
    {.key = "preallocate_bytes", .value = "K"},
    {.key = "preallocate_bytes", .value = "1T"},
};

static const struct slip of_chunkd[] = {
    {.key = "masters"},
    {.key = "masters",
     .value = "a:1,b:1,c:1,d:1,e:1,f:1,g:1,h:1,i:1,j:1,k:1,l:1,m:1,n:1,o:1,p:1,q:1"},
    {.key = "host", .value = LONG_TEXT},
    {.key = "rack", .value = ""},
    {.key = "flush_ms", .value = "9"},
    {.key = "aside_ms", .value = "4294967296"},
    {.key = "scrub_days", .value = "0"},
    {.key = "scrub_share", .value = "101"},
    {.key = "reserve_bytes", .value = "1048577G"},
};

/* What has to do with no key, or with none in particular: true if there is such a mistake now. */
static bool spoil_line(struct conf *c, uint64_t kind)
{
    static const char *const unknown[] = {"colour", "", "dirs", LONG_TEXT LONG_TEXT, "a\tb\x7f"};
    static const char *const words[] = {"words", LONG_TEXT LONG_TEXT, "a\x01\x7f\xc3", "dir"};
    struct line *l = &c->lines[sim_below(&c->rand, c->count)];
    c->named = "";
    switch (kind) {
    case 0:
        put(c, one_of(c, unknown, COUNT_OF(unknown)), "1")->wrong = true;
        return true;
    case 1:
        put(c, NULL, "%s", one_of(c, words, COUNT_OF(words)))->wrong = true;
        return true;
    case 2:
        l->wrong = l->nul = true;
        return true;
    case 3: /* of both the one that comes second is wrong */
        c->named = l->key;
        l->wrong = true;
        put(c, l->key, "%s", l->value)->wrong = true;
        return true;
    default:
        return false;
    }
}

static void take_out(struct conf *c, const char *key)
{
    struct line *l = find(c, key);
    if (l != NULL) {
        *l = c->lines[--c->count];
    }
}

static void spoil_value(struct conf *c, const struct slip *m)
{
    static const char *const odd[] = {"[fd00::7]:9400", "unix:/run/gfs", "a-b.c:9"};
    take_out(c, m->key);
    if (m->value != NULL) {
        put(c, m->key, "%s", m->value)->wrong = m->named == NULL;
    }
    if (m->and != NULL) {
        take_out(c, m->and);
        put(c, m->and, "%s", m->value2);
    }
    c->named = m->named != NULL ? m->named : m->key;
    if (m->named != NULL) {
        take_out(c, m->named);
    } else if (strcmp(m->key, "listen") == 0) { /* nothing is wrong with these */
        take_out(c, "advertise");
        put(c, "advertise", "%s", one_of(c, odd, COUNT_OF(odd)));
    }
}

/* What is written then must not be used. */
static void spoil(struct conf *c, const struct slip *own, uint64_t own_count)
{
    enum { KINDS = 24 };
    const struct slip *m;
    bool several = c->server->number == 0 && c->server->world->master_count > 1;
    if (spoil_line(c, sim_below(&c->rand, KINDS))) {
        return;
    }
    do {
        uint64_t i = sim_below(&c->rand, COUNT_OF(common) + own_count);
        m = i < COUNT_OF(common) ? &common[i] : &own[i - COUNT_OF(common)];
    } while (m->alone && several);
    spoil_value(c, m);
}

static void check_refusal(struct conf *c, int err, const struct why *why)
{
    char begin[sizeof(c->path) + 64];
    uint32_t number = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        number = c->lines[i].wrong ? MAX(number, c->lines[i].number) : number;
    }
    snprintf(begin, sizeof(begin), "%s:%u: %s%s", c->path, number != 0 ? number : c->last, c->named,
             c->named[0] != 0 ? ": " : "");
    if (err != -EINVAL || strncmp(why->text, begin, strlen(begin)) != 0 ||
        strpbrk(why->text, "\n\r\t") != NULL) {
        world_fail(c->server->world,
                   "a mistake in a configuration is answered %s '%s', wanted '%s'", err_name(err),
                   err != 0 ? why->text : "", begin);
    }
}

/* ---------------------------------------------------------------- what a server shall be told */

static void write_common(struct conf *c, const char *listen)
{
    const struct world *w = c->server->world;
    c->count = 0;
    put(c, "dir", "/srv/%s#1", c->server->process->name);
    put(c, "listen", "%s", listen);
    if (c->server->number != 0) {
        put_usual(c, "advertise", listen);
    } else if (w->advertises) {
        put(c, "advertise", "%s", listen);
    }
    if (w->other_cluster) {
        put(c, "cluster", "another");
    }
}

static void write_master(struct conf *c)
{
    struct sim_server *s = c->server;
    const struct world *w = s->world;
    const struct geometry *g = &w->geo;
    char addr[32];
    world_master_addr(s->rank, addr);
    write_common(c, addr);
    if (!w->other_cluster) {
        put(c, "cluster", "sim");
    }
    if (w->master_count > 1) {
        put(c, "masters", "%s", w->master_list);
        bool only = s->rank + w->loggers_only >= w->master_count;
        if (only) {
            put(c, "logger_only", "yes");
        } else {
            put_usual(c, "logger_only", "no");
        }
    }
    if (w->log_acks > w->master_count / 2 + 1) {
        put(c, "log_ack", "all");
    } else {
        put_usual(c, "log_ack", "majority");
    }
    put_usual(c, "replicas", "3");
    put_number(c, "heartbeat_ms", g->heartbeat_ms);
    put_number(c, "lease_ms", g->lease_ms);
    put_number(c, "session_ms", g->session_ms);
    put_number(c, "request_timeout_ms", g->request_timeout_ms);
    put_number(c, "checkpoint_records", g->checkpoint_records);
    put_size(c, "chunk_bytes", g->chunk_bytes);
    put_size(c, "block_bytes", g->block_bytes);
    put_size(c, "segment_bytes", g->segment_bytes);
    put_if(c, "preallocate_bytes", w->preallocate_bytes);
    put_if(c, "checkpoint_rate", w->tuning.checkpoint_rate);
    put_if(c, "large_state_bytes", w->large_state_bytes);
    if (w->log_scrub_s != 0) {
        put_number(c, "log_scrub_s", w->log_scrub_s);
    }
    put_number(c, "rereplication_share", w->tuning.rereplication_share);
    put_number(c, "balance_percent", w->tuning.balance_percent);
    put_number(c, "away_grace_ms", w->tuning.away_grace_ms);
    put_number(c, "pair_pause_ms", w->tuning.pair_pause_ms);
    put_number(c, "trash_seconds", w->trash_seconds);
    put_number(c, "deletion_hold_s", 60);
    put_number(c, "balance_kib_s", w->tuning.balance_kib_s);
    put_number(c, "slow_floor_ms", w->tuning.slow_floor_ms);
    put_number(c, "slow_window_ms", w->tuning.slow_window_ms);
}

static void write_chunkd(struct conf *c)
{
    struct sim_server *s = c->server;
    const struct world *w = s->world;
    char addr[32];
    snprintf(addr, sizeof(addr), "10.0.1.%u:%u", s->number, s->port);
    write_common(c, addr);
    if (!w->other_cluster && sim_chance(&c->rand, 7, 8)) { /* else it takes what it gets */
        put(c, "cluster", "sim");
    }
    bool first = sim_chance(&c->rand, 1, 2);
    put(c, "masters", "%s%s%s", w->impostor && first ? IMPOSTOR_ADDR "," : "", w->master_list,
        w->impostor && !first ? "," IMPOSTOR_ADDR : "");
    put(c, "host", "host-%u", s->host);
    if (s->rack > 0) {
        put(c, "rack", "rack-%u", s->rack);
    }
    put_number(c, "flush_ms", 1000);
    put_number(c, "aside_ms", w->aside_ms);
    put_number(c, "scrub_period_s", 5);
    put_usual(c, "scrub_days", "14");
    put_number(c, "scrub_share", w->scrub_share);
    put_if(c, "reserve_bytes", w->reserve_bytes);
}

/* ---------------------------------------------------------------- reading */

static struct conf *conf_new(struct sim_server *s)
{
    struct conf *c = mem_new(struct conf);
    c->server = s;
    c->rand = sim_rand_of(s->world->seed,
                          CONF_STREAM + s->process->number * 4096ull + s->process->starts);
    snprintf(c->path, sizeof(c->path), "/etc/gfs/%s.conf", s->process->name);
    return c;
}

static void end(struct conf *c, int err, const struct why *why)
{
    if (err != 0) {
        world_fail(c->server->world, "a configuration is refused: %s", why->text);
    }
    mem_free(c);
}

static int read_master(struct conf *c, struct master_settings *out, struct why *why)
{
    struct config_file file = master_settings_file(c->path);
    master_settings_init(out);
    int err = config_parse(&file, write_text(c), out, why);
    return err == 0 ? master_settings_take(&file, out, why) : err;
}

void conf_master(struct sim_server *s, struct master_config *out)
{
    struct conf *c = conf_new(s);
    struct master_settings settings;
    struct why why;
    write_master(c);
    if (sim_chance(&c->rand, 1, 4)) {
        spoil(c, of_master, COUNT_OF(of_master));
        int err = read_master(c, &settings, &why);
        check_refusal(c, err, &why);
        write_master(c);
    }
    end(c, read_master(c, &settings, &why), &why);
    *out = settings.core;
}

static int read_chunkd(struct conf *c, struct chunkd_settings *out, struct why *why)
{
    struct config_file file = chunkd_settings_file(c->path);
    chunkd_settings_init(out);
    int err = config_parse(&file, write_text(c), out, why);
    return err == 0 ? chunkd_settings_take(&file, out, why) : err;
}

void conf_chunkd(struct sim_server *s, struct chunkd_config *out)
{
    struct conf *c = conf_new(s);
    struct chunkd_settings settings;
    struct why why;
    write_chunkd(c);
    if (sim_chance(&c->rand, 1, 4)) {
        spoil(c, of_chunkd, COUNT_OF(of_chunkd));
        int err = read_chunkd(c, &settings, &why);
        check_refusal(c, err, &why);
        write_chunkd(c);
    }
    end(c, read_chunkd(c, &settings, &why), &why);
    *out = settings.core;
}
