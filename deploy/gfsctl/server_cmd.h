/* server_cmd.h - chunkservers as operators see them. */
#ifndef DEPLOY_GFSCTL_SERVER_CMD_H
#define DEPLOY_GFSCTL_SERVER_CMD_H

#include "deploy/gfsctl/gfsctl.h"

enum { STATE_TEXT = 256 };
/* "alive, draining: 12 chunks left", for the end of a line. */
const char *server_state_text(const struct server_status *v, char out[STATE_TEXT]);
/* The same as members of an open object. */
void server_state_json(struct json *j, const struct server_status *v);

int cmd_drain(struct call *c);
int cmd_undrain(struct call *c);
int cmd_maintenance(struct call *c);

#endif
