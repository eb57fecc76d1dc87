/* file_model.c - what the bytes of one file may be. */
#include "tests/sim/file_model.h"
#include "shared/base/invariant.h"
#include "shared/base/mem.h"

#include <stdio.h>
#include <string.h>

/* Content of a unit from one time on. */
struct version {
    uint64_t at_ns;
    uint64_t write; /* number of the change; those with the same one are alternatives */
    uint32_t writer;
    bool flushed;
    bool synced;
    bool uncertain; /* for good */
    uint8_t data[UNIT_BYTES];
};

struct unit {
    struct version *versions; /* oldest first; none = zeros, certain */
    uint32_t count;
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
    struct unit *units;
    uint64_t unit_count;
    uint64_t writes;
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
        mem_free(f->units[u].versions);
    }
    mem_free(f->units);
    mem_free(f);
}

void file_model_writer(struct file_model *f, uint32_t writer)
{
    f->writer = writer;
}

uint64_t file_model_size(const struct file_model *f)
{
    return f->size;
}

void file_model_fill(const struct file_model *f, uint32_t sequence, uint64_t off, uint8_t *data,
                     uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        uint32_t unit = (uint32_t)((off + i) / UNIT_BYTES);
        uint32_t words[4] = {0x80000000u | f->file, unit, f->writer, sequence};
        uint64_t at = (off + i) % 16;
        data[i] = (uint8_t)(words[at / 4] >> (8 * (at % 4)));
    }
}

static bool is_uncertain(const struct file_model *f, const struct version *v)
{
    return v->uncertain || (!v->synced && f->losses(f->owner, v->at_ns) >= 2);
}

