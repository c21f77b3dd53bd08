/* The core's memory: every allocation of the core goes through here, so that a test can make any of
 * them fail and look at what becomes of a volume then.
 *
 * Inert unless affs_memory_fail() was called, which no option, file or request can do. It is always
 * compiled in, so that what is tested is what runs; it costs a counter beside each malloc. The
 * count is not exact when threads allocate at the same time (they do not: see tree_private.h).
 */
#include <stdlib.h>

#include "memory.h"

static uint64_t allocations;
static uint64_t allowed = UINT64_MAX; /* that many more succeed; UINT64_MAX: all */
static int for_ever;

void affs_memory_fail(uint64_t after, int sticky)
{
    allocations = 0;
    allowed = after;
    for_ever = sticky;
}

uint64_t affs_memory_count(void)
{
    return allocations;
}

static int refused(void)
{
    allocations++;
    if (allowed == UINT64_MAX)
        return 0;
    if (allowed > 0) {
        allowed--;
        return 0;
    }
    if (!for_ever)
        allowed = UINT64_MAX;
    return 1;
}

void *affs_memory_zeroed(size_t count, size_t size)
{
    return refused() ? NULL : calloc(count, size);
}

void *affs_memory_resized(void *old, size_t size)
{
    return refused() ? NULL : realloc(old, size);
}

void *affs_memory_aligned(size_t alignment, size_t size)
{
    return refused() ? NULL : aligned_alloc(alignment, size);
}
