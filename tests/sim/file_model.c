/* file_model.c - what the bytes of one file may be. */
#include "tests/sim/file_model.h"
#include "shared/base/invariant.h"
#include "shared/base/mem.h"

#include <stdio.h>
#include <string.h>

/* Bytes [in, in + len) of a unit changed, by one writer. */
struct change {
    uint64_t at_ns;
    uint32_t writer;
    uint16_t in, len;
    bool zeros; /* a hole: data means nothing */
    bool flushed;
    bool synced;
    bool uncertain;           /* for good */
    uint8_t data[UNIT_BYTES]; /* at their places in the unit */
};

struct unit {
    struct change *changes; /* oldest first, over zeros */
    uint32_t count;
    bool synced_now; /* by the last flush */
};

struct file_model {
    uint32_t file;
    uint32_t writer;
    power_losses losses;
    void *owner;
    uint64_t size;
    uint64_t flushed_low; /* sizes that may be found after the writer's death */
    uint64_t sizes[256];
    uint32_t size_count;
    bool size_open;
    bool lossy;
    struct unit *units;
    uint64_t unit_count;
    char text[512];
};

struct file_model *file_model_new(uint32_t file, power_losses losses, void *owner)
{
    struct file_model *f = mem_new(struct file_model);
    f->file = file;
    f->losses = losses;
    f->owner = owner;
    f->size_count = 1;
    return f;
}

void file_model_free(struct file_model *f)
{
    for (uint64_t u = 0; u < f->unit_count; u++) {
        mem_free(f->units[u].changes);
    }
    mem_free(f->units);
    mem_free(f);
}

void file_model_writer(struct file_model *f, uint32_t writer)
{
    f->writer = writer;
}

bool file_model_is_writer(const struct file_model *f, uint32_t writer)
{
    return f->writer == writer;
}

uint64_t file_model_size(const struct file_model *f)
{
    return f->size;
}

void file_model_fill(const struct file_model *f, uint32_t sequence, uint64_t off, uint8_t *data,
                     uint32_t len)
{
    for (uint32_t i = 0; i < len;) {
        uint32_t unit = (uint32_t)((off + i) / UNIT_BYTES);
        uint32_t words[4] = {0x80000000u | f->file, unit, f->writer, sequence};
        uint32_t at = (uint32_t)((off + i) % sizeof(words));
        uint32_t n = MIN(len - i, (uint32_t)sizeof(words) - at);
        memcpy(data + i, (const uint8_t *)words + at, n);
        i += n;
    }
}

static uint8_t changed_to(const struct change *c, uint32_t i)
{
    return c->zeros ? 0 : c->data[i];
}

static bool is_uncertain(const struct file_model *f, const struct change *c)
{
    return c->uncertain || (f->lossy && !c->flushed) ||
           (!c->synced && f->losses(f->owner, c->at_ns) >= 2);
}

static struct unit *unit_at(struct file_model *f, uint64_t index)
{
    if (index >= f->unit_count) {
        uint64_t count = MAX(index + 1, f->unit_count * 3 / 2);
        f->units = mem_resize(f->units, count * sizeof(struct unit));
        memset(&f->units[f->unit_count], 0, (count - f->unit_count) * sizeof(struct unit));
        f->unit_count = count;
    }
    return &f->units[index];
}

static void change_unit(struct file_model *f, struct unit *u, uint64_t in, const uint8_t *data,
                        uint64_t n, uint64_t now_ns)
{
    u->changes = mem_resize(u->changes, (u->count + 1) * sizeof(struct change));
    struct change *c = &u->changes[u->count++];
    *c = (struct change){.at_ns = now_ns,
                         .writer = f->writer,
                         .in = (uint16_t)in,
                         .len = (uint16_t)n,
                         .zeros = data == NULL};
    if (data != NULL) {
        memcpy(c->data + in, data, n);
    }
}

/* Changes [off, off + len): data, or zeros if it is NULL. */
static void change(struct file_model *f, uint64_t off, const uint8_t *data, uint64_t len,
                   uint64_t now_ns)
{
    while (len > 0) {
        uint64_t in = off % UNIT_BYTES;
        uint64_t n = MIN(len, UNIT_BYTES - in);
        struct unit *u = unit_at(f, off / UNIT_BYTES);
        if (data != NULL || u->count > 0) {
            change_unit(f, u, in, data, n, now_ns);
        }
        data = data != NULL ? data + n : NULL;
        off += n;
        len -= n;
    }
}

static void set_size(struct file_model *f, uint64_t size)
{
    f->size = size;
    if (f->size_count < 256) {
        f->sizes[f->size_count++] = size;
    }
}

void file_model_write(struct file_model *f, uint64_t off, const uint8_t *data, uint32_t len,
                      uint64_t now_ns)
{
    change(f, off, data, len, now_ns);
    if (off + len > f->size) {
        set_size(f, off + len);
    }
}

