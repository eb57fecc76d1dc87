/* aside.c - files of replicas that the master let go, kept for a while. */
#include "chunkd/core/aside.h"
#include "shared/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct aside_file {
    struct hmap_node node;
    struct list link;
    uint64_t handle;
    uint64_t since_ns; /* wall clock */
    uint64_t bytes;
};

static void next(struct aside *a);

void aside_path(uint64_t handle, char out[ASIDE_PATH_BYTES])
{
    snprintf(out, ASIDE_PATH_BYTES, "aside/%016llx", (unsigned long long)handle);
}

int aside_make_dir(struct aside *a)
{
    return env_make_dir(a->env, "aside");
}

static void timer_fired(struct env_timer *t)
{
    next(container_of(t, struct aside, timer));
}

void aside_init(struct aside *a, struct env *env, struct meta_log *meta)
{
    *a = (struct aside){.env = env, .meta = meta};
    hmap_init(&a->kept);
    list_init(&a->order);
    a->timer.fire = timer_fired;
}

static struct aside_file *find(const struct aside *a, uint64_t handle)
{
    for (struct hmap_node *n = hmap_first(&a->kept, hmap_hash_u64(handle)); n; n = hmap_next(n)) {
        struct aside_file *f = container_of(n, struct aside_file, node);
        if (f->handle == handle) {
            return f;
        }
    }
    return NULL;
}

bool aside_has(const struct aside *a, uint64_t handle)
{
    return find(a, handle) != NULL;
}

static void take_out(struct aside *a, struct aside_file *f)
{
    hmap_remove(&a->kept, &f->node);
    list_remove(&f->link);
    a->bytes -= f->bytes;
}

void aside_close(struct aside *a)
{
    while (!list_empty(&a->order)) {
        struct aside_file *f = list_entry(a->order.next, struct aside_file, link);
        take_out(a, f);
        mem_free(f);
    }
    hmap_close(&a->kept);
    mem_free(a->going);
    a->going = NULL;
}

/* ---------------------------------------------------------------- what is known */

static void add(struct aside *a, uint64_t handle, uint64_t since_ns, uint64_t bytes)
{
    struct aside_file *f = mem_new(struct aside_file);
    f->handle = handle;
    f->since_ns = since_ns;
    f->bytes = bytes;
    hmap_add(&a->kept, &f->node, hmap_hash_u64(handle));
    a->bytes += bytes;
    struct list *at = a->order.prev;
    while (at != &a->order && list_entry(at, struct aside_file, link)->since_ns > since_ns) {
        at = at->prev;
    }
    list_add_before(at->next, &f->link);
}

void aside_load(struct aside *a, uint64_t handle, uint64_t since_ns, uint64_t bytes)
{
    struct aside_file *f = find(a, handle);
    if (f != NULL) {
        take_out(a, f);
        mem_free(f);
    }
    if (since_ns != 0) {
        add(a, handle, since_ns, bytes);
    }
}

static struct meta_record record_of(uint64_t handle, uint64_t since_ns, uint64_t bytes)
{
    return (struct meta_record){
        .type = META_ASIDE, .handle = handle, .since_ns = since_ns, .bytes = bytes};
}

static void append(struct aside *a, uint64_t handle, uint64_t since_ns, uint64_t bytes)
{
    struct meta_record rec = record_of(handle, since_ns, bytes);
    uint64_t running = meta_log_next_number(a->meta);
    meta_log_append(a->meta, &rec, running != 0 && a->log_number == running);
}

void aside_hand_over(struct aside *a)
{
    a->log_number = meta_log_next_number(a->meta);
    list_for_each (it, &a->order) {
        const struct aside_file *f = list_entry(it, struct aside_file, link);
        struct meta_record rec = record_of(f->handle, f->since_ns, f->bytes);
        meta_log_append_next(a->meta, &rec);
    }
}

static uint64_t wall_now(struct aside *a)
{
    int64_t now = env_wall_ns(a->env);
    return now > 0 ? (uint64_t)now : 1;
}

