/* typed.c - requests whose every field is drawn from the operation's table. */
#include "tests/sim/typed.h"
#include "shared/base/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Numbers of what there is not begin here. */
#define NOWHERE (1ull << 50)

struct typed *typed_new(struct sim_rand *r)
{
    struct typed *t = mem_new(struct typed);
    t->rand = r;
    memset(t->letters, 'x', sizeof(t->letters));
    return t;
}

static void drop_lists(struct typed *t)
{
    while (t->list_count > 0) {
        writer_free(&t->lists[--t->list_count]);
    }
}

void typed_free(struct typed *t)
{
    drop_lists(t);
    mem_free(t);
}

/* ---------------------------------------------------------------- numbers */

static uint64_t nasty(struct typed *t)
{
    static const uint64_t values[] = {0,          1,          2,          3,
                                      0x7fffffff, 0x80000000, UINT32_MAX, 1ull << 32,
                                      INT64_MAX,  1ull << 63, UINT64_MAX};
    uint64_t i = sim_below(t->rand, COUNT_OF(values) + 2);
    return i < COUNT_OF(values) ? values[i] : sim_rand64(t->rand);
}

static bool is_field(const char *field, const char *of)
{
    size_t n = strlen(field);
    for (const char *at = of; at != NULL; at = strchr(at, ' ')) {
        at += *at == ' ';
        if (strncmp(at, field, n) == 0 && (at[n] == ' ' || at[n] == '\0')) {
            return true;
        }
    }
    return false;
}

/* One that names something: what there is, its neighbour, or nothing. */
static uint64_t some_number(struct typed *t, uint64_t real)
{
    if (t->ground.none) {
        return NOWHERE | sim_below(t->rand, NOWHERE);
    }
    uint64_t draw = sim_below(t->rand, 8);
    return draw < 6 ? real : draw == 6 ? real + sim_below(t->rand, 3) - 1 : nasty(t);
}

static void draw_u64(struct typed *t, const char *field, uint64_t *v)
{
    const struct typed_ground *g = &t->ground;
    if (is_field(field, "ino")) {
        *v = some_number(t, g->ino);
    } else if (is_field(field, "parent new_parent dir")) {
        *v = some_number(t, g->dir);
    } else if (is_field(field, "handle")) {
        *v = some_number(t, g->handle);
    } else if (is_field(field, "version failed_version old source_version")) {
        *v = some_number(t, g->version);
    } else if (is_field(field, "index from first")) {
        *v = some_number(t, g->index);
    } else if (is_field(field, "number")) {
        *v = sim_chance(t->rand, 3, 4) ? g->number : nasty(t);
    } else if (is_field(field, "size end cookie")) {
        *v = sim_chance(t->rand, 3, 4) ? sim_below(t->rand, 700000) : nasty(t);
    } else {
        *v = nasty(t);
    }
}

static void draw_u32(struct typed *t, const char *field, uint32_t *v)
{
    static const uint32_t types[] = {0,       S_IFREG, S_IFDIR,  S_IFLNK,
                                     S_IFCHR, S_IFIFO, S_IFSOCK, S_IFBLK};
    bool sound = sim_chance(t->rand, 3, 4);
    if (is_field(field, "mode")) {
        *v = types[sim_below(t->rand, COUNT_OF(types))] | (uint32_t)sim_below(t->rand, 010000);
    } else if (is_field(field, "mask")) {
        *v = (uint32_t)sim_below(t->rand, 1 << 12) & (uint32_t)sim_below(t->rand, 1 << 12);
    } else if (is_field(field, "flags kind role part action role why")) {
        *v = (uint32_t)sim_below(t->rand, 6);
    } else if (sound && is_field(field, "server failed_server id")) {
        *v = t->ground.server;
    } else if (sound && is_field(field, "offset")) {
        *v = (uint32_t)sim_below(t->rand, 300 * 1024);
    } else if (sound && is_field(field, "length bytes")) {
        *v = (uint32_t)sim_below(t->rand, 70 * 1024);
    } else if (sound && is_field(field, "count replicas nsec acks")) {
        *v = (uint32_t)sim_below(t->rand, 70);
    } else {
        *v = (uint32_t)nasty(t);
    }
}