void file_model_truncate(struct file_model *f, uint64_t size, uint64_t now_ns)
{
    uint64_t known = f->unit_count * UNIT_BYTES;
    if (size < f->size && size < known) {
        change(f, size, NULL, known - size, now_ns);
    }
    set_size(f, size);
}

void file_model_zero(struct file_model *f, uint64_t off, uint64_t len, uint64_t now_ns)
{
    if (off < f->size) {
        change(f, off, NULL, MIN(len, f->size - off), now_ns);
    }
}

/* Forgets changes all of whose bytes were changed again by what is durable. */
static void forget_hidden(struct unit *u)
{
    bool hidden[UNIT_BYTES] = {false};
    uint32_t kept = u->count;
    for (uint32_t k = u->count; k > 0; k--) {
        struct change *c = &u->changes[k - 1];
        bool shows = false;
        for (uint32_t i = c->in; i < c->in + c->len; i++) {
            shows = shows || !hidden[i];
            hidden[i] = hidden[i] || c->synced;
        }
        if (shows) {
            kept--;
            memmove(&u->changes[kept], c, sizeof(*c));
        }
    }
    u->count -= kept;
    memmove(u->changes, u->changes + kept, u->count * sizeof(struct change));
}

void file_model_flushed(struct file_model *f, bool synced)
{
    f->sizes[0] = f->size;
    f->size_count = 1;
    for (uint64_t i = 0; i < f->unit_count; i++) {
        struct unit *u = &f->units[i];
        u->synced_now = false;
        for (uint32_t k = 0; k < u->count; k++) {
            struct change *c = &u->changes[k];
            bool durable = synced && c->writer == f->writer;
            u->synced_now = u->synced_now || (durable && !c->synced);
            c->uncertain = !durable && is_uncertain(f, c);
            c->flushed = true;
            c->synced = c->synced || durable;
        }
        if (u->count > 1 && u->synced_now) {
            forget_hidden(u);
        }
    }
}

void file_model_writer_died(struct file_model *f, uint64_t now_ns)
{
    (void)now_ns;
    f->size_open = true;
    for (uint64_t i = 0; i < f->unit_count; i++) {
        for (uint32_t k = 0; k < f->units[i].count; k++) {
            struct change *c = &f->units[i].changes[k];
            c->uncertain = c->uncertain || !c->flushed;
            c->writer = 0; /* nobody will sync it */
        }
    }
}

bool file_model_in_doubt(const struct file_model *f)
{
    return f->size_open;
}

bool file_model_settle_size(struct file_model *f, uint64_t size, bool cut, uint64_t now_ns)
{
    bool known = size == f->size;
    for (uint32_t i = 0; i < f->size_count && f->size_open && !known; i++) {
        known = f->sizes[i] == size;
    }
    /* A write is cut into pieces that are committed one after another. */
    for (uint32_t i = 1; i < f->size_count && f->size_open && !known; i++) {
        known = size > f->sizes[i - 1] && size < f->sizes[i];
    }
    if (known) {
        file_model_truncate(f, size, now_ns);
        for (uint64_t i = size / UNIT_BYTES; i < f->unit_count; i++) {
            struct unit *u = &f->units[i];
            for (uint32_t k = u->count; k > 0 && u->changes[k - 1].at_ns == now_ns; k--) {
                u->changes[k - 1].uncertain = f->size_open && !cut;
                u->changes[k - 1].writer = 0;
            }
        }
        f->sizes[0] = size;
        f->size_count = 1;
        f->size_open = false;
    }
    return known;
}

static void describe(char *out, size_t size, const uint8_t *data, uint64_t in)
{
    uint8_t stamp[16];
    for (uint64_t i = 0; i < 16; i++) {
        uint64_t at = (in + 15) / 16 * 16 + i;
        stamp[i] = at < UNIT_BYTES ? data[at] : 0;
    }
    uint32_t w[4];
    memcpy(w, stamp, sizeof(w));
    if (w[0] & 0x80000000u) {
        snprintf(out, size, "file %u unit %u client %u write %u", w[0] & 0x7fffffffu, w[1], w[2],
                 w[3]);
    } else {
        snprintf(out, size, "%02x%02x%02x%02x...", data[in], data[MIN(in + 1, UNIT_BYTES - 1u)],
                 data[MIN(in + 2, UNIT_BYTES - 1u)], data[MIN(in + 3, UNIT_BYTES - 1u)]);
    }
}

/* What is asked of bytes [in, end) of a unit, and which of them are explained so far. */
struct question {
    const uint8_t *got; /* at their places in the unit */
    uint32_t in, end;
    bool explained[UNIT_BYTES];
};

/* End of the unexplained bytes of the change that are what it wrote; its own end if all are. */
static uint32_t same_until(const struct question *q, const struct change *c)
{
    uint32_t end = MIN(q->end, (uint32_t)c->in + c->len);
    uint32_t i = MAX(q->in, (uint32_t)c->in);
    while (i < end && (q->explained[i] || q->got[i] == changed_to(c, i))) {
        i++;
    }
    return i;
}

