/* schema_doc.c - prints the protocol document from the tables: `make docs` writes
 * build/PROTOCOL.txt. */
#include "shared/proto/frame.h"
#include "shared/proto/schema.h"

#include <stdio.h>

static const char *class_text(enum op_class c)
{
    switch (c) {
    case OP_QUERY:
        return "query";
    case OP_MUTATION:
        return "mutation: in the operation log";
    case OP_CONTROL:
        return "control";
    case OP_RECORD:
        return "record: only in the operation log";
    }
    return "";
}

int main(void)
{
    printf(
        "gfs protocol, version %d\n\nFrames: see shared/proto/frame.h. Bodies: one msgpack array, "
        "fields in this order.\nFields are only ever appended; missing ones read as zero, "
        "additional ones are ignored.\n\nTypes\n\n",
        FRAME_VERSION);
#define STRUCT(name, doc)              printf("%s: %s\n", #name, doc);
#define FIELD(owner, field, type, doc) printf("    %-16s %-8s %s\n", #field, #type, doc);
#define ENDSTRUCT(name)                printf("\n");
#include "shared/proto/types.def"
    printf("Operations\n\n");
#define OP(name, code, class, doc)                                                                 \
    printf("0x%04x %s (%s)\n    %s\n", code, #name, class_text(OP_##class), doc);
#define IN(op, field, type, doc)  printf("    in   %-16s %-8s %s\n", #field, #type, doc);
#define DEC(op, field, type, doc) printf("    log  %-16s %-8s %s\n", #field, #type, doc);
#define OUT(op, field, type, doc) printf("    out  %-16s %-8s %s\n", #field, #type, doc);
#define END(name)                 printf("\n");
#include "shared/proto/ops.def"
    printf("Errors beyond errno\n\n");
#define ERROR(name, code, shown, text) printf("%6d %-20s %-8s %s\n", code, #name, #shown, text);
#include "shared/base/errors.def"
    return 0;
}
