/* store_space.c - space for the live environment on its disk.
 *
 * LMDB writes pages when it commits; a commit that met a full disk would end the process with
 * records that are in the log and in no state. So the file's space is taken ahead of its last page
 * (the size stays: LMDB itself makes the file longer), and a commit is asked for before what was
 * changed can need more than that. From 0 to `allocated` the file has no holes.
 */
#include "master/core/store_internal.h"

enum {
    STEP_MIN = 256 << 10,
    STEPS_AHEAD = 4,       /* one request is this part of what is wanted ahead */
    DISK_SHARE = 16,       /* on a small disk no more than this part is taken ahead */
    RESERVE_MIN = 1 << 20, /* of the disk: left to deletes */
    RESERVE_SHARE = 50,
    /* A change copies one leaf, may split it, and copies its share of the pages above. */
    CHANGE_BYTES = 3 * 4096,
    ROOM_LOW = 64 << 20,
    COMMIT_BYTES = 512 << 10, /* a path from the root down in every table */
    FREE_LIST_SHARE = 512,    /* 8 bytes of free list per page of 4 KiB */
};

#define RESERVE_MAX (4ull << 30)

/* ---------------------------------------------------------------- room */

static uint64_t reserve_bytes(uint64_t total)
{
    return MAX(MIN(total / RESERVE_SHARE, RESERVE_MAX), (uint64_t)RESERVE_MIN);
}

/* Bytes of pages that deletes have freed inside the file. */
static uint64_t free_page_bytes(struct store *s, uint64_t page_bytes)
{
    enum { FREE_LIST = 0 }; /* LMDB's own table: value = count, then page numbers */
    MDB_txn *txn;
    MDB_cursor *c;
    store_check(s, "read transaction", mdb_txn_begin(s->mdb, NULL, MDB_RDONLY, &txn));
    store_check(s, "free list", mdb_cursor_open(txn, FREE_LIST, &c));
    uint64_t pages = 0;
    MDB_val key, value;
    while (mdb_cursor_get(c, &key, &value, MDB_NEXT) == 0) {
        size_t count;
        memcpy(&count, value.mv_data, sizeof(count));
        pages += count;
    }
    mdb_cursor_close(c);
    mdb_txn_abort(txn);
    return pages * page_bytes;
}

/* Once per commit, because asking the filesystem is a system call. */
static uint64_t room_now(struct store *s, const MDB_envinfo *info, uint64_t page_bytes)
{
    uint64_t used = s->space.used;
    uint64_t room = info->me_mapsize > used ? info->me_mapsize - used : 0;
    uint64_t total = 0, avail = 0;
    if (env_space(s->env, &total, &avail) != 0) {
        return room;
    }
    uint64_t reserve = reserve_bytes(total);
    /* A quota shows only when space is asked for. */
    avail = s->space.starved ? 0 : avail;
    room = MIN(room, avail > reserve ? avail - reserve : 0);
    /* The file never shrinks: near the end, what deletes freed inside it is what is left. */
    return room < 16 * reserve ? room + free_page_bytes(s, page_bytes) : room;
}

uint64_t store_room(struct store *s)
{
    return s->space.room;
}

void store_refresh_room(struct store *s)
{
    if (s->space.room < ROOM_LOW || s->space.starved) {
        store_space_refresh(s);
    }
}

/* ---------------------------------------------------------------- space ahead */

static void grown(struct store_space *p, uint64_t end, int err, struct store *s)
{
    bool was_starved = p->starved;
    if (err == 0) {
        p->allocated = MAX(p->allocated, end);
        p->starved = false;
        p->step = MIN(p->step * 2, MAX(p->ahead / STEPS_AHEAD, (uint64_t)STEP_MIN));
    } else if (err == -EOPNOTSUPP) {
        env_log(s->env, LOG_WARN, "%s: this filesystem takes no space ahead: keep it from filling",
                s->name);
        p->allocated = UINT64_MAX;
    } else {
        p->starved = true;
        p->step = MAX(p->step / 2, (uint64_t)STEP_MIN);
    }
    if (p->starved && !was_starved) {
        env_log(s->env, LOG_ERROR,
                "%s: no space for it on the disk (%s): what makes it grow is refused", s->name,
                err_text(err));
    }
}

