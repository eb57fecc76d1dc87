/* test_ns_model.c - random operations against a model that is as naive as can be: flat arrays of
 * inodes and entries, everything counted anew each time. */
#include "tests/unit/ns_fixture.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <sys/stat.h>

Suite *suite_ns_model(void);

enum {
    INODES = 2000,
    ENTRIES = 2000,
    NAMES = 6,
    CHUNKS = 10,
    SESSIONS = 3,
    OPS = 1200,
    SEEDS = 40
};

struct m_inode {
    bool exists;
    uint32_t type;
    uint64_t size; /* of a file */
    bool chunk[CHUNKS];
    bool bound[CHUNKS];
    bool held[SESSIONS + 1]; /* open, by session */
};

struct m_entry {
    bool used;
    uint64_t dir;
    char name[2];
    uint64_t ino;
};

struct model {
    struct fixture *f;
    struct sim_rand r;
    struct m_inode inode[INODES];
    struct m_entry entry[ENTRIES];
    uint64_t top; /* highest inode made */
};

static struct m_entry *entry_of(struct model *m, uint64_t dir, const char *name)
{
    for (int i = 0; i < ENTRIES; i++) {
        struct m_entry *e = &m->entry[i];
        if (e->used && e->dir == dir && strcmp(e->name, name) == 0) {
            return e;
        }
    }
    return NULL;
}

static void add_entry(struct model *m, uint64_t dir, const char *name, uint64_t ino)
{
    struct m_entry *e = m->entry;
    while (e->used) {
        e++;
    }
    *e = (struct m_entry){.used = true, .dir = dir, .ino = ino};
    e->name[0] = name[0];
}

static unsigned count_entries(struct model *m, uint64_t dir)
{
    unsigned n = 0;
    for (int i = 0; i < ENTRIES; i++) {
        n += m->entry[i].used && m->entry[i].dir == dir;
    }
    return n;
}

static bool is_dir(struct model *m, uint64_t ino)
{
    return m->inode[ino].type == S_IFDIR;
}

static unsigned count_links(struct model *m, uint64_t ino)
{
    unsigned n = is_dir(m, ino) ? 2 : 0;
    for (int i = 0; i < ENTRIES; i++) {
        struct m_entry *e = &m->entry[i];
        if (is_dir(m, ino)) {
            n += e->used && e->dir == ino && is_dir(m, e->ino);
        } else {
            n += e->used && e->ino == ino;
        }
    }
    return n;
}

static bool is_below(struct model *m, uint64_t outer, uint64_t inner)
{
    if (outer == inner) {
        return true;
    }
    for (int i = 0; i < ENTRIES; i++) {
        if (m->entry[i].used && m->entry[i].ino == inner) {
            return is_below(m, outer, m->entry[i].dir);
        }
    }
    return false;
}

/* An inode that lost a name or a holder may go. */
static void settle(struct model *m, uint64_t ino)
{
    bool held = false;
    for (int s = 1; s <= SESSIONS; s++) {
        held |= m->inode[ino].held[s];
    }
    if (is_dir(m, ino) || (count_links(m, ino) == 0 && !held)) {
        m->inode[ino].exists = false;
    }
}

/* ---------------------------------------------------------------- choosing */

static uint64_t any_inode(struct model *m)
{
    /* Mostly one that exists. */
    for (int tries = 0; tries < 20; tries++) {
        uint64_t ino = sim_between(&m->r, 1, m->top + (tries == 0));
        if (m->inode[ino].exists) {
            return ino;
        }
    }
    return sim_between(&m->r, 1, m->top + 1);
}

static uint64_t any_dir(struct model *m)
{
    uint64_t ino = any_inode(m);
    for (int tries = 0; tries < 10 && !is_dir(m, ino); tries++) {
        ino = any_inode(m);
    }
    return ino;
}

struct m_name {
    char text[2];
};

static struct m_name any_name(struct model *m)
{
    return (struct m_name){{(char)('a' + sim_below(&m->r, NAMES))}};
}

