/* ns_chunk.c - chunks of files: chunk 0 in the inode row, the others in TABLE_CHUNK (chunk_row.h);
 * and garbage, the replicas of removed chunks: TABLE_GARBAGE, key handle, server (row_key.h), value
 * empty, or a byte 1 if the server is to keep the replica aside for a while.
 *
 * The inode row counts the chunks of TABLE_CHUNK, so that neither stat nor a size commit walks
 * them: a commit looks only at chunks from the first that is not bound.
 */
#include "master/core/ns_internal.h"

uint64_t chunks_below(const struct ns *ns, uint64_t size)
{
    return size / ns->geo.chunk_bytes + (size % ns->geo.chunk_bytes != 0);
}

uint32_t member_ids(struct bytes list, uint32_t out[REPLICAS_MAX])
{
    struct reader r = reader_of(list);
    uint32_t n = 0;
    while (!reader_done(&r) && n < REPLICAS_MAX) {
        dec_u32(&r, &out[n++]);
    }
    return r.err == 0 ? n : 0;
}

/* ---------------------------------------------------------------- rows */

static void unpack_row(struct ns *ns, struct bytes key, struct bytes value, struct ns_chunk *out)
{
    struct byte_reader r = byte_reader_of(value);
    chunk_row_unpack(&r, out);
    ROW_IS(ns, "chunk", row_key_get_pair(key, &out->ino, &out->number));
    ROW_IS(ns, "chunk", !r.bad && byte_reader_left(&r) == 0);
}

static void save_row(struct change *c, const struct ns_chunk *k)
{
    uint8_t row[CHUNK_ROW_MAX];
    struct row_key key = row_key_pair(k->ino, k->number);
    store_put(c->ns->store, TABLE_CHUNK, row_key_bytes(&key),
              bytes_of(row, chunk_row_pack(k, row)));
}

/* Chunk 0 of the inode as a chunk. */
static struct ns_chunk chunk0_of(const struct inode *in)
{
    struct ns_chunk k = in->chunk0;
    k.ino = in->ino;
    k.number = 0;
    k.wanted = in->replicas;
    return k;
}

int chunk_load(struct ns *ns, const struct inode *in, uint64_t number, struct ns_chunk *out)
{
    if (number == 0) {
        *out = chunk0_of(in);
        return in->has_chunk0 ? 0 : -ENOENT;
    }
    struct row_key key = row_key_pair(in->ino, number);
    struct bytes value;
    if (in->rows == 0 || store_get(ns->store, TABLE_CHUNK, row_key_bytes(&key), &value) != 0) {
        return -ENOENT;
    }
    unpack_row(ns, row_key_bytes(&key), value, out);
    out->wanted = in->replicas;
    return 0;
}

/* First row of TABLE_CHUNK at or after (ino, number). */
static int row_seek(struct ns *ns, uint64_t ino, uint64_t number, struct ns_chunk *out)
{
    struct row_key from = row_key_pair(ino, number);
    struct bytes key, value;
    if (store_seek(ns->store, TABLE_CHUNK, row_key_bytes(&from), false, &key, &value) != 0) {
        return -ENOENT;
    }
    unpack_row(ns, key, value, out);
    return 0;
}

int chunk_seek(struct ns *ns, const struct inode *in, uint64_t number, struct ns_chunk *out)
{
    if (number == 0 && in->has_chunk0) {
        *out = chunk0_of(in);
        return 0;
    }
    if (in->rows == 0 || row_seek(ns, in->ino, number, out) != 0 || out->ino != in->ino) {
        return -ENOENT;
    }
    out->wanted = in->replicas;
    return 0;
}

/* ---------------------------------------------------------------- changes */

static void note_unbound(struct inode *in, uint64_t number)
{
    in->first_unbound = in->unbound == 0 ? number : MIN(in->first_unbound, number);
    in->unbound++;
}

static void note_bound(struct inode *in)
{
    in->unbound--;
    if (in->unbound == 0) {
        in->first_unbound = 0;
    }
}

void chunk_add(struct change *c, struct inode *in, const struct ns_chunk *k)
{
    c->ns->chunks++;
    if (k->number == 0) {
        in->has_chunk0 = true;
        in->chunk0 = *k;
        return;
    }
    save_row(c, k);
    in->rows++;
    in->rows_inside += k->number < chunks_below(c->ns, in->size);
    if (!k->bound) {
        note_unbound(in, k->number);
    }
}

