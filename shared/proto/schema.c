/* schema.c - codecs, printers and the operation table, expanded from the tables. */
#include "shared/proto/schema.h"

#include <string.h>

/* Member counts: enum { attr_n = 0 + 1 + 1 ... }. */
#define STRUCT(name, doc)              enum { name##_fields = 0
#define FIELD(owner, field, type, doc) +1
#define ENDSTRUCT(name)                                                                            \
    }                                                                                              \
    ;
#include "shared/proto/types.def"
#undef STRUCT
#undef FIELD
#undef ENDSTRUCT

#define OP(name, code, class, doc) enum { name##_req_fields = 0
#define IN(op, field, type, doc)   +1
#define END(name)                                                                                  \
    }                                                                                              \
    ;
#include "shared/proto/ops.def"
#define OP(name, code, class, doc) enum { name##_rec_fields = 0
#define IN(op, field, type, doc)   +1
#define DEC(op, field, type, doc)  +1
#define END(name)                                                                                  \
    }                                                                                              \
    ;
#include "shared/proto/ops.def"
#define OP(name, code, class, doc) enum { name##_rep_fields = 0
#define OUT(op, field, type, doc)  +1
#define END(name)                                                                                  \
    }                                                                                              \
    ;
#include "shared/proto/ops.def"

