/* sessions.h - the volatile side of mounts' sessions: who is here, what they hold open, who fell
 * silent.
 *
 * The sessions themselves are rows of the namespace. After a start each of them counts as not yet
 * attached: it may hold any inode open until it has told what it holds, or its silence has ended
 * it. Pure; loop thread only. Bounds: SESSION_OPENS_MAX opens per session.
 */
#ifndef MASTER_CORE_SESSIONS_H
#define MASTER_CORE_SESSIONS_H

#include "shared/base/hmap.h"
#include "shared/base/list.h"
#include "shared/proto/codec.h"

enum { SESSION_OPENS_MAX = 1 << 18 };

struct peer;

struct session {
    uint64_t id;
    bool is_older;       /* than this master */
    bool attached;       /* it told what it holds open since this master started */
    uint32_t attaches;   /* how often it did, here */
    struct peer *peer;   /* the connection it is bound to, or NULL */
    uint64_t contact_ns; /* last request, by the clock its master finds absence by */
    struct hmap opens;   /* struct session_open by inode */
    struct hmap_node node;
    struct list link;
};

struct sessions {
    struct hmap by_id;
    struct hmap opens; /* all struct session_open by inode */
    struct list all;   /* in order of arrival */
};

void sessions_init(struct sessions *ss);
void sessions_close(struct sessions *ss); /* frees everything */

/* NULL if unknown. */
struct session *sessions_get(const struct sessions *ss, uint64_t id);
/* `attached`: it is new and holds nothing yet. The id must be unknown. */
struct session *sessions_add(struct sessions *ss, uint64_t id, bool attached, uint64_t now_ns);
void sessions_remove(struct sessions *ss, struct session *s);

/* 0, or -ENFILE. Opening again for writing is remembered. */
MUST_CHECK int session_open(struct sessions *ss, struct session *s, uint64_t ino, bool writing);
void session_close(struct sessions *ss, struct session *s, uint64_t ino);
void session_close_all(struct sessions *ss, struct session *s);
bool session_has_open(const struct session *s, uint64_t ino);
bool session_writes_to(const struct session *s, uint64_t ino); /* it is open for writing */
/* Nothing more can be opened. */
bool session_full(const struct session *s);

/* Appends (u64) the sessions that hold `ino` open or, not attached yet, may hold it. */
void sessions_holders(const struct sessions *ss, uint64_t ino, struct writer *w);
/* Appends (u64) the inodes that `s` has open for writing. */
void session_writes(const struct session *s, struct writer *w);
/* A session silent since before `dead_ns`, or NULL. */
struct session *sessions_silent(const struct sessions *ss, uint64_t dead_ns);

#endif
