/* shared_work.c - several mounts at one file.
 *
 * A truncate counts as a write of zeros to every unit from the new size on; what lies beyond the end of
 * the file is zeros.
 */
#include "tests/sim/shared_work.h"
#include "shared/base/mem.h"
#include "tests/sim/answers.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* About a border between chunks. */
enum { UNIT = 512, FIRST_UNIT = 488, UNITS = 48, PIECE_MAX = 12 };

struct put {
    uint64_t begin_ns;
    uint64_t end_ns;      /* on the chunkservers; UINT64_MAX = never known */
    uint64_t counts_ns;   /* its size and time are in the log, for who opens the file; the same */
    uint64_t returned_ns; /* to its program; 0 = not, or with an error */
    uint32_t mount, life;
    bool truncates;
    bool synced;
};

struct shared_file {
    uint64_t ino;
    struct put *puts; /* by sequence - 1 */
    uint32_t count;
    uint32_t units[UNITS][512]; /* sequences of the writes to each */
    uint32_t unit_count[UNITS];
};

struct shared_file *shared_file_new(void)
{
    return mem_new(struct shared_file);
}

void shared_file_free(struct shared_file *s)
{
    mem_free(s->puts);
    mem_free(s);
}

static struct shared_file *file_of(struct actor *a)
{
    return a->world->shared;
}

static uint64_t now(const struct actor *a)
{
    return a->world->sim->now_ns;
}

/* ---------------------------------------------------------------- what may be read */

/* It is there for everybody who opens the file later. */
static bool is_certain(struct actor *a, const struct put *p)
{
    return p->counts_ns != UINT64_MAX &&
           (p->synced || world_power_losses(a->world, p->begin_ns) < 2);
}

/* The same life of the same mount made both. */
static bool is_same_mount(const struct put *a, const struct put *b)
{
    return a->mount == b->mount && a->life == b->life;
}

/* Must a reader who opened the file at open_ns see this write, or a later one? */
static bool must_show(struct actor *a, const struct put *p, uint64_t open_ns, uint64_t asked_ns)
{
    bool own = p->mount == a->mount->number && p->life == a->mount->life && p->returned_ns != 0 &&
               p->begin_ns < asked_ns && !world_session_ended(a->world, a->mount) &&
               (p->synced || world_power_losses(a->world, p->begin_ns) < 2);
    /* A shadow need not know what others did last. */
    bool all = answers_shadow_ns(a->world->answers, a->mount) < open_ns;
    return (all && is_certain(a, p) && p->counts_ns < open_ns) ||
           (own && !a->entry->short_of_space);
}

/* Before one began the other was over, for everybody or for the mount that made both. */
static bool precedes(const struct put *a, const struct put *b)
{
    bool own = (a->truncates || b->truncates) && is_same_mount(a, b) && a->returned_ns != 0 &&
               a->returned_ns < b->begin_ns;
    return a->end_ns < b->begin_ns || own;
}

/* A write that had to show instead of `shown`, or 0. */
static uint32_t missing(struct actor *a, uint32_t unit, const struct put *shown, uint64_t open_ns)
{
    const struct shared_file *s = file_of(a);
    for (uint32_t i = 0; i < s->unit_count[unit]; i++) {
        const struct put *p = &s->puts[s->units[unit][i] - 1];
        if (p != shown && precedes(shown, p) && must_show(a, p, open_ns, a->entry->start_ns)) {
            return s->units[unit][i];
        }
    }
    return 0;
}

/* shown: sequence of what was read, 0 = zeros. NULL if that may be, else a sentence. */
static const char *judge(struct actor *a, uint32_t unit, uint32_t shown, uint64_t open_ns)
{
    static const struct put nothing; /* as the file was made */
    const struct shared_file *s = file_of(a);
    bool known = shown == 0;
    uint32_t later = shown == 0 ? missing(a, unit, &nothing, open_ns) : 0;
    for (uint32_t i = 0; i < s->unit_count[unit] && (later != 0 || shown != 0); i++) {
        uint32_t sequence = s->units[unit][i];
        const struct put *p = &s->puts[sequence - 1];
        if (shown == 0 ? p->truncates : sequence == shown && !p->truncates) {
            known = true;
            later = missing(a, unit, p, open_ns);
        }
    }
    if (later != 0) {
        const struct put *p = &s->puts[later - 1];
        world_say(a->world, "%s %u of mount-%u-%u, %.6f to %.6f, must show",
                  p->truncates ? "truncate" : "write", later, p->mount, p->life,
                  (double)p->begin_ns / 1e9, p->end_ns == UINT64_MAX ? 0 : (double)p->end_ns / 1e9);
        return "a later change was finished before";
    }
    return known ? NULL : "no such write was made there";
}

