/* options.c - the command line of gfs-fuse. */
#include "fuse/io/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuse/core/client.h"
#include "shared/base/mem.h"

const char options_usage[] =
    "usage: gfs-fuse HOST[:PORT][,HOST[:PORT]...]:/ DIR [-f] [-o OPTION[,OPTION...]]\n"
    "  -f                 stay in the foreground\n"
    "  -o cluster=NAME    refuse masters of another cluster\n"
    "  -o host=LABEL      host label of this machine, for nearness (its name unless said)\n"
    "  -o rack=LABEL      rack label of this machine\n"
    "  -o pidfile=FILE    write the process id there\n"
    "  -o log=FILE        append log lines there\n"
    "  -o soft[=SECONDS]  fail with EIO after so long (30) instead of waiting for the cluster\n"
    "  -o stale_reads=on|bounded:SECONDS|off   while no master is the primary: read from shadows,\n"
    "                     from such that know what was committed until so long ago, or wait (on)\n"
    "  -o bg              mount even if no master answers yet\n"
    "  -o dirty=BYTES     bound of bytes written and not yet on the chunkservers (64M)\n"
    "  -o trash=SECONDS   what this mount deletes can be restored for so long, 0 = not at all\n"
    "                     (as the cluster has it)\n"
    "  -o attr_timeout=S, entry_timeout=S   seconds the kernel may trust attributes and names (1)\n"
    "  -o ro|rw, suid|nosuid, dev|nodev, exec|noexec, atime|noatime, sync|async, dirsync\n"
    "  -o remount         change ro|rw and the others of the line above (not dirsync) of a mount\n";

#define DEFAULT_PORT 9400
#define SOFT_MS      30000
enum { SOFT_MIN_S = 1, TIMEOUT_MAX_S = 86400, TRASH_MAX_S = 365 * 86400 };

/* Options handed to libfuse as they are. */
static const char *const kernel_words[] = {"ro",    "rw",    "suid",   "nosuid", "dev",
                                           "nodev", "exec",  "noexec", "atime",  "noatime",
                                           "sync",  "async", "dirsync"};
/* Options of mount(8) and fstab that mean nothing here. */
static const char *const ignored_words[] = {
    "defaults", "auto",     "noauto",  "user",        "nouser",      "users",
    "owner",    "group",    "_netdev", "nofail",      "relatime",    "norelatime",
    "fg",       "mand",     "nomand",  "strictatime", "diratime",    "nodiratime",
    "hard",     "_rnetdev", "loud",    "silent",      "allow_other", "default_permissions"};

/* What mount(8) reads from the mount table and hands back for a remount. */
static const char *const table_keys[] = {"user_id", "group_id", "max_read", "blksize"};

