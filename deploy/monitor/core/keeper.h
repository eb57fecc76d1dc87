/* keeper.h - a service that keeps small texts under paths for everybody, as ZooKeeper does: what an
 * engine needs of its client.
 *
 * Pure: the shell implements it with ZooKeeper's library, tests with a model. A session lives while
 * the service hears of us; ephemeral entries live as long as the session that made them. Writes are
 * ordered for everybody; reads may be older, but never older than what this session has seen or
 * written. One call at a time. Loop thread only.
 */
#ifndef DEPLOY_MONITOR_CORE_KEEPER_H
#define DEPLOY_MONITOR_CORE_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/limits.h"

enum {
    KEEPER_NAME_MAX = ADDR_LEN_MAX, /* bytes */
    KEEPER_PATH_MAX = 2 * ADDR_LEN_MAX,
    KEEPER_TEXT_MAX = 3 * ADDR_LEN_MAX,
    KEEPER_NAMES_MAX = 32, /* under one path, more are not told */
};

enum keeper_state {
    KEEPER_AWAY,    /* no server answers; the session may live or not */
    KEEPER_THERE,   /* the session lives */
    KEEPER_EXPIRED, /* it has ended, with its entries */
    KEEPER_REFUSED, /* who we say we are is not accepted */
};

enum keeper_kind {
    KEEPER_CREATE,  /* path, text, ephemeral, numbered: ten digits are added to the name */
    KEEPER_READ,    /* -> text, version */
    KEEPER_NAMES,   /* of the entries right under path -> names */
    KEEPER_REPLACE, /* path, text, version; only while `proof` is there, if it is not empty */
    KEEPER_REMOVE,  /* path */
};

/* Owned by the caller until done ran, which it does once, never from inside `call`, and not at all
 * when the session is opened anew or closed before. */
struct keeper_call {
    enum keeper_kind kind;
    char path[KEEPER_PATH_MAX + 1];
    char proof[KEEPER_PATH_MAX + 1];
    char text[KEEPER_TEXT_MAX + 1];
    int32_t version; /* of the text; to replace: it must be this one, -1 = any */
    bool ephemeral, numbered;
    bool watch; /* on_change when what was read is not so any more; once */
    void (*done)(struct keeper_call *c);
    void *owner;
    /* 0; -ENOENT; -EEXIST; -EAGAIN: another version; -EPERM: the proof is not there; -EACCES;
     * -ECONNRESET: it may have been done or not; another error */
    int status;
    char names[KEEPER_NAMES_MAX][KEEPER_NAME_MAX + 1];
    uint32_t name_count;
};

struct keeper_events {
    void (*on_state)(void *owner, enum keeper_state state);
    void (*on_change)(void *owner);
};

struct keeper {
    const struct keeper_ops *ops;
};

struct keeper_ops {
    /* Begins a session; one that is open is forgotten, and its call. */
    void (*open)(struct keeper *k, const struct keeper_events *ev, void *owner);
    void (*close)(struct keeper *k); /* its ephemeral entries go at once if a server is there */
    void (*call)(struct keeper *k, struct keeper_call *c);
    /* After so long without hearing of us the service ends the session; as agreed with it. */
    uint32_t (*timeout_ms)(const struct keeper *k);
};

#endif
