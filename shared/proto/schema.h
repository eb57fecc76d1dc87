/* schema.h - what the tables give: structs, codes, codecs and printers of every operation.
 *
 * For an operation `x`: struct x_req (IN), struct x_rec (IN + DEC: the log record of a MUTATION or
 * RECORD), struct x_rep (OUT); enum OP_x; x_req_encode/decode/print and the same for rec and rep;
 * x_rec_from_req copies the IN fields. Views (bytes) in decoded structs point into the input.
 */
#ifndef SHARED_PROTO_SCHEMA_H
#define SHARED_PROTO_SCHEMA_H

#include "shared/proto/codec.h"

/* Composite types. */
#define STRUCT(name, doc)              struct name {
#define FIELD(owner, field, type, doc) T_##type field;
#define ENDSTRUCT(name)                                                                            \
    }                                                                                              \
    ;                                                                                              \
    typedef struct name T_##name;                                                                  \
    void enc_##name(struct writer *w, const struct name *v);                                       \
    void dec_##name(struct reader *r, struct name *v);                                             \
    void print_##name(struct printer *p, const struct name *v);
#include "shared/proto/types.def"
#undef STRUCT
#undef FIELD
#undef ENDSTRUCT

/* Codes. */
enum op_code {
#define OP(name, code, class, doc) OP_##name = code,
#include "shared/proto/ops.def"
};

/* Requests. */
#define OP(name, code, class, doc) struct name##_req {
#define IN(op, field, type, doc)   T_##type field;
#define END(name)                                                                                  \
    }                                                                                              \
    ;
#include "shared/proto/ops.def"

/* Log records. */
#define OP(name, code, class, doc) struct name##_rec {
#define IN(op, field, type, doc)   T_##type field;
#define DEC(op, field, type, doc)  T_##type field;
#define END(name)                                                                                  \
    }                                                                                              \
    ;
#include "shared/proto/ops.def"

/* Answers. */
#define OP(name, code, class, doc) struct name##_rep {
#define OUT(op, field, type, doc)  T_##type field;
#define END(name)                                                                                  \
    }                                                                                              \
    ;
#include "shared/proto/ops.def"

/* Codecs. decode: 0 or ERR_PROTOCOL; on error the struct is undefined. */
#define OP(name, code, class, doc)                                                                 \
    void name##_req_encode(struct writer *w, const struct name##_req *m);                          \
    void name##_rec_encode(struct writer *w, const struct name##_rec *m);                          \
    void name##_rep_encode(struct writer *w, const struct name##_rep *m);                          \
    MUST_CHECK int name##_req_decode(struct bytes in, struct name##_req *m);                       \
    MUST_CHECK int name##_rec_decode(struct bytes in, struct name##_rec *m);                       \
    MUST_CHECK int name##_rep_decode(struct bytes in, struct name##_rep *m);                       \
    void name##_req_print(struct printer *p, const struct name##_req *m);                          \
    void name##_rec_print(struct printer *p, const struct name##_rec *m);                          \
    void name##_rep_print(struct printer *p, const struct name##_rep *m);                          \
    void name##_rec_from_req(struct name##_rec *rec, const struct name##_req *req);
#include "shared/proto/ops.def"

/* Space for any request, record or answer. */
union op_any {
    char empty;
#define OP(name, code, class, doc)                                                                 \
    struct name##_req name##_req;                                                                  \
    struct name##_rec name##_rec;                                                                  \
    struct name##_rep name##_rep;
#include "shared/proto/ops.def"
};

enum op_class { OP_QUERY, OP_MUTATION, OP_CONTROL, OP_RECORD };

/* One operation by its code, for dispatch, printers, fuzzing and documents. */
struct op_info {
    uint16_t code;
    enum op_class class;
    const char *name;
    const char *doc;
    void (*req_encode)(struct writer *w, const void *m);
    void (*rec_encode)(struct writer *w, const void *m);
    void (*rep_encode)(struct writer *w, const void *m);
    int (*req_decode)(struct bytes in, void *m);
    int (*rec_decode)(struct bytes in, void *m);
    int (*rep_decode)(struct bytes in, void *m);
    void (*req_print)(struct printer *p, const void *m);
    void (*rec_print)(struct printer *p, const void *m);
    void (*rep_print)(struct printer *p, const void *m);
    void (*rec_from_req)(void *rec, const void *req);
};

extern const struct op_info op_table[];
extern const uint32_t op_table_count;
/* NULL if the code is not in the tables. */
const struct op_info *op_info_of(uint16_t code);
/* Name for messages; "op 0x1234" style codes give "unknown". */
const char *op_name(uint16_t code);

/* Values named in the tables. */
enum { ROLE_CLIENT = 1, ROLE_CHUNKD = 2, ROLE_MASTER = 3, ROLE_ADMIN = 4 };
enum { MASTER_PRIMARY = 1, MASTER_SHADOW = 2, MASTER_LOGGER = 3, MASTER_STARTING = 4 };
enum { CHECKPOINT_SUMS = 1, CHECKPOINT_ROWS = 2 };
enum { STEP_DOWN_LOCK_LOST = 1, STEP_DOWN_HAND_OVER = 2 };
enum { REPLICA_OK = 1, REPLICA_CLONING = 2, REPLICA_SUSPECT = 3, REPLICA_BAD = 4 };
enum { DISK_WELL = 0, DISK_SYNC_FAILED = 1, DISK_IO_ERRORS = 2 };
enum { SERVER_DRAIN = 1, SERVER_UNDRAIN = 2, SERVER_MAINTENANCE = 3 };
enum { WRITE_DATA = 0, WRITE_TRUNCATE = 1, WRITE_PUNCH = 2, WRITE_RESERVE = 3 };
enum { ATTR_HAS_XATTR = 1 };
enum { XATTR_CREATE_ONLY = 1, XATTR_REPLACE_ONLY = 2 };
enum {
    SETATTR_MODE = 1,
    SETATTR_UID = 2,
    SETATTR_GID = 4,
    SETATTR_SIZE = 8,
    SETATTR_ATIME = 16,
    SETATTR_MTIME = 32,
    SETATTR_ATIME_NOW = 64,
    SETATTR_MTIME_NOW = 128,
    SETATTR_CLEAR_SUID =
        256, /* the caller is not privileged: clear set-uid/set-gid on size or owner change */
    SETATTR_EXTEND = 512,            /* before all else what `extend` does, with `end` = size */
    SETATTR_EXTEND_UNTOUCHED = 1024, /* that extend leaves the times */
};
/* Beside open(2)'s: the session has just made the file, and may not count as having it open. */
enum { OPEN_MADE = 0x10000 };
enum { TRASH_BATCH_MAX = 128 };
#define ROOT_INO 1ull
#define NO_TRIM  UINT32_MAX

#endif
