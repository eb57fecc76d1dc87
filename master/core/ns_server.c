/* ns_server.c - chunkservers that ever joined, and members of chunks as answers name them.
 *
 * TABLE_SERVER: key id (row_key.h); value: disk id 8 bytes little endian, then address, host and
 * rack, each a varint length and the bytes.
 */
#include "master/core/ns_internal.h"

enum { SERVER_ROW_MAX = 8 + 3 * (5 + ADDR_LEN_MAX) };

static size_t put_text(uint8_t *p, struct bytes text)
{
    uint32_t len = MIN(text.len, (uint32_t)ADDR_LEN_MAX);
    size_t n = put_varint(p, len);
    if (len > 0) {
        memcpy(p + n, text.data, len);
    }
    return n + len;
}

static struct bytes get_text(struct byte_reader *r)
{
    uint32_t len = get_varint32(r);
    return byte_reader_bytes(r, len);
}

int server_unpack(struct bytes key, struct bytes value, struct server *out, uint64_t *out_disk)
{
    uint64_t id;
    struct byte_reader r = byte_reader_of(value);
    *out_disk = byte_reader_le(&r, 8);
    out->addr = get_text(&r);
    out->host = get_text(&r);
    out->rack = get_text(&r);
    if (!row_key_get_u64(key, &id) || id > UINT32_MAX || r.bad || byte_reader_left(&r) != 0) {
        return ERR_CORRUPT;
    }
    out->id = (uint32_t)id;
    return 0;
}

void apply_server_add(struct change *c, const struct server_add_rec *rec)
{
    uint8_t row[SERVER_ROW_MAX];
    struct row_key key = row_key_u64(rec->server.id);
    put_le(row, rec->disk, 8);
    size_t n = 8;
    n += put_text(row + n, rec->server.addr);
    n += put_text(row + n, rec->server.host);
    n += put_text(row + n, rec->server.rack);
    store_put(c->ns->store, TABLE_SERVER, row_key_bytes(&key), bytes_of(row, n));
    if (rec->server.id >= c->ns->next_server && rec->server.id < UINT32_MAX) {
        c->ns->next_server = rec->server.id + 1;
    }
}

int ns_server_next(struct ns *ns, uint32_t id, struct server *out, uint64_t *out_disk)
{
    struct row_key from = row_key_u64(id);
    struct bytes key, value;
    if (store_seek(ns->store, TABLE_SERVER, row_key_bytes(&from), false, &key, &value) != 0) {
        return -ENOENT;
    }
    if (server_unpack(key, value, out, out_disk) != 0) {
        ns_damaged(ns, "server");
    }
    return 0;
}

uint32_t ns_next_server_id(const struct ns *ns)
{
    return ns->next_server;
}

struct chunk chunk_answer(struct ns *ns, const struct ns_chunk *k, struct writer *w)
{
    uint32_t start = w->len;
    for (uint32_t i = 0; i < k->member_count; i++) {
        struct server s;
        uint64_t disk;
        if (ns_server_next(ns, k->members[i], &s, &disk) == 0 && s.id == k->members[i]) {
            enc_server(w, &s);
        }
    }
    struct bytes all = writer_bytes(w);
    return (struct chunk){
        .ino = k->ino,
        .number = k->number,
        .handle = k->handle,
        .version = k->version,
        .trim = k->trim,
        .fresh = k->fresh && !k->bound,
        .doubt = k->doubt,
        .members = bytes_of(start == all.len ? NULL : all.data + start, all.len - start),
    };
}
