/* trial.c - processes tried on damaged disks.
 *
 * What a server has is compared as far as it was promised: the master's rows by their hash, of a
 * chunkserver's replicas all that are OK. Time stands still meanwhile, so that nobody is told
 * anything by a process that starts from a damaged disk.
 */
#include "tests/sim/trial.h"
#include "chunkd/core/core.h"
#include "master/core/master_internal.h"
#include "shared/base/mem.h"
#include "tests/sim/sim_image.h"
#include "tests/sim/trial_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TRIALS = 12, CALLS_MAX = 400, CALLS_MORE = 20 };

/* What a server has. */
struct outcome {
    uint64_t hash;                        /* a master */
    uint64_t applied;                     /* it is that of this record */
    uint32_t epoch;                       /* and obeys none below; before: that it had promised */
    bool lacking;                         /* but knows that something is missing */
    bool nameless;                        /* a chunkserver that was never told its cluster's name */
    struct chunkd_replica_info *replicas; /* a chunkserver, by handle */
    uint32_t count;
};

struct trial {
    struct world *world;
    struct sim_server *server;
    struct sim_rand *rand;
    struct sim_disk *image;
    struct outcome sound;
    uint32_t calls;       /* that it makes when it starts */
    bool busy;            /* a chunkserver that was killed while it wrote */
    bool spares_newest;   /* power was lost: the end of the log cannot be told from a torn one */
    char path[64];        /* damaged; empty = none ... */
    enum sim_damage kind; /* ... so */
    char what[512];
};

/* ---------------------------------------------------------------- files */

static void note_file(void *owner, const char *path, uint64_t size)
{
    struct trial_files *f = owner;
    size_t n = strlen(path);
    size_t end = strlen(f->suffix);
    if (size == 0 || strncmp(path, f->prefix, strlen(f->prefix)) != 0 || n < end ||
        strcmp(path + n - end, f->suffix) != 0 || n >= sizeof(f->paths[0])) {
        return;
    }
    f->paths = mem_resize(f->paths, (f->count + 1) * sizeof(f->paths[0]));
    snprintf(f->paths[f->count++], sizeof(f->paths[0]), "%s", path);
}

void trial_files_find(struct sim_disk *d, struct trial_files *f)
{
    f->paths = NULL;
    f->count = 0;
    sim_disk_each(d, note_file, f);
}

/* ---------------------------------------------------------------- a start */

int trial_start(struct sim_server *s, struct why *why)
{
    struct sim *sim = s->world->sim;
    volatile bool may_die = s->may_die;
    volatile int err = TRIAL_DIED;
    jmp_buf out;
    memcpy(&out, &sim->out, sizeof(out));
    *why = (struct why){{0}};
    s->may_die = true;
    if (setjmp(sim->out) == 0) {
        err = server_try(s, why);
    } else {
        sim->dying = NULL;
    }
    memcpy(&sim->out, &out, sizeof(out));
    s->may_die = may_die;
    return err;
}

static void look(struct sim_server *s, struct outcome *o)
{
    struct chunkd_replica_info r;
    *o = (struct outcome){0};
    if (s->number == 0) {
        const struct master *m = s->master;
        o->lacking = m->stateless || oplog_damaged(m->log) || oplog_joining(m->log);
        o->hash = m->stateless ? 0 : master_state_hash(s->master);
        o->applied = m->stateless ? 0 : master_applied(m);
        o->epoch = oplog_epoch(m->log);
        return;
    }
    o->nameless = s->chunkd->label.name[0] == '\0';
    for (uint64_t h = 1; chunkd_replica_next(s->chunkd, h, &r) == 0; h = r.handle + 1) {
        o->replicas = mem_resize(o->replicas, (o->count + 1) * sizeof(r));
        o->replicas[o->count++] = r;
    }
}

/* An epoch counts as promised when both slots have it: a process that ended between the two had told
 * nobody, and the one that is left may be the older. */
static uint32_t promised_on(struct sim_disk *d)
{
    static const char *const slots[] = {"log/meta.0", "log/meta.1"};
    uint32_t promised = UINT32_MAX;
    for (size_t i = 0; i < COUNT_OF(slots); i++) {
        struct oplog_identity id;
        struct sim_inode *inode;
        uint64_t counter;
        uint8_t bytes[1024];
        if (sim_disk_open(d, slots[i], 0, &inode) != 0) {
            continue;
        }
        int64_t n = sim_inode_read(inode, 0, bytes, sizeof(bytes));
        if (n > 0 && oplog_read_identity(bytes_of(bytes, (uint32_t)n), &id, &counter)) {
            promised = MIN(promised, id.epoch);
        }
        sim_inode_drop(inode);
    }
    return promised == UINT32_MAX ? 0 : promised;
}

