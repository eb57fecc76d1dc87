/* master_link_impl.h - what master_link.c and master_calls.c share; nobody else includes it. */
#ifndef FUSE_CORE_MASTER_LINK_IMPL_H
#define FUSE_CORE_MASTER_LINK_IMPL_H

#include "fuse/core/master_link.h"

/* Leaves this connection; every call on it ends inside with ERR_DISCONNECTED and stays waiting. */
void master_link_hang_up(struct master_link *l);
/* Notes what an answer tells about the master. False: it comes from a master of an older epoch. */
bool master_link_heard(struct master_link *l, const struct message *m);
/* An answer, also one of a shadow, told of a committed record. */
void master_link_saw(struct master_link *l, const struct frame_header *answer);
struct frame_header master_link_head(const struct master_link *l, uint16_t op);
/* The master knows our session no longer. `by`: the call that was told so, or NULL. */
void master_link_session_lost(struct master_link *l, struct master_call *by);

void master_calls_send(struct master_link *l); /* all that wait, if there is somebody to ask */
void master_calls_end_pauses(struct master_link *l); /* what was refused is sent with the next */
void master_call_end(struct master_call *m, int status, struct message *reply);

#endif
