/* posix_check.c - what programs expect of a filesystem, checked on a mounted one: posix_check DIR.
 *
 * DIR must be empty; each check works in a directory of its own there and is a sentence. A check
 * ends at its first broken expectation, which is printed with line and errno; the others go on. Run
 * as root: ownership, device nodes and set-uid are checked too. Exit code 0 if all hold.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static jmp_buf check_failed;

static void broken(int line, const char *what)
{
    fprintf(stderr, "    line %d: %s (errno %d, %s)\n", line, what, errno, strerror(errno));
    longjmp(check_failed, 1);
}

#define WANT(x) ((x) ? (void)0 : broken(__LINE__, #x))
#define WANT_ERRNO(x, err)                                                                         \
    ((x) == -1 && errno == (err) ? (void)0 : broken(__LINE__, #x " fails with " #err))

static struct stat stat_of(const char *path)
{
    struct stat st = {0};
    WANT(lstat(path, &st) == 0);
    return st;
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    WANT(fd >= 0);
    WANT(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    WANT(close(fd) == 0);
}

static bool holds(const char *path, const char *text)
{
    char got[256] = "";
    int fd = open(path, O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, got, sizeof got) : -1;
    if (fd >= 0) {
        close(fd);
    }
    return n == (ssize_t)strlen(text) && memcmp(got, text, (size_t)n) == 0;
}

static bool is_zero(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != 0) {
            return false;
        }
    }
    return true;
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static void directories_count_their_subdirectories(void)
{
    WANT(mkdir("d", 0750) == 0);
    WANT((stat_of("d").st_mode & 07777) == 0750 && stat_of("d").st_nlink == 2);
    WANT(mkdir("d/a", 0755) == 0 && mkdir("d/b", 0755) == 0);
    WANT(stat_of("d").st_nlink == 4);
    WANT_ERRNO(mkdir("d/a", 0755), EEXIST);
    WANT_ERRNO(rmdir("d"), ENOTEMPTY);
    WANT_ERRNO(unlink("d/a"), EISDIR);
    WANT(rename("d/a", "a") == 0);
    WANT(stat_of("d").st_nlink == 3);
    WANT(rmdir("d/b") == 0 && stat_of("d").st_nlink == 2);
    WANT(rmdir("d") == 0);
    WANT_ERRNO(rmdir("d"), ENOENT);
    put("f", "x");
    WANT_ERRNO(rmdir("f"), ENOTDIR);
    WANT_ERRNO(mkdir("f/x", 0755), ENOTDIR);
}

static void names_have_255_bytes(void)
{
    char name[257];
    memset(name, 'n', sizeof name);
    name[255] = '\0';
    put(name, "long");
    WANT(holds(name, "long"));
    WANT(unlink(name) == 0);
    name[255] = 'n';
    name[256] = '\0';
    WANT_ERRNO(open(name, O_CREAT | O_WRONLY, 0644), ENAMETOOLONG);
    WANT_ERRNO(mkdir(name, 0755), ENAMETOOLONG);
    put("\xff\xfe odd\n", "bytes");
    WANT(holds("\xff\xfe odd\n", "bytes"));
}

static void rename_obeys_its_flags(void)
{
    put("a", "A");
    put("b", "B");
    WANT_ERRNO(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE), EEXIST);
    WANT(holds("a", "A") && holds("b", "B"));
    WANT(renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE) == 0);
    WANT(renameat2(AT_FDCWD, "c", AT_FDCWD, "b", RENAME_EXCHANGE) == 0);
    WANT(holds("c", "B") && holds("b", "A"));
    WANT_ERRNO(renameat2(AT_FDCWD, "c", AT_FDCWD, "none", RENAME_EXCHANGE), ENOENT);
    WANT(mkdir("d", 0755) == 0 && mkdir("d/sub", 0755) == 0);
    WANT(renameat2(AT_FDCWD, "d", AT_FDCWD, "b", RENAME_EXCHANGE) == 0);
    WANT(S_ISDIR(stat_of("b").st_mode) && holds("d", "A"));
    WANT_ERRNO(rename("b", "b/sub/x"), EINVAL);
    WANT_ERRNO(rename("b", "d"), ENOTDIR);
    WANT_ERRNO(rename("d", "b"), EISDIR);
    WANT(mkdir("e", 0755) == 0);
    WANT_ERRNO(rename("e", "b"), ENOTEMPTY);
    WANT(rmdir("b/sub") == 0 && rename("e", "b") == 0);
}

static void rename_over_an_open_file_keeps_it_readable(void)
{
    put("old", "old content");
    put("new", "new");
    int fd = open("old", O_RDWR);
    WANT(fd >= 0 && rename("new", "old") == 0 && holds("old", "new"));
    char got[16] = "";
    struct stat st;
    WANT(pread(fd, got, sizeof got, 0) == 11 && memcmp(got, "old content", 11) == 0);
    WANT(fstat(fd, &st) == 0 && st.st_nlink == 0);
    WANT(pwrite(fd, "OLD", 3, 0) == 3 && pread(fd, got, 3, 0) == 3 && memcmp(got, "OLD", 3) == 0);
    WANT(close(fd) == 0);
}

static void unlinked_files_live_until_closed(void)
{
    int fd = open("f", O_RDWR | O_CREAT | O_EXCL, 0600);
    WANT(fd >= 0);
    WANT(write(fd, "before", 6) == 6 && unlink("f") == 0);
    WANT_ERRNO(access("f", F_OK), ENOENT);
    struct stat st;
    WANT(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 6);
    WANT(write(fd, " after", 6) == 6 && fsync(fd) == 0);
    char got[16] = "";
    WANT(pread(fd, got, sizeof got, 0) == 12 && memcmp(got, "before after", 12) == 0);
    WANT(ftruncate(fd, 3) == 0 && fchmod(fd, 0400) == 0 && fstat(fd, &st) == 0 && st.st_size == 3);
    WANT(close(fd) == 0);
}

static void links_share_an_inode(void)
{
    put("f", "x");
    WANT(link("f", "g") == 0 && stat_of("f").st_nlink == 2);
    WANT(stat_of("f").st_ino == stat_of("g").st_ino);
    put("g", "through g");
    WANT(holds("f", "through g"));
    WANT_ERRNO(link("f", "g"), EEXIST);
    WANT(rename("f", "g") == 0 && stat_of("f").st_nlink == 2); /* same inode: nothing happens */
    WANT(unlink("f") == 0 && stat_of("g").st_nlink == 1 && holds("g", "through g"));
    WANT(mkdir("d", 0755) == 0);
    WANT_ERRNO(link("d", "e"), EPERM);
    char target[5000];
    memset(target, 't', sizeof target);
    target[4095] = '\0';
    char got[5000];
    WANT(symlink(target, "long") == 0 && readlink("long", got, sizeof got) == 4095);
    WANT(memcmp(got, target, 4095) == 0 && stat_of("long").st_size == 4095);
    WANT(symlink("g", "s") == 0 && holds("s", "through g"));
    WANT(symlink("nowhere", "dead") == 0);
    WANT_ERRNO(access("dead", F_OK), ENOENT);
}

