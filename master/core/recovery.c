/* recovery.c - which environment is kept at start.
 *
 * `live/doubt` is one byte: how many processes opened the environment and did not get as far as a
 * commit; DOUBT_BUILDING while it is being built. It needs no sync: a power cut drops the
 * environment anyway. Once there it stays, so that a start needs no room for it.
 */
#include "master/core/recovery.h"
#include "master/core/checkpoint.h"

enum {
    DOUBT_MAX = 2,
    DOUBT_BUILDING = 255,
};

#define LIVE_DIR    "live"
#define LIVE_FILE   LIVE_DIR "/data.mdb"
#define LIVE_LOCK   LIVE_FILE "-lock"
#define LIVE_FAILED LIVE_FILE STORE_FAILED_SUFFIX
#define LIVE_DOUBT  LIVE_DIR "/doubt"

struct recovery {
    struct env *env;
    const struct recovery_config *cfg;
    struct store *store;
    struct oplog *log;
    struct recovery_result *result;
    bool usual; /* that the live environment is not used: the machine went down */
};

/* ---------------------------------------------------------------- marks beside the environment */

static bool exists(struct env *env, const char *path)
{
    struct env_file *f;
    if (env_file_open(env, path, ENV_OPEN_READ_ONLY, &f) < 0) {
        return false;
    }
    env_file_close(env, f);
    return true;
}

static uint8_t doubt_read(struct env *env)
{
    struct env_file *f;
    uint8_t doubt = 0;
    if (env_file_open(env, LIVE_DOUBT, ENV_OPEN_READ_ONLY, &f) == 0) {
        if (env_file_read(env, f, 0, &doubt, 1) != 1) {
            doubt = 0;
        }
        env_file_close(env, f);
    }
    return doubt;
}

static int doubt_write(struct env *env, uint8_t doubt, struct why *why)
{
    struct env_file *f;
    int64_t n = env_file_open(env, LIVE_DOUBT, ENV_OPEN_CREATE, &f);
    if (n == 0) {
        n = env_file_write(env, f, 0, &doubt, 1);
        env_file_close(env, f);
    }
    return n < 0 ? why_set(why, (int)n, "cannot write %s: %s", LIVE_DOUBT, err_text((int)n)) : 0;
}

void recovery_settled(struct env *env)
{
    struct why ignored; /* if it stays, two early deaths drop a good environment */
    (void)doubt_write(env, 0, &ignored);
}

static int drop_live(struct recovery *r, const char *because, struct why *why)
{
    static const char *const all[] = {LIVE_FILE, LIVE_LOCK, LIVE_FAILED};
    int rc = 0;
    env_log(r->env, r->usual ? LOG_INFO : LOG_WARN, "live environment is not used: %s", because);
    store_close(r->store);
    r->store = NULL;
    for (size_t i = 0; i < COUNT_OF(all) && rc == 0; i++) {
        rc = env_unlink(r->env, all[i]);
        rc = rc == -ENOENT ? 0 : rc;
        if (rc < 0) { /* what is there must not be used */
            why_set(why, rc, "cannot remove %s: %s", all[i], err_text(rc));
        }
    }
    return rc;
}

/* ---------------------------------------------------------------- keeping */

/* True if a position lies on the log. */
static bool on_log(struct recovery *r, const struct store_position *at)
{
    uint64_t chain;
    struct why ignored;
    return at->index <= oplog_last(r->log) &&
           oplog_chain(r->log, at->index, &chain, &ignored) == 0 && chain == at->chain;
}

static bool large(const struct recovery *r)
{
    struct env_file *f;
    if (r->cfg->large_bytes == 0 || env_file_open(r->env, LIVE_FILE, ENV_OPEN_READ_ONLY, &f) < 0) {
        return false;
    }
    int64_t size = env_file_size(r->env, f);
    env_file_close(r->env, f);
    return size >= (int64_t)r->cfg->large_bytes;
}

