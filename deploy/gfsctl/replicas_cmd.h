/* replicas_cmd.h - how many replicas files want and have. */
#ifndef DEPLOY_GFSCTL_REPLICAS_CMD_H
#define DEPLOY_GFSCTL_REPLICAS_CMD_H

#include "deploy/gfsctl/gfsctl.h"

int cmd_replicas(struct call *c);

#endif
