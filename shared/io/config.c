/* config.c - configuration files on disk. */
#include "shared/io/config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/mem.h"

enum { CONFIG_FILE_MAX = 64 * 1024 };

/* Up to CONFIG_FILE_MAX + 1 bytes: bytes read, or negative errno. */
static ssize_t read_file(const char *path, char *text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    ssize_t len = 0, n;
    while (len <= CONFIG_FILE_MAX &&
           (n = read(fd, text + len, (size_t)(CONFIG_FILE_MAX + 1 - len))) != 0) {
        if (n < 0) {
            len = -errno;
            break;
        }
        len += n;
    }
    close(fd);
    return len;
}

int config_load(struct config_file *file, void *out, struct why *why)
{
    char *text = mem_alloc(CONFIG_FILE_MAX + 1);
    ssize_t len = read_file(file->path, text);
    int err;
    if (len < 0) {
        err = why_set(why, (int)len, "%s: cannot be read: %s", file->path, err_text((int)len));
    } else if (len > CONFIG_FILE_MAX) {
        err = why_set(why, -EINVAL, "%s: expected at most %d bytes", file->path, CONFIG_FILE_MAX);
    } else {
        err = config_parse(file, bytes_of(text, (size_t)len), out, why);
    }
    mem_free(text);
    return err;
}

int config_need_dir(const struct config_file *file, const char *name, const char *dir,
                    struct why *why)
{
    struct stat st;
    if (stat(dir, &st) == 0 && S_ISDIR(st.st_mode)) {
        return 0;
    }
    return config_wrong(file, name, "a directory that exists", dir, why);
}