void chunk_replace(struct change *c, struct inode *in, const struct ns_chunk *old,
                   const struct ns_chunk *k)
{
    if (k->number == 0) {
        in->chunk0 = *k;
        return;
    }
    save_row(c, k);
    if (!old->bound && k->bound) {
        note_bound(in);
    }
}

/* Names every replica for removal. */
static void make_garbage(struct change *c, const struct ns_chunk *k)
{
    for (uint32_t i = 0; i < k->member_count; i++) {
        struct row_key key = row_key_pair(k->handle, k->members[i]);
        store_put(c->ns->store, TABLE_GARBAGE, row_key_bytes(&key),
                  bytes_of("\1", c->aside ? 1 : 0));
    }
}

static void chunk_remove(struct change *c, struct inode *in, const struct ns_chunk *k)
{
    c->ns->chunks--;
    make_garbage(c, k);
    if (k->number == 0) {
        in->has_chunk0 = false;
        return;
    }
    struct row_key key = row_key_pair(in->ino, k->number);
    store_del(c->ns->store, TABLE_CHUNK, row_key_bytes(&key));
    in->rows--;
    in->rows_inside -= k->number < chunks_below(c->ns, in->size);
    if (!k->bound) {
        note_bound(in);
    }
}

uint64_t chunks_of(const struct inode *in)
{
    return in->rows + in->has_chunk0;
}

void chunks_remove_some(struct change *c, struct inode *in, uint32_t count)
{
    struct ns_chunk k;
    for (uint32_t n = 0; n < count && chunk_seek(c->ns, in, 0, &k) == 0; n++) {
        chunk_remove(c, in, &k);
    }
}

static void remove_from(struct change *c, struct inode *in, uint64_t number)
{
    struct ns_chunk k;
    while (chunk_seek(c->ns, in, number, &k) == 0) {
        chunk_remove(c, in, &k);
    }
}

void chunks_remove_all(struct change *c, struct inode *in)
{
    remove_from(c, in, 0);
}

void chunks_cut(struct change *c, struct inode *in, uint64_t size)
{
    struct ns_chunk k, old;
    remove_from(c, in, chunks_below(c->ns, size));
    uint32_t trim = (uint32_t)(size % c->ns->geo.chunk_bytes);
    if (trim != 0 && chunk_load(c->ns, in, size / c->ns->geo.chunk_bytes, &old) == 0) {
        k = old;
        if (trim < old.trim) { /* NO_TRIM is the highest */
            k.trim = trim;
            k.trim_set = MAX((uint32_t)c->record->index, 1u);
        }
        chunk_replace(c, in, &old, &k);
    }
    /* What is left begins below the new size. */
    in->size = size;
    in->rows_inside = in->rows;
}

void chunks_grow(struct change *c, struct inode *in, uint64_t size)
{
    uint64_t number = MAX(chunks_below(c->ns, in->size), 1);
    uint64_t end = chunks_below(c->ns, size);
    in->size = size;
    struct ns_chunk k;
    while (in->rows_inside < in->rows && chunk_seek(c->ns, in, number, &k) == 0 && k.number < end) {
        in->rows_inside++;
        number = k.number + 1;
    }
}

void chunks_bind(struct change *c, struct inode *in, uint64_t end_size)
{
    uint64_t end = chunks_below(c->ns, end_size);
    if (end > 0 && in->has_chunk0) {
        in->chunk0.bound = true;
    }
    uint64_t number = in->first_unbound;
    struct ns_chunk old;
    while (in->unbound > 0 && chunk_seek(c->ns, in, number, &old) == 0 && old.number < end) {
        number = old.number + 1;
        if (!old.bound) {
            struct ns_chunk k = old;
            k.bound = true;
            chunk_replace(c, in, &old, &k);
        }
    }
    if (in->unbound > 0) {
        in->first_unbound = MAX(in->first_unbound, end);
    }
}

void chunks_synced(struct change *c, struct inode *in, struct bytes synced)
{
    struct reader r = reader_of(synced);
    while (!reader_done(&r)) {
        uint64_t number, handle;
        struct ns_chunk old;
        dec_u64(&r, &number);
        dec_u64(&r, &handle);
        if (r.err == 0 && chunk_load(c->ns, in, number, &old) == 0 && old.handle == handle &&
            old.fresh && old.bound) {
            struct ns_chunk k = old;
            k.fresh = false;
            chunk_replace(c, in, &old, &k);
        }
    }
}