/* Opens the live environment if it may be trusted. NULL, or why not. */
static const char *try_live(struct recovery *r, struct why *why)
{
    const struct oplog_identity *id = oplog_identity(r->log);
    uint8_t doubt = doubt_read(r->env);
    bool same = oplog_incarnation_same(r->log);
    r->usual = !same && id->clean_index == 0;
    if (r->usual) {
        return id->starts == 0 ? "there is none" : "the machine went down";
    }
    if (exists(r->env, LIVE_FAILED)) {
        return "it failed";
    }
    if (doubt == DOUBT_BUILDING) {
        return "it was not finished";
    }
    if (doubt >= DOUBT_MAX) {
        return "two processes died before they could commit";
    }
    if (doubt_write(r->env, (uint8_t)(doubt + 1), why) < 0) {
        return why->text;
    }
    if (store_open(r->env, LIVE_FILE, &r->store, why) < 0) {
        return why->text;
    }
    struct store_position at = store_committed(r->store);
    if (at.index == 0) {
        return "it is empty";
    }
    if (!same && at.index != id->clean_index) {
        return "it is not what was stopped cleanly";
    }
    if (!on_log(r, &at)) {
        return "its position is not on the log";
    }
    r->result->unproven = same && large(r);
    if (!r->result->unproven && store_verify(r->store, why) < 0) {
        return why->text;
    }
    r->result->live_kept = true;
    return NULL;
}

/* ---------------------------------------------------------------- building */

/* From one that was verified; it stays as it is. */
static int build_from(struct recovery *r, const struct checkpoint_ref *ref, struct why *why)
{
    char path[64];
    int rc =
        store_restore(r->env, checkpoint_path(ref->at.index, path, sizeof(path)), LIVE_FILE, why);
    if (rc == 0) {
        rc = store_open(r->env, LIVE_FILE, &r->store, why);
    }
    if (rc < 0) {
        return rc;
    }
    struct store_position at = store_committed(r->store);
    if (at.index != ref->at.index || at.chain != ref->at.chain || at.hash != ref->at.hash) {
        return why_set(why, ERR_CORRUPT, "%s holds index %llu, its sum file says %llu", path,
                       (unsigned long long)at.index, (unsigned long long)ref->at.index);
    }
    r->result->checkpoint = ref->at.index;
    return 0;
}

static int check_cluster(struct recovery *r, const struct checkpoint_ref *ref, struct why *why)
{
    uint64_t cluster = oplog_identity(r->log)->cluster;
    char path[64];
    if (cluster == 0) {
        return why_set(why, ERR_FOREIGN_CLUSTER,
                       "the log is gone, but checkpoint %llu of cluster %#llx is here: empty the "
                       "directory, and this master gets all from the others",
                       (unsigned long long)ref->at.index, (unsigned long long)ref->cluster);
    }
    return ref->cluster == cluster
               ? 0
               : why_set(why, ERR_FOREIGN_CLUSTER,
                         "%s is of cluster %#llx, the log of %#llx, which %s: put back what "
                         "belongs here, or move away what does not",
                         checkpoint_sum_path(ref->at.index, path, sizeof(path)),
                         (unsigned long long)ref->cluster, (unsigned long long)cluster,
                         oplog_last(r->log) == 0 ? "is empty" : "has records");
}

/* Before anything here is used or removed. */
static int check_clusters(struct recovery *r, struct why *why)
{
    struct checkpoint_ref refs[CHECKPOINTS_LISTED_MAX];
    int count = checkpoint_list(r->env, refs, why);
    for (int i = 0; i < count; i++) {
        int rc = check_cluster(r, &refs[i], why);
        if (rc < 0) {
            return rc;
        }
    }
    return MIN(count, 0);
}

/* A checkpoint holds committed records only: if the log does not have them, the log lost them. */
static int check_place(struct recovery *r, const struct checkpoint_ref *ref, struct why *why)
{
    uint64_t chain = 0;
    int rc = check_cluster(r, ref, why);
    if (rc < 0) {
        return rc;
    }
    if (ref->at.index > oplog_last(r->log)) {
        return why_set(why, ERR_CORRUPT,
                       "the log ends at record %llu, but checkpoint %llu holds later ones",
                       (unsigned long long)oplog_last(r->log), (unsigned long long)ref->at.index);
    }
    rc = oplog_chain(r->log, ref->at.index, &chain, why);
    if (rc < 0) {
        return rc;
    }
    if (chain != ref->at.chain) {
        return why_set(why, ERR_CORRUPT,
                       "checkpoint %llu is of another history: chain %#llx, the log says %#llx",
                       (unsigned long long)ref->at.index, (unsigned long long)ref->at.chain,
                       (unsigned long long)chain);
    }
    return 0;
}