static void check_unit(struct actor *a, uint32_t unit, const uint8_t *data, uint64_t open_ns)
{
    uint32_t words[4];
    const char *why = NULL;
    memcpy(words, data, sizeof(words));
    bool zeros = (words[0] | words[1] | words[2] | words[3]) == 0;
    for (uint32_t i = 16; i < UNIT && why == NULL; i += 16) {
        why = memcmp(data, data + i, 16) != 0 ? "it is mixed" : NULL;
    }
    if (why == NULL && !zeros &&
        (words[0] != (0x80000000u | (uint32_t)file_of(a)->ino) || words[1] != FIRST_UNIT + unit ||
         words[3] == 0 || words[3] > file_of(a)->count)) {
        why = "it belongs elsewhere";
    }
    why = why == NULL ? judge(a, unit, zeros ? 0 : words[3], open_ns) : why;
    if (why != NULL) {
        char text[256];
        op_describe(a->entry, text, sizeof(text));
        world_fail(a->world,
                   "shared file %llu unit %u: read file %u unit %u client %u write %u: %s (%s)",
                   (unsigned long long)file_of(a)->ino, FIRST_UNIT + unit, words[0] & 0x7fffffffu,
                   words[1], words[2], words[3], why, text);
    }
}

static int read_units(struct actor *a, struct client_file *f, uint32_t first, uint32_t count,
                      uint64_t open_ns)
{
    int status = do_read(a, f, (uint64_t)(FIRST_UNIT + first) * UNIT, count * UNIT);
    if (status != 0) {
        return status;
    }
    static const uint8_t zeros[UNIT];
    uint32_t got = a->data.len / UNIT;
    if (got > count || a->data.len % UNIT != 0) {
        world_fail(a->world, "shared file: a read of %u bytes gave %u", count * UNIT, a->data.len);
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *data = slice_data(&a->data);
        check_unit(a, first + i, i < got ? data + (size_t)i * UNIT : zeros, open_ns);
    }
    return 0;
}

int shared_read_all(struct actor *a, uint64_t ino, struct client_file *f, uint64_t open_ns)
{
    return ino == file_of(a)->ino ? read_units(a, f, 0, UNITS, open_ns) : 0;
}