static void times_are_64_bits_of_seconds_and_nanoseconds(void)
{
    static const struct timespec times[] = {
        {10413792000, 123456789}, /* 2300 */
        {-1, 999999999},          /* just before 1970 */
        {-2208988800, 1},         /* 1900 */
        {4294967296, 0},          {2147483648, 5}, {0, 0},
    };
    put("f", "x");
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct timespec t[2] = {times[i], times[(i + 1) % 6]};
        WANT(utimensat(AT_FDCWD, "f", t, 0) == 0);
        struct stat st = stat_of("f");
        WANT(st.st_atim.tv_sec == t[0].tv_sec && st.st_atim.tv_nsec == t[0].tv_nsec);
        WANT(st.st_mtim.tv_sec == t[1].tv_sec && st.st_mtim.tv_nsec == t[1].tv_nsec);
    }
    struct timespec before;
    clock_gettime(CLOCK_REALTIME, &before);
    struct timespec t[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
    WANT(utimensat(AT_FDCWD, "f", t, 0) == 0);
    struct stat st = stat_of("f");
    WANT(st.st_atim.tv_sec == 0 && st.st_atim.tv_nsec == 0);
    WANT(st.st_mtim.tv_sec >= before.tv_sec - 2 && st.st_mtim.tv_sec <= before.tv_sec + 60);
    WANT(symlink("f", "s") == 0);
    t[0] = t[1] = times[0];
    WANT(utimensat(AT_FDCWD, "s", t, AT_SYMLINK_NOFOLLOW) == 0);
    WANT(stat_of("s").st_mtim.tv_sec == times[0].tv_sec);
    WANT(stat_of("f").st_mtim.tv_sec == st.st_mtim.tv_sec);
}