/* Index of the oldest version that may show; -1 = also the zeros before the first. */
static int oldest_possible(const struct file_model *f, const struct unit *u)
{
    int i = (int)u->count - 1;
    while (i >= 0 && is_uncertain(f, &u->versions[i])) {
        i--;
    }
    while (i > 0 && u->versions[i - 1].write == u->versions[i].write) {
        i--;
    }
    return i;
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

static void push(struct unit *u, const uint8_t *data, const struct version *as)
{
    for (uint32_t i = u->count; i > 0 && u->versions[i - 1].write == as->write; i--) {
        if (memcmp(u->versions[i - 1].data, data, UNIT_BYTES) == 0) {
            return;
        }
    }
    u->versions = mem_resize(u->versions, (u->count + 1) * sizeof(struct version));
    struct version *v = &u->versions[u->count++];
    *v = *as;
    memcpy(v->data, data, UNIT_BYTES);
}

/* Bytes [in, in + n) of a unit change (to zeros if data is NULL): whatever may have been there is
 * what the rest of it may be from now on. */
static void change_unit(struct file_model *f, struct unit *u, uint64_t in, const uint8_t *data,
                        uint64_t n, uint64_t now_ns)
{
    struct version as = {.at_ns = now_ns, .write = ++f->writes, .writer = f->writer};
    int last = (int)u->count - 1;
    int first = n == UNIT_BYTES ? last : oldest_possible(f, u);
    for (int i = first; i <= last; i++) {
        uint8_t bytes[UNIT_BYTES] = {0};
        if (i >= 0) {
            memcpy(bytes, u->versions[i].data, UNIT_BYTES);
        }
        if (data != NULL) {
            memcpy(bytes + in, data, n);
        } else {
            memset(bytes + in, 0, n);
        }
        push(u, bytes, &as);
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

void file_model_flushed(struct file_model *f, bool synced)
{
    f->sizes[0] = f->size;
    f->size_count = 1;
    for (uint64_t i = 0; i < f->unit_count; i++) {
        struct unit *u = &f->units[i];
        for (uint32_t k = 0; k < u->count; k++) {
            struct version *v = &u->versions[k];
            bool durable = synced && v->writer == f->writer;
            v->uncertain = !durable && is_uncertain(f, v);
            v->flushed = true;
            v->synced = v->synced || durable;
        }
        int first = oldest_possible(f, u);
        if (first > 0 && u->versions[first].synced) { /* those before it can never show again */
            u->count -= (uint32_t)first;
            memmove(u->versions, u->versions + first, u->count * sizeof(struct version));
        }
    }
}

void file_model_writer_died(struct file_model *f, uint64_t now_ns)
{
    (void)now_ns;
    f->size_open = true;
    for (uint64_t i = 0; i < f->unit_count; i++) {
        for (uint32_t k = 0; k < f->units[i].count; k++) {
            struct version *v = &f->units[i].versions[k];
            v->uncertain = v->uncertain || !v->flushed;
            v->writer = 0; /* nobody will sync it */
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
            for (uint32_t k = u->count; k > 0 && u->versions[k - 1].at_ns == now_ns; k--) {
                u->versions[k - 1].uncertain = f->size_open && !cut;
                u->versions[k - 1].writer = 0;
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

/* Byte i of what version v holds; v == -1: zeros. */
static uint8_t version_byte(const struct unit *u, int v, uint64_t i)
{
    return v >= 0 ? u->versions[v].data[i] : 0;
}

/* How many of the n bytes at `in` are those of version v. */
static uint64_t same_bytes(const struct unit *u, int v, uint64_t in, const uint8_t *data,
                           uint64_t n)
{
    uint64_t i = 0;
    while (i < n && version_byte(u, v, in + i) == data[i]) {
        i++;
    }
    return i;
}

/* The newer bytes up to where an older version ended, and nothing behind: the data of a write in
 * doubt was kept and the length that came with it was not. */
static bool cut_at_old_end(const struct unit *u, int oldest, int newer, uint64_t in,
                           const uint8_t *data, uint64_t n)
{
    uint64_t end = n;
    while (end > 0 && data[end - 1] == 0) {
        end--;
    }
    if (same_bytes(u, newer, in, data, end) < end) {
        return false;
    }
    for (int v = newer - 1; v >= oldest; v--) {
        if (same_bytes(u, v, in + end, data + end, n - end) == n - end) {
            return true;
        }
    }
    return false;
}

static bool unit_fits(const struct file_model *f, const struct unit *u, uint64_t in,
                      const uint8_t *data, uint64_t n)
{
    int oldest = oldest_possible(f, u);
    int newest = (int)u->count - 1;
    for (int v = newest; v >= oldest; v--) {
        if (same_bytes(u, v, in, data, n) == n || cut_at_old_end(u, oldest, v, in, data, n)) {
            return true;
        }
    }
    if (newest - oldest < 2) {
        return false;
    }
    /* Of two writes in doubt to different parts of the unit the second may be there without the
     * first. */
    for (uint64_t i = 0; i < n; i++) {
        int v = newest;
        while (v >= oldest && version_byte(u, v, in + i) != data[i]) {
            v--;
        }
        if (v < oldest) {
            return false;
        }
    }
    return true;
}

const char *file_model_check(struct file_model *f, uint64_t off, const uint8_t *data, uint32_t len)
{
    for (uint64_t at = 0; at < len;) {
        uint64_t in = (off + at) % UNIT_BYTES;
        uint64_t n = MIN(len - at, UNIT_BYTES - in);
        struct unit *u = unit_at(f, (off + at) / UNIT_BYTES);
        if (!unit_fits(f, u, in, data + at, n)) {
            static const uint8_t zeros[UNIT_BYTES];
            const uint8_t *newest = u->count > 0 ? u->versions[u->count - 1].data : zeros;
            uint8_t got[UNIT_BYTES] = {0};
            char is[128];
            char want[128];
            memcpy(got + in, data + at, n);
            for (; n > 1 && got[in] == newest[in]; in++, at++) { /* to the first that differs */
                n--;
            }
            describe(is, sizeof(is), got, in);
            describe(want, sizeof(want), newest, in);
            snprintf(f->text, sizeof(f->text),
                     "file %u offset %llu (unit %llu, %llu bytes): read %s, wanted %s "
                     "(%u versions, %d of them possible)",
                     f->file, (unsigned long long)(off + at),
                     (unsigned long long)(off + at) / UNIT_BYTES, (unsigned long long)n, is, want,
                     u->count, (int)u->count - oldest_possible(f, u));
            return f->text;
        }
        at += n;
    }
    return NULL;
}
