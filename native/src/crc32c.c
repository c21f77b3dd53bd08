/* CRC32C: which implementation runs, and the forms that the filesystem uses.
 *
 * Invariants: all implementations give the same value for the same bytes; the choice is one atomic
 * pointer, so that it can be read by every thread and changed (by tests) at any time.
 * Convention: affs_crc32c(0, ...) of "123456789" is 0xE3069283, and
 * affs_crc32c(affs_crc32c(0, a), b) == affs_crc32c(0, a followed by b).
 */
#include "crc32c.h"

#include <stdatomic.h>
#include <string.h>

#include "affs_core.h"

typedef struct {
    const char *name;
    affs_crc32c_function function;
    int (*available)(void);
} implementation;

static int always(void)
{
    return 1;
}

/* Best first. */
static const implementation implementations[] = {
#if defined(__x86_64__)
    {"sse42", affs_crc32c_sse42, affs_crc32c_sse42_available},
#endif
#if defined(__aarch64__)
    {"arm", affs_crc32c_arm, affs_crc32c_arm_available},
#endif
    {"portable", affs_crc32c_portable, always},
};

#define IMPLEMENTATIONS (sizeof implementations / sizeof implementations[0])

static _Atomic(const implementation *) chosen;

static const implementation *best(void)
{
    size_t index = 0;
    while (!implementations[index].available())
        index++;
    return &implementations[index];
}

static const implementation *current(void)
{
    const implementation *now = atomic_load_explicit(&chosen, memory_order_acquire);
    if (now == NULL) {
        /* Two threads may both come here: they choose the same. */
        now = best();
        atomic_store_explicit(&chosen, now, memory_order_release);
    }
    return now;
}

int affs_crc32c_select(const char *name)
{
    if (name == NULL)
        return AFFS_E_INVALID;
    if (strcmp(name, "auto") == 0) {
        atomic_store_explicit(&chosen, best(), memory_order_release);
        return AFFS_OK;
    }
    for (size_t index = 0; index < IMPLEMENTATIONS; index++)
        if (strcmp(name, implementations[index].name) == 0 && implementations[index].available()) {
            atomic_store_explicit(&chosen, &implementations[index], memory_order_release);
            return AFFS_OK;
        }
    return AFFS_E_INVALID;
}

const char *affs_crc32c_implementation(void)
{
    return current()->name;
}

uint32_t affs_crc32c(uint32_t crc, const void *data, size_t length)
{
    if (length == 0)
        return crc; /* data may be NULL */
    return ~current()->function(~crc, data, length);
}

void affs_crc32c_blocks(const void *data, size_t length, size_t block_size, uint32_t *sums)
{
    affs_crc32c_function function = current()->function;
    const uint8_t *bytes = data;
    if (block_size == 0)
        return;
    while (length > 0) {
        size_t part = length < block_size ? length : block_size;
        *sums = ~function(0xFFFFFFFFU, bytes, part);
        sums++;
        bytes += part;
        length -= part;
    }
}

void affs_crc32c_copy(void *target, const void *data, size_t length, size_t block_size,
                      uint32_t *sums)
{
    affs_crc32c_function function = current()->function;
    const uint8_t *bytes = data;
    uint8_t *copy = target;
    if (block_size == 0)
        return;
    while (length > 0) {
        size_t part = length < block_size ? length : block_size;
        memcpy(copy, bytes, part);
        *sums = ~function(0xFFFFFFFFU, copy, part);
        sums++;
        bytes += part;
        copy += part;
        length -= part;
    }
}

int64_t affs_crc32c_first_bad(const void *data, size_t length, size_t block_size,
                              const uint8_t *sums)
{
    affs_crc32c_function function = current()->function;
    const uint8_t *bytes = data;
    if (block_size == 0)
        return -1;
    for (int64_t index = 0; length > 0; index++) {
        size_t part = length < block_size ? length : block_size;
        uint32_t expected;
        memcpy(&expected, sums, sizeof expected);
        if (~function(0xFFFFFFFFU, bytes, part) != expected)
            return index;
        sums += sizeof expected;
        bytes += part;
        length -= part;
    }
    return -1;
}