/* cp -p, tar and rsync set times while the file is still open for writing. */
static void times_set_after_a_write_stay(void)
{
    int fd = open("f", O_WRONLY | O_CREAT, 0644);
    WANT(fd >= 0 && write(fd, "data", 4) == 4);
    struct timespec t[2] = {{1000000000, 1}, {1000000000, 2}};
    WANT(futimens(fd, t) == 0 && close(fd) == 0);
    sleep(2); /* longer than bytes stay in write-behind and attributes in the kernel */
    struct stat st = stat_of("f");
    WANT(st.st_mtim.tv_sec == 1000000000 && st.st_mtim.tv_nsec == 2 && st.st_size == 4);
}

static void changes_move_the_right_times(void)
{
    put("f", "x");
    WANT(mkdir("d", 0755) == 0);
    struct stat f = stat_of("f"), d = stat_of("d");
    usleep(20000);
    WANT(chmod("f", 0600) == 0);
    struct stat g = stat_of("f");
    WANT(g.st_ctim.tv_sec > f.st_ctim.tv_sec || g.st_ctim.tv_nsec != f.st_ctim.tv_nsec);
    WANT(same_time(g.st_mtim, f.st_mtim));
    put("d/new", "x");
    struct stat e = stat_of("d");
    WANT(!same_time(e.st_mtim, d.st_mtim));
    WANT(!same_time(e.st_ctim, d.st_ctim));
    usleep(20000);
    put("f", "longer");
    WANT(!same_time(stat_of("f").st_mtim, f.st_mtim));
}

/* What the mount remembers of a directory it has just changed never hides its next change. */
static void directories_show_every_change_at_once(void)
{
    WANT(mkdir("d", 0755) == 0);
    int fd = open("d", O_RDONLY | O_DIRECTORY);
    WANT(fd >= 0);
    for (int i = 0; i < 20; i++) {
        struct stat a, b, c, d, e;
        put("d/new", "x");
        WANT(fstat(fd, &a) == 0 && a.st_mode == (S_IFDIR | 0755) && a.st_nlink == 2);
        WANT(setxattr("d", "user.x", "1", 1, 0) == 0 && fstat(fd, &b) == 0);
        WANT(!same_time(a.st_ctim, b.st_ctim));
        WANT(unlink("d/new") == 0 && mkdir("d/sub", 0755) == 0);
        WANT(fstat(fd, &c) == 0 && c.st_nlink == 3 && !same_time(b.st_mtim, c.st_mtim));
        WANT(chmod("d", 0700) == 0 && rmdir("d/sub") == 0);
        WANT(fstat(fd, &d) == 0 && d.st_nlink == 2 && d.st_mode == (S_IFDIR | 0700));
        put("d/new", "x");
        WANT(unlink("d/new") == 0 && chmod("d", 0755) == 0);
        WANT(rename("d", "e") == 0 && fstat(fd, &e) == 0 && !same_time(d.st_ctim, e.st_ctim));
        WANT(rename("e", "d") == 0 && removexattr("d", "user.x") == 0);
    }
    WANT(close(fd) == 0);
}

static void sparse_files_have_holes(void)
{
    enum { MIB = 1 << 20 };
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    WANT(fd >= 0);
    WANT(pwrite(fd, "data", 4, 8 * MIB) == 4);
    WANT(ftruncate(fd, 100ll * MIB) == 0 && fsync(fd) == 0);
    struct stat st;
    WANT(fstat(fd, &st) == 0 && st.st_size == 100ll * MIB);
    char *got = malloc(MIB);
    WANT(pread(fd, got, MIB, 90 * MIB) == MIB && is_zero(got, MIB));
    WANT(pread(fd, got, MIB, 7 * MIB) == MIB && is_zero(got, MIB));
    WANT(pread(fd, got, 4, 8 * MIB) == 4 && memcmp(got, "data", 4) == 0);
    free(got);
    off_t data = lseek(fd, 0, SEEK_DATA);
    WANT(data >= 0 && data <= 8 * MIB);
    data = lseek(fd, 8 * MIB, SEEK_DATA);
    WANT(data == 8 * MIB);
    off_t hole = lseek(fd, 8 * MIB, SEEK_HOLE);
    WANT(hole > 8 * MIB && hole <= 100ll * MIB);
    WANT_ERRNO(lseek(fd, 100ll * MIB, SEEK_DATA), ENXIO);
    WANT_ERRNO(lseek(fd, 100ll * MIB, SEEK_HOLE), ENXIO);
    WANT(pwrite(fd, "end", 3, (5ll << 30)) == 3);
    WANT(fstat(fd, &st) == 0 && st.st_size == (5ll << 30) + 3);
    WANT(close(fd) == 0);
}

