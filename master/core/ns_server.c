/* ns_server.c - chunkservers that ever joined, and members of chunks as answers name them.
 *
 * TABLE_SERVER: key id (row_key.h); value: disk id 8 bytes little endian, then address, host and
 * rack, each a varint length and the bytes; then, unless all of it is zero, varints: 1 if draining,
 * failing, away_since, maintenance_until (record.def).
 */
#include "master/core/ns_internal.h"

enum { SERVER_ROW_MAX = 8 + 3 * (5 + ADDR_LEN_MAX) + 1 + 5 + 10 + 10 };

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

int server_unpack(struct bytes key, struct bytes value, struct server *out, uint64_t *out_disk,
                  struct server_state_rec *out_state)
{
    uint64_t id;
    struct byte_reader r = byte_reader_of(value);
    *out_disk = byte_reader_le(&r, 8);
    out->addr = get_text(&r);
    out->host = get_text(&r);
    out->rack = get_text(&r);
    *out_state = (struct server_state_rec){0};
    if (byte_reader_left(&r) > 0) {
        out_state->draining = get_varint32(&r) != 0;
        out_state->failing = get_varint32(&r);
        out_state->away_since = byte_reader_varint(&r);
        out_state->maintenance_until = byte_reader_varint(&r);
    }
    if (!row_key_get_u64(key, &id) || id > UINT32_MAX || r.bad || byte_reader_left(&r) != 0) {
        return ERR_CORRUPT;
    }
    out->id = out_state->id = (uint32_t)id;
    return 0;
}

static void save_server(struct change *c, uint64_t disk, const struct server *s,
                        const struct server_state_rec *state)
{
    uint8_t row[SERVER_ROW_MAX];
    struct row_key key = row_key_u64(s->id);
    put_le(row, disk, 8);
    size_t n = 8;
    n += put_text(row + n, s->addr);
    n += put_text(row + n, s->host);
    n += put_text(row + n, s->rack);
    if (state->draining || state->failing != 0 || state->away_since != 0 ||
        state->maintenance_until != 0) {
        n += put_varint(row + n, state->draining);
        n += put_varint(row + n, state->failing);
        n += put_varint(row + n, state->away_since);
        n += put_varint(row + n, state->maintenance_until);
    }
    store_put(c->ns->store, TABLE_SERVER, row_key_bytes(&key), bytes_of(row, n));
}

static int load_server(struct ns *ns, uint32_t id, struct server *out, uint64_t *out_disk,
                       struct server_state_rec *out_state)
{
    struct row_key key = row_key_u64(id);
    struct bytes value;
    if (store_get(ns->store, TABLE_SERVER, row_key_bytes(&key), &value) != 0) {
        return -ENOENT;
    }
    int err = server_unpack(row_key_bytes(&key), value, out, out_disk, out_state);
    ROW_IS(ns, "server", err == 0);
    return 0;
}

void apply_server_state(struct change *c, const struct server_state_rec *rec)
{
    struct server s;
    uint64_t disk;
    struct server_state_rec old;
    FITS(c, load_server(c->ns, rec->id, &s, &disk, &old) == 0);
    save_server(c, disk, &s, rec);
}

int ns_server_state(struct ns *ns, uint32_t id, struct server_state_rec *out)
{
    struct server s;
    uint64_t disk;
    return load_server(ns, id, &s, &disk, out);
}

void apply_server_add(struct change *c, const struct server_add_rec *rec)
{
    struct server old;
    uint64_t disk;
    struct server_state_rec state = {0};
    (void)load_server(c->ns, rec->server.id, &old, &disk, &state); /* kept, if it is known */
    save_server(c, rec->disk, &rec->server, &state);
    c->ns->next_server = MAX(c->ns->next_server, rec->server.id + 1);
}

int ns_server_next(struct ns *ns, uint32_t id, struct server *out, uint64_t *out_disk)
{
    struct row_key from = row_key_u64(id);
    struct bytes key, value;
    struct server_state_rec state;
    if (store_seek(ns->store, TABLE_SERVER, row_key_bytes(&from), false, &key, &value) != 0) {
        return -ENOENT;
    }
    ROW_IS(ns, "server", server_unpack(key, value, out, out_disk, &state) == 0);
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
        int err = ns_server_next(ns, k->members[i], &s, &disk);
        ROW_IS(ns, "server", err == 0 && s.id == k->members[i]);
        enc_server(w, &s);
    }
    struct bytes all = writer_bytes(w);
    return (struct chunk){
        .ino = k->ino,
        .number = k->number,
        .handle = k->handle,
        .version = k->version,
        .trim = k->trim,
        .trim_set = k->trim_set,
        .fresh = k->fresh && !k->bound,
        .doubt = k->doubt,
        .members = bytes_of(start == all.len ? NULL : all.data + start, all.len - start),
    };
}