/* Composite types. */
#define STRUCT(name, doc)                                                                          \
    void enc_##name(struct writer *w, const struct name *v)                                        \
    {                                                                                              \
        writer_array(w, name##_fields);
#define FIELD(owner, field, type, doc) enc_##type(w, &v->field);
#define ENDSTRUCT(name)                }
#include "shared/proto/types.def"
#undef STRUCT
#undef FIELD
#undef ENDSTRUCT

#define STRUCT(name, doc)                                                                          \
    void dec_##name(struct reader *r, struct name *v)                                              \
    {                                                                                              \
        uint32_t outer = reader_array(r);
#define FIELD(owner, field, type, doc) dec_##type(r, &v->field);
#define ENDSTRUCT(name)                                                                            \
    reader_array_end(r, outer);                                                                    \
    }
#include "shared/proto/types.def"
#undef STRUCT
#undef FIELD
#undef ENDSTRUCT

#define STRUCT(name, doc)                                                                          \
    void print_##name(struct printer *p, const struct name *v)                                     \
    {                                                                                              \
        print_text_f(p, "{");
#define FIELD(owner, field, type, doc)                                                             \
    print_text_f(p, " " #field "=");                                                               \
    print_##type(p, &v->field);
#define ENDSTRUCT(name)                                                                            \
    print_text_f(p, " }");                                                                         \
    }
#include "shared/proto/types.def"
#undef STRUCT
#undef FIELD
#undef ENDSTRUCT

/* Operations: encode. Tables without fields leave parameters unused. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#define OP(name, code, class, doc)                                                                 \
    void name##_req_encode(struct writer *w, const struct name##_req *m)                           \
    {                                                                                              \
        writer_array(w, name##_req_fields);
#define IN(op, field, type, doc) enc_##type(w, &m->field);
#define END(name)                }
#include "shared/proto/ops.def"
#define OP(name, code, class, doc)                                                                 \
    void name##_rec_encode(struct writer *w, const struct name##_rec *m)                           \
    {                                                                                              \
        writer_array(w, name##_rec_fields);
#define IN(op, field, type, doc)  enc_##type(w, &m->field);
#define DEC(op, field, type, doc) enc_##type(w, &m->field);
#define END(name)                 }
#include "shared/proto/ops.def"
#define OP(name, code, class, doc)                                                                 \
    void name##_rep_encode(struct writer *w, const struct name##_rep *m)                           \
    {                                                                                              \
        writer_array(w, name##_rep_fields);
#define OUT(op, field, type, doc) enc_##type(w, &m->field);
#define END(name)                 }
#include "shared/proto/ops.def"

/* Decode. Bytes after the array are refused. */
#define DECODE_END                                                                                 \
    reader_array_end(&r, outer);                                                                   \
    return r.err != 0 || r.at != r.end ? ERR_PROTOCOL : 0;                                         \
    }
#define DECODE_BEGIN(name, part)                                                                   \
    int name##_##part##_decode(struct bytes in, struct name##_##part *m)                           \
    {                                                                                              \
        struct reader r = reader_of(in);                                                           \
        uint32_t outer = reader_array(&r);
#define OP(name, code, class, doc) DECODE_BEGIN(name, req)
#define IN(op, field, type, doc)   dec_##type(&r, &m->field);
#define END(name)                  DECODE_END
#include "shared/proto/ops.def"
#define OP(name, code, class, doc) DECODE_BEGIN(name, rec)
#define IN(op, field, type, doc)   dec_##type(&r, &m->field);
#define DEC(op, field, type, doc)  dec_##type(&r, &m->field);
#define END(name)                  DECODE_END
#include "shared/proto/ops.def"
#define OP(name, code, class, doc) DECODE_BEGIN(name, rep)
#define OUT(op, field, type, doc)  dec_##type(&r, &m->field);
#define END(name)                  DECODE_END
#include "shared/proto/ops.def"

/* Print. */
#define PRINT_BEGIN(name, part)                                                                    \
    void name##_##part##_print(struct printer *p, const struct name##_##part *m)                   \
    {                                                                                              \
        print_text_f(p, #name);
#define PRINT_FIELD(field, type)                                                                   \
    print_text_f(p, " " #field "=");                                                               \
    print_##type(p, &m->field);
#define OP(name, code, class, doc) PRINT_BEGIN(name, req)
#define IN(op, field, type, doc)   PRINT_FIELD(field, type)
#define END(name)                  }
#include "shared/proto/ops.def"
#define OP(name, code, class, doc) PRINT_BEGIN(name, rec)
#define IN(op, field, type, doc)   PRINT_FIELD(field, type)
#define DEC(op, field, type, doc)  PRINT_FIELD(field, type)
#define END(name)                  }
#include "shared/proto/ops.def"
#define OP(name, code, class, doc) PRINT_BEGIN(name, rep)
#define OUT(op, field, type, doc)  PRINT_FIELD(field, type)
#define END(name)                  }
#include "shared/proto/ops.def"

/* Record from request. */
#define OP(name, code, class, doc)                                                                 \
    void name##_rec_from_req(struct name##_rec *rec, const struct name##_req *req)                 \
    {                                                                                              \
        memset(rec, 0, sizeof(*rec));
#define IN(op, field, type, doc) rec->field = req->field;
#define END(name)                }
#include "shared/proto/ops.def"

/* The same with untyped pointers, for the table. */
#define ENCODE_ANY(name, part)                                                                     \
    static void name##_##part##_encode_any(struct writer *w, const void *m)                        \
    {                                                                                              \
        name##_##part##_encode(w, m);                                                              \
    }                                                                                              \
    static int name##_##part##_decode_any(struct bytes in, void *m)                                \
    {                                                                                              \
        return name##_##part##_decode(in, m);                                                      \
    }                                                                                              \
    static void name##_##part##_print_any(struct printer *p, const void *m)                        \
    {                                                                                              \
        name##_##part##_print(p, m);                                                               \
    }
#define OP(name, code, class, doc)                                                                 \
    ENCODE_ANY(name, req)                                                                          \
    ENCODE_ANY(name, rec)                                                                          \
    ENCODE_ANY(name, rep)                                                                          \
    static void name##_from_any(void *rec, const void *req)                                        \
    {                                                                                              \
        name##_rec_from_req(rec, req);                                                             \
    }
#include "shared/proto/ops.def"
#pragma GCC diagnostic pop

const struct op_info op_table[] = {
#define OP(op_, code_, class_, doc_)                                                               \
    {.code = code_,                                                                                \
     .class = OP_##class_,                                                                         \
     .name = #op_,                                                                                 \
     .doc = doc_,                                                                                  \
     .req_encode = op_##_req_encode_any,                                                           \
     .rec_encode = op_##_rec_encode_any,                                                           \
     .rep_encode = op_##_rep_encode_any,                                                           \
     .req_decode = op_##_req_decode_any,                                                           \
     .rec_decode = op_##_rec_decode_any,                                                           \
     .rep_decode = op_##_rep_decode_any,                                                           \
     .req_print = op_##_req_print_any,                                                             \
     .rec_print = op_##_rec_print_any,                                                             \
     .rep_print = op_##_rep_print_any,                                                             \
     .rec_from_req = op_##_from_any},
#include "shared/proto/ops.def"
};
const uint32_t op_table_count = COUNT_OF(op_table);

const struct op_info *op_info_of(uint16_t code)
{
    /* Codes ascend in the tables: binary search. */
    uint32_t lo = 0, hi = op_table_count;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (op_table[mid].code == code) {
            return &op_table[mid];
        }
        if (op_table[mid].code < code) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return NULL;
}

const char *op_name(uint16_t code)
{
    const struct op_info *info = op_info_of(code);
    return info ? info->name : "unknown";
}