static bool word_in(const char *word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(word, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static int set_text(char *out, size_t size, const char *key, const char *value, struct why *why)
{
    size_t len = strlen(value);
    if (len == 0 || len >= size) {
        return why_set(why, -EINVAL, "option %s wants 1 to %zu characters", key, size - 1);
    }
    memcpy(out, value, len + 1);
    return 0;
}

/* Later the process stands in "/": relative paths are made absolute now. */
static int set_path(char out[PATH_MAX], const char *key, const char *value, struct why *why)
{
    if (value[0] == '/') {
        return set_text(out, PATH_MAX, key, value, why);
    }
    char cwd[PATH_MAX];
    if (getcwd(cwd, sizeof cwd) == NULL) {
        return why_set(why, -errno, "cannot tell the current directory: %s", strerror(errno));
    }
    int n = snprintf(out, PATH_MAX, "%s/%s", cwd, value);
    if (value[0] == '\0' || n < 0 || n >= PATH_MAX) {
        return why_set(why, -EINVAL, "option %s wants a path of at most %d characters", key,
                       PATH_MAX - 1);
    }
    return 0;
}

static int set_bytes(uint64_t *out, const char *value, struct why *why)
{
    char *end = NULL;
    errno = 0;
    unsigned long long n = strtoull(value, &end, 10);
    unsigned shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
    end += shift != 0;
    if (errno != 0 || end == value || *end != '\0' || value[0] == '-' || n > UINT64_MAX >> shift ||
        n << shift < IO_MAX) {
        return why_set(why, -EINVAL,
                       "option dirty=%s wants a number of bytes, at least %d (K, M, G)", value,
                       IO_MAX);
    }
    *out = n << shift;
    return 0;
}

static int set_seconds(double *out, const char *key, const char *value, uint32_t max,
                       struct why *why)
{
    char *end = NULL;
    errno = 0;
    double s = strtod(value, &end);
    if (errno != 0 || end == value || *end != '\0' || !(s >= 0.0 && s <= (double)max)) {
        return why_set(why, -EINVAL, "option %s=%s wants seconds, 0 to %u", key, value, max);
    }
    *out = s;
    return 0;
}

/* on, off, or bounded:10s; the s may be missing. */
static int set_stale(uint32_t *out, const char *value, struct why *why)
{
    if (strcmp(value, "on") == 0 || strcmp(value, "off") == 0) {
        *out = value[1] == 'n' ? 0 : STALE_OFF;
        return 0;
    }
    if (starts_with(value, "bounded:")) {
        char text[16];
        const char *number = value + strlen("bounded:");
        size_t len = strlen(number);
        len -= len > 1 && number[len - 1] == 's';
        double s = 0;
        if (len < sizeof(text)) {
            memcpy(text, number, len);
            text[len] = '\0';
            int err = set_seconds(&s, "stale_reads=bounded", text, TIMEOUT_MAX_S, why);
            *out = err == 0 ? MAX((uint32_t)(s * 1000), 1u) : *out;
            return err;
        }
    }
    return why_set(why, -EINVAL, "option stale_reads=%s wants on, off or bounded:SECONDS", value);
}

static int set_value(struct options *o, const char *key, const char *value, struct why *why)
{
    if (o->remount && word_in(key, table_keys, COUNT_OF(table_keys))) {
        return 0;
    }
    o->unchangeable = o->remount;
    if (strcmp(key, "host") == 0) {
        return set_text(o->host, sizeof o->host, key, value, why);
    }
    if (strcmp(key, "rack") == 0) {
        return set_text(o->rack, sizeof o->rack, key, value, why);
    }
    if (strcmp(key, "cluster") == 0) {
        return set_text(o->cluster, sizeof o->cluster, key, value, why);
    }
    if (strcmp(key, "pidfile") == 0) {
        return set_path(o->pid_file, key, value, why);
    }
    if (strcmp(key, "log") == 0) {
        return set_path(o->log_file, key, value, why);
    }
    if (strcmp(key, "dirty") == 0) {
        return set_bytes(&o->dirty_bytes, value, why);
    }
    if (strcmp(key, "trash") == 0) {
        double s = 0;
        int err = set_seconds(&s, key, value, TRASH_MAX_S, why);
        o->trash = err == 0 ? (uint32_t)s + 1 : o->trash;
        return err;
    }
    if (strcmp(key, "soft") == 0) {
        double s = 0;
        int err = set_seconds(&s, key, value, TIMEOUT_MAX_S, why);
        if (err == 0 && s < SOFT_MIN_S) {
            err = why_set(why, -EINVAL, "option soft=%s wants at least a second", value);
        }
        o->soft_ms = err == 0 ? (uint32_t)(s * 1000) : o->soft_ms;
        return err;
    }
    if (strcmp(key, "stale_reads") == 0) {
        return set_stale(&o->stale_ms, value, why);
    }
    if (strcmp(key, "attr_timeout") == 0) {
        return set_seconds(&o->attr_timeout_s, key, value, TIMEOUT_MAX_S, why);
    }
    if (strcmp(key, "entry_timeout") == 0) {
        return set_seconds(&o->entry_timeout_s, key, value, TIMEOUT_MAX_S, why);
    }
    return why_set(why, -EINVAL, "unknown mount option '%s=%s'", key, value);
}

static int set_word(struct options *o, const char *word, struct why *why)
{
    if (word_in(word, kernel_words, COUNT_OF(kernel_words))) {
        size_t at = strlen(o->kernel_options);
        int n = snprintf(o->kernel_options + at, sizeof o->kernel_options - at, "%s%s",
                         at > 0 ? "," : "", word);
        if (n < 0 || (size_t)n >= sizeof o->kernel_options - at) {
            return why_set(why, -EINVAL, "too many mount options");
        }
        return 0;
    }
    if (word_in(word, ignored_words, COUNT_OF(ignored_words)) || starts_with(word, "x-") ||
        strcmp(word, "remount") == 0) {
        return 0;
    }
    o->unchangeable = o->remount;
    if (strcmp(word, "soft") == 0) {
        o->soft_ms = SOFT_MS;
        return 0;
    }
    if (strcmp(word, "bg") == 0) {
        o->mount_first = true;
        return 0;
    }
    return why_set(why, -EINVAL, "unknown mount option '%s'", word);
}

/* One option; it is cut at its '='. */
static int take_option(struct options *o, char *one, struct why *why)
{
    char *eq = strchr(one, '=');
    if (one[0] == '\0' || starts_with(one, "user=")) {
        return 0;
    }
    if (eq == NULL || starts_with(one, "x-")) {
        return set_word(o, one, why);
    }
    *eq = '\0';
    return set_value(o, one, eq + 1, why);
}

/* One -o argument. The arguments themselves stay whole: they are what ps shows. */
static int take_option_list(struct options *o, const char *list, struct why *why)
{
    char *copy = mem_dup(list, strlen(list));
    char *rest = copy;
    char *one;
    int err = 0;
    while (err == 0 && (one = strsep(&rest, ",")) != NULL) {
        err = take_option(o, one, why);
    }
    mem_free(copy);
    return err;
}

/* True if `master` ends in ":PORT"; the colons of a bracketed IPv6 address do not count. */
static bool has_port(const char *master)
{
    const char *bracket = strrchr(master, ']');
    return strchr(bracket != NULL ? bracket : master, ':') != NULL;
}

static int take_spec(struct options *o, const char *spec, struct why *why)
{
    size_t len = strlen(spec);
    if (len < 3 || len >= sizeof o->spec || strcmp(spec + len - 2, ":/") != 0) {
        return why_set(why, -EINVAL,
                       "'%s' is not HOST[:PORT][,HOST[:PORT]...]:/ (the root of the cluster)",
                       spec);
    }
    memcpy(o->spec, spec, len + 1);
    char hosts[sizeof o->spec];
    memcpy(hosts, spec, len - 2);
    hosts[len - 2] = '\0';
    char *rest = hosts;
    char *one;
    size_t at = 0;
    while ((one = strsep(&rest, ",")) != NULL) {
        if (one[0] == '\0' || one[0] == ':' || strchr(one, '/') != NULL) {
            return why_set(why, -EINVAL, "'%s' names a master that is not HOST or HOST:PORT", spec);
        }
        char port[16] = "";
        if (!has_port(one)) {
            snprintf(port, sizeof port, ":%d", DEFAULT_PORT);
        }
        int n = snprintf(o->masters + at, sizeof o->masters - at, "%s%s%s", at > 0 ? "," : "", one,
                         port);
        if (n < 0 || (size_t)n >= sizeof o->masters - at) {
            return why_set(why, -EINVAL, "'%s' names too many masters", spec);
        }
        at += (size_t)n;
    }
    return 0;
}

static int take_dir(struct options *o, const char *dir, struct why *why)
{
    struct stat st;
    if (realpath(dir, o->dir) == NULL || stat(o->dir, &st) != 0) {
        if (errno == ENOTCONN) {
            return why_set(why, -errno, "%s is a mount whose daemon died; unmount it first", dir);
        }
        return why_set(why, -errno, "cannot mount on %s: %s", dir, strerror(errno));
    }
    if (!S_ISDIR(st.st_mode)) {
        return why_set(why, -ENOTDIR, "cannot mount on %s: it is not a directory", dir);
    }
    return 0;
}

/* Whether the word is in one of the -o arguments. */
static bool is_remount(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *list = strcmp(argv[i - 1], "-o") == 0 ? argv[i]
                           : starts_with(argv[i], "-o")   ? argv[i] + 2
                                                          : "";
        for (; *list != '\0'; list += *list == ',') {
            size_t len = strcspn(list, ",");
            if (len == strlen("remount") && strncmp(list, "remount", len) == 0) {
                return true;
            }
            list += len;
        }
    }
    return false;
}

static void set_defaults(struct options *o, bool is_root)
{
    *o = (struct options){.dirty_bytes = 64u << 20, .attr_timeout_s = 1.0, .entry_timeout_s = 1.0};
    if (gethostname(o->host, sizeof o->host - 1) != 0) {
        o->host[0] = '\0';
    }
    /* libfuse starts from nosuid,nodev; root gets what mount(8) gives for other filesystems. */
    if (is_root) {
        strcpy(o->kernel_options, "suid,dev");
    }
}

/* Letters that only mount(8) passes: -s sloppy, -n no mtab, -t TYPE, -N NAMESPACE. */
int options_parse(struct options *o, int argc, char **argv, struct why *why)
{
    const char *base = strrchr(argv[0], '/');
    bool by_mount = starts_with(base != NULL ? base + 1 : argv[0], "mount.");
    const char *names[2];
    int names_count = 0;
    bool remount = is_remount(argc, argv);
    set_defaults(o, geteuid() == 0 && !remount);
    o->remount = remount;
    for (int i = 1; i < argc; i++) {
        int err = 0;
        const char *a = argv[i];
        if (strcmp(a, "-h") == 0 || strcmp(a, "--help") == 0) {
            o->help = true;
            return 0;
        }
        if (strcmp(a, "-f") == 0) {
            *(by_mount ? &o->fake : &o->foreground) = true;
        } else if (strcmp(a, "-v") == 0) {
            o->verbose = true;
        } else if (by_mount && (strcmp(a, "-s") == 0 || strcmp(a, "-n") == 0)) {
            continue;
        } else if (by_mount && i + 1 < argc && (strcmp(a, "-t") == 0 || strcmp(a, "-N") == 0)) {
            i++;
        } else if (strcmp(a, "-o") == 0 && i + 1 < argc) {
            err = take_option_list(o, argv[++i], why);
        } else if (starts_with(a, "-o") && a[2] != '\0') {
            err = take_option_list(o, argv[i] + 2, why);
        } else if (a[0] == '-') {
            return why_set(why, -EINVAL, "unknown argument '%s'", a);
        } else if (names_count == 2) {
            return why_set(why, -EINVAL, "one argument too many: '%s'", a);
        } else {
            names[names_count++] = a;
        }
        if (err != 0) {
            return err;
        }
    }
    if (names_count != 2) {
        return why_set(why, -EINVAL, "a SPEC and a DIR are wanted, see --help");
    }
    int err = take_spec(o, names[0], why);
    return err != 0 ? err : take_dir(o, names[1], why);
}