/* From the newest checkpoint that is good. -ENOENT: none is. */
static int build_from_checkpoints(struct recovery *r, struct why *why)
{
    struct checkpoint_ref refs[CHECKPOINTS_LISTED_MAX];
    int count = checkpoint_list(r->env, refs, why);
    if (count < 0) {
        return count;
    }
    for (int i = 0; i < count; i++) {
        int rc = check_place(r, &refs[i], why);
        if (rc < 0 && rc != -ENOENT && !r->cfg->log.force) {
            return rc;
        }
        if (rc == 0) {
            rc = checkpoint_verify(r->env, &refs[i], why);
            if (rc == 0) {
                return build_from(r, &refs[i], why);
            }
            if (rc == ERR_CORRUPT) {
                checkpoint_remove(r->env, &refs[i]);
            }
        }
        env_log(r->env, LOG_WARN, "checkpoint %llu is not used: %s",
                (unsigned long long)refs[i].at.index, why->text);
    }
    return -ENOENT;
}

static int build_live(struct recovery *r, struct why *why)
{
    int rc = doubt_write(r->env, DOUBT_BUILDING, why);
    if (rc < 0) {
        return rc;
    }
    rc = build_from_checkpoints(r, why);
    if (rc == -ENOENT) {
        if (oplog_first(r->log) > 1) {
            return why_set(why, ERR_CORRUPT,
                           "no good checkpoint is left, and the log begins at record %llu",
                           (unsigned long long)oplog_first(r->log));
        }
        rc = store_open(r->env, LIVE_FILE, &r->store, why);
    }
    /* Built: from now on it counts as opened once. */
    return rc < 0 ? rc : doubt_write(r->env, 1, why);
}

/* The log serves the other masters all the same. */
static int open_stateless(struct recovery *r, struct why *why)
{
    env_log(r->env, LOG_ERROR,
            "this master only holds its log until it has a checkpoint of another one: %s",
            why->text);
    int rc = drop_live(r, "it cannot be built", why);
    r->result->stateless = true;
    return rc < 0 ? rc : store_open(r->env, LIVE_FILE, &r->store, why);
}

int recovery_open(struct env *env, const struct recovery_config *cfg, struct store **out_store,
                  struct oplog **out_log, struct recovery_result *out, struct why *why)
{
    struct recovery r = {.env = env, .cfg = cfg, .result = out};
    *out = (struct recovery_result){0};
    int rc = env_make_dir(env, LIVE_DIR);
    if (rc < 0) {
        return why_set(why, rc, "cannot make directory %s: %s", LIVE_DIR, err_text(rc));
    }
    rc = oplog_open(env, &cfg->log, cfg->cluster_name, &r.log, why);
    if (rc < 0) {
        return rc;
    }
    rc = cfg->log.force ? 0 : check_clusters(&r, why);
    if (rc < 0) {
        oplog_close(r.log);
        return rc;
    }
    const char *because = try_live(&r, why);
    if (because != NULL) {
        rc = drop_live(&r, because, why);
        rc = rc == 0 ? build_live(&r, why) : rc;
    }
    if ((rc == ERR_CORRUPT || rc == -ENOENT) && cfg->log.replicated) {
        rc = open_stateless(&r, why);
    }
    if (rc < 0) {
        store_close(r.store);
        oplog_close(r.log);
        return rc;
    }
    if (cfg->ahead_bytes > 0) {
        store_preallocate(r.store, cfg->ahead_bytes);
    }
    out->replay_from = store_committed(r.store).index + 1;
    *out_store = r.store;
    *out_log = r.log;
    return 0;
}
