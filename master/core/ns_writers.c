/* ns_writers.c - which session has which file open for writing.
 *
 *   TABLE_WRITER  key session, inode (row_key.h); empty value
 *
 * A mount writes to chunkservers first and commits the size after. If it dies in between, bytes lie
 * beyond the size that must not show when the file grows over them. So the rows outlive the master:
 * a row is there from the answer to the first open for writing (or to create) until the session
 * closes the file or ends. When a session ends, every file it had open for writing is cut at its
 * size: the chunk there gets a trim, chunks beyond go. If others have the file open for writing too,
 * what they have not committed yet must stay: then the cut is due when the last of them leaves.
 *
 * A cut changes ctime, so that a mount that remembers where the chunks are asks again when it opens
 * the file.
 *
 * An inode counts its rows; a removed one finds them session by session, which is rare: an inode is
 * held as an orphan as long as the session that writes to it has it open.
 */
#include "master/core/ns_internal.h"

bool ns_writer_exists(struct ns *ns, uint64_t session, uint64_t ino)
{
    struct row_key key = row_key_pair(session, ino);
    struct bytes value;
    return store_get(ns->store, TABLE_WRITER, row_key_bytes(&key), &value) == 0;
}

int ns_writer_next(struct ns *ns, uint64_t session, uint64_t ino, uint64_t *out_session,
                   uint64_t *out_ino)
{
    struct row_key from = row_key_pair(session, ino);
    struct bytes key, value;
    if (store_seek(ns->store, TABLE_WRITER, row_key_bytes(&from), false, &key, &value) != 0) {
        return -ENOENT;
    }
    ROW_IS(ns, "writer", row_key_get_pair(key, out_session, out_ino));
    return 0;
}

void writer_add(struct change *c, struct inode *in, uint64_t session)
{
    if (ns_writer_exists(c->ns, session, in->ino) || !ns_session_exists(c->ns, session)) {
        return;
    }
    struct row_key key = row_key_pair(session, in->ino);
    store_put(c->ns->store, TABLE_WRITER, row_key_bytes(&key), bytes_of("", 0));
    in->writers++;
}

void writer_remove(struct change *c, uint64_t session, uint64_t ino, bool died)
{
    struct row_key key = row_key_pair(session, ino);
    if (store_del(c->ns->store, TABLE_WRITER, row_key_bytes(&key)) != 0) {
        return;
    }
    struct inode in = fitting_file(c, ino);
    ROW_IS(c->ns, "writer", in.writers > 0);
    in.writers--;
    in.cut_due |= died;
    if (in.writers > 0 || !in.cut_due) {
        inode_save_unseen(c, &in);
        return;
    }
    in.cut_due = false;
    chunks_cut(c, &in, in.size);
    in.ctime = c->now;
    inode_save(c, &in);
}

void writers_end(struct change *c, uint64_t session)
{
    uint64_t owner, ino = 0;
    while (ns_writer_next(c->ns, session, ino, &owner, &ino) == 0 && owner == session) {
        writer_remove(c, session, ino, true);
    }
}

void writers_drop(struct change *c, struct inode *in)
{
    uint64_t session = 0, ino;
    while (in->writers > 0) {
        ROW_IS(c->ns, "writer", ns_writer_next(c->ns, session, in->ino, &session, &ino) == 0);
        if (ino == in->ino) {
            struct row_key key = row_key_pair(session, ino);
            store_del(c->ns->store, TABLE_WRITER, row_key_bytes(&key));
            in->writers--;
        }
        if (ino >= in->ino) {
            session++; /* else (session, in->ino) is not passed yet */
        }
    }
}

void apply_writers_add(struct change *c, const struct writers_add_rec *rec)
{
    struct reader r = reader_of(rec->inodes);
    while (!reader_done(&r)) {
        uint64_t ino;
        dec_u64(&r, &ino);
        FITS(c, r.err == 0);
        struct inode in = fitting_file(c, ino);
        writer_add(c, &in, rec->session);
        inode_save(c, &in);
    }
}

void apply_writers_remove(struct change *c, const struct writers_remove_rec *rec)
{
    struct reader r = reader_of(rec->closed);
    while (!reader_done(&r)) {
        uint64_t session, ino;
        dec_u64(&r, &session);
        dec_u64(&r, &ino);
        FITS(c, r.err == 0);
        writer_remove(c, session, ino, false);
    }
}
