/* sessions.c - the volatile side of mounts' sessions. */
#include "master/core/sessions.h"
#include "shared/base/mem.h"

/* One inode a session holds open. */
struct session_open {
    struct hmap_node own;    /* in session.opens */
    struct hmap_node shared; /* in sessions.opens */
    struct session *session;
    uint64_t ino;
    bool writing;
};

void sessions_init(struct sessions *ss)
{
    hmap_init(&ss->by_id);
    hmap_init(&ss->opens);
    list_init(&ss->all);
}

void sessions_close(struct sessions *ss)
{
    list_for_each_safe (it, &ss->all) {
        sessions_remove(ss, list_entry(it, struct session, link));
    }
    hmap_close(&ss->by_id);
    hmap_close(&ss->opens);
}

struct session *sessions_get(const struct sessions *ss, uint64_t id)
{
    for (struct hmap_node *n = hmap_first(&ss->by_id, hmap_hash_u64(id)); n; n = hmap_next(n)) {
        struct session *s = container_of(n, struct session, node);
        if (s->id == id) {
            return s;
        }
    }
    return NULL;
}

struct session *sessions_add(struct sessions *ss, uint64_t id, bool attached, uint64_t now_ns)
{
    struct session *s = mem_new(struct session);
    s->id = id;
    s->attached = attached;
    s->contact_ns = now_ns;
    hmap_init(&s->opens);
    hmap_add(&ss->by_id, &s->node, hmap_hash_u64(id));
    list_push_back(&ss->all, &s->link);
    return s;
}

static void open_free(struct sessions *ss, struct session_open *o)
{
    hmap_remove(&o->session->opens, &o->own);
    hmap_remove(&ss->opens, &o->shared);
    mem_free(o);
}

void sessions_remove(struct sessions *ss, struct session *s)
{
    session_close_all(ss, s);
    hmap_close(&s->opens);
    hmap_remove(&ss->by_id, &s->node);
    list_remove(&s->link);
    mem_free(s);
}

static struct session_open *find(const struct session *s, uint64_t ino)
{
    for (struct hmap_node *n = hmap_first(&s->opens, hmap_hash_u64(ino)); n; n = hmap_next(n)) {
        struct session_open *o = container_of(n, struct session_open, own);
        if (o->ino == ino) {
            return o;
        }
    }
    return NULL;
}

int session_open(struct sessions *ss, struct session *s, uint64_t ino, bool writing)
{
    struct session_open *o = find(s, ino);
    if (o == NULL) {
        if (session_full(s)) {
            return -ENFILE;
        }
        o = mem_new(struct session_open);
        o->session = s;
        o->ino = ino;
        hmap_add(&s->opens, &o->own, hmap_hash_u64(ino));
        hmap_add(&ss->opens, &o->shared, hmap_hash_u64(ino));
    }
    o->writing |= writing;
    return 0;
}

void session_close(struct sessions *ss, struct session *s, uint64_t ino)
{
    struct session_open *o = find(s, ino);
    if (o != NULL) {
        open_free(ss, o);
    }
}

void session_close_all(struct sessions *ss, struct session *s)
{
    hmap_for_each (it, &s->opens) {
        open_free(ss, container_of(it, struct session_open, own));
    }
}

bool session_has_open(const struct session *s, uint64_t ino)
{
    return find(s, ino) != NULL;
}

bool session_writes_to(const struct session *s, uint64_t ino)
{
    const struct session_open *o = find(s, ino);
    return o != NULL && o->writing;
}

bool session_full(const struct session *s)
{
    return s->opens.count >= SESSION_OPENS_MAX;
}

void sessions_holders(const struct sessions *ss, uint64_t ino, struct writer *w)
{
    list_for_each (it, &ss->all) {
        const struct session *s = list_entry(it, struct session, link);
        if (!s->attached) {
            enc_u64(w, &s->id);
        }
    }
    for (struct hmap_node *n = hmap_first(&ss->opens, hmap_hash_u64(ino)); n; n = hmap_next(n)) {
        const struct session_open *o = container_of(n, struct session_open, shared);
        if (o->ino == ino && o->session->attached) {
            enc_u64(w, &o->session->id);
        }
    }
}

void session_writes(const struct session *s, struct writer *w)
{
    hmap_for_each (it, &s->opens) {
        const struct session_open *o = container_of(it, struct session_open, own);
        if (o->writing) {
            enc_u64(w, &o->ino);
        }
    }
}

struct session *sessions_silent(const struct sessions *ss, uint64_t dead_ns)
{
    list_for_each (it, &ss->all) {
        struct session *s = list_entry(it, struct session, link);
        if (s->contact_ns < dead_ns) {
            return s;
        }
    }
    return NULL;
}
