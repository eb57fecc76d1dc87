/* mem.c - allocation that cannot fail, and the end of a process whose invariant broke. */
#include "shared/base/mem.h"
#include "shared/base/invariant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CACHED_MAX = 1024 };

_Noreturn void invariant_broken(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: invariant broken: %s\n", file, line, what);
    abort();
}

/* calloc passes by the allocator's cache of small pieces; of large ones it need not clear pages that
 * are fresh from the kernel. */
void *mem_alloc(size_t size)
{
    void *p = size > CACHED_MAX ? calloc(1, size) : malloc(size ? size : 1);
    ASSERT(p != NULL);
    if (size <= CACHED_MAX) {
        memset(p, 0, size);
    }
    return p;
}

void *mem_resize(void *ptr, size_t size)
{
    void *p = realloc(ptr, size ? size : 1);
    ASSERT(p != NULL);
    return p;
}

void *mem_dup(const void *ptr, size_t len)
{
    char *p = malloc(len + 1);
    ASSERT(p != NULL);
    if (len > 0) {
        memcpy(p, ptr, len);
    }
    p[len] = '\0';
    return p;
}

void mem_free(void *ptr)
{
    free(ptr);
}