/* ---------------------------------------------------------------- records */

static struct ns_chunk fitting_chunk(struct change *c, const struct inode *in, uint64_t number)
{
    struct ns_chunk k;
    FITS(c, chunk_load(c->ns, in, number, &k) == 0);
    return k;
}

void apply_chunk_new(struct change *c, const struct chunk_new_rec *rec)
{
    struct inode in = fitting_file(c, rec->ino);
    struct ns_chunk old;
    FITS(c, chunk_load(c->ns, &in, rec->number, &old) != 0);
    c->ns->next_handle = MAX(c->ns->next_handle, rec->handle + 1);
    struct ns_chunk k = {
        .ino = rec->ino,
        .number = rec->number,
        .handle = rec->handle,
        .version = rec->version,
        .trim = NO_TRIM,
        .fresh = true,
    };
    k.member_count = member_ids(rec->members, k.members);
    chunk_add(c, &in, &k);
    inode_save(c, &in);
}

void apply_chunk_version(struct change *c, const struct chunk_version_rec *rec)
{
    struct inode in = fitting_file(c, rec->ino);
    struct ns_chunk old = fitting_chunk(c, &in, rec->number);
    FITS(c, old.handle == rec->handle);
    struct ns_chunk k = old;
    k.version = rec->version;
    k.fresh = false;
    k.bound = true;
    k.doubt = rec->doubt ? rec->version : old.doubt;
    k.member_count = member_ids(rec->members, k.members);
    chunk_replace(c, &in, &old, &k);
    inode_save(c, &in);
}

/* The trim that was carried out, and not one set since, maybe at the same offset: behind that one stand
 * bytes written in between. */
static bool is_its_trim(const struct ns_chunk *k, const struct trimmed_rec *rec)
{
    return k->handle == rec->handle && k->trim == rec->trim &&
           (rec->set == 0 || rec->set == k->trim_set);
}

int prepare_trimmed(struct look *l, struct trimmed_rec *rec)
{
    struct inode in;
    struct ns_chunk k;
    int err = look_file(l, rec->ino, &in);
    if (err != 0) {
        return err;
    }
    bool there = chunk_load(l->ns, &in, rec->number, &k) == 0 && k.handle == rec->handle;
    return there && (k.trim == NO_TRIM || is_its_trim(&k, rec)) ? 0 : ERR_RETRY_GRANT;
}

void apply_trimmed(struct change *c, const struct trimmed_rec *rec, struct trimmed_rep *rep)
{
    struct inode in = fitting_file(c, rec->ino);
    struct ns_chunk old = fitting_chunk(c, &in, rec->number);
    (void)rep;
    if (!is_its_trim(&old, rec)) {
        return; /* it is forgotten already */
    }
    struct ns_chunk k = old;
    k.trim = NO_TRIM;
    k.trim_set = 0;
    chunk_replace(c, &in, &old, &k);
    inode_save(c, &in);
}

void apply_garbage_done(struct change *c, const struct garbage_done_rec *rec)
{
    struct reader r = reader_of(rec->done);
    while (!reader_done(&r)) {
        uint64_t handle;
        uint32_t server;
        dec_u64(&r, &handle);
        dec_u32(&r, &server);
        FITS(c, r.err == 0);
        struct row_key key = row_key_pair(handle, server);
        store_del(c->ns->store, TABLE_GARBAGE, row_key_bytes(&key));
    }
}

/* ---------------------------------------------------------------- for the service */

int ns_chunk_get(struct ns *ns, uint64_t ino, uint64_t number, struct ns_chunk *out)
{
    struct inode in;
    int err = inode_load(ns, ino, &in);
    return err == 0 ? chunk_load(ns, &in, number, out) : err;
}

/* First inode at or after `ino`, and not above `last`, that has a chunk 0; -EAGAIN as in
 * ns_chunk_next. */
static int chunk0_next(struct ns *ns, uint64_t ino, uint64_t last, struct ns_chunk *out)
{
    struct row_key from = row_key_u64(ino);
    struct bytes key, value;
    bool after = false;
    for (uint32_t looked = 0;
         store_seek(ns->store, TABLE_INODE, row_key_bytes(&from), after, &key, &value) == 0;
         looked++) {
        struct inode in;
        uint64_t found = 0;
        ROW_IS(ns, "inode", row_key_get_u64(key, &found) && inode_unpack(value, found, &in) == 0);
        if (found > last) {
            break;
        }
        if (in.has_chunk0) {
            *out = chunk0_of(&in);
            return 0;
        }
        if (looked == INODES_LOOKED_AT - 1 && found < last) {
            *out = (struct ns_chunk){.ino = found + 1};
            return -EAGAIN;
        }
        from = row_key_u64(found);
        after = true;
    }
    return -ENOENT;
}