static int dir_status(struct model *m, uint64_t dir)
{
    return !m->inode[dir].exists ? -ENOENT : !is_dir(m, dir) ? -ENOTDIR : 0;
}

/* ---------------------------------------------------------------- operations */

static void op_make(struct model *m)
{
    uint64_t dir = any_dir(m);
    struct m_name n = any_name(m);
    int want = dir_status(m, dir);
    if (want == 0 && entry_of(m, dir, n.text) != NULL) {
        want = -EEXIST;
    }
    uint64_t ino = 0;
    uint32_t type = 0;
    int got = 0;
    switch (sim_below(&m->r, 4)) {
    case 0:
    case 1:
        got = DO(m->f, mkdir, .parent = dir, .name = N(n.text));
        ino = m->f->rep.mkdir_rep.attr.ino;
        type = S_IFDIR;
        break;
    case 2:
        got = DO(m->f, create, .parent = dir, .name = N(n.text));
        ino = m->f->rep.create_rep.attr.ino;
        type = S_IFREG;
        break;
    default:
        got = DO(m->f, symlink, .parent = dir, .name = N(n.text), .target = N("t"));
        ino = m->f->rep.symlink_rep.attr.ino;
        type = S_IFLNK;
        break;
    }
    MUST(got == want);
    if (got == 0) {
        MUST(ino == m->top + 1);
        m->top = ino;
        m->inode[ino] = (struct m_inode){.exists = true, .type = type};
        m->inode[ino].chunk[0] = type == S_IFREG;
        add_entry(m, dir, n.text, ino);
    }
}

static void op_link(struct model *m)
{
    uint64_t ino = any_inode(m), dir = any_dir(m);
    struct m_name n = any_name(m);
    int want = dir_status(m, dir);
    if (want == 0 && entry_of(m, dir, n.text) != NULL) {
        want = -EEXIST;
    } else if (want == 0 && !m->inode[ino].exists) {
        want = -ENOENT;
    } else if (want == 0 && is_dir(m, ino)) {
        want = -EPERM;
    } else if (want == 0 && count_links(m, ino) == 0) {
        want = -ENOENT;
    }
    MUST(DO(m->f, link, .ino = ino, .parent = dir, .name = N(n.text)) == want);
    if (want == 0) {
        add_entry(m, dir, n.text, ino);
    }
}

static void op_remove(struct model *m, bool rmdir)
{
    uint64_t dir = any_dir(m);
    struct m_name n = any_name(m);
    struct m_entry *e = NULL;
    int want = dir_status(m, dir);
    if (want == 0) {
        e = entry_of(m, dir, n.text);
        want = e == NULL ? -ENOENT : 0;
    }
    if (want == 0 && rmdir) {
        want = !is_dir(m, e->ino) ? -ENOTDIR : count_entries(m, e->ino) > 0 ? -ENOTEMPTY : 0;
    } else if (want == 0) {
        want = is_dir(m, e->ino) ? -EISDIR : 0;
    }
    int got = rmdir ? DO(m->f, rmdir, .parent = dir, .name = N(n.text))
                    : DO(m->f, unlink, .parent = dir, .name = N(n.text));
    MUST(got == want);
    if (want == 0) {
        e->used = false;
        settle(m, e->ino);
    }
}

static int rename_status(struct model *m, uint64_t from_dir, const struct m_entry *from,
                         uint64_t to_dir, const struct m_entry *to, uint32_t flags)
{
    int err = dir_status(m, from_dir);
    if (err == 0) {
        err = dir_status(m, to_dir);
    }
    if (err != 0) {
        return err;
    }
    if (from == NULL || (flags == 2 && to == NULL)) {
        return -ENOENT;
    }
    if (flags == 1 && to != NULL) {
        return -EEXIST;
    }
    if ((is_dir(m, from->ino) && is_below(m, from->ino, to_dir)) ||
        (flags == 2 && is_dir(m, to->ino) && is_below(m, to->ino, from_dir))) {
        return -EINVAL;
    }
    if (to == NULL || flags == 2 || from->ino == to->ino) {
        return 0;
    }
    if (is_dir(m, from->ino) != is_dir(m, to->ino)) {
        return is_dir(m, to->ino) ? -EISDIR : -ENOTDIR;
    }
    return is_dir(m, to->ino) && count_entries(m, to->ino) > 0 ? -ENOTEMPTY : 0;
}

