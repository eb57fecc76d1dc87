/* mem.h - allocation of small control structures: out of memory ends the process.
 *
 * Data buffers and queues are bounded by their owners; what is allocated here is small. The result
 * is zeroed (mem_new) or copied (mem_dup). Freed with mem_free.
 */
#ifndef SHARED_BASE_MEM_H
#define SHARED_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size);               /* zeroed, never NULL */
void *mem_resize(void *ptr, size_t size);   /* never NULL; new bytes are undefined */
void *mem_dup(const void *ptr, size_t len); /* copy with a NUL after it */
void mem_free(void *ptr);                   /* NULL is fine */

#define mem_new(type) ((type *)mem_alloc(sizeof(type)))

#endif