static void truncate_cuts_and_zeroes(void)
{
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    char block[10000], got[10000];
    memset(block, 'x', sizeof block);
    WANT(fd >= 0 && write(fd, block, sizeof block) == sizeof block);
    WANT(ftruncate(fd, 5000) == 0 && ftruncate(fd, 9000) == 0);
    WANT(pread(fd, got, sizeof got, 0) == 9000);
    WANT(memcmp(got, block, 5000) == 0 && is_zero(got + 5000, 4000));
    WANT(fsync(fd) == 0 && truncate("f", 100) == 0 && truncate("f", 70000) == 0);
    WANT(pread(fd, got, sizeof got, 0) == sizeof got);
    WANT(memcmp(got, block, 100) == 0 && is_zero(got + 100, sizeof got - 100));
    WANT(close(fd) == 0);
    fd = open("f", O_RDONLY);
    WANT(pread(fd, got, sizeof got, 0) == sizeof got && is_zero(got + 100, sizeof got - 100));
    close(fd);
    fd = open("f", O_WRONLY | O_TRUNC);
    WANT(fd >= 0 && stat_of("f").st_size == 0);
    WANT(pwrite(fd, "x", 1, 10) == 1 && stat_of("f").st_size == 11);
    close(fd);
    WANT(holds("f", "") == false && stat_of("f").st_size == 11);
    WANT_ERRNO(truncate("f", -1), EINVAL);
}

static void fallocate_knows_its_modes(void)
{
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    char block[200000], got[200000];
    struct stat st;
    memset(block, 'x', sizeof block);
    WANT(fd >= 0 && write(fd, block, sizeof block) == sizeof block);
    WANT(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10, 100000) == 0);
    WANT(pread(fd, got, sizeof got, 0) == sizeof got);
    WANT(memcmp(got, block, 10) == 0 && is_zero(got + 10, 100000) && got[100010] == 'x');
    WANT(fallocate(fd, FALLOC_FL_ZERO_RANGE, 150000, 100000) == 0);
    WANT(fstat(fd, &st) == 0 && st.st_size == 250000);
    WANT(pread(fd, got, sizeof got, 50000) == sizeof got);
    WANT(got[99999] == 'x' && is_zero(got + 100000, 100000));
    WANT(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 240000, 100000) == 0);
    WANT(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1000000) == 0);
    WANT(fstat(fd, &st) == 0 && st.st_size == 250000);
    WANT(fallocate(fd, 0, 0, 300000) == 0 && fstat(fd, &st) == 0 && st.st_size == 300000);
    WANT(posix_fallocate(fd, 0, 310000) == 0 && fstat(fd, &st) == 0 && st.st_size == 310000);
    WANT_ERRNO(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 65536), EOPNOTSUPP);
    WANT(pread(fd, got, 10, 0) == 10 && memcmp(got, block, 10) == 0);
    WANT(close(fd) == 0);
}

static void shared_mappings_reach_the_file(void)
{
    enum { LEN = 300000 };
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    WANT(fd >= 0 && ftruncate(fd, LEN) == 0);
    char *map = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    WANT(map != MAP_FAILED);
    memset(map, 'm', LEN);
    WANT(msync(map, LEN, MS_SYNC) == 0);
    char *got = malloc(LEN + 1);
    WANT(pread(fd, got, LEN + 1, 0) == LEN && got[0] == 'm' && got[LEN - 1] == 'm');
    WANT(pwrite(fd, "written", 7, 1000) == 7 && memcmp(map + 1000, "written", 7) == 0);
    memcpy(map + 2000, "mapped", 6);
    WANT(pread(fd, got, 6, 2000) == 6 && memcmp(got, "mapped", 6) == 0);
    map[LEN + 50] = 'z'; /* in the last page, beyond the end: never part of the file */
    WANT(msync(map, LEN, MS_SYNC) == 0 && munmap(map, LEN) == 0 && close(fd) == 0);
    WANT(stat_of("f").st_size == LEN);
    fd = open("f", O_WRONLY | O_APPEND);
    WANT(write(fd, "tail", 4) == 4 && close(fd) == 0);
    fd = open("f", O_RDONLY);
    WANT(pread(fd, got, 6, 2000) == 6 && memcmp(got, "mapped", 6) == 0);
    WANT(pread(fd, got, 100, LEN) == 4 && memcmp(got, "tail", 4) == 0);
    map = mmap(NULL, LEN, PROT_READ, MAP_PRIVATE, fd, 0);
    WANT(map != MAP_FAILED && map[0] == 'm' && memcmp(map + 1000, "written", 7) == 0);
    munmap(map, LEN);
    close(fd);
    free(got);
}