void aside_announce(struct aside *a, uint64_t handle, uint64_t bytes)
{
    append(a, handle, wall_now(a), bytes);
}

void aside_put(struct aside *a, uint64_t handle, uint64_t bytes)
{
    uint64_t since_ns = wall_now(a);
    aside_load(a, handle, since_ns, bytes);
    append(a, handle, since_ns, bytes);
    next(a);
}

void aside_lost(struct aside *a, uint64_t handle)
{
    aside_load(a, handle, 0, 0);
    append(a, handle, 0, 0);
}

/* ---------------------------------------------------------------- files nothing is known of */

struct sweep {
    struct aside *a;
    char (*names)[17];
    uint32_t count, cap;
};

static void each_file(void *owner, const char *name)
{
    struct sweep *s = owner;
    char *end;
    if (strlen(name) != 16 || aside_has(s->a, strtoull(name, &end, 16))) {
        return;
    }
    if (s->count == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 16;
        s->names = mem_resize(s->names, s->cap * sizeof(*s->names));
    }
    memcpy(s->names[s->count++], name, 17);
}

void aside_sweep(struct aside *a)
{
    struct sweep s = {.a = a};
    (void)env_list_dir(a->env, "aside", each_file, &s); /* what stays costs only space */
    for (uint32_t i = 0; i < s.count; i++) {
        char path[ASIDE_PATH_BYTES];
        snprintf(path, sizeof(path), "aside/%s", s.names[i]);
        (void)env_unlink(a->env, path);
    }
    mem_free(s.names);
}

/* ---------------------------------------------------------------- going */

static void gone(struct disk_op *op)
{
    struct aside *a = container_of(op, struct aside, unlink);
    struct aside_file *f = a->going;
    if (op->result < 0 && op->result != -ENOENT) {
        env_log(a->env, LOG_WARN, "%s: cannot remove: %s", a->path, err_text((int)op->result));
    }
    a->going = NULL;
    mem_free(f);
    next(a);
}

/* Takes the oldest out and says in the log that it is gone; its file is a->path. A file that stays
 * although the record is durable is swept at the next start. */
static struct aside_file *let_go(struct aside *a)
{
    struct aside_file *f = list_entry(a->order.next, struct aside_file, link);
    take_out(a, f);
    append(a, f->handle, 0, 0);
    aside_path(f->handle, a->path);
    return f;
}

static void next(struct aside *a)
{
    if (!a->serving || a->going != NULL || list_empty(&a->order)) {
        return;
    }
    const struct aside_file *oldest = list_entry(a->order.next, struct aside_file, link);
    int64_t age = env_wall_ns(a->env) - (int64_t)oldest->since_ns;
    int64_t keep = (int64_t)(a->keep_ms * NS_PER_MS);
    if (age < keep && !a->pressed) {
        env_timer_set(a->env, &a->timer, (uint64_t)MIN(keep - age, keep));
        return;
    }
    a->going = let_go(a);
    a->unlink = (struct disk_op){.kind = DISK_UNLINK, .path = a->path, .done = gone};
    env_disk_submit(a->env, &a->unlink);
}

void aside_start(struct aside *a)
{
    a->serving = true;
    next(a);
}

void aside_stop(struct aside *a)
{
    a->serving = false;
    env_timer_stop(a->env, &a->timer);
}

void aside_press(struct aside *a, bool pressed)
{
    a->pressed = pressed;
    if (pressed) {
        next(a);
    }
}

bool aside_unlink_oldest(struct aside *a)
{
    if (a->going != NULL || list_empty(&a->order)) {
        return false;
    }
    struct aside_file *f = let_go(a);
    int err = env_unlink(a->env, a->path);
    if (err != 0 && err != -ENOENT) {
        env_log(a->env, LOG_WARN, "%s: cannot remove: %s", a->path, err_text(err));
    }
    mem_free(f);
    return true;
}
