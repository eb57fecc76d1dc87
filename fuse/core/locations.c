/* locations.c - where chunks of files are. */
#include "fuse/core/locations.h"

#include "fuse/core/client_impl.h"
#include "fuse/core/files.h"

enum { LOCATE_AHEAD = 8 }; /* chunks asked for at once */
#define SHORT_NS NS_PER_S  /* that there is nothing to read is believed for so long */

static uint64_t hash_of(uint64_t ino, uint64_t number)
{
    return hmap_hash_u64(hmap_hash_u64(ino) ^ number);
}

static struct location *find(struct client *c, uint64_t ino, uint64_t number)
{
    for (struct hmap_node *n = hmap_first(&c->locations, hash_of(ino, number)); n;
         n = hmap_next(n)) {
        struct location *l = container_of(n, struct location, node);
        if (l->ino == ino && l->number == number) {
            return l;
        }
    }
    return NULL;
}

static void free_location(struct location *l)
{
    ASSERT(l->pins == 0);
    hmap_remove(&l->client->locations, &l->node);
    list_remove(&l->lru);
    list_remove(&l->of_inode);
    mem_free(l);
}

static void evict(struct client *c)
{
    list_for_each_safe (e, &c->location_lru) {
        if (c->locations.count <= c->cfg.remembered) {
            break;
        }
        struct location *l = list_entry(e, struct location, lru);
        if (l->pins == 0) {
            free_location(l);
        }
    }
}

void locations_init(struct client *c)
{
    hmap_init(&c->locations);
    list_init(&c->location_lru);
}

void locations_close(struct client *c)
{
    while (!list_empty(&c->location_lru)) {
        struct location *l = list_entry(c->location_lru.next, struct location, lru);
        master_call_cancel(&l->locate);
        master_call_cancel(&l->grant);
        l->pins = 0;
        free_location(l);
    }
    hmap_close(&c->locations);
}

struct location *location_get(struct inode *i, uint64_t number)
{
    struct client *c = i->client;
    struct location *l = find(c, i->ino, number);
    if (l == NULL) {
        l = mem_new(struct location);
        l->client = c;
        l->ino = i->ino;
        l->number = number;
        l->trim = NO_TRIM;
        list_init(&l->lru);
        list_init(&l->of_inode);
        list_init(&l->trim_waiters);
        list_init(&l->locate_waiters);
        list_init(&l->grant_waiters);
        hmap_add(&c->locations, &l->node, hash_of(l->ino, number));
        list_push_back(&i->locations, &l->of_inode);
    }
    l->pins++;
    list_remove(&l->lru);
    list_push_back(&c->location_lru, &l->lru);
    evict(c);
    return l;
}

void location_unpin(struct location *l)
{
    ASSERT(l->pins > 0);
    l->pins--;
}

/* ---------------------------------------------------------------- learning */

static void set_known(struct location *l)
{
    l->known = true;
    l->known_ns = env_mono_ns(l->client->env);
}

static void set_hole(struct location *l)
{
    l->handle = l->version = l->doubt = 0;
    l->trim = NO_TRIM;
    l->trim_set = 0;
    l->fresh = l->unsynced = l->gone = l->by_shadow = false;
    l->primary = 0;
    l->member_count = 0;
    set_known(l);
}

void location_learn(struct location *l, const struct chunk *chunk, uint64_t index)
{
    l->index = index;
    if (chunk->handle == 0) {
        set_hole(l);
        return;
    }
    /* `fresh` ends here with the first write, at the master only with the next size commit. */
    bool same = l->known && l->handle == chunk->handle && l->version == chunk->version;
    if (!same || l->trim != chunk->trim || l->trim_set != chunk->trim_set) {
        struct inode *i = files_find(l->client, l->ino);
        if (i != NULL) {
            i->changes_seen++;
        }
    }
    l->fresh = chunk->fresh && (!same || l->fresh);
    l->unsynced = chunk->unsynced && (!same || l->unsynced);
    l->handle = chunk->handle;
    l->version = chunk->version;
    l->doubt = chunk->doubt;
    if (chunk->gone && !l->gone) {
        env_log(l->client->env, LOG_WARN,
                "inode %llu chunk %llu (%016llx) has no replica left that can be read: reads fail "
                "until one returns",
                (unsigned long long)l->ino, (unsigned long long)l->number,
                (unsigned long long)l->handle);
    }
    l->gone = chunk->gone;
    l->by_shadow = false;
    l->trim = chunk->trim;
    l->trim_set = chunk->trim_set;
    l->primary = chunk->primary;
    l->member_count = 0;
    struct reader r = reader_of(chunk->members);
    while (!reader_done(&r) && l->member_count < REPLICAS_MAX) {
        struct server s;
        dec_server(&r, &s);
        struct chunk_peer *p = r.err == 0 ? chunk_peer_learn(l->client, &s) : NULL;
        if (p != NULL) {
            l->members[l->member_count++] = p;
        }
    }
    set_known(l);
}

