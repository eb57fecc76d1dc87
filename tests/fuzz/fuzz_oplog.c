/* fuzz_oplog.c - opening and replaying an operation log whose files are damaged. Byte 0 of the
 * input: 1 = forced start, 2 = after a power cut; the rest are edits (mem_env.h) of the two
 * superblock slots and four segments of a small valid log. A sealed edit gets good checksums
 * afterwards.
 *
 * It opens or is refused with a sentence. What it replays are records as they were written, from
 * the first on; damage that no checksum hides never loses a record known to be committed, unless
 * the start is forced. A log that opened goes on.
 */
#include "master/core/oplog_internal.h"
#include "shared/base/hash.h"
#include "shared/base/invariant.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mem_env.h"

#include <string.h>

enum {
    FORCE = 1,
    POWER_CUT = 2,
    SEGMENT = 64 << 10,
    RECORDS_SURE = 30, /* the superblock says that they are committed */
    RECORDS = 40,
    BODY_MAX = 3000,
    HEADER_SUM_OFFSET = 56,
    BODY_SUM_OFFSET = 48,
};

static struct mem_env base;
static struct mem_env now;
static uint64_t base_cluster;

/* ---------------------------------------------------------------- the valid log */

/* Body of the record with this index. */
static uint32_t body_of(uint64_t index, uint8_t out[BODY_MAX])
{
    uint32_t len = (uint32_t)(index * 397 % BODY_MAX);
    memset(out, (int)(index * 31 % 256), len);
    return len;
}

static void append(struct oplog *l, struct mem_env *m)
{
    static uint8_t body[BODY_MAX];
    uint64_t index = oplog_last(l) + 1;
    struct record r = {.type = 0x0120,
                       .session = 1,
                       .sequence = index,
                       .time_ns = (int64_t)index,
                       .body = bytes_of(body, body_of(index, body))};
    oplog_append(l, &r);
    if (index % 4 != 0) { /* else the next one shares its batch */
        mem_env_pump(m);
    }
}

static int open_log(struct mem_env *m, bool force, struct oplog **out, struct why *why)
{
    struct oplog_config cfg = {.segment_bytes = SEGMENT, .force = force};
    why->text[0] = '\0';
    return oplog_open(&m->env, &cfg, "fuzz", out, why);
}

static void make_base(void)
{
    struct oplog *l;
    struct why why;
    mem_env_init(&base);
    mem_env_init(&now);
    ASSERT(open_log(&base, false, &l, &why) == 0);
    ASSERT(oplog_start_epoch(l, 1, &why) == 0);
    mem_env_pump(&base);
    while (oplog_last(l) < RECORDS) {
        append(l, &base);
        if (oplog_last(l) == RECORDS_SURE) {
            mem_env_advance(&base, 3 * NS_PER_S);
        }
    }
    mem_env_pump(&base);
    ASSERT(oplog_committed(l) == RECORDS && l->segment_count >= 3);
    base_cluster = oplog_identity(l)->cluster;
    mem_env_forget(&base);
    oplog_close(l);
    ASSERT(mem_env_find(&base, NEXT_SEGMENT) != NULL);
    base.env.ops->unlink(&base.env, NEXT_SEGMENT);
}

/* ---------------------------------------------------------------- good checksums for bad bytes */

static void seal_record(struct mem_file *f, uint64_t at)
{
    uint8_t *p = f->data + at;
    if (at + RECORD_HEADER_BYTES <= f->size) {
        uint32_t len = (uint32_t)get_le(p + 20, 4);
        if (len <= f->size - at - RECORD_HEADER_BYTES) {
            put_le(p + BODY_SUM_OFFSET, hash64(p + RECORD_HEADER_BYTES, len), 8);
        }
        put_le(p + HEADER_SUM_OFFSET, hash64(p, HEADER_SUM_OFFSET), 8);
    }
}

static void seal(struct mem_file *f, uint64_t off)
{
    if (f->size == SUPER_BYTES) {
        put_le(f->data + SUPER_BYTES - 8, hash64(f->data, SUPER_BYTES - 8), 8);
    } else if (f->size < 3 * UNIT_BYTES) {
        return;
    } else if (off < UNIT_BYTES) {
        put_le(f->data + UNIT_BYTES - 8, hash64(f->data, UNIT_BYTES - 8), 8);
    } else if (off < 2 * UNIT_BYTES) {
        uint8_t *slot = f->data + off / SLOT_BYTES * SLOT_BYTES;
        put_le(slot + 24, hash64_seed(slot, 24, base_cluster), 8);
    } else {
        seal_record(f, off / UNIT_BYTES * UNIT_BYTES);
    }
}

/* ---------------------------------------------------------------- what must hold */

struct check {
    uint64_t next;
    bool sealed; /* records may be others than were written */
};

