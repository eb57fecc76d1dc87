/* actor.h - a simulated program on a mount: straight code in a fiber that makes one call after
 * another.
 *
 * Each function below starts the client's call of that name, waits for its end in simulated time
 * and notes both in the history. Results: the call's status, or GONE if the mount died meanwhile:
 * then the program must unwind to its top, where actor_wait_mount waits for the next life.
 */
#ifndef TESTS_SIM_ACTOR_H
#define TESTS_SIM_ACTOR_H

#include "tests/sim/fiber.h"
#include "tests/sim/history.h"
#include "tests/sim/world.h"

enum { GONE = 1 };

struct actor {
    struct world *world;
    struct mount *mount;
    struct list link;
    struct fiber *fiber;
    struct sim_event wake;
    struct sim_rand rand;
    uint32_t number;
    void (*body)(struct actor *a);
    void *arg;
    struct client_call call;
    bool calling;       /* call is running */
    bool waiting_mount; /* paused until the mount is ready */
    bool gone;          /* the mount died, or leaves */
    uint32_t life;      /* of the mount that the program works on */
    uint32_t
        signals; /* one call in so many is interrupted by one: whether it did anything is in doubt
                             * then; 0 = none */
    bool unprivileged;          /* its writes take the set-user-ID bit away */
    int create_flags;           /* beside O_RDWR */
    struct sim_event interrupt; /* of the call that runs */
    uint64_t interrupted_ns;
    struct op_entry *entry;
    struct slice data;          /* of the last read */
    struct client_file *opened; /* of the last open or create */
};

struct actor *actor_new(struct world *w, struct mount *m, void (*body)(struct actor *a), void *arg);
bool actors_done(void *world);     /* all programs have ended */
void actors_wake(struct world *w); /* a mount is ready */
void actors_mount_died(struct mount *m);
void actors_mount_leaves(struct mount *m); /* a signal ends its programs; some do not notice */
void actors_free(struct world *w);
/* The oldest call that has not ended, for reports; NULL if none. */
const struct op_entry *actors_stuck(struct world *w);

void actor_sleep(struct actor *a, uint64_t ns);
void actor_wait_mount(struct actor *a);
/* The mount died, or leaves, while the program was thinking: no call can be made. A model must ask before
 * it takes a change whose call would not be made: what a mount writes back when it leaves is certain. */
bool actor_gone(struct actor *a);

int do_lookup(struct actor *a, uint64_t parent, const char *name, struct attr *out);
int do_getattr(struct actor *a, uint64_t ino, struct attr *out);
int do_setattr(struct actor *a, uint64_t ino, uint32_t mask, const struct attr *set,
               struct attr *out);
int do_make(struct actor *a, uint64_t parent, const char *name, uint32_t mode, struct attr *out);
int do_symlink(struct actor *a, uint64_t parent, const char *name, const char *target,
               struct attr *out);
int do_readlink(struct actor *a, uint64_t ino);
int do_link(struct actor *a, uint64_t ino, uint64_t parent, const char *name);
int do_unlink(struct actor *a, uint64_t parent, const char *name);
int do_rmdir(struct actor *a, uint64_t parent, const char *name);
int do_rename(struct actor *a, uint64_t parent, const char *name, uint64_t new_parent,
              const char *new_name, uint32_t flags);
/* One page of a directory; a->entry->bytes has the entries. */
int do_readdir(struct actor *a, uint64_t ino, uint64_t cookie);
int do_getxattr(struct actor *a, uint64_t ino, const char *name);
int do_listxattr(struct actor *a, uint64_t ino);
int do_setxattr(struct actor *a, uint64_t ino, const char *name, const char *value, uint32_t flags);
int do_removexattr(struct actor *a, uint64_t ino, const char *name);
int do_open(struct actor *a, uint64_t ino, int flags, struct attr *out);
int do_create(struct actor *a, uint64_t parent, const char *name, uint32_t mode, struct attr *out);
void do_release(struct actor *a, struct client_file *f);
/* The bytes are in a->data until the next call. */
int do_read(struct actor *a, struct client_file *f, uint64_t off, uint32_t len);
int do_write(struct actor *a, struct client_file *f, uint64_t off, const void *data, uint32_t len,
             bool append);
int do_flush(struct actor *a, struct client_file *f);
int do_fsync(struct actor *a, struct client_file *f);
/* Where data or a hole is: a->call.offset. */
int do_lseek(struct actor *a, struct client_file *f, uint64_t off, bool hole);
int do_fallocate(struct actor *a, struct client_file *f, int mode, uint64_t off, uint64_t len);
/* Fails the seed if what is free does not fit what there is. */
int do_statfs(struct actor *a);
/* A call on an open file that is refused, or does nothing: fails the seed if it is not so. */
int do_refused_file(struct actor *a, struct client_file *f);
/* The program was interrupted in its last call, and the mount is still there. */
bool actor_interrupted(const struct actor *a);
/* A call with a name, value, size or mode that there cannot be: fails the seed if it is not refused as it
 * should be. */
int do_refused(struct actor *a, uint64_t dir);

#endif
