/* model.c - replaying a journal. */
#include "tests/crash/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STAMP_WORDS = SECTOR / 8, STAMP_MAGIC = 0x7374616d };

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

void stamp_fill(uint8_t out[SECTOR], uint32_t writer, uint64_t file, uint32_t sector,
                uint64_t sequence)
{
    uint64_t w[STAMP_WORDS] = {(uint64_t)STAMP_MAGIC << 32 | writer, file, sector, sequence};
    for (unsigned i = 4; i < STAMP_WORDS; i++) {
        w[i] = mix(w[0] ^ mix(file ^ mix(sector ^ mix(sequence))) ^ i);
    }
    memcpy(out, w, SECTOR);
}

uint64_t stamp_read(const uint8_t in[SECTOR], uint32_t writer, uint64_t file, uint32_t sector,
                    char out[160])
{
    static const uint8_t zeros[SECTOR];
    uint64_t w[4];
    uint8_t whole[SECTOR];
    memcpy(w, in, sizeof(w));
    if (memcmp(in, zeros, SECTOR) == 0) {
        return 0;
    }
    if (w[0] >> 32 != STAMP_MAGIC) {
        snprintf(out, 160, "bytes nobody wrote");
        return UINT64_MAX;
    }
    stamp_fill(whole, (uint32_t)w[0], w[1], (uint32_t)w[2], w[3]);
    if (memcmp(in, whole, SECTOR) != 0) {
        snprintf(out, 160, "a torn or damaged sector of operation %llu", (unsigned long long)w[3]);
        return UINT64_MAX;
    }
    if ((uint32_t)w[0] != writer || w[1] != file || w[2] != sector) {
        snprintf(out, 160, "sector %llu of file %llu of writer %u, by operation %llu",
                 (unsigned long long)w[2], (unsigned long long)w[1], (unsigned)(uint32_t)w[0],
                 (unsigned long long)w[3]);
        return UINT64_MAX;
    }
    return w[3];
}

void place_path(uint32_t place, char out[32])
{
    snprintf(out, 32, "d%u/n%u", place % DIRS, place);
}

void model_init(struct model *m, uint32_t writer, const struct cuts *cuts)
{
    *m = (struct model){.writer = writer, .cuts = cuts};
    m->objects = calloc(OBJECTS_MAX, sizeof(struct object));
    if (m->objects == NULL) {
        die("no memory");
    }
}

void model_free(struct model *m)
{
    free(m->objects);
}

bool sector_may_be_lost(const struct model *m, const struct sector *s)
{
    return s->newest > s->floor && (s->loose || (cuts_between(m->cuts, s->since_ns, s->until_ns) &
                                                 CUT_ALL_CHUNKDS) == CUT_ALL_CHUNKDS);
}

static struct object *make(struct model *m, enum kind kind, const struct entry *e)
{
    struct object *o = m->objects;
    while (o->kind != KIND_FREE) {
        o++;
    }
    memset(o, 0, sizeof(*o));
    o->kind = kind;
    o->id = e->sequence;
    o->inode = e->inode;
    o->links = 1;
    for (uint32_t i = 0; i < SECTORS_MAX; i++) {
        o->sector[i] = (struct sector){.floor = o->id, .floor_zero = true, .newest = o->id};
    }
    return o;
}

static void drop(struct object *o)
{
    if (o != NULL && --o->links == 0) {
        o->kind = KIND_FREE;
    }
}

static void written(struct model *m, struct object *o, const struct entry *e)
{
    for (uint32_t i = e->first; i < e->first + e->count; i++) {
        struct sector *s = &o->sector[i];
        s->newest = e->sequence;
        s->loose = false;
        s->kept = true;
        s->since_ns = m->checked_ns;
        s->until_ns = e->end_ns != 0 ? e->end_ns + FLUSHED_NS : UINT64_MAX;
    }
    if (e->first + e->count > o->size) {
        o->size = e->first + e->count;
    }
}

/* Its bytes and its size left the mount. */
static void pushed(struct object *o)
{
    for (uint32_t i = 0; i < SECTORS_MAX; i++) {
        o->sector[i].kept = false;
    }
    o->size_floor = o->size;
}

static void synced(struct model *m, struct object *o)
{
    m->syncs++;
    for (uint32_t i = 0; i < SECTORS_MAX; i++) {
        struct sector *s = &o->sector[i];
        s->kept = false;
        if (!s->loose && s->newest > s->floor) {
            s->floor = s->newest;
            s->floor_zero = false;
        }
    }
    o->size_floor = o->size;
}

/* An operation that moves bytes failed: right only if bytes may be gone that nobody had fsynced. */
static const char *failed(struct model *m, struct object *o, const struct entry *e)
{
    if (e->result != -EIO) {
        return "failed";
    }
    bool some = false;
    for (uint32_t i = 0; i < SECTORS_MAX; i++) {
        some |= sector_may_be_lost(m, &o->sector[i]);
    }
    if (!some) {
        return "failed although nothing it wrote can be lost";
    }
    m->failed_syncs++;
    for (uint32_t i = 0; i < SECTORS_MAX; i++) {
        o->sector[i].loose |= o->sector[i].newest > o->sector[i].floor;
    }
    return NULL;
}