static void draw_i64(struct typed *t, const char *field, int64_t *v)
{
    static const int64_t values[] = {0,         -1,        -5, -28, -100, -40000,
                                     INT64_MIN, INT64_MAX, 7,  200, 70000};
    (void)field;
    *v = values[sim_below(t->rand, COUNT_OF(values))];
}

static void draw_flag(struct typed *t, const char *field, bool *v)
{
    (void)field;
    *v = sim_chance(t->rand, 1, 2);
}

/* ---------------------------------------------------------------- texts */

static struct bytes letters(struct typed *t, uint32_t n)
{
    return bytes_of(t->letters, n);
}

static void draw_name(struct typed *t, const char *field, struct bytes *v)
{
    static const char *const good[] = {"n0", "n1", "n2", "n3", "n4", "n5", "n6"};
    static const struct bytes bad[] = {
        {(const uint8_t *)".", 1},   {(const uint8_t *)"..", 2},   {(const uint8_t *)"", 0},
        {(const uint8_t *)"a/b", 3}, {(const uint8_t *)"a\0b", 3}, {(const uint8_t *)"/", 1},
        {(const uint8_t *)".a", 2},  {(const uint8_t *)"..a", 3},  {(const uint8_t *)"a\0b/c", 5}};
    uint64_t draw = sim_below(t->rand, 40);
    (void)field;
    if (draw < 36) {
        *v = bytes_str(good[sim_below(t->rand, COUNT_OF(good))]);
    } else if (draw < 39) {
        *v = bad[sim_below(t->rand, COUNT_OF(bad))];
    } else {
        *v = letters(t, NAME_LEN_MAX + (uint32_t)sim_below(t->rand, 2));
    }
}

static void draw_text(struct typed *t, const char *field, struct bytes *v)
{
    static const struct bytes some[] = {{(const uint8_t *)"", 0},
                                        {(const uint8_t *)"x", 1},
                                        {(const uint8_t *)"10.0.1.1:9500", 13},
                                        {(const uint8_t *)"10.0.1.9:9500", 13},
                                        {(const uint8_t *)"10.0.1.1:95000", 14},
                                        {(const uint8_t *)"a\0b", 3}};
    uint64_t draw = sim_below(t->rand, COUNT_OF(some) + 1);
    (void)field;
    *v = draw < COUNT_OF(some) ? some[draw]
                               : letters(t, (uint32_t)sim_below(t->rand, ADDR_LEN_MAX + 2));
}

/* Values of attributes are short, or too long; those that a path may have are all looked up. */
static void draw_bytes(struct typed *t, const char *field, struct bytes *v)
{
    static const char *const names[] = {"user.a0", "user.a1", "user.a2", "", "user.gfs.replicas"};
    static const char *const values[] = {"1", "17", "", "0", "9", "abc"};
    static const char *const paths[] = {"",           "/",          "/meta/n1",    "meta//n2/",
                                        "/meta/./n3", "/meta/../x", "/data",       "/meta/n1/n2",
                                        ".",          "/nowhere/x", "/meta/n1/..", "//meta///"};
    uint32_t too_long = is_field(field, "value")    ? XATTR_VALUE_MAX + 1
                        : is_field(field, "name")   ? XATTR_NAME_MAX + 1
                        : is_field(field, "target") ? SYMLINK_LEN_MAX + 1
                                                    : NAME_LEN_MAX + 1;
    if (is_field(field, "sums")) {
        *v = letters(t, (uint32_t)sim_below(t->rand, 20));
    } else if (sim_chance(t->rand, 1, 12)) {
        *v = letters(t, too_long);
    } else if (is_field(field, "name")) {
        *v = sim_chance(t->rand, 1, 12) ? bytes_of((const uint8_t *)"a\0b", 3)
                                        : bytes_str(names[sim_below(t->rand, COUNT_OF(names))]);
    } else if (is_field(field, "path prefix to")) {
        *v = bytes_str(paths[sim_below(t->rand, COUNT_OF(paths))]);
    } else {
        *v = bytes_str(values[sim_below(t->rand, COUNT_OF(values))]);
    }
}

