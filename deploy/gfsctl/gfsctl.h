/* gfsctl.h - the parts of the operator's tool. */
#ifndef DEPLOY_GFSCTL_GFSCTL_H
#define DEPLOY_GFSCTL_GFSCTL_H

#include "shared/proto/schema.h"

/* status.c: the cluster's state on standard output, for people and for programs. */
void status_print(const struct status_rep *s);
void status_print_json(const struct status_rep *s);

/* oplog_print.c: the operation log below a stopped master's directory. Returns the exit status. */
int oplog_print(const char *dir);

#endif
