/* test_codec.c - the codecs that come from the tables: round trips, cut and hostile input, a
 * comparison with msgpack's own parser, golden bytes.
 *
 * fill_x and same_x exist for every type and every operation, expanded from the same tables as the
 * codecs.
 */
#include "shared/base/hash.h"
#include "shared/proto/frame.h"
#include "shared/proto/schema.h"
#include "tests/sim/sim.h"
#include "tests/unit/unit.h"

#include <msgpack.h>
#include <stdlib.h>

Suite *suite_codec(void);

/* ---------------------------------------------------------------- random values */

struct fill {
    struct sim_rand r;
    uint8_t pool[1 << 16]; /* what views point to */
    uint32_t used;
};

static struct bytes random_bytes(struct fill *f, uint32_t min, uint32_t max)
{
    uint32_t len = (uint32_t)sim_between(&f->r, min, sim_chance(&f->r, 1, 8) ? max : MIN(max, 20));
    MUST(f->used + len <= sizeof(f->pool));
    uint8_t *at = f->pool + f->used;
    for (uint32_t i = 0; i < len; i++) {
        at[i] = (uint8_t)sim_rand64(&f->r);
    }
    f->used += len;
    return bytes_of(at, len);
}

static uint64_t random_width(struct fill *f)
{
    return sim_rand64(&f->r) >> sim_below(&f->r, 64);
}

static void fill_u32(struct fill *f, uint32_t *v)
{
    *v = (uint32_t)random_width(f);
}
static void fill_u64(struct fill *f, uint64_t *v)
{
    *v = random_width(f);
}
static void fill_i64(struct fill *f, int64_t *v)
{
    *v = unzigzag(random_width(f));
}
static void fill_flag(struct fill *f, bool *v)
{
    *v = sim_chance(&f->r, 1, 2);
}
static void fill_name(struct fill *f, struct bytes *v)
{
    *v = random_bytes(f, 3, NAME_LEN_MAX); /* three: neither . nor .. */
    for (uint32_t i = 0; i < v->len; i++) {
        uint8_t *c = f->pool + f->used - v->len + i;
        *c = *c == '/' || *c == 0 ? 'x' : *c;
    }
}
static void fill_text(struct fill *f, struct bytes *v)
{
    *v = random_bytes(f, 0, ADDR_LEN_MAX);
    for (uint32_t i = 0; i < v->len; i++) {
        uint8_t *c = f->pool + f->used - v->len + i;
        *c = *c == 0 ? 'x' : *c;
    }
}
static void fill_bytes(struct fill *f, struct bytes *v)
{
    *v = random_bytes(f, 0, 2000);
}
static void fill_list(struct fill *f, struct bytes *v)
{
    *v = random_bytes(f, 0, 2000);
}

#define SAME_SCALAR(type)                                                                          \
    static bool same_##type(const T_##type *a, const T_##type *b)                                  \
    {                                                                                              \
        return *a == *b;                                                                           \
    }
#define SAME_VIEW(type)                                                                            \
    static bool same_##type(const struct bytes *a, const struct bytes *b)                          \
    {                                                                                              \
        return bytes_equal(*a, *b);                                                                \
    }
SAME_SCALAR(u32)
SAME_SCALAR(u64)
SAME_SCALAR(i64)
SAME_SCALAR(flag)
SAME_VIEW(name)
SAME_VIEW(text)
SAME_VIEW(bytes)
SAME_VIEW(list)