static void appends_go_to_the_end(void)
{
    int a = open("f", O_WRONLY | O_CREAT | O_APPEND, 0644);
    int b = open("f", O_RDWR | O_APPEND);
    int c = open("f", O_RDWR);
    WANT(a >= 0 && b >= 0 && c >= 0);
    WANT(write(a, "1", 1) == 1 && write(b, "2", 1) == 1 && write(a, "3", 1) == 1);
    WANT(pwrite(c, "xxxx", 4, 3) == 4 && write(b, "4", 1) == 1);
    WANT(lseek(a, 0, SEEK_SET) == 0 && write(a, "5", 1) == 1 && lseek(a, 0, SEEK_CUR) == 9);
    char got[16] = "";
    WANT(pread(b, got, sizeof got, 0) == 9 && memcmp(got, "123xxxx45", 9) == 0);
    close(a);
    close(b);
    close(c);
    WANT(holds("f", "123xxxx45"));
    pid_t kids[4];
    for (int k = 0; k < 4; k++) {
        kids[k] = fork();
        if (kids[k] == 0) {
            int fd = open("log", O_WRONLY | O_CREAT | O_APPEND, 0644);
            char line[100];
            memset(line, 'a' + k, 99);
            line[99] = '\n';
            for (int i = 0; i < 100; i++) {
                if (write(fd, line, 100) != 100) {
                    _exit(1);
                }
            }
            _exit(0);
        }
    }
    for (int k = 0; k < 4; k++) {
        int status;
        WANT(waitpid(kids[k], &status, 0) == kids[k] && status == 0);
    }
    WANT(stat_of("log").st_size == 40000);
    FILE *f = fopen("log", "r");
    char line[200];
    int lines = 0;
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        WANT(strlen(line) == 100 && line[0] == line[98]);
        lines++;
    }
    WANT(f != NULL && lines == 400);
    fclose(f);
}

static void programs_run_from_it(void)
{
    put("script", "#!/bin/sh\nexit 7\n");
    WANT(chmod("script", 0755) == 0);
    int status = system("./script");
    WANT(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    WANT(system("cp /bin/true ./true && ./true") == 0);
    WANT_ERRNO(open("true", O_RDONLY | O_DIRECTORY), ENOTDIR);
    WANT(chmod("true", 0644) == 0);
    WANT(access("true", X_OK) == -1);
}

static void special_files_are_what_they_are(void)
{
    WANT(mkfifo("fifo", 0640) == 0 && S_ISFIFO(stat_of("fifo").st_mode));
    int r = open("fifo", O_RDONLY | O_NONBLOCK), w = open("fifo", O_WRONLY);
    char got[8];
    WANT(r >= 0 && w >= 0 && write(w, "hi", 2) == 2 && read(r, got, 8) == 2);
    close(r);
    close(w);
    WANT(mknod("null", S_IFCHR | 0666, makedev(1, 3)) == 0);
    WANT(stat_of("null").st_rdev == makedev(1, 3));
    int fd = open("null", O_RDWR);
    WANT(fd >= 0 && write(fd, "x", 1) == 1 && read(fd, got, 1) == 0);
    close(fd);
    WANT(mknod("big", S_IFBLK | 0600, makedev(259, 70000)) == 0);
    WANT(S_ISBLK(stat_of("big").st_mode) && stat_of("big").st_rdev == makedev(259, 70000));
    struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "sock"};
    int s = socket(AF_UNIX, SOCK_STREAM, 0), t = socket(AF_UNIX, SOCK_STREAM, 0);
    WANT(bind(s, (struct sockaddr *)&a, sizeof a) == 0 && listen(s, 1) == 0);
    WANT(S_ISSOCK(stat_of("sock").st_mode));
    WANT(connect(t, (struct sockaddr *)&a, sizeof a) == 0);
    close(s);
    close(t);
    WANT(mknod("plain", S_IFREG | 0600, 0) == 0 && stat_of("plain").st_size == 0);
}

