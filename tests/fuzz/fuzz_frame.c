/* fuzz_frame.c - the frame header check: what it accepts must encode to the same bytes. */
#include "shared/base/invariant.h"
#include "shared/proto/frame.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame_header h;
    struct why why;
    uint8_t again[FRAME_HEADER_BYTES];
    if (size < FRAME_HEADER_BYTES || frame_header_decode(&h, data, &why) != 0) {
        return 0;
    }
    ASSERT(h.body_len <= FRAME_BODY_MAX && h.payload_len <= FRAME_PAYLOAD_MAX);
    frame_header_encode(&h, again);
    ASSERT(memcmp(again, data, 68) == 0);
    return 0;
}

size_t fuzz_example(uint32_t n, uint8_t *out, size_t cap)
{
    struct frame_header h = {.op = (uint16_t)(n % 2048),
                             .request_id = n,
                             .sequence = n / 3,
                             .body_len = n % 5 ? n % 4096 : UINT32_MAX - n,
                             .payload_len = n % 7 ? n % 65536 : UINT32_MAX};
    ASSERT(cap >= FRAME_HEADER_BYTES);
    frame_header_encode(&h, out);
    return FRAME_HEADER_BYTES;
}
