/* fuzz_ops.c - every decoder of every operation: byte 0 picks the operation, byte 1 request, record
 * or answer, the rest is the body. What decodes must encode, decode again and print. */
#include "shared/base/invariant.h"
#include "shared/proto/schema.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static union op_any m, again;
    char text[4096];
    if (size < 2) {
        return 0;
    }
    const struct op_info *op = &op_table[data[0] % op_table_count];
    int (*decode[])(struct bytes, void *) = {op->req_decode, op->rec_decode, op->rep_decode};
    void (*encode[])(struct writer *, const void *) = {op->req_encode, op->rec_encode,
                                                       op->rep_encode};
    void (*print[])(struct printer *, const void *) = {op->req_print, op->rec_print, op->rep_print};
    unsigned part = data[1] % 3;
    struct bytes body = bytes_of(data + 2, size - 2);
    memset(&m, 0, sizeof(m));
    if (decode[part](body, &m) != 0) {
        return 0;
    }
    struct writer w, w2;
    writer_init(&w);
    writer_init(&w2);
    encode[part](&w, &m);
    memset(&again, 0, sizeof(again));
    /* A name that was missing decodes as empty and is refused the second time: that is an error
     * too. */
    if (decode[part](writer_bytes(&w), &again) == 0) {
        encode[part](&w2, &again);
        ASSERT(bytes_equal(writer_bytes(&w), writer_bytes(&w2)));
    }
    struct printer p = {text, sizeof(text)};
    print[part](&p, &m);
    writer_free(&w);
    writer_free(&w2);
    return 0;
}

size_t fuzz_example(uint32_t n, uint8_t *out, size_t cap)
{
    static union op_any zero;
    const struct op_info *op = &op_table[n % op_table_count];
    struct writer w;
    writer_init(&w);
    unsigned part = n / op_table_count % 3;
    (part == 0 ? op->req_encode : part == 1 ? op->rec_encode : op->rep_encode)(&w, &zero);
    struct bytes b = writer_bytes(&w);
    ASSERT(cap >= b.len + 2);
    out[0] = (uint8_t)(n % op_table_count);
    out[1] = (uint8_t)part;
    memcpy(out + 2, b.data, b.len);
    writer_free(&w);
    return b.len + 2;
}