static void extended_attributes_are_kept(void)
{
    char value[65536], got[65537], list[256];
    put("f", "x");
    WANT_ERRNO(getxattr("f", "user.a", got, sizeof got), ENODATA);
    WANT(setxattr("f", "user.a", "one", 3, 0) == 0);
    WANT(getxattr("f", "user.a", NULL, 0) == 3);
    WANT(getxattr("f", "user.a", got, sizeof got) == 3 && memcmp(got, "one", 3) == 0);
    WANT_ERRNO(getxattr("f", "user.a", got, 2), ERANGE);
    WANT_ERRNO(setxattr("f", "user.a", "x", 1, XATTR_CREATE), EEXIST);
    WANT_ERRNO(setxattr("f", "user.b", "x", 1, XATTR_REPLACE), ENODATA);
    WANT(setxattr("f", "user.a", "", 0, XATTR_REPLACE) == 0 &&
         getxattr("f", "user.a", got, 9) == 0);
    WANT(setxattr("f", "trusted.t", "t", 1, 0) == 0 && setxattr("f", "security.s", "s", 1, 0) == 0);
    ssize_t n = listxattr("f", list, sizeof list);
    WANT(n == listxattr("f", NULL, 0) && n == 7 + 10 + 11);
    WANT(memmem(list, (size_t)n, "user.a", 7) && memmem(list, (size_t)n, "trusted.t", 10));
    WANT(removexattr("f", "user.a") == 0);
    WANT_ERRNO(removexattr("f", "user.a"), ENODATA);
    memset(value, 'v', sizeof value);
    WANT(setxattr("f", "user.big", value, 60000, 0) == 0);
    WANT(getxattr("f", "user.big", got, sizeof got) == 60000 && memcmp(got, value, 60000) == 0);
    WANT(mkdir("d", 0755) == 0 && setxattr("d", "user.d", "d", 1, 0) == 0);
    WANT(getxattr("d", "user.d", got, sizeof got) == 1);
    WANT_ERRNO(setxattr("f", "system.other", "x", 1, 0), EOPNOTSUPP);
    WANT(removexattr("f", "user.big") == 0 && removexattr("f", "trusted.t") == 0);
    WANT(removexattr("f", "security.s") == 0 && listxattr("f", list, sizeof list) == 0);
}

static void directories_can_be_sought(void)
{
    enum { COUNT = 1500 };
    static char names[COUNT + 2][32];
    static long at[COUNT + 2];
    char name[32];
    WANT(mkdir("d", 0755) == 0);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "d/entry-%d", i);
        int fd = open(name, O_CREAT | O_WRONLY, 0644);
        WANT(fd >= 0 && close(fd) == 0);
    }
    DIR *d = opendir("d");
    WANT(d != NULL);
    int n = 0;
    for (struct dirent *e; n < COUNT + 2; n++) {
        at[n] = telldir(d);
        e = readdir(d);
        WANT(e != NULL);
        snprintf(names[n], sizeof names[n], "%.31s", e->d_name);
    }
    WANT(readdir(d) == NULL && strcmp(names[0], ".") == 0 && strcmp(names[1], "..") == 0);
    for (int i = 0; i < n; i += 7) {
        seekdir(d, at[i]);
        struct dirent *e = readdir(d);
        WANT(e != NULL && strcmp(e->d_name, names[i]) == 0);
    }
    /* Entries removed while they are read are seen at most once, the others exactly once. */
    rewinddir(d);
    int seen = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] != '.') {
            snprintf(name, sizeof name, "d/%.25s", e->d_name);
            WANT(unlink(name) == 0);
            seen++;
        }
    }
    WANT(seen == COUNT && closedir(d) == 0 && rmdir("d") == 0);
}

/* Runs f as uid 1234 in a child; true if it returned true. */
static bool as_user(bool (*f)(void))
{
    pid_t kid = fork();
    if (kid == 0) {
        _exit(setgid(1234) == 0 && setuid(1234) == 0 && f() ? 0 : 1);
    }
    int status;
    return waitpid(kid, &status, 0) == kid && status == 0;
}

