/* ns_session.c - sessions of mounts, and inodes without a name that sessions hold open.
 *
 *   TABLE_SESSION  key session; value: nonce 8 bytes little endian, varint acked, varint trash, host
 *                  label
 *   TABLE_ORPHAN   key inode, session; empty value
 *
 * Keys as in row_key.h.
 */
#include "master/core/ns_internal.h"

/* ---------------------------------------------------------------- sessions */

enum { SESSION_ROW_MAX = 8 + 10 + 5 + ADDR_LEN_MAX };

int session_unpack(struct bytes key, struct bytes value, struct session_row *out)
{
    struct byte_reader r = byte_reader_of(value);
    out->nonce = byte_reader_le(&r, 8);
    out->acked = byte_reader_varint(&r);
    out->trash = get_varint32(&r);
    out->host = bytes_of(r.at, byte_reader_left(&r));
    bool bad = !row_key_get_u64(key, &out->session) || r.bad || out->host.len > ADDR_LEN_MAX;
    return bad ? ERR_CORRUPT : 0;
}

int session_load(struct ns *ns, uint64_t session, struct session_row *out)
{
    struct row_key key = row_key_u64(session);
    struct bytes value;
    if (store_get(ns->store, TABLE_SESSION, row_key_bytes(&key), &value) != 0) {
        return -ENOENT;
    }
    ROW_IS(ns, "session", session_unpack(row_key_bytes(&key), value, out) == 0);
    return 0;
}

void session_save(struct ns *ns, const struct session_row *s)
{
    uint8_t row[SESSION_ROW_MAX];
    struct row_key key = row_key_u64(s->session);
    put_le(row, s->nonce, 8);
    size_t n = 8 + put_varint(row + 8, s->acked);
    n += put_varint(row + n, s->trash);
    if (s->host.len > 0) {
        memcpy(row + n, s->host.data, s->host.len);
    }
    store_put(ns->store, TABLE_SESSION, row_key_bytes(&key), bytes_of(row, n + s->host.len));
}

bool ns_session_exists(struct ns *ns, uint64_t session)
{
    struct session_row s;
    return session_load(ns, session, &s) == 0;
}

/* The first session at or after `session`. */
static int session_next(struct ns *ns, uint64_t session, struct session_row *out)
{
    struct row_key from = row_key_u64(session);
    struct bytes key, value;
    if (store_seek(ns->store, TABLE_SESSION, row_key_bytes(&from), false, &key, &value) != 0) {
        return -ENOENT;
    }
    ROW_IS(ns, "session", session_unpack(key, value, out) == 0);
    return 0;
}

void ns_sessions(struct ns *ns, void (*each)(void *owner, uint64_t session, struct bytes host),
                 void *owner)
{
    struct session_row s;
    for (uint64_t at = 1; session_next(ns, at, &s) == 0; at = s.session + 1) {
        each(owner, s.session, s.host);
    }
}

int prepare_session_open(struct look *l, struct session_open_rec *rec)
{
    struct session_row s;
    for (uint64_t at = 1; session_next(l->ns, at, &s) == 0; at = s.session + 1) {
        if (s.nonce == rec->nonce) {
            rec->session = s.session;
            return 0;
        }
    }
    rec->session = l->ns->next_session;
    return 0;
}

void apply_session_open(struct change *c, const struct session_open_rec *rec,
                        struct session_open_rep *rep)
{
    struct session_row s;
    rep->session = rec->session;
    c->ns->next_session = MAX(c->ns->next_session, rec->session + 1);
    if (session_load(c->ns, rec->session, &s) != 0) {
        s = (struct session_row){rec->session, rec->nonce, 0, rec->host, rec->trash};
        session_save(c->ns, &s);
    }
}

/* ---------------------------------------------------------------- holders of inodes without a name
 */

/* The first hold at or after (ino, session). */
int ns_orphan_next(struct ns *ns, uint64_t ino, uint64_t session, uint64_t *out_ino,
                   uint64_t *out_session)
{
    struct row_key from = row_key_pair(ino, session);
    struct bytes key, value;
    if (store_seek(ns->store, TABLE_ORPHAN, row_key_bytes(&from), false, &key, &value) != 0) {
        return -ENOENT;
    }
    ROW_IS(ns, "orphan", row_key_get_pair(key, out_ino, out_session));
    return 0;
}

bool orphan_held(struct ns *ns, uint64_t ino)
{
    uint64_t found, session;
    return ns_orphan_next(ns, ino, 0, &found, &session) == 0 && found == ino;
}

bool orphan_keep(struct change *c, uint64_t ino, struct bytes holders)
{
    struct reader r = reader_of(holders);
    bool held = false;
    while (!reader_done(&r)) {
        uint64_t session;
        dec_u64(&r, &session);
        FITS(c, r.err == 0 && ns_session_exists(c->ns, session));
        struct row_key key = row_key_pair(ino, session);
        store_put(c->ns->store, TABLE_ORPHAN, row_key_bytes(&key), bytes_of("", 0));
        held = true;
    }
    return held;
}

void orphan_release(struct change *c, uint64_t ino, uint64_t session)
{
    struct row_key key = row_key_pair(ino, session);
    writer_remove(c, session, ino, false);
    if (store_del(c->ns->store, TABLE_ORPHAN, row_key_bytes(&key)) != 0 ||
        orphan_held(c->ns, ino)) {
        return;
    }
    struct inode in = fitting_file(c, ino);
    if (in.trash_expires == 0) {
        inode_drop(c, &in);
    }
}

void orphan_forget(struct change *c, uint64_t ino)
{
    uint64_t found, session;
    while (ns_orphan_next(c->ns, ino, 0, &found, &session) == 0 && found == ino) {
        struct row_key key = row_key_pair(ino, session);
        store_del(c->ns->store, TABLE_ORPHAN, row_key_bytes(&key));
    }
}

void apply_release_orphan(struct change *c, const struct release_orphan_rec *rec)
{
    orphan_release(c, rec->ino, rec->session);
}

/* ---------------------------------------------------------------- the end of a session */

static void session_remove(struct change *c, uint64_t session)
{
    uint64_t ino = 0, holder = 0;
    writers_end(c, session);
    while (ns_orphan_next(c->ns, ino, holder, &ino, &holder) == 0) {
        if (holder == session) {
            orphan_release(c, ino, session);
        }
        holder++;
    }
    replies_end(c->ns, session);
    struct row_key key = row_key_u64(session);
    store_del(c->ns->store, TABLE_SESSION, row_key_bytes(&key));
}

int prepare_session_end(struct look *l, struct session_end_rec *rec)
{
    (void)l;
    (void)rec;
    return 0;
}

void apply_session_end(struct change *c, const struct session_end_rec *rec,
                       struct session_end_rep *rep)
{
    (void)rec;
    (void)rep;
    session_remove(c, c->record->session);
}

void apply_session_expire(struct change *c, const struct session_expire_rec *rec)
{
    session_remove(c, rec->session);
}