bool shared_is_doubtful(struct world *w, uint64_t ino)
{
    const struct shared_file *s = w->shared;
    for (uint32_t i = 0; i < s->count && ino == s->ino; i++) {
        const struct put *p = &s->puts[i];
        if (!p->synced && (p->end_ns == UINT64_MAX || world_power_losses(w, p->begin_ns) >= 2)) {
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- writing */

static void fill(struct actor *a, uint32_t first, uint32_t count, uint32_t sequence, uint8_t *out)
{
    for (uint32_t u = first; u < first + count; u++) {
        uint32_t words[4] = {0x80000000u | (uint32_t)file_of(a)->ino, FIRST_UNIT + u,
                             a->mount->number * 256 + a->mount->life, sequence};
        for (uint32_t i = 0; i < UNIT; i += sizeof(words)) {
            memcpy(out, words, sizeof(words));
            out += sizeof(words);
        }
    }
}

/* Notes a change of units first to end: its sequence, or 0 if there were too many. */
static uint32_t note_put(struct actor *a, uint32_t first, uint32_t end, bool truncates)
{
    struct shared_file *s = file_of(a);
    for (uint32_t u = first; u < end; u++) {
        if (s->unit_count[u] == COUNT_OF(s->units[u])) {
            return 0;
        }
    }
    s->puts = mem_resize(s->puts, (s->count + 1) * sizeof(struct put));
    uint32_t sequence = ++s->count;
    s->puts[sequence - 1] = (struct put){.begin_ns = now(a),
                                         .end_ns = UINT64_MAX,
                                         .counts_ns = UINT64_MAX,
                                         .mount = a->mount->number,
                                         .life = a->mount->life,
                                         .truncates = truncates};
    for (uint32_t u = first; u < end; u++) {
        s->units[u][s->unit_count[u]++] = sequence;
    }
    return sequence;
}

static int write_units(struct actor *a, struct client_file *f, uint8_t *buffer)
{
    uint32_t first = (uint32_t)sim_below(&a->rand, UNITS);
    uint32_t count = (uint32_t)sim_between(&a->rand, 1, MIN(PIECE_MAX, UNITS - first));
    uint32_t sequence = note_put(a, first, first + count, false);
    if (sequence == 0) {
        return 0;
    }
    fill(a, first, count, sequence, buffer);
    int status = do_write(a, f, (uint64_t)(FIRST_UNIT + first) * UNIT, buffer, count * UNIT, false);
    file_of(a)->puts[sequence - 1].returned_ns = status == 0 ? now(a) : 0;
    memset(buffer, 0xee, (size_t)count * UNIT);
    return status;
}

/* To anywhere in the units, or before or behind them; also without having the file open. */
static int truncate_shared(struct actor *a)
{
    uint64_t draw = sim_below(&a->rand, 8);
    uint32_t first = draw == 0 ? 0 : draw == 1 ? UNITS : (uint32_t)sim_below(&a->rand, UNITS);
    uint64_t size = draw == 0   ? sim_below(&a->rand, FIRST_UNIT) * UNIT
                    : draw == 1 ? (FIRST_UNIT + UNITS + 8) * UNIT
                                : (uint64_t)(FIRST_UNIT + first) * UNIT;
    uint32_t sequence = note_put(a, first, UNITS, true);
    struct attr set = {.size = size};
    if (sequence == 0) {
        return 0;
    }
    int status = do_setattr(a, file_of(a)->ino, SETATTR_SIZE, &set, NULL);
    if (status == 0) {
        struct put *p = &file_of(a)->puts[sequence - 1];
        p->returned_ns = p->end_ns = p->counts_ns = now(a);
        p->synced = true; /* it is in the log */
    }
    return status;
}

/* Writes number from + 1 and on, of this program's life, are on the chunkservers. fdatasync leaves their
 * time for later: until then an open by another mount may find the file unchanged. */
static void note_flushed(struct actor *a, uint32_t from, bool synced, bool data_only)
{
    struct shared_file *s = file_of(a);
    for (uint32_t i = from; i < s->count; i++) {
        struct put *p = &s->puts[i];
        bool mine =
            p->mount == a->mount->number && p->life == a->mount->life && p->returned_ns != 0;
        if (mine && p->end_ns == UINT64_MAX) {
            p->end_ns = now(a);
        }
        if (mine && !data_only && p->counts_ns == UINT64_MAX) {
            p->counts_ns = now(a);
        }
        p->synced |= mine && synced && p->end_ns != UINT64_MAX;
    }
}

static int one_step(struct actor *a, struct client_file *f, uint8_t *buffer, uint64_t open_ns,
                    uint32_t from)
{
    uint64_t draw = sim_below(&a->rand, 10);
    if (draw < 5) {
        bool truncates = a->world->share_truncates && sim_chance(&a->rand, 1, 5);
        return truncates ? truncate_shared(a) : write_units(a, f, buffer);
    }
    if (draw < 8) {
        uint32_t first = (uint32_t)sim_below(&a->rand, UNITS);
        return read_units(a, f, first, (uint32_t)sim_between(&a->rand, 1, UNITS - first), open_ns);
    }
    int status = draw == 8 ? do_fsync(a, f) : do_flush(a, f);
    if (status == 0) {
        note_flushed(a, from, draw == 8, draw == 8 && a->entry->flags != 0);
    }
    return status;
}

static int visit(struct actor *a, uint8_t *buffer)
{
    struct attr attr;
    uint64_t open_ns = now(a);
    uint32_t from = file_of(a)->count;
    int status = do_open(a, file_of(a)->ino, O_RDWR, &attr);
    if (status != 0) {
        return status;
    }
    struct client_file *f = a->opened;
    for (uint64_t n = sim_between(&a->rand, 2, 10); n > 0 && status == 0; n--) {
        status = one_step(a, f, buffer, open_ns, from);
    }
    if (status == 0 && (status = do_flush(a, f)) == 0) {
        note_flushed(a, from, false, false);
    }
    do_release(a, f);
    return status;
}

void shared_work_setup(struct actor *a)
{
    struct attr attr;
    struct attr set = {.size = (FIRST_UNIT + UNITS + 8) * UNIT};
    actor_wait_mount(a);
    int status = do_create(a, ROOT_INO, "shared", 0644, &attr);
    if (status == 0) {
        file_of(a)->ino = attr.ino;
        do_release(a, a->opened);
        status = do_setattr(a, attr.ino, SETATTR_SIZE, &set, &attr);
    }
    if (status != 0) {
        world_fail(a->world, "the shared file cannot be made: %s", err_text(status));
    }
}

void shared_work(struct actor *a)
{
    uint8_t *buffer = mem_alloc(PIECE_MAX * UNIT);
    while (a->world->ops < a->world->ops_wanted && !a->world->healing && a->world->share) {
        actor_wait_mount(a);
        bool truncates = a->world->share_truncates && sim_chance(&a->rand, 1, 5);
        int status = truncates ? truncate_shared(a) : visit(a, buffer);
        bool full = status == -ENOSPC && a->entry->short_of_space;
        /* A new life of a mount has not seen the file; a shadow need not have either. */
        bool unknown = status == -ENOENT &&
                       answers_shadow_ns(a->world->answers, a->mount) >= a->entry->start_ns;
        if (status == -EIO && a->entry->given_up && a->entry->op != OP_open) {
            mount_end(a->mount); /* what was given up shall not be done later */
        }
        if (status != 0 && status != GONE && status != -EIO && !full && !unknown) {
            char text[256];
            op_describe(a->entry, text, sizeof(text));
            world_fail(a->world, "a call on the shared file failed: %s", text);
        }
        actor_sleep(a, sim_below(&a->rand, 300 * NS_PER_MS));
    }
    mem_free(buffer);
}
