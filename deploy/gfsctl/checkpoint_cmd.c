/* checkpoint_cmd.c - `gfsctl checkpoint`: those in a master's directory, and a new one.
 *
 * Checkpoints never change once they have their names, so listing and verifying read the files of a
 * running master too. The live environment is not touched.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "deploy/gfsctl/gfsctl.h"
#include "master/core/checkpoint.h"

enum { CHECKPOINT_WAIT_MS = 600 * 1000 };

int cmd_checkpoint_now(struct call *c)
{
    union op_any req = {0}, rep;
    if (c->argc != 0) {
        return EXIT_USAGE;
    }
    if (session_ask_or_say(c->session, OP_checkpoint_now, &req, &rep, CHECKPOINT_WAIT_MS, "") !=
        0) {
        return EXIT_FAILED;
    }
    printf(c->json ? "{\"checkpoint\": %" PRIu64 "}\n" : "checkpoint at index %" PRIu64 "\n",
           rep.checkpoint_now_rep.index);
    return 0;
}

static void print_one(const struct checkpoint_ref *ref, const char *verdict)
{
    char size[SIZE_TEXT];
    printf("checkpoint at index %" PRIu64 ", epoch %u, %s, state hash %016" PRIx64
           ", cluster %016" PRIx64 "%s%s\n",
           ref->at.index, ref->at.epoch, bytes_text(ref->bytes, size), ref->at.hash, ref->cluster,
           verdict[0] != 0 ? ": " : "", verdict);
}

static void print_json(struct json *j, const struct checkpoint_ref *ref, bool verify, int err)
{
    struct json one = {0};
    json_key(j, NULL);
    json_open(&one, '{');
    json_u64(&one, "index", ref->at.index);
    json_u64(&one, "epoch", ref->at.epoch);
    json_u64(&one, "bytes", ref->bytes);
    if (verify) {
        json_flag(&one, "good", err == 0);
    }
    json_close(&one, '}');
}

struct sum_files {
    const struct checkpoint_ref *refs;
    int count;
    bool verify;
    int strange;
};

/* A .sum file that belongs to none of the checkpoints found. */
static void note_sum_file(void *owner, const char *name)
{
    struct sum_files *s = owner;
    const char *end = strrchr(name, '.');
    char path[64];
    bool known =
        !s->verify || end == NULL || strcmp(end, ".sum") != 0 || strncmp(name, "ckpt-", 5) != 0;
    for (int i = 0; i < s->count && !known; i++) {
        checkpoint_sum_path(s->refs[i].at.index, path, sizeof(path));
        known = strcmp(strrchr(path, '/') + 1, name) == 0;
    }
    if (!known) {
        (void)say("%s: damaged, or its checkpoint is not there", name);
        s->strange++;
    }
}

static int each(struct call *c, struct env *env, bool verify)
{
    struct checkpoint_ref refs[CHECKPOINTS_LISTED_MAX];
    struct why why;
    struct json j = {0};
    int code = 0;
    int count = checkpoint_list(env, refs, &why);
    if (count < 0) {
        return say("%s: %s", c->argv[0], why.text);
    }
    struct sum_files sums = {.refs = refs, .count = count, .verify = verify};
    int err = env_list_dir(env, CHECKPOINT_DIR, note_sum_file, &sums);
    if (err == -ENOENT) {
        return say("%s is no master's directory: it has no " CHECKPOINT_DIR, c->argv[0]);
    }
    if (err < 0 || sums.strange > 0) {
        code = EXIT_FAILED;
    }
    if (c->json) {
        json_open(&j, '[');
    }
    for (int i = 0; i < count; i++) {
        err = verify ? checkpoint_verify(env, &refs[i], &why) : 0;
        code = err != 0 ? EXIT_FAILED : code;
        if (c->json) {
            print_json(&j, &refs[i], verify, err);
        } else {
            print_one(&refs[i], err != 0 ? why.text : verify ? "every sum fits" : "");
        }
    }
    if (c->json) {
        json_close(&j, ']');
        putchar('\n');
    } else if (count == 0) {
        puts("no checkpoint");
    }
    return code;
}

static int look(struct call *c, bool verify)
{
    struct why why;
    if (c->argc != 1) {
        return EXIT_USAGE;
    }
    struct uv_env *e =
        uv_env_create(&(struct uv_env_config){.dir = c->argv[0], .log_level = LOG_ERROR}, &why);
    if (e == NULL) {
        return say("%s", why.text);
    }
    int code = each(c, uv_env_base(e), verify);
    uv_env_destroy(e);
    return code;
}

int cmd_checkpoint_list(struct call *c)
{
    return look(c, false);
}

int cmd_checkpoint_verify(struct call *c)
{
    return look(c, true);
}
