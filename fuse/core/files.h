/* files.h - inodes this mount works with, and open files.
 *
 * An inode lives while a file of it is open, a request uses it, or bytes of it wait to be written;
 * then it is remembered for a while (client_config.remembered of them) for what is known of its contents.
 * What was written and not synced is synced before it is forgotten.
 *
 * Its size here is what programs of this mount see: the master's, or the end of what they wrote if
 * that is further. Errors of writing behind are kept with a number; every open file remembers the
 * number it has reported.
 */
#ifndef FUSE_CORE_FILES_H
#define FUSE_CORE_FILES_H

#include "fuse/core/client.h"
#include "fuse/core/master_link.h"
#include "fuse/core/surplus.h"

/* State under which pages of an inode were read or written here. */
struct seen {
    bool valid;
    struct stamp ctime;
    uint64_t size;
};

struct inode {
    struct hmap_node node; /* client.inodes */
    struct client *client;
    uint64_t ino;
    uint32_t pins;       /* requests and structures that use it */
    struct list files;   /* struct client_file */
    uint32_t open_count; /* of these */
    uint32_t opening;    /* open requests not yet answered */
    struct list idle;    /* client.idle */
    struct list close_due;
    bool close_waits; /* for an open on its way: due if that gives no file */
    struct list locations;

    struct attr attr; /* the master's, as last heard */
    bool size_unsure; /* another mount may have truncated it since: attr.size may be too high */
    uint64_t size;    /* as programs of this mount see it */
    uint64_t changes; /* of size made here: an older answer of the master does not set it */
    uint64_t changes_seen; /* of bytes, made here or learned of: counts too many, never too few */
    struct seen seen;
    uint64_t error_number; /* errors of writing behind so far */
    int error;             /* the last one */

    /* write_back.c */
    struct list pieces;   /* in order of serial */
    struct hmap cells;    /* pieces by where they begin */
    uint32_t longest;     /* none of them is longer */
    struct list flushes;  /* struct flush waiting */
    struct list stalled;  /* client.stalled */
    uint64_t last_serial; /* of pieces */
    uint64_t queued;      /* writes ever queued for budget */
    uint64_t admitted;    /* of these: let in, or cancelled */
    uint32_t unsent;      /* pieces not on their way */
    uint32_t due;         /* of these: to be sent */
    uint32_t flying;      /* pieces on their way */
    struct list flights;  /* these */
    uint32_t held;        /* > 0: no piece may start (its size is being set) */

    /* commit.c */
    struct list dirty; /* client.dirty: pieces, or a size or mtime to commit */
    struct list aging; /* client.aging */
    uint64_t aging_since_ns;
    struct list commits;   /* struct commit waiting */
    bool extending;        /* an extend is on its way */
    bool need_extend;      /* data was written since the last extend was sent */
    bool need_bind;        /* to a chunk that no size commit vouches for yet */
    bool need_touch;       /* the extend is to set the times */
    bool times_set;        /* they were set after all that is written and not on the replicas yet */
    bool clear_suid;       /* by somebody without privilege */
    bool first_written;    /* chunk 0 was written from here */
    uint64_t written_end;  /* end of that data */
    struct writer synced;  /* chunks whose first sync is to be told, as extend has them */
    uint64_t sent_end;     /* of the extend on its way */
    uint64_t sent_recalls; /* client.recalls when it was sent */
    struct writer sent_synced;
    bool sent_clear_suid, sent_touch;
    struct master_call extend;
    struct commit *carrier;    /* whose setattr the extend on its way is, or NULL */
    struct first_chunk *first; /* before that extend */

    /* fsync.c */
    struct list touched;     /* chunks written since their last sync */
    struct list sync_queue;  /* struct file_sync waiting for the next round */
    struct list sync_riders; /* those this round is for */
    struct list syncing;     /* chunks of this round */
};

struct client_file {
    struct list link; /* inode.files */
    struct inode *inode;
    int flags; /* of open(2) */
    uint64_t error_seen;
    bool unchanged;
    uint64_t read_end; /* of the last read */
    struct surplus surplus;
};

void files_init(struct client *c);
void files_close(struct client *c);

struct inode *files_find(struct client *c, uint64_t ino); /* NULL if unknown; not pinned */
struct inode *inode_get(struct client *c, uint64_t ino);  /* made if unknown; pinned */
void inode_pin(struct inode *i);
void inode_unpin(struct inode *i); /* may free it */

/* An answer of the master about the inode. `changes`: i->changes when it was asked. */
void inode_learn(struct inode *i, const struct attr *a, uint64_t changes);
/* The same for the answer to a change made here: pages of this mount stay good, unless another mount
 * made a change before it that is not known here: ctime was `before` until then. */
void inode_learn_own(struct inode *i, const struct attr *a, struct stamp before, uint64_t changes);
/* The answer about an inode as programs here must see it. */
void files_adjust(struct client *c, struct attr *a);
void inode_set_error(struct inode *i, int err);
/* An error of writing behind this file has not reported yet, or 0. It is reported now. */
int file_take_error(struct client_file *f);

/* A file for the answer of open or create (attr). Its inode stays pinned until release. */
struct client_file *file_new(struct inode *i, const struct attr *a, int flags, uint64_t changes);

/* An open request counted in i->opening is over, after the file it may have given was made. */
void files_open_over(struct inode *i);

/* Inodes to name in session_attach: open ones, and those with bytes of files that are closed already
 * still to be committed; mem_free. The first *out_writing of the *out_count are those that may have
 * been written to. */
uint64_t *files_opens(struct client *c, uint32_t *out_count, uint32_t *out_writing);
/* Sends due closes now. */
void files_send_closes(struct client *c);
/* The session ended: sizes not committed may be lost, and trims may have been set. */
/* The file was truncated by another mount: what is known of its chunks counts no more. */
void files_recall(struct client *c, uint64_t ino);
/* Any file may have been. */
void files_recall_all(struct client *c);
void files_session_lost(struct client *c);

#endif
