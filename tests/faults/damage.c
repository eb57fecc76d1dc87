/* damage.c - fault_damage FILE FAULT OFFSET: damages the 4 KiB page of FILE that holds OFFSET.
 *
 *   bitflip    one bit of the byte at OFFSET
 *   zero       the page becomes zeros
 *   truncate   the file ends where the page begins
 *   duplicate  the page becomes that before it (the first: that behind it): a write that went astray
 *
 * Status 0; 3 if the file is then as it was before; 1 on an error.
 *
 * fault_damage FILE pages SKIP: prints the offsets of the first, a middle and the last page from SKIP
 * on that is not zeros. FILE find TEXT: the offset of the last place where TEXT stands.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096 };

static int failed(const char *what)
{
    fprintf(stderr, "fault_damage: %s: %s\n", what, strerror(errno));
    return 1;
}

static int damage(int fd, const char *fault, uint64_t offset, uint64_t size)
{
    static const uint8_t zeros[PAGE];
    uint8_t before[PAGE] = {0}, after[PAGE] = {0};
    off_t page = (off_t)(offset / PAGE * PAGE);
    ssize_t len = pread(fd, before, PAGE, page);
    if (len <= 0) {
        return failed("no such page");
    }
    memcpy(after, before, PAGE);
    if (strcmp(fault, "truncate") == 0) {
        return ftruncate(fd, page) != 0 ? failed(fault) : (uint64_t)page == size ? 3 : 0;
    }
    if (strcmp(fault, "bitflip") == 0) {
        after[offset % PAGE] ^= 16;
    } else if (strcmp(fault, "zero") == 0) {
        memcpy(after, zeros, PAGE);
    } else if (strcmp(fault, "duplicate") == 0) {
        ssize_t n = pread(fd, after, (size_t)len, page == 0 ? PAGE : page - PAGE);
        if (n <= 0) {
            return 3; /* it is the only one */
        }
    } else {
        fprintf(stderr, "fault_damage: no such fault: %s\n", fault);
        return 2;
    }
    if (memcmp(before, after, PAGE) == 0) {
        return 3;
    }
    return pwrite(fd, after, (size_t)len, page) != len ? failed(fault) : 0;
}

static int print_pages(const uint8_t *data, uint64_t skip, uint64_t size)
{
    static const uint8_t zeros[PAGE];
    uint64_t used[3] = {0, 0, 0}, count = 0;
    for (int pass = 0; pass < 2; pass++) {
        uint64_t seen = 0;
        for (uint64_t at = skip; at < size; at += PAGE) {
            uint64_t len = size - at < PAGE ? size - at : PAGE;
            if (memcmp(data + at, zeros, len) != 0) {
                used[0] = pass == 0 && seen == 0 ? at : used[0];
                used[1] = pass == 1 && seen == count / 2 ? at : used[1];
                used[2] = at;
                seen++;
            }
        }
        count = seen;
    }
    printf("%llu %llu %llu\n", (unsigned long long)used[0], (unsigned long long)used[1],
           (unsigned long long)used[2]);
    return 0;
}

static int find(const uint8_t *data, uint64_t size, const char *text)
{
    size_t len = strlen(text);
    for (uint64_t at = size >= len ? size - len + 1 : 0; at-- > 0;) {
        if (memcmp(data + at, text, len) == 0) {
            printf("%llu\n", (unsigned long long)at);
            return 0;
        }
    }
    return 1;
}

int main(int argc, char **argv)
{
    struct stat st;
    int fd = argc >= 3 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
    if (argc < 3 || argc > 4) {
        fprintf(stderr,
                "usage: fault_damage FILE FAULT OFFSET | FILE pages SKIP | FILE find TEXT\n");
        return 2;
    }
    if (fd < 0 || fstat(fd, &st) != 0) {
        return failed(argv[1]);
    }
    uint64_t size = (uint64_t)st.st_size;
    bool pages = strcmp(argv[2], "pages") == 0;
    if (!pages && strcmp(argv[2], "find") != 0) {
        return damage(fd, argv[2], argc == 4 ? strtoull(argv[3], NULL, 10) : 0, size);
    }
    const uint8_t *data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
        return failed(argv[1]);
    }
    return pages       ? print_pages(data, argc == 4 ? strtoull(argv[3], NULL, 10) : 0, size)
           : argc == 4 ? find(data, size, argv[3])
                       : 2;
}