static bool write_to_suid(void)
{
    int fd = open("suid", O_WRONLY);
    return fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0;
}

static bool truncate_suid(void)
{
    return truncate("suid", 0) == 0;
}

static bool cannot_chmod_or_read(void)
{
    return chmod("secret", 0777) == -1 && errno == EPERM && open("secret", O_RDONLY) == -1 &&
           errno == EACCES && chown("suid", 0, 0) == -1 && errno == EPERM;
}

static bool create_in_setgid(void)
{
    int fd = open("group/f", O_CREAT | O_WRONLY, 0644);
    return fd >= 0 && close(fd) == 0 && mkdir("group/d", 0755) == 0;
}

static void set_uid_bits_go_with_changes(void)
{
    put("suid", "x");
    WANT(chmod("suid", 06777) == 0 && (stat_of("suid").st_mode & 07777) == 06777);
    WANT(as_user(write_to_suid));
    WANT((stat_of("suid").st_mode & 07777) == 0777);
    WANT(chmod("suid", 06777) == 0 && as_user(truncate_suid));
    WANT((stat_of("suid").st_mode & 07777) == 0777);
    WANT(chmod("suid", 06777) == 0 && chown("suid", 5, 6) == 0);
    struct stat st = stat_of("suid");
    WANT((st.st_mode & 07777) == 0777 && st.st_uid == 5 && st.st_gid == 6);
    WANT(chmod("suid", 06777) == 0 && write_to_suid()); /* root keeps them */
    WANT((stat_of("suid").st_mode & 07777) == 06777);
    WANT(mkdir("d", 0755) == 0 && chmod("d", 06755) == 0 && chown("d", 5, 6) == 0);
    WANT((stat_of("d").st_mode & 07777) == 06755);
}

static void permissions_hold(void)
{
    put("secret", "x");
    put("suid", "x");
    WANT(chmod(".", 0777) == 0 && chmod("secret", 0600) == 0 && as_user(cannot_chmod_or_read));
    WANT(mkdir("group", 0777) == 0 && chown("group", 0, 77) == 0 && chmod("group", 02777) == 0);
    WANT(as_user(create_in_setgid));
    struct stat f = stat_of("group/f"), d = stat_of("group/d");
    WANT(f.st_uid == 1234 && f.st_gid == 77 && d.st_gid == 77 && (d.st_mode & S_ISGID));
}

