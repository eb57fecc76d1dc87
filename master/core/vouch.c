/* vouch.c - reads the state through while it is used already. */
#include "master/core/vouch.h"

static void run(struct env_work *w)
{
    struct vouch *v = container_of(w, struct vouch, work);
    store_proof_run(v->proof, VOUCH_STEP_BYTES);
}

static void step_done(struct env_work *w)
{
    struct vouch *v = container_of(w, struct vouch, work);
    struct why why;
    if (!store_proof_over(v->proof)) {
        env_work_submit(v->env, &v->work);
        return;
    }
    struct store_proof *proof = v->proof;
    v->proof = NULL;
    if (store_proof_end(proof, &why) != 0) {
        store_abandon(v->store, why.text);
    }
    env_log(v->env, LOG_INFO, "the state was read through in %llu ms: it is what was committed",
            (unsigned long long)((env_mono_ns(v->env) - v->began_ns) / NS_PER_MS));
}

void vouch_start(struct vouch *v, struct env *env, struct store *store)
{
    *v = (struct vouch){.env = env,
                        .store = store,
                        .proof = store_proof_begin(store),
                        .work = {.run = run, .done = step_done},
                        .began_ns = env_mono_ns(env)};
    env_work_submit(env, &v->work);
}

void vouch_close(struct vouch *v)
{
    struct why ignored;
    if (v->proof != NULL) {
        (void)store_proof_end(v->proof, &ignored);
        v->proof = NULL;
    }
}