/* The row as a chunk of its file. */
static int with_wanted(struct ns *ns, const struct ns_chunk *row, struct ns_chunk *out)
{
    struct inode in;
    ROW_IS(ns, "chunk", inode_load(ns, row->ino, &in) == 0);
    *out = *row;
    out->wanted = in.replicas;
    return 0;
}

int ns_chunk_next(struct ns *ns, uint64_t ino, uint64_t number, struct ns_chunk *out)
{
    struct ns_chunk row, first;
    int row_err = row_seek(ns, ino, number, &row);
    if (number > 0 && row_err == 0 && row.ino == ino) {
        return with_wanted(ns, &row, out);
    }
    /* Chunk 0 of an inode up to the row's comes before the row. */
    uint64_t from = number > 0 ? ino + 1 : ino;
    uint64_t last = row_err == 0 ? row.ino : UINT64_MAX;
    int err = from >= ino ? chunk0_next(ns, from, last, &first) : -ENOENT;
    if (err != -ENOENT) {
        *out = first;
        return err;
    }
    return row_err == 0 ? with_wanted(ns, &row, out) : row_err;
}

int ns_chunk_look(struct ns *ns, struct ns_chunk_walk *w, struct ns_chunk *out)
{
    int err = ns_chunk_next(ns, w->ino, w->number, out);
    if (err == -EAGAIN) {
        *w = (struct ns_chunk_walk){.ino = out->ino};
    }
    return err;
}

int ns_file_chunk_next(struct ns *ns, uint64_t ino, uint64_t number, struct ns_chunk *out)
{
    struct ns_chunk row;
    if (number == 0) {
        int err = chunk0_next(ns, ino, ino, out);
        if (err != -ENOENT) {
            return err;
        }
    }
    int err = row_seek(ns, ino, number, &row);
    return err != 0 ? err : row.ino == ino ? with_wanted(ns, &row, out) : -ENOENT;
}

bool ns_cut_first(struct ns *ns, uint64_t ino, uint64_t size, uint64_t *out_size)
{
    struct inode in;
    uint64_t from = UINT64_MAX;
    if (inode_load(ns, ino, &in) != 0 || in.rows <= SLICE_CHUNKS) {
        return false;
    }
    for (uint32_t n = 0; n < SLICE_CHUNKS; n++) {
        struct row_key key = row_key_pair(ino, from);
        struct bytes found, value;
        uint64_t owner;
        int err = store_seek_back(ns->store, TABLE_CHUNK, row_key_bytes(&key), &found, &value);
        ROW_IS(ns, "chunk", err == 0 && row_key_get_pair(found, &owner, &from) && owner == ino);
    }
    /* Not above the size: that would make the file longer. */
    *out_size = MIN(from * ns->geo.chunk_bytes, in.size);
    return *out_size > size;
}

int ns_garbage_next(struct ns *ns, uint64_t handle, uint32_t server, uint64_t *out_handle,
                    uint32_t *out_server)
{
    struct row_key from = row_key_pair(handle, server);
    struct bytes key, value;
    if (store_seek(ns->store, TABLE_GARBAGE, row_key_bytes(&from), false, &key, &value) != 0) {
        return -ENOENT;
    }
    uint64_t id;
    ROW_IS(ns, "garbage", row_key_get_pair(key, out_handle, &id) && id <= UINT32_MAX);
    *out_server = (uint32_t)id;
    return 0;
}

bool ns_garbage_has(struct ns *ns, uint64_t handle, uint32_t server)
{
    struct row_key key = row_key_pair(handle, server);
    struct bytes value;
    return store_get(ns->store, TABLE_GARBAGE, row_key_bytes(&key), &value) == 0;
}

bool ns_garbage_aside(struct ns *ns, uint64_t handle, uint32_t server)
{
    struct row_key key = row_key_pair(handle, server);
    struct bytes value;
    return store_get(ns->store, TABLE_GARBAGE, row_key_bytes(&key), &value) == 0 && value.len == 1;
}

uint64_t ns_next_handle(const struct ns *ns)
{
    return ns->next_handle;
}