static void wake(struct list *waiters, int status)
{
    struct list now;
    list_init(&now);
    for (struct list *e; (e = list_pop_front(waiters)) != NULL;) {
        list_push_back(&now, e);
    }
    for (struct list *e; (e = list_pop_front(&now)) != NULL;) {
        struct location_wait *w = list_entry(e, struct location_wait, link);
        w->done(w, status);
    }
}

/* ---------------------------------------------------------------- locate */

static bool locate_usable(const struct location *l)
{
    bool readable = l->handle != 0 && !l->gone;
    return l->known && (readable || env_mono_ns(l->client->env) - l->known_ns < SHORT_NS);
}

static void send_locate(struct location *l);

/* An answer may be older than what a grant told meanwhile, and a neighbour may have changed. */
static void learn_located(struct location *l, const struct chunk *chunk, uint64_t index,
                          bool by_shadow)
{
    bool older = l->known && l->handle == chunk->handle && l->version > chunk->version;
    if (older) {
        return;
    }
    /* A trim being carried out is none the less there for an answer of before it was set. A newer one
     * without it says that another mount carried it out, and perhaps wrote behind it. */
    bool before = index < l->index && chunk->version <= l->version;
    bool stands = l->trimming && l->handle == chunk->handle && before;
    uint32_t trim = stands ? l->trim : NO_TRIM;
    uint32_t set = l->trim_set;
    uint64_t as_of = l->index;
    location_learn(l, chunk, index);
    l->by_shadow = by_shadow;
    if (trim < l->trim) {
        l->trim = trim;
        l->trim_set = set;
        l->index = as_of;
    }
}

void location_hint(struct inode *i, const struct chunk *chunk, uint64_t index, bool by_shadow)
{
    struct location *l = location_get(i, chunk->number);
    if (!l->known && l->changes == 0 && l->pins == 1) {
        location_learn(l, chunk, index);
        l->by_shadow = by_shadow;
    }
    location_unpin(l);
}

/* The first chunk of the answer is l's or lies behind it. Neighbours are learned if nothing is
 * known of them, so that reading on needs no question. */
static void learn_answer(struct location *l, const struct locate_rep *rep, uint64_t index)
{
    bool found = false;
    struct reader r = reader_of(rep->chunks);
    while (!reader_done(&r)) {
        struct chunk chunk;
        dec_chunk(&r, &chunk);
        if (r.err != 0 || chunk.ino != l->ino) {
            break;
        }
        if (chunk.number == l->number) {
            found = true;
            learn_located(l, &chunk, index, l->locate.by_shadow);
        } else if (chunk.number > l->number && chunk.number - l->number < l->locate_count &&
                   l->locate_recalls == l->client->recalls) {
            struct inode *i = files_find(l->client, l->ino);
            if (i != NULL) {
                location_hint(i, &chunk, index, l->locate.by_shadow);
            }
        }
    }
    if (!found) {
        set_hole(l);
    }
}

static void locate_done(struct master_call *m)
{
    struct location *l = m->owner;
    struct locate_rep rep;
    int err = MASTER_REPLY(locate, m, &rep);
    if (err == 0 && l->locate_changes != l->changes) {
        send_locate(l);
        return;
    }
    if (err == 0) {
        learn_answer(l, &rep, m->reply->head.index);
    }
    wake(&l->locate_waiters, err);
    location_unpin(l);
}

