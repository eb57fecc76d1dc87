/* gfsctl.h - the parts of the operator's tool.
 *
 * A command is a row of the table in gfsctl.c: its words, its help, and a function that asks the
 * master what it needs (ask.c) and prints, for people or, with --json, for programs: exactly one
 * JSON value on standard output. What goes wrong is a sentence on standard error. Commands of one
 * kind share a file, X_cmd.c. Views in an answer are valid until the next question.
 */
#ifndef DEPLOY_GFSCTL_GFSCTL_H
#define DEPLOY_GFSCTL_GFSCTL_H

#include "shared/io/daemon.h"
#include "shared/proto/schema.h"

struct session;

/* What the command line gave a command. */
struct call {
    struct session *session;
    bool json;
    int argc; /* words after the command's own, options of the command included */
    char **argv;
};

struct command {
    const char *words;         /* "status", "trash list": one or two words */
    const char *args;          /* "SERVER [--wait]", or "" */
    const char *help;          /* one line */
    int (*run)(struct call *); /* exit status: 0, EXIT_FAILED (said why), EXIT_USAGE (main says) */
};

/* ---------------------------------------------------------------- ask.c */

/* Asks the masters one after another until one answers, or 5 s have passed. 0 and *rep, or the
 * status of the answer or of the failure, not printed; the connection stays for the next question.
 * With wait_ms > 0 the answer may take that long, and a lost connection ends it: for what must not
 * be asked twice. */
MUST_CHECK int session_ask(struct session *s, enum op_code op, const union op_any *req,
                           union op_any *rep, uint32_t wait_ms);
/* The same; says "gfsctl: WHAT: why" if it fails. */
MUST_CHECK int session_ask_or_say(struct session *s, enum op_code op, const union op_any *req,
                                  union op_any *rep, uint32_t wait_ms, const char *what);
/* A sentence: why the last question failed. */
const char *session_error(const struct session *s);
/* NULL: `masters` (HOST:PORT[,HOST:PORT]) is no such list. */
struct session *session_new(const char *masters);
void session_free(struct session *s);
/* The master list is as it was given, or the default: whether `addr` is in it. */
bool session_has_master(const struct session *s, const char *addr);

/* ---------------------------------------------------------------- print.c */

int say(const char *format, ...) PRINTF_LIKE(1, 2); /* "gfsctl: ..."; gives EXIT_FAILED */

enum { SIZE_TEXT = 32, PLAIN_TEXT = 4096 + 8 };
const char *bytes_text(uint64_t bytes, char out[SIZE_TEXT]); /* "1.5G" */
const char *time_text(uint64_t ms, char out[SIZE_TEXT]);     /* "90s", "12m", "3.5h", "2.1d" */
/* Text of a peer, shown as it is but for what would move the cursor; cut at PLAIN_TEXT - 1. */
const char *plain(struct bytes b, char out[PLAIN_TEXT]);

/* Members of a JSON object, with the comma before all but the first: json_open, members,
 * json_close; nested ones by json_key. */
struct json {
    bool more; /* a member was printed at this level */
};
void json_open(struct json *j, char bracket);  /* '{' or '[' */
void json_close(struct json *j, char bracket); /* '}' or ']' */
/* Comma if needed, and the name if there is one: before a nested value, or an element of an array.
 */
void json_key(struct json *j, const char *name);
void json_text(struct json *j, const char *name, struct bytes value);
void json_u64(struct json *j, const char *name, uint64_t value);
void json_flag(struct json *j, const char *name, bool value);
void json_null(struct json *j, const char *name);
/* The object of a simple answer: {"done": true}, and a newline. */
void json_done(void);

/* ---------------------------------------------------------------- arguments */

/* "10", "90s", "10m", "2h", "1d" as milliseconds, plain numbers seconds; false if it is none. */
bool parse_duration(const char *text, uint64_t *out_ms);
bool parse_u64(const char *text, uint64_t *out);
/* Takes `option` out of the arguments wherever it stands; whether it was there. */
bool take_option(struct call *c, const char *option);

/* rereplication_cmd.c: chunks by the number of their good copies, from a list of u64. */
void copies_print(struct bytes list);
void copies_json(struct json *j, struct bytes list);

/* ---------------------------------------------------------------- commands */

int cmd_status(struct call *c);
int cmd_checkpoint_now(struct call *c);
int cmd_checkpoint_list(struct call *c);
int cmd_checkpoint_verify(struct call *c);
int cmd_oplog_dump(struct call *c);
int cmd_oplog_verify(struct call *c);
int cmd_scrub(struct call *c);
int cmd_scrub_now(struct call *c);
int cmd_rereplication(struct call *c);
int cmd_trash_list(struct call *c);
int cmd_trash_restore(struct call *c);
int cmd_trash_purge(struct call *c);

#endif
