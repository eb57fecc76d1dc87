/* chunk_cmd.h - what is wrong with single chunks: why a file does not read or write, and a check
 * of every replica of every chunk. */
#ifndef DEPLOY_GFSCTL_CHUNK_CMD_H
#define DEPLOY_GFSCTL_CHUNK_CMD_H

#include "deploy/gfsctl/gfsctl.h"

int cmd_why(struct call *c);  /* why PATH [--all] */
int cmd_fsck(struct call *c); /* fsck [--compare]; EXIT_FAILED if anything is wrong */

#endif