static void big_and_odd_io_is_whole(void)
{
    enum { LEN = 5 * 1024 * 1024 + 12345 };
    char *data = malloc(LEN), *got = malloc(LEN);
    for (size_t i = 0; i < LEN; i++) {
        data[i] = (char)(i * 2654435761u >> 13);
    }
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    WANT(fd >= 0 && pwrite(fd, data, LEN, 4095) == LEN);
    WANT(pread(fd, got, LEN, 4095) == LEN && memcmp(data, got, LEN) == 0);
    WANT(fsync(fd) == 0 && close(fd) == 0);
    fd = open("f", O_RDONLY);
    WANT(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    WANT(pread(fd, got, LEN, 4095) == LEN && memcmp(data, got, LEN) == 0);
    WANT(pread(fd, got, 100, 4095 + LEN - 10) == 10 && pread(fd, got, 100, 1ll << 40) == 0);
    close(fd);
    fd = open("f", O_RDWR | O_DIRECT);
    void *page;
    WANT(fd >= 0 && posix_memalign(&page, 4096, 65536) == 0);
    WANT(pread(fd, page, 65536, 4096) == 65536 && memcmp(page, data + 1, 65536) == 0);
    memset(page, 'd', 65536);
    WANT(pwrite(fd, page, 65536, 65536) == 65536 && pread(fd, got, 65536, 65536) == 65536);
    WANT(memcmp(page, got, 65536) == 0);
    close(fd);
    fd = open("f", O_WRONLY | O_SYNC);
    WANT(fd >= 0 && pwrite(fd, "sync", 4, 0) == 4 && close(fd) == 0);
    free(page);
    free(data);
    free(got);
}

static void opens_check_what_they_must(void)
{
    put("f", "x");
    WANT_ERRNO(open("f", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
    WANT(mkdir("d", 0755) == 0);
    WANT_ERRNO(open("d", O_WRONLY), EISDIR);
    WANT_ERRNO(open("none", O_RDONLY), ENOENT);
    WANT_ERRNO(open("f/x", O_RDONLY), ENOTDIR);
    WANT(symlink("loop", "loop") == 0);
    WANT_ERRNO(open("loop", O_RDONLY), ELOOP);
    int fd = open("new", O_CREAT | O_RDWR, 0400); /* may write although nobody else may */
    WANT(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
    WANT((stat_of("new").st_mode & 0777) == 0400);
    umask(027);
    fd = open("masked", O_CREAT | O_WRONLY, 0666);
    umask(022);
    WANT(fd >= 0 && close(fd) == 0 && (stat_of("masked").st_mode & 0777) == 0640);
}

static void inodes_can_be_found_by_handle(void)
{
    union {
        struct file_handle h;
        char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } u = {.h = {.handle_bytes = MAX_HANDLE_SZ}};
    int mount_id;
    put("f", "by handle");
    int dir = open(".", O_RDONLY | O_DIRECTORY);
    WANT(dir >= 0 && name_to_handle_at(AT_FDCWD, "f", &u.h, &mount_id, 0) == 0);
    int fd = open_by_handle_at(dir, &u.h, O_RDONLY);
    char got[16];
    WANT(fd >= 0 && read(fd, got, sizeof got) == 9 && memcmp(got, "by handle", 9) == 0);
    close(fd);
    close(dir);
}

static void the_filesystem_says_its_size(void)
{
    struct statvfs v;
    WANT(statvfs(".", &v) == 0 && v.f_namemax == 255 && v.f_frsize > 0);
    WANT(v.f_blocks > 0 && v.f_bavail <= v.f_blocks && v.f_files > 0);
    int fd = open(".", O_RDONLY | O_DIRECTORY);
    WANT(fd >= 0 && fsync(fd) == 0 && close(fd) == 0);
}

#define CHECK(f)                                                                                   \
    {                                                                                              \
        f, #f                                                                                      \
    }
static const struct {
    void (*run)(void);
    const char *name;
} checks[] = {
    CHECK(directories_count_their_subdirectories),
    CHECK(names_have_255_bytes),
    CHECK(rename_obeys_its_flags),
    CHECK(rename_over_an_open_file_keeps_it_readable),
    CHECK(unlinked_files_live_until_closed),
    CHECK(links_share_an_inode),
    CHECK(times_are_64_bits_of_seconds_and_nanoseconds),
    CHECK(times_set_after_a_write_stay),
    CHECK(changes_move_the_right_times),
    CHECK(directories_show_every_change_at_once),
    CHECK(sparse_files_have_holes),
    CHECK(truncate_cuts_and_zeroes),
    CHECK(fallocate_knows_its_modes),
    CHECK(shared_mappings_reach_the_file),
    CHECK(appends_go_to_the_end),
    CHECK(programs_run_from_it),
    CHECK(special_files_are_what_they_are),
    CHECK(extended_attributes_are_kept),
    CHECK(directories_can_be_sought),
    CHECK(set_uid_bits_go_with_changes),
    CHECK(permissions_hold),
    CHECK(big_and_odd_io_is_whole),
    CHECK(opens_check_what_they_must),
    CHECK(inodes_can_be_found_by_handle),
    CHECK(the_filesystem_says_its_size),
};

/* In a new directory of its own. True if it held. */
static bool run_check(size_t i)
{
    errno = 0;
    if (setjmp(check_failed) != 0) {
        fprintf(stderr, "  FAILED: %s\n", checks[i].name);
        return false;
    }
    WANT(mkdir(checks[i].name, 0777) == 0 && chdir(checks[i].name) == 0);
    checks[i].run();
    return true;
}

int main(int argc, char **argv)
{
    unsigned run = 0;
    unsigned failed = 0;
    int top = argc > 1 ? open(argv[1], O_RDONLY | O_DIRECTORY) : -1;
    if (top < 0) {
        fprintf(stderr, "usage: posix_check DIR [CHECK]\n");
        return 2;
    }
    umask(022);
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        if (argc > 2 && strcmp(argv[2], checks[i].name) != 0) {
            continue;
        }
        if (fchdir(top) != 0) {
            fprintf(stderr, "  FAILED: cannot go back to %s\n", argv[1]);
            return 1;
        }
        failed += !run_check(i);
        run++;
    }
    printf("  posix_check: %u checks, %u failed\n", run, failed);
    return run > 0 && failed == 0 ? 0 : 1;
}