static void op_rename(struct model *m)
{
    uint64_t from_dir = any_dir(m), to_dir = any_dir(m);
    struct m_name a = any_name(m), b = any_name(m);
    uint32_t flags = (uint32_t)sim_below(&m->r, 3);
    struct m_entry *from = entry_of(m, from_dir, a.text), *to = entry_of(m, to_dir, b.text);
    int want = rename_status(m, from_dir, from, to_dir, to, flags);
    int got = DO(m->f, rename, .parent = from_dir, .name = N(a.text), .new_parent = to_dir,
                 .new_name = N(b.text), .flags = flags);
    MUST(got == want);
    if (want != 0 || (to != NULL && from->ino == to->ino)) {
        return;
    }
    uint64_t moved = from->ino, other = to != NULL ? to->ino : 0;
    if (flags == 2) {
        to->ino = moved;
        from->ino = other;
        return;
    }
    from->used = false;
    if (to != NULL) {
        to->used = false;
        settle(m, other);
    }
    add_entry(m, to_dir, b.text, moved);
}

static void cut(struct model *m, uint64_t ino, uint64_t size)
{
    m->inode[ino].size = size;
    for (unsigned i = 0; i < CHUNKS; i++) {
        if ((uint64_t)i * FIXTURE_CHUNK >= size) {
            m->inode[ino].chunk[i] = m->inode[ino].bound[i] = false;
        }
    }
}

static void op_size(struct model *m, bool extending)
{
    uint64_t ino = any_inode(m);
    struct m_inode *in = &m->inode[ino];
    uint64_t size = sim_below(&m->r, CHUNKS * FIXTURE_CHUNK);
    if (sim_chance(&m->r, 1, 3)) {
        size -= size % FIXTURE_CHUNK;
    }
    int want = !in->exists ? -ENOENT : is_dir(m, ino) ? -EISDIR : in->type != S_IFREG ? -EINVAL : 0;
    if (!extending) {
        int got = DO(m->f, setattr, .ino = ino, .mask = SETATTR_SIZE, .size = size);
        MUST(got == want);
        if (want == 0 && size <= in->size) {
            cut(m, ino, size);
        } else if (want == 0) {
            in->size = size;
        }
        return;
    }
    MUST(DO(m->f, extend, .ino = ino, .end = size) == want);
    if (want == 0) {
        in->size = MAX(in->size, size);
        for (unsigned i = 0; i < CHUNKS; i++) {
            in->bound[i] |= in->chunk[i] && (uint64_t)i * FIXTURE_CHUNK < size;
        }
    }
}

static void op_chunk(struct model *m, bool bump)
{
    uint64_t ino = any_inode(m), number = sim_below(&m->r, CHUNKS);
    struct m_inode *in = &m->inode[ino];
    if (!bump && in->exists && in->type == S_IFREG && !in->chunk[number]) {
        grow_chunk(m->f, ino, number);
        in->chunk[number] = true;
    } else if (!bump) {
        return;
    } else if (in->exists && in->chunk[number]) {
        bump_chunk(m->f, ino, number);
        in->bound[number] = true;
    }
}

