/* shell.c - the mounted process: core, session of the kernel, loop, and how they start and end. */
#include "fuse/io/shell.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fuse/io/mount_point.h"
#include "fuse/io/serve.h"
#include "fuse/io/session.h"

#define READ_AHEAD_KIB   1024u
#define DEFAULT_LOG_FILE "/var/log/gfs-fuse.log"

/* ---------------------------------------------------------------- the end */

static void on_stopped(void *owner)
{
    struct shell *s = owner;
    uv_env_stop(s->uv);
}

/* Flushes and says goodbye to the cluster; the loop ends when that is done. */
static void stop(struct shell *s)
{
    if (s->is_stopping) {
        return;
    }
    s->is_stopping = true;
    uv_timer_stop(&s->deadline);
    if (s->session != NULL) {
        channel_close(&s->channel);
    }
    client_stop(s->client, s->is_connected ? STOP_MS : 0, on_stopped, s);
}

/* What goes wrong before the starter was told is told to it; afterwards it goes to the log. */
static void fail(struct shell *s, const char *why)
{
    s->exit_code = 1;
    if (!s->is_reported) {
        s->is_reported = true;
        background_report_failure(s->background, why);
    }
    uv_env_log(s->uv, LOG_ERROR, "%s", why);
    stop(s);
}

static void unmount_work(uv_work_t *w)
{
    struct shell *s = container_of(w, struct shell, unmount);
    s->unmount_err = mount_point_unmount(s->options->dir, s->minor);
}

static void unmount_done(uv_work_t *w, int status)
{
    struct shell *s = container_of(w, struct shell, unmount);
    if (status == 0 && s->unmount_err == 0) {
        s->is_unmounted = true;
    } else {
        uv_env_log(s->uv, LOG_WARN, "cannot unmount %s: %s", s->options->dir,
                   err_text(s->unmount_err));
    }
    stop(s);
}

static void on_stop_deadline(uv_timer_t *t)
{
    stop(container_of(t, struct shell, deadline));
}

/* SIGTERM, SIGINT: unmounting writes dirty pages through us, so it runs beside the loop. A second
 * signal does not wait for it. */
static void on_signal(uv_signal_t *h, int number)
{
    struct shell *s = h->data;
    uv_env_log(s->uv, LOG_INFO, "signal %d: stopping", number);
    if (!s->is_mounted || s->is_leaving) {
        stop(s);
        return;
    }
    s->is_leaving = true;
    uv_timer_start(&s->deadline, on_stop_deadline, STOP_MS, 0);
    if (uv_queue_work(s->loop, &s->unmount, unmount_work, unmount_done) != 0) {
        stop(s);
    }
}

/* ---------------------------------------------------------------- the start */

/* The kernel's queue ended: somebody unmounted us. */
static void on_channel_end(void *owner, int err)
{
    struct shell *s = owner;
    s->is_unmounted = err == 0;
    if (err != 0) {
        uv_env_log(s->uv, LOG_ERROR, "the kernel's request queue is broken: %s", err_text(err));
        s->exit_code = 1;
    } else {
        uv_env_log(s->uv, LOG_INFO, "%s is unmounted", s->options->dir);
    }
    stop(s);
}

static void report_ready(struct shell *s)
{
    struct why why;
    if (s->is_reported || !s->is_mounted || !(s->is_connected || s->options->mount_first)) {
        return;
    }
    if (background_report_ready(s->background, &why) != 0) {
        fail(s, why.text);
        return;
    }
    s->is_reported = true;
    uv_env_log(s->uv, LOG_INFO, "%s is mounted on %s", s->options->spec, s->options->dir);
}

static void on_channel_request(void *owner)
{
    uv_env_stirred(((struct shell *)owner)->uv);
}

static void on_channel_ready(void *owner)
{
    struct shell *s = owner;
    s->is_mounted = true;
    s->minor = mount_point_minor(s->options->dir);
    if (s->minor < 0 || mount_point_read_ahead(s->minor, READ_AHEAD_KIB) != 0) {
        uv_env_log(s->uv, LOG_INFO, "the kernel's read-ahead stays as it is");
    }
    report_ready(s);
}

static void mount_now(struct shell *s)
{
    struct why why;
    if (session_mount(&s->session, s->options, &s->channel, &why) != 0) {
        fail(s, why.text);
        return;
    }
    s->channel.owner = s;
    s->channel.on_ready = on_channel_ready;
    s->channel.on_request = on_channel_request;
    s->channel.on_end = on_channel_end;
    int err = channel_open(&s->channel, s->loop, s->session);
    if (err != 0) {
        why_set(&why, err, "cannot watch the kernel's request queue: %s", err_text(err));
        fail(s, why.text);
    }
}

static void on_first_root(struct client_call *k)
{
    struct shell *s = k->owner;
    if (k->status == 0) {
        inode_refs_learn(&s->inodes, &k->attr, 0);
    }
}

static void on_first_statfs(struct client_call *k)
{
    (void)k; /* the core remembers it */
}

