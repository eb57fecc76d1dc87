/* fuzz_record.c - the operation log's record scan over any bytes. */
#include "master/core/record.h"
#include "shared/base/invariant.h"
#include "shared/base/limits.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes left = bytes_of(data, size);
    while (left.len > 0) {
        struct record r;
        struct why why;
        bool header_good = false;
        if (record_decode(left, &r, &header_good, &why) != 0) {
            break;
        }
        uint32_t used = record_size(&r);
        ASSERT(used >= RECORD_HEADER_BYTES && used <= left.len);
        ASSERT(r.body.len <= RECORD_BODY_MAX);
        left = bytes_of(left.data + used, left.len - used);
    }
    return 0;
}

size_t fuzz_example(uint32_t n, uint8_t *out, size_t cap)
{
    size_t used = 0;
    uint8_t body[64];
    memset(body, (int)n, sizeof(body));
    for (uint32_t i = 0; i < 1 + n % 4; i++) {
        struct record r = {.index = n + i,
                           .type = (uint16_t)(0x120 + n % 8),
                           .cluster = 7,
                           .epoch = 1,
                           .time_ns = (int64_t)n * 1000,
                           .body = bytes_of(body, n % sizeof(body))};
        ASSERT(used + record_size(&r) <= cap);
        record_encode(&r, out + used);
        used += record_size(&r);
    }
    return used;
}
