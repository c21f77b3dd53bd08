/* Memory inside the core (memory.c). What these give is freed by free(). */
#ifndef AFFS_MEMORY_H
#define AFFS_MEMORY_H

#include <stddef.h>

#include "affs_core.h"

void *affs_memory_zeroed(size_t count, size_t size);
/* NULL: `old` is as it was. */
void *affs_memory_resized(void *old, size_t size);
void *affs_memory_aligned(size_t alignment, size_t size);

#endif
