/* keeper_text.h - the texts of elect_keeper.h's entries. Whatever else may stand there is refused. */
#ifndef DEPLOY_MONITOR_CORE_KEEPER_TEXT_H
#define DEPLOY_MONITOR_CORE_KEEPER_TEXT_H

#include "deploy/monitor/core/elect_keeper.h"

void keeper_put_epoch(char out[KEEPER_TEXT_MAX + 1], const struct keeper_epoch *e);
/* The version is left alone. */
bool keeper_get_epoch(const char *text, struct keeper_epoch *out);
void keeper_put_active(char out[KEEPER_TEXT_MAX + 1], uint32_t epoch, const char *addr);
bool keeper_get_active(const char *text, uint32_t *out_epoch, char addr[ADDR_LEN_MAX + 1]);
void keeper_put_candidate(char out[KEEPER_TEXT_MAX + 1], const struct elect_candidate *c);
bool keeper_get_candidate(const char *text, struct elect_candidate *out);

/* Name of a lock entry, without the number that is added. */
void keeper_put_lock(char out[KEEPER_NAME_MAX + 1], uint64_t nonce);
/* False: it is no lock entry. */
bool keeper_get_lock(const char *name, uint64_t *out_nonce, uint64_t *out_number);

#endif
