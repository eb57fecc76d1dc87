/* gfsctl.c - the operator's tool: its commands, and the command line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/gfsctl/chunk_cmd.h"
#include "deploy/gfsctl/gfsctl.h"
#include "deploy/gfsctl/masters_cmd.h"
#include "deploy/gfsctl/path.h"
#include "deploy/gfsctl/replicas_cmd.h"
#include "deploy/gfsctl/server_cmd.h"
#include "shared/io/std_streams.h"

static const struct command commands[] = {
    {"status", "", "masters, chunkservers, files and chunks of the cluster", cmd_status},
    {"checkpoint now", "", "make the master write a checkpoint, wait until it is durable",
     cmd_checkpoint_now},
    {"checkpoint list", "DIR", "checkpoints in a master's directory, running or not",
     cmd_checkpoint_list},
    {"checkpoint verify", "DIR", "compare every checksum of theirs", cmd_checkpoint_verify},
    {"handover", "",
     "have the monitor replace the master in order, or start it anew if it is alone", cmd_handover},
    {"why", "PATH [--all]",
     "what a file's chunks lack: which copies are away or bad, and since when", cmd_why},
    {"fsck", "[--compare]",
     "chunks that are short of copies; --compare has every replica read and compares them",
     cmd_fsck},
    {"rereplication", "", "copies that are missing and being made, how fast, until when",
     cmd_rereplication},
    {"drain", "SERVER [--wait]", "move its replicas to others; says when it may be switched off",
     cmd_drain},
    {"undrain", "SERVER", "it takes replicas again", cmd_undrain},
    {"maintenance", "SERVER TIME", "its absence is not repaired for so long, e.g. 10m; 0 ends it",
     cmd_maintenance},
    {"replicas", "PATH [N] [-r]",
     "replicas wanted and there, or want N (0: the default); -r: all below", cmd_replicas},
    {"inode", "PATH", "number of the inode a path names", cmd_inode},
    {"trash list", "[PREFIX]", "what was deleted and can be restored", cmd_trash_list},
    {"trash restore", "ID|PATH [--to PATH]",
     "give a deleted file or tree its name again, with the directories it lay in",
     cmd_trash_restore},
    {"trash purge", "ID|--all|--older AGE", "remove from the trash now", cmd_trash_purge},
    {"scrub now", "SERVER [--wait]", "verify everything a chunkserver holds now", cmd_scrub_now},
    {"scrub", "", "how far the chunkservers have verified what they hold", cmd_scrub},
    {"oplog dump", "DIR [FROM[-[TO]]]",
     "print the operation log in a master's directory, a record a line", cmd_oplog_dump},
    {"oplog verify", "DIR", "whether its records are whole and follow from each other",
     cmd_oplog_verify},
};
enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]), WORDS_MAX = 64 };

static void print_usage(FILE *to)
{
    fputs("usage: gfsctl [--masters HOST:PORT[,HOST:PORT]] [--json] COMMAND\n", to);
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        char left[128];
        snprintf(left, sizeof(left), "%s %s", commands[i].words, commands[i].args);
        fprintf(to, "  %-32s %s\n", left, commands[i].help);
    }
    fputs(
        "A PATH that exists on a mounted gfs is taken from there, another one from the root of "
        "the\n"
        "filesystem. --json prints one JSON value instead of text for people.\n"
        "The masters are those of --masters, else of the environment variable GFS_MASTERS, else\n"
        "127.0.0.1:9400. Exit status: 0 done, 1 failed (a sentence says why), 2 wrong arguments.\n",
        to);
}

static int wrong_usage(const char *what, const char *arg)
{
    (void)say("%s%s%s", what, arg != NULL ? " " : "", arg != NULL ? arg : "");
    print_usage(stderr);
    return EXIT_USAGE;
}

/* The command that begins with these words; *out_words of them are its own. */
static const struct command *find_command(char **words, int count, int *out_words)
{
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        char two[128];
        snprintf(two, sizeof(two), "%s %s", words[0], count > 1 ? words[1] : "");
        *out_words = strchr(commands[i].words, ' ') != NULL ? 2 : 1;
        if (strcmp(commands[i].words, *out_words == 2 ? two : words[0]) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static int run(const char *masters, bool json, char **words, int count)
{
    int own;
    const struct command *cmd = find_command(words, count, &own);
    if (cmd == NULL) {
        return wrong_usage("unknown command", words[0]);
    }
    struct session *s = session_new(masters);
    if (s == NULL) {
        return wrong_usage("expected HOST:PORT[,HOST:PORT] for the masters, found", masters);
    }
    struct call c = {s, json, count - own, words + own};
    int code = cmd->run(&c);
    session_free(s);
    if (code == EXIT_USAGE) {
        (void)say("wrong arguments: usage: gfsctl %s %s", cmd->words, cmd->args);
    }
    return code;
}

int main(int argc, char **argv)
{
    const char *masters = getenv("GFS_MASTERS");
    char *words[WORDS_MAX];
    int count = 0;
    bool json = false;
    std_streams_open();
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_usage(stdout);
            return 0;
        } else if (strcmp(argv[i], "--version") == 0) {
            printf("gfsctl %s\n", GFS_VERSION);
            return 0;
        } else if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else if (strcmp(argv[i], "--masters") == 0 && i + 1 < argc) {
            masters = argv[++i];
        } else if (strncmp(argv[i], "--masters=", 10) == 0) {
            masters = argv[i] + 10;
        } else if (count < WORDS_MAX && (argv[i][0] != '-' || count > 0)) {
            words[count++] = argv[i];
        } else {
            return wrong_usage("unexpected argument", argv[i]);
        }
    }
    if (count == 0) {
        return wrong_usage("no command given", NULL);
    }
    return run(masters != NULL && masters[0] != 0 ? masters : "127.0.0.1:9400", json, words, count);
}
