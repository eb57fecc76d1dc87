/* frame.c - encode and check the frame header. */
#include "shared/proto/frame.h"
#include "shared/base/bytes.h"
#include "shared/base/hash.h"

void frame_header_encode(const struct frame_header *h, uint8_t out[FRAME_HEADER_BYTES])
{
    put_le(out + 0, FRAME_MAGIC, 4);
    put_le(out + 4, FRAME_VERSION, 2);
    put_le(out + 6, h->op, 2);
    put_le(out + 8, h->flags, 4);
    put_le(out + 12, (uint32_t)h->status, 4);
    put_le(out + 16, h->request_id, 8);
    put_le(out + 24, h->session, 8);
    put_le(out + 32, h->sequence, 8);
    put_le(out + 40, h->acked, 8);
    put_le(out + 48, h->index, 8);
    put_le(out + 56, h->epoch, 4);
    put_le(out + 60, h->body_len, 4);
    put_le(out + 64, h->payload_len, 4);
    put_le(out + 68, h->age_ms, 4);
    put_le(out + 72, h->body_sum, 8);
    put_le(out + 80, hash64(out, 80), 8);
}

int frame_header_decode(struct frame_header *h, const uint8_t in[FRAME_HEADER_BYTES],
                        struct why *why)
{
    uint32_t magic = (uint32_t)get_le(in, 4);
    if (magic != FRAME_MAGIC) {
        return why_set(why, ERR_PROTOCOL, "frame magic is 0x%08x, expected 0x%08x", magic,
                       (unsigned)FRAME_MAGIC);
    }
    unsigned version = (unsigned)get_le(in + 4, 2);
    if (version != FRAME_VERSION) {
        return why_set(why, ERR_PROTOCOL, "protocol version is %u, expected %u", version,
                       (unsigned)FRAME_VERSION);
    }
    if (get_le(in + 80, 8) != hash64(in, 80)) {
        return why_set(why, ERR_PROTOCOL, "frame header does not match its checksum");
    }
    struct frame_header f = {
        .version = (uint16_t)version,
        .op = (uint16_t)get_le(in + 6, 2),
        .flags = (uint32_t)get_le(in + 8, 4),
        .status = (int32_t)get_le(in + 12, 4),
        .request_id = get_le(in + 16, 8),
        .session = get_le(in + 24, 8),
        .sequence = get_le(in + 32, 8),
        .acked = get_le(in + 40, 8),
        .index = get_le(in + 48, 8),
        .epoch = (uint32_t)get_le(in + 56, 4),
        .body_len = (uint32_t)get_le(in + 60, 4),
        .payload_len = (uint32_t)get_le(in + 64, 4),
        .age_ms = (uint32_t)get_le(in + 68, 4),
        .body_sum = get_le(in + 72, 8),
    };
    if (f.body_len > FRAME_BODY_MAX || f.payload_len > FRAME_PAYLOAD_MAX) {
        return why_set(why, ERR_PROTOCOL,
                       "frame claims %u bytes of body and %u of payload, at most %u and %u allowed",
                       f.body_len, f.payload_len, (unsigned)FRAME_BODY_MAX,
                       (unsigned)FRAME_PAYLOAD_MAX);
    }
    *h = f;
    return 0;
}