/* A session opens or closes an inode. */
static void op_hold(struct model *m)
{
    uint64_t ino = any_inode(m), session = sim_between(&m->r, 1, SESSIONS);
    struct m_inode *in = &m->inode[ino];
    if (!in->exists || in->type != S_IFREG) {
        return;
    }
    for (int i = 0; i < FIXTURE_HOLDS; i++) {
        if (m->f->holds[i].ino == ino && m->f->holds[i].session == session) {
            m->f->holds[i].ino = 0;
            in->held[session] = false;
            RECORD(m->f, release_orphan, .ino = ino, .session = session);
            settle(m, ino);
            return;
        }
    }
    for (int i = 0; i < FIXTURE_HOLDS && count_links(m, ino) > 0; i++) {
        if (m->f->holds[i].ino == 0) {
            m->f->holds[i].ino = ino;
            m->f->holds[i].session = session;
            in->held[session] = true;
            return;
        }
    }
}

static void step(struct model *m)
{
    switch (sim_below(&m->r, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        op_make(m);
        break;
    case 4:
        op_link(m);
        break;
    case 5:
        op_remove(m, false);
        break;
    case 6:
        op_remove(m, true);
        break;
    case 7:
    case 8:
    case 9:
        op_rename(m);
        break;
    case 10:
        op_size(m, false);
        break;
    case 11:
        op_size(m, true);
        break;
    case 12:
    case 13:
        op_chunk(m, false);
        break;
    case 14:
        op_chunk(m, true);
        break;
    default:
        op_hold(m);
        break;
    }
}

/* ---------------------------------------------------------------- comparing */

static void compare_chunks(struct model *m, uint64_t ino, const struct attr *a)
{
    const struct m_inode *in = &m->inode[ino];
    uint64_t bytes = 0;
    for (unsigned i = 0; i < CHUNKS; i++) {
        struct ns_chunk k = chunk(m->f, ino, i);
        MUST((k.handle != 0) == in->chunk[i]);
        uint64_t start = (uint64_t)i * FIXTURE_CHUNK;
        if (in->chunk[i]) {
            MUST(k.bound == in->bound[i]);
            MUST(k.trim == NO_TRIM || k.trim < FIXTURE_CHUNK);
            bytes += in->size > start ? MIN(in->size - start, (uint64_t)FIXTURE_CHUNK) : 0;
        }
    }
    MUST(a->blocks == (bytes + 511) / 512);
}

static void compare(struct model *m)
{
    for (uint64_t ino = 1; ino <= m->top; ino++) {
        const struct m_inode *in = &m->inode[ino];
        struct attr a = attr(m->f, ino);
        MUST((a.ino != 0) == in->exists);
        if (!in->exists) {
            continue;
        }
        MUST((a.mode & S_IFMT) == in->type);
        MUST(a.nlink == count_links(m, ino));
        if (in->type == S_IFREG) {
            MUST(a.size == in->size);
            compare_chunks(m, ino, &a);
        } else if (is_dir(m, ino)) {
            MUST(a.size == count_entries(m, ino));
        }
    }
    for (int i = 0; i < ENTRIES; i++) {
        if (m->entry[i].used) {
            MUST(find(m->f, m->entry[i].dir, m->entry[i].name) == m->entry[i].ino);
        }
    }
    fixture_check(m->f);
}

START_TEST(same_as_the_model)
{
    static struct model m;
    memset(&m, 0, sizeof(m));
    m.f = fixture_open();
    m.r = sim_rand_of((uint64_t)_i, 7);
    m.top = 1;
    m.inode[1] = (struct m_inode){.exists = true, .type = S_IFDIR};
    for (uint64_t s = 1; s <= SESSIONS; s++) {
        ck_assert_uint_eq(open_session(m.f, s), s);
    }
    m.f->session = 1;
    for (int i = 0; i < OPS; i++) {
        step(&m);
        m.f->acked = m.f->sequence > 5 ? m.f->sequence - 5 : 0;
        if (i % 200 == 199) {
            compare(&m);
        }
    }
    fixture_close(m.f);
}
END_TEST

Suite *suite_ns_model(void)
{
    Suite *s = suite_create("ns_model");
    TCase *t = tcase_create("ns_model");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, same_as_the_model, 0, SEEDS);
    suite_add_tcase(s, t);
    return s;
}