static void cut_at(struct object *o, const struct entry *e)
{
    for (uint32_t i = e->count; i < SECTORS_MAX; i++) {
        o->sector[i] =
            (struct sector){.floor = e->sequence, .floor_zero = true, .newest = e->sequence};
    }
    /* What grows a file is as durable as what cuts it. */
    o->size = o->size_floor = e->count;
}

static void change_names(struct model *m, const struct entry *e)
{
    struct object *a = m->at[e->name], *b = m->at[e->name2];
    switch (e->op) {
    case OP_UNLINK:
    case OP_RMDIR:
        drop(a);
        m->at[e->name] = NULL;
        break;
    case OP_RENAME:
        drop(b);
        m->at[e->name2] = a;
        m->at[e->name] = NULL;
        break;
    case OP_EXCHANGE:
        m->at[e->name] = b;
        m->at[e->name2] = a;
        break;
    case OP_LINK:
        a->links++;
        m->at[e->name2] = a;
        break;
    default:
        m->at[e->name] = make(m,
                              e->op == OP_CREATE    ? KIND_FILE
                              : e->op == OP_SYMLINK ? KIND_SYMLINK
                                                    : KIND_DIR,
                              e);
    }
}

static const char *ended(struct model *m, const struct entry *e)
{
    struct object *o = m->at[e->name];
    const char *wrong = NULL;
    m->operations++;
    switch (e->op) {
    case OP_WRITE:
        written(m, o, e);
        wrong = e->result != 0 ? failed(m, o, e) : NULL;
        if (e->result == 0 && (e->flags & WRITE_FSYNC)) {
            synced(m, o);
        }
        if (e->result == 0 && !(e->flags & WRITE_KEEP)) {
            pushed(o);
        }
        return wrong;
    case OP_FSYNC:
    case OP_CLOSE:
        if (e->result != 0) {
            return failed(m, o, e);
        }
        if (e->op == OP_FSYNC) {
            synced(m, o);
        } else {
            pushed(o);
        }
        return NULL;
    case OP_TRUNCATE:
        if (e->result == 0) {
            cut_at(o, e);
        }
        return e->result != 0 ? "failed" : NULL;
    default:
        if (e->result == 0) {
            change_names(m, e);
        }
        return e->result != 0 ? "failed" : NULL;
    }
}

void model_client_killed(struct model *m)
{
    for (struct object *o = m->objects; o < m->objects + OBJECTS_MAX; o++) {
        for (uint32_t i = 0; o->kind == KIND_FILE && i < SECTORS_MAX; i++) {
            o->sector[i].loose |= o->sector[i].kept && o->sector[i].newest > o->sector[i].floor;
            o->sector[i].kept = false;
        }
    }
}

/* The mount was left: a new one does not know what its predecessor's fsync would have said. */
static void forget_losses(struct model *m)
{
    for (struct object *o = m->objects; o < m->objects + OBJECTS_MAX; o++) {
        for (uint32_t i = 0; o->kind == KIND_FILE && i < SECTORS_MAX; i++) {
            struct sector *s = &o->sector[i];
            s->loose |= sector_may_be_lost(m, s);
            s->kept = false;
        }
    }
}

static void settled(struct model *m, const struct entry *e)
{
    struct entry d = m->doubt;
    m->doubt.op = 0;
    if (e->result == 0) {
        return;
    }
    struct object *o = m->at[d.name];
    d.inode = e->inode;
    if (d.op == OP_WRITE) {
        uint32_t floor = o->size_floor;
        written(m, o, &d);
        o->size_floor = floor;
    } else if (d.op == OP_TRUNCATE) {
        cut_at(o, &d);
    } else if (d.op != OP_FSYNC && d.op != OP_CLOSE) {
        change_names(m, &d);
    }
}

const char *model_apply(struct model *m, const struct entry *e)
{
    if (e->sequence > m->sequence) {
        m->sequence = e->sequence;
    }
    switch (e->op) {
    case OP_SETTLED_DOUBT:
        settled(m, e);
        return NULL;
    case OP_SETTLED_SIZE:
        m->at[e->name]->size = m->at[e->name]->size_floor = e->count;
        return NULL;
    case OP_CHECKED:
        if (cuts_between(m->cuts, m->checked_ns, e->end_ns) & CUT_CLIENT) {
            model_client_killed(m);
        }
        forget_losses(m);
        m->checked_ns = e->end_ns;
        return NULL;
    default:
        m->doubt = *e;
        if (e->end_ns == 0) {
            return NULL;
        }
        m->doubt.op = 0;
        return ended(m, e);
    }
}

void model_load(struct model *m, const char *path)
{
    struct entry *all;
    size_t count = journal_read(path, &all);
    for (size_t i = 0; i < count; i++) {
        const char *wrong = model_apply(m, &all[i]);
        if (wrong != NULL) {
            die("%s: operation %llu %s: %s", path, (unsigned long long)all[i].sequence, wrong,
                strerror(-all[i].result));
        }
    }
    free(all);
}