static const struct chunkd_replica_info *find(const struct outcome *o, uint64_t handle)
{
    for (uint32_t i = 0; i < o->count; i++) {
        if (o->replicas[i].handle == handle) {
            return &o->replicas[i];
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- judging */

static _Noreturn void trial_fails(struct trial *t, const char *why)
{
    world_fail(t->world, "%s was started on a disk where %s: %s", t->server->process->name, t->what,
               why);
}

/* Bytes of the replica's data that the disk holds are those of before. */
static bool is_same_data(struct trial *t, const struct chunkd_replica_info *r)
{
    struct sim_inode *now, *before;
    bool same = false;
    if (sim_disk_open(t->server->process->disk, t->path, 0, &now) != 0) {
        return false;
    }
    if (sim_disk_open(t->image, t->path, 0, &before) == 0) {
        uint8_t *a = mem_alloc(r->length + 1);
        uint8_t *b = mem_alloc(r->length + 1);
        same = sim_inode_read(now, 0, a, r->length) == sim_inode_read(before, 0, b, r->length) &&
               memcmp(a, b, r->length) == 0;
        mem_free(a);
        mem_free(b);
        sim_inode_drop(before);
    }
    sim_inode_drop(now);
    return same;
}

/* The chunk whose data file was damaged, or 0. */
static uint64_t damaged_chunk(const struct trial *t)
{
    unsigned dir;
    unsigned long long handle;
    return sscanf(t->path, "chunks/%x/%llx", &dir, &handle) == 2 ? handle : 0;
}

/* The end of a meta log that is damaged is taken for torn, unless records behind it show that it was
 * synced: then a replica may be missing, which the master notices, or have older sums, which do not fit
 * its bytes. So it is if intents are missing. One that a copy began knows no version yet: what is older
 * is the replica of before, whose drop is missing. */
static void judge_replica(struct trial *t, const struct chunkd_replica_info *was,
                          const struct chunkd_replica_info *is)
{
    bool older = strncmp(t->path, "meta/", 5) == 0;
    bool old_sums = older || strcmp(t->path, "ring") == 0;
    bool hurt = was->handle == damaged_chunk(t);
    if (is == NULL) {
        if (!older) {
            trial_fails(t, "it does not know of one of its replicas");
        }
        return;
    }
    if (is->state != REPLICA_OK || (older && (is->version < was->version || was->version == 0))) {
        return;
    }
    if (was->state != REPLICA_OK && !old_sums) {
        trial_fails(t, "it takes a replica for good that is in doubt");
    }
    if (is->version != was->version || (!hurt && is->length != was->length) ||
        (!hurt && !old_sums && is->digest != was->digest)) {
        world_say(t->world, "chunk %llu: version %llx length %u digest %llx, before %llx %u %llx",
                  (unsigned long long)was->handle, (unsigned long long)is->version, is->length,
                  (unsigned long long)is->digest, (unsigned long long)was->version, was->length,
                  (unsigned long long)was->digest);
        trial_fails(t, "it takes a replica for good that is another");
    }
    bool shorter = t->busy && is->length < was->length; /* what was not answered was not done */
    if (hurt && chunkd_verify(t->server->chunkd, was->handle, UINT32_MAX) == 0 &&
        ((is->length != was->length && !shorter) || !is_same_data(t, is))) {
        trial_fails(t, "it takes damaged bytes for good");
    }
}

static void judge_replicas(struct trial *t, const struct outcome *o)
{
    for (uint32_t i = 0; i < t->sound.count; i++) {
        judge_replica(t, &t->sound.replicas[i], find(o, t->sound.replicas[i].handle));
    }
    if (o->count > t->sound.count && strncmp(t->path, "meta/", 5) != 0) {
        trial_fails(t, "it knows of replicas it does not have");
    }
}

/* One of several may find less than it had, or need the others for what it lacks. */
static void judge_master(struct trial *t, const struct outcome *o)
{
    const struct outcome *was = &t->sound;
    bool alone = t->world->master_count == 1;
    if ((alone || (!o->lacking && !was->lacking && o->applied == was->applied)) &&
        o->hash != was->hash) {
        trial_fails(t, "its state is another");
    }
    if (!alone && o->epoch < was->epoch) {
        trial_fails(t, "it obeys an epoch that it had promised not to");
    }
}

static void judge(struct trial *t, int err, const struct why *why)
{
    struct outcome o;
    if (err == TRIAL_DIED) {
        return; /* on_die told why */
    }
    if (err != 0) {
        world_say(t->world, "it refuses: %s", why->text);
        if (why->text[0] == '\0') {
            trial_fails(t, "it refuses without a word");
        }
        return;
    }
    look(t->server, &o);
    if (t->server->number != 0) {
        judge_replicas(t, &o);
    } else {
        judge_master(t, &o);
    }
    mem_free(o.replicas);
}

/* ---------------------------------------------------------------- what is tried */

static const char *some_prefix(struct trial *t)
{
    static const char *const of_master[] = {"log/log-", "log/log-", "log/meta", "checkpoints/"};
    static const char *const of_chunkd[] = {"meta/", "meta/", "label", "", "chunks/", "ring"};
    return t->server->number == 0 ? of_master[sim_below(t->rand, COUNT_OF(of_master))]
                                  : of_chunkd[sim_below(t->rand, COUNT_OF(of_chunkd))];
}

static void PRINTF_LIKE(2, 3) tell(struct trial *t, const char *format, ...)
{
    va_list ap;
    size_t len = strlen(t->what);
    if (len > 0) {
        len += (size_t)snprintf(t->what + len, sizeof(t->what) - len, ", and ");
    }
    va_start(ap, format);
    if (len < sizeof(t->what)) {
        vsnprintf(t->what + len, sizeof(t->what) - len, format, ap);
    }
    va_end(ap);
}

/* Damages some file: false if there is none, or nothing changed. */
static bool damage(struct trial *t)
{
    struct trial_files f = {.prefix = some_prefix(t), .suffix = ""};
    struct sim_damage_text text;
    struct sim_disk *d = t->server->process->disk;
    trial_files_find(d, &f);
    bool log = strcmp(f.prefix, "log/log-") == 0;
    uint32_t may = f.count - (log && f.count > 0 && t->spares_newest);
    uint32_t chosen = (uint32_t)sim_below(t->rand, may);
    uint64_t kinds = DAMAGE_KINDS;
    /* That its last segment is gone the master cannot know. */
    kinds -= log && chosen + 1 == f.count;
    t->kind = (enum sim_damage)sim_below(t->rand, kinds);
    if (may > 0) {
        snprintf(t->path, sizeof(t->path), "%s", f.paths[chosen]);
    }
    bool done = may > 0 && sim_image_damage(d, t->path, t->kind, t->rand, &text);
    mem_free(f.paths);
    if (!done) {
        t->path[0] = '\0';
        return false;
    }
    tell(t, "%s of %s", text.text, t->path);
    return true;
}

static bool fail_a_call(struct trial *t)
{
    struct sim_process *p = t->server->process;
    uint32_t calls = MIN(t->calls + CALLS_MORE, CALLS_MAX + 0u); /* damage makes more of them */
    p->fail_call = 1 + (uint32_t)sim_below(t->rand, calls);
    p->fail_error = sim_chance(t->rand, 1, 4) ? -ENOSPC : -EIO;
    tell(t, "call %u fails with %s", p->fail_call, err_name(p->fail_error));
    return true;
}

/* Damage, a call that fails, or both: how it deals with damage may fail, too. Of one of several more may
 * be damaged than a log alone stands. False: nothing. */
static bool prepare(struct trial *t)
{
    bool several = t->server->number == 0 && t->world->master_count > 1;
    uint64_t draw = sim_below(t->rand, 3);
    bool done = draw > 0 && damage(t);
    while (done && several && sim_chance(t->rand, 1, 3)) {
        (void)damage(t);
    }
    return (draw < 2 && fail_a_call(t)) || done;
}

/* What is left may be less, but must be in order. */
static void judge_forced(struct trial *t)
{
    struct why why;
    struct sim_server *s = t->server;
    server_kill(s, false, 0);
    if (sim_chance(t->rand, 1, 3)) {
        (void)fail_a_call(t);
    }
    t->world->force = true;
    int err = trial_start(s, &why);
    t->world->force = false;
    s->process->fail_call = 0;
    world_say(t->world, "forced, it %s%s",
              err == 0 ? "starts" : "refuses: ", err == 0 ? "" : why.text);
    if (err == 0 && master_audit(s->master, &why) != 0) {
        trial_fails(t, why.text);
    }
}

/* A master whose configuration is not right must not start. */
static void try_mistake(struct trial *t)
{
    struct why why;
    struct world *w = t->world;
    struct sim_server *s = t->server;
    w->mistake = (enum mistake)sim_between(t->rand, MISTAKE_CLUSTER, MISTAKE_ADDRESS);
    bool formatted = sim_disk_size(s->process->disk, "log/meta.0") > 0;
    bool plain = w->mistake == MISTAKE_CLUSTER   ? formatted
                 : w->mistake == MISTAKE_ADDRESS ? server_up(&w->servers[1])
                                                 : true;
    snprintf(t->what, sizeof(t->what), "nothing is wrong, with mistake %u in its configuration",
             w->mistake);
    int err = trial_start(s, &why);
    world_say(w, "with mistake %u in its configuration %s %s", w->mistake, s->process->name,
              err == 0 ? "starts" : why.text);
    if (plain && (err >= 0 || why.text[0] == '\0')) {
        trial_fails(t, "it starts");
    }
    w->mistake = MISTAKE_NONE;
}

/* Files that are not a server's own stand between them, and what an earlier start left. */
static void add_strays(struct trial *t)
{
    static const char *const of_master[] = {"log/notes", "log/log-x", "checkpoints/notes", "notes",
                                            "checkpoints/ckpt-7.mdb.tmp"};
    static const char *const of_chunkd[] = {"notes",
                                            "aside/notes",
                                            "aside/00000000000fffff",
                                            "chunks/00/notes",
                                            "chunks/00/000000000000000x",
                                            "chunks/ff/00000000000fffff",
                                            "meta/notes",
                                            "meta/000000000000000x",
                                            "meta/0000000000000001.old",
                                            "meta/0000000000000000",
                                            "meta/tmp"};
    bool master = t->server->number == 0;
    const char *const *names = master ? of_master : of_chunkd;
    uint64_t count = master ? COUNT_OF(of_master) : COUNT_OF(of_chunkd);
    for (uint64_t i = 0; i < count; i++) {
        struct sim_inode *inode;
        if (sim_chance(t->rand, 1, 2) &&
            sim_disk_open(t->server->process->disk, names[i], ENV_OPEN_CREATE, &inode) == 0) {
            (void)sim_inode_write(inode, 0, "stray", 5);
            sim_inode_drop(inode);
        }
    }
}

/* It is full, and says so. */
static bool lacks_room(const struct sim_server *s, int err)
{
    return err == -ENOSPC && sim_scheduled(&s->room);
}

static void try_strays(struct trial *t)
{
    struct why why;
    add_strays(t);
    snprintf(t->what, sizeof(t->what), "other files are, too");
    world_say(t->world, "%s is tried on a disk where %s", t->server->process->name, t->what);
    int err = trial_start(t->server, &why);
    if (lacks_room(t->server, err)) {
        return; /* those files took the last page */
    }
    if (err != 0) {
        trial_fails(t, err == TRIAL_DIED ? "it dies" : why.text);
    }
    judge(t, err, &why);
}

static void try_damaged(struct trial *t)
{
    struct why why;
    struct sim_server *s = t->server;
    t->path[0] = t->what[0] = '\0';
    bool log = false;
    if (prepare(t)) {
        world_say(t->world, "%s is tried on a disk where %s", s->process->name, t->what);
        int err = trial_start(s, &why);
        s->process->fail_call = 0;
        judge(t, err, &why);
        log = strncmp(t->path, "log/", 4) == 0;
        if (err == ERR_CORRUPT && log && t->world->master_count == 1) {
            judge_forced(t);
        }
        if (err == 0 && s->number == 0 && t->world->master_count > 1) {
            trial_log(s, t->rand);
        }
        sim_note(t->world->sim, 't', s->number, (uint64_t)err);
    }
}

/* Its configuration names another cluster, or another process has the disk. */
static void try_foreign(struct trial *t)
{
    struct why why;
    struct sim_server *s = t->server;
    bool labelled = sim_disk_size(s->process->disk, "label") > 0;
    bool locked = s->number == 0 || !labelled || sim_chance(t->rand, 1, 3);
    s->process->disk_locked = locked;
    t->world->other_cluster = !locked;
    snprintf(t->what, sizeof(t->what),
             locked ? "another process is" : "another cluster's data are");
    int err = trial_start(s, &why);
    t->world->other_cluster = false;
    if (err != (locked ? -EBUSY : ERR_FOREIGN_CLUSTER) && (locked || !t->sound.nameless)) {
        trial_fails(t, err == 0 ? "it starts" : why.text);
    }
    if (why.text[0] == '\0' && err != 0) {
        trial_fails(t, "it refuses without a word");
    }
}

/* A new disk: a first start that does not come to its end must not stand in the way of the next one. */
static void try_empty(struct trial *t)
{
    enum { LAST_CALLS = 30 };
    struct why why;
    struct sim_server *s = t->server;
    struct sim_process *p = s->process;
    sim_disk_wipe(p->disk);
    snprintf(t->what, sizeof(t->what), "nothing is");
    if (trial_start(s, &why) != 0) {
        trial_fails(t, why.text);
    }
    uint32_t calls = p->calls;
    uint32_t before = sim_chance(t->rand, 1, 2) ? calls : MIN(calls, LAST_CALLS + 0u);
    server_kill(s, false, 0);
    sim_disk_wipe(p->disk);
    p->fail_call = calls - (uint32_t)sim_below(t->rand, before);
    p->fail_error = sim_chance(t->rand, 1, 4) ? -ENOSPC : -EIO;
    snprintf(t->what, sizeof(t->what), "nothing is, and call %u fails with %s", p->fail_call,
             err_name(p->fail_error));
    world_say(t->world, "%s is tried on a disk where %s", p->name, t->what);
    int err = trial_start(s, &why);
    p->fail_call = 0;
    if (err != 0 && err != TRIAL_DIED && why.text[0] == '\0') {
        trial_fails(t, "it refuses without a word");
    }
    world_say(t->world, "it %s%s", err == 0 ? "starts" : "refuses: ", err == 0 ? "" : why.text);
    uint64_t power_cut_ns = s->power_cut_ns; /* that one is not to be remembered */
    uint8_t incarnation[sizeof(p->incarnation)];
    memcpy(incarnation, p->incarnation, sizeof(incarnation));
    server_kill(s, sim_chance(t->rand, 1, 2), 0);
    s->power_cut_ns = power_cut_ns;
    if (trial_start(s, &why) != 0) {
        trial_fails(t, why.text);
    }
    memcpy(p->incarnation, incarnation,
           sizeof(incarnation)); /* the cache of its disk comes back, too */
}

static void try_once(struct trial *t)
{
    uint64_t draw = sim_below(t->rand, 12);
    if (t->server->number == 0 && sim_chance(t->rand, 1, 10)) {
        try_mistake(t);
    } else if (draw == 0) {
        try_foreign(t);
    } else if (draw == 1) {
        try_empty(t);
    } else if (draw == 2) {
        t->path[0] = '\0';
        try_strays(t);
    } else {
        try_damaged(t);
    }
    server_kill(t->server, false, 0);
    sim_image_put_back(t->server->process->disk, t->image);
}

bool trial_of(struct world *w, struct sim_server *s, struct sim_rand *r, uint64_t down_ns)
{
    struct trial t = {.world = w, .server = s, .rand = r, .spares_newest = sim_chance(r, 1, 2)};
    struct sim_process *p = s->process;
    struct why why;
    void (*on_write)(void *, struct sim_process *, const char *, const struct disk_op *, bool) =
        p->on_write;
    struct sim_trap trap = p->trap;
    bool off = !server_up(s) && !sim_scheduled(&s->restart); /* its monitor starts it some day */
    t.busy = s->chunkd != NULL && !chunkd_settled(s->chunkd);
    server_kill(s, t.spares_newest, down_ns);
    w->trying = true;
    p->on_write = NULL;
    p->trap.kind = TRAP_NONE;
    t.spares_newest |= s->power_cut_ns >= s->killed_ns;
    t.image = sim_image_take(p->disk);
    snprintf(t.what, sizeof(t.what), "nothing is wrong");
    int err = trial_start(s, &why);
    bool sound = err == 0;
    if (sound) {
        t.calls = p->calls;
        look(s, &t.sound);
        t.sound.epoch = s->number == 0 ? promised_on(t.image) : 0;
    } else if (!s->meta_failed && !lacks_room(s, err)) {
        trial_fails(&t, why.text);
    }
    server_kill(s, false, 0);
    sim_image_put_back(p->disk, t.image);
    for (int i = 0; i < TRIALS && sound; i++) {
        try_once(&t);
    }
    p->on_write = on_write;
    p->trap = trap;
    w->trying = false;
    mem_free(t.sound.replicas);
    sim_disk_free(t.image);
    if (!off) {
        sim_at(w->sim, &s->restart, w->sim->now_ns + down_ns);
    }
    return sound;
}