static void grow(struct store *s);

static void grow_done(struct disk_op *op)
{
    struct store *s = op->owner;
    s->space.growing = false;
    grown(&s->space, op->off + op->off2, (int)op->result, s);
    if (op->result == 0) {
        grow(s); /* after a refusal the next commit asks again */
    }
}

/* Asks for the next step, if what is ahead is less than wanted; after a refusal in any case: a commit may
 * have asked for more than that, and nothing else tells that there is room again. */
static void grow(struct store *s)
{
    struct store_space *p = &s->space;
    if (p->growing || p->ahead == 0 || p->allocated == UINT64_MAX ||
        (p->allocated >= p->used + p->ahead && !p->starved)) {
        return;
    }
    p->growing = true;
    p->op = (struct disk_op){.kind = DISK_ALLOCATE,
                             .path = s->name,
                             .off = p->allocated,
                             .off2 = p->step,
                             .done = grow_done,
                             .owner = s};
    env_disk_submit(s->env, &p->op);
}

/* The same at once. */
static void grow_now(struct store *s, uint64_t from, uint64_t end)
{
    struct store_space *p = &s->space;
    while (p->allocated < end) {
        uint64_t to = MIN(end, p->allocated + p->step);
        int err = env_allocate(s->env, s->name, from, to - from);
        bool smaller = p->step > STEP_MIN;
        grown(p, to, err, s);
        if (err != 0 && !smaller) {
            return;
        }
        from = p->allocated;
    }
}

void store_preallocate(struct store *s, uint64_t ahead)
{
    struct store_space *p = &s->space;
    uint64_t total = 0, avail = 0;
    if (env_space(s->env, &total, &avail) == 0) {
        ahead = MIN(ahead, total / DISK_SHARE);
    }
    p->ahead = MAX(ahead, (uint64_t)STEP_MIN);
    p->step = MAX(ahead / STEPS_AHEAD, (uint64_t)STEP_MIN);
    p->allocated = p->used;
    grow_now(s, 0, p->used + p->ahead); /* from 0: pages that were never written are holes */
    store_space_refresh(s);
}

/* What the open transaction may need beyond the file's last page. Free pages are not counted: while
 * a checkpoint reads, none can be used. */
static uint64_t growth_bound(const struct store_space *p)
{
    return p->changes * CHANGE_BYTES + p->long_bytes * 2 + p->used / FREE_LIST_SHARE + COMMIT_BYTES;
}

bool store_commit_due(const struct store *s)
{
    const struct store_space *p = &s->space;
    return p->changes > 0 && p->ahead > 0 && p->allocated != UINT64_MAX &&
           growth_bound(p) >= p->allocated - p->used;
}

uint64_t store_space_ahead(const struct store *s)
{
    return s->space.ahead > 0 ? s->space.allocated - s->space.used : 0;
}

/* Growth that the requests did not keep up with. */
void store_space_before_commit(struct store *s)
{
    struct store_space *p = &s->space;
    uint64_t bound = growth_bound(p);
    /* Far above what makes a commit due: one record that changed very many rows. They are
     * neighbours, so that twice as much is plenty. */
    uint64_t need = bound > 2 * p->ahead ? 2 * p->ahead : MIN(bound, p->ahead);
    if (p->ahead > 0 && p->allocated != UINT64_MAX && p->allocated - p->used < need) {
        grow_now(s, p->allocated, p->used + need);
    }
    p->changes = 0;
    p->long_bytes = 0;
}

void store_space_refresh(struct store *s)
{
    struct store_space *p = &s->space;
    MDB_envinfo info;
    MDB_stat stat;
    store_check(s, "environment info", mdb_env_info(s->mdb, &info));
    store_check(s, "environment stat", mdb_env_stat(s->mdb, &stat));
    p->used = (info.me_last_pgno + 1) * stat.ms_psize;
    p->allocated = MAX(p->allocated, p->used);
    p->room = room_now(s, &info, stat.ms_psize);
    grow(s);
}
