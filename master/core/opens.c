/* opens.c - what sessions hold open. */
#include "master/core/opens.h"
#include "master/core/master_internal.h"

#include <sys/stat.h>

/* Bytes of one record's list, and of closes held back. */
enum { LIST_BYTES_MAX = RECORD_BODY_MAX / 4 };

static void log_adds(struct master *m, const struct session *s, struct writer *w)
{
    union op_any rec = {.writers_add_rec = {.session = s->id, .inodes = writer_bytes(w)}};
    if (w->len > 0) {
        (void)commit_record(m, OP_writers_add, &rec, NULL, NULL);
        writer_reset(w);
    }
}

static bool is_file(struct master *m, uint64_t ino)
{
    struct attr attr;
    return ns_attr(m->ns, ino, &attr) == 0 && S_ISREG(attr.mode);
}

/* `adds`: it is logged that the session may write the inode from now on. */
static int open_file(struct master *m, struct session *s, uint64_t ino, bool writing, bool adds)
{
    int err = session_open(&m->sessions, s, ino, writing);
    if (err == 0 && adds) {
        struct writer w;
        writer_init(&w);
        enc_u64(&w, &ino);
        log_adds(m, s, &w);
        writer_free(&w);
    }
    return err;
}

int opens_open(struct master *m, struct session *s, uint64_t ino, bool writing)
{
    bool adds = writing && !ns_writer_exists(m->ns, s->id, ino);
    int err = adds ? ns_room(m->ns) : 0;
    return err == 0 ? open_file(m, s, ino, writing, adds) : err;
}

int opens_made(struct master *m, struct session *s, uint64_t ino)
{
    if (!is_file(m, ino)) { /* it is gone, or the request was not the one that this answer is of */
        return 0;
    }
    return open_file(m, s, ino, true, !ns_writer_exists(m->ns, s->id, ino));
}

/* ---------------------------------------------------------------- closes */

void opens_flush(struct master *m)
{
    union op_any rec = {.writers_remove_rec = {.closed = writer_bytes(&m->closed)}};
    if (m->closed.len > 0) {
        (void)commit_record(m, OP_writers_remove, &rec, NULL, NULL);
        writer_reset(&m->closed);
    }
}

/* The session may write the inode no longer; logged with the next flush. */
static void note_closed(struct master *m, const struct session *s, uint64_t ino)
{
    enc_u64(&m->closed, &s->id);
    enc_u64(&m->closed, &ino);
    if (m->closed.len >= LIST_BYTES_MAX) {
        opens_flush(m);
    }
}

static bool holds_orphan(struct master *m, const struct session *s, uint64_t ino)
{
    uint64_t held, session;
    return ns_orphan_next(m->ns, ino, s->id, &held, &session) == 0 && held == ino &&
           session == s->id;
}

static void release_orphan(struct master *m, uint64_t ino, uint64_t session)
{
    union op_any rec = {.release_orphan_rec = {.ino = ino, .session = session}};
    (void)commit_record(m, OP_release_orphan, &rec, NULL, NULL);
}

void opens_close(struct master *m, struct session *s, struct bytes inodes)
{
    struct reader r = reader_of(inodes);
    while (!reader_done(&r)) {
        uint64_t ino = 0;
        dec_u64(&r, &ino);
        if (r.err != 0) {
            break;
        }
        bool was_open = session_has_open(s, ino);
        session_close(&m->sessions, s, ino);
        if (holds_orphan(m, s, ino)) {
            release_orphan(m, ino, s->id);
        } else if (was_open && ns_writer_exists(m->ns, s->id, ino)) {
            note_closed(m, s, ino);
        }
    }
    /* A quiet point that waits for the log to catch up must not be kept waiting by records that
     * have time. Nothing can look at the rows before it is over: opens and mutations wait too. */
    if (!m->commit.draining) {
        opens_flush(m);
    }
}

/* ---------------------------------------------------------------- attaching */

static int told(struct master *m, struct session *s, struct bytes inodes, bool writing)
{
    struct reader r = reader_of(inodes);
    int err = 0;
    while (!reader_done(&r) && err == 0) {
        uint64_t ino = 0;
        dec_u64(&r, &ino);
        err = r.err != 0 ? ERR_PROTOCOL : session_open(&m->sessions, s, ino, writing);
    }
    return err;
}

int opens_told(struct master *m, struct session *s, struct bytes reading, struct bytes writing)
{
    int err = told(m, s, reading, false);
    return err == 0 ? told(m, s, writing, true) : err;
}

/* Files it has open for writing that the log does not know of: its session is a new one. */
static void add_missing(struct master *m, const struct session *s)
{
    struct writer open, adds;
    writer_init(&open);
    writer_init(&adds);
    session_writes(s, &open);
    struct reader r = reader_of(writer_bytes(&open));
    while (!reader_done(&r)) {
        uint64_t ino = 0;
        dec_u64(&r, &ino);
        if (!ns_writer_exists(m->ns, s->id, ino) && is_file(m, ino)) {
            enc_u64(&adds, &ino);
        }
        if (adds.len >= LIST_BYTES_MAX) {
            log_adds(m, s, &adds);
        }
    }
    log_adds(m, s, &adds);
    writer_free(&open);
    writer_free(&adds);
}

/* What was noted of the session before this master started and is not so any more: it closed the
 * file and the record of it was lost, or it never heard that it had opened it. */
static void remove_unheld(struct master *m, const struct session *s)
{
    uint64_t ino = 0, session = 0;
    while (ns_orphan_next(m->ns, ino, session, &ino, &session) == 0) {
        if (session == s->id && !session_has_open(s, ino)) {
            release_orphan(m, ino, session);
        }
        session++;
    }
    ino = 0;
    while (ns_writer_next(m->ns, s->id, ino, &session, &ino) == 0 && session == s->id) {
        if (!session_has_open(s, ino)) {
            note_closed(m, s, ino);
        }
        ino++;
    }
    opens_flush(m);
}

void opens_attached(struct master *m, struct session *s)
{
    opens_flush(m);
    add_missing(m, s);
    if (!s->attached) {
        s->attached = true;
        remove_unheld(m, s);
    }
}

int opens_audit(struct master *m, struct why *why)
{
    uint64_t session = 0, ino = 0;
    while (m->closed.len == 0 && ns_writer_next(m->ns, session, ino, &session, &ino) == 0) {
        const struct session *s = sessions_get(&m->sessions, session);
        if (s != NULL && s->attached && !session_has_open(s, ino)) {
            return why_set(why, ERR_CORRUPT,
                           "session %llu is on record as writing inode %llu, which it closed",
                           (unsigned long long)session, (unsigned long long)ino);
        }
        ino++;
    }
    return 0;
}