/* What umount(8) asks before it unmounts must be known should the cluster be away then. */
static void learn_root(struct shell *s)
{
    s->first_root = (struct client_call){.done = on_first_root, .owner = s};
    s->first_statfs = (struct client_call){.done = on_first_statfs, .owner = s};
    client_getattr(s->client, &s->first_root, ROOT_INO);
    client_statfs(s->client, &s->first_statfs);
}

static void on_client_ready(void *owner, int status)
{
    struct shell *s = owner;
    struct why why;
    if (s->is_stopping) {
        return;
    }
    if (status < 0) {
        why_set(&why, status, "the cluster at %s refuses this mount: %s", s->options->masters,
                err_text(status));
        fail(s, why.text);
        return;
    }
    s->is_connected = true;
    uv_timer_stop(&s->deadline);
    learn_root(s);
    if (s->session == NULL) {
        mount_now(s);
    }
    report_ready(s);
}

static void on_connect_deadline(uv_timer_t *t)
{
    struct shell *s = container_of(t, struct shell, deadline);
    struct why why;
    why_set(&why, -ETIMEDOUT, "no master answered within %d s; tried %s", CONNECT_MS / 1000,
            s->options->masters);
    fail(s, why.text);
}

/* Where log lines go: the named file; in the foreground the terminal; else a file root may write. */
static const char *log_path(const struct options *o)
{
    if (o->log_file[0] != '\0') {
        return o->log_file;
    }
    if (o->foreground) {
        return NULL;
    }
    int fd = open(DEFAULT_LOG_FILE, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) {
        return NULL;
    }
    close(fd);
    return DEFAULT_LOG_FILE;
}

static void client_config_of(struct client_config *out, const struct options *o)
{
    *out = (struct client_config){
        .dirty_bytes = o->dirty_bytes,
        .trash = o->trash,
        .dirty_age_ms = 1000,
        .soft_ms = o->soft_ms,
        .stale_ms = o->stale_ms,
    };
    memcpy(out->masters, o->masters, sizeof out->masters);
    memcpy(out->cluster, o->cluster, sizeof o->cluster);
    memcpy(out->host, o->host, sizeof o->host);
    memcpy(out->rack, o->rack, sizeof o->rack);
}

static void start(struct shell *s)
{
    uv_signal_init(s->loop, &s->on_term);
    uv_signal_init(s->loop, &s->on_int);
    s->on_term.data = s->on_int.data = s;
    uv_signal_start(&s->on_term, on_signal, SIGTERM);
    uv_signal_start(&s->on_int, on_signal, SIGINT);
    uv_timer_init(s->loop, &s->deadline);
    list_init(&s->files);
    requests_init(&s->requests, s->loop);
    inode_refs_init(&s->inodes);

    struct client_config cfg;
    client_config_of(&cfg, s->options);
    s->client = client_create(s->env, &cfg);
    client_start(s->client, on_client_ready, s);
    if (s->options->mount_first) {
        mount_now(s);
    } else {
        uv_timer_start(&s->deadline, on_connect_deadline, CONNECT_MS, 0);
    }
}

static bool queue_is_cut(int fd)
{
    struct pollfd p = {.fd = fd};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLERR) != 0;
}

/* The kernel's side ends before the core: nobody can ask any more. */
static void end(struct shell *s)
{
    requests_close(&s->requests);
    uv_close((uv_handle_t *)&s->on_term, NULL);
    uv_close((uv_handle_t *)&s->on_int, NULL);
    uv_close((uv_handle_t *)&s->deadline, NULL);
    if (s->session != NULL) {
        /* Frees the mount point unless the queue says that it is free already. It closes the queue
         * first, so it cannot wait for us. A busy mount that was taken off its place leaves the
         * place alone. */
        if (!s->is_unmounted || queue_is_cut(fuse_session_fd(s->session))) {
            fuse_session_unmount(s->session);
        }
        requests_drop_unanswered(&s->requests);
        fuse_session_destroy(s->session);
    }
    uv_env_halt(s->uv);
    client_destroy(s->client);
    uv_env_destroy(s->uv);
    serve_free_files(s);
    requests_free(&s->requests);
    channel_free(&s->channel);
    inode_refs_close(&s->inodes);
}

int shell_run(const struct options *options, struct background *background)
{
    struct shell s = {.options = options, .background = background, .minor = -1};
    struct uv_env_config cfg = {
        .log_path = log_path(options),
        .log_level = options->verbose ? LOG_DEBUG : LOG_INFO,
        .threads_max = 4,
        .awake_us = AWAKE_US,
    };
    struct why why;
    s.uv = uv_env_create(&cfg, &why);
    if (s.uv == NULL) {
        background_report_failure(background, why.text);
        return 1;
    }
    s.env = uv_env_base(s.uv);
    s.loop = uv_env_loop(s.uv);
    start(&s);
    uv_env_run(s.uv);
    end(&s);
    background_end(background);
    return s.exit_code;
}