static bool all_zeros(const struct question *q, uint32_t from, uint32_t end)
{
    static const uint8_t zeros[UNIT_BYTES];
    if (from >= end || memcmp(q->got + from, zeros, end - from) == 0) {
        return true;
    }
    while (from < end && (q->explained[from] || q->got[from] == 0)) {
        from++;
    }
    return from >= end;
}

/* The newest change shows or, if it is uncertain, not; then the one before it in what that left
 * open. A change that can show is taken to: that leaves less to the older ones.
 *
 * An uncertain one may also show up to some byte and have zeros behind: its data was kept and the
 * length that came with it was not. */
static bool unit_fits(const struct file_model *f, const struct unit *u, struct question *q)
{
    const struct change *last = u->count > 0 ? &u->changes[u->count - 1] : NULL;
    if (last != NULL && !last->zeros && last->in <= q->in && last->in + last->len >= q->end &&
        memcmp(q->got + q->in, last->data + q->in, q->end - q->in) == 0) {
        return true; /* mostly */
    }
    for (uint32_t k = u->count; k > 0; k--) {
        const struct change *c = &u->changes[k - 1];
        uint32_t end = MIN(q->end, (uint32_t)c->in + c->len);
        uint32_t same = same_until(q, c);
        if (same < end) {
            if (!is_uncertain(f, c)) {
                return false;
            }
            same = all_zeros(q, same, end) ? same : 0;
        }
        for (uint32_t i = MAX(q->in, (uint32_t)c->in); i < same; i++) {
            q->explained[i] = true;
        }
    }
    return all_zeros(q, q->in, q->end);
}

static void newest_of(const struct unit *u, uint8_t out[UNIT_BYTES])
{
    memset(out, 0, UNIT_BYTES);
    for (uint32_t k = 0; k < u->count; k++) {
        const struct change *c = &u->changes[k];
        for (uint32_t i = c->in; i < c->in + c->len; i++) {
            out[i] = changed_to(c, i);
        }
    }
}

static const char *complain(struct file_model *f, uint64_t index, const struct question *q)
{
    const struct unit *u = &f->units[index];
    uint8_t newest[UNIT_BYTES];
    char is[128];
    char want[128];
    uint32_t open = 0;
    uint32_t at = q->in;
    newest_of(u, newest);
    while (at + 1 < q->end && q->got[at] == newest[at]) { /* to the first that differs */
        at++;
    }
    for (uint32_t k = 0; k < u->count; k++) {
        open += is_uncertain(f, &u->changes[k]);
    }
    describe(is, sizeof(is), q->got, at);
    describe(want, sizeof(want), newest, at);
    snprintf(f->text, sizeof(f->text),
             "file %u offset %llu (unit %llu, %u bytes): read %s, wanted %s (%u changes, %u of "
             "them uncertain)",
             f->file, (unsigned long long)(index * UNIT_BYTES + at), (unsigned long long)index,
             q->end - at, is, want, u->count, open);
    return f->text;
}

bool file_model_synced(const struct file_model *f, uint64_t unit, uint8_t out[UNIT_BYTES],
                       bool known[UNIT_BYTES])
{
    bool any = false;
    memset(known, 0, UNIT_BYTES * sizeof(known[0]));
    if (unit >= f->unit_count || !f->units[unit].synced_now) {
        return false;
    }
    const struct unit *u = &f->units[unit];
    for (uint32_t k = 0; k < u->count; k++) {
        const struct change *c = &u->changes[k];
        for (uint32_t i = c->in; i < (uint32_t)c->in + c->len; i++) {
            known[i] = c->synced && !c->zeros;
            out[i] = changed_to(c, i);
        }
    }
    for (uint32_t i = 0; i < UNIT_BYTES; i++) {
        any = any || known[i];
    }
    return any;
}

bool file_model_is_doubtful(const struct file_model *f, uint64_t off, uint64_t len)
{
    for (uint64_t i = off / UNIT_BYTES; i < f->unit_count && i * UNIT_BYTES < off + len; i++) {
        const struct unit *u = &f->units[i];
        for (uint32_t k = 0; k < u->count; k++) {
            if (is_uncertain(f, &u->changes[k])) {
                return true;
            }
        }
    }
    return false;
}

void file_model_set_lossy(struct file_model *f, bool lossy)
{
    f->lossy = lossy;
}

const char *file_model_check(struct file_model *f, uint64_t off, const uint8_t *data, uint32_t len)
{
    for (uint64_t at = 0; at < len;) {
        uint64_t in = (off + at) % UNIT_BYTES;
        uint64_t n = MIN(len - at, UNIT_BYTES - in);
        uint8_t got[UNIT_BYTES] = {0};
        struct question q = {.got = got, .in = (uint32_t)in, .end = (uint32_t)(in + n)};
        memcpy(got + in, data + at, n);
        if (!unit_fits(f, unit_at(f, (off + at) / UNIT_BYTES), &q)) {
            return complain(f, (off + at) / UNIT_BYTES, &q);
        }
        at += n;
    }
    return NULL;
}
