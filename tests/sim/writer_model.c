/* writer_model.c - who may write what, and which files were cut. */
#include "tests/sim/writer_model.h"
#include "shared/base/mem.h"

struct row {
    uint64_t session, ino;
};

struct file_state {
    uint64_t ino;
    bool due; /* a writer left without closing since the last cut */
    bool cut; /* and everybody has left */
};

struct writer_model {
    struct row *rows; /* in no order */
    uint32_t row_count;
    struct file_state *files; /* that ever had a writer */
    uint32_t file_count;
    void (*each_cut)(void *owner, uint64_t ino);
    void *owner;
};

struct writer_model *writer_model_new(void)
{
    return mem_new(struct writer_model);
}

void writer_model_free(struct writer_model *m)
{
    mem_free(m->rows);
    mem_free(m->files);
    mem_free(m);
}

static struct file_state *file_find(const struct writer_model *m, uint64_t ino)
{
    for (uint32_t i = 0; i < m->file_count; i++) {
        if (m->files[i].ino == ino) {
            return &m->files[i];
        }
    }
    return NULL;
}

static struct row *row_find(const struct writer_model *m, uint64_t session, uint64_t ino)
{
    for (uint32_t i = 0; i < m->row_count; i++) {
        if (m->rows[i].session == session && m->rows[i].ino == ino) {
            return &m->rows[i];
        }
    }
    return NULL;
}

static bool anybody(const struct writer_model *m, uint64_t ino)
{
    for (uint32_t i = 0; i < m->row_count; i++) {
        if (m->rows[i].ino == ino) {
            return true;
        }
    }
    return false;
}

static void enter(struct writer_model *m, uint64_t session, uint64_t ino)
{
    struct file_state *f = file_find(m, ino);
    if (f == NULL) {
        m->files = mem_resize(m->files, (m->file_count + 1) * sizeof(*f));
        f = &m->files[m->file_count++];
        *f = (struct file_state){.ino = ino};
    }
    f->cut = false;
    if (row_find(m, session, ino) == NULL) {
        m->rows = mem_resize(m->rows, (m->row_count + 1) * sizeof(m->rows[0]));
        m->rows[m->row_count++] = (struct row){session, ino};
    }
}

static void leave(struct writer_model *m, uint64_t session, uint64_t ino, bool closed)
{
    struct row *row = row_find(m, session, ino);
    if (row == NULL) {
        return;
    }
    struct file_state *f = file_find(m, ino);
    *row = m->rows[--m->row_count];
    f->due |= !closed;
    if (f->due && !anybody(m, ino)) {
        f->due = false;
        f->cut = true;
        if (m->each_cut != NULL) {
            m->each_cut(m->owner, ino);
        }
    }
}

static void leave_all(struct writer_model *m, uint64_t session)
{
    for (uint32_t i = m->row_count; i > 0; i--) {
        if (i <= m->row_count && m->rows[i - 1].session == session) {
            leave(m, session, m->rows[i - 1].ino, false);
        }
    }
}

static void enter_list(struct writer_model *m, const struct writers_add_rec *rec)
{
    struct reader r = reader_of(rec->inodes);
    while (!reader_done(&r)) {
        uint64_t ino;
        dec_u64(&r, &ino);
        enter(m, rec->session, ino);
    }
}

static void leave_list(struct writer_model *m, struct bytes list)
{
    struct reader r = reader_of(list);
    while (!reader_done(&r)) {
        uint64_t session, ino;
        dec_u64(&r, &session);
        dec_u64(&r, &ino);
        leave(m, session, ino, true);
    }
}

void writer_model_record(struct writer_model *m, const struct record *r, const union op_any *rec,
                         void (*cut)(void *owner, uint64_t ino), void *owner)
{
    m->each_cut = cut;
    m->owner = owner;
    switch (r->type) {
    case OP_create:
        enter(m, r->session, rec->create_rec.ino);
        break;
    case OP_writers_add:
        enter_list(m, &rec->writers_add_rec);
        break;
    case OP_writers_remove:
        leave_list(m, rec->writers_remove_rec.closed);
        break;
    case OP_release_orphan:
        leave(m, rec->release_orphan_rec.session, rec->release_orphan_rec.ino, true);
        break;
    case OP_session_expire:
        leave_all(m, rec->session_expire_rec.session);
        break;
    case OP_session_end:
        leave_all(m, r->session);
        break;
    default:
        break;
    }
}

bool writer_model_is_cut(const struct writer_model *m, uint64_t ino)
{
    const struct file_state *f = file_find(m, ino);
    return f != NULL && f->cut;
}