/* ---------------------------------------------------------------- lists */

static void draw_server(struct typed *t, const char *field, struct server *v);

void typed_put_masters(struct writer *w, const char *list)
{
    for (const char *at = list; *at != '\0';) {
        size_t n = strcspn(at, ",");
        struct bytes one = bytes_of((const uint8_t *)at, (uint32_t)n);
        enc_text(w, &one);
        at += n + (at[n] == ',');
    }
}

static void put_item(struct typed *t, struct writer *w, const char *field)
{
    uint64_t number = some_number(t, sim_chance(t->rand, 1, 2) ? t->ground.ino : t->ground.handle);
    if (is_field(field, "members others")) {
        struct server one;
        draw_server(t, field, &one);
        enc_server(w, &one);
    } else {
        enc_u64(w, &number);
    }
}

static void draw_list(struct typed *t, const char *field, struct bytes *v)
{
    uint32_t count = (uint32_t)sim_below(t->rand, 5);
    ASSERT(t->list_count < TYPED_LISTS_MAX);
    struct writer *w = &t->lists[t->list_count++];
    writer_init(w);
    if (sim_chance(t->rand, 1, 20)) {
        count = TYPED_ITEMS_MAX;
    }
    if (is_field(field, "masters") && sim_chance(t->rand, 1, 2)) {
        typed_put_masters(w, t->ground.masters);
        count = 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        put_item(t, w, field);
    }
    if (sim_chance(t->rand, 1, 30)) {
        writer_raw(w, "\xc1", 1); /* nothing that could be read */
    }
    *v = writer_bytes(w);
}

/* ---------------------------------------------------------------- the tables */

#define STRUCT(name, doc)                                                                          \
    __attribute__((unused)) static void draw_##name(struct typed *t, const char *field_,           \
                                                    struct name *v)                                \
    {                                                                                              \
        (void)field_;
#define FIELD(owner, field, type, doc) draw_##type(t, #field, &v->field);
#define ENDSTRUCT(name)                }
#include "shared/proto/types.def"
#undef STRUCT
#undef FIELD
#undef ENDSTRUCT

#define OP(name, code, class, doc)                                                                 \
    static void draw_##name##_req(struct typed *t, struct name##_req *v)                           \
    {                                                                                              \
        (void)t;                                                                                   \
        (void)v;
#define IN(op, field, type, doc) draw_##type(t, #field, &v->field);
#define END(name)                }
#include "shared/proto/ops.def"

void typed_draw(struct typed *t, const struct op_info *op, const struct typed_ground *ground,
                union op_any *out)
{
    t->ground = *ground;
    drop_lists(t);
    memset(out, 0, sizeof(*out));
    switch ((enum op_code)op->code) {
#define OP(name, code, class, doc)                                                                 \
    case OP_##name:                                                                                \
        draw_##name##_req(t, &out->name##_req);                                                    \
        break;
#include "shared/proto/ops.def"
    }
}

struct slice typed_body(struct typed *t, const struct op_info *op, const union op_any *req)
{
    struct writer w;
    writer_init(&w);
    op->req_encode(&w, req);
    struct bytes all = writer_bytes(&w);
    if (all.len > 1 && sim_chance(t->rand, 1, 60)) {
        struct writer part;
        writer_init(&part);
        writer_raw(&part, all.data, 1 + (uint32_t)sim_below(t->rand, all.len - 1));
        writer_free(&w);
        return writer_take(&part);
    }
    return writer_take(&w);
}