static int check_record(void *owner, const struct record *r)
{
    static uint8_t body[BODY_MAX];
    struct check *c = owner;
    ASSERT(r->index == c->next);
    c->next++;
    if (!c->sealed) {
        ASSERT(r->sequence == r->index && r->time_ns == (int64_t)r->index);
        ASSERT(bytes_equal(r->body, bytes_of(body, body_of(r->index, body))));
    }
    return 0;
}

static void expect_refusal(int rc, const struct why *why)
{
    ASSERT(rc == ERR_CORRUPT || rc == ERR_FOREIGN_CLUSTER || rc == ERR_FORMAT);
    ASSERT(why->text[0] != '\0');
}

static bool is_whole(const char *path)
{
    const struct mem_file *found = mem_env_find(&now, path);
    const struct mem_file *good = mem_env_find(&base, path);
    return found != NULL && found->size == good->size &&
           memcmp(found->data, good->data, good->size) == 0;
}

/* A new epoch, more records, a kill: everything is there again. */
static void go_on(struct oplog *l, bool sealed)
{
    struct why why;
    uint64_t first = oplog_first(l);
    uint32_t epoch = MAX(oplog_epoch(l), l->last_epoch);
    if (epoch == UINT32_MAX || oplog_start_epoch(l, epoch + 1, &why) != 0) {
        oplog_close(l);
        return;
    }
    for (int i = 0; i < 9; i++) {
        append(l, &now);
    }
    mem_env_pump(&now);
    uint64_t last = oplog_last(l);
    ASSERT(oplog_committed(l) == last);
    mem_env_forget(&now);
    oplog_close(l);
    struct check c = {.next = first, .sealed = sealed};
    ASSERT(open_log(&now, false, &l, &why) == 0);
    ASSERT(oplog_last(l) == last);
    ASSERT(oplog_replay(l, first, check_record, &c, &why) == 0 && c.next == last + 1);
    oplog_close(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (base_cluster == 0) {
        make_base();
    }
    if (size < 1) {
        return 0;
    }
    struct oplog *l = NULL;
    struct why why = {0};
    bool force = data[0] & FORCE;
    mem_env_forget(&now);
    mem_env_copy(&now, &base);
    now.boot = (uint8_t)(now.boot + (data[0] & POWER_CUT ? 1 : 0));
    bool sealed = mem_env_damage(&now, bytes_of(data + 1, size - 1), seal) > 0;
    bool sure = is_whole("log/meta.0") && is_whole("log/meta.1");
    int rc = open_log(&now, force, &l, &why);
    if (rc != 0) {
        expect_refusal(rc, &why);
        return 0;
    }
    ASSERT(force || sealed || !sure || oplog_last(l) >= RECORDS_SURE);
    ASSERT(sealed || oplog_last(l) <= RECORDS);
    struct check c = {.next = oplog_first(l), .sealed = sealed};
    why.text[0] = '\0';
    rc = oplog_replay(l, c.next, check_record, &c, &why);
    if (rc != 0) {
        expect_refusal(rc, &why);
        ASSERT(!force); /* a forced start has read everything */
        oplog_close(l);
        return 0;
    }
    ASSERT(c.next == oplog_last(l) + 1);
    go_on(l, sealed);
    return 0;
}

/* ---------------------------------------------------------------- examples */

/* An offset at which a field begins. */
static uint32_t field_offset(uint32_t n)
{
    switch (n % 5) {
    case 0:
        return n / 5 % 80 * 4; /* superblock, segment header */
    case 1:
        return UNIT_BYTES + n / 5 % 16 * SLOT_BYTES + n / 80 % 8 * 4;
    case 2:
        return (2 + n / 5 % 14) * UNIT_BYTES + n / 70 % 18 * 4;
    case 3:
        return (2 + n / 5 % 14) * UNIT_BYTES + n / 70 % 8 * 512;
    default:
        return n * 2654435761u % SEGMENT;
    }
}

size_t fuzz_example(uint32_t n, uint8_t *out, size_t cap)
{
    static const uint8_t counts[] = {1, 2, 4, 8, 64, 255};
    uint8_t bytes[255];
    uint32_t mix = (n + 1) * 2246822519u;
    size_t used = 1;
    ASSERT(cap > 1024);
    out[0] = (uint8_t)(n & (FORCE | POWER_CUT));
    for (uint32_t i = 0; i <= n / 4 % 3; i++) {
        mix = mix * 747796405u + 2891336453u;
        uint8_t flags = (uint8_t)((mix >> 8) % 6);
        flags |= (mix >> 12) % 4 == 0 ? MEM_SEAL : 0;
        flags |= (mix >> 16) % 16 == 0 ? MEM_CUT : (mix >> 16) % 16 == 1 ? MEM_REMOVE : 0;
        uint8_t count = counts[(mix >> 20) % COUNT_OF(counts)];
        memset(bytes, mix >> 27 & 1 ? 0 : (int)(mix >> 4 & 0xff), sizeof(bytes));
        used +=
            mem_edit_encode(flags, field_offset(mix >> 7), bytes, count, out + used, cap - used);
    }
    return used;
}