#define STRUCT(name, doc)                                                                          \
    static void fill_##name(struct fill *f, struct name *v)                                        \
    {
#define FIELD(owner, field, type, doc) fill_##type(f, &v->field);
#define ENDSTRUCT(name)                }
#include "shared/proto/types.def"
#undef STRUCT
#undef FIELD
#undef ENDSTRUCT
#define STRUCT(name, doc)                                                                          \
    static bool same_##name(const struct name *a, const struct name *b)                            \
    {                                                                                              \
        bool same = true;
#define FIELD(owner, field, type, doc) same &= same_##type(&a->field, &b->field);
#define ENDSTRUCT(name)                                                                            \
    return same;                                                                                   \
    }
#include "shared/proto/types.def"
#undef STRUCT
#undef FIELD
#undef ENDSTRUCT

#define FILL(name, part)                                                                           \
    static void fill_##name##_##part(struct fill *f, void *to)                                     \
    {                                                                                              \
        struct name##_##part *m = to;                                                              \
        (void)f;                                                                                   \
        (void)m;
#define FILL_FIELD(field, type) fill_##type(f, &m->field);
#define SAME(name, part)                                                                           \
    static bool same_##name##_##part(const void *first, const void *second)                        \
    {                                                                                              \
        const struct name##_##part *a = first, *b = second;                                        \
        bool same = true;                                                                          \
        (void)a;                                                                                   \
        (void)b;
#define SAME_FIELD(field, type) same &= same_##type(&a->field, &b->field);
#define SAME_END                                                                                   \
    return same;                                                                                   \
    }

#define OP(name, code, class, doc) FILL(name, req)
#define IN(op, field, type, doc)   FILL_FIELD(field, type)
#define END(name)                  }
#include "shared/proto/ops.def"
#define OP(name, code, class, doc) FILL(name, rec)
#define IN(op, field, type, doc)   FILL_FIELD(field, type)
#define DEC(op, field, type, doc)  FILL_FIELD(field, type)
#define END(name)                  }
#include "shared/proto/ops.def"
#define OP(name, code, class, doc) FILL(name, rep)
#define OUT(op, field, type, doc)  FILL_FIELD(field, type)
#define END(name)                  }
#include "shared/proto/ops.def"
#define OP(name, code, class, doc) SAME(name, req)
#define IN(op, field, type, doc)   SAME_FIELD(field, type)
#define END(name)                  SAME_END
#include "shared/proto/ops.def"
#define OP(name, code, class, doc) SAME(name, rec)
#define IN(op, field, type, doc)   SAME_FIELD(field, type)
#define DEC(op, field, type, doc)  SAME_FIELD(field, type)
#define END(name)                  SAME_END
#include "shared/proto/ops.def"
#define OP(name, code, class, doc) SAME(name, rep)
#define OUT(op, field, type, doc)  SAME_FIELD(field, type)
#define END(name)                  SAME_END
#include "shared/proto/ops.def"

/* One message of an operation: how to fill, compare and code it. */
struct part {
    void (*fill)(struct fill *f, void *to);
    bool (*same)(const void *a, const void *b);
    void (*encode)(struct writer *w, const void *m);
    int (*decode)(struct bytes in, void *m);
    void (*print)(struct printer *p, const void *m);
};

enum { PARTS = 3 };

static struct part part_of(const struct op_info *info, int which)
{
    static const struct {
        uint16_t code;
        struct part part[PARTS];
    } filled[] = {
#define OP(name, code, class, doc)                                                                 \
    {code,                                                                                         \
     {{.fill = fill_##name##_req, .same = same_##name##_req},                                      \
      {.fill = fill_##name##_rec, .same = same_##name##_rec},                                      \
      {.fill = fill_##name##_rep, .same = same_##name##_rep}}},
#include "shared/proto/ops.def"
    };
    struct part p = {0};
    for (size_t i = 0; i < COUNT_OF(filled); i++) {
        if (filled[i].code == info->code) {
            p = filled[i].part[which];
        }
    }
    p.encode = which == 0 ? info->req_encode : which == 1 ? info->rec_encode : info->rep_encode;
    p.decode = which == 0 ? info->req_decode : which == 1 ? info->rec_decode : info->rep_decode;
    p.print = which == 0 ? info->req_print : which == 1 ? info->rec_print : info->rep_print;
    return p;
}

/* Runs each(part, name) for every message of every operation. */
static void for_each_part(void (*each)(const struct part *p, struct fill *f))
{
    static struct fill f;
    f.r = sim_rand_of(5, 5);
    for (uint32_t i = 0; i < op_table_count; i++) {
        for (int which = 0; which < PARTS; which++) {
            struct part p = part_of(&op_table[i], which);
            each(&p, &f);
        }
    }
}

/* Decodes a copy of exactly `len` bytes, so that a read beyond them is seen by the sanitizer. */
static int decode_copy(const struct part *p, const void *data, size_t len)
{
    static union op_any out;
    uint8_t *copy = malloc(len > 0 ? len : 1);
    memcpy(copy, data, len);
    int err = p->decode(bytes_of(copy, len), &out);
    free(copy);
    return err;
}

/* ---------------------------------------------------------------- every operation */

static void check_round_trip(const struct part *p, struct fill *f)
{
    static union op_any in, out;
    for (int i = 0; i < 100; i++) {
        struct writer w, again;
        char text[256];
        writer_init(&w);
        writer_init(&again);
        f->used = 0;
        p->fill(f, &in);
        p->encode(&w, &in);
        memset(&out, 0xa5, sizeof(out));
        MUST(p->decode(writer_bytes(&w), &out) == 0);
        MUST(p->same(&in, &out));
        p->encode(&again, &out);
        MUST(bytes_equal(writer_bytes(&w), writer_bytes(&again)));
        struct printer printer = {text, sizeof(text)};
        p->print(&printer, &out);
        MUST(strlen(text) < sizeof(text));
        writer_free(&w);
        writer_free(&again);
    }
}

START_TEST(every_message_round_trips)
{
    size_t before = buf_total_bytes();
    for_each_part(check_round_trip);
    ck_assert_uint_eq(buf_total_bytes(), before);
}
END_TEST

/* Also those that stand only in lists. */
START_TEST(every_struct_round_trips)
{
    static struct fill f;
    f.r = sim_rand_of(6, 6);
    struct writer w;
    writer_init(&w);
#define STRUCT(name, doc)                                                                          \
    for (int i = 0; i < 100; i++) {                                                                \
        struct name in, out;                                                                       \
        f.used = w.len = 0;                                                                        \
        fill_##name(&f, &in);                                                                      \
        enc_##name(&w, &in);                                                                       \
        struct reader r = reader_of(writer_bytes(&w));                                             \
        dec_##name(&r, &out);                                                                      \
        MUST(r.err == 0 && reader_done(&r) && same_##name(&in, &out));                             \
    }
#define FIELD(owner, field, type, doc)
#define ENDSTRUCT(name)
#include "shared/proto/types.def"
#undef STRUCT
#undef FIELD
#undef ENDSTRUCT
    writer_free(&w);
}
END_TEST

static void check_cut(const struct part *p, struct fill *f)
{
    static union op_any in;
    struct writer w;
    writer_init(&w);
    f->used = 0;
    p->fill(f, &in);
    p->encode(&w, &in);
    struct bytes all = writer_bytes(&w);
    MUST(decode_copy(p, all.data, all.len) == 0);
    for (uint32_t len = 0; len < all.len; len++) {
        MUST(decode_copy(p, all.data, len) == ERR_PROTOCOL);
    }
    writer_raw(&w, "\xc0", 1); /* and nothing may follow */
    all = writer_bytes(&w);
    MUST(decode_copy(p, all.data, all.len) == ERR_PROTOCOL);
    writer_free(&w);
}

START_TEST(cut_messages_are_refused)
{
    for_each_part(check_cut);
}
END_TEST

/* Array of the first `count` elements of an encoded message plus `extra`. */
static void check_more_elements(const struct part *p, struct fill *f)
{
    static const char extra[] =
        "\x82\xa1k\x93\x01\xc0\xc4\x02zz\x02\xcb\1\2\3\4\5\6\7\x08" /* a map */
        "\xd6\x05wxyz"                                              /* ext */
        "\xd9\x03str";
    static union op_any in, out;
    struct writer w, longer;
    writer_init(&w);
    writer_init(&longer);
    f->used = 0;
    p->fill(f, &in);
    p->encode(&w, &in);
    struct bytes all = writer_bytes(&w);
    bool many = all.data[0] == 0xdc; /* array of a 16-bit length; else one of at most 15 */
    ck_assert(many || (all.data[0] & 0xf0) == 0x90);
    uint32_t count = many ? (uint32_t)all.data[1] << 8 | all.data[2] : all.data[0] & 0x0fu;
    uint32_t head = many ? 3 : 1;
    writer_array(&longer, count + 3);
    writer_raw(&longer, all.data + head, all.len - head);
    writer_raw(&longer, extra, sizeof(extra) - 1);
    ck_assert_int_eq(p->decode(writer_bytes(&longer), &out), 0);
    ck_assert(p->same(&in, &out));
    writer_free(&w);
    writer_free(&longer);
}

START_TEST(unknown_elements_are_skipped)
{
    for_each_part(check_more_elements);
}
END_TEST

START_TEST(missing_elements_are_zero)
{
    struct mkdir_req req = {.parent = 1, .name = bytes_str("n"), .mode = 2, .uid = 3, .gid = 4};
    struct mkdir_req got;
    struct writer w;
    writer_init(&w);
    mkdir_req_encode(&w, &req);
    struct bytes all = writer_bytes(&w);
    ck_assert_uint_eq(all.data[0], 0x95);
    w.buf->data[0] = 0x93;
    memset(&got, 0xff, sizeof(got));
    ck_assert_int_eq(mkdir_req_decode(bytes_of(all.data, all.len - 2), &got), 0);
    ck_assert_uint_eq(got.mode, 2);
    ck_assert_uint_eq(got.uid, 0);
    ck_assert_uint_eq(got.gid, 0);
    w.buf->data[0] = 0x91; /* a missing name is no name: refused */
    ck_assert_int_eq(mkdir_req_decode(bytes_of(all.data, 2), &got), ERR_PROTOCOL);
    writer_free(&w);
}
END_TEST

static void check_hostile(const struct part *p, struct fill *f)
{
    static const struct {
        const char *data;
        size_t len;
    } hostile[] = {
        {"\xdd\xff\xff\xff\xff", 5},
        {"\xdc\xff\xff", 3},
        {"\xdf\xff\xff\xff\xff", 5},
        {"\xc6\xff\xff\xff\xff", 5},
        {"\xdb\xff\xff\xff\xff", 5},
        {"\xc9\xff\xff\xff\xff\x00", 6},
        {"\x9f\xdd\xff\xff\xff\xff", 6},
        {"\x9f\xc6\xff\xff\xff\xff", 6},
        {"\x9f\x01\xc6\xff\xff\xff\xff", 7},
        {"\xc1", 1},
        {"\x9f\xc1", 2},
    };
    for (size_t i = 0; i < COUNT_OF(hostile); i++) {
        MUST(decode_copy(p, hostile[i].data, hostile[i].len) == ERR_PROTOCOL);
    }
    /* Arrays and maps in one another as deep as bytes allow. */
    static uint8_t deep[100000];
    memset(deep, 0x91, sizeof(deep));
    MUST(decode_copy(p, deep, sizeof(deep)) == ERR_PROTOCOL);
    memset(deep, 0x81, sizeof(deep));
    MUST(decode_copy(p, deep, sizeof(deep)) == ERR_PROTOCOL);
    /* Messages with some bits changed: refused, or something else that encodes again. */
    static union op_any m, out;
    for (int i = 0; i < 50; i++) {
        struct writer w, again;
        writer_init(&w);
        writer_init(&again);
        f->used = 0;
        p->fill(f, &m);
        p->encode(&w, &m);
        for (int j = 0; j < 3; j++) {
            w.buf->data[sim_below(&f->r, w.len)] ^= (uint8_t)(1u << sim_below(&f->r, 8));
        }
        if (p->decode(writer_bytes(&w), &out) == 0) {
            p->encode(&again, &out);
            MUST(p->decode(writer_bytes(&again), &m) == 0);
        }
        writer_free(&w);
        writer_free(&again);
    }
}

START_TEST(hostile_messages_are_refused)
{
    size_t before = buf_total_bytes();
    for_each_part(check_hostile);
    ck_assert_uint_eq(buf_total_bytes(), before);
}
END_TEST

START_TEST(names_are_checked)
{
    static const struct {
        const char *name;
        uint32_t len;
        bool good;
    } names[] = {{"a", 1, true},        {"", 0, false},  {".", 1, false},   {"..", 2, false},
                 {"...", 3, true},      {".a", 2, true}, {"a/b", 3, false}, {"a\0b", 3, false},
                 {"\xff\xfe", 2, true}, {"\n", 1, true}, {"/", 1, false}};
    struct lookup_req req = {.parent = 1}, got;
    char longest[256];
    memset(longest, 'l', sizeof(longest));
    for (size_t i = 0; i <= COUNT_OF(names) + 1; i++) {
        bool bound = i >= COUNT_OF(names);
        req.name = bound ? bytes_of(longest, 255 + i - COUNT_OF(names))
                         : bytes_of(names[i].name, names[i].len);
        bool good = bound ? i == COUNT_OF(names) : names[i].good;
        struct writer w;
        writer_init(&w);
        lookup_req_encode(&w, &req);
        ck_assert_int_eq(lookup_req_decode(writer_bytes(&w), &got), good ? 0 : ERR_PROTOCOL);
        writer_free(&w);
    }
}
END_TEST

/* ---------------------------------------------------------------- against msgpack's parser */

static void pack_random(struct fill *f, msgpack_packer *p, int depth)
{
    struct bytes b = {0};
    uint32_t n = (uint32_t)sim_below(&f->r, 4);
    switch (sim_below(&f->r, depth > 0 ? 11 : 8)) {
    case 0:
        msgpack_pack_nil(p);
        break;
    case 1:
        msgpack_pack_uint64(p, random_width(f));
        break;
    case 2:
        msgpack_pack_int64(p, unzigzag(random_width(f)));
        break;
    case 3:
        msgpack_pack_double(p, (double)random_width(f));
        break;
    case 4:
        (void)(sim_chance(&f->r, 1, 2) ? msgpack_pack_true(p) : msgpack_pack_false(p));
        break;
    case 5:
        b = random_bytes(f, 0, 300);
        msgpack_pack_bin(p, b.len);
        msgpack_pack_bin_body(p, b.data, b.len);
        break;
    case 6:
        b = random_bytes(f, 0, 300);
        msgpack_pack_str(p, b.len);
        msgpack_pack_str_body(p, b.data, b.len);
        break;
    case 7:
        b = random_bytes(f, 0, 300);
        msgpack_pack_ext(p, b.len, 5);
        msgpack_pack_ext_body(p, b.data, b.len);
        break;
    case 8:
    case 9:
        msgpack_pack_array(p, n);
        for (uint32_t i = 0; i < n; i++) {
            pack_random(f, p, depth - 1);
        }
        break;
    default:
        msgpack_pack_map(p, n);
        for (uint32_t i = 0; i < 2 * n; i++) {
            pack_random(f, p, depth - 1);
        }
        break;
    }
}

/* Each reader takes the element if msgpack says it is of its type and fits, else it fails. */
static void compare_element(struct bytes in, const msgpack_object *o)
{
    struct reader r = reader_of(in);
    uint64_t u;
    dec_u64(&r, &u);
    bool is_u = o->type == MSGPACK_OBJECT_POSITIVE_INTEGER;
    MUST((r.err == 0) == is_u);
    MUST(!is_u || u == o->via.u64);
    r = reader_of(in);
    uint32_t small;
    dec_u32(&r, &small);
    MUST((r.err == 0) == (is_u && o->via.u64 <= UINT32_MAX));
    r = reader_of(in);
    int64_t i;
    dec_i64(&r, &i);
    bool is_i = (is_u && o->via.u64 <= INT64_MAX) || o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER;
    MUST((r.err == 0) == is_i);
    MUST(!is_i || i == o->via.i64);
    r = reader_of(in);
    bool flag;
    dec_flag(&r, &flag);
    MUST((r.err == 0) == (o->type == MSGPACK_OBJECT_BOOLEAN));
    MUST(r.err != 0 || flag == o->via.boolean);
    r = reader_of(in);
    struct bytes b;
    dec_bytes(&r, &b);
    MUST((r.err == 0) == (o->type == MSGPACK_OBJECT_BIN));
    MUST(r.err != 0 || bytes_equal(b, bytes_of(o->via.bin.ptr, o->via.bin.size)));
    r = reader_of(in);
    reader_array(&r);
    MUST((r.err == 0) == (o->type == MSGPACK_OBJECT_ARRAY));
    MUST(r.err != 0 || r.left == o->via.array.size);
}

START_TEST(reads_what_msgpack_reads)
{
    static struct fill f;
    f.r = sim_rand_of(9, 9);
    for (int i = 0; i < 20000; i++) {
        msgpack_sbuffer out;
        msgpack_packer p;
        msgpack_unpacked got;
        msgpack_sbuffer_init(&out);
        msgpack_packer_init(&p, &out, msgpack_sbuffer_write);
        f.used = 0;
        pack_random(&f, &p, 4);
        msgpack_unpacked_init(&got);
        size_t off = 0;
        MUST(msgpack_unpack_next(&got, out.data, out.size, &off) == MSGPACK_UNPACK_SUCCESS);
        MUST(off == out.size);
        compare_element(bytes_of(out.data, out.size), &got.data);
        /* Inside an array it is skipped whole. */
        struct writer w;
        writer_init(&w);
        writer_array(&w, 1);
        writer_raw(&w, out.data, (uint32_t)out.size);
        struct reader r = reader_of(writer_bytes(&w));
        uint32_t outer = reader_array(&r);
        reader_array_end(&r, outer);
        MUST(r.err == 0 && r.at == r.end);
        writer_free(&w);
        msgpack_unpacked_destroy(&got);
        msgpack_sbuffer_destroy(&out);
    }
}
END_TEST

/* On any bytes: what msgpack takes, the reader skips at the same length; what it refuses is
 * refused. */
START_TEST(skips_what_msgpack_skips)
{
    struct sim_rand rand = sim_rand_of(10, 1);
    for (int i = 0; i < 100000; i++) {
        uint8_t data[25] = {0x91};
        size_t len = sim_between(&rand, 2, sizeof(data));
        for (size_t j = 1; j < len; j++) {
            /* No 32-bit container headers: msgpack allocates what they claim. */
            do {
                data[j] = (uint8_t)sim_rand64(&rand);
            } while (data[j] == 0xdd || data[j] == 0xdf);
        }
        msgpack_unpacked got;
        msgpack_unpacked_init(&got);
        size_t off = 1;
        bool good = msgpack_unpack_next(&got, (char *)data, len, &off) == MSGPACK_UNPACK_SUCCESS;
        struct reader r = reader_of(bytes_of(data, len));
        uint32_t outer = reader_array(&r);
        reader_array_end(&r, outer);
        MUST((r.err == 0) == good);
        MUST(!good || r.at == data + off);
        msgpack_unpacked_destroy(&got);
    }
}
END_TEST

/* ---------------------------------------------------------------- golden bytes */

static void check_hex(const uint8_t *data, size_t len, const char *want)
{
    char hex[1024] = "";
    ck_assert_uint_lt(2 * len, sizeof(hex));
    for (size_t i = 0; i < len; i++) {
        snprintf(hex + 2 * i, 3, "%02x", data[i]);
    }
    ck_assert_str_eq(hex, want);
}

START_TEST(golden_mkdir)
{
    struct mkdir_req req = {
        .parent = 1, .name = bytes_str("dir"), .mode = 0755, .uid = 1000, .gid = 70000};
    struct writer w;
    writer_init(&w);
    mkdir_req_encode(&w, &req);
    check_hex(writer_bytes(&w).data, w.len, "9501c403646972cd01edcd03e8ce00011170");
    struct mkdir_rec rec;
    mkdir_rec_from_req(&rec, &req);
    rec.ino = 300;
    w.len = 0;
    mkdir_rec_encode(&w, &rec);
    check_hex(writer_bytes(&w).data, w.len, "9601c403646972cd01edcd03e8ce00011170cd012c");
    writer_free(&w);
}
END_TEST

START_TEST(golden_log_append)
{
    struct log_append_req req = {
        .serial = 3, .first = 300, .prev_chain = 0x0102030405060708, .committed = 299};
    struct log_append_rep rep = {.durable = 301, .yield_to = 5};
    struct writer w;
    writer_init(&w);
    log_append_req_encode(&w, &req);
    check_hex(writer_bytes(&w).data, w.len, "9403cd012ccf0102030405060708cd012b");
    w.len = 0;
    log_append_rep_encode(&w, &rep);
    check_hex(writer_bytes(&w).data, w.len, "92cd012d05");
    writer_free(&w);
}
END_TEST

static struct frame_header some_header(void)
{
    return (struct frame_header){
        .op = OP_mkdir,
        .flags = FRAME_REPLY,
        .status = -EEXIST,
        .request_id = 0x0102030405060708,
        .session = 2,
        .sequence = 3,
        .acked = 4,
        .index = 5,
        .epoch = 6,
        .body_len = 7,
        .payload_len = 8,
        .body_sum = 0x1112131415161718,
    };
}

START_TEST(golden_frame_header)
{
    uint8_t out[FRAME_HEADER_BYTES];
    struct frame_header h = some_header(), got;
    struct why why;
    frame_header_encode(&h, out);
    check_hex(out, 80,
              "47465346"
              "0100"
              "2001"
              "01000000"
              "efffffff"
              "0807060504030201"
              "0200000000000000"
              "0300000000000000"
              "0400000000000000"
              "0500000000000000"
              "06000000"
              "07000000"
              "08000000"
              "00000000"
              "1817161514131211");
    ck_assert_uint_eq(get_le(out + 80, 8), hash64(out, 80));
    ck_assert_int_eq(frame_header_decode(&got, out, &why), 0);
    ck_assert_uint_eq(got.version, FRAME_VERSION);
    got.version = 0;
    ck_assert_int_eq(got.status, -EEXIST);
    uint8_t again[FRAME_HEADER_BYTES];
    frame_header_encode(&got, again);
    ck_assert_mem_eq(out, again, sizeof(out));
}
END_TEST

START_TEST(bad_frame_headers_are_refused)
{
    uint8_t out[FRAME_HEADER_BYTES];
    struct frame_header h = some_header(), got;
    struct why why;
    for (unsigned bit = 0; bit < 8 * FRAME_HEADER_BYTES; bit++) {
        frame_header_encode(&h, out);
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_eq(frame_header_decode(&got, out, &why), ERR_PROTOCOL);
        ck_assert_uint_gt(strlen(why.text), 10);
    }
    h.body_len = FRAME_BODY_MAX + 1;
    frame_header_encode(&h, out);
    ck_assert_int_eq(frame_header_decode(&got, out, &why), ERR_PROTOCOL);
    h.body_len = FRAME_BODY_MAX;
    h.payload_len = FRAME_PAYLOAD_MAX + 1;
    frame_header_encode(&h, out);
    ck_assert_int_eq(frame_header_decode(&got, out, &why), ERR_PROTOCOL);
    h.payload_len = FRAME_PAYLOAD_MAX;
    frame_header_encode(&h, out);
    ck_assert_int_eq(frame_header_decode(&got, out, &why), 0);
    /* Another version is told apart from damage even with a good sum. */
    put_le(out + 4, 2, 2);
    put_le(out + 80, hash64(out, 80), 8);
    ck_assert_int_eq(frame_header_decode(&got, out, &why), ERR_PROTOCOL);
    ck_assert(strstr(why.text, "version is 2") != NULL);
}
END_TEST

START_TEST(operations_are_found)
{
    for (uint32_t i = 0; i < op_table_count; i++) {
        ck_assert(i == 0 || op_table[i - 1].code < op_table[i].code);
        ck_assert_ptr_eq(op_info_of(op_table[i].code), &op_table[i]);
        ck_assert_str_eq(op_name(op_table[i].code), op_table[i].name);
    }
    ck_assert_ptr_null(op_info_of(0));
    ck_assert_ptr_null(op_info_of(0xffff));
    ck_assert_str_eq(op_name(0x7777), "unknown");
    ck_assert_int_eq(op_info_of(OP_mkdir)->class, OP_MUTATION);
    ck_assert_int_eq(op_info_of(OP_lookup)->class, OP_QUERY);
}
END_TEST

Suite *suite_codec(void)
{
    Suite *s = suite_create("codec");
    TCase *t = tcase_create("codec");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, every_message_round_trips);
    tcase_add_test(t, every_struct_round_trips);
    tcase_add_test(t, cut_messages_are_refused);
    tcase_add_test(t, unknown_elements_are_skipped);
    tcase_add_test(t, missing_elements_are_zero);
    tcase_add_test(t, hostile_messages_are_refused);
    tcase_add_test(t, names_are_checked);
    tcase_add_test(t, reads_what_msgpack_reads);
    tcase_add_test(t, skips_what_msgpack_skips);
    tcase_add_test(t, golden_mkdir);
    tcase_add_test(t, golden_log_append);
    tcase_add_test(t, golden_frame_header);
    tcase_add_test(t, bad_frame_headers_are_refused);
    tcase_add_test(t, operations_are_found);
    suite_add_tcase(s, t);
    return s;
}