static void send_locate(struct location *l)
{
    l->locate_changes = l->changes;
    l->locate_recalls = l->client->recalls;
    l->locate_count = LOCATE_AHEAD;
    struct locate_req req = {.ino = l->ino, .number = l->number, .count = l->locate_count};
    l->locate.done = locate_done;
    l->locate.owner = l;
    master_call(&l->client->master, &l->locate, OP_locate, RPC_BODY(locate_req, &req));
}

bool location_locate(struct location *l, struct location_wait *w)
{
    if (locate_usable(l)) {
        return true;
    }
    list_push_back(&l->locate_waiters, &w->link);
    if (!master_call_running(&l->locate)) {
        l->pins++;
        send_locate(l);
    }
    return false;
}

void location_doubt(struct location *l, uint64_t version)
{
    if (l->version == version) {
        l->known = false;
    }
}

/* ---------------------------------------------------------------- grant */

static void send_grant(struct location *l);

static void grant_done(struct master_call *m)
{
    struct location *l = m->owner;
    struct grant_rep rep;
    int err = MASTER_REPLY(grant, m, &rep);
    if (err == 0 &&
        (rep.chunk.handle == 0 || rep.chunk.ino != l->ino || rep.chunk.number != l->number)) {
        err = ERR_PROTOCOL;
    }
    if (err == 0 && l->grant_changes != l->changes) {
        send_grant(l);
        return;
    }
    if (err == 0) {
        location_learn(l, &rep.chunk, m->reply->head.index);
    }
    wake(&l->grant_waiters, err);
    location_unpin(l);
}

static void send_grant(struct location *l)
{
    l->grant_changes = l->changes;
    struct grant_req req = {.ino = l->ino,
                            .number = l->number,
                            .failed_version = l->failed_version,
                            .failed_server = l->failed_server,
                            .failed_status = l->failed_status};
    l->grant.done = grant_done;
    l->grant.owner = l;
    master_call(&l->client->master, &l->grant, OP_grant, RPC_BODY(grant_req, &req));
}

static void ask_grant(struct location *l, struct location_wait *w)
{
    list_push_back(&l->grant_waiters, &w->link);
    if (!master_call_running(&l->grant)) {
        l->pins++;
        send_grant(l);
    }
}

bool location_grant(struct location *l, struct location_wait *w, uint64_t failed_version,
                    uint32_t failed_server, int64_t failed_status)
{
    if (l->known && l->handle != 0 && l->primary != 0 && l->version > failed_version) {
        return true;
    }
    if (!master_call_running(&l->grant)) {
        l->failed_version = failed_version;
        l->failed_server = failed_server;
        l->failed_status = failed_status;
    }
    ask_grant(l, w);
    return false;
}

void location_refresh(struct location *l, struct location_wait *w)
{
    if (!master_call_running(&l->grant)) {
        l->failed_version = 0;
        l->failed_server = 0;
        l->failed_status = 0;
    }
    ask_grant(l, w);
}

/* ---------------------------------------------------------------- changes */

void location_trimmed(struct location *l, bool done, uint32_t trim, uint32_t set, int status)
{
    l->changes++;
    l->trimming = false;
    bool same = l->trim == trim && l->trim_set == set;
    if (done && (same || l->trim == NO_TRIM)) { /* else it was truncated again meanwhile */
        l->trim = NO_TRIM;
        l->trim_set = 0;
    } else {
        l->known = false;
    }
    wake(&l->trim_waiters, status);
}

void locations_free(struct inode *i)
{
    while (!list_empty(&i->locations)) {
        struct location *l = list_entry(i->locations.next, struct location, of_inode);
        master_call_cancel(&l->locate);
        master_call_cancel(&l->grant);
        ASSERT(list_empty(&l->locate_waiters) && list_empty(&l->grant_waiters));
        l->pins = 0; /* only a question nobody waits for held it */
        free_location(l);
    }
}

void locations_forget(struct inode *i)
{
    list_for_each (e, &i->locations) {
        struct location *l = list_entry(e, struct location, of_inode);
        l->known = false;
        l->changes++;
    }
}

void locations_forget_all(struct client *c)
{
    hmap_for_each (n, &c->locations) {
        struct location *l = container_of(n, struct location, node);
        l->known = false;
        l->changes++;
    }
}
